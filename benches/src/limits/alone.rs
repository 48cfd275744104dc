//! M9: one thread sends and receives by itself, so that every line is its own: what the instructions take.
//!
//! On the bare ring, which does the least that a ring has to, so that the limit does not move with what is held against it.

use crate::bare::Bare;
use crate::clock::now;
use crate::drive::Sample;
use crate::message::{Message, Words};
use crate::queue::{BatchRx, BatchTx, Local, Rx, Site, Tx};
use crate::record::Pool;
use crate::stage::{Actor, Stage};
use std::hint::black_box;
use std::path::PathBuf;

/// Messages that are sent before they are received: half of what the ring holds.
const RUN: u64 = 2048;

/// Messages that are sent at once.
const BATCH: usize = 64;

/// Messages of `N` words, one by one: nanoseconds a message, of sending or receiving, whichever takes longer.
///
/// # Errors
///
/// What the ring said.
pub fn one_by_one<const N: usize>(stage: &Stage) -> Result<Sample, String> {
    measure(stage, |actor| {
        let (mut tx, mut rx) = open::<N>()?;
        let send = || {
            for number in 0..RUN {
                tx.try_send(&Words::new(black_box(number)));
            }
        };
        let receive =
            || (0..RUN).all(|number| rx.try_recv().is_some_and(|message| message.is(number)));
        alternate(actor, send, receive)
    })
}

/// Messages of `N` words in batches of 64, likewise.
///
/// # Errors
///
/// What the ring said.
pub fn batches<const N: usize>(stage: &Stage) -> Result<Sample, String> {
    measure(stage, |actor| {
        let (mut tx, mut rx) = open::<N>()?;
        let send = || {
            for first in (0..RUN).step_by(BATCH) {
                let first = black_box(first);
                let batch: [_; BATCH] = std::array::from_fn(|at| Words::new(first + at as u64));
                tx.try_send_batch(&batch);
            }
        };
        let receive = || {
            let (mut next, mut right) = (0, true);
            while right && next < RUN {
                let check = |message: &Words<N>| {
                    right &= message.is(next);
                    next += 1;
                };
                let count = rx.try_recv_batch(BATCH, check);
                right &= count > 0;
            }
            right
        };
        alternate(actor, send, receive)
    })
}

/// Byte records of 16 to 256 bytes with 8 bytes before each, copied into a buffer and out again, likewise.
///
/// # Errors
///
/// What the actor said.
pub fn records(stage: &Stage) -> Result<Sample, String> {
    measure(stage, |actor| {
        let (mut pool, check) = (Pool::<16, 256>::new(), Pool::<16, 256>::new());
        let memory = std::cell::RefCell::new(vec![0u8; RUN as usize * (256 + 8)]);
        let mut copy = Vec::with_capacity(256);
        let send = || {
            let mut memory = memory.borrow_mut();
            let mut rest = memory.as_mut_slice();
            for number in 0..RUN {
                let record = pool.make(black_box(number));
                let (header, after) = rest.split_at_mut(8);
                header.copy_from_slice(&record.len().to_ne_bytes());
                let (place, after) = after.split_at_mut(record.len().next_multiple_of(8));
                place[..record.len()].copy_from_slice(record);
                rest = after;
            }
        };
        let receive = || {
            let memory = memory.borrow();
            let mut rest = memory.as_slice();
            (0..RUN).all(|number| {
                let len = rest
                    .first_chunk()
                    .map_or(0, |bytes| usize::from_ne_bytes(*bytes));
                copy.clear();
                copy.extend_from_slice(&rest[8..8 + len]);
                rest = &rest[8 + len.next_multiple_of(8)..];
                check.is(number, &copy)
            })
        };
        alternate(actor, send, receive)
    })
}

type Tip<const N: usize> = <Bare<false> as Local<Words<N>>>::Tx;
type End<const N: usize> = <Bare<false> as Local<Words<N>>>::Rx;

fn open<const N: usize>() -> Result<(Tip<N>, End<N>), String> {
    let site = Site {
        path: PathBuf::new(),
        name: String::new(),
        capacity: 2 * RUN as usize,
        record: 0,
    };
    let (mut tx, mut rx) = Bare::<false>::open(&site, 1, 1)?;
    tx.pop()
        .zip(rx.pop())
        .ok_or_else(|| "a ring without ends".to_owned())
}

/// Nanoseconds a message of sending, and of receiving.
type Both = (f64, f64);

fn measure(
    stage: &Stage,
    work: impl Fn(&Actor) -> Result<Both, String> + Sync,
) -> Result<Sample, String> {
    let (told, disturbance) = stage.together(&[0], work)?;
    let (push, pop) = told.first().ok_or("nobody told anything")?.result;
    let mut sample = Sample::new(push.max(pop), disturbance);
    sample.more.extend([("push", push), ("pop", pop)]);
    Ok(sample)
}

/// Sends runs and receives them until the time is over. `receive` tells whether all was right.
fn alternate(
    actor: &Actor,
    mut send: impl FnMut(),
    mut receive: impl FnMut() -> bool,
) -> Result<Both, String> {
    let end = now() + actor.stage.time.as_nanos() as u64;
    let (mut sending, mut receiving, mut runs) = (0, 0, 0);
    loop {
        let begin = now();
        send();
        let between = now();
        if !receive() {
            return Err("a message is wrong".to_owned());
        }
        let done = now();
        sending += between - begin;
        receiving += done - between;
        runs += RUN;
        if done >= end {
            return Ok((sending as f64 / runs as f64, receiving as f64 / runs as f64));
        }
    }
}
