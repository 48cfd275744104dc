//! shaq: a ring of many senders and receivers in which what was reserved is published in order, and a ring of one
//! each. `recover_as_exclusive` of the former gives up what a dead process had reserved, and wants to be called by the only
//! process of its side.

use super::{CAPACITY, Handle, Opened, Peer, Recovery, Side};
use crate::message::Message;
use crate::place::Place;
use shaq::{mpmc, spsc};
use std::fs::OpenOptions;

/// Many senders, many receivers.
pub const MPMC: Peer = Peer {
    name: "shaq mpmc",
    package: Some("shaq"),
    open: |place, side, create| open(place, side, create, true),
    sender_died: Some(Recovery {
        call: "Producer::recover_as_exclusive",
        alone: true,
    }),
    receiver_died: Some(Recovery {
        call: "Consumer::recover_as_exclusive",
        alone: true,
    }),
    ..super::MPMC
};

/// One sender, one receiver. A new one joins in the place of a dead one.
pub const SPSC: Peer = Peer {
    name: "shaq spsc",
    open: |place, side, create| open(place, side, create, false),
    many_senders: false,
    many_receivers: false,
    sender_died: None,
    receiver_died: None,
    ..MPMC
};

impl Handle for mpmc::Producer<Message> {
    fn send(&mut self, message: &Message) -> bool {
        self.try_write(*message).is_ok()
    }

    fn recover(&mut self) {
        // SAFETY: the trial has ended all other senders.
        unsafe { self.recover_as_exclusive() }
    }
}

impl Handle for mpmc::Consumer<Message> {
    fn receive(&mut self) -> Option<Message> {
        self.try_read()
    }

    fn recover(&mut self) {
        // SAFETY: the trial has ended all other receivers.
        unsafe { self.recover_as_exclusive() }
    }
}

impl Handle for spsc::Producer<Message> {
    fn send(&mut self, message: &Message) -> bool {
        self.try_write(*message).is_ok()
    }
}

impl Handle for spsc::Consumer<Message> {
    fn receive(&mut self) -> Option<Message> {
        self.try_read()
    }
}

fn boxed<H: Handle + 'static>(opened: Result<H, shaq::error::Error>) -> Opened {
    match opened {
        Ok(handle) => Ok(Box::new(handle)),
        Err(error) => Err(format!("{error:?}")),
    }
}

fn open(place: &Place, side: Side, create: bool, many: bool) -> Opened {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .truncate(false)
        .open(place.file())
        .map_err(|error| error.to_string())?;
    let capacity = CAPACITY as usize;
    let size = if many {
        mpmc::minimum_file_size::<Message>(capacity)
    } else {
        spsc::minimum_file_size::<Message>(capacity)
    };
    match (many, side, create) {
        (true, Side::Sender, true) => {
            // SAFETY: only the first process of a trial creates; all use the same type, which is plain words.
            boxed(unsafe { mpmc::Producer::<Message>::create(&file, size) })
        }
        (true, Side::Sender, false) => {
            // SAFETY: as above.
            boxed(unsafe { mpmc::Producer::<Message>::join(&file) })
        }
        (true, Side::Receiver, _) => {
            // SAFETY: as above.
            boxed(unsafe { mpmc::Consumer::<Message>::join(&file) })
        }
        (false, Side::Sender, true) => {
            // SAFETY: as above; there is no other living sender.
            boxed(unsafe { spsc::Producer::<Message>::create(&file, size) })
        }
        (false, Side::Sender, false) => {
            // SAFETY: as above.
            boxed(unsafe { spsc::Producer::<Message>::join(&file) })
        }
        (false, Side::Receiver, _) => {
            // SAFETY: as above; there is no other living receiver.
            boxed(unsafe { spsc::Consumer::<Message>::join(&file) })
        }
    }
}
