//! What the actors of a storm did, written down outside of the ring, in shared memory, so that it survives each
//! of them.
//!
//! Every message has a number of its own in the whole storm. For each there is a byte that its sender alone
//! writes, before and after it sends ([`Fate`]), and one that counts its arrivals. Every actor that ever lived has
//! a [`Life`] of its own: how far it got, what it holds, and where typed records are copied to, so that the last one that a
//! dead receiver copied can still be read.
//!
//! A store is as good as any other for this: what a process stored before it was killed stays, and the order of its
//! stores to the ring and to the ledger is kept by compiler fences. No other process acts on it before its death.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, compiler_fence};

/// Words of a typed message.
pub const WORDS: usize = 8;

/// Messages in all. The bytes for those that are never sent take no memory.
const MESSAGES: usize = 1 << 28;

/// Messages whose numbers a sender draws at once.
pub const DRAW: u64 = 64;

/// What a message's sender is doing with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fate {
    /// It will never be sent: reserved, and given up.
    GivenUp = 1,
    /// It is being sent. If its sender dies now it comes once or not at all.
    Began = 2,
    /// It was sent: it comes.
    Committed = 3,
}

impl Fate {
    fn of(byte: u8) -> Option<Self> {
        [Self::GivenUp, Self::Began, Self::Committed]
            .into_iter()
            .find(|fate| *fate as u8 == byte)
    }
}

/// What is counted for the whole storm.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Counts {
    /// Not 0: senders close when they have sent what they are at.
    pub stop: AtomicU32,
    _pad: u32,
    /// The numbers drawn by senders.
    pub drawn: AtomicU64,
    /// Records that were not what any sender sends.
    pub torn: AtomicU64,
    /// Records that came out of the order of their sender.
    pub disordered: AtomicU64,
    /// Repeats that were not marked as such.
    pub unmarked: AtomicU64,
    /// Receivers that were told that the ring had ended, while it had not.
    pub ended_early: AtomicU64,
}

/// What is known of an actor, from its start to its end.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct Life {
    /// Records sent or received: whether it makes progress.
    pub done: AtomicU64,
    /// One more than the number of the message that it has received and not yet released.
    pub holding: AtomicU64,
    /// Where a typed record is copied to. Only the owner writes, and others read when it is dead.
    pub landing: [AtomicU64; WORDS],
}

/// The ledger, mapped.
#[derive(Debug)]
pub struct Ledger {
    file: File,
    base: NonNull<u8>,
    lives: usize,
}

// SAFETY: the memory is only touched through atomics, but for `landing_mut`, whose caller vouches for it.
unsafe impl Sync for Ledger {}
// SAFETY: the mapping belongs to the process, not to a thread.
unsafe impl Send for Ledger {}

impl Ledger {
    /// A new one, with room for so many lives.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn new(lives: usize) -> io::Result<Self> {
        // SAFETY: the name is a C string; the call reads nothing else.
        let fd = unsafe { libc::memfd_create(c"ledger".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, and nobody else's.
        let file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        file.set_len(length(lives) as u64)?;
        Self::map(file, lives)
    }

    /// The ledger that another process made, by the path of its descriptor.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let rest = file.metadata()?.len() as usize - length(0);
        Self::map(file, rest / size_of::<Life>())
    }

    fn map(file: File, lives: usize) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let (fd, shared) = (file.as_raw_fd(), libc::MAP_SHARED);
        // SAFETY: a new mapping, where the kernel has room for it.
        let base =
            unsafe { libc::mmap(std::ptr::null_mut(), length(lives), access, shared, fd, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or_else(io::Error::last_os_error)?;
        Ok(Self { file, base, lives })
    }

    /// Where other processes find it, while we live.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    fn at<T>(&self, offset: usize) -> &T {
        // SAFETY: the callers stay within the mapping, and offsets are aligned for their types.
        let place = unsafe { self.base.add(offset) };
        // SAFETY: mapped as long as we are, all atomics, and any bytes are a value.
        unsafe { place.cast().as_ref() }
    }

    /// What is counted.
    pub fn counts(&self) -> &Counts {
        self.at(0)
    }

    /// The life of this number.
    ///
    /// # Panics
    ///
    /// If there is no room for so many.
    pub fn life(&self, number: usize) -> &Life {
        assert!(number < self.lives, "life {number} of {}", self.lives);
        self.at(length(number))
    }

    /// The place in a life where records are copied to, for its owner to write.
    ///
    /// # Safety
    ///
    /// The caller is the life's only owner, and calls this once.
    #[allow(clippy::mut_from_ref, reason = "the caller owns the life")]
    pub unsafe fn landing_mut(&self, number: usize) -> &mut [[u64; WORDS]; 1] {
        let words: NonNull<AtomicU64> = NonNull::from(&self.life(number).landing).cast();
        // SAFETY: atomics lie as their integers do, and nobody else touches these while the owner lives.
        unsafe { words.cast().as_mut() }
    }

    fn fate_byte(&self, message: u64) -> &AtomicU8 {
        assert!((message as usize) < MESSAGES, "message {message}");
        self.at(HEAD + message as usize)
    }

    fn arrivals_byte(&self, message: u64) -> &AtomicU8 {
        assert!((message as usize) < MESSAGES, "message {message}");
        self.at(HEAD + MESSAGES + message as usize)
    }

    /// Whether a message can have this number.
    pub fn is_drawn(&self, message: u64) -> bool {
        // Relaxed, as everything here: see the head.
        message < self.counts().drawn.load(Relaxed).min(MESSAGES as u64)
    }

    /// Draws the first of `DRAW` new numbers.
    ///
    /// # Panics
    ///
    /// If there are no more.
    pub fn draw(&self) -> u64 {
        let first = self.counts().drawn.fetch_add(DRAW, Relaxed);
        assert!(first + DRAW <= MESSAGES as u64, "the ledger is full");
        first
    }

    /// Notes what is to become of a message of ours, before and after everything else that we do with it.
    pub fn note(&self, message: u64, fate: Fate) {
        compiler_fence(SeqCst);
        self.fate_byte(message).store(fate as u8, Relaxed);
        compiler_fence(SeqCst);
    }

    /// What has become of a message; nothing if its sender never came to it.
    pub fn fate(&self, message: u64) -> Option<Fate> {
        Fate::of(self.fate_byte(message).load(Relaxed))
    }

    /// Notes an arrival. Returns how many there were before.
    pub fn arrived(&self, message: u64) -> u8 {
        compiler_fence(SeqCst);
        let before = self.arrivals_byte(message).fetch_add(1, Relaxed);
        compiler_fence(SeqCst);
        before
    }

    /// How often a message has arrived.
    pub fn arrivals(&self, message: u64) -> u8 {
        self.arrivals_byte(message).load(Relaxed)
    }

    /// Whether senders are to close.
    pub fn stopped(&self) -> bool {
        self.counts().stop.load(Relaxed) != 0
    }

    /// What all lives up to this one have done.
    pub fn progress(&self, lives: usize) -> u64 {
        (0..lives)
            .map(|number| self.life(number).done.load(Relaxed))
            .fold(0, u64::wrapping_add)
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // SAFETY: mapped by us, and every reference into it has ended.
        unsafe { libc::munmap(self.base.as_ptr().cast(), length(self.lives)) };
    }
}

/// Where the bytes of the messages begin.
const HEAD: usize = 4096;

/// Bytes of a ledger for so many lives; the lives are at its end.
const fn length(lives: usize) -> usize {
    HEAD + 2 * MESSAGES + lives * size_of::<Life>()
}
