//! What handles of both sides share: the tie to the queue, who is on the other side, and how a call waits.
//!
//! A call that waits sleeps in slices of at most [`SLICE`], and looks after each whether somebody has died.
//! Of those who close it hears at once (System V) or after the slice (POSIX, where it sleeps in the queue).

use crate::kernel::{Kernel, Scratch, scratch};
use crate::lock;
use crate::open::Shared;
use crate::seat::{Others, Seat};
use annulus_channel::{Fault, OpenError};
use annulus_fd::names::Side;
use annulus_fd::wait::{os, uninterrupted};
use nix::errno::Errno;
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;
use std::time::{Duration, Instant};

/// What a call does when everybody on the other side was killed.
///
/// ```
/// use annulus_mqueue::{QueueOptions, WhenDead};
/// # let name = format!("/annulus-doc-dead-{}", std::process::id());
/// let queue = QueueOptions::new().create(true).unlink_when_finished(true).posix(&name)?;
/// let mut receiver = queue.receiver()?;
/// // Rather an error than a wait for the successor of a sender that was killed.
/// receiver.on_peer_death(WhenDead::Fail);
/// # drop((queue.sender()?, receiver));
/// # Ok::<(), annulus_channel::OpenError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenDead {
    /// Go on waiting: a successor may come. The default.
    Wait,
    /// Fail with `PeerDead`, within 100 ms.
    Fail,
}

/// What a receiver does when every sender has closed and all is received.
///
/// ```
/// use annulus_mqueue::{QueueOptions, WhenClosed};
/// # let name = format!("/annulus-doc-closed-{}", std::process::id());
/// let queue = QueueOptions::new().create(true).unlink_when_finished(true).posix(&name)?;
/// let mut receiver = queue.receiver()?;
/// // A server: senders come and go.
/// receiver.on_close(WhenClosed::Wait);
/// # drop((queue.sender()?, receiver));
/// # Ok::<(), annulus_channel::OpenError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenClosed {
    /// Say `Disconnected`: this is the end. The default.
    End,
    /// Go on waiting for the next sender.
    Wait,
}

/// The longest time between two looks at who lives.
const SLICE: Duration = Duration::from_millis(50);

/// Why a call on the kernel's queue did nothing.
pub(crate) enum Stop {
    /// No room, or no record.
    NotNow,
    Fault(Fault),
}

/// What a handle of either side needs.
pub(crate) struct Link<K: Kernel> {
    pub(crate) shared: Arc<Shared<K>>,
    pub(crate) scratch: Scratch,
    pub(crate) when_dead: WhenDead,
    pub(crate) when_closed: WhenClosed,
    side: Side,
    seat: Seat,
    /// The count of changes, and the time, at which `others` was looked up.
    seen: u64,
    looked: Instant,
    others: Others,
    /// Somebody of the other side was attached at some time that counts for us.
    met: bool,
    /// Arrivals on the other side when we came.
    arrivals: u64,
    fault: Option<Fault>,
}

impl<K: Kernel> Link<K> {
    pub(crate) fn new(shared: &Arc<Shared<K>>, side: Side) -> Result<Self, OpenError> {
        let seat = Seat::take(shared, side)?;
        let mut link = Self {
            shared: Arc::clone(shared),
            scratch: scratch(shared.max_record),
            when_dead: WhenDead::Wait,
            when_closed: WhenClosed::End,
            side,
            seat,
            seen: 0,
            looked: Instant::now(),
            others: Others::Expected,
            met: false,
            arrivals: 0,
            fault: None,
        };
        link.arrivals = link.arrivals_now();
        // A receiver that comes after the senders have gone shall still find the end.
        link.met = side == Side::Receiver && link.arrivals > 0;
        link.look_up();
        Ok(link)
    }

    /// How many have ever attached on the other side.
    pub(crate) fn arrivals_now(&self) -> u64 {
        let others = match self.side {
            Side::Sender => Side::Receiver,
            Side::Receiver => Side::Sender,
        };
        // Acquire: pairs with the Release of whoever arrives.
        self.shared.page.arrivals(others).load(Acquire)
    }

    /// The other side, looked up anew if anybody came or closed since, or may have died.
    pub(crate) fn others(&mut self) -> Others {
        // Acquire: pairs with the Release in `tell_all`; the seat is visible.
        let changed = self.shared.page.changes.0.load(Acquire) != self.seen;
        if changed || self.looked.elapsed() >= SLICE {
            self.look_up();
        }
        self.others
    }

    /// Looks the other side up at the table. Asks the kernel about each holder until one lives.
    fn look_up(&mut self) {
        let page = &self.shared.page;
        // Acquire: as in `others`. Read first, so that what changes during the look is looked at again.
        self.seen = page.changes.0.load(Acquire);
        self.looked = Instant::now();
        let mut found = None;
        for (_, _, holder) in page.holders() {
            if holder.side != self.side {
                if lock::is_held(&self.shared.companion, holder.ticket) {
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

    /// Whether a fault ends every call.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        match self.fault {
            _ if self.seat.is_inherited() => Err(Fault::ForkedHandle),
            Some(fault) => Err(fault),
            None => Ok(()),
        }
    }

    /// Sends to the kernel's queue, and tells.
    pub(crate) fn put(&mut self, record: &[u8], label: i64) -> Result<(), Stop> {
        let kernel = &self.shared.kernel;
        let scratch = &mut self.scratch;
        let done = uninterrupted(|| kernel.send(scratch, record, label));
        self.done(K::SEND, Side::Receiver, done)
    }

    /// Receives from the kernel's queue, and tells.
    pub(crate) fn get(&mut self, only: i64, buffer: &mut Vec<u8>) -> Result<i64, Stop> {
        let kernel = &self.shared.kernel;
        let scratch = &mut self.scratch;
        let done = uninterrupted(|| kernel.receive(scratch, only, buffer));
        self.done(K::RECEIVE, Side::Sender, done)
    }

    /// Notes how a call ended, and wakes the side that waits for what it did.
    fn done<T>(
        &mut self,
        call: &'static str,
        waiting: Side,
        done: Result<T, Errno>,
    ) -> Result<T, Stop> {
        match done {
            Ok(value) => {
                if K::BELLS {
                    self.shared.page.bell(waiting).ring();
                }
                Ok(value)
            }
            Err(Errno::EAGAIN) => Err(Stop::NotNow),
            Err(errno) => {
                let fault = os(call, errno);
                self.fault = Some(fault);
                Err(Stop::Fault(fault))
            }
        }
    }

    /// Attempts until the attempt says something, or until the deadline; nothing then.
    pub(crate) fn wait_for<T>(
        &mut self,
        deadline: Option<Instant>,
        mut attempt: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<T> {
        let mut armed = 0;
        loop {
            if let Some(said) = attempt(self) {
                return Some(said);
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return None;
            }
            if K::BELLS && armed == 0 {
                // Announced, the sleep begins only after one more attempt.
                armed = self.shared.page.bell(self.side).arm();
                continue;
            }
            let slice = now + SLICE;
            let until = deadline.map_or(slice, |deadline| deadline.min(slice));
            let Shared { kernel, page, .. } = &*self.shared;
            // Said by the next attempt, if it is one for good.
            self.fault = kernel.sleep(page, self.side, armed, until).err();
            armed = 0;
        }
    }

    /// Leaves as a killed process does.
    pub(crate) fn die(mut self) {
        self.seat.abandon();
    }
}

impl<K: Kernel> Drop for Link<K> {
    fn drop(&mut self) {
        if self.seat.leave(&self.shared) {
            self.shared.finish();
        }
    }
}
