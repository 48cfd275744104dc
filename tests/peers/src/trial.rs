//! One trial: a fresh queue with living processes at both ends, a victim that is killed after one particular
//! instruction, and what the survivors find.
//!
//! Before the kill the ring has gone round once, and is then filled as asked. The victim does a few operations
//! of its own before the one that it dies in. Afterwards survivors send two laps more, and receive. Where the victim was
//! the only one of its side, a new process takes its place.

use crate::ledger::{DONE, Ledger, NOTHING};
use crate::message::{TORN, message};
use crate::peer::{CAPACITY, Handle, Peer, Side};
use crate::place::Place;
use crate::survivor::{Command, LIMIT, PATIENCE, Survivor, When, die_with_parent, until};
use annulus_tests::lab::step::{Arrival, Trace, Victim, mark};
use nix::libc;
use std::collections::{HashMap, HashSet};
use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Operations that the victim completes before the one that it dies in.
const WARM: u64 = 4;

/// Messages before the queue is filled: the ring has gone round.
const LAP: u64 = CAPACITY + 3;

/// Messages that survivors send after the kill: two laps.
const LATER: u64 = 2 * CAPACITY;

/// How many of these come first, and are waited for.
const HALF: u64 = CAPACITY / 2;

/// The first number of what survivors send before the kill, the victim before, the victim while it dies, and survivors after.
const BEFORE: u64 = 0;
const OF_VICTIM: u64 = 1000;
const LAST: u64 = 2000;
const AFTER: u64 = 3000;

/// For how long nothing comes before what is missing is lost.
const QUIET: Duration = Duration::from_millis(200);

/// For how long one looks for what is too much.
const LITTLE: Duration = Duration::from_millis(2);

/// How full the queue is when the victim begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Nothing in it.
    Empty,
    /// Half of what it holds.
    Half,
    /// No room.
    Full,
}

impl Fill {
    fn count(self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Half => CAPACITY / 2,
            Self::Full => CAPACITY,
        }
    }
}

/// What is tried.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// With which queue.
    pub peer: Peer,
    /// What the victim does: send, or receive.
    pub side: Side,
    /// How full it is.
    pub fill: Fill,
    /// Whether survivors do what the documentation offers them.
    pub recover: bool,
}

/// What a kill has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// A surviving sender or receiver could not go on within a second.
    pub stuck: u64,
    /// Messages whose send had returned before the kill, and that did not arrive.
    pub lost: u64,
    /// The same, of what was sent afterwards.
    pub later: u64,
    /// Messages sent afterwards that arrived only when more were sent behind them.
    pub held: u64,
    /// Slots that no message goes into any more, of a queue that refuses what it has no room for.
    pub room: u64,
    /// Messages that came again.
    pub duplicated: u64,
    /// Messages that nobody sent like that.
    pub torn: u64,
    /// Messages that the victim was about to get: its own, one a kill at most.
    pub own: u64,
}

impl Outcome {
    /// Whether nothing went wrong.
    pub fn is_clean(&self) -> bool {
        let nothing_wrong = Self {
            own: self.own,
            ..Self::default()
        };
        *self == nothing_wrong
    }

    /// One of each that is not zero.
    pub fn each(&self) -> Self {
        Self {
            stuck: self.stuck.min(1),
            lost: self.lost.min(1),
            later: self.later.min(1),
            held: self.held.min(1),
            room: self.room.min(1),
            duplicated: self.duplicated.min(1),
            torn: self.torn.min(1),
            own: self.own.min(1),
        }
    }

    /// The worst of it, as a letter.
    pub fn letter(&self) -> char {
        match self {
            Self { stuck: 1.., .. } => 'S',
            Self { lost: 1.., .. } => 'L',
            Self { torn: 1.., .. } => 'T',
            Self {
                duplicated: 1.., ..
            } => 'D',
            Self { later: 1.., .. } => 'l',
            Self { held: 1.., .. } => 'h',
            Self { room: 1.., .. } => 'r',
            Self { own: 1.., .. } => 'o',
            _ => '.',
        }
    }
}

impl AddAssign for Outcome {
    fn add_assign(&mut self, other: Self) {
        self.stuck += other.stuck;
        self.lost += other.lost;
        self.later += other.later;
        self.held += other.held;
        self.room += other.room;
        self.duplicated += other.duplicated;
        self.torn += other.torn;
        self.own += other.own;
    }
}

/// Why there is no outcome: a fault of the harness, not of a queue.
pub type Fault = Box<dyn std::error::Error>;

/// Everybody before the kill: the victim stands before its last operation.
struct Stage<'a> {
    scenario: &'a Scenario,
    victim: Victim,
    senders: Vec<Survivor>,
    receivers: Vec<Survivor>,
    ledger: &'a Ledger,
    place: &'a Place,
    /// Messages whose sends have returned.
    committed: Vec<u64>,
}

fn must(done: bool, what: &str) -> Result<(), Fault> {
    if done {
        Ok(())
    } else {
        Err(format!("setup: {what}").into())
    }
}

/// What the victim does before the operation that it dies in.
struct Prelude {
    /// Whether it makes the queue.
    create: bool,
    /// So many others have to be there.
    others: u64,
    /// Sends or receives.
    operations: u64,
    /// The survivors have received so much before the queue is filled. Of a sender.
    received: u64,
    /// The survivors have sent so much when the queue is filled, but for the next.
    sent: u64,
    /// The last sends. Of a sender.
    fill: u64,
}

impl Prelude {
    /// From the victim's birth to its death.
    fn perform(&self, scenario: &Scenario, place: &Place, ledger: &Ledger) {
        die_with_parent();
        // SAFETY: a signal to ourselves, should the setup hang.
        unsafe { libc::alarm(PATIENCE.as_secs() as u32) };
        let opened = (scenario.peer.open)(place, scenario.side, self.create);
        let mut handle = opened.unwrap_or_else(|why| panic!("the victim opens it: {why}"));
        ledger.attached.store(true, SeqCst);
        assert!(
            until(|| ledger.others.load(SeqCst) >= self.others),
            "the others are there"
        );
        let numbers = OF_VICTIM..OF_VICTIM + self.operations;
        match scenario.side {
            Side::Sender => {
                for number in numbers {
                    assert!(until(|| handle.send(&message(number))), "there is room");
                }
                let received = || ledger.survivors.count() >= self.received;
                assert!(until(received), "the receivers receive");
            }
            Side::Receiver => {
                for _ in numbers {
                    let received = until(|| match handle.receive() {
                        Some(message) => {
                            ledger.victim.note(&message);
                            true
                        }
                        None => false,
                    });
                    assert!(received, "there are messages");
                }
            }
        }
        ledger.warm.store(true, SeqCst);
        assert!(
            until(|| ledger.sent.load(SeqCst) >= self.sent),
            "the senders fill it"
        );
        let first = OF_VICTIM + self.operations;
        for number in first..first + self.fill {
            assert!(until(|| handle.send(&message(number))), "there is room");
        }
        // SAFETY: as above.
        unsafe { libc::alarm(0) };
        die(handle.as_mut(), scenario.side, ledger);
    }
}

/// The operation that is stepped through.
#[inline(never)]
fn die(handle: &mut dyn Handle, side: Side, ledger: &Ledger) {
    match side {
        Side::Sender => {
            let last = message(LAST);
            mark();
            let result = if handle.send(&last) { DONE } else { NOTHING };
            ledger.result.store(result, SeqCst);
            mark();
        }
        Side::Receiver => {
            mark();
            let result = match handle.receive() {
                Some(message) => DONE + message[0],
                None => NOTHING,
            };
            ledger.result.store(result, SeqCst);
            mark();
        }
    }
}

impl<'a> Stage<'a> {
    /// Sets everything up.
    fn new(scenario: &'a Scenario, place: &'a Place, ledger: &'a Ledger) -> Result<Self, Fault> {
        let Scenario { peer, side, .. } = scenario;
        let fork = |side| Survivor::fork(peer, place, ledger, side);
        let sending = *side == Side::Sender;
        let (mut senders, mut receivers) = (Vec::new(), Vec::new());
        if !sending || peer.many_senders {
            let sender = fork(Side::Sender)?;
            must(
                sender.ask(Command::Open { create: true }, PATIENCE),
                "sender",
            )?;
            senders.push(sender);
        }
        if sending || peer.many_receivers {
            receivers.push(fork(Side::Receiver)?);
        }
        let both = !senders.is_empty() && !receivers.is_empty();
        let mut next = BEFORE;
        let mut numbers = |count: u64| {
            next += count;
            next - count
        };
        if both {
            let (sender, receiver) = (&senders[0], &receivers[0]);
            must(
                receiver.ask(Command::Open { create: false }, PATIENCE),
                "receiver",
            )?;
            receiver.tell(Command::Receive {
                count: LAP,
                sent: LAP,
            })?;
            let first = numbers(LAP);
            let send = Command::Send {
                first,
                count: LAP,
                when: When::Now,
            };
            must(sender.ask(send, PATIENCE), "a first lap")?;
            must(
                receiver.answer(PATIENCE) == Some(true),
                "a first lap received",
            )?;
        }
        let lap = if both { 0 } else { LAP };
        let operations = lap + WARM;
        let fill = scenario.fill.count();
        let own_fill = match (sending, senders.is_empty()) {
            (true, true) => fill,
            (true, false) => fill.min(2),
            (false, _) => 0,
        };
        // What has to be answered before the victim dies.
        let mut due = Vec::new();
        if let Some(sender) = senders.first() {
            let (count, when) = if sending {
                (fill - own_fill, When::Warm)
            } else {
                (operations + fill, When::Attached)
            };
            let first = numbers(count);
            sender.tell(Command::Send { first, count, when })?;
            due.push(sender);
        }
        if let Some(receiver) = receivers.first() {
            if !both {
                receiver.tell(Command::OpenAfterVictim)?;
                due.push(receiver);
            }
            if sending || peer.broadcast {
                receiver.tell(Command::Receive {
                    count: operations,
                    sent: 0,
                })?;
                due.push(receiver);
            }
        }
        let prelude = Prelude {
            create: senders.is_empty(),
            others: (senders.len() + receivers.len()) as u64,
            operations,
            received: LAP + WARM,
            sent: next,
            fill: own_fill,
        };
        let victim = Victim::fork(|| prelude.perform(scenario, place, ledger))?;
        for survivor in due {
            must(survivor.answer(PATIENCE) == Some(true), "a survivor's part")?;
        }
        let mut committed: Vec<_> = (BEFORE..next).collect();
        if sending {
            committed.extend(OF_VICTIM..OF_VICTIM + operations + own_fill);
        }
        Ok(Self {
            scenario,
            victim,
            senders,
            receivers,
            ledger,
            place,
            committed,
        })
    }

    /// Kills the victim where it stands, and judges.
    fn kill(self) -> Result<Outcome, Fault> {
        let Self {
            scenario,
            victim,
            mut senders,
            mut receivers,
            ledger,
            place,
            mut committed,
        } = self;
        let Scenario { peer, side, .. } = scenario;
        victim.kill();
        let mut outcome = Outcome::default();
        let result = ledger.result.load(SeqCst);
        let mut own = 0;
        match side {
            Side::Sender if result == DONE => committed.push(LAST),
            Side::Receiver if !peer.broadcast => {
                let mut taken = ledger.victim.numbers();
                match result {
                    0 => own = 1,
                    NOTHING => {}
                    number => taken.push(number - DONE),
                }
                committed.retain(|number| !taken.contains(number));
            }
            _ => {}
        }

        let recovery = peer.recovery(*side).filter(|_| scenario.recover);
        let (mine, create) = match side {
            Side::Sender => (&mut senders, false),
            Side::Receiver => (&mut receivers, false),
        };
        if recovery.is_some_and(|recovery| recovery.alone) {
            for survivor in mine.drain(..) {
                if !survivor.end() {
                    outcome.stuck = 1;
                    return Ok(outcome);
                }
            }
        }
        if mine.is_empty() {
            let survivor = Survivor::fork(peer, place, ledger, *side)?;
            if !survivor.ask(Command::Open { create }, LIMIT) {
                outcome.stuck = 1;
                return Ok(outcome);
            }
            mine.push(survivor);
        }
        if let Some(recovery) = recovery {
            let all = senders.iter().chain(&receivers);
            let called = all.filter(|_| !recovery.alone);
            let alone = match side {
                Side::Sender => senders.iter(),
                Side::Receiver => receivers.iter(),
            };
            let alone = alone.filter(|_| recovery.alone);
            if !called
                .chain(alone)
                .all(|survivor| survivor.ask(Command::Recover, LIMIT))
            {
                outcome.stuck = 1;
                return Ok(outcome);
            }
        }

        // The survivors go on: half a lap first, to see whether it arrives before there is more.
        let before = ledger.sent.load(SeqCst);
        let (sender, receiver) = (&senders[0], &receivers[0]);
        let (mut sends, mut receives) = (true, true);
        let mut expected = committed.clone();
        let mut half = Vec::new();
        for (first, count) in [(AFTER, HALF), (AFTER + HALF, LATER - HALF)] {
            ledger.settled.store(false, SeqCst);
            receiver.tell(Command::Drain)?;
            let when = When::Now;
            sends = sender.ask(Command::Send { first, count, when }, LIMIT);
            expected.extend(first..first + count);
            settle(ledger, &expected, own);
            ledger.settled.store(true, SeqCst);
            receives = receiver.answer(LIMIT / 2) == Some(true);
            if !sends || !receives {
                break;
            }
            if first == AFTER {
                half = ledger.survivors.numbers();
            }
        }
        if sends && receives && peer.refuses {
            let first = AFTER + LATER;
            if sender.ask(Command::TopUp { first }, LIMIT) {
                outcome.room = CAPACITY.saturating_sub(ledger.room.load(SeqCst));
            } else {
                sends = false;
            }
        }

        let mut counts = HashMap::new();
        for number in ledger.survivors.numbers() {
            *counts.entry(number).or_insert(0u64) += 1;
        }
        let sent = ledger.sent.load(SeqCst) - before;
        let came = |number: &u64| counts.contains_key(number);
        let missing = |numbers: &mut dyn Iterator<Item = u64>| {
            numbers.filter(|number| !came(number)).count() as u64
        };
        let last_lap = AFTER + sent.saturating_sub(CAPACITY)..AFTER + sent;
        receives &= sent == 0 || last_lap.clone().any(|number| came(&number));
        outcome.stuck = u64::from(!sends || !receives);
        if receives {
            let lost = missing(&mut committed.iter().copied());
            outcome.own = lost.min(own);
            outcome.lost = lost - outcome.own;
            outcome.later = missing(&mut (AFTER..AFTER + sent));
            outcome.held = (AFTER..AFTER + sent.min(HALF))
                .filter(|number| came(number) && !half.contains(number))
                .count() as u64;
        }
        // What its sender was about to commit may have come, once; what was refused may not.
        let refused = *side == Side::Sender && result == NOTHING;
        for (&number, &count) in &counts {
            let sent_once = committed.contains(&number)
                || (AFTER..AFTER + LATER).contains(&number)
                || number == LAST && !refused;
            let taken = number < LAST && !sent_once;
            if number == TORN || number == LAST && refused || number >= AFTER + LATER {
                outcome.torn += count;
            } else if taken {
                outcome.duplicated += count;
            } else {
                outcome.duplicated += count - 1;
            }
        }
        Ok(outcome)
    }
}

/// Waits until the survivors have received all that is expected, but for so many; or nothing comes any more.
fn settle(ledger: &Ledger, expected: &[u64], but: u64) {
    let mut last = Instant::now();
    let mut count = u64::MAX;
    while last.elapsed() < QUIET {
        let now = ledger.survivors.count();
        if now != count {
            count = now;
            last = Instant::now();
            let numbers: HashSet<_> = ledger.survivors.numbers().into_iter().collect();
            let missing = expected.iter().filter(|number| !numbers.contains(number));
            if missing.count() as u64 <= but {
                // Is there more than there should be?
                sleep(LITTLE);
                return;
            }
        }
        sleep(Duration::from_micros(100));
    }
}

/// Runs trials of a scenario.
pub struct Trials {
    scenario: Scenario,
    trace: Trace,
}

/// Numbers the places.
static PLACES: AtomicU64 = AtomicU64::new(0);

impl Trials {
    /// Records the way through the operation.
    ///
    /// # Errors
    ///
    /// A fault of the harness.
    pub fn new(scenario: Scenario) -> Result<Self, Fault> {
        let (place, ledger) = scene()?;
        let mut stage = Stage::new(&scenario, &place, &ledger)?;
        let trace = stage.victim.record()?;
        drop(stage);
        Ok(Self { scenario, trace })
    }

    /// The last point at which the victim can be killed: it has executed so many instructions, and its operation has
    /// returned.
    pub fn last(&self) -> usize {
        self.trace.len()
    }

    /// Kills a victim after so many instructions.
    ///
    /// # Errors
    ///
    /// A fault of the harness.
    pub fn kill_after(&self, step: usize) -> Result<Outcome, Fault> {
        {
            let (place, ledger) = scene()?;
            let mut stage = Stage::new(&self.scenario, &place, &ledger)?;
            if stage.victim.advance(&self.trace, step)? == Arrival::There {
                return stage.kill();
            }
        }
        let (place, ledger) = scene()?;
        let mut stage = Stage::new(&self.scenario, &place, &ledger)?;
        stage.victim.walk(step)?;
        stage.kill()
    }
}

fn scene() -> Result<(Place, Ledger), Fault> {
    let number = PLACES.fetch_add(1, SeqCst);
    Ok((Place::new(number)?, Ledger::new()?))
}
