//! Rings behind the facade: the engine's own options, and what the facade sets by itself.

use crate::error::OpenError;
use crate::options::Options;
use crate::{BoxedReceiver, BoxedSender};
use annulus::{AnyRing, Inspector, Kind, Location, RingOptions};

/// A ring's size in bytes when nobody says another.
const CAPACITY: usize = 1 << 20;

pub(crate) fn sender(location: &Location, options: &Options) -> Result<BoxedSender, OpenError> {
    let ring = open(location, options)?;
    let sender = ring.sender();
    let mut sender = sender.map_err(|error| OpenError::Attach(location.clone(), error))?;
    if let Some(what) = options.when_dead {
        sender.on_peer_death(what);
    }
    Ok(Box::new(sender))
}

pub(crate) fn receiver(location: &Location, options: &Options) -> Result<BoxedReceiver, OpenError> {
    let ring = open(location, options)?;
    let receiver = ring.receiver();
    let mut receiver = receiver.map_err(|error| OpenError::Attach(location.clone(), error))?;
    if let Some(what) = options.when_dead {
        receiver.on_peer_death(what);
    }
    if let Some(what) = options.when_closed {
        receiver.on_close(what);
    }
    Ok(Box::new(receiver))
}

fn open(location: &Location, options: &Options) -> Result<AnyRing, OpenError> {
    let mut ring = RingOptions::new();
    if options.create {
        let kept = options.keep || matches!(location, Location::File(_));
        ring.create(true)
            .create_new(options.create_new)
            .capacity(options.capacity.unwrap_or(CAPACITY))
            .unlink_when_finished(!kept);
    }
    if let Some(mode) = options.mode {
        ring.mode(mode);
    }
    let ring = ring.open_any(options.kind.unwrap_or(Kind::Spsc), location)?;
    let found = ring.info().kind;
    match options.kind {
        Some(asked) if asked != found => Err(OpenError::Ring(annulus::OpenError::Mismatch {
            what: "kind",
            expected: asked.to_string(),
            found: found.to_string(),
        })),
        _ => Ok(ring),
    }
}

/// Whether a living receiver is attached to the ring.
pub(crate) fn is_received(location: &Location) -> Result<bool, OpenError> {
    let receivers = Inspector::open(location)?.info().receivers;
    Ok(receivers.iter().any(|peer| peer.alive))
}
