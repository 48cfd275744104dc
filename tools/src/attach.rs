//! Coming by a channel's end, as the command line asks, and giving it up.

use crate::cli;
use crate::exit::Failure;
use crate::wait::Wait;
use annulus::{AttachError, Inspector, Peer};
use annulus_transports::{OpenError, Options, Side, Url, remove_finished};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// `--wait` looks for the channel each time it has waited longer by this fraction, …
const LOOK_SHARE: u32 = 10;

/// … but not more often than this, …
const LOOK_LEAST: Duration = Duration::from_millis(1);

/// … and not more seldom.
const LOOK_MOST: Duration = Duration::from_millis(200);

impl cli::Channel {
    /// What the facade is to do. Waiting is ours, since a signal ends it.
    pub fn options(&self) -> Options {
        let mut options = Options::new();
        options.create(self.create).keep(self.keep);
        if let Some(kind) = self.kind {
            options.kind(kind);
        }
        if let Some(capacity) = self.capacity {
            options.capacity(capacity);
        }
        if let Some(mode) = self.mode {
            options.mode(mode);
        }
        if let (Some(ca), Some(cert), Some(key)) = (&self.ca, &self.cert, &self.key) {
            options.tls(ca, cert, key);
        }
        options
    }
}

/// Opens an end of the channel, waiting for the channel where that was asked.
pub fn attach<End: Send + 'static>(
    args: &cli::Channel,
    options: &Options,
    open: fn(&Url, &Options) -> Result<End, OpenError>,
) -> Result<End, Failure> {
    let wait = Wait::new("the channel did not appear", args.timeout);
    let start = Instant::now();
    loop {
        match open_in_slices(args, options, open, &wait)? {
            Ok(end) => return Ok(end),
            // Finished by others in this very moment: see what has the name now.
            Err(OpenError::Attach(_, AttachError::Removed)) => {}
            Err(error) if error.is_not_found() && args.wait => {
                thread::sleep((start.elapsed() / LOOK_SHARE).clamp(LOOK_LEAST, LOOK_MOST));
            }
            Err(error) => return Err(error.into()),
        }
        wait.slice()?;
    }
}

/// Opens it once. Who connects to a socket waits until it is accepted, which may take as long as the receiver has
/// another sender; so that is done aside, and given up with the process.
fn open_in_slices<End: Send + 'static>(
    args: &cli::Channel,
    options: &Options,
    open: fn(&Url, &Options) -> Result<End, OpenError>,
    wait: &Wait,
) -> Result<Result<End, OpenError>, Failure> {
    if !args.name.scheme().is_socket() {
        return Ok(open(&args.name, options));
    }
    let (url, options) = (args.name.clone(), options.clone());
    let (done, opened) = mpsc::channel();
    // Nobody hears it if we have given up.
    thread::spawn(move || done.send(open(&url, &options)));
    loop {
        let left = wait.slice()?.saturating_duration_since(Instant::now());
        match opened.recv_timeout(left) {
            Ok(opened) => return Ok(opened),
            Err(RecvTimeoutError::Timeout) => {}
            Err(error) => return Err(Failure::Ended(error.to_string())),
        }
    }
}

/// Gives up a channel of which our end is closed, if a signal or our patience is what ended us: one that we were told to create and not to
/// keep goes, if nobody is there and nothing is in it. What was sent and not received stays. Gives back the failure, with the
/// channel's name.
pub fn give_up(args: &cli::Channel, failure: Failure) -> Failure {
    let in_order = matches!(failure, Failure::Stopped { .. } | Failure::Timeout { .. });
    if args.create && !args.keep && in_order {
        // If it cannot be removed now, `rm --stale` tries again.
        let _ = remove_finished(&args.name);
    }
    failure.on(&args.name)
}

/// The better word for a wait that ended in vain while everybody on the `other` side of a ring was dead.
pub fn or_dead(failure: Failure, url: &Url, other: Side) -> Failure {
    match (failure, url) {
        (Failure::Timeout { what, limit }, Url::Ring(location)) => {
            let dead = Inspector::open(location).ok();
            dead.and_then(|ring| death(&ring, other))
                .unwrap_or(Failure::Timeout { what, limit })
        }
        (failure, _) => failure,
    }
}

/// The failure, if everybody on that side of a ring is dead.
fn death(ring: &Inspector, side: Side) -> Option<Failure> {
    let (peers, name) = match side {
        Side::Sender => (ring.info().senders, "sender"),
        Side::Receiver => (ring.info().receivers, "receiver"),
    };
    let all_dead = !peers.is_empty() && peers.iter().all(|peer: &Peer| !peer.alive);
    all_dead.then_some(Failure::PeerDead(name))
}

/// Looks now and then whether a ring's receivers are dead. A sender that finds room learns nothing of them.
pub struct Watch {
    ring: Inspector,
    looked: Instant,
}

impl Watch {
    /// For a sender that is to fail with its receivers. Nothing where every send would tell.
    pub fn new(url: &Url) -> Option<Self> {
        let Url::Ring(location) = url else {
            return None;
        };
        Some(Self {
            ring: Inspector::open(location).ok()?,
            looked: Instant::now(),
        })
    }

    /// Looks, if the last look was long ago.
    pub fn glance(&mut self) -> Result<(), Failure> {
        if self.looked.elapsed() < LOOK_MOST {
            return Ok(());
        }
        self.look()
    }

    /// Looks.
    pub fn look(&mut self) -> Result<(), Failure> {
        self.looked = Instant::now();
        death(&self.ring, Side::Receiver).map_or(Ok(()), Err)
    }
}
