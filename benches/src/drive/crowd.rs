//! Crowds: several senders, several receivers, perhaps more than processors.
//!
//! A message's number is its sender's number and a count. Each receiver checks that every sender's counts rise, and in the
//! end the counts and sums of all that was sent and all that was received must be the same: so nothing was lost,
//! doubled or made up. When all have sent everything, one sender sends a farewell for each receiver.
//!
//! One message in 16 has the time in it, from when its sender began to send it. A *stall* is the longest that a receiver
//! was without such a message. Whoever finds the queue full or empty looks some more, and then yields its processor;
//! or sleeps as the queue does it.

use super::{Sample, yielding};
use crate::clock::now;
use crate::delays::Delays;
use crate::message::{LAST, Message, Words, wrong};
use crate::queue::{Rx, SleepRx, SleepTx, Tx};
use crate::stage::{Actor, Cast, Heard, Stage, Venue};
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::thread;

/// One message in so many has the time in it.
const SAMPLES: u64 = 16;

/// Messages between a sender's looks at its clock.
const STRIDE: u64 = 256;

/// Where the sender's number stands in a message's.
const SENDER: u32 = 40;

/// Senders, at most.
const SENDERS: usize = 64;

/// Counters on the board: senders that have sent everything.
const DONE: usize = 0;

/// What one actor did.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Deed {
    sent: Tally,
    received: Tally,
    begin: u64,
    end: u64,
    delays: Delays,
    stall: u64,
}

/// How many, and the sum of their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Tally {
    count: u64,
    sum: u64,
}

impl Tally {
    fn add(&mut self, number: u64) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(number);
    }

    fn plus(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            sum: self.sum.wrapping_add(other.sum),
        }
    }
}

/// `S` senders and `R` receivers that yield: nanoseconds a message, of all together; the delays and the longest stall.
///
/// # Errors
///
/// What the first actor said that failed, or what was lost or doubled.
pub fn crowd<V, const N: usize, const S: usize, const R: usize>(
    stage: &Stage,
) -> Result<Sample, String>
where
    V: Venue<Words<N>, Tx: Tx<Words<N>>, Rx: Rx<Words<N>>>,
{
    tell(V::play(stage, &Cast::flow(S, R), |actor, tx, rx| {
        match (tx, rx) {
            (Some(tx), _) => send(actor, S, R, |message| {
                yielding(|| tx.try_send(message).then_some(()));
            }),
            (_, Some(rx)) => receive(|| yielding(|| rx.try_recv())),
            _ => unreachable!("an actor has an end"),
        }
    })?)
}

/// The same, sleeping as the queue does it.
///
/// # Errors
///
/// As [`crowd`].
pub fn sleeping_crowd<V, const N: usize, const S: usize, const R: usize>(
    stage: &Stage,
) -> Result<Sample, String>
where
    V: Venue<Words<N>, Tx: SleepTx<Words<N>>, Rx: SleepRx<Words<N>>>,
{
    tell(V::play(stage, &Cast::flow(S, R), |actor, tx, rx| {
        match (tx, rx) {
            (Some(tx), _) => send(actor, S, R, |message| tx.send(message)),
            (_, Some(rx)) => receive(|| rx.recv()),
            _ => unreachable!("an actor has an end"),
        }
    })?)
}

fn tell((told, disturbance): Heard<Deed>) -> Result<Sample, String> {
    let deeds = || told.iter().map(|told| &told.result);
    let sent = deeds()
        .map(|deed| deed.sent)
        .fold(Tally::default(), Tally::plus);
    let received = deeds()
        .map(|deed| deed.received)
        .fold(Tally::default(), Tally::plus);
    if sent != received {
        return Err(format!("sent {sent:?}, received {received:?}"));
    }
    let begin = deeds()
        .filter(|deed| deed.begin > 0)
        .map(|deed| deed.begin)
        .min();
    let end = deeds().map(|deed| deed.end).max();
    let time = end.unwrap_or(0).saturating_sub(begin.unwrap_or(0));
    // Crowds are switched by nature: only what the hypervisor takes is a disturbance.
    let disturbance = crate::disturbance::Disturbance {
        involuntary: 0,
        ..disturbance
    };
    let mut sample = Sample::new(time as f64 / received.count.max(1) as f64, disturbance);
    let mut delays = Delays::default();
    for deed in deeds() {
        delays.add(&deed.delays);
    }
    let stall = deeds().map(|deed| deed.stall).max().unwrap_or(0);
    // Messages of one word have no room for the time.
    if !delays.is_empty() {
        sample.more.extend([
            ("delay p50 µs", delays.at(0.5) / 1e3),
            ("delay p99.9 ms", delays.at(0.999) / 1e6),
        ]);
    }
    sample.more.insert("longest stall ms", stall as f64 / 1e6);
    Ok(sample)
}

fn send<const N: usize>(
    actor: &Actor,
    senders: usize,
    receivers: usize,
    mut put: impl FnMut(&Words<N>),
) -> Result<Deed, String> {
    let mut deed = Deed::default();
    let base = (actor.part as u64) << SENDER;
    let end = now() + actor.stage.time.as_nanos() as u64;
    let mut number = base;
    while now() < end {
        for _ in 0..STRIDE {
            let mut message = Words::<N>::new(number);
            if number.is_multiple_of(SAMPLES) {
                stamp(&mut message);
            }
            put(&message);
            deed.sent.add(number);
            number += 1;
        }
    }
    if actor.stage.fault {
        deed.sent.add(1);
    }
    // AcqRel, Acquire: what the others sent is in the queue before the farewells.
    let done = actor.counter(DONE);
    done.fetch_add(1, AcqRel);
    if actor.part == 0 {
        while done.load(Acquire) < senders as u64 {
            thread::yield_now();
        }
        for _ in 0..receivers {
            put(&Words::<N>::new(LAST));
        }
    }
    Ok(deed)
}

/// Puts the time into a message that has room for it.
fn stamp<const N: usize>(message: &mut Words<N>) {
    if let [_, place, ..] = message.as_mut_slice() {
        *place = now();
    }
}

/// Takes the time out of a message.
fn unstamp<const N: usize>(message: &mut Words<N>) -> Option<u64> {
    let [number, place, ..] = message.as_mut_slice() else {
        return None;
    };
    Some(std::mem::replace(place, number.wrapping_add(1)))
}

fn receive<const N: usize>(mut take: impl FnMut() -> Words<N>) -> Result<Deed, String> {
    let mut deed = Deed::default();
    let mut next = [0; SENDERS];
    let mut sampled = now();
    loop {
        let mut message = take();
        let number = message.number();
        if number == LAST && message.is(LAST) {
            deed.end = now();
            return Ok(deed);
        }
        if deed.begin == 0 {
            deed.begin = now();
        }
        if number.is_multiple_of(SAMPLES) {
            let time = now();
            if let Some(stamp) = unstamp(&mut message) {
                deed.delays.record(time.saturating_sub(stamp).max(1));
            }
            deed.stall = deed.stall.max(time - sampled);
            sampled = time;
        }
        let sender = (number >> SENDER) as usize;
        if !message.is(number) || sender >= SENDERS {
            return Err(wrong(&message, number));
        }
        // The counts of one sender rise, whoever else takes some of them.
        if number < next[sender] {
            return Err(format!(
                "message {number:#x} came after {:#x} of the same sender",
                next[sender] - 1
            ));
        }
        next[sender] = number + 1;
        deed.received.add(number);
    }
}
