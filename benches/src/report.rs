//! What a run tells, as text and as JSON.

use crate::cell::{Outcome, Role};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::process::Command;

/// What the figures were measured on, and with what.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// How many processors we may use.
    pub cpus: usize,
    /// The kernel's release.
    pub kernel: String,
    /// Whether we are in a virtual machine, as the processor says.
    pub virtual_machine: bool,
    /// How many tasks wanted a processor during the minute before.
    pub load: f64,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or("unknown processor", |(_, name)| name.trim());
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().and_then(|word| word.parse().ok());
        Self {
            cpu: cpu.to_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: kernel.trim().to_owned(),
            virtual_machine: cpuinfo.contains(" hypervisor"),
            load: load.unwrap_or(0.0),
        }
    }
}

/// Everything that a run found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The goals of all cells.
    pub cells: Vec<crate::cell::Entry>,
    /// The figures of all subjects.
    pub outcomes: Vec<Outcome>,
    /// What it was measured on.
    pub machine: Machine,
    /// The commit that was measured; with a plus if there were changes.
    pub commit: String,
    /// The versions of what was measured.
    pub versions: BTreeMap<&'static str, &'static str>,
    /// The command line.
    pub command: String,
    /// What a reader has to know.
    pub notes: Vec<String>,
}

impl Report {
    /// A report of these outcomes.
    pub fn new(outcomes: Vec<Outcome>, notes: Vec<String>) -> Self {
        let entries = outcomes.iter().flat_map(|outcome| outcome.entries.clone());
        Self {
            cells: entries.collect(),
            outcomes,
            machine: Machine::this(),
            commit: commit(),
            versions: versions(),
            command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
            notes,
        }
    }
}

impl Report {
    /// As JSON.
    ///
    /// # Errors
    ///
    /// Never: all of it can be written.
    pub fn json(&self) -> Result<String, String> {
        let json = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        Ok(json + "\n")
    }
}

/// What this program was built with.
const LOCK: &str = include_str!("../../Cargo.lock");

/// Other projects' queues.
const OTHERS: [&str; 8] = [
    "crossbeam-channel",
    "crossbeam-queue",
    "iceoryx2",
    "kanal",
    "ringbuf",
    "ringfire",
    "rtrb",
    "shaq",
];

fn versions() -> BTreeMap<&'static str, &'static str> {
    let version = |name: &'static str| {
        let (_, rest) = LOCK.split_once(&format!("name = \"{name}\"\nversion = \""))?;
        let (version, _) = rest.split_once('"')?;
        Some((name, version))
    };
    let others = OTHERS.into_iter().filter(|_| cfg!(feature = "peers"));
    others.filter_map(version).collect()
}

/// The commit of the tree that we are in.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    match git(&["rev-parse", "--short=12", "HEAD"]) {
        Some(commit) if changed.is_some_and(|text| !text.is_empty()) => commit + "+",
        Some(commit) => commit,
        None => "unknown".to_owned(),
    }
}

/// A figure with three digits that mean something.
pub fn figure(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A cell as text: its subjects with their figures and ratios, then its goals.
pub fn text(outcome: &Outcome) -> String {
    let mut text = format!("{} ({}): {}\n", outcome.cell, outcome.unit, outcome.what);
    for row in &outcome.rows {
        let ratio = match row.role {
            Role::Ours => String::new(),
            _ => format!(
                "× {} [{}, {}]",
                figure(row.ratio.median),
                figure(row.ratio.low),
                figure(row.ratio.high)
            ),
        };
        let _ = write!(
            text,
            "  {:<24}{:>9}  {ratio:<22}",
            row.subject,
            figure(row.median)
        );
        let _ = write!(text, " {} of {} rounds", row.kept, row.kept + row.dropped);
        if row.disturbed > 0 {
            let _ = write!(text, ", {} disturbed", row.disturbed);
        }
        for (name, value) in &row.more {
            let _ = write!(text, "; {name}: {}", figure(*value));
        }
        text.push('\n');
    }
    for entry in &outcome.entries {
        let (Some(goal), Some(ratio), Some(met)) = (entry.goal, entry.ratio, entry.met) else {
            continue;
        };
        let [low, high] = entry.interval.unwrap_or([ratio; 2]);
        let _ = writeln!(
            text,
            "  {} {} {} of {}: {} [{}, {}]",
            if met { "reached:" } else { "MISSED: " },
            entry.sense,
            figure(goal),
            entry.against,
            figure(ratio),
            figure(low),
            figure(high)
        );
    }
    text
}
