//! ringfire: one producer whose consumers all get everything, in a file, with `FlowControl::LosslessBackpressure`. Here it
//! has one consumer, so that it is a queue. Its ring of many producers overwrites what was not read in time, and so is
//! not compared.

use crate::message::Message;
use crate::queue::{
    BatchRx, BatchTx, Ends, Local, Named, RecordRx, RecordTx, Records, Rx, Shared, Site, SleepRx,
    SleepTx, Tx, said,
};
use ringfire::{
    BlobConsumer, BlobProducer, BlobProducerBuilder, FlowControl, FutexWait, RingConsumer,
    RingProducer, RingProducerBuilder,
};

/// `ringfire::RingProducer` and `RingConsumer`.
pub struct Ringfire;

impl Named for Ringfire {
    const NAME: &'static str = "ringfire";
}

impl<M: Message> Tx<M> for RingProducer<M> {
    #[inline(always)]
    fn try_send(&mut self, message: &M) -> bool {
        self.try_push(message).is_ok()
    }
}

/// A consumer, and what it receives batches into.
pub struct Buffered<M: Message> {
    consumer: RingConsumer<M>,
    buffer: Vec<M>,
}

impl<M: Message> Rx<M> for Buffered<M> {
    #[inline(always)]
    fn try_recv(&mut self) -> Option<M> {
        self.consumer.try_recv()
    }
}

impl<M: Message> BatchTx<M> for RingProducer<M> {
    #[inline(always)]
    fn try_send_batch(&mut self, messages: &[M]) -> usize {
        // Waits for room by itself: it spins, then yields, then sleeps.
        self.push_batch(messages);
        messages.len()
    }
}

impl<M: Message> BatchRx<M> for Buffered<M> {
    #[inline(always)]
    fn try_recv_batch(&mut self, most: usize, each: impl FnMut(&M)) -> usize {
        if self.buffer.len() < most {
            self.buffer.resize(most, M::zeroed());
        }
        let count = self.consumer.recv_batch(&mut self.buffer[..most]);
        self.buffer[..count].iter().for_each(each);
        count
    }
}

impl<M: Message> SleepTx<M> for RingProducer<M> {
    #[inline(always)]
    fn send(&mut self, message: &M) {
        self.push(message);
    }
}

impl<M: Message> SleepRx<M> for Buffered<M> {
    #[inline(always)]
    fn recv(&mut self) -> M {
        self.consumer.recv_blocking(&mut FutexWait::default())
    }
}

impl<M: Message> Local<M> for Ringfire {
    type Tx = RingProducer<M>;
    type Rx = Buffered<M>;

    fn open(site: &Site, _: usize, _: usize) -> Result<Ends<Self::Tx, Self::Rx>, String> {
        let tx = <Self as Shared<M>>::sender(site, true)?;
        Ok((vec![tx], vec![<Self as Shared<M>>::receiver(site)?]))
    }
}

impl<M: Message> Shared<M> for Ringfire {
    type Tx = RingProducer<M>;
    type Rx = Buffered<M>;

    fn sender(site: &Site, _: bool) -> Result<Self::Tx, String> {
        said(
            RingProducerBuilder::new(site.capacity as u64)
                .flow_control(FlowControl::LosslessBackpressure)
                .build(&site.path),
        )
    }

    fn receiver(site: &Site) -> Result<Self::Rx, String> {
        let consumer = RingConsumer::builder().start_from_head().attach(&site.path);
        Ok(Buffered {
            consumer: said(consumer)?,
            buffer: Vec::new(),
        })
    }
}

/// A producer of blobs. It would overwrite what was not read in time; here it is held back by the room that its readers
/// leave, in a ring whose arena has twice the bytes that the ring's records can take.
pub struct Blobs {
    producer: BlobProducer<()>,
    room: u64,
}

/// A consumer of blobs, and what they are copied into.
pub struct Copied {
    consumer: BlobConsumer<()>,
    buffer: Vec<u8>,
}

impl RecordTx for Blobs {
    #[inline(always)]
    fn try_send_record(&mut self, record: &[u8]) -> bool {
        if self.room == 0 {
            self.room = self.producer.headroom();
        }
        if self.room == 0 {
            return false;
        }
        self.room -= 1;
        self.producer.push(&(), record).is_ok()
    }
}

impl RecordRx for Copied {
    #[inline(always)]
    fn try_recv_record(&mut self, mut look: impl FnMut(&[u8])) -> bool {
        match self.consumer.recv(&mut (), &mut self.buffer) {
            Ok(Some(len)) => {
                look(&self.buffer[..len]);
                true
            }
            _ => false,
        }
    }
}

impl Local<Records> for Ringfire {
    type Tx = Blobs;
    type Rx = Copied;

    fn open(site: &Site, _: usize, _: usize) -> Result<Ends<Self::Tx, Self::Rx>, String> {
        let tx = <Self as Shared<Records>>::sender(site, true)?;
        Ok((vec![tx], vec![<Self as Shared<Records>>::receiver(site)?]))
    }
}

impl Shared<Records> for Ringfire {
    type Tx = Blobs;
    type Rx = Copied;

    fn sender(site: &Site, _: bool) -> Result<Self::Tx, String> {
        let builder = BlobProducerBuilder::new(site.capacity as u64, 2 * site.bytes());
        Ok(Blobs {
            producer: said(builder.build(&site.path))?,
            room: 0,
        })
    }

    fn receiver(site: &Site) -> Result<Self::Rx, String> {
        Ok(Copied {
            consumer: said(BlobConsumer::attach(&site.path))?,
            buffer: vec![0; site.record],
        })
    }
}
