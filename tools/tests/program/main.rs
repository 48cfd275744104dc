//! The `annulus` program as a user meets it: real processes, real rings.

mod audit;
mod bad_rings;
mod codes;
mod demo;
mod ends;
mod harness;
mod round_trip;
mod signals;
