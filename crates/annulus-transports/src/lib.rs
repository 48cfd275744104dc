//! One way to open any transport: by a [`Url`], which names its kind and its place.
//!
//! ```
//! use annulus_transports::{Options, Url, open_receiver, open_sender};
//!
//! # let word = format!("annulus-doc-transports-{}", std::process::id());
//! let url: Url = word.parse()?; // as "ring:orders", "unix:/run/orders.sock", "tcp:localhost:7000", "mq:/orders"
//! let mut receiver = open_receiver(&url, Options::new().create(true))?;
//! let mut sender = open_sender(&url, &Options::new())?;
//! sender.send(b"a record")?;
//! let mut record = Vec::new();
//! receiver.recv(&mut record)?;
//! assert_eq!(record, b"a record");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`fallback`] takes the first of several names that works at both ends. [`remove`] removes what a name names;
//! [`stale`] finds what nobody needs any more, and [`remove_finished`] removes it.
//!
//! Each adapter is behind a cargo feature with its crate's name, and all are there by default; but `tls:` is behind the
//! feature `tls`, and left out by default, since it needs a C compiler.
//! This crate alone imports the engine and the adapters at once; none of them knows of another.

#![forbid(unsafe_code)]

#[cfg(feature = "pipe")]
mod again;
mod error;
mod fallback;
mod open;
mod options;
#[cfg(feature = "pipe")]
mod pipe;
#[cfg(feature = "mqueue")]
mod queue;
mod remove;
mod ring;
#[cfg(feature = "socket")]
mod socket;
#[cfg(feature = "classic")]
mod textbook;
mod url;

pub use annulus::{Kind, Location, WhenClosed, WhenDead};
pub use annulus_channel::{Receiver, Sender};
pub use error::OpenError;
pub use fallback::{Channel, Chosen, NoneChosen, fallback};
pub use open::{open_receiver, open_receiver_at, open_sender};
pub use options::{Options, Side};
#[cfg(feature = "pipe")]
pub use pipe::{pipe_receiver, pipe_sender};
#[cfg(all(feature = "pipe", feature = "socket"))]
pub use remove::remove_stale_in;
pub use remove::{Stale, remove, remove_finished, stale};
pub use url::{Scheme, Url};

/// A sender of any transport.
pub type BoxedSender = Box<dyn Sender + Send>;

/// A receiver of any transport.
pub type BoxedReceiver = Box<dyn Receiver + Send>;
