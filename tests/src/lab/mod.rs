//! The laboratory: processes killed, and stopped, at every instruction of what they do to a ring, and what
//! the survivors find. Run by the program `crash-lab`.
//!
//! Besides: kills at random times among much traffic ([`storm`]), and numbers of the dead that go to others ([`pids`]).

pub mod cell;
pub mod clock;
pub mod crowd;
pub mod form;
pub mod kill;
pub mod names;
pub mod page;
pub mod pairs;
pub mod pids;
pub mod program;
pub mod row;
pub mod run;
pub mod stage;
pub mod step;
pub mod stops;
pub mod storm;
pub mod survive;
pub mod symbol;
pub mod watch;
