//! What is before the kill: a fresh queue, others at both its ends, and a victim that stands before its last
//! operation.
//!
//! The ring has gone round once, and is then filled as asked. The victim has done a few operations of its own, and where
//! it sends, the last messages in the queue are its own.

use crate::command::{Command, When};
use crate::ledger::{DONE, Ledger, NOTHING};
use crate::message::message;
use crate::peer::{CAPACITY, Handle, Peer, Side};
use crate::place::Place;
use crate::survivor::{PATIENCE, Survivor, die_with_parent, until};
use annulus_tests::lab::step::{Victim, mark};
use nix::libc;
use std::sync::atomic::Ordering::SeqCst;

/// Operations that the victim completes before the queue is filled.
const WARM: u64 = 4;

/// Messages before the queue is filled: the ring has gone round.
const LAP: u64 = CAPACITY + 3;

/// Messages that a victim adds at last, where others send too.
const OWN: u64 = 2;

/// The first number of what survivors send before the kill.
const BEFORE: u64 = 0;

/// The first number of what the victim sends before.
const OF_VICTIM: u64 = 1000;

/// The number of what the victim sends while it dies.
pub const LAST: u64 = 2000;

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

/// Why there is no outcome: a fault of the harness, not of a queue.
pub type Fault = Box<dyn std::error::Error>;

/// Everybody but the victim.
pub struct Stage<'a> {
    /// What is tried.
    pub scenario: &'a Scenario,
    /// Others that send: none, or one.
    pub senders: Vec<Survivor>,
    /// Others that receive: none, or one.
    pub receivers: Vec<Survivor>,
    /// What they know of each other.
    pub ledger: &'a Ledger,
    /// Where the queue is.
    pub place: &'a Place,
    /// Messages whose sends have returned.
    pub committed: Vec<u64>,
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

/// Lets the ring go round.
fn first_lap(sender: &Survivor, receiver: &Survivor, first: u64) -> Result<(), Fault> {
    let open = Command::Open { create: false };
    must(receiver.ask(open, PATIENCE), "a receiver")?;
    let (count, when) = (LAP, When::Now);
    receiver.tell(Command::Receive { count, sent: count })?;
    let send = Command::Send { first, count, when };
    must(sender.ask(send, PATIENCE), "a first lap")?;
    must(receiver.answer(PATIENCE) == Some(true), "a first lap's end")
}

impl<'a> Stage<'a> {
    /// Sets everything up. The victim stands before its last operation.
    ///
    /// # Errors
    ///
    /// A fault of the harness.
    pub fn new(
        scenario: &'a Scenario,
        place: &'a Place,
        ledger: &'a Ledger,
    ) -> Result<(Self, Victim), Fault> {
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
            first_lap(&senders[0], &receivers[0], numbers(LAP))?;
        }
        let lap = if both { 0 } else { LAP };
        let operations = lap + WARM;
        let fill = scenario.fill.count();
        let own_fill = match (sending, senders.is_empty()) {
            (true, true) => fill,
            (true, false) => fill.min(OWN),
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
        let stage = Self {
            scenario,
            senders,
            receivers,
            ledger,
            place,
            committed,
        };
        Ok((stage, victim))
    }
}
