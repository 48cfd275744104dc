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
//! which is why the payload is copied by relaxed atomics. At least once, it swaps to TAKEN with its name
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

use crate::geometry::{Form, MOST_TRIES};
use crate::layout::PAD;
use crate::pace::{self, Pace};
use crate::side::{Blocked, Claim, Found, RecvSide, SendSide};
use crate::sync::{AcqRel, Acquire, Relaxed, Release, fence, scaled};
use crate::view::View;
use crate::words::{Age, Words, who};
use annulus_channel::{Fault, Order};
use std::ops::Range;

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

/// One of many senders.
pub(crate) struct Tx {
    view: View,
    words: Words,
    /// Our name in a control word.
    me: u64,
    /// Our lease, where what we commit is counted.
    lease: usize,
    /// Units that may be in use at once; 0 after a fault.
    room: u64,
    /// The greatest claim that we know was made on the ring. Others go the long way.
    widest: u64,
    /// A place where a record begins, not beyond the last.
    cursor: u64,
    /// What we last saw of the position that the receivers have freed. Never ahead of it.
    freed: u64,
    pace: Pace,
    fault: Option<Fault>,
}

impl Tx {
    /// Remembers the fault. The ring looks full from now on, so that every later claim meets it.
    #[cold]
    fn fail(&mut self, fault: Fault) -> Blocked {
        self.fault = Some(fault);
        self.room = 0;
        Blocked::Fault(fault)
    }

    /// Where to begin looking for a place: at the hint if it can be one, else where we last were.
    #[inline]
    fn start(&mut self) -> Result<u64, Blocked> {
        // Relaxed: a hint. Within one ring of what is free it is a place where a record begins or began.
        let hint = self.view.header().tail.load(Relaxed);
        if before(self.cursor, hint) {
            if hint.wrapping_sub(self.freed) > self.view.geometry.units {
                self.reload()?;
            }
            if hint.wrapping_sub(self.freed) <= self.view.geometry.units {
                return Ok(hint);
            }
        }
        Ok(self.cursor)
    }

    /// The later of the hint and where we last were.
    #[inline(always)]
    fn hinted(&self) -> u64 {
        // Relaxed: a hint.
        let hint = self.view.header().tail.load(Relaxed);
        if before(hint, self.cursor) {
            self.cursor
        } else {
            hint
        }
    }

    /// Claims these units, if there nobody has been. There is room for them, and claims as wide were made before.
    #[inline(always)]
    fn claim_at(&mut self, position: u64, units: u64) -> bool {
        let cell = self.view.sender_word(position);
        // Acquire, then Release: as in `claim_slowly`.
        let word = cell.load(Acquire);
        let claimed = self.words.word(position, units, self.me);
        let done = self.words.age(word, position) == Age::Older
            && cell
                .compare_exchange(word, claimed, Release, Relaxed)
                .is_ok();
        if done {
            let next = position.wrapping_add(units);
            store_hint(&self.view.header().tail, next);
            self.cursor = next;
            self.view.fetch_sender_words(position, units, self.free());
        }
        done
    }

    /// Units are void that were ours, or nobody's.
    fn gave_up(&self, units: u64) {
        self.view.header().audit.given_up.add(units);
    }

    /// Looks how far the receivers have got; true if further than we knew.
    #[cold]
    fn reload(&mut self) -> Result<bool, Blocked> {
        self.pace.wait();
        if self.view.geometry.receiver_words {
            help_free(&self.view);
        }
        // Acquire: pairs with the Release that freed the units; the copies of them are over.
        let freed = self.view.freed().load(Acquire);
        if before(freed, self.freed) {
            return Err(self.fail(corrupt("free", freed, self.freed)));
        }
        let gained = freed.wrapping_sub(self.freed);
        self.freed = freed;
        self.pace.begin(gained);
        Ok(gained != 0)
    }

    /// Walks to the first place that nobody has, and claims it.
    fn claim_slowly(&mut self, min: u64, max: u64, contiguous: bool) -> Result<Claim, Blocked> {
        if let Some(fault) = self.fault {
            return Err(Blocked::Fault(fault));
        }
        let (units, room) = (self.view.geometry.units, self.view.room());
        let mut position = self.start()?;
        // Each step moves on, or somebody else has; words that never rest are a hostile peer's.
        for _ in 0..4 * units {
            if before(position, self.freed) {
                position = self.freed;
            }
            let to_end = units - self.view.index(position);
            let pad = if contiguous && min > to_end {
                to_end
            } else {
                0
            };
            let used = position.wrapping_sub(self.freed);
            if used + pad + min > room {
                if self.reload()? {
                    continue;
                }
                self.cursor = position;
                return Err(Blocked::Full);
            }
            // Acquire: if the lap is newer, pairs with the Release in the claim that began it, so that the
            // `freed` which allowed it is visible.
            let word = self.view.sender_word(position).load(Acquire);
            match self.words.age(word, position) {
                Age::Older => {
                    let mut wanted = max.min(self.words.max_low());
                    if contiguous {
                        wanted = wanted.min(to_end);
                    }
                    if pad == 0 && used + wanted > room && self.reload()? {
                        continue;
                    }
                    let most = wanted.min(room - used);
                    let (taken, state) = if pad > 0 {
                        (pad, who::VOID)
                    } else {
                        (most, self.me)
                    };
                    if taken > self.widest {
                        self.widest = widen(&self.view, taken);
                    }
                    let claimed = self.words.word(position, taken, state);
                    let cell = self.view.sender_word(position);
                    // Release: pairs with the Acquire in `record_at` and above. Relaxed on failure: we look again.
                    if cell
                        .compare_exchange(word, claimed, Release, Relaxed)
                        .is_err()
                    {
                        continue;
                    }
                    let next = position.wrapping_add(taken);
                    store_hint(&self.view.header().tail, next);
                    if pad > 0 {
                        self.gave_up(pad);
                        position = next;
                        continue;
                    }
                    self.cursor = next;
                    return Ok(Claim {
                        position,
                        units: taken,
                    });
                }
                Age::Current => {
                    let taken = self.words.low(word);
                    if taken == 0 || (contiguous && taken > to_end) {
                        return Err(self.fail(corrupt("cells of a record", taken, to_end)));
                    }
                    position = position.wrapping_add(taken);
                }
                Age::Newer => {
                    self.reload()?;
                    if !before(position, self.freed) {
                        return Err(self.fail(corrupt("senders' word", word, position)));
                    }
                    position = self.start()?;
                }
            }
        }
        Err(Blocked::Full)
    }
}

impl SendSide for Tx {
    fn attach(view: View, lease: usize) -> Result<Self, Fault> {
        // Acquire: pairs with the Release that freed the units; the copies of them are over.
        let freed = view.freed().load(Acquire);
        Ok(Self {
            view,
            words: Words::new(view.geometry.units),
            me: who::OWNER + lease as u64,
            lease,
            room: view.room(),
            widest: 1,
            cursor: freed,
            freed,
            pace: Pace::new(pace::ROOM),
            fault: None,
        })
    }

    #[inline]
    fn view(&self) -> &View {
        &self.view
    }

    /// The usual case in a few steps: there is room for all by what we know, and nobody claims before us.
    #[inline(always)]
    fn claim(&mut self, min: u64, max: u64, contiguous: bool) -> Result<Claim, Blocked> {
        let position = self.hinted();
        let used = position.wrapping_sub(self.freed);
        let fits = used.saturating_add(max) <= self.room
            && max <= self.widest
            && !(contiguous && max > self.view.units_left(position));
        if fits && self.claim_at(position, max) {
            return Ok(Claim {
                position,
                units: max,
            });
        }
        self.claim_slowly(min, max, contiguous)
    }

    #[inline]
    fn free(&self) -> u64 {
        let limit = self.freed.wrapping_add(self.view.room());
        limit.wrapping_sub(self.cursor)
    }

    #[inline]
    fn split(&mut self, position: u64, units: u64) {
        let ready = self.words.word(position, units, who::READY);
        // Release: as in `commit`. Nobody walks to this word before `commit` has shortened the first record to
        // itself, but a hint may lead here past it.
        self.view.sender_word(position).store(ready, Release);
    }

    #[inline]
    fn commit(&mut self, claim: Claim, used: u64, first: u64) {
        if used < claim.units {
            let rest = claim.position.wrapping_add(used);
            let void = self.words.word(rest, claim.units - used, who::VOID);
            // Release: as in `split`.
            self.view.sender_word(rest).store(void, Release);
        }
        let ready = self.words.word(claim.position, first, who::READY);
        // Release: pairs with the Acquire in `record_at`; payload and later words are visible before it.
        self.view.sender_word(claim.position).store(ready, Release);
        self.view.lease(self.lease).sent.add_alone(used);
        if used < claim.units {
            // Not before the commit: should we be killed before it, the repair counts the whole claim.
            self.gave_up(claim.units - used);
        }
    }

    fn abort(&mut self, claim: Claim) {
        let void = self.words.word(claim.position, claim.units, who::VOID);
        // Release: pairs with the Acquire in `record_at`; whatever we wrote to the cells is over.
        self.view.sender_word(claim.position).store(void, Release);
        self.gave_up(claim.units);
    }

    #[inline(always)]
    fn quick(&mut self) -> Option<u64> {
        let position = self.hinted();
        let fits = position.wrapping_sub(self.freed) < self.room;
        (fits && self.claim_at(position, 1)).then_some(position)
    }

    #[inline]
    fn publish(&mut self, position: u64) {
        self.commit(Claim { position, units: 1 }, 1, 1);
    }

    #[inline]
    fn hurry(&mut self, _size: usize, _registered: bool) {}

    fn len(&self) -> u64 {
        // Relaxed, both: an estimate.
        let tail = self.view.header().tail.load(Relaxed);
        let freed = self.view.freed().load(Relaxed);
        if before(tail, freed) {
            0
        } else {
            tail.wrapping_sub(freed).min(self.view.room())
        }
    }
}

/// A receiver of a ring with many senders, or one of many receivers, or both.
pub(crate) struct Rx {
    view: View,
    words: Words,
    /// Our name in a control word.
    me: u64,
    /// Our lease, where what we receive is counted.
    lease: usize,
    /// The greatest record that we know was received.
    widest: u64,
    /// Where to begin looking: no record before it is for us to take, unless one comes back.
    floor: u64,
    /// What we last saw of the single sender's tail.
    tail: u64,
    /// The epoch up to which we know of records that came back.
    epoch: u32,
    /// We are on our way from `free`, because one came back: the hint would lead past it.
    rewalk: bool,
    /// The epoch in which a glance finds what the walk would find, or [`NEVER`].
    usual: u64,
    /// Cells done since we last moved `free`.
    done: u64,
    /// The last cells that we were done with, without a gap.
    streak: Range<u64>,
    pace: Pace,
    fault: Option<Fault>,
}

/// No epoch.
const NEVER: u64 = u64::MAX;

impl Rx {
    #[cold]
    fn fail(&mut self, fault: Fault) -> Blocked {
        self.fault = Some(fault);
        self.usual = NEVER;
        Blocked::Fault(fault)
    }

    /// The next record where the receivers have words, in the usual case: it lies where the hint or our floor says, and no
    /// record has come back. What it finds the walk would find.
    #[inline(always)]
    fn glance_among_many(&mut self, bytes: bool) -> Option<Found> {
        // Acquire: as in `walk`.
        if u64::from(self.view.header().room.epoch.load(Acquire)) != self.usual {
            return None;
        }
        let position = self.hinted();
        // Acquire, both: as in `walk` and in `record_at`.
        let word = self.view.receiver_word(position).load(Acquire);
        let (is_there, units) = if self.view.geometry.sender_words {
            let there = self.view.sender_word(position).load(Acquire);
            let units = if bytes { self.words.low(there) } else { 1 };
            let fits = !bytes || units.wrapping_sub(1) < self.view.units_left(position);
            let ready = self.words.word(position, units, who::READY);
            (there == ready && fits, units)
        } else {
            self.refresh(position);
            (before(position, self.tail), 1)
        };
        (is_there && self.words.age(word, position) == Age::Older).then(|| {
            self.floor = position;
            Found {
                word,
                ..Found::new(position, units)
            }
        })
    }

    /// Where to begin in total order, when no record has come back: at the hint if it can be right, else at our floor.
    #[inline]
    fn hinted(&self) -> u64 {
        // Relaxed: a hint. Within one ring of the floor it is a place where a record begins.
        let hint = self.view.header().head.load(Relaxed);
        let ahead =
            before(self.floor, hint) && hint.wrapping_sub(self.floor) <= self.view.geometry.units;
        if ahead { hint } else { self.floor }
    }

    /// The next record that nobody has, for a ring whose receivers have words.
    ///
    /// A record behind an open claim may be of the same sender, who committed the claim after we had passed it. So
    /// we walk until the same record comes twice: what was open before it on the second walk, after we
    /// had seen the record, is another sender's.
    fn look_among_many(&mut self) -> Result<Found, Blocked> {
        let (mut found, mut stepped) = self.walk()?;
        for _ in 0..self.view.geometry.units {
            if !stepped {
                return Ok(found);
            }
            let (again, over) = self.walk()?;
            if again.position == found.position {
                return Ok(again);
            }
            (found, stepped) = (again, over);
        }
        Err(Blocked::Empty)
    }

    /// Walks to the first record that nobody has; and whether it stepped over an open claim.
    #[inline]
    fn walk(&mut self) -> Result<(Found, bool), Blocked> {
        let view = self.view;
        let header = view.header();
        // Acquire: pairs with the Release of whoever gave a record back; the walk sees its word.
        let epoch = header.room.epoch.load(Acquire);
        let strict = self.view.geometry.order == Order::Total;
        if epoch != self.epoch {
            self.epoch = epoch;
            self.rewalk = true;
            self.usual = NEVER;
            // Acquire: pairs with the Release in `help_free`.
            self.floor = header.free.load(Acquire);
        }
        let mut position = if strict && !self.rewalk {
            self.hinted()
        } else {
            self.floor
        };
        // Whether an open claim was stepped over: then the floor stays before it.
        let mut open = false;
        let mut steps = 0;
        loop {
            steps += 1;
            if steps > 2 * self.view.geometry.units {
                // Others are so busy that we never catch up. Whoever waits will look again.
                return Err(Blocked::Empty);
            }
            // Acquire: pairs with the Release of whoever wrote it; the senders' word is no older.
            let word = self.view.receiver_word(position).load(Acquire);
            let age = self.words.age(word, position);
            let record = match age {
                Age::Newer => Record::Lapped,
                Age::Older => self.record_at(position)?,
                Age::Current => match self.record_at(position)? {
                    _ if self.is_overwritten(position) => Record::Lapped,
                    record => record,
                },
            };
            let (units, tries) = match record {
                Record::Lapped => {
                    // Acquire: pairs with the Release in `help_free`; a newer lap means that it passed us.
                    let free = header.free.load(Acquire);
                    if !before(position, free) {
                        return Err(self.fail(corrupt("free", free, position)));
                    }
                    position = free;
                    continue;
                }
                Record::Absent if age == Age::Current => {
                    return Err(self.fail(corrupt("receivers' word", word, position)));
                }
                Record::Absent => {
                    self.arrived();
                    self.settle(position, open);
                    help_free_beyond(&self.view, &self.streak);
                    return Err(Blocked::Empty);
                }
                Record::Open { .. } if strict => {
                    self.settle(position, open);
                    return Err(Blocked::Open);
                }
                Record::Open { units, .. } => {
                    self.settle(position, open);
                    open = true;
                    position = position.wrapping_add(units);
                    continue;
                }
                Record::Void { units } => {
                    if age == Age::Older {
                        if !pass_over(&self.view, self.words, position, word, units) {
                            continue;
                        }
                        self.done += units;
                    }
                    position = position.wrapping_add(units);
                    continue;
                }
                Record::Ready { units } if age == Age::Older => (units, 0),
                Record::Ready { units } if self.words.who(word) == who::AGAIN => {
                    (units, self.words.low(word))
                }
                // DONE, or DEAD, or TAKEN: should its holder give it back, the epoch will tell.
                Record::Ready { units } => {
                    position = position.wrapping_add(units);
                    continue;
                }
            };
            self.settle(position, open);
            // Relaxed: a hint. It leads past nothing any more that we have not seen.
            if self.rewalk && !open && !before(position, header.head.load(Relaxed)) {
                self.arrived();
            }
            let found = Found {
                position,
                units,
                word,
                tries,
            };
            return Ok((found, open));
        }
    }

    /// No record that came back lies before us any more.
    #[inline]
    fn arrived(&mut self) {
        self.rewalk = false;
        let geometry = &self.view.geometry;
        // Where a single sender's byte record ends stands in its header, which a glance does not read.
        let short = geometry.form == Form::Typed || geometry.sender_words;
        if short && geometry.order == Order::Total {
            self.usual = self.epoch.into();
        }
    }

    /// Whether the header that we have just read at `position`, which others are done with or have, may be
    /// that of a record of a later lap, so that its length leads nowhere. Senders' words show that themselves;
    /// a single sender's byte records do not.
    #[inline]
    fn is_overwritten(&self, position: u64) -> bool {
        let geometry = &self.view.geometry;
        if geometry.sender_words || geometry.form == Form::Typed {
            return false;
        }
        // Acquire: pairs with the fence in `spsc::Tx::reload`. If the header is of a later lap, we see the
        // `free` that allowed it.
        fence(Acquire);
        // Relaxed: ordered by the fence.
        before(position, self.view.freed().load(Relaxed))
    }

    /// Remembers that nothing before `position` is for us, unless an open claim lies before it.
    #[inline]
    fn settle(&mut self, position: u64, open: bool) {
        if !open {
            self.floor = position;
        }
    }

    /// The next record, for the single receiver of many senders, whose head is exact.
    #[inline]
    fn look_alone(&mut self) -> Result<Found, Blocked> {
        for _ in 0..=self.view.geometry.units {
            match self.record_at(self.floor)? {
                Record::Absent => return Err(Blocked::Empty),
                Record::Open { .. } => return Err(Blocked::Open),
                Record::Ready { units } => return Ok(Found::new(self.floor, units)),
                Record::Void { units } => self.advance(self.floor.wrapping_add(units)),
                Record::Lapped => {
                    let fault = corrupt("senders' word", self.floor, self.floor);
                    return Err(self.fail(fault));
                }
            }
        }
        // A whole ring of claims given up, while others claim on: let the caller look again.
        Err(Blocked::Empty)
    }

    /// Looks how far the single sender has got, if by what we know nothing is at `position`.
    #[inline]
    fn refresh(&mut self, position: u64) {
        if !before(position, self.tail) {
            // Acquire: pairs with the Release in `spsc::Tx::advance`; the payload is visible.
            self.tail = self.view.header().tail.load(Acquire);
        }
    }

    #[inline]
    fn record_at(&mut self, position: u64) -> Result<Record, Blocked> {
        if !self.view.geometry.sender_words {
            self.refresh(position);
        }
        record_at(&self.view, self.words, position, self.tail).map_err(|fault| self.fail(fault))
    }

    /// Moves the single receiver's head.
    #[inline]
    fn advance(&mut self, to: u64) {
        self.floor = to;
        // Release: pairs with the Acquire in `Tx::reload`; our reads are over before the head moves.
        self.view.header().head.store(to, Release);
    }

    /// Before a record is taken: is it the longest so far?
    #[inline(always)]
    fn notice(&mut self, found: Found) {
        if found.units > 1 && found.units > self.widest {
            self.widest = widen(&self.view, found.units);
        }
    }

    /// What follows when a record is done: its count, hints, and now and then `free`.
    #[inline(always)]
    fn finished(&mut self, found: Found) {
        self.view.lease(self.lease).received.add_alone(found.units);
        let len = found.units * self.view.geometry.unit_size;
        let at = self.view.offset(found.position);
        self.view.payload.counted(at, len as usize);
        let next = found.position.wrapping_add(found.units);
        if self.floor == found.position {
            self.floor = next;
        }
        store_hint(&self.view.header().head, next);
        if self.streak.end != found.position {
            self.streak.start = found.position;
        }
        self.streak.end = next;
        self.done += found.units;
        if self.done >= self.view.geometry.units / 8 {
            self.done = 0;
            help_free_beyond(&self.view, &self.streak);
        }
    }
}

impl RecvSide for Rx {
    fn attach(view: View, lease: usize) -> Result<Self, Fault> {
        let header = view.header();
        // Acquire: we continue after others, and see what they left.
        let floor = view.freed().load(Acquire);
        Ok(Self {
            view,
            words: Words::new(view.geometry.units),
            me: who::OWNER + lease as u64,
            lease,
            widest: 1,
            floor,
            tail: floor,
            // Acquire: as in `look_among_many`.
            epoch: header.room.epoch.load(Acquire),
            rewalk: true,
            usual: NEVER,
            done: 0,
            streak: floor..floor,
            pace: Pace::new(pace::RECORDS),
            fault: None,
        })
    }

    #[inline]
    fn view(&self) -> &View {
        &self.view
    }

    #[inline(always)]
    fn glance(&mut self) -> Option<Found> {
        if self.view.geometry.receiver_words {
            return self.glance_among_many(false);
        }
        if self.fault.is_some() {
            return None;
        }
        // Acquire: as in `record_at`.
        let there = self.view.sender_word(self.floor).load(Acquire);
        let ready = self.words.word(self.floor, 1, who::READY);
        (there == ready).then(|| Found::new(self.floor, 1))
    }

    #[inline]
    fn look(&mut self, _max: u64, bytes: bool) -> Result<Found, Blocked> {
        if let Some(fault) = self.fault {
            return Err(Blocked::Fault(fault));
        }
        loop {
            let found = if !self.view.geometry.receiver_words {
                self.look_alone()
            } else {
                match self.glance_among_many(bytes) {
                    Some(found) => Ok(found),
                    None => self.look_among_many(),
                }
            };
            if found != Err(Blocked::Empty) || !self.pace.wait() {
                return found;
            }
        }
    }

    #[inline(always)]
    fn confirm(&mut self, found: Found) -> bool {
        self.pace.found();
        if !self.view.geometry.receiver_words {
            self.advance(found.position.wrapping_add(found.units));
            return true;
        }
        self.notice(found);
        let done = self.words.word(found.position, found.units, who::DONE);
        let cell = self.view.receiver_word(found.position);
        // AcqRel: pairs with the Acquire in `help_free`; our copy is over. Acquire, so that whoever finds this
        // word changed (`is_current`) sees all that led to it. Relaxed on failure: the copy is void.
        if cell
            .compare_exchange(found.word, done, AcqRel, Relaxed)
            .is_err()
        {
            return false;
        }
        self.finished(found);
        true
    }

    fn is_current(&self, found: Found) -> bool {
        // A read-modify-write sees the newest value; had the record been overwritten, the word would
        // have changed before. AcqRel: what we read before is not younger.
        !self.view.geometry.receiver_words
            || self.view.receiver_word(found.position).fetch_or(0, AcqRel) == found.word
    }

    fn hold(&mut self, found: Found) -> bool {
        self.pace.found();
        if !self.view.geometry.receiver_words {
            return true;
        }
        self.notice(found);
        let taken = self.words.word(found.position, found.tries, self.me);
        let cell = self.view.receiver_word(found.position);
        // AcqRel: pairs with the Acquire in `recover`: whoever sees our name sees our lease; and as in
        // `confirm`. Relaxed on failure: we look again.
        cell.compare_exchange(found.word, taken, AcqRel, Relaxed)
            .is_ok()
    }

    fn front(&self) -> u64 {
        self.floor
    }

    fn release(&mut self, found: Found) {
        if !self.view.geometry.receiver_words {
            self.advance(found.position.wrapping_add(found.units));
            return;
        }
        let done = self.words.word(found.position, found.units, who::DONE);
        // Release: pairs with the Acquire in `help_free`; our reads are over. A store will do: while we
        // live nobody else writes a word that names us.
        self.view.receiver_word(found.position).store(done, Release);
        self.finished(found);
    }

    fn put_back(&mut self, found: Found) {
        if self.view.geometry.receiver_words {
            let again = returned(&self.view, self.words, found.position, found.tries, false);
            // Release: our reads are over. A store will do, as in `release`.
            self.view
                .receiver_word(found.position)
                .store(again, Release);
            announce_return(&self.view);
        }
    }

    fn len(&self) -> u64 {
        // Relaxed, both: an estimate.
        let tail = self.view.header().tail.load(Relaxed);
        let freed = self.view.freed().load(Relaxed);
        let from = if before(self.floor, freed) {
            freed
        } else {
            self.floor
        };
        if before(tail, from) {
            0
        } else {
            tail.wrapping_sub(from).min(self.view.room())
        }
    }
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
