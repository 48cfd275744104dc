//! A stop after every instruction: SIGSTOP, longer than every timeout in the engine, while survivors work beside the stopped
//! one as far as its claim allows; then it goes on. It must never be taken for dead, and what it does counts
//! once.

use super::cell::{Cell, Fill, FormName, Op, Side, Start};
use super::form::Form;
use super::kill::{Choice, Report, bring, record};
use super::row::Row;
use super::stage::{Stage, said};
use super::step::Victim;
use super::survive::{Fault, Manner, Sort, Survivors, fault, hung};
use super::symbol;
use super::watch::Watch;
use annulus::{Kind, Protocol};
use std::fmt;
use std::time::Duration;

/// Victims that are stopped at once, so that the wait is shared.
const TOGETHER: usize = 80;

/// More than two of the longest sleeps in the engine.
const WAIT: Duration = Duration::from_millis(250);

/// One choice of everything.
#[derive(Clone, Copy, Debug)]
pub struct StopCell(pub Cell);

impl StopCell {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let chosen = |cell: &Cell| {
            let start = match cell.kind {
                Kind::Spsc => Start::Position,
                _ => Start::Lap,
            };
            let state = match cell.form {
                FormName::Typed => cell.fill == Fill::Half && cell.start == Start::Zero,
                FormName::Short => false,
                FormName::Long => cell.start == start,
            };
            let handles = matches!(
                cell.op,
                Op::AttachSender | Op::AttachReceiver | Op::CloseSender | Op::CloseReceiver
            );
            state && (cell.op.is_message() || handles)
        };
        Cell::all().into_iter().filter(chosen).map(Self).collect()
    }

    /// Its line in the table, empty.
    pub fn row(&self) -> Row {
        let scenario = format!("stop {}", self.0.scenario());
        Row::new(&self.0.kind.to_string(), &scenario)
    }
}

impl fmt::Display for StopCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stop {}", self.0)
    }
}

/// A stopped victim and its stage.
struct Stopped<F: Form, K: Protocol> {
    step: usize,
    stage: Stage<F, K>,
    victim: Victim,
}

/// Nobody may come in the place of a stopped one.
fn is_taken<F: Form, K: Protocol>(stage: &Stage<F, K>, cell: &Cell) -> Result<(), Fault> {
    let came = match cell.op.side() {
        Side::Sender if !K::KIND.many_senders() => stage.ring.sender().is_ok(),
        Side::Receiver if !K::KIND.many_receivers() => stage.ring.receiver().is_ok(),
        _ => false,
    };
    if came && cell.op.is_message() {
        return fault(
            Sort::Duplicated,
            "somebody came in the place of a stopped one",
        );
    }
    Ok(())
}

/// Goes on with one that was stopped, and looks what came of it.
fn wake<F: Form, K: Protocol>(stopped: &mut Stopped<F, K>, cell: &Cell) -> Result<u64, Fault> {
    let Stopped {
        stage,
        victim,
        step,
    } = stopped;
    if cell.op.is_message() {
        is_taken(stage, cell)?;
    }
    let early = Survivors::beside(stage, cell)?;
    if !victim.go_on().map_err(|error| hung(said(error)))? {
        return fault(Sort::Torn, "the stopped one went on and failed");
    }
    let mut survivors = Survivors::come(stage, cell, Manner::of(cell, *step))?;
    survivors.remember(early);
    let seen = survivors.drain()?;
    survivors.go_round(false)?;
    survivors.settle()?;
    if seen.repaired > 0 {
        let text = format!("{} words of a living one were repaired", seen.repaired);
        return fault(Sort::Torn, text);
    }
    Ok(seen.missing as u64)
}

/// Stops a victim after each chosen step.
pub fn stop<F: Form, K: Protocol>(
    StopCell(cell): &StopCell,
    choice: Choice,
    watch: &Watch,
) -> Report {
    let mut report = Report::new(StopCell(*cell).row());
    let trace = match record::<F, K>(cell) {
        Ok(trace) => trace,
        Err(fault) => {
            report.blame(&format!("stop {cell}, while it was recorded"), &fault);
            return report;
        }
    };
    report.steps = trace.len();
    let place = |step: usize| {
        let pc = symbol::name(trace.pc(step));
        format!(
            "{cell}: stopped after step {step} of {}, before {pc}",
            trace.len()
        )
    };
    for steps in choice.of(trace.len()).chunks(TOGETHER) {
        let mut all = vec![];
        for &step in steps {
            watch.at(step as u64);
            let brought =
                bring::<F, K>(cell, &trace, step).and_then(|(stage, mut victim, strayed)| {
                    report.strayed += u64::from(strayed);
                    victim.stop().map_err(|error| hung(said(error)))?;
                    Ok(Stopped {
                        step,
                        stage,
                        victim,
                    })
                });
            match brought {
                Ok(stopped) => all.push(stopped),
                Err(fault) => report.blame(&place(step), &fault),
            }
        }
        std::thread::sleep(WAIT);
        for mut stopped in all {
            watch.at(stopped.step as u64);
            report.row.kills += 1;
            match wake(&mut stopped, cell) {
                Ok(own) => report.row.own += own,
                Err(fault) => report.blame(&place(stopped.step), &fault),
            }
        }
        if report.is_enough() {
            break;
        }
    }
    report
}
