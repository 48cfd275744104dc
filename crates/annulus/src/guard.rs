//! The guards of the two phases: [`Reservation`], from claim to commit, and [`Peeked`], from look to release.

use crate::handle::{Protocol, copy_out, offset, shared_reads, unit};
use crate::layout::RECORD_HEADER;
use crate::receiver::Receiver;
use crate::ring::Message;
use crate::sender::Sender;
use crate::side::{Claim, Found, RecvSide, SendSide, units_for};
use bytemuck::Pod;
use std::fmt;
use std::mem::MaybeUninit;

/// Room for one message that nobody sees until it is committed. Dropping it gives it up.
///
/// While it is open, receivers of a ring with total order wait for it as soon as they come to it; so do not
/// hold it long. Leaked (`mem::forget`), it is given up by the next operation of its sender.
#[must_use = "a reservation that is not committed sends nothing"]
pub struct Reservation<'a, T: Message + ?Sized, K: Protocol> {
    sender: &'a mut Sender<T, K>,
    claim: Claim,
    len: usize,
}

impl<T: Message + ?Sized, K: Protocol> fmt::Debug for Reservation<'_, T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl<'a, T: Message + ?Sized, K: Protocol> Reservation<'a, T, K> {
    pub(crate) fn new(sender: &'a mut Sender<T, K>, claim: Claim, len: usize) -> Self {
        Self { sender, claim, len }
    }

    fn publish(self, used: u64) {
        let mut this = std::mem::ManuallyDrop::new(self);
        let claim = this.claim;
        this.sender.open = None;
        this.sender.side.commit(claim, used, used);
        this.sender.ring_data();
    }
}

impl<T: Message + ?Sized, K: Protocol> Drop for Reservation<'_, T, K> {
    fn drop(&mut self) {
        self.sender.open = None;
        self.sender.side.abort(self.claim);
        // Receivers may sleep before the claim, with records behind it.
        self.sender.ring_data();
    }
}

impl<T: Pod, K: Protocol> Reservation<'_, T, K> {
    /// Writes the message. Until then it is all zeros.
    pub fn write(&mut self, value: T) {
        self.sender.fetch_ahead(self.claim.position);
        self.sender.put(self.claim.position, &value);
    }

    /// Makes the message visible to receivers.
    pub fn commit(self) {
        self.publish(1);
    }
}

impl<K: Protocol> Reservation<'_, [u8], K> {
    /// The record's greatest length, as it was asked for.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it was asked for no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies `bytes` into the record, from byte `at` on. What is never written holds whatever lay there.
    ///
    /// # Panics
    ///
    /// If they reach beyond the record's end.
    pub fn write_at(&mut self, at: usize, bytes: &[u8]) {
        let end = at.checked_add(bytes.len());
        assert!(
            end.is_some_and(|end| end <= self.len),
            "{} bytes at {at} reach beyond a record of {} bytes",
            bytes.len(),
            self.len
        );
        let view = self.sender.side.view();
        let start = offset::<[u8], K>(view, self.claim.position) + RECORD_HEADER;
        if !shared_reads(K::KIND) {
            // SAFETY: within the claim, which is ours alone.
            unsafe { view.payload.write(start + at, bytes.as_ptr(), bytes.len()) };
            return;
        }
        // Shared access goes by whole words, so the first and the last are completed with what is there.
        let mut done = 0;
        while done < bytes.len() {
            let word_at = (at + done) / 8 * 8;
            let within = at + done - word_at;
            let count = (8 - within).min(bytes.len() - done);
            // SAFETY: a word of the claim, which is ours alone to write.
            let mut word = unsafe { view.payload.load_word(start + word_at) }.to_ne_bytes();
            word[within..within + count].copy_from_slice(&bytes[done..done + count]);
            // SAFETY: the same word.
            unsafe {
                view.payload
                    .store_word(start + word_at, u64::from_ne_bytes(word))
            };
            done += count;
        }
    }

    /// The record's bytes in place. Only on a ring with one receiver whose peers are trusted
    /// ([`Ring::trust_peers`](crate::Ring::trust_peers)) or that lies on the heap; else nothing.
    pub fn as_mut_slice(&mut self) -> Option<&mut [u8]> {
        if !self.sender.link.trusted || shared_reads(K::KIND) {
            return None;
        }
        let view = self.sender.side.view();
        let start = offset::<[u8], K>(view, self.claim.position) + RECORD_HEADER;
        // SAFETY: within the claim.
        let bytes = unsafe { view.payload.in_place(start) }?;
        // SAFETY: the claim is ours alone, since the peers keep the protocol (`trust_peers`), and initialised.
        Some(unsafe { std::slice::from_raw_parts_mut(bytes, self.len) })
    }

    /// Makes the record visible to receivers.
    pub fn commit(self) {
        let len = self.len;
        self.commit_len(len);
    }

    /// Makes the first `len` bytes visible as the record.
    ///
    /// # Panics
    ///
    /// If that is more than were asked for.
    pub fn commit_len(self, len: usize) {
        assert!(
            len <= self.len,
            "{len} bytes to commit, {} were reserved",
            self.len
        );
        let view = self.sender.side.view();
        let at = offset::<[u8], K>(view, self.claim.position);
        // SAFETY: a claimed unit's first word.
        unsafe { view.payload.store_word(at, len as u64) };
        let used = units_for(len, unit::<[u8], K>() as u64);
        self.publish(used);
    }
}

/// A message that a receiver has taken and not yet released. Dropping it makes it available again.
///
/// On a ring with one receiver nothing else can be received meanwhile, and its return is no redelivery. On one
/// with many, the others go on with the records behind it.
#[must_use = "a message that is not released comes back"]
pub struct Peeked<'a, T: Message + ?Sized, K: Protocol> {
    pub(crate) receiver: &'a mut Receiver<T, K>,
    pub(crate) found: Found,
    pub(crate) len: usize,
}

impl<T: Message + ?Sized, K: Protocol> fmt::Debug for Peeked<'_, T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peeked")
            .field("tries", &self.tries())
            .finish_non_exhaustive()
    }
}

impl<T: Message + ?Sized, K: Protocol> Peeked<'_, T, K> {
    /// How often the message was taken before and came back: 0 at first. What was dropped is counted up to 32, what
    /// came back by a death up to 63. On a ring whose receivers have no words (spsc, and mpsc with total order) always 0.
    pub fn tries(&self) -> u64 {
        self.found.tries
    }

    /// Acknowledges the message: it is done, and its space is free.
    pub fn release(self) {
        let mut this = std::mem::ManuallyDrop::new(self);
        let found = this.found;
        this.receiver.held = None;
        this.receiver.side.release(found);
        // In a forked child there is nothing to release, and the next operation says so.
        let _ = this.receiver.ring_room();
        this.receiver.ring_end();
    }
}

impl<T: Message + ?Sized, K: Protocol> Drop for Peeked<'_, T, K> {
    fn drop(&mut self) {
        self.receiver.return_leaked();
    }
}

impl<T: Pod, K: Protocol> Peeked<'_, T, K> {
    /// The message.
    pub fn read(&self) -> T {
        let mut value = MaybeUninit::uninit();
        self.receiver.read(self.found.position, value.as_mut_ptr());
        // SAFETY: `read` filled it, and any bytes are a value of a Pod type.
        unsafe { value.assume_init() }
    }
}

impl<K: Protocol> Peeked<'_, [u8], K> {
    /// The record's length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the record has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies the record out: `buffer` holds it and nothing else.
    pub fn read(&self, buffer: &mut Vec<u8>) {
        let view = self.receiver.side.view();
        let at = offset::<[u8], K>(view, self.found.position) + RECORD_HEADER;
        buffer.clear();
        buffer.reserve(self.len);
        // SAFETY: the record is within the units that we hold; the buffer has room.
        unsafe { copy_out::<K>(view, at, buffer.as_mut_ptr(), self.len) };
        // SAFETY: that many bytes were just written.
        unsafe { buffer.set_len(self.len) };
    }

    /// The record's bytes in place. Only on a ring whose peers are trusted
    /// ([`Ring::trust_peers`](crate::Ring::trust_peers)) or that lies on the heap; else nothing.
    pub fn as_slice(&self) -> Option<&[u8]> {
        if !self.receiver.link.trusted {
            return None;
        }
        let view = self.receiver.side.view();
        let at = offset::<[u8], K>(view, self.found.position) + RECORD_HEADER;
        // SAFETY: within the units that we hold.
        let bytes = unsafe { view.payload.in_place(at) }?;
        // SAFETY: nobody writes to a record that is held, since the peers keep the protocol (`trust_peers`).
        Some(unsafe { std::slice::from_raw_parts(bytes, self.len) })
    }
}
