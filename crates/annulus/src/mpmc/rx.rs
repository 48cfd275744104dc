//! The side of a receiver that shares the ring with others, of either side: look, take, hold. The proof is at the head
//! of `mpmc`.

use super::{
    Record, announce_return, before, corrupt, help_free_beyond, pass_over, record_at, returned,
    store_hint, widen,
};
use crate::geometry::Form;
use crate::pace;
use crate::side::{Blocked, Found, RecvSide};
use crate::sync::{AcqRel, Acquire, Relaxed, Release, fence};
use crate::view::View;
use crate::words::{Age, Words, who};
use annulus_channel::{Fault, Order};
use std::ops::Range;

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
    pace: pace::Rx,
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
            pace: pace::Rx::new(floor),
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
            if found != Err(Blocked::Empty) || !self.pace.wait(self.floor) {
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
