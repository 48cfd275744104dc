//! What can go wrong before the first message: opening a ring, and attaching to it.

use crate::options::Location;
use crate::region::SHM_DIR;
use nix::errno::Errno;
use std::error::Error;
use std::fmt::{self, Display};
use std::io;

/// Why a ring could not be created or opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The name cannot name a ring.
    Name {
        /// The name as given.
        name: String,
        /// What is wrong with it, and what would be right.
        reason: &'static str,
    },
    /// There is no ring of this name.
    NotFound(Location),
    /// Something of this name exists already.
    Exists(Location),
    /// What has the name is no ring: not a regular file, or its header holds what no ring's does.
    NotARing {
        /// The part that is wrong.
        what: &'static str,
        /// What was found there.
        found: String,
        /// What a ring has there.
        expected: String,
    },
    /// The region is shorter than its header says.
    Truncated {
        /// Its real size in bytes.
        len: u64,
        /// The size that it should have.
        expected: u64,
    },
    /// The ring is not of the kind, type or version that was asked for.
    Mismatch {
        /// What differs.
        what: &'static str,
        /// What was asked for.
        expected: String,
        /// What the ring has.
        found: String,
    },
    /// A ring cannot be created without a capacity.
    NoCapacity,
    /// The capacity is out of bounds.
    Capacity {
        /// What was asked for, in messages or bytes.
        asked: u64,
        /// The least possible.
        min: u64,
        /// The greatest possible.
        max: u64,
    },
    /// The number of tries is out of bounds.
    MaxTries {
        /// What was asked for.
        asked: u64,
        /// The greatest possible.
        max: u64,
    },
    /// The user may not open or create it.
    Permission(Location),
    /// The ring cannot be removed while somebody is attached.
    Busy {
        /// The ring.
        location: Location,
        /// One of the processes that are attached, as it knows itself.
        pid: u32,
    },
    /// There is no room for the region.
    NoSpace {
        /// Where it was to lie.
        location: Location,
        /// Its size in bytes.
        len: u64,
        /// What is free there, in bytes, if known.
        free: Option<u64>,
    },
    /// A limit of the system stands in the way.
    Limit {
        /// What was to be created.
        location: Location,
        /// The setting that raises it.
        setting: &'static str,
        /// What the system allows.
        limit: u64,
        /// What was needed.
        needed: u64,
    },
    /// The operating system refused a call.
    Os {
        /// The call.
        call: &'static str,
        /// Its error number.
        errno: i32,
    },
}

impl OpenError {
    /// The ring, where the error knows it. Its text begins with it then.
    pub fn location(&self) -> Option<&Location> {
        match self {
            Self::NotFound(location)
            | Self::Exists(location)
            | Self::Permission(location)
            | Self::Busy { location, .. }
            | Self::NoSpace { location, .. }
            | Self::Limit { location, .. } => Some(location),
            _ => None,
        }
    }

    /// The text without the ring, for whoever has said already which one it is.
    ///
    /// ```
    /// let location = "orders".parse()?;
    /// let Err(error) = annulus::Inspector::open(&location) else { unreachable!() };
    /// assert_eq!(error.to_string(), "orders: no such ring");
    /// assert_eq!(error.reason().to_string(), "no such ring");
    /// # Ok::<(), annulus::OpenError>(())
    /// ```
    pub fn reason(&self) -> impl Display + '_ {
        Reason(self)
    }

    pub(crate) fn os(call: &'static str, errno: Errno) -> Self {
        Self::Os {
            call,
            errno: errno as i32,
        }
    }

    pub(crate) fn io(call: &'static str, error: &io::Error) -> Self {
        Self::Os {
            call,
            errno: error.raw_os_error().unwrap_or(0),
        }
    }

    pub(crate) fn mismatch(
        what: &'static str,
        expected: impl Display,
        found: impl Display,
    ) -> Self {
        Self::Mismatch {
            what,
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    pub(crate) fn not_a_ring(
        what: &'static str,
        found: impl Display,
        expected: impl Display,
    ) -> Self {
        Self::NotARing {
            what,
            found: found.to_string(),
            expected: expected.to_string(),
        }
    }
}

impl Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(location) = self.location() {
            write!(f, "{location}: ")?;
        }
        Reason(self).fmt(f)
    }
}

/// The text of an error without the ring.
struct Reason<'a>(&'a OpenError);

impl Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            OpenError::Name { name, reason } => write!(f, "bad ring name '{name}': {reason}"),
            OpenError::NotFound(_) => f.write_str("no such ring"),
            OpenError::Exists(_) => f.write_str("it exists already"),
            OpenError::NotARing {
                what,
                found,
                expected,
            } => write!(f, "not a ring: {what} is {found}, expected {expected}"),
            OpenError::Truncated { len, expected } => {
                write!(
                    f,
                    "truncated ring: {len} bytes, expected at least {expected}"
                )
            }
            OpenError::Mismatch {
                what,
                expected,
                found,
            } => write!(
                f,
                "{what} mismatch: expected {expected}, the ring has {found}"
            ),
            OpenError::NoCapacity => f.write_str("a new ring needs a capacity, found none"),
            OpenError::Capacity { asked, min, max } => {
                write!(f, "capacity {asked} is out of bounds: {min} to {max}")
            }
            OpenError::MaxTries { asked, max } => {
                write!(f, "{asked} tries are out of bounds: at most {max}")
            }
            OpenError::Permission(_) => f.write_str("permission denied"),
            OpenError::Busy { pid, .. } => write!(f, "in use by process {pid}"),
            OpenError::NoSpace {
                location,
                len,
                free,
            } => {
                write!(f, "no space: it needs {len} bytes")?;
                if let Some(free) = free {
                    write!(f, ", {free} are free")?;
                }
                match location {
                    Location::File(_) => Ok(()),
                    _ => write!(f, " in memory and {SHM_DIR} (its mount option size)"),
                }
            }
            OpenError::Limit {
                setting,
                limit,
                needed,
                ..
            } => write!(
                f,
                "{needed} needed, the system allows {limit} (setting {setting})"
            ),
            OpenError::Os { call, errno } => {
                write!(f, "{call}: {}", io::Error::from_raw_os_error(*errno))
            }
        }
    }
}

impl Error for OpenError {}

/// Why a handle could not be attached to a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttachError {
    /// The side takes one handle only, and somebody living has it.
    Taken {
        /// `"sender"` or `"receiver"`.
        side: &'static str,
        /// The process that holds the place, as it knows itself.
        pid: u32,
    },
    /// As many handles are attached as a ring can have.
    TooMany {
        /// How many that is.
        max: usize,
    },
    /// The ring's positions are such as no correct peer leaves.
    Corrupt {
        /// The value.
        what: &'static str,
        /// What was found.
        found: u64,
        /// What it should be, or at most be.
        expected: u64,
    },
    /// The name was removed while we attached, since the ring was finished. Open it again.
    Removed,
    /// The ring was opened before this process was forked. Open it again, by its name or its descriptor.
    Forked,
    /// The operating system refused a call.
    Os {
        /// The call.
        call: &'static str,
        /// Its error number.
        errno: i32,
    },
}

impl AttachError {
    pub(crate) fn os(call: &'static str, errno: Errno) -> Self {
        Self::Os {
            call,
            errno: errno as i32,
        }
    }
}

impl Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken { side, pid } => {
                write!(f, "the ring takes one {side}, and process {pid} is it")
            }
            Self::TooMany { max } => write!(f, "all {max} places for handles are taken"),
            Self::Corrupt {
                what,
                found,
                expected,
            } => write!(f, "corrupt {what}: found {found}, expected {expected}"),
            Self::Forked => f.write_str(
                "the ring was opened before this process was forked; open it again here",
            ),
            Self::Removed => f.write_str("the ring was finished and its name removed meanwhile"),
            Self::Os { call, errno } => {
                write!(f, "{call}: {}", io::Error::from_raw_os_error(*errno))
            }
        }
    }
}

impl Error for AttachError {}
