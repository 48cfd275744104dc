//! The name of a Unix socket in the file system.
//!
//! - A name appears only when its socket listens: it is bound under another name beside, and linked.
//! - A name whose owner is dead is taken over. The kernel testifies: nobody can connect to it. Whoever
//!   takes over holds a lock on the directory meanwhile (`flock`, which leaves nothing behind), so
//!   that two who do it at once do not take each other's.
//! - What is not a socket is never removed, nor a living socket.
//! - The name goes when its owner closes, if it is still the owner's.

use crate::address::{Address, MAX_PATH};
use crate::limits::os;
use annulus_channel::{OpenError, OpenReason};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, connect, socket};
use nix::sys::stat::{Mode, fchmod};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long somebody else may hold the directory's lock.
const LOCKED: Duration = Duration::from_secs(5);

/// A name that is ours until it is dropped.
#[derive(Debug)]
pub(crate) struct Name {
    path: PathBuf,
    file: (u64, u64),
    owner: u32,
}

impl Drop for Name {
    fn drop(&mut self) {
        let ours = self.owner == process::id()
            && fs::symlink_metadata(&self.path).is_ok_and(|found| inode(&found) == self.file);
        if ours {
            // Nobody else removes a living socket's name, so it is ours still.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn inode(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// The kernel's address of this path.
pub(crate) fn unix_address(path: &Path) -> Result<UnixAddr, OpenReason> {
    UnixAddr::new(path).map_err(|_| OpenReason::Limit {
        setting: "sun_path, the length of a Unix socket's name",
        limit: MAX_PATH as u64,
        needed: path.as_os_str().len() as u64,
    })
}

/// Binds the socket, makes it listen, and then shows it under its name, with these rights.
pub(crate) fn publish(
    address: &Address,
    path: &Path,
    socket: &OwnedFd,
    mode: u32,
    listen: impl FnOnce() -> Result<(), OpenReason>,
) -> Result<Name, OpenError> {
    let fail = |reason| address.error(reason);
    unix_address(path).map_err(fail)?;
    let io = |call, error: &io::Error| OpenError::os(address, call, error);
    // The file is made with the rights of the socket, less the umask; `chmod` gives it all of them.
    fchmod(socket, Mode::from_bits_truncate(mode)).map_err(|e| fail(os("fchmod", e)))?;
    let place = Beside(beside(path));
    let unbound = |errno| fail(os("bind", errno));
    bind(socket.as_raw_fd(), &unix_address(&place.0).map_err(fail)?).map_err(unbound)?;
    let rights = fs::Permissions::from_mode(mode);
    fs::set_permissions(&place.0, rights).map_err(|e| io("chmod", &e))?;
    let file = fs::symlink_metadata(&place.0).map_err(|e| io("stat", &e))?;
    listen().map_err(fail)?;

    let mut lock = None;
    loop {
        match fs::hard_link(&place.0, path) {
            Ok(()) => break,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io("link", &error)),
        }
        if lock.is_none() {
            lock = Some(lock_directory(path).map_err(fail)?);
        }
        if !remove_dead(path).map_err(fail)? {
            return Err(fail(OpenReason::Exists));
        }
    }
    Ok(Name {
        path: path.to_owned(),
        file: inode(&file),
        owner: process::id(),
    })
}

/// A name that is removed again.
struct Beside(PathBuf);

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A name in the same directory that nobody else has.
fn beside(path: &Path) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!(".{:x}.{count:x}", process::id()))
}

fn lock_directory(path: &Path) -> Result<Flock<File>, OpenReason> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let until = Instant::now() + LOCKED;
    let open = |directory| File::open(directory);
    let mut file = open(directory).map_err(|_| OpenReason::Permission)?;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((_, Errno::EWOULDBLOCK)) if Instant::now() > until => {
                return Err(OpenReason::TimedOut);
            }
            Err((back, Errno::EWOULDBLOCK | Errno::EINTR)) => file = back,
            Err((_, errno)) => return Err(os("flock", errno)),
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Removes the socket file at `path` if nobody listens there. The caller holds the directory's lock.
fn remove_dead(path: &Path) -> Result<bool, OpenReason> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        // Somebody removed it meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(_) => return Err(OpenReason::Permission),
    };
    if !found.file_type().is_socket() || !is_dead(path)? {
        return Ok(false);
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(OpenReason::Permission),
        _ => Ok(true),
    }
}

/// Whether nobody has the socket at this path open: whatever its type, the kernel then refuses a
/// connection, and else names another reason or none.
fn is_dead(path: &Path) -> Result<bool, OpenReason> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let probe = socket(AddressFamily::Unix, SockType::Datagram, flags, None)
        .map_err(|e| os("socket", e))?;
    let refused = connect(probe.as_raw_fd(), &unix_address(path)?);
    Ok(refused == Err(Errno::ECONNREFUSED))
}

/// Removes the file of a Unix socket whose owner was killed, and says whether it did.
///
/// A socket that somebody has open, and what is not a socket, stay; so does what is not there.
///
/// ```
/// use annulus_socket::{SocketOptions, remove_stale};
///
/// let path = std::env::temp_dir().join(format!("annulus-doc-{}", std::process::id()));
/// let listener = SocketOptions::new().listen(&annulus_socket::Address::UnixStream(path.clone()))?;
/// assert!(!remove_stale(&path)?);
/// drop(listener);
/// assert!(!path.exists());
/// # Ok::<(), annulus_channel::OpenError>(())
/// ```
///
/// # Errors
///
/// [`OpenReason::Permission`] where the directory or the file is not ours to change,
/// [`OpenReason::TimedOut`] if somebody holds the directory's lock for five seconds.
pub fn remove_stale(path: &Path) -> Result<bool, OpenError> {
    let fail = |reason| OpenError::new(path.display(), reason);
    if !fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        return Ok(false);
    }
    let _lock = lock_directory(path).map_err(fail)?;
    Ok(path.exists() && remove_dead(path).map_err(fail)?)
}
