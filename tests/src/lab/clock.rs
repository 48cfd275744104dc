//! A second, as a survivor has it: what it spends waiting for a processor that others use does not count.

use std::fs;
use std::time::{Duration, Instant};

/// A time that runs out.
#[derive(Debug)]
pub struct Limit {
    since: Instant,
    delayed: Duration,
    length: Duration,
}

/// How long this process has waited for a processor.
fn delayed() -> Duration {
    let text = fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanoseconds = text.split_ascii_whitespace().nth(1);
    Duration::from_nanos(nanoseconds.and_then(|word| word.parse().ok()).unwrap_or(0))
}

impl Limit {
    /// It begins to run.
    pub fn new(length: Duration) -> Self {
        Self {
            since: Instant::now(),
            delayed: delayed(),
            length,
        }
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        let elapsed = self.since.elapsed();
        elapsed > self.length
            && elapsed.saturating_sub(delayed().saturating_sub(self.delayed)) > self.length
    }
}
