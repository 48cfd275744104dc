//! Records as messages of a Unix socket, one each: `SOCK_SEQPACKET` and `SOCK_DGRAM`.
//!
//! The kernel keeps them whole, in order, and loses none. Before each record stands one byte, so that
//! the empty record is a message of its own and an end of file is not one.
//!
//! A sequence of packets ends by itself. A datagram socket does not say that its peer has gone; so there is
//! a *line* beside it, a stream socket on which nothing is sent but a goodbye, and whose end is the
//! peer's. What was sent before is looked for once more after the line has ended.

use crate::limits;
use crate::wait::{self, SLICE};
use crate::way::{Incoming, Outgoing, Patience, Stop, is_end};
use annulus_channel::Fault;
use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{MsgFlags, recv, send, sendmsg};
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

const RECORD: u8 = 1;
const GOODBYE: u8 = 2;
/// What the kernel keeps back of the room for sending, and our byte.
const OVERHEAD: usize = 32 + 1;
/// How long a goodbye waits for room that cannot be made.
const LAST_WORD: Duration = Duration::from_secs(1);

/// The longest record that fits into so much room for sending.
pub(crate) fn longest(room: usize) -> usize {
    room.saturating_sub(OVERHEAD)
}

/// The room for sending that records of this length need.
pub(crate) fn room_for(record: usize) -> usize {
    record.saturating_add(OVERHEAD)
}

/// A connected socket of messages.
pub(crate) struct Packets {
    socket: OwnedFd,
    /// Beside a datagram socket.
    line: Option<OwnedFd>,
    longest: usize,
    /// One byte and a record.
    message: Vec<u8>,
    /// How the peer has parted, once the line has said it.
    parted: Option<Stop>,
}

impl Packets {
    pub(crate) fn new(socket: OwnedFd, line: Option<OwnedFd>, longest: usize) -> Self {
        Self {
            socket,
            line,
            longest,
            message: Vec::new(),
            parted: None,
        }
    }

    fn send(&self, kind: u8, record: &[u8]) -> Result<(), Errno> {
        let kind = [kind];
        let slices = [IoSlice::new(&kind), IoSlice::new(record)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let fd = self.socket.as_raw_fd();
        wait::uninterrupted(|| sendmsg::<()>(fd, &slices, &[], flags, None)).map(drop)
    }

    /// The line, or the socket itself: where a sender hears of its receiver.
    fn line(&self) -> &OwnedFd {
        self.line.as_ref().unwrap_or(&self.socket)
    }

    /// What is known of the peer by the line: nothing while it is there; its goodbye, or that it went without one.
    fn news(&self, mut gone: bool) -> Option<Stop> {
        let mut word = [0; 4];
        let fd = self.line().as_raw_fd();
        loop {
            match wait::uninterrupted(|| recv(fd, &mut word, MsgFlags::MSG_DONTWAIT)) {
                Ok(1) if word[0] == GOODBYE => return Some(Stop::Closed),
                Err(Errno::EAGAIN) => return gone.then_some(Stop::Dead),
                // The error of a socket is told once, and may stand before what there is to read.
                Err(errno) if is_end(errno) && !gone => gone = true,
                _ => return Some(Stop::Dead),
            }
        }
    }

    fn say_goodbye(&self) {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        if let Some(line) = &self.line {
            // There is room: nothing else ever goes this way.
            let _ = wait::uninterrupted(|| send(line.as_raw_fd(), &[GOODBYE], flags));
            return;
        }
        if self.send(GOODBYE, &[]) != Err(Errno::EAGAIN) {
            return;
        }
        limits::make_room(self.socket.as_fd());
        let until = Instant::now() + LAST_WORD;
        while self.send(GOODBYE, &[]) == Err(Errno::EAGAIN) && Instant::now() < until {
            let slice = wait::earlier(Some(until), Instant::now() + SLICE);
            if wait::sleep(self.socket.as_fd(), PollFlags::POLLOUT, slice).is_err() {
                return;
            }
        }
    }

    fn sleep(&self, events: PollFlags, until: Option<Instant>) -> Result<(), Stop> {
        let one = (self.socket.as_fd(), events);
        match &self.line {
            None => wait::sleep(one.0, one.1, until)?,
            Some(line) => wait::sleep_on_two(one, (line.as_fd(), PollFlags::POLLIN), until)?,
        };
        Ok(())
    }
}

/// The sending end.
pub(crate) struct Out(pub(crate) Packets);

impl Outgoing for Out {
    fn send(&mut self, record: &[u8], patience: Patience) -> Result<(), Stop> {
        loop {
            match self.0.send(RECORD, record) {
                Ok(()) => return Ok(()),
                Err(Errno::EAGAIN) => {}
                Err(errno) if is_end(errno) => {
                    return Err(self.0.news(true).unwrap_or(Stop::Dead));
                }
                Err(errno) => return Err(Stop::os("sendmsg", errno)),
            }
            if let Some(end) = self.0.news(false) {
                return Err(end);
            }
            if patience.is_over() {
                return Err(Stop::NotNow);
            }
            // The socket's own arrivals matter where it is its own line.
            let events = PollFlags::POLLOUT | PollFlags::POLLIN;
            self.0.sleep(events, patience.slice(SLICE))?;
        }
    }

    fn goodbye(&mut self) {
        self.0.say_goodbye();
    }
}

/// The receiving end.
pub(crate) struct In(pub(crate) Packets);

impl In {
    fn receive(&mut self, buffer: &mut Vec<u8>) -> Result<(), Stop> {
        let Packets {
            socket,
            message,
            longest,
            ..
        } = &mut self.0;
        message.resize(*longest + 1, 0);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        let got = wait::uninterrupted(|| recv(socket.as_raw_fd(), message, flags));
        let (kind, record) = match got {
            Ok(len) if len > message.len() => {
                return Err(Stop::Fault(Fault::Corrupt {
                    what: "record length",
                    found: len as u64 - 1,
                    expected: *longest as u64,
                }));
            }
            Ok(0) => return Err(Stop::Dead),
            Ok(len) => (message[0], &message[1..len]),
            Err(Errno::EAGAIN) => return Err(Stop::NotNow),
            Err(errno) if is_end(errno) => return Err(Stop::Dead),
            Err(errno) => return Err(Stop::os("recv", errno)),
        };
        match kind {
            RECORD => {
                buffer.extend_from_slice(record);
                Ok(())
            }
            GOODBYE => Err(Stop::Closed),
            other => Err(Stop::Fault(Fault::Corrupt {
                what: "kind of message",
                found: other.into(),
                expected: RECORD.into(),
            })),
        }
    }
}

impl Incoming for In {
    fn attempt(&mut self, buffer: &mut Vec<u8>) -> Result<(), Stop> {
        match self.receive(buffer) {
            Err(Stop::NotNow | Stop::Dead) if self.0.line.is_some() => {}
            result => return result,
        }
        let parted = self.0.parted.or_else(|| self.0.news(false));
        self.0.parted = parted;
        let Some(end) = parted else {
            return Err(Stop::NotNow);
        };
        // What was sent between the look and the end.
        match self.receive(buffer) {
            Err(Stop::NotNow | Stop::Dead) => Err(end),
            result => result,
        }
    }

    fn sleep(&mut self, until: Option<Instant>) -> Result<(), Stop> {
        self.0.sleep(PollFlags::POLLIN, until)
    }

    fn goodbye(&mut self) {
        self.0.say_goodbye();
    }
}
