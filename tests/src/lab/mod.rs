//! The laboratory: processes killed, and stopped, at every instruction of what they do to a ring ([`step`]) or at
//! random times among much traffic ([`storm`]), or whose numbers go to others ([`pids`]); and what the survivors
//! find. Run by the program `crash-lab`.

pub mod pids;
pub mod row;
pub mod step;
pub mod storm;
