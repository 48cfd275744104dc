//! The textbook's buffer with the textbook's waiting: both sides spin.
//!
//! ```text
//! producer  while ((in + 1) % N == out);     consumer  while (in == out);
//!           buffer[in] = item;                         item = buffer[out];
//!           in = (in + 1) % N;                         out = (out + 1) % N;
//! ```
//!
//! One thing is not the textbook's: after some thousand rounds the spinning process yields its processor to whoever wants it,
//! and looks at the clock, for its deadline, and at its peer, for its death. It is ready to run all the same, and takes
//! all of a processor that nobody else wants.

use crate::buffer::Buffer;
use crate::header::Shape;
use crate::link::{Link, Side};
use crate::medium::{Carry, Medium};
use crate::options::Options;
use crate::place::Place;
use annulus_channel::{Boundaries, Capabilities, Fault, OpenError, OpenReason, Order};
use std::hint;
use std::path::Path;
use std::thread;
use std::time::Instant;

/// Rounds of spinning between two looks around.
const ROUNDS: u32 = 2000;

/// The textbook's bounded buffer in shared memory; both sides spin. One sender, one receiver. `classic:NAME`.
///
/// A record is received once, by whoever is the receiver; one that a receiver was taking out when it was killed is its
/// successor's.
#[derive(Debug)]
pub struct Classic {
    buffer: Buffer,
}

impl Medium for Classic {}

impl Carry for Classic {
    const WORD: &'static str = "classic";
    const KIND: u64 = 1;
    const CAPABILITIES: Capabilities = Capabilities {
        order: Order::Total,
        lossy: false,
        many_senders: false,
        many_receivers: false,
        persistent: false,
        crosses_machines: false,
        boundaries: Boundaries::Native,
        max_record: None,
    };
    const PASSES: bool = true;

    fn place(name: &Path) -> Result<Place, OpenError> {
        Place::shm(Self::WORD, name)
    }

    fn shape(options: &Options) -> Result<Shape, OpenReason> {
        Buffer::shape(options)
    }

    fn mapped(shape: &Shape) -> Option<usize> {
        Buffer::mapped(shape)
    }

    fn attach(_link: &Link, shape: &Shape, _mode: u32) -> Result<Self, OpenReason> {
        let buffer = Buffer::new(shape);
        Ok(Self { buffer })
    }

    fn put(&mut self, link: &mut Link, record: &[u8]) -> Result<bool, Fault> {
        self.buffer.put(&link.memory, record)
    }

    fn take(&mut self, link: &mut Link, buffer: &mut Vec<u8>) -> Result<bool, Fault> {
        self.buffer.take(&link.memory, buffer)
    }

    fn wait(&mut self, link: &Link, _until: Instant) -> Result<(), Fault> {
        for _ in 0..ROUNDS {
            let blocked = match link.side {
                Side::Sender => self.buffer.is_full(&link.memory)?,
                Side::Receiver => self.buffer.is_empty(&link.memory)?,
            };
            if !blocked {
                return Ok(());
            }
            hint::spin_loop();
        }
        thread::yield_now();
        Ok(())
    }

    /// Nobody sleeps.
    fn wake(&mut self, _link: &Link) {}

    fn is_empty(&self, link: &Link) -> bool {
        self.buffer.is_empty(&link.memory).unwrap_or(true)
    }
}
