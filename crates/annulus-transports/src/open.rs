//! Opening: from a name to the transport that knows it.

use crate::error::OpenError;
use crate::options::{Options, Side};
use crate::url::Url;
use crate::{BoxedReceiver, BoxedSender, ring};
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks for a channel that is not there yet, at least and at most.
const LOOK: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// Opens the sending end of the channel.
///
/// # Errors
///
/// [`OpenError`] says what was expected and what was found.
pub fn open_sender(url: &Url, options: &Options) -> Result<BoxedSender, OpenError> {
    options.check(url)?;
    waiting(options, || match url {
        Url::Ring(location) => ring::sender(location, options),
        url => elsewhere(url, Side::Sender),
    })
}

/// Opens the receiving end of the channel. On a socket that is to listen there; whoever connects first is the sender.
///
/// # Errors
///
/// As [`open_sender`].
pub fn open_receiver(url: &Url, options: &Options) -> Result<BoxedReceiver, OpenError> {
    options.check(url)?;
    waiting(options, || match url {
        Url::Ring(location) => ring::receiver(location, options),
        url => elsewhere(url, Side::Receiver),
    })
}

/// What no name can open.
fn elsewhere<End>(url: &Url, _side: Side) -> Result<End, OpenError> {
    let reason = match url {
        Url::Pipe => {
            "a pipe has no name, so only a process and its child can share one; for others there is fifo:PATH"
        }
        _ => "not built yet",
    };
    let url = url.clone();
    Err(OpenError::Unfit { url, reason })
}

/// Calls again while there is nothing there, as long as the options say.
fn waiting<End>(
    options: &Options,
    mut open: impl FnMut() -> Result<End, OpenError>,
) -> Result<End, OpenError> {
    let start = Instant::now();
    loop {
        match (open(), options.wait) {
            (Err(error), Some(limit)) if error.is_not_found() => {
                let waited = start.elapsed();
                if waited >= limit {
                    return Err(error);
                }
                let (least, most) = LOOK;
                thread::sleep((waited / 10).clamp(least, most).min(limit - waited));
            }
            (done, _) => return done,
        }
    }
}
