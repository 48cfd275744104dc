//! `annulus audit` and `annulus dead-letters`.

use crate::harness::{Name, annulus, annulus_with};
use annulus::{Mpmc, Ring, RingOptions};
use std::fs;

#[test]
fn a_ring_that_adds_up_is_shown_and_one_that_does_not_is_a_failure() {
    let name = Name::new();
    let send = ["send", &name.0, "--create", "--kind", "mpmc"];
    annulus_with(&send, b"one\ntwo\nthree\n").quiet(0);

    assert_eq!(annulus(&["recv", &name.0, "-c1"]).stdout, b"one\n");
    let audit = annulus(&["audit", &name.0]);
    let text = String::from_utf8(audit.stdout.clone()).unwrap();
    assert_eq!(audit.code, Some(0), "{text}");
    for line in ["mpmc ring of byte records", "senders: none", "adds up"] {
        assert!(text.contains(line), "{text}");
    }
    let number = |word: &str| {
        let line = text
            .lines()
            .find(|line| line.trim_start().starts_with(word));
        line.unwrap()
            .split_whitespace()
            .last()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    assert_eq!(
        (number("sent"), number("received"), number("in flight")),
        (3, 1, 2)
    );

    // The first record is received twice, it seems: the receiver's count is one too high.
    let mut bytes = fs::read(name.path()).unwrap();
    bytes[2048 + 2 * 128 + 16] += 1;
    fs::write(name.path(), bytes).unwrap();
    let audit = annulus(&["audit", &name.0]);
    assert!(String::from_utf8_lossy(&audit.stdout).contains("does not add up"));
    audit.says(1, &[&name.0, "does not add up"]);
}

#[test]
fn a_ring_of_any_type_can_be_audited() {
    let name = Name::new();
    let mut options = RingOptions::new();
    let ring: Ring<[u32; 3], Mpmc> = options.create(true).capacity(8).shm(&name.0).unwrap();
    let mut sender = ring.sender().unwrap();
    sender.send([1, 2, 3]).unwrap();
    let audit = annulus(&["audit", &name.0]);
    let text = String::from_utf8_lossy(&audit.stdout).into_owned();
    assert!(audit.code == Some(0) && text.contains("[u32; 3]"), "{text}");
    assert!(text.contains(&std::process::id().to_string()), "{text}");
    annulus(&["audit", "annulus-no-such-ring"]).says(3, &["no such ring"]);
}

#[test]
fn dead_letters_are_listed_and_drained() {
    let name = Name::new();
    let mut options = RingOptions::new();
    options.create(true).capacity(4096).max_tries(1);
    let ring: Ring<[u8], Mpmc> = options.shm(&name.0).unwrap();
    let (mut sender, mut receiver) = (ring.sender().unwrap(), ring.receiver().unwrap());
    sender.send(b"poison\n").unwrap();
    sender.send(b"good\n").unwrap();
    drop(receiver.try_peek().unwrap());
    let list = annulus(&["dead-letters", &name.0]);
    list.quiet(0);
    assert_eq!(list.stdout, b"at 0, tried 1 times\n");
    assert_eq!(annulus(&["recv", &name.0, "-c1"]).stdout, b"good\n");
    let drain = ["dead-letters", &name.0, "--drain"];
    assert_eq!(annulus(&drain).stdout, b"poison\n");
    assert_eq!(annulus(&drain).stdout, b"");
    let audit = ring.audit();
    assert!(audit.adds_up() && audit.drained == 1, "{audit}");
}
