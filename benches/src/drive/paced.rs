//! Messages on a schedule: an open loop.
//!
//! Message `n` is due at the start plus `n` intervals. The sender sends it then, or as soon as it can if it is late; the
//! receiver knows the schedule too, and a message's delay counts from when it was due. So a stall is charged to every
//! message that it delays, as Gil Tene asks for ("How NOT to Measure Latency").
//!
//! Without an interval everything is due at once, and what comes of it is the capacity of this very loop: what it takes
//! to look at the clock on both sides and to count is in it.

use super::{Sample, spin};
use crate::clock::now;
use crate::delays::Delays;
use crate::message::{LAST, Message, wrong};
use crate::queue::{Rx, Tx};
use crate::stage::{Actor, Cast, Stage, Venue};
use std::hint::spin_loop;
use std::sync::atomic::Ordering::{Acquire, Release};

/// Counters on the board.
const START: usize = 0;

/// From the order to start to the first message, in nanoseconds.
const LEAD: u64 = 100_000;

/// The median delay in nanoseconds, and others; the value without an interval is nanoseconds a message.
///
/// # Errors
///
/// What the first actor said that failed.
pub fn paced<V, M>(stage: &Stage) -> Result<Sample, String>
where
    M: Message,
    V: Venue<M, Tx: Tx<M>, Rx: Rx<M>>,
{
    let (told, disturbance) = V::play(stage, &Cast::flow(1, 1), |actor, tx, rx| match (tx, rx) {
        (Some(tx), _) => send(actor, tx),
        (_, Some(rx)) => receive(actor, rx),
        _ => unreachable!("an actor has an end"),
    })?;
    let [sender, receiver] = told.as_slice() else {
        return Err(format!("expected 2 actors, found {}", told.len()));
    };
    let (each, delays) = &receiver.result;
    if stage.interval == 0.0 {
        return Ok(Sample::new(*each, disturbance));
    }
    let mut sample = Sample::new(delays.at(0.5), disturbance);
    sample.more.extend([
        ("p99", delays.at(0.99)),
        ("p99.9", delays.at(0.999)),
        ("max", delays.max()),
        ("interval", stage.interval),
        ("interval reached", sender.result.0),
    ]);
    Ok(sample)
}

fn due(start: u64, number: u64, interval: f64) -> u64 {
    start + (number as f64 * interval) as u64
}

fn send<M: Message>(actor: &Actor, tx: &mut impl Tx<M>) -> Result<(f64, Delays), String> {
    let interval = actor.stage.interval;
    let start = now() + LEAD;
    // Release: pairs with the Acquire of the receiver; the value is all there is to see.
    actor.counter(START).store(start, Release);
    let end = start + actor.stage.time.as_nanos() as u64;
    let mut number = 0;
    let mut time = now();
    while time < end {
        let due = due(start, number, interval);
        while time < due {
            spin_loop();
            time = now();
        }
        spin(|| tx.try_send(&M::new(number)).then_some(()));
        number += 1;
        time = now();
    }
    if actor.stage.fault {
        number += 1;
    }
    spin(|| tx.try_send(&M::new(number | LAST)).then_some(()));
    Ok(((time - start) as f64 / number as f64, Delays::default()))
}

fn receive<M: Message>(actor: &Actor, rx: &mut impl Rx<M>) -> Result<(f64, Delays), String> {
    let interval = actor.stage.interval;
    let counter = actor.counter(START);
    // Acquire: as above.
    let start = spin(|| Some(counter.load(Acquire)).filter(|&start| start > 0));
    let mut delays = Delays::default();
    let mut number = 0;
    loop {
        let message = spin(|| rx.try_recv());
        let time = now();
        if !message.is(number) {
            if !message.is(number | LAST) {
                return Err(wrong(&message, number));
            }
            let each = time.saturating_sub(start) as f64 / number.max(1) as f64;
            return Ok((each, delays));
        }
        delays.record(time.saturating_sub(due(start, number, interval)).max(1));
        number += 1;
    }
}
