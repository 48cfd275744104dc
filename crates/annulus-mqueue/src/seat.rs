//! A handle's seat at the companion's table, and what the seats tell of the other side.

use crate::fork::{self, Lock};
use crate::kernel::Kernel;
use crate::lock;
use crate::open::{Shared, os};
use crate::page::{Holder, MAX_TICKET, SEATS};
use annulus_channel::{OpenError, OpenReason};
use annulus_fd::names::Side;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// The other side, as the seats show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Others {
    /// Nobody has come yet.
    Expected,
    /// Somebody living is there.
    Present,
    /// All have closed.
    Closed,
    /// Those who did not close were killed.
    Dead,
}

/// A seat that we hold. Freed by `leave`, or known as a dead one's when the kernel drops the lock.
pub(crate) struct Seat {
    number: usize,
    word: u64,
    lock: Option<Lock>,
    /// The process that took it.
    generation: u32,
}

impl Seat {
    /// Takes a seat. In turn, so that nobody comes while the queue is removed.
    pub(crate) fn take<K: Kernel>(shared: &Shared<K>, side: Side) -> Result<Self, OpenError> {
        let _turn = shared.turn()?;
        let (page, companion) = (&shared.page, &shared.companion);
        // Relaxed: only the number counts, and no two are equal.
        let ticket = page.tickets.fetch_add(1, Relaxed).wrapping_add(1) & MAX_TICKET;
        let lock = lock::take(companion, ticket);
        let lock = lock.map_err(|error| os(&shared.name, "fcntl(F_OFD_SETLK)", &error))?;
        let word = Holder { ticket, side }.word();
        // Whoever comes takes the seats of its side's dead, but not before it has its own: a side with nobody at
        // the table would look closed.
        let number = page.seats.0.iter().position(|seat| swap(seat, 0, word));
        let number = number.or_else(|| {
            bury(shared, |_| true);
            page.seats.0.iter().position(|seat| swap(seat, 0, word))
        });
        let number = number.ok_or_else(|| {
            let reason = OpenReason::Limit {
                setting: "seats at a queue, fixed",
                limit: SEATS as u64,
                needed: SEATS as u64 + 1,
            };
            OpenError::new(&shared.name, reason)
        })?;
        bury(shared, |other| other.side == side);
        // Release: pairs with the Acquire of whoever reads the count.
        page.arrivals(side).fetch_add(1, Release);
        tell_all(shared);
        Ok(Self {
            number,
            word,
            lock: Some(lock),
            generation: fork::generation(),
        })
    }

    /// Whether it belongs to the process that forked this one.
    pub(crate) fn is_inherited(&self) -> bool {
        self.generation != fork::generation()
    }

    /// Goes in good order. False if there was nothing to leave.
    pub(crate) fn leave<K: Kernel>(&mut self, shared: &Shared<K>) -> bool {
        if self.lock.is_none() || self.is_inherited() {
            return false;
        }
        // A failure means that somebody wrote what no handle writes: then the seat is not ours to free.
        swap(&shared.page.seats.0[self.number], self.word, 0);
        tell_all(shared);
        self.lock = None;
        true
    }

    /// Goes as the dead do: without a word.
    pub(crate) fn abandon(&mut self) {
        self.lock = None;
    }
}

/// Frees the seats of the dead, those that `which` says.
fn bury<K>(shared: &Shared<K>, which: impl Fn(Holder) -> bool) {
    for (seat, word, holder) in shared.page.holders() {
        if which(holder) && !lock::is_held(&shared.companion, holder.ticket) {
            swap(seat, word, 0);
        }
    }
}

fn swap(seat: &AtomicU64, from: u64, to: u64) -> bool {
    // Acquire and Release: pairs with the Acquire in `holders`, and hands on what the last one did.
    seat.compare_exchange(from, to, AcqRel, Acquire).is_ok()
}

/// After a change of a seat: has everybody look again.
fn tell_all<K: Kernel>(shared: &Shared<K>) {
    // Release: pairs with the Acquire in `Link::others`; the seat is visible.
    shared.page.changes.0.fetch_add(1, Release);
    if K::BELLS {
        shared.page.data.0.ring();
        shared.page.room.0.ring();
    }
}
