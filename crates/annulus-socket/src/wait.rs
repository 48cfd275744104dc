//! Waiting for descriptors, up to a moment that is kept to the nanosecond. A signal ends no wait:
//! whoever waits looks again and comes back.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// After so long a sleeper looks again, whatever the kernel tells it.
///
/// A Unix socket calls itself writable only when three quarters of its room are free, but a record
/// fits earlier; and a UDP socket hears of a dead peer only if it asks.
pub(crate) const SLICE: Duration = Duration::from_millis(100);

/// The longest single sleep; any longer one is slept in parts.
const LONG: Duration = Duration::from_secs(3600);

/// The earlier of the two.
pub(crate) fn earlier(until: Option<Instant>, other: Instant) -> Option<Instant> {
    Some(until.map_or(other, |until| until.min(other)))
}

/// Whether it has passed.
pub(crate) fn passed(until: Option<Instant>) -> bool {
    until.is_some_and(|until| Instant::now() >= until)
}

/// Sleeps until one of these shows what it is asked for, or an error or its end, or until the
/// moment; for ever if there is none. May return earlier, so the caller asks again.
pub(crate) fn sleep(
    fds: &[(BorrowedFd<'_>, PollFlags)],
    until: Option<Instant>,
) -> Result<(), Errno> {
    let time = until.map_or(LONG, |until| {
        until.saturating_duration_since(Instant::now()).min(LONG)
    });
    match look(fds, time) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Whether this shows what it is asked for, or an error or its end, now.
pub(crate) fn ready(fd: BorrowedFd<'_>, events: PollFlags) -> bool {
    look(&[(fd, events)], Duration::ZERO).is_ok_and(|count| count > 0)
}

fn look(fds: &[(BorrowedFd<'_>, PollFlags)], time: Duration) -> Result<i32, Errno> {
    let mut two = [None, None].map(|_: Option<()>| None);
    for (place, &(fd, events)) in two.iter_mut().zip(fds) {
        *place = Some(PollFd::new(fd, events));
    }
    let time = Some(TimeSpec::from_duration(time));
    match two {
        [Some(one), Some(other)] => ppoll(&mut [one, other], time, None),
        [Some(one), None] => ppoll(&mut [one], time, None),
        _ => ppoll(&mut [], time, None),
    }
}

/// Calls again what a signal interrupted.
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}
