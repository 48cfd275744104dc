//! The figures of one transport at one size: medians of the rounds.
//!
//! A speed that is held against the ring's is held against that of the same round, since the speed of a shared machine
//! changes from one second to the next.

use super::receipt::{Far, Latencies, Near};
use super::subject::Subject;
use super::table;
use serde::Serialize;

/// Rounds whose speeds are further apart than this deserve a warning.
const NOISE: f64 = 2.0;

/// A rate below this share of what was asked was not reached.
const REACHED: f64 = 0.99;

/// One transport at one size, as it is measured.
pub struct Cell {
    pub subject: Subject,
    pub size: usize,
    pub rounds: Vec<Round>,
    /// Why there are no figures.
    pub left_out: Option<String>,
}

/// What one round found.
pub struct Round {
    /// Which round it was.
    pub number: usize,
    pub near: Near,
    pub far: Far,
}

impl Round {
    fn messages_per_second(&self) -> f64 {
        self.far.received as f64 / (self.far.time as f64 / 1e9)
    }

    /// Of both processes.
    fn cpu_per_message(&self) -> f64 {
        self.near.cpu as f64 / self.near.sent as f64
            + self.far.cpu as f64 / (self.far.received + 1) as f64
    }
}

/// The figures of one transport at one size.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub transport: String,
    pub size: usize,
    /// Every byte of every record was checked, and all were right. Otherwise there is no row.
    pub verified: bool,
    pub verified_records: u64,
    pub messages_per_second: f64,
    pub bytes_per_second: f64,
    /// The median, and the median of the rounds' medians.
    pub round_trip_ns: u64,
    pub paced: Paced,
    pub cpu_ns_per_message: f64,
    /// How many times as many messages a second as the ring for one sender and one receiver, at this size.
    pub relative: Option<f64>,
    /// Records that were sent and never came.
    pub lost: u64,
    pub rounds: usize,
    /// The fastest round's messages a second over the slowest's.
    pub spread: f64,
}

/// Latencies on schedule in nanoseconds, from when each record was due; of all rounds together.
#[derive(Clone, Debug, Serialize)]
pub struct Paced {
    /// Records a second that were asked for.
    pub rate: f64,
    /// Records a second that were sent.
    pub rate_reached: f64,
    pub p50: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

impl Row {
    /// The row of a cell, if it has figures. `reference` is the ring's cell of the same size.
    pub fn new(cell: &Cell, reference: Option<&Cell>, rate: f64) -> Option<Self> {
        let rounds = &cell.rounds;
        if rounds.is_empty() {
            return None;
        }
        let each = |figure: fn(&Round) -> f64| -> Vec<f64> { rounds.iter().map(figure).collect() };
        let speeds = each(Round::messages_per_second);
        let speed = median(speeds.clone());
        let mut paced = Latencies::default();
        for round in rounds {
            paced.add(&round.far.paced);
        }
        let ratios = reference.map(|reference| {
            let beside = |round: &Round| {
                let mut others = reference.rounds.iter();
                let other = others.find(|other| other.number == round.number)?;
                Some(round.messages_per_second() / other.messages_per_second())
            };
            rounds.iter().filter_map(beside).collect::<Vec<_>>()
        });
        let fastest = speeds.iter().copied().fold(0.0, f64::max);
        let slowest = speeds.iter().copied().fold(f64::INFINITY, f64::min);
        Some(Self {
            transport: cell.subject.to_string(),
            size: cell.size,
            verified: true,
            verified_records: rounds.iter().map(|round| round.far.verified).sum(),
            messages_per_second: speed,
            bytes_per_second: speed * cell.size as f64,
            round_trip_ns: median(each(|round| round.near.round_trip() as f64)) as u64,
            paced: Paced {
                rate,
                rate_reached: median(each(|round| round.near.rate_reached())),
                p50: paced.at(0.5),
                p99: paced.at(0.99),
                p999: paced.at(0.999),
                max: paced.max(),
            },
            cpu_ns_per_message: median(each(Round::cpu_per_message)),
            relative: ratios.filter(|ratios| !ratios.is_empty()).map(median),
            lost: rounds
                .iter()
                .map(|round| round.far.lost + round.near.lost)
                .sum(),
            rounds: rounds.len(),
            spread: fastest / slowest,
        })
    }

    /// What a reader has to know about this row.
    pub fn warnings(&self) -> Vec<String> {
        let transport = &self.transport;
        let size = table::size(self.size);
        let mut warnings = Vec::new();
        if self.paced.rate_reached < REACHED * self.paced.rate {
            warnings.push(format!(
                "{transport} {size}: asked for {:.0} records a second on schedule, reached {:.0}",
                self.paced.rate, self.paced.rate_reached
            ));
        }
        if self.lost > 0 {
            warnings.push(format!(
                "{transport} {size}: lost {} records, {} came",
                self.lost, self.verified_records
            ));
        }
        warnings
    }
}

/// The rows whose rounds differ much.
pub fn noisy(rows: &[Row]) -> Option<String> {
    let noisy = rows.iter().filter(|row| row.spread > NOISE);
    let named = |row: &Row| {
        let size = table::size(row.size);
        format!("{} {size} ({:.1})", row.transport, row.spread)
    };
    let named: Vec<_> = noisy.map(named).collect();
    (!named.is_empty()).then(|| {
        let list = named.join(", ");
        format!(
            "noisy: the fastest round was more than {NOISE} times as fast as the slowest for {list}"
        )
    })
}

/// The value in the middle; of an even number, the mean of the two.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(vec![7.0]), 7.0);
    }

    #[test]
    fn a_ratio_is_taken_within_a_round() {
        let cell = |subject: &str, speeds: &[(usize, u64)]| Cell {
            subject: subject.parse().expect("a row"),
            size: 64,
            rounds: speeds
                .iter()
                .map(|&(number, received)| {
                    let far = Far {
                        received,
                        time: 1_000_000_000,
                        ..Far::default()
                    };
                    let near = Near {
                        sent: 1,
                        paced_time: 1,
                        ..Near::default()
                    };
                    Round { number, near, far }
                })
                .collect(),
            left_out: None,
        };
        let ring = cell("ring-spsc", &[(0, 100), (1, 1000), (2, 200)]);
        // Half as fast each time, however fast the machine was.
        let pipe = cell("pipe", &[(0, 50), (1, 500), (2, 100)]);
        let row = Row::new(&pipe, Some(&ring), 1.0).expect("a row");
        assert_eq!(row.relative, Some(0.5));
        assert_eq!(row.messages_per_second, 100.0);
        assert_eq!(row.spread, 10.0);
        assert_eq!(
            Row::new(&ring, Some(&ring), 1.0).expect("a row").relative,
            Some(1.0)
        );
        assert!(
            Row::new(&pipe, None, 1.0)
                .expect("a row")
                .relative
                .is_none()
        );
    }
}
