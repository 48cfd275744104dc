//! Streams: one sender, one receiver, as fast as it goes.
//!
//! The sender sends messages 0, 1, 2, … until its time is over, then one that is marked as the last. The receiver's clock
//! runs from when everything was warm to the last message. Neither looks at a clock or a flag in between: the sender
//! looks every 16 KiB messages or so, and the receiver learns of the end from the one check that it makes of each message anyway.

use super::{Sample, per_message, spin};
use crate::clock::now;
use crate::message::{LAST, Message, wrong};
use crate::queue::{BatchRx, BatchTx, Rx, Tx};
use crate::stage::{Actor, Cast, Stage, Venue};
use std::array::from_fn;

/// Messages before the clock starts: so many times the queue's capacity, so that all its memory is there and warm.
const WARM_LAPS: u64 = 2;

/// Bytes between the sender's looks at its clock, at most; and messages.
const STRIDE: (usize, usize) = (1 << 20, 4096);

/// Messages, one at a time, each published before the next is sent: nanoseconds a message.
///
/// # Errors
///
/// What the first actor said that failed.
pub fn stream<V, M>(stage: &Stage) -> Result<Sample, String>
where
    M: Message,
    V: Venue<M, Tx: Tx<M>, Rx: Rx<M>>,
{
    let heard = V::play(stage, &Cast::flow(1, 1), |actor, tx, rx| match (tx, rx) {
        (Some(tx), _) => send::<M>(actor, |message| spin(|| tx.try_send(message).then_some(()))),
        (_, Some(rx)) => receive(actor, OneByOne(rx)),
        _ => unreachable!("an actor has an end"),
    });
    per_message(heard?)
}

/// Messages in batches of `B`, published and received as many at a time as the queue's interface for batches makes of them:
/// nanoseconds a message.
///
/// # Errors
///
/// What the first actor said that failed.
pub fn batches<V, M, const B: usize>(stage: &Stage) -> Result<Sample, String>
where
    M: Message,
    V: Venue<M, Tx: BatchTx<M>, Rx: BatchRx<M>>,
{
    let heard = V::play(stage, &Cast::flow(1, 1), |actor, tx, rx| match (tx, rx) {
        (Some(tx), _) => send_batches::<M, B>(actor, tx),
        (_, Some(rx)) => receive(actor, Batched::<_, B>(rx)),
        _ => unreachable!("an actor has an end"),
    });
    per_message(heard?)
}

/// How many messages go between two looks at the clock.
fn stride<M: Message>() -> u64 {
    let (bytes, messages) = STRIDE;
    (bytes / M::SIZE).clamp(1, messages) as u64
}

fn warm_up(stage: &Stage) -> u64 {
    WARM_LAPS * stage.capacity as u64
}

fn send<M: Message>(actor: &Actor, mut put: impl FnMut(&M)) -> Result<f64, String> {
    let mut number = 0;
    while number < warm_up(actor.stage) {
        put(&M::new(number));
        number += 1;
    }
    let end = now() + actor.stage.time.as_nanos() as u64;
    while now() < end {
        for _ in 0..stride::<M>() {
            put(&M::new(number));
            number += 1;
        }
    }
    if actor.stage.fault {
        put(&flawed(number));
        number += 1;
    }
    put(&M::new(number | LAST));
    Ok(0.0)
}

/// A message with one wrong bit, in its last byte.
fn flawed<M: Message>(number: u64) -> M {
    let mut message = M::new(number);
    if let Some(byte) = bytemuck::bytes_of_mut(&mut message).last_mut() {
        *byte ^= 0x10;
    }
    message
}

fn send_batches<M: Message, const B: usize>(
    actor: &Actor,
    tx: &mut impl BatchTx<M>,
) -> Result<f64, String> {
    let mut put = |batch: &[M]| {
        let mut rest = batch;
        while !rest.is_empty() {
            let sent = spin(|| Some(tx.try_send_batch(rest)).filter(|&sent| sent > 0));
            rest = &rest[sent..];
        }
    };
    let mut number = 0;
    let mut batch = || {
        let first = number;
        number += B as u64;
        from_fn::<M, B, _>(|at| M::new(first + at as u64))
    };
    let rounds = warm_up(actor.stage).div_ceil(B as u64);
    for _ in 0..rounds {
        put(&batch());
    }
    let end = now() + actor.stage.time.as_nanos() as u64;
    let rounds = stride::<M>().div_ceil(B as u64);
    while now() < end {
        for _ in 0..rounds {
            put(&batch());
        }
    }
    let number = batch()[0].number();
    if actor.stage.fault {
        put(&[flawed(number), M::new((number + 1) | LAST)]);
    } else {
        put(&[M::new(number | LAST)]);
    }
    Ok(0.0)
}

/// What shows messages to a check, at least one at a time.
trait Source<M> {
    fn next(&mut self, check: impl FnMut(&M));
}

struct OneByOne<'a, R>(&'a mut R);

impl<M, R: Rx<M>> Source<M> for OneByOne<'_, R> {
    #[inline(always)]
    fn next(&mut self, mut check: impl FnMut(&M)) {
        check(&spin(|| self.0.try_recv()));
    }
}

struct Batched<'a, R, const B: usize>(&'a mut R);

impl<M, R: BatchRx<M>, const B: usize> Source<M> for Batched<'_, R, B> {
    #[inline(always)]
    fn next(&mut self, mut check: impl FnMut(&M)) {
        spin(|| (self.0.try_recv_batch(B, &mut check) > 0).then_some(()));
    }
}

/// Receives until the last message.
fn receive<M: Message>(actor: &Actor, mut source: impl Source<M>) -> Result<f64, String> {
    let mut expected = 0;
    let mut last = None;
    let mut going = true;
    let mut check = |expected: &mut u64, going: &mut bool, message: &M| {
        if message.is(*expected) {
            *expected += 1;
        } else {
            *going = false;
            last = Some(judge(message, *expected));
        }
    };
    while going && expected < warm_up(actor.stage) {
        source.next(|message| check(&mut expected, &mut going, message));
    }
    let (first, begin) = (expected, now());
    while going {
        source.next(|message| check(&mut expected, &mut going, message));
    }
    let time = now() - begin;
    last.unwrap_or(Ok(()))?;
    Ok(time as f64 / (expected - first).max(1) as f64)
}

/// A message that is not the next one: is it the last one?
#[cold]
fn judge<M: Message>(message: &M, expected: u64) -> Result<(), String> {
    if message.is(expected | LAST) {
        Ok(())
    } else {
        Err(wrong(message, expected))
    }
}
