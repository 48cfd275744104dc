//! Records over a stream of bytes, in the frames of [`annulus_fd::frame`]: a record that met its
//! deadline in the middle is given up, or taken up again, so it was not sent, wherever the stream stood.
//!
//! Nothing but a goodbye ever travels from the receiver to the sender: a frame's head of all ones.

use crate::limits;
use crate::wait::{self, SLICE};
use crate::way::{Incoming, Outgoing, Patience, Stop, is_end};
use annulus_fd::frame::{Decoder, Encoder, Next};
use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{MsgFlags, Shutdown, recv, sendmsg, shutdown};
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// The longest part of a record in one frame. A Unix socket takes one whole or not at all.
pub(crate) const FRAGMENT: usize = 32 << 10;
/// The receiver's goodbye.
const GOODBYE: [u8; 4] = [0xff; 4];
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

/// What the sending end writes to.
struct Wire {
    bytes: Box<dyn Bytes>,
    /// The last attempt met no room: look before trying again, so as not to cut frame after frame.
    tight: bool,
    /// What has come of the receiver's goodbye.
    word: Vec<u8>,
}

impl Wire {
    /// Writes what there is room for, which may be nothing.
    fn write(&mut self, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
        if self.tight || self.bytes.asks_first() {
            if !wait::sleep(self.bytes.fd(), PollFlags::POLLOUT, Some(Instant::now()))
                .unwrap_or(true)
            {
                return Ok(0);
            }
            self.tight = false;
        }
        match self.bytes.write(parts) {
            Err(Errno::EAGAIN) => {
                self.tight = true;
                Ok(0)
            }
            result => result,
        }
    }

    /// What is known of the receiver: nothing while it is there; its goodbye, or that it went without one.
    fn news(&mut self, mut gone: bool) -> Option<Stop> {
        let mut word = [0; 16];
        while self.word.len() <= GOODBYE.len() {
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
        if self.word == GOODBYE {
            return Some(Stop::Closed);
        }
        gone.then_some(Stop::Dead)
    }

    /// The end, if this error or the lack of room means it.
    fn stop(&mut self, written: Result<bool, Errno>) -> Result<(), Stop> {
        match written {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.news(false).unwrap_or(Stop::NotNow)),
            Err(errno) if is_end(errno) => Err(self.news(true).unwrap_or(Stop::Dead)),
            Err(errno) => Err(Stop::os("sendmsg", errno)),
        }
    }
}

/// The sending end.
pub(crate) struct Out {
    wire: Wire,
    encoder: Encoder,
}

impl Out {
    pub(crate) fn new(bytes: Box<dyn Bytes>) -> Self {
        let wire = Wire {
            bytes,
            tight: false,
            word: Vec::new(),
        };
        let encoder = Encoder::new(FRAGMENT);
        Self { wire, encoder }
    }

    /// Whether the goodbye is written.
    fn say_goodbye(&mut self) -> Result<bool, Errno> {
        self.wire.tight = false;
        self.encoder.goodbye(|parts| self.wire.write(parts))
    }
}

impl Outgoing for Out {
    fn send(&mut self, record: &[u8], patience: Patience) -> Result<(), Stop> {
        let wire = &mut self.wire;
        let mut push = self.encoder.push(record);
        loop {
            let written = push.write(|parts| wire.write(parts));
            match wire.stop(written) {
                Err(Stop::NotNow) if !patience.is_over() => {
                    let until = patience.slice(SLICE);
                    wait::sleep(
                        wire.bytes.fd(),
                        PollFlags::POLLOUT | PollFlags::POLLIN,
                        until,
                    )?;
                }
                result => return result,
            }
        }
    }

    fn goodbye(&mut self) {
        let until = Instant::now() + LAST_WORD;
        let mut said = self.say_goodbye();
        if said == Ok(false) {
            limits::make_room(self.wire.bytes.fd());
            said = self.say_goodbye();
        }
        while said == Ok(false) && Instant::now() < until {
            if wait::sleep(self.wire.bytes.fd(), PollFlags::POLLOUT, Some(until)).is_err() {
                return;
            }
            said = self.say_goodbye();
        }
        self.wire.bytes.finish();
    }
}

/// The receiving end.
pub(crate) struct In {
    bytes: Box<dyn Bytes>,
    decoder: Decoder,
}

impl In {
    /// Of records of at most `max` bytes.
    pub(crate) fn new(bytes: Box<dyn Bytes>, max: usize) -> Self {
        let decoder = Decoder::new(max, FRAGMENT);
        Self { bytes, decoder }
    }
}

impl Incoming for In {
    fn attempt(&mut self, buffer: &mut Vec<u8>) -> Result<(), Stop> {
        loop {
            match self.decoder.next(buffer)? {
                Next::Record => return Ok(()),
                Next::Goodbye => return Err(Stop::Closed),
                Next::More => {}
            }
            match self.decoder.fill(|into| self.bytes.read(into)) {
                Ok(0) => return Err(Stop::Dead),
                Ok(_) => {}
                Err(Errno::EAGAIN) => return Err(Stop::NotNow),
                Err(errno) if is_end(errno) => return Err(Stop::Dead),
                Err(errno) => return Err(Stop::os("recv", errno)),
            }
        }
    }

    fn sleep(&mut self, until: Option<Instant>) -> Result<(), Stop> {
        wait::sleep(self.bytes.fd(), PollFlags::POLLIN, until)?;
        Ok(())
    }

    fn goodbye(&mut self) {
        // There is room: nothing else ever goes this way. If the peer has gone, it needs no telling.
        let _ = self.bytes.write(&[IoSlice::new(&GOODBYE)]);
        self.bytes.finish();
    }
}
