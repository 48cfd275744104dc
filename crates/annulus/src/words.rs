//! Control words: the lap, the state and the owner of a record in one `u64`.

use crate::layout::LEASES;

/// The last field of a control word: the state of its record, or who has it.
pub(crate) mod who {
    /// Senders' word: the record was given up, or fills up to the ring's end. Receivers pass over it.
    pub(crate) const VOID: u64 = 0;
    /// Senders' word: the record is committed.
    pub(crate) const READY: u64 = 1;
    /// Receivers' word: the record is done with.
    pub(crate) const DONE: u64 = 0;
    /// Receivers' word: the record was taken and came back.
    pub(crate) const AGAIN: u64 = 1;
    /// Receivers' word: the record came back too often. It is there for whoever drains dead letters.
    pub(crate) const DEAD: u64 = 2;
    /// The first owner. `who - OWNER` is the number of the lease that claimed (senders' word: BUSY) or took
    /// (receivers' word: TAKEN) the record.
    pub(crate) const OWNER: u64 = 8;
    /// Bits of the field.
    pub(crate) const BITS: u32 = 10;
}

const _: () = assert!(LEASES as u64 + who::OWNER <= 1 << who::BITS);

/// Where a word stands relative to a position of the same index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    /// It speaks of an earlier lap: nothing has happened here in the position's lap yet.
    Older,
    /// It speaks of the position itself.
    Current,
    /// It speaks of a later lap: the position is out of date.
    Newer,
}

/// How control words are written and read: for a ring of 2^n units,
///
/// ```text
/// 63            10 + n 9 + n      10 9      0
/// | lap: 54 - n bits  | low: n bits | who: 10 |
/// ```
///
/// `low` is, in the senders' word, the number of cells of the record, and in the receivers' too when it is DONE; else
/// the number of times that it came back. Lap and low together are 54 bits, so a word recurs after 2^54 cells,
/// whatever the size of the ring: at 150 million cells a second, after 3.8 years. Laps are compared
/// modulo their width; a word may lie untouched for half of that.
///
/// A position shifted by `who`'s width has its lap where the word's lap is, so both are compared without taking the lap out.
#[derive(Clone, Copy)]
pub(crate) struct Words {
    /// The greatest index.
    mask: u64,
    /// The bits of the lap.
    lap: u64,
}

impl Words {
    #[inline]
    pub(crate) fn new(units: u64) -> Self {
        let mask = units - 1;
        Self {
            mask,
            lap: !mask << who::BITS,
        }
    }

    /// The word that says `who` of the record at `position`.
    #[inline]
    pub(crate) fn word(self, position: u64, low: u64, who: u64) -> u64 {
        position << who::BITS & self.lap | low << who::BITS | who
    }

    /// Where `word` stands relative to `position`, whose index it has.
    #[inline]
    pub(crate) fn age(self, word: u64, position: u64) -> Age {
        let ahead = (word & self.lap).wrapping_sub(position << who::BITS & self.lap);
        match ahead as i64 {
            0 => Age::Current,
            ..0 => Age::Older,
            1.. => Age::Newer,
        }
    }

    /// Cells of the record, or the times that it came back.
    #[inline]
    pub(crate) fn low(self, word: u64) -> u64 {
        (word >> who::BITS) & self.mask
    }

    /// The state, or the owner.
    #[inline]
    pub(crate) fn who(self, word: u64) -> u64 {
        word & ((1 << who::BITS) - 1)
    }

    /// The greatest `low`.
    #[inline]
    pub(crate) fn max_low(self) -> u64 {
        self.mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_gives_back_what_was_put_in() {
        for bits in [6, 10, 20, 40] {
            let words = Words::new(1 << bits);
            for position in [0, 1 << bits, (1 << bits) * 3 + 5, u64::MAX - 7] {
                let word = words.word(position, 5, 100);
                assert_eq!((words.low(word), words.who(word)), (5, 100));
                assert_eq!(words.age(word, position), Age::Current);
                assert_eq!(
                    words.age(word, position.wrapping_add(1 << bits)),
                    Age::Older
                );
                assert_eq!(
                    words.age(word, position.wrapping_sub(1 << bits)),
                    Age::Newer
                );
            }
        }
    }

    #[test]
    fn a_lap_compares_across_its_wrap() {
        let words = Words::new(64);
        // Laps of a ring of 64 cells have 48 bits, so they wrap after 2^54 positions.
        let last = (1 << 54) - 64;
        let word = words.word(last, 1, who::READY);
        assert_eq!(words.age(word, last), Age::Current);
        assert_eq!(words.age(word, last + 64), Age::Older);
        assert_eq!(
            words.age(words.word(last + 64, 1, who::READY), last),
            Age::Newer
        );
    }
}
