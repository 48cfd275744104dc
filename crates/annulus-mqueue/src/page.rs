//! The companion's one page: what the kernel's queues do not tell.
//!
//! The page is mapped by every handle. It holds atomics only, each change is one atomic operation, and no order
//! of two changes matters to more than a delay of one look, so that a process may be killed anywhere.
//!
//! ```text
//! magic      written last, in turn; 0 = nobody has finished creating the queue
//! making     1 from before the queue is made until `magic` is written: then the queue is ours
//! identity   which queue this is the companion of, as the kernel tells
//! seats      a word for each attached handle:
//!
//!            63      24 23    22     21   0
//!            | ticket: 40 | 0 | side | pid |          0 = free
//! ```
//!
//! A ticket is drawn from a counter at each attach and never recurs. Its holder has locked the ticket's byte
//! before the seat names it (`lock`). So a seat whose ticket is not locked is that of a dead handle, and a
//! handle that closes frees its seat: that tells closing from dying. A pid is shown to people and decides nothing.

use crate::bell::Bell;
use annulus_fd::names::Side;
use memmap2::{MmapOptions, MmapRaw};
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::sync::atomic::AtomicU64;

/// How long the companion is, in bytes.
pub(crate) const LEN: usize = 4096;

/// How many handles there may be at once.
pub(crate) const SEATS: usize = 256;

/// "annulusq", and the page's version.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"annulusq") ^ 1;

const PID_BITS: u32 = 22;
const TICKET_SHIFT: u32 = 24;
/// The greatest ticket that a seat's word has room for.
pub(crate) const MAX_TICKET: u64 = u64::MAX >> TICKET_SHIFT;
const SIDE_BIT: u64 = 1 << PID_BITS;

/// What a seat's word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) ticket: u64,
    pub(crate) side: Side,
}

impl Holder {
    /// Reads a word; nothing if the seat is free.
    pub(crate) fn of(word: u64) -> Option<Self> {
        let side = if word & SIDE_BIT == 0 {
            Side::Sender
        } else {
            Side::Receiver
        };
        let ticket = word >> TICKET_SHIFT;
        (word != 0).then_some(Self { ticket, side })
    }

    /// The word of this process's holder.
    pub(crate) fn word(self) -> u64 {
        let side = match self.side {
            Side::Sender => 0,
            Side::Receiver => SIDE_BIT,
        };
        self.ticket << TICKET_SHIFT | side | u64::from(std::process::id()) & (SIDE_BIT - 1)
    }
}

/// A value that has its cache lines to itself.
#[repr(C, align(128))]
pub(crate) struct Alone<T>(pub(crate) T);

/// The page as it lies in the file.
#[repr(C)]
pub(crate) struct Layout {
    pub(crate) magic: AtomicU64,
    pub(crate) making: AtomicU64,
    pub(crate) identity: [AtomicU64; 2],
    /// The longest record, in bytes; written by the creator.
    pub(crate) max_record: AtomicU64,
    /// 1: the last to close removes the queue when it is finished; written by the creator.
    pub(crate) unlink: AtomicU64,
    /// The last ticket drawn.
    pub(crate) tickets: AtomicU64,
    /// How many senders, and how many receivers, have ever attached.
    pub(crate) arrivals: [AtomicU64; 2],
    /// Rises after every change of a seat.
    pub(crate) changes: Alone<AtomicU64>,
    /// Rung when a record was sent.
    pub(crate) data: Alone<Bell>,
    /// Rung when a record was received.
    pub(crate) room: Alone<Bell>,
    pub(crate) seats: Alone<[AtomicU64; SEATS]>,
}

const _: () = assert!(size_of::<Layout>() <= LEN);

/// A mapped companion.
pub(crate) struct Page {
    map: MmapRaw,
}

impl Page {
    /// Maps the companion, which is [`LEN`] bytes long.
    pub(crate) fn map(companion: &File) -> io::Result<Self> {
        let map = MmapOptions::new().len(LEN).map_raw(companion)?;
        Ok(Self { map })
    }
}

impl Deref for Page {
    type Target = Layout;

    fn deref(&self) -> &Layout {
        let layout = self.map.as_ptr().cast::<Layout>();
        // SAFETY: the mapping is page-aligned, at least as long as the layout, and lives as long as we do. The layout
        // is made of atomics, for which every bit pattern is a value and which others may change at any time.
        unsafe { &*layout }
    }
}

impl Layout {
    /// The seats that are taken, and who took them.
    pub(crate) fn holders(&self) -> impl Iterator<Item = (&AtomicU64, u64, Holder)> {
        use std::sync::atomic::Ordering::Acquire;
        self.seats.0.iter().filter_map(|seat| {
            // Acquire: pairs with the Release of whoever took or freed the seat.
            let word = seat.load(Acquire);
            Holder::of(word).map(|holder| (seat, word, holder))
        })
    }

    /// The bell that this side waits for.
    pub(crate) fn bell(&self, side: Side) -> &Bell {
        match side {
            Side::Sender => &self.room.0,
            Side::Receiver => &self.data.0,
        }
    }

    /// How many of this side have ever attached.
    pub(crate) fn arrivals(&self, side: Side) -> &AtomicU64 {
        match side {
            Side::Sender => &self.arrivals[0],
            Side::Receiver => &self.arrivals[1],
        }
    }
}
