//! A receiver that goes on with the next sender, where a transport's own channel ends with the last one.
//!
//! It opens the channel anew after each end.

use crate::error::OpenError;
use crate::options::Options;
use crate::{BoxedReceiver, Receiver};
use annulus::{WhenClosed, WhenDead};
use annulus_channel::{Capabilities, Fault, OpenReason, RecvError, RecvTimeoutError, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

/// Opens the channel anew.
type Open = Box<dyn FnMut() -> Result<BoxedReceiver, OpenError> + Send>;

/// A receiver over one channel after the other.
struct Again {
    channel: BoxedReceiver,
    open: Open,
    /// Which ends are none: a sender's closing, a sender's death.
    past_close: bool,
    past_death: bool,
    /// Nothing has come since it was opened.
    fresh: bool,
}

/// Between two looks for the next sender.
const LOOK: Duration = Duration::from_millis(10);

/// The receiver that `open` gives, which goes on after an end if the options say so.
pub(crate) fn again(
    options: &Options,
    mut open: impl FnMut() -> Result<BoxedReceiver, OpenError> + Send + 'static,
) -> Result<BoxedReceiver, OpenError> {
    let channel = open()?;
    let past_close = options.when_closed == Some(WhenClosed::Wait);
    let past_death = options.when_dead == Some(WhenDead::Wait);
    if !past_close && !past_death {
        return Ok(channel);
    }
    Ok(Box::new(Again {
        channel,
        open: Box::new(open),
        past_close,
        past_death,
        fresh: true,
    }))
}

impl Again {
    /// Opens the next channel after this end, or gives the end back. False: not before `until`.
    fn pass(&mut self, end: RecvError, until: Option<Instant>) -> Result<bool, RecvError> {
        let goes_on = match end {
            RecvError::Disconnected => self.past_close,
            RecvError::PeerDead => self.past_death,
            _ => false,
        };
        if !goes_on {
            return Err(end);
        }
        // The old one first, so that its name is free.
        self.channel = Box::new(Gone(self.channel.capabilities()));
        self.channel = (self.open)().map_err(|error| RecvError::Fault(fault(&error)))?;
        if std::mem::replace(&mut self.fresh, true) {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            thread::sleep(left.map_or(LOOK, |left| left.min(LOOK)));
            return Ok(left.is_none_or(|left| left > LOOK));
        }
        Ok(true)
    }
}

/// What the contract has for a channel that could not be opened again.
fn fault(error: &OpenError) -> Fault {
    match error {
        OpenError::Transport(annulus_channel::OpenError {
            reason: OpenReason::Os { call, errno },
            ..
        }) => Fault::Os {
            call,
            errno: *errno,
        },
        _ => Fault::Os {
            call: "opening the channel again",
            errno: 0,
        },
    }
}

impl Receiver for Again {
    fn try_recv(&mut self, buffer: &mut Vec<u8>) -> Result<usize, TryRecvError> {
        loop {
            let end = match self.channel.try_recv(buffer) {
                Err(TryRecvError::Disconnected) => RecvError::Disconnected,
                Err(TryRecvError::PeerDead) => RecvError::PeerDead,
                done => {
                    self.fresh &= done.is_err();
                    return done;
                }
            };
            if !self.pass(end, Some(Instant::now()))? {
                return Err(TryRecvError::Empty);
            }
        }
    }

    fn recv(&mut self, buffer: &mut Vec<u8>) -> Result<usize, RecvError> {
        loop {
            match self.channel.recv(buffer) {
                Err(end) => self.pass(end, None)?,
                done => {
                    self.fresh = false;
                    return done;
                }
            };
        }
    }

    fn recv_deadline(
        &mut self,
        buffer: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<usize, RecvTimeoutError> {
        loop {
            let end = match self.channel.recv_deadline(buffer, deadline) {
                Err(RecvTimeoutError::Disconnected) => RecvError::Disconnected,
                Err(RecvTimeoutError::PeerDead) => RecvError::PeerDead,
                done => {
                    self.fresh &= done.is_err();
                    return done;
                }
            };
            if !self.pass(end, Some(deadline))? {
                return Err(RecvTimeoutError::Timeout);
            }
        }
    }

    fn capabilities(&self) -> Capabilities {
        self.channel.capabilities()
    }
}

/// Between one channel and the next.
struct Gone(Capabilities);

impl Receiver for Gone {
    fn try_recv(&mut self, buffer: &mut Vec<u8>) -> Result<usize, TryRecvError> {
        buffer.clear();
        Err(TryRecvError::Disconnected)
    }

    fn recv(&mut self, buffer: &mut Vec<u8>) -> Result<usize, RecvError> {
        buffer.clear();
        Err(RecvError::Disconnected)
    }

    fn recv_deadline(
        &mut self,
        buffer: &mut Vec<u8>,
        _deadline: Instant,
    ) -> Result<usize, RecvTimeoutError> {
        buffer.clear();
        Err(RecvTimeoutError::Disconnected)
    }

    fn capabilities(&self) -> Capabilities {
        self.0
    }
}
