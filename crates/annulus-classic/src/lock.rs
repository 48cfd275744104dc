//! Locks on bytes of a file that the kernel drops when their holder dies, whatever killed it, and not before its last
//! store (`F_OFD_SETLK`). They lie far beyond the file's end.

use crate::fork::OwnFile;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use std::fs::File;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// Held by whoever comes or goes, for a moment.
const GATE: i64 = 1 << 60;
/// The locks of the seats.
const SEATS: i64 = 1 << 61;

/// A description of the file through which one handle locks.
pub(crate) struct Lock {
    own: OwnFile,
}

impl Lock {
    pub(crate) fn open(file: &File) -> io::Result<Self> {
        OwnFile::of(file).map(|own| Self { own })
    }

    fn set(&self, kind: i32, at: i64) -> Result<(), Errno> {
        let region = region(kind, at);
        fcntl(self.own.file(), FcntlArg::F_OFD_SETLK(&region)).map(drop)
    }

    fn take(&self, at: i64) -> Result<bool, Errno> {
        match self.set(libc::F_WRLCK, at) {
            Ok(()) => Ok(true),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Takes a seat's lock, unless another handle has it.
    pub(crate) fn take_seat(&self, seat: usize) -> Result<bool, Errno> {
        self.take(SEATS + seat as i64)
    }

    /// Whether another handle has the seat's lock. If the kernel cannot be asked, it has.
    pub(crate) fn is_taken(&self, seat: usize) -> bool {
        let mut region = region(libc::F_WRLCK, SEATS + seat as i64);
        let asked = fcntl(self.own.file(), FcntlArg::F_OFD_GETLK(&mut region));
        asked.is_err() || region.l_type != libc::F_UNLCK as libc::c_short
    }

    /// Waits for the gate; nothing if its holder, who may be stopped, keeps it for so long.
    pub(crate) fn gate(&self, patience: Duration) -> Result<Option<Gate<'_>>, Errno> {
        let since = Instant::now();
        loop {
            if self.take(GATE)? {
                return Ok(Some(Gate { lock: self }));
            }
            if since.elapsed() >= patience {
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The gate is ours: nobody comes or goes.
pub(crate) struct Gate<'l> {
    lock: &'l Lock,
}

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        // It cannot fail; if it did, the gate would open when the description is closed.
        let _ = self.lock.set(libc::F_UNLCK, GATE);
    }
}

fn region(kind: i32, at: i64) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: at,
        l_len: 1,
        l_pid: 0,
    }
}
