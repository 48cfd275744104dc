//! Locks on a queue's companion: who lives, and whose turn it is.
//!
//! Each handle has a *ticket* and an exclusive lock on byte [`TICKETS`]` + ticket`, through an open file
//! description of its own. Nobody else ever locks that byte: a ticket whose byte is not locked is a dead one's
//! (`annulus_fd::lock`).
//!
//! Whoever creates, opens, attaches or removes has the *turn*: he is behind the companion's door, for microseconds.

use crate::fork::Lock;
use crate::name::Name;
use annulus_channel::{OpenError, OpenReason};
use annulus_fd::lock::{Door, is_locked, try_lock, try_share};
use nix::errno::Errno;
use std::fs::File;
use std::io;
use std::time::Duration;

/// Where the tickets' bytes begin: far beyond the file, and where `annulus_fd::names` looks for the living.
const TICKETS: u64 = 1 << 61;

/// How long somebody who was stopped in his turn is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Locks the ticket's byte, through a new open file description of `companion`.
pub(crate) fn take(companion: &File, ticket: u64) -> io::Result<Lock> {
    let own = Lock::open(companion)?;
    match try_lock(&own, TICKETS + ticket, 1)? {
        true => Ok(own),
        false => Err(Errno::EAGAIN.into()),
    }
}

/// Notes that somebody has the queue open, together with others who do: a shared lock on the byte of ticket 0, which
/// no handle has.
pub(crate) fn note_open(companion: &File) -> io::Result<Lock> {
    let own = Lock::open(companion)?;
    match try_share(&own, TICKETS, 1)? {
        true => Ok(own),
        false => Err(Errno::EAGAIN.into()),
    }
}

/// Whether anybody living has the queue open.
pub(crate) fn is_open(companion: &File) -> bool {
    is_held(companion, 0)
}

/// Whether somebody living holds the ticket. If the kernel cannot be asked, somebody does.
pub(crate) fn is_held(companion: &File, ticket: u64) -> bool {
    is_locked(companion, TICKETS + ticket, 1).unwrap_or(true)
}

/// The right to create, open, attach or remove: one process's at a time, given back by its death.
pub(crate) struct Turn {
    _door: Door<Lock>,
}

impl Turn {
    /// Waits for the turn, for a second; whoever has it then was stopped.
    pub(crate) fn take(name: &Name, companion: &File) -> Result<Self, OpenError> {
        let own = Lock::open(companion);
        let own = own.map_err(|error| OpenError::os(name, "open /proc/self/fd", &error))?;
        match Door::alone(own, PATIENCE) {
            Ok(Some(door)) => Ok(Self { _door: door }),
            Ok(None) => Err(OpenError::new(name, OpenReason::TimedOut)),
            Err(errno) => Err(OpenError::os(name, "fcntl(F_OFD_SETLK)", &errno.into())),
        }
    }
}
