//! Waiting for sockets, by `annulus_fd::wait`, which is exact to the clock and minds no signal.

use annulus_channel::Fault;
use annulus_fd::wait::wait;
pub(crate) use annulus_fd::wait::{os, uninterrupted};
use nix::poll::{PollFd, PollFlags};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// After so long a sleeper looks again, whatever the kernel tells it.
///
/// A Unix socket calls itself writable only when three quarters of its room are free, but a record
/// fits earlier; and a UDP socket hears of a dead peer only if it asks.
pub(crate) const SLICE: Duration = Duration::from_millis(100);

/// The earlier of the two.
pub(crate) fn earlier(until: Option<Instant>, other: Instant) -> Option<Instant> {
    Some(until.map_or(other, |until| until.min(other)))
}

/// Whether it has passed.
pub(crate) fn passed(until: Option<Instant>) -> bool {
    until.is_some_and(|until| Instant::now() >= until)
}

/// Sleeps until this shows what it is asked for, or an error or its end, and returns true; or until
/// the moment, and returns false.
pub(crate) fn sleep(
    fd: BorrowedFd<'_>,
    events: PollFlags,
    until: Option<Instant>,
) -> Result<bool, Fault> {
    wait(&mut [PollFd::new(fd, events)], until)
}

/// The same for either of two.
pub(crate) fn sleep_on_two(
    one: (BorrowedFd<'_>, PollFlags),
    other: (BorrowedFd<'_>, PollFlags),
    until: Option<Instant>,
) -> Result<bool, Fault> {
    wait(
        &mut [one, other].map(|(fd, events)| PollFd::new(fd, events)),
        until,
    )
}
