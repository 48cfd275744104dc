//! How long things took: a histogram of nanoseconds, to 1 %, that goes from process to process.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// A histogram.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct Delays(Histogram<u64>);

impl Default for Delays {
    fn default() -> Self {
        // The bounds are fixed and right: up to a minute, two digits.
        let histogram = Histogram::new_with_bounds(1, 60_000_000_000, 2);
        Self(histogram.unwrap_or_else(|error| unreachable!("{error}")))
    }
}

impl Delays {
    /// Takes one in.
    #[inline]
    pub fn record(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds);
    }

    /// Takes all of `other` in.
    pub fn add(&mut self, other: &Self) {
        // Both have the same bounds.
        let _ = self.0.add(&other.0);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value that so many of all do not exceed.
    pub fn at(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64
    }

    /// The longest.
    pub fn max(&self) -> f64 {
        self.0.max() as f64
    }
}

impl From<Vec<(u64, u64)>> for Delays {
    fn from(counts: Vec<(u64, u64)>) -> Self {
        let mut all = Self::default();
        for (value, count) in counts {
            all.0.saturating_record_n(value, count);
        }
        all
    }
}

impl From<Delays> for Vec<(u64, u64)> {
    fn from(all: Delays) -> Self {
        let recorded = all.0.iter_recorded();
        recorded
            .map(|step| (step.value_iterated_to(), step.count_at_value()))
            .collect()
    }
}
