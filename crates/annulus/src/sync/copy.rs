//! Copies in and out of the payload by words, which others may do at the same time.

use super::{Pair, Payload, WORD};
use std::ptr;

impl Payload {
    /// Copies `len` bytes in by words; the last word is filled up with zeros.
    ///
    /// # Safety
    ///
    /// `at` is a multiple of [`WORD`]; `at..at + len`, rounded up to a word, is within the payload
    /// and the caller's alone to write; `from` has `len` bytes.
    #[inline]
    pub(crate) unsafe fn write_shared(self, at: usize, from: *const u8, len: usize) {
        let mut done = 0;
        while done + size_of::<Pair>() <= len {
            // SAFETY: `done` is within `len`.
            let next = unsafe { from.add(done) };
            // SAFETY: two words of the source are left.
            let pair = unsafe { next.cast::<Pair>().read_unaligned() };
            // SAFETY: within the range that the caller owns.
            unsafe { self.store_pair(at + done, pair) };
            done += size_of::<Pair>();
        }
        if done + WORD <= len {
            // SAFETY: `done + WORD` is within `len`.
            let next = unsafe { from.add(done) };
            // SAFETY: a whole word of the source is left.
            let word = unsafe { next.cast::<u64>().read_unaligned() };
            // SAFETY: within the range that the caller owns.
            unsafe { self.store_word(at + done, word) };
            done += WORD;
        }
        if done < len {
            let mut last = [0; WORD];
            // SAFETY: `done` is within `len`.
            let next = unsafe { from.add(done) };
            // SAFETY: `len - done` bytes are left, fewer than a word.
            unsafe { ptr::copy_nonoverlapping(next, last.as_mut_ptr(), len - done) };
            // SAFETY: within the caller's range rounded up to a word.
            unsafe { self.store_word(at + done, u64::from_ne_bytes(last)) };
        }
    }

    /// Copies `len` bytes out by words, while somebody may be writing them.
    ///
    /// # Safety
    ///
    /// `at` is a multiple of [`WORD`]; `at..at + len`, rounded up to a word, is within the payload;
    /// `to` has room for `len` bytes.
    #[inline]
    pub(crate) unsafe fn read_shared(self, at: usize, to: *mut u8, len: usize) {
        let mut done = 0;
        while done + size_of::<Pair>() <= len {
            // SAFETY: within the payload, says the caller.
            let pair = unsafe { self.load_pair(at + done) };
            // SAFETY: `done` is within `len`.
            let next = unsafe { to.add(done) };
            // SAFETY: room for two words is left.
            unsafe { next.cast::<Pair>().write_unaligned(pair) };
            done += size_of::<Pair>();
        }
        if done + WORD <= len {
            // SAFETY: within the payload, says the caller.
            let word = unsafe { self.load_word(at + done) };
            // SAFETY: `done + WORD` is within `len`.
            let next = unsafe { to.add(done) };
            // SAFETY: room for a whole word is left.
            unsafe { next.cast::<u64>().write_unaligned(word) };
            done += WORD;
        }
        if done < len {
            // SAFETY: within the payload rounded up to a word.
            let last = unsafe { self.load_word(at + done) }.to_ne_bytes();
            // SAFETY: `done` is within `len`.
            let next = unsafe { to.add(done) };
            // SAFETY: room for `len - done` bytes is left, fewer than a word.
            unsafe { ptr::copy_nonoverlapping(last.as_ptr(), next, len - done) };
        }
    }
}
