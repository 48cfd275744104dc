//! What differs between the ways to hold records. Blocking, deadlines, ends and errors are written once, in `ends`.

use crate::header::Shape;
use crate::link::Link;
use crate::options::Options;
use crate::place::Place;
use annulus_channel::{Capabilities, Fault, OpenError, OpenReason};
use std::path::Path;
use std::time::Instant;

/// A way to hold records between two sides: [`Classic`](crate::Classic), [`Sem`](crate::Sem) or
/// [`Spool`](crate::Spool).
#[allow(private_bounds, reason = "the trait is sealed")]
pub trait Medium: Carry {}

/// One handle's part of it.
pub(crate) trait Carry: Sized {
    /// What a name begins with.
    const WORD: &'static str;
    /// What the header calls it.
    const KIND: u64;
    /// What it promises, but for the longest record, which is each channel's own.
    const CAPABILITIES: Capabilities;
    /// Whether the name goes with the last handle.
    const PASSES: bool;

    /// Where the channel of this name is.
    fn place(name: &Path) -> Result<Place, OpenError>;

    /// The numbers of a new channel.
    fn shape(options: &Options) -> Result<Shape, OpenReason>;

    /// How many bytes of a file of this shape are mapped; nothing if the shape is not possible.
    fn mapped(shape: &Shape) -> Option<usize>;

    /// Opens a handle's part. Behind the door, before anybody sees the handle.
    fn attach(link: &Link, shape: &Shape, mode: u32) -> Result<Self, OpenReason>;

    /// Puts a record in; false if there is no room.
    fn put(&mut self, link: &mut Link, record: &[u8]) -> Result<bool, Fault>;

    /// Takes a record out, into an empty buffer; false if there is none.
    fn take(&mut self, link: &mut Link, buffer: &mut Vec<u8>) -> Result<bool, Fault>;

    /// Waits until another attempt of this side is worth its while, not after `until`. May come back for no reason.
    fn wait(&mut self, link: &Link, until: Instant) -> Result<(), Fault>;

    /// A call that has waited ends without success.
    fn give_up(&mut self) {}

    /// Wakes everybody who sleeps on the other side.
    fn wake(&mut self, link: &Link);

    /// Whether nothing is there to receive.
    fn is_empty(&self, link: &Link) -> bool;

    /// Removes what has a name besides the file.
    fn clean(_place: &Place) {}
}
