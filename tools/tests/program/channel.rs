//! A channel of each kind, for tests that go through them all.

use crate::harness::{Annulus, Name, annulus};
use nix::sys::signal::Signal;
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;

/// Every scheme that has a name, and two more places for a ring.
pub(crate) const WORDS: [&str; 14] = [
    "ring",
    "file",
    "ring:sysv",
    "fifo",
    "unix",
    "unix-seqpacket",
    "unix-dgram",
    "tcp",
    "udp",
    "mq",
    "sysv",
    "classic",
    "sem",
    "spool",
];

/// A channel's name of this kind, which no other test has.
pub(crate) struct Channel {
    pub(crate) word: &'static str,
    pub(crate) url: String,
    _name: Name,
    pub(crate) folder: tempfile::TempDir,
}

impl Channel {
    pub(crate) fn new(word: &'static str) -> Self {
        let name = Name::new();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("channel");
        let path = path.to_str().expect("UTF-8");
        let number: u32 = name
            .0
            .rsplit('-')
            .next()
            .and_then(|n| n.parse().ok())
            .expect("a number");
        let key = 0x7e00_0000 | (std::process::id() & 0xffff) << 8 | (number & 0xff);
        let url = match word {
            "ring" | "classic" | "sem" => format!("{word}:{}", name.0),
            "ring:sysv" | "sysv" => format!("{word}:{key:#x}"),
            "mq" => format!("mq:/{}", name.0),
            "tcp" => {
                let free = TcpListener::bind("127.0.0.1:0").expect("a port");
                format!("tcp:{}", free.local_addr().expect("bound"))
            }
            "udp" => {
                let free = UdpSocket::bind("127.0.0.1:0").expect("a port");
                format!("udp:{}", free.local_addr().expect("bound"))
            }
            _ => format!("{word}:{path}"),
        };
        Self {
            word,
            url,
            _name: name,
            folder,
        }
    }

    /// Whether the receiver makes it, unasked.
    pub(crate) fn is_met(&self) -> bool {
        matches!(
            self.word,
            "fifo" | "unix" | "unix-seqpacket" | "unix-dgram" | "tcp" | "udp"
        )
    }

    /// Whether it stays when everybody has closed.
    pub(crate) fn stays(&self) -> bool {
        matches!(self.word, "file" | "spool")
    }

    /// Starts whoever receives.
    pub(crate) fn recv(&self, more: &[&str]) -> Annulus {
        let how = if self.is_met() {
            &[][..]
        } else {
            &["--create"]
        };
        Annulus::start(&[&["recv", &self.url], how, more].concat())
    }

    /// Starts whoever sends.
    pub(crate) fn send(&self, more: &[&str]) -> Annulus {
        // Whoever is to come first is waited for.
        Annulus::start(&[&["send", &self.url, "--wait", "--timeout", "50s"], more].concat())
    }

    /// Asserts that nothing is left, when what stays has been removed.
    #[track_caller]
    pub(crate) fn is_gone(&self) {
        if self.stays() {
            annulus(&["rm", &self.url]).quiet(0);
        }
        let left: Vec<_> = fs::read_dir(self.folder.path())
            .expect("the folder")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        assert!(left.is_empty(), "{}: {left:?}", self.url);
        assert!(
            in_shm(&self.url).is_empty(),
            "{}: {:?}",
            self.url,
            in_shm(&self.url)
        );
        if !self.is_met() {
            annulus(&["rm", &self.url]).says(3, &[]);
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        // Whatever a failed test has left.
        let _ = annulus(&["rm", &self.url]);
    }
}

/// What has the name in it that the channel has, where names in shared memory are.
pub(crate) fn in_shm(url: &str) -> Vec<PathBuf> {
    let (_, place) = url.rsplit_once(':').expect("a scheme");
    let place = place.trim_start_matches('/').trim_start_matches("0x");
    let names = fs::read_dir("/dev/shm").expect("shared memory");
    let paths = names.map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| {
            path.to_str()
                .is_some_and(|path| path.ends_with(place) || path.contains(&format!("{place}.")))
        })
        .collect()
}

pub(crate) fn killed(process: Annulus) {
    process.signal(Signal::SIGKILL);
    assert_eq!(process.finish().code, None);
}

/// Bytes that look random.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

impl Annulus {
    pub(crate) fn write_and_finish(mut self, bytes: &[u8]) {
        self.write(bytes);
        self.finish().quiet(0);
    }
}
