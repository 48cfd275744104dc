//! What the kills of an operation have cost, as a line of the table. Every number is a number of kill points.

use crate::outcome::Outcome;
use crate::peer::{Peer, Side};
use std::fmt::Write;
use std::ops::AddAssign;

/// The names of the columns.
const COLUMNS: [&str; 13] = [
    "queue",
    "version",
    "operation",
    "kill points",
    "stuck",
    "lost committed",
    "later lost",
    "held up",
    "room lost",
    "duplicated",
    "torn",
    "all faults",
    "after its own call",
];

/// Kill points, and at how many of them something went wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many there are.
    pub points: u64,
    /// At how many of them somebody was killed.
    pub kills: u64,
    /// At how many of these each fault was found.
    pub faults: Outcome,
    /// At how many there was any.
    pub any: u64,
}

impl Counts {
    /// Counts the outcome of a kill.
    pub fn note(&mut self, outcome: &Outcome) {
        self.kills += 1;
        self.faults += outcome.each();
        self.any += u64::from(!outcome.is_clean());
    }

    /// How many, and of how many if not all were tried.
    fn of(&self) -> String {
        if self.kills == self.points {
            format!("{} of {}", self.any, self.points)
        } else {
            format!("{} of {} (of {})", self.any, self.kills, self.points)
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.points += other.points;
        self.kills += other.kills;
        self.faults += other.faults;
        self.any += other.any;
    }
}

/// A line of the table.
pub struct Row {
    /// The queue.
    pub peer: Peer,
    /// Whose operation it is.
    pub side: Side,
    /// Survivors just go on.
    pub as_is: Counts,
    /// Survivors do first what the documentation offers them.
    pub recovered: Counts,
}

impl Row {
    fn cells(&self) -> [String; COLUMNS.len()] {
        let Counts {
            points,
            kills,
            faults,
            any,
        } = self.as_is;
        let own = match self.peer.recovery(self.side) {
            None => self.peer.itself.to_owned(),
            Some(recovery) => {
                let alone = match (recovery.alone, self.side) {
                    (false, _) => "",
                    (true, Side::Sender) => ", all other senders gone",
                    (true, Side::Receiver) => ", all other receivers gone",
                };
                let of = self.recovered.of();
                format!("{of} after {}{alone}", recovery.call)
            }
        };
        let operation = match self.side {
            Side::Sender => "send",
            Side::Receiver => "receive",
        };
        let tried = if kills == points {
            points.to_string()
        } else {
            format!("{kills} (of {points})")
        };
        [
            self.peer.name.to_owned(),
            version(&self.peer),
            operation.to_owned(),
            tried,
            faults.stuck.to_string(),
            faults.lost.to_string(),
            faults.later.to_string(),
            faults.held.to_string(),
            faults.room.to_string(),
            faults.duplicated.to_string(),
            faults.torn.to_string(),
            any.to_string(),
            own,
        ]
    }
}

/// The version in our lock file, or of the C library.
fn version(peer: &Peer) -> String {
    let Some(package) = peer.package else {
        // SAFETY: returns a string that is there for ever.
        let version = unsafe { nix::libc::gnu_get_libc_version() };
        // SAFETY: as above, and it ends with a zero.
        let version = unsafe { std::ffi::CStr::from_ptr(version) };
        return format!("glibc {}", version.to_string_lossy());
    };
    let name = format!("name = \"{package}\"");
    let mut lines = include_str!("../Cargo.lock").lines();
    lines.by_ref().find(|line| *line == name);
    let version = lines.next().and_then(|line| line.split('"').nth(1));
    version.unwrap_or("?").to_owned()
}

/// The table, in columns or in Markdown.
pub fn table(rows: &[Row], markdown: bool) -> String {
    let cells: Vec<_> = rows.iter().map(Row::cells).collect();
    let mut text = String::new();
    let lines = [COLUMNS.map(str::to_owned)]
        .into_iter()
        .chain(cells.clone());
    let width = |at: usize| {
        let all = cells.iter().map(|row| row[at].len());
        all.chain([COLUMNS[at].len()]).max().unwrap_or(0)
    };
    for (number, line) in lines.enumerate() {
        if markdown {
            let _ = writeln!(text, "| {} |", line.join(" | "));
            if number == 0 {
                let _ = writeln!(text, "|---|---|---|{}---|", "---:|".repeat(9));
            }
        } else {
            let padded = line.iter().enumerate().map(|(at, cell)| {
                let width = width(at);
                if (3..12).contains(&at) {
                    format!("{cell:>width$}")
                } else {
                    format!("{cell:<width$}")
                }
            });
            let line = padded.collect::<Vec<_>>().join("  ");
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
    text
}
