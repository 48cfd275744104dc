//! What POSIX and System V queues each say in their own way. Everything else is written once, over this.

use crate::name::Name;
use crate::page::Layout;
use annulus_channel::{Fault, OpenError};
use annulus_fd::names::Side;
use nix::errno::Errno;
use std::time::Instant;

/// What was asked of a queue that may have to be created. What is not given is the system's default.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plan {
    /// Records (POSIX) or bytes (System V).
    pub(crate) capacity: Option<usize>,
    /// Bytes.
    pub(crate) max_record: Option<usize>,
    pub(crate) mode: u32,
}

/// What a queue holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// Records (POSIX) or bytes (System V).
    pub(crate) capacity: usize,
    /// A bound of the longest record, in bytes.
    pub(crate) max_record: usize,
}

/// A handle's memory for one record and its label, aligned as `msgsnd` wants it.
pub(crate) type Scratch = Box<[i64]>;

/// Memory for records of up to `max` bytes.
pub(crate) fn scratch(max: usize) -> Scratch {
    vec![0; 1 + max.div_ceil(size_of::<i64>())].into()
}

/// A queue in the kernel.
///
/// The *label* is what the kernel keeps beside a record: a priority (POSIX) or a type (System V).
pub(crate) trait Kernel: Sized + Send + Sync + 'static {
    /// What the capacity counts.
    const UNIT: &'static str;
    /// The label of those who choose none.
    const LABEL: i64;
    /// The calls' names, for errors.
    const SEND: &'static str;
    const RECEIVE: &'static str;
    /// Whether sleepers sleep on a bell, which must be rung after every act.
    const BELLS: bool;

    /// Opens the queue, if there is one.
    fn find(name: &Name) -> Result<Option<Self>, OpenError>;

    /// Creates the queue, and says what its longest record is. Fails if there is one.
    fn create(name: &Name, plan: &Plan) -> Result<(Self, usize), OpenError>;

    /// Removes the queue of this name, which is this one.
    fn remove(&self, name: &Name) -> Result<(), OpenError>;

    /// What no other queue has, before or after.
    fn identity(&self) -> Result<[u64; 2], Errno>;

    /// What it holds.
    fn attributes(&self) -> Result<Attributes, Errno>;

    /// How many records are in it.
    fn len(&self) -> Result<usize, Errno>;

    /// Sends a record that is not too long; `EAGAIN` if there is no room.
    fn send(&self, scratch: &mut Scratch, record: &[u8], label: i64) -> Result<(), Errno>;

    /// Appends a record to `buffer` and returns its label; `EAGAIN` if there is none. `only` is the label
    /// wanted, where that can be chosen, or 0 for any.
    fn receive(&self, scratch: &mut Scratch, only: i64, buffer: &mut Vec<u8>)
    -> Result<i64, Errno>;

    /// Sleeps until this side may find what it waits for, or `until` then; may end early. `armed` is what the bell
    /// said before the last attempt.
    fn sleep(&self, page: &Layout, side: Side, armed: u32, until: Instant) -> Result<(), Fault>;
}
