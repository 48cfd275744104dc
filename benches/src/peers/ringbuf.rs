//! ringbuf: one producer, one consumer, in one process; slices for batches.

use crate::message::Message;
use crate::queue::{BatchRx, BatchTx, Ends, Local, Named, Rx, Site, Tx};
use ringbuf::traits::{Consumer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

/// `ringbuf::HeapRb`, with its caching ends.
pub struct Ringbuf;

impl Named for Ringbuf {
    const NAME: &'static str = "ringbuf";
}

impl<M: Message> Tx<M> for HeapProd<M> {
    #[inline(always)]
    fn try_send(&mut self, message: &M) -> bool {
        self.try_push(*message).is_ok()
    }
}

impl<M: Message> Rx<M> for HeapCons<M> {
    #[inline(always)]
    fn try_recv(&mut self) -> Option<M> {
        self.try_pop()
    }
}

impl<M: Message> BatchTx<M> for HeapProd<M> {
    #[inline(always)]
    fn try_send_batch(&mut self, messages: &[M]) -> usize {
        self.push_slice(messages)
    }
}

impl<M: Message> BatchRx<M> for HeapCons<M> {
    #[inline(always)]
    fn try_recv_batch(&mut self, most: usize, mut each: impl FnMut(&M)) -> usize {
        let (first, second) = self.as_slices();
        let count = (first.len() + second.len()).min(most);
        first.iter().chain(second).take(count).for_each(&mut each);
        self.skip(count)
    }
}

impl<M: Message> Local<M> for Ringbuf {
    type Tx = HeapProd<M>;
    type Rx = HeapCons<M>;

    fn open(site: &Site, _: usize, _: usize) -> Result<Ends<Self::Tx, Self::Rx>, String> {
        let (tx, rx) = HeapRb::new(site.capacity).split();
        Ok((vec![tx], vec![rx]))
    }
}
