//! The standard library's bounded channel: many senders, one receiver, in one process.

use crate::message::Message;
use crate::queue::{Ends, Local, Named, Rx, Site, SleepRx, SleepTx, Tx};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// `std::sync::mpsc::sync_channel`.
pub struct SyncChannel;

impl Named for SyncChannel {
    const NAME: &'static str = "std sync_channel";
}

impl<M: Message> Tx<M> for SyncSender<M> {
    #[inline(always)]
    fn try_send(&mut self, message: &M) -> bool {
        SyncSender::try_send(self, *message).is_ok()
    }
}

impl<M: Message> Rx<M> for Receiver<M> {
    #[inline(always)]
    fn try_recv(&mut self) -> Option<M> {
        Receiver::try_recv(self).ok()
    }
}

impl<M: Message> SleepTx<M> for SyncSender<M> {
    #[inline(always)]
    fn send(&mut self, message: &M) {
        SyncSender::send(self, *message).expect("the receiver is there");
    }
}

impl<M: Message> SleepRx<M> for Receiver<M> {
    #[inline(always)]
    fn recv(&mut self) -> M {
        Receiver::recv(self).expect("the sender is there")
    }
}

impl<M: Message> Local<M> for SyncChannel {
    type Tx = SyncSender<M>;
    type Rx = Receiver<M>;

    fn open(site: &Site, senders: usize, _: usize) -> Result<Ends<Self::Tx, Self::Rx>, String> {
        let (tx, rx) = sync_channel(site.capacity);
        Ok((vec![tx; senders], vec![rx]))
    }
}
