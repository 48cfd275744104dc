//! The end that is there first: it listens, and takes those who come.

use crate::address::{Address, Kind};
use crate::connect::peer_user;
use crate::file::{self, Name};
use crate::greeting::Greeting;
use crate::limits::{self, os};
use crate::link::{self, End, Link, Met};
use crate::meet;
use crate::options::{SocketOptions, unix_type};
use crate::place::{bind_any, io_reason, nonblocking};
use crate::stream::{Bytes, Plain};
use crate::udp;
use crate::wait;
use annulus_channel::{OpenError, OpenReason};
use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, listen, setsockopt, socket, sockopt};
use std::fmt;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long one who has connected may take to say who it is.
pub(crate) const GREETING: Duration = Duration::from_secs(10);

/// A socket that listens at an address, until it is dropped; then a Unix socket's file is removed.
///
/// Every connection is one channel, with one sender and one receiver. Either end may be the one that
/// listens: [`accept`](Self::accept) gives the end that is asked for, and the peer has to
/// [`connect`](SocketOptions::connect) as the other. For requests and responses accept twice, once
/// as each. A UDP listener becomes the one channel that it accepts; the others go on.
///
/// ```
/// use annulus_channel::{Receiver as _, Sender as _};
/// use annulus_socket::{Address, Receiver, Sender, SocketOptions};
///
/// let path = std::env::temp_dir().join(format!("annulus-{}.sock", std::process::id()));
/// let address = Address::UnixSeqpacket(path);
/// let listener = SocketOptions::new().listen(&address)?;
/// let server = std::thread::spawn(move || {
///     let mut requests: Receiver = listener.accept()?;
///     let mut responses: Sender = listener.accept()?;
///     let mut request = Vec::new();
///     requests.recv(&mut request).expect("a request");
///     request.make_ascii_uppercase();
///     responses.send(&request).expect("the client waits");
///     Ok::<_, annulus_channel::OpenError>(())
/// });
/// let mut requests: Sender = SocketOptions::new().connect(&address)?;
/// let mut responses: Receiver = SocketOptions::new().connect(&address)?;
/// requests.send(b"hello")?;
/// let mut response = Vec::new();
/// responses.recv(&mut response)?;
/// assert_eq!(response, b"HELLO");
/// server.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Listener {
    /// Goes first: as long as the name is there, the socket behind it lives.
    name: Option<Name>,
    socket: Socket,
    address: Address,
    options: SocketOptions,
}

enum Socket {
    /// Stream or seqpacket: the standard library's type does not mind.
    Unix(UnixListener),
    Datagram(OwnedFd),
    Tcp(TcpListener),
    /// Until it has become a channel.
    Udp(Mutex<Option<UdpSocket>>),
}

impl Listener {
    pub(crate) fn bind(options: &SocketOptions, address: &Address) -> Result<Self, OpenError> {
        let fail = |reason| address.error(reason);
        let (name, socket, address) = match address {
            Address::Tcp(place) => {
                let tcp = bind_any(address, place, TcpListener::bind)?;
                let at = tcp
                    .local_addr()
                    .map_err(|e| fail(io_reason("getsockname", &e)))?;
                nonblocking(tcp.set_nonblocking(true)).map_err(fail)?;
                // Of no use to the listener itself, but a limit is told before anybody comes.
                options.settle(Kind::Tcp, tcp.as_fd()).map_err(fail)?;
                (None, Socket::Tcp(tcp), Address::Tcp(at.to_string()))
            }
            Address::Udp(place) => {
                let udp = bind_any(address, place, UdpSocket::bind)?;
                let at = udp
                    .local_addr()
                    .map_err(|e| fail(io_reason("getsockname", &e)))?;
                nonblocking(udp.set_nonblocking(true)).map_err(fail)?;
                options.settle(Kind::Udp, udp.as_fd()).map_err(fail)?;
                let udp = Socket::Udp(Mutex::new(Some(udp)));
                (None, udp, Address::Udp(at.to_string()))
            }
            Address::UnixStream(path)
            | Address::UnixSeqpacket(path)
            | Address::UnixDatagram(path) => {
                let kind = address.kind();
                let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
                let fd = socket(
                    AddressFamily::Unix,
                    unix_type(kind).map_err(fail)?,
                    flags,
                    None,
                )
                .map_err(|e| fail(os("socket", e)))?;
                options.settle(kind, fd.as_fd()).map_err(fail)?;
                let datagram = kind == Kind::UnixDatagram;
                let name = file::publish(address, path, &fd, options.mode, || {
                    if datagram {
                        // Whoever comes shows who it is.
                        setsockopt(&fd, sockopt::PassCred, &true).map_err(|e| os("setsockopt", e))
                    } else {
                        listen(&fd, Backlog::MAXALLOWABLE).map_err(|e| os("listen", e))
                    }
                })?;
                let socket = if datagram {
                    Socket::Datagram(fd)
                } else {
                    Socket::Unix(UnixListener::from(fd))
                };
                (Some(name), socket, address.clone())
            }
        };
        Ok(Self {
            name,
            socket,
            address,
            options: options.clone(),
        })
    }

    /// Where it listens, with the port that the kernel chose where port 0 was asked for.
    ///
    /// ```
    /// use annulus_socket::{Address, SocketOptions};
    ///
    /// let listener = SocketOptions::new().listen(&Address::Tcp("127.0.0.1:0".into()))?;
    /// println!("listening at {}", listener.address());
    /// # Ok::<(), annulus_channel::OpenError>(())
    /// ```
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Waits for somebody to connect, and makes the channel. Whoever leaves without a word is passed
    /// over. After an error the listener still listens.
    ///
    /// ```
    /// use annulus_channel::OpenError;
    /// use annulus_socket::{Listener, Receiver};
    ///
    /// fn next(listener: &Listener) -> Result<Receiver, OpenError> {
    ///     listener.accept()
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Who came is refused, and told so where the kind of socket allows:
    /// [`OpenReason::Stranger`], a process of a user who is not expected;
    /// [`OpenReason::Mismatch`], the same end as this one, or something else altogether;
    /// [`OpenReason::TimedOut`], one who says nothing for ten seconds.
    /// [`OpenReason::Taken`]: a UDP listener has become a channel.
    /// [`OpenReason::Limit`] and [`OpenReason::Os`] as the system says.
    pub fn accept<E: End>(&self) -> Result<E, OpenError> {
        self.accept_until(None)
    }

    /// As [`accept`](Self::accept), for no longer than until `deadline`.
    ///
    /// ```
    /// use annulus_channel::OpenReason;
    /// use annulus_socket::{Address, Sender, SocketOptions};
    /// use std::time::{Duration, Instant};
    ///
    /// let listener = SocketOptions::new().listen(&Address::Tcp("127.0.0.1:0".into()))?;
    /// let nobody = listener
    ///     .accept_deadline::<Sender>(Instant::now() + Duration::from_millis(10))
    ///     .unwrap_err();
    /// assert_eq!(nobody.reason, OpenReason::TimedOut);
    /// # Ok::<(), annulus_channel::OpenError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept); [`OpenReason::TimedOut`] also if nobody has come by then.
    pub fn accept_deadline<E: End>(&self, deadline: Instant) -> Result<E, OpenError> {
        self.accept_until(Some(deadline))
    }

    /// Waits until somebody has come, for no longer than until `deadline`, and accepts nobody; false if nobody has come. For one who
    /// must not be held up by the greeting, or gives each guest a time of its own.
    ///
    /// ```
    /// use annulus_socket::{Address, SocketOptions};
    /// use std::time::{Duration, Instant};
    ///
    /// let listener = SocketOptions::new().listen(&Address::Tcp("127.0.0.1:0".into()))?;
    /// assert!(!listener.has_come(Some(Instant::now() + Duration::from_millis(10)))?);
    /// # Ok::<(), annulus_channel::OpenError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`OpenReason::Taken`]: a UDP listener has become a channel. [`OpenReason::Os`] as the system says.
    pub fn has_come(&self, deadline: Option<Instant>) -> Result<bool, OpenError> {
        let come = |fd| wait::sleep(fd, PollFlags::POLLIN, deadline).map_err(limits::fault);
        let come = match &self.socket {
            Socket::Unix(unix) => come(unix.as_fd()),
            Socket::Datagram(fd) => come(fd.as_fd()),
            Socket::Tcp(tcp) => come(tcp.as_fd()),
            Socket::Udp(place) => match &*place.lock().unwrap_or_else(PoisonError::into_inner) {
                Some(udp) => come(udp.as_fd()),
                None => Err(OpenReason::Taken {
                    side: "peer",
                    pid: 0,
                }),
            },
        };
        come.map_err(|reason| self.address.error(reason))
    }

    fn accept_until<E: End>(&self, until: Option<Instant>) -> Result<E, OpenError> {
        let kind = self.address.kind();
        loop {
            let met = match &self.socket {
                Socket::Udp(udp) => self.accept_post::<E>(udp, until).map(Some),
                Socket::Datagram(fd) => self.accept_line::<E>(fd, until),
                Socket::Unix(_) | Socket::Tcp(_) => self.accept_stream::<E>(until),
            };
            if let Some((link, max)) = met.map_err(|reason| self.address.error(reason))? {
                return Ok(E::of(Met { link, kind, max }));
            }
        }
    }

    /// A connection, and the longest record; `None` for one that left without a word.
    fn accept_stream<E: End>(
        &self,
        until: Option<Instant>,
    ) -> Result<Option<(Link, usize)>, OpenReason> {
        let kind = self.address.kind();
        let fd = loop {
            let (listener, accepted) = match &self.socket {
                Socket::Tcp(tcp) => (tcp.as_fd(), tcp.accept().map(|(tcp, _)| OwnedFd::from(tcp))),
                Socket::Unix(unix) => (
                    unix.as_fd(),
                    unix.accept().map(|(unix, _)| OwnedFd::from(unix)),
                ),
                _ => unreachable!("datagrams are not accepted"),
            };
            match accepted {
                Ok(fd) => break fd,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => pause(listener, until)?,
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    _ => return Err(io_reason("accept", &error)),
                },
            }
        };
        self.options.settle(kind, fd.as_fd())?;
        let own = Greeting {
            role: E::ROLE,
            kind,
            max: self.options.longest(kind, E::ROLE, fd.as_fd())? as u64,
        };
        let until = wait::earlier(until, Instant::now() + GREETING);
        if kind.is_unix() {
            if let Err(stranger) = peer_user(fd.as_fd()).and_then(|user| self.options.welcome(user))
            {
                let _ = link::say(&mut Plain(fd), &own.refusal(), until);
                return Err(stranger);
            }
        }
        if kind == Kind::UnixSeqpacket {
            let mut bytes = Plain(fd);
            let max = link::answer(&mut bytes, own, until)?;
            return Ok(max.map(|max| (Link::local(kind, bytes.0, None), max)));
        }
        #[cfg(feature = "tls")]
        if let (Kind::Tcp, Some(tls)) = (kind, &self.options.tls) {
            let Some(secret) = tls.accept(fd, until)? else {
                return Ok(None);
            };
            return answer(Box::new(secret), own, until);
        }
        answer(Box::new(Plain(fd)), own, until)
    }

    fn accept_line<E: End>(
        &self,
        listener: &OwnedFd,
        until: Option<Instant>,
    ) -> Result<Option<(Link, usize)>, OpenReason> {
        let kind = Kind::UnixDatagram;
        let guest = loop {
            match meet::take(listener) {
                Err(Errno::EAGAIN) => pause(listener.as_fd(), until)?,
                result => break result.map_err(|e| os("recvmsg", e))?,
            }
        };
        let Some(guest) = guest else { return Ok(None) };
        self.options.settle(kind, guest.socket.as_fd())?;
        let own = Greeting {
            role: E::ROLE,
            kind,
            max: self.options.longest(kind, E::ROLE, guest.socket.as_fd())? as u64,
        };
        let mut line = Plain(guest.line);
        if let Err(stranger) = self.options.welcome(guest.user) {
            let _ = link::say(&mut line, &own.refusal(), until);
            return Err(stranger);
        }
        let said = link::say(&mut line, &own.bytes(), until)?;
        let max = own.meet(&guest.greeting)?;
        Ok(said.then_some((Link::local(kind, guest.socket, Some(line.0)), max)))
    }

    fn accept_post<E: End>(
        &self,
        place: &Mutex<Option<UdpSocket>>,
        until: Option<Instant>,
    ) -> Result<(Link, usize), OpenReason> {
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(udp) = place.as_ref() else {
            return Err(OpenReason::Taken {
                side: "peer",
                pid: 0,
            });
        };
        let mut datagram = vec![0; 1 << 16];
        let ((channel, heard), from) = loop {
            match udp.recv_from(&mut datagram) {
                Ok((len, from)) => {
                    if let Some(hello) = udp::hello(&datagram[..len]) {
                        break (hello, from);
                    }
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => pause(udp.as_fd(), until)?,
                    // It concerns an answer to somebody who was refused.
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused => {}
                    _ => return Err(io_reason("recvfrom", &error)),
                },
            }
        };
        let own = Greeting {
            role: E::ROLE,
            kind: Kind::Udp,
            max: self.options.longest(Kind::Udp, E::ROLE, udp.as_fd())? as u64,
        };
        // If it is lost, there is another hello, which is answered again.
        let _ = udp.send_to(&udp::welcome(channel, &own.bytes()), from);
        let max = own.meet(&heard)?;
        udp.connect(from).map_err(|e| io_reason("connect", &e))?;
        let udp = place.take().expect("it was there");
        let post = udp::Post::new(udp, channel, Some(own.bytes()));
        Ok((Link::Post(Box::new(post)), max))
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("address", &self.address)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The greetings over a stream.
fn answer(
    mut bytes: Box<dyn Bytes>,
    own: Greeting,
    until: Option<Instant>,
) -> Result<Option<(Link, usize)>, OpenReason> {
    let max = link::answer(bytes.as_mut(), own, until)?;
    Ok(max.map(|max| (Link::Stream(bytes), max)))
}

/// Waits for somebody to come.
fn pause(fd: BorrowedFd<'_>, until: Option<Instant>) -> Result<(), OpenReason> {
    if wait::passed(until) {
        return Err(OpenReason::TimedOut);
    }
    wait::sleep(fd, PollFlags::POLLIN, until).map_err(limits::fault)?;
    Ok(())
}
