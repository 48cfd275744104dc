//! What the machine does without any queue, and what follows from it for queues.
//!
//! | | measured | gives |
//! |---|---|---|
//! | M1 | one word there and back; two words on two lines | `hop`, half of a line there and back |
//! | M2 | a stream of lines through a ring of memory, published 64 at a time | `line(R)` |
//! | M3 | a copy, by one processor and by two at once | `copy(s)` |
//! | M4 | several processors adding to one word, and swapping it | `add(k)`, `swap(k)` |
//! | M5 | a locked operation; a fence after writing lines that the other has | `locked`, `fence(n)` |
//! | M6 | a futex wake that wakes nobody; a futex there and back | `wake`, `futex` |
//! | M7 | a pipe, an eventfd, a Unix socket there and back | the kernel's ways |
//! | M8 | `membarrier`, with the other processor idle or busy | `membarrier` |
//! | M9 | one thread that sends and receives by itself | `push`, `pop` |
//!
//! From these, with `n = bytes / 64`:
//!
//! - a message of a stream takes at least `max(push, pop, n · line(R))`: a line has to go over, and each side has to
//!   execute its part ([`stream`]);
//! - a round trip takes at least two hops, and the second and later lines of a message stream after the first:
//!   `2 · (hop + (n - 1) · line)` ([`round_trip`]);
//! - a long record that is copied in and out takes at least what two threads take that do just that, and nothing but
//!   that, in memory that they hand to each other ([`memory::hand_over`]); one that is written and read in place,
//!   likewise without the copies ([`memory::in_place`]);
//! - a round trip of two who sleep takes at least one of a bare futex.

pub mod alone;
pub mod atomic;
pub mod kernel;
pub mod line;
pub mod memory;

use crate::drive::Sample;
use crate::stage::Stage;

/// At least so long takes a message of `N` words in a stream through a ring of `RING` bytes, in nanoseconds.
///
/// # Errors
///
/// What the first actor said that failed.
pub fn stream<const N: usize, const RING: usize>(stage: &Stage) -> Result<Sample, String> {
    let line = line::stream::<RING>(stage)?;
    let alone = alone::one_by_one::<N>(stage)?;
    Ok(floor(N as f64 / 8.0 * line.value, alone, line))
}

/// The same for batches.
///
/// # Errors
///
/// As [`stream`].
pub fn batches<const N: usize, const RING: usize>(stage: &Stage) -> Result<Sample, String> {
    let line = line::stream::<RING>(stage)?;
    let alone = alone::batches::<N>(stage)?;
    Ok(floor(N as f64 / 8.0 * line.value, alone, line))
}

/// At least so long takes a byte record of 136 bytes and its header, the mean of 16 to 256.
///
/// # Errors
///
/// As [`stream`].
pub fn records<const RING: usize>(stage: &Stage) -> Result<Sample, String> {
    let line = line::stream::<RING>(stage)?;
    let alone = alone::records(stage)?;
    Ok(floor((136.0 + 8.0 + 4.0) / 64.0 * line.value, alone, line))
}

fn floor(lines: f64, alone: Sample, line: Sample) -> Sample {
    let mut sample = Sample::new(lines.max(alone.value), line.disturbance);
    sample.more.extend(alone.more);
    sample.more.insert("lines", lines);
    sample
}

/// At least so long takes a round trip of a message of `N` words, in nanoseconds.
///
/// # Errors
///
/// As [`stream`].
pub fn round_trip<const N: usize>(stage: &Stage) -> Result<Sample, String> {
    let mut sample = line::ping_pong(stage)?;
    if N > 8 {
        let line = line::stream::<{ 1 << 18 }>(stage)?;
        sample.value += 2.0 * (N as f64 / 8.0 - 1.0) * line.value;
    }
    Ok(sample)
}

/// A measurement by one thread on one processor: nanoseconds each of what `work` does `count` times, as often as time
/// allows.
pub(crate) fn repeat(stage: &Stage, count: u64, mut work: impl FnMut(u64)) -> f64 {
    let begin = crate::clock::now();
    let end = begin + stage.time.as_nanos() as u64;
    let mut done = 0;
    let mut now = begin;
    while now < end {
        work(count);
        done += count;
        now = crate::clock::now();
    }
    (now - begin) as f64 / done as f64
}

/// The first actor's figure.
pub(crate) fn first((told, disturbance): crate::stage::Heard<f64>) -> Result<Sample, String> {
    let first = told.first().ok_or("nobody told anything")?;
    Ok(Sample::new(first.result, disturbance))
}
