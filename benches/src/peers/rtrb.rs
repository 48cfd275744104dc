//! rtrb: one producer, one consumer, in one process; chunks for batches.

use crate::message::Message;
use crate::queue::{
    BatchRx, BatchTx, Ends, Local, Named, PlaceRx, PlaceTx, RecordRx, RecordTx, Records, Rx, Site,
    Tx,
};
use rtrb::chunks::WriteChunkUninit;
use rtrb::{Consumer, CopyToUninit, Producer, RingBuffer};
use std::slice;

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

/// Bytes of a record's length before it: rtrb knows no records, so its users frame them by hand, in a chunk.
const HEADER: usize = 8;

/// A consumer of framed records, with the buffer into which they are copied.
pub struct Framed {
    consumer: Consumer<u8>,
    buffer: Vec<u8>,
}

impl RecordTx for Producer<u8> {
    #[inline(always)]
    fn try_send_record(&mut self, record: &[u8]) -> bool {
        let Ok(mut chunk) = self.write_chunk_uninit(HEADER + record.len()) else {
            return false;
        };
        let header = (record.len() as u64).to_le_bytes();
        write(&mut chunk, 0, &header);
        write(&mut chunk, HEADER, record);
        // SAFETY: both parts of the chunk were just written.
        unsafe { chunk.commit_all() };
        true
    }
}

/// Copies bytes into a chunk, which may go on at the ring's start.
#[inline(always)]
fn write(chunk: &mut WriteChunkUninit<'_, u8>, at: usize, bytes: &[u8]) {
    let (first, second) = chunk.as_mut_slices();
    let here = first.len().saturating_sub(at).min(bytes.len());
    let (before, after) = bytes.split_at(here);
    if !before.is_empty() {
        before.copy_to_uninit(&mut first[at..at + here]);
    }
    if !after.is_empty() {
        let at = (at + here) - first.len();
        after.copy_to_uninit(&mut second[at..at + after.len()]);
    }
}

impl RecordRx for Framed {
    #[inline(always)]
    fn try_recv_record(&mut self, mut look: impl FnMut(&[u8])) -> bool {
        let Ok(chunk) = self.consumer.read_chunk(HEADER) else {
            return false;
        };
        let mut header = [0; HEADER];
        let (first, second) = chunk.as_slices();
        header[..first.len()].copy_from_slice(first);
        header[first.len()..].copy_from_slice(second);
        let len = u64::from_le_bytes(header) as usize;
        let Ok(chunk) = self.consumer.read_chunk(HEADER + len) else {
            return false;
        };
        let (first, second) = chunk.as_slices();
        self.buffer.clear();
        let skip = HEADER.min(first.len());
        self.buffer.extend_from_slice(&first[skip..]);
        self.buffer.extend_from_slice(&second[HEADER - skip..]);
        chunk.commit_all();
        look(&self.buffer);
        true
    }
}

impl PlaceTx for Producer<u8> {
    #[inline(always)]
    fn try_send_in_place(&mut self, len: usize, mut fill: impl FnMut(&mut [u8])) -> bool {
        // Records of one length, of which a whole number fits: none goes on at the ring's start.
        let Ok(mut chunk) = self.write_chunk_uninit(len) else {
            return false;
        };
        let (place, _) = chunk.as_mut_slices();
        // SAFETY: ours until the commit. What was never written to may hold anything; `fill` only writes.
        fill(unsafe { slice::from_raw_parts_mut(place.as_mut_ptr().cast(), place.len()) });
        // SAFETY: all of it was just written.
        unsafe { chunk.commit_all() };
        true
    }
}

impl PlaceRx for Framed {
    #[inline(always)]
    fn try_recv_in_place(&mut self, mut look: impl FnMut(&[u8])) -> bool {
        let len = self.buffer.capacity();
        let Ok(chunk) = self.consumer.read_chunk(len) else {
            return false;
        };
        let (place, _) = chunk.as_slices();
        look(place);
        chunk.commit_all();
        true
    }
}

impl Local<Records> for Rtrb {
    type Tx = Producer<u8>;
    type Rx = Framed;

    fn open(site: &Site, _: usize, _: usize) -> Result<Ends<Producer<u8>, Framed>, String> {
        let (tx, consumer) = RingBuffer::new(site.bytes());
        let buffer = Vec::with_capacity(site.record);
        Ok((vec![tx], vec![Framed { consumer, buffer }]))
    }
}
