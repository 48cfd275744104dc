//! How one side keeps off the other's heels.
//!
//! Each look at what the other side writes next takes that line away from it, and a sender that must fetch its line back for
//! every record, or a receiver its, is several times slower. Who has found some records (or some room), but little,
//! and then none, is faster than the other side. It waits about as long as a line takes there and back, so that the
//! next run is long and the line comes over once for all of it. A receiver that found one record alone does not wait: that
//! may be a turn of a dialogue.
//!
//! Where the other side does not work at full speed, waiting only delays its records: after some waits in a row of which little
//! came it is left off for a while.
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

/// A run after a wait that was in vain is shorter than this.
const LITTLE: u64 = 16;

/// So many of those in a row are enough.
const VAIN: u32 = 8;

/// For so many short runs nobody waits then.
const RESTS: u32 = 1024;

/// The length of the run that one side found last.
pub(crate) struct Pace {
    run: u64,
    short: Range<u64>,
    /// Waits in a row that were in vain.
    vain: u32,
    /// Ends of short runs at which not to wait, because it was in vain.
    rests: u32,
}

impl Pace {
    pub(crate) fn new(short: Range<u64>) -> Self {
        Self {
            run: 0,
            short,
            vain: 0,
            rests: 0,
        }
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
        let due = self.is_due() && self.is_worth_it();
        self.run = 0;
        if due {
            pause();
        }
        due
    }

    /// Whether waiting is of use: not if so little came of the last waits that the other side does not work at full speed,
    /// and would only find its records delayed. That is forgotten after a while.
    #[cold]
    fn is_worth_it(&mut self) -> bool {
        self.rests = self.rests.saturating_sub(1);
        if self.rests > 0 {
            return false;
        }
        self.vain = if self.run < LITTLE { self.vain + 1 } else { 0 };
        if self.vain == VAIN {
            (self.vain, self.rests) = (0, RESTS);
        }
        true
    }
}

#[cold]
fn pause() {
    for _ in 0..PAUSES {
        spin();
    }
}
