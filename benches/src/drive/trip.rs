//! Round trips: one asks, the other answers with the same number, and so on. Nothing is ever under way but one message.

use super::{Sample, spin};
use crate::clock::now;
use crate::message::{LAST, Message, wrong};
use crate::queue::{Rx, SleepRx, SleepTx, Tx};
use crate::stage::{Actor, Cast, Heard, Stage, Venue};

/// Round trips before the clock starts.
const WARM: u64 = 1000;

/// Round trips between two looks at the clock.
const STRIDE: u64 = 32;

/// Both spin, each on a processor: nanoseconds a round trip.
///
/// # Errors
///
/// What the first actor said that failed.
pub fn trip<V, M>(stage: &Stage) -> Result<Sample, String>
where
    M: Message,
    V: Venue<M, Tx: Tx<M>, Rx: Rx<M>>,
{
    let heard = V::play(stage, &Cast::pair(2), |actor, tx, rx| {
        let (Some(tx), Some(rx)) = (tx, rx) else {
            unreachable!("an actor has both ends");
        };
        let put = |message: &M| spin(|| tx.try_send(message).then_some(()));
        let take = || spin(|| rx.try_recv());
        play(actor, WARM, put, take)
    });
    let (asker, _, sample) = told(heard?)?;
    Ok(Sample {
        value: asker,
        ..sample
    })
}

/// Both wait as the queue does it, and each works for a while before it sends, so that it does not pay to spin for it: a queue
/// that spins before it sleeps does so in vain. On two processors (`CPUS`), or on one, where each must give way for the other to
/// run. Nanoseconds a round trip without the work; and how often the two slept in one.
///
/// # Errors
///
/// What the first actor said that failed.
pub fn sleeping_trip<V, M, const CPUS: usize>(stage: &Stage) -> Result<Sample, String>
where
    M: Message,
    V: Venue<M, Tx: SleepTx<M>, Rx: SleepRx<M>>,
{
    let heard = V::play(stage, &Cast::pair(CPUS), |actor, tx, rx| {
        let (Some(tx), Some(rx)) = (tx, rx) else {
            unreachable!("an actor has both ends");
        };
        let put = |message: &M| {
            work(CPUS);
            tx.send(message);
        };
        play(actor, STRIDE, put, || rx.recv())
    });
    let (time, sleeps, mut sample) = told(heard?)?;
    sample.value = time - 2.0 * work_time(CPUS);
    sample.more.insert("sleeps a round trip", sleeps);
    Ok(sample)
}

/// How long each works before it sends, in nanoseconds: not at all on one processor.
pub(crate) fn work_time(cpus: usize) -> f64 {
    if cpus > 1 { 20_000.0 } else { 0.0 }
}

/// Works.
pub(crate) fn work(cpus: usize) {
    let end = now() + work_time(cpus) as u64;
    while cpus > 1 && now() < end {}
}

/// Nanoseconds a round trip, and sleeps in one.
fn told((told, disturbance): Heard<(f64, u64)>) -> Result<(f64, f64, Sample), String> {
    let [asker, _] = told.as_slice() else {
        return Err(format!("expected 2 actors, found {}", told.len()));
    };
    let (time, trips) = asker.result;
    let sleeps: u64 = told.iter().map(|told| told.usage.voluntary).sum();
    let sleeps = sleeps as f64 / trips.max(1) as f64;
    Ok((time, sleeps, Sample::new(time, disturbance)))
}

fn play<M: Message>(
    actor: &Actor,
    warm: u64,
    put: impl FnMut(&M),
    take: impl FnMut() -> M,
) -> Result<(f64, u64), String> {
    if actor.part == 0 {
        ask(actor, warm, put, take)
    } else {
        answer(put, take)
    }
}

fn ask<M: Message>(
    actor: &Actor,
    warm: u64,
    mut put: impl FnMut(&M),
    mut take: impl FnMut() -> M,
) -> Result<(f64, u64), String> {
    let mut number = 0;
    let mut trips = |count: u64| {
        for _ in 0..count {
            put(&M::new(number));
            let answer = take();
            if !answer.is(number) {
                return Err(wrong(&answer, number));
            }
            number += 1;
        }
        Ok(number)
    };
    let first = trips(warm)?;
    let begin = now();
    let end = begin + actor.stage.time.as_nanos() as u64;
    let mut done = first;
    while now() < end {
        done = trips(STRIDE)?;
    }
    let time = now() - begin;
    let mut bye = M::new(done | LAST);
    if actor.stage.fault {
        bytemuck::bytes_of_mut(&mut bye)[M::SIZE - 1] ^= 0x10;
    }
    put(&bye);
    take();
    let trips = (done - first).max(1);
    Ok((time as f64 / trips as f64, trips))
}

fn answer<M: Message>(
    mut put: impl FnMut(&M),
    mut take: impl FnMut() -> M,
) -> Result<(f64, u64), String> {
    let mut number = 0;
    loop {
        let question = take();
        if !question.is(number) {
            put(&question);
            return match question.is(number | LAST) {
                true => Ok((0.0, 0)),
                false => Err(wrong(&question, number)),
            };
        }
        put(&question);
        number += 1;
    }
}
