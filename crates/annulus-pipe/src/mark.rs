//! The mark that an end leaves when it closes in order, in the permission bits of the pipe's inode: bits for execution, which
//! mean nothing on a pipe. What is not marked was killed.
//!
//! ```text
//! u+x  SENDING   senders have come, and the last one has not closed   (FIFO only)
//! g+x  SENT      the last sender has closed
//! o+x  RECEIVED  the receiver has closed
//! +t   OURS      made by a receiver of this library                   (FIFO only)
//! ```
//!
//! Two that change the mark of a FIFO at once would overwrite each other's: they do it behind its door
//! (`annulus_fd::lock::Door`), senders alone, the only receiver together with nobody but itself. The two ends of an
//! anonymous pipe need none: whoever closes second leaves its mark for nobody.

use nix::errno::Errno;
use nix::sys::stat::{Mode, fchmod, fstat};
use std::os::fd::AsFd;

/// Senders have come, and the last one has not closed.
pub(crate) const SENDING: u32 = 0o100;
/// The last sender has closed.
pub(crate) const SENT: u32 = 0o010;
/// The receiver has closed.
pub(crate) const RECEIVED: u32 = 0o001;
/// The FIFO was made by a receiver of this library.
pub(crate) const OURS: u32 = 0o1000;

/// The permission bits of a pipe.
pub(crate) fn get(fd: impl AsFd) -> Result<u32, Errno> {
    fstat(fd).map(|stat| stat.st_mode & 0o7777)
}

/// Sets some bits of a mark and clears others.
pub(crate) fn change(fd: impl AsFd, set: u32, clear: u32) -> Result<(), Errno> {
    let (fd, found) = (fd.as_fd(), get(&fd)?);
    let mode = found & !clear | set;
    if mode == found {
        return Ok(());
    }
    fchmod(fd, Mode::from_bits_retain(mode))
}
