//! What is after the kill: survivors send two laps more, and receive, and what came is compared with what was sent.
//!
//! Where the victim was the only one of its side, a new process takes its place. Before they go on survivors may make the
//! call that the queue's documentation offers them, and end before it those that it wants gone.

use crate::command::{Command, When};
use crate::ledger::{DONE, Ledger, NOTHING};
use crate::message::TORN;
use crate::outcome::Outcome;
use crate::peer::{CAPACITY, Side};
use crate::stage::{Fault, LAST, Stage};
use crate::survivor::{LIMIT, Survivor};
use annulus_tests::lab::step::Victim;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering::SeqCst;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The first number of what survivors send.
const AFTER: u64 = 3000;

/// How much they send: two laps.
const LATER: u64 = 2 * CAPACITY;

/// How many of these come first, and are waited for.
const HALF: u64 = CAPACITY / 2;

/// For how long nothing comes before what is missing is lost.
const QUIET: Duration = Duration::from_millis(200);

/// For how long one looks for what is too much.
const LITTLE: Duration = Duration::from_millis(2);

/// Kills the victim where it stands, lets the others go on, and judges.
///
/// # Errors
///
/// A fault of the harness.
pub fn judge(stage: Stage, victim: Victim) -> Result<Outcome, Fault> {
    victim.kill();
    let mut after = Aftermath::new(stage);
    if !after.recover()? {
        return Ok(Outcome {
            stuck: 1,
            ..Outcome::default()
        });
    }
    let course = after.go_on()?;
    Ok(after.compare(&course))
}

/// Everybody after the kill.
struct Aftermath<'a> {
    stage: Stage<'a>,
    /// Messages that ought to come.
    expected: Vec<u64>,
    /// So many of them may have gone with the victim.
    own: u64,
    /// The victim's last send was refused.
    refused: bool,
}

/// How it went on.
struct Course {
    /// The sender has sent all.
    sends: bool,
    /// The receiver has answered.
    receives: bool,
    /// So many sends have returned.
    sent: u64,
    /// What had come when half a lap was sent, if it came so far.
    half: Option<Vec<u64>>,
    /// How much it takes with nobody receiving, if that was tried.
    room: Option<u64>,
}

impl<'a> Aftermath<'a> {
    fn new(mut stage: Stage<'a>) -> Self {
        let mut expected = std::mem::take(&mut stage.committed);
        let result = stage.ledger.result.load(SeqCst);
        let mut own = 0;
        match stage.scenario.side {
            Side::Sender if result == DONE => expected.push(LAST),
            Side::Receiver if !stage.scenario.peer.broadcast => {
                let mut taken = stage.ledger.victim.numbers();
                match result {
                    0 => own = 1,
                    NOTHING => {}
                    number => taken.push(number - DONE),
                }
                expected.retain(|number| !taken.contains(number));
            }
            _ => {}
        }
        let refused = stage.scenario.side == Side::Sender && result == NOTHING;
        Self {
            stage,
            expected,
            own,
            refused,
        }
    }

    /// Sees to it that there is somebody on either side, and makes the queue's own call if that is asked for. False if
    /// that does not work.
    fn recover(&mut self) -> Result<bool, Fault> {
        let stage = &mut self.stage;
        let (peer, side) = (&stage.scenario.peer, stage.scenario.side);
        let recovery = peer.recovery(side).filter(|_| stage.scenario.recover);
        let alone = recovery.is_some_and(|recovery| recovery.alone);
        let (mine, others) = match side {
            Side::Sender => (&mut stage.senders, &stage.receivers),
            Side::Receiver => (&mut stage.receivers, &stage.senders),
        };
        if alone && !mine.drain(..).all(Survivor::end) {
            return Ok(false);
        }
        if mine.is_empty() {
            let survivor = Survivor::fork(peer, stage.place, stage.ledger, side)?;
            if !survivor.ask(Command::Open { create: false }, LIMIT) {
                return Ok(false);
            }
            mine.push(survivor);
        }
        let others = others.iter().filter(|_| !alone);
        let mut all = mine.iter().chain(others);
        Ok(recovery.is_none() || all.all(|survivor| survivor.ask(Command::Recover, LIMIT)))
    }

    /// Lets them send and receive: half a lap first, to see whether it comes before there is more.
    fn go_on(&self) -> Result<Course, Fault> {
        let ledger = self.stage.ledger;
        let (sender, receiver) = (&self.stage.senders[0], &self.stage.receivers[0]);
        let before = ledger.sent.load(SeqCst);
        let mut course = Course {
            sends: true,
            receives: true,
            sent: 0,
            half: None,
            room: None,
        };
        let mut expected = self.expected.clone();
        for (first, count) in [(AFTER, HALF), (AFTER + HALF, LATER - HALF)] {
            ledger.settled.store(false, SeqCst);
            receiver.tell(Command::Drain)?;
            let when = When::Now;
            course.sends = sender.ask(Command::Send { first, count, when }, LIMIT);
            expected.extend(first..first + count);
            settle(ledger, &expected, self.own);
            ledger.settled.store(true, SeqCst);
            course.receives = receiver.answer(LIMIT / 2) == Some(true);
            course.sent = ledger.sent.load(SeqCst) - before;
            if !course.sends || !course.receives {
                return Ok(course);
            }
            course
                .half
                .get_or_insert_with(|| ledger.survivors.numbers());
        }
        if self.stage.scenario.peer.refuses {
            let first = AFTER + LATER;
            course.sends = sender.ask(Command::TopUp { first }, LIMIT);
            course.room = course.sends.then(|| ledger.room.load(SeqCst));
        }
        Ok(course)
    }

    /// Compares what came with what was sent.
    fn compare(&self, course: &Course) -> Outcome {
        let mut counts = HashMap::new();
        for number in self.stage.ledger.survivors.numbers() {
            *counts.entry(number).or_insert(0u64) += 1;
        }
        let came = |number: &u64| counts.contains_key(number);
        let sent = AFTER..AFTER + course.sent;
        let mut last_lap = sent.clone().rev().take(CAPACITY as usize);
        let receives = course.receives && (sent.is_empty() || last_lap.any(|number| came(&number)));
        let mut outcome = Outcome {
            stuck: u64::from(!course.sends || !receives),
            ..Outcome::default()
        };
        if let Some(room) = course.room {
            outcome.room = CAPACITY.saturating_sub(room);
        }
        if receives {
            let lost = self.expected.iter().filter(|number| !came(number));
            let lost = lost.count() as u64;
            outcome.own = lost.min(self.own);
            outcome.lost = lost - outcome.own;
            outcome.later = sent.clone().filter(|number| !came(number)).count() as u64;
        }
        if let Some(half) = &course.half {
            let late = |number: &u64| came(number) && !half.contains(number);
            outcome.held = (AFTER..AFTER + HALF).filter(late).count() as u64;
        }
        for (&number, &count) in &counts {
            // What its sender was about to commit may have come, once; what was refused may not.
            let wrong = number == TORN || number == LAST && self.refused || number >= AFTER + LATER;
            let once = number >= LAST || self.expected.contains(&number);
            if wrong {
                outcome.torn += count;
            } else {
                outcome.duplicated += count - u64::from(once);
            }
        }
        outcome
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
