//! Medians, and how sure they are.

use serde::Serialize;

/// The value in the middle; of an even number, the mean of the two.
///
/// # Panics
///
/// If there are no values.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// A median with the interval in which it lies with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The median.
    pub median: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
}

/// Samples drawn for an interval.
const DRAWS: usize = 2000;

impl Estimate {
    /// The median of `values`, and its interval by the bootstrap (Efron, 1979): the 2.5th and 97.5th percentiles of the
    /// medians of samples drawn from the values with replacement. The same values give the same interval.
    ///
    /// # Panics
    ///
    /// If there are no values.
    pub fn of(values: &[f64]) -> Self {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut sample = vec![0.0; values.len()];
        let mut medians: Vec<f64> = (0..DRAWS)
            .map(|_| {
                for place in &mut sample {
                    *place = values[random.below(values.len())];
                }
                median(&sample)
            })
            .collect();
        medians.sort_by(f64::total_cmp);
        Self {
            median: median(values),
            low: medians[DRAWS / 40],
            high: medians[DRAWS - 1 - DRAWS / 40],
        }
    }
}

/// xorshift64* (Vigna, 2016): enough to draw samples.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        ((high * bound as u64) >> 32) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
    }

    #[test]
    fn the_interval_is_around_the_median() {
        let values: Vec<f64> = (0..21).map(f64::from).collect();
        let found = Estimate::of(&values);
        assert_eq!(found.median, 10.0);
        assert!(found.low < 10.0 && found.high > 10.0);
        assert!(found.low >= 4.0 && found.high <= 16.0, "{found:?}");
        let same = Estimate::of(&[2.0; 9]);
        assert_eq!((same.low, same.median, same.high), (2.0, 2.0, 2.0));
    }
}
