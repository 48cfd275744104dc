//! What the messages of a storm look like: three words that say which one it is, and then bytes that follow from
//! them, so that a torn message shows itself.

use super::ledger::WORDS;

/// The bytes that say which message it is.
const HEAD: usize = 24;

/// The longest byte record.
const LONGEST: u64 = 900;

/// Which message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Its number in the whole storm.
    pub message: u64,
    /// The life that sent it.
    pub sender: u64,
    /// Its number among those of the same sender.
    pub number: u64,
}

/// A generator of numbers that follow from a seed: Steele's SplitMix64.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Begins with a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// The next number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }
}

impl Stamp {
    fn dice(self) -> Dice {
        let mix = self.message ^ self.sender.rotate_left(24) ^ self.number.rotate_left(48);
        Dice::new(mix)
    }

    /// The typed message.
    pub fn to_words(self) -> [u64; WORDS] {
        let mut dice = self.dice();
        let mut words = [0; WORDS];
        words[..3].copy_from_slice(&[self.message, self.sender, self.number]);
        words[3..].fill_with(|| dice.roll());
        words
    }

    /// What a typed message says, if it is whole.
    pub fn of_words(words: &[u64; WORDS]) -> Option<Self> {
        let [message, sender, number, ..] = *words;
        let stamp = Self {
            message,
            sender,
            number,
        };
        (stamp.to_words() == *words).then_some(stamp)
    }

    /// The byte record.
    pub fn to_bytes(self, record: &mut Vec<u8>) {
        let mut dice = self.dice();
        record.clear();
        for word in [self.message, self.sender, self.number] {
            record.extend_from_slice(&word.to_le_bytes());
        }
        // Most are short, so that many are in the ring at once.
        let most = if dice.below(8) == 0 { LONGEST } else { 80 };
        let len = HEAD + dice.below(most) as usize;
        while record.len() < len {
            record.extend_from_slice(&dice.roll().to_le_bytes());
        }
        record.truncate(len);
    }

    /// What a byte record says, if it is whole. `space` is working space.
    pub fn of_bytes(record: &[u8], space: &mut Vec<u8>) -> Option<Self> {
        let word = |index: usize| {
            let bytes = record.get(8 * index..8 * index + 8)?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        let stamp = Self {
            message: word(0)?,
            sender: word(1)?,
            number: word(2)?,
        };
        stamp.to_bytes(space);
        (space == record).then_some(stamp)
    }
}
