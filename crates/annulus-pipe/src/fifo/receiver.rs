//! The receiving end of a FIFO.

use super::node::{Location, Probe, probe};
use super::{CAPABILITIES, FRAGMENT, PATIENCE, SENDERS};
use crate::MAX_RECORD;
use crate::mark::{self, RECEIVED, SENDING, SENT};
use crate::outcome::{Gone, Stop, Until};
use crate::stream::{Inlet, Look, set_capacity};
use annulus_channel::{
    Capabilities, Fault, OpenError, OpenReason, Receiver, RecvError, RecvTimeoutError, TryRecvError,
};
use annulus_fd::frame::Decoder;
use annulus_fd::lock::{Door, is_locked};
use annulus_fd::wait::{Waited, pause, readable};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often a FIFO is looked at where the kernel wakes nobody: when somebody came and went who was no sender.
const STEP: Duration = Duration::from_millis(5);

/// How many senders are remembered before it is asked which of them are gone.
const CROWD: usize = 16;

pub(crate) fn open(
    path: &Path,
    mode: u32,
    capacity: Option<usize>,
) -> Result<FifoReceiver, OpenError> {
    let location = Location::new(path)?;
    location.remove_drafts();
    loop {
        match probe(&location)? {
            Probe::Free => {}
            Probe::Taken => {
                let (side, pid) = ("receiver", 0);
                let reason = OpenReason::Taken { side, pid };
                return Err(OpenError::new(&location.name, reason));
            }
            Probe::Dead(dead) => {
                if !location.bury(&dead)? {
                    return Err(OpenError::new(&location.name, OpenReason::TimedOut));
                }
            }
        }
        let made = location.make(mode, |fifo| match capacity {
            Some(bytes) => set_capacity(fifo, &location.name, bytes),
            None => Ok(()),
        })?;
        if let Some(fifo) = made {
            let fd = Reader {
                fifo,
                location,
                pid: std::process::id(),
            };
            return Ok(FifoReceiver {
                inlet: Inlet {
                    fd,
                    decoder: Decoder::tagged(MAX_RECORD, FRAGMENT),
                    heard: false,
                },
                end: None,
                crowd: CROWD,
                leaving: vec![],
            });
        }
    }
}

/// The descriptor, with the receiver's lock. Dropped by the process that it belongs to, it ends the channel.
#[derive(Debug)]
struct Reader {
    fifo: OwnedFd,
    location: Location,
    pid: u32,
}

impl AsFd for Reader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fifo.as_fd()
    }
}

impl Reader {
    /// Nobody enters any more. Behind the door; once is enough, and twice does no harm.
    fn finish(&self) {
        // Who may not mark it seems to have been killed.
        let _ = mark::change(&self.fifo, RECEIVED, 0);
        self.location.unlink(&self.fifo);
    }

    /// How the last sender went, if there is none: then this was the end.
    ///
    /// `heard`: whether anybody has ever written.
    fn judge(&self, heard: bool) -> Option<Gone> {
        let door = Door::shared(&self.fifo, PATIENCE).ok()??;
        // Behind the door nobody enters or closes, and whoever is about to has the FIFO open.
        let hung_up = readable(&self.fifo, Some(Instant::now())) == Ok(Waited::HungUp);
        let mark = mark::get(&self.fifo).ok()?;
        let gone = match mark {
            _ if !hung_up => return None,
            mark if mark & SENDING != 0 => Gone::Killed,
            mark if mark & SENT != 0 => Gone::Closed,
            // It could leave no mark, being another user.
            _ if heard => Gone::Killed,
            // Somebody came and went who was no sender, or not yet.
            _ => return None,
        };
        self.finish();
        drop(door);
        Some(gone)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if self.pid == std::process::id() {
            let door = Door::shared(&self.fifo, PATIENCE);
            self.finish();
            drop(door);
        }
    }
}

/// The receiving end of a FIFO, and its owner.
///
/// Dropped, it closes: senders are told `Disconnected`, and the path is free again. What was not received is gone.
///
/// In a child that was forked with it, every call fails with [`Fault::ForkedHandle`], and dropping it means nothing.
#[derive(Debug)]
pub struct FifoReceiver {
    inlet: Inlet<Reader>,
    /// The end of the channel, once it is known.
    end: Option<Stop>,
    /// How many senders are remembered before it is asked which of them are gone.
    crowd: usize,
    /// Senders that were gone when it was asked last.
    leaving: Vec<u32>,
}

impl FifoReceiver {
    /// Where the FIFO lies, or lay.
    pub fn path(&self) -> PathBuf {
        self.inlet.fd.location.path()
    }

    /// Leaves as the dead do: without a mark, and with the FIFO at its path. For tests of what others make of it.
    pub fn die(mut self) {
        // It is no process's.
        self.inlet.fd.pid = 0;
    }

    fn take(&mut self, record: &mut Vec<u8>, until: Until) -> Result<usize, Stop> {
        record.clear();
        if self.inlet.fd.pid != std::process::id() {
            return Err(Stop::Fault(Fault::ForkedHandle));
        }
        if let Some(end) = self.end {
            return Err(end);
        }
        let end = loop {
            match self.inlet.look(record) {
                Ok(Look::Record) => return Ok(record.len()),
                Ok(Look::Empty) => {
                    self.forget_the_gone();
                    self.inlet.wait(until)?;
                }
                Ok(Look::Nobody) => match self.inlet.fd.judge(self.inlet.heard) {
                    Some(gone) => break Stop::Gone(gone),
                    None => self.wait_for_somebody(until)?,
                },
                Err(fault) => break Stop::Fault(fault),
            }
        };
        self.end = Some(end);
        Err(end)
    }

    /// Waits while nobody has the FIFO open.
    fn wait_for_somebody(&self, until: Until) -> Result<(), Stop> {
        let now = Some(Instant::now());
        match readable(&self.inlet.fd, now)? {
            // The kernel says so for ever after somebody was there, and wakes nobody.
            Waited::HungUp => match pause(until.deadline().ok_or(Stop::NotNow)?, STEP) {
                true => Ok(()),
                false => Err(Stop::NotNow),
            },
            _ => self.inlet.wait(until),
        }
    }

    /// Forgets senders that are gone, when there are many. Nothing is left to read.
    fn forget_the_gone(&mut self) {
        let decoder = &mut self.inlet.decoder;
        if decoder.sources().count() <= self.crowd {
            return;
        }
        let fifo = &self.inlet.fd.fifo;
        let is_gone = |&source: &u32| is_locked(fifo, SENDERS + u64::from(source), 1) == Ok(false);
        // Who was gone the last time has left nothing unread.
        let leaving = std::mem::take(&mut self.leaving);
        decoder.retain(|source| !(leaving.contains(&source) && is_gone(&source)));
        self.leaving = decoder.sources().filter(is_gone).collect();
        if self.leaving.is_empty() {
            self.crowd = CROWD.max(2 * decoder.sources().count());
        }
    }
}

impl AsFd for FifoReceiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inlet.fd.as_fd()
    }
}

impl Receiver for FifoReceiver {
    fn try_recv(&mut self, buffer: &mut Vec<u8>) -> Result<usize, TryRecvError> {
        self.take(buffer, Until::Now).map_err(Stop::try_recv)
    }

    fn recv(&mut self, buffer: &mut Vec<u8>) -> Result<usize, RecvError> {
        self.take(buffer, Until::Ever).map_err(Stop::recv)
    }

    fn recv_deadline(
        &mut self,
        buffer: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<usize, RecvTimeoutError> {
        self.take(buffer, Until::Deadline(deadline))
            .map_err(Stop::recv_deadline)
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }
}
