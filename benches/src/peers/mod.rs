//! Other projects' queues. Each follows the documentation of its crate, and is set to lose nothing where it can be.
//!
//! Left out, and why:
//!
//! - `que` 0.4.5: its lossless channel fails the check. `Consumer::pop` reads the slot before it loads the tail that says
//!   whether the slot was written, so it now and then returns the message of a lap ago: with 4096 slots, and told to
//!   publish after each message (`sync`), message 23440 came as 19344, which is 4096 less.
//! - `shaq` 4.4 and later want a library feature that Rust 1.95 does not have; 4.3 is here.

mod crossbeam;
mod iceoryx2;
mod kanal;
mod ringbuf;
mod ringfire;
mod rtrb;
mod shaq;
mod std;

pub use crossbeam::{ArrayQueue, Channel};
pub use iceoryx2::Iceoryx2;
pub use kanal::Kanal;
pub use ringbuf::Ringbuf;
pub use ringfire::Ringfire;
pub use rtrb::Rtrb;
pub use shaq::{ShaqMpmc, ShaqSpsc};
pub use std::SyncChannel;
