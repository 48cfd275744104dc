//! A doorbell in the companion, for queues whose waits the kernel cannot end in time.
//!
//! `msgsnd` and `msgrcv` block without a deadline, and nothing but a signal gets a thread out of them. So a
//! handle of a System V queue that finds nothing sleeps here instead, on a futex, and whoever sends or
//! receives rings:
//!
//! ```text
//! sleeper   arm: set SLEEPER in the word    try the queue again    sleep while the word is as armed
//! ringer    msgsnd or msgrcv                SLEEPER set? count on, clear it, wake all
//! ```
//!
//! No ring is lost: both calls on the queue happen under the queue's lock in the kernel. If the sleeper's
//! came first, the ringer sees SLEEPER, which was set before; if the ringer's came first, the sleeper finds
//! what it did. A killed sleeper leaves the bit set, which costs one needless wake. A ringer killed between
//! its call and the wake is made up for by the next ring, or by the sleeper itself, who never sleeps longer
//! than a slice.
//!
//! With nobody asleep, ringing costs a fence and a load; otherwise one system call.

use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst, fence};
use std::time::Duration;

/// Somebody may be asleep.
const SLEEPER: u32 = 1;

/// A word to sleep on.
#[repr(transparent)]
pub(crate) struct Bell(AtomicU32);

impl Bell {
    /// Announces a sleep. The queue has to be tried once more before it.
    pub(crate) fn arm(&self) -> u32 {
        // SeqCst: a fence towards the look at the queue that follows; pairs with the fence in `ring`.
        self.0.fetch_or(SLEEPER, SeqCst) | SLEEPER
    }

    /// Sleeps until somebody rings after [`arm`](Self::arm), for at most `timeout`; may end early.
    pub(crate) fn sleep(&self, armed: u32, timeout: Duration) {
        let timeout = libc::timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        // SAFETY: the word and the timeout outlive the call; futex(2) reads nothing else.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.0.as_ptr(),
                libc::FUTEX_WAIT,
                armed,
                &raw const timeout,
                ptr::null::<u32>(),
                0u32,
            )
        };
    }

    /// Wakes whoever sleeps. Called after the act that they wait for.
    pub(crate) fn ring(&self) {
        // Pairs with the SeqCst in `arm`: either the sleeper finds our act, or we find its bit.
        fence(SeqCst);
        let word = self.0.load(SeqCst);
        if word & SLEEPER == 0 {
            return;
        }
        // The count tells a bell that was armed again from the one that somebody is about to sleep on.
        let rung = (word & !SLEEPER).wrapping_add(2);
        if self.0.compare_exchange(word, rung, SeqCst, SeqCst).is_err() {
            // Somebody else has rung since, or armed: in either case all must look again.
            self.0.fetch_add(2, SeqCst);
        }
        // SAFETY: the word outlives the call; futex(2) writes nothing.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.0.as_ptr(),
                libc::FUTEX_WAKE,
                i32::MAX,
                ptr::null::<libc::timespec>(),
                ptr::null::<u32>(),
                0u32,
            )
        };
    }
}
