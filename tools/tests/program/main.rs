//! The `annulus` program as a user meets it: real processes, real channels.

mod audit;
mod bad_rings;
mod bench;
mod channel;
mod codes;
mod demo;
mod ends;
mod harness;
mod limits;
mod round_trip;
mod signals;
mod stale;
mod transports;
mod udp;
