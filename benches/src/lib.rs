//! What the machine allows, and what Annulus and other queues make of it.
//!
//! A *subject* is a queue on a piece of work, such as rtrb streaming messages of 8 bytes between two threads. A *cell*
//! is the same piece of work done by several subjects. In a *round* every subject of a cell does its work once, in a
//! process of its own, for a fraction of a second; the order changes from round to round. Speeds are held against each
//! other within a round only, because a shared machine has another speed a second later.
//!
//! ```text
//! message    what is sent, and how the receiver knows that it is right
//! queue      the words that every queue is brought to; ours and peers say them
//! stage      actors in threads or processes: pinned, started together, heard in the end
//! drive      the work: streams, round trips, crowds, schedules
//! cell       rounds, ratios, goals
//! cells      which cells there are
//! limits     what the machine does without any queue
//! ```
//!
//! No figure comes from a run in which a check failed: every receiver checks the number and every byte of every message.

pub mod bare;
pub mod cell;
pub mod cells;
pub mod chart;
pub mod clock;
pub mod delays;
pub mod disturbance;
pub mod document;
pub mod drive;
pub mod hot;
pub mod limits;
pub mod message;
pub mod ours;
#[cfg(feature = "peers")]
pub mod peers;
pub mod queue;
pub mod record;
pub mod report;
pub mod stage;
pub mod stats;
pub mod still;
