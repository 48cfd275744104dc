//! A process that obeys: it holds one end of a queue and does what it is told through a pipe, one command after the
//! other, each answered with one byte. Peers spin for ever when they are stuck, so whoever asks waits only so long, and a
//! survivor that does not answer is killed.

use crate::command::{Command, When, Wire, decode, encode};
use crate::ledger::Ledger;
use crate::message::message;
use crate::peer::{CAPACITY, Handle, Peer, Side};
use crate::place::Place;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, pipe, read, write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering::SeqCst;
use std::thread::{sleep, yield_now};
use std::time::{Duration, Instant};

/// What counts as stuck.
pub const LIMIT: Duration = Duration::from_secs(1);

/// What counts as a fault of the harness.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The child's side of it.
struct Obedient<'a> {
    peer: &'a Peer,
    place: &'a Place,
    ledger: &'a Ledger,
    side: Side,
    handle: Option<Box<dyn Handle>>,
}

/// Waits, not long.
pub fn until(mut condition: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    while !condition() {
        if begin.elapsed() > PATIENCE {
            return false;
        }
        sleep(Duration::from_micros(50));
    }
    true
}

impl Obedient<'_> {
    fn obey(&mut self, command: Command) -> bool {
        match command {
            Command::Open { create } => self.open(create),
            Command::OpenAfterVictim => {
                until(|| self.ledger.attached.load(SeqCst)) && self.open(false)
            }
            Command::Send { first, count, when } => {
                let begin = || match when {
                    When::Now => true,
                    When::Attached => self.ledger.attached.load(SeqCst),
                    When::Warm => self.ledger.warm.load(SeqCst),
                };
                let paced = self.peer.lossy && when == When::Now;
                until(begin) && (first..first + count).all(|number| self.send(number, paced))
            }
            Command::Receive { count, sent } => self.receive(count, sent),
            Command::Drain => self.drain(),
            Command::TopUp { first } => self.top_up(first),
            Command::Recover => {
                self.handle().recover();
                true
            }
            Command::End => {
                self.handle = None;
                true
            }
        }
    }

    fn handle(&mut self) -> &mut dyn Handle {
        self.handle.as_deref_mut().expect("it is open")
    }

    fn open(&mut self, create: bool) -> bool {
        match (self.peer.open)(self.place, self.side, create) {
            Ok(handle) => {
                self.handle = Some(handle);
                self.ledger.others.fetch_add(1, SeqCst);
                true
            }
            Err(why) => {
                eprintln!("{}: {why}", self.peer.name);
                false
            }
        }
    }

    fn send(&mut self, number: u64, paced: bool) -> bool {
        let begin = Instant::now();
        while !self.handle().send(&message(number)) {
            if begin.elapsed() > PATIENCE {
                return false;
            }
            yield_now();
        }
        let sent = self.ledger.sent.fetch_add(1, SeqCst) + 1;
        // A queue that overwrites loses nothing if its receivers have polled before the next message.
        while paced && self.ledger.polled.load(SeqCst) < sent {
            if begin.elapsed() > PATIENCE {
                return false;
            }
            yield_now();
        }
        true
    }

    /// Receives one message, if there is one.
    fn poll(&mut self) -> bool {
        let sent = self.ledger.sent.load(SeqCst);
        match self.handle().receive() {
            Some(message) => {
                self.ledger.survivors.note(&message);
                true
            }
            None => {
                self.ledger.polled.fetch_max(sent, SeqCst);
                false
            }
        }
    }

    fn receive(&mut self, count: u64, sent: u64) -> bool {
        let begin = Instant::now();
        let mut got = 0;
        while got < count {
            if self.poll() {
                got += 1;
            } else if begin.elapsed() > PATIENCE {
                return false;
            } else {
                yield_now();
            }
        }
        // The sender may wait for it.
        let returned = until(|| self.ledger.sent.load(SeqCst) >= sent);
        self.ledger.polled.fetch_max(sent, SeqCst);
        returned
    }

    fn drain(&mut self) -> bool {
        while !self.ledger.settled.load(SeqCst) {
            if !self.poll() {
                yield_now();
            }
        }
        true
    }

    /// Sends, with nobody receiving, until there is no room.
    fn top_up(&mut self, first: u64) -> bool {
        let mut numbers = first..first + 2 * CAPACITY;
        let sent = numbers.by_ref().take_while(|&number| {
            // A second look: some find room only when they have asked often.
            (0..2000).any(|_| self.handle().send(&message(number)))
        });
        let sent = sent.count() as u64;
        self.ledger.room.store(sent, SeqCst);
        true
    }
}

/// A child, seen from its supervisor. Killed when it is dropped.
#[derive(Debug)]
pub struct Survivor {
    pid: Pid,
    commands: OwnedFd,
    answers: OwnedFd,
    alive: bool,
}

/// A process that dies with its supervisor.
pub fn die_with_parent() {
    // SAFETY: changes only what signal this process gets.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

impl Survivor {
    /// Forks one.
    ///
    /// # Errors
    ///
    /// What the operating system refused.
    pub fn fork(peer: &Peer, place: &Place, ledger: &Ledger, side: Side) -> nix::Result<Self> {
        let (orders, commands) = pipe()?;
        let (answers, replies) = pipe()?;
        // SAFETY: the supervisor has one thread.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Self {
                pid: child,
                commands,
                answers,
                alive: true,
            }),
            ForkResult::Child => {
                die_with_parent();
                let mut obedient = Obedient {
                    peer,
                    place,
                    ledger,
                    side,
                    handle: None,
                };
                loop {
                    let mut bytes = [0; size_of::<Wire>()];
                    let done = match read(&orders, &mut bytes) {
                        Ok(n) if n == bytes.len() => {
                            let command = decode(bytes);
                            let done = obedient.obey(command);
                            let _ = write(&replies, &[u8::from(done)]);
                            matches!(command, Command::End)
                        }
                        _ => true,
                    };
                    if done {
                        // SAFETY: ends the process at once; what the supervisor has to drop is its own.
                        unsafe { libc::_exit(0) };
                    }
                }
            }
        }
    }

    /// Tells it something; the answer is due later.
    ///
    /// # Errors
    ///
    /// If it has gone.
    pub fn tell(&self, command: Command) -> nix::Result<()> {
        write(&self.commands, &encode(command)).map(drop)
    }

    /// The next answer, if it comes in time.
    pub fn answer(&self, within: Duration) -> Option<bool> {
        let timeout = PollTimeout::try_from(within.as_millis() as u64).ok()?;
        let mut fds = [PollFd::new(self.answers.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, timeout).ok()? == 0 {
            return None;
        }
        let mut byte = [0];
        match read(&self.answers, &mut byte) {
            Ok(1) => Some(byte[0] != 0),
            _ => None,
        }
    }

    /// Tells it something and waits until it is done: true if it did it, and in time.
    pub fn ask(&self, command: Command, within: Duration) -> bool {
        self.tell(command).is_ok() && self.answer(within) == Some(true)
    }

    /// Lets it give its handle back and end by itself. False if it does not, and was killed.
    pub fn end(mut self) -> bool {
        let well = self.ask(Command::End, LIMIT);
        if well {
            self.alive = waitpid(self.pid, None).is_err();
        }
        well
    }
}

impl Drop for Survivor {
    fn drop(&mut self) {
        if self.alive {
            // Ours, and not waited for.
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = waitpid(self.pid, None);
        }
    }
}
