//! A ring's parts in a region: how an algorithm reaches them, how they are filled when a ring is created, and how they
//! are checked before one is believed.

use crate::error::OpenError;
use crate::geometry::{Form, Geometry, Shape};
use crate::kind::Kind;
use crate::layout::{
    Cold, FORKED, Header, LEASES, Lease, LeaseBlock, MAGIC, NAME_LEN, PAD, RECORD_HEADER, VERSION,
    flag, size_of_header,
};
use crate::sync::{
    AHEAD, Acquire, AtomicU64, LINE, PAYLOAD_ALIGN, Payload, REAL, Relaxed, Release, fetch_to_write,
};
use crate::words::{Words, who};
use annulus_channel::Order;

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
    /// One less than the number of units.
    mask: u64,
    /// Units that may be in use at once.
    room: u64,
    /// The longest record, or value, in bytes.
    max_record: u64,
    /// How often 2 goes into a unit of byte records.
    unit_shift: u32,
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
            mask: geometry.units - 1,
            room: geometry.room(),
            max_record: geometry.max_record() as u64,
            unit_shift: geometry.unit_size.trailing_zeros(),
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
        let payload = unsafe { Payload::new(at(geometry.payload_at), geometry.payload_len()) };
        Self {
            header: base.cast(),
            leases: at(size_of_header() as u64).cast(),
            senders: at(geometry.senders_at).cast(),
            receivers: at(geometry.receivers_at).cast(),
            payload,
            mask: geometry.units - 1,
            room: geometry.room(),
            max_record: geometry.max_record() as u64,
            unit_shift: geometry.unit_size.trailing_zeros(),
            geometry,
        }
    }

    #[inline]
    pub(crate) fn header(&self) -> &Header {
        // SAFETY: alive and aligned since `new`; all atomics, so anybody may write.
        unsafe { &*self.header }
    }

    /// Whether this is a forked child, and the handle its parent's.
    pub(crate) fn is_forked(&self) -> bool {
        // Relaxed: written before the child ran. A model has no processes.
        REAL && self.header().cold.magic.load(Relaxed) == FORKED
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
        position & self.mask
    }

    /// Units from a position on to the ring's end.
    #[inline]
    pub(crate) fn units_left(&self, position: u64) -> u64 {
        self.geometry.units - self.index(position)
    }

    /// The byte offset of a position in the payload.
    #[inline]
    pub(crate) fn offset(&self, position: u64) -> usize {
        (self.index(position) * self.geometry.unit_size) as usize
    }

    /// The longest record, or value, in bytes.
    #[inline]
    pub(crate) fn max_record(&self) -> u64 {
        self.max_record
    }

    /// The byte offset of a position in a payload of byte records.
    #[inline]
    pub(crate) fn record_offset(&self, position: u64) -> usize {
        debug_assert!(self.geometry.form == Form::Bytes);
        (self.index(position) << self.unit_shift) as usize
    }

    /// The units of the byte record whose header is `header`, or nothing if it can be no record's.
    #[inline]
    pub(crate) fn record_units(&self, header: u64) -> Option<u64> {
        debug_assert!(self.geometry.form == Form::Bytes && header & PAD == 0);
        let last = (1 << self.unit_shift) - 1;
        (header <= self.max_record)
            .then(|| (header + RECORD_HEADER as u64 + last) >> self.unit_shift)
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

    /// Fetches, to be written soon, the line of senders' words that lies ahead of those of a claim, if the claim begins one
    /// and that far from it all is free.
    #[inline]
    pub(crate) fn fetch_sender_words(&self, position: u64, units: u64, free: u64) {
        const WORDS: u64 = (LINE / size_of::<u64>()) as u64;
        const WORDS_AHEAD: u64 = (AHEAD / size_of::<u64>()) as u64;
        if position & (WORDS - 1) < units && free > WORDS_AHEAD + WORDS {
            let ahead = self.index(position.wrapping_add(WORDS_AHEAD));
            fetch_to_write(self.senders.wrapping_add(ahead as usize).cast());
        }
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
        self.room
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
        cold.max_tries.store(geometry.max_tries, Relaxed);
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
        let words_there = geometry.sender_words || geometry.receiver_words;
        for ahead in 0..if words_there { geometry.units } else { 0 } {
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
        if found == expected {
            Ok(())
        } else {
            Err(OpenError::not_a_ring(what, found, expected))
        }
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
    let max_tries = cold.max_tries.load(Relaxed);
    let geometry = Geometry::new(kind, order, &shape, cold.capacity.load(Relaxed), max_tries)?;
    check("capacity", cold.capacity.load(Relaxed), geometry.capacity)?;
    check("units", cold.units.load(Relaxed), geometry.units)?;
    check(
        "unit size",
        cold.unit_size.load(Relaxed),
        geometry.unit_size,
    )?;
    check("leases", cold.leases.load(Relaxed), LEASES as u64)?;
    check(
        "lease table offset",
        cold.leases_at.load(Relaxed).into(),
        size_of_header() as u64,
    )?;
    check(
        "senders' words offset",
        cold.senders_at.load(Relaxed),
        geometry.senders_at,
    )?;
    check(
        "receivers' words offset",
        cold.receivers_at.load(Relaxed),
        geometry.receivers_at,
    )?;
    check(
        "payload offset",
        cold.payload_at.load(Relaxed),
        geometry.payload_at,
    )?;
    check(
        "region length",
        cold.region_len.load(Relaxed),
        geometry.region_len,
    )?;
    if len < geometry.region_len {
        return Err(OpenError::Truncated {
            len,
            expected: geometry.region_len,
        });
    }
    check(
        "type fingerprint",
        cold.type_hash.load(Relaxed),
        shape.hash(),
    )?;
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
