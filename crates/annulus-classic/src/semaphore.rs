//! POSIX named semaphores, as libc has them.

use nix::errno::Errno;
use nix::time::{ClockId, clock_gettime};
use std::ffi::{CString, c_int};
use std::time::{Duration, Instant};

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    /// Since glibc 2.30; the `libc` crate does not have it.
    fn sem_clockwait(
        sem: *mut libc::sem_t,
        clock: libc::clockid_t,
        until: *const libc::timespec,
    ) -> c_int;
}

/// An open semaphore.
#[derive(Debug)]
pub(crate) struct Semaphore {
    sem: *mut libc::sem_t,
}

// SAFETY: a semaphore is for use by any thread; the pointer is closed once, by its only owner.
unsafe impl Send for Semaphore {}

fn c_name(name: &str) -> Result<CString, Errno> {
    CString::new(name).map_err(|_| Errno::EINVAL)
}

/// Removes the name. Who has the semaphore open keeps it.
pub(crate) fn unlink(name: &str) -> Result<(), Errno> {
    let name = c_name(name)?;
    // SAFETY: the string ends with a zero and outlives the call.
    Errno::result(unsafe { libc::sem_unlink(name.as_ptr()) }).map(drop)
}

impl Semaphore {
    /// Opens the semaphore of this name.
    pub(crate) fn open(name: &str) -> Result<Self, Errno> {
        let name = c_name(name)?;
        // SAFETY: the string ends with a zero and outlives the call; without O_CREAT there are no more arguments.
        let sem = unsafe { libc::sem_open(name.as_ptr(), 0) };
        Self::of(sem)
    }

    /// Creates the semaphore of this name, which must be free.
    pub(crate) fn create(name: &str, mode: u32, value: u32) -> Result<Self, Errno> {
        let name = c_name(name)?;
        let flags = libc::O_CREAT | libc::O_EXCL;
        // SAFETY: the string ends with a zero and outlives the call; mode and value are what O_CREAT asks for.
        let sem = unsafe { libc::sem_open(name.as_ptr(), flags, mode, value) };
        Self::of(sem)
    }

    fn of(sem: *mut libc::sem_t) -> Result<Self, Errno> {
        if sem == libc::SEM_FAILED {
            return Err(Errno::last());
        }
        Ok(Self { sem })
    }

    /// P, if that is possible now.
    pub(crate) fn try_wait(&self) -> bool {
        // SAFETY: open until `self` is dropped.
        (unsafe { libc::sem_trywait(self.sem) }) == 0
    }

    /// P, waiting until then; false if the time is over.
    pub(crate) fn wait_until(&self, until: Instant) -> bool {
        loop {
            if self.try_wait() {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            if self.sleep(left) {
                return true;
            }
            // A signal came, or it is time.
        }
    }

    /// By the clock that nobody sets.
    #[cfg(target_env = "gnu")]
    fn sleep(&self, left: Duration) -> bool {
        let until = after(ClockId::CLOCK_MONOTONIC, left);
        // SAFETY: open until `self` is dropped; the time outlives the call.
        (unsafe { sem_clockwait(self.sem, libc::CLOCK_MONOTONIC, &until) }) == 0
    }

    /// By the clock on the wall, the only one that this libc can wait by. Callers sleep in slices and look at the
    /// other one.
    #[cfg(not(target_env = "gnu"))]
    fn sleep(&self, left: Duration) -> bool {
        let until = after(ClockId::CLOCK_REALTIME, left);
        // SAFETY: open until `self` is dropped; the time outlives the call.
        (unsafe { libc::sem_timedwait(self.sem, &until) }) == 0
    }

    /// V. A semaphore at its greatest value stays there.
    pub(crate) fn post(&self) {
        // SAFETY: open until `self` is dropped.
        unsafe { libc::sem_post(self.sem) };
    }
}

impl Drop for Semaphore {
    fn drop(&mut self) {
        // SAFETY: open, and not used any more.
        unsafe { libc::sem_close(self.sem) };
    }
}

/// The time on this clock when so much has passed.
fn after(clock: ClockId, left: Duration) -> libc::timespec {
    let now = clock_gettime(clock).map_or(Duration::ZERO, Duration::from);
    let until = now + left;
    libc::timespec {
        tv_sec: until.as_secs() as libc::time_t,
        tv_nsec: until.subsec_nanos().into(),
    }
}
