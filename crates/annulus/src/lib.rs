//! Lock-free ring buffers in shared memory, for messages between processes on one Linux machine.
//!
//! ```
//! use annulus::{RingOptions, mpmc};
//!
//! // Two threads here; two processes would open `RingOptions::new().create(true)….shm("orders")`.
//! let ring: mpmc::Ring<u64> = RingOptions::new().capacity(1024).heap()?;
//! let (mut sender, mut receiver) = (ring.sender()?, ring.receiver()?);
//! let worker = std::thread::spawn(move || receiver.iter().sum::<u64>());
//! for number in 1..=10 {
//!     sender.send(number)?;
//! }
//! drop(sender);
//! assert_eq!(worker.join().unwrap(), 55);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`RingOptions`] creates and opens rings: on the heap, in a memory file, in POSIX or System V shared
//!   memory, in a file.
//! - [`spsc`], [`mpsc`], [`spmc`] and [`mpmc`] are the kinds of ring; a record of a many-receiver ring goes to one
//!   of them. Messages are values of a `bytemuck::Pod` type, or byte strings (`[u8]`).
//! - [`Sender`] and [`Receiver`] have the words of std's channels: `send`, `try_send`, `send_timeout`, `recv`, …;
//!   batches; and two phases, `reserve` and commit, `peek` and release.
//!
//! After a handle is attached, the path of a message allocates nothing, takes no lock, makes no system call
//! unless somebody sleeps, and logs nothing. Now and then a receiver looks at the monotonic clock, which is a system call
//! only where the kernel's clock source cannot be read without, and is forbidden in seccomp's strict mode (its filters are fine).

mod attach;
mod audit;
mod error;
mod fork;
mod futex;
mod geometry;
mod guard;
mod handle;
mod kind;
mod layout;
mod lease;
pub mod mpmc;
mod options;
mod pace;
mod receiver;
mod recover;
mod region;
mod ring;
mod sender;
mod side;
pub mod spsc;
mod sync;
mod sysv;
mod view;
mod wait;
mod words;

pub use annulus_channel::{
    Fault, Order, RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError,
    TrySendError,
};
pub use attach::{remove, remove_finished};
pub use audit::{Audit, DeadLetter};
pub use error::{AttachError, OpenError};
pub use guard::{Peeked, Reservation};
pub use handle::{
    ManyReceivers, ManySenders, Mpmc, Mpsc, Protocol, Spmc, Spsc, WhenClosed, WhenDead,
};
pub use kind::{Kind, ParseKindError};
pub use options::{Location, RingOptions};
pub use receiver::{Iter, Receiver, TryIter};
pub use ring::{AnyReceiver, AnyRing, AnySender, Inspector, Message, Peer, Ring, RingInfo};
pub use sender::Sender;

use static_assertions::{assert_impl_all, assert_not_impl_any, const_assert};

// Rights are types: a handle moves between threads, is used by one at a time, and is not cloned behind one's back.
assert_impl_all!(Sender<u64, Spsc>: Send);
assert_impl_all!(Receiver<[u8], Mpmc>: Send);
assert_impl_all!(Ring<u64, Mpmc>: Send, Sync);
assert_not_impl_any!(Sender<u64, Mpmc>: Sync, Clone);
assert_not_impl_any!(Receiver<[u8], Spsc>: Sync, Clone);

// Handles side by side, each in use by a thread, share no lines. Processors fetch lines in pairs.
const_assert!(align_of::<Sender<u64, Spsc>>() >= 2 * sync::LINE);
const_assert!(align_of::<Receiver<u64, Spsc>>() >= 2 * sync::LINE);

pub mod mpsc {
    //! Many senders, one receiver. See [`mpmc`](crate::mpmc) for the algorithm.

    use crate::Mpsc;

    /// A ring of this kind.
    pub type Ring<T> = crate::Ring<T, Mpsc>;
    /// One of its senders.
    pub type Sender<T> = crate::Sender<T, Mpsc>;
    /// Its receiver.
    pub type Receiver<T> = crate::Receiver<T, Mpsc>;
}

pub mod spmc {
    //! One sender, many receivers; each record goes to one of them. See [`mpmc`](crate::mpmc) for the algorithm.

    use crate::Spmc;

    /// A ring of this kind.
    pub type Ring<T> = crate::Ring<T, Spmc>;
    /// Its sender.
    pub type Sender<T> = crate::Sender<T, Spmc>;
    /// One of its receivers.
    pub type Receiver<T> = crate::Receiver<T, Spmc>;
}
