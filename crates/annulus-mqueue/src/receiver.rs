//! The receiving end.

use crate::kernel::Kernel;
use crate::link::{Link, Stop, WhenClosed, WhenDead};
use crate::open::Shared;
use crate::queue::{Posix, Protocol, SystemV, capabilities};
use crate::seat::Others;
use annulus_channel::{
    Capabilities, OpenError, Receiver as Contract, RecvError, RecvTimeoutError, TryRecvError,
};
use annulus_fd::names::Side;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A receiving end of a queue. The queue may have many; each record goes to one of them.
///
/// It keeps the [contract](annulus_channel#the-clauses), and has its calls as methods of its own.
///
/// ```
/// use annulus_mqueue::QueueOptions;
/// # let word = format!("annulus-doc-receiver-{}", std::process::id());
/// let queue = QueueOptions::new().create(true).sysv(&word)?;
/// queue.sender()?.send(b"sent before the receiver came")?;
/// let mut record = Vec::new();
/// assert_eq!(queue.receiver()?.recv(&mut record)?, 29);
/// queue.remove()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Receiver<K: Protocol> {
    link: Link<K::Kernel>,
    /// The label wanted, or 0 for any.
    only: i64,
    /// The label of the last record.
    last: i64,
}

impl<K: Protocol> Receiver<K> {
    pub(crate) fn new(shared: &Arc<Shared<K::Kernel>>) -> Result<Self, OpenError> {
        Ok(Self {
            link: Link::new(shared, Side::Receiver)?,
            only: 0,
            last: K::Kernel::LABEL,
        })
    }

    /// What a call does when every sender was killed and all is received: wait for a successor (the default),
    /// or fail.
    pub fn on_peer_death(&mut self, what: WhenDead) {
        self.link.when_dead = what;
    }

    /// What a call does when every sender has closed and all is received: end (the default), or wait for the
    /// next one.
    pub fn on_close(&mut self, what: WhenClosed) {
        self.link.when_closed = what;
    }

    /// How many senders have ever attached.
    pub fn peer_epoch(&self) -> u64 {
        self.link.arrivals_now()
    }

    /// Receives a record if there is one now.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`]: what it lists.
    pub fn try_recv(&mut self, buffer: &mut Vec<u8>) -> Result<usize, TryRecvError> {
        let received = attempt(&mut self.link, self.only, buffer);
        self.note(received, buffer)
    }

    /// Receives a record, waiting for one.
    ///
    /// # Errors
    ///
    /// [`RecvError`]: what it lists.
    pub fn recv(&mut self, buffer: &mut Vec<u8>) -> Result<usize, RecvError> {
        match self.wait(buffer, None) {
            Some(received) => received,
            None => unreachable!("without a deadline"),
        }
    }

    /// Receives a record, waiting for one until `deadline`.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`]: what it lists.
    pub fn recv_deadline(
        &mut self,
        buffer: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<usize, RecvTimeoutError> {
        match self.wait(buffer, Some(deadline)) {
            Some(received) => received.map_err(RecvTimeoutError::from),
            None => Err(RecvTimeoutError::Timeout),
        }
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
        Contract::recv_timeout(self, buffer, timeout)
    }

    /// A hook for tests: goes as a killed process goes.
    #[doc(hidden)]
    pub fn die(self) {
        self.link.die();
    }

    fn note<E>(&mut self, received: Result<i64, E>, buffer: &[u8]) -> Result<usize, E> {
        self.last = received?;
        Ok(buffer.len())
    }

    /// Receives, waiting until the deadline; nothing then.
    fn wait(
        &mut self,
        buffer: &mut Vec<u8>,
        deadline: Option<Instant>,
    ) -> Option<Result<usize, RecvError>> {
        let only = self.only;
        let received = self
            .link
            .wait_for(deadline, |link| match attempt(link, only, buffer) {
                Ok(label) => Some(Ok(label)),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => Some(Err(RecvError::Disconnected)),
                Err(TryRecvError::PeerDead) => Some(Err(RecvError::PeerDead)),
                Err(TryRecvError::Fault(fault)) => Some(Err(RecvError::Fault(fault))),
                Err(_) => unreachable!("no other error is made here"),
            })?;
        Some(self.note(received, buffer))
    }
}

fn attempt<K: Kernel>(
    link: &mut Link<K>,
    only: i64,
    buffer: &mut Vec<u8>,
) -> Result<i64, TryRecvError> {
    buffer.clear();
    link.check().map_err(TryRecvError::Fault)?;
    let mut get = |link: &mut Link<K>| match link.get(only, buffer) {
        Ok(label) => Ok(Some(label)),
        Err(Stop::NotNow) => Ok(None),
        Err(Stop::Fault(fault)) => Err(TryRecvError::Fault(fault)),
    };
    if let Some(label) = get(link)? {
        return Ok(label);
    }
    let end = match link.others() {
        Others::Closed if link.when_closed == WhenClosed::End => TryRecvError::Disconnected,
        Others::Dead if link.when_dead == WhenDead::Fail => TryRecvError::PeerDead,
        _ => return Err(TryRecvError::Empty),
    };
    // What the last sender sent between our look at the queue and its going.
    get(link)?.ok_or(end)
}

impl Receiver<Posix> {
    /// The priority of the last record received; 0 before the first.
    pub fn last_priority(&self) -> u32 {
        self.last as u32
    }
}

impl Receiver<SystemV> {
    /// Receives records of one type only, or of all (`None`, the default). Others stay for those who ask for
    /// them; the end comes when all of this type are received.
    ///
    /// # Panics
    ///
    /// If the type is not positive.
    pub fn only_type(&mut self, kind: Option<i64>) {
        assert!(
            kind.is_none_or(|kind| kind > 0),
            "type {kind:?}, expected a positive number"
        );
        self.only = kind.unwrap_or(0);
    }

    /// The type of the last record received; 1 before the first.
    pub fn last_type(&self) -> i64 {
        self.last
    }
}

impl<K: Protocol> Contract for Receiver<K> {
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
        capabilities(self.link.shared.max_record)
    }
}

impl<K: Protocol> fmt::Debug for Receiver<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receiver({})", self.link.shared.name)
    }
}

#[cfg(test)]
mod tests;
