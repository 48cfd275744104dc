//! What differs between real memory and a loom model: atomics, fences, spinning. With `futex` and `payload` the only file that names
//! loom, but for a hook of `Ring`.

pub(crate) use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};

#[cfg(loom)]
pub(crate) use conflicting::{AtomicU32, AtomicU64};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::fence;
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
/// 38 ns each without, 32 two lines ahead, 20 eight ahead; farther was not measured.
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
