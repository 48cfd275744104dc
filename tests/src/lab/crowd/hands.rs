//! The others on a crowded ring: a process for each side, with a handle or two, which goes on at the pace that the victim's
//! clock gives it, and writes down what it does.

use super::book::{Book, Log};
use crate::lab::cell::Side;
use crate::lab::clock::Limit;
use crate::lab::form::{Ending, Form, Stop, number};
use crate::lab::run::{elsewhere, stay_on};
use crate::lab::stage::{open, spawn};
use crate::lab::storm::Dice;
use crate::lab::survive::{Fault, HANG, Sort, fault, hung};
use annulus::{Protocol, Receiver, Ring, Sender, WhenClosed, WhenDead};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// The name of the sender whose log is the first.
pub const FIRST_NAME: u64 = 16;

/// The longest sleep of a handle of the crowd.
const SHORTLY: Duration = Duration::from_micros(200);

/// Between two looks at the clock, when all is done that it allows.
const PAUSE: Duration = Duration::from_micros(1);

/// A handle, and its log.
pub enum Hand<'a, F: Form, K: Protocol> {
    /// It sends.
    Sends {
        /// The handle.
        sender: Sender<F::Message, K>,
        /// Who it is in its records.
        name: u64,
        /// What it did.
        log: Log<'a>,
    },
    /// It receives.
    Receives {
        /// The handle.
        receiver: Receiver<F::Message, K>,
        /// Where it puts records.
        buffer: F::Buffer,
        /// It looks at each record and releases it, so that it sees which ones have come back.
        acks: bool,
        /// What it did.
        log: Log<'a>,
    },
}

impl<'a, F: Form, K: Protocol> Hand<'a, F, K> {
    /// Attaches one. `number` is that of its log.
    ///
    /// # Errors
    ///
    /// Why there is no place for it.
    pub fn come(
        ring: &Ring<F::Message, K>,
        book: &'a Book,
        (side, number): (Side, usize),
        acks: bool,
    ) -> Result<Self, String> {
        let log = book.log(number);
        match side {
            Side::Sender => {
                let mut sender = ring.sender().map_err(|error| error.to_string())?;
                sender.on_peer_death(WhenDead::Wait);
                let name = FIRST_NAME + number as u64;
                Ok(Self::Sends { sender, name, log })
            }
            Side::Receiver => {
                let mut receiver = ring.receiver().map_err(|error| error.to_string())?;
                receiver.on_peer_death(WhenDead::Wait);
                receiver.on_close(WhenClosed::Wait);
                Ok(Self::Receives {
                    receiver,
                    buffer: F::buffer(),
                    acks,
                    log,
                })
            }
        }
    }

    /// Its log.
    pub fn log(&self) -> Log<'a> {
        match self {
            Self::Sends { log, .. } | Self::Receives { log, .. } => *log,
        }
    }

    /// Does what the dice say. False if there was nothing to do it with.
    ///
    /// # Errors
    ///
    /// [`Stop::Gone`] if nobody is on the other side, and [`Stop::Broken`] for what must not happen: so is a record that
    /// is not whole.
    pub fn act(&mut self, dice: &mut Dice) -> Result<bool, Stop> {
        let done = match self {
            Self::Sends { sender, name, log } => send::<F, K>(sender, *name, *log, dice),
            Self::Receives {
                receiver,
                buffer,
                acks,
                log,
            } => receive::<F, K>(receiver, buffer, *acks, *log, dice),
        };
        match done {
            Ok(Some(true)) => Ok(true),
            Ok(Some(false)) => Err(Stop::Broken("a record has other bytes".to_owned())),
            Ok(None) | Err(Stop::Later) => Ok(false),
            Err(other) => Err(other),
        }
    }
}

/// Sends something, or gives it up.
fn send<F: Form, K: Protocol>(
    sender: &mut Sender<F::Message, K>,
    name: u64,
    log: Log<'_>,
    dice: &mut Dice,
) -> Result<Option<bool>, Stop> {
    let next = log.sent();
    let draft = |at: u64| F::draft(number(name, next + at));
    let sent = match dice.below(8) {
        0..=3 => F::try_send(sender, &draft(0)).map(|()| 1),
        4 => F::send(sender, &draft(0), SHORTLY).map(|()| 1),
        5 => F::send_batch(sender, &std::array::from_fn(|at| draft(at as u64))),
        6 => F::reserve(sender, &draft(0), Ending::Done).map(|()| 1),
        _ => F::reserve(sender, &draft(0), Ending::Dropped).map(|()| 0),
    }?;
    log.add_sent(sent as u64);
    Ok(Some(true))
}

/// Receives something. False if it was not whole.
fn receive<F: Form, K: Protocol>(
    receiver: &mut Receiver<F::Message, K>,
    buffer: &mut F::Buffer,
    acks: bool,
    log: Log<'_>,
    dice: &mut Dice,
) -> Result<Option<bool>, Stop> {
    let seen = AtomicU64::new(0);
    let tries = match dice.below(8) {
        _ if acks => F::peek(receiver, buffer, &seen, Ending::Done)?,
        0..=3 => F::try_recv(receiver, buffer).map(|()| 0)?,
        4 => F::recv(receiver, buffer, SHORTLY).map(|()| 0)?,
        5 => {
            let mut whole = true;
            F::recv_numbers(receiver, buffer, |number| match number {
                Some(number) => log.note(number, 0),
                None => whole = false,
            })?;
            return Ok(Some(whole));
        }
        6 => F::peek(receiver, buffer, &seen, Ending::Done)?,
        // What comes back to one receiver of many is out of order.
        _ if K::KIND.many_receivers() => F::try_recv(receiver, buffer).map(|()| 0)?,
        _ => {
            F::peek(receiver, buffer, &seen, Ending::Dropped)?;
            return Ok(None);
        }
    };
    let number = F::check(buffer);
    if let Some(number) = number {
        log.note(number, tries);
    }
    Ok(Some(number.is_some()))
}

/// Instructions of the victim for which a pace is given.
const WHILE: u64 = 256;

/// A process with handles of one side.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// Its side.
    pub side: Side,
    /// The number of the first one's log.
    pub first: usize,
    /// How many handles.
    pub count: usize,
    /// How much it does before the victim begins.
    pub head: u64,
    /// How much it does while the victim executes `WHILE` instructions.
    pub pace: u64,
}

/// All other processes on a ring. Killed when dropped.
pub struct Crowd {
    pids: Vec<Pid>,
}

impl Crowd {
    /// Starts them, and waits until they have attached.
    ///
    /// # Errors
    ///
    /// If they do not come.
    pub fn start<F: Form, K: Protocol>(
        ring: &Ring<F::Message, K>,
        book: &Book,
        groups: &[Group],
        acks: bool,
        dice: &mut Dice,
    ) -> Result<Self, Fault> {
        let fd = ring.as_fd().ok_or_else(|| hung("no descriptor"))?;
        let mut crowd = Self { pids: vec![] };
        let processors = elsewhere();
        for group in groups {
            let seed = dice.roll();
            let pid = spawn(|| {
                stay_on(&processors);
                live::<F, K>(&open::<F, K>(fd), book, *group, acks, seed);
            });
            crowd.pids.push(pid.map_err(hung)?);
        }
        let handles: usize = groups.iter().map(|group| group.count).sum();
        let limit = crowd.limit();
        while book.arrived() < handles as u64 {
            crowd.check()?;
            if limit.is_over() {
                return Err(hung("the others could not attach within a second"));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(crowd)
    }

    /// What they, and we, must not need.
    pub fn limit(&self) -> Limit {
        Limit::together(HANG, self.pids.clone())
    }

    /// Whether all of them are well.
    ///
    /// # Errors
    ///
    /// If not; what it was they have said themselves.
    pub fn check(&mut self) -> Result<(), Fault> {
        for at in 0..self.pids.len() {
            if self.has_ended(at)? {
                return fault(Sort::Torn, "one of the others ended before it was told to");
            }
        }
        Ok(())
    }

    /// Waits until all have ended, as they were told.
    ///
    /// # Errors
    ///
    /// If they do not, or not well.
    pub fn join(mut self) -> Result<(), Fault> {
        let limit = self.limit();
        while let Some(last) = self.pids.len().checked_sub(1) {
            if self.has_ended(last)? {
                self.pids.pop();
            } else if limit.is_over() {
                return Err(hung("one of the others did not end within a second"));
            } else {
                std::thread::sleep(PAUSE);
            }
        }
        Ok(())
    }

    fn has_ended(&mut self, at: usize) -> Result<bool, Fault> {
        match waitpid(self.pids[at], Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => Ok(false),
            Ok(WaitStatus::Exited(_, 0)) => Ok(true),
            other => {
                self.pids.remove(at);
                fault(Sort::Torn, format!("one of the others failed: {other:?}"))
            }
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for &pid in &self.pids {
            // Ours, and not waited for.
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
        }
    }
}

/// The life of a process of the crowd.
fn live<F: Form, K: Protocol>(
    ring: &Ring<F::Message, K>,
    book: &Book,
    group: Group,
    acks: bool,
    seed: u64,
) {
    let mut dice = Dice::new(seed);
    let come = |at| {
        let hand = Hand::<F, K>::come(ring, book, (group.side, group.first + at), acks);
        book.arrive();
        hand.expect("a place is free")
    };
    let mut hands: Vec<_> = (0..group.count).map(come).collect();
    let mut done = 0;
    while !book.stopped() {
        if done >= group.head + book.clock().saturating_mul(group.pace) / WHILE {
            std::thread::sleep(PAUSE);
            continue;
        }
        let at = dice.below(hands.len() as u64) as usize;
        let hand = &mut hands[at];
        let acted = book.has_room(hand.log()) && act(hand, &mut dice, book);
        done += 1;
        if !acted {
            std::thread::yield_now();
        }
    }
}

/// Does something. Whoever is told of an end is right when others have been told to end.
fn act<F: Form, K: Protocol>(hand: &mut Hand<'_, F, K>, dice: &mut Dice, book: &Book) -> bool {
    match hand.act(dice) {
        Ok(done) => done,
        Err(Stop::Gone(_)) if book.stopped() => false,
        Err(why) => panic!("beside a victim: {why:?}"),
    }
}
