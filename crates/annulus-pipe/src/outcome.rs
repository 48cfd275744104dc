//! Why a call did nothing: one word for the three errors of either side.

use annulus_channel::{
    Fault, RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
use std::time::Instant;

/// How long a call waits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    Now,
    Deadline(Instant),
    Ever,
}

impl Until {
    /// The deadline of a wait; the outer `None` if there is none to be.
    pub(crate) fn deadline(self) -> Option<Option<Instant>> {
        match self {
            Self::Now => None,
            Self::Deadline(deadline) => Some(Some(deadline)),
            Self::Ever => Some(None),
        }
    }
}

/// How the other side went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    Closed,
    Killed,
}

/// Why a call did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// No room, or nothing there, for as long as the call waits.
    NotNow,
    Gone(Gone),
    TooLarge {
        len: usize,
        max: usize,
    },
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Stop {
    pub(crate) fn try_send(self) -> TrySendError {
        match self {
            Self::NotNow => TrySendError::Full(()),
            other => other.send().into(),
        }
    }

    pub(crate) fn send_deadline(self) -> SendTimeoutError {
        match self {
            Self::NotNow => SendTimeoutError::Timeout(()),
            other => other.send().into(),
        }
    }

    pub(crate) fn send(self) -> SendError {
        match self {
            Self::NotNow => unreachable!("a call that waits for ever waits"),
            Self::Gone(Gone::Closed) => SendError::Disconnected(()),
            Self::Gone(Gone::Killed) => SendError::PeerDead(()),
            Self::TooLarge { len, max } => SendError::TooLarge {
                value: (),
                len,
                max,
            },
            Self::Fault(fault) => SendError::Fault((), fault),
        }
    }

    pub(crate) fn try_recv(self) -> TryRecvError {
        match self {
            Self::NotNow => TryRecvError::Empty,
            other => other.recv().into(),
        }
    }

    pub(crate) fn recv_deadline(self) -> RecvTimeoutError {
        match self {
            Self::NotNow => RecvTimeoutError::Timeout,
            other => other.recv().into(),
        }
    }

    pub(crate) fn recv(self) -> RecvError {
        match self {
            Self::NotNow | Self::TooLarge { .. } => {
                unreachable!("a call that waits for ever waits")
            }
            Self::Gone(Gone::Closed) => RecvError::Disconnected,
            Self::Gone(Gone::Killed) => RecvError::PeerDead,
            Self::Fault(fault) => RecvError::Fault(fault),
        }
    }
}
