//! What lies where in a region: the shared format, version 1. `docs/layout.md` is its specification.
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
//! 1152  peers       tickets, arrivals, changes
//! 1280  audit       what the safety net caught
//! 2048  leases      128 bytes each
//!       senders' words      8 bytes a cell                 (many senders only)
//!       receivers' words    8 bytes a cell                 (many receivers only)
//!       payload             units of unit_size bytes
//! ```
//!
//! Everything is a little-endian number of 4 or 8 bytes, naturally aligned, and only ever accessed
//! atomically; payload bytes are the exception.

use crate::error::OpenError;
use crate::futex::Futex;
use crate::kind::Kind;
use crate::sync::{Acquire, AtomicU32, AtomicU64, PAYLOAD_ALIGN, Payload, REAL, Relaxed, Release};
use annulus_channel::Order;
use crossbeam_utils::CachePadded;
use std::mem::{offset_of, size_of};

/// "ANNULUS" and a zero, as bytes in memory. Written last, so a region that has it is complete.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"ANNULUS\0");

/// The version of the layout that this code reads and writes.
pub(crate) const VERSION: u32 = 1;

/// Entries in the lease table: how many handles may be attached at once.
pub(crate) const LEASES: usize = 128;

/// Bytes kept of a message type's name.
pub(crate) const NAME_LEN: usize = 128;

/// Bytes of a cell in a many-sided ring of byte records.
pub(crate) const CELL: usize = 64;

/// Bytes of the header of a byte record: its length.
pub(crate) const RECORD_HEADER: usize = 8;

/// In a record's header: no record, but filling up to the ring's end.
pub(crate) const PAD: u64 = 1 << 63;

/// The smallest number of cells of a many-sided ring, so that its words take a year to recur.
const MIN_CELLS: u64 = 64;

/// The greatest number of units. Keeps every size below 2^63 and leaves 14 bits of lap.
const MAX_UNITS: u64 = 1 << 40;

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
    reserved: [AtomicU64; 32],
}

/// A doorbell's bits. The futex word holds nothing else.
pub(crate) mod bell {
    /// Somebody sleeps, or is about to. Set by the sleeper, cleared by whoever rings.
    pub(crate) const ASLEEP: u32 = 1;
    /// The last receiver has closed, or so it seemed: look at the leases. On the data bell only.
    pub(crate) const CLOSED: u32 = 2;
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
}

/// Counters for people.
#[repr(C)]
pub(crate) struct Audit {
    /// Sleeps that ended by the safety net although there was something to do. Raised by the sleeper.
    pub(crate) rescues: AtomicU64,
    /// Claims of dead senders that were made void. Raised by the repairer.
    pub(crate) voided: AtomicU64,
    /// Records taken by dead receivers that went back. Raised by the repairer.
    pub(crate) returned: AtomicU64,
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
    reserved: [CachePadded<[AtomicU64; 16]>; 5],
}

/// One lease. Its word says who holds it; see `lease`.
#[repr(C)]
pub(crate) struct Lease {
    pub(crate) word: AtomicU64,
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
    offset_of!(Header, audit) => 1280,
    offset_of!(Audit, voided) => 8,
    offset_of!(Audit, returned) => 16,
    size_of::<Header>() => 2048,
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
            }),
            audit: CachePadded::new(Audit {
                rescues: word(0),
                voided: word(0),
                returned: word(0),
            }),
            reserved: std::array::from_fn(|_| CachePadded::new(std::array::from_fn(word))),
        }
    }
}

/// Whether a ring carries values of one type, or byte strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Typed,
    Bytes,
}

/// What a ring carries, as its creator said it and its openers must say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) form: Form,
    pub(crate) size: u32,
    pub(crate) align: u32,
    pub(crate) name: String,
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.form {
            Form::Bytes => f.write_str("byte records"),
            Form::Typed => write!(f, "{} (size {}, align {})", self.name, self.size, self.align),
        }
    }
}

impl Shape {
    /// The fingerprint: FNV-1a over the name, the size and the alignment.
    pub(crate) fn hash(&self) -> u64 {
        let size = self.size.to_le_bytes();
        let align = self.align.to_le_bytes();
        let bytes = self.name.bytes().chain(size).chain(align);
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

/// A ring's numbers, in private memory. Computed at creation, checked at open, and never read from the
/// region again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) kind: Kind,
    pub(crate) order: Order,
    pub(crate) form: Form,
    /// What a user may put in: messages (typed) or bytes of payload area.
    pub(crate) capacity: u64,
    /// Units in the payload area: a power of two.
    pub(crate) units: u64,
    pub(crate) unit_size: u64,
    /// Whether the senders, or the receivers, have a word for each cell.
    pub(crate) sender_words: bool,
    pub(crate) receiver_words: bool,
    pub(crate) senders_at: u64,
    pub(crate) receivers_at: u64,
    pub(crate) payload_at: u64,
    pub(crate) region_len: u64,
    pub(crate) type_size: u32,
    pub(crate) type_align: u32,
}

impl Geometry {
    /// The numbers of a ring with room for `capacity` messages or bytes.
    pub(crate) fn new(
        kind: Kind,
        order: Order,
        shape: &Shape,
        capacity: u64,
    ) -> Result<Self, OpenError> {
        let (min, max) = match shape.form {
            Form::Typed => (1, MAX_UNITS),
            Form::Bytes => (1, MAX_UNITS * 8),
        };
        if !(min..=max).contains(&capacity) {
            return Err(OpenError::Capacity {
                asked: capacity,
                min,
                max,
            });
        }
        let many = kind.many_senders() || kind.many_receivers();
        let size = u64::from(shape.size);
        let unit_size = match (shape.form, many) {
            (Form::Typed, false) => size,
            (Form::Typed, true) => size.next_multiple_of(8),
            (Form::Bytes, false) => RECORD_HEADER as u64,
            (Form::Bytes, true) => CELL as u64,
        };
        let floor = if many { MIN_CELLS } else { 1 };
        let units = match shape.form {
            Form::Typed => capacity.next_power_of_two().max(floor),
            // Eight units at least: a record of three words, which is half the ring less its header.
            Form::Bytes => capacity.div_ceil(unit_size).next_power_of_two().max(floor.max(8)),
        };
        let capacity = match shape.form {
            Form::Typed => capacity,
            Form::Bytes => units * unit_size,
        };
        let sender_words = kind.many_senders();
        let receiver_words = kind.many_receivers() || (kind.many_senders() && order == Order::PerSender);
        let too_large = OpenError::Capacity { asked: capacity, min, max };
        let words = |present: bool| if present { units * 8 } else { 0 };
        let leases_end = (size_of_header() + LEASES * LEASE_SIZE) as u64;
        let senders_at = leases_end;
        let receivers_at = senders_at + words(sender_words);
        let payload_at = (receivers_at + words(receiver_words)).next_multiple_of(PAYLOAD_ALIGN as u64);
        let payload_len = units.checked_mul(unit_size).filter(|&len| len < 1 << 46);
        let region_len = payload_at + payload_len.ok_or(too_large)?;
        Ok(Self {
            kind,
            order,
            form: shape.form,
            capacity,
            units,
            unit_size,
            sender_words,
            receiver_words,
            senders_at,
            receivers_at,
            payload_at,
            region_len,
            type_size: shape.size,
            type_align: shape.align,
        })
    }

    /// Units that may be in use at once.
    pub(crate) fn room(&self) -> u64 {
        match self.form {
            Form::Typed => self.capacity,
            Form::Bytes => self.units,
        }
    }

    /// The longest byte record: half the ring, less its header.
    pub(crate) fn max_record(&self) -> usize {
        match self.form {
            Form::Typed => self.type_size as usize,
            Form::Bytes => (self.units * self.unit_size / 2) as usize - RECORD_HEADER,
        }
    }

    /// Bytes in the payload area.
    pub(crate) fn payload_len(&self) -> usize {
        (self.units * self.unit_size) as usize
    }
}

/// Bytes of a lease in the specification.
pub(crate) const LEASE_SIZE: usize = 128;

/// Bytes of the header in the specification.
pub(crate) const fn size_of_header() -> usize {
    2048
}

// SAFETY: the parts are atomics, and payload that the protocol gives to one at a time.
unsafe impl Send for View {}
// SAFETY: as for `Send`.
unsafe impl Sync for View {}

/// A ring's parts, wherever they lie. Copied into every handle; the handle keeps the region alive.
#[derive(Clone, Copy)]
pub(crate) struct View {
    header: *const Header,
    leases: *const LeaseBlock,
    senders: *const AtomicU64,
    receivers: *const AtomicU64,
    pub(crate) payload: Payload,
    pub(crate) geometry: Geometry,
}

impl View {
    /// # Safety
    ///
    /// The pointers are aligned and lead to a header, [`LEASES`] leases, and as many words and payload bytes
    /// as `geometry` says, all of which outlive every copy of the view. Word arrays
    /// that the geometry does not have may dangle.
    pub(crate) unsafe fn new(
        header: *const Header,
        leases: *const LeaseBlock,
        senders: *const AtomicU64,
        receivers: *const AtomicU64,
        payload: Payload,
        geometry: Geometry,
    ) -> Self {
        Self {
            header,
            leases,
            senders,
            receivers,
            payload,
            geometry,
        }
    }

    /// The view of a ring that lies at `base` in one piece.
    ///
    /// # Safety
    ///
    /// `base` is aligned to [`PAYLOAD_ALIGN`] and begins `geometry.region_len` bytes of memory that
    /// outlive every copy of the view, and that other processes access atomically or as the protocol says.
    pub(crate) unsafe fn mapped(base: *mut u8, geometry: Geometry) -> Self {
        // SAFETY: every offset of a geometry is within its region.
        let at = |offset: u64| unsafe { base.add(offset as usize) };
        // SAFETY: `payload_at` is a multiple of the alignment; the memory lives, says the caller.
        let payload = unsafe { Payload::new(at(geometry.payload_at)) };
        Self {
            header: base.cast(),
            leases: at(size_of_header() as u64).cast(),
            senders: at(geometry.senders_at).cast(),
            receivers: at(geometry.receivers_at).cast(),
            payload,
            geometry,
        }
    }

    #[inline]
    pub(crate) fn header(&self) -> &Header {
        // SAFETY: alive and aligned since `new`; all atomics, so anybody may write.
        unsafe { &*self.header }
    }

    /// The lease with this number.
    pub(crate) fn lease(&self, number: usize) -> &Lease {
        assert!(number < LEASES);
        // SAFETY: the number was just checked.
        let lease = unsafe { self.leases.add(number) };
        // SAFETY: alive and aligned since `new`; an atomic.
        unsafe { &*lease }
    }

    /// The index of a position.
    #[inline]
    pub(crate) fn index(&self, position: u64) -> u64 {
        position & (self.geometry.units - 1)
    }

    /// The byte offset of a position in the payload.
    #[inline]
    pub(crate) fn offset(&self, position: u64) -> usize {
        (self.index(position) * self.geometry.unit_size) as usize
    }

    /// The senders' word of a position. Only where the geometry has such words.
    #[inline]
    pub(crate) fn sender_word(&self, position: u64) -> &AtomicU64 {
        debug_assert!(self.geometry.sender_words);
        // SAFETY: an index is less than `units`, and the array has that many words.
        let word = unsafe { self.senders.add(self.index(position) as usize) };
        // SAFETY: alive and aligned since `new`; an atomic.
        unsafe { &*word }
    }

    /// The receivers' word of a position. Only where the geometry has such words.
    #[inline]
    pub(crate) fn receiver_word(&self, position: u64) -> &AtomicU64 {
        debug_assert!(self.geometry.receiver_words);
        // SAFETY: an index is less than `units`, and the array has that many words.
        let word = unsafe { self.receivers.add(self.index(position) as usize) };
        // SAFETY: alive and aligned since `new`; an atomic.
        unsafe { &*word }
    }

    /// Where the room of the senders ends, less one ring: the position that receivers have freed.
    #[inline]
    pub(crate) fn freed(&self) -> &AtomicU64 {
        if self.geometry.receiver_words {
            &self.header().free
        } else {
            &self.header().head
        }
    }

    /// The longest possible distance between two positions of a ring in use.
    #[inline]
    pub(crate) fn room(&self) -> u64 {
        self.geometry.room()
    }

    /// Fills a fresh region of zeros. `start` is the first position; the magic comes last.
    pub(crate) fn initialise(&self, shape: &Shape, flags: u32, start: u64, created: u64) {
        let (header, geometry) = (self.header(), &self.geometry);
        let cold = &header.cold;
        // Relaxed throughout: nobody else sees the region before the magic, which is a Release.
        cold.version.store(VERSION, Relaxed);
        cold.leases_at.store(size_of_header() as u32, Relaxed);
        cold.kind.store(geometry.kind.code(), Relaxed);
        cold.order.store(order_code(geometry.order), Relaxed);
        cold.form.store(form_code(geometry.form), Relaxed);
        cold.flags.store(flags, Relaxed);
        cold.region_len.store(geometry.region_len, Relaxed);
        cold.capacity.store(geometry.capacity, Relaxed);
        cold.units.store(geometry.units, Relaxed);
        cold.unit_size.store(geometry.unit_size, Relaxed);
        cold.leases.store(LEASES as u64, Relaxed);
        cold.senders_at.store(geometry.senders_at, Relaxed);
        cold.receivers_at.store(geometry.receivers_at, Relaxed);
        cold.payload_at.store(geometry.payload_at, Relaxed);
        cold.type_hash.store(shape.hash(), Relaxed);
        cold.type_size.store(shape.size, Relaxed);
        cold.type_align.store(shape.align, Relaxed);
        cold.start.store(start, Relaxed);
        cold.created.store(created, Relaxed);
        for (word, bytes) in cold.type_name.iter().zip(shape.name.as_bytes().chunks(8)) {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_le_bytes(padded), Relaxed);
        }
        header.tail.store(start, Relaxed);
        header.head.store(start, Relaxed);
        header.free.store(start, Relaxed);
        let words = Words::new(geometry.units);
        // Each word is as if its cell had been used up in the lap before the one it is first used in.
        for ahead in 0..geometry.units {
            let before = start.wrapping_add(ahead).wrapping_sub(geometry.units);
            if geometry.sender_words {
                let void = words.word(before, 1, who::VOID);
                self.sender_word(before).store(void, Relaxed);
            }
            if geometry.receiver_words {
                let done = words.word(before, 0, who::DONE);
                self.receiver_word(before).store(done, Relaxed);
            }
        }
        // Release: pairs with the Acquire in `read_cold`.
        cold.magic.store(MAGIC, Release);
    }
}

/// What `read_cold` found: a ring's numbers, checked, and what it carries.
pub(crate) struct Found {
    pub(crate) geometry: Geometry,
    pub(crate) shape: Shape,
    pub(crate) flags: u32,
}

/// Reads and checks a region's cold header. `len` is the region's real size.
///
/// The numbers in the header are input. They are read once; the geometry is computed anew from
/// kind, order, type and capacity, and every number stored beside them must come out the same.
pub(crate) fn read_cold(cold: &Cold, len: u64) -> Result<Found, OpenError> {
    // Acquire: pairs with the Release in `initialise`; what it published is visible.
    let magic = cold.magic.load(Acquire);
    if magic != MAGIC {
        return Err(OpenError::not_a_ring("magic number", magic, MAGIC));
    }
    let version = cold.version.load(Relaxed);
    if version != VERSION {
        return Err(OpenError::mismatch("layout version", VERSION, version));
    }
    let corrupt = |what: &'static str, found: u64, expected: u64| {
        Err(OpenError::not_a_ring(what, found, expected))
    };
    let check = |what: &'static str, found: u64, expected: u64| {
        if found == expected { Ok(()) } else { Err(OpenError::not_a_ring(what, found, expected)) }
    };
    let code = cold.kind.load(Relaxed);
    let Some(kind) = Kind::from_code(code) else {
        return corrupt("ring kind (1 to 4)", code.into(), 4);
    };
    let order = match cold.order.load(Relaxed) {
        0 => Order::Total,
        1 => Order::PerSender,
        other => return corrupt("order (0 or 1)", other.into(), 1),
    };
    let form = match cold.form.load(Relaxed) {
        0 => Form::Typed,
        1 => Form::Bytes,
        other => return corrupt("form (0 or 1)", other.into(), 1),
    };
    let mut name = Vec::with_capacity(NAME_LEN);
    for word in &cold.type_name {
        name.extend_from_slice(&word.load(Relaxed).to_le_bytes());
    }
    name.truncate(name.iter().position(|&byte| byte == 0).unwrap_or(NAME_LEN));
    let shape = Shape {
        form,
        size: cold.type_size.load(Relaxed),
        align: cold.type_align.load(Relaxed),
        name: String::from_utf8_lossy(&name).into_owned(),
    };
    let align_ok = shape.align.is_power_of_two() && shape.align as usize <= PAYLOAD_ALIGN;
    if !align_ok {
        return corrupt("type alignment", shape.align.into(), PAYLOAD_ALIGN as u64);
    }
    if shape.size == 0 || shape.size % shape.align != 0 {
        return corrupt("type size", shape.size.into(), shape.align.into());
    }
    let geometry = Geometry::new(kind, order, &shape, cold.capacity.load(Relaxed))?;
    check("capacity", cold.capacity.load(Relaxed), geometry.capacity)?;
    check("units", cold.units.load(Relaxed), geometry.units)?;
    check("unit size", cold.unit_size.load(Relaxed), geometry.unit_size)?;
    check("leases", cold.leases.load(Relaxed), LEASES as u64)?;
    check("lease table offset", cold.leases_at.load(Relaxed).into(), size_of_header() as u64)?;
    check("senders' words offset", cold.senders_at.load(Relaxed), geometry.senders_at)?;
    check("receivers' words offset", cold.receivers_at.load(Relaxed), geometry.receivers_at)?;
    check("payload offset", cold.payload_at.load(Relaxed), geometry.payload_at)?;
    check("region length", cold.region_len.load(Relaxed), geometry.region_len)?;
    if len < geometry.region_len {
        return Err(OpenError::Truncated {
            len,
            expected: geometry.region_len,
        });
    }
    check("type fingerprint", cold.type_hash.load(Relaxed), shape.hash())?;
    let flags = cold.flags.load(Relaxed);
    if flags & !flag::ALL != 0 {
        return corrupt("flags", flags.into(), flag::ALL.into());
    }
    Ok(Found {
        geometry,
        shape,
        flags,
    })
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

fn order_code(order: Order) -> u32 {
    match order {
        Order::Total => 0,
        Order::PerSender => 1,
    }
}

fn form_code(form: Form) -> u32 {
    match form {
        Form::Typed => 0,
        Form::Bytes => 1,
    }
}

/// The last field of a control word: the state of its record, or who has it.
pub(crate) mod who {
    /// Senders' word: the record was given up, or fills up to the ring's end. Receivers pass over it.
    pub(crate) const VOID: u64 = 0;
    /// Senders' word: the record is committed.
    pub(crate) const READY: u64 = 1;
    /// Receivers' word: the record is done with.
    pub(crate) const DONE: u64 = 0;
    /// Receivers' word: the record was taken and came back.
    pub(crate) const AGAIN: u64 = 1;
    /// The first owner. `who - OWNER` is the number of the lease that claimed (senders' word: BUSY) or took
    /// (receivers' word: TAKEN) the record.
    pub(crate) const OWNER: u64 = 8;
    /// Bits of the field.
    pub(crate) const BITS: u32 = 10;
}

const _: () = assert!(LEASES as u64 + who::OWNER <= 1 << who::BITS);

/// Where a word stands relative to a position of the same index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    /// It speaks of an earlier lap: nothing has happened here in the position's lap yet.
    Older,
    /// It speaks of the position itself.
    Current,
    /// It speaks of a later lap: the position is out of date.
    Newer,
}

/// How control words are written and read: for a ring of 2^n units,
///
/// ```text
/// 63            10 + n 9 + n      10 9      0
/// | lap: 54 - n bits  | low: n bits | who: 10 |
/// ```
///
/// `low` is, in the senders' word, the number of cells of the record; in the receivers', the number of
/// times that it came back. Lap and low together are 54 bits, so a word recurs after 2^54 cells,
/// whatever the size of the ring: at 150 million cells a second, after 3.8 years. Laps are compared
/// modulo their width; a word may lie untouched for half of that.
#[derive(Clone, Copy)]
pub(crate) struct Words {
    /// log2 of the number of units.
    bits: u32,
    lap_mask: u64,
}

impl Words {
    pub(crate) fn new(units: u64) -> Self {
        let bits = units.trailing_zeros();
        Self {
            bits,
            lap_mask: u64::MAX >> (who::BITS + bits),
        }
    }

    /// The word that says `who` of the record at `position`.
    #[inline]
    pub(crate) fn word(self, position: u64, low: u64, who: u64) -> u64 {
        let lap = (position >> self.bits) & self.lap_mask;
        ((lap << self.bits | low) << who::BITS) | who
    }

    /// Where `word` stands relative to `position`, whose index it has.
    #[inline]
    pub(crate) fn age(self, word: u64, position: u64) -> Age {
        let lap = word >> (who::BITS + self.bits);
        let ahead = lap.wrapping_sub(position >> self.bits) & self.lap_mask;
        if ahead == 0 {
            Age::Current
        } else if ahead > self.lap_mask / 2 {
            Age::Older
        } else {
            Age::Newer
        }
    }

    /// Cells of the record, or the times that it came back.
    #[inline]
    pub(crate) fn low(self, word: u64) -> u64 {
        (word >> who::BITS) & ((1 << self.bits) - 1)
    }

    /// The state, or the owner.
    #[inline]
    pub(crate) fn who(self, word: u64) -> u64 {
        word & ((1 << who::BITS) - 1)
    }

    /// The greatest `low`.
    #[inline]
    pub(crate) fn max_low(self) -> u64 {
        (1 << self.bits) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_gives_back_what_was_put_in() {
        for bits in [6, 10, 20, 40] {
            let words = Words::new(1 << bits);
            for position in [0, 1 << bits, (1 << bits) * 3 + 5, u64::MAX - 7] {
                let word = words.word(position, 5, 100);
                assert_eq!((words.low(word), words.who(word)), (5, 100));
                assert_eq!(words.age(word, position), Age::Current);
                assert_eq!(words.age(word, position.wrapping_add(1 << bits)), Age::Older);
                assert_eq!(words.age(word, position.wrapping_sub(1 << bits)), Age::Newer);
            }
        }
    }

    #[test]
    fn a_lap_compares_across_its_wrap() {
        let words = Words::new(64);
        // Laps of a ring of 64 cells have 48 bits, so they wrap after 2^54 positions.
        let last = (1 << 54) - 64;
        let word = words.word(last, 1, who::READY);
        assert_eq!(words.age(word, last), Age::Current);
        assert_eq!(words.age(word, last + 64), Age::Older);
        assert_eq!(words.age(words.word(last + 64, 1, who::READY), last), Age::Newer);
    }
}
