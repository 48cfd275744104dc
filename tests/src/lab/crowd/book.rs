//! What everybody on a crowded ring did, written outside of it: in words that the supervisor shares with all whom it forks.
//!
//! Each handle has a [`Log`] that it alone writes: how many records it sent, which are then its first so many, and each
//! record that it received. Nobody who keeps one is killed, so what it says is exact.

use crate::lab::page::Page;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Logs in a book.
pub const LOGS: usize = 7;

/// Words of a log. The book's own words have as many.
const EACH: usize = 1 << 15;

/// Instructions that the victim has executed: the crowd's clock.
const CLOCK: usize = 0;
/// Whether the crowd is to end.
const STOP: usize = 1;
/// Handles that have come.
const READY: usize = 2;

/// Words of a log: records sent.
const SENT: usize = 0;
/// Records received.
const RECEIVED: usize = 1;
/// Where the first record that was received stands, with its tries in the bits from `TRIES` on.
const FIRST: usize = 2;
const TRIES: u32 = 56;

/// On the clock, when the crowd is to work as fast as it can.
const FREE: u64 = 1 << 32;

/// Records that a handle may receive before that, so that there is room left for those after it.
const MOST: u64 = 3 << 13;

/// The words of all.
#[derive(Debug, Default)]
pub struct Book(Page<{ (LOGS + 1) * EACH }>);

impl Book {
    /// Forgets everything.
    pub fn begin(&self) {
        self[CLOCK].store(0, Relaxed);
        self[STOP].store(0, Relaxed);
        self[READY].store(0, Relaxed);
        for log in self.logs() {
            log.words[SENT].store(0, Relaxed);
            log.words[RECEIVED].store(0, Relaxed);
        }
    }

    /// The log of this number.
    pub fn log(&self, number: usize) -> Log<'_> {
        let begin = (number + 1) * EACH;
        Log {
            words: &self.0[begin..begin + EACH],
        }
    }

    /// All of them.
    pub fn logs(&self) -> impl Iterator<Item = Log<'_>> {
        (0..LOGS).map(|number| self.log(number))
    }

    /// The victim has gone on.
    pub fn tick(&self) {
        self[CLOCK].fetch_add(1, Relaxed);
    }

    /// From now on the crowd works as fast as it can.
    pub fn set_free(&self) {
        self[CLOCK].store(FREE, Relaxed);
    }

    /// The clock.
    pub fn clock(&self) -> u64 {
        self[CLOCK].load(Relaxed)
    }

    /// The crowd is to end.
    pub fn stop(&self) {
        self[STOP].store(1, Relaxed);
    }

    /// Whether the crowd is to end.
    pub fn stopped(&self) -> bool {
        self[STOP].load(Relaxed) != 0
    }

    /// Another handle has come.
    pub fn arrive(&self) {
        self[READY].fetch_add(1, Relaxed);
    }

    /// How many have.
    pub fn arrived(&self) -> u64 {
        self[READY].load(Relaxed)
    }

    /// Records sent, and received, by all.
    pub fn totals(&self) -> [u64; 2] {
        let sum = |word: usize| self.logs().map(|log| log.words[word].load(Relaxed)).sum();
        [sum(SENT), sum(RECEIVED)]
    }

    /// Whether a handle may go on, by what stands in its log.
    pub fn has_room(&self, log: Log<'_>) -> bool {
        let most = if self.clock() >= FREE {
            (EACH - FIRST - crate::lab::form::BATCH) as u64
        } else {
            MOST
        };
        log.words[RECEIVED].load(Relaxed) < most
    }
}

impl std::ops::Deref for Book {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        &self.0[..EACH]
    }
}

/// What one handle did.
#[derive(Clone, Copy, Debug)]
pub struct Log<'a> {
    words: &'a [AtomicU64],
}

impl Log<'_> {
    /// Records sent.
    pub fn sent(&self) -> u64 {
        self.words[SENT].load(Relaxed)
    }

    /// More were sent.
    pub fn add_sent(&self, count: u64) {
        self.words[SENT].store(self.sent() + count, Relaxed);
    }

    /// A record was received, which had come back so often.
    pub fn note(&self, number: u64, tries: u64) {
        let count = self.words[RECEIVED].load(Relaxed);
        self.words[FIRST + count as usize].store(number | tries << TRIES, Relaxed);
        self.words[RECEIVED].store(count + 1, Relaxed);
    }

    /// The records received, in order, and their tries.
    pub fn received(&self) -> impl Iterator<Item = (u64, u64)> {
        let count = self.words[RECEIVED].load(Relaxed) as usize;
        let words = self.words[FIRST..FIRST + count].iter();
        words.map(|word| {
            let word = word.load(Relaxed);
            (word & ((1 << TRIES) - 1), word >> TRIES)
        })
    }
}
