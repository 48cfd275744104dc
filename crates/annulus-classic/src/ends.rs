//! The two handles: blocking, deadlines, ends and errors, written once for every medium.
//!
//! An attempt looks first at the other side and then at the records. So whoever finds nothing, and an end that it saw
//! before, will never find anything; and what was sent before a close or a death is received before its news.
//!
//! A wait ends after [`SLICE`] at the latest, and the next attempt looks again: a killed peer wakes nobody.

use crate::link::{End, Side};
use crate::medium::Medium;
use crate::open::{self, Open};
use crate::options::Options;
use annulus_channel::{
    Capabilities, OpenError, RecvError, RecvTimeoutError, SendError, SendTimeoutError,
    TryRecvError, TrySendError,
};
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The longest sleep.
const SLICE: Duration = Duration::from_millis(50);

/// Until when to sleep: the deadline, or the end of a slice.
fn slice_until(deadline: Option<Instant>, now: Instant) -> Instant {
    deadline.map_or(now + SLICE, |deadline| deadline.min(now + SLICE))
}

/// The sending end of a channel. Closed when it is dropped.
pub struct Sender<M: Medium> {
    open: Open<M>,
    dead: bool,
}

impl<M: Medium> Sender<M> {
    pub(crate) fn open(options: &Options, name: &Path) -> Result<Self, OpenError> {
        let open = open::open(options, name, Side::Sender)?;
        Ok(Self { open, dead: false })
    }

    /// Whether a living receiver is attached now.
    pub fn has_receiver(&mut self) -> bool {
        self.open.link.is_met()
    }

    /// Leaves as the killed do: without a word. For tests.
    #[doc(hidden)]
    pub fn die(mut self) {
        self.dead = true;
    }

    pub(crate) fn parts(&mut self) -> &mut Open<M> {
        &mut self.open
    }

    /// Sends until the deadline; `Full` is the end of that.
    fn send_until(&mut self, record: &[u8], deadline: Option<Instant>) -> Result<(), TrySendError> {
        loop {
            let sent = annulus_channel::Sender::try_send(self, record);
            if sent != Err(TrySendError::Full(())) {
                self.open.medium.give_up();
                return sent;
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                self.open.medium.give_up();
                return sent;
            }
            let until = slice_until(deadline, now);
            let waited = self.open.medium.wait(&self.open.link, until);
            waited.map_err(|fault| TrySendError::Fault((), self.open.link.fail(fault)))?;
        }
    }
}

impl<M: Medium> annulus_channel::Sender for Sender<M> {
    fn try_send(&mut self, record: &[u8]) -> Result<(), TrySendError> {
        let Open {
            link,
            medium,
            max_record: max,
        } = &mut self.open;
        link.check()
            .map_err(|fault| TrySendError::Fault((), fault))?;
        let (len, max) = (record.len(), *max);
        if len > max {
            let value = ();
            return Err(TrySendError::TooLarge { value, len, max });
        }
        match link.end() {
            Some(End::Closed) => return Err(TrySendError::Disconnected(())),
            Some(End::Dead) => return Err(TrySendError::PeerDead(())),
            None => {}
        }
        match medium.put(link, record) {
            Ok(true) => Ok(()),
            Ok(false) => Err(TrySendError::Full(())),
            Err(fault) => Err(TrySendError::Fault((), link.fail(fault))),
        }
    }

    fn send(&mut self, record: &[u8]) -> Result<(), SendError> {
        self.send_until(record, None).map_err(|error| {
            let for_good = error.or_full();
            for_good.unwrap_or_else(|()| unreachable!("without a deadline, nobody gives up"))
        })
    }

    fn send_deadline(&mut self, record: &[u8], deadline: Instant) -> Result<(), SendTimeoutError> {
        self.send_until(record, Some(deadline))
            .map_err(|error| match error.or_full() {
                Ok(error) => error.into(),
                Err(()) => SendTimeoutError::Timeout(()),
            })
    }

    fn max_record(&self) -> usize {
        self.open.max_record
    }

    fn capabilities(&self) -> Capabilities {
        self.open.capabilities()
    }
}

impl<M: Medium> Drop for Sender<M> {
    fn drop(&mut self) {
        if !self.dead {
            open::close(&self.open.link, &mut self.open.medium);
        }
    }
}

impl<M: Medium> fmt::Debug for Sender<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Sender");
        debug
            .field("name", &self.open.link.place.name)
            .finish_non_exhaustive()
    }
}

/// The receiving end of a channel. Closed when it is dropped.
pub struct Receiver<M: Medium> {
    open: Open<M>,
    dead: bool,
}

impl<M: Medium> Receiver<M> {
    pub(crate) fn open(options: &Options, name: &Path) -> Result<Self, OpenError> {
        let open = open::open(options, name, Side::Receiver)?;
        Ok(Self { open, dead: false })
    }

    /// Whether a living sender is attached now.
    pub fn has_sender(&mut self) -> bool {
        self.open.link.is_met()
    }

    /// Leaves as the killed do: without a word. For tests.
    #[doc(hidden)]
    pub fn die(mut self) {
        self.dead = true;
    }

    pub(crate) fn parts(&mut self) -> &mut Open<M> {
        &mut self.open
    }

    /// Receives until the deadline; `Empty` is the end of that.
    fn recv_until(
        &mut self,
        buffer: &mut Vec<u8>,
        deadline: Option<Instant>,
    ) -> Result<usize, TryRecvError> {
        loop {
            let got = annulus_channel::Receiver::try_recv(self, buffer);
            if got != Err(TryRecvError::Empty) {
                self.open.medium.give_up();
                return got;
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                self.open.medium.give_up();
                return got;
            }
            let until = slice_until(deadline, now);
            let waited = self.open.medium.wait(&self.open.link, until);
            waited.map_err(|fault| TryRecvError::Fault(self.open.link.fail(fault)))?;
        }
    }
}

impl<M: Medium> annulus_channel::Receiver for Receiver<M> {
    fn try_recv(&mut self, buffer: &mut Vec<u8>) -> Result<usize, TryRecvError> {
        buffer.clear();
        let Open { link, medium, .. } = &mut self.open;
        link.check().map_err(TryRecvError::Fault)?;
        // Before the look at the records.
        let end = link.end();
        match medium.take(link, buffer) {
            Ok(true) => Ok(buffer.len()),
            Ok(false) => Err(match end {
                Some(End::Closed) => TryRecvError::Disconnected,
                Some(End::Dead) => TryRecvError::PeerDead,
                None => TryRecvError::Empty,
            }),
            Err(fault) => {
                buffer.clear();
                Err(TryRecvError::Fault(link.fail(fault)))
            }
        }
    }

    fn recv(&mut self, buffer: &mut Vec<u8>) -> Result<usize, RecvError> {
        self.recv_until(buffer, None).map_err(|error| match error {
            TryRecvError::Disconnected => RecvError::Disconnected,
            TryRecvError::PeerDead => RecvError::PeerDead,
            TryRecvError::Fault(fault) => RecvError::Fault(fault),
            _ => unreachable!("without a deadline, nobody gives up"),
        })
    }

    fn recv_deadline(
        &mut self,
        buffer: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<usize, RecvTimeoutError> {
        let got = self.recv_until(buffer, Some(deadline));
        got.map_err(|error| match error {
            TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
            TryRecvError::PeerDead => RecvTimeoutError::PeerDead,
            TryRecvError::Fault(fault) => RecvTimeoutError::Fault(fault),
            _ => RecvTimeoutError::Timeout,
        })
    }

    fn capabilities(&self) -> Capabilities {
        self.open.capabilities()
    }
}

impl<M: Medium> Drop for Receiver<M> {
    fn drop(&mut self) {
        if !self.dead {
            open::close(&self.open.link, &mut self.open.medium);
        }
    }
}

impl<M: Medium> fmt::Debug for Receiver<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Receiver");
        debug
            .field("name", &self.open.link.place.name)
            .finish_non_exhaustive()
    }
}
