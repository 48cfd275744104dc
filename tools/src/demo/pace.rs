//! Round trips on a schedule.
//!
//! Message *n* is due at the start plus *n* intervals, and its latency counts from then, whether or not
//! earlier ones have come back: a stall is charged to every message that it delays, as Gil Tene asks for
//! ("How NOT to Measure Latency"; the histogram is his, too).

use super::link::{Inlet, Outlet};
use super::message::{Checker, Message};
use hdrhistogram::Histogram;
use std::fmt;
use std::hint;
use std::thread;
use std::time::{Duration, Instant};

/// How long to wait for an echo before it counts as lost.
const LIMIT: Duration = Duration::from_secs(10);

/// How long an echo may take before the CPU is offered to others.
const PATIENCE: Duration = Duration::from_micros(3);

/// Messages that go there and back one by one before the schedule begins.
const WARM_UP: u64 = 200;

/// Sends `count` messages on the schedule, and times and checks their echoes.
pub fn paced(
    mut out: impl Outlet,
    mut inlet: impl Inlet,
    count: u64,
    interval: Duration,
) -> Result<Latency, String> {
    let mut latency = Latency::new()?;
    let mut checker = Checker::new(WARM_UP + count);
    for sequence in 0..WARM_UP {
        out.put(&Message::new(sequence))?;
        checker.check(&wait_for_echo(&mut inlet)?);
    }
    let start = Instant::now();
    let due = |sequence: u64| start + interval.mul_f64((sequence - WARM_UP) as f64);
    let mut next = WARM_UP;
    let (mut last_put, mut last_echo) = (start, start);
    let mut missing = count;
    while missing > 0 {
        let now = Instant::now();
        if next < WARM_UP + count && due(next) <= now {
            out.put(&Message::new(next))?;
            last_put = now;
            next += 1;
        }
        if let Some(echo) = inlet.try_take()? {
            last_echo = Instant::now();
            if checker.check(&echo) && echo.sequence >= WARM_UP {
                latency.record(last_echo.saturating_duration_since(due(echo.sequence)));
            }
            missing -= 1;
        } else if now.saturating_duration_since(last_echo) > LIMIT + interval {
            break;
        } else {
            rest(next - WARM_UP > count - missing, now, last_put);
        }
    }
    let verdict = checker.verdict();
    verdict.map_err(|tally| format!("of {count} paced messages: {tally}"))?;
    Ok(latency)
}

fn wait_for_echo(inlet: &mut impl Inlet) -> Result<Message, String> {
    let start = Instant::now();
    loop {
        if let Some(echo) = inlet.try_take()? {
            return Ok(echo);
        }
        let now = Instant::now();
        if now.saturating_duration_since(start) > LIMIT {
            return Err(format!("no echo came within {} s", LIMIT.as_secs()));
        }
        rest(true, now, start);
    }
}

/// Between two looks. If an echo takes long, the other process probably has no CPU: it may have ours.
fn rest(outstanding: bool, now: Instant, last_put: Instant) {
    if outstanding && now.saturating_duration_since(last_put) > PATIENCE {
        thread::yield_now();
    } else {
        hint::spin_loop();
    }
}

/// How long round trips took.
pub struct Latency(Histogram<u64>);

impl Latency {
    /// Nothing yet.
    pub fn new() -> Result<Self, String> {
        let max = Duration::from_secs(60).as_nanos() as u64;
        let histogram = Histogram::new_with_bounds(1, max, 3);
        let histogram = histogram.map_err(|error| format!("the histogram: {error}"))?;
        Ok(Self(histogram))
    }

    fn record(&mut self, latency: Duration) {
        self.0.saturating_record(latency.as_nanos() as u64);
    }

    /// Takes in what `other` holds.
    pub fn add(&mut self, other: &Self) -> Result<(), String> {
        let added = self.0.add(&other.0);
        added.map_err(|error| format!("the histogram: {error}"))
    }

    /// The median, the 99th and the 99.9th percentile, and the maximum.
    pub fn summary(&self) -> [Duration; 4] {
        let at = |quantile| Duration::from_nanos(self.0.value_at_quantile(quantile));
        let max = Duration::from_nanos(self.0.max());
        [at(0.5), at(0.99), at(0.999), max]
    }
}

/// A duration in microseconds.
pub struct Micros(pub Duration);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_nanos() as f64 / 1e3;
        let digits = if micros < 100.0 { 2 } else { 0 };
        f.pad(&format!("{micros:.digits$} µs"))
    }
}
