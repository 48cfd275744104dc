//! What a forked child does not inherit: its parent's handles, and the locks that vouch for them.
//!
//! A lock belongs to an open file description, and a child has copies of all descriptors. If it kept them, it would
//! vouch for its parent when that is dead. So a handler that runs in the child before `fork` returns there puts
//! `/dev/null` in the place of each, and counts the fork: a handle that was made before answers `ForkedHandle`. Between `vfork` and `exec` no handler runs, but `exec` closes them.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

/// Forks between this process and the first of its line that used this library.
static FORKS: AtomicU64 = AtomicU64::new(0);

/// The descriptors with locks, and one of `/dev/null` from when there is any.
static LOCKS: Mutex<Locks> = Mutex::new(Locks {
    null: None,
    held: Vec::new(),
});

struct Locks {
    null: Option<File>,
    held: Vec<RawFd>,
}

thread_local! {
    /// Held by the thread that forks, so that the child finds the list whole.
    static HELD: RefCell<Option<MutexGuard<'static, Locks>>> = const { RefCell::new(None) };
}

fn locks() -> MutexGuard<'static, Locks> {
    LOCKS.lock().unwrap_or_else(PoisonError::into_inner)
}

extern "C" fn before() {
    let list = locks();
    let _ = HELD.try_with(|held| *held.borrow_mut() = Some(list));
}

extern "C" fn after() {
    let _ = HELD.try_with(|held| held.borrow_mut().take());
}

/// Runs in the child. Allocates nothing.
extern "C" fn in_child() {
    // Relaxed: the child has one thread.
    FORKS.fetch_add(1, Relaxed);
    let _ = HELD.try_with(|held| {
        if let Some(mut list) = held.borrow_mut().take() {
            let Locks { null, held } = &mut *list;
            for &lock in held.iter() {
                let null = null.as_ref().map_or(-1, |null| null.as_raw_fd());
                // SAFETY: takes no pointer. The lock's number is open, as it is in the list, and stays open for whoever
                // closes it.
                unsafe { libc::dup3(null, lock, libc::O_CLOEXEC) };
            }
            held.clear();
        }
    });
}

/// Which process of a line of forks this is. A handle made under another number is not ours.
pub(crate) fn generation() -> u64 {
    // Relaxed: it changes only where there is one thread.
    FORKS.load(Relaxed)
}

/// An open file description that children do not share.
pub(crate) struct OwnFile {
    /// Always there, until we are dropped.
    file: Option<File>,
}

impl OwnFile {
    /// Another description of the same file.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        static WATCH: Once = Once::new();
        WATCH.call_once(|| {
            // SAFETY: the handlers are functions of this library, which stays loaded. Without memory for
            // them children keep copies.
            unsafe { libc::pthread_atfork(Some(before), Some(after), Some(in_child)) };
        });
        // Nothing is forked between the opening and the note of it.
        let mut list = locks();
        if list.null.is_none() {
            list.null = Some(File::open("/dev/null")?);
        }
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        list.held.push(file.as_raw_fd());
        Ok(Self { file: Some(file) })
    }

    fn file(&self) -> &File {
        match &self.file {
            Some(file) => file,
            None => unreachable!("closed only when dropped"),
        }
    }
}

impl AsFd for OwnFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file().as_fd()
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        let number = self.file().as_raw_fd();
        // Nothing is forked between the loss of the note and the close, either.
        let mut list = locks();
        list.held.retain(|&lock| lock != number);
        self.file = None;
    }
}
