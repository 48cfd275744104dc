//! The receiving handle: [`Receiver`].

use crate::attach::Shared;
use crate::error::AttachError;
use crate::geometry::Form;
use crate::guard::Peeked;
use crate::handle::{
    Link, ManyReceivers, Marker, Others, Protocol, WhenClosed, WhenDead, after, copy_out, corrupt,
    offset, unit, value_out,
};
use crate::layout::RECORD_HEADER;
use crate::lease::Side;
use crate::recover::{self, Left};
use crate::ring::{Message, capabilities};
use crate::side::{Blocked, Found, RecvSide};
use crate::wait::{self, Look};
use annulus_channel::{Capabilities, Fault, RecvError, RecvTimeoutError, TryRecvError};
use bytemuck::Pod;
use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Records that others may take before our eyes in one operation. A living peer cannot be so quick for so long, so
/// this is what ends the operation if the words are a hostile peer's.
const RACES: u32 = 1 << 16;

/// Changes of who is there that may come before our eyes in one look.
const CHANGES: u32 = 16;

/// The receiving end of a ring, attached under a lease of its own.
///
/// It may move to another thread, but two threads cannot use it at once; where many may receive, each
/// takes a handle ([`try_clone`](Self::try_clone), or [`Ring::receiver`](crate::Ring::receiver)), and each record goes to
/// one of them. Dropping it closes it: when the last receiver has closed, senders see that.
///
/// A plain `recv` takes a record at most once: what a receiver had taken when it was killed is lost with it,
/// one record at most. [`peek`](Self::peek) takes it at least once: it comes back unless it was released.
// Two that lie side by side, each in use by a thread, would else take a line from each other at every call.
#[repr(align(128))]
pub struct Receiver<T: Message + ?Sized, K: Protocol> {
    pub(crate) side: K::Rx,
    pub(crate) link: Link,
    /// A record whose guard was leaked.
    pub(crate) held: Option<Found>,
    /// The count of changes at which all senders were gone, before the last look, which found nothing.
    pub(crate) ended: Option<u64>,
    message: Marker<T>,
}

impl<T: Message + ?Sized, K: Protocol> fmt::Debug for Receiver<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("kind", &K::KIND)
            .field("lease", &self.link.seat.number)
            .finish_non_exhaustive()
    }
}

impl<T: Message + ?Sized, K: Protocol> Receiver<T, K> {
    pub(crate) fn attach(shared: &Arc<Shared>, trusted: bool) -> Result<Self, AttachError> {
        let mut link = Link::new(shared, Side::Receiver, trusted)?;
        match K::Rx::attach(shared.view, link.seat.number) {
            Ok(side) => Ok(Self {
                side,
                link,
                held: None,
                ended: None,
                message: PhantomData,
            }),
            Err(fault) => {
                shared.leave(&mut link.seat, Side::Receiver);
                Err(corrupt(fault))
            }
        }
    }

    /// What a call does when every sender was killed: wait for a successor, or fail. By default it waits
    /// on a ring with a name.
    pub fn on_peer_death(&mut self, what: WhenDead) {
        self.link.when_dead = what;
    }

    /// What a call does when every sender has closed: say so (the default), or wait for the next one.
    pub fn on_close(&mut self, what: WhenClosed) {
        self.link.when_closed = what;
    }

    /// How many senders have ever attached. Where there is one place, this is the epoch of its holders: it rises
    /// when a successor takes over, so a survivor that remembers it knows of the change. See
    /// [`Sender::peer_epoch`](crate::Sender::peer_epoch).
    pub fn peer_epoch(&self) -> u64 {
        self.link.arrivals_now()
    }

    /// How much is there to be received: messages (typed), or bytes. With many handles an estimate.
    pub fn len(&self) -> usize {
        let units = self.side.len() as usize;
        if self.side.view().geometry.form == Form::Typed {
            units
        } else {
            units * unit::<T, K>()
        }
    }

    /// Whether nothing is there, as [`len`](Self::len) sees it.
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

    /// Wakes senders, if any sleep. In a forked child the bell is always set, and what was received is nothing.
    #[inline]
    pub(crate) fn ring_room(&self) -> Result<(), TryRecvError> {
        let bell = &self.side.view().header().room.bell;
        if wait::has_sleepers(bell, self.link.registered) {
            self.wake_senders()?;
        }
        Ok(())
    }

    #[cold]
    fn wake_senders(&self) -> Result<(), TryRecvError> {
        self.link.check_forked().map_err(TryRecvError::Fault)?;
        wait::wake(&self.side.view().header().room.bell);
        Ok(())
    }

    /// After a held record is done: others who wait for its return, or for the end, wait no longer.
    pub(crate) fn ring_end(&mut self) {
        if K::KIND.many_receivers() && self.link.others() == Others::Closed {
            wait::ring(&self.side.view().header().data, self.link.registered);
        }
    }

    /// A guard was leaked with its record: it goes back before anything else is received. In an spsc ring that is nothing to do.
    #[inline]
    pub(crate) fn check_held(&mut self) {
        let alone = !K::KIND.many_senders() && !K::KIND.many_receivers();
        if !alone && self.held.is_some() {
            self.return_leaked();
        }
    }

    #[cold]
    pub(crate) fn return_leaked(&mut self) {
        if let Some(found) = self.held.take() {
            self.side.put_back(found);
            wait::ring(&self.side.view().header().data, self.link.registered);
        }
    }

    /// After a look that found nothing: `Ok` to look again, or why there is nothing.
    #[inline]
    fn nothing(&mut self, blocked: Blocked) -> Result<(), TryRecvError> {
        let bell = &self.side.view().header().room.bell;
        if blocked == Blocked::Empty
            && !wait::has_sleepers(bell, self.link.registered)
            && self.link.is_quiet()
        {
            return Err(TryRecvError::Empty);
        }
        self.find_out(blocked)
    }

    /// The same, at length.
    #[cold]
    fn find_out(&mut self, blocked: Blocked) -> Result<(), TryRecvError> {
        // Passing over what was given up makes room too.
        self.ring_room()?;
        if let Blocked::Fault(fault) = blocked {
            return Err(TryRecvError::Fault(fault));
        }
        self.link.idle();
        let end = match self.link.others() {
            Others::Closed if self.link.when_closed == WhenClosed::End => {
                TryRecvError::Disconnected
            }
            Others::Dead if self.link.when_dead == WhenDead::Fail => TryRecvError::PeerDead,
            Others::Dead | Others::Closed | Others::Present | Others::Expected => {
                self.ended = None;
                return Err(TryRecvError::Empty);
            }
        };
        if blocked == Blocked::Open {
            // Somebody died in the middle of a claim: repair it, and look behind it.
            self.link.unblock(self.side.front());
            return Err(TryRecvError::Empty);
        }
        // What the last sender sent before it went may have come after our look: look once more.
        if self.ended.replace(self.link.seen) != Some(self.link.seen) {
            return Ok(());
        }
        // What another receiver holds may yet come back.
        if K::KIND.many_receivers() && recover::left(self.side.view()) == Left::Records {
            return Err(TryRecvError::Empty);
        }
        Err(end)
    }

    /// Repeats `attempt`, sleeping while the ring is empty; nothing if `deadline` came first.
    fn wait<R>(
        &mut self,
        deadline: Option<Instant>,
        mut attempt: impl FnMut(&mut Self) -> Result<R, TryRecvError>,
    ) -> Result<R, RecvTimeoutError> {
        let mut once = |this: &mut Self| match attempt(this) {
            Ok(done) => Some(Ok(done)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::PeerDead) => Some(Err(RecvTimeoutError::PeerDead)),
            Err(TryRecvError::Fault(fault)) => Some(Err(RecvTimeoutError::Fault(fault))),
            Err(_) => Some(Err(RecvTimeoutError::Disconnected)),
        };
        if let Some(done) = once(self) {
            return done;
        }
        let shared = Arc::clone(&self.link.shared);
        let header = shared.view.header();
        let (bell, slice) = (&header.data, self.link.slice());
        let rescues = &header.audit.rescues;
        let mut patience = self.link.patience;
        let done = wait::until(bell, rescues, slice, deadline, &mut patience, |look| {
            match look {
                Look::Quickly => {}
                Look::BeforeSleep => self.link.unblock(self.side.front()),
                Look::Thoroughly => self.link.inspect(),
            }
            once(self)
        });
        self.link.patience = patience;
        done.unwrap_or(Err(RecvTimeoutError::Timeout))
    }
}

impl<T: Message + ?Sized, K: Protocol> Drop for Receiver<T, K> {
    fn drop(&mut self) {
        if self.link.seat.is_abandoned() || self.link.view().is_forked() {
            return;
        }
        self.return_leaked();
        let shared = Arc::clone(&self.link.shared);
        shared.leave(&mut self.link.seat, Side::Receiver);
    }
}

/// The error of a wait that had no deadline.
fn endless(error: RecvTimeoutError) -> RecvError {
    match error {
        RecvTimeoutError::Disconnected => RecvError::Disconnected,
        RecvTimeoutError::PeerDead => RecvError::PeerDead,
        RecvTimeoutError::Fault(fault) => RecvError::Fault(fault),
        _ => unreachable!("a wait without a deadline does not time out"),
    }
}

impl<T: Message + ?Sized, K: ManyReceivers> Receiver<T, K> {
    /// Attaches another receiver to the same ring, under a lease of its own.
    ///
    /// # Errors
    ///
    /// [`AttachError::TooMany`], or what the operating system refused.
    pub fn try_clone(&self) -> Result<Self, AttachError> {
        Self::attach(&self.link.shared, self.link.trusted)
    }
}

/// Typed messages.
impl<T: Pod, K: Protocol> Receiver<T, K> {
    /// Receives a message if there is one now.
    ///
    /// # Errors
    ///
    /// [`Empty`](TryRecvError::Empty), [`Disconnected`](TryRecvError::Disconnected) after the last message of the last
    /// sender, [`PeerDead`](TryRecvError::PeerDead), [`Fault`](TryRecvError::Fault).
    #[inline]
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.check_held();
        let mut glanced = self.side.glance();
        for _ in 0..RACES {
            let found = match glanced.take() {
                Some(found) => found,
                // Tells where the message is, and not what it is: that is copied once, from the ring to the caller.
                None => Found {
                    units: 1,
                    ..self.find()?
                },
            };
            if let Some(value) = self.take(found) {
                self.ring_room()?;
                return Ok(value);
            }
        }
        Err(TryRecvError::Empty)
    }

    /// Looks for a message at length.
    #[inline(never)]
    fn find(&mut self) -> Result<Found, TryRecvError> {
        for _ in 0..CHANGES {
            match self.side.look(1, false) {
                Ok(found) => return Ok(found),
                Err(blocked) => self.nothing(blocked)?,
            }
        }
        Err(TryRecvError::Empty)
    }

    /// Copies out what was found, and takes it; nothing if somebody else was first.
    #[inline]
    fn take(&mut self, found: Found) -> Option<T> {
        let mut value = MaybeUninit::uninit();
        self.read(found.position, value.as_mut_ptr());
        // SAFETY: `read` filled it, and any bytes are a value of a Pod type.
        self.side
            .confirm(found)
            .then(|| unsafe { value.assume_init() })
    }

    /// Copies the value of a unit out.
    #[inline]
    pub(crate) fn read(&self, position: u64, to: *mut T) {
        let view = self.side.view();
        let at = offset::<T, K>(view, position);
        // SAFETY: a unit that `look` found; `to` has room for a value.
        unsafe { value_out::<T, K>(view, at, to) };
    }

    /// Receives a message, waiting for one.
    ///
    /// # Errors
    ///
    /// As [`try_recv`](Self::try_recv), without `Empty`.
    pub fn recv(&mut self) -> Result<T, RecvError> {
        self.wait(None, Self::try_recv).map_err(endless)
    }

    /// Receives a message, waiting for one until `deadline`. Never gives up before it.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), or [`Timeout`](RecvTimeoutError::Timeout).
    pub fn recv_deadline(&mut self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.wait(Some(deadline), Self::try_recv)
    }

    /// Receives a message, waiting for one for at most `timeout`.
    ///
    /// # Errors
    ///
    /// As [`recv_deadline`](Self::recv_deadline).
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.wait(after(timeout), Self::try_recv)
    }

    /// Receives as many messages as there are now, at most as many as `values` holds, and gives back their
    /// space all at once where the receiver is single. Returns how many.
    ///
    /// # Errors
    ///
    /// As [`try_recv`](Self::try_recv), if there was not even one.
    pub fn try_recv_slice(&mut self, values: &mut [T]) -> Result<usize, TryRecvError> {
        if values.is_empty() {
            return Ok(0);
        }
        self.check_held();
        let mut count = 0;
        for _ in 0..RACES {
            let left = &mut values[count..];
            match self.side.look(left.len() as u64, false) {
                Ok(found) => {
                    let run = (found.units as usize).min(left.len());
                    if K::KIND.many_senders() || K::KIND.many_receivers() {
                        self.read(found.position, &raw mut left[0]);
                    } else {
                        self.read_run(found.position, &mut left[..run]);
                    }
                    if self.side.confirm(found) {
                        count += run;
                    }
                    if count == values.len() {
                        break;
                    }
                }
                Err(_) if count > 0 => break,
                Err(blocked) => self.nothing(blocked)?,
            }
        }
        if count == 0 {
            return Err(TryRecvError::Empty);
        }
        self.ring_room()?;
        Ok(count)
    }

    /// Copies a run of values out of units that lie side by side, but for the ring's end.
    fn read_run(&self, position: u64, to: &mut [T]) {
        let view = self.side.view();
        let to_end = view.units_left(position) as usize;
        let split = to_end.min(to.len());
        let (first, second) = to.split_at_mut(split);
        let at = offset::<T, K>(view, position);
        // SAFETY: units that `look` found, up to the ring's end.
        unsafe { copy_out::<K>(view, at, first.as_mut_ptr().cast(), size_of_val(first)) };
        // SAFETY: the rest of them, from index 0 on.
        unsafe { copy_out::<K>(view, 0, second.as_mut_ptr().cast(), size_of_val(second)) };
    }

    /// Receives at least one message, waiting for it, and as many more as there are.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn recv_slice(&mut self, values: &mut [T]) -> Result<usize, RecvError> {
        self.wait(None, |this| this.try_recv_slice(values))
            .map_err(endless)
    }

    /// An iterator that waits for messages and ends with the last sender.
    pub fn iter(&mut self) -> Iter<'_, T, K> {
        Iter { receiver: self }
    }

    /// An iterator over the messages that are there now.
    pub fn try_iter(&mut self) -> TryIter<'_, T, K> {
        TryIter { receiver: self }
    }
}

/// Byte records.
impl<K: Protocol> Receiver<[u8], K> {
    /// Receives a record if there is one now: `buffer` holds it and nothing else, and its length is
    /// returned. After an error `buffer` is empty.
    ///
    /// # Errors
    ///
    /// [`Empty`](TryRecvError::Empty), [`Disconnected`](TryRecvError::Disconnected) after the last record of the last
    /// sender, [`PeerDead`](TryRecvError::PeerDead), [`Fault`](TryRecvError::Fault).
    #[inline]
    pub fn try_recv(&mut self, buffer: &mut Vec<u8>) -> Result<usize, TryRecvError> {
        self.check_held();
        buffer.clear();
        for _ in 0..RACES {
            match self.side.look(1, true) {
                Ok(found) => {
                    let len = match self.read(found, buffer) {
                        Ok(len) => len,
                        Err(None) => continue,
                        Err(Some(fault)) => return Err(TryRecvError::Fault(fault)),
                    };
                    if self.side.confirm(found) {
                        return self
                            .ring_room()
                            .map(|()| len)
                            .inspect_err(|_| buffer.clear());
                    }
                    buffer.clear();
                }
                Err(blocked) => self.nothing(blocked)?,
            }
        }
        Err(TryRecvError::Empty)
    }

    /// Copies a record out, into an empty buffer. `Err(None)` if it was somebody else's meanwhile.
    #[inline]
    pub(crate) fn read(&self, found: Found, buffer: &mut Vec<u8>) -> Result<usize, Option<Fault>> {
        let len = self.record_len(found)?;
        let view = self.side.view();
        let at = offset::<[u8], K>(view, found.position) + RECORD_HEADER;
        buffer.reserve(len);
        // SAFETY: header and record are within the units found; the buffer has room for `len` bytes.
        unsafe { copy_out::<K>(view, at, buffer.as_mut_ptr(), len) };
        // SAFETY: that many bytes were just written.
        unsafe { buffer.set_len(len) };
        Ok(len)
    }

    /// The length of a record, checked against its units. `Err(None)` if it was somebody else's meanwhile.
    #[inline]
    fn record_len(&self, found: Found) -> Result<usize, Option<Fault>> {
        let view = self.side.view();
        let at = offset::<[u8], K>(view, found.position);
        // SAFETY: a unit's first word, within the payload.
        let header = unsafe { view.payload.load_word(at) };
        let most = found.units as usize * unit::<[u8], K>() - RECORD_HEADER;
        if header > most as u64 {
            let fault = Fault::Corrupt {
                what: "record length",
                found: header,
                expected: most as u64,
            };
            return Err(self.side.is_current(found).then_some(fault));
        }
        Ok(header as usize)
    }

    /// Receives a record, waiting for one.
    ///
    /// # Errors
    ///
    /// As [`try_recv`](Self::try_recv), without `Empty`.
    pub fn recv(&mut self, buffer: &mut Vec<u8>) -> Result<usize, RecvError> {
        self.wait(None, |this| this.try_recv(buffer))
            .map_err(endless)
    }

    /// Receives a record, waiting for one until `deadline`. Never gives up before it.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), or [`Timeout`](RecvTimeoutError::Timeout).
    pub fn recv_deadline(
        &mut self,
        buffer: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<usize, RecvTimeoutError> {
        self.wait(Some(deadline), |this| this.try_recv(buffer))
    }

    /// Receives a record, waiting for one for at most `timeout`.
    ///
    /// # Errors
    ///
    /// As [`recv_deadline`](Self::recv_deadline).
    pub fn recv_timeout(
        &mut self,
        buffer: &mut Vec<u8>,
        timeout: Duration,
    ) -> Result<usize, RecvTimeoutError> {
        self.wait(after(timeout), |this| this.try_recv(buffer))
    }

    /// Receives as many records as there are now, at most `max`, and gives each to `each`. Returns how many.
    /// `buffer` is working space.
    ///
    /// # Errors
    ///
    /// As [`try_recv`](Self::try_recv), if there was not even one.
    pub fn try_recv_batch(
        &mut self,
        max: usize,
        buffer: &mut Vec<u8>,
        mut each: impl FnMut(&[u8]),
    ) -> Result<usize, TryRecvError> {
        for count in 0..max {
            match self.try_recv(buffer) {
                Ok(_) => each(buffer),
                Err(_) if count > 0 => return Ok(count),
                Err(error) => return Err(error),
            }
        }
        Ok(max)
    }
}

impl<T: Message + ?Sized, K: Protocol> Receiver<T, K> {
    /// Looks at the next message and keeps it, if there is one now. It is gone for good when it is released,
    /// and comes back when the guard is dropped, or its holder killed.
    ///
    /// # Errors
    ///
    /// As `try_recv`.
    ///
    /// ```
    /// # use annulus::{RingOptions, mpmc};
    /// # let ring: mpmc::Ring<u32> = RingOptions::new().capacity(4).heap()?;
    /// # let (mut sender, mut receiver) = (ring.sender()?, ring.receiver()?);
    /// sender.send(7)?;
    /// drop(receiver.try_peek()?); // goes back
    /// let peeked = receiver.try_peek()?;
    /// assert_eq!((peeked.read(), peeked.tries()), (7, 1));
    /// peeked.release();
    /// assert!(receiver.try_recv().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_peek(&mut self) -> Result<Peeked<'_, T, K>, TryRecvError> {
        let (found, len) = self.hold_next()?;
        Ok(Peeked {
            receiver: self,
            found,
            len,
        })
    }

    /// Looks at the next message and keeps it, waiting for one.
    ///
    /// # Errors
    ///
    /// As `recv`.
    pub fn peek(&mut self) -> Result<Peeked<'_, T, K>, RecvError> {
        let (found, len) = self.wait(None, Self::hold_next).map_err(endless)?;
        Ok(Peeked {
            receiver: self,
            found,
            len,
        })
    }

    fn hold_next(&mut self) -> Result<(Found, usize), TryRecvError> {
        self.check_held();
        let bytes = self.side.view().geometry.form == Form::Bytes;
        for _ in 0..RACES {
            match self.side.look(1, bytes) {
                Ok(found) if self.side.hold(found) => {
                    let len = self.held_len(found)?;
                    // Passing over what was given up makes room too.
                    self.ring_room()?;
                    return Ok((found, len));
                }
                Ok(_) => {}
                Err(blocked) => self.nothing(blocked)?,
            }
        }
        Err(TryRecvError::Empty)
    }

    /// Notes that we hold a record, and tells its length. Held, it can be nobody else's, so a length that makes no
    /// sense is the sender's fault.
    fn held_len(&mut self, found: Found) -> Result<usize, TryRecvError> {
        self.held = Some(found);
        let view = self.side.view();
        if view.geometry.form == Form::Typed {
            return Ok(T::UNIT_ALONE);
        }
        // SAFETY: a unit's first word, within the payload.
        let header = unsafe { view.payload.load_word(view.offset(found.position)) };
        let most = found.units * view.geometry.unit_size - RECORD_HEADER as u64;
        if header > most {
            return Err(TryRecvError::Fault(Fault::Corrupt {
                what: "record length",
                found: header,
                expected: most,
            }));
        }
        Ok(header as usize)
    }
}

/// Waits for messages and ends with the last sender. Made by [`Receiver::iter`].
#[derive(Debug)]
pub struct Iter<'a, T: Pod, K: Protocol> {
    receiver: &'a mut Receiver<T, K>,
}

impl<T: Pod, K: Protocol> Iterator for Iter<'_, T, K> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

/// Gives the messages that are there. Made by [`Receiver::try_iter`].
#[derive(Debug)]
pub struct TryIter<'a, T: Pod, K: Protocol> {
    receiver: &'a mut Receiver<T, K>,
}

impl<T: Pod, K: Protocol> Iterator for TryIter<'_, T, K> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.try_recv().ok()
    }
}

impl<K: Protocol> annulus_channel::Receiver for Receiver<[u8], K> {
    fn try_recv(&mut self, buffer: &mut Vec<u8>) -> Result<usize, TryRecvError> {
        self.try_recv(buffer)
    }

    fn recv(&mut self, buffer: &mut Vec<u8>) -> Result<usize, RecvError> {
        self.recv(buffer)
    }

    fn recv_deadline(
        &mut self,
        buffer: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<usize, RecvTimeoutError> {
        self.recv_deadline(buffer, deadline)
    }

    fn capabilities(&self) -> Capabilities {
        capabilities(&self.link.shared)
    }
}
