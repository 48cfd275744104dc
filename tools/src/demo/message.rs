//! What the demonstration sends, and how the receiving end knows that all of it came.

use bytemuck::{Pod, Zeroable};
use std::collections::BTreeSet;
use std::fmt;

/// 64 bytes that leave no doubt whether they arrived whole: every word follows from the sequence
/// number, and no word is the same in two messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Message {
    pub sequence: u64,
    words: [u64; 7],
}

impl Message {
    /// Message number `sequence`.
    #[inline]
    pub fn new(sequence: u64) -> Self {
        // Odd numbers: then a product differs in all those words wherever the sequence differs.
        const FACTORS: [u64; 7] = [
            0x9e37_79b9_7f4a_7c15,
            0xbf58_476d_1ce4_e5b9,
            0x94d0_49bb_1331_11eb,
            0xd6e8_feb8_6659_fd93,
            0xff51_afd7_ed55_8ccd,
            0xc4ce_b9fe_1a85_ec53,
            0xa076_1d64_78bd_642f,
        ];
        Self {
            sequence,
            words: FACTORS.map(|factor| (sequence + 1).wrapping_mul(factor)),
        }
    }

    /// Whether every word is the one that belongs to the sequence number.
    #[inline]
    pub fn is_whole(&self) -> bool {
        *self == Self::new(self.sequence)
    }

    /// This message with its last words from another one: what a copy during a write would see.
    pub fn torn(mut self, other: &Self) -> Self {
        self.words[4..].copy_from_slice(&other.words[4..]);
        self
    }
}

/// Holds what arrives against what was sent: the messages 0, 1, 2, … up to a count.
pub struct Checker {
    count: u64,
    /// The number that is due: one more than the greatest that came.
    due: u64,
    /// Numbers below `due` that have not come.
    missing: BTreeSet<u64>,
    tally: Tally,
}

/// How many messages went wrong, and in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub lost: u64,
    pub doubled: u64,
    pub torn: u64,
    pub out_of_order: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            lost,
            doubled,
            torn,
            out_of_order,
        } = self;
        write!(
            f,
            "{lost} lost, {doubled} doubled, {torn} torn, {out_of_order} out of order"
        )
    }
}

impl Checker {
    /// A checker that expects the messages below `count`.
    pub fn new(count: u64) -> Self {
        Self {
            count,
            due: 0,
            missing: BTreeSet::new(),
            tally: Tally::default(),
        }
    }

    /// Takes note of an arrival. `false`: the message itself is wrong.
    #[inline]
    pub fn check(&mut self, message: &Message) -> bool {
        if *message == Message::new(self.due) && self.due < self.count {
            self.due += 1;
            return true;
        }
        self.note(message)
    }

    #[cold]
    fn note(&mut self, message: &Message) -> bool {
        let sequence = message.sequence;
        if sequence >= self.count || !message.is_whole() {
            self.tally.torn += 1;
            return false;
        }
        if sequence >= self.due {
            self.missing.extend(self.due..sequence);
            self.due = sequence + 1;
        } else if self.missing.remove(&sequence) {
            self.tally.out_of_order += 1;
        } else {
            self.tally.doubled += 1;
        }
        true
    }

    /// The account, now that nothing more comes: an error unless every message came once, whole and
    /// in order.
    pub fn verdict(self) -> Result<(), Tally> {
        let tally = Tally {
            lost: self.missing.len() as u64 + (self.count - self.due),
            ..self.tally
        };
        match tally == Tally::default() {
            true => Ok(()),
            false => Err(tally),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(count: u64, arrivals: impl IntoIterator<Item = Message>) -> Result<(), Tally> {
        let mut checker = Checker::new(count);
        for message in arrivals {
            checker.check(&message);
        }
        checker.verdict()
    }

    fn numbers(sequences: &[u64]) -> impl Iterator<Item = Message> {
        sequences.iter().copied().map(Message::new)
    }

    #[test]
    fn all_in_order_is_right() {
        assert_eq!(verdict(1000, (0..1000).map(Message::new)), Ok(()));
        assert_eq!(verdict(0, []), Ok(()));
    }

    #[test]
    fn every_fault_is_called_by_its_name() {
        let none = Tally::default();
        for (arrivals, expected) in [
            (&[0, 1, 3][..], Tally { lost: 1, ..none }),
            (&[0, 1, 2], Tally { lost: 1, ..none }),
            (&[], Tally { lost: 4, ..none }),
            (&[0, 1, 1, 2, 3], Tally { doubled: 1, ..none }),
            (
                &[0, 2, 1, 3],
                Tally {
                    out_of_order: 1,
                    ..none
                },
            ),
            (
                &[3, 0, 1, 2],
                Tally {
                    out_of_order: 3,
                    ..none
                },
            ),
            (&[0, 1, 2, 3, 4], Tally { torn: 1, ..none }),
        ] {
            assert_eq!(verdict(4, numbers(arrivals)), Err(expected), "{arrivals:?}");
        }
    }

    #[test]
    fn a_torn_message_counts_as_torn_and_its_original_as_lost() {
        let torn = Message::new(1).torn(&Message::new(0));
        let arrivals = [Message::new(0), torn, Message::new(2)];
        let expected = Tally {
            lost: 1,
            torn: 1,
            ..Tally::default()
        };
        assert_eq!(verdict(3, arrivals), Err(expected));
    }

    #[test]
    fn any_flipped_bit_is_seen() {
        let message = Message::new(12345);
        for bit in 0..512 {
            let mut bytes: [u8; 64] = bytemuck::cast(message);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!bytemuck::cast::<_, Message>(bytes).is_whole(), "bit {bit}");
        }
    }
}
