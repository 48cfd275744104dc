//! What a forked child does not inherit: the memory of rings, and the locks of their leases.
//!
//! A lease is one process's. If a child had a copy of its lock, it would vouch for its parent when that is dead; if it
//! had the memory, two processes would act under one name. So:
//!
//! - Regions are mapped `MADV_DONTFORK`. Whatever a child does, its parent's ring is out of its reach.
//! - Where the child was made by `fork`, a handler puts private memory in the region's place before anything else
//!   runs there, and marks it ([`shut`]): a bell is set that every operation looks at anyway, so inherited
//!   handles answer `ForkedHandle`, at no cost to others. A child made by a raw `clone` meets a fault instead.
//! - The same handler lets go of the child's copies of locks. Their descriptors stay open, on the region's file, until
//!   whoever thinks that it owns them closes them.
//!
//! Rings on the heap are memory like any other: the child gets a copy, and may use it.
//!
//! From the moment when the kernel has made the child until it has run the handler, it does have copies of the locks; so it has
//! between `vfork` or `posix_spawn` and `exec`, where no handler runs. A parent that is killed in that window counts as alive until the
//! child gets a processor. A lock that the parent itself lets go of in that window is gone at once: it is unlocked before it is
//! closed.

use crate::futex;
use crate::lease::{reopen, unlock};
use crate::region;
use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

/// What this process would have to take from a child.
struct Inheritance {
    /// The mapped regions: address and length.
    regions: Vec<(usize, usize)>,
    /// Descriptors that hold locks, and one each of the same file that holds none.
    locks: Vec<(RawFd, RawFd)>,
}

static INHERITANCE: Mutex<Inheritance> = Mutex::new(Inheritance {
    regions: Vec::new(),
    locks: Vec::new(),
});

fn inheritance() -> MutexGuard<'static, Inheritance> {
    INHERITANCE.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    /// Held by the thread that forks, so that the child finds the lists whole.
    static HELD: RefCell<Option<MutexGuard<'static, Inheritance>>> = const { RefCell::new(None) };
}

fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handlers are functions of this library, which is not unloaded while its memory is mapped.
        // A failure (no memory) leaves the child without handlers; `MADV_DONTFORK` still protects the parent.
        unsafe { libc::pthread_atfork(Some(before), Some(after), Some(in_child)) };
    });
}

extern "C" fn before() {
    let guard = inheritance();
    // A thread whose locals are gone forks without the lists: its child keeps the copies of locks until it closes them.
    let _ = HELD.try_with(|held| *held.borrow_mut() = Some(guard));
}

extern "C" fn after() {
    let _ = HELD.try_with(|held| held.borrow_mut().take());
}

/// Runs in the child before `fork` returns there. Allocates nothing.
extern "C" fn in_child() {
    let _ = HELD.try_with(|held| {
        let Some(mut inheritance) = held.borrow_mut().take() else {
            return;
        };
        for &(lock, file) in &inheritance.locks {
            // SAFETY: dup3(2) takes no pointer. Both descriptors are open, since they are in the list; the lock's number
            // stays open, so whoever closes it later closes nobody else's.
            unsafe { libc::dup3(file, lock, libc::O_CLOEXEC) };
        }
        for &(base, len) in &inheritance.regions {
            region::shut(base as *mut u8, len);
        }
        inheritance.locks.clear();
        inheritance.regions.clear();
        futex::register();
    });
}

/// Notes a region that children shall not inherit.
pub(crate) fn keep(base: *mut u8, len: usize) {
    watch();
    // SAFETY: the range is a mapping of the caller's; the advice changes nothing in this process.
    unsafe { libc::madvise(base.cast(), len, libc::MADV_DONTFORK) };
    inheritance().regions.push((base as usize, len));
}

/// The region is about to be unmapped.
pub(crate) fn forget(base: *mut u8) {
    let mut inheritance = inheritance();
    inheritance
        .regions
        .retain(|&(other, _)| other != base as usize);
}

/// An open file description with a lock, of this process alone.
pub(crate) struct Lock {
    /// Always there, until we are dropped.
    file: Option<File>,
    /// The process that opened it. A copy in a child that ran no handler must leave the lock alone.
    owner: u32,
}

impl Lock {
    /// A new description of the file that `lockless`, which is open for longer, is another of. Nothing is forked between
    /// the opening and the note of it: a child's copy would be the same description, and hold the lock.
    pub(crate) fn open(lockless: &File) -> io::Result<Self> {
        watch();
        let mut inheritance = inheritance();
        let file = reopen(lockless)?;
        inheritance
            .locks
            .push((file.as_raw_fd(), lockless.as_raw_fd()));
        Ok(Self {
            file: Some(file),
            owner: std::process::id(),
        })
    }
}

impl Deref for Lock {
    type Target = File;

    fn deref(&self) -> &File {
        match &self.file {
            Some(file) => file,
            None => unreachable!("closed only when dropped"),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let number = self.as_raw_fd();
        // Nothing is forked between the loss of the note and the close, either.
        let mut inheritance = inheritance();
        inheritance.locks.retain(|&(other, _)| other != number);
        if self.owner == std::process::id() {
            // Closing is not enough while a child that is just being started has the descriptor, too.
            unlock(self);
        }
        self.file = None;
    }
}
