//! Names of channels: a scheme, which says the transport, a colon, and what the transport calls the place.

use crate::error::OpenError;
use annulus::Location;
use std::fmt::{self, Display};
use std::path::PathBuf;
use std::str::FromStr;

/// The transports, by the word that begins a [`Url`].
///
/// ```
/// use annulus_transports::Scheme;
///
/// assert_eq!(Scheme::UnixSeqpacket.to_string(), "unix-seqpacket");
/// assert_eq!(Scheme::ALL.len(), 14);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Scheme {
    /// A ring in shared memory: the engine.
    Ring,
    /// An anonymous pipe, between a process and its child.
    Pipe,
    /// A pipe with a path.
    Fifo,
    /// A Unix socket of type stream.
    Unix,
    /// A Unix socket of type sequential packet.
    UnixSeqpacket,
    /// A Unix socket of type datagram.
    UnixDgram,
    /// TCP.
    Tcp,
    /// TCP under TLS, with a certificate at either end.
    Tls,
    /// UDP.
    Udp,
    /// A POSIX message queue.
    Mq,
    /// A System V message queue.
    Sysv,
    /// The textbook's bounded buffer, spinning.
    Classic,
    /// The textbook's bounded buffer, guarded by semaphores.
    Sem,
    /// A file that is appended to and followed.
    Spool,
}

impl Scheme {
    /// What decides on the longest record, and the setting that changes it, for an error to say. The number is each
    /// channel's own: [`Capabilities::max_record`](annulus_channel::Capabilities::max_record).
    pub fn record_limit(self) -> &'static str {
        match self {
            Self::Ring => "half the ring, less 8 bytes (--capacity, when it is created)",
            Self::Classic | Self::Sem => "a slot (chosen when it is created)",
            Self::Fifo | Self::Pipe | Self::Unix | Self::Tcp | Self::Tls | Self::Spool => {
                "the transport's own"
            }
            Self::UnixSeqpacket | Self::UnixDgram => "the socket's send buffer (net.core.wmem_max)",
            Self::Udp => "a datagram",
            Self::Mq => "chosen when the queue is made (fs.mqueue.msgsize_max)",
            Self::Sysv => "chosen when the queue is made (kernel.msgmax, kernel.msgmnb)",
        }
    }

    /// Every scheme.
    pub const ALL: [Self; 14] = [
        Self::Ring,
        Self::Pipe,
        Self::Fifo,
        Self::Unix,
        Self::UnixSeqpacket,
        Self::UnixDgram,
        Self::Tcp,
        Self::Tls,
        Self::Udp,
        Self::Mq,
        Self::Sysv,
        Self::Classic,
        Self::Sem,
        Self::Spool,
    ];

    /// The word before the colon.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Pipe => "pipe",
            Self::Fifo => "fifo",
            Self::Unix => "unix",
            Self::UnixSeqpacket => "unix-seqpacket",
            Self::UnixDgram => "unix-dgram",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Udp => "udp",
            Self::Mq => "mq",
            Self::Sysv => "sysv",
            Self::Classic => "classic",
            Self::Sem => "sem",
            Self::Spool => "spool",
        }
    }

    /// Whether the receiver listens and the sender connects, and waits until it is accepted.
    pub fn is_socket(self) -> bool {
        matches!(
            self,
            Self::Unix | Self::UnixSeqpacket | Self::UnixDgram | Self::Tcp | Self::Tls | Self::Udp
        )
    }

    /// Whether the receiver makes it, unasked, and the sender comes to it.
    pub fn is_met(self) -> bool {
        self.is_socket() || self == Self::Fifo
    }

    /// How a name of this scheme looks.
    pub fn form(self) -> &'static str {
        match self {
            Self::Ring => "ring:NAME",
            Self::Pipe => "pipe:",
            Self::Fifo => "fifo:PATH",
            Self::Unix => "unix:PATH",
            Self::UnixSeqpacket => "unix-seqpacket:PATH",
            Self::UnixDgram => "unix-dgram:PATH",
            Self::Tcp => "tcp:HOST:PORT",
            Self::Tls => "tls:HOST:PORT",
            Self::Udp => "udp:HOST:PORT",
            Self::Mq => "mq:/NAME",
            Self::Sysv => "sysv:KEY",
            Self::Classic => "classic:NAME",
            Self::Sem => "sem:NAME",
            Self::Spool => "spool:PATH",
        }
    }
}

impl Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// The name of a channel of any transport.
///
/// A name without a scheme is a ring's, in POSIX shared memory, or in a file if it begins with `/`, `./`
/// or `../`. So are `shm:NAME`, `file:PATH`, and `ring:` before any of these. `ring:sysv:KEY` is a ring in a
/// System V segment; `sysv:KEY` alone is the System V message queue. A KEY is decimal or `0x…`, and not 0.
///
/// ```
/// use annulus_transports::{Scheme, Url};
///
/// for (word, scheme) in [
///     ("orders", Scheme::Ring),
///     ("./orders.ring", Scheme::Ring),
///     ("ring:sysv:0x2a", Scheme::Ring),
///     ("sysv:0x2a", Scheme::Sysv),
///     ("tcp:localhost:7000", Scheme::Tcp),
///     ("mq:/orders", Scheme::Mq),
/// ] {
///     let url: Url = word.parse()?;
///     assert_eq!((url.scheme(), url.to_string().as_str()), (scheme, word));
/// }
/// let error = "http:orders".parse::<Url>().unwrap_err();
/// assert!(error.to_string().contains("expected ring:NAME, "));
/// # Ok::<(), annulus_transports::OpenError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Url {
    /// A ring, wherever it lives.
    Ring(Location),
    /// An anonymous pipe. It has no name, and so cannot be opened by one.
    Pipe,
    /// A FIFO at this path.
    Fifo(PathBuf),
    /// A Unix stream socket at this path.
    Unix(PathBuf),
    /// A Unix socket of sequential packets at this path.
    UnixSeqpacket(PathBuf),
    /// A Unix datagram socket at this path.
    UnixDgram(PathBuf),
    /// TCP to or at this host and port.
    Tcp(String),
    /// TCP under TLS to or at this host and port.
    Tls(String),
    /// UDP to or at this host and port.
    Udp(String),
    /// The POSIX message queue of this name, which begins with `/`.
    Mq(String),
    /// The System V message queue with this key.
    Sysv(i32),
    /// The spinning bounded buffer of this name.
    Classic(String),
    /// The bounded buffer of this name that semaphores guard.
    Sem(String),
    /// The spool file at this path.
    Spool(PathBuf),
}

impl Url {
    /// The transport.
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::Ring(_) => Scheme::Ring,
            Self::Pipe => Scheme::Pipe,
            Self::Fifo(_) => Scheme::Fifo,
            Self::Unix(_) => Scheme::Unix,
            Self::UnixSeqpacket(_) => Scheme::UnixSeqpacket,
            Self::UnixDgram(_) => Scheme::UnixDgram,
            Self::Tcp(_) => Scheme::Tcp,
            Self::Tls(_) => Scheme::Tls,
            Self::Udp(_) => Scheme::Udp,
            Self::Mq(_) => Scheme::Mq,
            Self::Sysv(_) => Scheme::Sysv,
            Self::Classic(_) => Scheme::Classic,
            Self::Sem(_) => Scheme::Sem,
            Self::Spool(_) => Scheme::Spool,
        }
    }
}

impl FromStr for Url {
    type Err = OpenError;

    fn from_str(word: &str) -> Result<Self, OpenError> {
        let scheme = scheme(word);
        let Some((scheme, place)) = scheme else {
            return Ok(Self::Ring(location(word, word)?));
        };
        let bad = |expected: &'static str| OpenError::Name {
            name: word.to_owned(),
            reason: format!("expected {expected}"),
        };
        let path = |expected| match place.is_empty() || place.contains('\0') {
            true => Err(bad(expected)),
            false => Ok(PathBuf::from(place)),
        };
        let name = |expected| match place.is_empty() || place.contains(['/', '\0']) {
            true => Err(bad(expected)),
            false => Ok(place.to_owned()),
        };
        Ok(match scheme {
            "shm" | "file" => Self::Ring(location(word, word)?),
            "ring" => Self::Ring(ring(word, place)?),
            "pipe" if place.is_empty() => Self::Pipe,
            "pipe" => return Err(bad("pipe: alone, as a pipe has no name")),
            "fifo" => Self::Fifo(path("fifo:PATH")?),
            "unix" => Self::Unix(path("unix:PATH")?),
            "unix-seqpacket" => Self::UnixSeqpacket(path("unix-seqpacket:PATH")?),
            "unix-dgram" => Self::UnixDgram(path("unix-dgram:PATH")?),
            "tcp" if is_address(place) => Self::Tcp(place.to_owned()),
            "tcp" => return Err(bad("tcp:HOST:PORT, the port from 0 to 65535")),
            "tls" if is_address(place) => Self::Tls(place.to_owned()),
            "tls" => return Err(bad("tls:HOST:PORT, the port from 0 to 65535")),
            "udp" if is_address(place) => Self::Udp(place.to_owned()),
            "udp" => return Err(bad("udp:HOST:PORT, the port from 0 to 65535")),
            "mq" => match place.strip_prefix('/') {
                Some(rest) if !rest.is_empty() && !rest.contains(['/', '\0']) => {
                    Self::Mq(place.to_owned())
                }
                _ => return Err(bad("mq:/NAME, with one / at its beginning")),
            },
            "sysv" => match key(place) {
                Some(key) => Self::Sysv(key),
                None => return Err(bad("sysv:KEY, other than 0, of 32 bits, decimal or 0x…")),
            },
            "classic" => Self::Classic(name("classic:NAME, without /")?),
            "sem" => Self::Sem(name("sem:NAME, without /")?),
            "spool" => Self::Spool(path("spool:PATH")?),
            _ => {
                let forms = Scheme::ALL.map(Scheme::form).join(", ");
                return Err(OpenError::Name {
                    name: word.to_owned(),
                    reason: format!("expected {forms}, or a ring's name or path"),
                });
            }
        })
    }
}

/// The scheme and the rest, if the word has a scheme: letters, digits and hyphens before a colon.
fn scheme(word: &str) -> Option<(&str, &str)> {
    let (scheme, place) = word.split_once(':')?;
    let like = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    scheme.bytes().all(like).then_some((scheme, place))
}

/// A ring, after `ring:`.
fn ring(word: &str, place: &str) -> Result<Location, OpenError> {
    let elsewhere = ["sysv:", "shm:", "file:", "/", "./", "../"];
    match elsewhere.iter().any(|start| place.starts_with(start)) {
        true => location(word, place),
        // The engine knows this prefix too, and with it the rest is a name, whatever is in it.
        false => location(word, word),
    }
}

/// What the engine makes of this part of the word.
fn location(word: &str, part: &str) -> Result<Location, OpenError> {
    part.parse().map_err(|error| OpenError::Name {
        name: word.to_owned(),
        reason: match error {
            annulus::OpenError::Name { reason, .. } => reason.to_owned(),
            other => other.to_string(),
        },
    })
}

fn key(text: &str) -> Option<i32> {
    let key = match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok()? as i32,
        None => text.parse().ok()?,
    };
    (key != 0).then_some(key)
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

impl Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.scheme();
        match self {
            Self::Ring(Location::Shm(name)) if name.contains(':') => write!(f, "ring:{name}"),
            Self::Ring(Location::File(path))
                if !["/", "./", "../"].iter().any(|&start| {
                    path.as_os_str()
                        .as_encoded_bytes()
                        .starts_with(start.as_bytes())
                }) =>
            {
                write!(f, "file:{}", path.display())
            }
            Self::Ring(location @ Location::Sysv(_)) => write!(f, "ring:{location}"),
            Self::Ring(location) => location.fmt(f),
            Self::Pipe => write!(f, "{scheme}:"),
            Self::Fifo(path)
            | Self::Unix(path)
            | Self::UnixSeqpacket(path)
            | Self::UnixDgram(path)
            | Self::Spool(path) => write!(f, "{scheme}:{}", path.display()),
            Self::Tcp(place)
            | Self::Tls(place)
            | Self::Udp(place)
            | Self::Mq(place)
            | Self::Classic(place)
            | Self::Sem(place) => write!(f, "{scheme}:{place}"),
            Self::Sysv(key) => write!(f, "{scheme}:{key:#x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_read_as_it_was_written() {
        for word in [
            "orders",
            "/tmp/ring",
            "./ring",
            "../ring",
            "file:ring",
            "ring:a:b",
            "ring:sysv:0x7",
            "pipe:",
            "fifo:/tmp/f",
            "fifo:f",
            "unix:/tmp/s",
            "unix-seqpacket:s",
            "unix-dgram:s",
            "tcp:127.0.0.1:80",
            "tcp:[::1]:80",
            "tls:localhost:443",
            "udp:localhost:0",
            "mq:/q",
            "sysv:0xffffffff",
            "classic:c",
            "sem:s",
            "spool:/tmp/x",
        ] {
            let url: Url = word.parse().expect(word);
            assert_eq!(url.to_string(), word);
            assert_eq!(url.to_string().parse(), Ok(url), "{word}");
        }
    }

    #[test]
    fn one_ring_has_several_names() {
        for words in [
            &["orders", "shm:orders", "ring:orders", "ring:shm:orders"][..],
            &["/r", "file:/r", "ring:/r", "ring:file:/r"],
            &["ring:sysv:42", "ring:sysv:0x2a"],
        ] {
            let first: Url = words[0].parse().expect("a name");
            for word in words {
                assert_eq!(word.parse(), Ok(first.clone()), "{word}");
            }
        }
        assert_ne!("sysv:42".parse::<Url>(), "ring:sysv:42".parse::<Url>());
    }

    #[test]
    fn what_is_no_name_says_what_would_be() {
        for (word, expected) in [
            ("fifo:", "fifo:PATH"),
            ("unix:", "unix:PATH"),
            ("pipe:3", "no name"),
            ("tcp:localhost", "tcp:HOST:PORT"),
            ("tcp::80", "tcp:HOST:PORT"),
            ("tls:localhost", "tls:HOST:PORT"),
            ("udp:h:70000", "udp:HOST:PORT"),
            ("mq:orders", "mq:/NAME"),
            ("mq:/", "mq:/NAME"),
            ("sysv:0", "sysv:KEY"),
            ("sysv:red", "sysv:KEY"),
            ("classic:a/b", "classic:NAME"),
            ("sem:", "sem:NAME"),
            ("spool:", "spool:PATH"),
            ("http:x", "unix-seqpacket:PATH"),
            ("signal:x", "spool:PATH"),
            (":x", "ring:NAME"),
            ("a/b", "'/'"),
        ] {
            let error = word.parse::<Url>().expect_err(word).to_string();
            assert!(error.contains(expected), "{word}: {error}");
            assert!(error.contains(word), "{word}: {error}");
        }
    }
}
