//! What a kind of socket has to do to become a channel: one small trait for each end, with one word for
//! all that can end an attempt.
//!
//! No call waits in the kernel but in `poll`: a transport attempts, sleeps until another attempt is worth
//! it, and attempts again. So a signal ends none, and what can be done at once is done.

use crate::wait;
use annulus_channel::Fault;
use nix::errno::Errno;
use std::time::{Duration, Instant};

/// Why an attempt did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// No room, or nothing there.
    NotNow,
    /// The peer said goodbye.
    Closed,
    /// The peer has gone without a word.
    Dead,
    /// The system refused, or the peer writes nonsense.
    Fault(Fault),
}

impl Stop {
    /// A call that the system refused.
    pub(crate) fn os(call: &'static str, errno: Errno) -> Self {
        Self::Fault(wait::os(call, errno))
    }
}

/// Whether this error tells of the peer's end, not of our own.
pub(crate) fn is_end(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::EPIPE
            | Errno::ECONNRESET
            | Errno::ECONNREFUSED
            | Errno::ECONNABORTED
            | Errno::ENOTCONN
            | Errno::ETIMEDOUT
            | Errno::EHOSTUNREACH
            | Errno::EHOSTDOWN
            | Errno::ENETUNREACH
    )
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// How long a call waits.
#[derive(Clone, Copy)]
pub(crate) enum Patience {
    /// Not at all.
    None,
    /// Until this moment, or for ever.
    Until(Option<Instant>),
}

impl Patience {
    /// Whether there is none left.
    pub(crate) fn is_over(self) -> bool {
        match self {
            Self::None => true,
            Self::Until(until) => wait::passed(until),
        }
    }

    /// Its end, or that of a slice of it.
    pub(crate) fn slice(self, slice: Duration) -> Option<Instant> {
        let until = match self {
            Self::None => None,
            Self::Until(until) => until,
        };
        wait::earlier(until, Instant::now() + slice)
    }
}

/// A sending end.
pub(crate) trait Outgoing: Send {
    /// Sends the record, with patience for room. After an error nothing of it will be received.
    fn send(&mut self, record: &[u8], patience: Patience) -> Result<(), Stop>;

    /// Says goodbye. Best effort: whoever does not hear it takes us for dead.
    fn goodbye(&mut self);
}

/// A receiving end that never waits.
pub(crate) trait Incoming: Send {
    /// Receives a record into the empty buffer; leaves it empty if there is none.
    fn attempt(&mut self, buffer: &mut Vec<u8>) -> Result<(), Stop>;

    /// Sleeps until another attempt may do better, or until the moment.
    fn sleep(&mut self, until: Option<Instant>) -> Result<(), Stop>;

    /// How many records are known to be lost.
    fn lost(&self) -> u64 {
        0
    }

    /// How many messages came from somebody else.
    fn foreign(&self) -> u64 {
        0
    }

    /// Says goodbye.
    fn goodbye(&mut self);
}
