//! The end that comes: it connects to one that listens.

use crate::address::{Address, Kind};
use crate::file::unix_address;
use crate::greeting::Greeting;
use crate::limits::{self, os};
use crate::link::{self, End, Link, Met};
use crate::meet;
use crate::options::{SocketOptions, sockets, unix_type};
use crate::place::{io_reason, no_address, resolve};
use crate::stream::{Bytes, Plain};
use crate::udp::Post;
use crate::wait;
use annulus_channel::{OpenError, OpenReason};
use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{AddressFamily, SockFlag, connect, getsockopt, setsockopt, socket, sockopt};
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How long until the next try, where nobody listens yet.
const RETRY: Duration = Duration::from_millis(5);
/// How long until the next hello over UDP.
const HELLO: Duration = Duration::from_millis(50);

impl SocketOptions {
    /// Connects to whoever listens at `address`, and waits until it accepts. The end is the one that is
    /// asked for; the listener has to accept as the other.
    ///
    /// ```no_run
    /// use annulus_channel::Sender as _;
    /// use annulus_socket::{Sender, SocketOptions};
    ///
    /// let mut tx: Sender = SocketOptions::new().connect(&"unix:/run/orders.sock".parse()?)?;
    /// tx.send(b"an order")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`OpenReason::NotFound`] if there is no such path, [`OpenReason::Refused`] if nobody listens there,
    /// or stops before it accepts. (Over UDP a machine that does not answer at all cannot be told from
    /// one that will; give a deadline.) [`OpenReason::UnknownHost`] if the name of the host leads
    /// nowhere, [`OpenReason::Unreachable`] if no way leads to it.
    /// [`OpenReason::Stranger`] if the listener is of a user who is not expected,
    /// [`OpenReason::Permission`] if we are, or may not write to the socket file;
    /// [`OpenReason::Mismatch`] if it is the same end, or another kind of socket;
    /// [`OpenReason::Limit`] and [`OpenReason::Os`] as the system says.
    pub fn connect<E: End>(&self, address: &Address) -> Result<E, OpenError> {
        self.connect_until(address, None, false)
    }

    /// As [`connect`](Self::connect), and also waits for somebody to listen, until `deadline`.
    ///
    /// ```
    /// use annulus_channel::OpenReason;
    /// use annulus_socket::{Address, Sender, SocketOptions};
    /// use std::time::{Duration, Instant};
    ///
    /// let nobody = Address::UnixStream("/nonexistent/socket".into());
    /// let soon = Instant::now() + Duration::from_millis(10);
    /// let error = SocketOptions::new().connect_deadline::<Sender>(&nobody, soon).unwrap_err();
    /// assert_eq!(error.reason, OpenReason::TimedOut);
    /// # Ok::<(), annulus_channel::OpenError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect), with [`OpenReason::TimedOut`] in place of [`OpenReason::NotFound`]
    /// and [`OpenReason::Refused`].
    pub fn connect_deadline<E: End>(
        &self,
        address: &Address,
        deadline: Instant,
    ) -> Result<E, OpenError> {
        self.connect_until(address, Some(deadline), true)
    }

    /// As [`connect`](Self::connect), for no longer than until `deadline`: it does not wait for somebody to listen,
    /// only for an answer.
    ///
    /// ```
    /// use annulus_channel::OpenReason;
    /// use annulus_socket::{Address, Sender, SocketOptions};
    /// use std::time::{Duration, Instant};
    ///
    /// let nobody = Address::UnixStream("/nonexistent/socket".into());
    /// let late = Instant::now() + Duration::from_secs(60);
    /// let error = SocketOptions::new().connect_once::<Sender>(&nobody, late).unwrap_err();
    /// assert_eq!(error.reason, OpenReason::NotFound);
    /// # Ok::<(), annulus_channel::OpenError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect); [`OpenReason::TimedOut`] if no answer came by then.
    pub fn connect_once<E: End>(
        &self,
        address: &Address,
        deadline: Instant,
    ) -> Result<E, OpenError> {
        self.connect_until(address, Some(deadline), false)
    }

    fn connect_until<E: End>(
        &self,
        address: &Address,
        until: Option<Instant>,
        waits: bool,
    ) -> Result<E, OpenError> {
        loop {
            let met = match address {
                Address::Tcp(place) => self.connect_tcp::<E>(place, until),
                Address::Udp(place) => self.connect_udp::<E>(place, until),
                Address::UnixDatagram(path) => self.connect_line::<E>(path, until),
                Address::UnixStream(path) | Address::UnixSeqpacket(path) => {
                    self.connect_unix::<E>(address.kind(), path, until)
                }
            };
            let reason = match met {
                Ok(Some((link, max))) => {
                    let kind = address.kind();
                    return Ok(E::of(Met { link, kind, max }));
                }
                Ok(None) => OpenReason::Refused,
                Err(reason) => reason,
            };
            let may_come = matches!(reason, OpenReason::NotFound | OpenReason::Refused);
            if !may_come || !waits {
                return Err(address.error(reason));
            }
            if wait::passed(until) {
                return Err(address.error(OpenReason::TimedOut));
            }
            thread::sleep(RETRY);
        }
    }

    fn own<E: End>(&self, kind: Kind, fd: BorrowedFd<'_>) -> Result<Greeting, OpenReason> {
        let max = self.longest(kind, E::ROLE, fd)? as u64;
        Ok(Greeting {
            role: E::ROLE,
            kind,
            max,
        })
    }

    fn connect_tcp<E: End>(
        &self,
        place: &str,
        until: Option<Instant>,
    ) -> Result<Option<(Link, usize)>, OpenReason> {
        let mut last = no_address();
        for at in resolve(place)? {
            let time = match until {
                Some(until) => until.saturating_duration_since(Instant::now()),
                None => Duration::from_secs(3600),
            };
            // Zero is refused as no time at all.
            match TcpStream::connect_timeout(&at, time.max(Duration::from_millis(1))) {
                Ok(stream) => {
                    let fd = OwnedFd::from(stream);
                    self.settle(Kind::Tcp, fd.as_fd())?;
                    let own = self.own::<E>(Kind::Tcp, fd.as_fd())?;
                    #[cfg(feature = "tls")]
                    if let Some(tls) = &self.tls {
                        let Some(secret) = tls.connect(fd, place, until)? else {
                            return Ok(None);
                        };
                        return greet(Box::new(secret), own, until);
                    }
                    return greet(Box::new(Plain(fd)), own, until);
                }
                Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                    last = OpenReason::TimedOut;
                }
                Err(error) => last = io_reason("connect", &error),
            }
        }
        Err(last)
    }

    fn connect_udp<E: End>(
        &self,
        place: &str,
        until: Option<Instant>,
    ) -> Result<Option<(Link, usize)>, OpenReason> {
        let mut addresses = resolve(place)?;
        let to = addresses.next().ok_or_else(no_address)?;
        let own: SocketAddr = match to {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let udp = UdpSocket::bind(own).map_err(|e| io_reason("bind", &e))?;
        udp.connect(to).map_err(|e| io_reason("connect", &e))?;
        self.settle(Kind::Udp, udp.as_fd())?;
        let own = self.own::<E>(Kind::Udp, udp.as_fd())?;
        // A number that no other channel between these ports has, and that nobody guesses.
        let channel = RandomState::new().hash_one(std::process::id());
        let mut post = Post::new(udp, channel, None);
        loop {
            match post.say_hello(own) {
                Err(Errno::ECONNREFUSED) => return Ok(None),
                Err(errno) if errno != Errno::EAGAIN => return Err(os("sendmsg", errno)),
                _ => {}
            }
            let next = Instant::now() + HELLO;
            while !wait::passed(wait::earlier(until, next)) {
                match post.hear_welcome() {
                    Ok(Some(heard)) => {
                        let max = own.meet(&heard)?;
                        return Ok(Some((Link::Post(Box::new(post)), max)));
                    }
                    Ok(None) => {}
                    Err(Errno::ECONNREFUSED) => return Ok(None),
                    Err(errno) => return Err(os("recv", errno)),
                }
                let fd = post.socket().as_fd();
                let until = wait::earlier(until, next);
                wait::sleep(fd, PollFlags::POLLIN, until).map_err(limits::fault)?;
            }
            if wait::passed(until) {
                return Err(OpenReason::TimedOut);
            }
        }
    }

    fn connect_unix<E: End>(
        &self,
        kind: Kind,
        path: &Path,
        until: Option<Instant>,
    ) -> Result<Option<(Link, usize)>, OpenReason> {
        let fd = dial(kind, path, until)?;
        self.welcome(peer_user(fd.as_fd())?)?;
        self.settle(kind, fd.as_fd())?;
        let own = self.own::<E>(kind, fd.as_fd())?;
        let mut bytes = Plain(fd);
        let max = link::greet(&mut bytes, own, until)?;
        Ok(max.map(|max| (Link::local(kind, bytes.0, None), max)))
    }

    fn connect_line<E: End>(
        &self,
        path: &Path,
        until: Option<Instant>,
    ) -> Result<Option<(Link, usize)>, OpenReason> {
        let kind = Kind::UnixDatagram;
        let door = dial(kind, path, until)?;
        let (socket, far_socket) = sockets(kind)?;
        let (line, far_line) = sockets(Kind::UnixStream)?;
        // The answer shows whose it is.
        setsockopt(&line, sockopt::PassCred, &true).map_err(|e| os("setsockopt", e))?;
        self.settle(kind, socket.as_fd())?;
        let own = self.own::<E>(kind, socket.as_fd())?;
        loop {
            match meet::hand_over(&door, &own.bytes(), &far_socket, &far_line) {
                Ok(()) => break,
                // Many are waiting to be accepted (net.unix.max_dgram_qlen).
                Err(Errno::EAGAIN) => pause(door.as_fd(), PollFlags::POLLOUT, until)?,
                Err(Errno::ECONNRESET) => return Ok(None),
                Err(errno) => return Err(os("sendmsg", errno)),
            }
        }
        // They are the listener's now: when it has gone, the line ends.
        drop((far_socket, far_line));
        let user = loop {
            match meet::user_of(&line) {
                Ok(Some(user)) => break user,
                Ok(None) => return Ok(None),
                Err(Errno::EAGAIN) => pause(line.as_fd(), PollFlags::POLLIN, until)?,
                Err(errno) => return Err(os("recvmsg", errno)),
            }
        };
        self.welcome(user)?;
        let mut line = Plain(line);
        let Some(heard) = link::hear(&mut line, until)? else {
            return Ok(None);
        };
        let max = own.meet(&heard)?;
        Ok(Some((Link::local(kind, socket, Some(line.0)), max)))
    }
}

/// The greetings over a stream.
fn greet(
    mut bytes: Box<dyn Bytes>,
    own: Greeting,
    until: Option<Instant>,
) -> Result<Option<(Link, usize)>, OpenReason> {
    let max = link::greet(bytes.as_mut(), own, until)?;
    Ok(max.map(|max| (Link::Stream(bytes), max)))
}

/// A Unix socket that is connected to the one at `path`.
fn dial(kind: Kind, path: &Path, until: Option<Instant>) -> Result<OwnedFd, OpenReason> {
    let address = unix_address(path)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd =
        socket(AddressFamily::Unix, unix_type(kind)?, flags, None).map_err(|e| os("socket", e))?;
    loop {
        match connect(fd.as_raw_fd(), &address) {
            Ok(()) => return Ok(fd),
            // As many as net.core.somaxconn allows are waiting to be accepted.
            Err(Errno::EAGAIN | Errno::EINTR) if !wait::passed(until) => thread::sleep(RETRY),
            Err(Errno::EAGAIN | Errno::EINTR) => return Err(OpenReason::TimedOut),
            Err(Errno::EPROTOTYPE) => return Err(other_kind(kind)),
            Err(errno) => return Err(os("connect", errno)),
        }
    }
}

/// The error of a path with a socket that is not of this kind.
fn other_kind(kind: Kind) -> OpenReason {
    let found = [Kind::UnixStream, Kind::UnixSeqpacket, Kind::UnixDatagram]
        .into_iter()
        .filter(|&other| other != kind)
        .map(|other| other.to_string())
        .collect::<Vec<_>>()
        .join(" or ");
    OpenReason::Mismatch {
        what: "kind of socket",
        expected: kind.to_string(),
        found,
    }
}

/// The user who has the other end of a Unix socket.
pub(crate) fn peer_user(fd: BorrowedFd<'_>) -> Result<u32, OpenReason> {
    let peer = getsockopt(&fd, sockopt::PeerCredentials).map_err(|e| os("getsockopt", e))?;
    Ok(peer.uid())
}

fn pause(fd: BorrowedFd<'_>, events: PollFlags, until: Option<Instant>) -> Result<(), OpenReason> {
    if wait::passed(until) {
        return Err(OpenReason::TimedOut);
    }
    wait::sleep(fd, events, until).map_err(limits::fault)?;
    Ok(())
}
