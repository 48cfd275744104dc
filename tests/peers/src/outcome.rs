//! What a kill has cost.

use std::ops::AddAssign;

/// What a kill has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// A surviving sender or receiver could not go on within a second.
    pub stuck: u64,
    /// Messages whose send had returned before the kill, and that did not arrive.
    pub lost: u64,
    /// The same, of what was sent afterwards.
    pub later: u64,
    /// Messages sent afterwards that arrived only when more were sent behind them.
    pub held: u64,
    /// Slots that no message goes into any more, of a queue that refuses what it has no room for.
    pub room: u64,
    /// Messages that came again.
    pub duplicated: u64,
    /// Messages that nobody sent like that.
    pub torn: u64,
    /// Messages that the victim was about to get: its own, one a kill at most.
    pub own: u64,
}

impl Outcome {
    /// Whether nothing went wrong.
    pub fn is_clean(&self) -> bool {
        let nothing_wrong = Self {
            own: self.own,
            ..Self::default()
        };
        *self == nothing_wrong
    }

    /// One of each that is not zero.
    pub fn each(&self) -> Self {
        Self {
            stuck: self.stuck.min(1),
            lost: self.lost.min(1),
            later: self.later.min(1),
            held: self.held.min(1),
            room: self.room.min(1),
            duplicated: self.duplicated.min(1),
            torn: self.torn.min(1),
            own: self.own.min(1),
        }
    }

    /// The worst of it, as a letter.
    pub fn letter(&self) -> char {
        match self {
            Self { stuck: 1.., .. } => 'S',
            Self { lost: 1.., .. } => 'L',
            Self { torn: 1.., .. } => 'T',
            Self {
                duplicated: 1.., ..
            } => 'D',
            Self { later: 1.., .. } => 'l',
            Self { held: 1.., .. } => 'h',
            Self { room: 1.., .. } => 'r',
            Self { own: 1.., .. } => 'o',
            _ => '.',
        }
    }
}

impl AddAssign for Outcome {
    fn add_assign(&mut self, other: Self) {
        self.stuck += other.stuck;
        self.lost += other.lost;
        self.later += other.later;
        self.held += other.held;
        self.room += other.room;
        self.duplicated += other.duplicated;
        self.torn += other.torn;
        self.own += other.own;
    }
}
