//! What handles of both sides need: the kinds as types, the tie to the ring, and the copies in and out.
//!
//! Blocking, timeouts, batches and guards are written once, in `sender`, `receiver` and `guard`, over the
//! five steps that each algorithm says in its own way (`side`).
//!
//! ```text
//! send   closed?  claim   copy in           commit   ring the data bell
//! recv            look    copy out, check   confirm  ring the room bell
//! ```

use crate::attach::Shared;
use crate::error::AttachError;
use crate::kind::Kind;
use crate::layout::bell;
use crate::lease::{Seat, Side};
use crate::ring::Message;
use crate::side::{RecvSide, SendSide};
use crate::sync::{AcqRel, Acquire, Relaxed};
use crate::view::View;
use crate::wait::{self, Patience};
use crate::{futex, mpmc, recover, spsc};
use annulus_channel::{Fault, SendError, TrySendError};
use std::cell::Cell;
use std::marker::PhantomData;
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

/// A kind of ring on which several senders may act at once.
pub trait ManySenders: Protocol {}
impl ManySenders for Mpsc {}
impl ManySenders for Mpmc {}

/// A kind of ring on which several receivers may act at once.
pub trait ManyReceivers: Protocol {}
impl ManyReceivers for Spmc {}
impl ManyReceivers for Mpmc {}

/// What a handle is besides its fields: something for `T`, that may move to another thread (`Send`) but
/// not be used by two at once (not `Sync`).
pub(crate) type Marker<T> = PhantomData<(fn(Box<T>), Cell<()>)>;

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

/// Attempts that found nothing, between looks at who has died.
const LOOKS: u32 = 4096;

/// Records of one inspection: enough for most rings, and less than 0.1 % of the time between two.
const SWEEP: u64 = 1 << 14;

/// How often a look at the leases is repeated if it finds nobody living while others come and go. Living peers are not so
/// quick for so long.
const LOOK_UPS: u32 = 64;

/// The longest sleep of a handle that must tell a death within 100 ms.
const WATCHFUL_SLICE: Duration = Duration::from_millis(90);

/// What a handle of either side needs besides its algorithm.
pub(crate) struct Link {
    pub(crate) shared: Arc<Shared>,
    pub(crate) seat: Seat,
    pub(crate) side: Side,
    /// Our process gets membarriers, so a compiler fence will do before a look at a bell.
    pub(crate) registered: bool,
    /// References into the ring may be given out.
    pub(crate) trusted: bool,
    pub(crate) when_dead: WhenDead,
    pub(crate) when_closed: WhenClosed,
    /// The count of changes at which `others` was looked up.
    pub(crate) seen: u64,
    pub(crate) others: Others,
    /// Somebody of the other side was attached at some time since we are.
    pub(crate) met: bool,
    /// Arrivals on the other side when we came.
    pub(crate) arrivals: u64,
    /// Attempts that found nothing.
    pub(crate) idle: u32,
    /// How far the last inspection got.
    pub(crate) swept: u64,
    /// How long to spin before a sleep.
    pub(crate) patience: Patience,
}

impl Link {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        side: Side,
        trusted: bool,
    ) -> Result<Self, AttachError> {
        let registered = futex::register();
        let seat = shared.seat(side)?;
        let when_dead = if shared.is_named() {
            WhenDead::Wait
        } else {
            WhenDead::Fail
        };
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
            swept: 0,
            patience: Patience::new(),
        };
        link.arrivals = link.arrivals_now();
        // A receiver that comes after the senders have gone shall still find the end.
        link.met = side == Side::Receiver && link.arrivals > 0;
        link.look_up();
        Ok(link)
    }

    pub(crate) fn view(&self) -> &View {
        &self.shared.view
    }

    pub(crate) fn arrivals_now(&self) -> u64 {
        let peers = &self.view().header().peers;
        // Acquire: pairs with the Release in `Shared::seat`; the lease that was taken before is visible.
        match self.side {
            Side::Sender => peers.receivers.load(Acquire),
            Side::Receiver => peers.senders.load(Acquire),
        }
    }

    /// The other side, looked up anew if anybody came or closed since.
    pub(crate) fn others(&mut self) -> Others {
        // Acquire: pairs with the Release of whoever came or closed; the lease is visible.
        if self.view().header().peers.changes.load(Acquire) != self.seen {
            self.look_up();
        }
        self.others
    }

    /// Looks the other side up in the leases. Asks the kernel about each holder until one lives.
    pub(crate) fn look_up(&mut self) {
        let mut found = None;
        for _ in 0..LOOK_UPS {
            found = None;
            // Acquire: as in `others`. Read first, so that what changes during the look is looked at again.
            self.seen = self.view().header().peers.changes.load(Acquire);
            // Before the leases: whoever has arrived had its lease before that, so if the lease is free by now its
            // holder has closed. Afterwards, it may have come since we looked.
            self.met |= self.arrivals_now() != self.arrivals;
            for (number, holder) in self.shared.holders() {
                if holder.side != self.side {
                    if self.shared.witness.is_alive(number, holder) {
                        found = Some(Others::Present);
                        break;
                    }
                    found = Some(Others::Dead);
                }
            }
            // Acquire: as above. One may have come where we had looked already, and then the other closed whom we had not
            // come to yet; or that one was dead.
            let still = self.view().header().peers.changes.load(Acquire) == self.seen;
            if still || found == Some(Others::Present) {
                break;
            }
        }
        self.met |= found.is_some();
        let nobody = if self.met {
            Others::Closed
        } else {
            Others::Expected
        };
        self.others = found.unwrap_or(nobody);
    }

    /// Repairs what the dead left behind, and looks the other side up.
    #[cold]
    pub(crate) fn inspect(&mut self) {
        let shared = &self.shared;
        self.swept = recover::sweep(&shared.view, &shared.witness, self.swept, SWEEP);
        self.look_up();
    }

    /// Repairs the record at `position`, if a dead one has it.
    #[cold]
    pub(crate) fn unblock(&self, position: u64) {
        recover::sweep(&self.shared.view, &self.shared.witness, position, 1);
    }

    /// After an attempt that found nothing: whether that is all there is to it, because the other side is there as before
    /// and it is not the time to inspect. Keeps a receiver that spins quick.
    #[inline]
    pub(crate) fn is_quiet(&mut self) -> bool {
        // Relaxed: whoever finds a change looks it up.
        let changes = self.view().header().peers.changes.load(Relaxed);
        if self.others != Others::Present || changes != self.seen || self.idle % LOOKS == LOOKS - 1
        {
            return false;
        }
        self.idle += 1;
        true
    }

    /// After an attempt that found nothing: now and then, inspects.
    pub(crate) fn idle(&mut self) {
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
    pub(crate) fn closed(&mut self) -> bool {
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

    /// Fails in a forked child. Asked where a bell is set, which it is there, or nothing was found.
    #[cold]
    pub(crate) fn check_forked(&self) -> Result<(), Fault> {
        if self.view().is_forked() {
            Err(Fault::ForkedHandle)
        } else {
            Ok(())
        }
    }

    pub(crate) fn slice(&self) -> Duration {
        let watchful = self.when_dead == WhenDead::Fail && self.shared.file().is_some();
        if watchful {
            WATCHFUL_SLICE
        } else {
            wait::SLICE
        }
    }
}

/// Why nothing was sent, before it is known what is handed back.
pub(crate) enum NotSent {
    Full,
    Disconnected,
    PeerDead,
    TooLarge { len: usize, max: usize },
    Fault(Fault),
}

impl NotSent {
    pub(crate) fn with<T>(self, value: T) -> TrySendError<T> {
        match self {
            Self::Full => TrySendError::Full(value),
            Self::Disconnected => TrySendError::Disconnected(value),
            Self::PeerDead => TrySendError::PeerDead(value),
            Self::TooLarge { len, max } => TrySendError::TooLarge { value, len, max },
            Self::Fault(fault) => TrySendError::Fault(value, fault),
        }
    }

    /// The same for a call that waits, or nothing if it is to wait.
    pub(crate) fn for_good<T>(self, value: T) -> Result<SendError<T>, T> {
        self.with(value).or_full()
    }
}

/// Whether copies out of a ring of this kind may race with the next writer.
pub(crate) const fn shared_reads(kind: Kind) -> bool {
    kind.many_receivers()
}

/// Bytes of a unit.
pub(crate) const fn unit<T: Message + ?Sized, K: Protocol>() -> usize {
    if K::KIND.many_senders() || K::KIND.many_receivers() {
        T::UNIT_AMONG_MANY
    } else {
        T::UNIT_ALONE
    }
}

/// Copies bytes in.
///
/// # Safety
///
/// The range, rounded up to a word where reads are shared, is within a claim that nobody else has.
#[inline]
pub(crate) unsafe fn copy_in<K: Protocol>(view: &View, at: usize, from: *const u8, len: usize) {
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
pub(crate) unsafe fn copy_out<K: Protocol>(view: &View, at: usize, to: *mut u8, len: usize) {
    if shared_reads(K::KIND) {
        // SAFETY: within the payload; a race is allowed, and the copy thrown away if there was one.
        unsafe { view.payload.read_shared(at, to, len) };
    } else {
        // SAFETY: the receiver has the range alone until it releases it.
        unsafe { view.payload.read(at, to, len) };
    }
}

/// Copies a value in.
///
/// # Safety
///
/// `at` is a unit's, and that within a claim that nobody else has.
#[inline]
pub(crate) unsafe fn value_in<T, K: Protocol>(view: &View, at: usize, value: &T) {
    let from = &raw const *value;
    if shared_reads(K::KIND) {
        // SAFETY: the caller has the unit alone to write, and it is whole words.
        unsafe { view.payload.write_shared(at, from.cast(), size_of::<T>()) };
    } else {
        // SAFETY: the caller has the unit alone. Units are as long as their values, or whole words.
        unsafe { view.payload.write_value(at, from) };
    }
}

/// Copies a value out.
///
/// # Safety
///
/// `at` is a unit's that `look` found; where reads are not shared, nobody else has it. `to` has room.
#[inline]
pub(crate) unsafe fn value_out<T, K: Protocol>(view: &View, at: usize, to: *mut T) {
    if shared_reads(K::KIND) {
        // SAFETY: within the payload; a race is allowed, and the copy thrown away if there was one.
        unsafe { view.payload.read_shared(at, to.cast(), size_of::<T>()) };
    } else {
        // SAFETY: the receiver has the unit alone until it releases it. Units are as long as their values, or whole words.
        unsafe { view.payload.read_value(at, to) };
    }
}

/// The byte offset of a position.
#[inline]
pub(crate) fn offset<T: Message + ?Sized, K: Protocol>(view: &View, position: u64) -> usize {
    view.index(position) as usize * unit::<T, K>()
}

pub(crate) fn corrupt(fault: Fault) -> AttachError {
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
pub(crate) fn after(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}
