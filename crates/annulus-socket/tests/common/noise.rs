//! Records that can be told from any others, and a sum over them.

use std::fmt;

/// Record `number`: up to `max` bytes, all of which follow from the number.
pub fn record(number: u64, max: usize) -> Vec<u8> {
    let len = mix(number) as usize % (max + 1);
    let mut bytes = Vec::with_capacity(len + 8);
    let mut noise = number;
    while bytes.len() < len {
        noise = mix(noise);
        bytes.extend_from_slice(&noise.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// splitmix64 (Steele, Lea and Flood, OOPSLA 2014).
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A sum over records, their lengths and their order (FNV-1a).
pub struct Sum(u64);

impl Sum {
    pub fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub fn add(&mut self, record: &[u8]) {
        let len = (record.len() as u64).to_le_bytes();
        for &byte in len.iter().chain(record) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
