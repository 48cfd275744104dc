//! The word that sleepers sleep on, and the barrier that makes ringing it cheap.
//!
//! [`Futex`] is a plain `u32` in the region; the kernel call is not the private kind, since sleeper and
//! waker are different processes. Under loom it is a condition variable whose timeouts never end, so that
//! a lost wake shows as a deadlock.
//!
//! The barrier is asymmetric. A waker pays a compiler fence ([`light_barrier`]); a sleeper pays
//! `membarrier(GLOBAL_EXPEDITED)` ([`heavy_barrier`]), which makes every running thread of every
//! registered process execute a full fence. A process that cannot register uses a real fence as its light
//! barrier, so a sleeper need not know. See `wait` for the proof.

use std::time::Duration;

/// How a wait ended. Any of them may be spurious; the caller looks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// Somebody rang, a signal came, or the word was not the expected one.
    Rung,
    /// The time was up.
    TimedOut,
}

pub(crate) use body::{Futex, heavy_barrier, light_barrier, register};

#[cfg(not(loom))]
mod body {
    use super::{Duration, Woken};
    use crate::sync::{AtomicU32, SeqCst, fence};
    use std::ptr;
    use std::sync::atomic::compiler_fence;

    /// A `u32` in shared memory that one can sleep on.
    #[repr(transparent)]
    pub(crate) struct Futex(AtomicU32);

    impl Futex {
        pub(crate) const fn new(value: u32) -> Self {
            Self(AtomicU32::new(value))
        }

        /// The word itself.
        #[inline]
        pub(crate) fn word(&self) -> &AtomicU32 {
            &self.0
        }

        /// Sleeps while the word is `expected`, for at most `timeout`.
        pub(crate) fn wait(&self, expected: u32, timeout: Duration) -> Woken {
            let timeout = libc::timespec {
                tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
                tv_nsec: timeout.subsec_nanos().into(),
            };
            // SAFETY: the word and the timeout outlive the call; futex(2) reads nothing else.
            let result = unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    self.0.as_ptr(),
                    libc::FUTEX_WAIT,
                    expected,
                    &raw const timeout,
                    ptr::null::<u32>(),
                    0u32,
                )
            };
            let timed_out =
                result == -1 && nix::errno::Errno::last() == nix::errno::Errno::ETIMEDOUT;
            if timed_out {
                Woken::TimedOut
            } else {
                Woken::Rung
            }
        }

        /// Wakes everybody who sleeps on the word.
        pub(crate) fn wake_all(&self) {
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

    fn membarrier(command: libc::c_int) -> bool {
        // SAFETY: membarrier(2) takes no pointer.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
    }

    /// Asks the kernel to let other processes' heavy barriers reach this one. False where it refuses: then
    /// [`light_barrier`] must be given `false`. Quick when already done, so it is done at each attach.
    pub(crate) fn register() -> bool {
        membarrier(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED)
    }

    /// For a process that membarriers do not reach.
    #[cold]
    fn full_fence() {
        fence(SeqCst);
    }

    /// The waker's barrier between its publication and its look at the bell.
    #[inline]
    pub(crate) fn light_barrier(registered: bool) {
        // The processor's fence is the sleeper's membarrier; this one keeps the compiler in order.
        compiler_fence(SeqCst);
        if !registered {
            full_fence();
        }
    }

    /// The sleeper's barrier between arming the bell and its last look. False where the kernel refuses
    /// membarrier: then a wake may be lost, and the sleep must be short.
    pub(crate) fn heavy_barrier() -> bool {
        fence(SeqCst);
        membarrier(libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED)
    }
}

#[cfg(loom)]
mod body {
    use super::{Duration, Woken};
    use crate::sync::{AtomicU32, SeqCst, fence};
    use loom::sync::{Condvar, Mutex};

    /// A word that one can sleep on, as loom sees it: no timeout ever ends.
    pub(crate) struct Futex {
        word: AtomicU32,
        lock: Mutex<()>,
        sleepers: Condvar,
    }

    impl Futex {
        pub(crate) fn new(value: u32) -> Self {
            Self {
                word: AtomicU32::new(value),
                lock: Mutex::new(()),
                sleepers: Condvar::new(),
            }
        }

        pub(crate) fn word(&self) -> &AtomicU32 {
            &self.word
        }

        pub(crate) fn wait(&self, expected: u32, _timeout: Duration) -> Woken {
            let guard = self.lock.lock().unwrap();
            // The kernel compares under its own lock, with the newest value.
            if self.word.fetch_or(0, SeqCst) == expected {
                drop(self.sleepers.wait(guard).unwrap());
            }
            Woken::Rung
        }

        pub(crate) fn wake_all(&self) {
            drop(self.lock.lock().unwrap());
            self.sleepers.notify_all();
        }
    }

    pub(crate) fn register() -> bool {
        true
    }

    /// loom has no membarrier: both sides pay a fence.
    pub(crate) fn light_barrier(_registered: bool) {
        fence(SeqCst);
    }

    pub(crate) fn heavy_barrier() -> bool {
        fence(SeqCst);
        true
    }
}
