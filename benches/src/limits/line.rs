//! M1 and M2: a cache line from one processor to the other.

use super::first;
use crate::clock::now;
use crate::drive::{Sample, spin};
use crate::stage::Stage;
use crossbeam_utils::CachePadded;
use std::cell::UnsafeCell;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

/// There and back between two looks at the clock.
const STRIDE: u64 = 64;

/// In place of a number: it is over.
const OVER: u64 = u64::MAX;

/// One word that both write in turn, or a word for each, whichever is faster: nanoseconds there and back.
///
/// # Errors
///
/// What the first actor said that failed.
pub fn ping_pong(stage: &Stage) -> Result<Sample, String> {
    let one = there_and_back(stage, 0)?;
    let two = there_and_back(stage, 1)?;
    Ok(faster(one, two))
}

/// The faster of two, disturbed by what disturbed either.
fn faster(one: Sample, other: Sample) -> Sample {
    let (mut faster, slower) = if one.value <= other.value {
        (one, other)
    } else {
        (other, one)
    };
    faster.disturbance.steal += slower.disturbance.steal;
    faster.disturbance.involuntary += slower.disturbance.involuntary;
    faster
}

/// One word that both write in turn: nanoseconds there and back.
///
/// # Errors
///
/// What the first actor said that failed.
pub fn one_word(stage: &Stage) -> Result<Sample, String> {
    there_and_back(stage, 0)
}

/// Two words, each written by one: nanoseconds there and back.
///
/// # Errors
///
/// What the first actor said that failed.
pub fn two_words(stage: &Stage) -> Result<Sample, String> {
    there_and_back(stage, 1)
}

/// The answer goes into word `answer`.
fn there_and_back(stage: &Stage, answer: usize) -> Result<Sample, String> {
    let words: [CachePadded<AtomicU64>; 2] = Default::default();
    first(stage.together(&[0, 1], |actor| {
        // Odd numbers ask, even ones answer. Release and Acquire: as a message would go.
        if actor.part == 1 {
            let mut number = 1;
            loop {
                let found = spin(|| Some(words[0].load(Acquire)).filter(|&found| found >= number));
                if found == OVER {
                    return Ok(0.0);
                }
                words[answer].store(number + 1, Release);
                number += 2;
            }
        }
        let begin = now();
        let end = begin + actor.stage.time.as_nanos() as u64;
        let mut number = 1;
        while now() < end {
            for _ in 0..STRIDE {
                words[0].store(number, Release);
                spin(|| (words[answer].load(Acquire) == number + 1).then_some(()));
                number += 2;
            }
        }
        let time = now() - begin;
        words[0].store(OVER, Release);
        Ok(time as f64 / (number / 2) as f64)
    })?)
}

/// Bytes of a line.
const LINE: usize = 64;

/// Lines that are published at once.
const BATCH: u64 = 64;

/// Lines between asking for one and writing to it.
const AHEAD: u64 = 16;

/// A line of words.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([u64; LINE / 8]);

/// Lines that the sender and the receiver own in turn.
struct Ring(Box<[UnsafeCell<Line>]>);

// SAFETY: a line is the sender's from `head` to `tail` on, and the receiver's until then; both are published with
// Release and read with Acquire.
unsafe impl Sync for Ring {}

impl Ring {
    #[inline(always)]
    fn at(&self, position: u64) -> *mut Line {
        // A power of two, so that finding a line takes no division.
        self.0[position as usize & (self.0.len() - 1)].get()
    }
}

/// One fills lines, the other reads every word of them, in a ring of `RING` bytes: nanoseconds a line. The positions go over
/// once in 64 lines, so that nothing but the lines themselves takes time. With the sender asking for lines some time before
/// it writes to them, and without, whichever is faster.
///
/// # Errors
///
/// What the first actor said that failed, or that a line was wrong.
pub fn stream<const RING: usize>(stage: &Stage) -> Result<Sample, String> {
    let (asking, not) = (fill::<RING, true>(stage)?, fill::<RING, false>(stage)?);
    Ok(faster(asking, not))
}

fn fill<const RING: usize, const ASK: bool>(stage: &Stage) -> Result<Sample, String> {
    let lines = (RING / LINE) as u64;
    let ring = Ring((0..lines).map(|_| UnsafeCell::new(Line([0; 8]))).collect());
    let positions: [CachePadded<AtomicU64>; 2] = Default::default();
    let [tail, head] = &positions;
    let at = |position: u64| ring.at(position);
    let heard = stage.together(&[0, 1], |actor| {
        // Never more than the ring holds.
        let batch = BATCH.min(lines / 2);
        if actor.part == 0 {
            let warm = 2 * lines;
            let (mut position, mut begin, mut first) = (0, 0, 0);
            let mut end = u64::MAX;
            loop {
                spin(|| (position + batch <= head.load(Acquire) + lines).then_some(()));
                for number in position..position + batch {
                    // Beyond the batch the receiver may still be reading.
                    if ASK && number + AHEAD < position + batch {
                        prefetch_to_write(at(number + AHEAD));
                    }
                    let line = Line(std::array::from_fn(|word| number + word as u64));
                    // SAFETY: within the room that the receiver gave back.
                    unsafe { at(number).write(line) };
                }
                position += batch;
                if begin == 0 && position >= warm {
                    (begin, first) = (now(), position);
                    end = begin + actor.stage.time.as_nanos() as u64;
                }
                let over = begin > 0 && position % 4096 < batch && now() >= end;
                tail.store(position, Release);
                if over {
                    // All of it has been read.
                    spin(|| (head.load(Acquire) == position).then_some(()));
                    let time = now() - begin;
                    tail.store(OVER, Release);
                    return Ok(time as f64 / (position - first) as f64);
                }
            }
        }
        let mut position = 0;
        loop {
            let found = spin(|| Some(tail.load(Acquire)).filter(|&tail| tail > position));
            if found == OVER {
                return Ok(0.0);
            }
            let mut wrong = 0;
            for number in position..position + batch {
                // SAFETY: the sender published this line and will not write to it until we give it back.
                let Line(words) = unsafe { at(number).read() };
                for (word, found) in words.iter().enumerate() {
                    wrong |= found ^ (number + word as u64);
                }
            }
            if wrong != 0 {
                return Err(format!(
                    "a line of {position} and the next {batch} is wrong"
                ));
            }
            position += batch;
            // Relaxed would let the sender overwrite what is still being read.
            head.store(position, Release);
        }
    });
    first(heard?)
}

/// Asks for a line that is going to be written.
#[inline(always)]
fn prefetch_to_write(line: *const Line) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        // SAFETY: a hint; it reads and writes nothing.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(line.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}
