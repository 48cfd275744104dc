//! A ring's numbers, and what it carries.

use crate::error::OpenError;
use crate::kind::Kind;
use crate::layout::{CELL, LEASE_SIZE, LEASES, RECORD_HEADER, size_of_header};
use crate::sync::{PAYLOAD_ALIGN, scaled};
use annulus_channel::Order;

/// The smallest number of cells of a many-sided ring, so that its words take a year to recur.
const MIN_CELLS: u64 = scaled(64, 2) as u64;

/// The greatest number of units. Keeps every size below 2^63 and leaves 14 bits of lap.
const MAX_UNITS: u64 = 1 << 40;

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
            Form::Typed => write!(
                f,
                "{} (size {}, align {})",
                self.name, self.size, self.align
            ),
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
    /// After how many returns a record becomes a dead letter; 0: never.
    pub(crate) max_tries: u64,
}

/// The most tries that can be asked for: what the living give back is counted so far.
pub(crate) const MOST_TRIES: u64 = scaled(32, 1) as u64;

impl Geometry {
    /// The numbers of a ring with room for `capacity` messages or bytes, whose records are given out `max_tries`
    /// times at most (0: any number of times).
    pub(crate) fn new(
        kind: Kind,
        order: Order,
        shape: &Shape,
        capacity: u64,
        max_tries: u64,
    ) -> Result<Self, OpenError> {
        if max_tries > MOST_TRIES {
            return Err(OpenError::MaxTries {
                asked: max_tries,
                max: MOST_TRIES,
            });
        }
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
            Form::Bytes => capacity
                .div_ceil(unit_size)
                .next_power_of_two()
                .max(floor.max(scaled(8, 4) as u64)),
        };
        let capacity = match shape.form {
            Form::Typed => capacity,
            Form::Bytes => units * unit_size,
        };
        let sender_words = kind.many_senders();
        let receiver_words =
            kind.many_receivers() || (kind.many_senders() && order == Order::PerSender);
        let too_large = OpenError::Capacity {
            asked: capacity,
            min,
            max,
        };
        let words = |present: bool| if present { units * 8 } else { 0 };
        let leases_end = (size_of_header() + LEASES * LEASE_SIZE) as u64;
        let senders_at = leases_end;
        let receivers_at = senders_at + words(sender_words);
        let payload_at =
            (receivers_at + words(receiver_words)).next_multiple_of(PAYLOAD_ALIGN as u64);
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
            max_tries,
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
