//! kanal: many senders and receivers around one lock, in one process.

use crate::message::Message;
use crate::queue::{Ends, Local, Named, Rx, Site, SleepRx, SleepTx, Tx};
use kanal::{Receiver, Sender, bounded};

/// `kanal::bounded`.
pub struct Kanal;

impl Named for Kanal {
    const NAME: &'static str = "kanal";
}

impl<M: Message> Tx<M> for Sender<M> {
    #[inline(always)]
    fn try_send(&mut self, message: &M) -> bool {
        Sender::try_send(self, *message).is_ok_and(|sent| sent)
    }
}

impl<M: Message> Rx<M> for Receiver<M> {
    #[inline(always)]
    fn try_recv(&mut self) -> Option<M> {
        Receiver::try_recv(self).ok().flatten()
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

impl<M: Message> Local<M> for Kanal {
    type Tx = Sender<M>;
    type Rx = Receiver<M>;

    fn open(
        site: &Site,
        senders: usize,
        receivers: usize,
    ) -> Result<Ends<Self::Tx, Self::Rx>, String> {
        let (tx, rx) = bounded(site.capacity);
        Ok((vec![tx; senders], vec![rx; receivers]))
    }
}
