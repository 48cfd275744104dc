//! A receiver that waits for what does not come: how often it wakes, and what it costs.

use super::Sample;
use crate::disturbance::{Disturbance, Usage};
use crate::message::Message;
use crate::queue::{SleepRx, SleepTx};
use crate::stage::{Cast, Stage, Venue};
use std::thread;

/// Wake-ups a second of a blocked receiver; and the share of a processor that it uses, in percent.
///
/// # Errors
///
/// What the first actor said that failed.
pub fn idle<V, M>(stage: &Stage) -> Result<Sample, String>
where
    M: Message,
    V: Venue<M, Tx: SleepTx<M>, Rx: SleepRx<M>>,
{
    let (told, mut disturbance) = V::play(stage, &Cast::flow(1, 1), |actor, tx, rx| {
        match (tx, rx) {
            (Some(tx), _) => {
                thread::sleep(actor.stage.time);
                tx.send(&M::new(7 + u64::from(actor.stage.fault)));
            }
            (_, Some(rx)) => {
                let message = rx.recv();
                if !message.is(7) {
                    return Err(crate::message::wrong(&message, 7));
                }
            }
            _ => unreachable!("an actor has an end"),
        }
        Ok(())
    })?;
    let [_, receiver] = told.as_slice() else {
        return Err(format!("expected 2 actors, found {}", told.len()));
    };
    // Nothing that matters here is disturbed by others.
    disturbance.involuntary = 0;
    Ok(sleeper(stage, &receiver.usage, disturbance))
}

/// What somebody used who did nothing but sleep.
pub fn sleeper(stage: &Stage, usage: &Usage, disturbance: Disturbance) -> Sample {
    let seconds = stage.time.as_secs_f64();
    // It sleeps once more than it wakes for nothing.
    let wakes = usage.voluntary.saturating_sub(1) as f64 / seconds;
    let mut sample = Sample::new(wakes, disturbance);
    let share = usage.cpu as f64 / 1e9 / seconds * 100.0;
    sample.more.insert("CPU %", share);
    sample
}
