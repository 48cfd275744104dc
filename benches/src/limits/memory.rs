//! M3: copies, and memory that is handed over.

use super::{first, repeat};
use crate::clock::now;
use crate::drive::{Sample, fill, is_filled, spin};
use crate::message::LAST;
use crate::record::Pool;
use crate::stage::Stage;
use crossbeam_utils::CachePadded;
use std::cell::UnsafeCell;
use std::hint::black_box;
use std::ptr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

/// A copy of `LEN` bytes within a processor's own memory: nanoseconds a copy, by the first of `CPUS` that all copy.
///
/// # Errors
///
/// What the first actor said that failed.
pub fn copy<const LEN: usize, const CPUS: usize>(stage: &Stage) -> Result<Sample, String> {
    let cpus: Vec<usize> = (0..CPUS).collect();
    first(stage.together(&cpus, |actor| {
        let from = vec![1u8; LEN];
        let mut to = vec![0u8; LEN];
        let count = ((1 << 20) / LEN).max(1) as u64;
        Ok(repeat(actor.stage, count, |count| {
            for _ in 0..count {
                black_box(&mut to).copy_from_slice(black_box(&from));
            }
        }))
    })?)
}

/// A page, so that every place begins at one.
#[derive(Clone, Copy)]
#[repr(C, align(4096))]
struct Page([u8; PAGE]);

const PAGE: usize = 4096;

/// Places for records that the sender and the receiver own in turn.
struct Slots {
    memory: Box<[UnsafeCell<Page>]>,
    /// Bytes of a place: whole pages.
    len: usize,
    tail: CachePadded<AtomicU64>,
    head: CachePadded<AtomicU64>,
}

// SAFETY: a place is the sender's from `head` to `tail` on, and the receiver's until then; both are published with
// Release and read with Acquire.
unsafe impl Sync for Slots {}

impl Slots {
    fn new(len: usize) -> Self {
        assert!(len.is_multiple_of(PAGE), "whole pages");
        let count = (BYTES / len).max(FEWEST);
        let page = |_| UnsafeCell::new(Page([1; PAGE]));
        Self {
            memory: (0..count * len / PAGE).map(page).collect(),
            len,
            tail: CachePadded::default(),
            head: CachePadded::default(),
        }
    }

    /// How many records there is room for.
    fn count(&self) -> u64 {
        (self.memory.len() * PAGE / self.len) as u64
    }

    /// The place of a record.
    fn place(&self, number: u64) -> *mut [u8] {
        let first = (number % self.count()) as usize * (self.len / PAGE);
        let pages = &self.memory[first..first + self.len / PAGE];
        ptr::slice_from_raw_parts_mut(pages.as_ptr().cast_mut().cast(), self.len)
    }

    /// One side sends record after record, the other receives them, as `writer` and `reader` make them: nanoseconds a
    /// record.
    fn run<W: FnMut(&mut [u8], u64), R: FnMut(&[u8], u64) -> bool>(
        &self,
        stage: &Stage,
        writer: impl Fn() -> W + Sync,
        reader: impl Fn() -> R + Sync,
    ) -> Result<Sample, String> {
        let count = self.count();
        first(stage.together(&[1, 0], |actor| {
            if actor.part == 1 {
                let mut write = writer();
                let end = now() + actor.stage.time.as_nanos() as u64;
                let mut number = 0;
                loop {
                    let over = number >= 3 * count && now() >= end;
                    let mark = if over { number | LAST } else { number };
                    spin(|| (number < self.head.load(Acquire) + count).then_some(()));
                    // SAFETY: the receiver gave this place back.
                    write(unsafe { &mut *self.place(number) }, mark);
                    number += 1;
                    self.tail.store(number, Release);
                    if over {
                        return Ok(0.0);
                    }
                }
            }
            let mut read = reader();
            let (mut number, mut begin) = (0, 0);
            loop {
                spin(|| (self.tail.load(Acquire) > number).then_some(()));
                // SAFETY: the sender published this place and will not write to it until we give it back.
                let record: &[u8] = unsafe { &*self.place(number) };
                if !read(record, number) {
                    if !read(record, number | LAST) {
                        return Err(format!("record {number} is wrong"));
                    }
                    return Ok((now() - begin) as f64 / (number - 2 * count).max(1) as f64);
                }
                number += 1;
                self.head.store(number, Release);
                if number == 2 * count {
                    begin = now();
                }
            }
        })?)
    }
}

/// Bytes of the places together, and the fewest places.
const BYTES: usize = 4 << 20;
const FEWEST: usize = 8;

/// Records of `LEN` bytes copied in by one and out by the other, who then reads every byte, as the receiver of a queue
/// does that checks what it gets: nanoseconds a record.
///
/// # Errors
///
/// What the first actor said that failed.
pub fn hand_over<const LEN: usize>(stage: &Stage) -> Result<Sample, String> {
    let writer = || {
        let mut pool = Pool::<LEN, LEN>::new();
        move |place: &mut [u8], number| place.copy_from_slice(pool.make(number))
    };
    let reader = || {
        let pool = Pool::<LEN, LEN>::new();
        let mut buffer = Vec::with_capacity(LEN);
        move |place: &[u8], number| {
            buffer.clear();
            buffer.extend_from_slice(place);
            pool.is(number, &buffer)
        }
    };
    Slots::new(LEN).run(stage, writer, reader)
}

/// Records of `LEN` bytes written by one and read by the other where they are: nanoseconds a record.
///
/// # Errors
///
/// What the first actor said that failed.
pub fn in_place<const LEN: usize>(stage: &Stage) -> Result<Sample, String> {
    Slots::new(LEN).run(stage, || fill, || is_filled)
}
