//! A second, as a survivor has it: what it spends waiting for a processor that others use does not count.

use nix::unistd::Pid;
use std::fs;
use std::time::{Duration, Instant};

/// A time that runs out.
#[derive(Debug)]
pub struct Limit {
    since: Instant,
    delayed: Duration,
    length: Duration,
    /// Other processes whose waits do not count either.
    others: Vec<Pid>,
}

/// How long this process, and these, have waited for a processor.
fn delayed(others: &[Pid]) -> Duration {
    let others = others.iter().map(Pid::to_string);
    let waited = others.chain(["self".to_owned()]).map(|process| {
        let text = fs::read_to_string(format!("/proc/{process}/schedstat")).unwrap_or_default();
        let nanoseconds = text.split_ascii_whitespace().nth(1);
        nanoseconds.and_then(|word| word.parse().ok()).unwrap_or(0)
    });
    Duration::from_nanos(waited.sum())
}

impl Limit {
    /// It begins to run.
    pub fn new(length: Duration) -> Self {
        Self::together(length, vec![])
    }

    /// It begins to run, for us and for others.
    pub fn together(length: Duration, others: Vec<Pid>) -> Self {
        Self {
            since: Instant::now(),
            delayed: delayed(&others),
            length,
            others,
        }
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        let elapsed = self.since.elapsed();
        elapsed > self.length && {
            let delayed = delayed(&self.others).saturating_sub(self.delayed);
            elapsed.saturating_sub(delayed) > self.length
        }
    }
}
