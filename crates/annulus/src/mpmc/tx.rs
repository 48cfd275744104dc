//! The side of one of many senders: claim, commit, abort. The proof is at the head of `mpmc`.

use super::{before, corrupt, help_free, store_hint, widen};
use crate::pace;
use crate::side::{Blocked, Claim, SendSide};
use crate::sync::{Acquire, Relaxed, Release};
use crate::view::View;
use crate::words::{Age, Words, who};
use annulus_channel::Fault;

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
    pace: pace::Tx,
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
        self.pace.found(gained);
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
            pace: pace::Tx::new(),
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
    fn hurry(&mut self, _unit: usize, _registered: bool) {}

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
