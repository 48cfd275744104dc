//! Cells: the same work by several subjects, in rounds, and what comes of it.
//!
//! Every figure is a time, so less is better. A ratio is taken within a round; of the ratios there is the median, and the
//! interval in which that lies with 95 % confidence. The first subject is ours; where it stands a second time, the ratio
//! of the two is the *floor*: a difference no larger than its interval means nothing.
//!
//! A pair of samples of which either was disturbed does not count. On a machine so busy that most are, the half that was
//! disturbed least counts, and the entry says so.

use crate::disturbance::Disturbance;
use crate::drive::Sample;
use crate::stage::Stage;
use crate::stats::{Estimate, median};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Does its work once.
pub type Measure = fn(&Stage) -> Result<Sample, String>;

/// What a subject is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The one that the cell is about.
    Ours,
    /// The same once more, to know the noise.
    Again,
    /// Another of ours, for comparison.
    Variant,
    /// Another project's, which publishes each message at once.
    Peer,
    /// The machine itself.
    Limit,
}

/// A queue on a piece of work.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// Its name, unique in its cell.
    pub name: &'static str,
    /// What a reader has to know.
    pub note: &'static str,
    /// What it is there for.
    pub role: Role,
    /// Does the work.
    pub measure: Measure,
}

/// Whom a goal is about.
#[derive(Clone, Copy, Debug)]
pub enum Against {
    /// The fastest peer that does the work asked for.
    Best,
    /// The fastest of these.
    Of(&'static [&'static str]),
    /// The machine.
    Limit,
    /// A number in the cell's unit.
    Figure(f64),
}

/// How far.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    /// At least so many times as fast.
    Faster(f64),
    /// At most so many times as long.
    Longer(f64),
}

/// What is to be reached.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// Which of the other figures it is about; nothing for the figure itself.
    pub figure: Option<&'static str>,
    /// Compared with whom.
    pub against: Against,
    /// And how far.
    pub bound: Bound,
}

/// The same work by several subjects.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Its name, unique.
    pub name: String,
    /// What is measured.
    pub what: &'static str,
    /// The unit of its figures.
    pub unit: &'static str,
    /// Messages that a queue is to hold.
    pub capacity: usize,
    /// The longest record in bytes, where messages are byte records.
    pub record: usize,
    /// Of the capacity of the slowest subject, the share at which messages are sent on schedule.
    pub share: Option<f64>,
    /// Rounds, if not as many as in other cells.
    pub rounds: Option<usize>,
    /// The time of a subject's work in a round, if not that of other cells.
    pub time: Option<Duration>,
    /// Who does the work; ours first.
    pub subjects: Vec<Subject>,
    /// What is to be reached.
    pub goals: Vec<Goal>,
}

/// A subject's figures.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The subject.
    pub subject: &'static str,
    /// What it is there for.
    pub role: Role,
    /// What a reader has to know.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub note: &'static str,
    /// The median of its rounds.
    pub median: f64,
    /// How many times as long it takes as ours: the estimate of the rounds' ratios.
    pub ratio: Estimate,
    /// Rounds that count, …
    pub kept: usize,
    /// … and that do not, because they were disturbed.
    pub dropped: usize,
    /// Of those that count, how many were disturbed nevertheless.
    pub disturbed: usize,
    /// The medians of its other figures.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub more: BTreeMap<&'static str, f64>,
    /// The figure of each round, `null` if there is none.
    pub rounds: Vec<f64>,
}

/// A goal, and how far it is reached.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// The cell.
    pub cell: String,
    /// The unit of `ours`, `peers` and `limit`.
    pub unit: &'static str,
    /// Which of a subject's other figures it is about, such as `p99`; nothing for the figure itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub figure: Option<&'static str>,
    /// Our median.
    pub ours: f64,
    /// The medians of other projects' queues, and of what else a goal is about.
    pub peers: BTreeMap<&'static str, f64>,
    /// The medians of what else is ours, there for comparison.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub variants: BTreeMap<&'static str, f64>,
    /// The machine's.
    pub limit: Option<f64>,
    /// Whom the ratio is against.
    pub against: String,
    /// Whether the goal is at least this ratio (how many times as fast) or at most (how many times as long).
    pub sense: &'static str,
    /// The median of the rounds' ratios, …
    pub ratio: Option<f64>,
    /// … and in which interval it lies.
    pub interval: Option<[f64; 2]>,
    /// What is to be reached; nothing where the cell is there to be looked at.
    pub goal: Option<f64>,
    /// Whether it is reached.
    pub met: Option<bool>,
    /// Rounds that count.
    pub kept: usize,
    /// Rounds that do not.
    pub dropped: usize,
    /// What a reader has to know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A cell's figures.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The cell.
    pub cell: String,
    /// What is measured.
    pub what: &'static str,
    /// The figures' unit.
    pub unit: &'static str,
    /// The noise: ours against ours.
    pub floor: Option<Estimate>,
    /// The subjects' figures.
    pub rows: Vec<Row>,
    /// The goals.
    pub entries: Vec<Entry>,
}

impl Cell {
    /// Measures every subject once a round, in another order each round.
    ///
    /// # Errors
    ///
    /// What the first subject said that failed: then there are no figures.
    pub fn run(&self, stage: &mut Stage, rounds: usize) -> Result<Outcome, String> {
        let usual = stage.time;
        stage.capacity = self.capacity;
        stage.record = self.record;
        stage.time = self.time.unwrap_or(usual);
        stage.interval = match self.share {
            Some(share) => {
                let slowest = match stage.slowest {
                    Some(slowest) => slowest,
                    None => self.slowest(stage)?,
                };
                stage.slowest = Some(slowest);
                slowest / share
            }
            None => 0.0,
        };
        let rounds = self.rounds.unwrap_or(rounds);
        let count = self.subjects.len();
        let mut samples = vec![Vec::with_capacity(rounds); count];
        for round in 0..rounds {
            for turn in 0..count {
                // There and back, one further each time: nobody always comes after the same one.
                let turn = if round % 2 == 0 {
                    turn
                } else {
                    count - 1 - turn
                };
                let number = (turn + round) % count;
                let subject = &self.subjects[number];
                let sample = (subject.measure)(stage)
                    .map_err(|said| format!("{}: {}: {said}", self.name, subject.name))?;
                samples[number].push(sample);
            }
        }
        stage.time = usual;
        Ok(self.outcome(&samples))
    }

    /// Nanoseconds a message of the slowest subject, by the median of three measurements.
    fn slowest(&self, stage: &mut Stage) -> Result<f64, String> {
        stage.interval = 0.0;
        let mut slowest: f64 = 0.0;
        for subject in &self.subjects {
            let mut each = [0.0; 3];
            for value in &mut each {
                *value = (subject.measure)(stage)
                    .map_err(|said| format!("{}: {}: {said}", self.name, subject.name))?
                    .value;
            }
            slowest = slowest.max(median(&each));
        }
        Ok(slowest)
    }

    fn outcome(&self, samples: &[Vec<Sample>]) -> Outcome {
        let rows: Vec<Row> = self
            .subjects
            .iter()
            .zip(samples)
            .map(|(subject, theirs)| row(subject, &samples[0], theirs))
            .collect();
        let floor = rows.iter().find(|row| row.role == Role::Again);
        Outcome {
            cell: self.name.clone(),
            what: self.what,
            unit: self.unit,
            floor: floor.map(|row| row.ratio),
            entries: self.entries(&rows, samples),
            rows,
        }
    }

    fn entries(&self, rows: &[Row], samples: &[Vec<Sample>]) -> Vec<Entry> {
        if self.goals.is_empty() {
            return vec![self.entry(rows, None)];
        }
        let entry = |goal: &Goal| {
            let (goal_figure, sense) = match goal.bound {
                Bound::Faster(times) => (times, "at least"),
                Bound::Longer(times) => (times, "at most"),
            };
            let mut entry = Entry {
                sense,
                goal: Some(goal_figure),
                ..self.entry(rows, goal.figure)
            };
            let (against, figures) = self.against(goal, rows, samples);
            entry.against = match goal.figure {
                Some(figure) => format!("{figure}: {against}"),
                None => against,
            };
            let Some(pairs) = figures else {
                return entry;
            };
            let ratios: Vec<f64> = pairs
                .pairs
                .iter()
                .map(|&(ours, theirs)| match goal.bound {
                    Bound::Faster(_) => theirs / ours,
                    Bound::Longer(_) => ours / theirs,
                })
                .collect();
            let estimate = Estimate::of(&ratios);
            entry.ratio = Some(estimate.median);
            entry.interval = Some([estimate.low, estimate.high]);
            entry.met = Some(match goal.bound {
                Bound::Faster(times) => estimate.median >= times,
                Bound::Longer(times) => estimate.median <= times,
            });
            entry.kept = pairs.pairs.len();
            entry.dropped = pairs.dropped;
            entry.notes.extend(pairs.note());
            entry
        };
        self.goals.iter().map(entry).collect()
    }

    /// An entry without a goal.
    fn entry(&self, rows: &[Row], figure: Option<&'static str>) -> Entry {
        let value = |row: &Row| match figure {
            Some(figure) => row.more.get(figure).copied().unwrap_or(f64::NAN),
            None => row.median,
        };
        // A goal may be about another of ours, or about the machine.
        let is_peer = |row: &Row| {
            let named = |goal: &Goal| matches!(goal.against, Against::Of(names) if names.contains(&row.subject));
            row.role == Role::Peer || row.role == Role::Variant && self.goals.iter().any(named)
        };
        let these = |wanted: &dyn Fn(&Row) -> bool| {
            let these = rows.iter().filter(|row| wanted(row));
            these.map(|row| (row.subject, value(row))).collect()
        };
        let limit = rows.iter().find(|row| row.role == Role::Limit);
        // Other figures have their unit in their name, if it is not that of the figure itself.
        let (_, last) = figure
            .unwrap_or_default()
            .rsplit_once(' ')
            .unwrap_or_default();
        let unit = ["ms", "%"].into_iter().find(|unit| *unit == last);
        let note =
            |row: &Row| (!row.note.is_empty()).then(|| format!("{}: {}", row.subject, row.note));
        Entry {
            cell: self.name.clone(),
            unit: unit.unwrap_or(self.unit),
            figure,
            ours: value(&rows[0]),
            peers: these(&is_peer),
            variants: these(&|row| row.role == Role::Variant && !is_peer(row)),
            limit: limit.map(value).filter(|limit| !limit.is_nan()),
            against: String::new(),
            sense: "at least",
            ratio: None,
            interval: None,
            goal: None,
            met: None,
            kept: rows[0].kept,
            dropped: rows[0].dropped,
            notes: rows.iter().filter_map(note).collect(),
        }
    }

    /// Whom a goal is about, and the pairs of our and their figures.
    fn against(
        &self,
        goal: &Goal,
        rows: &[Row],
        samples: &[Vec<Sample>],
    ) -> (String, Option<Pairs>) {
        let fastest = |wanted: &dyn Fn(&Row) -> bool| {
            let wanted = rows.iter().enumerate().filter(|(_, row)| wanted(row));
            wanted
                .min_by(|(_, one), (_, other)| one.median.total_cmp(&other.median))
                .map(|(number, _)| number)
        };
        let (number, what) = match goal.against {
            Against::Best => (fastest(&|row| row.role == Role::Peer), "the best peer"),
            Against::Of(names) => (fastest(&|row| names.contains(&row.subject)), ""),
            Against::Limit => (fastest(&|row| row.role == Role::Limit), ""),
            Against::Figure(figure) => {
                let mut pairs = Pairs::of(&samples[0], &samples[0], goal.figure);
                for (_, theirs) in &mut pairs.pairs {
                    *theirs = figure;
                }
                let unit = if goal.figure.is_none() { self.unit } else { "" };
                return (
                    format!("{figure} {unit}").trim_end().to_owned(),
                    Some(pairs),
                );
            }
        };
        match number {
            Some(number) => {
                let name = rows[number].subject;
                let text = match what {
                    "" => name.to_owned(),
                    what => format!("{what}, {name}"),
                };
                (
                    text,
                    Some(Pairs::of(&samples[0], &samples[number], goal.figure)),
                )
            }
            None => ("nobody in this run".to_owned(), None),
        }
    }
}

fn row(subject: &Subject, ours: &[Sample], theirs: &[Sample]) -> Row {
    let pairs = Pairs::of(ours, theirs, None);
    let ratios: Vec<f64> = pairs
        .pairs
        .iter()
        .map(|(ours, theirs)| theirs / ours)
        .collect();
    let figures: Vec<f64> = pairs.pairs.iter().map(|&(_, theirs)| theirs).collect();
    let mut more: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (&name, &value) in theirs.iter().flat_map(|sample| &sample.more) {
        more.entry(name).or_default().push(value);
    }
    Row {
        subject: subject.name,
        role: subject.role,
        note: subject.note,
        median: median(&figures),
        ratio: Estimate::of(&ratios),
        kept: pairs.pairs.len(),
        dropped: pairs.dropped,
        disturbed: pairs.disturbed,
        more: more
            .into_iter()
            .map(|(name, values)| (name, median(&values)))
            .collect(),
        rounds: theirs.iter().map(|sample| sample.value).collect(),
    }
}

/// The figures of two subjects in the rounds that count.
struct Pairs {
    pairs: Vec<(f64, f64)>,
    dropped: usize,
    /// Of the pairs that count, how many were disturbed.
    disturbed: usize,
}

impl Pairs {
    /// The pairs that nothing disturbed; at least half of them, with those that were disturbed least.
    fn of(ours: &[Sample], theirs: &[Sample], figure: Option<&str>) -> Self {
        let value = |sample: &Sample| match figure {
            Some(figure) => sample.more.get(figure).copied().unwrap_or(f64::NAN),
            None => sample.value,
        };
        let weight = |one: Disturbance, other: Disturbance| one.weight() + other.weight();
        let mut all: Vec<_> = ours
            .iter()
            .zip(theirs)
            .map(|(ours, theirs)| {
                let weight = weight(ours.disturbance, theirs.disturbance);
                (weight, (value(ours), value(theirs)))
            })
            .collect();
        all.sort_by_key(|&(weight, _)| weight);
        let clean = all.iter().filter(|&&(weight, _)| weight == 0).count();
        let kept = clean.max(all.len().div_ceil(2));
        Self {
            dropped: all.len() - kept,
            disturbed: kept - clean,
            pairs: all.into_iter().take(kept).map(|(_, pair)| pair).collect(),
        }
    }

    fn note(&self) -> Option<String> {
        (self.disturbed > 0).then(|| {
            format!(
                "a busy machine: {} of the {} rounds that count were disturbed, and {} worse ones do not count",
                self.disturbed,
                self.pairs.len(),
                self.dropped
            )
        })
    }
}
