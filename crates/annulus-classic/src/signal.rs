//! Real-time signals that carry a word each: `sigqueue` with a pidfd, and `signalfd`. For notification; no channel.
//!
//! The kernel queues them, for one process and one signal in order, and loses none. But it does not keep the
//! [contract](annulus_channel#the-clauses):
//!
//! - The bound is not the channel's. It is `RLIMIT_SIGPENDING` of the receiving process, and counts whatever is queued for
//!   any process of its user (clause 4).
//! - Nobody is told when a signal was taken. Who waits for room has to try again and again: here, every millisecond (6).
//! - A receiver that closes tells nobody, and a receiver cannot know who may send (8, 9). A sender does learn when the
//!   receiving process has ended, but not how.
//! - A signal that is blocked in some threads only ends the process. So all threads have to block it before anything is
//!   sent, which is the program's affair, not a library's.
//!
//! ```no_run
//! use annulus_classic::signal::{SignalReceiver, SignalSender};
//!
//! // In one process, before it starts threads:
//! let mut receiver = SignalReceiver::open(0)?;
//! println!("{}", std::process::id());
//! let note = receiver.recv()?;
//! println!("{:?} from process {}", note.word, note.pid);
//!
//! // In another:
//! # let pid = 0;
//! let mut sender = SignalSender::open(pid, 0)?;
//! sender.send(42)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use annulus_channel::{Fault, OpenError, OpenReason, RecvError, RecvTimeoutError, TryRecvError};
use annulus_fd::wait::{self, Waited};
use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::error::Error;
use std::ffi::c_int;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// How long to wait before the next attempt, as nobody tells of room.
const AGAIN: Duration = Duration::from_millis(1);

/// What came with a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// The word; nothing if the signal was not queued with one (`kill`).
    pub word: Option<u64>,
    /// The process that says it has sent it. A process may lie.
    pub pid: u32,
    /// The user that the process says it is.
    pub uid: u32,
}

/// Why a word was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignalError {
    /// The receiver's user has as many signals queued as the receiver's limit allows.
    Full {
        /// What was to be sent.
        word: u64,
        /// The limit, in signals; 0 if it cannot be read.
        limit: u64,
    },
    /// The receiving process has ended. (What was sent while it was being killed, is gone with it.)
    PeerDead {
        /// What was to be sent.
        word: u64,
    },
    /// The operating system refused a call.
    Fault {
        /// What was to be sent.
        word: u64,
        /// The call.
        fault: Fault,
    },
}

impl fmt::Display for SignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { limit, .. } => write!(
                f,
                "no room: {limit} signals are queued for the receiver's user, which is the limit (setting RLIMIT_SIGPENDING)"
            ),
            Self::PeerDead { .. } => f.write_str("the receiving process has ended"),
            Self::Fault { fault, .. } => fault.fmt(f),
        }
    }
}

impl Error for SignalError {}

/// The number of the real-time signal `SIGRTMIN + offset`, and what to call it.
fn number(offset: u8) -> Result<(c_int, String), OpenError> {
    let name = format!("SIGRTMIN+{offset}");
    let number = libc::SIGRTMIN() + c_int::from(offset);
    if number > libc::SIGRTMAX() {
        let expected = "at most SIGRTMAX - SIGRTMIN, which is 30 with glibc";
        return Err(OpenError::new(name, OpenReason::Name { expected }));
    }
    Ok((number, name))
}

/// Whether the thread with this `status` blocks the signal.
fn blocks(status: &str, number: c_int) -> Option<bool> {
    let mask = line(status, "SigBlk:")?;
    let mask = u64::from_str_radix(mask, 16).ok()?;
    Some(mask & 1 << (number - 1) != 0)
}

/// What stands after `key` in a file of `/proc`.
fn line<'s>(status: &'s str, key: &str) -> Option<&'s str> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .map(str::trim)
}

fn not_blocked(name: &str, who: &str) -> OpenError {
    OpenError::new(
        name,
        OpenReason::Mismatch {
            what: "signal mask",
            expected: "a signal that every thread blocks".into(),
            found: format!("{who} does not, and the signal would end the process"),
        },
    )
}

/// The receiving end: all words that are sent to this process with one signal.
#[derive(Debug)]
pub struct SignalReceiver {
    signals: SignalFd,
}

impl SignalReceiver {
    /// Blocks `SIGRTMIN + offset` in this thread, and opens a `signalfd` for it. Threads that are started later block it, too.
    ///
    /// It stays blocked when the receiver is dropped: what is sent afterwards stays queued, and ends nobody.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: no such signal; `Mismatch` if another thread does not block it; a call refused.
    pub fn open(offset: u8) -> Result<Self, OpenError> {
        let (number, name) = number(offset)?;
        let os = |call, errno: Errno| OpenError::os(&name, call, &io::Error::from(errno));
        let mut mask = SigSet::empty();
        // nix has no names for real-time signals, so the bit is set by libc.
        let mut raw = *mask.as_ref();
        // SAFETY: the set is ours and initialised, the number is a signal's.
        Errno::result(unsafe { libc::sigaddset(&raw mut raw, number) })
            .map_err(|errno| os("sigaddset", errno))?;
        // SAFETY: filled by libc's own functions.
        mask = unsafe { SigSet::from_sigset_t_unchecked(raw) };
        mask.thread_block()
            .map_err(|errno| os("pthread_sigmask", errno))?;
        let tasks = fs::read_dir("/proc/self/task")
            .map_err(|error| OpenError::os(&name, "open /proc/self/task", &error))?;
        for task in tasks.flatten() {
            // A thread that has ended meanwhile is no danger.
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            if blocks(&status, number) == Some(false) {
                let who = format!("thread {}", task.file_name().to_string_lossy());
                return Err(not_blocked(&name, &who));
            }
        }
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&mask, flags).map_err(|errno| os("signalfd", errno))?;
        Ok(Self { signals })
    }

    /// Receives a word if there is one now.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`]: `Empty`, or a fault.
    pub fn try_recv(&mut self) -> Result<Note, TryRecvError> {
        loop {
            match self.signals.read_signal() {
                Ok(Some(info)) => {
                    return Ok(Note {
                        word: (info.ssi_code == libc::SI_QUEUE).then_some(info.ssi_ptr),
                        pid: info.ssi_pid,
                        uid: info.ssi_uid,
                    });
                }
                Ok(None) => return Err(TryRecvError::Empty),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(TryRecvError::Fault(wait::os("read(signalfd)", errno))),
            }
        }
    }

    /// Receives a word, waiting for one.
    ///
    /// # Errors
    ///
    /// [`RecvError`]: a fault. As anybody may send, there is no end.
    pub fn recv(&mut self) -> Result<Note, RecvError> {
        self.recv_until(None).map_err(|error| match error {
            RecvTimeoutError::Fault(fault) => RecvError::Fault(fault),
            _ => unreachable!("without a deadline, nobody gives up"),
        })
    }

    /// Receives a word, waiting for one until `deadline`.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`]: `Timeout` not before the deadline, or a fault.
    pub fn recv_deadline(&mut self, deadline: Instant) -> Result<Note, RecvTimeoutError> {
        self.recv_until(Some(deadline))
    }

    fn recv_until(&mut self, deadline: Option<Instant>) -> Result<Note, RecvTimeoutError> {
        loop {
            match self.try_recv() {
                Ok(note) => return Ok(note),
                Err(TryRecvError::Fault(fault)) => return Err(RecvTimeoutError::Fault(fault)),
                Err(_) => {}
            }
            match wait::readable(&self.signals, deadline) {
                // Another thread may have taken it.
                Ok(Waited::Ready | Waited::HungUp) => {}
                Ok(Waited::TimedOut) => return Err(RecvTimeoutError::Timeout),
                Err(fault) => return Err(RecvTimeoutError::Fault(fault)),
            }
        }
    }
}

/// The sending end: one of any number.
#[derive(Debug)]
pub struct SignalSender {
    /// The process, and no other that may get its number later.
    process: OwnedFd,
    pid: u32,
    number: c_int,
}

/// What the kernel queues: `siginfo_t` as it is for `SI_QUEUE`.
#[repr(C)]
struct Info {
    signal: c_int,
    error: c_int,
    code: c_int,
    _align: c_int,
    pid: u32,
    uid: u32,
    word: u64,
    _rest: [u64; 12],
}

const _: () = assert!(size_of::<Info>() == size_of::<libc::siginfo_t>());

impl SignalSender {
    /// Addresses `SIGRTMIN + offset` of a process that has opened a [`SignalReceiver`] for it.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: no such signal, no such process, not permitted; `Mismatch` if the process does not block the signal.
    pub fn open(pid: u32, offset: u8) -> Result<Self, OpenError> {
        let (number, signal) = number(offset)?;
        let name = format!("{signal} of process {pid}");
        // SAFETY: takes no pointer.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let fd = match Errno::result(fd) {
            Ok(fd) => fd as RawFd,
            Err(Errno::ESRCH) => return Err(OpenError::new(name, OpenReason::NotFound)),
            Err(errno) => return Err(OpenError::os(name, "pidfd_open", &errno.into())),
        };
        // SAFETY: just opened, and nobody else's.
        let process = unsafe { OwnedFd::from_raw_fd(fd) };
        let sender = Self {
            process,
            pid,
            number,
        };
        // Read before we ask whether it lives, so it is this process's.
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        if sender.has_ended() {
            return Err(OpenError::new(name, OpenReason::NotFound));
        }
        if blocks(&status, number) == Some(false) {
            return Err(not_blocked(&name, "its first thread"));
        }
        Ok(sender)
    }

    /// Whether the receiving process has ended.
    pub fn has_ended(&self) -> bool {
        let waited = wait::readable(&self.process, Some(Instant::now()));
        waited.is_ok_and(|waited| waited != Waited::TimedOut)
    }

    /// How many signals the receiver's limit allows to be queued for its user (`RLIMIT_SIGPENDING`).
    pub fn limit(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        line(&status, "SigQ:")?.split('/').nth(1)?.parse().ok()
    }

    /// Sends a word if there is room for it now.
    ///
    /// # Errors
    ///
    /// [`SignalError`]: `Full`, `PeerDead`, or a fault.
    pub fn try_send(&mut self, word: u64) -> Result<(), SignalError> {
        // A process that nobody has waited for takes signals, though it has ended.
        if self.has_ended() {
            return Err(SignalError::PeerDead { word });
        }
        let info = Info {
            signal: self.number,
            error: 0,
            code: libc::SI_QUEUE,
            _align: 0,
            pid: std::process::id(),
            uid: nix::unistd::getuid().as_raw(),
            word,
            _rest: [0; 12],
        };
        loop {
            // SAFETY: the process is open, the info is a `siginfo_t` and outlives the call.
            let sent = unsafe {
                libc::syscall(
                    libc::SYS_pidfd_send_signal,
                    self.process.as_raw_fd(),
                    self.number,
                    &raw const info,
                    0,
                )
            };
            return match Errno::result(sent) {
                Ok(_) => Ok(()),
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => Err(SignalError::Full {
                    word,
                    limit: self.limit().unwrap_or(0),
                }),
                Err(Errno::ESRCH) => Err(SignalError::PeerDead { word }),
                Err(errno) => Err(SignalError::Fault {
                    word,
                    fault: wait::os("pidfd_send_signal", errno),
                }),
            };
        }
    }

    /// Sends a word, trying again every millisecond while there is no room.
    ///
    /// # Errors
    ///
    /// [`SignalError`]: `PeerDead`, or a fault.
    pub fn send(&mut self, word: u64) -> Result<(), SignalError> {
        self.send_until(word, None)
    }

    /// Sends a word, trying again every millisecond until `deadline`.
    ///
    /// # Errors
    ///
    /// [`SignalError`]: `Full` not before the deadline, `PeerDead`, or a fault.
    pub fn send_deadline(&mut self, word: u64, deadline: Instant) -> Result<(), SignalError> {
        self.send_until(word, Some(deadline))
    }

    fn send_until(&mut self, word: u64, deadline: Option<Instant>) -> Result<(), SignalError> {
        loop {
            let sent = self.try_send(word);
            let now = Instant::now();
            let over = deadline.is_some_and(|deadline| deadline <= now);
            if over || !matches!(sent, Err(SignalError::Full { .. })) {
                return sent;
            }
            let until = deadline.map_or(now + AGAIN, |deadline| deadline.min(now + AGAIN));
            // Its end wakes us.
            wait::readable(&self.process, Some(until))
                .map_err(|fault| SignalError::Fault { word, fault })?;
        }
    }
}
