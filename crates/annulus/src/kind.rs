//! The four kinds of ring, as a value and as types.

use std::fmt;
use std::str::FromStr;

/// How many may act on each side of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One sender, one receiver.
    Spsc,
    /// Many senders, one receiver.
    Mpsc,
    /// One sender, many receivers; each record goes to one of them.
    Spmc,
    /// Many senders, many receivers; each record goes to one of them.
    Mpmc,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Spsc, Self::Mpsc, Self::Spmc, Self::Mpmc];

    /// Whether several senders may be attached at once.
    pub const fn many_senders(self) -> bool {
        matches!(self, Self::Mpsc | Self::Mpmc)
    }

    /// Whether several receivers may be attached at once.
    pub const fn many_receivers(self) -> bool {
        matches!(self, Self::Spmc | Self::Mpmc)
    }

    /// The number that stands for the kind in a region.
    pub(crate) const fn code(self) -> u32 {
        match self {
            Self::Spsc => 1,
            Self::Mpsc => 2,
            Self::Spmc => 3,
            Self::Mpmc => 4,
        }
    }

    pub(crate) fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Spsc => "spsc",
            Self::Mpsc => "mpsc",
            Self::Spmc => "spmc",
            Self::Mpmc => "mpmc",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that names no kind of ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseKindError(String);

impl fmt::Display for ParseKindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected spsc, mpsc, spmc or mpmc, found '{}'", self.0)
    }
}

impl std::error::Error for ParseKindError {}

impl FromStr for Kind {
    type Err = ParseKindError;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL.into_iter().find(|kind| kind.name() == word);
        named.ok_or_else(|| ParseKindError(word.to_owned()))
    }
}
