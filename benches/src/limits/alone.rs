//! M9: one thread sends and receives by itself, so that every line is its own: what the instructions take.

use crate::clock::now;
use crate::drive::Sample;
use crate::message::{Message, Words};
use crate::queue::said;
use crate::record::Pool;
use crate::stage::Stage;
use annulus::{Receiver, Ring, RingOptions, Sender, Spsc};
use std::hint::black_box;

/// Messages that are sent before they are received: half of what the ring holds.
const RUN: u64 = 2048;

/// Messages that are sent at once.
const BATCH: u64 = 64;

/// Messages of `N` words, one by one: nanoseconds a message, of sending or receiving, whichever takes longer.
///
/// # Errors
///
/// What the ring said.
pub fn one_by_one<const N: usize>(stage: &Stage) -> Result<Sample, String> {
    let send = |tx: &mut Sender<Words<N>, Spsc>| {
        for number in 0..RUN {
            let message = Words::new(black_box(number));
            tx.try_send(message).expect("there is room");
        }
    };
    let receive = |rx: &mut Receiver<Words<N>, Spsc>| {
        (0..RUN).all(|number| rx.try_recv().is_ok_and(|message| message.is(number)))
    };
    both(stage, typed, send, receive)
}

/// Messages of `N` words in batches of 64, likewise.
///
/// # Errors
///
/// What the ring said.
pub fn batches<const N: usize>(stage: &Stage) -> Result<Sample, String> {
    let send = |tx: &mut Sender<Words<N>, Spsc>| {
        for first in (0..RUN).step_by(BATCH as usize) {
            let first = black_box(first);
            let batch: [_; BATCH as usize] =
                std::array::from_fn(|at| Words::new(first + at as u64));
            tx.try_send_slice(&batch).expect("there is room");
        }
    };
    let receive = |rx: &mut Receiver<Words<N>, Spsc>| {
        let mut buffer = [Words::new(0); BATCH as usize];
        let mut next = 0;
        while next < RUN {
            let count = rx.try_recv_slice(&mut buffer).unwrap_or(0);
            let right = |at: usize| buffer[at].is(next + at as u64);
            if count == 0 || !(0..count).all(right) {
                return false;
            }
            next += count as u64;
        }
        true
    };
    both(stage, typed, send, receive)
}

/// Byte records of 16 to 256 bytes, one by one, likewise.
///
/// # Errors
///
/// What the ring said.
pub fn records(stage: &Stage) -> Result<Sample, String> {
    let mut sent = Pool::<16, 256>::new();
    let mut received = (Pool::<16, 256>::new(), Vec::new());
    let send = |tx: &mut Sender<[u8], Spsc>| {
        for number in 0..RUN {
            tx.try_send(sent.make(black_box(number)))
                .expect("there is room");
        }
    };
    let receive = |rx: &mut Receiver<[u8], Spsc>| {
        let (pool, buffer) = &mut received;
        (0..RUN).all(|number| rx.try_recv(buffer).is_ok() && pool.is(number, buffer))
    };
    let open = || said(RingOptions::new().capacity(1 << 20).heap());
    both(stage, open, send, receive)
}

fn typed<const N: usize>() -> Result<Ring<Words<N>, Spsc>, String> {
    said(RingOptions::new().capacity(2 * RUN as usize).heap())
}

/// Sends runs and receives them until the time is over. `receive` tells whether all was right.
fn both<T>(
    stage: &Stage,
    open: impl Fn() -> Result<Ring<T, Spsc>, String> + Sync,
    send: impl FnMut(&mut Sender<T, Spsc>) + Send,
    receive: impl FnMut(&mut Receiver<T, Spsc>) -> bool + Send,
) -> Result<Sample, String>
where
    T: annulus::Message + ?Sized,
{
    let work = std::sync::Mutex::new((send, receive));
    let (told, disturbance) = stage.together(&[0], |actor| {
        let mut work = work.lock().map_err(|error| error.to_string())?;
        let (send, receive) = &mut *work;
        let ring = open()?;
        let (mut tx, mut rx) = (said(ring.sender())?, said(ring.receiver())?);
        let end = now() + actor.stage.time.as_nanos() as u64;
        let (mut sending, mut receiving, mut runs) = (0, 0, 0);
        loop {
            let begin = now();
            send(&mut tx);
            let between = now();
            if !receive(&mut rx) {
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
    })?;
    let (push, pop) = told.first().ok_or("nobody told anything")?.result;
    let mut sample = Sample::new(push.max(pop), disturbance);
    sample.more.extend([("push", push), ("pop", pop)]);
    Ok(sample)
}
