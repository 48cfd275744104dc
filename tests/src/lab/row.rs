//! What a scenario has shown, as a line of the table.

use std::fmt;
use std::ops::AddAssign;

/// A line of the table: a scenario on a kind of ring, how often somebody was killed (or stopped), and what went
/// wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The kind of ring.
    pub kind: String,
    /// What was done, and to what.
    pub scenario: String,
    /// Processes killed, or stopped.
    pub kills: u64,
    /// Committed records that nobody received; and counts that do not add up.
    pub lost: u64,
    /// Records received twice, the second time without a mark.
    pub duplicated: u64,
    /// Records that arrived otherwise than they were sent: other bytes, or out of order, or seen by one and not by the
    /// next.
    pub torn: u64,
    /// Times when a survivor could not go on within a second, or found something half made.
    pub hung: u64,
    /// Records that a killed receiver had taken for good, which are its own. No fault.
    pub own: u64,
}

impl Row {
    /// An empty line.
    pub fn new(kind: &str, scenario: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            scenario: scenario.to_owned(),
            ..Self::default()
        }
    }

    /// Faults of all sorts.
    pub fn faults(&self) -> u64 {
        self.lost + self.duplicated + self.torn + self.hung
    }

    /// The names of the columns.
    pub fn header() -> String {
        format!(
            "{:<5} {:<34} {:>8} {:>6} {:>10} {:>6} {:>6}",
            "kind", "scenario", "kills", "lost", "duplicated", "torn", "hung"
        )
    }

    /// The last line.
    pub fn total(rows: &[Self]) -> String {
        let mut sum = Self::default();
        for row in rows {
            sum += row;
        }
        format!(
            "{} kills, {} lost, {} duplicated, {} torn, {} hung",
            sum.kills, sum.lost, sum.duplicated, sum.torn, sum.hung
        )
    }
}

impl AddAssign<&Self> for Row {
    fn add_assign(&mut self, other: &Self) {
        self.kills += other.kills;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.torn += other.torn;
        self.hung += other.hung;
        self.own += other.own;
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<5} {:<34} {:>8} {:>6} {:>10} {:>6} {:>6}",
            self.kind, self.scenario, self.kills, self.lost, self.duplicated, self.torn, self.hung
        )
    }
}
