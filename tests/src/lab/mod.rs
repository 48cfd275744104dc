//! The laboratory: processes are killed, and whoever is left must not notice more than is promised.
//!
//! [`storm`] kills at random times among much traffic, [`pids`] plays with the names of processes. Each scenario
//! gives a [`Row`](row::Row).

pub mod pids;
pub mod row;
pub mod storm;
