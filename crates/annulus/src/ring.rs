//! An open ring, what it carries, and what is known about it.

use crate::attach::{self, Shared};
use crate::audit::{self, Audit, DeadLetter};
use crate::error::{AttachError, OpenError};
use crate::geometry::{Form, Shape};
use crate::handle::{WhenClosed, WhenDead};
use crate::kind::Kind;
use crate::layout::{CELL, NAME_LEN, RECORD_HEADER, flag};
use crate::lease::{Holder, Side};
use crate::options::{Location, RingOptions};
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::sync::PAYLOAD_ALIGN;
use crate::{Mpmc, Mpsc, Protocol, Spmc, Spsc};
use annulus_channel::{
    Boundaries, Capabilities, Order, RecvError, RecvTimeoutError, SendError, SendTimeoutError,
    TryRecvError, TrySendError,
};
use bytemuck::Pod;
use std::marker::PhantomData;
use std::mem::{align_of, size_of};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

/// What a ring can carry: values of a [`Pod`] type, or byte strings (`[u8]`).
///
/// A Pod type has no padding and takes any bytes for a value, so that what a strange process writes into
/// the ring is at worst a wrong value. It has at least one byte, and an alignment of at most 128.
#[allow(private_bounds, reason = "the trait is sealed")]
pub trait Message: Carried {}

/// What the engine knows of a message type.
pub(crate) trait Carried {
    /// Bytes of a unit in an spsc ring.
    const UNIT_ALONE: usize;
    /// Bytes of a unit in a many-sided ring.
    const UNIT_AMONG_MANY: usize;

    fn carried() -> Shape;
}

impl<T: Pod> Message for T {}

impl<T: Pod> Carried for T {
    const UNIT_ALONE: usize = size_of::<T>();
    const UNIT_AMONG_MANY: usize = size_of::<T>().next_multiple_of(8);

    fn carried() -> Shape {
        const {
            assert!(size_of::<T>() > 0, "a message has at least one byte");
            assert!(
                size_of::<T>() <= u32::MAX as usize,
                "a message has less than 4 GiB"
            );
            assert!(
                align_of::<T>() <= PAYLOAD_ALIGN,
                "a message's alignment is at most 128"
            );
        }
        Shape {
            form: Form::Typed,
            size: size_of::<T>() as u32,
            align: align_of::<T>() as u32,
            name: std::any::type_name::<T>().to_owned(),
        }
    }
}

impl Message for [u8] {}

impl Carried for [u8] {
    const UNIT_ALONE: usize = RECORD_HEADER;
    const UNIT_AMONG_MANY: usize = CELL;

    fn carried() -> Shape {
        Shape {
            form: Form::Bytes,
            size: 1,
            align: 1,
            name: "[u8]".to_owned(),
        }
    }
}

/// The shape of `T` under the name that the user gave it. A name too long for the header is cut, and
/// ends in its fingerprint.
pub(crate) fn shape<T: Message + ?Sized>(name: Option<&str>) -> Shape {
    let mut shape = T::carried();
    if let (Some(name), Form::Typed) = (name, shape.form) {
        shape.name = name.to_owned();
    }
    if shape.name.len() > NAME_LEN {
        let fingerprint = format!("#{:016x}", shape.hash());
        let mut end = NAME_LEN - fingerprint.len();
        while !shape.name.is_char_boundary(end) {
            end -= 1;
        }
        shape.name.truncate(end);
        shape.name.push_str(&fingerprint);
    }
    shape
}

/// An open ring for messages of type `T` by the protocol `K`.
///
/// It is only a place: nothing is sent or received, and nobody waits for it, until a handle is attached.
/// Handles keep the region mapped, so a `Ring` may be dropped when it has given them.
pub struct Ring<T: Message + ?Sized, K: Protocol> {
    shared: Arc<Shared>,
    trusted: bool,
    message: PhantomData<fn(Box<T>)>,
    kind: PhantomData<fn() -> K>,
}

impl<T: Message + ?Sized, K: Protocol> std::fmt::Debug for Ring<T, K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Ring").field(&self.info()).finish()
    }
}

impl<T: Message + ?Sized, K: Protocol> Ring<T, K> {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let trusted = shared.file().is_none();
        Self {
            shared,
            trusted,
            message: PhantomData,
            kind: PhantomData,
        }
    }

    /// A hook for tests: ends every sleep on this ring as a signal does, without ringing.
    #[doc(hidden)]
    pub fn interrupt(&self) {
        let header = self.shared.view.header();
        header.data.wake_all();
        header.room.bell.wake_all();
    }

    /// Attaches a sender.
    ///
    /// # Errors
    ///
    /// [`AttachError::Taken`] names the living holder of a place that only one can have; the place of a dead
    /// one is taken over, and its position continued.
    pub fn sender(&self) -> Result<Sender<T, K>, AttachError> {
        Sender::attach(&self.shared, self.trusted)
    }

    /// Attaches a receiver.
    ///
    /// # Errors
    ///
    /// As [`sender`](Self::sender).
    pub fn receiver(&self) -> Result<Receiver<T, K>, AttachError> {
        Receiver::attach(&self.shared, self.trusted)
    }

    /// What is known about the ring now.
    pub fn info(&self) -> RingInfo {
        info(&self.shared)
    }

    /// Draws the balance: what went in, and where it is. Looks at every record, and for at most a tenth of a second; holds nobody up.
    ///
    /// ```
    /// # use annulus::{RingOptions, mpmc};
    /// # let ring: mpmc::Ring<u64> = RingOptions::new().capacity(8).heap()?;
    /// # let (mut sender, mut receiver) = (ring.sender()?, ring.receiver()?);
    /// sender.send_slice(&[1, 2, 3])?;
    /// receiver.recv()?;
    /// let audit = ring.audit();
    /// assert!(audit.adds_up(), "{audit}");
    /// assert_eq!((audit.sent, audit.received, audit.in_flight), (3, 1, 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn audit(&self) -> Audit {
        audit::audit(&self.shared.view, &self.shared.witness)
    }

    /// The same ring, whatever its kind and type, to be looked at; and to drain dead letters.
    pub fn inspector(&self) -> Inspector {
        let shared = Arc::clone(&self.shared);
        Inspector { shared }
    }

    /// How much the ring holds: messages (typed), or bytes of records with their headers.
    pub fn capacity(&self) -> usize {
        self.shared.view.geometry.capacity as usize
    }

    /// The region's descriptor, to be handed to another process. Nothing for the heap and System V.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.shared
            .region
            .is_mapped()
            .then(|| self.shared.file().map(AsFd::as_fd))
            .flatten()
    }

    /// Lets the handles attached from now on give out references into the ring's memory.
    ///
    /// On heap rings they do so anyway.
    ///
    /// # Safety
    ///
    /// No process that has the region mapped writes to bytes that the protocol has given to somebody else,
    /// for as long as the ring and its handles live. Every process that uses only this library keeps that.
    pub unsafe fn trust_peers(mut self) -> Self {
        self.trusted = true;
        self
    }
}

/// What is known about a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RingInfo {
    /// How many may act on each side.
    pub kind: Kind,
    /// The order among different senders.
    pub order: Order,
    /// The message type: its name, size and alignment, or that the ring carries byte records.
    pub message: String,
    /// How much it holds: messages (typed) or bytes.
    pub capacity: usize,
    /// The longest byte record, or the size of a message, in bytes.
    pub max_record: usize,
    /// The region's length in bytes.
    pub region_len: u64,
    /// Huge pages were asked for, and the kernel took the request.
    pub huge_pages: bool,
    /// The last to close removes the name when the ring is finished:
    /// [`RingOptions::unlink_when_finished`](crate::RingOptions::unlink_when_finished).
    pub unlink_when_finished: bool,
    /// The senders attached, the dead ones too, until their place is given to somebody else.
    pub senders: Vec<Peer>,
    /// The receivers attached, likewise.
    pub receivers: Vec<Peer>,
    /// Sleeps that ended by the safety net although there was something to do, at most: whoever was to ring may have been
    /// just about to.
    pub rescues: u64,
    /// Claims of dead senders that were made void.
    pub voided: u64,
    /// Records taken by dead receivers that went back.
    pub returned: u64,
}

/// A handle attached to a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// Its process, as it knows itself: in another pid namespace it means nothing.
    pub pid: u32,
    /// Whether it lives, as the kernel testifies.
    pub alive: bool,
}

/// A ring looked at from outside, whatever its kind and message type. It attaches to nothing, and so takes nobody's place.
///
/// ```
/// use annulus::{Inspector, RingOptions, spsc};
/// # let name = format!("annulus-doc-inspector-{}", std::process::id());
/// let mut options = RingOptions::new();
/// let ring: spsc::Ring<u64> = options.create(true).capacity(8).shm(&name)?;
/// let location = name.parse()?;
/// let inspector = Inspector::open(&location)?;
/// assert_eq!(inspector.info().message, "u64 (size 8, align 8)");
/// assert!(inspector.audit().adds_up());
/// annulus::remove(&location)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Inspector {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Inspector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Inspector").field(&self.info()).finish()
    }
}

impl Inspector {
    /// Opens the ring at `location`. Needs the right to read and write it.
    ///
    /// # Errors
    ///
    /// As [`RingOptions::open`](crate::RingOptions::open), but no kind and no type are wrong.
    pub fn open(location: &Location) -> Result<Self, OpenError> {
        let options = RingOptions::new();
        attach::named(&options, None, None, location).map(|shared| Self { shared })
    }

    /// What is known about the ring now.
    pub fn info(&self) -> RingInfo {
        info(&self.shared)
    }

    /// The balance: [`Ring::audit`].
    pub fn audit(&self) -> Audit {
        audit::audit(&self.shared.view, &self.shared.witness)
    }

    /// The dead letters, oldest first: messages that came back as often as the ring allows
    /// ([`RingOptions::max_tries`]), or that 63 receivers have died of.
    ///
    /// ```
    /// # use annulus::{RingOptions, TryRecvError, mpmc};
    /// let ring: mpmc::Ring<u32> = RingOptions::new().capacity(4).max_tries(2).heap()?;
    /// let (mut sender, mut receiver) = (ring.sender()?, ring.receiver()?);
    /// sender.send(13)?;
    /// drop(receiver.try_peek()?); // the first try fails
    /// drop(receiver.try_peek()?); // and the second
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    /// let inspector = ring.inspector();
    /// for letter in inspector.dead_letters() {
    ///     let bytes = inspector.read_dead(&letter).expect("nobody else drains");
    ///     assert_eq!((bytes, letter.tries), (13u32.to_ne_bytes().to_vec(), 2));
    ///     assert!(inspector.discard_dead(letter));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        audit::dead_letters(&self.shared.view)
    }

    /// The bytes of a dead letter: a byte record, or a value's. Nothing if somebody has drained it meanwhile.
    pub fn read_dead(&self, letter: &DeadLetter) -> Option<Vec<u8>> {
        audit::read_dead(&self.shared.view, letter)
    }

    /// Takes a dead letter out for good; false if somebody else was first. Whoever dies between reading and discarding leaves it
    /// where it was, so it may be read twice, and is never lost.
    pub fn discard_dead(&self, letter: DeadLetter) -> bool {
        audit::discard_dead(&self.shared.view, &letter)
    }
}

fn info(shared: &Shared) -> RingInfo {
    let geometry = &shared.view.geometry;
    let audit = &shared.view.header().audit;
    let peers = |side: Side| {
        let there = shared.holders().filter(|(_, holder)| holder.side == side);
        let peer = |(number, holder): (usize, Holder)| Peer {
            pid: holder.pid,
            alive: shared.witness.is_alive(number, holder),
        };
        there.map(peer).collect()
    };
    RingInfo {
        kind: geometry.kind,
        order: geometry.order,
        message: shared.shape.to_string(),
        capacity: geometry.capacity as usize,
        max_record: geometry.max_record(),
        region_len: geometry.region_len,
        huge_pages: shared.region.huge_pages,
        unlink_when_finished: shared.flags & flag::UNLINK != 0,
        senders: peers(Side::Sender),
        receivers: peers(Side::Receiver),
        rescues: audit.rescues.get(),
        voided: audit.voided.get(),
        returned: audit.returned.get(),
    }
}

/// A ring of byte records whose kind is known only at run time.
#[derive(Debug)]
#[non_exhaustive]
pub enum AnyRing {
    /// One sender, one receiver.
    Spsc(Ring<[u8], Spsc>),
    /// Many senders, one receiver.
    Mpsc(Ring<[u8], Mpsc>),
    /// One sender, many receivers.
    Spmc(Ring<[u8], Spmc>),
    /// Many senders, many receivers.
    Mpmc(Ring<[u8], Mpmc>),
}

/// Does the same to the ring or handle of each kind.
macro_rules! each {
    ($any:expr, $name:ident => $do:expr) => {
        match $any {
            Self::Spsc($name) => $do,
            Self::Mpsc($name) => $do,
            Self::Spmc($name) => $do,
            Self::Mpmc($name) => $do,
        }
    };
}

impl AnyRing {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        match shared.view.geometry.kind {
            Kind::Spsc => Self::Spsc(Ring::new(shared)),
            Kind::Mpsc => Self::Mpsc(Ring::new(shared)),
            Kind::Spmc => Self::Spmc(Ring::new(shared)),
            Kind::Mpmc => Self::Mpmc(Ring::new(shared)),
        }
    }

    /// Attaches a sender.
    ///
    /// # Errors
    ///
    /// As [`Ring::sender`].
    pub fn sender(&self) -> Result<AnySender, AttachError> {
        Ok(match self {
            Self::Spsc(ring) => AnySender::Spsc(ring.sender()?),
            Self::Mpsc(ring) => AnySender::Mpsc(ring.sender()?),
            Self::Spmc(ring) => AnySender::Spmc(ring.sender()?),
            Self::Mpmc(ring) => AnySender::Mpmc(ring.sender()?),
        })
    }

    /// Attaches a receiver.
    ///
    /// # Errors
    ///
    /// As [`Ring::receiver`].
    pub fn receiver(&self) -> Result<AnyReceiver, AttachError> {
        Ok(match self {
            Self::Spsc(ring) => AnyReceiver::Spsc(ring.receiver()?),
            Self::Mpsc(ring) => AnyReceiver::Mpsc(ring.receiver()?),
            Self::Spmc(ring) => AnyReceiver::Spmc(ring.receiver()?),
            Self::Mpmc(ring) => AnyReceiver::Mpmc(ring.receiver()?),
        })
    }

    /// What is known about the ring now.
    pub fn info(&self) -> RingInfo {
        each!(self, ring => ring.info())
    }

    /// The balance: [`Ring::audit`].
    pub fn audit(&self) -> Audit {
        each!(self, ring => ring.audit())
    }

    /// The same ring, to be looked at; and to drain dead letters.
    pub fn inspector(&self) -> Inspector {
        each!(self, ring => ring.inspector())
    }
}

/// A sender of byte records on a ring of any kind. Its operations are those of the trait
/// [`annulus_channel::Sender`].
#[derive(Debug)]
#[non_exhaustive]
pub enum AnySender {
    /// On an spsc ring.
    Spsc(Sender<[u8], Spsc>),
    /// On an mpsc ring.
    Mpsc(Sender<[u8], Mpsc>),
    /// On an spmc ring.
    Spmc(Sender<[u8], Spmc>),
    /// On an mpmc ring.
    Mpmc(Sender<[u8], Mpmc>),
}

impl AnySender {
    /// What a call does when every receiver is dead: [`Sender::on_peer_death`].
    pub fn on_peer_death(&mut self, what: WhenDead) {
        each!(self, sender => sender.on_peer_death(what));
    }
}

impl annulus_channel::Sender for AnySender {
    fn try_send(&mut self, record: &[u8]) -> Result<(), TrySendError> {
        each!(self, sender => sender.try_send(record))
    }

    fn send(&mut self, record: &[u8]) -> Result<(), SendError> {
        each!(self, sender => sender.send(record))
    }

    fn send_deadline(&mut self, record: &[u8], deadline: Instant) -> Result<(), SendTimeoutError> {
        each!(self, sender => sender.send_deadline(record, deadline))
    }

    fn max_record(&self) -> usize {
        each!(self, sender => sender.max_record())
    }

    fn capabilities(&self) -> Capabilities {
        each!(self, sender => sender.capabilities())
    }
}

/// A receiver of byte records on a ring of any kind. Its operations are those of the trait
/// [`annulus_channel::Receiver`].
#[derive(Debug)]
#[non_exhaustive]
pub enum AnyReceiver {
    /// On an spsc ring.
    Spsc(Receiver<[u8], Spsc>),
    /// On an mpsc ring.
    Mpsc(Receiver<[u8], Mpsc>),
    /// On an spmc ring.
    Spmc(Receiver<[u8], Spmc>),
    /// On an mpmc ring.
    Mpmc(Receiver<[u8], Mpmc>),
}

impl AnyReceiver {
    /// What a call does when every sender is dead: [`Receiver::on_peer_death`].
    pub fn on_peer_death(&mut self, what: WhenDead) {
        each!(self, receiver => receiver.on_peer_death(what));
    }

    /// What a call does when every sender has closed: [`Receiver::on_close`].
    pub fn on_close(&mut self, what: WhenClosed) {
        each!(self, receiver => receiver.on_close(what));
    }
}

impl annulus_channel::Receiver for AnyReceiver {
    fn try_recv(&mut self, buffer: &mut Vec<u8>) -> Result<usize, TryRecvError> {
        each!(self, receiver => receiver.try_recv(buffer))
    }

    fn recv(&mut self, buffer: &mut Vec<u8>) -> Result<usize, RecvError> {
        each!(self, receiver => receiver.recv(buffer))
    }

    fn recv_deadline(
        &mut self,
        buffer: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<usize, RecvTimeoutError> {
        each!(self, receiver => receiver.recv_deadline(buffer, deadline))
    }

    fn capabilities(&self) -> Capabilities {
        each!(self, receiver => receiver.capabilities())
    }
}

/// What the contract may expect of a ring.
pub(crate) fn capabilities(shared: &Shared) -> Capabilities {
    let kind = shared.view.geometry.kind;
    Capabilities {
        order: shared.view.geometry.order,
        lossy: false,
        many_senders: kind.many_senders(),
        many_receivers: kind.many_receivers(),
        persistent: shared.is_named(),
        crosses_machines: false,
        boundaries: Boundaries::Native,
        max_record: Some(shared.view.geometry.max_record()),
    }
}
