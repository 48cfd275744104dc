//! A sending end of a FIFO.

use super::node::Location;
use super::{CAPABILITIES, FRAGMENT, PATIENCE, SENDERS, has_receiver, has_senders};
use crate::MAX_RECORD;
use crate::mark::{self, RECEIVED, SENDING, SENT};
use crate::outcome::{Gone, Stop, Until};
use crate::stream::Outlet;
use annulus_channel::{
    Capabilities, Fault, OpenError, OpenReason, SendError, SendTimeoutError, Sender, TrySendError,
};
use annulus_fd::frame::Encoder;
use annulus_fd::lock::{Door, try_lock, unlock};
use annulus_fd::names::ticket;
use annulus_fd::wait::pause;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often it is looked for a receiver.
const STEP: Duration = Duration::from_millis(2);

pub(crate) fn open(path: &Path, patience: Duration) -> Result<FifoSender, OpenError> {
    let location = Location::new(path)?;
    let deadline = Instant::now().checked_add(patience);
    loop {
        location.check()?;
        match location.open(OFlag::O_WRONLY) {
            Ok(fd) => {
                location.check_fd(&fd)?;
                if let Some(tag) = enter(&fd).map_err(|(call, errno)| location.os(call, errno))? {
                    let fd = Writer {
                        fifo: fd,
                        tag,
                        location,
                        pid: std::process::id(),
                    };
                    let encoder = Encoder::tagged(FRAGMENT, tag);
                    return Ok(FifoSender {
                        outlet: Outlet::new(fd, encoder),
                    });
                }
            }
            // Nothing is there, or nobody reads there.
            Err(Errno::ENOENT | Errno::ENXIO) => {}
            Err(errno) => return Err(location.os("open", errno)),
        }
        if !pause(deadline, STEP) {
            let nobody = if patience.is_zero() {
                OpenReason::NotFound
            } else {
                OpenReason::TimedOut
            };
            return Err(OpenError::new(&location.name, nobody));
        }
    }
}

/// Enters a FIFO: the tag, or nothing if its receiver has gone, or somebody is stopped in the door.
fn enter(fifo: &OwnedFd) -> Result<Option<u32>, (&'static str, Errno)> {
    let lock = |errno| ("fcntl(F_OFD_SETLK)", errno);
    let Some(_door) = Door::alone(fifo, PATIENCE).map_err(lock)? else {
        return Ok(None);
    };
    let mark = mark::get(fifo).map_err(|errno| ("fstat", errno))?;
    // Not whether anybody reads: that may be somebody who looks whether the receiver lives.
    if mark & RECEIVED != 0 || !has_receiver(fifo).map_err(|errno| ("fcntl(F_OFD_GETLK)", errno))? {
        return Ok(None);
    }
    let tag = loop {
        let tag = ticket();
        if try_lock(fifo, SENDERS + tag, 1).map_err(lock)? {
            break tag as u32;
        }
    };
    match mark::change(fifo, SENDING, SENT) {
        // The FIFO is another user's, who judges us by what we write.
        Ok(()) | Err(Errno::EPERM) => Ok(Some(tag)),
        Err(errno) => Err(("fchmod", errno)),
    }
}

/// The descriptor, with a lock on the byte of its tag. Dropped by the process that it belongs to, it leaves its mark.
#[derive(Debug)]
struct Writer {
    fifo: OwnedFd,
    tag: u32,
    location: Location,
    pid: u32,
}

impl AsFd for Writer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fifo.as_fd()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.pid != std::process::id() {
            return;
        }
        // If somebody is stopped in the door, it is not known who is the last: then nobody has closed.
        let Ok(Some(_door)) = Door::alone(&self.fifo, PATIENCE) else {
            return;
        };
        let _ = unlock(&self.fifo, SENDERS + u64::from(self.tag), 1);
        if has_senders(&self.fifo) {
            return;
        }
        // Who may not mark it seems to have been killed.
        let _ = mark::change(&self.fifo, SENT, SENDING);
        if has_receiver(&self.fifo) == Ok(false) {
            self.location.unlink(&self.fifo);
        }
    }
}

/// A sending end of a FIFO.
///
/// Dropped, it closes. When the last one has closed, the receiver gets everything, then `Disconnected`.
///
/// In a child that was forked with it, every call fails with [`Fault::ForkedHandle`], and dropping it means nothing.
#[derive(Debug)]
pub struct FifoSender {
    outlet: Outlet<Writer>,
}

impl FifoSender {
    /// Where the FIFO lies, or lay.
    pub fn path(&self) -> PathBuf {
        self.outlet.fd.location.path()
    }

    /// Leaves as the dead do: without a mark. For tests of what others make of it.
    pub fn die(mut self) {
        // It is no process's.
        self.outlet.fd.pid = 0;
    }

    fn push(&mut self, record: &[u8], until: Until) -> Result<(), Stop> {
        if self.outlet.fd.pid != std::process::id() {
            return Err(Stop::Fault(Fault::ForkedHandle));
        }
        self.outlet.send(record, until, |writer| {
            // A receiver that closed was the owner of the mark; nobody takes it off.
            match mark::get(writer) {
                Ok(mark) if mark & RECEIVED != 0 => Gone::Closed,
                _ => Gone::Killed,
            }
        })
    }
}

impl AsFd for FifoSender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.outlet.fd.as_fd()
    }
}

impl Sender for FifoSender {
    fn try_send(&mut self, record: &[u8]) -> Result<(), TrySendError> {
        self.push(record, Until::Now).map_err(Stop::try_send)
    }

    fn send(&mut self, record: &[u8]) -> Result<(), SendError> {
        self.push(record, Until::Ever).map_err(Stop::send)
    }

    fn send_deadline(&mut self, record: &[u8], deadline: Instant) -> Result<(), SendTimeoutError> {
        self.push(record, Until::Deadline(deadline))
            .map_err(Stop::send_deadline)
    }

    fn max_record(&self) -> usize {
        MAX_RECORD
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }
}

#[cfg(test)]
mod tests {
    use super::{Location, enter};
    use crate::FifoOptions;
    use nix::fcntl::OFlag;

    #[test]
    fn nobody_enters_when_the_receiver_has_gone() {
        let _alone = crate::alone();
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("fifo");
        for closed in [false, true] {
            let receiver = FifoOptions::new().receiver(&path).unwrap();
            let late = Location::new(&path).unwrap().open(OFlag::O_WRONLY).unwrap();
            match closed {
                true => drop(receiver),
                false => receiver.die(),
            }
            assert_eq!(enter(&late), Ok(None), "closed: {closed}");
        }
    }
}
