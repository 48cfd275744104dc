//! Leases: who is attached, and who of them is alive.
//!
//! Each attached handle has an entry in the lease table. Control words name a handle by its entry's
//! number. The entry's word says who holds it:
//!
//! ```text
//! 63      24 23    22     21   0
//! | ticket: 40 | 0 | side | pid |          0 = free
//! ```
//!
//! A *ticket* is drawn from a counter in the region at each attach and never recurs. Its holder has an
//! exclusive open-file-description lock on byte [`LOCK_BASE`]` + ticket` of the region's file, through an
//! open file description of its own, before the entry names the ticket. The kernel drops the lock when
//! the last descriptor is closed, so when the process dies, whatever killed it, and not before its last
//! store. Nobody else ever locks that byte. So:
//!
//! > A word that names entry *i* is an orphan if, after the word was read, entry *i* is free, or names a ticket
//! > whose byte is not locked.
//!
//! A stopped process keeps its locks. A pid is shown to people and decides nothing. If the kernel
//! cannot be asked, the holder counts as alive.
//!
//! On the heap nobody can be killed alone: a holder lives until it closes, or until a test declares it
//! dead.
//!
//! # Places
//!
//! Entry 0 belongs to the only sender of a ring that takes one, entry 1 to the only receiver. All other handles
//! share the rest. Whoever comes to a side first cleans up after its dead (`recover::reap`).

use crate::error::AttachError;
use crate::fork::Lock;
use crate::layout::LEASES;
use crate::recover;
use crate::sync::{AcqRel, Acquire, AtomicU64, Relaxed, Release};
use crate::view::View;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;

/// Where the locks lie: far beyond any region, so that no other use of the file collides with them.
const LOCK_BASE: i64 = 1 << 61;

/// Where the lock lies that creators and openers of a System V segment share.
const TURN: i64 = 1 << 60;

const PID_BITS: u32 = 22;
const TICKET_SHIFT: u32 = 24;
const SIDE_BIT: u64 = 1 << PID_BITS;

/// The two sides of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Sender,
    Receiver,
}

impl Side {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Receiver => "receiver",
        }
    }

    fn bit(self) -> u64 {
        match self {
            Self::Sender => 0,
            Self::Receiver => SIDE_BIT,
        }
    }
}

/// What a lease's word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) ticket: u64,
    pub(crate) side: Side,
    pub(crate) pid: u32,
}

impl Holder {
    /// Reads a word; nothing if the lease is free.
    pub(crate) fn of(word: u64) -> Option<Self> {
        (word != 0).then_some(Self {
            ticket: word >> TICKET_SHIFT,
            side: if word & SIDE_BIT == 0 {
                Side::Sender
            } else {
                Side::Receiver
            },
            pid: (word & (SIDE_BIT - 1)) as u32,
        })
    }

    fn word(self) -> u64 {
        self.ticket << TICKET_SHIFT | self.side.bit() | u64::from(self.pid) & (SIDE_BIT - 1)
    }
}

/// Who testifies to life and death.
pub(crate) enum Witness {
    /// The kernel, by the locks on this file. No lock is ever taken through this descriptor itself, since
    /// the kernel does not show a descriptor its own locks.
    Kernel(File),
    /// The handles themselves, on the heap: for each lease the word of its last holder that a test declared dead.
    Heap(Box<[AtomicU64]>),
}

impl Witness {
    pub(crate) fn heap() -> Self {
        Self::Heap((0..LEASES).map(|_| AtomicU64::new(0)).collect())
    }

    /// Whether the holder of lease `number`, as its word names it, lives.
    pub(crate) fn is_alive(&self, number: usize, holder: Holder) -> bool {
        match self {
            Self::Kernel(file) => is_locked(file, lock_at(holder.ticket), 1).unwrap_or(true),
            // Acquire: pairs with the Release in `declare_dead`, as the kernel orders the last stores of the dead
            // before the loss of their locks.
            Self::Heap(dead) => dead[number].load(Acquire) != holder.word(),
        }
    }

    /// Declares the holder of a lease dead. Only a test's heap ring has dead handles.
    fn declare_dead(&self, number: usize, word: u64) {
        if let Self::Heap(dead) = self {
            // Release: pairs with the Acquire in `is_alive`.
            dead[number].store(word, Release);
        }
    }

    /// Locks the ticket's byte through a new open file description.
    fn lock(&self, ticket: u64) -> Result<Option<Lock>, AttachError> {
        let Self::Kernel(file) = self else {
            return Ok(None);
        };
        let own = Lock::open(file).map_err(|error| AttachError::Os {
            call: "open /proc/self/fd",
            errno: error.raw_os_error().unwrap_or(0),
        })?;
        match set_lock(&own, lock_at(ticket), 1) {
            Ok(()) => Ok(Some(own)),
            // Somebody is removing the ring's name, and has locked all tickets for that moment.
            Err(Errno::EAGAIN | Errno::EACCES) => Err(AttachError::Removed),
            Err(errno) => Err(AttachError::os("fcntl(F_OFD_SETLK)", errno)),
        }
    }
}

fn lock_at(ticket: u64) -> i64 {
    LOCK_BASE + ticket as i64
}

/// A new open file description of the same file.
pub(crate) fn reopen(file: &File) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    OpenOptions::new().read(true).write(true).open(path)
}

fn region_of_file(kind: i32, start: i64, len: i64) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start,
        l_len: len,
        l_pid: 0,
    }
}

fn set_lock(file: &File, start: i64, len: i64) -> Result<(), Errno> {
    let lock = region_of_file(libc::F_WRLCK, start, len);
    fcntl(file, FcntlArg::F_OFD_SETLK(&lock)).map(drop)
}

/// Lets go of whatever this open file description has locked, whoever else has it open.
pub(crate) fn unlock(file: &File) {
    let all = region_of_file(libc::F_UNLCK, 0, 0);
    // Should the kernel have no memory for it, the lock goes with the last descriptor.
    let _ = fcntl(file, FcntlArg::F_OFD_SETLK(&all));
}

fn is_locked(file: &File, start: i64, len: i64) -> Result<bool, Errno> {
    let mut lock = region_of_file(libc::F_WRLCK, start, len);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
}

/// Waits for the lock that creators and openers of a System V segment share.
pub(crate) fn wait_for_turn(file: &File) -> Result<(), Errno> {
    let lock = region_of_file(libc::F_WRLCK, TURN, 1);
    loop {
        match fcntl(file, FcntlArg::F_OFD_SETLKW(&lock)) {
            Err(Errno::EINTR) => {}
            other => return other.map(drop),
        }
    }
}

/// Locks all tickets at once, through a new open file description. Only possible while nobody holds
/// one; nobody can come until the file is dropped.
pub(crate) fn lock_all(file: &File) -> io::Result<Option<Lock>> {
    let own = Lock::open(file)?;
    match set_lock(&own, LOCK_BASE, 0) {
        Ok(()) => Ok(Some(own)),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// A lease that we hold. Given back by `release`, or by the kernel.
pub(crate) struct Seat {
    pub(crate) number: usize,
    word: u64,
    /// Our own open file description, and with it the lock.
    lock: Option<Lock>,
}

impl Seat {
    /// Takes a lease of `side`.
    pub(crate) fn take(view: &View, witness: &Witness, side: Side) -> Result<Self, AttachError> {
        let header = view.header();
        // Relaxed: only the number counts, and no two are equal.
        let ticket =
            header.peers.tickets.fetch_add(1, Relaxed).wrapping_add(1) & (u64::MAX >> TICKET_SHIFT);
        let lock = witness.lock(ticket)?;
        let holder = Holder {
            ticket,
            side,
            pid: std::process::id(),
        };
        let kind = view.geometry.kind;
        let number = match side {
            Side::Sender if !kind.many_senders() => Self::take_only(view, witness, 0, holder)?,
            Side::Receiver if !kind.many_receivers() => Self::take_only(view, witness, 1, holder)?,
            _ => Self::take_any(view, witness, holder)?,
        };
        Ok(Self {
            number,
            word: holder.word(),
            lock,
        })
    }

    /// Takes the only place of a side, if its holder is gone.
    fn take_only(
        view: &View,
        witness: &Witness,
        number: usize,
        holder: Holder,
    ) -> Result<usize, AttachError> {
        let lease = view.lease(number);
        loop {
            // Acquire: pairs with the Release in `release`; we see what the predecessor left.
            let found = lease.word.load(Acquire);
            if let Some(other) = Holder::of(found) {
                if witness.is_alive(number, other) {
                    return Err(AttachError::Taken {
                        side: holder.side.name(),
                        pid: other.pid,
                    });
                }
                recover::reap(view, witness, number, found);
            }
            // Acquire and Release: hands on what we saw, and publishes our place to whoever meets our name.
            if swap(&lease.word, found, holder.word()) {
                return Ok(number);
            }
        }
    }

    /// Takes any free place among many.
    fn take_any(view: &View, witness: &Witness, holder: Holder) -> Result<usize, AttachError> {
        let free = |number: &usize| swap(&view.lease(*number).word, 0, holder.word());
        let mut number = (2..LEASES).find(free);
        if number.is_none() {
            Self::bury(view, witness, |_| true);
            number = (2..LEASES).find(free);
        }
        // Whoever comes cleans up after the dead of its side, but not before it has a place of its own: a side
        // with nobody in the table would look closed.
        Self::bury(view, witness, |other| other.side == holder.side);
        number.ok_or(AttachError::TooMany { max: LEASES - 2 })
    }

    /// Frees the shared leases of the dead, those that `which` says.
    fn bury(view: &View, witness: &Witness, which: impl Fn(Holder) -> bool) {
        for number in 2..LEASES {
            let word = &view.lease(number).word;
            // Acquire: as in `take_only`.
            let found = word.load(Acquire);
            let dead = |holder| which(holder) && !witness.is_alive(number, holder);
            if Holder::of(found).is_some_and(dead) {
                recover::reap(view, witness, number, found);
                swap(word, found, 0);
            }
        }
    }

    /// Gives the lease back. Nothing in the ring may name it any more.
    pub(crate) fn release(&mut self, view: &View) {
        // Release: pairs with the Acquire of whoever comes next. A failure means that the region is corrupt:
        // then the place is not ours to free.
        let _ = view
            .lease(self.number)
            .word
            .compare_exchange(self.word, 0, Release, Relaxed);
        self.lock = None;
    }

    /// Leaves as the dead do: without a word.
    pub(crate) fn abandon(&mut self, witness: &Witness) {
        witness.declare_dead(self.number, self.word);
        self.word = 0;
        self.lock = None;
    }

    /// Whether the holder is dead to all others.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.word == 0
    }
}

fn swap(word: &AtomicU64, from: u64, to: u64) -> bool {
    word.compare_exchange(from, to, AcqRel, Acquire).is_ok()
}
