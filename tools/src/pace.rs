//! A rate that is kept to, record by record.

use crate::exit::Failure;
use crate::wait::Wait;
use std::thread;
use std::time::{Duration, Instant};

/// How much of the schedule may be made up for at once: what a sleep overslept, and no more, since a receiver that follows
/// the rate need not follow a burst.
const BEHIND: Duration = Duration::from_millis(2);

/// When the next record is due.
pub struct Pace {
    /// From one record to the next.
    step: Duration,
    due: Instant,
}

impl Pace {
    /// So many records a second, the first one now.
    pub fn new(rate: f64) -> Self {
        Self {
            step: Duration::from_secs_f64(1.0 / rate),
            due: Instant::now(),
        }
    }

    /// Waits until the next record is due, unless a signal comes.
    pub fn wait(&mut self) -> Result<(), Failure> {
        loop {
            let now = Instant::now();
            let Some(left) = self
                .due
                .checked_duration_since(now)
                .filter(|left| !left.is_zero())
            else {
                let least = now.checked_sub(BEHIND).unwrap_or(now);
                self.due = self.due.max(least) + self.step;
                return Ok(());
            };
            let slice = Wait::new("", None).slice()?;
            thread::sleep(left.min(slice.saturating_duration_since(now)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_not_exceeded() {
        let start = Instant::now();
        let mut pace = Pace::new(1000.0);
        for _ in 0..101 {
            pace.wait().expect("no signal");
        }
        // All but the first, less what may be made up for.
        assert!(start.elapsed() >= Duration::from_millis(100) - BEHIND);
    }

    #[test]
    fn what_was_missed_is_not_made_up_for() {
        let mut pace = Pace::new(1000.0);
        thread::sleep(Duration::from_millis(100));
        let start = Instant::now();
        for _ in 0..21 {
            pace.wait().expect("no signal");
        }
        assert!(start.elapsed() >= Duration::from_millis(17));
    }
}
