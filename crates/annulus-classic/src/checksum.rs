//! CRC-32 (ISO 3309, as in Ethernet and gzip), eight bytes at a time by tables: M. E. Kounavis and F. L. Berry, "A
//! Systematic Approach to Building High Performance Software-Based CRC Generators", ISCC 2005.

const POLYNOMIAL: u32 = 0xedb8_8320;

const TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (POLYNOMIAL & (crc & 1).wrapping_neg());
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let crc = tables[table - 1][byte];
            tables[table][byte] = (crc >> 8) ^ tables[0][(crc & 0xff) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

/// The checksum of `bytes`.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let eights = bytes.chunks_exact(8);
    let rest = eights.remainder();
    let mut crc = !0;
    for eight in eights {
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| eight[at + byte]));
        let (low, high) = (word(0) ^ crc, word(4));
        let look = |table: usize, word: u32, byte: u32| {
            TABLES[table][(word >> (8 * byte) & 0xff) as usize]
        };
        crc = look(7, low, 0) ^ look(6, low, 1) ^ look(5, low, 2) ^ look(4, low, 3);
        crc ^= look(3, high, 0) ^ look(2, high, 1) ^ look(1, high, 2) ^ look(0, high, 3);
    }
    for &byte in rest {
        crc = (crc >> 8) ^ TABLES[0][((crc ^ u32::from(byte)) & 0xff) as usize];
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::crc32;

    #[test]
    fn the_check_value_of_the_catalogue_comes_out() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
        assert_eq!(crc32(&[0; 32]), 0x190a_55ad);
    }
}
