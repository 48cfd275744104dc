//! What the demonstration sends through: a ring, or a pipe to hold it against.
//!
//! Each end of a link is a file descriptor, a memfd or one end of a pipe, so that a child process
//! can simply inherit it. Nothing has a name, and nothing can be left behind.

use super::message::Message;
use crate::crew::failed;
use annulus::{RingOptions, WhenDead, spsc};
use annulus_channel::{RecvError, TryRecvError};
use clap::ValueEnum;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;

/// How many messages a ring holds.
const MESSAGES: usize = 4096;

/// How many bytes a ring of bytes holds.
const BYTES: usize = 1 << 20;

/// A byte stream goes in pieces of this many bytes; a pipe holds one of them.
pub const PIECE: usize = 64 << 10;

/// The two kinds of link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Link {
    Ring,
    Pipe,
}

/// The two ends of a new link.
pub struct Ends {
    pub send: OwnedFd,
    pub recv: OwnedFd,
}

/// The end that messages are sent into.
pub trait Outlet {
    /// Sends a message, waiting for room; it can be received at once.
    fn put(&mut self, message: &Message) -> Result<(), String>;
}

/// The end that messages come from.
pub trait Inlet {
    /// Waits for a message. `None`: the sender has closed, and there is none.
    fn take(&mut self) -> Result<Option<Message>, String>;

    /// Takes a message if there is one. On a pipe, only after [`PipeInlet::unblocked`].
    fn try_take(&mut self) -> Result<Option<Message>, String>;
}

impl Link {
    /// A new link for messages.
    pub fn for_messages(self) -> Result<Ends, String> {
        match self {
            Self::Ring => ring::<Message>(MESSAGES),
            Self::Pipe => pipe(),
        }
    }

    /// A new link for bytes.
    pub fn for_bytes(self) -> Result<Ends, String> {
        match self {
            Self::Ring => ring::<[u8]>(BYTES),
            Self::Pipe => pipe(),
        }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ring => "ring",
            Self::Pipe => "pipe",
        })
    }
}

fn ring<T: annulus::Message + ?Sized>(capacity: usize) -> Result<Ends, String> {
    let ring = RingOptions::new().capacity(capacity).memfd();
    let ring: spsc::Ring<T> = ring.map_err(failed("a new ring"))?;
    let fd = ring.as_fd().ok_or("the new ring has no descriptor")?;
    let end = || {
        fd.try_clone_to_owned()
            .map_err(failed("a ring's descriptor"))
    };
    Ok(Ends {
        send: end()?,
        recv: end()?,
    })
}

fn pipe() -> Result<Ends, String> {
    let (recv, send) = io::pipe().map_err(failed("a new pipe"))?;
    Ok(Ends {
        send: send.into(),
        recv: recv.into(),
    })
}

/// The sending end of the ring in `fd`. A receiver that was killed is an error: nobody will succeed it.
pub fn ring_sender<T: annulus::Message + ?Sized>(fd: OwnedFd) -> Result<spsc::Sender<T>, String> {
    let ring: spsc::Ring<T> = RingOptions::new().from_fd(fd).map_err(failed("the ring"))?;
    let mut sender = ring.sender().map_err(failed("the ring"))?;
    sender.on_peer_death(WhenDead::Fail);
    Ok(sender)
}

/// The receiving end of the ring in `fd`. A sender that was killed is an error: nobody will succeed it.
pub fn ring_receiver<T: annulus::Message + ?Sized>(
    fd: OwnedFd,
) -> Result<spsc::Receiver<T>, String> {
    let ring: spsc::Ring<T> = RingOptions::new().from_fd(fd).map_err(failed("the ring"))?;
    let mut receiver = ring.receiver().map_err(failed("the ring"))?;
    receiver.on_peer_death(WhenDead::Fail);
    Ok(receiver)
}

impl Outlet for spsc::Sender<Message> {
    #[inline]
    fn put(&mut self, message: &Message) -> Result<(), String> {
        self.send(*message).map_err(failed("the ring"))
    }
}

impl Inlet for spsc::Receiver<Message> {
    #[inline]
    fn take(&mut self) -> Result<Option<Message>, String> {
        match self.recv() {
            Ok(message) => Ok(Some(message)),
            Err(RecvError::Disconnected) => Ok(None),
            Err(error) => Err(failed("the ring")(error)),
        }
    }

    #[inline]
    fn try_take(&mut self) -> Result<Option<Message>, String> {
        match self.try_recv() {
            Ok(message) => Ok(Some(message)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(error) => Err(failed("the ring")(error)),
        }
    }
}

/// A pipe's end that messages are sent into: one write a message, as a ring publishes each.
pub struct PipeOutlet(File);

/// A pipe's end that messages come from. It reads all that is there, up to a whole pipe, at once.
pub struct PipeInlet(BufReader<File>);

impl PipeOutlet {
    pub fn new(end: OwnedFd) -> Self {
        Self(end.into())
    }
}

impl PipeInlet {
    pub fn new(end: OwnedFd) -> Self {
        Self(BufReader::with_capacity(PIECE, end.into()))
    }

    /// The same, but `take` must not be called any more, as nothing waits.
    pub fn unblocked(self) -> Result<Self, String> {
        fcntl(self.0.get_ref(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
            .map_err(failed("the pipe"))?;
        Ok(self)
    }
}

impl Outlet for PipeOutlet {
    fn put(&mut self, message: &Message) -> Result<(), String> {
        let bytes = bytemuck::bytes_of(message);
        self.0.write_all(bytes).map_err(failed("the pipe"))
    }
}

impl Inlet for PipeInlet {
    fn take(&mut self) -> Result<Option<Message>, String> {
        let ended = self.0.fill_buf().map_err(failed("the pipe"))?.is_empty();
        if ended {
            return Ok(None);
        }
        let mut message = Message::new(0);
        let bytes = bytemuck::bytes_of_mut(&mut message);
        self.0.read_exact(bytes).map_err(failed("the pipe"))?;
        Ok(Some(message))
    }

    fn try_take(&mut self) -> Result<Option<Message>, String> {
        match self.0.fill_buf() {
            // Shorter than PIPE_BUF, so a message is never there in part.
            Ok([]) => Err("the pipe: the other end has closed".to_owned()),
            Ok(_) => self.take(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(failed("the pipe")(error)),
        }
    }
}
