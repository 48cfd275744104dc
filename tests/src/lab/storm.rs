//! The random storm: senders and receivers on one ring, each a process of its own; every few milliseconds one of them
//! is killed and replaced. Afterwards the ledger of what each sent is compared with what arrived.
//!
//! Promised is:
//!
//! - what was committed arrives once. At most once, a record may be missing for each killed receiver, which had
//!   taken it: typed records land where they can be read after the receiver's death, so a missing one must lie
//!   there, or have been received by value. At least once, a record arrives again only if a receiver was killed while it held it, and is marked as
//!   a repeat wherever receivers have words for that; where tries are limited, what came back too often is a dead letter,
//!   which the supervisor takes out and counts as arrived;
//! - what was begun and not committed when its sender was killed arrives once or not at all;
//! - what was given up never arrives, nothing arrives in pieces, and every receiver gets each sender's records in
//!   their order;
//! - somebody receives something at least once a second, and everybody ends when the senders have closed;
//! - nobody dead is left in the table when newcomers have come to both sides, and the ring's own books add up.

mod act;
mod form;
mod ledger;
mod payload;
mod verdict;

pub use act::Delivery;
pub use ledger::Ledger;
pub use payload::Dice;
pub use verdict::Outcome;

use crate::lab::row::Row;
use annulus::{Kind, Mpmc, Mpsc, Order, Protocol, Ring, RingOptions, Spmc, Spsc, TryRecvError};
use form::{Bytes, Form, Take, Typed};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Command, ExitCode};
use std::str::FromStr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use verdict::Pulse;

/// What the actors' command lines begin with.
pub const ACT: &str = "storm-act";

/// How long everybody has to come to an end.
const END: Duration = Duration::from_secs(20);

/// Records sent and received that must be a few laps of every ring here.
const LAPS: u64 = 1000;

/// Dead letters bar the way until somebody looks for them.
const BETWEEN_LETTERS: Duration = Duration::from_micros(500);

/// Longer than anybody may stand still.
const STALL: Duration = Duration::from_millis(1500);

/// One storm.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The ring's kind.
    pub kind: Kind,
    /// Typed messages, or byte records.
    pub typed: bool,
    /// The order among senders.
    pub order: Order,
    /// How receivers take records.
    pub delivery: Delivery,
    /// Processes to kill.
    pub kills: u64,
    /// Milliseconds between two kills, on average.
    pub pause: f64,
    /// What the dice begin with.
    pub seed: u64,
}

impl Plan {
    /// Every kind of storm, each with so many kills.
    pub fn all(kills: u64, pause: f64, seed: u64) -> Vec<Self> {
        let mut all = vec![];
        for kind in [Kind::Spsc, Kind::Mpsc, Kind::Spmc, Kind::Mpmc] {
            for order in [Order::Total, Order::PerSender] {
                if order == Order::PerSender && !kind.many_senders() {
                    continue;
                }
                for typed in [true, false] {
                    for delivery in [
                        Delivery::AtMostOnce,
                        Delivery::AtLeastOnce,
                        Delivery::DeadLetters,
                    ] {
                        let plan = Self {
                            kind,
                            typed,
                            order,
                            delivery,
                            kills,
                            pause,
                            seed: seed.wrapping_add(all.len() as u64),
                        };
                        // Nobody counts tries where receivers have no words.
                        if delivery != Delivery::DeadLetters || plan.marks_repeats() {
                            all.push(plan);
                        }
                    }
                }
            }
        }
        all
    }

    /// What the scenario is called. Where receivers take records at least once they are acknowledged.
    pub fn name(&self) -> String {
        let form = if self.typed { "typed" } else { "bytes" };
        let order = match self.order {
            Order::PerSender => " per-sender",
            _ => "",
        };
        let acked = match self.delivery {
            Delivery::AtMostOnce => "",
            Delivery::AtLeastOnce => " acked",
            Delivery::DeadLetters => " letters",
        };
        format!("storm {form}{order}{acked}")
    }

    fn delivery_word(&self) -> &'static str {
        match self.delivery {
            Delivery::AtMostOnce => "at-most-once",
            Delivery::AtLeastOnce => "at-least-once",
            Delivery::DeadLetters => "dead-letters",
        }
    }

    /// How often a record may come back: once or twice, or without end.
    fn max_tries(&self) -> u32 {
        match self.delivery {
            Delivery::DeadLetters => 1 + (self.seed / 2 % 2) as u32,
            _ => 0,
        }
    }

    fn senders(&self) -> usize {
        if self.kind.many_senders() { 4 } else { 1 }
    }

    fn receivers(&self) -> usize {
        if self.kind.many_receivers() { 4 } else { 1 }
    }

    /// Whether receivers have words, which say how often a record was taken.
    fn marks_repeats(&self) -> bool {
        self.kind.many_receivers() || self.order == Order::PerSender
    }
}

/// Lets a storm pass over a ring. `program` is one that gives what follows [`ACT`] to [`act`].
pub fn run(plan: &Plan, program: &Path) -> Outcome {
    match plan.kind {
        Kind::Spsc => on_kind::<Spsc>(plan, program),
        Kind::Mpsc => on_kind::<Mpsc>(plan, program),
        Kind::Spmc => on_kind::<Spmc>(plan, program),
        Kind::Mpmc => on_kind::<Mpmc>(plan, program),
    }
}

fn on_kind<K: Protocol>(plan: &Plan, program: &Path) -> Outcome {
    if plan.typed {
        Storm::<Typed, K>::new(plan, program).pass()
    } else {
        Storm::<Bytes, K>::new(plan, program).pass()
    }
}

/// Lets every kind of storm pass that `words` do not leave out, and prints what came of it:
/// `[--kills N] [--pause MS] [--seed S] [--only WORDS]`, N kills each, every MS milliseconds.
pub fn command(words: &[&str]) -> Vec<Row> {
    let kills = option(words, "--kills").unwrap_or(1000);
    let pause = option(words, "--pause").unwrap_or(4.0);
    let seed = option(words, "--seed").unwrap_or(1);
    let only: String = option(words, "--only").unwrap_or_default();
    let program = std::env::current_exe().expect("this program has a path");
    println!("seed {seed}");
    let mut rows = vec![];
    for plan in Plan::all(kills, pause, seed) {
        if format!("{} {}", plan.kind, plan.name()).contains(&only) {
            let outcome = run(&plan, &program);
            println!("{}   {}", outcome.row(), outcome.remarks());
            for fault in &outcome.faults {
                println!("      {fault}");
            }
            rows.push(outcome.row());
        }
    }
    rows
}

/// The value after `name`, if it is there.
pub(super) fn option<T: FromStr>(words: &[&str], name: &str) -> Option<T> {
    let at = words.iter().position(|word| *word == name)?;
    words.get(at + 1)?.parse().ok()
}

/// Plays an actor; `words` are what stands on its command line after [`ACT`].
///
/// # Panics
///
/// If the ring does anything but what it should.
pub fn act(words: &[&str]) -> ExitCode {
    // SAFETY: takes no pointer. Nobody outlives a storm that ends early.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    match words.first() {
        Some(&"spsc") => act_on::<Spsc>(&words[1..]),
        Some(&"mpsc") => act_on::<Mpsc>(&words[1..]),
        Some(&"spmc") => act_on::<Spmc>(&words[1..]),
        _ => act_on::<Mpmc>(&words[1..]),
    }
    ExitCode::SUCCESS
}

fn act_on<K: Protocol>(words: &[&str]) {
    match words.first() {
        Some(&"typed") => act_with::<Typed, K>(&words[1..]),
        _ => act_with::<Bytes, K>(&words[1..]),
    }
}

fn act_with<F: Form, K: Protocol>(words: &[&str]) {
    let [role, ring, ledger, life, seed] = *words else {
        panic!("expected ROLE RING LEDGER LIFE SEED, got {words:?}");
    };
    let ring = OpenOptions::new().read(true).write(true).open(ring);
    let ring = RingOptions::new().from_fd(ring.expect("the ring's file").into());
    let ring: Ring<F::Carried, K> = ring.expect("a ring");
    let ledger = Ledger::open(ledger.as_ref()).expect("a ledger");
    let life = life.parse().expect("a number");
    let seed = seed.parse().expect("a number");
    match role {
        "send" => act::send::<F, K>(&ledger, &ring, life, seed),
        _ => {
            let delivery = match role {
                "at-most-once" => Delivery::AtMostOnce,
                "at-least-once" => Delivery::AtLeastOnce,
                _ => Delivery::DeadLetters,
            };
            act::receive::<F, K>(&ledger, &ring, life, seed, delivery);
        }
    }
}

/// An actor that lives.
struct Actor {
    child: Child,
    life: usize,
    sends: bool,
}

/// A storm that passes.
struct Storm<'a, F: Form, K: Protocol> {
    plan: &'a Plan,
    program: &'a Path,
    ring: Ring<F::Carried, K>,
    ledger: Ledger,
    actors: Vec<Actor>,
    /// Lives begun.
    lives: usize,
    pulse: Pulse,
    outcome: Outcome,
}

impl<'a, F: Form, K: Protocol> Storm<'a, F, K> {
    fn new(plan: &'a Plan, program: &'a Path) -> Self {
        let mut options = RingOptions::new();
        options.capacity(F::capacity()).order(plan.order);
        options.max_tries(plan.max_tries());
        // Beginning just before the positions' end, in every other storm.
        options.start_at(if plan.seed.is_multiple_of(2) {
            0
        } else {
            u64::MAX - 999
        });
        let room = plan.kills as usize + plan.senders() + plan.receivers() + 1;
        Self {
            plan,
            program,
            ring: options.memfd().expect("a small ring"),
            ledger: Ledger::new(room).expect("a ledger"),
            actors: vec![],
            lives: 0,
            pulse: Pulse::new(),
            outcome: Outcome::new(plan),
        }
    }

    fn pass(mut self) -> Outcome {
        let since = Instant::now();
        for _ in 0..self.plan.senders() {
            self.start(true);
        }
        for _ in 0..self.plan.receivers() {
            self.start(false);
        }
        let mut dice = Dice::new(self.plan.seed);
        while self.outcome.kills < self.plan.kills && !self.pulse.is_gone() {
            let micros = dice.below((2000.0 * self.plan.pause) as u64 + 1);
            self.watch(Duration::from_micros(micros));
            let victim = dice.below(self.actors.len() as u64) as usize;
            let stop = dice.below(8) == 0;
            if stop {
                self.signal(victim, Signal::SIGSTOP);
                self.watch(Duration::from_micros(dice.below(8000)));
            }
            if stop && dice.below(2) == 0 {
                self.signal(victim, Signal::SIGCONT);
            } else {
                self.kill(victim);
            }
        }
        self.outcome.time = since.elapsed();
        self.end();
        self.outcome.longest = self.pulse.longest;
        self.outcome.hung += self.pulse.hung;
        verdict::compare(self.plan, &self.ledger, self.lives, &mut self.outcome);
        std::mem::take(&mut self.outcome)
    }

    fn start(&mut self, sends: bool) {
        let role = if sends {
            "send"
        } else {
            self.plan.delivery_word()
        };
        let fd = self.ring.as_fd().expect("a memory file").as_raw_fd();
        let mut dice = Dice::new(self.plan.seed ^ (self.lives as u64).rotate_left(32));
        let child = Command::new(self.program)
            .args([ACT, &self.plan.kind.to_string()])
            .args([if self.plan.typed { "typed" } else { "bytes" }, role])
            .arg(format!("/proc/{}/fd/{fd}", std::process::id()))
            .arg(self.ledger.path())
            .args([self.lives.to_string(), dice.roll().to_string()])
            .spawn()
            .expect("an actor can be started");
        self.actors.push(Actor {
            child,
            life: self.lives,
            sends,
        });
        self.lives += 1;
    }

    fn signal(&self, actor: usize, signal: Signal) {
        let pid = Pid::from_raw(self.actors[actor].child.id() as i32);
        kill(pid, signal).expect("it is our child");
    }

    /// Kills an actor, and starts another in its place.
    fn kill(&mut self, victim: usize) {
        let mut actor = self.actors.swap_remove(victim);
        let side_is_empty = !self.actors.iter().any(|other| other.sends == actor.sends);
        actor.child.kill().expect("it can be killed");
        let status = actor.child.wait().expect("it is our child");
        if status.code().is_some() {
            self.outcome.fault(format!(
                "an actor ended by itself in the storm, with {status}"
            ));
        }
        self.outcome.kills += 1;
        if self.outcome.kills.is_multiple_of(64) {
            self.audit();
        }
        if !actor.sends {
            self.outcome.killed_receivers.push(actor.life);
        }
        if !side_is_empty && self.outcome.kills.is_multiple_of(4) {
            self.await_laps();
        }
        self.start(actor.sends);
    }

    /// Waits until the others have come a few times round the ring, so past whatever the dead one left there, with no
    /// newcomer to clean up after it; or stand still for too long.
    fn await_laps(&mut self) {
        let since = Instant::now();
        let goal = self.ledger.progress(self.lives) + LAPS;
        while self.ledger.progress(self.lives) < goal && since.elapsed() < STALL {
            self.watch(Duration::from_micros(500));
        }
    }

    /// Sleeps so long, and looks whether anything goes on meanwhile.
    fn watch(&mut self, time: Duration) {
        let until = Instant::now() + time;
        let pause = match self.plan.delivery {
            Delivery::DeadLetters => BETWEEN_LETTERS,
            _ => Duration::from_millis(20),
        };
        loop {
            self.bury();
            self.pulse.feel(self.ledger.progress(self.lives));
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(pause));
        }
    }

    /// Takes the dead letters out and writes them down.
    fn bury(&mut self) {
        if self.plan.delivery != Delivery::DeadLetters {
            return;
        }
        let inspector = self.ring.inspector();
        for letter in inspector.dead_letters() {
            let stamp = inspector
                .read_dead(&letter)
                .and_then(|bytes| F::letter(&bytes));
            let Some(stamp) = stamp.filter(|stamp| self.ledger.is_drawn(stamp.message)) else {
                self.outcome.torn += 1;
                continue;
            };
            if letter.tries < u64::from(self.plan.max_tries()) {
                self.outcome
                    .fault(format!("too early for a dead letter: {letter:?}"));
            }
            // Nobody else drains.
            if !inspector.discard_dead(letter) || !self.outcome.letters.insert(stamp.message) {
                self.outcome.duplicated += 1;
            }
        }
    }

    /// Senders close, receivers come to the end, and a last receiver finds nothing left.
    fn end(&mut self) {
        self.watch(Duration::from_millis(50));
        self.ledger.counts().stop.store(1, Relaxed);
        self.await_end(true);
        // A newcomer buries the dead of its side, and closes: now no more can come.
        if let Err(why) = self.ring.sender().map(drop) {
            self.outcome.fault(format!("no place for a sender: {why}"));
        }
        self.await_end(false);
        self.bury();
        match self.ring.receiver() {
            Err(why) => self
                .outcome
                .fault(format!("no place for a receiver: {why}")),
            Ok(mut receiver) => {
                // SAFETY: the life is nobody's, and this is the only call.
                let mut space = F::space(unsafe { self.ledger.landing_mut(self.lives) });
                let take = Take {
                    wait: false,
                    by_value: false,
                };
                let left = F::receive(&mut receiver, take, &mut space);
                if !matches!(left, Err(TryRecvError::Disconnected)) {
                    self.outcome
                        .fault(format!("after the end there is still {left:?}"));
                }
            }
        }
        let info = self.ring.info();
        self.outcome.repairs = (info.voided, info.returned);
        if !(info.senders.is_empty() && info.receivers.is_empty()) {
            self.outcome.fault(format!("places are left: {info:?}"));
        }
        self.audit();
        self.outcome.audit = Some(self.ring.audit());
    }

    /// The ring's own books add up at any time.
    fn audit(&mut self) {
        let audit = self.ring.audit();
        if !audit.adds_up() {
            self.outcome.fault(format!("it does not add up:\n{audit}"));
        }
    }

    /// Waits until the actors of a side have ended by themselves; then there are none.
    fn await_end(&mut self, sends: bool) {
        let since = Instant::now();
        loop {
            let mut index = 0;
            while index < self.actors.len() {
                let actor = &mut self.actors[index];
                let ended = actor.child.try_wait().expect("it is our child");
                match ended.filter(|_| actor.sends == sends) {
                    Some(status) => {
                        if !status.success() {
                            self.outcome.fault(format!("an actor ended with {status}"));
                        }
                        self.actors.swap_remove(index);
                    }
                    None => index += 1,
                }
            }
            if !self.actors.iter().any(|actor| actor.sends == sends) {
                return;
            }
            if since.elapsed() > END {
                let side = if sends { "sender" } else { "receiver" };
                self.outcome.fault(format!("a {side} does not end"));
                return self.kill_all(sends);
            }
            self.bury();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn kill_all(&mut self, sends: bool) {
        for actor in self.actors.iter_mut().filter(|actor| actor.sends == sends) {
            let _ = actor.child.kill();
            let _ = actor.child.wait();
        }
        self.actors.retain(|actor| actor.sends != sends);
    }
}

impl<F: Form, K: Protocol> Drop for Storm<'_, F, K> {
    fn drop(&mut self) {
        self.kill_all(true);
        self.kill_all(false);
    }
}
