//! Arbitrary bytes as a region: an error or a usable ring. What is done with them is in
//! `annulus_tests::hostile`, where stable tests call it too.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| annulus_tests::hostile::attach(data));
