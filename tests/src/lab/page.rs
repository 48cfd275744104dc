//! A few words of memory that a process shares with the children that it forks: what a victim says before it is
//! killed.

use nix::libc;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU64;

/// Words on one page of memory.
pub const WORDS: usize = 512;

/// Words of zeros, shared with all children; a page of them if nothing else is said.
#[derive(Debug)]
pub struct Page<const COUNT: usize = WORDS>(NonNull<[AtomicU64; COUNT]>);

// SAFETY: atomics may be used from any thread, and the mapping is nobody's in particular.
unsafe impl<const COUNT: usize> Send for Page<COUNT> {}
// SAFETY: as above.
unsafe impl<const COUNT: usize> Sync for Page<COUNT> {}

impl<const COUNT: usize> Page<COUNT> {
    /// Maps one.
    ///
    /// # Panics
    ///
    /// If there is no memory for it.
    pub fn new() -> Self {
        // SAFETY: the kernel chooses the address.
        let page = unsafe {
            libc::mmap(
                ptr::null_mut(),
                COUNT * 8,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(page, libc::MAP_FAILED, "no memory for a page");
        Self(NonNull::new(page.cast()).expect("not mapped at 0"))
    }
}

impl<const COUNT: usize> Default for Page<COUNT> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const COUNT: usize> Deref for Page<COUNT> {
    type Target = [AtomicU64; COUNT];

    fn deref(&self) -> &Self::Target {
        // SAFETY: mapped until the drop, zeros at first, and only ever used as atomics.
        unsafe { self.0.as_ref() }
    }
}

impl<const COUNT: usize> Drop for Page<COUNT> {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`, and borrowed by nobody any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), COUNT * 8) };
    }
}
