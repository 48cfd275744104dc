//! Why a channel could not be opened, whatever its transport.

use crate::url::{Scheme, Url};
use annulus::{AttachError, Location};
use annulus_channel::OpenReason;
use std::error::Error;
use std::fmt::{self, Display};

/// Why a channel could not be opened.
///
/// The rings and the other transports each say it in their own error, which is kept as it is. The text begins with the
/// channel's name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The word names no channel.
    Name {
        /// The word.
        name: String,
        /// Why not, and what would be a name.
        reason: String,
    },
    /// The ring could not be opened, created or removed.
    Ring(Location, annulus::OpenError),
    /// The ring is there, but nobody more can be its sender or receiver.
    Attach(Location, AttachError),
    /// Another transport could not be opened.
    Transport(annulus_channel::OpenError),
    /// An option that means nothing there.
    Option {
        /// The channel.
        url: Url,
        /// The option's name.
        option: &'static str,
        /// Why it means nothing, or what to do instead.
        reason: &'static str,
    },
    /// It cannot be opened by a name, or not in this way.
    Unfit {
        /// The channel.
        url: Url,
        /// Why.
        reason: &'static str,
    },
    /// It cannot be removed while somebody living uses it.
    Busy {
        /// The channel.
        url: Url,
        /// One of the processes that use it, as it knows itself; 0 if it is not known.
        pid: u32,
    },
    /// The transport was left out of this build.
    LeftOut {
        /// The transport.
        scheme: Scheme,
        /// The cargo feature that brings it.
        feature: &'static str,
    },
    /// The other side of a [`fallback`](crate::fallback) could not open it; its words.
    Peer {
        /// The channel.
        url: String,
        /// Why not.
        reason: String,
    },
}

impl OpenError {
    /// Whether there is nothing of the name, or nobody listens there: it may yet come.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Ring(_, annulus::OpenError::NotFound(_)) => true,
            // Finished by others in this very moment.
            Self::Attach(_, AttachError::Removed) => true,
            Self::Transport(error) => match error.reason {
                OpenReason::NotFound | OpenReason::Refused | OpenReason::TimedOut => true,
                OpenReason::Os { errno, .. } => errno == ECONNREFUSED,
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether somebody living uses it.
    pub fn is_busy(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. } | Self::Ring(_, annulus::OpenError::Busy { .. })
        )
    }
}

/// "Connection refused": nobody listens there. The same on every Linux.
const ECONNREFUSED: i32 = 111;

impl From<annulus_channel::OpenError> for OpenError {
    fn from(error: annulus_channel::OpenError) -> Self {
        Self::Transport(error)
    }
}

impl Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { name, reason } => write!(f, "'{name}' names no channel: {reason}"),
            Self::Ring(location, error) => {
                write!(f, "{}: {}", Url::Ring(location.clone()), error.reason())
            }
            Self::Attach(location, error) => {
                write!(f, "{}: {error}", Url::Ring(location.clone()))
            }
            Self::Transport(error) => error.fmt(f),
            Self::Option {
                url,
                option,
                reason,
            } => write!(f, "{url}: the option {option} does not apply: {reason}"),
            Self::Unfit { url, reason } => write!(f, "{url}: {reason}"),
            Self::Busy { url, pid: 0 } => write!(f, "{url}: in use"),
            Self::Busy { url, pid } => write!(f, "{url}: in use by process {pid}"),
            Self::LeftOut { scheme, feature } => write!(
                f,
                "{scheme}: not in this build, which lacks the feature '{feature}'"
            ),
            Self::Peer { url, reason: said } => {
                let reason = said
                    .strip_prefix(url.as_str())
                    .and_then(|rest| rest.strip_prefix(": "));
                write!(f, "{url}: at the other end: {}", reason.unwrap_or(said))
            }
        }
    }
}

impl Error for OpenError {}
