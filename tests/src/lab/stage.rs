//! The stage of one trial: a fresh ring in a memory file, what is in it, who lives, and the victim.
//!
//! The supervisor keeps a handle of each side that the victim does not need for itself: these are the survivors. The victim
//! opens the ring by the descriptor that it inherits, and has handles of its own.

use super::cell::{Cell, Fill, Op, Side};
use super::clock::Limit;
use super::form::{BATCH, Ending, Form, Stop, number};
use super::page::Page;
use super::step::{Error, Victim, mark};
use annulus::{Protocol, Receiver, Ring, RingOptions, Sender, WhenClosed, WhenDead};
use nix::libc;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use std::mem::forget;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Who sends what was there before the victim.
pub const OLD: u64 = 1;
/// Who is killed.
pub const VICTIM: u64 = 2;
/// Who sends what is committed behind the victim's claim.
pub const AFTER: u64 = 3;
/// The survivors' and successors' first sender …
pub const NEXT: u64 = 4;
/// … and their second.
pub const NEWCOMER: u64 = 5;
/// Who sleeps until it is woken.
pub const HELPER: u64 = 6;
/// Who died before the victim.
pub const CORPSE: u64 = 7;

/// What a helper says that could do nothing.
pub const FAILED: u64 = u64::MAX - 1;

/// Looks in vain after which a handle inspects what the dead left.
pub const LOOKS: usize = 4096;

/// How long a helper sleeps at most. The test of a hang is another one, which does not count how long others had the
/// processor; this is by the clock, so it is long, but shorter than what a worker is given up after.
const SLEEP: Duration = Duration::from_secs(20);

/// Words of the shared page: what the victim's call returned, as 1 + the records sent or received; 0 before it returned.
const TOLD: usize = 0;
/// Whether the victim has read what it peeked at.
const SEEN: usize = 1;
/// 1 + the number of the record that the helper received or sent.
const HELPED: usize = 2;
/// Whether the helper is about to sleep.
const READY: usize = 3;
/// Records that the victim took before it was stepped through.
const TAKEN: usize = 4;

/// What cannot be done on a stage is no finding about the victim: it is said, and counts as hung.
pub type Result<T> = std::result::Result<T, String>;

/// A ring, the survivors' handles, and what is in it.
pub struct Stage<F: Form, K: Protocol> {
    /// The survivors' sender, unless the victim is the only one.
    pub sender: Option<Sender<F::Message, K>>,
    /// The survivors' receiver, unless the victim is the only one.
    pub receiver: Option<Receiver<F::Message, K>>,
    /// The ring.
    pub ring: Ring<F::Message, K>,
    /// What was committed before the victim came, in order.
    pub old: Vec<u64>,
    /// Who sleeps.
    pub helper: Option<Helper>,
    /// Whether the victim may have done what the helper is to be woken for.
    pub due: bool,
    page: Page,
}

/// Opens the ring as another process does.
pub fn open<F: Form, K: Protocol>(fd: BorrowedFd<'_>) -> Ring<F::Message, K> {
    let own = fd.try_clone_to_owned().expect("a descriptor");
    RingOptions::new().from_fd(own).expect("the ring opens")
}

/// What a call has done, for the shared page.
fn told(result: std::result::Result<usize, Stop>) -> u64 {
    match result {
        Ok(count) => 1 + count as u64,
        Err(Stop::Later) => 1,
        Err(other) => panic!("{other:?}"),
    }
}

impl<F: Form, K: Protocol> Stage<F, K> {
    /// Sets a stage.
    pub fn set(cell: &Cell) -> Result<Self> {
        let mut options = RingOptions::new();
        options.capacity(F::capacity(K::KIND)).order(cell.order);
        options.max_tries(u32::from(cell.op.condemns()));
        options.start_at(cell.start.position(cell.units()));
        let ring = options.memfd::<F::Message, K>().map_err(said)?;
        let mut stage = Self::around(ring)?;
        match cell.op {
            Op::VoidsFull => {
                stage.fill_up(cell.fill)?;
                stage.drain(1)?;
            }
            op if op.voids() => {
                bury_sender::<F, K>(&stage.ring)?;
                stage.fill_up(cell.fill)?;
            }
            _ => stage.fill_up(cell.fill)?,
        }
        if cell.op == Op::Discard {
            let receiver = stage.receiver.as_mut().ok_or("no receiver")?;
            let seen = AtomicU64::new(0);
            let condemned = F::peek(receiver, &mut F::buffer(), &seen, Ending::Dropped);
            condemned.map_err(|stop| format!("condemning: {stop:?}"))?;
        }
        if cell.op.returns() && cell.op != Op::ReturnsLooking {
            bury_receiver::<F, K>(&stage.ring)?;
        }
        stage.leave(cell)?;
        Ok(stage)
    }

    /// A stage around a ring that is there. Its old records are for the caller to name.
    pub fn around(ring: Ring<F::Message, K>) -> Result<Self> {
        let sender = ring
            .sender()
            .map_err(|error| format!("no sender can come: {error}"))?;
        let receiver = ring
            .receiver()
            .map_err(|error| format!("no receiver can come: {error}"))?;
        Ok(Self {
            sender: Some(sender),
            receiver: Some(receiver),
            ..Self::bare(ring)
        })
    }

    /// A stage around a ring, without survivors.
    pub fn bare(ring: Ring<F::Message, K>) -> Self {
        Self {
            sender: None,
            receiver: None,
            ring,
            old: vec![],
            helper: None,
            due: true,
            page: Page::new(),
        }
    }

    /// Sends so many old records.
    pub fn fill(&mut self, name: u64, count: usize) -> Result<()> {
        let sender = self.sender.as_mut().ok_or("no sender")?;
        for _ in 0..count {
            let next = number(
                name,
                self.old.last().map_or(0, |last| (last & 0xffff_ffff) + 1),
            );
            match F::try_send(sender, &F::draft(next)) {
                Ok(()) => self.old.push(next),
                Err(Stop::Later) => return Ok(()),
                Err(other) => return Err(format!("filling: {other:?}")),
            }
        }
        Ok(())
    }

    fn fill_up(&mut self, fill: Fill) -> Result<()> {
        match fill {
            Fill::Empty => Ok(()),
            Fill::Half => self.fill(OLD, F::half(K::KIND)),
            Fill::Full => self.fill(OLD, usize::MAX),
        }
    }

    /// Receives so many of the old records again.
    fn drain(&mut self, count: usize) -> Result<()> {
        let receiver = self.receiver.as_mut().ok_or("no receiver")?;
        let mut buffer = F::buffer();
        for _ in self.old.drain(..count) {
            F::try_recv(receiver, &mut buffer).map_err(|stop| format!("draining: {stop:?}"))?;
        }
        Ok(())
    }

    /// Closes the handles that the victim, or the helper, needs for itself.
    fn leave(&mut self, cell: &Cell) -> Result<()> {
        let helper = cell.op.wakes().then_some(match cell.op.side() {
            Side::Sender => Side::Receiver,
            Side::Receiver => Side::Sender,
        });
        let needs = |side| cell.op.side() == side || helper == Some(side);
        // All senders are to be dead.
        if cell.op == Op::VoidsLast || needs(Side::Sender) && !K::KIND.many_senders() {
            self.sender = None;
        }
        if needs(Side::Receiver) && !K::KIND.many_receivers() {
            self.receiver = None;
        }
        if let Some(side) = helper {
            self.helper = Some(Helper::start::<F, K>(&self.ring, &self.page, side)?);
        }
        Ok(())
    }

    /// Forks the victim, which stands before its operation then.
    pub fn victim(&self, op: Op) -> std::result::Result<Victim, Error> {
        self.page[TOLD].store(0, Relaxed);
        self.page[SEEN].store(0, Relaxed);
        self.another(op)
    }

    /// Forks another one, without forgetting what the first has said.
    pub fn another(&self, op: Op) -> std::result::Result<Victim, Error> {
        let fd = self.ring.as_fd().expect("the ring has a descriptor");
        Victim::fork(|| perform::<F, K>(op, fd, &self.page))
    }

    /// How many records the victim's call said that it sent or received, if it returned.
    pub fn told(&self) -> Option<usize> {
        let told = self.page[TOLD].load(Relaxed);
        told.checked_sub(1).map(|count| count as usize)
    }

    /// All that was there has been received: forgets it.
    pub fn begin_again(&mut self) {
        self.old.clear();
        self.page[TOLD].store(0, Relaxed);
        self.page[SEEN].store(0, Relaxed);
    }

    /// Whether the victim has read what it peeked at.
    pub fn seen(&self) -> bool {
        self.page[SEEN].load(Relaxed) != 0
    }

    /// How many records the victim took before its operation.
    pub fn taken_before(&self) -> usize {
        self.page[TAKEN].load(Relaxed) as usize
    }

    /// The record that the helper received or sent, if it did anything.
    pub fn helped(&self) -> Option<u64> {
        self.page[HELPED].load(Relaxed).checked_sub(1)
    }
}

/// A process claims room and ends.
fn bury_sender<F: Form, K: Protocol>(ring: &Ring<F::Message, K>) -> Result<()> {
    let fd = ring.as_fd().ok_or("no descriptor")?;
    passing(|| {
        let mut sender = open::<F, K>(fd).sender().expect("a place is free");
        let draft = F::draft(number(CORPSE, 0));
        F::reserve(&mut sender, &draft, Ending::Leaked).expect("there is room");
        forget(sender);
    })
}

/// A process takes a record and ends.
fn bury_receiver<F: Form, K: Protocol>(ring: &Ring<F::Message, K>) -> Result<()> {
    let fd = ring.as_fd().ok_or("no descriptor")?;
    passing(|| {
        let mut receiver = open::<F, K>(fd).receiver().expect("a place is free");
        let (seen, mut buffer) = (AtomicU64::new(0), F::buffer());
        F::peek(&mut receiver, &mut buffer, &seen, Ending::Leaked).expect("a record is there");
        forget(receiver);
    })
}

/// What the victim does.
fn perform<F: Form, K: Protocol>(op: Op, fd: BorrowedFd<'_>, page: &Page) {
    let ring = open::<F, K>(fd);
    let say = |count| page[TOLD].store(told(count), Relaxed);
    let drafts: [F::Draft; BATCH] = std::array::from_fn(|at| F::draft(number(VICTIM, at as u64)));
    let mut buffer = F::buffer();
    let (sender, receiver) = (
        || ring.sender().expect("a sender's place is free"),
        || ring.receiver().expect("a receiver's place is free"),
    );
    match op {
        Op::Send | Op::SendWakes => {
            let mut sender = sender();
            mark();
            say(F::try_send(&mut sender, &drafts[0]).map(|()| 1));
            mark();
        }
        Op::SendTwice => {
            let mut sender = sender();
            mark();
            let first = F::try_send(&mut sender, &drafts[0]).map(|()| 1);
            let sent = first.is_ok();
            say(first);
            if sent {
                say(F::try_send(&mut sender, &drafts[1]).map_or(Ok(1), |()| Ok(2)));
            }
            mark();
        }
        Op::SendBatch => {
            let mut sender = sender();
            mark();
            say(F::send_batch(&mut sender, &drafts));
            mark();
        }
        Op::Commit => {
            let mut sender = sender();
            mark();
            say(F::reserve(&mut sender, &drafts[0], Ending::Done).map(|()| 1));
            mark();
        }
        Op::Abort => {
            let mut sender = sender();
            mark();
            say(F::reserve(&mut sender, &drafts[0], Ending::Dropped).map(|()| 0));
            mark();
        }
        Op::Recv | Op::RecvWakes | Op::VoidsLast => {
            let mut receiver = receiver();
            mark();
            say(F::try_recv(&mut receiver, &mut buffer).map(|()| 1));
            mark();
            let received = page[TOLD].load(Relaxed) == told(Ok(1));
            assert!(
                !received || F::check(&buffer).is_some(),
                "it got something else"
            );
        }
        Op::RecvBatch => {
            let mut receiver = receiver();
            mark();
            say(F::recv_batch(&mut receiver, &mut buffer));
            mark();
        }
        Op::Ack | Op::Return | Op::Condemn => {
            let mut receiver = receiver();
            let (ending, count) = match op {
                Op::Ack => (Ending::Done, 1),
                _ => (Ending::Dropped, 0),
            };
            mark();
            say(F::peek(&mut receiver, &mut buffer, &page[SEEN], ending).map(|_| count));
            mark();
            let received = page[SEEN].load(Relaxed) != 0;
            assert!(
                !received || F::check(&buffer).is_some(),
                "it read something else"
            );
        }
        Op::AttachSender | Op::VoidsComing => {
            mark();
            let sender = sender();
            say(Ok(0));
            mark();
            drop(sender);
        }
        Op::AttachReceiver | Op::ReturnsComing | Op::CondemnsComing => {
            mark();
            let receiver = receiver();
            say(Ok(0));
            mark();
            drop(receiver);
        }
        Op::Discard => {
            let inspector = ring.inspector();
            mark();
            let letter = inspector.dead_letters().swap_remove(0);
            let bytes = inspector.read_dead(&letter);
            page[SEEN].store(u64::from(bytes.is_some()), Relaxed);
            say(Ok(usize::from(inspector.discard_dead(letter))));
            mark();
            assert!(bytes.is_some_and(|bytes| F::whole(&bytes).is_some()));
        }
        Op::CloseSender => {
            let sender = sender();
            mark();
            drop(sender);
            say(Ok(0));
            mark();
        }
        Op::CloseReceiver => {
            let receiver = receiver();
            mark();
            drop(receiver);
            say(Ok(0));
            mark();
        }
        Op::VoidsLooking => {
            let mut receiver = receiver();
            for _ in 1..LOOKS {
                assert_eq!(F::try_recv(&mut receiver, &mut buffer), Err(Stop::Later));
            }
            mark();
            say(F::try_recv(&mut receiver, &mut buffer).map(|()| 1));
            mark();
        }
        Op::ReturnsLooking => {
            let mut receiver = receiver();
            // Only now, since a receiver that comes finds the dead ones.
            bury_receiver::<F, K>(&ring).expect("somebody dies");
            // The records behind the taken one, so that it finds nothing more.
            let mut left = 1;
            while left < LOOKS {
                match F::try_recv(&mut receiver, &mut buffer) {
                    Ok(()) => _ = page[TAKEN].fetch_add(1, Relaxed),
                    Err(Stop::Later) => left += 1,
                    Err(other) => panic!("{other:?}"),
                }
            }
            mark();
            say(F::try_recv(&mut receiver, &mut buffer).map(|()| 1));
            mark();
        }
        Op::VoidsSleeping => {
            let mut receiver = receiver();
            // In vain so often that it does not spin any more.
            for _ in 0..5 {
                let nothing = F::recv(&mut receiver, &mut buffer, Duration::ZERO);
                assert_eq!(nothing, Err(Stop::Later));
            }
            mark();
            say(F::recv(&mut receiver, &mut buffer, SLEEP).map(|()| 1));
            mark();
        }
        Op::VoidsFull | Op::ReturnsFull => {
            let mut sender = sender();
            if op == Op::VoidsFull {
                // Only now, since a sender that comes finds the dead ones.
                bury_sender::<F, K>(&ring).expect("somebody dies");
            }
            for _ in 1..LOOKS {
                assert_eq!(F::try_send(&mut sender, &drafts[0]), Err(Stop::Later));
            }
            mark();
            say(F::try_send(&mut sender, &drafts[0]).map(|()| 1));
            mark();
        }
    }
}

/// Words for an error.
pub fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// A process that does something and ends without cleaning up, as a killed one.
fn passing(body: impl FnOnce()) -> Result<()> {
    let child = spawn(body)?;
    match waitpid(child, None) {
        Ok(WaitStatus::Exited(_, 0)) => Ok(()),
        other => Err(format!("a process that was to die well: {other:?}")),
    }
}

/// Forks a child that executes `body` and ends at once.
pub fn spawn(body: impl FnOnce()) -> Result<Pid> {
    // SAFETY: the process has one thread, so the child finds no lock held by a thread that it lacks.
    match unsafe { fork() } {
        Err(errno) => Err(format!("fork: {errno}")),
        Ok(ForkResult::Parent { child }) => Ok(child),
        Ok(ForkResult::Child) => {
            // SAFETY: asks for a signal when the supervisor dies, and touches no memory.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
            // SAFETY: ends the process at once, without the destructors that are the supervisor's to run.
            unsafe { libc::_exit(i32::from(result.is_err())) }
        }
    }
}

/// A process that sleeps on a ring until it is woken, does one thing and ends.
pub struct Helper {
    pid: Pid,
    ended: bool,
}

impl Helper {
    fn start<F: Form, K: Protocol>(
        ring: &Ring<F::Message, K>,
        page: &Page,
        side: Side,
    ) -> Result<Self> {
        let fd = ring.as_fd().ok_or("no descriptor")?;
        let pid = spawn(|| {
            let ring = open::<F, K>(fd);
            let mut buffer = F::buffer();
            let done = match side {
                Side::Sender => {
                    let mut sender = ring.sender().expect("a place is free");
                    sender.on_peer_death(WhenDead::Wait);
                    page[READY].store(1, Relaxed);
                    let draft = F::draft(number(HELPER, 0));
                    F::send(&mut sender, &draft, SLEEP).map(|()| Some(number(HELPER, 0)))
                }
                Side::Receiver => {
                    let mut receiver = ring.receiver().expect("a place is free");
                    receiver.on_peer_death(WhenDead::Wait);
                    receiver.on_close(WhenClosed::Wait);
                    page[READY].store(1, Relaxed);
                    let received = F::recv(&mut receiver, &mut buffer, SLEEP);
                    received.map(|()| F::check(&buffer))
                }
            };
            let value = match done {
                Ok(Some(number)) => 1 + number,
                _ => u64::MAX,
            };
            page[HELPED].store(value, Relaxed);
        })?;
        let helper = Self { pid, ended: false };
        // It is asleep when it stands in the kernel's futex call.
        let since = Instant::now();
        while page[READY].load(Relaxed) == 0 || !helper.sleeps() {
            if since.elapsed() > SLEEP {
                return Err("the helper does not go to sleep".to_owned());
            }
            std::thread::yield_now();
        }
        Ok(helper)
    }

    fn sleeps(&self) -> bool {
        let call = std::fs::read_to_string(format!("/proc/{}/syscall", self.pid));
        call.is_ok_and(|call| call.starts_with(&format!("{} ", libc::SYS_futex)))
    }

    /// Whether it ends in this time.
    pub fn wait(&mut self, time: Duration) -> bool {
        let limit = Limit::new(time);
        while !self.ended {
            match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) if limit.is_over() => return false,
                Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_micros(20)),
                _ => self.ended = true,
            }
        }
        true
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        if !self.ended {
            let _ = nix::sys::signal::kill(self.pid, nix::sys::signal::Signal::SIGKILL);
            let _ = waitpid(self.pid, None);
        }
    }
}
