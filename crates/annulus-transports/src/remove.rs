//! Removing what a name names, and finding what nobody needs any more.
//!
//! A channel in use is never removed, by the kernel's testimony, through the transport's own locks. What is *stale*
//! was to go when all have finished, and nobody living is there now:
//!
//! - it is empty. Its maker was killed, or went before anybody came; or a sender came and went without a word, and no
//!   receiver has come to see that. [`remove_finished`] takes it away, and only if that is so still when nobody can come any more;
//! - or somebody who was there was killed, and left records. Those are listed, and stay.
//!
//! What was left in good order (a ring with records that wait for their receiver) is not stale, nor is what was to be
//! kept ([`Options::keep`](crate::Options::keep), a file) or made by somebody else.

use crate::error::OpenError;
use crate::ring::of;
use crate::url::{Scheme, Url};
use annulus::{Inspector, Location};
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

/// Something that nobody needs, or that dead owners have left.
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
        Url::Ring(location) => annulus::remove(location).map_err(of(location)),
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

/// Removes what the name names, if it was to go when all have finished, nobody living uses it, and nothing is in it, whether or
/// not anybody ever came. False: it stays. Nobody can come in between and lose what it sends.
///
/// For whoever has created a channel and gives it up before anybody came, and for what [`stale`] finds.
///
/// ```
/// use annulus_transports::{Options, Url, open_receiver, remove_finished};
///
/// # let word = format!("annulus-doc-give-up-{}", std::process::id());
/// let url: Url = word.parse()?; // as "orders"
/// let receiver = open_receiver(&url, Options::new().create(true))?;
/// assert!(!remove_finished(&url)?, "somebody is there");
/// drop(receiver);
/// assert!(remove_finished(&url)?);
/// # Ok::<(), annulus_transports::OpenError>(())
/// ```
///
/// # Errors
///
/// [`OpenError`]: there is nothing, or it is something else.
pub fn remove_finished(url: &Url) -> Result<bool, OpenError> {
    match url {
        Url::Ring(location) => annulus::remove_finished(location).map_err(of(location)),
        #[cfg(feature = "mqueue")]
        Url::Mq(_) | Url::Sysv(_) => crate::queue::remove_finished(url),
        #[cfg(feature = "classic")]
        Url::Classic(_) | Url::Sem(_) => crate::textbook::remove_finished(url),
        // They leave nothing, or what has a file's name, which stays.
        _ => Ok(false),
    }
}

/// What nobody needs and what dead owners have left on this machine, of the given schemes: found by its names, where a
/// transport's names are in one place. FIFOs, sockets, spool files and rings in files are where their owners put them, and are
/// not looked for; for FIFOs and sockets see [`remove_stale_in`].
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
        let ring = inspector.info();
        let mut peers = ring.senders.iter().chain(&ring.receivers);
        if !ring.unlink_when_finished || peers.any(|peer| peer.alive) {
            return None;
        }
        let audit = inspector.audit();
        let records = audit.in_flight + audit.dead_letters;
        let killed = ring.senders.len() + ring.receivers.len() > 0;
        (records == 0 || killed).then_some(Stale {
            url: Url::Ring(location),
            records: Some(records),
        })
    };
    names.filter_map(stale).collect()
}
