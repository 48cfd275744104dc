//! The rest of the textbook, behind the contract of [`annulus_channel`]: the transports that a course on operating systems
//! begins with, so that a comparison can begin there, too.
//!
//! | name | what | sides | waits by |
//! |---|---|---|---|
//! | `classic:NAME` | [`Classic`]: the bounded buffer in shared memory | 1, 1 | spinning |
//! | `sem:NAME` | [`Sem`]: the same, with the semaphores `empty`, `full` and `mutex` | 64, 64 | sleeping on a semaphore |
//! | `spool:PATH` | [`Spool`]: a file that is appended to, and followed | 1, 1 | inotify |
//! | | [`signal`]: a word with each real-time signal; no channel | many, 1 | signalfd |
//!
//! ```
//! use annulus_channel::{Receiver as _, Sender as _};
//! use annulus_classic::{Options, SemReceiver, SemSender};
//!
//! let name = format!("lib-example-{}", std::process::id());
//! let mut tx: SemSender = Options::new().sender(&name)?;
//! let mut rx: SemReceiver = Options::new().receiver(&name)?;
//! tx.send(b"a word")?;
//! let mut record = Vec::new();
//! rx.recv(&mut record)?;
//! assert_eq!(record, b"a word");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Names
//!
//! A buffer `NAME` is the file `/dev/shm/annulus.classic-NAME` or `annulus.sem-NAME`, and its semaphores are
//! `/dev/shm/sem.annulus.sem-NAME.empty`, `.full` and `.mutex`. Whoever comes first creates it, complete or not at all;
//! whoever closes last removes it, unless a receiver has never come and records wait for one. If all were killed it stays, for
//! their successors, or until somebody finds it ([`stale`]) and calls [`remove`]. A spool stays until then in any case.
//! (A process that is killed while the C library makes a semaphore leaves the library's own `/dev/shm/sem.XXXXXX`, of which
//! nobody can tell whose it was.)
//!
//! # Death
//!
//! A killed peer is noticed by its lock, which the kernel drops, within some 100 ms by a call that waits. Then a
//! survivor waits for a successor, or fails with `PeerDead`: [`WhenDead`]. A receiver may wait for a successor of those who have
//! closed, too: [`WhenClosed`].

mod buffer;
mod checksum;
mod classic;
mod ends;
mod fork;
mod frame;
mod header;
mod link;
mod medium;
mod memory;
mod open;
mod options;
mod place;
mod sem;
mod semaphore;
pub mod signal;
mod spool;
mod stale;
mod watch;

pub use classic::Classic;
pub use ends::{Receiver, Sender};
pub use link::{WhenClosed, WhenDead};
pub use medium::Medium;
pub use open::{is_empty, is_received, remove, remove_finished};
pub use options::Options;
#[doc(hidden)]
pub use sem::Moment;
pub use sem::Sem;
pub use spool::Spool;
pub use stale::stale;

/// The sending end of the textbook's buffer.
pub type ClassicSender = Sender<Classic>;
/// The receiving end of the textbook's buffer.
pub type ClassicReceiver = Receiver<Classic>;
/// The sending end of the buffer with semaphores.
pub type SemSender = Sender<Sem>;
/// The receiving end of the buffer with semaphores.
pub type SemReceiver = Receiver<Sem>;
/// The sending end of a spool.
pub type SpoolSender = Sender<Spool>;
/// The receiving end of a spool.
pub type SpoolReceiver = Receiver<Spool>;
