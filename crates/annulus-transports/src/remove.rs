//! Removing what a name names, and finding what dead owners have left.
//!
//! A channel in use is never removed. What is *stale* is decided by the kernel's testimony, through the transport's
//! own locks: somebody was there and was killed, and nobody living is there now. What was left in good order
//! (a ring with records that wait for their receiver) is not stale.

use crate::error::OpenError;
use crate::url::{Scheme, Url};
use annulus::{Inspector, Location, RingInfo};
use std::fs;
#[cfg(all(feature = "pipe", feature = "socket"))]
use std::{
    io,
    path::{Path, PathBuf},
};

/// Where POSIX shared memory has its names.
const SHM_DIR: &str = "/dev/shm";

/// What the lock of a ring in a System V segment is called there, before and after its key.
const SYSV_LOCK: (&str, &str) = ("annulus.sysv-", ".lock");

/// Something that dead owners have left.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stale {
    /// Its name.
    pub url: Url,
    /// Records that are in it still; nothing if there are some, and it is not known how many.
    pub records: Option<u64>,
}

/// Removes what the name names, unless somebody living uses it.
///
/// # Errors
///
/// [`OpenError`]: there is nothing, or it is in use, or it is something else.
pub fn remove(url: &Url) -> Result<(), OpenError> {
    match url {
        Url::Ring(location) => Ok(annulus::remove(location)?),
        Url::Pipe | Url::Tcp(_) | Url::Tls(_) | Url::Udp(_) => Err(OpenError::Unfit {
            url: url.clone(),
            reason: "it leaves nothing to remove",
        }),
        #[cfg(feature = "pipe")]
        Url::Fifo(path) => crate::pipe::remove(path, url),
        #[cfg(feature = "socket")]
        Url::Unix(_) | Url::UnixSeqpacket(_) | Url::UnixDgram(_) => crate::socket::remove(url),
        #[cfg(feature = "mqueue")]
        Url::Mq(_) | Url::Sysv(_) => crate::queue::remove(url),
        #[cfg(feature = "classic")]
        Url::Classic(_) | Url::Sem(_) | Url::Spool(_) => crate::textbook::remove(url),
        #[allow(unreachable_patterns, reason = "only with every feature")]
        _ => Err(crate::open::left_out(url)),
    }
}

/// What dead owners have left on this machine, of the given schemes: found by its names, where a transport's names are in
/// one place. FIFOs, sockets, spool files and rings in files are where their owners put them, and are not looked for; for
/// FIFOs and sockets see [`remove_stale_in`].
pub fn stale(schemes: &[Scheme]) -> Vec<Stale> {
    let mut found = Vec::new();
    if schemes.contains(&Scheme::Ring) {
        found.extend(rings());
    }
    #[cfg(feature = "mqueue")]
    found.extend(crate::queue::stale());
    #[cfg(feature = "classic")]
    found.extend(crate::textbook::stale());
    found.retain(|stale| schemes.contains(&stale.url.scheme()));
    found.sort_by_key(|stale| stale.url.to_string());
    found
}

/// Removes from a directory what the killed have left there, and returns what was removed: FIFOs, with the drafts of those
/// who were killed while they made one, and the drafts of Unix sockets. A Unix socket that has its name stays: nothing tells
/// ours from another program's, and whoever listens there next replaces it.
///
/// ```
/// use annulus_transports::remove_stale_in;
///
/// let dir = std::env::temp_dir().join(format!("annulus-left-in-{}", std::process::id()));
/// std::fs::create_dir(&dir)?;
/// drop(std::os::unix::net::UnixListener::bind(dir.join(".annulus.socket-7"))?);
/// assert_eq!(remove_stale_in(&dir)?, [dir.join(".annulus.socket-7")]);
/// # std::fs::remove_dir(&dir)?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// Those of reading the directory.
#[cfg(all(feature = "pipe", feature = "socket"))]
pub fn remove_stale_in(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut removed = annulus_pipe::remove_stale(dir)?;
    removed.extend(annulus_socket::remove_drafts(dir)?);
    removed.sort();
    Ok(removed)
}

fn rings() -> Vec<Stale> {
    let names = fs::read_dir(SHM_DIR).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let stale = |name: String| {
        let location = match name
            .strip_prefix(SYSV_LOCK.0)
            .and_then(|name| name.strip_suffix(SYSV_LOCK.1))
        {
            Some(key) => Location::Sysv(u32::from_str_radix(key, 16).ok()? as i32),
            None => Location::Shm(name),
        };
        let inspector = Inspector::open(&location).ok()?;
        is_stale(&inspector.info()).then(|| Stale {
            url: Url::Ring(location),
            records: Some(inspector.audit().in_flight),
        })
    };
    names.filter_map(stale).collect()
}

/// Whether somebody was killed here, and nobody living is attached.
fn is_stale(ring: &RingInfo) -> bool {
    let mut peers = ring.senders.iter().chain(&ring.receivers).peekable();
    peers.peek().is_some() && peers.all(|peer| !peer.alive)
}
