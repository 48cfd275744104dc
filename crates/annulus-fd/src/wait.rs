//! Waiting on descriptors.
//!
//! ppoll(2) counts in nanoseconds, but may come back early when a signal does; so every wait looks at
//! the clock again, and says that time is up only when it is. A signal's handler runs, and the wait goes
//! on with the time that is left.

use annulus_channel::Fault;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// The longest single sleep. Longer waits sleep again; no deadline is too far for the kernel's clock.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// How a wait ended.
///
/// ```
/// use annulus_fd::wait::{Waited, readable};
/// use std::time::Instant;
///
/// let (reader, writer) = std::io::pipe()?;
/// let now = Some(Instant::now());
/// assert_eq!(readable(&reader, now)?, Waited::TimedOut);
/// drop(writer);
/// assert_eq!(readable(&reader, None)?, Waited::HungUp);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// A read or a write will not block.
    Ready,
    /// The other side is gone, and there is nothing to read; or nobody will read what is written.
    HungUp,
    /// The deadline has passed.
    TimedOut,
}

/// Waits until there is something to read, or the other side has hung up, until `deadline` (for ever,
/// if there is none). What is so already counts, even if the deadline has passed.
///
/// Bytes that were left behind come before the news that the other side is gone.
///
/// ```
/// use annulus_fd::wait::{Waited, readable};
/// use std::io::Write;
///
/// let (reader, mut writer) = std::io::pipe()?;
/// writer.write_all(b"last words")?;
/// drop(writer);
/// assert_eq!(readable(&reader, None)?, Waited::Ready);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Fault::Os`] if poll(2) fails, which it does for want of memory only.
///
/// # Panics
///
/// If the descriptor is not open, which no safe program can do.
pub fn readable(fd: impl AsFd, deadline: Option<Instant>) -> Result<Waited, Fault> {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    if !wait(&mut fds, deadline)? {
        return Ok(Waited::TimedOut);
    }
    let found = events(&fds[0]);
    Ok(if found.contains(PollFlags::POLLIN) {
        Waited::Ready
    } else {
        Waited::HungUp
    })
}

/// Waits until there is room to write, or nobody will read, until `deadline` (for ever, if there is
/// none). What is so already counts, even if the deadline has passed.
///
/// ```
/// use annulus_fd::wait::{Waited, writable};
///
/// let (reader, writer) = std::io::pipe()?;
/// assert_eq!(writable(&writer, None)?, Waited::Ready);
/// drop(reader);
/// assert_eq!(writable(&writer, None)?, Waited::HungUp);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As [`readable`].
///
/// # Panics
///
/// As [`readable`].
pub fn writable(fd: impl AsFd, deadline: Option<Instant>) -> Result<Waited, Fault> {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLOUT)];
    if !wait(&mut fds, deadline)? {
        return Ok(Waited::TimedOut);
    }
    let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
    Ok(if events(&fds[0]).intersects(gone) {
        Waited::HungUp
    } else {
        Waited::Ready
    })
}

fn events(fd: &PollFd<'_>) -> PollFlags {
    let found = fd.revents().unwrap_or(PollFlags::empty());
    assert!(
        !found.contains(PollFlags::POLLNVAL),
        "a borrowed descriptor is open"
    );
    found
}

/// Waits until something has happened on one of `fds`, which then says what, and returns true; or until
/// `deadline`, and returns false. What has happened already counts, even if the deadline has passed.
///
/// ```
/// use annulus_fd::wait::wait;
/// use nix::poll::{PollFd, PollFlags};
/// use std::os::fd::AsFd;
/// use std::time::{Duration, Instant};
///
/// let (one, _writer) = std::io::pipe()?;
/// let (other, _writer) = std::io::pipe()?;
/// let mut fds = [&one, &other].map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN));
/// let deadline = Instant::now() + Duration::from_millis(2);
/// assert!(!wait(&mut fds, Some(deadline))?);
/// assert!(Instant::now() >= deadline);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As [`readable`].
pub fn wait(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> Result<bool, Fault> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let sleep = left.map(|left| TimeSpec::from(left.min(LONGEST)));
        match ppoll(fds, sleep, None) {
            Ok(0) if left == Some(Duration::ZERO) => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(os("ppoll", errno)),
        }
    }
}

/// Sleeps for `step`, or until `deadline`, whichever comes first. False, at once, if the deadline has
/// passed: for conditions that the kernel wakes nobody for.
///
/// ```
/// use annulus_fd::wait::pause;
/// use std::time::{Duration, Instant};
///
/// let deadline = Instant::now() + Duration::from_millis(5);
/// while pause(Some(deadline), Duration::from_millis(2)) {}
/// assert!(Instant::now() >= deadline);
/// ```
pub fn pause(deadline: Option<Instant>, step: Duration) -> bool {
    let left = match deadline {
        Some(deadline) => deadline.saturating_duration_since(Instant::now()),
        None => step,
    };
    if left.is_zero() {
        return false;
    }
    std::thread::sleep(step.min(left));
    true
}

/// Makes a call again as long as a signal ends it.
///
/// ```
/// use annulus_fd::wait::uninterrupted;
/// use nix::errno::Errno;
///
/// let mut interruptions = 3;
/// let result = uninterrupted(|| match interruptions {
///     0 => Ok("done"),
///     _ => {
///         interruptions -= 1;
///         Err(Errno::EINTR)
///     }
/// });
/// assert_eq!(result, Ok("done"));
/// ```
///
/// # Errors
///
/// Those of the call, but for `EINTR`.
pub fn uninterrupted<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// The fault of a call that the operating system refused.
///
/// ```
/// use annulus_fd::wait::os;
/// use nix::errno::Errno;
///
/// assert_eq!(os("read", Errno::EIO).to_string(), "read: Input/output error (os error 5)");
/// ```
pub fn os(call: &'static str, errno: Errno) -> Fault {
    Fault::Os {
        call,
        errno: errno as i32,
    }
}
