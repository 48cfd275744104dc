//! What came of a storm: the comparison of what was sent with what arrived, and the pulse.

use super::act::Delivery;
use super::form::BLIND;
use super::ledger::{Fate, Ledger};
use super::{Plan, payload::Stamp};
use crate::lab::row::Row;
use annulus::Audit;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// How long nobody may receive anything.
const SECOND: Duration = Duration::from_secs(1);

/// How long nothing may go on before the storm is given up.
const GONE: Duration = Duration::from_secs(20);

/// The progress of all actors together.
///
/// The time without any is measured between the first look that saw a count and the last that saw the same, so it is
/// never made longer by a watcher that is kept waiting itself.
#[derive(Debug)]
pub struct Pulse {
    last: u64,
    since: Instant,
    /// The longest time without progress.
    pub longest: Duration,
    /// How often that was longer than a second.
    pub hung: u64,
    counted: bool,
}

impl Pulse {
    /// Begins to watch.
    pub fn new() -> Self {
        Self {
            last: 0,
            since: Instant::now(),
            longest: Duration::ZERO,
            hung: 0,
            counted: false,
        }
    }

    /// Looks at the progress so far.
    pub fn feel(&mut self, progress: u64) {
        if progress != self.last {
            self.last = progress;
            self.since = Instant::now();
            self.counted = false;
            return;
        }
        let gap = self.since.elapsed();
        self.longest = self.longest.max(gap);
        if gap > SECOND && !self.counted {
            self.counted = true;
            self.hung += 1;
        }
    }

    /// Whether nothing goes on any more.
    pub fn is_gone(&self) -> bool {
        self.counted && self.since.elapsed() > GONE
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Self::new()
    }
}

/// What came of a storm.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    kind: String,
    scenario: String,
    /// Processes killed.
    pub kills: u64,
    /// The lives of receivers that were killed.
    pub killed_receivers: Vec<usize>,
    /// Committed records.
    pub committed: u64,
    /// Records that were begun, and not committed when their sender was killed; and how many of these arrived.
    pub uncertain: (u64, u64),
    /// Records that arrived again, as is promised.
    pub repeats: u64,
    /// Dead letters that were taken out, by their numbers.
    pub letters: HashSet<u64>,
    /// Committed records that never came, without those that dead receivers had taken.
    pub lost: u64,
    /// Records that at-most-once receivers had taken when they were killed.
    pub own: u64,
    /// Arrivals too many.
    pub duplicated: u64,
    /// Arrivals of what nobody sent.
    pub torn: u64,
    /// Records that came out of the order of their sender.
    pub disordered: u64,
    /// Seconds in which nobody received anything.
    pub hung: u64,
    /// The longest time without progress.
    pub longest: Duration,
    /// How long the storm took.
    pub time: Duration,
    /// Claims made void and records returned, as the ring counts them.
    pub repairs: (u64, u64),
    /// The ring's own balance after the end.
    pub audit: Option<Audit>,
    /// What else was not as it should be.
    pub faults: Vec<String>,
}

impl Outcome {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            kind: plan.kind.to_string(),
            scenario: plan.name(),
            ..Self::default()
        }
    }

    /// Notes something that was not as it should be.
    pub(super) fn fault(&mut self, what: String) {
        self.faults.push(what);
    }

    /// The same as a row, in which what else went wrong counts as hung.
    pub fn row(&self) -> Row {
        Row {
            kind: self.kind.clone(),
            scenario: self.scenario.clone(),
            kills: self.kills,
            lost: self.lost,
            duplicated: self.duplicated,
            torn: self.torn + self.disordered,
            hung: self.hung + self.faults.len() as u64,
            own: self.own,
        }
    }

    /// The rest of what is known, in one line.
    pub fn remarks(&self) -> String {
        let seconds = self.time.as_secs_f64();
        format!(
            "{} own, {:.0} kills/s, {} committed, {} uncertain of which {} came, {} repeats, {} dead letters, \
             {} voided, {} returned, longest gap {} ms",
            self.own,
            self.kills as f64 / seconds,
            self.committed,
            self.uncertain.0,
            self.uncertain.1,
            self.repeats,
            self.letters.len(),
            self.repairs.0,
            self.repairs.1,
            self.longest.as_millis()
        )
    }
}

/// Compares what was sent with what arrived.
pub fn compare(plan: &Plan, ledger: &Ledger, lives: usize, outcome: &mut Outcome) {
    let counts = ledger.counts();
    // Relaxed, all: everybody who wrote has ended.
    outcome.torn += counts.torn.load(Relaxed);
    outcome.disordered += counts.disordered.load(Relaxed);
    let early = counts.ended_early.load(Relaxed);
    if early > 0 {
        outcome.fault(format!(
            "{early} receivers were told of an end in the storm"
        ));
    }
    let at_least_once = plan.delivery != Delivery::AtMostOnce;
    if at_least_once && plan.marks_repeats() {
        outcome.duplicated += counts.unmarked.load(Relaxed);
    }
    let mut excused = excuses(ledger, lives, outcome);
    let mut missing = vec![];
    for message in 0..counts.drawn.load(Relaxed) {
        // Who held it may have noted it, been killed, and so made it a dead letter.
        let letter = outcome.letters.contains(&message);
        let came = u64::from(ledger.arrivals(message)) + u64::from(letter);
        match ledger.fate(message) {
            // Nobody ever sent it.
            None | Some(Fate::GivenUp) => outcome.torn += came,
            Some(Fate::Began) => {
                outcome.uncertain.0 += 1;
                outcome.uncertain.1 += came.min(1);
            }
            Some(Fate::Committed) => {
                outcome.committed += 1;
                if came == 0 {
                    missing.push(message);
                }
            }
        }
        for _ in 1..came {
            match excused.get_mut(&message).filter(|left| **left > 0) {
                Some(left) if at_least_once => {
                    *left -= 1;
                    outcome.repeats += 1;
                }
                _ => outcome.duplicated += 1,
            }
        }
    }
    balance(plan, outcome);
    if at_least_once {
        outcome.lost += missing.len() as u64;
    } else {
        taken(plan, ledger, &missing, outcome);
    }
    if !missing.is_empty() && outcome.lost > 0 {
        outcome.fault(format!("missing: {:?}", &missing[..missing.len().min(20)]));
    }
}

/// Compares the ring's own balance with the ledger. After the end nothing is left in the ring; and where a unit is a
/// message, as many were sent as were committed, and perhaps what was begun by those who were killed.
fn balance(plan: &Plan, outcome: &mut Outcome) {
    let Some(audit) = outcome.audit.take() else {
        return;
    };
    // Only the drained are left of dead letters.
    let left = audit.in_flight + audit.open + (audit.dead_letters - audit.drained);
    let least = outcome.committed;
    let most = least + outcome.uncertain.0;
    let letters = outcome.letters.len() as u64;
    let agrees = (least..=most).contains(&audit.sent) && audit.drained == letters;
    if left > 0 || plan.typed && !agrees {
        outcome.fault(format!(
            "{least} to {most} were sent and {letters} dead letters drained, the ring says:\n{audit}"
        ));
    }
    outcome.audit = Some(audit);
}

/// How often each message was held by a receiver that was killed.
fn excuses(ledger: &Ledger, lives: usize, outcome: &Outcome) -> HashMap<u64, u64> {
    let mut excuses = HashMap::new();
    for &life in outcome
        .killed_receivers
        .iter()
        .filter(|&&life| life < lives)
    {
        if let Some(message) = ledger.life(life).holding.load(Relaxed).checked_sub(1) {
            *excuses.entry(message).or_default() += 1;
        }
    }
    excuses
}

/// Of what is missing after at-most-once receivers were killed: what they had taken, and what is lost.
fn taken(plan: &Plan, ledger: &Ledger, missing: &[u64], outcome: &mut Outcome) {
    let all = missing.len() as u64;
    if !plan.typed {
        // Nobody can say what a dead receiver of byte records had; but not more than one.
        outcome.own = all.min(outcome.killed_receivers.len() as u64);
        outcome.lost += all - outcome.own;
        return;
    }
    let mut landed = HashSet::new();
    let mut blind = 0;
    for &life in &outcome.killed_receivers {
        let words = ledger
            .life(life)
            .landing
            .each_ref()
            .map(|word| word.load(Relaxed));
        // Torn if it was killed in the middle of the copy, and then it had not taken it.
        if let Some(stamp) = Stamp::of_words(&words) {
            landed.insert(stamp.message);
        }
        blind += u64::from(words == BLIND);
    }
    for message in missing {
        if landed.contains(message) {
            outcome.own += 1;
        } else if blind > 0 {
            blind -= 1;
            outcome.own += 1;
        } else {
            outcome.lost += 1;
        }
    }
}
