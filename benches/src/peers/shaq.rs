//! shaq: a ring of one each and a ring of many each; on the heap between threads, in a file between processes.

use crate::message::Message;
use crate::queue::{BatchRx, BatchTx, Ends, Local, Named, Rx, Shared, Site, Tx, several};
use shaq::error::Error;
use shaq::{mpmc, spsc};
use std::fs::{File, OpenOptions};
use std::num::NonZeroUsize;

fn told<T>(result: Result<T, Error>) -> Result<T, String> {
    result.map_err(|error| format!("{error:?}"))
}

fn file(site: &Site, create: bool) -> Result<File, String> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(create);
    crate::queue::said(options.open(&site.path))
}

/// `shaq::spsc`.
pub struct ShaqSpsc;

impl Named for ShaqSpsc {
    const NAME: &'static str = "shaq spsc";
}

impl<M: Message> Tx<M> for spsc::Producer<M> {
    #[inline(always)]
    fn try_send(&mut self, message: &M) -> bool {
        self.try_write(*message).is_ok()
    }
}

impl<M: Message> Rx<M> for spsc::Consumer<M> {
    #[inline(always)]
    fn try_recv(&mut self) -> Option<M> {
        self.try_read()
    }
}

impl<M: Message> BatchTx<M> for spsc::Producer<M> {
    #[inline(always)]
    fn try_send_batch(&mut self, messages: &[M]) -> usize {
        let mut batch = self.write_batch();
        let full = messages
            .iter()
            .position(|&message| batch.try_write(message).is_err());
        full.unwrap_or(messages.len())
    }
}

impl<M: Message> BatchRx<M> for spsc::Consumer<M> {
    #[inline(always)]
    fn try_recv_batch(&mut self, most: usize, mut each: impl FnMut(&M)) -> usize {
        let most = NonZeroUsize::new(most).unwrap_or(NonZeroUsize::MIN);
        let Some(batch) = self.try_reserve_read_batch(most) else {
            return 0;
        };
        let (first, second) = batch.as_slices();
        first.iter().for_each(&mut each);
        second.iter().for_each(&mut each);
        batch.len()
    }
}

impl<M: Message> Local<M> for ShaqSpsc {
    type Tx = spsc::Producer<M>;
    type Rx = spsc::Consumer<M>;

    fn open(site: &Site, _: usize, _: usize) -> Result<Ends<Self::Tx, Self::Rx>, String> {
        let (tx, rx) = told(spsc::pair(site.capacity))?;
        Ok((vec![tx], vec![rx]))
    }
}

impl<M: Message> Shared<M> for ShaqSpsc {
    type Tx = spsc::Producer<M>;
    type Rx = spsc::Consumer<M>;

    fn sender(site: &Site, first: bool) -> Result<Self::Tx, String> {
        let file = file(site, first)?;
        let size = spsc::minimum_file_size::<M>(site.capacity);
        told(if first {
            // SAFETY: the file is new and ours; all who use it use this type, which is plain words.
            unsafe { spsc::Producer::create(&file, size) }
        } else {
            // SAFETY: as above; there is no other sender.
            unsafe { spsc::Producer::join(&file) }
        })
    }

    fn receiver(site: &Site) -> Result<Self::Rx, String> {
        // SAFETY: created by the sender, with this type; there is no other receiver.
        told(unsafe { spsc::Consumer::join(&file(site, false)?) })
    }
}

/// `shaq::mpmc`.
pub struct ShaqMpmc;

impl Named for ShaqMpmc {
    const NAME: &'static str = "shaq mpmc";
}

impl<M: Message> Tx<M> for mpmc::Producer<M> {
    #[inline(always)]
    fn try_send(&mut self, message: &M) -> bool {
        self.try_write(*message).is_ok()
    }
}

impl<M: Message> Rx<M> for mpmc::Consumer<M> {
    #[inline(always)]
    fn try_recv(&mut self) -> Option<M> {
        self.try_read()
    }
}

impl<M: Message> Local<M> for ShaqMpmc {
    type Tx = mpmc::Producer<M>;
    type Rx = mpmc::Consumer<M>;

    fn open(
        site: &Site,
        senders: usize,
        receivers: usize,
    ) -> Result<Ends<Self::Tx, Self::Rx>, String> {
        Ok((
            several(senders, |number| Self::sender(site, number == 0))?,
            several(receivers, |_| Self::receiver(site))?,
        ))
    }
}

impl<M: Message> Shared<M> for ShaqMpmc {
    type Tx = mpmc::Producer<M>;
    type Rx = mpmc::Consumer<M>;

    fn sender(site: &Site, first: bool) -> Result<Self::Tx, String> {
        let file = file(site, first)?;
        let size = mpmc::minimum_file_size::<M>(site.capacity);
        told(if first {
            // SAFETY: the file is new and ours; all who use it use this type, which is plain words.
            unsafe { mpmc::Producer::create(&file, size) }
        } else {
            // SAFETY: as above.
            unsafe { mpmc::Producer::join(&file) }
        })
    }

    fn receiver(site: &Site) -> Result<Self::Rx, String> {
        // SAFETY: created by a sender, with this type.
        told(unsafe { mpmc::Consumer::join(&file(site, false)?) })
    }
}
