//! A handle's tie to its channel: its seat, and who has the others.
//!
//! Each handle has a seat: an entry in the header, and an exclusive lock on a byte of the file, through an open file
//! description of its own. The entry names a *ticket*, which never recurs. It is written when the lock is held, and
//! cleared before the lock is given back. So:
//!
//! > If a seat names a ticket, and its byte is found without a lock, and it names the same ticket still, its holder
//! > was killed.
//!
//! A stopped process keeps its locks. The pid is shown to people and decides nothing.
//!
//! Coming and going happen one at a time, behind a [`Door`]: who comes finds a file whose name is not being removed, and who
//! goes last removes it.

use crate::fork::{self, OwnFile};
use crate::header::{self, SEATS};
use crate::memory::Memory;
use crate::options::Options;
use crate::place::Place;
use annulus_channel::{Fault, OpenReason};
use annulus_fd::lock::{Door, is_locked, try_lock, unlock};
use nix::time::{ClockId, clock_gettime};
use std::fs::{self, File};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Duration;

/// Where the locks of the seats lie: far beyond the file's end.
const LOCKS: u64 = 1 << 61;

/// How long one who goes waits at the door. Then the name stays for whoever removes stale ones.
const PATIENCE: Duration = Duration::from_secs(1);

/// The longest time between two looks at who has died.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

/// The two sides of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Sender,
    Receiver,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Receiver => "receiver",
        }
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Self::Sender => Self::Receiver,
            Self::Receiver => Self::Sender,
        }
    }

    pub(crate) fn seats(self) -> std::ops::Range<usize> {
        let first = self as usize * SEATS;
        first..first + SEATS
    }
}

/// What a blocked call does when everybody on the other side was killed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenDead {
    /// Go on waiting: a successor may come. The default, as every channel here has a name.
    #[default]
    Wait,
    /// Fail with `PeerDead`, within a second.
    Fail,
}

/// What a receiver does when every sender has closed and all is received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenClosed {
    /// Fail with `Disconnected`. The default.
    #[default]
    End,
    /// Go on waiting, in the same channel: another sender may come.
    Wait,
}

/// The other side, as the seats show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    /// Nobody has come yet.
    Expected,
    /// Somebody living is there.
    Present,
    /// All have closed.
    Closed,
    /// Those who did not close were killed.
    Dead,
}

/// Why nothing more will come of the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Closed,
    Dead,
}

/// A handle's tie to its channel.
pub(crate) struct Link {
    pub(crate) memory: Memory,
    pub(crate) file: File,
    pub(crate) place: Place,
    pub(crate) side: Side,
    /// What our seat says.
    pub(crate) word: u64,
    when_dead: WhenDead,
    /// Of a receiver. A sender ends with the last receiver.
    when_closed: WhenClosed,
    seat: usize,
    lock: OwnFile,
    /// The process that we belong to.
    generation: u64,
    fault: Option<Fault>,
    /// The count of changes at which `others` was looked up, and the time.
    seen: u64,
    looked: Duration,
    others: Others,
    /// Somebody of the other side was there at some time since we are.
    met: bool,
    /// Arrivals on the other side when we came.
    arrivals: u64,
}

/// Whether another description than this has the seat's lock. If the kernel cannot be asked, it has.
pub(crate) fn is_taken(lock: &OwnFile, seat: usize) -> bool {
    is_locked(lock, LOCKS + seat as u64, 1).unwrap_or(true)
}

fn coarse_now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map_or(Duration::ZERO, Duration::from)
}

impl Link {
    /// Takes a seat, behind the door, for a handle that is not seen before [`sit`](Self::sit).
    pub(crate) fn new(
        memory: Memory,
        file: File,
        place: Place,
        lock: OwnFile,
        side: Side,
        many: bool,
        options: &Options,
    ) -> Result<Self, OpenReason> {
        let seats = side.seats();
        let count = if many { SEATS } else { 1 };
        let mut seat = None;
        for number in seats.clone().take(count) {
            let taken =
                try_lock(&lock, LOCKS + number as u64, 1).map_err(|errno| OpenReason::Os {
                    call: "fcntl(F_OFD_SETLK)",
                    errno: errno as i32,
                })?;
            if taken {
                seat = Some(number);
                break;
            }
        }
        let Some(seat) = seat else {
            // Relaxed: for people to read.
            let pid = memory.word(header::seat(seats.start) + 8).load(Relaxed) as u32;
            return Err(if many {
                OpenReason::Limit {
                    setting: "seats of a side, which is fixed",
                    limit: SEATS as u64,
                    needed: SEATS as u64 + 1,
                }
            } else {
                let side = side.name();
                OpenReason::Taken { side, pid }
            });
        };
        // Relaxed: only the number counts, and no two are equal.
        let ticket = memory.word(header::TICKETS).fetch_add(1, Relaxed) + 1;
        let word = ticket << 8 | seat as u64;
        let mut link = Self {
            memory,
            file,
            place,
            side,
            word,
            when_dead: options.when_dead,
            when_closed: match side {
                Side::Sender => WhenClosed::End,
                Side::Receiver => options.when_closed,
            },
            seat,
            lock,
            generation: fork::generation(),
            fault: None,
            seen: 0,
            looked: Duration::ZERO,
            others: Others::Expected,
            met: false,
            arrivals: 0,
        };
        link.arrivals = link.arrivals_now();
        // A receiver that comes after the senders have gone shall still find the end.
        link.met = side == Side::Receiver && link.arrivals > 0;
        Ok(link)
    }

    /// Whether nobody else living is attached. Behind the door, so nobody comes meanwhile.
    pub(crate) fn is_alone(&self) -> bool {
        (0..2 * SEATS).all(|seat| seat == self.seat || !is_taken(&self.lock, seat))
    }

    /// Shows us to the others.
    pub(crate) fn sit(&mut self) {
        let at = header::seat(self.seat);
        // Relaxed: published by the seat's word.
        self.memory
            .word(at + 8)
            .store(std::process::id().into(), Relaxed);
        // Release: pairs with the Acquire in `is_dead`.
        self.memory.word(at).store(self.word, Release);
        let arrivals = header::ARRIVALS[self.side as usize];
        // Relaxed: published by `changes`.
        self.memory.word(arrivals).fetch_add(1, Relaxed);
        // Release: pairs with the Acquire in `look`; the seat is visible before the change.
        self.memory.word(header::CHANGES).fetch_add(1, Release);
        self.look();
    }

    fn arrivals_now(&self) -> u64 {
        let at = header::ARRIVALS[self.side.other() as usize];
        // Relaxed: `changes`, read before with Acquire, publishes it.
        self.memory.word(at).load(Relaxed)
    }

    /// What the seat says, if its holder was killed.
    fn dead_in(&self, seat: usize, word: u64) -> bool {
        // Acquire: if it is the same still, it was when the kernel was asked, as no ticket recurs.
        !is_taken(&self.lock, seat) && self.memory.word(header::seat(seat)).load(Acquire) == word
    }

    /// Whether the holder of this ticket, another's than ours, lives and has not closed.
    pub(crate) fn is_alive(&self, word: u64) -> bool {
        let seat = (word & 0xff) as usize;
        if seat >= 2 * SEATS {
            return false;
        }
        // Acquire: pairs with the Release in `sit`.
        let there = self.memory.word(header::seat(seat)).load(Acquire) == word;
        there && !self.dead_in(seat, word)
    }

    /// Looks the other side up. Asks the kernel about each seat until somebody lives.
    fn look(&mut self) {
        // Acquire: pairs with the Release of whoever came or closed. Read first, so that what changes during the look is
        // looked at again.
        self.seen = self.memory.word(header::CHANGES).load(Acquire);
        self.looked = coarse_now();
        let mut found = None;
        for seat in self.side.other().seats() {
            // Acquire: as above.
            let word = self.memory.word(header::seat(seat)).load(Acquire);
            if word != 0 {
                if !self.dead_in(seat, word) {
                    // Alive, or closed just now: then `changes` tells.
                    found = Some(Others::Present);
                    break;
                }
                found = Some(Others::Dead);
            }
        }
        self.met |= found.is_some() || self.arrivals_now() != self.arrivals;
        let nobody = if self.met {
            Others::Closed
        } else {
            Others::Expected
        };
        self.others = found.unwrap_or(nobody);
    }

    /// Whether anybody came or closed since the last look.
    pub(crate) fn is_stale(&self) -> bool {
        // Acquire: as in `look`.
        self.memory.word(header::CHANGES).load(Acquire) != self.seen
    }

    /// Whether the other side is at its end. What it did before is visible.
    pub(crate) fn end(&mut self) -> Option<End> {
        if self.is_stale() || coarse_now().saturating_sub(self.looked) >= LOOK {
            self.look();
        }
        match self.others {
            Others::Closed if self.when_closed == WhenClosed::End => Some(End::Closed),
            Others::Dead if self.when_dead == WhenDead::Fail => Some(End::Dead),
            _ => None,
        }
    }

    /// Whether the other side has somebody living, asked now.
    pub(crate) fn is_met(&mut self) -> bool {
        self.look();
        self.others == Others::Present
    }

    /// How many seats of the other side are in use.
    pub(crate) fn others_seated(&self) -> usize {
        let seats = self.side.other().seats();
        // Relaxed: only for how many to wake; who is missed looks again.
        seats
            .filter(|&seat| self.memory.word(header::seat(seat)).load(Relaxed) != 0)
            .count()
    }

    /// Fails if the handle cannot go on.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        if self.generation != fork::generation() {
            return Err(Fault::ForkedHandle);
        }
        self.fault.map_or(Ok(()), Err)
    }

    /// Notes a fault, which is sticky.
    pub(crate) fn fail(&mut self, fault: Fault) -> Fault {
        *self.fault.get_or_insert(fault)
    }

    /// Clears our seat; others know that we have closed.
    pub(crate) fn rise(&self) {
        // Release: what we did is visible before.
        self.memory.word(header::seat(self.seat)).store(0, Release);
        // AcqRel: of two who close at once the later one sees the other's seat.
        self.memory.word(header::CHANGES).fetch_add(1, AcqRel);
        // A child that another thread is starting has a copy of the description, so closing ours would not do. It
        // cannot fail on a lock that is held.
        let _ = unlock(&self.lock, LOCKS + self.seat as u64, 1);
    }

    /// Goes to the door, to leave.
    pub(crate) fn door(&self) -> Option<Door<&OwnFile>> {
        Door::alone(&self.lock, PATIENCE).ok().flatten()
    }

    /// Whether nothing keeps the name, when we are the last to go: both sides have come, or nothing is in it.
    pub(crate) fn is_finished(&self, empty: bool) -> bool {
        // Relaxed: behind the door.
        let come = |at: usize| self.memory.word(at).load(Relaxed) > 0;
        self.is_alone() && (empty || header::ARRIVALS.into_iter().all(come))
    }

    /// Removes the name, if it is still ours.
    pub(crate) fn unlink(&self) {
        if self.place.names(&self.file) {
            // Nobody else removes it while we are in the door, but people.
            let _ = fs::remove_file(&self.place.path);
        }
    }
}
