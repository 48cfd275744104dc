//! Opening: from a name to the transport that knows it.

use crate::error::OpenError;
use crate::options::{Options, Side};
use crate::url::{Scheme, Url};
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
    options.check(url, Side::Sender)?;
    waiting(options, || match url {
        Url::Ring(location) => ring::sender(location, options),
        Url::Pipe => Err(nameless(url)),
        #[cfg(feature = "pipe")]
        Url::Fifo(path) => crate::pipe::sender(path),
        #[cfg(feature = "socket")]
        Url::Unix(_) | Url::UnixSeqpacket(_) | Url::UnixDgram(_) | Url::Tcp(_) | Url::Udp(_) => {
            crate::socket::sender(url, options)
        }
        #[cfg(feature = "tls")]
        Url::Tls(_) => crate::socket::sender(url, options),
        #[cfg(feature = "mqueue")]
        Url::Mq(_) | Url::Sysv(_) => crate::queue::sender(url, options),
        #[cfg(feature = "classic")]
        Url::Classic(_) | Url::Sem(_) | Url::Spool(_) => crate::textbook::sender(url, options),
        #[allow(unreachable_patterns, reason = "only with every feature")]
        _ => Err(left_out(url)),
    })
}

/// Opens the receiving end of the channel. On a socket that is to listen there; whoever connects first is the sender. It is
/// open when somebody has connected, if the options say to wait, and otherwise at once.
///
/// # Errors
///
/// As [`open_sender`].
pub fn open_receiver(url: &Url, options: &Options) -> Result<BoxedReceiver, OpenError> {
    open_receiver_at(url, options).map(|(receiver, _)| receiver)
}

/// As [`open_receiver`], with the name by which senders find the channel: `url` itself, but for a port of 0, in whose place is
/// the one that the kernel chose.
///
/// ```
/// use annulus_transports::{Options, Url, open_receiver_at, open_sender};
///
/// let url: Url = "tcp:127.0.0.1:0".parse()?;
/// let (mut receiver, at) = open_receiver_at(&url, &Options::new())?;
/// assert_ne!(at, url);
/// let sending = std::thread::spawn(move || {
///     let mut sender = open_sender(&at, &Options::new())?;
///     sender.send(b"a record").expect("the receiver is there");
///     Ok::<(), annulus_transports::OpenError>(())
/// });
/// let mut record = Vec::new();
/// receiver.recv(&mut record)?;
/// assert_eq!(record, b"a record");
/// sending.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As [`open_sender`].
pub fn open_receiver_at(url: &Url, options: &Options) -> Result<(BoxedReceiver, Url), OpenError> {
    options.check(url, Side::Receiver)?;
    let at = |receiver| (receiver, url.clone());
    waiting(options, || match url {
        Url::Ring(location) => ring::receiver(location, options).map(at),
        Url::Pipe => Err(nameless(url)),
        #[cfg(feature = "pipe")]
        Url::Fifo(path) => crate::pipe::receiver(path, options).map(at),
        #[cfg(feature = "socket")]
        Url::Unix(_) | Url::UnixSeqpacket(_) | Url::UnixDgram(_) | Url::Tcp(_) | Url::Udp(_) => {
            crate::socket::receiver(url, options)
        }
        #[cfg(feature = "tls")]
        Url::Tls(_) => crate::socket::receiver(url, options),
        #[cfg(feature = "mqueue")]
        Url::Mq(_) | Url::Sysv(_) => crate::queue::receiver(url, options).map(at),
        #[cfg(feature = "classic")]
        Url::Classic(_) | Url::Sem(_) | Url::Spool(_) => {
            crate::textbook::receiver(url, options).map(at)
        }
        #[allow(unreachable_patterns, reason = "only with every feature")]
        _ => Err(left_out(url)),
    })
}

/// What no name can open.
fn nameless(url: &Url) -> OpenError {
    OpenError::Unfit {
        url: url.clone(),
        reason: "a pipe has no name, so only a process and its child can share one; for others there is fifo:PATH",
    }
}

/// What this build does not have.
pub(crate) fn left_out(url: &Url) -> OpenError {
    let scheme = url.scheme();
    let feature = match scheme {
        Scheme::Fifo | Scheme::Pipe => "pipe",
        Scheme::Mq | Scheme::Sysv => "mqueue",
        Scheme::Classic | Scheme::Sem | Scheme::Spool => "classic",
        Scheme::Tls => "tls",
        _ => "socket",
    };
    OpenError::LeftOut { scheme, feature }
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
