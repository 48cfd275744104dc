//! The same storm with typed messages and with byte records: each way to send, to receive and to look, said for
//! both.

use super::ledger::WORDS;
use super::payload::Stamp;
use annulus::{
    Message, Peeked, Protocol, Receiver, SendTimeoutError, Sender, TryRecvError, TrySendError,
};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::compiler_fence;
use std::time::Duration;

/// The most messages of a batch.
pub const BATCH: usize = 8;

/// A way to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `send`, which waits.
    Send,
    /// `try_send`, again and again.
    Try,
    /// `send_timeout`, again and again.
    Timeout,
    /// `reserve`, and commit.
    Reserve,
    /// The same, and others have the processor meanwhile.
    Dwell,
    /// A slice or batch.
    Batch,
}

/// A way to receive.
#[derive(Clone, Copy, Debug)]
pub struct Take {
    /// Waits for a record.
    pub wait: bool,
    /// Typed messages come as values, not in a slice: then nobody knows what a dead receiver had.
    pub by_value: bool,
}

/// What lies where typed messages land, while one is received by value.
pub const BLIND: [u64; WORDS] = [u64::MAX; WORDS];

/// Stores what others shall see when we are dead, and the compiler takes for nobody's business.
fn note(landing: &mut [u64; WORDS], words: [u64; WORDS]) {
    compiler_fence(SeqCst);
    // SAFETY: a place of ours, that is there to be written.
    unsafe { std::ptr::write_volatile(landing, words) };
    compiler_fence(SeqCst);
}

/// Typed messages, or byte records.
pub trait Form {
    /// What the ring carries.
    type Carried: Message + ?Sized;
    /// Working space of a receiver, into which records are copied.
    type Space<'a>;

    /// Sends them, in order.
    ///
    /// # Panics
    ///
    /// If that fails for good.
    fn send<K: Protocol>(sender: &mut Sender<Self::Carried, K>, way: Way, stamps: &[Stamp]);

    /// Takes room for a message, writes some of it, and gives it up.
    ///
    /// # Panics
    ///
    /// If there is no room for good.
    fn give_up<K: Protocol>(sender: &mut Sender<Self::Carried, K>, stamp: Stamp);

    /// Receives one at most once. `Ok(None)` if it is torn.
    ///
    /// # Errors
    ///
    /// What the ring says.
    fn receive<K: Protocol>(
        receiver: &mut Receiver<Self::Carried, K>,
        take: Take,
        space: &mut Self::Space<'_>,
    ) -> Result<Option<Stamp>, TryRecvError>;

    /// What is held; nothing if it is torn.
    fn held<K: Protocol>(
        peeked: &Peeked<'_, Self::Carried, K>,
        space: &mut Self::Space<'_>,
    ) -> Option<Stamp>;

    /// What a dead letter is; nothing if it is torn.
    fn letter(bytes: &[u8]) -> Option<Stamp>;

    /// The working space: typed messages go to `landing`.
    fn space(landing: &mut [[u64; WORDS]; 1]) -> Self::Space<'_>;

    /// A small capacity for the ring, so that it is full and empty often.
    fn capacity() -> usize;
}

/// Typed messages.
#[derive(Debug)]
pub enum Typed {}

/// Byte records.
#[derive(Debug)]
pub enum Bytes {}

const SHORTLY: Duration = Duration::from_micros(300);

/// Lets others have the processor: so a killer finds us in the middle of something.
pub fn dwell(really: bool) {
    if really {
        std::thread::yield_now();
    }
}

/// Calls until there is room.
fn until_room<E: std::fmt::Debug>(
    mut attempt: impl FnMut() -> Result<(), E>,
    full: impl Fn(&E) -> bool,
) {
    loop {
        match attempt() {
            Ok(()) => return,
            Err(why) if full(&why) => std::thread::yield_now(),
            Err(why) => panic!("sending: {why:?}"),
        }
    }
}

impl Form for Typed {
    type Carried = [u64; WORDS];
    type Space<'a> = &'a mut [[u64; WORDS]; 1];

    fn send<K: Protocol>(sender: &mut Sender<Self::Carried, K>, way: Way, stamps: &[Stamp]) {
        if way == Way::Batch {
            let values: Vec<_> = stamps.iter().map(|stamp| stamp.to_words()).collect();
            sender.send_slice(&values).expect("sending a slice");
            return;
        }
        for stamp in stamps {
            let value = stamp.to_words();
            match way {
                Way::Send | Way::Batch => sender.send(value).expect("sending"),
                Way::Try => until_room(
                    || sender.try_send(value),
                    |why| matches!(why, TrySendError::Full(_)),
                ),
                Way::Timeout => until_room(
                    || sender.send_timeout(value, SHORTLY),
                    |why| matches!(why, SendTimeoutError::Timeout(_)),
                ),
                Way::Reserve | Way::Dwell => {
                    let mut reservation = sender.reserve().expect("reserving");
                    dwell(way == Way::Dwell);
                    reservation.write(value);
                    reservation.commit();
                }
            }
        }
    }

    fn give_up<K: Protocol>(sender: &mut Sender<Self::Carried, K>, stamp: Stamp) {
        let mut reservation = sender.reserve().expect("reserving");
        reservation.write(stamp.to_words());
    }

    fn receive<K: Protocol>(
        receiver: &mut Receiver<Self::Carried, K>,
        take: Take,
        space: &mut Self::Space<'_>,
    ) -> Result<Option<Stamp>, TryRecvError> {
        if take.by_value {
            note(&mut space[0], BLIND);
            let value = if take.wait {
                receiver.recv()?
            } else {
                receiver.try_recv()?
            };
            note(&mut space[0], value);
        } else if take.wait {
            receiver.recv_slice(&mut space[..])?;
        } else {
            receiver.try_recv_slice(&mut space[..])?;
        }
        Ok(Stamp::of_words(&space[0]))
    }

    fn held<K: Protocol>(
        peeked: &Peeked<'_, Self::Carried, K>,
        _space: &mut Self::Space<'_>,
    ) -> Option<Stamp> {
        Stamp::of_words(&peeked.read())
    }

    fn letter(bytes: &[u8]) -> Option<Stamp> {
        Stamp::of_words(&bytemuck::try_pod_read_unaligned(bytes).ok()?)
    }

    fn space(landing: &mut [[u64; WORDS]; 1]) -> Self::Space<'_> {
        landing
    }

    fn capacity() -> usize {
        32
    }
}

impl Form for Bytes {
    type Carried = [u8];
    type Space<'a> = (Vec<u8>, Vec<u8>);

    fn send<K: Protocol>(sender: &mut Sender<[u8], K>, way: Way, stamps: &[Stamp]) {
        let mut record = Vec::new();
        if way == Way::Batch {
            let all = stamps.iter().map(|stamp| {
                stamp.to_bytes(&mut record);
                record.clone()
            });
            let all: Vec<_> = all.collect();
            let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
            sender.send_batch(&all).expect("sending a batch");
            return;
        }
        for stamp in stamps {
            stamp.to_bytes(&mut record);
            match way {
                Way::Send | Way::Batch => sender.send(&record).expect("sending"),
                Way::Try => until_room(
                    || sender.try_send(&record),
                    |why| matches!(why, TrySendError::Full(())),
                ),
                Way::Timeout => until_room(
                    || sender.send_timeout(&record, SHORTLY),
                    |why| matches!(why, SendTimeoutError::Timeout(())),
                ),
                Way::Reserve | Way::Dwell => {
                    // More than is needed: the rest is given up.
                    let mut reservation = sender.reserve(record.len() + 100).expect("reserving");
                    let (first, second) = record.split_at(record.len() / 2);
                    reservation.write_at(0, first);
                    dwell(way == Way::Dwell);
                    reservation.write_at(first.len(), second);
                    reservation.commit_len(record.len());
                }
            }
        }
    }

    fn give_up<K: Protocol>(sender: &mut Sender<[u8], K>, stamp: Stamp) {
        let mut record = Vec::new();
        stamp.to_bytes(&mut record);
        let mut reservation = sender.reserve(record.len()).expect("reserving");
        reservation.write_at(0, &record);
    }

    fn receive<K: Protocol>(
        receiver: &mut Receiver<[u8], K>,
        take: Take,
        (record, space): &mut Self::Space<'_>,
    ) -> Result<Option<Stamp>, TryRecvError> {
        if take.wait {
            receiver.recv(record)?;
        } else {
            receiver.try_recv(record)?;
        }
        Ok(Stamp::of_bytes(record, space))
    }

    fn held<K: Protocol>(
        peeked: &Peeked<'_, [u8], K>,
        (record, space): &mut Self::Space<'_>,
    ) -> Option<Stamp> {
        peeked.read(record);
        Stamp::of_bytes(record, space)
    }

    fn letter(bytes: &[u8]) -> Option<Stamp> {
        Stamp::of_bytes(bytes, &mut Vec::new())
    }

    fn space(_landing: &mut [[u64; WORDS]; 1]) -> Self::Space<'_> {
        Default::default()
    }

    fn capacity() -> usize {
        8192
    }
}
