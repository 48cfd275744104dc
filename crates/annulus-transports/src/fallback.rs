//! The first of several channels that works at both ends.
//!
//! Both ends are given names of the same channels, not necessarily in the same order or the same number.
//!
//! - The *receiver* offers: it creates every channel that it can, in order, and then waits for a greeting on any of
//!   them. One that exists already is refused and left as it is: records of others may be in it, which a look for the
//!   greeting would take. What a killed receiver has left is in the way, too, until somebody [removes](crate::remove) it.
//!   (Sockets and FIFOs are met, not kept: there a receiver that lives is in the way, and a dead one's name is taken over.)
//! - The *sender* chooses: it tries its names in order and never creates anything. The first that it can open, on which
//!   somebody receives, and which takes the greeting, is the one. Having found one it looks once more at those before it,
//!   since the receiver may have been in the middle of offering them.
//! - The *greeting* is the channel's first record. It names the channels that the sender could not use and says why, so that
//!   both ends know. The receiver takes the channel it comes by, closes the others and removes them, as it has created them.
//!   A channel by which something else than a greeting comes first is out, and left to whoever sends there.
//!
//! So the order that counts is the sender's. Whoever finds no channel in time gets every reason. A sender that dies
//! after its greeting is the channel's own affair, as is one whose channel fails later: there is no second choice.
//!
//! A channel that may lose records is refused, since the greeting may be lost; so is one that cannot be opened by name.

use crate::error::OpenError;
use crate::open::{open_receiver, open_sender};
use crate::options::{Options, Side};
use crate::url::Url;
use crate::{BoxedReceiver, BoxedSender, remove, ring};
use annulus_channel::{Fault, OpenReason, TryRecvError};
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

/// What the greeting begins with.
const GREETING: &str = "annulus-fallback 1\n";

/// Between two looks at all channels.
const LOOK: Duration = Duration::from_millis(2);

/// How long to go on if the options name no limit.
const LIMIT: Duration = Duration::from_secs(10);

/// One end of a channel.
pub enum Channel {
    /// The sending end.
    Sender(BoxedSender),
    /// The receiving end.
    Receiver(BoxedReceiver),
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sender(_) => "Sender(..)",
            Self::Receiver(_) => "Receiver(..)",
        })
    }
}

impl Channel {
    /// The sending end, if it is that.
    pub fn sender(self) -> Option<BoxedSender> {
        match self {
            Self::Sender(sender) => Some(sender),
            Self::Receiver(_) => None,
        }
    }

    /// The receiving end, if it is that.
    pub fn receiver(self) -> Option<BoxedReceiver> {
        match self {
            Self::Receiver(receiver) => Some(receiver),
            Self::Sender(_) => None,
        }
    }
}

/// What [`fallback`] has chosen.
#[derive(Debug)]
#[non_exhaustive]
pub struct Chosen {
    /// The channel's name.
    pub url: Url,
    /// Our end of it.
    pub channel: Channel,
    /// The names that could not be used, here or (as [`OpenError::Peer`]) at the other end, and why. On the sender's side
    /// those before the chosen one.
    pub rejected: Vec<(Url, OpenError)>,
}

/// No name could be used.
#[derive(Debug)]
#[non_exhaustive]
pub struct NoneChosen {
    /// Each name, and why it could not be used. Nothing for a receiver's names on which nobody came.
    pub rejected: Vec<(Url, OpenError)>,
}

/// A line, and then one for each name.
impl fmt::Display for NoneChosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no channel works at both ends")?;
        for (_, error) in &self.rejected {
            write!(f, "\n  {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for NoneChosen {}

/// Opens the first of `urls` that works at both ends, where the other end calls this too, for the other side.
///
/// `options` are for every channel: a transport gets those that apply to it. `wait` is how long the other end may take to
/// come, 10 s if not set.
///
/// A receiver offers only what it creates itself: a channel that exists already is among the `rejected`, and neither it nor a
/// record in it is touched. Of what it has created, everything but the chosen channel is gone when this returns.
///
/// ```
/// use annulus_transports::{Options, Side, Url, fallback};
/// use std::thread;
///
/// # let pid = std::process::id();
/// # let urls: Vec<Url> = vec![format!("/no/such/place/{pid}").parse()?, format!("annulus-doc-fallback-{pid}").parse()?];
/// // As "orders" and "unix:/run/orders.sock": here, a file that cannot be created, and a ring.
/// let ours = urls.clone();
/// let receiver = thread::spawn(move || fallback(&ours, Side::Receiver, &Options::new()));
/// let chosen = fallback(&urls, Side::Sender, &Options::new())?;
/// assert_eq!(chosen.url, urls[1]);
/// assert_eq!(chosen.rejected[0].0, urls[0]);
/// let mut sender = chosen.channel.sender().unwrap();
/// sender.send(b"a record")?;
///
/// let mut receiver = receiver.join().unwrap()?.channel.receiver().unwrap();
/// let mut record = Vec::new();
/// receiver.recv(&mut record)?;
/// assert_eq!(record, b"a record");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`NoneChosen`] has the reason for each name. It comes at once if waiting cannot help with any of them: the user may not open
/// it, something else has the name, the transport will not do.
pub fn fallback(urls: &[Url], side: Side, options: &Options) -> Result<Chosen, NoneChosen> {
    let deadline = Instant::now() + options.wait.unwrap_or(LIMIT);
    match side {
        Side::Receiver => offer(urls, options, deadline),
        Side::Sender => choose(urls, options, deadline),
    }
}

/// Those of the options that mean something for this channel.
fn fitting(url: &Url, options: &Options, side: Side) -> Options {
    let mut fitting = options.clone();
    fitting.wait = None;
    fitting.create = side == Side::Receiver && !url.scheme().is_met();
    fitting.create_new = fitting.create;
    if url.scheme().is_socket() {
        // It is said for what holds records; the limits of a socket are far lower.
        fitting.capacity = None;
    }
    if side == Side::Sender {
        (fitting.mode, fitting.capacity, fitting.keep) = (None, None, false);
        fitting.max_record = None;
    }
    // Each word that the check refuses goes, and nothing else does.
    while let Err(OpenError::Option { option, .. }) = fitting.check(url, side) {
        match option {
            "kind" => fitting.kind = None,
            "keep" => fitting.keep = false,
            "mode" => fitting.mode = None,
            "capacity" => fitting.capacity = None,
            "max_record" => fitting.max_record = None,
            "tls" => fitting.tls = None,
            _ => fitting.create = false,
        }
    }
    fitting
}

fn offer(urls: &[Url], options: &Options, deadline: Instant) -> Result<Chosen, NoneChosen> {
    let mut rejected = Vec::new();
    let mut offers = Vec::new();
    for url in urls {
        let open = || open_receiver(url, &fitting(url, options, Side::Receiver));
        match check(url).and_then(|()| open()) {
            Ok(receiver) => offers.push((url.clone(), receiver)),
            Err(error) => rejected.push((url.clone(), existing(url, error))),
        }
    }
    let greeted = wait_for_greeting(&mut offers, deadline, &mut rejected);
    let chosen = greeted.map(|at| offers.remove(at));
    // Nobody will come by the others.
    for (url, receiver) in offers {
        drop(receiver);
        // Created here, and in nobody's use. What is met removes itself, and by now the name may be another's.
        if !url.scheme().is_met() {
            let _ = remove(&url);
        }
    }
    match chosen {
        Some((url, receiver)) => Ok(Chosen {
            url,
            channel: Channel::Receiver(receiver),
            rejected,
        }),
        None => Err(NoneChosen { rejected }),
    }
}

/// Says why a channel that is there already is not offered; any other error as it is.
fn existing(url: &Url, error: OpenError) -> OpenError {
    match error {
        OpenError::Ring(_, annulus::OpenError::Exists(_))
        | OpenError::Transport(annulus_channel::OpenError {
            reason: OpenReason::Exists,
            ..
        }) => OpenError::Unfit {
            url: url.clone(),
            reason: "it exists already, and may hold records of others",
        },
        other => other,
    }
}

/// Refuses what may lose the greeting.
fn check(url: &Url) -> Result<(), OpenError> {
    match url {
        Url::Udp(_) => Err(OpenError::Unfit {
            url: url.clone(),
            reason: "it may lose records, and with them the greeting by which both ends agree",
        }),
        _ => Ok(()),
    }
}

/// Which channel the greeting came by.
fn wait_for_greeting(
    offers: &mut Vec<(Url, BoxedReceiver)>,
    deadline: Instant,
    rejected: &mut Vec<(Url, OpenError)>,
) -> Option<usize> {
    let mut record = Vec::new();
    while !offers.is_empty() && Instant::now() < deadline {
        let mut at = 0;
        while at < offers.len() {
            let (url, receiver) = &mut offers[at];
            let error = match receiver.try_recv(&mut record) {
                Ok(_) => match read_greeting(&record) {
                    Some(said) => {
                        rejected.extend(said);
                        return Some(at);
                    }
                    None => OpenError::Unfit {
                        url: url.clone(),
                        reason: "a record came where a greeting was expected: a stranger sends there",
                    },
                },
                // A sender that came and went without a word, having chosen another channel.
                Err(TryRecvError::Empty | TryRecvError::Disconnected | TryRecvError::PeerDead) => {
                    at += 1;
                    continue;
                }
                Err(TryRecvError::Fault(Fault::Os { call, errno })) => {
                    annulus_channel::OpenError::new(&*url, OpenReason::Os { call, errno }).into()
                }
                Err(_) => OpenError::Unfit {
                    url: url.clone(),
                    reason: "it failed before anybody came",
                },
            };
            rejected.push((url.clone(), error));
            offers.remove(at);
        }
        thread::sleep(LOOK);
    }
    None
}

fn choose(urls: &[Url], options: &Options, deadline: Instant) -> Result<Chosen, NoneChosen> {
    loop {
        let mut reasons = Vec::new();
        if let Some((at, sender)) = first(urls, options, &mut reasons) {
            // Those before it may have been offered just after we looked, but not after this one was.
            let mut rejected = Vec::new();
            let again = first(&urls[..at], options, &mut rejected);
            let (at, mut sender) = again.unwrap_or((at, sender));
            let greeting = write_greeting(&rejected, sender.max_record());
            match sender.send_timeout(greeting.as_bytes(), Duration::from_secs(1)) {
                Ok(()) => {
                    return Ok(Chosen {
                        url: urls[at].clone(),
                        channel: Channel::Sender(sender),
                        rejected,
                    });
                }
                Err(_) => {
                    reasons = rejected;
                    let url = urls[at].clone();
                    let reason = "its receiver left, or it is full of what somebody else sent";
                    reasons.push((url.clone(), OpenError::Unfit { url, reason }));
                }
            }
        }
        let hopeless = reasons.iter().all(|(url, error)| is_hopeless(url, error));
        if hopeless || Instant::now() >= deadline {
            return Err(NoneChosen { rejected: reasons });
        }
        thread::sleep(LOOK);
    }
}

/// Whether a name that could not be used will not do later either, as far as can be said.
fn is_hopeless(url: &Url, error: &OpenError) -> bool {
    match error {
        OpenError::Name { .. } | OpenError::Option { .. } | OpenError::LeftOut { .. } => true,
        // Or nobody receives there yet.
        OpenError::Unfit { .. } => *url == Url::Pipe || check(url).is_err(),
        OpenError::Ring(_, error) => matches!(
            error,
            annulus::OpenError::Permission(_)
                | annulus::OpenError::NotARing { .. }
                | annulus::OpenError::Truncated { .. }
                | annulus::OpenError::Mismatch { .. }
        ),
        OpenError::Transport(error) => match error.reason {
            OpenReason::Name { .. } | OpenReason::Permission | OpenReason::UnknownHost { .. } => {
                true
            }
            // Who listens there now may make way for another.
            OpenReason::Mismatch { .. } => !url.scheme().is_met(),
            _ => false,
        },
        _ => false,
    }
}

/// The first that can be opened and has a receiver; and why those before it are not.
fn first(
    urls: &[Url],
    options: &Options,
    reasons: &mut Vec<(Url, OpenError)>,
) -> Option<(usize, BoxedSender)> {
    for (at, url) in urls.iter().enumerate() {
        match try_sender(url, options) {
            Ok(sender) => return Some((at, sender)),
            Err(error) => reasons.push((url.clone(), error)),
        }
    }
    None
}

fn try_sender(url: &Url, options: &Options) -> Result<BoxedSender, OpenError> {
    check(url)?;
    if !is_received(url)? {
        return Err(OpenError::Unfit {
            url: url.clone(),
            reason: "nobody receives there",
        });
    }
    open_sender(url, &fitting(url, options, Side::Sender))
}

/// Whether somebody living receives there, where that does not show in opening it.
fn is_received(url: &Url) -> Result<bool, OpenError> {
    match url {
        Url::Ring(location) => ring::is_received(location),
        #[cfg(feature = "mqueue")]
        Url::Mq(_) | Url::Sysv(_) => crate::queue::is_received(url),
        #[cfg(feature = "classic")]
        Url::Classic(_) | Url::Sem(_) | Url::Spool(_) => crate::textbook::is_received(url),
        _ => Ok(true),
    }
}

/// The greeting, with as many whole lines of reasons as fit into a record.
fn write_greeting(rejected: &[(Url, OpenError)], max: usize) -> String {
    let mut greeting = GREETING.to_owned();
    for (url, error) in rejected {
        let line = format!("{url}\t{error}\n");
        if greeting.len() + line.len() > max {
            break;
        }
        greeting.push_str(&line);
    }
    greeting
}

/// The sender's reasons, if the record is a greeting.
fn read_greeting(record: &[u8]) -> Option<Vec<(Url, OpenError)>> {
    let lines = std::str::from_utf8(record).ok()?.strip_prefix(GREETING)?;
    let reason = |line: &str| {
        let (url, reason) = line.split_once('\t')?;
        let error = OpenError::Peer {
            url: url.to_owned(),
            reason: reason.to_owned(),
        };
        Some((url.parse().ok()?, error))
    };
    Some(lines.lines().filter_map(reason).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_tells_the_reasons_that_fit() {
        let url: Url = "tcp:far:1".parse().expect("a name");
        let rejected = [(
            url.clone(),
            OpenError::Unfit {
                url: url.clone(),
                reason: "too far",
            },
        )];
        let greeting = write_greeting(&rejected, 4096);
        let read = read_greeting(greeting.as_bytes()).expect("a greeting");
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].0, url);
        assert!(read[0].1.to_string().contains("at the other end"));
        assert!(read[0].1.to_string().contains("too far"));

        assert_eq!(write_greeting(&rejected, GREETING.len() + 5), GREETING);
        assert!(read_greeting(b"hello").is_none());
    }
}
