//! Forked children: they say one line to their parent, and end.

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Seconds after which a child ends by itself, whatever becomes of its parent's test.
const LIFE: u32 = 100;

/// Which of the two we are.
#[derive(Debug)]
pub enum Forked {
    /// The parent.
    Parent(Child),
    /// The child.
    Child(Parent),
}

/// A child, for its parent.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    stream: UnixStream,
}

/// The parent, for its child.
#[derive(Debug)]
pub struct Parent {
    stream: UnixStream,
}

/// Forks. Other threads are not in the child, and what they have locked stays locked there; so it must not print.
///
/// # Panics
///
/// If the operating system refuses.
pub fn fork() -> Forked {
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    // SAFETY: the C library makes its own locks usable in the child, and the child takes no others.
    match unsafe { nix::unistd::fork() }.expect("a child") {
        ForkResult::Parent { child } => Forked::Parent(Child {
            pid: child,
            stream: ours,
        }),
        ForkResult::Child => {
            // SAFETY: takes no pointer.
            unsafe { libc::alarm(LIFE) };
            Forked::Child(Parent { stream: theirs })
        }
    }
}

impl Child {
    /// What it said, after it has ended.
    ///
    /// # Panics
    ///
    /// If it did not end well.
    pub fn answer(mut self) -> String {
        let mut answer = String::new();
        let read = self.stream.read_to_string(&mut answer);
        let ended = waitpid(self.pid, None);
        assert_eq!(ended, Ok(WaitStatus::Exited(self.pid, 0)), "{answer}");
        read.expect("an answer");
        answer
    }
}

impl Parent {
    /// Says something to it.
    pub fn answer(&self, line: &str) {
        let _ = (&self.stream).write_all(line.as_bytes());
    }
}

/// Has a child do something, and returns what it said. The child ends without dropping anything.
pub fn in_child(play: impl FnOnce() -> String) -> String {
    match fork() {
        Forked::Parent(child) => child.answer(),
        Forked::Child(parent) => {
            let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(play));
            parent.answer(played.as_deref().unwrap_or("panic"));
            // SAFETY: takes no pointer.
            unsafe { libc::_exit(i32::from(played.is_err())) }
        }
    }
}

/// A child that does nothing for a while. Returns its number, when it has begun.
///
/// # Panics
///
/// If it ends.
pub fn stay() -> i32 {
    match fork() {
        Forked::Parent(mut child) => {
            let mut word = [0];
            child.stream.read_exact(&mut word).expect("a living child");
            child.pid.as_raw()
        }
        Forked::Child(parent) => {
            parent.answer("+");
            loop {
                nix::unistd::pause();
            }
        }
    }
}

static MADE: AtomicU64 = AtomicU64::new(0);

extern "C" fn fork_once(_signal: libc::c_int) {
    // SAFETY: the child does nothing but end, and the timer is used only while its thread sends and receives, which
    // holds no lock that handlers of fork take.
    match unsafe { libc::fork() } {
        // SAFETY: takes no pointer.
        0 => unsafe { libc::_exit(0) },
        // Relaxed: read by the same thread.
        _ => MADE.fetch_add(1, Relaxed),
    };
}

/// Has a timer fork this process every half millisecond. The children end at once, and nobody waits for them.
///
/// # Panics
///
/// If the operating system refuses.
pub fn begin_by_timer() {
    let on = |signal, handler| {
        let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
        // SAFETY: see `fork_once`.
        unsafe { sigaction(signal, &action) }.expect("a handler");
    };
    on(Signal::SIGCHLD, SigHandler::SigIgn);
    on(Signal::SIGALRM, SigHandler::Handler(fork_once));
    set_timer(500);
}

/// Stops the timer.
pub fn end_by_timer() {
    set_timer(0);
}

fn set_timer(micros: i64) {
    let every = libc::timeval {
        tv_sec: 0,
        tv_usec: micros,
    };
    let timer = libc::itimerval {
        it_interval: every,
        it_value: every,
    };
    // SAFETY: reads one struct, which outlives the call.
    let set = unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
    assert_eq!(set, 0, "setitimer");
}

/// How many children the timer has made.
pub fn made_by_timer() -> u64 {
    MADE.load(Relaxed)
}
