//! The actors of a storm: a sender and a receiver that go on until they are killed, each a process of its own.
//!
//! Each does what the dice say, now quickly, now slowly, so that the ring is full at times and empty at others, and notes in
//! the ledger what it is about to do and what it has done. A receiver that acknowledges (at least once) notes an
//! arrival before it releases the record, so that a record which is released was noted.

use super::form::{BATCH, Form, Take, Way, dwell};
use super::ledger::{DRAW, Fate, Ledger, Life};
use super::payload::{Dice, Stamp};
use annulus::{Protocol, Receiver, Ring, Sender, TryRecvError, WhenDead};
use std::collections::HashMap;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::compiler_fence;
use std::time::Duration;

/// Sends until it is told to stop.
pub fn send<F: Form, K: Protocol>(
    ledger: &Ledger,
    ring: &Ring<F::Carried, K>,
    life: usize,
    seed: u64,
) {
    let mut sender = ring.sender().expect("a place for a sender");
    sender.on_peer_death(WhenDead::Wait);
    let me = ledger.life(life);
    let mut numbers = Numbers::new(ledger, life);
    let mut dice = Dice::new(seed);
    while !ledger.stopped() {
        for _ in 0..=dice.below(300) {
            deed::<F, K>(ledger, &mut sender, &mut numbers, &mut dice, me);
            if ledger.stopped() {
                return;
            }
        }
        rest(&mut dice);
    }
}

/// The stamps of a sender's messages, one after the other.
struct Numbers<'a> {
    ledger: &'a Ledger,
    sender: u64,
    number: u64,
    first: u64,
    left: u64,
}

impl<'a> Numbers<'a> {
    fn new(ledger: &'a Ledger, life: usize) -> Self {
        Self {
            ledger,
            sender: life as u64,
            number: 0,
            first: 0,
            left: 0,
        }
    }

    fn next(&mut self) -> Stamp {
        if self.left == 0 {
            self.first = self.ledger.draw();
            self.left = DRAW;
        }
        self.number += 1;
        self.left -= 1;
        Stamp {
            message: self.first + (DRAW - 1 - self.left),
            sender: self.sender,
            number: self.number,
        }
    }
}

/// Sends one message, or a batch; or reserves room for one and gives it up.
fn deed<F: Form, K: Protocol>(
    ledger: &Ledger,
    sender: &mut Sender<F::Carried, K>,
    numbers: &mut Numbers<'_>,
    dice: &mut Dice,
    me: &Life,
) {
    let way = match dice.below(8) {
        0 | 1 => Way::Send,
        2 => Way::Try,
        3 => Way::Timeout,
        4 => Way::Reserve,
        5 => Way::Dwell,
        6 => Way::Batch,
        _ => {
            let stamp = numbers.next();
            ledger.note(stamp.message, Fate::GivenUp);
            F::give_up(sender, stamp);
            return;
        }
    };
    let count = if way == Way::Batch {
        1 + dice.below(BATCH as u64) as usize
    } else {
        1
    };
    let stamps: Vec<_> = (0..count).map(|_| numbers.next()).collect();
    for stamp in &stamps {
        ledger.note(stamp.message, Fate::Began);
    }
    F::send(sender, way, &stamps);
    for stamp in &stamps {
        ledger.note(stamp.message, Fate::Committed);
    }
    me.done.fetch_add(count as u64, Relaxed);
}

/// Now and then a little sleep.
fn rest(dice: &mut Dice) {
    match dice.below(4) {
        0 => std::thread::sleep(Duration::from_micros(dice.below(1500))),
        1 => std::thread::yield_now(),
        _ => {}
    }
}

/// How a receiver takes records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// `recv`: what it has is its own.
    AtMostOnce,
    /// `peek` and release.
    AtLeastOnce,
    /// The same, and what comes back too often is a dead letter.
    DeadLetters,
}

/// Receives until the end of the ring.
pub fn receive<F: Form, K: Protocol>(
    ledger: &Ledger,
    ring: &Ring<F::Carried, K>,
    life: usize,
    seed: u64,
    delivery: Delivery,
) {
    let mut receiver = ring.receiver().expect("a place for a receiver");
    receiver.on_peer_death(WhenDead::Wait);
    // SAFETY: whoever started us gave us this life for our own, and here is the only call.
    let mut space = F::space(unsafe { ledger.landing_mut(life) });
    let mut book = Book {
        ledger,
        me: ledger.life(life),
        last: HashMap::new(),
    };
    let mut dice = Dice::new(seed);
    loop {
        for _ in 0..=dice.below(300) {
            let wait = dice.below(3) > 0;
            let by_value = dice.below(4) == 0;
            let take = Take { wait, by_value };
            let taken = match delivery {
                Delivery::AtMostOnce => {
                    F::receive(&mut receiver, take, &mut space).map(|stamp| book.arrival(stamp, 0))
                }
                Delivery::AtLeastOnce => {
                    look::<F, K>(&mut receiver, wait, &mut space, &mut book, &mut dice, 16)
                }
                // Each bars the way until it is found.
                Delivery::DeadLetters => {
                    look::<F, K>(&mut receiver, wait, &mut space, &mut book, &mut dice, 32)
                }
            };
            match taken {
                Ok(()) => {}
                Err(TryRecvError::Empty) => std::thread::yield_now(),
                Err(TryRecvError::Disconnected) => {
                    if !ledger.stopped() {
                        ledger.counts().ended_early.fetch_add(1, Relaxed);
                    }
                    return;
                }
                Err(why) => panic!("receiving: {why:?}"),
            }
        }
        rest(&mut dice);
    }
}

/// Takes a record at least once; one time in so many, gives it back.
fn look<F: Form, K: Protocol>(
    receiver: &mut Receiver<F::Carried, K>,
    wait: bool,
    space: &mut F::Space<'_>,
    book: &mut Book<'_>,
    dice: &mut Dice,
    times: u64,
) -> Result<(), TryRecvError> {
    let peeked = if wait {
        receiver.peek()?
    } else {
        receiver.try_peek()?
    };
    let stamp = F::held(&peeked, space);
    dwell(dice.below(4) == 0);
    if dice.below(times) == 0 {
        // Given back.
        return Ok(());
    }
    book.holds(stamp.map_or(0, |stamp| stamp.message + 1));
    book.arrival(stamp, peeked.tries());
    dwell(dice.below(16) == 0);
    peeked.release();
    book.holds(0);
    Ok(())
}

/// What a receiver notes.
struct Book<'a> {
    ledger: &'a Ledger,
    me: &'a Life,
    /// The last number of each sender.
    last: HashMap<u64, u64>,
}

impl Book<'_> {
    fn holds(&self, what: u64) {
        compiler_fence(SeqCst);
        self.me.holding.store(what, Relaxed);
        compiler_fence(SeqCst);
    }

    /// Notes an arrival. A record that was taken before is out of order, and may have arrived before.
    fn arrival(&mut self, stamp: Option<Stamp>, tries: u64) {
        let counts = self.ledger.counts();
        let Some(stamp) = stamp.filter(|stamp| self.ledger.is_drawn(stamp.message)) else {
            counts.torn.fetch_add(1, Relaxed);
            return;
        };
        let before = self.ledger.arrived(stamp.message);
        self.me.done.fetch_add(1, Relaxed);
        if tries > 0 {
            return;
        }
        if before > 0 {
            counts.unmarked.fetch_add(1, Relaxed);
        }
        let last = self.last.insert(stamp.sender, stamp.number);
        if last.is_some_and(|last| last >= stamp.number) {
            counts.disordered.fetch_add(1, Relaxed);
        }
    }
}
