//! iceoryx2's publish-subscribe: many publishers, and subscribers that all get everything; here one of each, so that it is
//! a queue. It is set to lose nothing: no overflow, and a publisher that waits for room. Its ports belong to a thread, so
//! it is measured between processes.

use crate::message::Message;
use crate::queue::{
    Named, PlaceRx, PlaceTx, RecordRx, RecordTx, Records, Rx, Shared, Site, Tx, said,
};
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use iceoryx2::service::builder::publish_subscribe::Builder;
use std::error::Error;
use std::fmt::Debug;
use std::slice;

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

/// A node of this process, and a service that is to be.
type Made<M> = (Node<ipc::Service>, Builder<M, (), ipc::Service>);

/// The service, in a place of its own.
fn service<M: Debug + IceoryxSend + ?Sized>(site: &Site) -> Result<Made<M>, Box<dyn Error>> {
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
        .max_nodes(2);
    Ok((node, service))
}

impl<M: Message + ZeroCopySend> Shared<M> for Iceoryx2 {
    type Tx = Port<Publisher<ipc::Service, M, ()>>;
    type Rx = Port<Subscriber<ipc::Service, M, ()>>;

    fn sender(site: &Site, _: bool) -> Result<Self::Tx, String> {
        said((|| -> Result<_, Box<dyn Error>> {
            let (node, builder) = service::<M>(site)?;
            let factory = builder.open_or_create()?;
            let port = factory
                .publisher_builder()
                .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
                .create()?;
            Ok(Port { port, _node: node })
        })())
    }

    fn receiver(site: &Site) -> Result<Self::Rx, String> {
        said((|| -> Result<_, Box<dyn Error>> {
            let (node, builder) = service::<M>(site)?;
            let factory = builder.open_or_create()?;
            let port = factory
                .subscriber_builder()
                .buffer_size(site.capacity)
                .create()?;
            Ok(Port { port, _node: node })
        })())
    }
}

// Byte records are samples of a slice: loaned, written in place or copied into, and sent.

impl RecordTx for Port<Publisher<ipc::Service, [u8], ()>> {
    #[inline(always)]
    fn try_send_record(&mut self, record: &[u8]) -> bool {
        let Ok(sample) = self.port.loan_slice_uninit(record.len()) else {
            return false;
        };
        sample.write_from_slice(record).send().is_ok()
    }
}

/// A subscriber, with the buffer into which records are copied.
pub struct Copied {
    port: Port<Subscriber<ipc::Service, [u8], ()>>,
    buffer: Vec<u8>,
}

impl RecordRx for Copied {
    #[inline(always)]
    fn try_recv_record(&mut self, mut look: impl FnMut(&[u8])) -> bool {
        let Ok(Some(sample)) = self.port.port.receive() else {
            return false;
        };
        self.buffer.clear();
        self.buffer.extend_from_slice(&sample);
        drop(sample);
        look(&self.buffer);
        true
    }
}

impl PlaceTx for Port<Publisher<ipc::Service, [u8], ()>> {
    #[inline(always)]
    fn try_send_in_place(&mut self, len: usize, mut fill: impl FnMut(&mut [u8])) -> bool {
        let Ok(mut sample) = self.port.loan_slice_uninit(len) else {
            return false;
        };
        let place = sample.payload_mut();
        // SAFETY: ours until it is sent; bytes of mapped memory, which are initialised whatever they are.
        fill(unsafe { slice::from_raw_parts_mut(place.as_mut_ptr().cast(), place.len()) });
        // SAFETY: all of it was just written.
        unsafe { sample.assume_init() }.send().is_ok()
    }
}

impl PlaceRx for Copied {
    #[inline(always)]
    fn try_recv_in_place(&mut self, mut look: impl FnMut(&[u8])) -> bool {
        let Ok(Some(sample)) = self.port.port.receive() else {
            return false;
        };
        look(&sample);
        true
    }
}

impl Shared<Records> for Iceoryx2 {
    type Tx = Port<Publisher<ipc::Service, [u8], ()>>;
    type Rx = Copied;

    fn sender(site: &Site, _: bool) -> Result<Self::Tx, String> {
        said((|| -> Result<_, Box<dyn Error>> {
            let (node, builder) = service::<[u8]>(site)?;
            let factory = builder.open_or_create()?;
            let port = factory
                .publisher_builder()
                .initial_max_slice_len(site.record)
                .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
                .create()?;
            Ok(Port { port, _node: node })
        })())
    }

    fn receiver(site: &Site) -> Result<Self::Rx, String> {
        said((|| -> Result<_, Box<dyn Error>> {
            let (node, builder) = service::<[u8]>(site)?;
            let factory = builder.open_or_create()?;
            let port = factory
                .subscriber_builder()
                .buffer_size(site.capacity)
                .create()?;
            let port = Port { port, _node: node };
            let buffer = Vec::with_capacity(site.record);
            Ok(Copied { port, buffer })
        })())
    }
}
