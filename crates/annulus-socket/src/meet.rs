//! How two ends of a datagram channel meet.
//!
//! Whoever comes makes the two ends itself, a pair of datagram sockets and a line (see `packet`), and
//! hands one of each over in the datagram that greets the listener. So each channel has sockets of its
//! own, to which nobody else can send, and no end needs a name but the listener.

use crate::greeting::LEN;
use crate::wait;
use crate::way::is_end;
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg, sendmsg,
};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// One who came.
pub(crate) struct Guest {
    pub(crate) greeting: [u8; LEN],
    pub(crate) user: u32,
    pub(crate) socket: OwnedFd,
    pub(crate) line: OwnedFd,
}

/// Sends a greeting, and with it these ends.
pub(crate) fn hand_over(
    to: &OwnedFd,
    greeting: &[u8; LEN],
    socket: &OwnedFd,
    line: &OwnedFd,
) -> Result<(), Errno> {
    let ends = [socket.as_raw_fd(), line.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&ends)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let slices = [IoSlice::new(greeting)];
    wait::uninterrupted(|| sendmsg::<()>(to.as_raw_fd(), &slices, &rights, flags, None)).map(drop)
}

/// Takes what somebody hands over; `None` if that is not what it should be.
pub(crate) fn take(listener: &OwnedFd) -> Result<Option<Guest>, Errno> {
    let mut greeting = [0; LEN];
    // Room for more ends than there should be, so that what does not fit is not lost unseen.
    let mut space = cmsg_space!(UnixCredentials, [RawFd; 4]);
    let (len, user, ends) = receive(listener, &mut greeting, &mut space, MsgFlags::empty())?;
    let ends: Result<[OwnedFd; 2], _> = ends.try_into();
    let (Ok([socket, line]), Some(user), LEN) = (ends, user, len) else {
        return Ok(None);
    };
    Ok(Some(Guest {
        greeting,
        user,
        socket,
        line,
    }))
}

/// The user of whoever wrote what is to be read next from a line; `None` at its end.
pub(crate) fn user_of(line: &OwnedFd) -> Result<Option<u32>, Errno> {
    let mut space = cmsg_space!(UnixCredentials);
    match receive(line, &mut [0], &mut space, MsgFlags::MSG_PEEK) {
        Ok((_, user, _)) => Ok(user),
        Err(errno) if is_end(errno) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn receive(
    from: &OwnedFd,
    into: &mut [u8],
    space: &mut [u8],
    flags: MsgFlags,
) -> Result<(usize, Option<u32>, Vec<OwnedFd>), Errno> {
    let flags = flags | MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let mut slices = [IoSliceMut::new(into)];
    let message = loop {
        match recvmsg::<()>(from.as_raw_fd(), &mut slices, Some(&mut *space), flags) {
            Err(Errno::EINTR) => {}
            result => break result?,
        }
    };
    let (mut user, mut ends) = (None, Vec::new());
    for control in message.cmsgs()? {
        match control {
            ControlMessageOwned::ScmCredentials(peer) => user = Some(peer.uid()),
            ControlMessageOwned::ScmRights(fds) => {
                // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
                ends.extend(
                    fds.into_iter()
                        .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
                );
            }
            _ => {}
        }
    }
    if message.bytes == 0 {
        user = None;
    }
    Ok((message.bytes, user, ends))
}
