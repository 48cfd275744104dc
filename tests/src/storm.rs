//! Many processes on one ring: 4 senders, 4 receivers, each message exactly once, in the order of its sender at
//! each receiver, and no second in which nobody receives anything.
//!
//! A receiver writes down which messages it got (a bit each) and in which hundredths of a second; whoever
//! started it all puts the notes together ([`Notes::assert_whole`]).

use annulus::{Location, Mpmc, RingOptions};
use nix::time::{ClockId, clock_gettime};
use std::fs;
use std::path::Path;

/// Senders, and receivers.
pub const SIDE: u64 = 4;

/// Milliseconds of a slot.
const SLOT: u64 = 10;

/// The milliseconds of a clock that all processes share.
fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("a clock");
    time.tv_sec() as u64 * 1000 + time.tv_nsec() as u64 / 1_000_000
}

/// Sends `count` messages that say who sent them and their number.
pub fn send(place: &Location, id: u64, count: u64) {
    let ring = RingOptions::new().open::<u64, Mpmc>(place).expect("a ring");
    let mut sender = ring.sender().expect("a sender");
    for number in 0..count {
        sender.send(id << 32 | number).expect("receivers are there");
    }
}

/// Receives until the end, and writes the notes to `file`.
pub fn receive(place: &Location, file: &Path) {
    let ring = RingOptions::new().open::<u64, Mpmc>(place).expect("a ring");
    let mut receiver = ring.receiver().expect("a receiver");
    println!("ready");
    let mut notes = Notes::default();
    for message in receiver.iter() {
        notes.got(message, now());
    }
    fs::write(file, notes.to_bytes()).expect("the notes can be written");
}

/// What was received, by one or by all.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// A bit for each message of each sender.
    messages: [Vec<u64>; SIDE as usize],
    /// One more than the last number of each sender.
    next: [u64; SIDE as usize],
    /// The slots in which something came.
    slots: Vec<u64>,
}

impl Notes {
    /// Notes a message.
    ///
    /// # Panics
    ///
    /// If it came before an earlier one of its sender.
    pub fn got(&mut self, message: u64, time: u64) {
        let (sender, number) = ((message >> 32) as usize, message & 0xffff_ffff);
        let next = &mut self.next[sender];
        assert!(
            number >= *next,
            "sender {sender}'s message {number} came after {}",
            *next - 1
        );
        *next = number + 1;
        let bits = &mut self.messages[sender];
        let word = (number / 64) as usize;
        bits.resize(bits.len().max(word + 1), 0);
        bits[word] |= 1 << (number % 64);
        let slot = time / SLOT;
        if self.slots.last() != Some(&slot) {
            self.slots.push(slot);
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let parts = self.messages.iter().chain([&self.slots]);
        parts
            .flat_map(|words| {
                [words.len() as u64]
                    .into_iter()
                    .chain(words.iter().copied())
            })
            .flat_map(u64::to_le_bytes)
            .collect()
    }

    /// Adds what a receiver wrote.
    ///
    /// # Panics
    ///
    /// If somebody else had received one of its messages.
    pub fn add(&mut self, file: &Path) {
        let bytes = fs::read(file).expect("the receiver wrote its notes");
        let mut words = bytes
            .chunks_exact(8)
            .map(|word| u64::from_le_bytes(word.try_into().expect("8 bytes")));
        let mut part = || {
            let len = words.next().expect("a length") as usize;
            words.by_ref().take(len).collect::<Vec<_>>()
        };
        for (sender, all) in self.messages.iter_mut().enumerate() {
            let more = part();
            all.resize(all.len().max(more.len()), 0);
            for (number, (all, more)) in all.iter_mut().zip(more).enumerate() {
                let twice = *all & more;
                assert!(
                    twice == 0,
                    "sender {sender}'s messages from {} on came twice: {twice:#b}",
                    number * 64
                );
                *all |= more;
            }
        }
        self.slots.extend(part());
    }

    /// Asserts that each of `count` messages of each sender came, and that something came in every second.
    ///
    /// # Panics
    ///
    /// If not.
    pub fn assert_whole(&mut self, count: u64) {
        for (sender, bits) in self.messages.iter().enumerate() {
            let came: u64 = bits.iter().map(|word| u64::from(word.count_ones())).sum();
            assert_eq!(came, count, "messages of sender {sender}");
            assert!(bits.len() as u64 <= count.div_ceil(64));
        }
        self.slots.sort_unstable();
        let longest = self.slots.windows(2).map(|pair| pair[1] - pair[0]).max();
        let stall = longest.unwrap_or(0) * SLOT;
        println!("the longest time without a message: {stall} ms");
        assert!(stall < 1000, "nobody received anything for {stall} ms");
    }
}
