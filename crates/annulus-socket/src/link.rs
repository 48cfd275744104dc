//! Two ends that have met, before each has become what it is.

use crate::address::Kind;
use crate::greeting::{Greeting, LEN, Role};
use crate::handle::{Receiver, Sender};
use crate::limits;
use crate::packet::{self, Packets};
use crate::stream::{self, Bytes, Plain};
use crate::udp;
use crate::wait;
use annulus_channel::OpenReason;
use nix::errno::Errno;
use nix::poll::PollFlags;
use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::time::Instant;

/// What connects two ends.
pub(crate) enum Link {
    Stream(Box<dyn Bytes>),
    Packets(OwnedFd, Option<OwnedFd>),
    Post(Box<udp::Post>),
}

impl Link {
    /// Of a connected Unix socket, and the line beside it.
    pub(crate) fn local(kind: Kind, socket: OwnedFd, line: Option<OwnedFd>) -> Self {
        match kind {
            Kind::UnixSeqpacket | Kind::UnixDatagram => Self::Packets(socket, line),
            _ => Self::Stream(Box::new(Plain(socket))),
        }
    }

    pub(crate) fn sender(self, kind: Kind, max: usize) -> Sender {
        match self {
            Self::Stream(bytes) => Sender::new(Box::new(stream::Out::new(bytes)), kind, max),
            Self::Packets(socket, line) => {
                let out = packet::Out(Packets::new(socket, line, max));
                Sender::new(Box::new(out), kind, max)
            }
            Self::Post(post) => Sender::new(Box::new(udp::Out::new(*post)), kind, max),
        }
    }

    pub(crate) fn receiver(self, kind: Kind, max: usize) -> Receiver {
        match self {
            Self::Stream(bytes) => Receiver::new(Box::new(stream::In::new(bytes, max)), kind, max),
            Self::Packets(socket, line) => {
                let incoming = packet::In(Packets::new(socket, line, max));
                Receiver::new(Box::new(incoming), kind, max)
            }
            Self::Post(post) => Receiver::new(Box::new(udp::In::new(*post)), kind, max),
        }
    }
}

/// Two ends that have met and agreed.
pub struct Met {
    pub(crate) link: Link,
    pub(crate) kind: Kind,
    /// The longest record.
    pub(crate) max: usize,
}

mod sealed {
    use super::{Met, Role};

    pub trait End {
        const ROLE: Role;
        fn of(met: Met) -> Self;
    }

    impl End for crate::Sender {
        const ROLE: Role = Role::Sender;

        fn of(met: Met) -> Self {
            met.link.sender(met.kind, met.max)
        }
    }

    impl End for crate::Receiver {
        const ROLE: Role = Role::Receiver;

        fn of(met: Met) -> Self {
            met.link.receiver(met.kind, met.max)
        }
    }
}

/// What one may become by meeting: a [`Sender`] or a [`Receiver`]. The other end has to become the other.
///
/// ```
/// use annulus_channel::OpenError;
/// use annulus_socket::{Address, End, SocketOptions};
///
/// fn meet<E: End>(address: &Address) -> Result<E, OpenError> {
///     SocketOptions::new().connect(address)
/// }
/// ```
pub trait End: sealed::End {}

impl End for Sender {}
impl End for Receiver {}

/// Hears a greeting; `None` if the peer parts without a word.
pub(crate) fn hear(
    bytes: &mut dyn Bytes,
    until: Option<Instant>,
) -> Result<Option<[u8; LEN]>, OpenReason> {
    let mut heard = [0; LEN];
    let (mut len, mut reset) = (0, false);
    while len < LEN {
        match bytes.read(&mut heard[len..]) {
            Ok(0) => return Ok(None),
            Ok(count) => len += count,
            Err(Errno::EAGAIN) => pause(bytes, PollFlags::POLLIN, until)?,
            // The error of a socket is told once, and may stand before the last word.
            Err(Errno::ECONNRESET | Errno::EPIPE) if !reset => reset = true,
            Err(Errno::ECONNRESET | Errno::EPIPE) => return Ok(None),
            Err(errno) => return Err(limits::os("recv", errno)),
        }
    }
    Ok(Some(heard))
}

/// Says a greeting; whether there was somebody to hear it.
pub(crate) fn say(
    bytes: &mut dyn Bytes,
    greeting: &[u8; LEN],
    until: Option<Instant>,
) -> Result<bool, OpenReason> {
    let mut said = 0;
    while said < LEN {
        match bytes.write(&[IoSlice::new(&greeting[said..])]) {
            Ok(count) => said += count,
            Err(Errno::EAGAIN) => pause(bytes, PollFlags::POLLOUT, until)?,
            Err(Errno::ECONNRESET | Errno::EPIPE) => return Ok(false),
            Err(errno) => return Err(limits::os("send", errno)),
        }
    }
    Ok(true)
}

fn pause(
    bytes: &mut dyn Bytes,
    events: PollFlags,
    until: Option<Instant>,
) -> Result<(), OpenReason> {
    if wait::passed(until) {
        return Err(OpenReason::TimedOut);
    }
    wait::sleep(bytes.fd(), events, until).map_err(limits::fault)?;
    Ok(())
}

/// The greetings of the end that came: says its own, hears the other. `None` if nobody answers.
pub(crate) fn greet(
    bytes: &mut dyn Bytes,
    own: Greeting,
    until: Option<Instant>,
) -> Result<Option<usize>, OpenReason> {
    // Whoever refuses us may not have waited for it.
    say(bytes, &own.bytes(), until)?;
    match hear(bytes, until)? {
        Some(heard) => own.meet(&heard).map(Some),
        None => Ok(None),
    }
}

/// The greetings of the end that listens: hears the other, answers with its own.
pub(crate) fn answer(
    bytes: &mut dyn Bytes,
    own: Greeting,
    until: Option<Instant>,
) -> Result<Option<usize>, OpenReason> {
    let Some(heard) = hear(bytes, until)? else {
        return Ok(None);
    };
    // Also to whom it does not suit: it has to learn why.
    let said = say(bytes, &own.bytes(), until)?;
    let max = own.meet(&heard)?;
    Ok(said.then_some(max))
}
