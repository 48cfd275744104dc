//! que: one producer, one consumer, in POSIX shared memory; its lossless channel. The producer publishes every quarter of the
//! ring, or when it is told to (`sync`), which is done here after each message or batch; the consumer gives room
//! back every quarter of the ring. The other channel, which overwrites, is not compared.

use crate::cells::CAPACITY;
use crate::message::Message;
use crate::queue::{BatchRx, BatchTx, Ends, Local, Named, Rx, Shared, Site, Tx, said};
use que::lossless::consumer::Consumer;
use que::lossless::producer::Producer;
use que::page_size::PageSize;

/// `que::lossless`.
pub struct Que;

impl Named for Que {
    const NAME: &'static str = "que";
    const NOTE: &'static str = "told to publish after each message or batch";
}

impl<M: Message> Tx<M> for Producer<M, CAPACITY> {
    #[inline(always)]
    fn try_send(&mut self, message: &M) -> bool {
        let sent = self.push(message).is_ok();
        self.sync();
        sent
    }
}

impl<M: Message> Rx<M> for Consumer<M, CAPACITY> {
    #[inline(always)]
    fn try_recv(&mut self) -> Option<M> {
        self.pop()
    }
}

impl<M: Message> BatchTx<M> for Producer<M, CAPACITY> {
    #[inline(always)]
    fn try_send_batch(&mut self, messages: &[M]) -> usize {
        let full = messages
            .iter()
            .position(|message| self.push(message).is_err());
        self.sync();
        full.unwrap_or(messages.len())
    }
}

impl<M: Message> BatchRx<M> for Consumer<M, CAPACITY> {
    #[inline(always)]
    fn try_recv_batch(&mut self, most: usize, mut each: impl FnMut(&M)) -> usize {
        for count in 0..most {
            let Some(message) = self.pop() else {
                return count;
            };
            each(&message);
        }
        most
    }
}

/// The name of its shared memory. Its capacity is fixed when it is compiled.
fn name(site: &Site) -> Result<String, String> {
    match site.capacity {
        CAPACITY => Ok(format!("/{}", site.name)),
        other => Err(format!("expected a capacity of {CAPACITY}, found {other}")),
    }
}

impl<M: Message> Local<M> for Que {
    type Tx = Producer<M, CAPACITY>;
    type Rx = Consumer<M, CAPACITY>;

    fn open(site: &Site, _: usize, _: usize) -> Result<Ends<Self::Tx, Self::Rx>, String> {
        let tx = Self::sender(site, true)?;
        Ok((vec![tx], vec![Self::receiver(site)?]))
    }
}

impl<M: Message> Shared<M> for Que {
    type Tx = Producer<M, CAPACITY>;
    type Rx = Consumer<M, CAPACITY>;

    fn sender(site: &Site, _: bool) -> Result<Self::Tx, String> {
        // SAFETY: the name is new and ours, and all who use it use this type, which is plain words.
        said(unsafe { Producer::join_or_create_shmem(&name(site)?, PageSize::Standard) })
    }

    fn receiver(site: &Site) -> Result<Self::Rx, String> {
        // SAFETY: created by the sender, with this type; there is no other receiver.
        said(unsafe { Consumer::join_shmem(&name(site)?, PageSize::Standard) })
    }
}
