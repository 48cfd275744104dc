//! The sending handle: [`Sender`].

mod bytes;

use crate::attach::Shared;
use crate::error::AttachError;
use crate::geometry::Form;
use crate::guard::Reservation;
use crate::handle::{
    Link, ManySenders, Marker, NotSent, Others, Protocol, WhenDead, after, copy_in, corrupt,
    offset, unit, value_in,
};
use crate::layout::bell;
use crate::lease::Side;
use crate::ring::Message;
use crate::side::{Blocked, Claim, SendSide};
use crate::sync::{LINE, RUN, Relaxed};
use crate::wait::{self, Look};
use annulus_channel::{SendError, SendTimeoutError, TrySendError};
use bytemuck::Pod;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The sending end of a ring, attached under a lease of its own.
///
/// It may move to another thread, but two threads cannot use it at once; where many may send, each takes
/// a handle ([`try_clone`](Self::try_clone), or [`Ring::sender`](crate::Ring::sender)). Dropping it closes it: when the
/// last sender has closed, receivers see the end after the last record.
///
/// The path of a message allocates nothing and makes no system call unless a receiver sleeps. A panic-free
/// operation on a corrupt region says [`Fault`](TrySendError::Fault), and says it ever after.
// Two that lie side by side, each in use by a thread, would else take a line from each other at every call.
#[repr(align(128))]
pub struct Sender<T: Message + ?Sized, K: Protocol> {
    pub(crate) side: K::Tx,
    pub(crate) link: Link,
    /// A claim whose guard was leaked.
    pub(crate) open: Option<Claim>,
    message: Marker<T>,
}

impl<T: Message + ?Sized, K: Protocol> fmt::Debug for Sender<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("kind", &K::KIND)
            .field("lease", &self.link.seat.number)
            .finish_non_exhaustive()
    }
}

impl<T: Message + ?Sized, K: Protocol> Sender<T, K> {
    pub(crate) fn attach(shared: &Arc<Shared>, trusted: bool) -> Result<Self, AttachError> {
        let mut link = Link::new(shared, Side::Sender, trusted)?;
        match K::Tx::attach(shared.view, link.seat.number) {
            Ok(side) => Ok(Self {
                side,
                link,
                open: None,
                message: PhantomData,
            }),
            Err(fault) => {
                shared.leave(&mut link.seat, Side::Sender);
                Err(corrupt(fault))
            }
        }
    }

    /// What a call does when every receiver was killed: wait for a successor, or fail. By default it waits
    /// on a ring with a name.
    pub fn on_peer_death(&mut self, what: WhenDead) {
        self.link.when_dead = what;
    }

    /// How many receivers have ever attached. Where there is one place, this is the epoch of its holders: it rises
    /// when a successor takes over, so a survivor that remembers it knows of the change.
    ///
    /// ```
    /// # use annulus::{RingOptions, spsc};
    /// # let ring: spsc::Ring<u64> = RingOptions::new().capacity(8).heap()?;
    /// let (sender, receiver) = (ring.sender()?, ring.receiver()?);
    /// let epoch = sender.peer_epoch();
    /// drop(receiver);
    /// let _successor = ring.receiver()?;
    /// assert_eq!(sender.peer_epoch(), epoch + 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn peer_epoch(&self) -> u64 {
        self.link.arrivals_now()
    }

    /// How much of the ring is in use: messages (typed), or bytes. With many handles an estimate.
    pub fn len(&self) -> usize {
        let units = self.side.len() as usize;
        if self.side.view().geometry.form == Form::Typed {
            units
        } else {
            units * unit::<T, K>()
        }
    }

    /// Whether nothing is in use, as [`len`](Self::len) sees it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How much the ring holds: messages (typed), or bytes.
    pub fn capacity(&self) -> usize {
        self.side.view().geometry.capacity as usize
    }

    /// A hook for tests: goes as a killed process goes, leaving everything as it is. Only on the heap.
    #[doc(hidden)]
    pub fn die(mut self) {
        self.link.seat.abandon(&self.link.shared.witness);
    }

    /// Whether sending is over: asked before every claim.
    #[inline]
    fn check_open(&mut self) -> Result<(), NotSent> {
        if K::KIND.many_senders() && self.open.is_some() {
            self.abort_leaked();
        }
        if self.may_be_closed() {
            self.check_closed()?;
        }
        Ok(())
    }

    /// The bell hints at an end: is it one? In a forked child it is.
    #[cold]
    fn check_closed(&mut self) -> Result<(), NotSent> {
        self.link.check_forked().map_err(NotSent::Fault)?;
        if self.link.closed() {
            return Err(NotSent::Disconnected);
        }
        Ok(())
    }

    /// Whether the data bell hints that the last receiver has closed.
    #[inline]
    fn may_be_closed(&self) -> bool {
        // Relaxed: a hint. Whoever learned of the close by other means has ordered it.
        self.side.view().header().data.word().load(Relaxed) & bell::CLOSED != 0
    }

    /// Fetches the lines to be written next, ahead of those of `len` bytes at `at`.
    #[inline]
    fn fetch_ahead_of(&self, at: usize, len: usize) {
        let free = || self.side.free() as usize * unit::<T, K>();
        self.side.view().payload.fetch_ahead(at, len, free);
    }

    /// Wakes receivers, if any sleep.
    #[inline]
    pub(crate) fn ring_data(&self) {
        wait::ring(&self.side.view().header().data, self.link.registered);
    }

    /// A guard was leaked with its claim: no later claim may be made while it is open.
    #[cold]
    fn abort_leaked(&mut self) {
        if let Some(claim) = self.open.take() {
            self.side.abort(claim);
            self.ring_data();
        }
    }

    /// Why a claim failed.
    #[cold]
    fn not_sent(&mut self, blocked: Blocked) -> NotSent {
        if let Blocked::Fault(fault) = blocked {
            return NotSent::Fault(fault);
        }
        self.link.idle();
        match self.link.others() {
            Others::Closed => NotSent::Disconnected,
            Others::Dead if self.link.when_dead == WhenDead::Fail => NotSent::PeerDead,
            Others::Dead | Others::Present | Others::Expected => NotSent::Full,
        }
    }

    /// Repeats `attempt`, sleeping while the ring is full; nothing if `deadline` came first.
    fn wait<R>(
        &mut self,
        deadline: Option<Instant>,
        mut attempt: impl FnMut(&mut Self) -> Option<R>,
    ) -> Option<R> {
        if let Some(done) = attempt(self) {
            return Some(done);
        }
        let shared = Arc::clone(&self.link.shared);
        let header = shared.view.header();
        let (bell, slice) = (&header.room.bell, self.link.slice());
        let rescues = &header.audit.rescues;
        let mut patience = self.link.patience;
        let done = wait::until(bell, rescues, slice, deadline, &mut patience, |look| {
            match look {
                Look::Quickly => {}
                // Relaxed: whatever lies there is looked at with Acquire.
                Look::BeforeSleep => self.link.unblock(shared.view.freed().load(Relaxed)),
                Look::Thoroughly => self.link.inspect(),
            }
            attempt(self)
        });
        self.link.patience = patience;
        done
    }
}

impl<T: Message + ?Sized, K: Protocol> Drop for Sender<T, K> {
    fn drop(&mut self) {
        if self.link.seat.is_abandoned() || self.link.view().is_forked() {
            return;
        }
        self.abort_leaked();
        let shared = Arc::clone(&self.link.shared);
        shared.leave(&mut self.link.seat, Side::Sender);
    }
}

impl<T: Message + ?Sized, K: ManySenders> Sender<T, K> {
    /// Attaches another sender to the same ring, under a lease of its own.
    ///
    /// # Errors
    ///
    /// [`AttachError::TooMany`], or what the operating system refused.
    pub fn try_clone(&self) -> Result<Self, AttachError> {
        Self::attach(&self.link.shared, self.link.trusted)
    }
}

/// Typed messages.
impl<T: Pod, K: Protocol> Sender<T, K> {
    /// Sends `value` if there is room now.
    ///
    /// # Errors
    ///
    /// Hands the value back: [`Full`](TrySendError::Full), [`Disconnected`](TrySendError::Disconnected) when the last
    /// receiver has closed, [`PeerDead`](TrySendError::PeerDead), [`Fault`](TrySendError::Fault).
    ///
    /// ```
    /// # use annulus::{RingOptions, TrySendError, spsc};
    /// let ring: spsc::Ring<u32> = RingOptions::new().capacity(1).heap()?;
    /// let (mut sender, _receiver) = (ring.sender()?, ring.receiver()?);
    /// assert_eq!(sender.try_send(1), Ok(()));
    /// assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn try_send(&mut self, value: T) -> Result<(), TrySendError<T>> {
        self.offer(&value).map_err(|why| why.with(value))
    }

    #[inline]
    fn offer(&mut self, value: &T) -> Result<(), NotSent> {
        let many = K::KIND.many_senders();
        if !many && !Self::runs() {
            return self.offer_at_length(value);
        }
        if !(self.may_be_closed() || many && self.open.is_some())
            && let Some(position) = self.side.quick()
        {
            self.put(position, value);
            self.side.publish(position);
            // A single sender that hurries is registered.
            wait::ring(
                &self.side.view().header().data,
                !many || self.link.registered,
            );
            if many {
                self.fetch_ahead(position);
            }
            return Ok(());
        }
        // A copy: what no call refers to need not be in memory before it is in the ring.
        let copy = *value;
        self.offer_rarely(&copy)
    }

    /// Whether values are so small that several go between two looks ahead.
    const fn runs() -> bool {
        !K::KIND.many_senders() && 4 * unit::<T, K>() <= RUN
    }

    #[inline(never)]
    fn offer_rarely(&mut self, value: &T) -> Result<(), NotSent> {
        self.offer_at_length(value)
    }

    #[inline(always)]
    fn offer_at_length(&mut self, value: &T) -> Result<(), NotSent> {
        self.check_open()?;
        let claim = match self.side.claim(1, 1, false) {
            Ok(claim) => claim,
            Err(blocked) => return Err(self.not_sent(blocked)),
        };
        let position = claim.position;
        // One line is asked for when the message is out, which need not wait for it. Several take so long to come that it
        // counts when they were asked for: 256 bytes 12 ns before the copy, 15 after.
        if size_of::<T>() > LINE {
            self.fetch_ahead(position);
        }
        self.put(position, value);
        self.side.commit(claim, 1, 1);
        self.ring_data();
        if Self::runs() {
            self.side.hurry(unit::<T, K>(), self.link.registered);
        } else if size_of::<T>() <= LINE {
            self.fetch_ahead(position);
        }
        Ok(())
    }

    /// Fetches the lines to be written next, ahead of those of the value at `position`.
    #[inline]
    pub(crate) fn fetch_ahead(&self, position: u64) {
        let at = offset::<T, K>(self.side.view(), position);
        self.fetch_ahead_of(at, size_of::<T>());
    }

    /// Copies a value into a unit that is ours.
    #[inline]
    pub(crate) fn put(&mut self, position: u64, value: &T) {
        let view = self.side.view();
        let at = offset::<T, K>(view, position);
        // SAFETY: the unit is claimed, or the single sender's, and nobody else's until it is published.
        unsafe { value_in::<T, K>(view, at, value) };
    }

    /// Sends `value`, waiting for room.
    ///
    /// # Errors
    ///
    /// As [`try_send`](Self::try_send), without `Full`.
    pub fn send(&mut self, value: T) -> Result<(), SendError<T>> {
        match self.send_until(value, None) {
            Some(result) => result,
            None => unreachable!("a wait without a deadline has a result"),
        }
    }

    /// Sends `value`, waiting for room until `deadline`. Never gives up before it.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), or [`Timeout`](SendTimeoutError::Timeout).
    pub fn send_deadline(
        &mut self,
        value: T,
        deadline: Instant,
    ) -> Result<(), SendTimeoutError<T>> {
        match self.send_until(value, Some(deadline)) {
            Some(result) => result.map_err(SendTimeoutError::from),
            None => Err(SendTimeoutError::Timeout(value)),
        }
    }

    /// Sends `value`, waiting for room for at most `timeout`.
    ///
    /// # Errors
    ///
    /// As [`send_deadline`](Self::send_deadline).
    pub fn send_timeout(&mut self, value: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        match self.send_until(value, after(timeout)) {
            Some(result) => result.map_err(SendTimeoutError::from),
            None => Err(SendTimeoutError::Timeout(value)),
        }
    }

    fn send_until(
        &mut self,
        value: T,
        deadline: Option<Instant>,
    ) -> Option<Result<(), SendError<T>>> {
        self.wait(deadline, |this| match this.offer(&value) {
            Ok(()) => Some(Ok(())),
            Err(why) => why.for_good(value).ok().map(Err),
        })
    }

    /// Sends as many of `values` as there is room for now, from the first on, and makes them visible all at
    /// once. Returns how many: where many may send, at most one less than the ring has cells.
    ///
    /// # Errors
    ///
    /// As [`try_send`](Self::try_send); `Full` if not even one had room.
    pub fn try_send_slice(&mut self, values: &[T]) -> Result<usize, TrySendError> {
        self.offer_slice(values).map_err(|why| why.with(()))
    }

    fn offer_slice(&mut self, values: &[T]) -> Result<usize, NotSent> {
        self.check_open()?;
        if values.is_empty() {
            return Ok(0);
        }
        let claim = match self.side.claim(1, values.len() as u64, false) {
            Ok(claim) => claim,
            Err(blocked) => return Err(self.not_sent(blocked)),
        };
        let count = claim.units as usize;
        if unit::<T, K>() == size_of::<T>() {
            let view = self.side.view();
            // The claim may go on at index 0 after the ring's end.
            let to_end = view.units_left(claim.position) as usize;
            let (first, second) = values[..count].split_at(to_end.min(count));
            let at = offset::<T, K>(view, claim.position);
            self.fetch_ahead_of(at, size_of_val(first));
            // SAFETY: the units are claimed, and lie side by side.
            unsafe { copy_in::<K>(view, at, first.as_ptr().cast(), size_of_val(first)) };
            // SAFETY: likewise, from index 0 on.
            unsafe { copy_in::<K>(view, 0, second.as_ptr().cast(), size_of_val(second)) };
        } else {
            for (ahead, value) in values[..count].iter().enumerate() {
                let position = claim.position.wrapping_add(ahead as u64);
                self.fetch_ahead(position);
                self.put(position, value);
            }
        }
        for ahead in 1..claim.units {
            self.side.split(claim.position.wrapping_add(ahead), 1);
        }
        self.side.commit(claim, claim.units, 1);
        self.ring_data();
        Ok(count)
    }

    /// Sends all of `values` in order, waiting for room; as many at once as there is room for.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send). The error holds how many were sent before it.
    pub fn send_slice(&mut self, values: &[T]) -> Result<(), SendError<usize>> {
        let mut sent = 0;
        while sent < values.len() {
            let result = self.wait(None, |this| match this.offer_slice(&values[sent..]) {
                Ok(count) => Some(Ok(count)),
                Err(why) => why.for_good(sent).ok().map(Err),
            });
            match result {
                Some(count) => sent += count?,
                None => unreachable!("a wait without a deadline has a result"),
            }
        }
        Ok(())
    }

    /// Takes room for one message, to be written and committed later.
    ///
    /// # Errors
    ///
    /// As [`try_send`](Self::try_send).
    ///
    /// ```
    /// # use annulus::{RingOptions, TryRecvError, mpsc};
    /// # let ring: mpsc::Ring<u32> = RingOptions::new().capacity(4).heap()?;
    /// # let (mut sender, mut receiver) = (ring.sender()?, ring.receiver()?);
    /// let mut reservation = sender.try_reserve()?;
    /// reservation.write(7);
    /// reservation.commit();
    /// drop(sender.try_reserve()?); // given up, unseen
    /// assert_eq!(receiver.try_recv(), Ok(7));
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_reserve(&mut self) -> Result<Reservation<'_, T, K>, TrySendError> {
        match self.reserve_units(1, false) {
            Ok(claim) => {
                let mut reservation = Reservation::new(self, claim, size_of::<T>());
                reservation.write(T::zeroed());
                Ok(reservation)
            }
            Err(why) => Err(why.with(())),
        }
    }

    /// Takes room for one message, waiting for it.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn reserve(&mut self) -> Result<Reservation<'_, T, K>, SendError> {
        let claim = self.wait_reserve(1, false)?;
        let mut reservation = Reservation::new(self, claim, size_of::<T>());
        reservation.write(T::zeroed());
        Ok(reservation)
    }
}

impl<T: Message + ?Sized, K: Protocol> Sender<T, K> {
    fn reserve_units(&mut self, units: u64, contiguous: bool) -> Result<Claim, NotSent> {
        self.check_open()?;
        match self.side.claim(units, units, contiguous) {
            Ok(claim) => {
                self.open = Some(claim);
                Ok(claim)
            }
            Err(blocked) => Err(self.not_sent(blocked)),
        }
    }

    fn wait_reserve(&mut self, units: u64, contiguous: bool) -> Result<Claim, SendError> {
        let result = self.wait(None, |this| match this.reserve_units(units, contiguous) {
            Ok(claim) => Some(Ok(claim)),
            Err(why) => why.for_good(()).ok().map(Err),
        });
        match result {
            Some(result) => result,
            None => unreachable!("a wait without a deadline has a result"),
        }
    }
}
