//! The words that every queue is brought to, so that one driver does for all.
//!
//! Each queue says them in its own documented way and with its own settings for losing nothing; where it offers less,
//! it says so in its `NOTE`.

use std::fmt::Display;
use std::path::PathBuf;

/// The sending end.
pub trait Tx<M> {
    /// Sends if there is room now.
    fn try_send(&mut self, message: &M) -> bool;
}

/// The receiving end.
pub trait Rx<M> {
    /// Receives if there is a message now.
    fn try_recv(&mut self) -> Option<M>;
}

/// A sending end that takes many messages at once.
pub trait BatchTx<M> {
    /// Sends the first of `messages` for which there is room now, and tells how many.
    fn try_send_batch(&mut self, messages: &[M]) -> usize;
}

/// A receiving end that gives many messages at once.
pub trait BatchRx<M> {
    /// Shows at most `most` messages to `each`, and tells how many there were.
    fn try_recv_batch(&mut self, most: usize, each: impl FnMut(&M)) -> usize;
}

/// A sending end that sleeps while there is no room.
pub trait SleepTx<M> {
    /// Sends.
    fn send(&mut self, message: &M);
}

/// A receiving end that sleeps while there is no message.
pub trait SleepRx<M> {
    /// Receives.
    fn recv(&mut self) -> M;
}

/// As a message: byte records of any length up to the site's.
pub struct Records;

/// A sending end for byte records.
pub trait RecordTx {
    /// Sends a copy of `record` if there is room now.
    fn try_send_record(&mut self, record: &[u8]) -> bool;
}

/// A receiving end for byte records.
pub trait RecordRx {
    /// Receives a copy of the next record if there is one now, and shows it. Tells whether there was one.
    fn try_recv_record(&mut self, look: impl FnMut(&[u8])) -> bool;
}

/// A sending end that lets records be written where they are sent from.
pub trait PlaceTx {
    /// Sends a record of `len` bytes if there is room now. `fill` writes it.
    fn try_send_in_place(&mut self, len: usize, fill: impl FnMut(&mut [u8])) -> bool;
}

/// A receiving end that shows records where they lie.
pub trait PlaceRx {
    /// Shows the next record if there is one now, and then gives its room back. Tells whether there was one.
    fn try_recv_in_place(&mut self, look: impl FnMut(&[u8])) -> bool;
}

/// Where a queue is to stand, and how large.
#[derive(Clone, Debug)]
pub struct Site {
    /// A file that does not exist yet, in a directory of shared memory that is there for this queue alone.
    pub path: PathBuf,
    /// A name that nobody else uses.
    pub name: String,
    /// Messages that it is to hold.
    pub capacity: usize,
    /// The longest record in bytes, where messages are byte records.
    pub record: usize,
}

impl Site {
    /// The bytes of so many of the longest records.
    pub fn bytes(&self) -> usize {
        self.capacity * self.record
    }
}

/// What every kind of queue tells about itself.
pub trait Named {
    /// What it is called here.
    const NAME: &'static str;
    /// What a reader of its figures has to know; or nothing.
    const NOTE: &'static str = "";
}

/// The ends of a queue.
pub type Ends<Tx, Rx> = (Vec<Tx>, Vec<Rx>);

/// A queue between threads.
pub trait Local<M>: Named {
    /// Its sending end.
    type Tx: Send;
    /// Its receiving end.
    type Rx: Send;

    /// A new queue with so many ends.
    ///
    /// # Errors
    ///
    /// What the queue said.
    fn open(
        site: &Site,
        senders: usize,
        receivers: usize,
    ) -> Result<Ends<Self::Tx, Self::Rx>, String>;
}

/// A queue between processes.
pub trait Shared<M>: Named {
    /// Its sending end.
    type Tx;
    /// Its receiving end.
    type Rx;

    /// Attaches a sender. The first one of all is to create the queue.
    ///
    /// # Errors
    ///
    /// What the queue said.
    fn sender(site: &Site, first: bool) -> Result<Self::Tx, String>;

    /// Attaches a receiver.
    ///
    /// # Errors
    ///
    /// What the queue said.
    fn receiver(site: &Site) -> Result<Self::Rx, String>;
}

/// What a queue said, as text.
pub fn said<T, E: Display>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

/// `count` ends, made one by one.
pub fn several<T>(
    count: usize,
    mut make: impl FnMut(usize) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    (0..count).map(&mut make).collect()
}
