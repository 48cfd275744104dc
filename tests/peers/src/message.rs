//! What is sent: 64 bytes that say who they are, so that a torn one is noticed.

/// A message, as every peer takes it.
pub type Message = [u64; 8];

/// The number of a message that is none.
pub const TORN: u64 = u64::MAX;

/// The other words follow from the number.
fn word(number: u64, at: u64) -> u64 {
    (number + 1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(at as u32 * 7)
        ^ at
}

/// The message with this number.
pub fn message(number: u64) -> Message {
    std::array::from_fn(|at| match at {
        0 => number,
        at => word(number, at as u64),
    })
}

/// The number of a message, or [`TORN`].
pub fn number(message: &Message) -> u64 {
    let number = message[0];
    let whole =
        number != TORN && (1..message.len()).all(|at| message[at] == word(number, at as u64));
    if whole { number } else { TORN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_known_and_a_mixture_is_torn() {
        assert_eq!(number(&message(7)), 7);
        for at in 0..8 {
            let mut mixed = message(7);
            mixed[at] = message(8)[at];
            assert_eq!(number(&mixed), TORN, "word {at}");
        }
    }
}
