//! Many senders, many receivers; and with a word array less, many on one side only.
//!
//! Each cell has a control word **per side**, in arrays of their own, so that senders and receivers
//! never write the same line (`words::Words` says what is in a word):
//!
//! ```text
//! senders' word     older lap -> BUSY(owner) -> READY | VOID
//! receivers' word   older lap -> TAKEN(owner) -> DONE | AGAIN | DEAD;   AGAIN -> TAKEN;   older, AGAIN, DEAD -> DONE
//! ```
//!
//! *Claim.* Records begin where the record before ends, so everybody derives the same places. A
//! sender walks from a hint over the words of the current lap, and claims the first word of an older lap
//! with **one** compare-and-swap that carries its name. No instant exists at which a claim has no
//! owner. *Commit* is one Release store. A batch is one claim: the words of its later records are
//! written first, and the commit of the first word shows them all.
//!
//! *Take.* A receiver walks in the same way to the first record that nobody has. At most once, it
//! copies the record out and then swaps its word to DONE; if that fails it throws the copy away,
//! which is why the payload is copied by words, as relaxed atomics are. At least once, it swaps to TAKEN with its name
//! first, works, and then stores DONE. What comes back is AGAIN; after too many tries it is DEAD, and only who drains
//! dead letters takes it.
//!
//! *Free.* `free` is the position up to which all records are done. Anybody moves it on, over words
//! that say DONE. Only `free` is authoritative; `tail` and `head` are hints, checked before use, whose loss
//! costs a walk.
//!
//! A ring with one sender has no senders' words: its `tail` is exact, as in `spsc`. A ring with one
//! receiver has no receivers' words (unless the order is per sender): its `head` is exact.
//!
//! # Proof
//!
//! 1. *One claim a place.* No word recurs (`words::Words`), so of all swaps from the same older word one
//!    wins. A place is derived from words of the current lap only, and these do not change their
//!    length once another record can lie behind them.
//! 2. *No cell is written while it is in use.* A claim ends below `freed + room`. `free` passes a record
//!    only over DONE, read with Acquire, which was written with Release after the copy was made; `free` is
//!    moved with Release and read with Acquire by the claimer. So every copy that counts is over. A copy
//!    that does not count loses its swap, because the word is DONE by then, or newer.
//! 3. *One receiver a record.* Of all swaps from the same receivers' word one wins.
//! 4. *No torn record.* READY is stored with Release after the payload and read with Acquire before it.
//!    What is overwritten during the copy is freed, so DONE, so the swap fails.
//! 5. *Nothing is stuck on the dead.* A word that bars the way names its owner; see `recover`.
//!
//! Walks are at most one ring long; whoever walks longer has met words that make no sense.
//!
//! The hints are AtomicQueue's and Vyukov's counters turned into hints; the owner in the cell is
//! iceoryx2's `RobustUniqueIndexSet` applied to a queue.

mod rx;
mod tx;

use crate::geometry::{Form, MOST_TRIES};
use crate::layout::PAD;
use crate::sync::{AcqRel, Acquire, Relaxed, Release, scaled};
use crate::view::View;
use crate::words::{Age, Words, who};
use annulus_channel::Fault;
use std::ops::Range;

pub(crate) use rx::Rx;
pub(crate) use tx::Tx;

/// A ring of this kind.
pub type Ring<T> = crate::Ring<T, crate::Mpmc>;
/// One of its senders.
pub type Sender<T> = crate::Sender<T, crate::Mpmc>;
/// One of its receivers.
pub type Receiver<T> = crate::Receiver<T, crate::Mpmc>;

/// The greatest number of tries that a word holds.
const MAX_TRIES: u64 = scaled(63, 1) as u64;

/// What lies at a position, as the sending side left it.
pub(crate) enum Record {
    /// Nothing yet.
    Absent,
    /// A claim that is not committed. `word` is the senders' word.
    Open { units: u64, word: u64 },
    /// A committed record.
    Ready { units: u64 },
    /// A claim that was given up, or filling up to the ring's end.
    Void { units: u64 },
    /// The position is of an earlier lap: the record was freed, and its place reused.
    Lapped,
}

/// Reads what lies at `position`. `tail` is our copy of the single sender's tail, if there is one.
#[inline]
pub(crate) fn record_at(
    view: &View,
    words: Words,
    position: u64,
    tail: u64,
) -> Result<Record, Fault> {
    if view.geometry.sender_words {
        // Acquire: pairs with the Release in `Tx::commit` (the payload is visible) and in `Tx::claim` (so
        // is the owner's lease, and the `free` that made room for a newer lap).
        let word = view.sender_word(position).load(Acquire);
        match words.age(word, position) {
            Age::Older => return Ok(Record::Absent),
            Age::Newer => return Ok(Record::Lapped),
            Age::Current => {}
        }
        let units = words.low(word);
        let to_end = view.units_left(position);
        let most = match view.geometry.form {
            Form::Typed => words.max_low(),
            Form::Bytes => to_end,
        };
        if units == 0 || units > most {
            return Err(corrupt("cells of a record", units, most));
        }
        return match words.who(word) {
            who::VOID => Ok(Record::Void { units }),
            who::READY if units > 1 && view.geometry.form == Form::Typed => {
                Err(corrupt("cells of a record", units, 1))
            }
            who::READY => Ok(Record::Ready { units }),
            owner if owner < who::OWNER => Err(corrupt("senders' word", word, who::OWNER)),
            _ => Ok(Record::Open { units, word }),
        };
    }
    if !before(position, tail) {
        return Ok(Record::Absent);
    }
    if view.geometry.form == Form::Typed {
        return Ok(Record::Ready { units: 1 });
    }
    // SAFETY: a unit's first word, within the payload.
    let header = unsafe { view.payload.load_word(view.record_offset(position)) };
    let there = tail.wrapping_sub(position);
    let to_end = view.units_left(position);
    if header == PAD | to_end && to_end < there {
        return Ok(Record::Void { units: to_end });
    }
    match view.record_units(header & !PAD) {
        Some(units) if header & PAD == 0 && units <= there.min(to_end) => {
            Ok(Record::Ready { units })
        }
        // A header that makes no sense may be of the next lap; then this position was freed before. A
        // read-modify-write sees the newest value; AcqRel: pairs with `help_free`.
        _ if before(position, view.freed().fetch_add(0, AcqRel)) => Ok(Record::Lapped),
        _ => Err(corrupt("record length", header, view.max_record())),
    }
}

/// Whether position `a` comes before `b`.
#[inline]
pub(crate) fn before(a: u64, b: u64) -> bool {
    (a.wrapping_sub(b) as i64) < 0
}

#[cold]
fn corrupt(what: &'static str, found: u64, expected: u64) -> Fault {
    Fault::Corrupt {
        what,
        found,
        expected,
    }
}

/// Moves `free` on over records that are done. Anybody may, at any time; nobody has to.
/// Only where the receivers have words.
///
/// One swap moves it over all of them: words that say DONE do not change before `free` has passed them, and if
/// it has, the swap fails.
pub(crate) fn help_free(view: &View) {
    help_free_beyond(view, &(0..0));
}

/// The same for whoever was itself done with all the cells of `known`: it need not read their words again.
fn help_free_beyond(view: &View, known: &Range<u64>) {
    let words = Words::new(view.geometry.units);
    // Acquire: whoever moved it had seen DONE, and so do we pass that on.
    let mut free = view.header().free.load(Acquire);
    for _ in 0..view.geometry.units {
        let mut next = if free.wrapping_sub(known.start) < known.end.wrapping_sub(known.start) {
            known.end
        } else {
            free
        };
        while next.wrapping_sub(free) < view.geometry.units {
            // Acquire: pairs with the Release of whoever stored DONE; its copy is over.
            let word = view.receiver_word(next).load(Acquire);
            // Nobody is done with a record of no cells; a hostile peer's word leads nowhere.
            let units = words.low(word);
            if words.age(word, next) != Age::Current || words.who(word) != who::DONE || units == 0 {
                break;
            }
            next = next.wrapping_add(units);
        }
        if next == free {
            return;
        }
        // Release: hands on what the loads above acquired, to the claimer that reads `free`. Acquire on
        // failure: as for the first load.
        match view
            .header()
            .free
            .compare_exchange(free, next, AcqRel, Acquire)
        {
            Ok(_) => return,
            Err(moved) => free = moved,
        }
    }
}

/// Stores a hint, unless a later one stands there. Relaxed: it is only a hint, and the words decide.
#[inline]
fn store_hint(hint: &crate::sync::AtomicU64, position: u64) {
    if before(hint.load(Relaxed), position) {
        hint.store(position, Relaxed);
    }
}

/// Notes that more units than ever are about to be claimed or passed, so that `audit` knows how many a killed handle may
/// have left uncounted. Returns the greatest number so far.
#[cold]
fn widen(view: &View, units: u64) -> u64 {
    view.header().audit.widest.raise(units)
}

/// Marks what was given up at `position` as done. `word` is the receivers' word, of an older lap. If false, somebody else
/// did the same, or the place was freed and reused, so that what was read there leads nowhere.
pub(crate) fn pass_over(view: &View, words: Words, position: u64, word: u64, units: u64) -> bool {
    let done = words.word(position, units, who::DONE);
    if !view.geometry.sender_words {
        widen(view, units);
    }
    let cell = view.receiver_word(position);
    // AcqRel: as in `Rx::confirm`. Relaxed on failure: the caller looks again.
    let passed = cell.compare_exchange(word, done, AcqRel, Relaxed).is_ok();
    if passed && !view.geometry.sender_words {
        view.header().audit.given_up.add(units);
    }
    passed
}

/// Tells all receivers that a record came back, so that they walk again from `free`.
pub(crate) fn announce_return(view: &View) {
    // Release: pairs with the Acquire in `look_among_many`; the word is visible before the epoch.
    view.header().room.epoch.fetch_add(1, Release);
}

/// The word of a record that came back after `tries` tries: for others to take, or a dead letter.
///
/// A death always raises the count, so that a word which names a dead one does not come again in its lap, and a repairer
/// that is stopped between verdict and swap does no harm. A record that so many have died of that the count is
/// at its end is a dead letter, whatever the ring allows. What the living give back is counted only as far as a ring can ask.
pub(crate) fn returned(
    view: &View,
    words: Words,
    position: u64,
    tries: u64,
    by_death: bool,
) -> u64 {
    let most_returns = if by_death { MAX_TRIES } else { MOST_TRIES };
    let next = (tries + 1).min(most_returns).max(tries);
    let most = view.geometry.max_tries;
    let spent = by_death && tries == MAX_TRIES;
    let state = if spent || (most != 0 && next >= most) {
        who::DEAD
    } else {
        who::AGAIN
    };
    words.word(position, next, state)
}
