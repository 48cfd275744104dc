//! One error type for each operation, holding only what can happen there.
//!
//! A sending error is generic in what it hands back: `T` for a message given by value, `()` for a
//! borrowed record.

use std::error::Error;
use std::fmt::{self, Display};

/// A transport that cannot go on. Sticky: every later call on the handle says the same.
///
/// ```
/// use annulus_channel::Fault;
///
/// let fault = Fault::Corrupt { what: "tail", found: 70, expected: 64 };
/// assert_eq!(fault.to_string(), "corrupt tail: found 70, expected 64");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Shared memory holds a value that no correct peer writes there.
    Corrupt {
        /// The value's name, as the layout's specification calls it.
        what: &'static str,
        /// What was found.
        found: u64,
        /// The bound that it breaks, or the value expected.
        expected: u64,
    },
    /// The operating system refused a call.
    Os {
        /// The call's name.
        call: &'static str,
        /// The error number, as in `std::io::Error::from_raw_os_error`.
        errno: i32,
    },
    /// The handle was inherited through `fork`. It is the parent's; this process has to attach one of its own.
    ForkedHandle,
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Fault::Corrupt {
                what,
                found,
                expected,
            } => write!(f, "corrupt {what}: found {found}, expected {expected}"),
            Fault::Os { call, errno } => {
                write!(f, "{call}: {}", std::io::Error::from_raw_os_error(errno))
            }
            Fault::ForkedHandle => f.write_str(
                "the handle was inherited through fork; this process has to attach one of its own",
            ),
        }
    }
}

impl Error for Fault {}

/// Why `try_send` sent nothing.
///
/// ```
/// use annulus_channel::TrySendError;
///
/// let error = TrySendError::TooLarge { value: "too much", len: 8, max: 4 };
/// assert_eq!(error.to_string(), "record of 8 bytes exceeds the limit of 4 bytes");
/// assert_eq!(error.into_inner(), "too much");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrySendError<T = ()> {
    /// There is no room now.
    Full(T),
    /// The last receiver has closed.
    Disconnected(T),
    /// The last receiver was killed, and no successor can come.
    PeerDead(T),
    /// The record is longer than the transport can carry.
    TooLarge {
        /// What was to be sent.
        value: T,
        /// Its length in bytes.
        len: usize,
        /// The greatest length possible.
        max: usize,
    },
    /// The transport cannot go on.
    Fault(T, Fault),
}

/// Why `send` sent nothing.
///
/// ```
/// use annulus_channel::{SendError, SendTimeoutError};
///
/// let error = SendError::Disconnected("a word");
/// assert_eq!(error.to_string(), "the last receiver has closed");
/// assert_eq!(SendTimeoutError::from(error).into_inner(), "a word");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError<T = ()> {
    /// The last receiver has closed.
    Disconnected(T),
    /// The last receiver was killed, and no successor can come.
    PeerDead(T),
    /// The record is longer than the transport can carry.
    TooLarge {
        /// What was to be sent.
        value: T,
        /// Its length in bytes.
        len: usize,
        /// The greatest length possible.
        max: usize,
    },
    /// The transport cannot go on.
    Fault(T, Fault),
}

/// Why `send_timeout` or `send_deadline` sent nothing.
///
/// ```
/// use annulus_channel::SendTimeoutError;
///
/// let error = SendTimeoutError::Timeout("a word");
/// assert_eq!(error.to_string(), "timed out waiting for room");
/// assert_eq!(error.into_inner(), "a word");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendTimeoutError<T = ()> {
    /// There was no room until the deadline.
    Timeout(T),
    /// The last receiver has closed.
    Disconnected(T),
    /// The last receiver was killed, and no successor can come.
    PeerDead(T),
    /// The record is longer than the transport can carry.
    TooLarge {
        /// What was to be sent.
        value: T,
        /// Its length in bytes.
        len: usize,
        /// The greatest length possible.
        max: usize,
    },
    /// The transport cannot go on.
    Fault(T, Fault),
}

/// Why `try_recv` received nothing.
///
/// ```
/// use annulus_channel::TryRecvError;
///
/// assert_eq!(TryRecvError::Empty.to_string(), "receiving on an empty channel");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryRecvError {
    /// Nothing is there now.
    Empty,
    /// Everything was received, and the last sender has closed.
    Disconnected,
    /// Everything was received, the last sender was killed, and no successor can come.
    PeerDead,
    /// The transport cannot go on.
    Fault(Fault),
}

/// Why `recv` received nothing.
///
/// ```
/// use annulus_channel::{RecvError, TryRecvError};
///
/// assert_eq!(RecvError::PeerDead.to_string(), "the last sender was killed");
/// assert_eq!(TryRecvError::from(RecvError::PeerDead), TryRecvError::PeerDead);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// Everything was received, and the last sender has closed.
    Disconnected,
    /// Everything was received, the last sender was killed, and no successor can come.
    PeerDead,
    /// The transport cannot go on.
    Fault(Fault),
}

/// Why `recv_timeout` or `recv_deadline` received nothing.
///
/// ```
/// use annulus_channel::RecvTimeoutError;
///
/// assert_eq!(RecvTimeoutError::Timeout.to_string(), "timed out waiting for a record");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvTimeoutError {
    /// Nothing came until the deadline.
    Timeout,
    /// Everything was received, and the last sender has closed.
    Disconnected,
    /// Everything was received, the last sender was killed, and no successor can come.
    PeerDead,
    /// The transport cannot go on.
    Fault(Fault),
}

impl<T> TrySendError<T> {
    /// What was to be sent.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(value)
            | Self::Disconnected(value)
            | Self::PeerDead(value)
            | Self::TooLarge { value, .. }
            | Self::Fault(value, _) => value,
        }
    }

    /// The error of the blocking call, or the value if this one only says that there was no room.
    ///
    /// ```
    /// use annulus_channel::{SendError, TrySendError};
    ///
    /// assert_eq!(TrySendError::Full(7).or_full(), Err(7));
    /// assert_eq!(TrySendError::PeerDead(7).or_full(), Ok(SendError::PeerDead(7)));
    /// ```
    ///
    /// # Errors
    ///
    /// The value, if there was no room.
    pub fn or_full(self) -> Result<SendError<T>, T> {
        Ok(match self {
            Self::Full(value) => return Err(value),
            Self::Disconnected(value) => SendError::Disconnected(value),
            Self::PeerDead(value) => SendError::PeerDead(value),
            Self::TooLarge { value, len, max } => SendError::TooLarge { value, len, max },
            Self::Fault(value, fault) => SendError::Fault(value, fault),
        })
    }
}

impl<T> SendError<T> {
    /// What was to be sent.
    pub fn into_inner(self) -> T {
        match self {
            Self::Disconnected(value)
            | Self::PeerDead(value)
            | Self::TooLarge { value, .. }
            | Self::Fault(value, _) => value,
        }
    }
}

impl<T> SendTimeoutError<T> {
    /// What was to be sent.
    pub fn into_inner(self) -> T {
        match self {
            Self::Timeout(value)
            | Self::Disconnected(value)
            | Self::PeerDead(value)
            | Self::TooLarge { value, .. }
            | Self::Fault(value, _) => value,
        }
    }
}

impl<T> From<SendError<T>> for SendTimeoutError<T> {
    fn from(error: SendError<T>) -> Self {
        match error {
            SendError::Disconnected(value) => Self::Disconnected(value),
            SendError::PeerDead(value) => Self::PeerDead(value),
            SendError::TooLarge { value, len, max } => Self::TooLarge { value, len, max },
            SendError::Fault(value, fault) => Self::Fault(value, fault),
        }
    }
}

impl<T> From<SendError<T>> for TrySendError<T> {
    fn from(error: SendError<T>) -> Self {
        match error {
            SendError::Disconnected(value) => Self::Disconnected(value),
            SendError::PeerDead(value) => Self::PeerDead(value),
            SendError::TooLarge { value, len, max } => Self::TooLarge { value, len, max },
            SendError::Fault(value, fault) => Self::Fault(value, fault),
        }
    }
}

impl From<RecvError> for TryRecvError {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::Disconnected => Self::Disconnected,
            RecvError::PeerDead => Self::PeerDead,
            RecvError::Fault(fault) => Self::Fault(fault),
        }
    }
}

impl From<RecvError> for RecvTimeoutError {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::Disconnected => Self::Disconnected,
            RecvError::PeerDead => Self::PeerDead,
            RecvError::Fault(fault) => Self::Fault(fault),
        }
    }
}

const NO_ROOM: &str = "sending on a full channel";
const NOTHING: &str = "receiving on an empty channel";
const SEND_TIMEOUT: &str = "timed out waiting for room";
const RECV_TIMEOUT: &str = "timed out waiting for a record";
const NO_RECEIVER: &str = "the last receiver has closed";
const NO_SENDER: &str = "the last sender has closed";
const RECEIVER_DEAD: &str = "the last receiver was killed";
const SENDER_DEAD: &str = "the last sender was killed";

fn too_large(f: &mut fmt::Formatter<'_>, len: usize, max: usize) -> fmt::Result {
    write!(f, "record of {len} bytes exceeds the limit of {max} bytes")
}

impl<T> Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str(NO_ROOM),
            Self::Disconnected(_) => f.write_str(NO_RECEIVER),
            Self::PeerDead(_) => f.write_str(RECEIVER_DEAD),
            Self::TooLarge { len, max, .. } => too_large(f, *len, *max),
            Self::Fault(_, fault) => fault.fmt(f),
        }
    }
}

impl<T> Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected(_) => f.write_str(NO_RECEIVER),
            Self::PeerDead(_) => f.write_str(RECEIVER_DEAD),
            Self::TooLarge { len, max, .. } => too_large(f, *len, *max),
            Self::Fault(_, fault) => fault.fmt(f),
        }
    }
}

impl<T> Display for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(_) => f.write_str(SEND_TIMEOUT),
            Self::Disconnected(_) => f.write_str(NO_RECEIVER),
            Self::PeerDead(_) => f.write_str(RECEIVER_DEAD),
            Self::TooLarge { len, max, .. } => too_large(f, *len, *max),
            Self::Fault(_, fault) => fault.fmt(f),
        }
    }
}

impl Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str(NOTHING),
            Self::Disconnected => f.write_str(NO_SENDER),
            Self::PeerDead => f.write_str(SENDER_DEAD),
            Self::Fault(fault) => fault.fmt(f),
        }
    }
}

impl Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected => f.write_str(NO_SENDER),
            Self::PeerDead => f.write_str(SENDER_DEAD),
            Self::Fault(fault) => fault.fmt(f),
        }
    }
}

impl Display for RecvTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str(RECV_TIMEOUT),
            Self::Disconnected => f.write_str(NO_SENDER),
            Self::PeerDead => f.write_str(SENDER_DEAD),
            Self::Fault(fault) => fault.fmt(f),
        }
    }
}

impl<T: fmt::Debug> Error for TrySendError<T> {}
impl<T: fmt::Debug> Error for SendError<T> {}
impl<T: fmt::Debug> Error for SendTimeoutError<T> {}
impl Error for TryRecvError {}
impl Error for RecvError {}
impl Error for RecvTimeoutError {}
