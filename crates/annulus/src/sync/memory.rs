//! The payload in real memory.

use super::{AHEAD, AtomicU64, LINE, PAYLOAD_ALIGN, Relaxed, WORD, fetch_to_write};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::{self, NonNull};

/// Two words, as the processor moves them.
///
/// Copied one by one they could not be read together for a while: the processor forwards to a load what one store wrote, not what two
/// did, and whoever uses a value reads it by vectors. 64 bytes, many senders and receivers: 19.5 ns against 10.9.
#[cfg(target_arch = "x86_64")]
pub(crate) type Pair = std::arch::x86_64::__m128i;
#[cfg(not(target_arch = "x86_64"))]
pub(crate) type Pair = [u64; 2];

/// Records longer than this hide the way of their lines behind their own copying.
const LONG: usize = 512;

/// The payload's bytes, as an algorithm sees them. Offsets are bytes from its start.
#[derive(Clone, Copy)]
pub(crate) struct Payload {
    base: *mut u8,
    len: usize,
}

/// Whether values of this type go by words although their copier has them alone. The compiler takes a plain copy apart, to have some
/// of it in registers, and calls a function for the rest: 256 bytes 17 ns against 10.6.
const fn goes_by_words<T>() -> bool {
    size_of::<T>() % WORD == 0 && size_of::<T>() <= LONG
}

impl Payload {
    /// # Safety
    ///
    /// `base` is aligned to [`PAYLOAD_ALIGN`], and `len` bytes from there on stay readable and
    /// writable as long as the value and its copies are used.
    pub(crate) unsafe fn new(base: *mut u8, len: usize) -> Self {
        debug_assert!(base as usize % PAYLOAD_ALIGN == 0);
        Self { base, len }
    }

    /// Where the byte at `at` lies.
    ///
    /// # Safety
    ///
    /// `at` is within the payload.
    #[inline]
    pub(crate) unsafe fn at(self, at: usize) -> *mut u8 {
        // SAFETY: within the payload, says the caller, and the payload is one allocation.
        unsafe { self.base.add(at) }
    }

    /// Copies `len` bytes in.
    ///
    /// # Safety
    ///
    /// `at..at + len` is within the payload and the caller's alone; `from` has `len` bytes.
    #[inline]
    pub(crate) unsafe fn write(self, at: usize, from: *const u8, len: usize) {
        // SAFETY: within the payload, says the caller.
        let to = unsafe { self.at(at) };
        // SAFETY: the caller alone has these bytes, so nothing overlaps or races.
        unsafe { ptr::copy_nonoverlapping(from, to, len) };
    }

    /// Copies `len` bytes out.
    ///
    /// # Safety
    ///
    /// `at..at + len` is within the payload and the caller's alone; `to` has room for `len` bytes.
    #[inline]
    pub(crate) unsafe fn read(self, at: usize, to: *mut u8, len: usize) {
        // SAFETY: within the payload, says the caller.
        let from = unsafe { self.at(at) };
        // SAFETY: the caller alone has these bytes, so nothing overlaps or races.
        unsafe { ptr::copy_nonoverlapping(from, to, len) };
    }

    /// Copies a value in.
    ///
    /// # Safety
    ///
    /// As [`write`](Self::write), and `at` is a multiple of [`WORD`] if the value's size is.
    #[inline]
    pub(crate) unsafe fn write_value<T>(self, at: usize, from: *const T) {
        let (from, len) = (from.cast(), size_of::<T>());
        if goes_by_words::<T>() {
            // SAFETY: the caller's promise is stronger, since the size is whole words.
            unsafe { self.write_shared(at, from, len) };
        } else {
            // SAFETY: the caller's promise is the same.
            unsafe { self.write(at, from, len) };
        }
    }

    /// Copies a value out.
    ///
    /// # Safety
    ///
    /// As [`read`](Self::read), and `at` is a multiple of [`WORD`] if the value's size is.
    #[inline]
    pub(crate) unsafe fn read_value<T>(self, at: usize, to: *mut T) {
        let (to, len) = (to.cast(), size_of::<T>());
        if goes_by_words::<T>() {
            // SAFETY: the caller's promise is stronger, since the size is whole words.
            unsafe { self.read_shared(at, to, len) };
        } else {
            // SAFETY: the caller's promise is the same.
            unsafe { self.read(at, to, len) };
        }
    }

    /// The atomic word at `at`.
    ///
    /// # Safety
    ///
    /// `at` is a multiple of [`WORD`], within the payload.
    #[inline]
    unsafe fn word<'a>(self, at: usize) -> &'a AtomicU64 {
        debug_assert!(at % WORD == 0);
        // SAFETY: within the payload, says the caller.
        let word = unsafe { self.at(at) }.cast();
        // SAFETY: aligned, because `base` and `at` are; alive as long as the payload.
        unsafe { AtomicU64::from_ptr(word) }
    }

    /// Reads one word. Relaxed: whoever needs the value ordered has ordered it by a control word.
    ///
    /// # Safety
    ///
    /// `at` is a multiple of [`WORD`], within the payload.
    #[inline]
    pub(crate) unsafe fn load_word(self, at: usize) -> u64 {
        // SAFETY: the caller's promise is the same.
        unsafe { self.word(at) }.load(Relaxed)
    }

    /// Writes one word. Relaxed: a control word publishes it.
    ///
    /// # Safety
    ///
    /// `at` is a multiple of [`WORD`], within the payload, and the caller's alone to write.
    #[inline]
    pub(crate) unsafe fn store_word(self, at: usize, value: u64) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.word(at) }.store(value, Relaxed);
    }

    /// Reads two words, each as [`load_word`](Self::load_word) does.
    ///
    /// # Safety
    ///
    /// `at` is a multiple of [`WORD`]; both words are within the payload.
    #[inline]
    pub(crate) unsafe fn load_pair(self, at: usize) -> Pair {
        #[cfg(target_arch = "x86_64")]
        {
            // SAFETY: within the payload, says the caller.
            let at = unsafe { self.at(at) };
            let pair;
            // SAFETY: reads what the caller says is there. It may come in parts of different age, and nothing hangs on that: who
            // copies what is being written throws the copy away.
            unsafe {
                std::arch::asm!(
                    "movups {}, [{}]",
                    lateout(xmm_reg) pair,
                    in(reg) at,
                    options(nostack, preserves_flags, readonly)
                );
            }
            pair
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            // SAFETY: the caller's promise is the same.
            let first = unsafe { self.load_word(at) };
            // SAFETY: likewise.
            let second = unsafe { self.load_word(at + WORD) };
            [first, second]
        }
    }

    /// Writes two words, each as [`store_word`](Self::store_word) does.
    ///
    /// # Safety
    ///
    /// `at` is a multiple of [`WORD`]; both words are within the payload, and the caller's alone to write.
    #[inline]
    pub(crate) unsafe fn store_pair(self, at: usize, pair: Pair) {
        #[cfg(target_arch = "x86_64")]
        {
            // SAFETY: within the payload, says the caller.
            let at = unsafe { self.at(at) };
            // SAFETY: writes what is the caller's alone to write; who reads it meanwhile throws away what it read.
            unsafe {
                std::arch::asm!(
                    "movups [{}], {}",
                    in(reg) at,
                    in(xmm_reg) pair,
                    options(nostack, preserves_flags)
                );
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        for (number, word) in pair.into_iter().enumerate() {
            // SAFETY: the caller's promise is the same.
            unsafe { self.store_word(at + number * WORD, word) };
        }
    }

    /// Fetches, to be written soon, lines that lie ahead of the `len` bytes at `at`: as many as begin in those. They were
    /// last read on another processor, and are on their way here while others are written. Not where fewer bytes than
    /// that are `free`, from `at` on: it would take them from a reader that is not done with them.
    #[inline]
    pub(crate) fn fetch_ahead(self, at: usize, len: usize, free: impl Fn() -> usize) {
        let begins_line = at.wrapping_neg() % LINE < len;
        if begins_line && len <= LONG && free() >= len + AHEAD + LINE {
            if len <= LINE {
                // One line, beyond the ring's end or not: few instructions, so that they are inlined with all around them.
                fetch_to_write(self.base.wrapping_add(at.next_multiple_of(LINE) + AHEAD));
            } else {
                self.fetch_ahead_of(at, at + len);
            }
        }
    }

    /// The same for a record, whose length no processor can foresee: a loop over its lines is left at a guess, and a wrong one costs as
    /// much as the copy. So short records ask for the same number of lines each; those that are on their way already cost
    /// little. Records of 16 to 256 bytes, nearly all of which are short: 20 ns with a loop, 17 without.
    #[inline]
    pub(crate) fn fetch_ahead_of_record(self, at: usize, len: usize, free: impl Fn() -> usize) {
        const LINES: usize = 5;
        let end = at + AHEAD + (LINES + 1) * LINE;
        if len > (LINES - 1) * LINE || end > self.len {
            self.fetch_ahead(at, len, free);
        } else if free() >= end - at {
            let first = at.next_multiple_of(LINE) + AHEAD;
            for number in 0..LINES {
                fetch_to_write(self.base.wrapping_add(first + number * LINE));
            }
        }
    }

    /// Fetches the lines that lie ahead of those which begin in `begin..end`.
    #[inline]
    pub(crate) fn fetch_ahead_of(self, begin: usize, end: usize) {
        let mut line = begin.next_multiple_of(LINE) + AHEAD;
        // At the ring's end there is nothing ahead; the first lines of a lap come when they are written.
        let end = (end + AHEAD).min(self.len);
        while line < end {
            fetch_to_write(self.base.wrapping_add(line));
            line += LINE;
        }
    }

    /// The caller's last shared copy of these bytes was taken in time, so the next writer must come after it.
    /// A witness for models; nothing here.
    #[inline]
    pub(crate) fn counted(self, _at: usize, _len: usize) {}

    /// Where `at` lies, for access in place.
    ///
    /// # Safety
    ///
    /// `at` is within the payload.
    pub(crate) unsafe fn in_place(self, at: usize) -> Option<*mut u8> {
        // SAFETY: the caller's promise is the same.
        Some(unsafe { self.at(at) })
    }
}

/// A payload on the heap, all zeros at first.
pub(crate) struct HeapPayload {
    base: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the memory is owned, and only reached through `Payload`, whose callers promise the rest.
unsafe impl Send for HeapPayload {}
// SAFETY: as for `Send`; the value itself has no operation that needs exclusion.
unsafe impl Sync for HeapPayload {}

impl HeapPayload {
    /// Allocates `len` bytes, or nothing if there is no memory for them.
    pub(crate) fn new(len: usize) -> Option<Self> {
        let layout = Layout::from_size_align(len.max(1), PAYLOAD_ALIGN).ok()?;
        // SAFETY: the size is not 0.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Self { base, layout })
    }

    pub(crate) fn payload(&self) -> Payload {
        // SAFETY: allocated with this alignment; whoever keeps the copy keeps `self` alive.
        unsafe { Payload::new(self.base.as_ptr(), self.layout.size()) }
    }
}

impl Drop for HeapPayload {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and freed only here.
        unsafe { dealloc(self.base.as_ptr(), self.layout) };
    }
}
