//! A death after every instruction: for each step of an operation a fresh ring, a victim killed there, and survivors.

use super::cell::Cell;
use super::form::Form;
use super::row::Row;
use super::stage::{Stage, said};
use super::step::{Arrival, Trace, Victim};
use super::survive::{Fault, Manner, Seen, Sort, Survivors, hung};
use super::watch::Watch;
use annulus::Protocol;

/// Faults after which a cell is given up: it is clear by then.
const ENOUGH: u64 = 5;

/// What a cell has shown.
pub struct Report {
    /// Its line.
    pub row: Row,
    /// What was wrong, and where.
    pub faults: Vec<String>,
    /// Instructions of the operation.
    pub steps: usize,
    /// Victims that went another way than the recorded one and had to be walked.
    pub strayed: u64,
}

impl Report {
    /// Nothing yet.
    pub fn new(row: Row) -> Self {
        Self {
            row,
            faults: vec![],
            steps: 0,
            strayed: 0,
        }
    }

    /// Adds a broken promise.
    pub fn blame(&mut self, place: &str, fault: &Fault) {
        let count = match fault.sort {
            Sort::Lost => &mut self.row.lost,
            Sort::Duplicated => &mut self.row.duplicated,
            Sort::Torn => &mut self.row.torn,
            Sort::Hung => &mut self.row.hung,
        };
        *count += 1;
        self.faults.push(format!("{place}: {}", fault.text));
    }

    /// Whether there is no need to go on.
    pub fn is_enough(&self) -> bool {
        self.row.faults() >= ENOUGH
    }
}

/// Which of the steps are tried.
#[derive(Clone, Copy, Debug)]
pub enum Choice {
    /// Every one.
    All,
    /// So many, spread evenly, beginning at a place that the seed says. The last is always among them.
    Spread(usize, u64),
}

impl Choice {
    /// The steps from 0 to `last`.
    pub fn of(self, last: usize) -> Vec<usize> {
        match self {
            Self::Spread(count, seed) if count <= last => {
                let stride = last.div_ceil(count.max(1));
                let begin = seed as usize % stride;
                let mut steps: Vec<_> = (begin..last).step_by(stride).collect();
                steps.push(last);
                steps
            }
            _ => (0..=last).collect(),
        }
    }
}

/// The recorded way of an operation.
pub fn record<F: Form, K: Protocol>(cell: &Cell) -> Result<Trace, Fault> {
    let stage = Stage::<F, K>::set(cell).map_err(hung)?;
    let mut victim = stage.victim(cell.op).map_err(|error| hung(said(error)))?;
    victim.record().map_err(|error| hung(said(error)))
}

/// A fresh stage whose victim stands after step `step`. The second is true if it had to be walked there.
pub fn bring<F: Form, K: Protocol>(
    cell: &Cell,
    trace: &Trace,
    step: usize,
) -> Result<(Stage<F, K>, Victim, bool), Fault> {
    let set = || -> Result<_, Fault> {
        let stage = Stage::<F, K>::set(cell).map_err(hung)?;
        let victim = stage.victim(cell.op).map_err(|error| hung(said(error)))?;
        Ok((stage, victim))
    };
    let (stage, mut victim) = set()?;
    let arrival = victim.advance(trace, step);
    match arrival.map_err(|error| hung(said(error)))? {
        Arrival::There => Ok((stage, victim, false)),
        Arrival::Strayed => {
            drop((stage, victim));
            let (stage, mut victim) = set()?;
            victim.walk(step).map_err(|error| hung(said(error)))?;
            Ok((stage, victim, true))
        }
    }
}

/// Everything that survivors do.
pub fn survive<F: Form, K: Protocol>(
    stage: &mut Stage<F, K>,
    cell: &Cell,
    step: usize,
) -> Result<Seen, Fault> {
    let manner = Manner::of(cell, step);
    let mut survivors = Survivors::come(stage, cell, manner)?;
    let seen = survivors.drain()?;
    survivors.go_round(step.is_multiple_of(8))?;
    survivors.settle()?;
    Ok(seen)
}

/// Kills a victim after each chosen step of the cell's operation.
pub fn kill<F: Form, K: Protocol>(cell: &Cell, choice: Choice, watch: &Watch) -> Report {
    let mut report = Report::new(cell.row());
    let trace = match record::<F, K>(cell) {
        Ok(trace) => trace,
        Err(fault) => {
            report.blame(&format!("{cell}, while it was recorded"), &fault);
            return report;
        }
    };
    report.steps = trace.len();
    // From the end, since who sleeps must be woken for as long as what it sleeps for has happened.
    let mut after: Option<(usize, Seen)> = None;
    // Whoever had to be walked went another way, on which the same step is another.
    let mut walked = false;
    let mut due = true;
    for step in choice.of(trace.len()).into_iter().rev() {
        watch.at(step as u64);
        let place = || {
            format!(
                "{cell}: killed after step {step} of {}, before {}",
                trace.len(),
                super::symbol::name(trace.pc(step))
            )
        };
        let outcome = (|| {
            let (mut stage, victim, strayed) = bring::<F, K>(cell, &trace, step)?;
            victim.kill();
            report.strayed += u64::from(strayed);
            walked = strayed;
            report.row.kills += 1;
            stage.due = due;
            survive(&mut stage, cell, step)
        })();
        match outcome {
            Ok(seen) => {
                report.row.own += seen.missing as u64;
                if walked {
                    continue;
                }
                due &= seen.visible + seen.missing > 0;
                if let Some((later, then)) = after
                    && (seen.visible > then.visible || seen.missing > then.missing)
                {
                    let text = format!("{seen:?} here, but {then:?} after step {later}");
                    report.blame(
                        &place(),
                        &Fault {
                            sort: Sort::Torn,
                            text,
                        },
                    );
                }
                after = Some((step, seen));
            }
            Err(fault) => report.blame(&place(), &fault),
        }
        if report.is_enough() {
            break;
        }
    }
    report
}
