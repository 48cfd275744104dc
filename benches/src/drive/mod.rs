//! The work, written once for all queues.

mod crowd;
mod idle;
mod paced;
mod records;
mod stream;
mod trip;

pub use crowd::{crowd, sleeping_crowd};
pub use idle::{idle, sleeper};
pub use paced::paced;
pub(crate) use records::{fill, is_filled};
pub use records::{in_place, records};
pub use stream::{batches, stream};
pub use trip::{sleeping_trip, trip};
pub(crate) use trip::{work, work_time};

use crate::disturbance::Disturbance;
use crate::stage::Heard;
use serde::Serialize;
use std::collections::BTreeMap;
use std::hint::spin_loop;
use std::thread;

/// What one measurement found.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// Its figure, in the cell's unit.
    pub value: f64,
    /// Other figures.
    pub more: BTreeMap<&'static str, f64>,
    /// What disturbed it.
    pub disturbance: Disturbance,
}

impl Sample {
    /// A sample of one figure.
    pub fn new(value: f64, disturbance: Disturbance) -> Self {
        Self {
            value,
            more: BTreeMap::new(),
            disturbance,
        }
    }
}

/// Of what the actors tell, the receiver's nanoseconds a message.
fn per_message((told, disturbance): Heard<f64>) -> Result<Sample, String> {
    let [_, receiver] = told.as_slice() else {
        return Err(format!("expected 2 actors, found {}", told.len()));
    };
    Ok(Sample::new(receiver.result, disturbance))
}

/// Repeats an attempt until it gives something, and nothing else: for two actors with a processor each.
#[inline(always)]
pub(crate) fn spin<R>(mut attempt: impl FnMut() -> Option<R>) -> R {
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        spin_loop();
    }
}

/// Attempts between yields.
const SPINS: u32 = 64;

/// Repeats an attempt until it gives something, and lets others have the processor now and then.
#[inline(always)]
fn yielding<R>(mut attempt: impl FnMut() -> Option<R>) -> R {
    loop {
        for _ in 0..SPINS {
            if let Some(done) = attempt() {
                return done;
            }
            spin_loop();
        }
        thread::yield_now();
    }
}
