//! Annulus: on the heap between threads, in a file of shared memory between processes.

use crate::message::Message;
use crate::queue::{
    BatchRx, BatchTx, Ends, Local, Named, PlaceRx, PlaceTx, RecordRx, RecordTx, Records, Rx,
    Shared, Site, SleepRx, SleepTx, Tx, said, several,
};
use annulus::{Kind, Protocol, Receiver, Ring, RingOptions, Sender};
use std::marker::PhantomData;

/// A ring of some kind.
pub struct Annulus<K>(PhantomData<K>);

impl<K: Protocol> Named for Annulus<K> {
    const NAME: &'static str = match K::KIND {
        Kind::Spsc => "annulus spsc",
        Kind::Mpsc => "annulus mpsc",
        Kind::Spmc => "annulus spmc",
        Kind::Mpmc => "annulus mpmc",
    };
}

/// A ring in a memory file, used by threads: what differs from the heap is the memory alone.
pub struct Mapped<K>(PhantomData<K>);

impl<K: Protocol> Named for Mapped<K> {
    const NAME: &'static str = match K::KIND {
        Kind::Spsc => "annulus spsc, mapped",
        Kind::Mpsc => "annulus mpsc, mapped",
        Kind::Spmc => "annulus spmc, mapped",
        Kind::Mpmc => "annulus mpmc, mapped",
    };
}

impl<M: Message, K: Protocol> Tx<M> for Sender<M, K> {
    #[inline(always)]
    fn try_send(&mut self, message: &M) -> bool {
        self.try_send(*message).is_ok()
    }
}

impl<M: Message, K: Protocol> Rx<M> for Receiver<M, K> {
    #[inline(always)]
    fn try_recv(&mut self) -> Option<M> {
        self.try_recv().ok()
    }
}

impl<M: Message, K: Protocol> BatchTx<M> for Sender<M, K> {
    #[inline(always)]
    fn try_send_batch(&mut self, messages: &[M]) -> usize {
        self.try_send_slice(messages).unwrap_or(0)
    }
}

impl<M: Message, K: Protocol> SleepTx<M> for Sender<M, K> {
    #[inline(always)]
    fn send(&mut self, message: &M) {
        self.send(*message).expect("the receiver is there");
    }
}

impl<M: Message, K: Protocol> SleepRx<M> for Receiver<M, K> {
    #[inline(always)]
    fn recv(&mut self) -> M {
        self.recv().expect("the sender is there")
    }
}

/// A receiver with the buffer into which it receives batches.
pub struct Buffered<M: Message, K: Protocol> {
    receiver: Receiver<M, K>,
    buffer: Vec<M>,
}

impl<M: Message, K: Protocol> Rx<M> for Buffered<M, K> {
    #[inline(always)]
    fn try_recv(&mut self) -> Option<M> {
        self.receiver.try_recv().ok()
    }
}

impl<M: Message, K: Protocol> SleepRx<M> for Buffered<M, K> {
    #[inline(always)]
    fn recv(&mut self) -> M {
        SleepRx::recv(&mut self.receiver)
    }
}

impl<M: Message, K: Protocol> BatchRx<M> for Buffered<M, K> {
    #[inline(always)]
    fn try_recv_batch(&mut self, most: usize, each: impl FnMut(&M)) -> usize {
        if self.buffer.len() < most {
            self.buffer.resize(most, M::zeroed());
        }
        let count = self.receiver.try_recv_slice(&mut self.buffer[..most]);
        let count = count.unwrap_or(0);
        self.buffer[..count].iter().for_each(each);
        count
    }
}

fn buffered<M: Message, K: Protocol>(ring: &Ring<M, K>) -> Result<Buffered<M, K>, String> {
    Ok(Buffered {
        receiver: said(ring.receiver())?,
        buffer: Vec::new(),
    })
}

type TypedEnds<M, K> = Ends<Sender<M, K>, Buffered<M, K>>;

fn ends<M: Message, K: Protocol>(
    ring: &Ring<M, K>,
    senders: usize,
    receivers: usize,
) -> Result<TypedEnds<M, K>, String> {
    Ok((
        several(senders, |_| said(ring.sender()))?,
        several(receivers, |_| buffered(ring))?,
    ))
}

impl<M: Message, K: Protocol + 'static> Local<M> for Annulus<K> {
    type Tx = Sender<M, K>;
    type Rx = Buffered<M, K>;

    fn open(
        site: &Site,
        senders: usize,
        receivers: usize,
    ) -> Result<Ends<Self::Tx, Self::Rx>, String> {
        let ring = said(RingOptions::new().capacity(site.capacity).heap())?;
        ends(&ring, senders, receivers)
    }
}

impl<M: Message, K: Protocol + 'static> Local<M> for Mapped<K> {
    type Tx = Sender<M, K>;
    type Rx = Buffered<M, K>;

    fn open(
        site: &Site,
        senders: usize,
        receivers: usize,
    ) -> Result<Ends<Self::Tx, Self::Rx>, String> {
        let ring = said(RingOptions::new().capacity(site.capacity).memfd())?;
        ends(&ring, senders, receivers)
    }
}

fn in_file<M: Message, K: Protocol>(site: &Site, create: bool) -> Result<Ring<M, K>, String> {
    said(
        RingOptions::new()
            .capacity(site.capacity)
            .create(create)
            .file(&site.path),
    )
}

impl<M: Message, K: Protocol + 'static> Shared<M> for Annulus<K> {
    type Tx = Sender<M, K>;
    type Rx = Buffered<M, K>;

    fn sender(site: &Site, first: bool) -> Result<Self::Tx, String> {
        said(in_file::<M, K>(site, first)?.sender())
    }

    fn receiver(site: &Site) -> Result<Self::Rx, String> {
        buffered(&in_file::<M, K>(site, false)?)
    }
}

/// A receiver of byte records, with the buffer into which they are copied.
pub struct Copied<K: Protocol> {
    receiver: Receiver<[u8], K>,
    buffer: Vec<u8>,
}

impl<K: Protocol> RecordTx for Sender<[u8], K> {
    #[inline(always)]
    fn try_send_record(&mut self, record: &[u8]) -> bool {
        self.try_send(record).is_ok()
    }
}

impl<K: Protocol> RecordRx for Copied<K> {
    #[inline(always)]
    fn try_recv_record(&mut self, mut look: impl FnMut(&[u8])) -> bool {
        let found = self.receiver.try_recv(&mut self.buffer).is_ok();
        if found {
            look(&self.buffer);
        }
        found
    }
}

impl<K: Protocol> PlaceTx for Sender<[u8], K> {
    #[inline(always)]
    fn try_send_in_place(&mut self, len: usize, mut fill: impl FnMut(&mut [u8])) -> bool {
        let Ok(mut reservation) = self.try_reserve(len) else {
            return false;
        };
        fill(reservation.as_mut_slice().expect("the peers are trusted"));
        reservation.commit();
        true
    }
}

impl<K: Protocol> PlaceRx for Copied<K> {
    #[inline(always)]
    fn try_recv_in_place(&mut self, mut look: impl FnMut(&[u8])) -> bool {
        let Ok(peeked) = self.receiver.try_peek() else {
            return false;
        };
        look(peeked.as_slice().expect("the peers are trusted"));
        peeked.release();
        true
    }
}

fn copied<K: Protocol>(ring: &Ring<[u8], K>) -> Result<Copied<K>, String> {
    Ok(Copied {
        receiver: said(ring.receiver())?,
        buffer: Vec::new(),
    })
}

impl<K: Protocol + 'static> Local<Records> for Annulus<K> {
    type Tx = Sender<[u8], K>;
    type Rx = Copied<K>;

    fn open(
        site: &Site,
        senders: usize,
        receivers: usize,
    ) -> Result<Ends<Self::Tx, Self::Rx>, String> {
        let ring: Ring<[u8], K> = said(RingOptions::new().capacity(site.bytes()).heap())?;
        Ok((
            several(senders, |_| said(ring.sender()))?,
            several(receivers, |_| copied(&ring))?,
        ))
    }
}

fn records_in_file<K: Protocol>(site: &Site, create: bool) -> Result<Ring<[u8], K>, String> {
    let mut options = RingOptions::new();
    let ring = said(
        options
            .capacity(site.bytes())
            .create(create)
            .file(&site.path),
    )?;
    // SAFETY: only the actors of this measurement know the file, and they use only this library.
    Ok(unsafe { Ring::trust_peers(ring) })
}

impl<K: Protocol + 'static> Shared<Records> for Annulus<K> {
    type Tx = Sender<[u8], K>;
    type Rx = Copied<K>;

    fn sender(site: &Site, first: bool) -> Result<Self::Tx, String> {
        said(records_in_file::<K>(site, first)?.sender())
    }

    fn receiver(site: &Site) -> Result<Self::Rx, String> {
        copied(&records_in_file::<K>(site, false)?)
    }
}
