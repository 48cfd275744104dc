//! Records in a stream of bytes.
//!
//! A record travels in one or more *frames*; integers are little-endian:
//!
//! ```text
//! head: u32           bits 0-30 the number of bytes that follow, bit 31: a record begins here
//! source: u32         in a tagged stream only: which of several senders
//! bytes
//! trailer: u8         1: the record ends here; 0: it goes on, or is given up
//! ```
//!
//! A head of all ones is the *goodbye* of a sender that closes. A stream that ends without it was cut
//! off: its sender was killed.
//!
//! # Giving up
//!
//! The kernel may take a part of a frame and have no room for the rest, while the contract says that a send that
//! fails sent nothing. That holds because of the trailer: it is written last, so until then the record can be given
//! up. Only the cut frame has to be completed, with a trailer of 0; the head of the next record tells
//! the receiver to forget what was begun. So an [`Encoder`] whose record met a full stream keeps a copy of what was
//! written. Sent again, the record goes on where it stopped, so that whoever tries
//! again and again gets through; any other record takes its place.
//!
//! A frame of at most `PIPE_BUF` bytes is written to a pipe whole or not at all. So several senders can write
//! tagged frames of that size to one pipe: frames mix, records do not.

mod decoder;
mod encoder;

pub use decoder::{Decoder, Next};
pub use encoder::{Encoder, Push};

/// Bit of the head: a record begins here.
const FIRST: u32 = 1 << 31;
/// The head that is none: the sender closes.
const GOODBYE: u32 = u32::MAX;
/// Trailers.
const MORE: u8 = 0;
const END: u8 = 1;

/// Bytes that a frame has beside those of the record: 5, and 4 more in a tagged stream.
///
/// ```
/// use annulus_fd::frame::overhead;
///
/// // What an atomic write to a pipe carries of a record.
/// assert_eq!(4096 - overhead(true), 4087);
/// ```
pub const fn overhead(tagged: bool) -> usize {
    if tagged { 9 } else { 5 }
}

#[cfg(test)]
mod tests;
