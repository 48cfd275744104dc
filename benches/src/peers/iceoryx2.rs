//! iceoryx2's publish-subscribe: many publishers, and subscribers that all get everything; here one of each, so that it is
//! a queue. It is set to lose nothing: no overflow, and a publisher that waits for room. Its ports belong to a thread, so
//! it is measured between processes.

use crate::message::Message;
use crate::queue::{Named, Rx, Shared, Site, Tx, said};
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use std::error::Error;

/// Publish-subscribe.
pub struct Iceoryx2;

impl Named for Iceoryx2 {
    const NAME: &'static str = "iceoryx2";
}

/// A port, and the node that it belongs to.
pub struct Port<P> {
    port: P,
    _node: Node<ipc::Service>,
}

impl<M: Message + ZeroCopySend> Tx<M> for Port<Publisher<ipc::Service, M, ()>> {
    #[inline(always)]
    fn try_send(&mut self, message: &M) -> bool {
        self.port.send_copy(*message).is_ok()
    }
}

impl<M: Message + ZeroCopySend> Rx<M> for Port<Subscriber<ipc::Service, M, ()>> {
    #[inline(always)]
    fn try_recv(&mut self) -> Option<M> {
        let sample = self.port.receive().ok()??;
        Some(*sample)
    }
}

/// The service, in a place of its own, and a node of this process.
fn service<M: Message + ZeroCopySend>(
    site: &Site,
) -> Result<
    (
        Node<ipc::Service>,
        iceoryx2::service::port_factory::publish_subscribe::PortFactory<ipc::Service, M, ()>,
    ),
    Box<dyn Error>,
> {
    set_log_level(LogLevel::Fatal);
    let mut config = Config::default();
    let root = site.path.with_extension("iceoryx2");
    config
        .global
        .set_root_path(&Path::new(root.as_os_str().as_encoded_bytes())?);
    config.global.prefix = FileName::new(format!("{}_", site.name).as_bytes())?;
    let node = NodeBuilder::new()
        .config(&config)
        .signal_handling_mode(SignalHandlingMode::Disabled)
        .create::<ipc::Service>()?;
    let service = node
        .service_builder(&"queue".try_into()?)
        .publish_subscribe::<M>()
        .enable_safe_overflow(false)
        .subscriber_max_buffer_size(site.capacity)
        .max_publishers(1)
        .max_subscribers(1)
        .max_nodes(2)
        .open_or_create()?;
    Ok((node, service))
}

fn publisher<M: Message + ZeroCopySend>(
    site: &Site,
) -> Result<Port<Publisher<ipc::Service, M, ()>>, Box<dyn Error>> {
    let (node, service) = service(site)?;
    let port = service
        .publisher_builder()
        .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
        .create()?;
    Ok(Port { port, _node: node })
}

fn subscriber<M: Message + ZeroCopySend>(
    site: &Site,
) -> Result<Port<Subscriber<ipc::Service, M, ()>>, Box<dyn Error>> {
    let (node, service) = service(site)?;
    let port = service
        .subscriber_builder()
        .buffer_size(site.capacity)
        .create()?;
    Ok(Port { port, _node: node })
}

impl<M: Message + ZeroCopySend> Shared<M> for Iceoryx2 {
    type Tx = Port<Publisher<ipc::Service, M, ()>>;
    type Rx = Port<Subscriber<ipc::Service, M, ()>>;

    fn sender(site: &Site, _: bool) -> Result<Self::Tx, String> {
        said(publisher(site))
    }

    fn receiver(site: &Site) -> Result<Self::Rx, String> {
        said(subscriber(site))
    }
}
