//! What is sent: words that all follow from the message's number, so that the receiver can tell every byte of it.

use bytemuck::Pod;
use std::fmt::Debug;

/// Set in the number of a stream's last message.
pub const LAST: u64 = 1 << 63;

/// A message of a fixed size.
pub trait Message: Pod + Debug + PartialEq + Send + Sync {
    /// Its size in bytes.
    const SIZE: usize = size_of::<Self>();

    /// The message of this number.
    fn new(number: u64) -> Self;

    /// Its number, by its first word.
    fn number(&self) -> u64;

    /// Whether every byte is that of this number's message.
    fn is(&self, number: u64) -> bool;
}

/// A message of `8 * N` bytes: word `i` is the number plus `i`, so no two words of a message are the same, nor the same
/// words of two messages.
pub type Words<const N: usize> = [u64; N];

impl<const N: usize> Message for Words<N> {
    #[inline(always)]
    fn new(number: u64) -> Self {
        std::array::from_fn(|at| number.wrapping_add(at as u64))
    }

    #[inline(always)]
    fn number(&self) -> u64 {
        self[0]
    }

    #[inline(always)]
    fn is(&self, number: u64) -> bool {
        // Without an early exit, so that it is done by vectors.
        let differences = self.iter().enumerate().fold(0, |found, (at, word)| {
            found | (word ^ number.wrapping_add(at as u64))
        });
        differences == 0
    }
}

/// Why a message is not the expected one.
#[cold]
pub fn wrong<M: Message>(found: &M, expected: u64) -> String {
    let bytes = bytemuck::bytes_of(found);
    let right = M::new(expected);
    let at = bytes
        .iter()
        .zip(bytemuck::bytes_of(&right))
        .position(|(found, right)| found != right)
        .unwrap_or(0);
    format!(
        "message {expected} of {} bytes is wrong from byte {at} on: its first word is {:#x}",
        M::SIZE,
        found.number()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_counts() {
        let right = Words::<4>::new(7);
        assert!(right.is(7) && !right.is(8) && !right.is(7 | LAST));
        for bit in 0..256 {
            let mut wrong = right;
            wrong[bit / 64] ^= 1 << (bit % 64);
            assert!(!wrong.is(7), "bit {bit}");
        }
    }
}
