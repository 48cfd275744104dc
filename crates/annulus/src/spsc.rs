//! One sender, one receiver: the textbook's bounded buffer with free-running positions.
//!
//! `tail` is stored by the sender alone and `head` by the receiver alone, each on its own block, so
//! neither waits for the other. Each side keeps both positions in private memory and looks
//! at the other's shared one only when its copy says full, or empty (the cached index of rtrb and of
//! E. Rigtorp's `SPSCQueue`; the idea is MCRingBuffer's). Every operation is wait-free.
//!
//! # Proof
//!
//! Units in `head..tail` are the receiver's, those in `tail..head + room` the sender's.
//!
//! 1. The sender writes units only beyond `tail` and below `limit`, which is a copy of `head` and the room: the copy is
//!    not greater than `head`, so these are its own. It then stores `tail` with Release.
//! 2. The receiver reads units only from `head` up to its copy of `tail`, read with Acquire: it sees
//!    whatever the sender wrote to them before. It then stores `head` with Release.
//! 3. The sender reads `head` with Acquire, so the receiver's reads of the units below it are over
//!    before the sender writes them again.
//!
//! A sender that dies leaves `tail` where it was: what it was writing was never visible, and its
//! successor begins there. A receiver that dies before storing `head` leaves the record for its
//! successor. A value read from the other side is used only if it is no step back and not more than the
//! room ahead; so a hostile peer can spoil data, and nothing else.
//!
//! # Runs
//!
//! Small values go in runs. After the send that begins one (`Tx::hurry`), `quick` lies up to 128 bytes further: no unit before
//! it needs a claim, since it is below `limit`, nor a look at which lines to fetch, since those were asked for. What is left of a
//! send is whether the ring is closed, the copy, `tail`, and a look at the bell. Whatever else moves `tail` ends the run.
//!
//! # Byte records
//!
//! A record lies in one piece: a header word with its length, then its bytes, filled up to a whole
//! unit. Where the units to the ring's end are too few, a header with the bit `PAD` says
//! so, and the record begins at index 0. Pad and record become visible together.
//!
//! `Tx` serves the single sender of an spmc ring too: there `freed` is the position that all
//! receivers together are done with, and the sender may push it on itself.

use crate::layout::PAD;
use crate::mpmc;
use crate::pace;
use crate::side::{Blocked, Claim, Found, RecvSide, SendSide};
use crate::sync::{AHEAD, Acquire, RUN, Release, fence};
use crate::view::View;
use annulus_channel::Fault;

/// A ring of this kind.
pub type Ring<T> = crate::Ring<T, crate::Spsc>;
/// Its sender.
pub type Sender<T> = crate::Sender<T, crate::Spsc>;
/// Its receiver.
pub type Receiver<T> = crate::Receiver<T, crate::Spsc>;

/// The single sender's side.
pub(crate) struct Tx {
    view: View,
    /// Our position. Equal to the shared tail, which we alone store.
    tail: u64,
    /// Where we must stop: what we last saw of the position that the receivers have freed, and the ring's room further.
    /// After a fault, the tail.
    limit: u64,
    /// Single values may be written quickly up to here: between `tail` and `limit`.
    quick: u64,
    pace: pace::Tx,
    fault: Option<Fault>,
}

impl Tx {
    /// Looks how far the receivers have got. Called only when the copy says full.
    #[cold]
    fn reload(&mut self) -> Result<(), Blocked> {
        if let Some(fault) = self.fault {
            return Err(Blocked::Fault(fault));
        }
        self.pace.wait();
        if self.view.geometry.receiver_words {
            mpmc::help_free(&self.view);
        }
        // Acquire: pairs with the Release that freed the units; the reads of them are over.
        let freed = self.view.freed().load(Acquire);
        let before = self.limit.wrapping_sub(self.view.room());
        if freed.wrapping_sub(before) > self.tail.wrapping_sub(before) {
            let fault = Fault::Corrupt {
                what: "head",
                found: freed,
                expected: self.tail,
            };
            self.fault = Some(fault);
            // Looks full from now on, so that every later claim comes here and says so.
            (self.limit, self.quick) = (self.tail, self.tail);
            return Err(Blocked::Fault(fault));
        }
        if self.view.geometry.receiver_words {
            // Release: pairs with the fence in `mpmc::Rx::is_overwritten`; whoever sees what we write next sees
            // that it was free.
            fence(Release);
        }
        self.limit = freed.wrapping_add(self.view.room());
        self.pace.found(freed.wrapping_sub(before));
        Ok(())
    }

    /// Makes all units up to `to` visible.
    #[inline]
    fn advance(&mut self, to: u64) {
        self.tail = to;
        // Release: pairs with the Acquire in `Rx::published`; the payload is visible before the tail.
        self.view.header().tail.store(to, Release);
    }
}

impl SendSide for Tx {
    fn attach(view: View, _lease: usize) -> Result<Self, Fault> {
        // Acquire: we continue after a predecessor, and see what it left.
        let tail = view.header().tail.load(Acquire);
        // Acquire: pairs with the Release that freed the units; the reads of them are over.
        let freed = view.freed().load(Acquire);
        if view.geometry.receiver_words {
            // Release: as in `reload`.
            fence(Release);
        }
        if tail.wrapping_sub(freed) > view.room() {
            return Err(Fault::Corrupt {
                what: "tail",
                found: tail,
                expected: freed.wrapping_add(view.room()),
            });
        }
        Ok(Self {
            view,
            tail,
            limit: freed.wrapping_add(view.room()),
            quick: tail,
            pace: pace::Tx::new(),
            fault: None,
        })
    }

    #[inline]
    fn view(&self) -> &View {
        &self.view
    }

    #[inline]
    fn claim(&mut self, min: u64, max: u64, contiguous: bool) -> Result<Claim, Blocked> {
        let to_end = self.view.units_left(self.tail);
        let pad = if contiguous && min > to_end {
            to_end
        } else {
            0
        };
        // After a pad the claim begins at index 0, and the room is less than a lap.
        let wanted = if contiguous && pad == 0 {
            max.min(to_end)
        } else {
            max
        };
        if self.free() < pad + wanted {
            self.reload()?;
            if self.free() < pad + min {
                return Err(Blocked::Full);
            }
        }
        let units = wanted.min(self.free() - pad);
        if pad > 0 {
            let at = self.view.record_offset(self.tail);
            // SAFETY: a unit's first word, within the payload; the unit is ours, being beyond `tail`.
            unsafe { self.view.payload.store_word(at, PAD | pad) };
        }
        Ok(Claim {
            position: self.tail.wrapping_add(pad),
            units,
        })
    }

    /// By our copies. A claim is not counted before it is committed.
    #[inline]
    fn free(&self) -> u64 {
        self.limit.wrapping_sub(self.tail)
    }

    /// Only a many-sided ring marks the records of a batch.
    #[inline]
    fn split(&mut self, _position: u64, _units: u64) {}

    #[inline]
    fn commit(&mut self, claim: Claim, used: u64, _first: u64) {
        self.advance(claim.position.wrapping_add(used));
        self.quick = self.tail;
    }

    /// Nothing was visible, and the next claim begins at the same place.
    fn abort(&mut self, _claim: Claim) {}

    #[inline]
    fn quick(&mut self) -> Option<u64> {
        (self.tail != self.quick).then_some(self.tail)
    }

    #[inline]
    fn publish(&mut self, position: u64) {
        self.advance(position.wrapping_add(1));
    }

    #[inline]
    fn hurry(&mut self, unit: usize, registered: bool) {
        let at = self.view.index(self.tail) as usize * unit;
        let (end, free) = ((at | (RUN - 1)) + 1, self.free());
        if free as usize * unit >= AHEAD + 2 * RUN {
            // With those of the value just written, which began the run.
            self.view
                .payload
                .fetch_ahead_of(at.saturating_sub(unit) + 1, end + 1);
        }
        let run = (end - at).div_ceil(unit) as u64;
        // Others need a real fence after each value.
        if registered {
            self.quick = self.tail.wrapping_add(run.min(free));
        }
    }

    fn len(&self) -> u64 {
        // Acquire: as in `reload`.
        let freed = self.view.freed().load(Acquire);
        self.tail.wrapping_sub(freed).min(self.view.room())
    }
}

/// The single receiver's side of an spsc ring.
pub(crate) struct Rx {
    view: View,
    /// The units that may be in use at once; 0 after a fault.
    most: u64,
    /// Our position. Equal to the shared head, which we alone store.
    head: u64,
    /// What we last saw of the shared tail. Never ahead of it.
    tail: u64,
    pace: pace::Rx,
    fault: Option<Fault>,
}

impl Rx {
    /// The shared tail.
    #[inline]
    fn published(&self) -> u64 {
        // Acquire: pairs with the Release in `Tx::advance`; the payload before the tail is visible.
        self.view.header().tail.load(Acquire)
    }

    /// Looks how far the sender has got. Called only when the copy says empty.
    #[inline]
    fn reload(&mut self) -> Result<(), Blocked> {
        let tail = self.published();
        if self.fault.is_some() || tail.wrapping_sub(self.head) > self.most {
            let most = self.head.wrapping_add(self.view.room());
            return Err(self.corrupt("tail", tail, most));
        }
        self.tail = tail;
        Ok(())
    }

    /// Remembers the first fault. The ring looks empty from now on, and every tail wrong, so that every later look comes here.
    #[cold]
    fn corrupt(&mut self, what: &'static str, found: u64, expected: u64) -> Blocked {
        let fault = *self.fault.get_or_insert(Fault::Corrupt {
            what,
            found,
            expected,
        });
        self.most = 0;
        self.tail = self.head;
        Blocked::Fault(fault)
    }

    #[inline]
    fn advance(&mut self, to: u64) {
        self.head = to;
        // Release: pairs with the Acquire in `Tx::reload`; our reads are over before the head moves.
        self.view.header().head.store(to, Release);
    }
}

impl RecvSide for Rx {
    fn attach(view: View, _lease: usize) -> Result<Self, Fault> {
        // Acquire, both: we continue after a predecessor, and see what was published.
        let head = view.header().head.load(Acquire);
        let tail = view.header().tail.load(Acquire);
        if tail.wrapping_sub(head) > view.room() {
            return Err(Fault::Corrupt {
                what: "head",
                found: head,
                expected: tail,
            });
        }
        Ok(Self {
            view,
            most: view.room(),
            head,
            tail,
            pace: pace::Rx::new(head),
            fault: None,
        })
    }

    #[inline]
    fn view(&self) -> &View {
        &self.view
    }

    #[inline]
    fn glance(&mut self) -> Option<Found> {
        let head = self.head;
        if self.tail == head {
            if self.pace.is_due(head) {
                return None;
            }
            let tail = self.published();
            let there = tail.wrapping_sub(head);
            // Nothing, or nonsense?
            if there.wrapping_sub(1) >= self.most {
                return None;
            }
            self.tail = tail;
            self.pace.begin(there);
        }
        Some(Found::new(head, 1))
    }

    #[inline]
    fn look(&mut self, max: u64, bytes: bool) -> Result<Found, Blocked> {
        loop {
            if self.tail == self.head {
                self.pace.wait(self.head);
                self.reload()?;
                if self.tail == self.head {
                    return Err(Blocked::Empty);
                }
                if !bytes {
                    self.pace.begin(self.tail.wrapping_sub(self.head));
                }
            }
            let there = self.tail.wrapping_sub(self.head);
            if !bytes {
                return Ok(Found::new(self.head, there.min(max)));
            }
            let at = self.view.record_offset(self.head);
            // SAFETY: a unit's first word, within the payload.
            let header = unsafe { self.view.payload.load_word(at) };
            let to_end = self.view.units_left(self.head);
            if header & PAD != 0 {
                // Pad and record are published together, so the pad is never the last.
                if header != PAD | to_end || to_end >= there {
                    return Err(self.corrupt("pad", header & !PAD, to_end));
                }
                self.advance(self.head.wrapping_add(to_end));
                continue;
            }
            match self.view.record_units(header) {
                Some(units) if units <= there.min(to_end) => {
                    self.pace.found();
                    return Ok(Found::new(self.head, units));
                }
                _ => {
                    let max = self.view.max_record();
                    return Err(self.corrupt("record length", header, max));
                }
            }
        }
    }

    /// Always succeeds: nobody else could have taken it.
    #[inline]
    fn confirm(&mut self, found: Found) -> bool {
        self.advance(found.position.wrapping_add(found.units));
        true
    }

    /// Nobody else could have taken it.
    fn is_current(&self, _found: Found) -> bool {
        true
    }

    /// Nothing to write: the record stays ours until the head moves past it.
    fn hold(&mut self, _found: Found) -> bool {
        true
    }

    fn front(&self) -> u64 {
        self.head
    }

    fn release(&mut self, found: Found) {
        self.confirm(found);
    }

    /// The head has not moved, so the record is still the next.
    fn put_back(&mut self, _found: Found) {}

    fn len(&self) -> u64 {
        self.published()
            .wrapping_sub(self.head)
            .min(self.view.room())
    }
}
