//! What both ends may ask for, and the pairs within a process.

use crate::address::{Address, Kind};
use crate::greeting::Role;
use crate::handle::{Receiver, Sender};
use crate::limits::{self, os};
use crate::link::Link;
use crate::packet;
use crate::udp;
use annulus_channel::{OpenError, OpenReason};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socketpair, sockopt};
use nix::unistd::geteuid;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// The longest record of a stream, unless asked otherwise; also how much a receiver believes.
pub(crate) const MAX_RECORD: usize = 16 << 20;
/// What TCP may hold on its way out, unless asked otherwise or less is allowed.
const TCP_ROOM: u64 = 256 << 10;
/// What UDP may hold that has arrived, as far as the system allows.
const UDP_ROOM: usize = 8 << 20;
/// The least room of a stream: two frames.
const LEAST_ROOM: usize = 64 << 10;

/// Whose processes may be the peer on a Unix socket. Root always may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peers {
    Own,
    User(u32),
    Any,
}

/// How a socket is opened. Every end has options of its own.
///
/// ```
/// use annulus_channel::{Receiver as _, Sender as _};
/// use annulus_socket::{Address, Receiver, Sender, SocketOptions};
///
/// let listener = SocketOptions::new().listen(&Address::Tcp("127.0.0.1:0".into()))?;
/// let address = listener.address().clone();
/// let far = std::thread::spawn(move || {
///     let mut tx: Sender = SocketOptions::new().connect(&address)?;
///     tx.send(b"hello").expect("the receiver is there");
///     Ok::<_, annulus_channel::OpenError>(())
/// });
/// let mut rx: Receiver = listener.accept()?;
/// let mut record = Vec::new();
/// rx.recv(&mut record)?;
/// assert_eq!(record, b"hello");
/// far.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SocketOptions {
    max_record: Option<usize>,
    room: Option<usize>,
    pub(crate) mode: u32,
    peers: Peers,
    host_timeout: Option<Duration>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<crate::tls::Tls>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl SocketOptions {
    /// The defaults: records as long as the kernel carries them (16 MiB on streams), a socket file of
    /// mode 0600, peers of the same user or root only, no TLS.
    ///
    /// ```
    /// let options = annulus_socket::SocketOptions::new();
    /// ```
    pub fn new() -> Self {
        Self {
            max_record: None,
            room: None,
            mode: 0o600,
            peers: Peers::Own,
            host_timeout: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// The longest record, in bytes. The channel's is the smaller one of what both ends want.
    ///
    /// ```
    /// use annulus_channel::Sender as _;
    /// use annulus_socket::{Kind, SocketOptions};
    ///
    /// let (tx, _rx) = SocketOptions::new().max_record(100).pair(Kind::UnixDatagram)?;
    /// assert_eq!(tx.max_record(), 100);
    /// # Ok::<(), annulus_channel::OpenError>(())
    /// ```
    pub fn max_record(&mut self, bytes: usize) -> &mut Self {
        self.max_record = Some(bytes);
        self
    }

    /// How much the kernel holds for each end, in bytes as it counts them (its own bookkeeping
    /// included), at least 64 KiB on streams. At most `net.core.wmem_max` and
    /// `net.core.rmem_max`, which the error names. It bounds the longest record of
    /// `unix-seqpacket` and `unix-dgram`: 33 bytes less.
    ///
    /// ```
    /// use annulus_channel::Sender as _;
    /// use annulus_socket::{Kind, SocketOptions};
    ///
    /// let (tx, _rx) = SocketOptions::new().buffer(65536).pair(Kind::UnixSeqpacket)?;
    /// assert_eq!(tx.max_record(), 65536 - 33);
    /// # Ok::<(), annulus_channel::OpenError>(())
    /// ```
    pub fn buffer(&mut self, bytes: usize) -> &mut Self {
        self.room = Some(bytes);
        self
    }

    /// The rights on the socket file, as in `chmod`; 0600 unless asked otherwise. Whoever may write to it
    /// may connect, and is then asked for the user.
    ///
    /// ```
    /// annulus_socket::SocketOptions::new().mode(0o660).any_user();
    /// ```
    pub fn mode(&mut self, mode: u32) -> &mut Self {
        self.mode = mode;
        self
    }

    /// Takes processes of this user as peers on Unix sockets, instead of one's own user's; and of root.
    ///
    /// ```
    /// annulus_socket::SocketOptions::new().mode(0o666).user(1000);
    /// ```
    pub fn user(&mut self, uid: u32) -> &mut Self {
        self.peers = Peers::User(uid);
        self
    }

    /// Takes processes of any user as peers on Unix sockets.
    ///
    /// ```
    /// annulus_socket::SocketOptions::new().mode(0o666).any_user();
    /// ```
    pub fn any_user(&mut self) -> &mut Self {
        self.peers = Peers::Any;
        self
    }

    /// On TCP, takes a peer for dead whose machine has not answered for so long (to the second): by
    /// keep-alive probes where nothing is sent, and `TCP_USER_TIMEOUT` where something is. Off unless
    /// asked for; then only the kernel's own patience (about a quarter of an hour) ends a send to a
    /// machine that has vanished, and nothing ends a receive from it.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// annulus_socket::SocketOptions::new().host_timeout(Duration::from_secs(10));
    /// ```
    pub fn host_timeout(&mut self, time: Duration) -> &mut Self {
        self.host_timeout = Some(time);
        self
    }

    /// Puts TCP under TLS. Both ends have to.
    ///
    /// ```no_run
    /// use annulus_socket::{SocketOptions, Tls};
    ///
    /// let tls = Tls::from_files("ca.pem", "mine.pem", "mine.key")?;
    /// let mut options = SocketOptions::new();
    /// options.tls(tls);
    /// # Ok::<(), annulus_channel::OpenError>(())
    /// ```
    #[cfg(feature = "tls")]
    pub fn tls(&mut self, tls: crate::tls::Tls) -> &mut Self {
        self.tls = Some(tls);
        self
    }

    /// Both ends in this process: a `socketpair`. The kinds are the Unix ones; TCP and UDP have none.
    ///
    /// ```
    /// use annulus_channel::{Receiver as _, Sender as _};
    /// use annulus_socket::{Kind, SocketOptions};
    ///
    /// let (mut tx, mut rx) = SocketOptions::new().pair(Kind::UnixDatagram)?;
    /// tx.send(b"")?;
    /// assert_eq!(rx.recv(&mut Vec::new()), Ok(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`OpenReason::Name`] for TCP and UDP, [`OpenReason::Limit`] if a limit is asked too much.
    pub fn pair(&self, kind: Kind) -> Result<(Sender, Receiver), OpenError> {
        let fail = |reason| OpenError::new(kind, reason);
        let (one, other) = sockets(kind).map_err(fail)?;
        self.settle(kind, one.as_fd()).map_err(fail)?;
        self.settle(kind, other.as_fd()).map_err(fail)?;
        let max = self
            .longest(kind, Role::Sender, one.as_fd())
            .map_err(fail)?;
        let (line, far_line) = match kind {
            Kind::UnixDatagram => {
                let (line, far_line) = sockets(Kind::UnixStream).map_err(fail)?;
                (Some(line), Some(far_line))
            }
            _ => (None, None),
        };
        let tx = Link::local(kind, one, line).sender(kind, max);
        let rx = Link::local(kind, other, far_line).receiver(kind, max);
        Ok((tx, rx))
    }

    /// Sets what these options say on a socket.
    pub(crate) fn settle(&self, kind: Kind, fd: BorrowedFd<'_>) -> Result<(), OpenReason> {
        let mut room = self.room;
        match kind {
            Kind::UnixStream => room = room.map(|room| room.max(LEAST_ROOM)),
            Kind::UnixSeqpacket | Kind::UnixDatagram => {
                if let (None, Some(max)) = (room, self.max_record) {
                    let needed = packet::room_for(max);
                    room = (needed > limits::send_room(fd)?).then_some(needed);
                }
            }
            Kind::Tcp => {
                let set = |result: nix::Result<()>| result.map_err(|e| os("setsockopt", e));
                set(setsockopt(&fd, sockopt::TcpNoDelay, &true))?;
                if let Some(time) = self.host_timeout {
                    let seconds = time.as_secs().clamp(1, 32_767) as u32;
                    set(setsockopt(&fd, sockopt::KeepAlive, &true))?;
                    set(setsockopt(&fd, sockopt::TcpKeepIdle, &seconds.div_ceil(2)))?;
                    set(setsockopt(
                        &fd,
                        sockopt::TcpKeepInterval,
                        &seconds.div_ceil(6),
                    ))?;
                    set(setsockopt(&fd, sockopt::TcpKeepCount, &3))?;
                    set(setsockopt(&fd, sockopt::TcpUserTimeout, &(seconds * 1000)))?;
                }
                // Fixed, so that room for the goodbye can be made above it.
                let usual = limits::sysctl("net.core.wmem_max")
                    .unwrap_or(TCP_ROOM)
                    .min(TCP_ROOM);
                let send = room.unwrap_or(usual as usize).max(LEAST_ROOM);
                limits::set_send_room(fd, send)?;
                return match room {
                    Some(room) => limits::set_receive_room(fd, room.max(LEAST_ROOM)),
                    None => Ok(()),
                };
            }
            Kind::Udp => {
                // The longest datagram has to fit, as far as the system allows.
                let allowed = limits::sysctl("net.core.rmem_max").unwrap_or(u64::MAX);
                let least = (4 * udp::LONGEST).min(allowed as usize);
                room = room.map(|room| room.max(least));
                if room.is_none() {
                    limits::widen_receive_room(fd, UDP_ROOM);
                }
            }
        }
        if let Some(room) = room {
            limits::set_send_room(fd, room)?;
            limits::set_receive_room(fd, room)?;
        }
        Ok(())
    }

    /// The longest record that this end can do with.
    pub(crate) fn longest(
        &self,
        kind: Kind,
        role: Role,
        fd: BorrowedFd<'_>,
    ) -> Result<usize, OpenReason> {
        let wanted = self.max_record.unwrap_or(MAX_RECORD);
        Ok(match (kind, role) {
            (Kind::Udp, _) => wanted.min(udp::LONGEST),
            (Kind::UnixSeqpacket | Kind::UnixDatagram, Role::Sender) => {
                wanted.min(packet::longest(limits::send_room(fd)?))
            }
            _ => wanted,
        })
    }

    /// Whether a process of this user may be the peer.
    pub(crate) fn welcome(&self, found: u32) -> Result<(), OpenReason> {
        let expected = match self.peers {
            Peers::Own => geteuid().as_raw(),
            Peers::User(uid) => uid,
            Peers::Any => return Ok(()),
        };
        if found == expected || found == 0 {
            return Ok(());
        }
        Err(OpenReason::Stranger { expected, found })
    }

    /// Listens at `address`; see [`Listener`](crate::Listener).
    ///
    /// ```
    /// use annulus_socket::{Address, SocketOptions};
    ///
    /// let listener = SocketOptions::new().listen(&Address::Udp("127.0.0.1:0".into()))?;
    /// assert_ne!(listener.address(), &Address::Udp("127.0.0.1:0".into()), "the kernel chose a port");
    /// # Ok::<(), annulus_channel::OpenError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`OpenReason::Exists`] if somebody listens there, or something else has the path;
    /// [`OpenReason::AddressInUse`] if somebody has the port; [`OpenReason::UnknownHost`];
    /// [`OpenReason::Limit`] if the path is too long or a buffer too large;
    /// [`OpenReason::Permission`], [`OpenReason::NotFound`] (the directory) and
    /// [`OpenReason::Os`] as the system says.
    pub fn listen(&self, address: &Address) -> Result<crate::Listener, OpenError> {
        crate::Listener::bind(self, address)
    }
}

/// A connected pair of Unix sockets.
pub(crate) fn sockets(kind: Kind) -> Result<(OwnedFd, OwnedFd), OpenReason> {
    let flags = SockFlag::SOCK_CLOEXEC;
    socketpair(AddressFamily::Unix, unix_type(kind)?, None, flags).map_err(|e| os("socketpair", e))
}

/// The type of a Unix socket.
pub(crate) fn unix_type(kind: Kind) -> Result<SockType, OpenReason> {
    match kind {
        Kind::UnixStream => Ok(SockType::Stream),
        Kind::UnixSeqpacket => Ok(SockType::SeqPacket),
        Kind::UnixDatagram => Ok(SockType::Datagram),
        Kind::Tcp | Kind::Udp => Err(OpenReason::Name {
            expected: "a Unix kind of socket; TCP and UDP have no pairs",
        }),
    }
}
