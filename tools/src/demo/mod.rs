//! `annulus demo`: two processes, a real file, ten million messages, and a pipe beside them.
//!
//! Everything that arrives is checked: the file by its SHA-256, each message by its sequence number
//! and by words that follow from it. Ring and pipe take turns, since the speed of a shared machine
//! changes from one second to the next; then only their ratio means anything.

mod link;
mod message;
mod pace;
mod worker;

pub use worker::Orders;

use crate::crew::Crew;
use crate::exit::Failure;
use crate::progress;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget};
use link::{Ends, Link, PIECE, PipeInlet, PipeOutlet, ring_receiver, ring_sender};
use message::Message;
use pace::{Latency, Micros, paced};
use std::fmt;
use std::io::{self, Write};
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use worker::{Fault, Receipt, Role, sha256, this_program};

/// `annulus demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many messages go through the rings, in all; no more bytes of the file go.
    #[arg(long, hide = true, default_value_t = MESSAGES)]
    messages: u64,
    /// A fault to commit, which must be found.
    #[arg(long, hide = true, value_name = "FAULT")]
    inject_fault: Option<Fault>,
}

/// How many messages go through the rings, in all.
const MESSAGES: u64 = 10_000_000;

/// How long two processes may work: far longer than the slowest machine needs.
const LIMIT: Duration = Duration::from_secs(60);

/// How long one may go on after the other has failed.
const GRACE: Duration = Duration::from_secs(2);

/// How often ring and pipe take turns.
const ROUNDS: u64 = 4;

/// A pipe's round has fewer messages, by this factor.
const PIPE_SHARE: u64 = 10;

/// Paced messages a round, at most.
const PACED: u64 = 10_000;

/// The time between two paced messages.
const INTERVAL: Duration = Duration::from_micros(50);

impl Default for Args {
    fn default() -> Self {
        Self {
            messages: MESSAGES,
            inject_fault: None,
        }
    }
}

/// Runs the whole demonstration.
pub fn run(args: &Args) -> Result<(), Failure> {
    let demo = Demo::new(args);
    demo.introduce()?;
    demo.file()?;
    demo.messages()?;
    demo.round_trips()?;
    demo.say("")?;
    demo.say("Everything arrived: once, whole, and in order.")
}

/// Runs one worker.
pub fn work(orders: &Orders) -> Result<(), Failure> {
    worker::run(orders).map_err(Failure::Demo)
}

/// What each link achieved, round by round.
#[derive(Default)]
struct Rounds {
    /// Units a second: bytes or messages.
    ring: Vec<f64>,
    pipe: Vec<f64>,
}

struct Demo<'a> {
    args: &'a Args,
    bar: ProgressBar,
}

impl<'a> Demo<'a> {
    fn new(args: &'a Args) -> Self {
        let bar = ProgressBar::with_draw_target(Some(6 * ROUNDS), ProgressDrawTarget::stderr());
        bar.set_style(progress::style("{spinner} {bar:40} {msg}"));
        Self { args, bar }
    }

    fn introduce(&self) -> Result<(), Failure> {
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        self.say(format_args!(
            "Two processes, a ring in shared memory, and a pipe beside it, in turns ({cpus} CPUs)."
        ))
    }

    fn file(&self) -> Result<(), Failure> {
        let most = self
            .args
            .messages
            .saturating_mul(size_of::<Message>() as u64);
        let file = this_program(most).map_err(Failure::Demo)?;
        let len = file.len() as u64;
        let digest = sha256(&file);
        let rounds = self.take_turns("a file", |link, round| {
            let fault = self
                .fault(link, round)
                .filter(|fault| *fault == Fault::Flip);
            let roles = [Role::SendFile, Role::RecvFile];
            let receipt = self.transfer(link, link.for_bytes()?, roles, len, fault)?;
            let found = receipt.digest.as_deref().unwrap_or("none");
            match found == digest {
                true => Ok(receipt),
                false => Err(format!("sent a file of SHA-256 {digest}, received {found}")),
            }
        })?;
        self.say("")?;
        self.say(format_args!(
            "This program as a byte stream: {} bytes in pieces of {}",
            HumanCount(len),
            HumanBytes(PIECE as u64)
        ))?;
        self.say(format_args!("  SHA-256 sent      {digest}"))?;
        self.say(format_args!(
            "  SHA-256 received  {digest}  the same each time"
        ))?;
        self.rates(&rounds, 1e9, "GB/s")
    }

    fn messages(&self) -> Result<(), Failure> {
        let per_round = self.args.messages.div_ceil(ROUNDS).max(4);
        let rounds = self.take_turns("messages", |link, round| {
            let fault = self
                .fault(link, round)
                .filter(|fault| *fault != Fault::Flip);
            let count = match link {
                Link::Ring => per_round,
                Link::Pipe => per_round.div_ceil(PIPE_SHARE),
            };
            let roles = [Role::SendMessages, Role::RecvMessages];
            self.transfer(link, link.for_messages()?, roles, count, fault)
        })?;
        self.say("")?;
        self.say(format_args!(
            "{} messages of 64 bytes ({} through the pipe), each published by itself",
            HumanCount(ROUNDS * per_round),
            HumanCount(ROUNDS * per_round.div_ceil(PIPE_SHARE))
        ))?;
        self.say("  every sequence number and every byte checked: 0 lost, 0 doubled, 0 torn, 0 out of order")?;
        self.rates(&rounds, 1e6, "million/s")
    }

    fn round_trips(&self) -> Result<(), Failure> {
        let count = PACED.min(self.args.messages);
        let mut ring = Latency::new().map_err(Failure::Demo)?;
        let mut pipe = Latency::new().map_err(Failure::Demo)?;
        for round in 0..ROUNDS {
            for (link, total) in [(Link::Ring, &mut ring), (Link::Pipe, &mut pipe)] {
                let what = "round trips";
                self.bar.set_message(format!("{what} over a {link}"));
                let latency = self
                    .round_trip(link, count)
                    .and_then(|latency| total.add(&latency));
                latency.map_err(|fault| in_round(what, link, round, &fault))?;
                self.bar.inc(1);
            }
        }
        self.say("")?;
        self.say(format_args!(
            "Round trips, one every {} µs, {} over each, timed from when each was due",
            INTERVAL.as_micros(),
            HumanCount(ROUNDS * count)
        ))?;
        self.say(format_args!(
            "  {:6}{:>12}{:>12}{:>12}{:>12}",
            "", "p50", "p99", "p99.9", "max"
        ))?;
        for (link, latency) in [(Link::Ring, &ring), (Link::Pipe, &pipe)] {
            let [p50, p99, p999, max] = latency.summary().map(Micros);
            self.say(format_args!(
                "  {link:6}{p50:>12}{p99:>12}{p999:>12}{max:>12}"
            ))?;
        }
        Ok(())
    }

    /// Runs the rounds, ring and pipe in turns.
    fn take_turns(
        &self,
        what: &str,
        run: impl Fn(Link, u64) -> Result<Receipt, String>,
    ) -> Result<Rounds, Failure> {
        let mut rounds = Rounds::default();
        for round in 0..ROUNDS {
            for (link, rates) in [
                (Link::Ring, &mut rounds.ring),
                (Link::Pipe, &mut rounds.pipe),
            ] {
                self.bar.set_message(format!("{what} over a {link}"));
                let receipt =
                    run(link, round).map_err(|fault| in_round(what, link, round, &fault))?;
                rates.push(receipt.count as f64 / receipt.time.as_secs_f64());
                self.bar.inc(1);
            }
        }
        Ok(rounds)
    }

    /// The fault to commit in this round: only in the first, and on the ring.
    fn fault(&self, link: Link, round: u64) -> Option<Fault> {
        let fault = self.args.inject_fault;
        fault.filter(|_| link == Link::Ring && round == 0)
    }

    /// Lets one process send and another receive.
    fn transfer(
        &self,
        link: Link,
        ends: Ends,
        [sender, receiver]: [Role; 2],
        count: u64,
        fault: Option<Fault>,
    ) -> Result<Receipt, String> {
        let mut crew = Crew::new(LIMIT, GRACE);
        for (orders, end) in [
            (Orders::new(receiver, link, count, None), ends.recv),
            (Orders::new(sender, link, count, fault), ends.send),
        ] {
            let args = orders.to_args();
            crew.start(&orders.name(), &args, end.into(), Stdio::piped())?;
        }
        crew.finish(|| self.goes_on())?.concat().parse()
    }

    /// Lets another process echo what we send on schedule.
    fn round_trip(&self, link: Link, count: u64) -> Result<Latency, String> {
        let (requests, replies) = (link.for_messages()?, link.for_messages()?);
        let mut crew = Crew::new(LIMIT, GRACE);
        let orders = Orders::new(Role::Echo, link, count, None);
        let (input, output) = (requests.recv.into(), replies.send.into());
        crew.start(&orders.name(), &orders.to_args(), input, output)?;
        let latency = match link {
            Link::Ring => paced(
                ring_sender(requests.send)?,
                ring_receiver(replies.recv)?,
                count,
                INTERVAL,
            ),
            Link::Pipe => paced(
                PipeOutlet::new(requests.send),
                PipeInlet::new(replies.recv).unblocked()?,
                count,
                INTERVAL,
            ),
        };
        // The end that we sent into is closed now, so the echo ends too.
        match (latency, crew.finish(|| self.goes_on())) {
            (Ok(latency), Ok(_)) => Ok(latency),
            (Err(fault), Ok(_)) | (Ok(_), Err(fault)) => Err(fault),
            (Err(ours), Err(its)) => Err(format!("{ours}; {its}")),
        }
    }

    /// The rates of all rounds, and how many times the pipe's the ring's are.
    fn rates(&self, rounds: &Rounds, unit: f64, name: &str) -> Result<(), Failure> {
        let row = |rates: &[f64]| -> String {
            let scaled = rates.iter().map(|rate| format!("{:>10.2}", rate / unit));
            scaled.collect()
        };
        let ratios: Vec<f64> = rounds
            .ring
            .iter()
            .zip(&rounds.pipe)
            .map(|(r, p)| r / p)
            .collect();
        let heads: String = (1..=ratios.len())
            .map(|n| format!("{:>10}", format!("round {n}")))
            .collect();
        self.say(format_args!("        {heads}"))?;
        self.say(format_args!("  ring  {}  {name}", row(&rounds.ring)))?;
        self.say(format_args!("  pipe  {}  {name}", row(&rounds.pipe)))?;
        let times: String = ratios
            .iter()
            .map(|ratio| format!("{ratio:>9.1}×"))
            .collect();
        self.say(format_args!("  ratio {times}"))
    }

    /// Shows that it does.
    fn goes_on(&self) -> bool {
        self.bar.tick();
        true
    }

    /// Writes a line of the report.
    fn say(&self, line: impl fmt::Display) -> Result<(), Failure> {
        let mut out = io::stdout();
        let written = self.bar.suspend(|| writeln!(out, "{line}"));
        written.map_err(|error| Failure::output(error, 0))
    }
}

impl Drop for Demo<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn in_round(what: &str, link: Link, round: u64, fault: &str) -> Failure {
    let round = round + 1;
    Failure::Demo(format!(
        "the demonstration failed: {what} over a {link}, round {round}: {fault}"
    ))
}
