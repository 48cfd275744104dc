//! What the processes of a trial know of each other, in a page that they share and that is no part of any queue. It
//! survives whoever is killed.

use crate::message::{Message, number};
use nix::libc;
use std::io;
use std::ops::Deref;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

/// More messages than any trial receives.
const LOG: usize = 4096;

/// In [`Words::result`]: it returned that there is no room, or no message.
pub const NOTHING: u64 = 1;

/// In [`Words::result`]: it returned that it has sent; or, more by the number, that it received this message.
pub const DONE: u64 = 2;

/// The shared words. Each counts from the begin of the trial.
#[derive(Debug)]
#[repr(C)]
pub struct Words {
    /// The victim has its handle. Written by it.
    pub attached: AtomicBool,
    /// The victim has done its first operations. Written by it.
    pub warm: AtomicBool,
    /// What the victim's last operation returned, if it did: one of the constants below. Written by it.
    pub result: AtomicU64,
    /// Sends of the survivors that have returned.
    pub sent: AtomicU64,
    /// How much was sent when a survivor last found nothing to receive. Written by it.
    pub polled: AtomicU64,
    /// The receivers have received enough. Written by the supervisor.
    pub settled: AtomicBool,
    /// How much a survivor could send with nobody receiving. Written by it.
    pub room: AtomicU64,
    /// Survivors' handles.
    pub others: AtomicU64,
    /// What the victim received.
    pub victim: Log,
    /// What the survivors received.
    pub survivors: Log,
}

/// The numbers of received messages.
#[derive(Debug)]
#[repr(C)]
pub struct Log {
    count: AtomicU64,
    numbers: [AtomicU64; LOG],
}

impl Log {
    /// Notes a message.
    pub fn note(&self, message: &Message) {
        let at = self.count.fetch_add(1, SeqCst) as usize;
        if let Some(place) = self.numbers.get(at) {
            place.store(number(message), SeqCst);
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count.load(SeqCst)
    }

    /// All numbers.
    pub fn numbers(&self) -> Vec<u64> {
        let count = (self.count() as usize).min(LOG);
        let numbers = self.numbers[..count].iter();
        numbers.map(|number| number.load(SeqCst)).collect()
    }
}

/// The words, mapped for this process and those that it forks.
#[derive(Debug)]
pub struct Ledger {
    words: ptr::NonNull<Words>,
}

impl Ledger {
    /// An empty one.
    ///
    /// # Errors
    ///
    /// If there is no memory.
    pub fn new() -> io::Result<Self> {
        // SAFETY: a new anonymous mapping touches nothing that exists.
        let at = unsafe {
            libc::mmap(
                ptr::null_mut(),
                size_of::<Words>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        match ptr::NonNull::new(at.cast()) {
            Some(words) if at != libc::MAP_FAILED => Ok(Self { words }),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Deref for Ledger {
    type Target = Words;

    fn deref(&self) -> &Words {
        // SAFETY: mapped as long as we are, zeros are valid, and there are only atomics in it.
        unsafe { self.words.as_ref() }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // SAFETY: our mapping, and nobody borrows from it any more.
        unsafe { libc::munmap(self.words.as_ptr().cast(), size_of::<Words>()) };
    }
}
