//! What lies where in a region: the shared format, version 2. `docs/layout.md` is its specification.
//!
//! # Glossary
//!
//! | word | meaning |
//! |---|---|
//! | region | one block of mapped memory |
//! | ring | a queue laid out in a region |
//! | unit | what a ring hands out: a typed message, 8 bytes (spsc), or 64 bytes (many-sided) |
//! | cell | a unit of a many-sided ring |
//! | position | 64-bit count of the units ever written; index = position mod units, lap = position / units |
//! | head, tail | position of the next record to read, to write |
//! | free | position up to which a ring with many receivers is done with its records |
//! | record | one message as it lies in the ring: one or more units |
//! | lease | an attached handle's entry in the table; its lock lives and dies with the handle |
//! | doorbell | the futex word on which a side sleeps |
//!
//! # The region
//!
//! ```text
//! 0     cold header: magic, version, kind, sizes, type     written once, before anybody can attach
//! 512   tail        the senders' position                  (single sender: exact; many: a hint)
//! 640   head        the receivers' position                (single receiver: exact; many: a hint)
//! 768   free        where the done records end             (many receivers only)
//! 896   data bell   receivers sleep here, senders ring
//! 1024  room bell   senders sleep here, receivers ring; and the epoch of redeliveries
//! 1152  peers       tickets, arrivals, changes, closes
//! 1280  audit       what was repaired, given up, rescued
//! 2048  leases      128 bytes each
//!       senders' words      8 bytes a cell                 (many senders only)
//!       receivers' words    8 bytes a cell                 (many receivers only)
//!       payload             units of unit_size bytes
//! ```
//!
//! Everything is a little-endian number of 4 or 8 bytes, naturally aligned, and only ever accessed
//! atomically; payload bytes are the exception.

use crate::futex::Futex;
use crate::sync::{AtomicU32, AtomicU64, Count, PAYLOAD_ALIGN, REAL, scaled};
use crossbeam_utils::CachePadded;
use std::mem::{offset_of, size_of};

/// "ANNULUS" and a zero, as bytes in memory. Written last, so a region that has it is complete.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"ANNULUS\0");

/// In place of the magic where a forked child has an inherited handle: there is no ring.
pub(crate) const FORKED: u64 = u64::from_le_bytes(*b"FORKED\0\0");

/// The version of the layout that this code reads and writes.
pub(crate) const VERSION: u32 = 2;

/// Entries in the lease table: how many handles may be attached at once.
pub(crate) const LEASES: usize = scaled(128, 6);

/// Bytes kept of a message type's name.
pub(crate) const NAME_LEN: usize = scaled(128, 32);

/// Bytes of a cell in a many-sided ring of byte records.
pub(crate) const CELL: usize = scaled(64, 8);

/// Bytes of the header of a byte record: its length.
pub(crate) const RECORD_HEADER: usize = 8;

/// In a record's header: no record, but filling up to the ring's end.
pub(crate) const PAD: u64 = 1 << 63;

/// What is fixed when a ring is created. Nobody writes here afterwards.
#[repr(C)]
pub(crate) struct Cold {
    pub(crate) magic: AtomicU64,
    pub(crate) version: AtomicU32,
    pub(crate) leases_at: AtomicU32,
    pub(crate) kind: AtomicU32,
    pub(crate) order: AtomicU32,
    pub(crate) form: AtomicU32,
    pub(crate) flags: AtomicU32,
    pub(crate) region_len: AtomicU64,
    pub(crate) capacity: AtomicU64,
    pub(crate) units: AtomicU64,
    pub(crate) unit_size: AtomicU64,
    pub(crate) leases: AtomicU64,
    pub(crate) senders_at: AtomicU64,
    pub(crate) receivers_at: AtomicU64,
    pub(crate) payload_at: AtomicU64,
    pub(crate) type_hash: AtomicU64,
    pub(crate) type_size: AtomicU32,
    pub(crate) type_align: AtomicU32,
    pub(crate) start: AtomicU64,
    pub(crate) created: AtomicU64,
    pub(crate) type_name: [AtomicU64; NAME_LEN / 8],
    /// Of a System V ring: the device and inode of its lock file. Else 0.
    pub(crate) lock_dev: AtomicU64,
    pub(crate) lock_ino: AtomicU64,
    /// After how many returns a record becomes a dead letter. 0: never.
    pub(crate) max_tries: AtomicU64,
    reserved: [AtomicU64; scaled(29, 0)],
}

/// A doorbell's bits.
pub(crate) mod bell {
    /// Somebody sleeps, or is about to. Set by the sleeper, cleared by whoever rings.
    pub(crate) const ASLEEP: u32 = 1;
    /// The last receiver has closed, or so it seemed: look at the leases. On the data bell only.
    pub(crate) const CLOSED: u32 = 2;
    /// One ring. The bits from here on count how often the bell was rung, so that no sleeper takes the flag of another
    /// for its own.
    pub(crate) const RING: u32 = 4;
}

/// The room bell and, on the same seldom written line, the epoch.
#[repr(C)]
pub(crate) struct RoomBell {
    /// Senders sleep here; receivers ring.
    pub(crate) bell: Futex,
    /// Raised whenever a record that was taken becomes available again. Written by whoever gives it back.
    pub(crate) epoch: AtomicU32,
}

/// Who came and went. Written at attach and close.
#[repr(C)]
pub(crate) struct Peers {
    /// The last ticket drawn. A ticket names a lease's holder, and never recurs.
    pub(crate) tickets: AtomicU64,
    /// Raised at every attach and every close: the leases are worth another look.
    pub(crate) changes: AtomicU64,
    /// Senders that ever attached.
    pub(crate) senders: AtomicU64,
    /// Receivers that ever attached.
    pub(crate) receivers: AtomicU64,
    /// Tickets whose holders have gone in an orderly way, or never got a lease. The others live or were killed.
    pub(crate) closes: Count,
}

/// Counters of what is rare, raised by whoever does it.
#[repr(C)]
pub(crate) struct Audit {
    /// Sleeps that ended by the safety net although there was something to do. Raised by the sleeper.
    pub(crate) rescues: Count,
    /// Claims of dead senders that were made void. Raised by the repairer.
    pub(crate) voided: Count,
    /// Records taken by dead receivers that went back. Raised by the repairer.
    pub(crate) returned: Count,
    /// Units given up: claims of the dead, aborted ones, unused ends of claims, filling up to the ring's end. Raised by
    /// whoever wrote VOID; where the single sender has no words, by the receiver that passed over its filling.
    pub(crate) given_up: Count,
    /// The greatest claim, record or filling in units, if more than one. Raised beforehand, by whoever is to count it.
    pub(crate) widest: Count,
    /// Units of dead letters that were drained. Raised by whoever did.
    pub(crate) drained: Count,
}

/// The header of a region.
#[repr(C)]
pub(crate) struct Header {
    pub(crate) cold: Cold,
    /// Written by the single sender alone; of many senders, by whoever claimed last.
    pub(crate) tail: CachePadded<AtomicU64>,
    /// Written by the single receiver alone; of many receivers, by whoever took last.
    pub(crate) head: CachePadded<AtomicU64>,
    /// Written, with many receivers, by anybody who finds the record there done.
    pub(crate) free: CachePadded<AtomicU64>,
    pub(crate) data: CachePadded<Futex>,
    pub(crate) room: CachePadded<RoomBell>,
    pub(crate) peers: CachePadded<Peers>,
    pub(crate) audit: CachePadded<Audit>,
    reserved: [CachePadded<[AtomicU64; 16]>; scaled(5, 0)],
}

/// One lease. Its word says who holds it; see `lease`. The counts go on from holder to holder, and are what `audit`
/// compares with the words.
#[repr(C)]
pub(crate) struct Lease {
    pub(crate) word: AtomicU64,
    /// Units that its holders committed, where senders have words. Written by the holder alone.
    pub(crate) sent: Count,
    /// Units that its holders received, where receivers have words. Written by the holder alone.
    pub(crate) received: Count,
}

/// A lease on a block of its own.
pub(crate) type LeaseBlock = CachePadded<Lease>;

macro_rules! golden {
    ($($what:expr => $value:expr),* $(,)?) => { $( const _: () = assert!(!REAL || $what == $value); )* };
}

// The specification's numbers. A change here is a change of VERSION.
golden! {
    offset_of!(Cold, magic) => 0,
    offset_of!(Cold, version) => 8,
    offset_of!(Cold, leases_at) => 12,
    offset_of!(Cold, kind) => 16,
    offset_of!(Cold, order) => 20,
    offset_of!(Cold, form) => 24,
    offset_of!(Cold, flags) => 28,
    offset_of!(Cold, region_len) => 32,
    offset_of!(Cold, capacity) => 40,
    offset_of!(Cold, units) => 48,
    offset_of!(Cold, unit_size) => 56,
    offset_of!(Cold, leases) => 64,
    offset_of!(Cold, senders_at) => 72,
    offset_of!(Cold, receivers_at) => 80,
    offset_of!(Cold, payload_at) => 88,
    offset_of!(Cold, type_hash) => 96,
    offset_of!(Cold, type_size) => 104,
    offset_of!(Cold, type_align) => 108,
    offset_of!(Cold, start) => 112,
    offset_of!(Cold, created) => 120,
    offset_of!(Cold, type_name) => 128,
    offset_of!(Cold, lock_dev) => 256,
    offset_of!(Cold, lock_ino) => 264,
    offset_of!(Cold, max_tries) => 272,
    size_of::<Cold>() => 512,
    offset_of!(Header, tail) => 512,
    offset_of!(Header, head) => 640,
    offset_of!(Header, free) => 768,
    offset_of!(Header, data) => 896,
    offset_of!(Header, room) => 1024,
    offset_of!(RoomBell, epoch) => 4,
    offset_of!(Header, peers) => 1152,
    offset_of!(Peers, changes) => 8,
    offset_of!(Peers, senders) => 16,
    offset_of!(Peers, receivers) => 24,
    offset_of!(Peers, closes) => 32,
    offset_of!(Header, audit) => 1280,
    offset_of!(Audit, voided) => 8,
    offset_of!(Audit, returned) => 16,
    offset_of!(Audit, given_up) => 24,
    offset_of!(Audit, widest) => 32,
    offset_of!(Audit, drained) => 40,
    size_of::<Header>() => 2048,
    offset_of!(Lease, sent) => 8,
    offset_of!(Lease, received) => 16,
    size_of::<LeaseBlock>() => 128,
    align_of::<Header>() => PAYLOAD_ALIGN,
}

impl Header {
    /// A header of zeros, for the heap. A mapped region is zeros already.
    pub(crate) fn zeroed() -> Self {
        let word = |_| AtomicU64::new(0);
        let half = || AtomicU32::new(0);
        Self {
            cold: Cold {
                magic: word(0),
                version: half(),
                leases_at: half(),
                kind: half(),
                order: half(),
                form: half(),
                flags: half(),
                region_len: word(0),
                capacity: word(0),
                units: word(0),
                unit_size: word(0),
                leases: word(0),
                senders_at: word(0),
                receivers_at: word(0),
                payload_at: word(0),
                type_hash: word(0),
                type_size: half(),
                type_align: half(),
                start: word(0),
                created: word(0),
                type_name: std::array::from_fn(word),
                lock_dev: word(0),
                lock_ino: word(0),
                max_tries: word(0),
                reserved: std::array::from_fn(word),
            },
            tail: CachePadded::new(word(0)),
            head: CachePadded::new(word(0)),
            free: CachePadded::new(word(0)),
            data: CachePadded::new(Futex::new(0)),
            room: CachePadded::new(RoomBell {
                bell: Futex::new(0),
                epoch: half(),
            }),
            peers: CachePadded::new(Peers {
                tickets: word(0),
                changes: word(0),
                senders: word(0),
                receivers: word(0),
                closes: Count::new(),
            }),
            audit: CachePadded::new(Audit {
                rescues: Count::new(),
                voided: Count::new(),
                returned: Count::new(),
                given_up: Count::new(),
                widest: Count::new(),
                drained: Count::new(),
            }),
            reserved: std::array::from_fn(|_| CachePadded::new(std::array::from_fn(word))),
        }
    }
}

/// Bytes of a lease in the specification.
pub(crate) const LEASE_SIZE: usize = 128;

/// Bytes of the header in the specification.
pub(crate) const fn size_of_header() -> usize {
    2048
}

/// Bits of the header's flags.
pub(crate) mod flag {
    /// A successor can find the ring by its name.
    pub(crate) const NAMED: u32 = 1;
    /// The last handle of a finished ring removes its name.
    pub(crate) const UNLINK: u32 = 2;
    /// Every bit that means something.
    pub(crate) const ALL: u32 = 3;
}
