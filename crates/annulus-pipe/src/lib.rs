//! The kernel's oldest channels, behind the contract of `annulus-channel`: the anonymous pipe, between a parent and
//! its children, and the FIFO, which unrelated processes find by its path.
//!
//! ```
//! use annulus_channel::{Receiver, RecvError, Sender};
//!
//! let (mut sender, mut receiver) = annulus_pipe::pair()?;
//! sender.send(b"a record")?;
//! drop(sender);
//!
//! let mut record = Vec::new();
//! assert_eq!(receiver.recv(&mut record)?, 8);
//! assert_eq!(receiver.recv(&mut record), Err(RecvError::Disconnected));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | | pipe | FIFO |
//! |---|---|---|
//! | ends | one sender, one receiver | any number of senders, one receiver |
//! | who meets | whoever gets a descriptor | whoever knows the path |
//! | order | total | total |
//! | longest record | 16 MiB | 16 MiB |
//! | holds | 64 KiB, or [`capacity`](PipeOptions::capacity) | the same |
//! | outlives its ends | no | no |
//!
//! # Whole records
//!
//! A pipe is a stream of bytes; records travel in it as frames ([`annulus_fd::frame`]). In a FIFO a frame is never
//! longer than `PIPE_BUF` (4096 bytes), which the kernel writes whole or not at all, and names its sender. So the frames of a
//! long record may mix with those of others, and the receiver sorts them; a sender that is killed in
//! the middle of a record spoils that record and nothing else. No lock is held while sending.
//!
//! What `try_send` and the timed sends could write only in part was not sent: the receiver forgets it,
//! unless the same record is sent next, which then goes on where it stopped. A
//! record longer than the pipe holds can be sent by them too, by trying until the receiver has made way.
//!
//! # Closed, or killed
//!
//! To the kernel a closed end and a dead one are the same. Whoever closes in order leaves a mark first, in the permission
//! bits of the pipe's own inode, which any other end can read. Only the inode's owner may write them, and root: an end that runs
//! as another user than its creator seems to have been killed when it closes.
//!
//! # Signals
//!
//! No call ends because of a signal, and a write that nobody will read does not raise `SIGPIPE`, whatever its
//! disposition is.
//!
//! # Processes
//!
//! Descriptors are closed on exec; see [`PipeSender::into_fd`] for handing one to a child. The kernel reports that an
//! end is gone when the last copy of its descriptor is closed, so a child that was forked and does not exec keeps its
//! parent's ends open, and any child does between fork and exec. While such a child lives, nobody learns that its
//! parent was killed, nor does a receiver that its last sender has closed; and a FIFO's name stays in use, since the child has a
//! copy of its receiver's lock.

mod fifo;
mod mark;
mod options;
mod outcome;
mod pipe;
mod stale;
mod stream;
mod write;

pub use fifo::{End, FifoReceiver, FifoSender};
pub use options::{FifoOptions, PipeOptions};
pub use pipe::{PipeReceiver, PipeSender, pair};
pub use stale::{remove, remove_stale, stale};

/// The longest record, in bytes, on every pipe and FIFO.
pub const MAX_RECORD: usize = 16 << 20;

/// One of our own tests at a time: while another's forked child has copies of our descriptors, an end that was closed is open.
#[cfg(test)]
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ONE.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
