//! Other projects' queues. Each follows the documentation of its crate, and is set to lose nothing where it can be.

mod crossbeam;
mod iceoryx2;
mod kanal;
mod que;
mod ringbuf;
mod ringfire;
mod rtrb;
mod shaq;
mod std;

pub use crossbeam::{ArrayQueue, Channel};
pub use iceoryx2::Iceoryx2;
pub use kanal::Kanal;
pub use que::Que;
pub use ringbuf::Ringbuf;
pub use ringfire::Ringfire;
pub use rtrb::Rtrb;
pub use shaq::{ShaqMpmc, ShaqSpsc};
pub use std::SyncChannel;
