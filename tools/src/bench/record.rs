//! What is sent, and how the receiver knows that all of it came.
//!
//! ```text
//! word 0        what the record is for, and its sequence number
//! word 1        when it was due, in nanoseconds of the monotonic clock; or a count
//! …             bytes that follow from the sequence number
//! last word     the checksum of words 0 and 1, in records of 24 bytes and more
//! ```
//!
//! The bytes between are one of a few bodies made beforehand, so that making and checking them costs a copy and a
//! comparison: less than computing a checksum over them, and nothing that differs escapes it. Their number is prime, and
//! no channel's number of places is a multiple of it, so what an earlier lap left in a place is another body. The last
//! word would still tell it.

use nix::time::{ClockId, clock_gettime};

/// The least size of a record.
pub const LEAST: usize = HEAD;

const HEAD: usize = 16;
const TAIL: usize = 8;

/// What a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Use {
    /// Is anybody there? Answered.
    Hello,
    /// The answer to `Hello` and `End`, and the receipt of the sequence number.
    Answer,
    /// To be sent back as it is.
    Echo,
    /// To be checked, before the clock runs.
    Warm,
    /// To be checked and counted.
    Count,
    /// To be checked and timed.
    Timed,
    /// A part is over. Answered.
    End,
    /// All is over.
    Bye,
}

impl Use {
    const ALL: [Self; 8] = [
        Self::Hello,
        Self::Answer,
        Self::Echo,
        Self::Warm,
        Self::Count,
        Self::Timed,
        Self::End,
        Self::Bye,
    ];

    /// Whether it is a whole record of the size that is measured, and not a mere word between the two ends.
    pub fn is_payload(self) -> bool {
        matches!(self, Self::Echo | Self::Warm | Self::Count | Self::Timed)
    }
}

/// What a record says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub what: Use,
    /// Less than 2^56.
    pub sequence: u64,
    pub stamp: u64,
}

impl Head {
    fn words(self) -> [u64; 2] {
        [((self.what as u64) << 56) | self.sequence, self.stamp]
    }

    /// A record without a body.
    pub fn to_bytes(self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        self.write(&mut bytes);
        bytes
    }

    fn write(self, record: &mut [u8]) {
        let [first, second] = self.words();
        record[..8].copy_from_slice(&first.to_le_bytes());
        record[8..HEAD].copy_from_slice(&second.to_le_bytes());
    }

    /// Reads the beginning of a record.
    pub fn read(record: &[u8]) -> Result<Self, String> {
        let (Some(first), Some(stamp)) = (word(record, 0), word(record, 8)) else {
            return Err(format!(
                "a record of {} bytes came, which nobody sent",
                record.len()
            ));
        };
        let what = Use::ALL
            .get((first >> 56) as usize)
            .ok_or("a record came that begins with a wrong byte")?;
        Ok(Self {
            what: *what,
            sequence: first & ((1 << 56) - 1),
            stamp,
        })
    }

    fn checksum(self) -> u64 {
        let [first, second] = self.words();
        let mixed = (first ^ second.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    }
}

fn word(record: &[u8], at: usize) -> Option<u64> {
    let bytes = record.get(at..at + 8)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// Makes records of one size, and checks them.
pub struct Records {
    size: usize,
    bodies: Vec<Vec<u8>>,
}

impl Records {
    pub fn new(size: usize) -> Self {
        let count = if size <= 4096 { 13 } else { 5 };
        let body = |seed: u64| {
            let mut state = seed.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1;
            let mut next = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 32) as u8
            };
            (0..size).map(|_| next()).collect()
        };
        Self {
            size,
            bodies: (1..=count).map(body).collect(),
        }
    }

    fn body_of(&self, sequence: u64) -> usize {
        (sequence % self.bodies.len() as u64) as usize
    }

    /// The record with this head. It is written over when the next one is made.
    #[inline]
    pub fn make(&mut self, head: Head) -> &mut [u8] {
        let body = self.body_of(head.sequence);
        let record = &mut self.bodies[body];
        head.write(record);
        if self.size >= HEAD + TAIL {
            let at = self.size - TAIL;
            record[at..].copy_from_slice(&head.checksum().to_le_bytes());
        }
        record
    }

    /// Whether a record that says of itself `head` is whole.
    #[inline]
    pub fn check(&self, head: Head, record: &[u8]) -> Result<(), String> {
        if record.len() != self.size {
            return Err(format!(
                "record {} has {} bytes, sent with {}",
                head.sequence,
                record.len(),
                self.size
            ));
        }
        let end = match self.size >= HEAD + TAIL {
            true => self.size - TAIL,
            false => self.size,
        };
        let body = &self.bodies[self.body_of(head.sequence)];
        let same = record[HEAD..end] == body[HEAD..end];
        let sum = end == self.size || word(record, end) == Some(head.checksum());
        match same && sum {
            true => Ok(()),
            false => Err(self.wrong(head, record, end)),
        }
    }

    #[cold]
    fn wrong(&self, head: Head, record: &[u8], end: usize) -> String {
        let body = &self.bodies[self.body_of(head.sequence)];
        let at = (HEAD..end).find(|&at| record[at] != body[at]);
        match at {
            Some(at) => format!("record {} is wrong from byte {at} on", head.sequence),
            None => format!("record {} has a wrong checksum", head.sequence),
        }
    }
}

/// The sequence numbers as they come.
#[derive(Default)]
pub struct Sequence {
    next: u64,
    pub lost: u64,
}

impl Sequence {
    /// Whether this number has not come yet.
    pub fn is_due(&self, number: u64) -> bool {
        number >= self.next
    }

    /// Takes note of a number: of the next one, or where records may be lost of a later one.
    #[inline]
    pub fn take(&mut self, number: u64, lossy: bool) -> Result<(), String> {
        if number != self.next {
            if !lossy || number < self.next {
                return Err(format!("record {number} came, expected {}", self.next));
            }
            self.lost += number - self.next;
        }
        self.next = number + 1;
        Ok(())
    }
}

/// Nanoseconds of the clock that all processes of the machine share.
#[inline]
pub fn now() -> u64 {
    // The monotonic clock cannot be refused.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| {
        time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Head = Head {
        what: Use::Count,
        sequence: 77,
        stamp: 123_456_789,
    };

    #[test]
    fn a_record_is_what_was_made() {
        for size in [16, 17, 23, 24, 25, 64, 1024, 65536] {
            let mut records = Records::new(size);
            let record = records.make(HEADER).to_vec();
            assert_eq!(record.len(), size);
            assert_eq!(Head::read(&record), Ok(HEADER));
            assert_eq!(Records::new(size).check(HEADER, &record), Ok(()));
        }
        assert_eq!(Head::read(&HEADER.to_bytes()), Ok(HEADER));
    }

    #[test]
    fn any_flipped_bit_is_seen() {
        for size in [24, 64, 200] {
            let mut records = Records::new(size);
            let record = records.make(HEADER).to_vec();
            for bit in 0..8 * size {
                let mut flipped = record.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let seen = match Head::read(&flipped) {
                    Ok(head) => records.check(head, &flipped).is_err(),
                    Err(_) => true,
                };
                assert!(seen, "bit {bit} of {size} bytes");
            }
        }
    }

    #[test]
    fn what_is_missing_or_doubled_is_seen() {
        let mut all = Sequence::default();
        assert!((0..3).all(|number| all.take(number, false).is_ok()));
        assert!(all.take(4, false).is_err());
        assert!(all.take(2, true).is_err());
        assert!(all.take(5, true).is_ok());
        assert_eq!(all.lost, 2);
    }
}
