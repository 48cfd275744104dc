//! crossbeam: the bounded channel, and the queue below it; many senders and receivers, in one process.

use crate::message::Message;
use crate::queue::{
    Ends, Local, Named, RecordRx, RecordTx, Records, Rx, Site, SleepRx, SleepTx, Tx,
};
use crossbeam_channel::{Receiver, Sender, bounded};
use crossbeam_queue::ArrayQueue as Queue;
use std::sync::Arc;

/// `crossbeam_channel::bounded`.
pub struct Channel;

impl Named for Channel {
    const NAME: &'static str = "crossbeam-channel";
}

impl<M: Message> Tx<M> for Sender<M> {
    #[inline(always)]
    fn try_send(&mut self, message: &M) -> bool {
        Sender::try_send(self, *message).is_ok()
    }
}

impl<M: Message> Rx<M> for Receiver<M> {
    #[inline(always)]
    fn try_recv(&mut self) -> Option<M> {
        Receiver::try_recv(self).ok()
    }
}

impl<M: Message> SleepTx<M> for Sender<M> {
    #[inline(always)]
    fn send(&mut self, message: &M) {
        Sender::send(self, *message).expect("the receiver is there");
    }
}

impl<M: Message> SleepRx<M> for Receiver<M> {
    #[inline(always)]
    fn recv(&mut self) -> M {
        Receiver::recv(self).expect("the sender is there")
    }
}

impl<M: Message> Local<M> for Channel {
    type Tx = Sender<M>;
    type Rx = Receiver<M>;

    fn open(
        site: &Site,
        senders: usize,
        receivers: usize,
    ) -> Result<Ends<Sender<M>, Receiver<M>>, String> {
        let (tx, rx) = bounded(site.capacity);
        Ok((vec![tx; senders], vec![rx; receivers]))
    }
}

// A record is an allocation that changes hands, as users of channels do it.

impl RecordTx for Sender<Box<[u8]>> {
    #[inline(always)]
    fn try_send_record(&mut self, record: &[u8]) -> bool {
        !self.is_full() && Sender::try_send(self, record.into()).is_ok()
    }
}

impl RecordRx for Receiver<Box<[u8]>> {
    #[inline(always)]
    fn try_recv_record(&mut self, mut look: impl FnMut(&[u8])) -> bool {
        let Ok(record) = Receiver::try_recv(self) else {
            return false;
        };
        look(&record);
        true
    }
}

impl Local<Records> for Channel {
    type Tx = Sender<Box<[u8]>>;
    type Rx = Receiver<Box<[u8]>>;

    fn open(
        site: &Site,
        senders: usize,
        receivers: usize,
    ) -> Result<Ends<Self::Tx, Self::Rx>, String> {
        let (tx, rx) = bounded(site.capacity);
        Ok((vec![tx; senders], vec![rx; receivers]))
    }
}

/// `crossbeam_queue::ArrayQueue`.
pub struct ArrayQueue;

impl Named for ArrayQueue {
    const NAME: &'static str = "crossbeam ArrayQueue";
}

impl<M: Message> Tx<M> for Arc<Queue<M>> {
    #[inline(always)]
    fn try_send(&mut self, message: &M) -> bool {
        self.push(*message).is_ok()
    }
}

impl<M: Message> Rx<M> for Arc<Queue<M>> {
    #[inline(always)]
    fn try_recv(&mut self) -> Option<M> {
        self.pop()
    }
}

impl<M: Message> Local<M> for ArrayQueue {
    type Tx = Arc<Queue<M>>;
    type Rx = Arc<Queue<M>>;

    fn open(
        site: &Site,
        senders: usize,
        receivers: usize,
    ) -> Result<Ends<Self::Tx, Self::Rx>, String> {
        let queue = Arc::new(Queue::new(site.capacity));
        Ok((vec![Arc::clone(&queue); senders], vec![queue; receivers]))
    }
}
