//! The contract that every transport of Annulus keeps.
//!
//! A transport moves *records* (whole byte strings) from senders to receivers. The rings in
//! shared memory, and everything they are compared with, implement [`Sender`] and [`Receiver`]
//! and pass the same suite (feature `conformance`), which has one function for each clause below.
//!
//! ```
//! use annulus_channel::{Receiver, RecvError, Sender};
//! use std::error::Error;
//!
//! /// Passes on every record until the last sender has closed, or a side fails.
//! fn relay(from: &mut impl Receiver, to: &mut impl Sender) -> Result<(), Box<dyn Error>> {
//!     let mut record = Vec::new();
//!     loop {
//!         match from.recv(&mut record) {
//!             Ok(_) => to.send(&record)?,
//!             Err(RecvError::Disconnected) => return Ok(()),
//!             Err(error) => return Err(error.into()),
//!         }
//!     }
//! }
//! ```
//!
//! # The clauses
//!
//! 1. **Boundaries.** A record arrives whole, alone and unchanged, or not at all. The empty record
//!    is a record.
//! 2. **Order.** Two records of one sender arrive, at one receiver, in the order in which they were
//!    sent. [`Capabilities::order`] says whether more is promised.
//! 3. **Once.** A record whose `send` returned `Ok` is received exactly once, by one receiver, as
//!    long as neither end fails. A transport that may lose says so in [`Capabilities::lossy`], and
//!    its receiver counts what it misses ([`Receiver::lost`]).
//! 4. **Bounds.** A transport holds a bounded amount. A record longer than [`Sender::max_record`] is
//!    refused with `TooLarge`, which names both lengths; nothing of it is sent. A record of exactly
//!    that length passes. [`Capabilities::max_record`] declares the same length at either end.
//! 5. **Non-blocking.** `try_send` and `try_recv` never wait. With no room, `try_send` says `Full`
//!    and nothing was sent; with nothing there, `try_recv` says `Empty`, and the buffer is
//!    empty.
//! 6. **Blocking.** `send` waits for room and `recv` for a record. Neither returns for any other
//!    reason than success, the end of the transport, or a fault; a signal does not end them.
//! 7. **Timed.** `send_deadline` and `recv_deadline` say `Timeout` at the deadline, never before
//!    it. What can be done at once is done, even if the deadline has passed.
//! 8. **Closed.** When the last sender has closed (was dropped), receivers first get every record
//!    that was sent, then `Disconnected`. When the last receiver has closed, a `send` says
//!    `Disconnected`. Both wake a blocked call. Where records may be lost, so may this news.
//! 9. **Dead.** A peer that was killed has not closed. Where no successor can come, the survivor's
//!    call says `PeerDead` (after the last whole record); where one can, it waits for it.
//! 10. **Handing back.** An error of a send carries back what was to be sent, where that was given
//!     by value, and nothing of it was sent.
//! 11. **Declared.** Every handle of a channel declares the same [`Capabilities`], and they hold.

#![forbid(unsafe_code)]

mod error;
mod open;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use error::{
    Fault, RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
pub use open::{OpenError, OpenReason};
use std::time::{Duration, Instant};

/// The sending end of a transport: whole records in.
///
/// The numbered clauses are in the [crate's documentation](crate#the-clauses).
///
/// ```
/// use annulus_channel::{Sender, TrySendError};
///
/// /// Sends what there is room for, and returns how many were sent.
/// fn offer(to: &mut impl Sender, records: &[&[u8]]) -> Result<usize, TrySendError> {
///     for (sent, record) in records.iter().enumerate() {
///         match to.try_send(record) {
///             Ok(()) => {}
///             Err(TrySendError::Full(())) => return Ok(sent),
///             Err(error) => return Err(error),
///         }
///     }
///     Ok(records.len())
/// }
/// ```
pub trait Sender {
    /// Sends `record` if there is room for it now.
    ///
    /// # Errors
    ///
    /// [`TrySendError`]: what it lists; nothing of `record` was sent.
    fn try_send(&mut self, record: &[u8]) -> Result<(), TrySendError>;

    /// Sends `record`, waiting for room.
    ///
    /// # Errors
    ///
    /// [`SendError`]: what it lists; nothing of `record` was sent.
    fn send(&mut self, record: &[u8]) -> Result<(), SendError>;

    /// Sends `record`, waiting for room until `deadline`.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`]: what it lists; nothing of `record` was sent.
    fn send_deadline(&mut self, record: &[u8], deadline: Instant) -> Result<(), SendTimeoutError>;

    /// Sends `record`, waiting for room for at most `timeout`. A timeout too long for the clock
    /// waits for ever.
    ///
    /// # Errors
    ///
    /// As [`send_deadline`](Self::send_deadline).
    fn send_timeout(&mut self, record: &[u8], timeout: Duration) -> Result<(), SendTimeoutError> {
        match Instant::now().checked_add(timeout) {
            Some(deadline) => self.send_deadline(record, deadline),
            None => self.send(record).map_err(SendTimeoutError::from),
        }
    }

    /// The longest record that can be sent, in bytes; the same for the channel's whole life.
    fn max_record(&self) -> usize;

    /// What this transport promises beyond the contract, and what it does not.
    fn capabilities(&self) -> Capabilities;
}

/// The receiving end of a transport: whole records out.
///
/// The numbered clauses are in the [crate's documentation](crate#the-clauses).
///
/// ```
/// use annulus_channel::{Receiver, RecvTimeoutError};
/// use std::time::Duration;
///
/// /// The bytes of all records until none has come for a second.
/// fn collect(from: &mut impl Receiver) -> Result<Vec<u8>, RecvTimeoutError> {
///     let (mut record, mut all) = (Vec::new(), Vec::new());
///     loop {
///         match from.recv_timeout(&mut record, Duration::from_secs(1)) {
///             Ok(_) => all.extend(&record),
///             Err(RecvTimeoutError::Timeout) => return Ok(all),
///             Err(error) => return Err(error),
///         }
///     }
/// }
/// ```
pub trait Receiver {
    /// Receives a record if there is one now: `buffer` holds it and nothing else, and its length
    /// is returned. After an error `buffer` is empty. What it held before is gone in either case.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`]: what it lists.
    fn try_recv(&mut self, buffer: &mut Vec<u8>) -> Result<usize, TryRecvError>;

    /// Receives a record into `buffer`, as [`try_recv`](Self::try_recv), waiting for one.
    ///
    /// # Errors
    ///
    /// [`RecvError`]: what it lists.
    fn recv(&mut self, buffer: &mut Vec<u8>) -> Result<usize, RecvError>;

    /// Receives a record into `buffer`, as [`try_recv`](Self::try_recv), waiting for one until
    /// `deadline`.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`]: what it lists.
    fn recv_deadline(
        &mut self,
        buffer: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<usize, RecvTimeoutError>;

    /// Receives a record into `buffer`, as [`try_recv`](Self::try_recv), waiting for at most
    /// `timeout`. A timeout too long for the clock waits for ever.
    ///
    /// # Errors
    ///
    /// As [`recv_deadline`](Self::recv_deadline).
    fn recv_timeout(
        &mut self,
        buffer: &mut Vec<u8>,
        timeout: Duration,
    ) -> Result<usize, RecvTimeoutError> {
        match Instant::now().checked_add(timeout) {
            Some(deadline) => self.recv_deadline(buffer, deadline),
            None => self.recv(buffer).map_err(RecvTimeoutError::from),
        }
    }

    /// How many records are known to be lost: sent before one that was received, or before the
    /// sender closed, but never received. Only where [`Capabilities::lossy`] is declared can it be other
    /// than 0.
    fn lost(&self) -> u64 {
        0
    }

    /// What this transport promises beyond the contract, and what it does not.
    fn capabilities(&self) -> Capabilities;
}

/// What order a transport keeps among records of different senders.
///
/// ```
/// use annulus_channel::{Order, Sender};
///
/// /// Whether what one sender says after another has spoken arrives after it, too.
/// fn replies_follow_questions(tx: &impl Sender) -> bool {
///     tx.capabilities().order == Order::Total
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// All records have one order, and every receiver gets its share in that order: a record
    /// whose `send` returned before that of another began comes before it.
    Total,
    /// The records of one sender keep their order; those of different senders may change places.
    PerSender,
}

/// What keeps a transport's records apart.
///
/// ```
/// use annulus_channel::{Boundaries, Sender};
///
/// /// Whether `try_send` of any record succeeds as long as the channel is empty.
/// fn fits_at_once(tx: &impl Sender) -> bool {
///     tx.capabilities().boundaries == Boundaries::Native
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundaries {
    /// The transport itself: each record is one unit of its own. The longest record fits into an
    /// empty channel at once.
    Native,
    /// A length before each record, in a stream of bytes. A record may be longer than the stream
    /// holds; it then passes piece by piece while the receiver takes it out, and `try_send` says
    /// `Full` until the last piece is in.
    Framed,
}

/// What a transport promises, so that the suite checks exactly that, and a user can choose.
///
/// ```
/// use annulus_channel::{Boundaries, Capabilities, Order};
///
/// // A pipe between two processes.
/// let pipe = Capabilities {
///     order: Order::Total,
///     lossy: false,
///     many_senders: false,
///     many_receivers: false,
///     persistent: false,
///     crosses_machines: false,
///     boundaries: Boundaries::Framed,
///     max_record: Some(16 << 20),
/// };
/// assert_ne!(pipe, Capabilities { persistent: true, ..pipe });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The order among different senders.
    pub order: Order,
    /// A record may be lost although its `send` returned `Ok` and nobody failed.
    pub lossy: bool,
    /// Several senders may be attached at once.
    pub many_senders: bool,
    /// Several receivers may be attached at once; each record goes to one of them.
    pub many_receivers: bool,
    /// What was sent can still be received after both ends have gone, by a later one.
    pub persistent: bool,
    /// Its ends may be on different machines.
    pub crosses_machines: bool,
    /// What keeps the records apart.
    pub boundaries: Boundaries,
    /// The longest record of this channel, in bytes, as [`Sender::max_record`] has it. Nothing where
    /// the ends agree on it when they meet, and the other one has not come yet.
    pub max_record: Option<usize>,
}
