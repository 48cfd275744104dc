//! The two ends as the contract wants them: its calls and its errors, which stick, written once over
//! [`Outgoing`] and [`Incoming`].

use crate::address::Kind;
use crate::way::{Incoming, Outgoing, Patience, Stop};
use annulus_channel::{
    Boundaries, Capabilities, Fault, Order, RecvError, RecvTimeoutError, SendError,
    SendTimeoutError, TryRecvError, TrySendError,
};
use std::fmt;
use std::process;
use std::time::Instant;

/// What a channel over a socket of this kind promises, with records of at most so many bytes.
pub(crate) fn capabilities(kind: Kind, max: usize) -> Capabilities {
    Capabilities {
        order: Order::Total,
        lossy: kind == Kind::Udp,
        many_senders: false,
        many_receivers: false,
        persistent: false,
        crosses_machines: !kind.is_unix(),
        boundaries: match kind {
            Kind::UnixStream | Kind::Tcp => Boundaries::Framed,
            Kind::UnixSeqpacket | Kind::UnixDatagram | Kind::Udp => Boundaries::Native,
        },
        max_record: Some(max),
    }
}

/// The sending end of a socket.
///
/// Closed when it is dropped, with a goodbye. A process that is killed says none, and that is how
/// the receiver knows the difference. A handle inherited through `fork` answers
/// [`Fault::ForkedHandle`], and says nothing when it is dropped.
///
/// ```
/// use annulus_channel::{Receiver as _, Sender as _};
/// use annulus_socket::{Kind, SocketOptions};
///
/// let (mut tx, mut rx) = SocketOptions::new().pair(Kind::UnixSeqpacket)?;
/// tx.send(b"a record")?;
/// let mut record = Vec::new();
/// rx.recv(&mut record)?;
/// assert_eq!(record, b"a record");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Sender {
    way: Box<dyn Outgoing>,
    kind: Kind,
    max: usize,
    /// The process whose handle this is.
    owner: u32,
    /// What ended it; every later call says the same.
    end: Option<Stop>,
    /// Whether to part without a word.
    silent: bool,
}

/// The receiving end of a socket.
///
/// Closed when it is dropped, as [`Sender`] is.
///
/// ```
/// use annulus_channel::{Receiver as _, RecvError};
/// use annulus_socket::{Kind, SocketOptions};
///
/// let (tx, mut rx) = SocketOptions::new().pair(Kind::UnixStream)?;
/// drop(tx);
/// assert_eq!(rx.recv(&mut Vec::new()), Err(RecvError::Disconnected));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Receiver {
    way: Box<dyn Incoming>,
    kind: Kind,
    max: usize,
    owner: u32,
    end: Option<Stop>,
    silent: bool,
}

impl Sender {
    pub(crate) fn new(way: Box<dyn Outgoing>, kind: Kind, max: usize) -> Self {
        Self {
            way,
            kind,
            max,
            owner: process::id(),
            end: None,
            silent: false,
        }
    }

    /// Parts without a goodbye, as a process that is killed: for tests.
    #[doc(hidden)]
    pub fn die(mut self) {
        self.silent = true;
    }

    fn attempt(&mut self, record: &[u8], patience: Patience) -> Result<(), Stop> {
        if self.owner != process::id() {
            return Err(Stop::Fault(Fault::ForkedHandle));
        }
        if let Some(end) = self.end {
            return Err(end);
        }
        let sent = self.way.send(record, patience);
        if let Err(end) = sent {
            self.end = Some(end).filter(|&end| end != Stop::NotNow);
        }
        sent
    }

    fn too_large<E>(&self, len: usize, error: impl FnOnce(usize, usize) -> E) -> Result<(), E> {
        if len > self.max {
            return Err(error(len, self.max));
        }
        Ok(())
    }
}

impl annulus_channel::Sender for Sender {
    fn try_send(&mut self, record: &[u8]) -> Result<(), TrySendError> {
        self.too_large(record.len(), |len, max| TrySendError::TooLarge {
            value: (),
            len,
            max,
        })?;
        self.attempt(record, Patience::None)
            .map_err(|stop| match stop {
                Stop::NotNow => TrySendError::Full(()),
                stop => send_error(stop).into(),
            })
    }

    fn send(&mut self, record: &[u8]) -> Result<(), SendError> {
        self.too_large(record.len(), |len, max| SendError::TooLarge {
            value: (),
            len,
            max,
        })?;
        self.attempt(record, Patience::Until(None))
            .map_err(send_error)
    }

    fn send_deadline(&mut self, record: &[u8], deadline: Instant) -> Result<(), SendTimeoutError> {
        self.too_large(record.len(), |len, max| SendTimeoutError::TooLarge {
            value: (),
            len,
            max,
        })?;
        self.attempt(record, Patience::Until(Some(deadline)))
            .map_err(|stop| match stop {
                Stop::NotNow => SendTimeoutError::Timeout(()),
                stop => send_error(stop).into(),
            })
    }

    fn max_record(&self) -> usize {
        self.max
    }

    fn capabilities(&self) -> Capabilities {
        capabilities(self.kind, self.max)
    }
}

/// The error of a call that waits as long as it takes, and so never ends in `NotNow`.
fn send_error(stop: Stop) -> SendError {
    match stop {
        Stop::Closed => SendError::Disconnected(()),
        Stop::Fault(fault) => SendError::Fault((), fault),
        Stop::Dead | Stop::NotNow => SendError::PeerDead(()),
    }
}

fn recv_error(stop: Stop) -> RecvError {
    match stop {
        Stop::Closed => RecvError::Disconnected,
        Stop::Fault(fault) => RecvError::Fault(fault),
        Stop::Dead | Stop::NotNow => RecvError::PeerDead,
    }
}

impl Receiver {
    pub(crate) fn new(way: Box<dyn Incoming>, kind: Kind, max: usize) -> Self {
        Self {
            way,
            kind,
            max,
            owner: process::id(),
            end: None,
            silent: false,
        }
    }

    /// Parts without a goodbye, as a process that is killed: for tests.
    #[doc(hidden)]
    pub fn die(mut self) {
        self.silent = true;
    }

    /// How many datagrams came over UDP that were no part of this channel, and were dropped: from somebody
    /// else, or damaged. (Those of another port the kernel drops uncounted, as soon as the two ends
    /// have met.) Always 0 for the other kinds.
    ///
    /// ```
    /// use annulus_socket::{Kind, SocketOptions};
    ///
    /// let (_tx, rx) = SocketOptions::new().pair(Kind::UnixDatagram)?;
    /// assert_eq!(rx.foreign(), 0);
    /// # Ok::<(), annulus_channel::OpenError>(())
    /// ```
    pub fn foreign(&self) -> u64 {
        self.way.foreign()
    }

    fn attempt(&mut self, buffer: &mut Vec<u8>, patience: Patience) -> Result<usize, Stop> {
        buffer.clear();
        if self.owner != process::id() {
            return Err(Stop::Fault(Fault::ForkedHandle));
        }
        if let Some(end) = self.end {
            return Err(end);
        }
        let stop = loop {
            match self.way.attempt(buffer) {
                Ok(()) => return Ok(buffer.len()),
                Err(Stop::NotNow) => {}
                Err(end) => break end,
            }
            match patience {
                Patience::Until(until) if !patience.is_over() => {
                    if let Err(end) = self.way.sleep(until) {
                        break end;
                    }
                }
                _ => return Err(Stop::NotNow),
            }
        };
        self.end = Some(stop);
        Err(stop)
    }
}

impl annulus_channel::Receiver for Receiver {
    fn try_recv(&mut self, buffer: &mut Vec<u8>) -> Result<usize, TryRecvError> {
        self.attempt(buffer, Patience::None)
            .map_err(|stop| match stop {
                Stop::NotNow => TryRecvError::Empty,
                stop => recv_error(stop).into(),
            })
    }

    fn recv(&mut self, buffer: &mut Vec<u8>) -> Result<usize, RecvError> {
        self.attempt(buffer, Patience::Until(None))
            .map_err(recv_error)
    }

    fn recv_deadline(
        &mut self,
        buffer: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<usize, RecvTimeoutError> {
        self.attempt(buffer, Patience::Until(Some(deadline)))
            .map_err(|stop| match stop {
                Stop::NotNow => RecvTimeoutError::Timeout,
                stop => recv_error(stop).into(),
            })
    }

    fn lost(&self) -> u64 {
        self.way.lost()
    }

    fn capabilities(&self) -> Capabilities {
        capabilities(self.kind, self.max)
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if !self.silent && self.owner == process::id() {
            self.way.goodbye();
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if !self.silent && self.owner == process::id() {
            self.way.goodbye();
        }
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("kind", &self.kind)
            .field("max_record", &self.max)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}
