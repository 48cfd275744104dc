//! Annulus, the control row. It needs no call after a death: whoever is stuck repairs.

use super::{CAPACITY, Handle, Opened, Peer, Side};
use crate::message::Message;
use crate::place::Place;
use annulus::{Mpmc, Protocol, Receiver, Ring, RingOptions, Sender, Spsc};

/// Many senders, many receivers.
pub const MPMC: Peer = Peer {
    name: "Annulus mpmc",
    package: Some("annulus"),
    open: open::<Mpmc>,
    itself: "repairs in itself",
    ..super::MPMC
};

/// One sender, one receiver.
pub const SPSC: Peer = Peer {
    name: "Annulus spsc",
    open: open::<Spsc>,
    many_senders: false,
    many_receivers: false,
    ..MPMC
};

impl<K: Protocol> Handle for Sender<Message, K> {
    fn send(&mut self, message: &Message) -> bool {
        self.try_send(*message).is_ok()
    }
}

impl<K: Protocol> Handle for Receiver<Message, K> {
    fn receive(&mut self) -> Option<Message> {
        self.try_recv().ok()
    }
}

fn open<K: Protocol + 'static>(place: &Place, side: Side, create: bool) -> Opened {
    let ring: Ring<Message, K> = RingOptions::new()
        .capacity(CAPACITY as usize)
        .create(create)
        .file(place.file())
        .map_err(|error| error.to_string())?;
    Ok(match side {
        Side::Sender => Box::new(ring.sender().map_err(|error| error.to_string())?),
        Side::Receiver => Box::new(ring.receiver().map_err(|error| error.to_string())?),
    })
}
