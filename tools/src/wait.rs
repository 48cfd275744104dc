//! A wait of the user's, cut into slices, so that a signal ends it.
//!
//! The engine's blocking calls go on after a signal, as its contract asks. A slice of 200 ms keeps
//! the answer to Ctrl-C prompt, and five extra wake-ups a second cannot be measured.

use crate::exit::Failure;
use std::time::{Duration, Instant};

const SLICE: Duration = Duration::from_millis(200);

/// One wait: from now until the user's limit, or for ever.
pub struct Wait {
    what: &'static str,
    limit: Duration,
    /// `None`: never.
    deadline: Option<Instant>,
}

impl Wait {
    /// A wait that begins now. `what` says what has not come to pass when it ends in vain.
    pub fn new(what: &'static str, limit: Option<Duration>) -> Self {
        Self {
            what,
            limit: limit.unwrap_or_default(),
            // A limit too long for the clock is none.
            deadline: limit.and_then(|limit| Instant::now().checked_add(limit)),
        }
    }

    /// The end of the next slice, or why there is none: a signal came, or the limit passed.
    pub fn slice(&self) -> Result<Instant, Failure> {
        if let Some(stopped) = Failure::stopped(0) {
            return Err(stopped);
        }
        let now = Instant::now();
        let end = now + SLICE;
        match self.deadline {
            None => Ok(end),
            Some(deadline) if now < deadline => Ok(end.min(deadline)),
            Some(_) => Err(Failure::Timeout {
                what: self.what,
                limit: self.limit,
            }),
        }
    }
}
