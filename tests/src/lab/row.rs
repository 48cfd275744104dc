//! What came of a scenario.

use std::fmt;

/// A scenario on a kind of ring, and what came of it. Printed as a line of the summary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The kind of ring.
    pub kind: String,
    /// What was done.
    pub scenario: String,
    /// Processes killed.
    pub kills: u64,
    /// Committed records that never came.
    pub lost: u64,
    /// Records that came more often than is promised, or without being marked as repeats.
    pub duplicated: u64,
    /// Records that were not what was sent, or were never sent.
    pub torn: u64,
    /// Times that somebody stood still, or failed.
    pub hung: u64,
    /// Records that at-most-once receivers had already taken when they were killed.
    pub own: u64,
}

impl Row {
    /// Whether everything was as promised.
    pub fn is_clean(&self) -> bool {
        self.lost + self.duplicated + self.torn + self.hung == 0
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:4} {:40} {:7} kills {:3} lost {:3} duplicated {:3} torn {:3} hung {:5} own",
            self.kind,
            self.scenario,
            self.kills,
            self.lost,
            self.duplicated,
            self.torn,
            self.hung,
            self.own
        )
    }
}
