//! `annulus audit`, a ring's balance; and `annulus dead-letters`, what came back too often.

use crate::cli;
use crate::exit::Failure;
use annulus::{Inspector, Location, Peer, RingInfo};
use annulus_transports::OpenError;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Prints who is there, what went in and where it is, and fails if that does not add up.
pub fn run(args: &cli::Audit) -> Result<(), Failure> {
    let ring = open(&args.name)?;
    let (audit, info) = (ring.audit(), ring.info());
    let mut text = head(&info);
    let _ = writeln!(text, "\n{audit}");
    print(text.as_bytes())?;
    if audit.adds_up() {
        Ok(())
    } else {
        Err(Failure::Ended(format!("{}: does not add up", args.name)))
    }
}

/// Lists the dead letters, or writes them out and removes them. One that cannot be written stays.
pub fn dead_letters(args: &cli::DeadLetters) -> Result<(), Failure> {
    let ring = open(&args.name)?;
    for letter in ring.dead_letters() {
        if args.drain {
            if let Some(bytes) = ring.read_dead(&letter) {
                print(&bytes)?;
                ring.discard_dead(letter);
            }
        } else {
            let (position, tries) = (letter.position, letter.tries);
            print(format!("at {position}, tried {tries} times\n").as_bytes())?;
        }
    }
    Ok(())
}

fn open(location: &Location) -> Result<Inspector, Failure> {
    let ring = Inspector::open(location);
    ring.map_err(|error| OpenError::Ring(location.clone(), error).into())
}

fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    written.map_err(|error| Failure::output(error, 0))
}

/// The ring, and who is attached.
fn head(info: &RingInfo) -> String {
    let peers = |peers: &[Peer]| {
        let one = |peer: &Peer| match peer.alive {
            true => peer.pid.to_string(),
            false => format!("{} (dead)", peer.pid),
        };
        match peers.iter().map(one).collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => "none".to_owned(),
            some => some,
        }
    };
    format!(
        "{} ring of {}, capacity {}\nsenders: {}; receivers: {}\nrepaired: {} claims voided, {} records returned; {} rescues\n",
        info.kind,
        info.message,
        info.capacity,
        peers(&info.senders),
        peers(&info.receivers),
        info.voided,
        info.returned,
        info.rescues
    )
}
