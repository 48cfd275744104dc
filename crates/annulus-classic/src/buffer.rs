//! The bounded buffer as it stands in every textbook:
//!
//! ```text
//! empty:  in == out            full:  (in + 1) % N == out
//! ```
//!
//! N slots, of which N - 1 hold a record at a time, so that `in == out` means one thing only. `in` is written by senders
//! alone, `out` by receivers alone, each in one store, which is what makes a record visible or gives its slot back. So a
//! process that is killed leaves nothing half done: a record is there or it is not.
//!
//! Where the textbook has plain integers, these are atomics: the store of `in` releases what was written to the slot, and
//! its load acquires it; so it is with `out` and what was read.
//!
//! A slot is the record's length, in 8 bytes, and room for the longest record.

use crate::header::{self, Shape, corrupt};
use crate::memory::Memory;
use crate::options::Options;
use annulus_channel::{Fault, OpenReason};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// The longest record that may be asked for.
const MAX_RECORD: u64 = 1 << 30;

/// The numbers of a buffer, which lies in the file after the header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buffer {
    /// Slots.
    n: u64,
    max_record: u64,
    /// Bytes from one slot to the next.
    stride: u64,
}

impl Buffer {
    /// The numbers of a new buffer.
    pub(crate) fn shape(options: &Options) -> Result<Shape, OpenReason> {
        let limit = |setting, limit, needed| OpenReason::Limit {
            setting,
            limit,
            needed,
        };
        let (n, max_record) = (options.slots.max(2), options.max_record.max(8));
        if max_record > MAX_RECORD {
            return Err(limit("max_record", MAX_RECORD, max_record));
        }
        match len(n, max_record) {
            Some(file_len) if n <= 1 << 32 => Ok(Shape {
                n,
                max_record,
                file_len,
            }),
            _ => Err(limit("slots", 1 << 32, n)),
        }
    }

    /// The bytes of a file of this shape, if it is one.
    pub(crate) fn mapped(shape: &Shape) -> Option<usize> {
        let sane = shape.n >= 2 && shape.n <= 1 << 32 && shape.max_record <= MAX_RECORD;
        let fits = sane && len(shape.n, shape.max_record) == Some(shape.file_len);
        fits.then_some(shape.file_len as usize)
    }

    pub(crate) fn new(shape: &Shape) -> Self {
        Self {
            n: shape.n,
            max_record: shape.max_record,
            stride: stride(shape.max_record),
        }
    }

    /// How many records there may be at a time.
    pub(crate) fn room(&self) -> u64 {
        self.n - 1
    }

    /// Reads an index, which another process has written.
    fn index(&self, memory: &Memory, at: usize) -> Result<u64, Fault> {
        // Acquire: pairs with the Release in `put` and `take`.
        let index = memory.word(at).load(Acquire);
        if index < self.n {
            return Ok(index);
        }
        let what = if at == header::IN { "in" } else { "out" };
        Err(corrupt(what, index, self.n - 1))
    }

    pub(crate) fn is_empty(&self, memory: &Memory) -> Result<bool, Fault> {
        Ok(self.index(memory, header::IN)? == self.index(memory, header::OUT)?)
    }

    pub(crate) fn is_full(&self, memory: &Memory) -> Result<bool, Fault> {
        let in_ = self.index(memory, header::IN)?;
        Ok((in_ + 1) % self.n == self.index(memory, header::OUT)?)
    }

    /// How many records there are, while nobody else acts.
    pub(crate) fn len(&self, memory: &Memory) -> Result<u64, Fault> {
        let in_ = self.index(memory, header::IN)?;
        Ok((in_ + self.n - self.index(memory, header::OUT)?) % self.n)
    }

    fn slot(&self, index: u64) -> usize {
        header::LEN + (index * self.stride) as usize
    }

    /// Puts a record, which is not too long, into slot `in`, unless the buffer is full. One sender at a time.
    pub(crate) fn put(&self, memory: &Memory, record: &[u8]) -> Result<bool, Fault> {
        let in_ = self.index(memory, header::IN)?;
        if (in_ + 1) % self.n == self.index(memory, header::OUT)? {
            return Ok(false);
        }
        let slot = self.slot(in_);
        // Relaxed: published by `in`.
        memory.word(slot).store(record.len() as u64, Relaxed);
        memory.write(slot + 8, record);
        // Release: pairs with the Acquire in `index`; the slot is written.
        memory.word(header::IN).store((in_ + 1) % self.n, Release);
        Ok(true)
    }

    /// Takes the record out of slot `out`, unless the buffer is empty. One receiver at a time.
    pub(crate) fn take(&self, memory: &Memory, buffer: &mut Vec<u8>) -> Result<bool, Fault> {
        let out = self.index(memory, header::OUT)?;
        if self.index(memory, header::IN)? == out {
            return Ok(false);
        }
        let slot = self.slot(out);
        // Relaxed: `in` has published it.
        let len = memory.word(slot).load(Relaxed);
        if len > self.max_record {
            return Err(corrupt("length", len, self.max_record));
        }
        memory.read(slot + 8, len as usize, buffer);
        // Release: pairs with the Acquire in `index`; the slot has been read.
        memory.word(header::OUT).store((out + 1) % self.n, Release);
        Ok(true)
    }
}

fn stride(max_record: u64) -> u64 {
    8 + max_record.next_multiple_of(8)
}

/// Bytes of a file with such a buffer.
fn len(n: u64, max_record: u64) -> Option<u64> {
    let len = n
        .checked_mul(stride(max_record))?
        .checked_add(header::LEN as u64)?;
    (len <= isize::MAX as u64).then_some(len)
}
