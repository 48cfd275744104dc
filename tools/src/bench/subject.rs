//! What is compared, and where two processes meet for it.

use annulus_transports::{Kind, Options, Scheme, Url, WhenDead, remove};
use std::fmt;
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process;
use std::str::FromStr;
use std::time::Duration;

/// A ring is as large as this, or as four of the largest records.
const RING: usize = 1 << 20;

/// A slot of the textbook's buffers holds so much, unless asked for more.
const SLOT: usize = 64 << 10;

/// How long an end may take to find the other.
const PATIENCE: Duration = Duration::from_secs(5);

/// A row of the comparison: a kind of ring, or another transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Ring(Kind),
    Other(Scheme),
}

impl Subject {
    /// The one that the others are held against.
    pub const REFERENCE: Self = Self::Ring(Kind::Spsc);

    /// Every row.
    pub fn all() -> Vec<Self> {
        let rings = [Kind::Spsc, Kind::Mpsc, Kind::Spmc, Kind::Mpmc].map(Self::Ring);
        let others = Scheme::ALL.into_iter();
        // TLS is not what the system offers, and wants certificates.
        let others = others.filter(|scheme| !matches!(scheme, Scheme::Ring | Scheme::Tls));
        rings.into_iter().chain(others.map(Self::Other)).collect()
    }

    /// The options for either end of a channel for records of `size` bytes.
    pub fn options(self, size: usize) -> Options {
        let mut options = Options::new();
        options.wait(PATIENCE).when_dead(WhenDead::Fail);
        match self {
            Self::Ring(kind) => {
                let capacity = RING.max((4 * size).next_power_of_two());
                options.create(true).kind(kind).capacity(capacity);
            }
            Self::Other(
                Scheme::Unix
                | Scheme::UnixSeqpacket
                | Scheme::UnixDgram
                | Scheme::Tcp
                | Scheme::Udp
                | Scheme::Fifo
                | Scheme::Pipe,
            ) => {}
            Self::Other(Scheme::Classic | Scheme::Sem) if size > SLOT => {
                options.create(true).max_record(size);
            }
            Self::Other(_) => {
                options.create(true);
            }
        }
        options
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ring(kind) => f.pad(&format!("ring-{kind}")),
            Self::Other(scheme) => scheme.fmt(f),
        }
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let all = Self::all();
        let found = all.iter().find(|subject| subject.to_string() == word);
        found.copied().ok_or_else(|| {
            let words: Vec<_> = all.iter().map(Self::to_string).collect();
            format!("expected all, or some of {}", words.join(","))
        })
    }
}

/// A directory for channels that have a path. Removed with what is in it when dropped.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("annulus-bench-{}", process::id()));
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // Another process has left something in it: better to leave that than to say so here.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A new channel's name. Whatever has the name when it is dropped is removed.
pub struct Place(pub Url);

impl Place {
    /// A name that nothing else has. `number` is another one each time.
    pub fn new(subject: Subject, dir: &Dir, number: usize) -> Result<Self, String> {
        let name = format!("annulus-bench-{}-{number}", process::id());
        let path = |word: &str| in_dir(&dir.0, word, number);
        let word = match subject {
            Subject::Ring(_) => name,
            Subject::Other(scheme) => match scheme {
                Scheme::Tcp => format!("tcp:{}", free_tcp().map_err(|error| error.to_string())?),
                Scheme::Udp => format!("udp:{}", free_udp().map_err(|error| error.to_string())?),
                Scheme::Mq => format!("mq:/{name}"),
                // A key that says whose it is, by the process and the number.
                Scheme::Sysv => format!(
                    "sysv:{:#x}",
                    0x4100_0000 | (process::id() & 0xffff) << 8 | (number & 0xff) as u32
                ),
                Scheme::Classic | Scheme::Sem => format!("{scheme}:{name}"),
                Scheme::Pipe => "pipe:".to_owned(),
                Scheme::Fifo
                | Scheme::Unix
                | Scheme::UnixSeqpacket
                | Scheme::UnixDgram
                | Scheme::Spool => path(scheme.word()),
                _ => return Err(format!("{scheme}: the comparison does not know it")),
            },
        };
        word.parse().map(Self).map_err(|error| format!("{error}"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Most have removed themselves.
        let _ = remove(&self.0);
    }
}

fn in_dir(dir: &Path, word: &str, number: usize) -> String {
    format!("{word}:{}", dir.join(format!("{word}-{number}")).display())
}

/// An address of ours that nobody else is at, unless somebody is quick.
fn free_tcp() -> std::io::Result<std::net::SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}

fn free_udp() -> std::io::Result<std::net::SocketAddr> {
    UdpSocket::bind(("127.0.0.1", 0))?.local_addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_word() {
        let all = Subject::all();
        assert_eq!(all.len(), 16);
        assert_eq!(all[0], Subject::REFERENCE);
        for subject in all {
            assert_eq!(subject.to_string().parse(), Ok(subject));
        }
        let error = "pigeon".parse::<Subject>().expect_err("no pigeons");
        assert!(error.contains("unix-dgram"), "{error}");
    }
}
