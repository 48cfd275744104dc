//! What the adapters over file descriptors share.
//!
//! An adapter puts one of the kernel's own transports behind the contract of `annulus-channel`. What
//! several of them need is here, each piece once:
//!
//! - [`wait`]: poll(2) until a deadline, exact to the clock; signals end nothing.
//! - [`frame`]: records in a stream of bytes. What was only partly written can be given up.
//! - [`lock`]: the kernel's testimony to life: a lock on a byte of a file, which dies with its holder.
//! - [`draft`]: what is made before it gets its name, and what those have left who were killed at it.
//! - [`names`]: one scheme for what a transport leaves in file systems, who is there, and what the dead left.
//! - [`limits`]: the system's limits, with the name of the setting.
//!
//! Errors are those of the contract: [`Fault`](annulus_channel::Fault) in a running transport,
//! [`OpenError`](annulus_channel::OpenError) before it runs. Nothing here is unsafe.

#![forbid(unsafe_code)]

pub mod draft;
pub mod frame;
pub mod limits;
pub mod lock;
pub mod names;
pub mod wait;
