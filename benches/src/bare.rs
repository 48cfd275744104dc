//! A ring with nothing to it, twice: with and without the look at a doorbell after each message.
//!
//! It is what the machine's limits are measured with, where they are about instructions: the least that a ring does.
//!
//! And the engine has no build whose senders cannot wake, and so cannot be held against one. What being able to wake costs a sender is measured on this ring instead: cached positions, as in `annulus::spsc`, on the heap, for one sender and one
//! receiver. With a bell the sender does after each message what the engine's does: a compiler fence and a relaxed load of
//! a word that nobody writes. In everything else the two are the same code.

use crate::message::Message;
use crate::queue::{BatchRx, BatchTx, Ends, Local, Named, Rx, Site, Tx};
use crossbeam_utils::CachePadded;
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64, compiler_fence};
use std::thread;

/// The ring; `BELL` says whether its sender looks at a bell.
pub struct Bare<const BELL: bool>;

impl<const BELL: bool> Named for Bare<BELL> {
    const NAME: &'static str = if BELL { "able to wake" } else { "spin only" };
    const NOTE: &'static str =
        "a bare ring on the heap, since the engine has no build that cannot wake";
}

struct Ring<M> {
    tail: CachePadded<AtomicU64>,
    head: CachePadded<AtomicU64>,
    bell: CachePadded<AtomicU32>,
    slots: Box<[UnsafeCell<MaybeUninit<M>>]>,
}

// SAFETY: a slot is the sender's from `head` to `tail` on, and the receiver's until then; both are published with
// Release and read with Acquire.
unsafe impl<M: Send> Sync for Ring<M> {}

impl<M> Ring<M> {
    #[inline(always)]
    fn slot(&self, position: u64) -> *mut M {
        self.slots[position as usize & (self.slots.len() - 1)]
            .get()
            .cast()
    }
}

/// The sender.
pub struct BareTx<M, const BELL: bool> {
    ring: Arc<Ring<M>>,
    tail: u64,
    /// As it was when it was last looked at.
    head: u64,
}

/// The receiver.
pub struct BareRx<M> {
    ring: Arc<Ring<M>>,
    head: u64,
    /// As it was when it was last looked at.
    tail: u64,
}

impl<M: Message, const BELL: bool> Tx<M> for BareTx<M, BELL> {
    #[inline(always)]
    fn try_send(&mut self, message: &M) -> bool {
        let capacity = self.ring.slots.len() as u64;
        if self.tail - self.head == capacity {
            // Acquire: pairs with the receiver's Release; what it gave back has been read.
            self.head = self.ring.head.load(Acquire);
            if self.tail - self.head == capacity {
                return false;
            }
        }
        // SAFETY: there is room, so the slot is ours.
        unsafe { self.ring.slot(self.tail).write(*message) };
        self.tail += 1;
        self.ring.tail.store(self.tail, Release);
        if BELL {
            compiler_fence(SeqCst);
            // Relaxed: as in the engine; nobody writes it here.
            if self.ring.bell.load(Relaxed) != 0 {
                wake();
            }
        }
        true
    }
}

#[cold]
fn wake() {
    thread::yield_now();
}

impl<M: Message> Rx<M> for BareRx<M> {
    #[inline(always)]
    fn try_recv(&mut self) -> Option<M> {
        if self.head == self.tail {
            // Acquire: pairs with the sender's Release; the messages before it are there.
            self.tail = self.ring.tail.load(Acquire);
            if self.head == self.tail {
                return None;
            }
        }
        // SAFETY: it was published, so the slot is ours, and written.
        let message = unsafe { self.ring.slot(self.head).read() };
        self.head += 1;
        self.ring.head.store(self.head, Release);
        Some(message)
    }
}

impl<M: Message, const BELL: bool> BatchTx<M> for BareTx<M, BELL> {
    #[inline(always)]
    fn try_send_batch(&mut self, messages: &[M]) -> usize {
        let capacity = self.ring.slots.len() as u64;
        if capacity - (self.tail - self.head) < messages.len() as u64 {
            // Acquire: as for one message.
            self.head = self.ring.head.load(Acquire);
        }
        let count = messages
            .len()
            .min((capacity - (self.tail - self.head)) as usize);
        for message in &messages[..count] {
            // SAFETY: there is room, so the slot is ours.
            unsafe { self.ring.slot(self.tail).write(*message) };
            self.tail += 1;
        }
        self.ring.tail.store(self.tail, Release);
        count
    }
}

impl<M: Message> BatchRx<M> for BareRx<M> {
    #[inline(always)]
    fn try_recv_batch(&mut self, most: usize, mut each: impl FnMut(&M)) -> usize {
        if self.tail - self.head < most as u64 {
            // Acquire: as for one message.
            self.tail = self.ring.tail.load(Acquire);
        }
        let count = most.min((self.tail - self.head) as usize);
        for _ in 0..count {
            // SAFETY: it was published, so the slot is ours until `head` has passed it, and written.
            each(unsafe { &*self.ring.slot(self.head) });
            self.head += 1;
        }
        self.ring.head.store(self.head, Release);
        count
    }
}

impl<M: Message, const BELL: bool> Local<M> for Bare<BELL> {
    type Tx = BareTx<M, BELL>;
    type Rx = BareRx<M>;

    fn open(site: &Site, _: usize, _: usize) -> Result<Ends<Self::Tx, Self::Rx>, String> {
        let slots = site.capacity.next_power_of_two();
        let ring = Arc::new(Ring {
            tail: CachePadded::default(),
            head: CachePadded::default(),
            bell: CachePadded::default(),
            slots: (0..slots)
                .map(|_| UnsafeCell::new(MaybeUninit::uninit()))
                .collect(),
        });
        let tx = BareTx {
            ring: Arc::clone(&ring),
            tail: 0,
            head: 0,
        };
        let rx = BareRx {
            ring,
            head: 0,
            tail: 0,
        };
        Ok((vec![tx], vec![rx]))
    }
}
