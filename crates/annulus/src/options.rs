//! Where a ring lives, and how it is to be created: [`Location`] and [`RingOptions`].

use crate::error::OpenError;
use crate::handle::Protocol;
use crate::kind::Kind;
use crate::ring::{AnyRing, Message, Ring};
use crate::{attach, ring};
use annulus_channel::Order;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The longest name in shared memory, in bytes.
const MAX_NAME: usize = 255;

/// Where a ring with a name lives.
///
/// Parsed from a word, `NAME`, `shm:NAME` and `ring:NAME` are POSIX shared memory; `/path`, `./path`, `../path`
/// and `file:PATH` a file; `sysv:KEY` a System V segment, its key decimal or `0x…`.
///
/// ```
/// use annulus::Location;
/// assert_eq!("orders".parse(), Ok(Location::Shm("orders".into())));
/// assert_eq!("./orders.ring".parse(), Ok(Location::File("./orders.ring".into())));
/// assert_eq!("sysv:0x2a".parse(), Ok(Location::Sysv(42)));
/// assert!("a/b".parse::<Location>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// POSIX shared memory of this name, as `shm_open` would find it. Gone when the machine stops.
    Shm(String),
    /// A file, which keeps the ring and what is in it.
    File(PathBuf),
    /// A System V segment with this key; its locks are in a file of its own in `/dev/shm`.
    Sysv(i32),
}

impl Location {
    /// Checks a name for POSIX shared memory.
    fn shm(name: &str) -> Result<Self, OpenError> {
        let bad = |reason| {
            Err(OpenError::Name {
                name: name.to_owned(),
                reason,
            })
        };
        if name.is_empty() {
            return bad("it is empty; expected 1 to 255 bytes");
        }
        if name.len() > MAX_NAME {
            return bad("it is too long; expected at most 255 bytes");
        }
        if name.contains('/') {
            return bad("it contains '/'; a file's name begins with '/', './', '../' or 'file:'");
        }
        if name.contains('\0') {
            return bad("it contains a zero byte");
        }
        if name == "." || name == ".." {
            return bad("it is a directory's");
        }
        Ok(Self::Shm(name.to_owned()))
    }

    fn file(path: &str) -> Result<Self, OpenError> {
        let bad = |reason| {
            Err(OpenError::Name {
                name: path.to_owned(),
                reason,
            })
        };
        if path.is_empty() {
            return bad("it is empty; expected a path");
        }
        if path.contains('\0') {
            return bad("it contains a zero byte");
        }
        Ok(Self::File(path.into()))
    }
}

impl FromStr for Location {
    type Err = OpenError;

    fn from_str(word: &str) -> Result<Self, OpenError> {
        if let Some(path) = word.strip_prefix("file:") {
            return Self::file(path);
        }
        if ["/", "./", "../"]
            .iter()
            .any(|start| word.starts_with(start))
        {
            return Self::file(word);
        }
        if let Some(key) = word.strip_prefix("sysv:") {
            let parsed = match key.strip_prefix("0x") {
                Some(hex) => u32::from_str_radix(hex, 16).ok().map(|key| key as i32),
                None => key.parse().ok(),
            };
            return match parsed {
                Some(key) if key != 0 => Ok(Self::Sysv(key)),
                _ => Err(OpenError::Name {
                    name: word.to_owned(),
                    reason: "expected a key other than 0, of 32 bits, decimal or 0x…",
                }),
            };
        }
        let name = word
            .strip_prefix("shm:")
            .or_else(|| word.strip_prefix("ring:"));
        Self::shm(name.unwrap_or(word))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shm(name) => f.write_str(name),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Sysv(key) => write!(f, "sysv:{key:#x}"),
        }
    }
}

/// How to open a ring, in the manner of `std::fs::OpenOptions`.
///
/// ```
/// use annulus::{RingOptions, spsc};
/// let ring: spsc::Ring<u64> = RingOptions::new().capacity(1024).heap()?;
/// let (mut sender, mut receiver) = (ring.sender()?, ring.receiver()?);
/// sender.send(42)?;
/// assert_eq!(receiver.recv()?, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct RingOptions {
    pub(crate) capacity: Option<u64>,
    pub(crate) order: Order,
    pub(crate) max_tries: u64,
    pub(crate) mode: u32,
    pub(crate) create: bool,
    pub(crate) create_new: bool,
    pub(crate) prefault: bool,
    pub(crate) huge_pages: bool,
    pub(crate) mlock: bool,
    pub(crate) unlink_when_finished: bool,
    pub(crate) type_name: Option<String>,
    pub(crate) start: u64,
}

impl Default for RingOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl RingOptions {
    /// Opens an existing ring, until told otherwise.
    pub fn new() -> Self {
        Self {
            capacity: None,
            order: Order::Total,
            max_tries: 0,
            mode: 0o600,
            create: false,
            create_new: false,
            prefault: false,
            huge_pages: false,
            mlock: false,
            unlink_when_finished: false,
            type_name: None,
            start: 0,
        }
    }

    /// How much a ring holds: messages (typed; exactly), or bytes (rounded up to a power of two, at least 64
    /// for spsc and 4096 otherwise). Needed to create one; an existing ring keeps its own.
    pub fn capacity(&mut self, capacity: usize) -> &mut Self {
        self.capacity = Some(capacity as u64);
        self
    }

    /// The order among different senders of a new ring: `Total` (the default), in which receivers wait for an
    /// earlier claim of a living sender, or `PerSender`, in which they step over it and come back.
    pub fn order(&mut self, order: Order) -> &mut Self {
        self.order = order;
        self
    }

    /// How often a record of a new ring is given out at least once ([`Receiver::peek`](crate::Receiver::peek)): when it has come
    /// back so many times, it is a *dead letter*, which no receiver meets any more; see
    /// [`Inspector::dead_letters`](crate::Inspector::dead_letters). 1 to 32; 0, the default, is as often as it takes.
    ///
    /// A dead letter keeps its place: when the ring comes round to it, senders find it full until somebody
    /// drains it. Only where records can come back: with many receivers, or many senders and order per sender.
    pub fn max_tries(&mut self, tries: u32) -> &mut Self {
        self.max_tries = tries.into();
        self
    }

    /// The permissions of a new ring's name, as for `open`, less the process's umask. 0600 if not set.
    pub fn mode(&mut self, mode: u32) -> &mut Self {
        self.mode = mode;
        self
    }

    /// Creates the ring if there is none. Opens it, if there is one, and never truncates.
    pub fn create(&mut self, create: bool) -> &mut Self {
        self.create = create;
        self
    }

    /// Creates the ring, and fails if there is one.
    pub fn create_new(&mut self, create_new: bool) -> &mut Self {
        self.create_new = create_new;
        self
    }

    /// Touches every page at once, so that no message meets a page fault.
    pub fn prefault(&mut self, prefault: bool) -> &mut Self {
        self.prefault = prefault;
        self
    }

    /// Asks for huge pages. Where there are none, the ring gets ordinary ones, and
    /// [`RingInfo::huge_pages`](crate::RingInfo::huge_pages) says so.
    pub fn huge_pages(&mut self, huge_pages: bool) -> &mut Self {
        self.huge_pages = huge_pages;
        self
    }

    /// Locks the region in memory. An error if the limit `RLIMIT_MEMLOCK` does not allow it.
    pub fn mlock(&mut self, mlock: bool) -> &mut Self {
        self.mlock = mlock;
        self
    }

    /// Lets the last handle to close remove the name of a new ring, once a sender has come and gone and
    /// everything was received.
    pub fn unlink_when_finished(&mut self, unlink: bool) -> &mut Self {
        self.unlink_when_finished = unlink;
        self
    }

    /// The name of the message type, which creator and openers must agree on: at most 128 bytes are kept.
    /// If not set, the name that the compiler gives it, which another compiler or crate may spell differently.
    pub fn type_name(&mut self, name: &str) -> &mut Self {
        self.type_name = Some(name.to_owned());
        self
    }

    /// A hook for tests: the position of the first record.
    #[doc(hidden)]
    pub fn start_at(&mut self, position: u64) -> &mut Self {
        self.start = position;
        self
    }

    /// Opens or creates the ring at `location`.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what was expected there and what was found. Nothing that exists is changed, and
    /// no half-made ring is left, whatever happens.
    pub fn open<T: Message + ?Sized, K: Protocol>(
        &self,
        location: &Location,
    ) -> Result<Ring<T, K>, OpenError> {
        let shape = ring::shape::<T>(self.type_name.as_deref());
        attach::named(self, Some(K::KIND), Some(&shape), location).map(Ring::new)
    }

    /// Opens or creates the ring of this name in POSIX shared memory.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn shm<T: Message + ?Sized, K: Protocol>(
        &self,
        name: &str,
    ) -> Result<Ring<T, K>, OpenError> {
        self.open(&Location::shm(name)?)
    }

    /// Opens or creates the ring in this file.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn file<T: Message + ?Sized, K: Protocol>(
        &self,
        path: impl AsRef<Path>,
    ) -> Result<Ring<T, K>, OpenError> {
        self.open(&Location::File(path.as_ref().to_owned()))
    }

    /// Opens or creates the ring in the System V segment with this key.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn sysv<T: Message + ?Sized, K: Protocol>(
        &self,
        key: i32,
    ) -> Result<Ring<T, K>, OpenError> {
        self.open(&Location::Sysv(key))
    }

    /// Opens whatever ring of byte records is at `location`, or creates one of `kind`.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_any(&self, kind: Kind, location: &Location) -> Result<AnyRing, OpenError> {
        let shape = ring::shape::<[u8]>(None);
        let shared = attach::named(self, None, Some(&shape), location);
        match shared {
            Err(OpenError::NotFound(_)) if self.create || self.create_new => {
                // Somebody else may create one of another kind meanwhile; then that is the one.
                match attach::named(self, Some(kind), Some(&shape), location) {
                    Err(OpenError::Mismatch {
                        what: attach::KIND, ..
                    }) if !self.create_new => attach::named(self, None, Some(&shape), location),
                    other => other,
                }
            }
            other => other,
        }
        .map(AnyRing::new)
    }

    /// Creates a ring without a name, in a sealed memory file. Hand its descriptor
    /// ([`Ring::as_fd`](crate::Ring::as_fd)) to the other processes, which open it with [`from_fd`](Self::from_fd).
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn memfd<T: Message + ?Sized, K: Protocol>(&self) -> Result<Ring<T, K>, OpenError> {
        let shape = ring::shape::<T>(self.type_name.as_deref());
        attach::memfd(self, K::KIND, &shape).map(Ring::new)
    }

    /// Opens the ring in a descriptor that was inherited or received from another process.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn from_fd<T: Message + ?Sized, K: Protocol>(
        &self,
        fd: OwnedFd,
    ) -> Result<Ring<T, K>, OpenError> {
        let shape = ring::shape::<T>(self.type_name.as_deref());
        attach::from_fd(self, Some(K::KIND), Some(&shape), fd.into()).map(Ring::new)
    }

    /// Creates a ring on the heap, for the threads of this process.
    ///
    /// # Errors
    ///
    /// [`OpenError::Capacity`].
    pub fn heap<T: Message + ?Sized, K: Protocol>(&self) -> Result<Ring<T, K>, OpenError> {
        let shape = ring::shape::<T>(self.type_name.as_deref());
        attach::heap(self, K::KIND, &shape).map(Ring::new)
    }
}
