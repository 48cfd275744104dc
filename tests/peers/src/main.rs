//! Other queues in the kill laboratory: a process is killed after every instruction of its `send` and of its
//! `receive`, with others attached and living, and these go on as well as they can; once just so, and once
//! with the recovery call that the queue's documentation offers.
//!
//! `annulus-crash-peers [--summary] [--only NAME] [--markdown] [--quick]` prints a line for each queue and operation, whose
//! numbers are kill points:
//!
//! - *stuck*: a survivor could not send, or not receive, for a second;
//! - *lost committed*: a message did not arrive, though its `send` had returned before the kill and the receiver
//!   was not stuck. A queue that gives each message to one receiver may give one to the receiver that is killed;
//! - *later lost*: a message did not arrive that a survivor sent afterwards;
//! - *held up*: it arrived only when half a lap and more was sent behind it;
//! - *room lost*: the queue takes fewer messages than before;
//! - *duplicated*, *torn*: a message came twice, or with other bytes than anybody sent.
//!
//! Without `--summary` or `--markdown` each scenario has a line before that, with a letter for each kill point, the worst
//! that was found there (in the order S L T D l h r; o is a message that the victim had for itself, and no fault).
//!
//! Where 64 kill points in a row leave survivors stuck, only every 16th is tried until one does not: each costs a
//! second. `--quick` tries every 7th, of queues that are half full.
//!
//! A fault that the kill point before did not have counts if it is found a second time; but of Annulus each counts.
//!
//! The exit code says nothing of the other queues: 1 if Annulus has a fault, 2 if the harness has.

mod aftermath;
mod command;
mod ledger;
mod message;
mod outcome;
mod peer;
mod place;
mod row;
mod stage;
mod survivor;
mod trial;

use peer::{PEERS, Peer, Side};
use row::{Counts, Row, table};
use stage::{Fault, Fill, Scenario};
use std::process::ExitCode;
use std::time::Instant;
use trial::Trials;

/// So many kill points in a row at which survivors are stuck are believed to go on like that.
const ENOUGH: usize = 64;

/// The same for `--quick`.
const QUICKLY_ENOUGH: usize = 8;

/// Then one of so many is tried.
const THIN: usize = 16;

/// What `--quick` tries: one kill point of so many.
const QUICK: usize = 7;

/// What was asked for.
#[derive(Default)]
struct Options {
    summary: bool,
    markdown: bool,
    quick: bool,
    only: Option<String>,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Fault> {
        let mut options = Self::default();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--summary" => options.summary = true,
                "--markdown" => options.markdown = true,
                "--quick" => options.quick = true,
                "--only" => options.only = Some(words.next().ok_or("--only wants a name")?),
                other => return Err(format!("expected an option, found '{other}'").into()),
            }
        }
        Ok(options)
    }

    fn fills(&self, peer: &Peer, side: Side) -> &'static [Fill] {
        match (self.quick, peer.refuses, side) {
            (true, ..) => &[Fill::Half],
            (false, true, _) => &[Fill::Empty, Fill::Half, Fill::Full],
            (false, false, _) => &[Fill::Empty, Fill::Half],
        }
    }
}

/// Kills at every point of a scenario.
fn run(scenario: Scenario, options: &Options) -> Result<Counts, Fault> {
    let begin = Instant::now();
    let trials = Trials::new(scenario)?;
    let mut counts = Counts {
        points: trials.last() as u64 + 1,
        ..Counts::default()
    };
    let mut letters = String::new();
    let (usual, enough) = if options.quick {
        (QUICK, QUICKLY_ENOUGH)
    } else {
        (1, ENOUGH)
    };
    // Since when survivors have been stuck at every point, and whether we came here by leaps.
    let (mut stuck, mut thin) = (0, false);
    let mut step = 0;
    while step <= trials.last() {
        let mut outcome = trials.kill_after(step)?;
        // On a busy machine somebody may be slow. Of ours everything counts.
        if !outcome.is_clean()
            && !letters.ends_with(outcome.letter())
            && !scenario.peer.is_control()
        {
            outcome = trials.kill_after(step)?;
        }
        if outcome.stuck == 0 && thin {
            // Back to where it may have begun.
            step -= THIN * usual - usual;
            (stuck, thin) = (0, false);
            continue;
        }
        stuck = if outcome.stuck > 0 { stuck + 1 } else { 0 };
        thin = stuck >= enough;
        counts.note(&outcome);
        letters.push(outcome.letter());
        step += if thin { THIN * usual } else { usual };
    }
    if !options.summary && !options.markdown {
        let Scenario {
            peer,
            side,
            fill,
            recover,
        } = scenario;
        let recover = if recover { ", own call" } else { "" };
        let seconds = begin.elapsed().as_secs();
        println!(
            "{}: {side:?} of {fill:?}{recover}, {seconds} s\n    {letters}",
            peer.name
        );
    }
    Ok(counts)
}

fn rows(options: &Options) -> Result<Vec<Row>, Fault> {
    let mut rows = Vec::new();
    let only = options.only.as_deref().unwrap_or("");
    for peer in PEERS.iter().filter(|peer| peer.name.contains(only)) {
        for side in [Side::Sender, Side::Receiver] {
            let mut row = Row {
                peer: *peer,
                side,
                as_is: Counts::default(),
                recovered: Counts::default(),
            };
            for &fill in options.fills(peer, side) {
                let scenario = |recover| Scenario {
                    peer: *peer,
                    side,
                    fill,
                    recover,
                };
                row.as_is += run(scenario(false), options)?;
                if peer.recovery(side).is_some() {
                    row.recovered += run(scenario(true), options)?;
                }
            }
            rows.push(row);
        }
    }
    if rows.is_empty() {
        return Err(format!("no queue is called '{only}'").into());
    }
    Ok(rows)
}

fn main() -> ExitCode {
    place::sweep();
    let done = Options::parse(std::env::args().skip(1))
        .and_then(|options| rows(&options).map(|rows| (options, rows)));
    match done {
        Ok((options, rows)) => {
            print!("{}", table(&rows, options.markdown));
            let ours = rows.iter().filter(|row| row.peer.is_control());
            if ours.map(|row| row.as_is.any).sum::<u64>() == 0 {
                ExitCode::SUCCESS
            } else {
                eprintln!("the control row is not clean");
                ExitCode::from(1)
            }
        }
        Err(fault) => {
            eprintln!("the harness failed: {fault}");
            ExitCode::from(2)
        }
    }
}
