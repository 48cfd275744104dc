//! What the tests share: places to meet at that leave nothing behind.

// Each test program uses what it needs.
#![allow(dead_code)]

pub mod actor;
pub mod noise;

use annulus_socket::{Address, Kind};
use std::path::PathBuf;

/// A directory of one's own, or a port that the kernel chooses.
pub struct Place {
    kind: Kind,
    directory: tempfile::TempDir,
}

impl Place {
    pub fn new(kind: Kind) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("annulus-")
            .tempdir()
            .expect("a directory");
        Self { kind, directory }
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// Whether nothing is left there.
    pub fn is_empty(&self) -> bool {
        let mut left = std::fs::read_dir(self.directory.path()).expect("our directory");
        left.next().is_none()
    }

    pub fn address(&self) -> Address {
        match self.kind {
            Kind::UnixStream => Address::UnixStream(self.path()),
            Kind::UnixSeqpacket => Address::UnixSeqpacket(self.path()),
            Kind::UnixDatagram => Address::UnixDatagram(self.path()),
            Kind::Tcp => Address::Tcp("127.0.0.1:0".into()),
            Kind::Udp => Address::Udp("127.0.0.1:0".into()),
        }
    }
}

/// All kinds.
pub const KINDS: [Kind; 5] = [
    Kind::UnixStream,
    Kind::UnixSeqpacket,
    Kind::UnixDatagram,
    Kind::Tcp,
    Kind::Udp,
];
