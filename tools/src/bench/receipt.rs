//! What each of the two processes says when all is well: a line of JSON.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// What the process found that sends and asks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Near {
    /// Round trips.
    pub trips: Latencies,
    /// Records sent as fast as they went, while the clock ran.
    pub sent: u64,
    /// CPU time meanwhile, in nanoseconds.
    pub cpu: u64,
    /// Records sent on schedule, …
    pub paced: u64,
    /// … and how long that took, in nanoseconds.
    pub paced_time: u64,
    /// Questions that were not answered.
    pub lost: u64,
}

/// What the process found that receives and answers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Far {
    /// Records checked, in all.
    pub verified: u64,
    /// Records received as fast as they came, after the first, …
    pub received: u64,
    /// … in so many nanoseconds.
    pub time: u64,
    /// CPU time meanwhile, in nanoseconds.
    pub cpu: u64,
    /// From when each record on schedule was due.
    pub paced: Latencies,
    /// Records that never came.
    pub lost: u64,
}

/// How long things took: a histogram of nanoseconds, to 1 %.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        // The bounds are fixed and right.
        let histogram = Histogram::new_with_bounds(1, 60_000_000_000, 2);
        Self(histogram.unwrap_or_else(|error| unreachable!("{error}")))
    }
}

impl Latencies {
    #[inline]
    pub fn record(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds);
    }

    /// Takes in what `other` holds.
    pub fn add(&mut self, other: &Self) {
        // Both have the same bounds.
        let _ = self.0.add(&other.0);
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The value that so many of all do not exceed.
    pub fn at(&self, quantile: f64) -> u64 {
        self.0.value_at_quantile(quantile)
    }

    pub fn max(&self) -> u64 {
        self.0.max()
    }
}

impl From<Vec<(u64, u64)>> for Latencies {
    fn from(counts: Vec<(u64, u64)>) -> Self {
        let mut all = Self::default();
        for (value, count) in counts {
            all.0.saturating_record_n(value, count);
        }
        all
    }
}

impl From<Latencies> for Vec<(u64, u64)> {
    fn from(all: Latencies) -> Self {
        let recorded = all.0.iter_recorded();
        recorded
            .map(|step| (step.value_iterated_to(), step.count_at_value()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_survive_the_way() {
        let mut near = Near::default();
        for value in [1, 100, 5_000, 5_000, 1_000_000, 70_000_000_000] {
            near.trips.record(value);
        }
        let line = serde_json::to_string(&near).expect("JSON");
        let read: Near = serde_json::from_str(&line).expect("a receipt");
        assert_eq!(read.trips.count(), 6);
        assert_eq!(read.trips.at(0.5), near.trips.at(0.5));
        assert_eq!(read.trips.max(), near.trips.max());
    }
}
