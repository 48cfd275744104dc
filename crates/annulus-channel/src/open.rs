//! Why a transport could not be opened.

use std::error::Error;
use std::fmt::{self, Display};
use std::io;

/// Why a transport could not be opened: its name, and the reason. Its text begins with the name.
///
/// The rings have an error of their own, which says more of regions (`annulus::OpenError`).
///
/// ```
/// use annulus_channel::{OpenError, OpenReason};
///
/// let limit = OpenReason::Limit { setting: "fs.mqueue.msg_max", limit: 10, needed: 64 };
/// let error = OpenError::new("mq:/orders", limit);
/// assert_eq!(
///     error.to_string(),
///     "mq:/orders: 64 needed, the system allows 10 (setting fs.mqueue.msg_max)"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenError {
    /// What was to be opened, as it was asked for.
    pub name: String,
    /// Why it could not be.
    pub reason: OpenReason,
}

impl OpenError {
    /// An error of this name.
    pub fn new(name: impl Display, reason: OpenReason) -> Self {
        Self {
            name: name.to_string(),
            reason,
        }
    }

    /// A call that the operating system refused, under the name of what was to be opened.
    pub fn os(name: impl Display, call: &'static str, error: &io::Error) -> Self {
        let errno = error.raw_os_error().unwrap_or(0);
        let reason = match error.kind() {
            io::ErrorKind::NotFound => OpenReason::NotFound,
            io::ErrorKind::AlreadyExists => OpenReason::Exists,
            io::ErrorKind::PermissionDenied => OpenReason::Permission,
            io::ErrorKind::ConnectionRefused => OpenReason::Refused,
            io::ErrorKind::AddrInUse => OpenReason::AddressInUse,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                OpenReason::Unreachable
            }
            _ => OpenReason::Os { call, errno },
        };
        Self::new(name, reason)
    }
}

impl Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.reason)
    }
}

impl Error for OpenError {}

/// The reason of an [`OpenError`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenReason {
    /// The name can name nothing of the kind.
    Name {
        /// What a name looks like.
        expected: &'static str,
    },
    /// There is nothing of this name.
    NotFound,
    /// There is something of this name already.
    Exists,
    /// The user may not open or create it.
    Permission,
    /// Nobody listens there: the connection was refused.
    Refused,
    /// The host's name leads to no address.
    UnknownHost {
        /// What the resolver says.
        resolver: String,
    },
    /// The host is known, but neither it nor its network can be reached from here.
    Unreachable,
    /// Somebody else has this address and port.
    AddressInUse,
    /// The side takes one handle only, and somebody living has it.
    Taken {
        /// `"sender"` or `"receiver"`.
        side: &'static str,
        /// The process that has it, as it knows itself; 0 if the kernel does not tell.
        pid: u32,
    },
    /// What is there is not what was asked for.
    Mismatch {
        /// What differs.
        what: &'static str,
        /// What was asked for.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A limit of the system stands in the way.
    Limit {
        /// The setting that raises it: a sysctl, a resource limit, a socket option.
        setting: &'static str,
        /// What the system allows.
        limit: u64,
        /// What was needed.
        needed: u64,
    },
    /// The peer belongs to a user who is not expected.
    Stranger {
        /// The user expected.
        expected: u32,
        /// The peer's user.
        found: u32,
    },
    /// Nobody came in time.
    TimedOut,
    /// The operating system refused a call.
    Os {
        /// The call.
        call: &'static str,
        /// Its error number.
        errno: i32,
    },
}

impl Display for OpenReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { expected } => write!(f, "not a name; expected {expected}"),
            Self::NotFound => f.write_str("there is no such thing"),
            Self::Exists => f.write_str("it exists already"),
            Self::Permission => f.write_str("permission denied"),
            Self::Refused => f.write_str("nobody listens there (connection refused)"),
            Self::UnknownHost { resolver } => write!(f, "unknown host ({resolver})"),
            Self::Unreachable => f.write_str("the host cannot be reached from here"),
            Self::AddressInUse => f.write_str("the address is in use"),
            Self::Taken { side, pid: 0 } => write!(f, "it takes one {side}, and has it"),
            Self::Taken { side, pid } => {
                write!(f, "it takes one {side}, and process {pid} is it")
            }
            Self::Mismatch {
                what,
                expected,
                found,
            } => write!(f, "{what}: expected {expected}, found {found}"),
            Self::Limit {
                setting,
                limit,
                needed,
            } => write!(
                f,
                "{needed} needed, the system allows {limit} (setting {setting})"
            ),
            Self::Stranger { expected, found } => {
                write!(f, "the peer is user {found}, expected user {expected}")
            }
            Self::TimedOut => f.write_str("nobody came in time"),
            Self::Os { call, errno } => {
                write!(f, "{call}: {}", io::Error::from_raw_os_error(*errno))
            }
        }
    }
}
