//! What is sent in the laboratory: records that tell who sent them, and whether they are whole.
//!
//! A record is made of its number alone, so every byte of it, and its length, can be checked by whoever receives it.
//! What a victim sends is drafted before it is stepped through, so that the steps are the engine's.

use annulus::{
    Kind, Message, Protocol, Receiver, RecvTimeoutError, SendTimeoutError, Sender, TryRecvError,
    TrySendError,
};
use std::mem::forget;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Records of a batch.
pub const BATCH: usize = 3;

/// The number of a sender's record.
pub const fn number(sender: u64, sequence: u64) -> u64 {
    sender << 32 | sequence
}

/// Why a call did nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Full, empty, or out of time.
    Later,
    /// Nobody is on the other side.
    Gone(String),
    /// What must not happen.
    Broken(String),
}

fn not_sent<T>(error: TrySendError<T>) -> Stop {
    match error {
        TrySendError::Full(_) => Stop::Later,
        TrySendError::Disconnected(_) => Stop::Gone("disconnected".to_owned()),
        TrySendError::PeerDead(_) => Stop::Gone("peer dead".to_owned()),
        other => Stop::Broken(other.to_string()),
    }
}

fn not_sent_in_time<T>(error: SendTimeoutError<T>) -> Stop {
    match error {
        SendTimeoutError::Timeout(_) => Stop::Later,
        SendTimeoutError::Disconnected(_) => Stop::Gone("disconnected".to_owned()),
        SendTimeoutError::PeerDead(_) => Stop::Gone("peer dead".to_owned()),
        other => Stop::Broken(other.to_string()),
    }
}

fn not_received(error: TryRecvError) -> Stop {
    match error {
        TryRecvError::Empty => Stop::Later,
        TryRecvError::Disconnected => Stop::Gone("disconnected".to_owned()),
        TryRecvError::PeerDead => Stop::Gone("peer dead".to_owned()),
        other => Stop::Broken(other.to_string()),
    }
}

fn not_received_in_time(error: RecvTimeoutError) -> Stop {
    match error {
        RecvTimeoutError::Timeout => Stop::Later,
        RecvTimeoutError::Disconnected => Stop::Gone("disconnected".to_owned()),
        RecvTimeoutError::PeerDead => Stop::Gone("peer dead".to_owned()),
        other => Stop::Broken(other.to_string()),
    }
}

/// A form of record: values, or byte strings of some length.
pub trait Form: 'static {
    /// What the ring carries.
    type Message: Message + ?Sized;
    /// A record ready to be sent.
    type Draft;
    /// Where a record is received.
    type Buffer;
    /// Its name.
    const NAME: &'static str;

    /// The record of this number.
    fn draft(number: u64) -> Self::Draft;

    /// Room for the longest record, and more.
    fn buffer() -> Self::Buffer;

    /// The number of the record in the buffer, or nothing if it is not whole.
    fn check(buffer: &Self::Buffer) -> Option<u64>;

    /// The number of the record of these bytes, or nothing if it is not whole.
    fn whole(bytes: &[u8]) -> Option<u64>;

    /// The capacity of a ring of this kind.
    fn capacity(kind: Kind) -> usize;

    /// Records that surely go round a ring of this kind twice.
    fn two_laps(kind: Kind) -> u64;

    /// Records that fill about half of a ring of this kind.
    fn half(kind: Kind) -> usize;

    /// How many records a ring of this kind surely holds.
    fn room(kind: Kind) -> u64;

    /// `Sender::try_send`.
    fn try_send<K: Protocol>(
        sender: &mut Sender<Self::Message, K>,
        draft: &Self::Draft,
    ) -> Result<(), Stop>;

    /// `Sender::send_timeout`.
    fn send<K: Protocol>(
        sender: &mut Sender<Self::Message, K>,
        draft: &Self::Draft,
        time: Duration,
    ) -> Result<(), Stop>;

    /// Sends a batch, and says how many of it.
    fn send_batch<K: Protocol>(
        sender: &mut Sender<Self::Message, K>,
        drafts: &[Self::Draft; BATCH],
    ) -> Result<usize, Stop>;

    /// Reserves room, writes, and ends in the given way.
    fn reserve<K: Protocol>(
        sender: &mut Sender<Self::Message, K>,
        draft: &Self::Draft,
        ending: Ending,
    ) -> Result<(), Stop>;

    /// `Receiver::try_recv`.
    fn try_recv<K: Protocol>(
        receiver: &mut Receiver<Self::Message, K>,
        buffer: &mut Self::Buffer,
    ) -> Result<(), Stop>;

    /// `Receiver::recv_timeout`.
    fn recv<K: Protocol>(
        receiver: &mut Receiver<Self::Message, K>,
        buffer: &mut Self::Buffer,
        time: Duration,
    ) -> Result<(), Stop>;

    /// Receives a batch, and says how many.
    fn recv_batch<K: Protocol>(
        receiver: &mut Receiver<Self::Message, K>,
        buffer: &mut Self::Buffer,
    ) -> Result<usize, Stop>;

    /// Receives a batch, and tells `visit` the number of each record, or nothing if it is not whole.
    fn recv_numbers<K: Protocol>(
        receiver: &mut Receiver<Self::Message, K>,
        buffer: &mut Self::Buffer,
        visit: impl FnMut(Option<u64>),
    ) -> Result<(), Stop>;

    /// Peeks, reads, stores in `seen` that it did, and ends in the given way. Returns the tries.
    fn peek<K: Protocol>(
        receiver: &mut Receiver<Self::Message, K>,
        buffer: &mut Self::Buffer,
        seen: &AtomicU64,
        ending: Ending,
    ) -> Result<u64, Stop>;
}

/// How a guard ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Committed, or released.
    Done,
    /// Dropped.
    Dropped,
    /// Leaked, so that its holder's death leaves it open.
    Leaked,
}

/// Spreads a number over a word.
const fn mixed(number: u64) -> u64 {
    let word = (number ^ number >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word ^ word >> 32
}

/// Values of four words.
#[derive(Debug)]
pub enum Typed {}

impl Form for Typed {
    type Message = [u64; 4];
    type Draft = [u64; 4];
    type Buffer = [[u64; 4]; BATCH];
    const NAME: &'static str = "typed";

    fn draft(number: u64) -> Self::Draft {
        [number, !number, mixed(number), mixed(!number)]
    }

    fn buffer() -> Self::Buffer {
        [[0; 4]; BATCH]
    }

    fn check(buffer: &Self::Buffer) -> Option<u64> {
        (buffer[0] == Self::draft(buffer[0][0])).then_some(buffer[0][0])
    }

    fn whole(bytes: &[u8]) -> Option<u64> {
        let value: [u64; 4] = bytemuck::try_pod_read_unaligned(bytes).ok()?;
        (value == Self::draft(value[0])).then_some(value[0])
    }

    fn capacity(_kind: Kind) -> usize {
        8
    }

    fn two_laps(kind: Kind) -> u64 {
        if kind == Kind::Spsc { 16 } else { 128 }
    }

    fn half(kind: Kind) -> usize {
        Self::capacity(kind) / 2
    }

    fn room(kind: Kind) -> u64 {
        Self::capacity(kind) as u64
    }

    #[inline]
    fn try_send<K: Protocol>(
        sender: &mut Sender<Self::Message, K>,
        draft: &Self::Draft,
    ) -> Result<(), Stop> {
        sender.try_send(*draft).map_err(not_sent)
    }

    fn send<K: Protocol>(
        sender: &mut Sender<Self::Message, K>,
        draft: &Self::Draft,
        time: Duration,
    ) -> Result<(), Stop> {
        sender.send_timeout(*draft, time).map_err(not_sent_in_time)
    }

    fn send_batch<K: Protocol>(
        sender: &mut Sender<Self::Message, K>,
        drafts: &[Self::Draft; BATCH],
    ) -> Result<usize, Stop> {
        sender.try_send_slice(drafts).map_err(not_sent)
    }

    fn reserve<K: Protocol>(
        sender: &mut Sender<Self::Message, K>,
        draft: &Self::Draft,
        ending: Ending,
    ) -> Result<(), Stop> {
        let mut reservation = sender.try_reserve().map_err(not_sent)?;
        reservation.write(*draft);
        match ending {
            Ending::Done => reservation.commit(),
            Ending::Dropped => drop(reservation),
            Ending::Leaked => forget(reservation),
        }
        Ok(())
    }

    #[inline]
    fn try_recv<K: Protocol>(
        receiver: &mut Receiver<Self::Message, K>,
        buffer: &mut Self::Buffer,
    ) -> Result<(), Stop> {
        buffer[0] = receiver.try_recv().map_err(not_received)?;
        Ok(())
    }

    fn recv<K: Protocol>(
        receiver: &mut Receiver<Self::Message, K>,
        buffer: &mut Self::Buffer,
        time: Duration,
    ) -> Result<(), Stop> {
        buffer[0] = receiver.recv_timeout(time).map_err(not_received_in_time)?;
        Ok(())
    }

    fn recv_batch<K: Protocol>(
        receiver: &mut Receiver<Self::Message, K>,
        buffer: &mut Self::Buffer,
    ) -> Result<usize, Stop> {
        receiver.try_recv_slice(buffer).map_err(not_received)
    }

    fn recv_numbers<K: Protocol>(
        receiver: &mut Receiver<Self::Message, K>,
        buffer: &mut Self::Buffer,
        visit: impl FnMut(Option<u64>),
    ) -> Result<(), Stop> {
        let count = receiver.try_recv_slice(buffer).map_err(not_received)?;
        let whole = |value: &[u64; 4]| (*value == Self::draft(value[0])).then_some(value[0]);
        buffer[..count].iter().map(whole).for_each(visit);
        Ok(())
    }

    fn peek<K: Protocol>(
        receiver: &mut Receiver<Self::Message, K>,
        buffer: &mut Self::Buffer,
        seen: &AtomicU64,
        ending: Ending,
    ) -> Result<u64, Stop> {
        let peeked = receiver.try_peek().map_err(not_received)?;
        buffer[0] = peeked.read();
        seen.store(1, Relaxed);
        let tries = peeked.tries();
        match ending {
            Ending::Done => peeked.release(),
            Ending::Dropped => drop(peeked),
            Ending::Leaked => forget(peeked),
        }
        Ok(tries)
    }
}

/// Byte strings of up to `MOST` bytes, and at least half of that.
#[derive(Debug)]
pub enum Bytes<const MOST: usize> {}

/// Byte strings of one cell.
pub type Short = Bytes<56>;

/// Byte strings of several cells, which often need the ring's end filled up.
pub type Long = Bytes<340>;

/// A byte record and its length.
#[derive(Debug)]
pub struct Draft {
    len: usize,
    bytes: [u8; 340],
}

impl Draft {
    fn record(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl<const MOST: usize> Form for Bytes<MOST> {
    type Message = [u8];
    type Draft = Draft;
    type Buffer = Vec<u8>;
    const NAME: &'static str = if MOST <= 56 { "short" } else { "long" };

    fn draft(number: u64) -> Self::Draft {
        let mut draft = Draft {
            len: MOST / 2 + (mixed(number) % (MOST as u64 / 2 + 1)) as usize,
            bytes: [0; 340],
        };
        for (at, chunk) in draft.bytes.chunks_mut(8).enumerate() {
            let word = mixed(number.wrapping_add((at as u64) << 40)).to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        draft.bytes[..8].copy_from_slice(&number.to_le_bytes());
        draft
    }

    fn buffer() -> Self::Buffer {
        Vec::with_capacity(512)
    }

    fn check(buffer: &Self::Buffer) -> Option<u64> {
        Self::whole(buffer)
    }

    fn whole(bytes: &[u8]) -> Option<u64> {
        let number = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
        (Self::draft(number).record() == bytes).then_some(number)
    }

    fn capacity(kind: Kind) -> usize {
        if kind == Kind::Spsc { 1024 } else { 4096 }
    }

    fn two_laps(kind: Kind) -> u64 {
        let unit = if kind == Kind::Spsc { 8 } else { 64 };
        let least = (MOST / 2 + 8).div_ceil(unit);
        (2 * Self::capacity(kind) / (unit * least)) as u64 + 1
    }

    fn half(kind: Kind) -> usize {
        Self::two_laps(kind) as usize / 5
    }

    fn room(kind: Kind) -> u64 {
        let unit = if kind == Kind::Spsc { 8 } else { 64 };
        let most = (MOST + 8).div_ceil(unit);
        // The next record may need as much, and the ring's end may have to be filled up.
        (Self::capacity(kind) / unit / most) as u64 - 1
    }

    #[inline]
    fn try_send<K: Protocol>(
        sender: &mut Sender<Self::Message, K>,
        draft: &Self::Draft,
    ) -> Result<(), Stop> {
        sender.try_send(draft.record()).map_err(not_sent)
    }

    fn send<K: Protocol>(
        sender: &mut Sender<Self::Message, K>,
        draft: &Self::Draft,
        time: Duration,
    ) -> Result<(), Stop> {
        let sent = sender.send_timeout(draft.record(), time);
        sent.map_err(not_sent_in_time)
    }

    fn send_batch<K: Protocol>(
        sender: &mut Sender<Self::Message, K>,
        drafts: &[Self::Draft; BATCH],
    ) -> Result<usize, Stop> {
        let records = [drafts[0].record(), drafts[1].record(), drafts[2].record()];
        sender.try_send_batch(&records).map_err(not_sent)
    }

    fn reserve<K: Protocol>(
        sender: &mut Sender<Self::Message, K>,
        draft: &Self::Draft,
        ending: Ending,
    ) -> Result<(), Stop> {
        // More than is used in the end.
        let mut reservation = sender.try_reserve(MOST).map_err(not_sent)?;
        reservation.write_at(0, draft.record());
        match ending {
            Ending::Done => reservation.commit_len(draft.len),
            Ending::Dropped => drop(reservation),
            Ending::Leaked => forget(reservation),
        }
        Ok(())
    }

    #[inline]
    fn try_recv<K: Protocol>(
        receiver: &mut Receiver<Self::Message, K>,
        buffer: &mut Self::Buffer,
    ) -> Result<(), Stop> {
        receiver.try_recv(buffer).map(drop).map_err(not_received)
    }

    fn recv<K: Protocol>(
        receiver: &mut Receiver<Self::Message, K>,
        buffer: &mut Self::Buffer,
        time: Duration,
    ) -> Result<(), Stop> {
        let received = receiver.recv_timeout(buffer, time);
        received.map(drop).map_err(not_received_in_time)
    }

    fn recv_batch<K: Protocol>(
        receiver: &mut Receiver<Self::Message, K>,
        buffer: &mut Self::Buffer,
    ) -> Result<usize, Stop> {
        let received = receiver.try_recv_batch(BATCH, buffer, |_| ());
        received.map_err(not_received)
    }

    fn recv_numbers<K: Protocol>(
        receiver: &mut Receiver<Self::Message, K>,
        buffer: &mut Self::Buffer,
        mut visit: impl FnMut(Option<u64>),
    ) -> Result<(), Stop> {
        let visit = |record: &[u8]| visit(Self::whole(record));
        let received = receiver.try_recv_batch(BATCH, buffer, visit);
        received.map(drop).map_err(not_received)
    }

    fn peek<K: Protocol>(
        receiver: &mut Receiver<Self::Message, K>,
        buffer: &mut Self::Buffer,
        seen: &AtomicU64,
        ending: Ending,
    ) -> Result<u64, Stop> {
        let peeked = receiver.try_peek().map_err(not_received)?;
        peeked.read(buffer);
        seen.store(1, Relaxed);
        let tries = peeked.tries();
        match ending {
            Ending::Done => peeked.release(),
            Ending::Dropped => drop(peeked),
            Ending::Leaked => forget(peeked),
        }
        Ok(tries)
    }
}
