//! M4 and M5: locked operations.

use super::{first, repeat};
use crate::clock::now;
use crate::drive::{Sample, spin};
use crate::stage::Stage;
use crossbeam_utils::CachePadded;
use std::hint::spin_loop;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, fence};

/// Operations between two looks at the clock.
const STRIDE: u64 = 1024;

/// `CPUS` processors add to one word: nanoseconds an addition of the first. Alone: what a locked operation costs.
///
/// # Errors
///
/// What the first actor said that failed.
pub fn add<const CPUS: usize>(stage: &Stage) -> Result<Sample, String> {
    contended::<CPUS>(stage, |word| {
        word.fetch_add(1, Relaxed);
    })
}

/// `CPUS` processors count one word up by compare-and-swap, again until it succeeds: nanoseconds a success of the first.
///
/// # Errors
///
/// What the first actor said that failed.
pub fn swap<const CPUS: usize>(stage: &Stage) -> Result<Sample, String> {
    contended::<CPUS>(stage, |word| {
        let mut found = word.load(Relaxed);
        while let Err(changed) = word.compare_exchange_weak(found, found + 1, Relaxed, Relaxed) {
            found = changed;
            spin_loop();
        }
    })
}

fn contended<const CPUS: usize>(
    stage: &Stage,
    operate: impl Fn(&AtomicU64) + Sync,
) -> Result<Sample, String> {
    let word = CachePadded::new(AtomicU64::new(0));
    let cpus: Vec<usize> = (0..CPUS).collect();
    first(stage.together(&cpus, |actor| {
        Ok(repeat(actor.stage, STRIDE, |count| {
            for _ in 0..count {
                operate(&word);
            }
        }))
    })?)
}

/// A store, a full fence and a load, after writing `LINES` lines that the other processor has: nanoseconds beyond what it takes
/// without the fence. What a sender pays for each message that asks whether anybody sleeps in that way.
///
/// # Errors
///
/// What the first actor said that failed.
pub fn fence_after<const LINES: usize>(stage: &Stage) -> Result<Sample, String> {
    let lines: Vec<CachePadded<AtomicU64>> =
        (0..LINES + 2).map(|_| CachePadded::default()).collect();
    let (turn, over) = (CachePadded::new(AtomicU64::new(0)), AtomicBool::new(false));
    first(stage.together(&[0, 1], |actor| {
        if actor.part == 1 {
            // Takes the lines away, again and again, each time that it is asked to.
            let mut asked = 1;
            loop {
                spin(|| (turn.load(Acquire) >= asked || over.load(Relaxed)).then_some(()));
                if over.load(Relaxed) {
                    return Ok(0.0);
                }
                for line in &lines {
                    line.fetch_add(1, Relaxed);
                }
                turn.store(asked + 1, Release);
                asked += 2;
            }
        }
        let mut asked = 1;
        let mut round = |fenced: bool| {
            turn.store(asked, Release);
            spin(|| (turn.load(Acquire) > asked).then_some(()));
            asked += 2;
            let begin = now();
            let (last, written) = lines.split_last().expect("two lines and more");
            for line in written {
                line.store(begin, Relaxed);
            }
            if fenced {
                fence(SeqCst);
            }
            let time = now() - begin;
            std::hint::black_box(last.load(Relaxed));
            time
        };
        let end = now() + actor.stage.time.as_nanos() as u64;
        let (mut with, mut without, mut count) = (0, 0, 0);
        while now() < end {
            for _ in 0..16 {
                with += round(true);
                without += round(false);
                count += 1;
            }
        }
        over.store(true, Relaxed);
        Ok((with as f64 - without as f64) / f64::from(count))
    })?)
}
