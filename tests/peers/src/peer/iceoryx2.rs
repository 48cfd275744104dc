//! iceoryx2's publish-subscribe, every message to every subscriber: configured to lose nothing, with no overflow and a
//! publisher that waits for room; and as it is by default, overwriting what was not received in time.
//! `Node::try_cleanup_dead_nodes` removes what dead processes left; creating a node or opening a service does the
//! same.

use super::{CAPACITY, Handle, Peer, Recovery, Side};
use crate::message::Message;
use crate::place::Place;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;

const CLEANUP: Recovery = Recovery {
    call: "Node::try_cleanup_dead_nodes",
    alone: false,
};

/// Many publishers, many subscribers, without loss.
pub const PUBLISH_SUBSCRIBE: Peer = Peer {
    name: "iceoryx2 publish-subscribe",
    package: Some("iceoryx2"),
    open: |place, side, _create| open(place, side, false).map_err(|error| error.to_string()),
    broadcast: true,
    refuses: false,
    sender_died: Some(CLEANUP),
    receiver_died: Some(CLEANUP),
    ..super::MPMC
};

/// As it is by default.
pub const OVERFLOW: Peer = Peer {
    name: "iceoryx2 publish-subscribe, overflow",
    open: |place, side, _create| open(place, side, true).map_err(|error| error.to_string()),
    lossy: true,
    ..PUBLISH_SUBSCRIBE
};

/// A port, and the node that it belongs to.
struct Port<P> {
    port: P,
    node: Node<ipc::Service>,
}

impl Handle for Port<Publisher<ipc::Service, Message, ()>> {
    fn send(&mut self, message: &Message) -> bool {
        self.port.send_copy(*message).is_ok()
    }

    fn recover(&mut self) {
        self.node.try_cleanup_dead_nodes();
    }
}

impl Handle for Port<Subscriber<ipc::Service, Message, ()>> {
    fn receive(&mut self) -> Option<Message> {
        let sample = self.port.receive().ok()??;
        Some(*sample)
    }

    fn recover(&mut self) {
        self.node.try_cleanup_dead_nodes();
    }
}

fn open(
    place: &Place,
    side: Side,
    overflow: bool,
) -> Result<Box<dyn Handle>, Box<dyn std::error::Error>> {
    set_log_level(LogLevel::Fatal);
    let mut config = Config::default();
    let root = place.directory().join("iceoryx2");
    config
        .global
        .set_root_path(&Path::new(root.as_os_str().as_encoded_bytes())?);
    config.global.prefix = FileName::new(format!("{}_", place.name()).as_bytes())?;
    let node = NodeBuilder::new()
        .config(&config)
        .signal_handling_mode(SignalHandlingMode::Disabled)
        .create::<ipc::Service>()?;
    let service = node
        .service_builder(&"queue".try_into()?)
        .publish_subscribe::<Message>()
        .enable_safe_overflow(overflow)
        .subscriber_max_buffer_size(CAPACITY as usize)
        .max_publishers(4)
        .max_subscribers(4)
        .max_nodes(8)
        .open_or_create()?;
    Ok(match side {
        Side::Sender => {
            let port = service
                .publisher_builder()
                .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
                .create()?;
            Box::new(Port { port, node })
        }
        Side::Receiver => {
            let port = service
                .subscriber_builder()
                .buffer_size(CAPACITY as usize)
                .create()?;
            Box::new(Port { port, node })
        }
    })
}
