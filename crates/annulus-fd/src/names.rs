//! Names: what a transport leaves in file systems and kernel namespaces, and who is there.
//!
//! Everything that lies outside a process is called `annulus.TRANSPORT-NAME`, so that it can be told from
//! what belongs to others. Beside it lies `annulus.TRANSPORT-NAME.lock`, an empty file, on which each handle has a
//! lock on a byte of its own ([`lock`]). So everybody can see who lives; the last to leave takes
//! the thing and the file away; and where nobody holds a byte, the dead left it ([`stale`], [`remove_stale`]).
//!
//! Coming and going happen behind a [`Door`], one at a time.

mod presence;

pub use presence::{Presence, Side, ticket};

use crate::lock::{self, Door};
use annulus_channel::{OpenError, OpenReason};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where names lie that no path says otherwise of: a file system in memory, for all.
pub const DIR: &str = "/dev/shm";

const PREFIX: &str = "annulus.";
const SUFFIX: &str = ".lock";
/// The longest name: with everything around it, it is still a file name.
const LONGEST: usize = 200;

/// How long coming and going wait for one who is stopped in the door.
const PATIENCE: Duration = Duration::from_secs(1);

/// Bytes that handles lock, of either side: from here to the end of numbers.
const HANDLES: u64 = 1 << 61;

/// The full name of a thing: `annulus.TRANSPORT-NAME`.
///
/// ```
/// use annulus_fd::names::{full_name, parse};
///
/// assert_eq!(full_name("mq", "orders")?, "annulus.mq-orders");
/// assert_eq!(parse("annulus.mq-orders"), Some(("mq", "orders")));
/// assert!(full_name("mq", "../orders").is_err());
/// # Ok::<(), annulus_channel::OpenError>(())
/// ```
///
/// # Errors
///
/// [`OpenReason::Name`] for a name that is empty, begins with a dot, has more than 200 bytes, or a slash or NUL
/// among them.
///
/// # Panics
///
/// If `transport` is not made of small letters and digits.
pub fn full_name(transport: &str, name: &str) -> Result<String, OpenError> {
    assert!(is_transport(transport), "a transport called '{transport}'");
    let bad = name.is_empty()
        || name.starts_with('.')
        || name.len() > LONGEST
        || name.contains(['/', '\0']);
    if bad {
        let expected = "1 to 200 bytes without '/', not beginning with '.'";
        return Err(OpenError::new(
            format_args!("{transport}:{name}"),
            OpenReason::Name { expected },
        ));
    }
    Ok(format!("{PREFIX}{transport}-{name}"))
}

fn is_transport(word: &str) -> bool {
    let small = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !word.is_empty() && word.bytes().all(small)
}

/// The transport and the name in a full name, or in that of its lock file; nothing if it is another's.
pub fn parse(full: &str) -> Option<(&str, &str)> {
    let rest = full.strip_prefix(PREFIX)?;
    let rest = rest.strip_suffix(SUFFIX).unwrap_or(rest);
    let (transport, name) = rest.split_once('-')?;
    (is_transport(transport) && !name.is_empty()).then_some((transport, name))
}

/// Something whose handles are all gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    /// What kind of thing, as in its full name.
    pub transport: String,
    /// Its name.
    pub name: String,
    /// Its lock file.
    pub lock: PathBuf,
}

/// What the dead left in `dir`, among the things that have a lock file there.
///
/// ```
/// use annulus_fd::names::{DIR, stale};
/// use std::path::Path;
///
/// for left in stale(Path::new(DIR))? {
///     println!("{}:{}", left.transport, left.name);
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// Those of reading the directory. Files of others that may not be opened are passed over.
pub fn stale(dir: &Path) -> io::Result<Vec<Stale>> {
    let mut found = vec![];
    for entry in dir.read_dir()? {
        let file_name = entry?.file_name();
        let Some(full) = file_name.to_str().filter(|name| name.ends_with(SUFFIX)) else {
            continue;
        };
        let Some((transport, name)) = parse(full) else {
            continue;
        };
        let lock = dir.join(full);
        let is_stale = |file: File| lock::is_locked(&file, HANDLES, 0) == Ok(false);
        if open(&lock, false).is_ok_and(is_stale) {
            found.push(Stale {
                transport: transport.to_owned(),
                name: name.to_owned(),
                lock,
            });
        }
    }
    found.sort_by(|one, other| one.lock.cmp(&other.lock));
    Ok(found)
}

/// Removes what the dead left in `dir`: `remove` takes away the thing, and says whether that is done; then the lock file goes.
/// Returns what was removed. Nobody can come in between.
///
/// ```
/// use annulus_fd::names::remove_stale;
///
/// let dir = std::env::temp_dir().join(format!("annulus-stale-{}", std::process::id()));
/// std::fs::create_dir(&dir)?;
/// std::fs::write(dir.join("annulus.mq-orders.lock"), "")?;
/// let removed = remove_stale(&dir, |left| left.transport == "mq")?;
/// assert_eq!(removed[0].name, "orders");
/// std::fs::remove_dir(&dir)?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// Those of reading the directory, and of removing a lock file.
pub fn remove_stale(dir: &Path, mut remove: impl FnMut(&Stale) -> bool) -> io::Result<Vec<Stale>> {
    let mut removed = vec![];
    for left in stale(dir)? {
        let Ok(file) = open(&left.lock, false) else {
            continue;
        };
        let Some(_door) = Door::alone(&file, Duration::ZERO)? else {
            continue;
        };
        let nobody = lock::is_locked(&file, HANDLES, 0) == Ok(false);
        if nobody && is_at(&file, &left.lock) && remove(&left) {
            std::fs::remove_file(&left.lock)?;
            removed.push(left);
        }
    }
    Ok(removed)
}

fn open(path: &Path, create: bool) -> io::Result<File> {
    let nofollow = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(create).mode(0o600);
    options.custom_flags(nofollow).open(path)
}

/// Whether the path still leads to this very file.
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
    let there = path.symlink_metadata().map(identity);
    there.is_ok_and(|there| file.metadata().map(identity).is_ok_and(|own| own == there))
}

#[cfg(test)]
mod tests;
