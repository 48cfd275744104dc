//! The kernel's message queues behind the contract of Annulus: POSIX queues with priorities, and System V queues
//! with types.
//!
//! ```
//! use annulus_mqueue::QueueOptions;
//!
//! # let name = format!("/annulus-doc-lib-{}", std::process::id());
//! let mut options = QueueOptions::new();
//! options.create(true).capacity(8).max_record(1024).unlink_when_finished(true);
//! // In one process …
//! options.posix(&name)?.sender()?.send(b"hello")?;
//! // … and in another, now or later:
//! let mut receiver = options.posix(&name)?.receiver()?;
//! let mut record = Vec::new();
//! receiver.recv(&mut record)?;
//! assert_eq!(record, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What the kernel does, and what is added
//!
//! The kernel keeps the records: they survive both ends, and are gone when the machine stops. It does not
//! tell who is there. So beside each queue lies a *companion*, a file of one page in `/dev/shm`, in which
//! each handle has a seat, and a lock that goes when its process dies. From this a survivor tells *closed*
//! from *killed*:
//!
//! - When the last sender has closed, receivers get what is there, then `Disconnected`; so do senders when
//!   the last receiver has closed. Who comes to a queue with nobody there starts anew.
//! - When the last peer was killed, calls wait for its successor, or, with [`WhenDead::Fail`], say `PeerDead`
//!   within 100 ms.
//!
//! What a receiver had taken when it was killed is gone with it; nothing else is. Whoever may write the
//! companion, by default the user alone, is trusted not to cut it short.
//!
//! A process that uses such a queue without this library has no seat, and so is nobody; what it sends is received.
//!
//! # Costs
//!
//! A call that need not wait is one system call, and a few loads from the companion (System V: and a fence).
//! One that waits looks around every 50 ms: 20 wakes a second. POSIX queues are polled. A System V call
//! cannot be given a deadline, so one that waits sleeps on a futex in the companion, which whoever sends or
//! receives rings; what a stranger sends to it is noticed after 50 ms.
//!
//! # Order
//!
//! Records of one priority, and records of whatever types, arrive in the order of sending. Records of a
//! higher priority overtake.

#![warn(unreachable_pub)]

mod bell;
mod fork;
mod kernel;
mod limits;
mod link;
mod list;
mod lock;
mod name;
mod open;
mod options;
mod page;
mod posix;
mod queue;
mod receiver;
mod seat;
mod sender;
mod sysv;

pub use link::{WhenClosed, WhenDead};
pub use list::{Listed, list, look, remove, remove_finished, remove_stale, remove_unused};
pub use name::Name;
pub use options::QueueOptions;
pub use queue::{Posix, Protocol, Queue, SystemV};
pub use receiver::Receiver;
pub use sender::Sender;
