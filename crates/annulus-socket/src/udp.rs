//! Records as UDP datagrams: whole or lost, never twice, never out of order.
//!
//! ```text
//! kind (1 byte) | channel (8 bytes) | number (8 bytes, little-endian) | the record, or a greeting
//! ```
//!
//! - The end that came makes up the channel's number and says `HELLO` until it hears `WELCOME`. Both
//!   ends are connected, so the kernel drops what others send, and the number tells a channel from
//!   an earlier one between the same ports.
//!   Both greetings begin with a magic and a version. What has none of this comes from somebody
//!   else: it is dropped, and counted.
//! - Records are numbered from 1. A number not above the last one is an old record, and dropped.
//! - UDP has no room that a receiver gives back: what a slow receiver's kernel cannot hold (see
//!   `net.core.rmem_max`) is lost, and the sender is not told. [`Capabilities::lossy`] says so. The
//!   receiver counts the numbers that it misses.
//! - The end is a `GOODBYE`, said three times, with the number of the last record. Where all three are
//!   lost, closing looks like death.
//! - A dead peer's port answers "refused". A receiver that waits asks every 100 ms (`PROBE`), so it
//!   learns of a death in about that time, as long as the peer's *machine* is there to answer. A
//!   machine that has vanished, or a firewall that says nothing, cannot be told from silence.
//!
//! [`Capabilities::lossy`]: annulus_channel::Capabilities::lossy

use crate::greeting::{Greeting, LEN, is_greeting};
use crate::wait::{self, SLICE};
use crate::way::{Incoming, Outgoing, Patience, Stop, is_end};
use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{MsgFlags, recv, sendmsg};
use std::io::IoSlice;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

/// Bytes before a record.
const HEAD: usize = 17;
/// The longest record: the longest datagram of IPv4, less our head.
pub(crate) const LONGEST: usize = 65_507 - HEAD;

const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const RECORD: u8 = 3;
const GOODBYE: u8 = 4;
const PROBE: u8 = 5;

/// How often a goodbye is said.
const GOODBYES: usize = 3;

/// A channel's datagrams.
pub(crate) struct Post {
    socket: UdpSocket,
    channel: u64,
    /// The answer to a `HELLO` whose `WELCOME` was lost.
    welcome: Option<[u8; LEN]>,
    /// A port at the peer's machine has refused a datagram.
    refused: bool,
    /// The peer has said goodbye, after so many records.
    parted: Option<u64>,
    /// Datagrams that were no part of this channel.
    foreign: u64,
    datagram: Vec<u8>,
}

/// What a datagram says.
enum Said {
    Record { number: u64, len: usize },
    Welcome([u8; LEN]),
    Other,
}

/// A `HELLO` as it comes to a listener: the channel's number and the greeting, of whatever version.
pub(crate) fn hello(datagram: &[u8]) -> Option<(u64, [u8; LEN])> {
    let (head, greeting) = datagram.split_at_checked(HEAD)?;
    let channel = u64::from_le_bytes(head[1..9].try_into().ok()?);
    Some((channel, greeting.try_into().ok()?))
        .filter(|(_, greeting)| head[0] == HELLO && is_greeting(greeting))
}

/// A `WELCOME` as a listener says it.
pub(crate) fn welcome(channel: u64, greeting: &[u8; LEN]) -> Vec<u8> {
    let mut datagram = head(WELCOME, channel, 0).to_vec();
    datagram.extend_from_slice(greeting);
    datagram
}

fn head(kind: u8, channel: u64, number: u64) -> [u8; HEAD] {
    let mut head = [kind; HEAD];
    head[1..9].copy_from_slice(&channel.to_le_bytes());
    head[9..].copy_from_slice(&number.to_le_bytes());
    head
}

impl Post {
    /// A channel over a socket that is connected and does not block.
    pub(crate) fn new(socket: UdpSocket, channel: u64, welcome: Option<[u8; LEN]>) -> Self {
        Self {
            socket,
            channel,
            welcome,
            refused: false,
            parted: None,
            foreign: 0,
            datagram: vec![0; HEAD + LONGEST + 1],
        }
    }

    fn say(&self, kind: u8, number: u64, record: &[u8]) -> Result<(), Errno> {
        let head = head(kind, self.channel, number);
        let slices = [IoSlice::new(&head), IoSlice::new(record)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let fd = self.socket.as_raw_fd();
        wait::uninterrupted(|| sendmsg::<()>(fd, &slices, &[], flags, None)).map(drop)
    }

    pub(crate) fn say_hello(&self, greeting: Greeting) -> Result<(), Errno> {
        self.say(HELLO, 0, &greeting.bytes())
    }

    /// The greeting in the answer, if it has come.
    pub(crate) fn hear_welcome(&mut self) -> Result<Option<[u8; LEN]>, Errno> {
        loop {
            match self.hear() {
                Ok(Said::Welcome(greeting)) => return Ok(Some(greeting)),
                Ok(_) => {}
                Err(Errno::EAGAIN) if self.refused => return Err(Errno::ECONNREFUSED),
                Err(Errno::EAGAIN) => return Ok(None),
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Reads one datagram and answers what has to be answered.
    fn hear(&mut self) -> Result<Said, Errno> {
        let fd = self.socket.as_raw_fd();
        let len = loop {
            let datagram = &mut self.datagram;
            match wait::uninterrupted(|| recv(fd, datagram, MsgFlags::MSG_DONTWAIT)) {
                Ok(len) => break len,
                // It concerns an earlier datagram; what has come may still be read.
                Err(errno) if is_end(errno) => self.refused = true,
                Err(errno) => return Err(errno),
            }
        };
        let Some((head, rest)) = self.datagram[..len].split_first_chunk::<HEAD>() else {
            return Ok(self.foreign());
        };
        let eight = |from| u64::from_le_bytes(std::array::from_fn(|i| head[from + i]));
        if eight(1) != self.channel {
            return Ok(self.foreign());
        }
        match head[0] {
            HELLO => {
                if let Some(greeting) = self.welcome {
                    // If it is lost, or refused, there will be another hello, or none.
                    let _ = self.say(WELCOME, 0, &greeting);
                }
                Ok(Said::Other)
            }
            WELCOME => Ok(rest.try_into().map_or(Said::Other, Said::Welcome)),
            GOODBYE => {
                self.parted = Some(eight(9));
                Ok(Said::Other)
            }
            PROBE => Ok(Said::Other),
            RECORD if rest.len() <= LONGEST => Ok(Said::Record {
                number: eight(9),
                len: rest.len(),
            }),
            _ => Ok(self.foreign()),
        }
    }

    fn foreign(&mut self) -> Said {
        self.foreign += 1;
        Said::Other
    }

    /// How the peer has ended, if it has, now that everything was read.
    fn end(&self) -> Option<Stop> {
        if self.parted.is_some() {
            return Some(Stop::Closed);
        }
        self.refused.then_some(Stop::Dead)
    }

    pub(crate) fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Says goodbye, after so many records.
    fn say_goodbye(&mut self, records: u64) {
        for _ in 0..GOODBYES {
            // A refusal of an earlier datagram may stand in the way of the first.
            let _ = self.say(GOODBYE, records, &[]);
        }
    }

    fn sleep(&self, events: PollFlags, until: Option<Instant>) -> Result<(), Stop> {
        wait::sleep(self.socket.as_fd(), events, until)?;
        Ok(())
    }
}

/// The sending end.
pub(crate) struct Out {
    post: Post,
    /// The number of the last record.
    last: u64,
}

impl Out {
    pub(crate) fn new(post: Post) -> Self {
        Self { post, last: 0 }
    }
}

impl Out {
    fn attempt(&mut self, record: &[u8]) -> Result<(), Stop> {
        loop {
            match self.post.hear() {
                Ok(_) => {}
                Err(Errno::EAGAIN) => break,
                Err(errno) => return Err(Stop::os("recv", errno)),
            }
        }
        if let Some(end) = self.post.end() {
            return Err(end);
        }
        match self.post.say(RECORD, self.last + 1, record) {
            Ok(()) => {
                self.last += 1;
                Ok(())
            }
            Err(Errno::EAGAIN | Errno::ENOBUFS) => Err(Stop::NotNow),
            Err(errno) if is_end(errno) => {
                // Its goodbye may have come meanwhile.
                self.post.refused = true;
                self.attempt(record)
            }
            Err(errno) => Err(Stop::os("sendmsg", errno)),
        }
    }
}

impl Outgoing for Out {
    fn send(&mut self, record: &[u8], patience: Patience) -> Result<(), Stop> {
        loop {
            match self.attempt(record) {
                Err(Stop::NotNow) if !patience.is_over() => {
                    let events = PollFlags::POLLOUT | PollFlags::POLLIN;
                    self.post.sleep(events, patience.slice(SLICE))?;
                }
                result => return result,
            }
        }
    }

    fn goodbye(&mut self) {
        self.post.say_goodbye(self.last);
    }
}

/// The receiving end.
pub(crate) struct In {
    post: Post,
    /// The number of the last record.
    last: u64,
    /// How many records were received.
    received: u64,
    /// When the sender was last asked whether it is there.
    asked: Instant,
}

impl In {
    pub(crate) fn new(post: Post) -> Self {
        Self {
            post,
            last: 0,
            received: 0,
            asked: Instant::now(),
        }
    }
}

impl Incoming for In {
    fn attempt(&mut self, buffer: &mut Vec<u8>) -> Result<(), Stop> {
        loop {
            match self.post.hear() {
                Ok(Said::Record { number, len }) if number > self.last => {
                    self.last = number;
                    self.received += 1;
                    buffer.extend_from_slice(&self.post.datagram[HEAD..HEAD + len]);
                    return Ok(());
                }
                Ok(_) => {}
                Err(Errno::EAGAIN) => break,
                Err(errno) => return Err(Stop::os("recv", errno)),
            }
        }
        if let Some(end) = self.post.end() {
            return Err(end);
        }
        if self.asked.elapsed() >= SLICE {
            self.asked = Instant::now();
            // An answer comes only if nobody is there, and with it the next look.
            if self.post.say(PROBE, 0, &[]).is_err_and(is_end) {
                self.post.refused = true;
                return self.attempt(buffer);
            }
        }
        Err(Stop::NotNow)
    }

    fn sleep(&mut self, until: Option<Instant>) -> Result<(), Stop> {
        let until = wait::earlier(until, self.asked + SLICE);
        self.post.sleep(PollFlags::POLLIN, until)
    }

    fn lost(&self) -> u64 {
        // The last number of a peer that lies is no number of records, but its own business.
        let sent = self.last.max(self.post.parted.unwrap_or(0));
        sent.saturating_sub(self.received)
    }

    fn foreign(&self) -> u64 {
        self.post.foreign
    }

    fn goodbye(&mut self) {
        self.post.say_goodbye(0);
    }
}
