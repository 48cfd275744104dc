//! ringfire: a ring of many senders whose receivers compete and that overwrites what was not received in time, and a
//! ring of one sender whose receivers all get everything, here with `FlowControl::LosslessBackpressure`.
//!
//! The sender of the latter creates the ring; another one after it creates another ring in the same place,
//! and receivers have to attach again.

use super::{CAPACITY, Handle, Opened, Peer, Recovery, Side};
use crate::message::Message;
use crate::place::Place;
use ringfire::mpmc::{MpmcProducer, MpmcQueueConsumer};
use ringfire::{FlowControl, RingConsumer, RingProducer, RingProducerBuilder};
use std::path::PathBuf;

/// Many senders, many receivers.
pub const MPMC: Peer = Peer {
    name: "ringfire mpmc",
    package: Some("ringfire"),
    open: open_mpmc,
    lossy: true,
    itself: "takes a slot over in itself, 10 ms later",
    refuses: false,
    ..super::MPMC
};

/// One sender, many receivers.
pub const SPMC: Peer = Peer {
    name: "ringfire spmc",
    package: Some("ringfire"),
    open: open_spmc,
    many_senders: false,
    broadcast: true,
    itself: "forgets dead readers in itself",
    sender_died: Some(Recovery {
        call: "receivers attach again",
        alone: false,
    }),
    ..super::MPMC
};

impl Handle for MpmcProducer<Message> {
    fn send(&mut self, message: &Message) -> bool {
        self.push(message);
        true
    }
}

impl Handle for MpmcQueueConsumer<Message> {
    fn receive(&mut self) -> Option<Message> {
        self.try_recv()
    }
}

impl Handle for RingProducer<Message> {
    fn send(&mut self, message: &Message) -> bool {
        self.try_push(message).is_ok()
    }
}

/// A receiver that reads an orphaned ring to its end before it goes over to the next.
struct Reader {
    path: PathBuf,
    now: RingConsumer<Message>,
    next: Option<RingConsumer<Message>>,
}

impl Handle for Reader {
    fn receive(&mut self) -> Option<Message> {
        let message = self.now.try_recv();
        if message.is_none()
            && let Some(next) = self.next.take()
        {
            self.now = next;
            return self.now.try_recv();
        }
        message
    }

    fn recover(&mut self) {
        self.next = RingConsumer::attach(&self.path).ok();
    }
}

fn boxed<H: Handle + 'static>(opened: ringfire::Result<H>) -> Opened {
    match opened {
        Ok(handle) => Ok(Box::new(handle)),
        Err(error) => Err(error.to_string()),
    }
}

fn open_mpmc(place: &Place, side: Side, create: bool) -> Opened {
    match (side, create) {
        (Side::Sender, true) => boxed(MpmcProducer::<Message>::create(place.file(), CAPACITY)),
        (Side::Sender, false) => boxed(MpmcProducer::<Message>::attach(place.file())),
        (Side::Receiver, _) => boxed(MpmcQueueConsumer::<Message>::attach(place.file())),
    }
}

fn open_spmc(place: &Place, side: Side, _create: bool) -> Opened {
    match side {
        Side::Sender => boxed(
            RingProducerBuilder::new(CAPACITY)
                .flow_control(FlowControl::LosslessBackpressure)
                .build::<Message, _>(place.file()),
        ),
        Side::Receiver => boxed(
            RingConsumer::builder()
                .start_from_head()
                .attach(place.file())
                .map(|now| Reader {
                    path: place.file(),
                    now,
                    next: None,
                }),
        ),
    }
}
