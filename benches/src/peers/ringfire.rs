//! ringfire: one producer whose consumers all get everything, in a file, with `FlowControl::LosslessBackpressure`. Here it
//! has one consumer, so that it is a queue. Its ring of many producers overwrites what was not read in time, and so is
//! not compared.

use crate::message::Message;
use crate::queue::{
    BatchRx, BatchTx, Ends, Local, Named, Rx, Shared, Site, SleepRx, SleepTx, Tx, said,
};
use ringfire::{FlowControl, FutexWait, RingConsumer, RingProducer, RingProducerBuilder};

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
        let tx = Self::sender(site, true)?;
        Ok((vec![tx], vec![Self::receiver(site)?]))
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
