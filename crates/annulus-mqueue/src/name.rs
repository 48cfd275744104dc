//! Names of queues, and the one scheme by which the file beside a queue is found.
//!
//! ```text
//! mq:/orders     POSIX queue "/orders"        /dev/shm/annulus.mq-orders.lock
//! sysv:0x2a      System V queue with key 42   /dev/shm/annulus.msg-0000002a.lock
//! sysv:orders    System V queue with a key that follows from the word
//! ```

use annulus_channel::{OpenError, OpenReason};
use annulus_fd::names::{DIR, full_name, parse};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The transports, as file names say them. A System V segment of the rings has `sysv` there.
const POSIX: &str = "mq";
const SYSTEM_V: &str = "msg";

const EXPECTED_SYSTEM_V: &str =
    "sysv:KEY, a number of 32 bits other than 0, decimal or 0x…, or a word";
const EXPECTED: &str = "mq:/NAME or sysv:KEY";

/// The name of a queue, of either kind.
///
/// ```
/// use annulus_mqueue::Name;
///
/// let name: Name = "mq:/orders".parse()?;
/// assert_eq!(name, Name::posix("/orders")?);
/// assert_eq!("sysv:42".parse::<Name>()?.to_string(), "sysv:0x2a");
/// // A word stands for the key that follows from it, the same in every process.
/// assert_eq!(Name::sysv("orders")?, Name::sysv("orders")?);
/// let error = "mq:/a/b".parse::<Name>().unwrap_err().to_string();
/// assert!(error.starts_with("mq:/a/b: not a name; expected "), "{error}");
/// # Ok::<(), annulus_channel::OpenError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// A POSIX queue; without the slash at the beginning.
    Posix(String),
    /// A System V queue, by its key.
    SystemV(i32),
}

impl Name {
    /// The POSIX queue of this name, with or without the slash at the beginning: 1 to 200 bytes without another
    /// slash, not beginning with a dot.
    ///
    /// # Errors
    ///
    /// [`OpenReason::Name`].
    pub fn posix(name: &str) -> Result<Self, OpenError> {
        let word = name.strip_prefix('/').unwrap_or(name);
        full_name(POSIX, word).map_err(|error| OpenError {
            name: format!("mq:{name}"),
            ..error
        })?;
        Ok(Self::Posix(word.to_owned()))
    }

    /// The System V queue with this key: a number of 32 bits, decimal or `0x…`, or a word, whose key is
    /// its FNV-1a hash. Two words have the same key once in four billion pairs.
    ///
    /// ```
    /// use annulus_mqueue::Name;
    /// assert_eq!(Name::sysv("0x2a")?, Name::SystemV(42));
    /// assert!(Name::sysv("0").is_err());
    /// # Ok::<(), annulus_channel::OpenError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`OpenReason::Name`]: empty, or the key 0, which names no queue.
    pub fn sysv(key: &str) -> Result<Self, OpenError> {
        let starts_as_number = key.starts_with(|c: char| c.is_ascii_digit() || c == '-');
        let parsed = match key.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok().map(|key| key as i32),
            None if starts_as_number => key.parse().ok(),
            None => (!key.is_empty() && !key.contains('\0')).then(|| hash(key)),
        };
        match parsed {
            Some(key) if key != 0 => Ok(Self::SystemV(key)),
            _ => Err(bad(format_args!("sysv:{key}"), EXPECTED_SYSTEM_V)),
        }
    }

    /// The file beside the queue, which says who is there.
    ///
    /// ```
    /// use annulus_mqueue::Name;
    /// let name = Name::posix("/orders")?;
    /// assert_eq!(name.companion().to_str(), Some("/dev/shm/annulus.mq-orders.lock"));
    /// # Ok::<(), annulus_channel::OpenError>(())
    /// ```
    pub fn companion(&self) -> PathBuf {
        Path::new(DIR).join(match self {
            Self::Posix(word) => format!("annulus.{POSIX}-{word}.lock"),
            Self::SystemV(key) => format!("annulus.{SYSTEM_V}-{key:08x}.lock"),
        })
    }

    /// The queue whose companion has this file name.
    pub(crate) fn of_companion(file: &str) -> Option<Self> {
        let (transport, word) = parse(file)?;
        match transport {
            POSIX => Self::posix(word).ok(),
            SYSTEM_V => {
                let key = u32::from_str_radix(word, 16).ok()?;
                Some(Self::SystemV(key as i32))
            }
            _ => None,
        }
    }
}

impl FromStr for Name {
    type Err = OpenError;

    fn from_str(word: &str) -> Result<Self, OpenError> {
        match word.split_once(':') {
            Some(("mq", name)) => Self::posix(name),
            Some(("sysv", key)) => Self::sysv(key),
            _ => Err(bad(word, EXPECTED)),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Posix(word) => write!(f, "mq:/{word}"),
            Self::SystemV(key) => write!(f, "sysv:{key:#x}"),
        }
    }
}

fn bad(name: impl fmt::Display, expected: &'static str) -> OpenError {
    OpenError::new(name, OpenReason::Name { expected })
}

/// FNV-1a (Fowler, Noll, Vo), never 0.
fn hash(word: &str) -> i32 {
    let step = |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    let hash = word.bytes().fold(0x811c_9dc5, step);
    hash.max(1) as i32
}
