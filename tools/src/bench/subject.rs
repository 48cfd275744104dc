//! What is compared, and where two processes meet for it.

use annulus_transports::{Kind, Options, Scheme, Url, WhenDead, remove};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::unistd::Uid;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::str::FromStr;
use std::thread;
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

/// What a comparison's directory is called, before the number of its process.
const PREFIX: &str = "annulus-bench-";

/// In that directory, the names of all channels: a line each.
const CHANNELS: &str = "channels";

/// A directory for channels that have a path, and for a list of all. It is locked for as long as we live:
/// one without a lock is what a killed comparison has left. Removed with what is in it when dropped.
pub struct Dir {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Dir {
    pub fn new() -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("{PREFIX}{}", process::id()));
        let said = |error: io::Error| format!("{}: {error}", path.display());
        loop {
            // One of the same number may have been killed.
            clear(&path).map_err(said)?;
            match DirBuilder::new().mode(0o700).create(&path) {
                // Somebody is just about to remove such a one.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    thread::sleep(Duration::from_millis(1));
                    continue;
                }
                made => made.map_err(said)?,
            }
            // Somebody who takes it for such a one may be quicker.
            if let Some(lock) = lock(&path).map_err(said)? {
                return Ok(Self { path, _lock: lock });
            }
        }
    }

    /// Notes a channel, before it is made.
    fn note(&self, url: &str) -> Result<(), String> {
        let list = self.path.join(CHANNELS);
        let mut options = OpenOptions::new();
        let list = options.append(true).create(true).open(list);
        let noted = list.and_then(|mut list| writeln!(list, "{url}"));
        noted.map_err(|error| format!("{}: {error}", self.path.display()))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // Another process has left something in it: better to leave that than to say so here.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Locks the directory; nothing if somebody else has, or there is none.
fn lock(path: &Path) -> io::Result<Option<Flock<File>>> {
    let mut options = OpenOptions::new();
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let file = match options.read(true).custom_flags(flags.bits()).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let identity = |meta: fs::Metadata| (meta.dev(), meta.ino());
    let ours = identity(file.metadata()?);
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        // Unless it was removed, and perhaps made anew.
        Ok(lock) => {
            let there = path.symlink_metadata().map(identity);
            Ok(there.is_ok_and(|there| there == ours).then_some(lock))
        }
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(errno.into()),
    }
}

/// Removes what a killed comparison has left: the channels that its directory lists, whatever is in them, and the directory,
/// unless one of its processes lives on. Says whether there was anything; a living one's stays.
fn clear(path: &Path) -> io::Result<bool> {
    let Some(_lock) = lock(path)? else {
        return Ok(false);
    };
    let list = fs::read_to_string(path.join(CHANNELS)).unwrap_or_default();
    for url in list.lines().filter_map(|line| line.parse().ok()) {
        match remove(&url) {
            Err(error) if error.is_busy() => return Err(io::Error::other(error)),
            // Most have removed themselves.
            _ => {}
        }
    }
    fs::remove_dir_all(path).map(|()| true)
}

/// Removes what our user's killed comparisons have left, as far as they had the same directory for temporary files, and says
/// what became of each.
pub fn remove_stale() -> Vec<(PathBuf, io::Result<()>)> {
    let all = fs::read_dir(std::env::temp_dir()).into_iter().flatten();
    let left = |entry: fs::DirEntry| {
        let number = entry.file_name().to_str()?.strip_prefix(PREFIX)?.to_owned();
        let found = entry.metadata().ok()?;
        let ours = found.is_dir() && found.uid() == Uid::effective().as_raw();
        if !ours || number.parse::<u32>().is_err() {
            return None;
        }
        match clear(&entry.path()) {
            Ok(false) => None,
            cleared => Some((entry.path(), cleared.map(drop))),
        }
    };
    all.flatten().filter_map(left).collect()
}

/// A new channel's name. Whatever has the name when it is dropped is removed.
pub struct Place(pub Url);

impl Place {
    /// A name that nothing else has. `number` is another one each time.
    pub fn new(subject: Subject, dir: &Dir, number: usize) -> Result<Self, String> {
        let name = format!("{PREFIX}{}-{number}", process::id());
        let path = |word: &str| in_dir(&dir.path, word, number);
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
        dir.note(&word)?;
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
    use annulus_transports::{open_receiver, open_sender};

    #[test]
    fn a_directory_goes_with_its_channels_when_nobody_lives() {
        let dir = Dir::new().expect("a directory");
        let path = dir.path.clone();
        let place = Place::new(Subject::REFERENCE, &dir, 0).expect("a place");
        let options = Subject::REFERENCE.options(64);
        let mut sender = open_sender(&place.0, &options).expect("a ring");
        sender.send(b"never received").expect("room");
        assert!(!clear(&path).expect("a look"), "it is locked");
        assert!(path.exists());

        // Killed, and its channel's user is not yet.
        let list = fs::read(path.join(CHANNELS)).expect("a list");
        drop(dir);
        fs::create_dir(&path).expect("a directory");
        fs::write(path.join(CHANNELS), list).expect("a list");
        clear(&path).expect_err("somebody lives");
        assert!(path.exists());
        drop(sender);
        assert!(clear(&path).expect("nobody lives"));
        assert!(!path.exists());
        let gone = open_receiver(&place.0, &Options::new());
        assert!(gone.is_err_and(|error| error.is_not_found()));
        assert!(!clear(&path).expect("a look"), "there is none");
    }

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
