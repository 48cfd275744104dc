//! The name of a Unix socket in the file system.
//!
//! - A name appears only when its socket listens: it is bound under a draft's name beside, and linked. Who is
//!   killed before that leaves the draft; the next one to listen in this directory removes it.
//! - A name whose owner is dead is taken over. The kernel testifies: nobody can connect to it. Whoever
//!   takes over holds a lock on the directory meanwhile (`flock`, which leaves nothing behind), so
//!   that two who do it at once do not take each other's.
//! - What is not a socket is never removed, nor a living socket.
//! - The name goes when its owner closes, if it is still the owner's.

use crate::address::{Address, MAX_PATH};
use crate::limits::os;
use annulus_channel::{OpenError, OpenReason};
use annulus_fd::draft::{Draft, abandoned};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, open};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, connect, socket};
use nix::sys::stat::{Mode, fchmod};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;
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
    // Others' are in nobody's way: if they cannot be read or removed, they stay.
    let _ = remove_drafts(directory(path));
    let place = loop {
        let place = Draft::new(directory(path), DRAFT);
        match bind(socket.as_raw_fd(), &draft_address(&place).map_err(fail)?) {
            Ok(()) => break place,
            // Another's draft, and not ours to remove.
            Err(Errno::EADDRINUSE) => place.disown(),
            Err(errno) => return Err(fail(os("bind", errno))),
        }
    };
    let rights = fs::Permissions::from_mode(mode);
    fs::set_permissions(place.path(), rights).map_err(|e| io("chmod", &e))?;
    let file = fs::symlink_metadata(place.path()).map_err(|e| io("stat", &e))?;
    listen().map_err(fail)?;

    let mut lock = None;
    loop {
        match fs::hard_link(place.path(), path) {
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

/// What a socket's draft is called.
const DRAFT: &str = "socket";

/// The kernel's address of a draft, which has to be short, as every socket's.
fn draft_address(draft: &Draft) -> Result<UnixAddr, OpenReason> {
    unix_address(draft.path()).or_else(|_| unix_address(&draft.short_path()))
}

/// The directory that holds this name.
fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn lock_directory(path: &Path) -> Result<Flock<File>, OpenReason> {
    let directory = directory(path);
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
    let refused = match unix_address(path) {
        Ok(address) => connect(probe.as_raw_fd(), &address),
        // A draft's name may be longer than the one it is for. Its directory has a short one.
        Err(_) => {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            let place = open(directory(path), flags, Mode::empty()).map_err(|e| os("open", e))?;
            let short = Path::new("/proc/self/fd").join(place.as_raw_fd().to_string());
            let short = short.join(path.file_name().unwrap_or_default());
            connect(probe.as_raw_fd(), &unix_address(&short)?)
        }
    };
    Ok(refused == Err(Errno::ECONNREFUSED))
}

/// Removes from a directory the drafts of Unix sockets that nobody has any more, and returns what was removed: a listener that
/// was killed before it had given its socket the name has left them. Every listener does so before it makes its own.
///
/// ```
/// use annulus_socket::{Address, SocketOptions, remove_drafts};
///
/// let dir = std::env::temp_dir().join(format!("annulus-drafts-{}", std::process::id()));
/// std::fs::create_dir(&dir)?;
/// // What a killed one has left: a draft's name, and no socket behind it.
/// drop(std::os::unix::net::UnixListener::bind(dir.join(".annulus.socket-7"))?);
/// let listener = SocketOptions::new().listen(&Address::UnixStream(dir.join("alive")))?;
/// assert!(!dir.join(".annulus.socket-7").exists());
/// assert!(remove_drafts(&dir)?.is_empty());
/// drop(listener);
/// std::fs::remove_dir(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Those of reading the directory.
pub fn remove_drafts(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut removed = abandoned(dir, DRAFT)?;
    removed.retain(|path| {
        let is_socket = |found: Metadata| found.file_type().is_socket();
        fs::symlink_metadata(path).is_ok_and(is_socket)
            && is_dead(path) == Ok(true)
            && fs::remove_file(path).is_ok()
    });
    Ok(removed)
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

#[cfg(test)]
#[allow(unsafe_code, reason = "the tests fork")]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::waitpid;
    use nix::unistd::{ForkResult, Pid, fork};

    /// A process that is about to listen at this path, and has come as far as its draft.
    fn maker(path: &Path) -> Pid {
        // SAFETY: the child binds a socket, waits to be killed, and never comes back to the test.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => {
                while directory(path).read_dir().unwrap().count() == 0 {
                    thread::sleep(Duration::from_millis(1));
                }
                child
            }
            ForkResult::Child => {
                let flags = SockFlag::SOCK_CLOEXEC;
                let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
                let address = Address::UnixStream(path.to_owned());
                let _ = publish(&address, path, &fd, 0o600, || {
                    loop {
                        nix::unistd::pause();
                    }
                });
                unreachable!("it was killed")
            }
        }
    }

    #[test]
    fn a_draft_goes_when_its_maker_is_dead_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        // As long as a socket's path may be: the draft's is longer.
        let long = MAX_PATH - dir.path().as_os_str().len() - 3;
        let deep = dir.path().join("d".repeat(long));
        fs::create_dir(&deep).unwrap();
        for path in [dir.path().join("socket"), deep.join("s")] {
            let dir = directory(&path);
            let count = || {
                dir.read_dir()
                    .unwrap()
                    .filter(|e| !e.as_ref().unwrap().path().is_dir())
                    .count()
            };
            let maker = maker(&path);
            while count() == 0 {
                thread::sleep(Duration::from_millis(1));
            }
            kill(maker, Signal::SIGSTOP).unwrap();
            assert_eq!(remove_drafts(dir).unwrap(), [] as [&Path; 0]);
            assert_eq!(count(), 1, "it is stopped, not dead");
            kill(maker, Signal::SIGKILL).unwrap();
            waitpid(maker, None).unwrap();
            let listener = crate::SocketOptions::new().listen(&Address::UnixStream(path.clone()));
            let listener = listener.unwrap();
            assert_eq!(count(), 1, "the new one's path alone");
            drop(listener);
            assert_eq!(count(), 0);
        }
    }

    #[test]
    fn a_draft_without_a_socket_yet_is_its_living_makers() {
        let dir = tempfile::tempdir().unwrap();
        let draft = Draft::new(dir.path(), DRAFT);
        drop(std::os::unix::net::UnixListener::bind(draft.path()).unwrap());
        assert_eq!(remove_drafts(dir.path()).unwrap(), [] as [&Path; 0]);
        assert!(draft.path().exists());
    }
}
