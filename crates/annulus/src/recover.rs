//! What may be repaired, by whom, and why it is safe.
//!
//! A control word that bars the way names its owner. Whoever is stuck on it asks whether the owner
//! lives (`lease`), and if not, repairs exactly that word, by compare-and-swap from the value read:
//!
//! - a claim of a dead sender becomes VOID, and receivers pass over it;
//! - a record taken by a dead receiver becomes AGAIN, and the epoch sends receivers back to it; or DEAD, if
//!   that was its last try.
//!
//! Any number of repairers may race, stop or die: words never recur, so at most one swap succeeds, and
//! none of them holds anything. A living owner is never overtaken, however long it is stopped.
//!
//! The verdict is read in this order: the word, the lease that it names, the lock. Had the lease gone to a
//! new holder, that holder's name would have come into the word only after its lease, so we would
//! have read the new lease.

use crate::lease::{Holder, Witness};
use crate::mpmc::{Record, announce_return, before, help_free, pass_over, record_at, returned};
use crate::sync::{AcqRel, Acquire, Relaxed, Release};
use crate::view::View;
use crate::wait;
use crate::words::{Age, Words, who};

/// Whether `name`, from a control word read with Acquire, names nobody living.
fn is_orphan(view: &View, witness: &Witness, name: u64) -> bool {
    let Some(number) = name.checked_sub(who::OWNER) else {
        return false;
    };
    let number = number as usize;
    if number >= crate::layout::LEASES {
        return false;
    }
    // Acquire: the lease is no older than the word that named it.
    let word = view.lease(number).word.load(Acquire);
    Holder::of(word).is_none_or(|holder| !witness.is_alive(number, holder))
}

/// Makes the dead sender's claim at `position` void.
fn void(view: &View, words: Words, position: u64, word: u64) -> bool {
    let void = words.word(position, words.low(word), who::VOID);
    let cell = view.sender_word(position);
    // Release: receivers that pass over it pass over the dead one's stores too. Failure: already repaired.
    let done = cell.compare_exchange(word, void, Release, Relaxed).is_ok();
    if done {
        let audit = &view.header().audit;
        audit.voided.add(1);
        audit.given_up.add(words.low(word));
    }
    done
}

/// Wakes whoever may sleep before what was just repaired.
pub(crate) fn ring_both(view: &View) {
    wait::ring_rarely(&view.header().data);
    wait::ring_rarely(&view.header().room.bell);
}

/// Makes the record that a dead receiver had taken available again.
fn give_back(view: &View, words: Words, position: u64, word: u64) -> bool {
    let cell = view.receiver_word(position);
    // AcqRel: the dead one's reads are over; see `Rx::confirm`. Failure: already repaired.
    let done = cell
        .compare_exchange(
            word,
            returned(view, words, position, words.low(word), true),
            AcqRel,
            Relaxed,
        )
        .is_ok();
    if done {
        view.header().audit.returned.add(1);
        announce_return(view);
    }
    done
}

/// Repairs the words of at most `limit` records from position `from` on that name nobody living. Asks the
/// kernel only about words that bar the way. Returns where to go on; after the last record, that is where the ring is free.
///
/// `from` is a place where a record begins or began; if it is out of date the sweep begins at the free end.
pub(crate) fn sweep(view: &View, witness: &Witness, from: u64, limit: u64) -> u64 {
    let geometry = &view.geometry;
    if !geometry.sender_words && !geometry.receiver_words {
        return from;
    }
    let words = Words::new(geometry.units);
    // Acquire, both: pair with the Release that moved them; the words between are no older.
    let start = view.freed().load(Acquire);
    let tail = view.header().tail.load(Acquire);
    let current = from.wrapping_sub(start) < geometry.units;
    let mut position = if current { from } else { start };
    let mut changed = false;
    for _ in 0..limit.min(geometry.units) {
        let units = match record_at(view, words, position, tail) {
            Ok(Record::Open { units, word }) => {
                if is_orphan(view, witness, words.who(word)) {
                    changed |= void(view, words, position, word);
                }
                units
            }
            Ok(Record::Ready { units }) => {
                if geometry.receiver_words {
                    // Acquire: pairs with the Release in `Rx::hold`; the lease is no older.
                    let word = view.receiver_word(position).load(Acquire);
                    let current = words.age(word, position) == Age::Current;
                    if current && words.who(word) == who::AGAIN {
                        // Whoever gave it back may have been killed before it could say so. Only receivers are
                        // rung: a sender that comes here before it sleeps would wake itself again and again.
                        announce_return(view);
                        wait::ring_rarely(&view.header().data);
                    } else if current && is_orphan(view, witness, words.who(word)) {
                        changed |= give_back(view, words, position, word);
                    }
                }
                units
            }
            Ok(Record::Void { units }) => {
                if geometry.receiver_words {
                    // So that its space is free even if no receiver comes by. Acquire: as for a receiver that does.
                    let word = view.receiver_word(position).load(Acquire);
                    changed |= words.age(word, position) == Age::Older
                        && pass_over(view, words, position, word, units);
                }
                units
            }
            // The end; or others went on meanwhile, or the memory makes no sense, which is for the
            // caller's own operation to say.
            Ok(Record::Absent | Record::Lapped) | Err(_) => {
                position = start;
                break;
            }
        };
        position = position.wrapping_add(units);
    }
    if geometry.receiver_words {
        help_free(view);
    }
    if changed {
        // Only then: the caller may be about to sleep on one of the bells.
        ring_both(view);
    }
    position
}

/// Repairs every word that names lease `number`, whose dead holder's word is `dead`, so that the lease
/// can be given to somebody else.
pub(crate) fn reap(view: &View, witness: &Witness, number: usize, dead: u64) {
    let geometry = &view.geometry;
    if !geometry.sender_words && !geometry.receiver_words {
        return;
    }
    let words = Words::new(geometry.units);
    let name = who::OWNER + number as u64;
    // Acquire: the lease is no older than the word that names it, so a new holder's words are not touched.
    let still = || view.lease(number).word.load(Acquire) == dead;
    debug_assert!(
        Holder::of(dead).is_none_or(|holder| !still() || !witness.is_alive(number, holder))
    );
    // Acquire: pairs with the Release that moved it.
    let start = view.freed().load(Acquire);
    // A dead one's words lie between what is free and the last claim, so each index has one position.
    for ahead in 0..geometry.units {
        let position = start.wrapping_add(ahead);
        if geometry.sender_words {
            // Acquire: pairs with the Release of the claim.
            let word = view.sender_word(position).load(Acquire);
            if words.who(word) == name && words.age(word, position) == Age::Current && still() {
                void(view, words, position, word);
            }
        }
        if geometry.receiver_words {
            // Acquire: pairs with the Release in `Rx::hold`.
            let word = view.receiver_word(position).load(Acquire);
            if words.who(word) == name && words.age(word, position) == Age::Current && still() {
                give_back(view, words, position, word);
            }
        }
    }
    ring_both(view);
}

/// What is left of all that was ever committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Everything was received.
    Nothing,
    /// Everything was received but for dead letters, which wait to be drained.
    DeadLetters,
    /// Something is there, or may come back.
    Records,
}

/// Looks what is left.
pub(crate) fn left(view: &View) -> Left {
    let geometry = &view.geometry;
    let words = Words::new(geometry.units);
    // Acquire, both: pair with the Release that moved them.
    let start = view.freed().load(Acquire);
    let tail = view.header().tail.load(Acquire);
    let mut left = Left::Nothing;
    if !geometry.sender_words && !geometry.receiver_words {
        return if start == tail { left } else { Left::Records };
    }
    let mut position = start;
    while position.wrapping_sub(start) < geometry.units {
        let units = match record_at(view, words, position, tail) {
            Ok(Record::Absent) => return left,
            Ok(Record::Void { units }) => units,
            Ok(Record::Ready { units }) if geometry.receiver_words => {
                // Acquire: pairs with the Release of whoever took it.
                let word = view.receiver_word(position).load(Acquire);
                let current = words.age(word, position) == Age::Current;
                match words.who(word) {
                    who::DONE if current => {}
                    who::DEAD if current => left = Left::DeadLetters,
                    _ => return Left::Records,
                }
                units
            }
            _ => return Left::Records,
        };
        position = position.wrapping_add(units);
    }
    if before(position, tail) {
        return Left::Records;
    }
    left
}
