//! What the tests of the rings share: names that leave nothing behind, other processes, the textbook's
//! bounded buffer, and the reference model built on it.
//!
//! `cargo test -p annulus-tests` runs everything but the loom models. Each file under `tests/` asks one
//! question; the longest list of answers is `edges`.

pub mod actor;
pub mod hostile;
#[cfg(all(target_arch = "x86_64", not(loom)))]
pub mod lab;
pub mod model;
pub mod place;
pub mod rights;
pub mod storm;
pub mod subject;
pub mod textbook;
pub mod watch;
