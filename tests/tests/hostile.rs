//! Does anything that a region may hold make the engine panic, hang or leave the region? The stable half of the fuzz
//! target `attach`.

use annulus_tests::hostile::attach;

/// A linear congruential generator (Knuth's MMIX), so that every run tries the same inputs.
fn random(seed: &mut u64) -> u64 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

#[test]
fn no_bytes_in_place_of_a_region_do_harm() {
    let mut seed = 1;
    for len in [0, 1, 100, 2047, 2048, 20_000, 70_000] {
        let bytes: Vec<u8> = (0..len).map(|_| random(&mut seed) as u8).collect();
        attach(&[&[1], &bytes[..]].concat());
        attach(&[&[1], &vec![0; len][..]].concat());
        attach(&[&[1], &vec![0xff; len][..]].concat());
    }
}

#[test]
fn no_changed_bytes_of_a_ring_do_harm() {
    let mut seed = 2;
    for round in 0..6000_u64 {
        let mut input = vec![0, random(&mut seed) as u8, random(&mut seed) as u8];
        for _ in 0..1 + round % 4 {
            // Mostly the hot part of the header, the leases and the words; the value small, huge or anything.
            let at = match random(&mut seed) % 4 {
                0 => 64 + random(&mut seed) % 100,
                1 => 256 + random(&mut seed) % 4 * 16,
                2 => 2304 + random(&mut seed) % 200,
                _ => random(&mut seed) % 65536,
            };
            let value = match random(&mut seed) % 4 {
                0 => random(&mut seed) % 16,
                1 => u64::MAX - random(&mut seed) % 16,
                2 => 1 << (random(&mut seed) % 64),
                _ => random(&mut seed) << 32 | random(&mut seed),
            };
            input.extend((at as u16).to_le_bytes());
            input.extend(value.to_le_bytes());
        }
        attach(&input);
    }
}
