//! rtrb: one producer, one consumer, in one process; chunks for batches.

use crate::message::Message;
use crate::queue::{BatchRx, BatchTx, Ends, Local, Named, Rx, Site, Tx};
use rtrb::{Consumer, Producer, RingBuffer};

/// `rtrb::RingBuffer`.
pub struct Rtrb;

impl Named for Rtrb {
    const NAME: &'static str = "rtrb";
}

impl<M: Message> Tx<M> for Producer<M> {
    #[inline(always)]
    fn try_send(&mut self, message: &M) -> bool {
        self.push(*message).is_ok()
    }
}

impl<M: Message> Rx<M> for Consumer<M> {
    #[inline(always)]
    fn try_recv(&mut self) -> Option<M> {
        self.pop().ok()
    }
}

impl<M: Message> BatchTx<M> for Producer<M> {
    #[inline(always)]
    fn try_send_batch(&mut self, messages: &[M]) -> usize {
        let (sent, _) = self.push_partial_slice(messages);
        sent.len()
    }
}

impl<M: Message> BatchRx<M> for Consumer<M> {
    #[inline(always)]
    fn try_recv_batch(&mut self, most: usize, mut each: impl FnMut(&M)) -> usize {
        let count = self.slots().min(most);
        let Ok(chunk) = self.read_chunk(count) else {
            return 0;
        };
        let (first, second) = chunk.as_slices();
        first.iter().for_each(&mut each);
        second.iter().for_each(&mut each);
        chunk.commit_all();
        count
    }
}

impl<M: Message> Local<M> for Rtrb {
    type Tx = Producer<M>;
    type Rx = Consumer<M>;

    fn open(site: &Site, _: usize, _: usize) -> Result<Ends<Producer<M>, Consumer<M>>, String> {
        let (tx, rx) = RingBuffer::new(site.capacity);
        Ok((vec![tx], vec![rx]))
    }
}
