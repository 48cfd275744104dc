//! Everything that differs between real memory and a loom model: atomics, fences, spinning, and the
//! bytes of the payload. With `futex` the only file that names loom.
//!
//! An algorithm reaches the payload through [`Payload`] alone, in one of two ways:
//!
//! - *exclusive*: the protocol gives the bytes to one thread at a time, so a plain copy is sound.
//!   Under loom each word carries an access witness, and a second access that is not ordered
//!   after the first fails the model.
//! - *shared*: a reader may copy bytes that their next owner is already writing, and throws the copy
//!   away when it then loses its compare-and-swap. Both sides go by words through relaxed
//!   atomics, or through instructions that do no less, so there is no data race; under loom a stale word is a value that the model can
//!   observe. What loom cannot show is a load that reads a later store, so a copy that counts
//!   says so ([`Payload::counted`]), and the next writer must be ordered after it.

pub(crate) use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};

mod copy;
#[cfg(not(loom))]
mod memory;

#[cfg(loom)]
pub(crate) use conflicting::{AtomicU32, AtomicU64};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::fence;
#[cfg(not(loom))]
pub(crate) use memory::{HeapPayload, Pair, Payload};
#[cfg(loom)]
pub(crate) use model::{HeapPayload, Pair, Payload};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, fence};

/// Whether memory is real, so that sizes and offsets are those of the specification.
pub(crate) const REAL: bool = cfg!(not(loom));

/// A number of the specification, or the smaller one that a model makes do with.
pub(crate) const fn scaled(real: usize, model: usize) -> usize {
    if REAL { real } else { model }
}

/// Bytes in a payload word, the unit of shared access and of alignment.
pub(crate) const WORD: usize = 8;

/// Alignment of the payload: that of a pair of cache lines, which the hardware fetches together.
pub(crate) const PAYLOAD_ALIGN: usize = 128;

/// Lets another thread of a busy-wait loop go on.
#[inline]
pub(crate) fn spin() {
    #[cfg(not(loom))]
    std::hint::spin_loop();
    #[cfg(loom)]
    loom::thread::yield_now();
}

/// How far ahead of what it writes a sender fetches lines, in bytes. Values of 64 bytes, where a line takes long to come:
/// 38 ns each without, 32 two lines ahead, 20 eight ahead. 256 bytes, 1 KiB and 2 KiB ahead were no better where a line comes quickly.
pub(crate) const AHEAD: usize = 512;

/// Bytes of single values that are written without another thought, between two looks ahead.
pub(crate) const RUN: usize = scaled(128, 2 * WORD);

/// Bytes of a cache line.
pub(crate) const LINE: usize = 64;

/// Asks for the line of `at` in a state in which it can be written. Never faults, whatever the address, and touches nothing
/// that anybody can see.
#[inline]
pub(crate) fn fetch_to_write(at: *const u8) {
    // The compiler's own prefetch for writing is one for reading unless a newer processor is asked for; those without
    // this instruction do nothing. A model has no caches.
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    // SAFETY: a hint; it reads and writes nothing.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
    }
    #[cfg(all(target_arch = "aarch64", not(loom)))]
    // SAFETY: a hint; it reads and writes nothing.
    unsafe {
        std::arch::asm!("prfm pstl1keep, [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
    }
    #[cfg(any(loom, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    let _ = at;
}

/// A number in the region that is only counted, never acted upon: whoever reads it makes allowance for what is just being
/// counted. All accesses are Relaxed, since they order nothing, and a model does not see them.
#[repr(transparent)]
pub(crate) struct Count(std::sync::atomic::AtomicU64);

impl Count {
    pub(crate) fn new() -> Self {
        Self(std::sync::atomic::AtomicU64::new(0))
    }

    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Adds to a count that nobody else writes.
    #[inline]
    pub(crate) fn add_alone(&self, number: u64) {
        self.0.store(self.get().wrapping_add(number), Relaxed);
    }

    /// Adds to a count that others write too.
    pub(crate) fn add(&self, number: u64) {
        self.0.fetch_add(number, Relaxed);
    }

    /// Raises a maximum that others may raise too. Returns what it is then.
    pub(crate) fn raise(&self, number: u64) -> u64 {
        number.max(self.0.fetch_max(number, Relaxed))
    }
}

/// Gives the processor to another thread, if one wants it.
pub(crate) fn yield_now() {
    #[cfg(not(loom))]
    std::thread::yield_now();
    #[cfg(loom)]
    loom::thread::yield_now();
}

#[cfg(loom)]
mod conflicting {
    //! loom's atomics, with any two accesses in conflict.
    //!
    //! To find the orders worth exploring, loom 0.7 compares an access only with the *last* one that it depends on.
    //! A load hides the loads before it, so where each of two threads loads a word and then swaps it, loom
    //! never tries the second thread's swap before the first one's load: most of what a compare-and-swap
    //! ring can do. So every access stores to a companion first, which nobody loads: then all accesses to an
    //! atomic are in conflict, and the last one is enough.

    use super::Relaxed;
    use std::sync::atomic::Ordering;

    macro_rules! atomic {
        ($name:ident, $number:ty) => {
            pub(crate) struct $name {
                value: loom::sync::atomic::$name,
                turn: loom::sync::atomic::AtomicBool,
            }

            #[allow(dead_code, reason = "nobody needs every operation of both")]
            impl $name {
                pub(crate) fn new(value: $number) -> Self {
                    Self {
                        value: loom::sync::atomic::$name::new(value),
                        turn: loom::sync::atomic::AtomicBool::new(false),
                    }
                }

                fn turn(&self) -> &loom::sync::atomic::$name {
                    self.turn.store(false, Relaxed);
                    &self.value
                }

                pub(crate) fn load(&self, order: Ordering) -> $number {
                    self.turn().load(order)
                }

                pub(crate) fn store(&self, value: $number, order: Ordering) {
                    self.turn().store(value, order);
                }

                pub(crate) fn fetch_add(&self, value: $number, order: Ordering) -> $number {
                    self.turn().fetch_add(value, order)
                }

                pub(crate) fn fetch_and(&self, value: $number, order: Ordering) -> $number {
                    self.turn().fetch_and(value, order)
                }

                pub(crate) fn fetch_or(&self, value: $number, order: Ordering) -> $number {
                    self.turn().fetch_or(value, order)
                }

                pub(crate) fn compare_exchange(
                    &self,
                    from: $number,
                    to: $number,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$number, $number> {
                    self.turn().compare_exchange(from, to, success, failure)
                }
            }
        };
    }

    atomic!(AtomicU32, u32);
    atomic!(AtomicU64, u64);
}

#[cfg(loom)]
mod model {
    use super::{AtomicU64, Relaxed, WORD};
    use loom::cell::UnsafeCell;
    use loom::thread::{self, ThreadId};
    use std::collections::HashMap;
    use std::sync::{Mutex, PoisonError};

    /// Two words.
    pub(crate) type Pair = [u64; 2];

    /// One word of payload: its value for everybody, and witnesses.
    struct Cell {
        value: AtomicU64,
        /// For those who claim it alone.
        alone: UnsafeCell<()>,
        /// How often it was read.
        reads: AtomicU64,
        /// Which reads counted. Not part of the model.
        copies: Mutex<Copies>,
    }

    /// The reads of a word.
    #[derive(Default)]
    struct Copies {
        /// Each thread's last.
        last: HashMap<ThreadId, u64>,
        /// The last that counted: whoever writes must see that it is over.
        counted: u64,
    }

    impl Cell {
        fn copies(&self) -> std::sync::MutexGuard<'_, Copies> {
            self.copies.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// The payload as loom sees it. Same promises as the real one.
    #[derive(Clone, Copy)]
    pub(crate) struct Payload {
        cells: *const [Cell],
    }

    impl Payload {
        pub(crate) unsafe fn new(_base: *mut u8, _len: usize) -> Self {
            unreachable!("a loom model lives on the heap")
        }

        fn cell<'a>(self, at: usize) -> &'a Cell {
            assert!(at % WORD == 0, "models use whole words");
            // SAFETY: the handle keeps the heap payload alive.
            let cells = unsafe { &*self.cells };
            &cells[at / WORD]
        }

        pub(crate) unsafe fn write(self, at: usize, from: *const u8, len: usize) {
            for done in (0..len).step_by(WORD) {
                // SAFETY: the write is witnessed, nothing is dereferenced.
                self.cell(at + done).alone.with_mut(|_| ());
            }
            // SAFETY: the caller's promise is stronger.
            unsafe { self.write_shared(at, from, len) };
        }

        pub(crate) unsafe fn read(self, at: usize, to: *mut u8, len: usize) {
            for done in (0..len).step_by(WORD) {
                // A reader has the bytes alone too, so this is an exclusive access.
                self.cell(at + done).alone.with_mut(|_| ());
            }
            // SAFETY: the caller's promise is stronger.
            unsafe { self.read_shared(at, to, len) };
        }

        pub(crate) unsafe fn write_value<T>(self, at: usize, from: *const T) {
            // SAFETY: the caller's promise is the same.
            unsafe { self.write(at, from.cast(), size_of::<T>()) };
        }

        pub(crate) unsafe fn read_value<T>(self, at: usize, to: *mut T) {
            // SAFETY: the caller's promise is the same.
            unsafe { self.read(at, to.cast(), size_of::<T>()) };
        }

        pub(crate) unsafe fn load_word(self, at: usize) -> u64 {
            let cell = self.cell(at);
            let value = cell.value.load(Relaxed);
            let read = cell.reads.fetch_add(1, Relaxed) + 1;
            cell.copies().last.insert(thread::current().id(), read);
            value
        }

        pub(crate) unsafe fn store_word(self, at: usize, value: u64) {
            let cell = self.cell(at);
            let counted = cell.copies().counted;
            if counted > 0 {
                // Ordered after a read, one sees that it was made. Otherwise loom comes to show an older count.
                let seen = cell.reads.load(Relaxed);
                assert!(
                    seen >= counted,
                    "written while a copy that counts was being taken"
                );
            }
            cell.value.store(value, Relaxed);
        }

        pub(crate) unsafe fn load_pair(self, at: usize) -> Pair {
            // SAFETY: the caller's promise is the same.
            let first = unsafe { self.load_word(at) };
            // SAFETY: likewise.
            let second = unsafe { self.load_word(at + WORD) };
            [first, second]
        }

        pub(crate) unsafe fn store_pair(self, at: usize, pair: Pair) {
            for (number, word) in pair.into_iter().enumerate() {
                // SAFETY: the caller's promise is the same.
                unsafe { self.store_word(at + number * WORD, word) };
            }
        }

        /// A model has no caches.
        pub(crate) fn fetch_ahead(self, _at: usize, _len: usize, _free: impl Fn() -> usize) {}

        pub(crate) fn fetch_ahead_of_record(
            self,
            _at: usize,
            _len: usize,
            _free: impl Fn() -> usize,
        ) {
        }

        pub(crate) fn fetch_ahead_of(self, _begin: usize, _end: usize) {}

        pub(crate) fn counted(self, at: usize, len: usize) {
            for done in (0..len).step_by(WORD) {
                let mut copies = self.cell(at + done).copies();
                if let Some(&read) = copies.last.get(&thread::current().id()) {
                    copies.counted = copies.counted.max(read);
                }
            }
        }

        /// A model has no memory to hand out.
        pub(crate) unsafe fn in_place(self, _at: usize) -> Option<*mut u8> {
            None
        }
    }

    /// A payload on the heap, all zeros at first.
    pub(crate) struct HeapPayload {
        cells: Box<[Cell]>,
    }

    // SAFETY: loom runs the threads of a model one at a time, and the witness guards nothing but itself.
    unsafe impl Send for HeapPayload {}
    // SAFETY: as for `Send`.
    unsafe impl Sync for HeapPayload {}

    impl HeapPayload {
        pub(crate) fn new(len: usize) -> Option<Self> {
            let cell = |_| Cell {
                value: AtomicU64::new(0),
                alone: UnsafeCell::new(()),
                reads: AtomicU64::new(0),
                copies: Mutex::default(),
            };
            let cells = (0..len.div_ceil(WORD)).map(cell).collect();
            Some(Self { cells })
        }

        pub(crate) fn payload(&self) -> Payload {
            Payload {
                cells: &*self.cells,
            }
        }
    }
}
