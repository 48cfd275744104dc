//! `annulus audit`: a ring's balance.

use crate::cli;
use crate::exit::Failure;
use annulus::{Inspector, Peer, RingInfo};
use std::fmt::Write as _;
use std::io::{self, Write};

/// Prints who is there, what went in and where it is, and fails if that does not add up.
pub fn run(args: &cli::Audit) -> Result<(), Failure> {
    let ring = Inspector::open(&args.name)?;
    let (audit, info) = (ring.audit(), ring.info());
    let mut text = head(&info);
    let _ = writeln!(text, "\n{audit}");
    for letter in ring.dead_letters() {
        let _ = writeln!(
            text,
            "dead letter at {}: tried {} times",
            letter.position, letter.tries
        );
    }
    let written = io::stdout().write_all(text.as_bytes());
    written.map_err(|error| Failure::output(error, 0))?;
    if audit.adds_up() {
        Ok(())
    } else {
        Err(Failure::Ended(format!("{}: does not add up", args.name)))
    }
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
