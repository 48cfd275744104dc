//! What the survivors find after a death, and what is wrong with it.
//!
//! First they take out what is there, up to a record of their own behind it (*drain*), and compare it with what was
//! sent. Then the ring goes round twice with successors on the dead side (*laps*). Then nobody dead may have a
//! lease that a newcomer of its side should have cleared, and the ring's counts must add up. Each wait ends after
//! a second: whoever could not go on by then hangs.

use super::cell::{Cell, Op, Side};
use super::clock::Limit;
use super::form::{BATCH, Ending, Form, Stop, number};
use super::stage::{AFTER, FAILED, HELPER, LOOKS, NEWCOMER, NEXT, OLD, Stage, VICTIM, said};
use annulus::{Order, Peer, Protocol, Receiver, Ring, Sender};
use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// What survivors must not need to go on.
pub const HANG: Duration = Duration::from_secs(1);

/// Many times longer than the longest sleep in the engine.
const LONG: Duration = Duration::from_millis(500);

/// What sort of promise was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// A committed record did not arrive, or the counts do not add up.
    Lost,
    /// A record came twice and did not say so.
    Duplicated,
    /// A record came otherwise than it was sent, or out of order, or before a later look did not find it.
    Torn,
    /// A survivor did not go on.
    Hung,
}

/// A broken promise.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Its sort.
    pub sort: Sort,
    /// What was expected, and what was found.
    pub text: String,
}

/// A broken promise of this sort.
pub fn fault<T>(sort: Sort, text: impl Into<String>) -> Result<T, Fault> {
    Err(Fault {
        sort,
        text: text.into(),
    })
}

/// Somebody could not go on, and this is why.
pub fn hung(text: impl Into<String>) -> Fault {
    Fault {
        sort: Sort::Hung,
        text: text.into(),
    }
}

/// How the survivors go about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// They call what does not block, again and again.
    Trying,
    /// They sleep.
    Sleeping,
    /// Somebody new comes to the dead side first.
    Newcomer,
}

impl Manner {
    /// Each in its turn. Those who sleep until the safety net wakes them take long, so they are fewer.
    pub fn of(cell: &Cell, step: usize) -> Self {
        let rare = if cell.op.at_least_once() { 256 } else { 4 };
        if step.is_multiple_of(rare) {
            Self::Sleeping
        } else if step % 2 == 1 {
            Self::Newcomer
        } else {
            Self::Trying
        }
    }
}

/// What the survivors have found, if nothing is wrong by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The victim's records that arrived.
    pub visible: usize,
    /// Old records that the victim has taken for good.
    pub missing: usize,
    /// Words that were repaired.
    pub repaired: u64,
}

/// A record that arrived.
#[derive(Clone, Copy, Debug)]
pub struct Arrived {
    number: u64,
    /// How often it had come back, if that was asked for.
    tries: u64,
}

/// The survivors, at work on a stage.
pub struct Survivors<'a, F: Form, K: Protocol> {
    stage: &'a mut Stage<F, K>,
    cell: Cell,
    manner: Manner,
    new_sender: Option<Sender<F::Message, K>>,
    new_receiver: Option<Receiver<F::Message, K>>,
    buffer: F::Buffer,
    arrived: Vec<Arrived>,
    /// The helper, if there was one, woke by what the victim did.
    woken: bool,
    /// Others have sent while the victim was stopped.
    beside: bool,
}

impl<'a, F: Form, K: Protocol> Survivors<'a, F, K> {
    /// Attaches successors of the dead where a side has nobody.
    pub fn come(stage: &'a mut Stage<F, K>, cell: &Cell, manner: Manner) -> Result<Self, Fault> {
        let mut survivors = Self {
            stage,
            cell: *cell,
            manner,
            new_sender: None,
            new_receiver: None,
            buffer: F::buffer(),
            arrived: vec![],
            woken: true,
            beside: false,
        };
        survivors.succeed(cell.op.side())?;
        survivors.wait_for_helper()?;
        survivors.succeed(Side::Sender)?;
        survivors.succeed(Side::Receiver)?;
        if manner == Manner::Newcomer {
            survivors.newcomers()?;
        }
        Ok(survivors)
    }

    fn succeed(&mut self, side: Side) -> Result<(), Fault> {
        let attached = |error| hung(format!("no successor can come: {error}"));
        let stage = &mut self.stage;
        match side {
            Side::Sender if stage.sender.is_none() => {
                stage.sender = Some(stage.ring.sender().map_err(attached)?);
            }
            Side::Receiver if stage.receiver.is_none() => {
                stage.receiver = Some(stage.ring.receiver().map_err(attached)?);
            }
            _ => {}
        }
        Ok(())
    }

    /// If the victim did what the helper sleeps for, the helper ends by itself; else we do it.
    fn wait_for_helper(&mut self) -> Result<(), Fault> {
        let Some(mut helper) = self.stage.helper.take() else {
            return Ok(());
        };
        self.woken = self.stage.due && helper.wait(HANG);
        if !self.woken {
            match self.cell.op.side() {
                Side::Sender => {
                    let sender = self.stage.sender.as_mut().expect("attached");
                    let sent = F::try_send(sender, &F::draft(number(HELPER, 1)));
                    sent.map_err(|stop| hung(format!("a survivor cannot send: {stop:?}")))?;
                }
                Side::Receiver => {
                    let receiver = self.stage.receiver.as_mut().expect("attached");
                    let received = F::recv(receiver, &mut self.buffer, HANG);
                    received
                        .map_err(|stop| hung(format!("a survivor cannot receive: {stop:?}")))?;
                    let Some(number) = F::check(&self.buffer) else {
                        return fault(Sort::Torn, "a record has other bytes than were sent");
                    };
                    self.arrived.push(Arrived { number, tries: 0 });
                }
            }
            if !helper.wait(HANG) {
                return Err(hung("who slept was not woken by a survivor"));
            }
        }
        match self.stage.helped() {
            None | Some(FAILED) => Err(hung("who slept woke and could do nothing")),
            Some(_) => Ok(()),
        }
    }

    /// Works beside a stopped one, for two laps if it lets them, and looks thoroughly whether somebody is dead. Returns what
    /// arrived.
    pub fn beside(stage: &mut Stage<F, K>, cell: &Cell) -> Result<Vec<Arrived>, Fault> {
        let attached = |error| hung(format!("nobody can come beside a stopped one: {error}"));
        if K::KIND.many_senders() {
            drop(stage.ring.sender().map_err(attached)?);
        }
        if K::KIND.many_receivers() {
            drop(stage.ring.receiver().map_err(attached)?);
        }
        let mut arrived = vec![];
        let mut sent = 0;
        loop {
            let before = (sent, arrived.len());
            while sent < F::two_laps(K::KIND) && send_beside(stage, number(AFTER, sent))? {
                sent += 1;
            }
            receive_beside(stage, cell, 4, &mut arrived)?;
            if before == (sent, arrived.len()) {
                break;
            }
        }
        receive_beside(stage, cell, 2 * LOOKS + 2, &mut arrived)?;
        Ok(arrived)
    }

    /// What arrived while the victim was stopped.
    pub fn remember(&mut self, arrived: Vec<Arrived>) {
        self.arrived = arrived;
        self.beside = true;
    }

    /// More handles on the dead side, if it takes them.
    fn newcomers(&mut self) -> Result<(), Fault> {
        let attached = |error| hung(format!("no newcomer can come: {error}"));
        if K::KIND.many_senders() && self.new_sender.is_none() {
            self.new_sender = Some(self.stage.ring.sender().map_err(attached)?);
        }
        if K::KIND.many_receivers() && self.new_receiver.is_none() {
            self.new_receiver = Some(self.stage.ring.receiver().map_err(attached)?);
        }
        Ok(())
    }

    /// Takes everything out and compares it with what was sent.
    pub fn drain(&mut self) -> Result<Seen, Fault> {
        let limit = Limit::new(HANG);
        let fence = number(NEXT, 0);
        let mut fenced = false;
        let mut arrived = std::mem::take(&mut self.arrived);
        let mut quiet = 0;
        // In vain so often that whoever is in the way was looked at, if anybody can be.
        let patience = match (self.cell.op.at_least_once(), self.manner) {
            (true, Manner::Trying) => 2 * LOOKS + 2,
            (_, Manner::Sleeping) => 1,
            _ => 3,
        };
        loop {
            if !fenced {
                let sender = self.stage.sender.as_mut().expect("attached");
                match F::try_send(sender, &F::draft(fence)) {
                    Ok(()) => fenced = true,
                    Err(Stop::Later) => {}
                    Err(other) => return Err(hung(format!("a survivor cannot send: {other:?}"))),
                }
            }
            let there = fenced && arrived.iter().any(|record| record.number == fence);
            // Nothing can be missing any more, but what the victim has.
            let came = |old: &u64| arrived.iter().any(|record| record.number == *old);
            let last = there && (!self.cell.op.at_least_once() || self.stage.old.iter().all(came));
            match self.receive(last)? {
                Some(record) => {
                    arrived.push(record);
                    quiet = 0;
                }
                None => quiet += 1,
            }
            if there && quiet >= patience {
                self.bury(&mut arrived)?;
                return self.judge(&arrived);
            }
            if limit.is_over() {
                let numbers: Vec<_> = arrived.iter().map(|record| record.number).collect();
                let what = if fenced { "receive" } else { "send" };
                return Err(hung(format!(
                    "a survivor could not {what} its record within a second; there came {numbers:x?}"
                )));
            }
        }
    }

    /// Takes the dead letters out.
    fn bury(&self, arrived: &mut Vec<Arrived>) -> Result<(), Fault> {
        let inspector = self.stage.ring.inspector();
        for letter in inspector.dead_letters() {
            let Some(bytes) = inspector.read_dead(&letter) else {
                return fault(Sort::Torn, format!("{letter:?} cannot be read"));
            };
            let Some(number) = F::whole(&bytes) else {
                return fault(Sort::Torn, "a dead letter has other bytes than were sent");
            };
            let tries = letter.tries;
            if !inspector.discard_dead(letter) {
                let text = format!("the dead letter {number:#x} cannot be discarded");
                return fault(Sort::Torn, text);
            }
            arrived.push(Arrived { number, tries });
        }
        Ok(())
    }

    /// Receives one record, if there is one.
    fn receive(&mut self, last: bool) -> Result<Option<Arrived>, Fault> {
        let receiver = self.stage.receiver.as_mut().expect("attached");
        let received = match self.manner {
            Manner::Sleeping => {
                let time = match (last, self.cell.op.at_least_once()) {
                    (true, _) => Duration::ZERO,
                    (false, true) => LONG,
                    (false, false) => LONG / 20,
                };
                F::recv(receiver, &mut self.buffer, time).map(|()| 0)
            }
            _ if self.cell.op.at_least_once() => {
                let seen = AtomicU64::new(0);
                F::peek(receiver, &mut self.buffer, &seen, Ending::Done)
            }
            _ => F::try_recv(receiver, &mut self.buffer).map(|()| 0),
        };
        match received {
            Err(Stop::Later) => Ok(None),
            Err(other) => Err(hung(format!("a survivor cannot receive: {other:?}"))),
            Ok(tries) => match F::check(&self.buffer) {
                Some(number) => Ok(Some(Arrived { number, tries })),
                None => fault(Sort::Torn, "a record has other bytes than were sent"),
            },
        }
    }

    /// Compares what arrived with what was sent.
    fn judge(&self, arrived: &[Arrived]) -> Result<Seen, Fault> {
        let (op, stage) = (self.cell.op, &*self.stage);
        let count = |number| arrived.iter().filter(|one| one.number == number).count();
        if let Some(twice) = arrived.iter().find(|one| count(one.number) > 1) {
            let text = format!("record {:#x} came twice", twice.number);
            return fault(Sort::Duplicated, text);
        }
        self.judge_order(arrived)?;
        // The victim's own: a beginning of what it sent.
        let came = |number| count(number) == 1 || stage.helped() == Some(number);
        let visible = (0..BATCH as u64)
            .take_while(|&at| came(number(VICTIM, at)))
            .count();
        let known = |one: &&Arrived| {
            let (sender, at) = (one.number >> 32, (one.number & 0xffff_ffff) as usize);
            match sender {
                OLD | AFTER => stage.old.contains(&one.number),
                VICTIM => at < visible,
                NEXT => at == 0,
                HELPER => self.cell.op.wakes() && at <= 1,
                _ => false,
            }
        };
        if let Some(strange) = arrived.iter().find(|one| !known(one)) {
            let text = format!("record {:#x} was never committed", strange.number);
            return fault(Sort::Torn, text);
        }
        if op == Op::Abort && visible > 0 {
            return fault(Sort::Torn, "a record was seen that was given up");
        }
        // The old ones: all, but for what receivers had taken, which are the first of what the victim found.
        let mut expected: Vec<u64> = stage.old.clone();
        if let Some(helped) = stage.helped() {
            expected.retain(|&number| number != helped);
        }
        let before = stage.taken_before();
        expected.drain(expected.len().min(1)..expected.len().min(1 + before));
        let first = expected.iter().take_while(|&&number| count(number) == 0);
        let missing = first.count();
        if let Some(hole) = expected[missing..].iter().find(|&&one| count(one) == 0) {
            return fault(
                Sort::Lost,
                format!("record {hole:#x} was committed and did not arrive"),
            );
        }
        let allowed = self.cell.takes(stage.seen());
        if op == Op::RecvWakes && count(number(HELPER, 0)) == 0 {
            return fault(Sort::Lost, "what the woken sender sent did not arrive");
        }
        if missing > allowed {
            let text = format!(
                "{missing} committed records did not arrive, from {:#x} on; the victim can have {allowed}",
                expected[0]
            );
            return fault(Sort::Lost, text);
        }
        self.judge_marks(arrived, missing)?;
        self.judge_told(visible, missing)?;
        if !self.woken && stage.due && visible + missing > 0 {
            return Err(hung(
                "who slept was not woken by what the dead one had done",
            ));
        }
        let info = stage.ring.info();
        Ok(Seen {
            visible,
            missing,
            repaired: info.voided + info.returned,
        })
    }

    /// Whoever returns says so: the record that the victim, or the one who died before, had read.
    fn judge_marks(&self, arrived: &[Arrived], missing: usize) -> Result<(), Fault> {
        let read = self.stage.seen() || self.cell.op.returns();
        if !self.cell.counts_tries()
            || !self.cell.op.at_least_once()
            || self.manner == Manner::Sleeping
            || !read
            || missing > 0
        {
            return Ok(());
        }
        let first = self.stage.old.first();
        match arrived.iter().find(|one| Some(&one.number) == first) {
            Some(one) if one.tries == 0 => fault(
                Sort::Duplicated,
                format!("record {:#x} was read before and has no tries", one.number),
            ),
            _ => Ok(()),
        }
    }

    /// What the victim's call returned is certain.
    fn judge_told(&self, visible: usize, missing: usize) -> Result<(), Fault> {
        let Some(told) = self.stage.told() else {
            return Ok(());
        };
        let (done, what, sort) = match self.cell.op.side() {
            Side::Sender => (visible, "sent", Sort::Lost),
            Side::Receiver => (missing, "received", Sort::Duplicated),
        };
        // Killed in the second call, which had not returned yet.
        let between = self.cell.op == Op::SendTwice && (told, done) == (1, 2);
        if done == told || between {
            return Ok(());
        }
        fault(
            sort,
            format!("the victim's call had {what} {told}, the ring says {done}"),
        )
    }

    /// Records come in the order in which they were committed; those that had come back, when they come.
    fn judge_order(&self, arrived: &[Arrived]) -> Result<(), Fault> {
        let total = self.cell.order == Order::Total && !self.beside;
        let returned = |one: &&Arrived| {
            one.tries == 0 && !(self.cell.op.at_least_once() && self.manner == Manner::Sleeping)
        };
        let mut lasts: Vec<u64> = vec![];
        for one in arrived.iter().filter(returned) {
            let sender = one.number >> 32;
            if sender == HELPER {
                continue;
            }
            let related = |last: &&u64| total || **last >> 32 == sender;
            if let Some(last) = lasts
                .iter()
                .filter(related)
                .find(|&&last| last > one.number)
            {
                let text = format!("record {:#x} came after {last:#x}", one.number);
                return fault(Sort::Torn, text);
            }
            lasts.push(one.number);
        }
        Ok(())
    }

    /// Goes round twice, with newcomers, and finds all room there is.
    pub fn go_round(&mut self, thorough: bool) -> Result<(), Fault> {
        self.newcomers()?;
        let total = F::two_laps(K::KIND);
        let (mut sent, mut first) = (0, true);
        let mut there: VecDeque<u64> = VecDeque::new();
        while sent < total || !there.is_empty() {
            let begun = sent;
            loop {
                // Each sender has its own numbers; which one sends does not matter to the order.
                let (sender, name) = match &mut self.new_sender {
                    Some(newcomer) if sent % 2 == 1 => (newcomer, NEWCOMER),
                    _ => (self.stage.sender.as_mut().expect("attached"), NEXT),
                };
                let next = number(name, 1 + sent);
                match F::try_send(sender, &F::draft(next)) {
                    Ok(()) => there.push_back(next),
                    Err(Stop::Later) => break,
                    Err(other) => return Err(hung(format!("sending on: {other:?}"))),
                }
                sent += 1;
            }
            // What the dead one pins is for whoever is stuck on it to free: a sender that waits.
            while first && sent - begun < F::room(K::KIND) {
                let sender = self.stage.sender.as_mut().expect("attached");
                let next = number(NEXT, 1 + sent);
                let (draft, limit) = (F::draft(next), Limit::new(HANG));
                let waited = loop {
                    match F::send(sender, &draft, HANG) {
                        Err(Stop::Later) if !limit.is_over() => {}
                        other => break other,
                    }
                };
                if let Err(other) = waited {
                    let (room, least) = (sent - begun, F::room(K::KIND));
                    return Err(hung(format!(
                        "the ring took {room} records, and has room for {least}: {other:?}"
                    )));
                }
                there.push_back(next);
                sent += 1;
            }
            let mut at = 0;
            while let Some(next) = there.pop_front() {
                at += 1;
                let receiver = match &mut self.new_receiver {
                    Some(newcomer) if at % 2 == 1 => newcomer,
                    _ => self.stage.receiver.as_mut().expect("attached"),
                };
                let limit = Limit::new(HANG);
                let received = loop {
                    match F::recv(receiver, &mut self.buffer, HANG) {
                        Err(Stop::Later) if !limit.is_over() => {}
                        other => break other,
                    }
                };
                match received {
                    Ok(()) => {}
                    Err(other) => return Err(hung(format!("receiving on: {other:?}"))),
                }
                match F::check(&self.buffer) {
                    Some(number) if number == next => {}
                    Some(other) => {
                        let text = format!("record {other:#x} came instead of {next:#x}");
                        return fault(Sort::Duplicated, text);
                    }
                    None => return fault(Sort::Torn, "a later record has other bytes"),
                }
            }
            if first && thorough {
                let receiver = self.stage.receiver.as_mut().expect("attached");
                let nothing = F::recv(receiver, &mut self.buffer, Duration::from_millis(1));
                if nothing != Err(Stop::Later) {
                    let text = format!("after the last record came {nothing:?}");
                    return fault(Sort::Duplicated, text);
                }
            }
            first = false;
        }
        Ok(())
    }

    /// The victim's lease is free, and the counts agree.
    pub fn settle(&mut self) -> Result<(), Fault> {
        let info = self.stage.ring.info();
        let dead = |peers: &[Peer]| peers.iter().filter(|peer| !peer.alive).count();
        let left = dead(&info.senders) + dead(&info.receivers);
        if left > 0 {
            return Err(hung(format!(
                "{left} leases of the dead stay though newcomers came"
            )));
        }
        audited(&self.stage.ring)
    }
}

/// Whether what went in came out.
fn audited<F, K: Protocol>(ring: &Ring<F, K>) -> Result<(), Fault>
where
    F: annulus::Message + ?Sized,
{
    let audit = ring.audit();
    if audit.adds_up() {
        return Ok(());
    }
    fault(
        Sort::Lost,
        format!("the audit does not add up: {}", said(audit)),
    )
}

/// Sends one more old record, if there is room and a sender.
fn send_beside<F: Form, K: Protocol>(stage: &mut Stage<F, K>, next: u64) -> Result<bool, Fault> {
    let Some(sender) = &mut stage.sender else {
        return Ok(false);
    };
    match F::try_send(sender, &F::draft(next)) {
        Ok(()) => stage.old.push(next),
        Err(Stop::Later | Stop::Gone(_)) => return Ok(false),
        Err(other) => return Err(hung(format!("sending beside: {other:?}"))),
    }
    Ok(true)
}

/// Receives what there is, until so many looks were in vain.
fn receive_beside<F: Form, K: Protocol>(
    stage: &mut Stage<F, K>,
    cell: &Cell,
    patience: usize,
    arrived: &mut Vec<Arrived>,
) -> Result<(), Fault> {
    let Some(receiver) = &mut stage.receiver else {
        return Ok(());
    };
    let (mut quiet, mut buffer) = (0, F::buffer());
    while quiet < patience {
        let received = if cell.op.at_least_once() {
            F::peek(receiver, &mut buffer, &AtomicU64::new(0), Ending::Done)
        } else {
            F::try_recv(receiver, &mut buffer).map(|()| 0)
        };
        match (received, F::check(&buffer)) {
            (Ok(tries), Some(number)) => arrived.push(Arrived { number, tries }),
            (Ok(_), None) => return fault(Sort::Torn, "a record has other bytes than were sent"),
            (Err(Stop::Later | Stop::Gone(_)), _) => quiet += 1,
            (Err(other), _) => return Err(hung(format!("receiving beside: {other:?}"))),
        }
    }
    Ok(())
}
