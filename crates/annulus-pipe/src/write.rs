//! Writing to a pipe without `SIGPIPE`.
//!
//! A write to a pipe that nobody can read any more raises `SIGPIPE`, which ends a process that did not provide for it. Rust's programs
//! ignore it; a library cannot rely on that. Since Linux 6.18 a write can ask for no signal (`RWF_NOSIGNAL`). Before,
//! the signal is blocked in this thread for the length of the call, and taken if the write has
//! raised it; a blocked signal is kept for the thread, even where it is ignored.

use libc::c_int;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::uio::writev;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// `RWF_NOSIGNAL` of `linux/fs.h`, which libc does not have yet.
const NO_SIGNAL: c_int = 0x100;

/// Whether this kernel does not know the flag.
static OLD_KERNEL: AtomicBool = AtomicBool::new(false);

/// Writes as much as there is room for: 0 if there is none.
///
/// # Errors
///
/// `EPIPE` if nobody reads, without a signal. Never `EINTR`, never `EAGAIN`.
pub(crate) fn write(fd: impl AsFd, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
    let fd = fd.as_fd();
    loop {
        // Relaxed: whoever reads the old value finds out for itself.
        let result = match OLD_KERNEL.load(Relaxed) {
            false => no_signal(fd, parts),
            true => masked(fd, parts),
        };
        match result {
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL) if !OLD_KERNEL.load(Relaxed) => {
                OLD_KERNEL.store(true, Relaxed);
            }
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok(0),
            result => return result,
        }
    }
}

fn no_signal(fd: BorrowedFd<'_>, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
    let (vector, count) = (parts.as_ptr().cast(), parts.len() as c_int);
    // SAFETY: an `IoSlice` is an iovec over bytes that live as long as the slice (std promises both); offset -1 is that of
    // the file, and the flag changes nothing about the memory.
    let written = unsafe { libc::pwritev2(fd.as_raw_fd(), vector, count, -1, NO_SIGNAL) };
    Errno::result(written).map(|written| written as usize)
}

/// Writes with `SIGPIPE` blocked, and takes away the one that the write has raised.
fn masked(fd: BorrowedFd<'_>, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
    let mut pipe = SigSet::empty();
    pipe.add(Signal::SIGPIPE);
    let before = pipe.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    // One that was pending already is the program's own, and absorbs ours.
    let theirs = before.contains(Signal::SIGPIPE) && is_pending();
    let result = writev(fd, parts);
    if result == Err(Errno::EPIPE) && !theirs {
        take(&pipe);
    }
    before.thread_set_mask()?;
    result
}

fn is_pending() -> bool {
    let mut pending = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigpending(2) fills the set that the pointer leads to.
    let done = unsafe { libc::sigpending(pending.as_mut_ptr()) };
    if done != 0 {
        return false;
    }
    // SAFETY: it was filled, since the call has not failed.
    let pending = unsafe { pending.assume_init() };
    // SAFETY: reads a set that is whole.
    unsafe { libc::sigismember(&pending, libc::SIGPIPE) == 1 }
}

/// Takes a pending signal of the set, without waiting for one.
fn take(set: &SigSet) {
    let now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    loop {
        // SAFETY: the set and the time live through the call; nothing is asked to be written to null.
        let taken = unsafe { libc::sigtimedwait(set.as_ref(), ptr::null_mut(), &now) };
        if Errno::result(taken) != Err(Errno::EINTR) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{masked, no_signal, take};
    use nix::errno::Errno;
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction};
    use std::io::IoSlice;
    use std::os::fd::AsFd;
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    static RAISED: AtomicU32 = AtomicU32::new(0);

    extern "C" fn note(_: libc::c_int) {
        RAISED.fetch_add(1, SeqCst);
    }

    #[test]
    fn a_write_that_nobody_reads_raises_no_signal() {
        let _alone = crate::alone();
        let action = SigAction::new(SigHandler::Handler(note), SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler does nothing but an atomic addition.
        let old = unsafe { sigaction(Signal::SIGPIPE, &action) }.unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        let parts = [IoSlice::new(b"a"), IoSlice::new(b"b")];
        assert_eq!(masked(writer.as_fd(), &parts), Ok(2));
        drop(reader);
        let mut pipe = SigSet::empty();
        pipe.add(Signal::SIGPIPE);

        for _ in 0..3 {
            assert_eq!(masked(writer.as_fd(), &parts), Err(Errno::EPIPE));
            let result = no_signal(writer.as_fd(), &parts);
            assert!(
                matches!(result, Err(Errno::EPIPE | Errno::EOPNOTSUPP)),
                "{result:?}"
            );
        }
        // Blocked by the program, none is left for it.
        let before = pipe.thread_swap_mask(SigmaskHow::SIG_BLOCK).unwrap();
        assert_eq!(masked(writer.as_fd(), &parts), Err(Errno::EPIPE));
        before.thread_set_mask().unwrap();
        assert_eq!(RAISED.load(SeqCst), 0);
        // The program's own is not taken.
        let before = pipe.thread_swap_mask(SigmaskHow::SIG_BLOCK).unwrap();
        nix::sys::signal::raise(Signal::SIGPIPE).unwrap();
        assert_eq!(masked(writer.as_fd(), &parts), Err(Errno::EPIPE));
        before.thread_set_mask().unwrap();
        assert_eq!(RAISED.load(SeqCst), 1);
        // Nothing to take: does not wait.
        take(&pipe);
        // SAFETY: what was there before.
        unsafe { sigaction(Signal::SIGPIPE, &old) }.unwrap();
    }
}
