//! SIGINT and SIGTERM end the program in good order: handles are dropped, so peers see a close.
//!
//! A handler notes the signal, and the loops of `send` and `recv` look at the note. A call that
//! blocks is interrupted, since the handlers are installed without `SA_RESTART`. One gap remains:
//! a signal that comes after the look but before the call blocks. Therefore the handler also sets
//! the alarm clock, which interrupts again after a second, and again, until the program has ended.

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::alarm;
use std::ffi::c_int;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// The first signal that came, or 0. Written by the handler alone.
static CAUGHT: AtomicI32 = AtomicI32::new(0);

extern "C" fn note(signal: c_int) {
    if signal != Signal::SIGALRM as c_int {
        // Relaxed: nothing else is published. Only the first signal counts, so failure is fine.
        let _ = CAUGHT.compare_exchange(0, signal, Relaxed, Relaxed);
    }
    // Relaxed: as above. An alarm that we did not set changes nothing.
    if CAUGHT.load(Relaxed) != 0 {
        alarm::set(1);
    }
}

/// From now on SIGINT and SIGTERM are noted instead of ending the process at once.
pub fn catch() -> io::Result<()> {
    let action = SigAction::new(SigHandler::Handler(note), SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGALRM] {
        // SAFETY: `note` only touches an atomic and calls alarm(2), both async-signal-safe.
        unsafe { sigaction(signal, &action) }?;
    }
    Ok(())
}

/// The signal that asked us to end, if one has come.
pub fn caught() -> Option<Signal> {
    // Relaxed: nothing else was published with it. 0 is no signal.
    Signal::try_from(CAUGHT.load(Relaxed)).ok()
}

/// A stream whose calls go on after an unrelated interruption and fail once a signal was caught.
///
/// The failure's kind is `Other`, since std's own loops would go on after an `Interrupted`.
pub struct UntilCaught<T>(pub T);

fn again<R>(mut call: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                if let Some(signal) = caught() {
                    return Err(io::Error::other(signal.as_str()));
                }
            }
            done => return done,
        }
    }
}

impl<T: Read> Read for UntilCaught<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        again(|| self.0.read(buffer))
    }
}

impl<T: Write> Write for UntilCaught<T> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        again(|| self.0.write(buffer))
    }

    fn flush(&mut self) -> io::Result<()> {
        again(|| self.0.flush())
    }
}
