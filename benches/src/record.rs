//! Byte records, and how the receiver knows that they are right.
//!
//! Making a record must cost little next to sending it. So the bytes come from a pool that both sides make alike, and
//! only the record's number is put in: at its start, and in longer records at the start of every 4 KiB, so that no page
//! of an older record passes for one of this.

use crate::message::LAST;

/// Distance of the numbers in a record.
const PAGE: usize = 4096;

/// Records in the pool, if they are short, and if they are long.
const SHORT: usize = 64;
const LONG: usize = 2;

/// Records from `LEAST` to `MOST` bytes, all lengths equally often. Both sides have one.
pub struct Pool<const LEAST: usize, const MOST: usize> {
    records: Vec<Vec<u8>>,
    /// The sum of each record's words, without the numbers; of long records only.
    sums: Vec<u64>,
}

impl<const LEAST: usize, const MOST: usize> Default for Pool<LEAST, MOST> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const LEAST: usize, const MOST: usize> Pool<LEAST, MOST> {
    /// A pool, always the same.
    pub fn new() -> Self {
        let count = if MOST > PAGE { LONG } else { SHORT };
        let byte = |record: usize, at: usize| (mix((record * MOST + at) as u64) >> 56) as u8;
        let mut records: Vec<Vec<u8>> = (0..count)
            .map(|record| (0..MOST).map(|at| byte(record, at)).collect())
            .collect();
        for record in &mut records {
            number(record, 0);
        }
        Self {
            sums: records.iter().map(|record| sum(record)).collect(),
            records,
        }
    }

    /// How long the record of this number is.
    #[inline(always)]
    pub fn len(&self, number: u64) -> usize {
        let lengths = (MOST - LEAST + 1) as u64;
        let drawn = mix(number & !LAST) >> 32;
        LEAST + ((drawn * lengths) >> 32) as usize
    }

    /// The record of this number.
    #[inline(always)]
    pub fn make(&mut self, of: u64) -> &mut [u8] {
        let len = self.len(of);
        let count = self.records.len();
        let record = &mut self.records[of as usize % count][..len];
        number(record, of);
        record
    }

    /// Whether every byte is that of this number's record.
    #[inline(always)]
    pub fn is(&self, of: u64, found: &[u8]) -> bool {
        if found.len() != self.len(of) || read(found, 0) != of {
            return false;
        }
        let which = of as usize % self.records.len();
        if MOST > PAGE && LEAST == MOST {
            // A comparison would read twice as much; a sum reads every byte of what came, and no more.
            let pages = found.len().div_ceil(PAGE) as u64;
            let numbers = (0..found.len())
                .step_by(PAGE)
                .all(|at| read(found, at) == of);
            return numbers && sum(found) == self.sums[which].wrapping_add(of.wrapping_mul(pages));
        }
        found[8..] == self.records[which][8..found.len()]
    }
}

/// Puts a record's number into it.
#[inline(always)]
fn number(record: &mut [u8], number: u64) {
    for page in record.chunks_mut(PAGE) {
        if let Some(place) = page.first_chunk_mut() {
            *place = number.to_le_bytes();
        }
    }
}

#[inline(always)]
fn read(record: &[u8], at: usize) -> u64 {
    record[at..]
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The sum of all whole words.
#[inline(always)]
fn sum(record: &[u8]) -> u64 {
    let (words, _) = record.as_chunks();
    words.iter().fold(0, |sum: u64, word| {
        sum.wrapping_add(u64::from_le_bytes(*word))
    })
}

/// Spreads a number over 64 bits (the finaliser of SplitMix64, Steele and others, 2014).
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_bit_counts<const LEAST: usize, const MOST: usize>() {
        let mut pool = Pool::<LEAST, MOST>::new();
        let check = Pool::<LEAST, MOST>::new();
        for of in [5, 6, 7 | LAST] {
            let right = pool.make(of).to_vec();
            assert!(check.is(of, &right) && !check.is(of + 1, &right));
            for at in (0..right.len()).step_by(1 + right.len() / 500) {
                let mut wrong = right.clone();
                wrong[at] ^= 0x10;
                assert!(!check.is(of, &wrong), "byte {at} of {}", right.len());
            }
            assert!(!check.is(of, &right[..right.len() - 1]));
        }
    }

    #[test]
    fn every_bit_of_a_record_counts() {
        every_bit_counts::<16, 256>();
        every_bit_counts::<1024, 1024>();
        every_bit_counts::<65536, 65536>();
    }

    #[test]
    fn all_lengths_come() {
        let pool = Pool::<16, 256>::new();
        let mut seen = [0; 257];
        for number in 0..100_000 {
            seen[pool.len(number)] += 1;
        }
        assert!(seen[..16].iter().all(|&count| count == 0));
        assert!(seen[16..].iter().all(|&count| count > 300));
    }
}
