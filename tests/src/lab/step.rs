//! A child process that can be killed, or stopped, after any machine instruction of what it does.
//!
//! A [`Victim`] is forked from a single-threaded supervisor, which traces it (`ptrace`). What it does is put
//! between two calls of [`mark`], each one instruction `int3`: it stands at the first when
//! [`Victim::fork`] returns.
//!
//! *Recording* single-steps from the first mark to the second and writes down the address before each
//! instruction: a [`Trace`]. Step k has been reached when k instructions were executed, so a trace of n
//! instructions has the n + 1 points 0 to n. A system call is one instruction. Of a repeated one (`rep movsb`) each
//! round counts.
//!
//! *Reaching step k again*, in another child of the same supervisor, needs no k single steps: a
//! breakpoint is put on the address of step k, or of a step shortly before it that comes up less often, and the
//! child runs until it has come there as often as the trace did ([`Victim::advance`]). All children are forked
//! from the same state, so addresses are the same. A child that comes elsewhere has strayed, which is said; then the
//! caller takes a fresh one and walks all the way ([`Victim::walk`]).
//!
//! A child does not outlive its supervisor, nor its [`Victim`].

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use std::collections::HashMap;
use std::fmt;
use std::mem::offset_of;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// `int3` in machine code.
const INT3: i64 = 0xcc;

/// What a child ends with when its body panicked.
const PANICKED: i32 = 101;

/// Single steps that cost as much as running into a breakpoint once.
const HIT: usize = 3;

/// Begins, and ends, what is stepped through: the first call and the second.
#[inline(never)]
pub fn mark() {
    // SAFETY: a tracer, or the handler that `Victim::fork` installs, takes the trap; no register or memory changes.
    unsafe { core::arch::asm!("int3", options(nostack, preserves_flags)) };
}

/// Why a child could not be brought where it was wanted.
#[derive(Debug)]
pub enum Error {
    /// The operating system refused.
    Os(&'static str, Errno),
    /// The child ended, by itself or by a signal, or stopped for another reason than ours.
    Unexpected(WaitStatus),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Os(call, errno) => write!(f, "{call}: {errno}"),
            Self::Unexpected(status) => {
                write!(f, "expected the child at its mark, found it {status:?}")
            }
        }
    }
}

impl std::error::Error for Error {}

/// Names the call that failed.
fn os<T>(call: &'static str, result: nix::Result<T>) -> Result<T, Error> {
    result.map_err(|errno| Error::Os(call, errno))
}

/// The way from the first mark to the second.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The address of the instruction to be executed next, at each step.
    pcs: Vec<u64>,
    /// For each step that begins a run of the same address: how often such runs came up to here, from step 2 on.
    hits: Vec<u32>,
}

impl Trace {
    fn new(pcs: Vec<u64>) -> Self {
        let mut counts = HashMap::new();
        let mut hits = vec![0; pcs.len()];
        for step in 2..pcs.len() {
            if pcs[step] != pcs[step - 1] {
                let count = counts.entry(pcs[step]).or_insert(0);
                *count += 1;
                hits[step] = *count;
            }
        }
        Self { pcs, hits }
    }

    /// How many instructions there are. The last step is the second mark.
    pub fn len(&self) -> usize {
        self.pcs.len() - 1
    }

    /// Whether nothing lies between the marks.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The address of the instruction that follows step `step`.
    pub fn pc(&self, step: usize) -> u64 {
        self.pcs[step]
    }

    /// The step at or before `step` from which it is reached most cheaply, if a breakpoint is of use.
    fn anchor(&self, step: usize) -> Option<usize> {
        let mut best = (step, None);
        for anchor in (2..=step).rev() {
            let walk = step - anchor;
            if walk >= best.0 {
                break;
            }
            let hits = self.hits[anchor] as usize;
            // On the address where we stand already the breakpoint would be met at once.
            let cost = walk + hits * HIT;
            if hits > 0 && self.pcs[anchor] != self.pcs[1] && cost < best.0 {
                best = (cost, Some(anchor));
            }
        }
        best.1
    }
}

/// Where [`Victim::advance`] has brought a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Where the trace was at that step.
    There,
    /// Elsewhere: this child went another way than the recorded one.
    Strayed,
}

/// Where a single step has led.
enum Stepped {
    /// To the instruction at this address.
    To(u64),
    /// Before the second mark.
    Mark,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Traced, and standing.
    Traced,
    /// Not traced any more.
    Loose,
    /// Waited for.
    Gone,
}

/// A traced child. Killed when it is dropped.
pub struct Victim {
    pid: Pid,
    /// The address of the instruction `int3`.
    mark: u64,
    state: State,
}

impl fmt::Debug for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Victim")
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}

/// Takes the trap of a mark when nobody traces.
extern "C" fn take_trap(_signal: libc::c_int) {}

/// Brings the memory allocator's cache to the same state in every child, whatever its supervisor did before: so that all of
/// them go the same way through it. Of each size that the C library caches there are four pieces afterwards, of seven possible.
fn settle_allocator() {
    for size in (8..=1032).step_by(16) {
        let piece = || std::hint::black_box(Vec::<u8>::with_capacity(size));
        let taken: [Vec<u8>; 7] = std::array::from_fn(|_| piece());
        let given: [Vec<u8>; 4] = std::array::from_fn(|_| piece());
        drop(given);
        std::mem::forget(taken);
    }
}

/// What the child does from its birth to its end.
fn live(body: impl FnOnce()) -> ! {
    let nothing = SigAction::new(
        SigHandler::Handler(take_trap),
        SaFlags::empty(),
        SigSet::empty(),
    );
    // SAFETY: the handler touches nothing.
    let installed = unsafe { sigaction(Signal::SIGTRAP, &nothing) };
    // The end of a child of its own would stop it elsewhere than at its marks.
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    let ready = installed.is_ok() && children.thread_block().is_ok() && ptrace::traceme().is_ok();
    settle_allocator();
    let well = ready && catch_unwind(AssertUnwindSafe(body)).is_ok();
    // SAFETY: ends the process at once, without the destructors that are the supervisor's to run.
    unsafe { libc::_exit(if well { 0 } else { PANICKED }) }
}

impl Victim {
    /// Forks a child that executes `body`, which calls [`mark`] twice, and leaves it standing at the first.
    ///
    /// The calling process has one thread. The child shares nothing with it but what is mapped shared; it has copies of
    /// all descriptors.
    ///
    /// # Errors
    ///
    /// What the operating system refused; [`Error::Unexpected`] if the child does not come to its mark.
    pub fn fork(body: impl FnOnce()) -> Result<Self, Error> {
        // SAFETY: the process has one thread, so the child finds no lock held by a thread that it lacks.
        let forked = unsafe { fork() };
        let pid = match os("fork", forked)? {
            ForkResult::Child => live(body),
            ForkResult::Parent { child } => child,
        };
        let mut victim = Self {
            pid,
            mark: 0,
            state: State::Traced,
        };
        victim.wait_for_trap()?;
        os(
            "ptrace(SETOPTIONS)",
            ptrace::setoptions(pid, Options::PTRACE_O_EXITKILL),
        )?;
        // The trap comes after the instruction, which is one byte.
        victim.mark = victim.pc()? - 1;
        Ok(victim)
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits until it stands for a trap.
    fn wait_for_trap(&mut self) -> Result<(), Error> {
        let status = loop {
            match waitpid(self.pid, None) {
                Err(Errno::EINTR) => {}
                other => break os("waitpid", other)?,
            }
        };
        match status {
            WaitStatus::Stopped(_, Signal::SIGTRAP) => Ok(()),
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => {
                self.state = State::Gone;
                Err(Error::Unexpected(status))
            }
            other => Err(Error::Unexpected(other)),
        }
    }

    /// The address of the next instruction.
    fn pc(&self) -> Result<u64, Error> {
        let offset = offset_of!(libc::user, regs) + offset_of!(libc::user_regs_struct, rip);
        let word = ptrace::read_user(self.pid, offset as ptrace::AddressType);
        Ok(os("ptrace(PEEKUSER)", word)? as u64)
    }

    fn set_pc(&self, pc: u64) -> Result<(), Error> {
        let offset = offset_of!(libc::user, regs) + offset_of!(libc::user_regs_struct, rip);
        let written = ptrace::write_user(self.pid, offset as ptrace::AddressType, pc as i64);
        os("ptrace(POKEUSER)", written)
    }

    /// Executes one instruction.
    fn step(&mut self) -> Result<Stepped, Error> {
        os("ptrace(SINGLESTEP)", ptrace::step(self.pid, None))?;
        self.wait_for_trap()?;
        let pc = self.pc()?;
        Ok(if pc == self.mark {
            Stepped::Mark
        } else {
            Stepped::To(pc)
        })
    }

    /// Single-steps to the second mark and writes the way down.
    ///
    /// # Errors
    ///
    /// As [`fork`](Self::fork).
    pub fn record(&mut self) -> Result<Trace, Error> {
        let mut pcs = vec![self.pc()?];
        loop {
            match self.step()? {
                Stepped::To(pc) => pcs.push(pc),
                Stepped::Mark => {
                    pcs.push(self.mark);
                    return Ok(Trace::new(pcs));
                }
            }
        }
    }

    /// Executes `steps` instructions one by one, or fewer if the second mark comes first. Returns how many.
    ///
    /// # Errors
    ///
    /// As [`fork`](Self::fork).
    pub fn walk(&mut self, steps: usize) -> Result<usize, Error> {
        for done in 0..steps {
            if !self.tick()? {
                return Ok(done + 1);
            }
        }
        Ok(steps)
    }

    /// Executes one instruction. False if the second mark is next.
    ///
    /// # Errors
    ///
    /// As [`fork`](Self::fork).
    pub fn tick(&mut self) -> Result<bool, Error> {
        self.step().map(|stepped| !matches!(stepped, Stepped::Mark))
    }

    /// Goes from the first mark to step `step` of a trace that was recorded in another child.
    ///
    /// # Errors
    ///
    /// As [`fork`](Self::fork).
    ///
    /// # Panics
    ///
    /// If the trace has no such step.
    pub fn advance(&mut self, trace: &Trace, step: usize) -> Result<Arrival, Error> {
        assert!(step <= trace.len(), "step {step} of {}", trace.len());
        let mut at = 0;
        if let Some(anchor) = trace.anchor(step) {
            // Away from the first mark: a breakpoint there would be the mark itself.
            if self.walk(1)? != 1 || self.pc()? != trace.pcs[1] {
                return Ok(Arrival::Strayed);
            }
            if !self.run_to(trace.pcs[anchor], trace.hits[anchor])? {
                return Ok(Arrival::Strayed);
            }
            at = anchor;
        }
        while at < step {
            let pc = match self.step()? {
                Stepped::To(pc) => pc,
                Stepped::Mark => self.mark,
            };
            at += 1;
            if pc != trace.pcs[at] {
                return Ok(Arrival::Strayed);
            }
        }
        Ok(Arrival::There)
    }

    /// Runs until it has come to `address` so many times. False if the second mark came first.
    fn run_to(&mut self, address: u64, times: u32) -> Result<bool, Error> {
        if address == self.mark {
            // The mark is a breakpoint already.
            self.go()?;
            self.set_pc(self.mark)?;
            return Ok(true);
        }
        let at = address as ptrace::AddressType;
        let text = os("ptrace(PEEKTEXT)", ptrace::read(self.pid, at))?;
        let trap = text & !0xff | INT3;
        for time in 1..=times {
            os("ptrace(POKETEXT)", ptrace::write(self.pid, at, trap))?;
            self.go()?;
            let pc = self.pc()?;
            os("ptrace(POKETEXT)", ptrace::write(self.pid, at, text))?;
            self.set_pc(pc - 1)?;
            if pc - 1 != address {
                return Ok(false);
            }
            // Over the instruction, and, if it repeats itself, out of it.
            while time < times && self.pc()? == address {
                self.step()?;
            }
        }
        Ok(true)
    }

    /// Runs to the next trap.
    fn go(&mut self) -> Result<(), Error> {
        os("ptrace(CONT)", ptrace::cont(self.pid, None))?;
        self.wait_for_trap()
    }

    /// Kills it where it stands, and waits until it is dead.
    pub fn kill(self) {
        drop(self);
    }

    /// Lets it go on to its end by itself. True if it ended well.
    ///
    /// # Errors
    ///
    /// What the operating system refused.
    pub fn finish(&mut self) -> Result<bool, Error> {
        self.detach(None)?;
        self.ended()
    }

    /// Stops it by SIGSTOP, and traces it no more: it is stopped as any process is.
    ///
    /// # Errors
    ///
    /// What the operating system refused.
    pub fn stop(&mut self) -> Result<(), Error> {
        self.detach(Some(Signal::SIGSTOP))?;
        let status = os("waitpid", waitpid(self.pid, Some(WaitPidFlag::WUNTRACED)))?;
        match status {
            WaitStatus::Stopped(_, Signal::SIGSTOP) => Ok(()),
            other => Err(Error::Unexpected(other)),
        }
    }

    /// Lets a stopped one go on to its end by itself. True if it ended well.
    ///
    /// # Errors
    ///
    /// What the operating system refused.
    pub fn go_on(&mut self) -> Result<bool, Error> {
        os("kill(SIGCONT)", kill(self.pid, Signal::SIGCONT))?;
        self.ended()
    }

    /// Gives up tracing. The traps of the marks are taken by the handler from now on.
    fn detach(&mut self, signal: Option<Signal>) -> Result<(), Error> {
        os("ptrace(DETACH)", ptrace::detach(self.pid, signal))?;
        self.state = State::Loose;
        Ok(())
    }

    fn ended(&mut self) -> Result<bool, Error> {
        let status = os("waitpid", waitpid(self.pid, None))?;
        self.state = State::Gone;
        Ok(matches!(status, WaitStatus::Exited(_, 0)))
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if self.state == State::Gone {
            return;
        }
        // It is ours and was not waited for, so its number is still its own.
        let _ = kill(self.pid, Signal::SIGKILL);
        while let Ok(status) = waitpid(self.pid, None) {
            if matches!(status, WaitStatus::Signaled(..) | WaitStatus::Exited(..)) {
                break;
            }
        }
        self.state = State::Gone;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Work with a branch, a loop, a repeated instruction and a system call.
    fn work(seed: u64) -> u64 {
        let mut sum = seed;
        for round in 0..20u64 {
            sum = sum.rotate_left(7) ^ std::hint::black_box(round);
        }
        let from = [seed as u8; 40];
        let mut to = [0u8; 40];
        // SAFETY: both are 40 bytes long; the direction flag is clear, as the ABI says.
        unsafe {
            core::arch::asm!("rep movsb", inout("rcx") 40usize => _,
                inout("rsi") from.as_ptr() => _, inout("rdi") to.as_mut_ptr() => _, options(nostack));
        }
        sum ^ u64::from(to[39]) ^ u64::from(nix::unistd::getppid().as_raw() == 0)
    }

    fn victim() -> Victim {
        let body = || {
            mark();
            std::hint::black_box(work(std::hint::black_box(3)));
            mark();
        };
        Victim::fork(body).expect("a victim can be forked")
    }

    // The test harness has threads, but the child takes no lock that one of them could hold.
    #[test]
    fn every_step_is_reached_again_and_can_be_killed_or_stopped() {
        let mut first = victim();
        let trace = first.record().expect("it can be stepped");
        assert!(trace.len() > 100, "{} steps", trace.len());
        assert!(first.finish().expect("it ends"));
        for step in 0..=trace.len() {
            let mut again = victim();
            assert_eq!(
                again.advance(&trace, step).expect("it runs"),
                Arrival::There
            );
            assert_eq!(again.pc().expect("it stands"), trace.pc(step));
            if step % 7 == 0 {
                assert_eq!(
                    again.walk(1_000_000).expect("it walks"),
                    (trace.len() - step).max(1)
                );
            } else if step % 7 == 1 {
                again.stop().expect("it can be stopped");
                assert!(again.go_on().expect("it ends"));
            } else if step % 7 == 2 {
                assert!(again.finish().expect("it ends"));
            } else {
                again.kill();
            }
        }
    }
}
