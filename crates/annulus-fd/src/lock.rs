//! The kernel's testimony to life: locks on bytes of a file.
//!
//! An open-file-description lock (`F_OFD_SETLK`) belongs to what open(2) made. The kernel drops it when the
//! last descriptor of that is closed, so when the process dies, whatever killed it. A stopped process keeps it.
//! Whoever holds another description of the same file can ask whether a byte is locked. The bytes need not exist;
//! every file has them, FIFOs too.
//!
//! The kernel does not show a description its own locks. A child that was forked, and does not exec, has copies of the
//! descriptors, and with them the locks: it vouches for its parent until it closes them.
//!
//! A [`Door`] is a lock that is held for a moment, around what must not happen twice at once.

use crate::wait::pause;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Locks `len` bytes from `start` on, for this open file description alone, if no other has a lock there;
/// says whether it did. The file must be open for writing. `len` 0 means all bytes to the end of numbers.
///
/// ```
/// use annulus_fd::lock;
/// use std::fs::File;
///
/// let path = std::env::temp_dir().join(format!("annulus-lock-{}", std::process::id()));
/// let (one, other) = (File::create(&path)?, File::create(&path)?);
/// assert!(lock::try_lock(&one, 7, 1)?);
/// assert!(!lock::try_lock(&other, 7, 1)?);
/// assert!(lock::try_lock(&other, 8, 1)?);
/// drop(one);
/// assert!(lock::try_lock(&other, 7, 1)?);
/// # std::fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// `EBADF` if the file is not open for writing, `ENOLCK` if the kernel has no room for locks.
pub fn try_lock(fd: impl AsFd, start: u64, len: u64) -> Result<bool, Errno> {
    set(fd, libc::F_WRLCK, start, len)
}

/// Locks bytes as [`try_lock`] does, but together with others who do so. The file must be open for
/// reading.
///
/// ```
/// use annulus_fd::lock;
/// use std::fs::File;
///
/// let path = std::env::temp_dir().join(format!("annulus-share-{}", std::process::id()));
/// let writer = File::create(&path)?;
/// let (one, other) = (File::open(&path)?, File::open(&path)?);
/// assert!(lock::try_share(&one, 7, 1)? && lock::try_share(&other, 7, 1)?);
/// lock::unlock(&one, 7, 1)?;
/// assert!(!lock::try_lock(&writer, 7, 1)?, "the other one has it still");
/// # std::fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// As [`try_lock`].
pub fn try_share(fd: impl AsFd, start: u64, len: u64) -> Result<bool, Errno> {
    set(fd, libc::F_RDLCK, start, len)
}

/// Gives up this description's locks on the bytes; [`try_share`] has an example.
///
/// # Errors
///
/// As [`try_lock`].
pub fn unlock(fd: impl AsFd, start: u64, len: u64) -> Result<(), Errno> {
    set(fd, libc::F_UNLCK, start, len).map(drop)
}

/// Whether another description has a lock on one of the bytes.
///
/// ```
/// use annulus_fd::lock;
/// use std::fs::File;
///
/// let path = std::env::temp_dir().join(format!("annulus-asked-{}", std::process::id()));
/// let (one, other) = (File::create(&path)?, File::create(&path)?);
/// lock::try_lock(&one, 7, 1)?;
/// assert!(lock::is_locked(&other, 0, 100)?);
/// assert!(!lock::is_locked(&one, 0, 100)?, "its own");
/// # std::fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// `EBADF` if the descriptor was opened with `O_PATH`.
pub fn is_locked(fd: impl AsFd, start: u64, len: u64) -> Result<bool, Errno> {
    let mut lock = bytes(libc::F_WRLCK, start, len);
    fcntl(fd, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
}

fn set(fd: impl AsFd, kind: i32, start: u64, len: u64) -> Result<bool, Errno> {
    let lock = bytes(kind, start, len);
    match fcntl(fd, FcntlArg::F_OFD_SETLK(&lock)) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn bytes(kind: i32, start: u64, len: u64) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start as libc::off_t,
        l_len: len as libc::off_t,
        l_pid: 0,
    }
}

/// The byte of a file that a [`Door`] locks: beyond everything that anybody locks for another reason.
const DOOR: u64 = 1 << 60;

/// How often a closed door is tried.
const STEP: Duration = Duration::from_micros(200);

/// One at a time: held around what must not happen twice at once, such as coming and going. It opens
/// again when its holder dies.
///
/// ```
/// use annulus_fd::lock::Door;
/// use std::fs::File;
/// use std::time::Duration;
///
/// let path = std::env::temp_dir().join(format!("annulus-door-{}", std::process::id()));
/// let (one, other) = (File::create(&path)?, File::create(&path)?);
/// let inside = Door::alone(&one, Duration::ZERO)?.expect("nobody is inside");
/// assert!(Door::alone(&other, Duration::from_millis(1))?.is_none());
/// drop(inside);
/// assert!(Door::alone(&other, Duration::ZERO)?.is_some());
/// # std::fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "it closes behind whoever drops it"]
pub struct Door<Fd: AsFd> {
    fd: Fd,
}

impl<Fd: AsFd> Door<Fd> {
    /// Goes in alone, by a file that is open for writing. Waits while somebody else is inside, for
    /// `patience`; then `None`: whoever is inside was stopped there.
    ///
    /// # Errors
    ///
    /// As [`try_lock`].
    pub fn alone(fd: Fd, patience: Duration) -> Result<Option<Self>, Errno> {
        Self::enter(fd, libc::F_WRLCK, patience)
    }

    /// Goes in together with others who do so, by a file that is open for reading only; but not
    /// together with those who want to be alone.
    ///
    /// # Errors
    ///
    /// As [`try_share`].
    pub fn shared(fd: Fd, patience: Duration) -> Result<Option<Self>, Errno> {
        Self::enter(fd, libc::F_RDLCK, patience)
    }

    fn enter(fd: Fd, kind: i32, patience: Duration) -> Result<Option<Self>, Errno> {
        let deadline = Instant::now().checked_add(patience);
        loop {
            if set(&fd, kind, DOOR, 1)? {
                return Ok(Some(Self { fd }));
            }
            if !pause(deadline, STEP) {
                return Ok(None);
            }
        }
    }
}

impl<Fd: AsFd> Drop for Door<Fd> {
    fn drop(&mut self) {
        // It cannot fail on a lock that is held, and if it did, it would end with the description.
        let _ = unlock(&self.fd, DOOR, 1);
    }
}
