//! What a forked child does not inherit: the locks that say who lives.
//!
//! A child's copy of a descriptor is the same open file description, and would vouch for its parent when that
//! is dead. So a handler that runs in the child, before anything else does, puts a description without locks
//! in the place of each, and counts the fork: inherited handles then answer `ForkedHandle`. What is between
//! `vfork` or `posix_spawn` and `exec` runs no handler, but the descriptors close at `exec`.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

/// Descriptors that hold locks, and one each of the same file that holds none.
type Locks = Vec<(RawFd, RawFd)>;

static LOCKS: Mutex<Locks> = Mutex::new(Vec::new());

/// How many forks lie between the first process with a lock and this one.
static FORKS: AtomicU32 = AtomicU32::new(0);

fn locks() -> MutexGuard<'static, Locks> {
    LOCKS.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    /// Held by the thread that forks, so that the child finds the list whole.
    static HELD: RefCell<Option<MutexGuard<'static, Locks>>> = const { RefCell::new(None) };
}

extern "C" fn before() {
    let guard = locks();
    // A thread whose locals are gone forks without the list; then the child keeps it locked, and unused.
    let _ = HELD.try_with(|held| *held.borrow_mut() = Some(guard));
}

extern "C" fn after() {
    let _ = HELD.try_with(|held| held.borrow_mut().take());
}

/// Runs in the child before `fork` returns there. Allocates nothing.
extern "C" fn in_child() {
    // Relaxed: the child has one thread.
    FORKS.fetch_add(1, Relaxed);
    let _ = HELD.try_with(|held| {
        let Some(mut locks) = held.borrow_mut().take() else {
            return;
        };
        for &(lock, file) in &*locks {
            // SAFETY: dup3(2) takes no pointer. Both descriptors are open, since they are in the list; the lock's
            // number stays open, so whoever closes it later closes nobody else's.
            unsafe { libc::dup3(file, lock, libc::O_CLOEXEC) };
        }
        locks.clear();
    });
}

fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handlers are functions of this library, which stays loaded. A failure (no memory) leaves
        // children without handlers.
        unsafe { libc::pthread_atfork(Some(before), Some(after), Some(in_child)) };
    });
}

/// Tells processes apart along a line of forks; the same number as at another time means the same process.
pub(crate) fn generation() -> u32 {
    // Relaxed: it only changes where there is one thread.
    FORKS.load(Relaxed)
}

/// An open file description with a lock, of this process alone.
pub(crate) struct Lock {
    /// Always there, until we are dropped.
    file: Option<File>,
}

impl Lock {
    /// A new description of the file that `lockless`, which is open for longer, is another of. Nothing is
    /// forked between the opening and the note of it.
    pub(crate) fn open(lockless: &File) -> io::Result<Self> {
        watch();
        let mut locks = locks();
        let path = format!("/proc/self/fd/{}", lockless.as_raw_fd());
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        locks.push((file.as_raw_fd(), lockless.as_raw_fd()));
        Ok(Self { file: Some(file) })
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.file {
            Some(file) => file.as_fd(),
            None => unreachable!("closed only when dropped"),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let number = self.as_fd().as_raw_fd();
        // Nothing is forked between the loss of the note and the close, either.
        let mut locks = locks();
        locks.retain(|&(other, _)| other != number);
        self.file = None;
    }
}
