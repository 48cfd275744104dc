//! What a ring does, said again in the simplest way: one thread, a bounded buffer with a slot for each unit,
//! and no shared memory. Property tests do the same to a ring and to this, and compare.
//!
//! A record takes one or more slots, the first of which holds it. Space is given back in order, so an entry
//! goes when it is done and all before it have gone.

use crate::textbook::Buffer;
use std::fmt::Debug;

/// A record's bytes. Printed by its length and its first bytes.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Record(pub Vec<u8>);

impl Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = &self.0[..self.0.len().min(8)];
        write!(f, "{} bytes {shown:?}", self.0.len())
    }
}

impl std::ops::Deref for Record {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

/// Why nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum No {
    /// No room.
    Full,
    /// No record.
    Empty,
    /// Longer than the ring can carry.
    TooLarge,
}

/// How a reservation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By a commit, or a release.
    Done,
    /// The guard is dropped.
    Dropped,
    /// The guard is leaked; the next operation of its handle cleans up.
    Leaked,
}

/// The numbers that the ring under test has.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Units of the payload area, a power of two.
    pub units: u64,
    /// How many of them may be in use.
    pub room: u64,
    /// Bytes of a unit, where records are byte strings; nothing where each record is one unit.
    pub bytes_of_a_unit: Option<u64>,
    /// Several may send, so a claim shows before its commit.
    pub many_senders: bool,
    /// Receivers take records one by one, so one may be held while those behind it are taken.
    pub receiver_words: bool,
    /// Receivers wait for an earlier claim.
    pub total_order: bool,
    /// The first position.
    pub start: u64,
    /// The longest record.
    pub max_record: usize,
}

impl Rules {
    fn units_of(&self, len: usize) -> u64 {
        match self.bytes_of_a_unit {
            Some(bytes) => (len as u64 + 8).div_ceil(bytes),
            None => 1,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Claimed by this sender, not committed.
    Open(usize),
    Ready,
    /// Given up, or filling up to the ring's end.
    Void,
    /// Held by this receiver.
    Taken(usize),
    Done,
}

#[derive(Debug)]
struct Entry {
    state: State,
    units: u64,
    record: Record,
    tries: u64,
}

/// A slot of the buffer; `None` continues the entry before it.
#[derive(Debug)]
pub struct Slot(Option<Entry>);

/// How often a record came back, one more time: beyond 63 the count goes on from 32.
fn again(tries: u64) -> u64 {
    if tries < 63 { tries + 1 } else { 32 }
}

/// The reference, on one kind of buffer.
#[derive(Debug)]
pub struct Model<B> {
    rules: Rules,
    buffer: B,
    tail: u64,
}

impl<B: Buffer<Slot>> Model<B> {
    /// An empty ring.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            buffer: B::with_room_for(rules.room as usize),
            tail: rules.start,
        }
    }

    /// Units in use.
    pub fn in_use(&self) -> usize {
        self.buffer.len()
    }

    /// Sends one record.
    pub fn send(&mut self, sender: usize, record: &[u8]) -> Result<(), No> {
        self.send_batch(sender, &[Record(record.to_vec())])
            .map(drop)
    }

    /// Sends as many records as there is room for, in one publication.
    pub fn send_batch(&mut self, sender: usize, records: &[Record]) -> Result<usize, No> {
        let fits = |record: &&Record| record.len() <= self.rules.max_record;
        if records.first().is_some_and(|first| !fits(&first)) {
            return Err(No::TooLarge);
        }
        let records: Vec<&Record> = records.iter().take_while(fits).collect();
        self.settle_sender(sender);
        let Some(first) = records.first() else {
            return Ok(0);
        };
        let least = self.rules.units_of(first.len());
        let most = records.iter().map(|r| self.rules.units_of(r.len())).sum();
        let (pad, mut left) = self.claim(least, most)?;
        self.push(State::Void, pad, &[]);
        let mut sent = 0;
        for record in records {
            let units = self.rules.units_of(record.len());
            if units > left {
                break;
            }
            self.push(State::Ready, units, record);
            left -= units;
            sent += 1;
        }
        if self.rules.many_senders {
            self.push(State::Void, left, &[]);
        }
        Ok(sent)
    }

    /// Reserves room for `asked` bytes, of which `record` is then written.
    pub fn reserve(
        &mut self,
        sender: usize,
        asked: usize,
        record: &[u8],
        ending: Ending,
    ) -> Result<(), No> {
        if asked > self.rules.max_record {
            return Err(No::TooLarge);
        }
        self.settle_sender(sender);
        let units = self.rules.units_of(asked);
        let (pad, units) = self.claim(units, units)?;
        let used = self.rules.units_of(record.len());
        let many = self.rules.many_senders;
        // What a single sender did not commit never happened.
        if many || ending == Ending::Done {
            self.push(State::Void, pad, &[]);
        }
        match ending {
            Ending::Done => {
                self.push(State::Ready, used, record);
                if many {
                    self.push(State::Void, units - used, &[]);
                }
            }
            Ending::Dropped if many => self.push(State::Void, units, &[]),
            Ending::Leaked if many => self.push(State::Open(sender), units, &[]),
            Ending::Dropped | Ending::Leaked => {}
        }
        Ok(())
    }

    /// Receives one record.
    pub fn recv(&mut self, receiver: usize) -> Result<Record, No> {
        self.settle_receiver(receiver);
        let at = self.look().ok_or(No::Empty)?;
        let entry = self.entry(at);
        entry.state = State::Done;
        let record = std::mem::take(&mut entry.record);
        self.reclaim();
        Ok(record)
    }

    /// Receives at most `max` records.
    pub fn recv_batch(&mut self, receiver: usize, max: usize) -> Vec<Record> {
        (0..max).map_while(|_| self.recv(receiver).ok()).collect()
    }

    /// Looks at a record, and how often it came back.
    pub fn peek(&mut self, receiver: usize, ending: Ending) -> Result<(Record, u64), No> {
        self.settle_receiver(receiver);
        let at = self.look().ok_or(No::Empty)?;
        let words = self.rules.receiver_words;
        let entry = self.entry(at);
        let seen = (entry.record.clone(), entry.tries);
        match ending {
            Ending::Done => entry.state = State::Done,
            Ending::Dropped if words => entry.tries = again(entry.tries),
            Ending::Leaked if words => entry.state = State::Taken(receiver),
            // Nothing was written, so nothing comes back.
            Ending::Dropped | Ending::Leaked => {}
        }
        self.reclaim();
        Ok(seen)
    }

    /// What a sender's next operation does first, and its close: gives up a claim whose guard was leaked.
    pub fn settle_sender(&mut self, sender: usize) {
        for at in 0..self.buffer.len() {
            if let Some(entry) = self.try_entry(at)
                && entry.state == State::Open(sender)
            {
                entry.state = State::Void;
            }
        }
    }

    /// What a receiver's next operation does first, and its close: puts back what it had taken.
    pub fn settle_receiver(&mut self, receiver: usize) {
        for at in 0..self.buffer.len() {
            if let Some(entry) = self.try_entry(at)
                && entry.state == State::Taken(receiver)
            {
                entry.state = State::Ready;
                entry.tries = again(entry.tries);
            }
        }
    }

    /// Room for `min` to `max` units: filling up to the ring's end, and units after it.
    fn claim(&self, min: u64, max: u64) -> Result<(u64, u64), No> {
        let rules = &self.rules;
        let contiguous = rules.bytes_of_a_unit.is_some();
        let to_end = rules.units - self.tail % rules.units;
        let pad = if contiguous && min > to_end {
            to_end
        } else {
            0
        };
        let room = rules.room - self.buffer.len() as u64;
        if room < pad + min {
            return Err(No::Full);
        }
        let mut units = max.min(room - pad);
        if contiguous && pad == 0 {
            units = units.min(to_end);
        }
        if rules.many_senders {
            // A control word has no space for as many cells as there are.
            units = units.min(rules.units - 1);
        }
        Ok((pad, units))
    }

    fn push(&mut self, state: State, units: u64, record: &[u8]) {
        for number in 0..units {
            let entry = (number == 0).then(|| Entry {
                state,
                units,
                record: Record(record.to_vec()),
                tries: 0,
            });
            self.buffer.put(Slot(entry)).expect("room was claimed");
        }
        self.tail = self.tail.wrapping_add(units);
    }

    fn try_entry(&mut self, at: usize) -> Option<&mut Entry> {
        self.buffer.at(at)?.0.as_mut()
    }

    fn entry(&mut self, at: usize) -> &mut Entry {
        self.try_entry(at).expect("an entry begins here")
    }

    /// The first record that nobody has. What was given up before it is done with.
    fn look(&mut self) -> Option<usize> {
        let (words, total) = (self.rules.receiver_words, self.rules.total_order);
        let mut at = 0;
        while at < self.buffer.len() {
            let entry = self.entry(at);
            let units = entry.units as usize;
            match entry.state {
                State::Ready => return Some(at),
                State::Open(_) if total => break,
                State::Void => entry.state = State::Done,
                State::Open(_) | State::Taken(_) | State::Done => {}
            }
            at += units;
            if !words {
                self.reclaim();
                at = 0;
            }
        }
        self.reclaim();
        None
    }

    /// Gives back the space of what is done, in order.
    fn reclaim(&mut self) {
        while let Some(entry) = self.try_entry(0) {
            if entry.state != State::Done {
                return;
            }
            for _ in 0..entry.units {
                self.buffer.take();
            }
        }
    }
}
