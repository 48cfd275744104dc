//! Open-file-description locks on a queue's companion: who lives, and whose turn it is.
//!
//! Each handle has a *ticket* and an exclusive lock on byte [`TICKETS`]` + ticket`, through an open file
//! description of its own. The kernel drops the lock with the last descriptor, so when the process dies, whatever
//! killed it. Nobody else ever locks that byte: a ticket whose byte is not locked is a dead one's.
//!
//! Whoever creates, opens, attaches or removes has the *turn*: a lock on one byte, held for microseconds.

use crate::fork::Lock;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use std::fs::File;
use std::io;

/// Where the tickets' bytes begin: far beyond the file.
const TICKETS: i64 = 1 << 61;

/// The byte of the turn.
const TURN: i64 = 1 << 60;

fn byte(kind: i32, at: i64) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: at,
        l_len: 1,
        l_pid: 0,
    }
}

/// Locks the ticket's byte, through a new open file description of `companion`.
pub(crate) fn take(companion: &File, ticket: u64) -> io::Result<Lock> {
    let own = Lock::open(companion)?;
    let lock = byte(libc::F_WRLCK, TICKETS + ticket as i64);
    fcntl(&*own, FcntlArg::F_OFD_SETLK(&lock))?;
    Ok(own)
}

/// Whether somebody living holds the ticket. If the kernel cannot be asked, somebody does.
pub(crate) fn is_held(companion: &File, ticket: u64) -> bool {
    let mut lock = byte(libc::F_WRLCK, TICKETS + ticket as i64);
    let asked = fcntl(companion, FcntlArg::F_OFD_GETLK(&mut lock));
    asked.is_err() || lock.l_type != libc::F_UNLCK as libc::c_short
}

/// The right to create, open, attach or remove: one process's at a time, given back by its death.
pub(crate) struct Turn {
    _lock: Lock,
}

impl Turn {
    /// Waits for the turn.
    pub(crate) fn take(companion: &File) -> io::Result<Self> {
        let own = Lock::open(companion)?;
        let lock = byte(libc::F_WRLCK, TURN);
        loop {
            match fcntl(&*own, FcntlArg::F_OFD_SETLKW(&lock)) {
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
                Ok(_) => return Ok(Self { _lock: own }),
            }
        }
    }
}
