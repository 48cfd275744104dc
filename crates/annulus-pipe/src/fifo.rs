//! The FIFO: many senders, one receiver, found by path.
//!
//! A FIFO's file is one channel, from the coming of its receiver to its end, and is never used again:
//!
//! - The receiver makes it under another name, opens it, locks a byte of it, and only then gives it its path. So whoever
//!   finds it at the path finds a receiver, or the FIFO of one that is gone.
//! - The receiver keeps the lock as long as it lives. Another one that finds no lock on what is at the path knows that its receiver was
//!   killed, unlinks it, and makes one of its own. Nobody joins a dead receiver's FIFO: bytes may lie in it that begin in
//!   the middle of a frame.
//! - Whoever looks for the lock opens the FIFO for reading, and for that moment the kernel takes it for a reader. So what counts is
//!   the lock, which nobody takes but the receiver, and never whether anybody reads. A sender that entered before may
//!   write in that moment, and learns of the kill by its next write: as if it had written just before the kill.
//! - Those who unlink a dead receiver's FIFO do it one at a time (flock(2)): the first one frees the path for another FIFO.
//! - A sender opens the path for writing, which the kernel refuses while nobody reads; it tries again until
//!   somebody does. Then it enters, if it finds the receiver's lock: it locks a byte whose number tags its frames, and marks the
//!   FIFO `SENDING`.
//! - A sender that closes gives up its byte, and if nobody else has one, marks the FIFO `SENT`: the last one has closed.
//! - The receiver, when nothing is left to read and nobody can write, reads the mark: `SENDING` says that the last
//!   one was killed. Either way this is the end: it marks the FIFO `RECEIVED` and unlinks it, so that nobody enters any more.
//! - A sender whose write nobody can read looks for `RECEIVED`: without it, the receiver was killed. The last sender of a killed
//!   receiver unlinks the FIFO when it closes.
//!
//! Entering, closing, judging the end and burying happen behind the FIFO's door. Whether anybody can write, the kernel alone knows,
//! and tells by poll(2): a sender that was killed in the door counts by its descriptor, as all others do.

mod node;
mod receiver;
mod sender;

pub use receiver::FifoReceiver;
pub use sender::FifoSender;

pub(crate) use receiver::open as receiver;
pub(crate) use sender::open as sender;

pub(crate) use node::{DRAFT, Location, Probe, probe};

use crate::MAX_RECORD;
use annulus_channel::{Boundaries, Capabilities, Order};
use annulus_fd::frame::overhead;
use annulus_fd::lock::is_locked;
use nix::errno::Errno;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes of a record in one frame, so that the kernel writes each frame whole: `PIPE_BUF` on Linux is a page of 4096 bytes
/// everywhere, as `linux/limits.h` has it.
const FRAGMENT: usize = 4096 - overhead(true);

/// The byte that the receiver locks.
const RECEIVER: u64 = 0;

/// The first of the bytes that senders lock; a sender's tag is added to it.
const SENDERS: u64 = 1 << 61;

/// How long somebody who is stopped in the door is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often it is tried to bury a FIFO that somebody else is burying.
const STEP: Duration = Duration::from_micros(200);

const CAPABILITIES: Capabilities = Capabilities {
    order: Order::Total,
    lossy: false,
    many_senders: true,
    many_receivers: false,
    persistent: false,
    crosses_machines: false,
    boundaries: Boundaries::Framed,
    max_record: Some(MAX_RECORD),
};

/// Which end of a pair of FIFOs: one process takes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The end that receives from `PATH.1`.
    One,
    /// The end that receives from `PATH.2`.
    Two,
}

/// The paths that an end receives from and sends to.
pub(crate) fn both(path: &Path, end: End) -> [PathBuf; 2] {
    let [one, two] = [".1", ".2"].map(|suffix| {
        let mut path = path.as_os_str().to_owned();
        path.push(suffix);
        PathBuf::from(path)
    });
    match end {
        End::One => [one, two],
        End::Two => [two, one],
    }
}

/// Whether the receiver lives.
fn has_receiver(fifo: &OwnedFd) -> Result<bool, Errno> {
    is_locked(fifo, RECEIVER, 1)
}

/// Whether a sender lives. If the kernel does not tell, one does.
pub(crate) fn has_senders(fifo: &OwnedFd) -> bool {
    is_locked(fifo, SENDERS, 0).unwrap_or(true)
}
