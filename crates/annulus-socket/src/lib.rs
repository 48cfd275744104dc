//! Record channels over sockets: Unix stream, Unix seqpacket, Unix datagram, TCP and UDP, all behind
//! the contract of [`annulus_channel`].
//!
//! One end [listens](SocketOptions::listen) at an [`Address`], the other [connects](SocketOptions::connect);
//! either may be the [`Sender`]. A connection is one channel, from one sender to one receiver.
//!
//! | | boundaries | longest record | loss | full | ends known by |
//! |---|---|---|---|---|---|
//! | `unix` | framed | 16 MiB, or as asked | none | socket buffer | end of file |
//! | `unix-seqpacket` | the kernel's | send buffer less 33 bytes | none | socket buffer | end of file |
//! | `unix-dgram` | the kernel's | send buffer less 33 bytes | none | socket buffer | a line beside it |
//! | `tcp` | framed | 16 MiB, or as asked | none | both buffers | end of file, reset |
//! | `udp` | the kernel's | 65 490 bytes | if the receiver is slow; counted | never | goodbyes; a refused probe |
//!
//! An orderly close says goodbye; an end without it is a death ([`PeerDead`]). The kernel testifies to
//! the end of a process, so a stopped process is never taken for dead. A *machine* that vanishes says
//! nothing; [`SocketOptions::host_timeout`] bounds the wait for it on TCP. On UDP it cannot be known.
//!
//! Unix sockets ask the kernel for the peer's user, and take their own and root unless told
//! otherwise. TCP and UDP take anybody who can reach them; TCP may be put under TLS (feature `tls`),
//! where each end has to show a certificate.
//!
//! The kernel takes an end for gone when the last copy of its descriptor is closed. A child that was
//! forked and does not exec has such copies: while it lives, nobody learns that its parent was killed. (The
//! descriptors close on exec. What the parent says when it closes in order is heard at once.)
//!
//! No call is ended by a signal, none raises `SIGPIPE`, and no deadline is passed over or early.
//!
//! [`PeerDead`]: annulus_channel::RecvError::PeerDead

#![deny(unsafe_code)]

mod address;
mod connect;
mod file;
mod greeting;
mod handle;
mod limits;
mod link;
mod listen;
#[allow(unsafe_code, reason = "nix hands received descriptors over as numbers")]
mod meet;
mod options;
mod packet;
mod place;
mod stream;
#[cfg(feature = "tls")]
mod tls;
mod udp;
mod wait;
mod way;

pub use address::{Address, Kind, MAX_PATH};
pub use file::{remove_drafts, remove_stale};
pub use handle::{Receiver, Sender};
pub use link::End;
pub use listen::Listener;
pub use options::SocketOptions;
#[cfg(feature = "tls")]
pub use tls::Tls;
