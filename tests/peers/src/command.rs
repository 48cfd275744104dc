//! What a survivor is told, and how it goes through a pipe.

/// When sending begins, and whether a sender to a queue that overwrites waits for its receivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Now; it waits.
    Now,
    /// Once the victim has its handle; it does not wait.
    Attached,
    /// Once the victim has done its first operations; it does not wait.
    Warm,
}

/// What a survivor may be told.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    /// Open the queue, or create it.
    Open { create: bool },
    /// As [`Open`](Self::Open), once the victim has its handle.
    OpenAfterVictim,
    /// Send these messages, not before that.
    Send { first: u64, count: u64, when: When },
    /// Receive so many, and wait until so many sends have returned.
    Receive { count: u64, sent: u64 },
    /// Receive until the supervisor has seen enough.
    Drain,
    /// Send as much as there is room for, these and the following.
    TopUp { first: u64 },
    /// Do what the documentation offers to survivors.
    Recover,
    /// Give the handle back, and end.
    End,
}

/// A command as bytes: what, and three numbers.
pub type Wire = [u64; 4];

/// To the pipe.
pub fn encode(command: Command) -> [u8; size_of::<Wire>()] {
    let words: Wire = match command {
        Command::Open { create } => [0, u64::from(create), 0, 0],
        Command::OpenAfterVictim => [1, 0, 0, 0],
        Command::Send { first, count, when } => [2, first, count, when as u64],
        Command::Receive { count, sent } => [3, count, sent, 0],
        Command::Drain => [4, 0, 0, 0],
        Command::TopUp { first } => [5, first, 0, 0],
        Command::Recover => [6, 0, 0, 0],
        Command::End => [7, 0, 0, 0],
    };
    let mut bytes = [0; size_of::<Wire>()];
    for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

/// From the pipe.
pub fn decode(bytes: [u8; size_of::<Wire>()]) -> Command {
    let word = |at: usize| u64::from_ne_bytes(std::array::from_fn(|byte| bytes[at * 8 + byte]));
    match word(0) {
        0 => Command::Open {
            create: word(1) != 0,
        },
        1 => Command::OpenAfterVictim,
        2 => Command::Send {
            first: word(1),
            count: word(2),
            when: match word(3) {
                0 => When::Now,
                1 => When::Attached,
                _ => When::Warm,
            },
        },
        3 => Command::Receive {
            count: word(1),
            sent: word(2),
        },
        4 => Command::Drain,
        5 => Command::TopUp { first: word(1) },
        6 => Command::Recover,
        _ => Command::End,
    }
}
