//! The page that each file begins with: what it is, who is there, and the indices.
//!
//! ```text
//! 0      magic, kind, n, max_record, length      written before the file has a name
//! 128    changes, tickets, arrivals of senders, of receivers
//! 256    in       written by senders      384    out      written by receivers
//! 512    owner    of the semaphore `mutex`
//! 640    waits    of senders: somebody sleeps     768    of receivers
//! 896    bell     a byte that is written only so that inotify sees it
//! 1024   seats: 64 of senders, 64 of receivers; each is its holder's ticket and pid
//! 4096   the records
//! ```
//!
//! All words are 8 bytes, little-endian by the machines that share them.

use crate::memory::Memory;
use annulus_channel::{Fault, OpenReason};
use std::sync::atomic::Ordering::Relaxed;

/// Bytes of the page.
pub(crate) const LEN: usize = 4096;
/// Seats of a side.
pub(crate) const SEATS: usize = 64;

pub(crate) const CHANGES: usize = 128;
pub(crate) const TICKETS: usize = 136;
pub(crate) const ARRIVALS: [usize; 2] = [144, 152];
pub(crate) const IN: usize = 256;
pub(crate) const OUT: usize = 384;
pub(crate) const OWNER: usize = 512;
pub(crate) const WAITS: [usize; 2] = [640, 768];
pub(crate) const BELL: usize = 896;

const MAGIC: u64 = u64::from_le_bytes(*b"annulusC");
const KIND: usize = 8;
const N: usize = 16;
const MAX_RECORD: usize = 24;
const FILE_LEN: usize = 32;

/// Where a seat's word is; its pid follows.
pub(crate) fn seat(number: usize) -> usize {
    1024 + 16 * number
}

/// The numbers of a channel. Copied once, checked, and never read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Slots of a buffer, bytes of a spool.
    pub(crate) n: u64,
    /// The longest record.
    pub(crate) max_record: u64,
    /// Bytes of the file.
    pub(crate) file_len: u64,
}

impl Shape {
    /// Writes what the file is.
    pub(crate) fn write(&self, kind: u64, memory: &Memory) {
        for (at, value) in [
            (KIND, kind),
            (N, self.n),
            (MAX_RECORD, self.max_record),
            (FILE_LEN, self.file_len),
            (0, MAGIC),
        ] {
            // Relaxed: the file gets its name later.
            memory.word(at).store(value, Relaxed);
        }
    }

    /// Reads what the file of `len` bytes says that it is. Whether its numbers fit each other is the kind's to check.
    pub(crate) fn read(kind: u64, memory: &Memory, len: u64) -> Result<Self, OpenReason> {
        // Relaxed: they do not change after the file got its name.
        let read = |at| memory.word(at).load(Relaxed);
        let expect = |what, expected: u64, found: u64| {
            if expected == found {
                return Ok(());
            }
            Err(OpenReason::Mismatch {
                what,
                expected: format!("{expected:#x}"),
                found: format!("{found:#x}"),
            })
        };
        expect("magic", MAGIC, read(0))?;
        expect("kind", kind, read(KIND))?;
        expect("length of the file", read(FILE_LEN), len)?;
        Ok(Self {
            n: read(N),
            max_record: read(MAX_RECORD),
            file_len: len,
        })
    }
}

/// A value that no correct peer writes.
pub(crate) fn corrupt(what: &'static str, found: u64, expected: u64) -> Fault {
    Fault::Corrupt {
        what,
        found,
        expected,
    }
}
