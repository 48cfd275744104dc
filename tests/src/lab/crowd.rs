//! A death after every instruction, on a ring that others use all the time: while the victim is single-stepped, handles of
//! both sides, as far as there are more, send and receive on the other processor.
//!
//! The victim's way is another each time, so none can be recorded: it is walked to step k, each k up to as many steps as it takes alone,
//! and one in eight beyond that, others with another seed. When half of the victims came to
//! their end before k, that has been far enough; or when it is four times as many steps as alone, since beside others who are
//! always first it would go round and round. Between two of its instructions the others do much or little, and one side more than the
//! other, as the dice say: so the ring is now full, now empty, and what the victim has read is now out of date
//! and now not.
//!
//! When the victim is dead the others must pass two laps, alone or with a newcomer on the dead side, within a second; then they
//! end, survivors take out what is left, and the logs that everybody kept are compared (`judge`). After that
//! it is a ring like any other: it goes round twice, no lease of a dead one is left, and the audit adds up.

mod book;
mod hands;
mod judge;

use super::cell::{Cell, Fill, FormName, Op, Side, Start};
use super::clock::Limit;
use super::form::Form;
use super::kill::{Choice, Report, record};
use super::row::Row;
use super::stage::{LOOKS, Stage, said};
use super::step::Victim;
use super::storm::Dice;
use super::survive::{Fault, HANG, Manner, Sort, Survivors, fault, hung};
use super::watch::Watch;
use annulus::{Protocol, RingOptions};
use book::Book;
use hands::{Crowd, FIRST_NAME, Group, Hand};
use judge::{Fate, LAST, Logged};
use std::fmt;
use std::time::Duration;

/// Of so many victims in a row half come to their end before there are no more steps worth trying.
const LAST_FEW: u32 = u32::BITS;

/// Of so many steps beyond those that the victim takes alone one is tried.
const SPARSE: usize = 8;

/// The log of the newcomer on the victim's side; and of the sender after all others.
const NEWCOMER: usize = 4;
const FENCE: usize = 5;

/// Looks in vain after which a ring seems empty.
const ENOUGH: usize = 3;

/// Between two looks at what the others have done.
const PAUSE: Duration = Duration::from_micros(20);

/// How much senders and receivers do while the victim executes 256 instructions. Where receivers are quick, a victim that
/// receives is never first.
const PACES: [(u64, u64); 8] = [
    (1, 1),
    (8, 1),
    (8, 4),
    (32, 32),
    (256, 32),
    (1024, 128),
    (128, 1024),
    (1 << 14, 1 << 14),
];

/// How much senders and receivers do before: so the ring is empty, half full, full, or was full.
const HEADS: [(u64, u64); 4] = [(0, 0), (4, 0), (32, 0), (32, 4)];

/// One choice of everything. The ring's state is for the crowd to make.
#[derive(Clone, Copy, Debug)]
pub struct CrowdCell(pub Cell);

impl CrowdCell {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let chosen = |cell: &Cell| {
            let state = (cell.fill, cell.start) == (Fill::Half, Start::Zero);
            let twice = cell.op == Op::SendTwice;
            cell.op.is_message() && !twice && state && cell.form != FormName::Short
        };
        Cell::all().into_iter().filter(chosen).map(Self).collect()
    }

    /// Its line in the table, empty.
    pub fn row(&self) -> Row {
        Row::new(&self.0.kind.to_string(), &self.scenario())
    }

    fn scenario(&self) -> String {
        format!("crowd {}", self.0.scenario())
    }
}

impl fmt::Display for CrowdCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.kind, self.scenario())
    }
}

/// What a trial has shown.
struct Shown {
    /// Instructions that the victim executed.
    steps: usize,
    /// Whether it came to its end.
    ended: bool,
    fate: Fate,
}

/// One trial.
struct Trial<'a, F: Form, K: Protocol> {
    cell: Cell,
    book: &'a Book,
    stage: Stage<F, K>,
    dice: Dice,
}

impl<'a, F: Form, K: Protocol> Trial<'a, F, K> {
    fn set(cell: &Cell, book: &'a Book, seed: u64) -> Result<Self, Fault> {
        let mut dice = Dice::new(seed);
        let starts = [Start::Zero, Start::Index, Start::Lap, Start::Position];
        let start = starts[dice.below(4) as usize];
        let mut options = RingOptions::new();
        options.capacity(F::capacity(K::KIND)).order(cell.order);
        options.start_at(start.position(cell.units()));
        let ring = options.memfd().map_err(|error| hung(said(error)))?;
        book.begin();
        Ok(Self {
            cell: Cell { start, ..*cell },
            book,
            stage: Stage::bare(ring),
            dice,
        })
    }

    /// Whether receivers look and release, so that they see what comes back.
    fn acks(&self) -> bool {
        self.cell.op.at_least_once()
    }

    /// Everybody but the victim.
    fn crowd(&mut self) -> Result<Crowd, Fault> {
        let pace = PACES[self.dice.below(PACES.len() as u64) as usize];
        let head = HEADS[self.dice.below(HEADS.len() as u64) as usize];
        let sides = [
            (Side::Sender, K::KIND.many_senders(), 0, head.0, pace.0),
            (Side::Receiver, K::KIND.many_receivers(), 2, head.1, pace.1),
        ];
        let groups: Vec<_> = sides
            .into_iter()
            .filter(|&(side, many, ..)| many || side != self.cell.op.side())
            .map(|(side, many, first, head, pace)| Group {
                side,
                first,
                count: 1 + usize::from(many),
                head,
                pace,
            })
            .collect();
        Crowd::start::<F, K>(
            &self.stage.ring,
            self.book,
            &groups,
            self.acks(),
            &mut self.dice,
        )
    }

    /// Walks the victim, and kills it.
    fn kill(&mut self, crowd: &mut Crowd, step: usize) -> Result<(usize, bool), Fault> {
        let victim = self.stage.victim(self.cell.op);
        let mut victim: Victim = victim.map_err(|error| hung(said(error)))?;
        let (mut steps, mut ended) = (0, false);
        while steps < step && !ended {
            ended = !victim.tick().map_err(|error| hung(said(error)))?;
            steps += 1;
            self.book.tick();
        }
        victim.kill();
        crowd.check()?;
        Ok((steps, ended))
    }

    /// The others pass two laps, and are told to end; with a newcomer if nobody else is on the dead one's side, or if it comes to that.
    fn go_on(&mut self, crowd: &mut Crowd) -> Result<(), Fault> {
        let side = self.cell.op.side();
        let many = match side {
            Side::Sender => K::KIND.many_senders(),
            Side::Receiver => K::KIND.many_receivers(),
        };
        let (ring, acks) = (&self.stage.ring, self.acks());
        let come = || Hand::<F, K>::come(ring, self.book, (side, NEWCOMER), acks);
        let mut newcomer = (!many || self.dice.below(2) == 0).then(come).transpose();
        let newcomer = newcomer
            .as_mut()
            .map_err(|why| hung(format!("no successor can come: {why}")))?;
        let begun = self.book.totals();
        let goal = begun.map(|total| total + F::two_laps(K::KIND));
        self.book.set_free();
        let limit = crowd.limit();
        loop {
            let done = self.book.totals();
            if done[0] >= goal[0] && done[1] >= goal[1] {
                // Before the newcomer closes: to who is alone with it that is the end.
                self.book.stop();
                return Ok(());
            }
            crowd.check()?;
            if limit.is_over() {
                let [sent, received] = [done[0] - begun[0], done[1] - begun[1]];
                return Err(hung(format!(
                    "those beside a dead one sent {sent} and received {received} records in a second, of {}",
                    F::two_laps(K::KIND)
                )));
            }
            let acted = match newcomer {
                Some(hand) if self.book.has_room(hand.log()) => hand.act(&mut self.dice),
                _ => Ok(false),
            };
            match acted {
                Ok(true) => {}
                Ok(false) => std::thread::sleep(PAUSE),
                Err(why) => return fault(Sort::Torn, format!("a newcomer: {why:?}")),
            }
        }
    }

    /// Takes out what is left, up to something sent behind it, and whatever comes back.
    fn take_all(&mut self) -> Result<(), Fault> {
        let (ring, acks) = (&self.stage.ring, self.acks());
        let come = |side, number| {
            let hand = Hand::<F, K>::come(ring, self.book, (side, number), acks);
            hand.map_err(|why| hung(format!("no survivor can come: {why}")))
        };
        let mut sender = come(Side::Sender, FENCE)?;
        let mut receiver = come(Side::Receiver, LAST)?;
        let mut act = |hand: &mut Hand<'_, F, K>| {
            let done = hand.act(&mut self.dice);
            done.or_else(|why| fault(Sort::Torn, format!("a survivor: {why:?}")))
        };
        // In vain so often that whoever is in the way was looked at.
        let patience = if acks { 2 * LOOKS + 2 } else { ENOUGH };
        let (limit, mut quiet) = (Limit::new(HANG), 0);
        loop {
            let fenced = sender.log().sent() > 0;
            if !fenced {
                act(&mut sender)?;
            }
            quiet = if act(&mut receiver)? { 0 } else { quiet + 1 };
            if fenced && (quiet == ENOUGH || quiet > 0 && quiet.is_multiple_of(patience)) {
                let missing = Logged::read(self.book).missing();
                let is_fence = |number: &u64| number >> 32 == FIRST_NAME + FENCE as u64;
                if missing.is_empty() || quiet >= patience && !missing.iter().any(is_fence) {
                    return Ok(());
                }
            }
            if limit.is_over() {
                let what = if fenced { "receive" } else { "send" };
                return Err(hung(format!(
                    "a survivor could not {what} its record within a second"
                )));
            }
        }
    }

    /// Takes out what is left, and compares.
    fn settle(&mut self, step: usize) -> Result<Fate, Fault> {
        self.take_all()?;
        let logged = Logged::read(self.book);
        let fate = logged.judge(&self.cell, self.book, &self.stage)?;
        let audit = self.stage.ring.audit();
        let sent = logged.sent() + fate.visible as u64;
        // What the victim gave up and could not count any more seems sent, and received.
        let most = sent + audit.allowance;
        let agrees = (sent..=most).contains(&audit.sent) && audit.received == audit.sent;
        if self.cell.form == FormName::Typed && !agrees {
            let text = format!("{sent} records went through the ring, the audit says: {audit}");
            return fault(Sort::Lost, text);
        }
        let mut survivors = Survivors::come(&mut self.stage, &self.cell, Manner::Newcomer)?;
        survivors.go_round(step.is_multiple_of(8))?;
        survivors.settle()?;
        Ok(fate)
    }

    fn run(&mut self, step: usize) -> Result<Shown, Fault> {
        let mut crowd = self.crowd()?;
        let (steps, ended) = self.kill(&mut crowd, step)?;
        self.go_on(&mut crowd)?;
        crowd.join()?;
        let fate = self.settle(step)?;
        Ok(Shown { steps, ended, fate })
    }
}

/// Kills a victim after each chosen step, in a crowd.
pub fn kill<F: Form, K: Protocol>(
    CrowdCell(cell): &CrowdCell,
    choice: Choice,
    seed: u64,
    watch: &Watch,
) -> Report {
    let mut report = Report::new(CrowdCell(*cell).row());
    let place = format!("{}", CrowdCell(*cell));
    // The steps of one that has the ring for itself.
    let alone = match record::<F, K>(cell) {
        Ok(trace) => trace.len(),
        Err(fault) => {
            report.blame(&format!("{place}, while it was recorded"), &fault);
            return report;
        }
    };
    let steps = match choice {
        Choice::All => {
            let beyond = (alone + 1..=4 * alone).skip(seed as usize % SPARSE);
            (0..=alone).chain(beyond.step_by(SPARSE)).collect()
        }
        Choice::Spread(..) => choice.of(alone * 5 / 4),
    };
    let book = Book::default();
    // A bit for each of the last few: whether it came to its end.
    let mut ends: u32 = 0;
    for step in steps {
        watch.at(step as u64);
        let seed = seed << 32 | step as u64;
        let shown = Trial::<F, K>::set(cell, &book, seed).and_then(|mut trial| trial.run(step));
        report.row.kills += 1;
        match shown {
            Ok(shown) => {
                report.steps = report.steps.max(shown.steps);
                report.row.own += shown.fate.own as u64;
                ends = ends << 1 | u32::from(shown.ended);
            }
            Err(fault) => report.blame(&format!("{place}: killed after step {step}"), &fault),
        }
        if report.is_enough()
            || matches!(choice, Choice::All) && step > alone && ends.count_ones() > LAST_FEW / 2
        {
            break;
        }
    }
    report
}
