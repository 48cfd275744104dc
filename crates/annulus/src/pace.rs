//! How one side keeps off the other's heels.
//!
//! Each look at what the other side writes next takes that line away from it, and a sender that must fetch its line back for
//! every record, or a receiver its, is several times slower. Who has found some records (or some room), but little,
//! and then none, is faster than the other side. It waits about as long as a line takes there and back, so that the
//! next run is long and the line comes over once for all of it. A receiver that found one record alone does not wait: that
//! may be a turn of a dialogue.
//!
//! Nothing hangs on it but speed: what is there is found by the next look, [`PAUSES`] pauses later.

use crate::sync::{REAL, spin};
use std::ops::Range;

/// Runs after which a receiver waits, in records.
pub(crate) const RECORDS: Range<u64> = 2..32;

/// Runs after which a sender waits, in units of room.
pub(crate) const ROOM: Range<u64> = 1..32;

/// How long it waits, in pauses of the processor: some hundred nanoseconds. A model has no caches.
const PAUSES: u32 = if REAL { 16 } else { 0 };

/// The length of the run that one side found last.
pub(crate) struct Pace {
    run: u64,
    short: Range<u64>,
}

impl Pace {
    pub(crate) fn new(short: Range<u64>) -> Self {
        Self { run: 0, short }
    }

    /// A run of so many begins.
    #[inline]
    pub(crate) fn begin(&mut self, run: u64) {
        self.run = run;
    }

    /// One more of the run.
    #[inline]
    pub(crate) fn found(&mut self) {
        self.run += 1;
    }

    /// Whether the run that is now over was a short one.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        PAUSES > 0 && self.short.contains(&self.run)
    }

    /// The run is over: waits if it was short. Says whether it did.
    #[inline]
    pub(crate) fn wait(&mut self) -> bool {
        let due = self.is_due();
        self.run = 0;
        if due {
            pause();
        }
        due
    }
}

#[cold]
fn pause() {
    for _ in 0..PAUSES {
        spin();
    }
}
