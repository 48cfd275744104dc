//! How the program ends: every failure, its words, and its exit code. What concerns a channel begins with its name.
//!
//! The codes stand in one table, [`Exit`]; what leads to which stands in one function,
//! [`Failure::exit`].

use crate::framing::FrameError;
use crate::signals;
use annulus::AttachError;
use annulus_channel::{Fault, OpenReason, RecvTimeoutError, SendTimeoutError};
use annulus_transports::{OpenError, Url};
use nix::sys::signal::Signal;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

/// The exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Ok = 0,
    Failure = 1,
    Usage = 2,
    NoSuchRing = 3,
    Timeout = 4,
    Mismatch = 5,
    Permission = 6,
    PeerDead = 7,
    Interrupted = 130,
    Terminated = 143,
}

impl Exit {
    const TABLE: [(Self, &'static str); 10] = [
        (Self::Ok, "done, or the reader of our output went away"),
        (Self::Failure, "it failed for a reason not listed below"),
        (
            Self::Usage,
            "wrong usage, or a name that cannot name a channel",
        ),
        (Self::NoSuchRing, "there is no such ring or other channel"),
        (Self::Timeout, "nothing could be sent or received in time"),
        (
            Self::Mismatch,
            "not a ring or what else was named, or one of another kind, type or version",
        ),
        (Self::Permission, "permission denied"),
        (Self::PeerDead, "everybody on the other side was killed"),
        (Self::Interrupted, "ended by SIGINT (Ctrl-C)"),
        (Self::Terminated, "ended by SIGTERM"),
    ];

    /// The table, for the help.
    pub fn help() -> String {
        let rows = Self::TABLE.map(|(exit, meaning)| format!("\n  {:>3}  {meaning}", exit as u8));
        format!("Exit codes:{}", rows.concat())
    }
}

/// Why the program ends without having done all it was asked.
#[derive(Debug)]
pub enum Failure {
    /// The channel could not be opened, created or removed.
    Open(OpenError),
    /// It came to pass on this channel.
    On(Url, Box<Self>),
    /// The channel holds what no correct peer writes, or the system refused a call.
    Fault(Fault),
    /// The user's limit passed.
    Timeout {
        /// What did not come to pass.
        what: &'static str,
        limit: Duration,
    },
    /// The last one on the other side was killed.
    PeerDead(&'static str),
    /// The channel takes no more, or gives no more.
    Ended(String),
    /// Records were lost on the way.
    Lost { lost: u64 },
    /// An input could not be read.
    Input { source: String, error: io::Error },
    /// An input holds what cannot be sent as records.
    Frame {
        source: String,
        /// Which record of this input, counted from 1.
        record: u64,
        error: FrameError,
        /// What the longest record is there.
        limit: &'static str,
    },
    /// The standard output could not be written.
    Output(io::Error),
    /// A signal asked us to end.
    Stopped {
        signal: Signal,
        /// Bytes that had been received but that the standard output did not take any more.
        unwritten: usize,
    },
    /// The demonstration, or the comparison, found a fault.
    Demo(String),
}

impl Failure {
    /// The code for each failure.
    fn exit(&self) -> Exit {
        match self {
            Self::Open(error) => open_exit(error),
            Self::On(_, failure) => failure.exit(),
            Self::Fault(Fault::Corrupt { .. }) => Exit::Mismatch,
            Self::Timeout { .. } => Exit::Timeout,
            Self::PeerDead(_) => Exit::PeerDead,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
            Self::Stopped {
                signal: Signal::SIGINT,
                ..
            } => Exit::Interrupted,
            Self::Stopped { .. } => Exit::Terminated,
            Self::Fault(_)
            | Self::Ended(_)
            | Self::Lost { .. }
            | Self::Input { .. }
            | Self::Frame { .. }
            | Self::Output(_)
            | Self::Demo(_) => Exit::Failure,
        }
    }

    /// An error in reading `source`, unless a signal is behind it.
    pub fn input(source: &str, error: io::Error) -> Self {
        let source = source.to_owned();
        Self::stopped(0).unwrap_or(Self::Input { source, error })
    }

    /// An error in writing the standard output, unless a signal is behind it.
    pub fn output(error: io::Error, unwritten: usize) -> Self {
        // The same Ctrl-C may have ended the reader of our output: nobody misses those bytes.
        let missed = match error.kind() {
            io::ErrorKind::BrokenPipe => 0,
            _ => unwritten,
        };
        Self::stopped(missed).unwrap_or(Self::Output(error))
    }

    /// The failure that a signal has caused, if one has come.
    pub fn stopped(unwritten: usize) -> Option<Self> {
        signals::caught().map(|signal| Self::Stopped { signal, unwritten })
    }

    /// Says on which channel it came to pass, if that is what failed.
    pub fn on(self, url: &Url) -> Self {
        match self {
            Self::Fault(_)
            | Self::Timeout { .. }
            | Self::PeerDead(_)
            | Self::Ended(_)
            | Self::Stopped { unwritten: 1.., .. } => Self::On(url.clone(), Box::new(self)),
            other => other,
        }
    }

    /// Whether there is nothing to say: the user knows already.
    fn is_quiet(&self) -> bool {
        self.exit() == Exit::Ok || matches!(self, Self::Stopped { unwritten: 0, .. })
    }
}

/// The code for each reason why a channel could not be opened.
fn open_exit(error: &OpenError) -> Exit {
    match error {
        error if error.is_not_found() => Exit::NoSuchRing,
        OpenError::Name { .. } | OpenError::Option { .. } | OpenError::Unfit { .. } => Exit::Usage,
        OpenError::Ring(_, error) => match error {
            annulus::OpenError::Name { .. } => Exit::Usage,
            annulus::OpenError::NotARing { .. }
            | annulus::OpenError::Truncated { .. }
            | annulus::OpenError::Mismatch { .. } => Exit::Mismatch,
            annulus::OpenError::Permission(_) => Exit::Permission,
            _ => Exit::Failure,
        },
        OpenError::Attach(_, AttachError::Corrupt { .. }) => Exit::Mismatch,
        OpenError::Transport(error) => match error.reason {
            OpenReason::Name { .. } => Exit::Usage,
            OpenReason::UnknownHost { .. } => Exit::NoSuchRing,
            OpenReason::Mismatch { .. } => Exit::Mismatch,
            OpenReason::Permission | OpenReason::Stranger { .. } => Exit::Permission,
            _ => Exit::Failure,
        },
        _ => Exit::Failure,
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl From<SendTimeoutError> for Failure {
    fn from(error: SendTimeoutError) -> Self {
        match error {
            SendTimeoutError::PeerDead(()) => Self::PeerDead("receiver"),
            SendTimeoutError::Fault((), fault) => Self::Fault(fault),
            error => Self::Ended(error.to_string()),
        }
    }
}

impl From<RecvTimeoutError> for Failure {
    fn from(error: RecvTimeoutError) -> Self {
        match error {
            RecvTimeoutError::PeerDead => Self::PeerDead("sender"),
            RecvTimeoutError::Fault(fault) => Self::Fault(fault),
            error => Self::Ended(error.to_string()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::On(url, failure) => write!(f, "{url}: {failure}"),
            Self::Fault(fault) => fault.fmt(f),
            Self::Timeout { what, limit } => {
                write!(f, "{what} within {}", humantime::format_duration(*limit))
            }
            Self::PeerDead(side) => write!(f, "the last {side} died without closing the channel"),
            Self::Ended(reason) => f.write_str(reason),
            Self::Lost { lost: 1 } => f.write_str("1 record was lost on the way"),
            Self::Lost { lost } => write!(f, "{lost} records were lost on the way"),
            Self::Input { source, error } => write!(f, "{source}: {error}"),
            Self::Frame {
                source,
                record,
                error,
                limit,
            } => match error {
                FrameError::TooLarge { .. } => {
                    write!(
                        f,
                        "{source}: the longest record is {limit}; record {record} {error}"
                    )
                }
                _ => write!(f, "{source}: record {record} {error}"),
            },
            Self::Output(error) => write!(f, "standard output: {error}"),
            Self::Stopped { signal, unwritten } => write!(
                f,
                "ended by {signal}; {unwritten} bytes had been received that standard output did not take"
            ),
            Self::Demo(fault) => f.write_str(fault),
        }
    }
}

/// Says what went wrong, if anything did, and gives the code to end with.
pub fn report(result: Result<(), Failure>) -> ExitCode {
    let Err(failure) = result else {
        return ExitCode::SUCCESS;
    };
    if !failure.is_quiet() {
        // With nowhere left to complain to, the exit code still tells.
        let _ = writeln!(io::stderr(), "annulus: {failure}");
    }
    ExitCode::from(failure.exit() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_complete_and_ordered() {
        let codes = Exit::TABLE.map(|(exit, _)| exit as u8);
        assert!(codes.is_sorted());
        assert_eq!(codes[..8], [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn a_closed_output_is_no_failure() {
        let closed = Failure::Output(io::ErrorKind::BrokenPipe.into());
        assert_eq!(closed.exit(), Exit::Ok);
        assert!(closed.is_quiet());
        let full = Failure::Output(io::ErrorKind::StorageFull.into());
        assert_eq!(full.exit(), Exit::Failure);
        assert!(!full.is_quiet());
    }
}
