//! `annulus bench`: every transport on the same work, between two processes, with every byte checked.
//!
//! A *cell* is a transport at a size. In a round each cell is measured once, by two new processes with a channel there and a
//! channel back: round trips, then as many messages as go, then messages on a schedule. The transports take turns, each
//! round in another order, and the figures are medians of the rounds: the speed of a shared machine changes from one
//! second to the next, so what is measured side by side is held side by side.

mod args;
mod chart;
mod far;
mod machine;
mod near;
mod receipt;
mod record;
mod report;
mod row;
mod subject;
mod table;
mod worker;

pub use args::Args;
pub use subject::remove_stale;
pub use worker::Orders;

use crate::crew::{Crew, failed};
use crate::exit::Failure;
use crate::{progress, signals};
use annulus_transports::Url;
use indicatif::{ProgressBar, ProgressDrawTarget};
use machine::Machine;
use report::Report;
use row::{Cell, Round, Row};
use std::io::{self, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};
use subject::{Dir, Place, Subject};
use worker::{Fault, LEFT_OUT, Role};

/// How long one measurement may take: far longer than it does on the slowest machine. Besides, its parts may take so many
/// times as long as they should.
const LIMIT: Duration = Duration::from_secs(40);
const LEEWAY: u32 = 4;

/// How long one process may go on after the other has failed.
const GRACE: Duration = Duration::from_millis(500);

/// What `--quick` may take, with something to spare for slow machines.
const QUICK: Duration = Duration::from_secs(44);

/// What each cell's rounds take together, and how many there are.
const SECONDS: f64 = 3.0;
const ROUNDS: u16 = 7;
const QUICK_ROUNDS: u16 = 3;

/// The parts of a measurement.
const PARTS: u32 = 3;

/// A part of a quick measurement takes so long, at least and at most.
const QUICK_PART: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(80));

/// Measures, and tells.
pub fn run(args: &Args) -> Result<(), Failure> {
    // So that what was created is removed.
    signals::catch().map_err(|error| Failure::input("signals", error))?;
    args.exports.prepare()?;
    let machine = Machine::this();
    let bench = Bench::new(args).map_err(Failure::Demo)?;
    let report = bench.run(machine)?;
    let mut text = table::text(&report);
    for note in &report.notes {
        text.push_str(&format!("\n{note}"));
    }
    let written = writeln!(io::stdout(), "{}", text.trim_end());
    written.map_err(|error| Failure::output(error, 0))?;
    args.exports.write(&report)
}

/// Runs one of the two processes.
pub fn work(orders: &Orders) -> Result<(), Failure> {
    worker::run(orders).map_err(Failure::Demo)
}

struct Bench<'a> {
    args: &'a Args,
    rounds: usize,
    dir: Dir,
    bar: ProgressBar,
    start: Instant,
    /// Measurements so far, and what they took.
    measured: u32,
    spent: Duration,
}

impl<'a> Bench<'a> {
    fn new(args: &'a Args) -> Result<Self, String> {
        let default = if args.quick { QUICK_ROUNDS } else { ROUNDS };
        let rounds = usize::from(args.rounds.unwrap_or(default));
        let count = rounds * args.transport.0.len() * args.size.0.len();
        let bar = ProgressBar::with_draw_target(Some(count as u64), ProgressDrawTarget::stderr());
        bar.set_style(progress::style(
            "{bar:40} {pos} of {len}, {eta} left, {msg}",
        ));
        Ok(Self {
            args,
            rounds,
            dir: Dir::new()?,
            bar,
            start: Instant::now(),
            measured: 0,
            spent: Duration::ZERO,
        })
    }

    fn run(mut self, machine: Machine) -> Result<Report, Failure> {
        let mut cells = Vec::new();
        for &size in &self.args.size.0 {
            cells.extend(self.args.transport.0.iter().map(|&subject| Cell {
                subject,
                size,
                rounds: Vec::new(),
                left_out: None,
            }));
        }
        let mut done = 0;
        for round in 0..self.rounds {
            if round > 0 && self.is_late(round) {
                break;
            }
            self.round(round, &mut cells)?;
            done += 1;
        }
        self.bar.finish_and_clear();
        let mut notes = machine.warnings();
        if self.args.quick {
            notes.push(format!("a quick run of {done} rounds: not to be quoted"));
        }
        let mut rows = Vec::new();
        for cell in &cells {
            let same_size =
                |other: &&Cell| other.subject == Subject::REFERENCE && other.size == cell.size;
            let reference = cells.iter().find(same_size);
            if let Some(reason) = &cell.left_out {
                let size = table::size(cell.size);
                notes.push(format!("{} {size}: left out: {reason}", cell.subject));
            }
            if let Some(row) = Row::new(cell, reference, self.rate(cell.size)) {
                notes.extend(row.warnings());
                rows.push(row);
            }
        }
        notes.extend(row::noisy(&rows));
        if !self.args.transport.0.contains(&Subject::REFERENCE) {
            notes.push("relative to nothing: ring-spsc was not measured".to_owned());
        }
        Ok(Report {
            machine,
            command: command(),
            version: env!("CARGO_PKG_VERSION"),
            rows,
            notes,
        })
    }

    /// Measures every cell once.
    fn round(&mut self, round: usize, cells: &mut [Cell]) -> Result<(), Failure> {
        let wide = self.args.transport.0.len();
        for (group, cells) in cells.chunks_mut(wide).enumerate() {
            for turn in 0..wide {
                let cell = &mut cells[(turn + 5 * round + group) % wide];
                let name = format!("{} {}", cell.subject, table::size(cell.size));
                self.bar.set_message(name.clone());
                if cell.left_out.is_none() {
                    let first = round == 0 && group == 0 && turn == 0;
                    let fault = self.args.inject_fault.filter(|_| first);
                    match self.measure(cell, fault) {
                        Ok((near, far)) => cell.rounds.push(Round {
                            number: round,
                            near,
                            far,
                        }),
                        Err(said) => {
                            if let Some(stopped) = Failure::stopped(0) {
                                return Err(stopped);
                            }
                            let Some((_, reason)) = said.split_once(LEFT_OUT) else {
                                return Err(Failure::Demo(format!(
                                    "the comparison failed: {name}, round {}: {said}",
                                    round + 1
                                )));
                            };
                            let reason = reason.split("; ").next().unwrap_or(reason);
                            cell.left_out = Some(reason.to_owned());
                        }
                    }
                }
                self.bar.inc(1);
                if let Some(stopped) = Failure::stopped(0) {
                    return Err(stopped);
                }
            }
        }
        Ok(())
    }

    /// Lets two processes measure a cell once.
    fn measure(
        &mut self,
        cell: &Cell,
        fault: Option<Fault>,
    ) -> Result<(receipt::Near, receipt::Far), String> {
        let part = self.part();
        let begin = Instant::now();
        let number = 2 * self.measured as usize;
        let there = Place::new(cell.subject, &self.dir, number)?;
        let back = Place::new(cell.subject, &self.dir, number + 1)?;
        let orders = Orders {
            role: Role::Near,
            subject: cell.subject,
            size: cell.size,
            there: there.0.clone(),
            back: back.0.clone(),
            millis: part.as_millis() as u64,
            rate: self.rate(cell.size),
            fault,
            parent: worker::parent(),
        };
        let mut crew = Crew::new(LIMIT + LEEWAY * PARTS * part, GRACE);
        let [near, far] = ends(&orders)?;
        let args = |role| orders.of(role).to_args();
        crew.start("the receiver", &args(Role::Far), far.0, far.1)?;
        crew.start("the sender", &args(Role::Near), near.0, near.1)?;
        let said = crew.finish(|| signals::caught().is_none())?;
        self.measured += 1;
        self.spent += begin.elapsed().saturating_sub(PARTS * part);
        let [far, near] = said.as_slice() else {
            return Err("expected two receipts".to_owned());
        };
        let unreadable = |error: serde_json::Error| format!("a receipt that is none: {error}");
        let near: receipt::Near = serde_json::from_str(near).map_err(unreadable)?;
        let far: receipt::Far = serde_json::from_str(far).map_err(unreadable)?;
        if far.received == 0 || near.trips.count() == 0 || far.paced.count() == 0 {
            return Err("nothing came in the time".to_owned());
        }
        Ok((near, far))
    }

    /// How long each part of the next measurement takes.
    fn part(&self) -> Duration {
        if !self.args.quick {
            let seconds = self.args.seconds.unwrap_or(SECONDS);
            return Duration::from_secs_f64(seconds / self.rounds as f64 / f64::from(PARTS));
        }
        // What is left, shared among what is to come, less what a measurement costs besides its parts.
        let all = self.rounds * self.args.transport.0.len() * self.args.size.0.len();
        let coming = (all as u64).saturating_sub(self.bar.position()).max(1);
        let left = QUICK.saturating_sub(self.start.elapsed());
        let besides = self.spent / self.measured.max(1);
        let (least, most) = QUICK_PART;
        let share = (left / coming as u32).saturating_sub(besides);
        (share / PARTS).clamp(least, most)
    }

    /// Whether a quick run has no time for one more round, after so many.
    fn is_late(&self, rounds: usize) -> bool {
        let round = self.start.elapsed() / rounds as u32;
        self.args.quick && self.start.elapsed() + round / 2 > QUICK
    }

    /// Records a second on schedule.
    fn rate(&self, size: usize) -> f64 {
        let default = 10_000f64.min((64 << 20) as f64 / size as f64);
        self.args.rate.unwrap_or(default)
    }
}

/// The standard input and output of the near and the far process: pipes, if those are measured.
fn ends(orders: &Orders) -> Result<[(Stdio, Stdio); 2], String> {
    if orders.there != Url::Pipe {
        return Ok([(); 2].map(|()| (Stdio::null(), Stdio::null())));
    }
    let (there_out, there_in) = io::pipe().map_err(failed("a new pipe"))?;
    let (back_out, back_in) = io::pipe().map_err(failed("a new pipe"))?;
    Ok([
        (back_out.into(), there_in.into()),
        (there_out.into(), back_in.into()),
    ])
}

/// The command line, as it was given.
fn command() -> String {
    let args = std::env::args().skip(1);
    let words = std::iter::once("annulus".to_owned()).chain(args);
    words.collect::<Vec<_>>().join(" ")
}
