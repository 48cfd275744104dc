//! The sending end.

use crate::kernel::Kernel;
use crate::link::{Link, Stop, WhenDead};
use crate::open::Shared;
use crate::queue::{Posix, Protocol, SystemV, capabilities};
use crate::seat::Others;
use annulus_channel::{
    Capabilities, OpenError, SendError, SendTimeoutError, Sender as Contract, TrySendError,
};
use annulus_fd::names::Side;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A sending end of a queue. The queue may have many.
///
/// It keeps the [contract](annulus_channel#the-clauses), and has its calls as methods of its own.
///
/// ```
/// use annulus_mqueue::QueueOptions;
/// # let name = format!("/annulus-doc-sender-{}", std::process::id());
/// let queue = QueueOptions::new().create(true).capacity(2).posix(&name)?;
/// let mut sender = queue.sender()?;
/// sender.send(b"one")?;
/// sender.send(b"two")?;
/// assert!(sender.try_send(b"three").is_err());
/// queue.remove()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Sender<K: Protocol> {
    link: Link<K::Kernel>,
    /// The label of those records that are not given one.
    label: i64,
}

impl<K: Protocol> Sender<K> {
    pub(crate) fn new(shared: &Arc<Shared<K::Kernel>>) -> Result<Self, OpenError> {
        Ok(Self {
            link: Link::new(shared, Side::Sender)?,
            label: K::Kernel::LABEL,
        })
    }

    /// What a call does when every receiver was killed: wait for a successor (the default), or fail.
    pub fn on_peer_death(&mut self, what: WhenDead) {
        self.link.when_dead = what;
    }

    /// How many receivers have ever attached.
    pub fn peer_epoch(&self) -> u64 {
        self.link.arrivals_now()
    }

    /// Sends `record` if there is room for it now.
    ///
    /// # Errors
    ///
    /// [`TrySendError`]: what it lists; nothing of `record` was sent.
    pub fn try_send(&mut self, record: &[u8]) -> Result<(), TrySendError> {
        attempt(&mut self.link, record, self.label)
    }

    /// Sends `record`, waiting for room.
    ///
    /// # Errors
    ///
    /// [`SendError`]: what it lists; nothing of `record` was sent.
    pub fn send(&mut self, record: &[u8]) -> Result<(), SendError> {
        match self.wait(record, self.label, None) {
            Some(sent) => sent,
            None => unreachable!("without a deadline"),
        }
    }

    /// Sends `record`, waiting for room until `deadline`.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`]: what it lists; nothing of `record` was sent.
    pub fn send_deadline(
        &mut self,
        record: &[u8],
        deadline: Instant,
    ) -> Result<(), SendTimeoutError> {
        match self.wait(record, self.label, Some(deadline)) {
            Some(sent) => sent.map_err(SendTimeoutError::from),
            None => Err(SendTimeoutError::Timeout(())),
        }
    }

    /// Sends `record`, waiting for room for at most `timeout`.
    ///
    /// # Errors
    ///
    /// As [`send_deadline`](Self::send_deadline).
    pub fn send_timeout(
        &mut self,
        record: &[u8],
        timeout: Duration,
    ) -> Result<(), SendTimeoutError> {
        Contract::send_timeout(self, record, timeout)
    }

    /// The longest record that can be sent, in bytes.
    pub fn max_record(&self) -> usize {
        self.link.shared.max_record
    }

    /// A hook for tests: goes as a killed process goes.
    #[doc(hidden)]
    pub fn die(self) {
        self.link.die();
    }

    /// Sends, waiting until the deadline; nothing then.
    fn wait(
        &mut self,
        record: &[u8],
        label: i64,
        deadline: Option<Instant>,
    ) -> Option<Result<(), SendError>> {
        self.link
            .wait_for(deadline, |link| match attempt(link, record, label) {
                Ok(()) => Some(Ok(())),
                Err(error) => error.or_full().ok().map(Err),
            })
    }
}

fn attempt<K: Kernel>(link: &mut Link<K>, record: &[u8], label: i64) -> Result<(), TrySendError> {
    let (len, max) = (record.len(), link.shared.max_record);
    if len > max {
        let value = ();
        return Err(TrySendError::TooLarge { value, len, max });
    }
    link.check()
        .map_err(|fault| TrySendError::Fault((), fault))?;
    match link.others() {
        Others::Closed => return Err(TrySendError::Disconnected(())),
        Others::Dead if link.when_dead == WhenDead::Fail => return Err(TrySendError::PeerDead(())),
        _ => {}
    }
    link.put(record, label).map_err(|stop| match stop {
        Stop::NotNow => TrySendError::Full(()),
        Stop::Fault(fault) => TrySendError::Fault((), fault),
    })
}

impl Sender<Posix> {
    /// The highest priority.
    pub const MAX_PRIORITY: u32 = 32767;

    /// The priority of what is sent from now on: 0, the default, to [`MAX_PRIORITY`](Self::MAX_PRIORITY).
    ///
    /// Receivers get the highest first. So records of different priorities do not arrive in the order of
    /// sending; those of one priority do. While all have the same, the contract's order holds.
    ///
    /// ```
    /// use annulus_mqueue::QueueOptions;
    /// # let name = format!("/annulus-doc-priority-{}", std::process::id());
    /// let queue = QueueOptions::new().create(true).unlink_when_finished(true).posix(&name)?;
    /// let (mut sender, mut receiver) = (queue.sender()?, queue.receiver()?);
    /// sender.send(b"news")?;
    /// sender.set_priority(7);
    /// sender.send(b"fire")?;
    /// let mut record = Vec::new();
    /// receiver.recv(&mut record)?;
    /// assert_eq!((&record[..], receiver.last_priority()), (&b"fire"[..], 7));
    /// # receiver.recv(&mut record)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If it is higher than the highest.
    pub fn set_priority(&mut self, priority: u32) {
        assert!(
            priority <= Self::MAX_PRIORITY,
            "priority {priority}, the highest is {}",
            Self::MAX_PRIORITY
        );
        self.label = priority.into();
    }

    /// Sends one record with this priority, waiting for room.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Panics
    ///
    /// As [`set_priority`](Self::set_priority).
    pub fn send_with_priority(&mut self, record: &[u8], priority: u32) -> Result<(), SendError> {
        let usual = self.label;
        self.set_priority(priority);
        let sent = self.send(record);
        self.label = usual;
        sent
    }
}

impl Sender<SystemV> {
    /// The type of what is sent from now on: 1, the default, or any positive number. It does not change the order of
    /// arrival; a receiver may ask for [one type only](crate::Receiver::only_type).
    ///
    /// ```
    /// use annulus_mqueue::QueueOptions;
    /// # let word = format!("annulus-doc-type-{}", std::process::id());
    /// let queue = QueueOptions::new().create(true).unlink_when_finished(true).sysv(&word)?;
    /// let (mut sender, mut receiver) = (queue.sender()?, queue.receiver()?);
    /// sender.send(b"for anybody")?;
    /// sender.set_type(42);
    /// sender.send(b"for 42")?;
    /// let mut record = Vec::new();
    /// receiver.only_type(Some(42));
    /// receiver.recv(&mut record)?;
    /// assert_eq!(record, b"for 42");
    /// receiver.only_type(None);
    /// receiver.recv(&mut record)?;
    /// assert_eq!((&record[..], receiver.last_type()), (&b"for anybody"[..], 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If it is not positive.
    pub fn set_type(&mut self, kind: i64) {
        assert!(kind > 0, "type {kind}, expected a positive number");
        self.label = kind;
    }

    /// Sends one record of this type, waiting for room.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Panics
    ///
    /// As [`set_type`](Self::set_type).
    pub fn send_with_type(&mut self, record: &[u8], kind: i64) -> Result<(), SendError> {
        let usual = self.label;
        self.set_type(kind);
        let sent = self.send(record);
        self.label = usual;
        sent
    }
}

impl<K: Protocol> Contract for Sender<K> {
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
        capabilities(self.link.shared.max_record)
    }
}

impl<K: Protocol> fmt::Debug for Sender<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sender({})", self.link.shared.name)
    }
}
