//! The anonymous pipe: one sender, one receiver, found by descriptor.

use crate::MAX_RECORD;
use crate::mark::{self, RECEIVED, SENT};
use crate::options::PipeOptions;
use crate::outcome::{Gone, Stop, Until};
use crate::stream::{Inlet, Look, Outlet, no_block};
use annulus_channel::{
    Boundaries, Capabilities, OpenError, OpenReason, Order, Receiver, RecvError, RecvTimeoutError,
    SendError, SendTimeoutError, Sender, TryRecvError, TrySendError,
};
use annulus_fd::frame::{Decoder, Encoder};
use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

/// Bytes of a record in one frame. What is given up is given up at the end of a frame.
const FRAGMENT: usize = 64 << 10;

pub(crate) const NAME: &str = "pipe:";

const CAPABILITIES: Capabilities = Capabilities {
    order: Order::Total,
    lossy: false,
    many_senders: false,
    many_receivers: false,
    persistent: false,
    crosses_machines: false,
    boundaries: Boundaries::Framed,
    max_record: Some(MAX_RECORD),
};

/// A pipe of the kernel's usual size: its sender and its receiver.
///
/// ```
/// use annulus_channel::{Receiver, Sender};
///
/// let (mut sender, mut receiver) = annulus_pipe::pair()?;
/// let sending = std::thread::spawn(move || sender.send(&[7; 1 << 20]));
/// assert_eq!(receiver.recv(&mut Vec::new())?, 1 << 20);
/// sending.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As [`PipeOptions::pair`].
pub fn pair() -> Result<(PipeSender, PipeReceiver), OpenError> {
    PipeOptions::new().pair()
}

/// Asserts that a descriptor is this end of a pipe.
fn check(fd: &OwnedFd, access: OFlag, expected: &'static str) -> Result<(), OpenError> {
    let os = |call, errno| {
        OpenError::new(
            NAME,
            OpenReason::Os {
                call,
                errno: errno as i32,
            },
        )
    };
    let stat = fstat(fd).map_err(|errno| os("fstat", errno))?;
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    let flags = no_block(fd).map_err(|errno| os("fcntl(F_SETFL)", errno))?;
    let found = match flags & OFlag::O_ACCMODE {
        _ if kind != SFlag::S_IFIFO => "not a pipe",
        OFlag::O_RDONLY => "the reading end of a pipe",
        OFlag::O_WRONLY => "the writing end of a pipe",
        _ => "both ends of a FIFO",
    };
    if kind == SFlag::S_IFIFO && flags & OFlag::O_ACCMODE == access {
        return Ok(());
    }
    Err(OpenError::new(
        NAME,
        OpenReason::Mismatch {
            what: "descriptor",
            expected: expected.to_owned(),
            found: found.to_owned(),
        },
    ))
}

/// One end's descriptor. Dropped by the process that it belongs to, it leaves its mark.
#[derive(Debug)]
struct Half {
    /// Always there, until it is taken.
    fd: Option<OwnedFd>,
    mark: u32,
    pid: u32,
}

impl Half {
    fn new(fd: OwnedFd, mark: u32) -> Self {
        Self {
            fd: Some(fd),
            mark,
            pid: std::process::id(),
        }
    }

    /// The descriptor, without a mark.
    fn take(mut self) -> OwnedFd {
        match self.fd.take() {
            Some(fd) => fd,
            None => unreachable!("taken by value only"),
        }
    }

    /// How the other end went, whose mark this is.
    fn how(&self, mark: u32) -> Gone {
        match mark::get(self) {
            Ok(found) if found & mark != 0 => Gone::Closed,
            _ => Gone::Killed,
        }
    }
}

impl AsFd for Half {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.fd {
            Some(fd) => fd.as_fd(),
            None => unreachable!("taken by value only"),
        }
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        if let Some(fd) = &self.fd {
            if self.pid == std::process::id() {
                // Who may not leave a mark seems to have been killed.
                let _ = mark::change(fd, self.mark, 0);
            }
        }
    }
}

/// The sending end of a pipe.
///
/// Dropped, it closes: the receiver gets everything, then `Disconnected`. In a child that was forked with it, dropping it
/// closes a copy, and means nothing.
#[derive(Debug)]
pub struct PipeSender {
    outlet: Outlet<Half>,
}

impl PipeSender {
    /// The sending end of a pipe whose descriptor this is: handed over by the parent, or by
    /// [`into_fd`](Self::into_fd). From now on it does not block, for whoever shares it.
    ///
    /// ```
    /// use annulus_pipe::PipeSender;
    ///
    /// let file = std::fs::File::open("/dev/null").unwrap();
    /// let error = PipeSender::from_fd(file.into()).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "pipe:: descriptor: expected the writing end of a pipe, found not a pipe"
    /// );
    /// ```
    ///
    /// # Errors
    ///
    /// [`OpenReason::Mismatch`] if it is something else.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, OpenError> {
        check(&fd, OFlag::O_WRONLY, "the writing end of a pipe")?;
        Ok(Self {
            outlet: Outlet::new(Half::new(fd, SENT), Encoder::new(FRAGMENT)),
        })
    }

    /// The descriptor, for a child to make its own sender of. The pipe is not closed by this: it is, when the last
    /// copy of the descriptor is.
    ///
    /// ```
    /// use annulus_channel::Receiver;
    /// use std::process::{Command, Stdio};
    ///
    /// let (sender, mut receiver) = annulus_pipe::pair()?;
    /// let output = Stdio::from(sender.into_fd().expect("nothing was sent"));
    /// // The child calls `PipeSender::from_fd` on its standard output. This one just ends.
    /// Command::new("true").stdout(output).status()?;
    /// assert!(receiver.recv(&mut Vec::new()).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The sender itself, if a send that failed for want of room has left a part of a frame: send something first.
    pub fn into_fd(self) -> Result<OwnedFd, Box<Self>> {
        if self.outlet.encoder.is_cut() {
            return Err(Box::new(self));
        }
        Ok(self.outlet.fd.take())
    }

    /// Leaves as the dead do: without a mark. For tests of what the receiver makes of it.
    pub fn die(self) {
        drop(self.outlet.fd.take());
    }

    fn push(&mut self, record: &[u8], until: Until) -> Result<(), Stop> {
        self.outlet.send(record, until, |half| half.how(RECEIVED))
    }
}

impl AsFd for PipeSender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.outlet.fd.as_fd()
    }
}

impl Sender for PipeSender {
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

/// The receiving end of a pipe.
///
/// Dropped, it closes: a `send` says `Disconnected`. What was not received is gone.
#[derive(Debug)]
pub struct PipeReceiver {
    inlet: Inlet<Half>,
    /// The end of the channel, once it is known.
    end: Option<Stop>,
}

impl PipeReceiver {
    /// The receiving end of a pipe whose descriptor this is, as [`PipeSender::from_fd`].
    ///
    /// ```
    /// use annulus_channel::{Receiver, Sender};
    /// use annulus_pipe::PipeReceiver;
    ///
    /// let (mut sender, receiver) = annulus_pipe::pair()?;
    /// sender.send(b"kept")?;
    /// let mut receiver = PipeReceiver::from_fd(receiver.into_fd().expect("nothing was received"))?;
    /// assert_eq!(receiver.recv(&mut Vec::new())?, 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`OpenReason::Mismatch`] if it is something else.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, OpenError> {
        check(&fd, OFlag::O_RDONLY, "the reading end of a pipe")?;
        Ok(Self {
            inlet: Inlet {
                fd: Half::new(fd, RECEIVED),
                decoder: Decoder::new(MAX_RECORD, FRAGMENT),
                heard: false,
            },
            end: None,
        })
    }

    /// The descriptor, for a child to make its own receiver of, as [`PipeSender::into_fd`].
    ///
    /// # Errors
    ///
    /// The receiver itself, if it has read more than it was asked for: what was read would be lost.
    pub fn into_fd(self) -> Result<OwnedFd, Box<Self>> {
        if self.inlet.decoder.is_torn() {
            return Err(Box::new(self));
        }
        Ok(self.inlet.fd.take())
    }

    /// Leaves as the dead do: without a mark. For tests of what the sender makes of it.
    pub fn die(self) {
        drop(self.inlet.fd.take());
    }

    fn take(&mut self, record: &mut Vec<u8>, until: Until) -> Result<usize, Stop> {
        record.clear();
        if let Some(end) = self.end {
            return Err(end);
        }
        let end = loop {
            match self.inlet.look(record) {
                Ok(Look::Record) => return Ok(record.len()),
                Ok(Look::Empty) => self.inlet.wait(until)?,
                // There was one sender: nobody comes after it.
                Ok(Look::Nobody) => break Stop::Gone(self.inlet.fd.how(SENT)),
                Err(fault) => break Stop::Fault(fault),
            }
        };
        self.end = Some(end);
        Err(end)
    }
}

impl AsFd for PipeReceiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inlet.fd.as_fd()
    }
}

impl Receiver for PipeReceiver {
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
