//! Memory that other processes write to: words and copies, by offset. The only unsafe access to it.
//!
//! No reference but to atomics points into it, and every offset is checked against the length that was mapped.
//! Two processes may copy at the same place at once only if one of them breaks the protocol; what is read
//! is bytes then, as good as any.

use memmap2::{MmapOptions, MmapRaw};
use std::fs::File;
use std::io;
use std::ptr;
use std::sync::atomic::AtomicU64;

/// A file's first bytes, mapped and shared.
pub(crate) struct Memory {
    map: MmapRaw,
}

impl Memory {
    /// Maps the first `len` bytes of `file`, which has them.
    pub(crate) fn map(file: &File, len: usize) -> io::Result<Self> {
        MmapOptions::new()
            .len(len)
            .map_raw(file)
            .map(|map| Self { map })
    }

    fn at(&self, at: usize, len: usize) -> *mut u8 {
        let fits = at.checked_add(len).is_some_and(|end| end <= self.map.len());
        assert!(fits, "{len} bytes at {at} of {}", self.map.len());
        self.map.as_mut_ptr().wrapping_add(at)
    }

    /// The word at this offset, a multiple of 8.
    pub(crate) fn word(&self, at: usize) -> &AtomicU64 {
        assert!(at % 8 == 0, "word at {at}");
        let word = self.at(at, 8).cast::<AtomicU64>();
        // SAFETY: mapped for as long as `self`, aligned (a page is, and so is the offset), and only ever used as an atomic.
        unsafe { &*word }
    }

    /// Copies bytes in.
    pub(crate) fn write(&self, at: usize, bytes: &[u8]) {
        let to = self.at(at, bytes.len());
        // SAFETY: mapped and as long as `bytes`, which nobody else writes to and which is not shared memory.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    }

    /// Copies `len` bytes out, to the end of `buffer`.
    pub(crate) fn read(&self, at: usize, len: usize, buffer: &mut Vec<u8>) {
        let from = self.at(at, len);
        buffer.reserve(len);
        let to = buffer.spare_capacity_mut().as_mut_ptr().cast::<u8>();
        // SAFETY: mapped and that long; `reserve` made the room, which is not shared memory.
        unsafe { ptr::copy_nonoverlapping(from, to, len) };
        // SAFETY: just written, within the capacity.
        unsafe { buffer.set_len(buffer.len() + len) };
    }
}
