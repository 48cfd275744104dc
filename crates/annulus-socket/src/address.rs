//! Where two ends meet: a kind of socket, and a path or a host and port.

use annulus_channel::{OpenError, OpenReason};
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The longest path of a Unix socket, in bytes; the kernel wants a zero after it.
pub const MAX_PATH: usize = 107;

/// The kinds of socket.
///
/// ```
/// use annulus_socket::Kind;
///
/// assert_eq!(Kind::UnixSeqpacket.to_string(), "unix-seqpacket");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `AF_UNIX`, `SOCK_STREAM`: bytes in order; records are framed.
    UnixStream,
    /// `AF_UNIX`, `SOCK_SEQPACKET`: a connection of whole messages.
    UnixSeqpacket,
    /// `AF_UNIX`, `SOCK_DGRAM`: whole messages, nothing lost, nothing reordered on Linux.
    UnixDatagram,
    /// TCP, over IPv4 or IPv6; records are framed.
    Tcp,
    /// UDP, over IPv4 or IPv6: whole messages, some of which may be lost.
    Udp,
}

impl Kind {
    /// Whether both ends are on one machine, and the kernel vouches for the peer's user.
    pub(crate) fn is_unix(self) -> bool {
        !matches!(self, Self::Tcp | Self::Udp)
    }
}

impl Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnixStream => "unix",
            Self::UnixSeqpacket => "unix-seqpacket",
            Self::UnixDatagram => "unix-dgram",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Where two ends meet.
///
/// ```
/// use annulus_socket::{Address, Kind};
///
/// let orders: Address = "unix:/run/orders.sock".parse()?;
/// assert_eq!(orders, Address::UnixStream("/run/orders.sock".into()));
///
/// let far: Address = "tcp:localhost:7000".parse()?;
/// assert_eq!((far.kind(), far.to_string().as_str()), (Kind::Tcp, "tcp:localhost:7000"));
///
/// let error = "unix".parse::<Address>().unwrap_err();
/// assert!(error.to_string().starts_with("unix: not a name; expected "));
/// # Ok::<(), annulus_channel::OpenError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// `unix:PATH`, at most [`MAX_PATH`] bytes.
    UnixStream(PathBuf),
    /// `unix-seqpacket:PATH`, at most [`MAX_PATH`] bytes.
    UnixSeqpacket(PathBuf),
    /// `unix-dgram:PATH`, at most [`MAX_PATH`] bytes.
    UnixDatagram(PathBuf),
    /// `tcp:HOST:PORT`; the host may be a name, an IPv4 address, or an IPv6 address in brackets.
    Tcp(String),
    /// `udp:HOST:PORT`, likewise.
    Udp(String),
}

impl Address {
    /// The kind of socket.
    ///
    /// ```
    /// use annulus_socket::{Address, Kind};
    ///
    /// assert_eq!(Address::Udp("localhost:0".into()).kind(), Kind::Udp);
    /// ```
    pub fn kind(&self) -> Kind {
        match self {
            Self::UnixStream(_) => Kind::UnixStream,
            Self::UnixSeqpacket(_) => Kind::UnixSeqpacket,
            Self::UnixDatagram(_) => Kind::UnixDatagram,
            Self::Tcp(_) => Kind::Tcp,
            Self::Udp(_) => Kind::Udp,
        }
    }

    /// The path of a Unix socket.
    ///
    /// ```
    /// use annulus_socket::Address;
    /// use std::path::Path;
    ///
    /// let address = Address::UnixStream("/run/orders.sock".into());
    /// assert_eq!(address.path(), Some(Path::new("/run/orders.sock")));
    /// assert_eq!(Address::Tcp("localhost:7000".into()).path(), None);
    /// ```
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::UnixStream(path) | Self::UnixSeqpacket(path) | Self::UnixDatagram(path) => {
                Some(path)
            }
            Self::Tcp(_) | Self::Udp(_) => None,
        }
    }

    /// An error of this address.
    pub(crate) fn error(&self, reason: OpenReason) -> OpenError {
        OpenError::new(self, reason)
    }
}

impl Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(place) | Self::Udp(place) => write!(f, "{}:{place}", self.kind()),
            Self::UnixStream(path) | Self::UnixSeqpacket(path) | Self::UnixDatagram(path) => {
                write!(f, "{}:{}", self.kind(), path.display())
            }
        }
    }
}

impl FromStr for Address {
    type Err = OpenError;

    fn from_str(text: &str) -> Result<Self, OpenError> {
        let (kind, place) = text.split_once(':').unwrap_or((text, ""));
        let port = place.rsplit_once(':').map(|(_, port)| port);
        let has_port = port.is_some_and(|port| port.parse::<u16>().is_ok());
        match kind {
            "unix" if !place.is_empty() => Ok(Self::UnixStream(place.into())),
            "unix-seqpacket" if !place.is_empty() => Ok(Self::UnixSeqpacket(place.into())),
            "unix-dgram" if !place.is_empty() => Ok(Self::UnixDatagram(place.into())),
            "tcp" if has_port => Ok(Self::Tcp(place.into())),
            "udp" if has_port => Ok(Self::Udp(place.into())),
            _ => Err(OpenError::new(
                text,
                OpenReason::Name {
                    expected: "unix:PATH, unix-seqpacket:PATH, unix-dgram:PATH, tcp:HOST:PORT or udp:HOST:PORT",
                },
            )),
        }
    }
}
