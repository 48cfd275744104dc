//! Time in nanoseconds since some moment, the same for all processes of this machine.

use nix::time::{ClockId, clock_gettime};

/// Now. It costs some 20 ns and no system call.
#[inline]
pub fn now() -> u64 {
    // Every Linux has this clock.
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("a monotonic clock");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}
