//! Coming by a ring and one of its ends, as the command line asks.

use crate::cli;
use crate::exit::Failure;
use crate::wait::Wait;
use annulus::{AnyRing, AttachError, Kind, Location, OpenError, Peer, RingOptions};
use std::thread;
use std::time::{Duration, Instant};

/// `--wait` looks for the ring each time it has waited longer by this fraction, …
const LOOK_SHARE: u32 = 10;

/// … but not more often than this, …
const LOOK_LEAST: Duration = Duration::from_millis(1);

/// … and not more seldom.
const LOOK_MOST: Duration = Duration::from_millis(200);

/// A ring's size when nobody says another.
const CAPACITY: usize = 1 << 20;

/// Opens the ring, creating it or waiting for it where that was asked, and takes the place that
/// `take` takes.
pub fn attach<End>(
    args: &cli::Ring,
    take: impl Fn(&AnyRing) -> Result<End, AttachError>,
) -> Result<(AnyRing, End), Failure> {
    let wait = Wait::new("the ring did not appear", args.timeout);
    let start = Instant::now();
    loop {
        match open(args) {
            Ok(ring) => match take(&ring) {
                Ok(end) => return Ok((ring, end)),
                // Finished by others in this very moment: see what has the name now.
                Err(AttachError::Removed) => {}
                Err(error) => return Err(Failure::Attach(args.name.clone(), error)),
            },
            Err(OpenError::NotFound(_)) if args.wait => {
                thread::sleep((start.elapsed() / LOOK_SHARE).clamp(LOOK_LEAST, LOOK_MOST));
            }
            Err(error) => return Err(error.into()),
        }
        wait.slice()?;
    }
}

fn open(args: &cli::Ring) -> Result<AnyRing, OpenError> {
    let mut options = RingOptions::new();
    if args.create {
        let kept = args.keep || matches!(args.name, Location::File(_));
        options
            .create(true)
            .capacity(args.capacity.unwrap_or(CAPACITY))
            .unlink_when_finished(!kept);
    }
    if let Some(mode) = args.mode {
        options.mode(mode);
    }
    let ring = options.open_any(args.kind.unwrap_or(Kind::Spsc), &args.name)?;
    let found = ring.info().kind;
    match args.kind {
        Some(asked) if asked != found => Err(OpenError::Mismatch {
            what: "kind",
            expected: asked.to_string(),
            found: found.to_string(),
        }),
        _ => Ok(ring),
    }
}

/// The better word for a wait that ended in vain while everybody on the other side was dead.
pub fn or_dead(failure: Failure, side: &'static str, peers: impl Fn() -> Vec<Peer>) -> Failure {
    let all_dead = |peers: &[Peer]| !peers.is_empty() && peers.iter().all(|peer| !peer.alive);
    match failure {
        Failure::Timeout { .. } if all_dead(&peers()) => Failure::PeerDead(side),
        failure => failure,
    }
}
