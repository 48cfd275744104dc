//! A few words of memory that a process shares with the children that it forks: what a victim says before it is
//! killed.

use nix::libc;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU64;

/// Words on a page.
pub const WORDS: usize = 512;

/// A page of zeros, shared with all children.
#[derive(Debug)]
pub struct Page(NonNull<[AtomicU64; WORDS]>);

// SAFETY: atomics may be used from any thread, and the mapping is nobody's in particular.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

impl Page {
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
                WORDS * 8,
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

impl Default for Page {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Page {
    type Target = [AtomicU64; WORDS];

    fn deref(&self) -> &Self::Target {
        // SAFETY: mapped until the drop, zeros at first, and only ever used as atomics.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`, and borrowed by nobody any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), WORDS * 8) };
    }
}
