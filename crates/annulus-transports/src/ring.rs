//! Rings behind the facade: the engine's own options, and what the facade sets by itself.

use crate::error::OpenError;
use crate::options::Options;
use crate::{BoxedReceiver, BoxedSender};
use annulus::{AnyRing, AttachError, Inspector, Kind, Location, RingOptions};

/// A ring's size in bytes when nobody says another.
const CAPACITY: usize = 1 << 20;

pub(crate) fn sender(location: &Location, options: &Options) -> Result<BoxedSender, OpenError> {
    let mut sender = attach(location, options, AnyRing::sender)?;
    if let Some(what) = options.when_dead {
        sender.on_peer_death(what);
    }
    Ok(Box::new(sender))
}

pub(crate) fn receiver(location: &Location, options: &Options) -> Result<BoxedReceiver, OpenError> {
    let mut receiver = attach(location, options, AnyRing::receiver)?;
    if let Some(what) = options.when_dead {
        receiver.on_peer_death(what);
    }
    if let Some(what) = options.when_closed {
        receiver.on_close(what);
    }
    Ok(Box::new(receiver))
}

/// Opens the ring, and attaches by `end`. If somebody removes it meanwhile, or looks whether he may, opens it again.
fn attach<End>(
    location: &Location,
    options: &Options,
    end: fn(&AnyRing) -> Result<End, AttachError>,
) -> Result<End, OpenError> {
    loop {
        match end(&open(location, options)?) {
            Err(AttachError::Removed) => {}
            end => return end.map_err(|error| OpenError::Attach(location.clone(), error)),
        }
    }
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
    let opened = ring.open_any(options.kind.unwrap_or(Kind::Spsc), location);
    let ring = opened.map_err(of(location))?;
    let found = ring.info().kind;
    match options.kind {
        Some(asked) if asked != found => Err(of(location)(annulus::OpenError::Mismatch {
            what: "kind",
            expected: asked.to_string(),
            found: found.to_string(),
        })),
        _ => Ok(ring),
    }
}

/// Says of which ring an error is.
pub(crate) fn of(location: &Location) -> impl Fn(annulus::OpenError) -> OpenError + '_ {
    |error| OpenError::Ring(location.clone(), error)
}

/// Whether a living receiver is attached to the ring.
pub(crate) fn is_received(location: &Location) -> Result<bool, OpenError> {
    let ring = Inspector::open(location).map_err(of(location))?;
    let receivers = ring.info().receivers;
    Ok(receivers.iter().any(|peer| peer.alive))
}
