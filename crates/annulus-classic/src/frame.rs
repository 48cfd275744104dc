//! A record as it lies in a spool.
//!
//! ```text
//! | position: 8 | length: 4 | checksum: 4 | the record | up to a multiple of 8 |
//! ```
//!
//! The position counts the bytes that were ever appended, so no two frames have the same, and what is left of an earlier
//! lap is not taken for a frame. The checksum is over the position, the length and the record.

use crate::checksum::crc32;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes before a record.
pub(crate) const HEAD: u64 = 16;

/// Bytes of a frame with a record of `len` bytes.
pub(crate) fn len(len: u64) -> u64 {
    HEAD + len.next_multiple_of(8)
}

/// The part of a file that is written round and round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Log {
    /// Where it begins.
    pub(crate) start: u64,
    /// Its bytes, a multiple of 8.
    pub(crate) capacity: u64,
}

/// What does not belong at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    Position(u64),
    Length(u64),
    Checksum { found: u32, expected: u32 },
}

impl Log {
    /// The offset in the file, and the bytes from there to the end.
    fn offset(&self, position: u64) -> (u64, u64) {
        let at = position % self.capacity;
        (self.start + at, self.capacity - at)
    }

    fn read(&self, file: &File, position: u64, into: &mut [u8]) -> io::Result<()> {
        let (at, straight) = self.offset(position);
        let straight = into.len().min(straight as usize);
        let (first, second) = into.split_at_mut(straight);
        file.read_exact_at(first, at)?;
        file.read_exact_at(second, self.start)
    }

    fn write(&self, file: &File, position: u64, bytes: &[u8]) -> io::Result<()> {
        let (at, straight) = self.offset(position);
        let (first, second) = bytes.split_at(bytes.len().min(straight as usize));
        file.write_all_at(first, at)?;
        file.write_all_at(second, self.start)
    }

    /// Writes a frame at a position, by way of `scratch`. There is room.
    pub(crate) fn put(
        &self,
        file: &File,
        position: u64,
        record: &[u8],
        scratch: &mut Vec<u8>,
    ) -> io::Result<()> {
        scratch.clear();
        scratch.extend_from_slice(&position.to_le_bytes());
        scratch.extend_from_slice(&(record.len() as u64).to_le_bytes());
        scratch.extend_from_slice(record);
        let sum = crc32(scratch);
        scratch[12..16].copy_from_slice(&sum.to_le_bytes());
        self.write(file, position, scratch)
    }

    /// Reads the frame at a position, at most as long as `available`, into `buffer`, which is then the record.
    pub(crate) fn take(
        &self,
        file: &File,
        position: u64,
        available: u64,
        buffer: &mut Vec<u8>,
    ) -> io::Result<Result<(), Bad>> {
        let mut head = [0; HEAD as usize];
        self.read(file, position, &mut head)?;
        let [
            p0,
            p1,
            p2,
            p3,
            p4,
            p5,
            p6,
            p7,
            l0,
            l1,
            l2,
            l3,
            s0,
            s1,
            s2,
            s3,
        ] = head;
        let found = u64::from_le_bytes([p0, p1, p2, p3, p4, p5, p6, p7]);
        if found != position {
            return Ok(Err(Bad::Position(found)));
        }
        let size = u64::from(u32::from_le_bytes([l0, l1, l2, l3]));
        if len(size) > available {
            return Ok(Err(Bad::Length(size)));
        }
        head[12..].fill(0);
        buffer.clear();
        buffer.extend_from_slice(&head);
        buffer.resize((HEAD + size) as usize, 0);
        self.read(file, position + HEAD, &mut buffer[HEAD as usize..])?;
        let (found, expected) = (u32::from_le_bytes([s0, s1, s2, s3]), crc32(buffer));
        if found != expected {
            return Ok(Err(Bad::Checksum { found, expected }));
        }
        buffer.drain(..HEAD as usize);
        Ok(Ok(()))
    }
}
