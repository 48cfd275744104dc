//! What users hold: [`Sender`] and [`Receiver`]. Blocking, timeouts, batches and guards are written here,
//! once, over the five steps that each algorithm says in its own way (`side`).
//!
//! ```text
//! send   closed?  claim   copy in           commit   ring the data bell
//! recv            look    copy out, check   confirm  ring the room bell
//! ```

use crate::attach::Shared;
use crate::error::AttachError;
use crate::kind::Kind;
use crate::layout::{Form, RECORD_HEADER, View, bell};
use crate::lease::{Seat, Side};
use crate::ring::{Message, capabilities};
use crate::side::{Blocked, Claim, Found, RecvSide, SendSide, units_for};
use crate::sync::{AcqRel, Acquire, Relaxed};
use crate::wait::{self, Look};
use crate::{futex, mpmc, recover, spsc};
use annulus_channel::{
    Capabilities, Fault, RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError,
    TrySendError,
};
use bytemuck::Pod;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A kind of ring, as a type: [`Spsc`], [`Mpsc`], [`Spmc`] or [`Mpmc`].
#[allow(private_bounds, reason = "the trait is sealed")]
pub trait Protocol: Sides {
    /// The same as a value.
    const KIND: Kind;
}

/// The algorithm of each side.
pub(crate) trait Sides {
    type Tx: SendSide;
    type Rx: RecvSide;
}

macro_rules! protocol {
    ($(#[$doc:meta])* $name:ident, $tx:ty, $rx:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub enum $name {}

        impl Protocol for $name {
            const KIND: Kind = Kind::$name;
        }

        impl Sides for $name {
            type Tx = $tx;
            type Rx = $rx;
        }
    };
}

protocol!(
    /// One sender, one receiver.
    Spsc, spsc::Tx, spsc::Rx
);
protocol!(
    /// Many senders, one receiver.
    Mpsc, mpmc::Tx, mpmc::Rx
);
protocol!(
    /// One sender, many receivers; each record goes to one of them.
    Spmc, spsc::Tx, mpmc::Rx
);
protocol!(
    /// Many senders, many receivers; each record goes to one of them.
    Mpmc, mpmc::Tx, mpmc::Rx
);

/// What a blocked call does when everybody on the other side was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenDead {
    /// Go on waiting: a successor may come. The default where the ring has a name.
    Wait,
    /// Fail with `PeerDead`, within 100 ms. The default where nobody could find the ring.
    Fail,
}

/// What a receiver does when every sender has closed and all is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenClosed {
    /// Say `Disconnected`: this is the end. The default.
    End,
    /// Go on waiting for the next sender.
    Wait,
}

/// The other side, as the leases show it.
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

/// Attempts that found nothing, between looks at who has died.
const LOOKS: u32 = 1024;

/// The longest sleep of a handle that must tell a death within 100 ms.
const WATCHFUL_SLICE: Duration = Duration::from_millis(90);

/// What a handle of either side needs besides its algorithm.
struct Link {
    shared: Arc<Shared>,
    seat: Seat,
    side: Side,
    /// Our process gets membarriers, so a compiler fence will do before a look at a bell.
    registered: bool,
    /// References into the ring may be given out.
    trusted: bool,
    when_dead: WhenDead,
    when_closed: WhenClosed,
    /// The count of changes at which `others` was looked up.
    seen: u64,
    others: Others,
    /// Somebody of the other side was attached at some time since we are.
    met: bool,
    /// Arrivals on the other side when we came.
    arrivals: u64,
    /// Attempts that found nothing.
    idle: u32,
}

impl Link {
    fn new(shared: &Arc<Shared>, side: Side, trusted: bool) -> Result<Self, AttachError> {
        let registered = futex::register();
        let seat = shared.seat(side)?;
        let when_dead = if shared.is_named() { WhenDead::Wait } else { WhenDead::Fail };
        let mut link = Self {
            shared: Arc::clone(shared),
            seat,
            side,
            registered,
            trusted,
            when_dead,
            when_closed: WhenClosed::End,
            seen: 0,
            others: Others::Expected,
            met: false,
            arrivals: 0,
            idle: 0,
        };
        link.arrivals = link.arrivals_now();
        // A receiver that comes after the senders have gone shall still find the end.
        link.met = side == Side::Receiver && link.arrivals > 0;
        link.look_up();
        Ok(link)
    }

    fn view(&self) -> &View {
        &self.shared.view
    }

    fn arrivals_now(&self) -> u64 {
        let peers = &self.view().header().peers;
        // Relaxed: `changes`, read before with Acquire, publishes it.
        match self.side {
            Side::Sender => peers.receivers.load(Relaxed),
            Side::Receiver => peers.senders.load(Relaxed),
        }
    }

    /// The other side, looked up anew if anybody came or closed since.
    fn others(&mut self) -> Others {
        // Acquire: pairs with the Release of whoever came or closed; the lease is visible.
        if self.view().header().peers.changes.load(Acquire) != self.seen {
            self.look_up();
        }
        self.others
    }

    /// Looks the other side up in the leases. Asks the kernel about each holder until one lives.
    fn look_up(&mut self) {
        // Acquire: as in `others`. Read first, so that what changes during the look is looked at again.
        self.seen = self.view().header().peers.changes.load(Acquire);
        let mut found = None;
        for (number, holder) in self.shared.holders() {
            if holder.side != self.side {
                if self.shared.witness.is_alive(number, holder) {
                    found = Some(Others::Present);
                    break;
                }
                found = Some(Others::Dead);
            }
        }
        self.met |= found.is_some() || self.arrivals_now() != self.arrivals;
        let nobody = if self.met { Others::Closed } else { Others::Expected };
        self.others = found.unwrap_or(nobody);
    }

    /// Repairs what the dead left in the way, and looks the other side up.
    #[cold]
    fn inspect(&mut self) {
        recover::sweep(&self.shared.view, &self.shared.witness);
        self.look_up();
    }

    /// After an attempt that found nothing: now and then, inspects.
    fn idle(&mut self) {
        self.idle = self.idle.wrapping_add(1);
        if self.idle % LOOKS == 0 {
            self.inspect();
        }
    }

    /// Whether the last receiver has closed. Called when the data bell says so, which is only a hint.
    ///
    /// If there is a receiver after all, the bit is cleared, so that sending is quick again. A receiver that closes
    /// frees its lease and then sets the bit; should that set come before our clear, the second look
    /// sees the freed lease, because both are operations on the bell, and sets the bit again.
    #[cold]
    fn closed(&mut self) -> bool {
        match self.others() {
            Others::Closed => true,
            Others::Expected | Others::Dead => false,
            Others::Present => {
                let shared = Arc::clone(&self.shared);
                let word = shared.view.header().data.word();
                // AcqRel: see above.
                word.fetch_and(!bell::CLOSED, AcqRel);
                self.look_up();
                if self.others == Others::Closed {
                    word.fetch_or(bell::CLOSED, AcqRel);
                }
                self.others == Others::Closed
            }
        }
    }

    /// Whether the data bell hints that the last receiver has closed.
    #[inline]
    fn may_be_closed(&self) -> bool {
        // Relaxed: a hint. Whoever learned of the close by other means has ordered it.
        self.view().header().data.word().load(Relaxed) & bell::CLOSED != 0
    }

    #[inline]
    fn ring_data(&self) {
        wait::ring(&self.view().header().data, self.registered);
    }

    #[inline]
    fn ring_room(&self) {
        wait::ring(&self.view().header().room.bell, self.registered);
    }

    fn slice(&self) -> Duration {
        let watchful = self.when_dead == WhenDead::Fail && self.shared.file().is_some();
        if watchful { WATCHFUL_SLICE } else { wait::SLICE }
    }
}

/// Why nothing was sent, before it is known what is handed back.
enum NotSent {
    Full,
    Disconnected,
    PeerDead,
    TooLarge { len: usize, max: usize },
    Fault(Fault),
}

impl NotSent {
    fn with<T>(self, value: T) -> TrySendError<T> {
        match self {
            Self::Full => TrySendError::Full(value),
            Self::Disconnected => TrySendError::Disconnected(value),
            Self::PeerDead => TrySendError::PeerDead(value),
            Self::TooLarge { len, max } => TrySendError::TooLarge { value, len, max },
            Self::Fault(fault) => TrySendError::Fault(value, fault),
        }
    }

    /// The same for a call that waits, or nothing if it is to wait.
    fn for_good<T>(self, value: T) -> Result<SendError<T>, T> {
        self.with(value).or_full()
    }
}

/// Whether copies out of a ring of this kind may race with the next writer.
const fn shared_reads(kind: Kind) -> bool {
    kind.many_receivers()
}

/// Bytes of a unit.
const fn unit<T: Message + ?Sized, K: Protocol>() -> usize {
    if K::KIND.many_senders() || K::KIND.many_receivers() { T::UNIT_AMONG_MANY } else { T::UNIT_ALONE }
}

/// Copies bytes in.
///
/// # Safety
///
/// The range, rounded up to a word where reads are shared, is within a claim that nobody else has.
#[inline]
unsafe fn copy_in<K: Protocol>(view: &View, at: usize, from: *const u8, len: usize) {
    if shared_reads(K::KIND) {
        // SAFETY: the caller has the range alone to write; units are whole words.
        unsafe { view.payload.write_shared(at, from, len) };
    } else {
        // SAFETY: the caller has the range alone.
        unsafe { view.payload.write(at, from, len) };
    }
}

/// Copies bytes out.
///
/// # Safety
///
/// The range is within units that `look` found; where reads are not shared, nobody else has them. `to` has room.
#[inline]
unsafe fn copy_out<K: Protocol>(view: &View, at: usize, to: *mut u8, len: usize) {
    if shared_reads(K::KIND) {
        // SAFETY: within the payload; a race is allowed, and the copy thrown away if there was one.
        unsafe { view.payload.read_shared(at, to, len) };
    } else {
        // SAFETY: the receiver has the range alone until it releases it.
        unsafe { view.payload.read(at, to, len) };
    }
}

/// The byte offset of a position.
#[inline]
fn offset<T: Message + ?Sized, K: Protocol>(view: &View, position: u64) -> usize {
    view.index(position) as usize * unit::<T, K>()
}

/// The sending end of a ring, attached under a lease of its own.
///
/// It may move to another thread, but two threads cannot use it at once; where many may send, each takes
/// a handle ([`try_clone`](Self::try_clone), or [`Ring::sender`](crate::Ring::sender)). Dropping it closes it: when the
/// last sender has closed, receivers see the end after the last record.
///
/// The path of a message allocates nothing and makes no system call unless a receiver sleeps. A panic-free
/// operation on a corrupt region says [`Fault`](TrySendError::Fault), and says it ever after.
pub struct Sender<T: Message + ?Sized, K: Protocol> {
    side: K::Tx,
    link: Link,
    /// A claim whose guard was leaked.
    open: Option<Claim>,
    message: PhantomData<(fn(Box<T>), Cell<()>)>,
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

    /// How much of the ring is in use: messages (typed), or bytes. With many handles an estimate.
    pub fn len(&self) -> usize {
        let units = self.side.len() as usize;
        if self.side.view().geometry.form == Form::Typed { units } else { units * unit::<T, K>() }
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
        let _ = std::mem::ManuallyDrop::new(self);
    }

    /// Whether sending is over: asked before every claim.
    #[inline]
    fn check_open(&mut self) -> Result<(), NotSent> {
        if K::KIND.many_senders() && self.open.is_some() {
            self.abort_leaked();
        }
        if self.link.may_be_closed() && self.link.closed() {
            return Err(NotSent::Disconnected);
        }
        Ok(())
    }

    /// A guard was leaked with its claim: no later claim may be made while it is open.
    #[cold]
    fn abort_leaked(&mut self) {
        if let Some(claim) = self.open.take() {
            self.side.abort(claim);
            self.link.ring_data();
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
        wait::until(bell, &header.audit.rescues, slice, deadline, |look| {
            if look == Look::Thoroughly {
                self.link.inspect();
            }
            attempt(self)
        })
    }
}

impl<T: Message + ?Sized, K: Protocol> Drop for Sender<T, K> {
    fn drop(&mut self) {
        self.abort_leaked();
        let shared = Arc::clone(&self.link.shared);
        shared.leave(&mut self.link.seat, Side::Sender);
    }
}

/// Another sender on the same ring, under a lease of its own.
macro_rules! try_clone {
    ($kind:ty, $handle:ident, $doc:expr) => {
        impl<T: Message + ?Sized> $handle<T, $kind> {
            #[doc = $doc]
            ///
            /// # Errors
            ///
            /// [`AttachError::TooMany`], or what the operating system refused.
            pub fn try_clone(&self) -> Result<Self, AttachError> {
                Self::attach(&self.link.shared, self.link.trusted)
            }
        }
    };
}

try_clone!(Mpsc, Sender, "Attaches another sender to the same ring.");
try_clone!(Mpmc, Sender, "Attaches another sender to the same ring.");
try_clone!(Spmc, Receiver, "Attaches another receiver to the same ring.");
try_clone!(Mpmc, Receiver, "Attaches another receiver to the same ring.");

fn corrupt(fault: Fault) -> AttachError {
    match fault {
        Fault::Corrupt {
            what,
            found,
            expected,
        } => AttachError::Corrupt {
            what,
            found,
            expected,
        },
        Fault::Os { call, errno } => AttachError::Os { call, errno },
        _ => AttachError::Os {
            call: "attach",
            errno: 0,
        },
    }
}

/// The time at which `timeout` is over; nothing if that is beyond the clock.
fn after(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
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
        self.check_open()?;
        let claim = match self.side.claim(1, 1, false) {
            Ok(claim) => claim,
            Err(blocked) => return Err(self.not_sent(blocked)),
        };
        self.write(claim.position, value);
        self.side.commit(claim, 1, 1);
        self.link.ring_data();
        Ok(())
    }

    /// Copies a value into a unit of an open claim.
    #[inline]
    fn write(&mut self, position: u64, value: &T) {
        let view = self.side.view();
        let at = offset::<T, K>(view, position);
        // SAFETY: the unit is claimed, and nobody else's until the commit.
        unsafe { copy_in::<K>(view, at, (&raw const *value).cast(), size_of::<T>()) };
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
    pub fn send_deadline(&mut self, value: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
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

    fn send_until(&mut self, value: T, deadline: Option<Instant>) -> Option<Result<(), SendError<T>>> {
        self.wait(deadline, |this| match this.offer(&value) {
            Ok(()) => Some(Ok(())),
            Err(why) => why.for_good(value).ok().map(Err),
        })
    }

    /// Sends as many of `values` as there is room for now, from the first on, and makes them visible all at
    /// once. Returns how many.
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
            let to_end = (view.geometry.units - view.index(claim.position)) as usize;
            let (first, second) = values[..count].split_at(to_end.min(count));
            let at = offset::<T, K>(view, claim.position);
            // SAFETY: the units are claimed, and lie side by side.
            unsafe { copy_in::<K>(view, at, first.as_ptr().cast(), size_of_val(first)) };
            // SAFETY: likewise, from index 0 on.
            unsafe { copy_in::<K>(view, 0, second.as_ptr().cast(), size_of_val(second)) };
        } else {
            for (position, value) in (claim.position..).zip(&values[..count]) {
                self.write(position, value);
            }
        }
        for ahead in 1..claim.units {
            self.side.split(claim.position.wrapping_add(ahead), 1);
        }
        self.side.commit(claim, claim.units, 1);
        self.link.ring_data();
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

/// Byte records.
impl<K: Protocol> Sender<[u8], K> {
    /// The longest record that can be sent: half the ring, less 8 bytes.
    pub fn max_record(&self) -> usize {
        self.side.view().geometry.max_record()
    }

    /// Sends `record` if there is room now.
    ///
    /// # Errors
    ///
    /// [`Full`](TrySendError::Full), [`TooLarge`](TrySendError::TooLarge) with both lengths,
    /// [`Disconnected`](TrySendError::Disconnected) when the last receiver has closed, [`PeerDead`](TrySendError::PeerDead),
    /// [`Fault`](TrySendError::Fault). Nothing was sent.
    ///
    /// ```
    /// # use annulus::{RingOptions, mpmc};
    /// let ring: mpmc::Ring<[u8]> = RingOptions::new().capacity(4096).heap()?;
    /// let (mut sender, mut receiver) = (ring.sender()?, ring.receiver()?);
    /// sender.try_send(b"a whole record")?;
    /// let mut buffer = Vec::new();
    /// assert_eq!(receiver.try_recv(&mut buffer), Ok(14));
    /// assert_eq!(buffer, b"a whole record");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn try_send(&mut self, record: &[u8]) -> Result<(), TrySendError> {
        self.offer(record).map_err(|why| why.with(()))
    }

    fn check_len(&self, len: usize) -> Result<u64, NotSent> {
        let max = self.max_record();
        if len > max {
            return Err(NotSent::TooLarge { len, max });
        }
        Ok(units_for(len, unit::<[u8], K>() as u64))
    }

    #[inline]
    fn offer(&mut self, record: &[u8]) -> Result<(), NotSent> {
        let units = self.check_len(record.len())?;
        self.check_open()?;
        let claim = match self.side.claim(units, units, true) {
            Ok(claim) => claim,
            Err(blocked) => return Err(self.not_sent(blocked)),
        };
        self.write(claim.position, record);
        self.side.commit(claim, units, units);
        self.link.ring_data();
        Ok(())
    }

    /// Copies a record with its header into an open claim, in which it fits.
    #[inline]
    fn write(&mut self, position: u64, record: &[u8]) {
        let view = self.side.view();
        let at = offset::<[u8], K>(view, position);
        // SAFETY: a claimed unit's first word.
        unsafe { view.payload.store_word(at, record.len() as u64) };
        // SAFETY: the claim has units for the header and for the record, rounded up.
        unsafe { copy_in::<K>(view, at + RECORD_HEADER, record.as_ptr(), record.len()) };
    }

    /// Sends `record`, waiting for room.
    ///
    /// # Errors
    ///
    /// As [`try_send`](Self::try_send), without `Full`.
    pub fn send(&mut self, record: &[u8]) -> Result<(), SendError> {
        match self.send_until(record, None) {
            Some(result) => result,
            None => unreachable!("a wait without a deadline has a result"),
        }
    }

    /// Sends `record`, waiting for room until `deadline`. Never gives up before it.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), or [`Timeout`](SendTimeoutError::Timeout).
    pub fn send_deadline(&mut self, record: &[u8], deadline: Instant) -> Result<(), SendTimeoutError> {
        match self.send_until(record, Some(deadline)) {
            Some(result) => result.map_err(SendTimeoutError::from),
            None => Err(SendTimeoutError::Timeout(())),
        }
    }

    /// Sends `record`, waiting for room for at most `timeout`.
    ///
    /// # Errors
    ///
    /// As [`send_deadline`](Self::send_deadline).
    pub fn send_timeout(&mut self, record: &[u8], timeout: Duration) -> Result<(), SendTimeoutError> {
        match self.send_until(record, after(timeout)) {
            Some(result) => result.map_err(SendTimeoutError::from),
            None => Err(SendTimeoutError::Timeout(())),
        }
    }

    fn send_until(&mut self, record: &[u8], deadline: Option<Instant>) -> Option<Result<(), SendError>> {
        self.wait(deadline, |this| match this.offer(record) {
            Ok(()) => Some(Ok(())),
            Err(why) => why.for_good(()).ok().map(Err),
        })
    }

    /// Sends as many of `records` as there is room for now, from the first on, and makes them visible all
    /// at once. Returns how many. Records up to the ring's end go together; those beyond it in the next call.
    ///
    /// # Errors
    ///
    /// As [`try_send`](Self::try_send), for the first record. A later one that is too large ends the batch
    /// before it.
    pub fn try_send_batch(&mut self, records: &[&[u8]]) -> Result<usize, TrySendError> {
        self.offer_batch(records).map_err(|why| why.with(()))
    }

    fn offer_batch(&mut self, records: &[&[u8]]) -> Result<usize, NotSent> {
        let Some(first) = records.first() else {
            self.check_open()?;
            return Ok(0);
        };
        let least = self.check_len(first.len())?;
        self.check_open()?;
        let most: u64 = records.iter().map_while(|record| self.check_len(record.len()).ok()).sum();
        let claim = match self.side.claim(least, most, true) {
            Ok(claim) => claim,
            Err(blocked) => return Err(self.not_sent(blocked)),
        };
        let (mut used, mut count) = (0, 0);
        for record in records {
            let units = units_for(record.len(), unit::<[u8], K>() as u64);
            if used + units > claim.units || record.len() > self.max_record() {
                break;
            }
            let position = claim.position.wrapping_add(used);
            self.write(position, record);
            if count > 0 {
                self.side.split(position, units);
            }
            used += units;
            count += 1;
        }
        self.side.commit(claim, used, least);
        self.link.ring_data();
        Ok(count)
    }

    /// Sends all of `records` in order, waiting for room; as many at once as there is room for.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send). The error holds how many were sent before it.
    pub fn send_batch(&mut self, records: &[&[u8]]) -> Result<(), SendError<usize>> {
        let mut sent = 0;
        while sent < records.len() {
            let result = self.wait(None, |this| match this.offer_batch(&records[sent..]) {
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

    /// Takes room for a record of at most `len` bytes, to be written and committed later.
    ///
    /// # Errors
    ///
    /// As [`try_send`](Self::try_send).
    ///
    /// ```
    /// # use annulus::{RingOptions, spsc};
    /// # let ring: spsc::Ring<[u8]> = RingOptions::new().capacity(4096).heap()?;
    /// # let (mut sender, mut receiver) = (ring.sender()?, ring.receiver()?);
    /// let mut reservation = sender.try_reserve(100)?;
    /// reservation.write_at(0, b"head");
    /// reservation.write_at(4, b"tail");
    /// reservation.commit_len(8);
    /// let mut buffer = Vec::new();
    /// assert_eq!(receiver.try_recv(&mut buffer), Ok(8));
    /// assert_eq!(buffer, b"headtail");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_reserve(&mut self, len: usize) -> Result<Reservation<'_, [u8], K>, TrySendError> {
        let claim = self.check_len(len).and_then(|units| self.reserve_units(units, true));
        match claim {
            Ok(claim) => Ok(Reservation::new(self, claim, len)),
            Err(why) => Err(why.with(())),
        }
    }

    /// Takes room for a record of at most `len` bytes, waiting for it.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn reserve(&mut self, len: usize) -> Result<Reservation<'_, [u8], K>, SendError> {
        let units = match self.check_len(len) {
            Ok(units) => units,
            Err(NotSent::TooLarge { len, max }) => return Err(SendError::TooLarge { value: (), len, max }),
            Err(_) => unreachable!("a length is too large or not"),
        };
        let claim = self.wait_reserve(units, true)?;
        Ok(Reservation::new(self, claim, len))
    }
}

/// Room for one message that nobody sees until it is committed. Dropping it gives it up.
///
/// While it is open, receivers of a ring with total order wait for it as soon as they come to it; so do not
/// hold it long. Leaked (`mem::forget`), it is given up by the next operation of its sender.
#[must_use = "a reservation that is not committed sends nothing"]
pub struct Reservation<'a, T: Message + ?Sized, K: Protocol> {
    sender: &'a mut Sender<T, K>,
    claim: Claim,
    len: usize,
}

impl<T: Message + ?Sized, K: Protocol> fmt::Debug for Reservation<'_, T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("len", &self.len).finish_non_exhaustive()
    }
}

impl<'a, T: Message + ?Sized, K: Protocol> Reservation<'a, T, K> {
    fn new(sender: &'a mut Sender<T, K>, claim: Claim, len: usize) -> Self {
        Self { sender, claim, len }
    }

    fn publish(self, used: u64) {
        let mut this = std::mem::ManuallyDrop::new(self);
        let claim = this.claim;
        this.sender.open = None;
        this.sender.side.commit(claim, used, used);
        this.sender.link.ring_data();
    }
}

impl<T: Message + ?Sized, K: Protocol> Drop for Reservation<'_, T, K> {
    fn drop(&mut self) {
        self.sender.open = None;
        self.sender.side.abort(self.claim);
        // Receivers may sleep before the claim, with records behind it.
        self.sender.link.ring_data();
    }
}

impl<T: Pod, K: Protocol> Reservation<'_, T, K> {
    /// Writes the message. Until then it is all zeros.
    pub fn write(&mut self, value: T) {
        self.sender.write(self.claim.position, &value);
    }

    /// Makes the message visible to receivers.
    pub fn commit(self) {
        self.publish(1);
    }
}

impl<K: Protocol> Reservation<'_, [u8], K> {
    /// The record's greatest length, as it was asked for.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it was asked for no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies `bytes` into the record, from byte `at` on. What is never written holds whatever lay there.
    ///
    /// # Panics
    ///
    /// If they reach beyond the record's end.
    pub fn write_at(&mut self, at: usize, bytes: &[u8]) {
        let end = at.checked_add(bytes.len());
        assert!(
            end.is_some_and(|end| end <= self.len),
            "{} bytes at {at} reach beyond a record of {} bytes",
            bytes.len(),
            self.len
        );
        let view = self.sender.side.view();
        let start = offset::<[u8], K>(view, self.claim.position) + RECORD_HEADER;
        if !shared_reads(K::KIND) {
            // SAFETY: within the claim, which is ours alone.
            unsafe { view.payload.write(start + at, bytes.as_ptr(), bytes.len()) };
            return;
        }
        // Shared access goes by whole words, so the first and the last are completed with what is there.
        let mut done = 0;
        while done < bytes.len() {
            let word_at = (at + done) / 8 * 8;
            let within = at + done - word_at;
            let count = (8 - within).min(bytes.len() - done);
            // SAFETY: a word of the claim, which is ours alone to write.
            let mut word = unsafe { view.payload.load_word(start + word_at) }.to_ne_bytes();
            word[within..within + count].copy_from_slice(&bytes[done..done + count]);
            // SAFETY: the same word.
            unsafe { view.payload.store_word(start + word_at, u64::from_ne_bytes(word)) };
            done += count;
        }
    }

    /// The record's bytes in place. Only on a ring with one receiver whose peers are trusted
    /// ([`Ring::trust_peers`](crate::Ring::trust_peers)) or that lies on the heap; else nothing.
    pub fn as_mut_slice(&mut self) -> Option<&mut [u8]> {
        if !self.sender.link.trusted || shared_reads(K::KIND) {
            return None;
        }
        let view = self.sender.side.view();
        let start = offset::<[u8], K>(view, self.claim.position) + RECORD_HEADER;
        // SAFETY: within the claim.
        let bytes = unsafe { view.payload.in_place(start) }?;
        // SAFETY: the claim is ours alone, since the peers keep the protocol (`trust_peers`), and initialised.
        Some(unsafe { std::slice::from_raw_parts_mut(bytes, self.len) })
    }

    /// Makes the record visible to receivers.
    pub fn commit(self) {
        let len = self.len;
        self.commit_len(len);
    }

    /// Makes the first `len` bytes visible as the record.
    ///
    /// # Panics
    ///
    /// If that is more than were asked for.
    pub fn commit_len(self, len: usize) {
        assert!(len <= self.len, "{len} bytes to commit, {} were reserved", self.len);
        let view = self.sender.side.view();
        let at = offset::<[u8], K>(view, self.claim.position);
        // SAFETY: a claimed unit's first word.
        unsafe { view.payload.store_word(at, len as u64) };
        let used = units_for(len, unit::<[u8], K>() as u64);
        self.publish(used);
    }
}

/// The receiving end of a ring, attached under a lease of its own.
///
/// It may move to another thread, but two threads cannot use it at once; where many may receive, each
/// takes a handle ([`try_clone`](Self::try_clone), or [`Ring::receiver`](crate::Ring::receiver)), and each record goes to
/// one of them. Dropping it closes it: when the last receiver has closed, senders see that.
///
/// A plain `recv` takes a record at most once: what a receiver had taken when it was killed is lost with it,
/// one record at most. [`peek`](Self::peek) takes it at least once: it comes back unless it was released.
pub struct Receiver<T: Message + ?Sized, K: Protocol> {
    side: K::Rx,
    link: Link,
    /// A record whose guard was leaked.
    held: Option<Found>,
    /// All senders were gone before the last look, which found nothing.
    ended: bool,
    message: PhantomData<(fn() -> Box<T>, Cell<()>)>,
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
                ended: false,
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

    /// How much is there to be received: messages (typed), or bytes. With many handles an estimate.
    pub fn len(&self) -> usize {
        let units = self.side.len() as usize;
        if self.side.view().geometry.form == Form::Typed { units } else { units * unit::<T, K>() }
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
        let _ = std::mem::ManuallyDrop::new(self);
    }

    /// A guard was leaked with its record: it goes back before anything else is received.
    #[inline]
    fn check_held(&mut self) {
        if self.held.is_some() {
            self.return_leaked();
        }
    }

    #[cold]
    fn return_leaked(&mut self) {
        if let Some(found) = self.held.take() {
            self.side.put_back(found);
            self.link.ring_data();
        }
    }

    /// After a look that found nothing: `Ok` to look again, or why there is nothing.
    #[cold]
    fn nothing(&mut self, blocked: Blocked) -> Result<(), TryRecvError> {
        if let Blocked::Fault(fault) = blocked {
            return Err(TryRecvError::Fault(fault));
        }
        // Passing over what was given up makes room too.
        self.link.ring_room();
        self.link.idle();
        let end = match self.link.others() {
            Others::Closed if self.link.when_closed == WhenClosed::End => TryRecvError::Disconnected,
            Others::Dead if self.link.when_dead == WhenDead::Fail => TryRecvError::PeerDead,
            Others::Dead | Others::Closed | Others::Present | Others::Expected => {
                self.ended = false;
                return Err(TryRecvError::Empty);
            }
        };
        if blocked == Blocked::Open {
            // Somebody died in the middle of a claim: repair it, and look behind it.
            self.link.inspect();
            return Err(TryRecvError::Empty);
        }
        // What the last sender sent before it went may have come after our look: look once more.
        if std::mem::replace(&mut self.ended, true) { Err(end) } else { Ok(()) }
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
        let slice = self.link.slice();
        let done = wait::until(&header.data, &header.audit.rescues, slice, deadline, |look| {
            if look == Look::Thoroughly {
                self.link.inspect();
            }
            once(self)
        });
        done.unwrap_or(Err(RecvTimeoutError::Timeout))
    }
}

impl<T: Message + ?Sized, K: Protocol> Drop for Receiver<T, K> {
    fn drop(&mut self) {
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
        loop {
            match self.side.look(1, false) {
                Ok(found) => {
                    let mut value = MaybeUninit::uninit();
                    self.read(found.position, value.as_mut_ptr());
                    if self.side.confirm(found) {
                        self.link.ring_room();
                        // SAFETY: `read` filled it, and any bytes are a value of a Pod type.
                        return Ok(unsafe { value.assume_init() });
                    }
                }
                Err(blocked) => self.nothing(blocked)?,
            }
        }
    }

    /// Copies the value of a unit out.
    #[inline]
    fn read(&self, position: u64, to: *mut T) {
        let view = self.side.view();
        let at = offset::<T, K>(view, position);
        // SAFETY: a unit that `look` found; `to` has room for a value.
        unsafe { copy_out::<K>(view, at, to.cast(), size_of::<T>()) };
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
        loop {
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
                    if count < values.len() {
                        continue;
                    }
                }
                Err(_) if count > 0 => {}
                Err(blocked) => {
                    self.nothing(blocked)?;
                    continue;
                }
            }
            self.link.ring_room();
            return Ok(count);
        }
    }

    /// Copies a run of values out of units that lie side by side, but for the ring's end.
    fn read_run(&self, position: u64, to: &mut [T]) {
        let view = self.side.view();
        let to_end = (view.geometry.units - view.index(position)) as usize;
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
        self.wait(None, |this| this.try_recv_slice(values)).map_err(endless)
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
        loop {
            match self.side.look(1, true) {
                Ok(found) => {
                    let len = match self.read(found, buffer) {
                        Ok(len) => len,
                        Err(None) => continue,
                        Err(Some(fault)) => return Err(TryRecvError::Fault(fault)),
                    };
                    if self.side.confirm(found) {
                        self.link.ring_room();
                        return Ok(len);
                    }
                    buffer.clear();
                }
                Err(blocked) => self.nothing(blocked)?,
            }
        }
    }

    /// Copies a record out. `Err(None)` if it was somebody else's meanwhile.
    #[inline]
    fn read(&self, found: Found, buffer: &mut Vec<u8>) -> Result<usize, Option<Fault>> {
        let len = self.record_len(found)?;
        let view = self.side.view();
        let at = offset::<[u8], K>(view, found.position) + RECORD_HEADER;
        buffer.clear();
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
        self.wait(None, |this| this.try_recv(buffer)).map_err(endless)
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
        loop {
            match self.side.look(1, bytes) {
                Ok(found) if self.side.hold(found) => {
                    self.held = Some(found);
                    // Held, it can be nobody else's, so a length that makes no sense is the sender's fault.
                    let len = if bytes { self.held_len(found)? } else { T::UNIT_ALONE };
                    return Ok((found, len));
                }
                Ok(_) => {}
                Err(blocked) => self.nothing(blocked)?,
            }
        }
    }

    fn held_len(&mut self, found: Found) -> Result<usize, TryRecvError> {
        let view = self.side.view();
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

/// A message that a receiver has taken and not yet released. Dropping it makes it available again.
///
/// On a ring with one receiver nothing else can be received meanwhile, and its return is no redelivery. On one
/// with many, the others go on with the records behind it.
#[must_use = "a message that is not released comes back"]
pub struct Peeked<'a, T: Message + ?Sized, K: Protocol> {
    receiver: &'a mut Receiver<T, K>,
    found: Found,
    len: usize,
}

impl<T: Message + ?Sized, K: Protocol> fmt::Debug for Peeked<'_, T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peeked").field("tries", &self.tries()).finish_non_exhaustive()
    }
}

impl<T: Message + ?Sized, K: Protocol> Peeked<'_, T, K> {
    /// How often the message was taken before and came back: 0 at first, at most 63. On a ring with one receiver
    /// always 0.
    pub fn tries(&self) -> u64 {
        self.found.tries
    }

    /// Acknowledges the message: it is done, and its space is free.
    pub fn release(self) {
        let mut this = std::mem::ManuallyDrop::new(self);
        let found = this.found;
        this.receiver.held = None;
        this.receiver.side.release(found);
        this.receiver.link.ring_room();
    }
}

impl<T: Message + ?Sized, K: Protocol> Drop for Peeked<'_, T, K> {
    fn drop(&mut self) {
        self.receiver.return_leaked();
    }
}

impl<T: Pod, K: Protocol> Peeked<'_, T, K> {
    /// The message.
    pub fn read(&self) -> T {
        let mut value = MaybeUninit::uninit();
        self.receiver.read(self.found.position, value.as_mut_ptr());
        // SAFETY: `read` filled it, and any bytes are a value of a Pod type.
        unsafe { value.assume_init() }
    }
}

impl<K: Protocol> Peeked<'_, [u8], K> {
    /// The record's length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the record has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies the record out: `buffer` holds it and nothing else.
    pub fn read(&self, buffer: &mut Vec<u8>) {
        let view = self.receiver.side.view();
        let at = offset::<[u8], K>(view, self.found.position) + RECORD_HEADER;
        buffer.clear();
        buffer.reserve(self.len);
        // SAFETY: the record is within the units that we hold; the buffer has room.
        unsafe { copy_out::<K>(view, at, buffer.as_mut_ptr(), self.len) };
        // SAFETY: that many bytes were just written.
        unsafe { buffer.set_len(self.len) };
    }

    /// The record's bytes in place. Only on a ring whose peers are trusted
    /// ([`Ring::trust_peers`](crate::Ring::trust_peers)) or that lies on the heap; else nothing.
    pub fn as_slice(&self) -> Option<&[u8]> {
        if !self.receiver.link.trusted {
            return None;
        }
        let view = self.receiver.side.view();
        let at = offset::<[u8], K>(view, self.found.position) + RECORD_HEADER;
        // SAFETY: within the units that we hold.
        let bytes = unsafe { view.payload.in_place(at) }?;
        // SAFETY: nobody writes to a record that is held, since the peers keep the protocol (`trust_peers`).
        Some(unsafe { std::slice::from_raw_parts(bytes, self.len) })
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

impl<K: Protocol> annulus_channel::Sender for Sender<[u8], K> {
    fn try_send(&mut self, record: &[u8]) -> Result<(), TrySendError> {
        self.try_send(record)
    }

    fn send(&mut self, record: &[u8]) -> Result<(), SendError> {
        self.send(record)
    }

    fn send_deadline(&mut self, record: &[u8], deadline: Instant) -> Result<(), SendTimeoutError> {
        self.send_deadline(record, deadline)
    }

    fn max_record(&self) -> usize {
        self.max_record()
    }

    fn capabilities(&self) -> Capabilities {
        capabilities(&self.link.shared)
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
