//! An open queue, and the two kinds as types.

use crate::kernel::Kernel;
use crate::name::Name;
use crate::open::{self, Shared};
use crate::posix::PosixQueue;
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::sysv::SysvQueue;
use annulus_channel::{Boundaries, Capabilities, OpenError, Order};
use std::fmt;
use std::io;
use std::sync::Arc;

/// A kind of queue, as a type: [`Posix`] or [`SystemV`].
#[allow(private_bounds, reason = "the trait is sealed")]
pub trait Protocol: Sealed {}

/// What the kind is made of.
pub(crate) trait Sealed: 'static {
    type Kernel: Kernel;
}

/// POSIX message queues, with priorities (`mq_overview(7)`).
#[derive(Clone, Copy, Debug)]
pub enum Posix {}

/// System V message queues, with types (`sysvipc(7)`).
#[derive(Clone, Copy, Debug)]
pub enum SystemV {}

impl Sealed for Posix {
    type Kernel = PosixQueue;
}
impl Protocol for Posix {}

impl Sealed for SystemV {
    type Kernel = SysvQueue;
}
impl Protocol for SystemV {}

/// What queues of both kinds promise, with records of at most so many bytes.
pub(crate) fn capabilities(max_record: usize) -> Capabilities {
    Capabilities {
        order: Order::Total,
        lossy: false,
        many_senders: true,
        many_receivers: true,
        persistent: true,
        crosses_machines: false,
        boundaries: Boundaries::Native,
        max_record: Some(max_record),
    }
}

/// An open queue, from which handles are made. It is not one of them: who only has a `Queue` is not attached.
///
/// ```
/// use annulus_mqueue::QueueOptions;
/// # let name = format!("/annulus-doc-queue-{}", std::process::id());
/// let queue = QueueOptions::new().create_new(true).capacity(8).max_record(100).posix(&name)?;
/// assert_eq!((queue.capacity(), queue.max_record(), queue.len()?), (8, 100, 0));
/// queue.sender()?.send(b"")?;
/// // The sender has closed; what it sent is there.
/// assert_eq!(queue.len()?, 1);
/// queue.remove()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Queue<K: Protocol> {
    shared: Arc<Shared<K::Kernel>>,
}

impl<K: Protocol> Queue<K> {
    pub(crate) fn new(shared: Arc<Shared<K::Kernel>>) -> Self {
        Self { shared }
    }

    /// Attaches a sender.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: `NotFound` if the queue was removed meanwhile, `Limit` with more than 256 handles.
    pub fn sender(&self) -> Result<Sender<K>, OpenError> {
        Sender::new(&self.shared)
    }

    /// Attaches a receiver.
    ///
    /// # Errors
    ///
    /// As [`sender`](Self::sender).
    pub fn receiver(&self) -> Result<Receiver<K>, OpenError> {
        Receiver::new(&self.shared)
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.shared.name
    }

    /// How much it holds: records (POSIX) or bytes (System V).
    pub fn capacity(&self) -> usize {
        self.shared.capacity
    }

    /// The longest record, in bytes.
    pub fn max_record(&self) -> usize {
        self.shared.max_record
    }

    /// How many records are in it now.
    ///
    /// # Errors
    ///
    /// What the kernel says, for instance that a System V queue was removed.
    pub fn len(&self) -> io::Result<usize> {
        Ok(self.shared.len()?)
    }

    /// Whether no record is in it now.
    ///
    /// # Errors
    ///
    /// As [`len`](Self::len).
    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Removes the queue, with what is in it. Handles of a POSIX queue go on among themselves; those of a
    /// System V queue say that it was removed (`EIDRM`).
    ///
    /// # Errors
    ///
    /// [`OpenError`]: `NotFound` if it was removed before, `Permission`.
    pub fn remove(self) -> Result<(), OpenError> {
        let _turn = self.shared.turn()?;
        open::remove_in_turn::<K::Kernel>(&self.shared.name, &self.shared.page)
    }
}

impl<K: Protocol> fmt::Debug for Queue<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queue({})", self.shared.name)
    }
}
