//! The textbook's bounded buffer in shared memory: a mutex, and two semaphores that count what is free and what is there.
//!
//! With a robust mutex, whoever finds its owner dead calls `pthread_mutex_consistent` and goes on with the state as it
//! found it, which is what the textbook's code can do: it has no notes of how far the owner came.

use super::{CAPACITY, Handle, Opened, Peer};
use crate::message::Message;
use crate::place::Place;
use memmap2::MmapRaw;
use nix::libc;
use std::cell::UnsafeCell;
use std::fs::OpenOptions;

/// With a plain mutex.
pub const PLAIN: Peer = Peer {
    name: "mutex and semaphores",
    open: |place, _side, create| open(place, create, libc::PTHREAD_MUTEX_STALLED),
    ..super::MPMC
};

/// With a robust mutex.
pub const ROBUST: Peer = Peer {
    name: "robust mutex and semaphores",
    open: |place, _side, create| open(place, create, libc::PTHREAD_MUTEX_ROBUST),
    itself: "pthread_mutex_consistent in itself",
    ..super::MPMC
};

/// What is shared.
#[repr(C)]
struct Buffer {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    /// Counts free slots.
    free: UnsafeCell<libc::sem_t>,
    /// Counts messages.
    full: UnsafeCell<libc::sem_t>,
    /// The mutex's owner writes the rest.
    contents: UnsafeCell<Contents>,
}

#[repr(C)]
struct Contents {
    head: usize,
    tail: usize,
    slots: [Message; CAPACITY as usize],
}

/// A process's mapping of it.
struct Queue {
    map: MmapRaw,
}

impl Queue {
    fn buffer(&self) -> &Buffer {
        let at: *const Buffer = self.map.as_ptr().cast();
        // SAFETY: mapped as long as we are, made by `initialise`, and all of it is in cells.
        unsafe { &*at }
    }

    fn initialise(&self, robust: libc::c_int) {
        let mut kind = std::mem::MaybeUninit::uninit();
        let kind = kind.as_mut_ptr();
        // SAFETY: room for it.
        unsafe { libc::pthread_mutexattr_init(kind) };
        // SAFETY: just made.
        unsafe { libc::pthread_mutexattr_setpshared(kind, libc::PTHREAD_PROCESS_SHARED) };
        // SAFETY: as above.
        unsafe { libc::pthread_mutexattr_setrobust(kind, robust) };
        let buffer = self.buffer();
        // SAFETY: nobody else knows of the buffer yet.
        unsafe { libc::pthread_mutex_init(buffer.mutex.get(), kind) };
        // SAFETY: as above.
        unsafe { libc::sem_init(buffer.free.get(), 1, CAPACITY as libc::c_uint) };
        // SAFETY: as above.
        unsafe { libc::sem_init(buffer.full.get(), 1, 0) };
    }

    fn lock(&self) {
        let mutex = self.buffer().mutex.get();
        // SAFETY: a mutex that `initialise` made.
        if unsafe { libc::pthread_mutex_lock(mutex) } == libc::EOWNERDEAD {
            // SAFETY: locked by us, its last owner died.
            unsafe { libc::pthread_mutex_consistent(mutex) };
        }
    }

    fn unlock(&self) {
        // SAFETY: locked by us.
        unsafe { libc::pthread_mutex_unlock(self.buffer().mutex.get()) };
    }
}

impl Handle for Queue {
    fn send(&mut self, message: &Message) -> bool {
        // SAFETY: a semaphore that `initialise` made.
        if unsafe { libc::sem_trywait(self.buffer().free.get()) } != 0 {
            return false;
        }
        self.lock();
        // SAFETY: ours while we hold the mutex.
        let contents = unsafe { &mut *self.buffer().contents.get() };
        contents.slots[contents.tail % CAPACITY as usize] = *message;
        contents.tail += 1;
        self.unlock();
        // SAFETY: as above.
        unsafe { libc::sem_post(self.buffer().full.get()) };
        true
    }

    fn receive(&mut self) -> Option<Message> {
        // SAFETY: a semaphore that `initialise` made.
        if unsafe { libc::sem_trywait(self.buffer().full.get()) } != 0 {
            return None;
        }
        self.lock();
        // SAFETY: ours while we hold the mutex.
        let contents = unsafe { &mut *self.buffer().contents.get() };
        let message = contents.slots[contents.head % CAPACITY as usize];
        contents.head += 1;
        self.unlock();
        // SAFETY: as above.
        unsafe { libc::sem_post(self.buffer().free.get()) };
        Some(message)
    }
}

fn open(place: &Place, create: bool, robust: libc::c_int) -> Opened {
    let map = || {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(create)
            .truncate(false)
            .open(place.file())?;
        if create {
            file.set_len(size_of::<Buffer>() as u64)?;
        }
        MmapRaw::map_raw(&file)
    };
    let queue = Queue {
        map: map().map_err(|error: std::io::Error| error.to_string())?,
    };
    if create {
        queue.initialise(robust);
    }
    Ok(Box::new(queue))
}
