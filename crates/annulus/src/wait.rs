//! Waiting: spin, then yield, then sleep on a doorbell. It knows no ring: it is given a bell and an
//! attempt.
//!
//! # Why no wake is lost
//!
//! ```text
//! waker                              sleeper
//! W1  publish (Release)              S1  bell |= ASLEEP
//! W2  light barrier                  S2  heavy barrier
//! W3  bell & ASLEEP ?                S3  attempt: is it published ?
//! W4  bell &= !ASLEEP, + 1 ring,     S4  futex wait while bell is what S1 left
//!     wake all
//! ```
//!
//! This is Dekker's pattern: with a full barrier at W2 and S2 either W3 sees S1 or S3 sees W1. The heavy
//! barrier, `membarrier(GLOBAL_EXPEDITED)`, has every running thread of a registered process execute a full
//! barrier between S1 and S3; where a waker is in its program at that moment, it is before W1 (then W3
//! sees S1), after W3 (then S3 sees W1), or between, where the barrier it is made to execute stands for
//! W2. A process that is not registered executes a real fence at W2. If W3 sees S1, then W4 either comes
//! before the futex call, which then finds a changed word and returns, or after, and wakes it. The word stays changed even if
//! somebody else has armed the bell again meanwhile, because it counts the rings.
//!
//! A sleeper that wakes and finds the bell as S1 left it need not arm it again: nobody has rung since S1, so whoever published
//! before S2 was found at S3, and whoever comes to W3 after S2 sees S1.
//!
//! Waking all is what lets a flag do: a sleeper that is killed leaves no count behind, and a
//! sleeper that was woken for nothing arms the bell again.
//!
//! # The net
//!
//! A waker may be killed between W1 and W4. So no sleep is longer than [`SLICE`], after which the attempt
//! is made again and the leases are inspected. If the attempt then succeeds although the bell
//! is still armed, the net has caught what the protocol did not, or a waker is just between W1 and W4; that is
//! counted in the region (`rescues`).

use crate::futex::{Futex, Woken, heavy_barrier, light_barrier};
use crate::layout::bell::{ASLEEP, RING};
use crate::sync::{AcqRel, Count, REAL, Relaxed, SeqCst, fence, spin, yield_now};
use std::time::{Duration, Instant};

/// The longest sleep: every sleeper looks again after it.
pub(crate) const SLICE: Duration = Duration::from_millis(100);

/// The longest sleep where the kernel refuses membarrier, so that a wake may be lost.
const SHORT_SLICE: Duration = Duration::from_millis(1);

/// Attempts before the processor is given up, at most. A model needs none: its scheduler tries every order.
const SPINS: u32 = if REAL { 128 } else { 0 };

/// The fewest attempts worth making.
const FEW_SPINS: u32 = SPINS / 8;

/// After so many waits without spinning, it is tried again.
const RETRY: u32 = 16;

/// Attempts between yields to other threads, before going to sleep.
const YIELDS: u32 = if REAL { 2 } else { 0 };

/// How long a handle spins before it sleeps: as long as that has lately been of use.
///
/// Spinning is for a peer that is at work on another processor. One that sleeps takes longer to wake than it pays to spin,
/// and one that is on our own processor cannot go on while we do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    spins: u32,
    waits: u32,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Self {
            spins: SPINS,
            waits: 0,
        }
    }

    /// The attempts to make now.
    fn spins(&mut self) -> u32 {
        self.waits = self.waits.wrapping_add(1);
        if self.spins == 0 && self.waits % RETRY == 0 {
            FEW_SPINS
        } else {
            self.spins
        }
    }

    /// The other side is quick enough: the next wait may take its time again.
    fn rewarded(&mut self) {
        self.spins = SPINS;
    }

    /// So many spins were in vain.
    fn disappointed(&mut self, spins: u32) {
        let half = spins / 2;
        self.spins = if half < FEW_SPINS { 0 } else { half };
    }
}

/// Wakes the sleepers, if there are any. `registered`: see [`light_barrier`].
#[inline]
pub(crate) fn ring(bell: &Futex, registered: bool) {
    if has_sleepers(bell, registered) {
        wake(bell);
    }
}

/// Whether anybody is to be woken.
#[inline]
pub(crate) fn has_sleepers(bell: &Futex, registered: bool) -> bool {
    light_barrier(registered);
    // Relaxed: ordered after the publication by the barriers; the swap in `wake` decides.
    bell.word().load(Relaxed) & ASLEEP != 0
}

/// Wakes the sleepers after something rare: a close, an arrival.
pub(crate) fn ring_rarely(bell: &Futex) {
    fence(SeqCst);
    ring(bell, false);
}

/// Wakes the sleepers.
#[cold]
pub(crate) fn wake(bell: &Futex) {
    let word = bell.word();
    // Relaxed: the swap decides.
    let mut found = word.load(Relaxed);
    while found & ASLEEP != 0 {
        // The flag goes, and the count of rings goes up.
        let rung = (found & !ASLEEP).wrapping_add(RING);
        // AcqRel: one waker of several clears the flag, after its publication.
        match word.compare_exchange(found, rung, AcqRel, Relaxed) {
            Ok(_) => return bell.wake_all(),
            Err(changed) => found = changed,
        }
    }
}

/// What an attempt is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Look at the ring.
    Quickly,
    /// Look at the ring for the last time before sleeping: is somebody dead in the way?
    BeforeSleep,
    /// A whole slice went by: look at the ring, and whether anybody died.
    Thoroughly,
}

/// S1 and S2: what the bell is now, and for how long to sleep at most.
fn arm(bell: &Futex, longest: Duration) -> (u32, Duration) {
    // AcqRel: between the last attempt and the next; the barrier below does the rest.
    let armed = bell.word().fetch_or(ASLEEP, AcqRel) | ASLEEP;
    let slice = if heavy_barrier() {
        longest
    } else {
        SHORT_SLICE
    };
    (armed, slice)
}

/// Repeats `attempt` until it gives something, sleeping on `bell` between; nothing if `deadline` came
/// first. The caller has made a first attempt already. `longest` is the longest sleep.
#[cold]
pub(crate) fn until<R>(
    bell: &Futex,
    rescues: &Count,
    longest: Duration,
    deadline: Option<Instant>,
    patience: &mut Patience,
    mut attempt: impl FnMut(Look) -> Option<R>,
) -> Option<R> {
    let expired = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
    let spins = patience.spins();
    for _ in 0..spins {
        spin();
        if let Some(done) = attempt(Look::Quickly) {
            patience.rewarded();
            return Some(done);
        }
    }
    patience.disappointed(spins);
    for _ in 0..YIELDS {
        if expired() {
            return None;
        }
        yield_now();
        if let Some(done) = attempt(Look::Quickly) {
            return Some(done);
        }
    }
    let mut look = Look::BeforeSleep;
    let mut inspected = Instant::now();
    let (mut armed, mut slice) = arm(bell, longest);
    loop {
        if let Some(done) = attempt(look) {
            return Some(done);
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.map_or(slice, |left| left.min(slice));
        if timeout.is_zero() {
            return None;
        }
        let through = bell.wait(armed, timeout) == Woken::TimedOut && timeout == slice;
        // Relaxed: a new look is ordered by the barrier of a new arming, and without one the old barrier stands.
        let found = bell.word().load(Relaxed);
        if let Some(done) = attempt(Look::Quickly) {
            if through && found == armed {
                rescues.add(1);
            }
            return Some(done);
        }
        // A slice that is short because the kernel refused the barrier may be a long one the next time.
        if found != armed || slice < longest {
            (armed, slice) = arm(bell, longest);
        }
        // By the clock, too: signals may end every sleep. A model has no clock.
        look = Look::BeforeSleep;
        if through || REAL && inspected.elapsed() >= slice {
            inspected = Instant::now();
            look = Look::Thoroughly;
        }
        if expired() {
            // Who slept through a whole slice looks for the dead, however late it got a processor.
            return if look == Look::Thoroughly {
                attempt(look)
            } else {
                None
            };
        }
    }
}
