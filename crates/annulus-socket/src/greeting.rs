//! The first word of either end: what it is, and how long its records may be. The end that came says
//! it first; the end that listens answers. So each knows at once whom it has met.
//!
//! ```text
//! "annulus1" | role: 1 sender, 2 receiver, 3 refused | kind | 6 zeros | longest record (8 bytes, little-endian)
//! ```

use crate::address::Kind;
use annulus_channel::OpenReason;

/// Bytes of a greeting.
pub(crate) const LEN: usize = 24;
/// What it is, and its version.
const MAGIC: &[u8; 8] = b"annulus1";

/// Whether this is a greeting, of whatever version.
pub(crate) fn is_greeting(heard: &[u8; LEN]) -> bool {
    heard[..7] == MAGIC[..7]
}

/// Which end of the channel one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sends.
    Sender,
    /// Receives.
    Receiver,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Self::Sender => "a sender",
            Self::Receiver => "a receiver",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Sender => Self::Receiver,
            Self::Receiver => Self::Sender,
        }
    }
}

/// What one end says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Greeting {
    pub(crate) role: Role,
    pub(crate) kind: Kind,
    pub(crate) max: u64,
}

impl Greeting {
    pub(crate) fn bytes(self) -> [u8; LEN] {
        let role = match self.role {
            Role::Sender => 1,
            Role::Receiver => 2,
        };
        words(role, self.kind, self.max)
    }

    /// What is said instead to those who are not let in.
    pub(crate) fn refusal(self) -> [u8; LEN] {
        words(3, self.kind, 0)
    }

    /// The longest record of the channel between us and whoever said this.
    pub(crate) fn meet(self, heard: &[u8; LEN]) -> Result<usize, OpenReason> {
        let mismatch = |what, expected: &str, found: String| OpenReason::Mismatch {
            what,
            expected: expected.to_owned(),
            found,
        };
        if !heard.starts_with(MAGIC) {
            let found = String::from_utf8_lossy(&heard[..MAGIC.len()]).into_owned();
            return Err(mismatch("greeting", "annulus1", format!("{found:?}")));
        }
        let [role, kind] = [heard[8], heard[9]];
        let wanted = self.role.other();
        match role {
            1 if wanted == Role::Sender => {}
            2 if wanted == Role::Receiver => {}
            1 | 2 => {
                let found = self.role.word().to_owned();
                return Err(mismatch("the peer", wanted.word(), found));
            }
            _ => return Err(OpenReason::Permission),
        }
        if kind != self.kind as u8 {
            let (expected, found) = ((self.kind as u8).to_string(), kind.to_string());
            return Err(mismatch("kind of socket", &expected, found));
        }
        let (_, max) = heard.split_last_chunk::<8>().expect("it is longer");
        Ok(u64::from_le_bytes(*max).min(self.max) as usize)
    }
}

fn words(role: u8, kind: Kind, max: u64) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8] = role;
    bytes[9] = kind as u8;
    bytes[16..].copy_from_slice(&max.to_le_bytes());
    bytes
}
