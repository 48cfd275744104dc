//! Conservation: whatever went into a ring came out, is there, or is accounted for.
//!
//! Everything is counted in units (typed rings: messages; byte rings: the 8 or 64 bytes that a record is made of), and
//! from two sides:
//!
//! - *Positions and words.* They are what the protocol acts upon, so they are right whoever is killed, and
//!   whenever: from the first position to the end of the last claim everything was claimed, from the
//!   first to what is free everything is done, and the words between say what each record is.
//!   ```text
//!   claimed = received + in flight + dead letters + voided + open
//!   sent    = claimed - voided - open
//!   ```
//! - *Counts*, one a lease and side, written by its holder alone right after each step, and one for what was
//!   given up. Whoever is killed between a step and its count leaves that step uncounted. So where nobody was
//!   killed, the counts and the words agree; else a count may be short by one claim, or one record, for
//!   each handle that was killed. A count never exceeds what the words say.
//!
//! A single side has no counts of its own: its position is one.
//!
//! On a ring in use the numbers move while they are read. The counts are read before and after the words, and the words
//! must lie between.

use crate::geometry::Form;
use crate::layout::{LEASES, RECORD_HEADER};
use crate::lease::{Holder, Witness};
use crate::mpmc::{Record, help_free, record_at};
use crate::recover;
use crate::sync::{AcqRel, Acquire, Relaxed};
use crate::view::View;
use crate::words::{Age, Words, who};
use annulus_channel::Fault;
use std::fmt;
use std::thread;
use std::time::Duration;

/// How often a ring is looked at, before what does not add up is believed.
const LOOKS: u32 = 50;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// The balance of a ring: what went in, and where it is. In units: messages of a typed ring; of a byte ring the 8
/// (spsc) or 64 bytes that its records are made of, so that a record of `len` bytes counts `(len + 8) / unit`, rounded up.
///
/// `claimed = received + in_flight + dead_letters + voided + open` always, since these come from the ring's positions and
/// words; [`adds_up`](Self::adds_up) says whether the counts that each handle keeps agree with them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Audit {
    /// Bytes of a unit.
    pub unit: usize,
    /// Ever claimed by senders.
    pub claimed: u64,
    /// Committed.
    pub sent: u64,
    /// Received. With many receivers this includes what a receiver had just taken when it was killed.
    pub received: u64,
    /// Committed and not received: waiting, or held by a receiver.
    pub in_flight: u64,
    /// Of those in flight, what receivers hold.
    pub held: u64,
    /// Came back too often: there to be drained, or drained.
    pub dead_letters: u64,
    /// Of the dead letters, those drained.
    pub drained: u64,
    /// Given up: claims of the dead, aborted ones, unused ends, filling up to the ring's end (which in an spsc ring
    /// counts with the record after it).
    pub voided: u64,
    /// Claimed, and not yet committed or given up.
    pub open: u64,
    /// Committed, as the words have it, less what senders counted.
    pub uncounted_sent: u64,
    /// Received, as the words have it, less what receivers counted.
    pub uncounted_received: u64,
    /// What the killed may have left uncounted on each side, at most.
    pub allowance: u64,
    /// Handles that ever went without closing.
    pub killed: u64,
    /// What makes no sense at all; empty if all is well.
    pub problems: Vec<String>,
}

impl Audit {
    /// Whether the words make sense and the counts agree with them, but for what the killed may have left uncounted.
    pub fn adds_up(&self) -> bool {
        self.problems.is_empty()
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "claimed      {:>14}", self.claimed)?;
        writeln!(f, "  received   {:>14}", self.received)?;
        write!(f, "  in flight  {:>14}", self.in_flight)?;
        match self.held {
            0 => writeln!(f)?,
            held => writeln!(f, "   ({held} of them held by receivers)")?,
        }
        write!(f, "  dead letter{:>14}", self.dead_letters)?;
        match self.drained {
            0 => writeln!(f)?,
            drained => writeln!(f, "   ({drained} of them drained)")?,
        }
        writeln!(f, "  voided     {:>14}", self.voided)?;
        writeln!(f, "  open       {:>14}", self.open)?;
        writeln!(f, "sent         {:>14}", self.sent)?;
        if self.killed > 0 {
            writeln!(
                f,
                "{} handles were killed; uncounted: {} sent, {} received (at most {} may be)",
                self.killed, self.uncounted_sent, self.uncounted_received, self.allowance
            )?;
        }
        for problem in &self.problems {
            writeln!(f, "problem: {problem}")?;
        }
        let verdict = if self.adds_up() {
            "adds up"
        } else {
            "does not add up"
        };
        write!(f, "{verdict} (1 = {} bytes)", self.unit)
    }
}

/// A dead letter, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Where it lies: the units ever claimed before it.
    pub position: u64,
    /// How often it was taken and came back: what was dropped is counted up to 32, deaths up to 63.
    pub tries: u64,
    /// The units that it takes.
    pub units: u64,
    /// The receivers' word, which no other record and no other state ever has.
    word: u64,
}

/// The counts at one moment, or nearly.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Counts {
    sent: u64,
    received: u64,
    given_up: u64,
    drained: u64,
}

impl Counts {
    fn read(view: &View) -> Self {
        let sum = |count: fn(&crate::layout::Lease) -> u64| {
            let counts = (0..LEASES).map(|number| count(view.lease(number)));
            counts.fold(0u64, u64::wrapping_add)
        };
        Self {
            sent: sum(|lease| lease.sent.get()),
            received: sum(|lease| lease.received.get()),
            given_up: view.header().audit.given_up.get(),
            drained: view.header().audit.drained.get(),
        }
    }
}

/// What lies between the free position and the end of the last claim.
#[derive(Clone, Default, PartialEq, Eq)]
struct Walk {
    /// Where it began: everything before is done.
    freed: u64,
    /// The end of the last claim.
    frontier: u64,
    open: u64,
    /// Committed and nobody's.
    waiting: u64,
    held: u64,
    dead: u64,
    done: u64,
    /// Given up, passed over by the receivers, or not yet.
    passed: u64,
    void: u64,
    letters: Vec<DeadLetter>,
}

/// Why a walk was not to be had.
enum Stop {
    /// The ring went on under our feet.
    Moved,
    Corrupt(String),
}

fn walk(view: &View) -> Result<Walk, Stop> {
    let geometry = &view.geometry;
    let words = Words::new(geometry.units);
    // Acquire, both: pair with the Release that moved them; the words between are no older.
    let freed = view.freed().load(Acquire);
    let tail = view.header().tail.load(Acquire);
    let mut walk = Walk {
        freed,
        ..Walk::default()
    };
    if !geometry.sender_words && tail.wrapping_sub(freed) > view.room() {
        let room = view.room();
        let what = format!("tail {tail}, expected at most {room} beyond {freed}");
        return Err(Stop::Corrupt(what));
    }
    if !geometry.sender_words && !geometry.receiver_words {
        walk.frontier = tail;
        walk.waiting = tail.wrapping_sub(freed);
        return Ok(walk);
    }
    let mut position = freed;
    while position.wrapping_sub(freed) < geometry.units {
        let record = match record_at(view, words, position, tail) {
            Ok(Record::Lapped) => return Err(Stop::Moved),
            Ok(Record::Absent) => break,
            Ok(record) => record,
            Err(fault) => return Err(Stop::Corrupt(at(position, fault))),
        };
        position = position.wrapping_add(walk.count(view, words, position, record)?);
    }
    walk.frontier = position;
    Ok(walk)
}

fn at(position: u64, fault: Fault) -> String {
    format!("{fault}, at position {position}")
}

impl Walk {
    /// Counts the record at `position`, and tells its length.
    fn count(
        &mut self,
        view: &View,
        words: Words,
        position: u64,
        record: Record,
    ) -> Result<u64, Stop> {
        let state = if view.geometry.receiver_words {
            // Acquire: pairs with the Release of whoever wrote it.
            let word = view.receiver_word(position).load(Acquire);
            match words.age(word, position) {
                Age::Newer => return Err(Stop::Moved),
                Age::Older => None,
                Age::Current => Some((words.who(word), word)),
            }
        } else {
            None
        };
        let (place, units) = match (record, state) {
            (Record::Open { units, word }, None) => {
                let lease = words.who(word).wrapping_sub(who::OWNER);
                if lease >= LEASES as u64 {
                    return Err(Stop::Corrupt(format!(
                        "the claim at position {position} names lease {lease} of {LEASES}"
                    )));
                }
                (&mut self.open, units)
            }
            (Record::Void { units }, None) => (&mut self.void, units),
            (Record::Void { units }, Some((who::DONE, _))) => (&mut self.passed, units),
            (Record::Ready { units }, None | Some((who::AGAIN, _))) => (&mut self.waiting, units),
            (Record::Ready { units }, Some((who::DONE, _))) => (&mut self.done, units),
            (Record::Ready { units }, Some((who::DEAD, word))) => {
                self.letters.push(DeadLetter {
                    position,
                    tries: words.low(word),
                    units,
                    word,
                });
                (&mut self.dead, units)
            }
            (Record::Ready { units }, Some((owner, _)))
                if (who::OWNER..who::OWNER + LEASES as u64).contains(&owner) =>
            {
                (&mut self.held, units)
            }
            (Record::Absent | Record::Lapped, _) => return Err(Stop::Moved),
            (_, Some((state, _))) => {
                return Err(Stop::Corrupt(format!(
                    "receivers' state {state} at position {position} does not fit what senders say of it"
                )));
            }
        };
        *place += units;
        Ok(units)
    }
}

/// The handles that went without closing, and those that live.
fn handles(view: &View, witness: &Witness) -> (u64, u64) {
    let peers = &view.header().peers;
    let closes = peers.closes.get();
    // Relaxed: a count; read after the closes, so that the difference is not negative.
    let tickets = peers.tickets.load(Relaxed);
    let alive = |number: &usize| {
        // Acquire: pairs with the Release of whoever took the lease.
        let word = view.lease(*number).word.load(Acquire);
        Holder::of(word).is_some_and(|holder| witness.is_alive(*number, holder))
    };
    let alive = (0..LEASES).filter(alive).count() as u64;
    (tickets.saturating_sub(closes).saturating_sub(alive), alive)
}

/// One look at everything. `indulgent`: those who live may be just about to count, too.
fn look(view: &View, witness: &Witness, indulgent: bool) -> Result<Audit, Stop> {
    let geometry = &view.geometry;
    // Relaxed: written before anybody could attach.
    let start = view.header().cold.start.load(Relaxed);
    let earlier = Counts::read(view);
    let walk = walk(view)?;
    let later = Counts::read(view);
    let (killed, alive) = handles(view, witness);
    let claimed = walk.frontier.wrapping_sub(start);
    let freed = walk.freed.wrapping_sub(start);
    let in_doubt = killed + if indulgent { alive } else { 0 };
    let widest = view.header().audit.widest.get().clamp(1, geometry.units);
    let allowance = in_doubt.saturating_mul(widest);

    // Many senders count what they give up; a single one's filling is counted by whoever passes over it.
    let passed_void = if geometry.sender_words {
        later.given_up.saturating_sub(walk.void)
    } else {
        later.given_up
    };
    let voided = passed_void.saturating_add(walk.void);
    let uncounted_void = if geometry.sender_words {
        voided - later.given_up.min(voided)
    } else {
        0
    };
    let mut problems = vec![];
    // Numbers that go beyond what there can be are told by name, instead of wrapping.
    let mut less = |what: &str, from: u64, parts: &[u64]| {
        let parts = parts
            .iter()
            .fold(0u64, |sum, part| sum.saturating_add(*part));
        from.checked_sub(parts).unwrap_or_else(|| {
            problems.push(format!("{what}: {parts} of {from}"));
            0
        })
    };
    let sent = less(
        "given up and open, of the claimed",
        claimed,
        &[voided, walk.open],
    );
    let past = freed.saturating_add(walk.done + walk.passed);
    let drained = later.drained;
    let received = less(
        "given up and drained, of what is done",
        past,
        &[passed_void, drained],
    );
    // The words lie between the earlier counts and the later ones.
    let (mut uncounted_sent, mut uncounted_received) = (0, 0);
    let void_later = later.given_up.saturating_sub(earlier.given_up);
    let drained_later = drained.saturating_sub(earlier.drained);
    if geometry.sender_words {
        less(
            "counted by senders, of the sent",
            sent.saturating_add(void_later),
            &[earlier.sent],
        );
        uncounted_sent = sent.saturating_sub(later.sent);
    }
    if geometry.receiver_words {
        less(
            "counted by receivers, of the received",
            received
                .saturating_add(void_later)
                .saturating_add(drained_later),
            &[earlier.received],
        );
        uncounted_received = received.saturating_sub(later.received);
    }
    for (what, uncounted) in [
        ("sent", uncounted_sent),
        ("received", uncounted_received),
        ("given up", uncounted_void),
    ] {
        if uncounted > allowance {
            problems.push(format!(
                "{what}: {uncounted} more than anybody counted; the killed ({killed}) may have left {allowance} uncounted"
            ));
        }
    }
    Ok(Audit {
        unit: geometry.unit_size as usize,
        claimed,
        sent,
        received,
        in_flight: walk.waiting + walk.held,
        held: walk.held,
        dead_letters: walk.dead.saturating_add(drained),
        drained,
        voided,
        open: walk.open,
        uncounted_sent,
        uncounted_received,
        allowance,
        killed,
        problems,
    })
}

/// Draws the balance. What does not add up is looked at again for a tenth of a second, since others may be in the
/// middle of it.
pub(crate) fn audit(view: &View, witness: &Witness) -> Audit {
    if view.is_forked() {
        let what = "the ring was opened before this process was forked";
        return Audit::nonsense(view, what.to_owned());
    }
    let mut last = None;
    for attempt in 1..=LOOKS {
        match look(view, witness, attempt == LOOKS) {
            Ok(audit) if audit.adds_up() => return audit,
            Ok(audit) => last = Some(audit),
            Err(Stop::Moved) => {}
            Err(Stop::Corrupt(what)) => last = Some(Audit::nonsense(view, what)),
        }
        thread::sleep(PAUSE);
    }
    last.unwrap_or_else(|| Audit::nonsense(view, "the ring never stands still".to_owned()))
}

impl Audit {
    /// What can be said of words that make no sense.
    fn nonsense(view: &View, problem: String) -> Self {
        Self {
            unit: view.geometry.unit_size as usize,
            claimed: 0,
            sent: 0,
            received: 0,
            in_flight: 0,
            held: 0,
            dead_letters: 0,
            drained: 0,
            voided: 0,
            open: 0,
            uncounted_sent: 0,
            uncounted_received: 0,
            allowance: 0,
            killed: 0,
            problems: vec![problem],
        }
    }
}

/// The dead letters, oldest first.
pub(crate) fn dead_letters(view: &View) -> Vec<DeadLetter> {
    for _ in 0..LOOKS {
        match walk(view) {
            Ok(walk) => return walk.letters,
            Err(Stop::Corrupt(_)) => break,
            Err(Stop::Moved) => thread::sleep(PAUSE),
        }
    }
    vec![]
}

/// The bytes of a dead letter, unless it is one no more.
pub(crate) fn read_dead(view: &View, letter: &DeadLetter) -> Option<Vec<u8>> {
    let geometry = &view.geometry;
    let at = view.offset(letter.position);
    let there = letter.units.min(geometry.units) * geometry.unit_size;
    let (from, len) = match geometry.form {
        Form::Typed => (at, geometry.type_size as usize),
        Form::Bytes => {
            // SAFETY: a unit's first word, within the payload.
            let len = unsafe { view.payload.load_word(at) };
            if len > there - RECORD_HEADER as u64 {
                return None;
            }
            (at + RECORD_HEADER, len as usize)
        }
    };
    let mut bytes = vec![0; len];
    // SAFETY: within the units of a record, which does not cross the ring's end. Should it be drained and overwritten meanwhile, the
    // copy is thrown away below.
    unsafe { view.payload.read_shared(from, bytes.as_mut_ptr(), len) };
    // A read-modify-write sees the newest word; AcqRel: what was copied is not younger.
    let word = view.receiver_word(letter.position).fetch_or(0, AcqRel);
    (word == letter.word).then_some(bytes)
}

/// Makes a dead letter done, if nobody else has.
pub(crate) fn discard_dead(view: &View, letter: &DeadLetter) -> bool {
    let words = Words::new(view.geometry.units);
    let done = words.word(letter.position, letter.units, who::DONE);
    let cell = view.receiver_word(letter.position);
    // AcqRel: as in `mpmc::Rx::confirm`. Failure: somebody else was first.
    let discarded = cell
        .compare_exchange(letter.word, done, AcqRel, Relaxed)
        .is_ok();
    if discarded {
        view.header().audit.drained.add(letter.units);
        help_free(view);
        recover::ring_both(view);
    }
    discarded
}
