//! Records over a stream of bytes.
//!
//! A record travels as chunks of at most [`CHUNK`] bytes:
//!
//! ```text
//! length (4 bytes, little-endian) | that many bytes of the record | fate (1 byte)
//! ```
//!
//! The fate comes last because only then it is known. `MORE`: the record goes on in the next chunk.
//! `END`: it is whole. `VOID`: the sender ran out of time in the middle; what came of the record is
//! dropped. So a send whose deadline passes has sent nothing, wherever the stream stood. It owes the
//! stream the rest of the chunk (no more than that), and pays with the next call. The length
//! [`GOODBYE`] alone says that the peer has closed; a stream that ends without it was torn off.
//!
//! Nothing but a goodbye ever travels from the receiver to the sender.

use crate::handle::{Incoming, Outgoing, Stop, is_end};
use crate::limits;
use crate::wait::{self, SLICE};
use annulus_channel::Fault;
use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{MsgFlags, Shutdown, recv, sendmsg, shutdown};
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// The longest chunk. A Unix socket takes one whole or not at all.
pub(crate) const CHUNK: usize = 32 << 10;
/// In a length's place: the peer has closed.
const GOODBYE: u32 = u32::MAX;
const LENGTH: usize = 4;
const MORE: u8 = 1;
const END: u8 = 2;
const VOID: u8 = 3;
/// Bytes around a chunk.
const AROUND: usize = LENGTH + 1;
/// How much is read at once.
const READ: usize = 64 << 10;
/// How long a goodbye waits for room that cannot be made.
const LAST_WORD: Duration = Duration::from_secs(1);

/// A stream that never waits: `EAGAIN` where it would have to.
pub(crate) trait Bytes: Send {
    /// Writes what there is room for.
    fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, Errno>;
    /// Reads what is there; 0 at the end.
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Errno>;
    /// Says that nothing more will be written.
    fn finish(&mut self);
    /// Its socket.
    fn fd(&self) -> BorrowedFd<'_>;
    /// Whether a write is worth trying only when the socket says so.
    fn asks_first(&self) -> bool {
        false
    }
}

/// A socket as it is.
pub(crate) struct Plain(pub(crate) OwnedFd);

impl Bytes for Plain {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        wait::uninterrupted(|| sendmsg::<()>(self.0.as_raw_fd(), slices, &[], flags, None))
    }

    fn read(&mut self, into: &mut [u8]) -> Result<usize, Errno> {
        wait::uninterrupted(|| recv(self.0.as_raw_fd(), into, MsgFlags::MSG_DONTWAIT))
    }

    fn finish(&mut self) {
        // It fails where the peer has gone, who then needs no telling.
        let _ = shutdown(self.0.as_raw_fd(), Shutdown::Write);
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The sending end.
pub(crate) struct Out {
    bytes: Box<dyn Bytes>,
    /// What of the record under way has gone in whole chunks.
    gone: usize,
    /// The length of the chunk under way, and what of its frame has gone.
    chunk: usize,
    begun: usize,
    /// The rest of an abandoned chunk, with its fate, and what of that has gone.
    owed: Vec<u8>,
    paid: usize,
    /// The last attempt met no room: look before trying again, so as not to void chunk after chunk.
    tight: bool,
    /// What has come of the receiver's goodbye.
    word: Vec<u8>,
}

impl Out {
    pub(crate) fn new(bytes: Box<dyn Bytes>) -> Self {
        Self {
            bytes,
            gone: 0,
            chunk: 0,
            begun: 0,
            owed: Vec::new(),
            paid: 0,
            tight: false,
            word: Vec::new(),
        }
    }

    /// Writes out what an abandoned record left.
    fn pay(&mut self) -> Result<(), Errno> {
        while self.paid < self.owed.len() {
            self.paid += self
                .bytes
                .write(&[IoSlice::new(&self.owed[self.paid..])])?;
        }
        self.owed.clear();
        self.paid = 0;
        Ok(())
    }

    fn write(&mut self, record: &[u8]) -> Result<(), Errno> {
        self.pay()?;
        if self.tight || self.bytes.asks_first() {
            if !wait::ready(self.bytes.fd(), PollFlags::POLLOUT) {
                return Err(Errno::EAGAIN);
            }
            self.tight = false;
        }
        loop {
            let len = (record.len() - self.gone).min(CHUNK);
            let last = self.gone + len == record.len();
            let head = (len as u32).to_le_bytes();
            let chunk = &record[self.gone..self.gone + len];
            let fate = [if last { END } else { MORE }];
            let mut slices = [
                IoSlice::new(&head),
                IoSlice::new(chunk),
                IoSlice::new(&fate),
            ];
            let mut rest = &mut slices[..];
            IoSlice::advance_slices(&mut rest, self.begun);
            self.chunk = len;
            self.begun += self.bytes.write(rest)?;
            if self.begun == len + AROUND {
                self.begun = 0;
                self.gone = if last { 0 } else { self.gone + len };
                if last {
                    return Ok(());
                }
            }
        }
    }

    /// What is known of the receiver: nothing while it is there; its goodbye, or that it went without one.
    fn news(&mut self, mut gone: bool) -> Option<Stop> {
        let mut word = [0; 16];
        while self.word.len() <= LENGTH {
            match self.bytes.read(&mut word) {
                Ok(0) => gone = true,
                Ok(count) => {
                    self.word.extend_from_slice(&word[..count]);
                    continue;
                }
                Err(Errno::EAGAIN) => {}
                // The error of a socket is told once, and may stand before what there is to read.
                Err(errno) if is_end(errno) && !gone => {
                    gone = true;
                    continue;
                }
                Err(_) => gone = true,
            }
            break;
        }
        if self.word == GOODBYE.to_le_bytes() {
            return Some(Stop::Closed);
        }
        gone.then_some(Stop::Dead)
    }
}

impl Outgoing for Out {
    fn attempt(&mut self, record: &[u8]) -> Result<(), Stop> {
        match self.write(record) {
            Ok(()) => Ok(()),
            Err(Errno::EAGAIN) => {
                self.tight = true;
                Err(self.news(false).unwrap_or(Stop::NotNow))
            }
            Err(errno) if is_end(errno) => Err(self.news(true).unwrap_or(Stop::Dead)),
            Err(errno) => Err(Stop::os("sendmsg", errno)),
        }
    }

    fn abandon(&mut self) {
        if self.begun > 0 {
            self.owed.extend_from_slice(&(self.chunk as u32).to_le_bytes());
            self.owed.resize(LENGTH + self.chunk, 0);
            self.owed.push(VOID);
        } else if self.gone > 0 {
            self.owed.extend_from_slice(&[0, 0, 0, 0, VOID]);
        }
        self.paid += std::mem::take(&mut self.begun);
        self.gone = 0;
    }

    fn sleep(&mut self, until: Option<Instant>) -> Result<(), Stop> {
        let until = wait::earlier(until, Instant::now() + SLICE);
        let events = PollFlags::POLLOUT | PollFlags::POLLIN;
        wait::sleep(&[(self.bytes.fd(), events)], until).map_err(|e| Stop::os("poll", e))
    }

    fn goodbye(&mut self) {
        let until = Instant::now() + LAST_WORD;
        self.owed.extend_from_slice(&GOODBYE.to_le_bytes());
        let mut said = self.pay();
        if said == Err(Errno::EAGAIN) {
            limits::make_room(self.bytes.fd());
            said = self.pay();
        }
        while said == Err(Errno::EAGAIN) && Instant::now() < until {
            let fds = [(self.bytes.fd(), PollFlags::POLLOUT)];
            if wait::sleep(&fds, Some(until)).is_err() {
                return;
            }
            said = self.pay();
        }
        self.bytes.finish();
    }
}

/// The receiving end.
pub(crate) struct In {
    bytes: Box<dyn Bytes>,
    /// The longest record.
    max: usize,
    /// What was read, of which `from..to` was not looked at yet.
    read: Vec<u8>,
    from: usize,
    to: usize,
    /// What came of a record.
    part: Vec<u8>,
    /// What of the chunk under way is to come, after its length has; and then its fate.
    left: Option<usize>,
}

impl In {
    pub(crate) fn new(bytes: Box<dyn Bytes>, max: usize) -> Self {
        Self {
            bytes,
            max,
            read: vec![0; READ],
            from: 0,
            to: 0,
            part: Vec::new(),
            left: None,
        }
    }

    /// Looks through what was read. `NotNow` where it ends.
    fn parse(&mut self, buffer: &mut Vec<u8>) -> Result<(), Stop> {
        loop {
            let there = &self.read[self.from..self.to];
            let Some(left) = self.left else {
                let Some((head, _)) = there.split_first_chunk::<LENGTH>() else {
                    return Err(Stop::NotNow);
                };
                let len = u32::from_le_bytes(*head);
                if len == GOODBYE {
                    return Err(Stop::Closed);
                }
                let len = len as usize;
                if len > CHUNK {
                    return Err(corrupt("length of a chunk", len, CHUNK));
                }
                if self.part.len() + len > self.max {
                    return Err(corrupt("record length", self.part.len() + len, self.max));
                }
                self.from += LENGTH;
                self.left = Some(len);
                continue;
            };
            let now = left.min(there.len());
            self.part.extend_from_slice(&there[..now]);
            let fate = there.get(now).copied();
            self.from += now;
            self.left = Some(left - now);
            let Some(fate) = fate else {
                return Err(Stop::NotNow);
            };
            self.from += 1;
            self.left = None;
            match fate {
                MORE => {}
                END => {
                    std::mem::swap(buffer, &mut self.part);
                    return Ok(());
                }
                VOID => self.part.clear(),
                other => return Err(corrupt("fate of a chunk", other.into(), VOID.into())),
            }
        }
    }
}

fn corrupt(what: &'static str, found: usize, expected: usize) -> Stop {
    Stop::Fault(Fault::Corrupt {
        what,
        found: found as u64,
        expected: expected as u64,
    })
}

impl Incoming for In {
    fn attempt(&mut self, buffer: &mut Vec<u8>) -> Result<(), Stop> {
        loop {
            match self.parse(buffer) {
                Err(Stop::NotNow) => {}
                result => return result,
            }
            self.read.copy_within(self.from..self.to, 0);
            self.to -= self.from;
            self.from = 0;
            match self.bytes.read(&mut self.read[self.to..]) {
                Ok(0) => return Err(Stop::Dead),
                Ok(count) => self.to += count,
                Err(Errno::EAGAIN) => return Err(Stop::NotNow),
                Err(errno) if is_end(errno) => return Err(Stop::Dead),
                Err(errno) => return Err(Stop::os("recv", errno)),
            }
        }
    }

    fn sleep(&mut self, until: Option<Instant>) -> Result<(), Stop> {
        wait::sleep(&[(self.bytes.fd(), PollFlags::POLLIN)], until).map_err(|e| Stop::os("poll", e))
    }

    fn goodbye(&mut self) {
        // There is room: nothing else ever goes this way. If the peer has gone, it needs no telling.
        let _ = self.bytes.write(&[IoSlice::new(&GOODBYE.to_le_bytes())]);
        self.bytes.finish();
    }
}
