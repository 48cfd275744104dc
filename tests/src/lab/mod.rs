//! The laboratory: processes killed, and stopped, at every instruction of what they do to a ring, and what
//! the survivors find. Run by the program `crash-lab`.

pub mod row;
pub mod step;
