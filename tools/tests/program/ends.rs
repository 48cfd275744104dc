//! How `send` and `recv` begin and end.

use crate::harness::{Annulus, Name, annulus, annulus_with, unswept, until};

#[test]
fn a_receiver_waits_for_its_ring() {
    let name = Name::new();
    let receiver = Annulus::start(&["recv", &name.0, "--wait", "-e"]);
    let lines: String = (1..=1000).map(|number| format!("{number}\n")).collect();
    annulus_with(&["send", &name.0, "--create"], lines.as_bytes()).quiet(0);
    assert_eq!(receiver.finish().quiet(0).stdout, lines.as_bytes());
}

#[test]
fn a_receiver_that_waits_sees_the_end_of_an_empty_input() {
    let _unswept = unswept();
    let name = Name::new();
    let receiver = Annulus::start(&["recv", &name.0, "--wait", "-e"]);
    annulus_with(&["send", &name.0, "--create"], b"").quiet(0);
    assert_eq!(receiver.finish().quiet(0).stdout, b"");
}

#[test]
fn count_takes_so_many_and_leaves_the_rest() {
    let name = Name::new();
    annulus_with(&["send", &name.0, "--create"], b"1\n2\n3\n4\n5\n").quiet(0);
    assert_eq!(
        annulus(&["recv", &name.0, "-c", "2"]).quiet(0).stdout,
        b"1\n2\n"
    );
    assert_eq!(
        annulus(&["recv", &name.0, "--count", "0"]).quiet(0).stdout,
        b""
    );
    assert_eq!(
        annulus(&["recv", &name.0, "-c", "9", "-e"]).quiet(0).stdout,
        b"3\n4\n5\n"
    );
}

#[test]
fn without_exit_at_end_a_receiver_waits_for_the_next_sender() {
    let name = Name::new();
    let mut receiver = Annulus::start(&["recv", &name.0, "--create", "-c", "3"]);
    until("the ring is there", || name.path().exists());
    annulus_with(&["send", &name.0], b"one\n").quiet(0);
    assert_eq!(receiver.read(4), b"one\n");
    annulus_with(&["send", &name.0], b"two\n").quiet(0);
    assert_eq!(receiver.read(4), b"two\n");
    assert!(receiver.is_running());
    annulus_with(&["send", &name.0], b"three\n").quiet(0);
    assert_eq!(receiver.finish().quiet(0).stdout, b"three\n");
}

#[test]
fn a_record_passes_as_soon_as_it_is_complete() {
    let name = Name::new();
    let mut receiver = Annulus::start(&["recv", &name.0, "--create", "-e"]);
    until("the ring is there", || name.path().exists());
    let mut sender = Annulus::start(&["send", &name.0]);
    for number in 0..20 {
        let line = format!("{number:04}\n");
        sender.write(line.as_bytes());
        assert_eq!(receiver.read(5), line.as_bytes());
    }
    sender.write(b"two at once\nand ha");
    assert_eq!(receiver.read(12), b"two at once\n");
    sender.write(b"lf\n");
    assert_eq!(receiver.read(9), b"and half\n");
    sender.finish().quiet(0);
    assert_eq!(receiver.finish().quiet(0).stdout, b"");
}

#[test]
fn a_record_too_large_says_so_and_nothing_of_it_is_sent() {
    let name = Name::new();
    let long = "x".repeat(200_000);
    let input = format!("fits\n{long}\nnever sent\n");
    let outcome = annulus_with(
        &["send", &name.0, "--create", "--capacity", "64k"],
        input.as_bytes(),
    );
    outcome.says(1, &["record 2", "200001 bytes", "at most"]);
    assert_eq!(annulus(&["recv", &name.0, "-e"]).quiet(0).stdout, b"fits\n");
}

#[test]
fn the_longest_record_is_the_limit_that_the_error_names() {
    let name = Name::new();
    let send = [
        "send",
        &name.0,
        "--create",
        "--capacity",
        "64k",
        "--chunk",
        "1M",
    ];
    let refused = annulus_with(&send, &vec![7; 1 << 20]);
    refused.says(1, &["record 1", "1048576 bytes"]);
    let limit = refused.stderr.trim().rsplit(' ').next().expect("a word");
    let limit: usize = limit.parse().expect("a number");
    assert!(limit >= 16 << 10, "{limit}");
    annulus_with(&send, &vec![7; limit + 1]).says(1, &[&format!("{} bytes", limit + 1)]);
    annulus_with(&send, &vec![7; limit]).quiet(0);
    assert_eq!(
        annulus(&["recv", &name.0, "-e"]).quiet(0).stdout,
        vec![7; limit]
    );
}

#[test]
fn a_cut_prefixed_record_is_an_error() {
    let name = Name::new();
    let input = b"\x02\0\0\0ab\x05\0\0\0abc";
    let outcome = annulus_with(&["send", &name.0, "--create", "--len-prefixed"], input);
    outcome.says(1, &["record 2", "3 of the 5 bytes"]);
    assert_eq!(annulus(&["recv", &name.0, "-e"]).quiet(0).stdout, b"ab");
}

#[test]
fn a_closed_output_ends_quietly() {
    let name = Name::new();
    let lines = "line\n".repeat(100_000);
    let mut receiver = Annulus::start(&["recv", &name.0, "--create"]);
    until("the ring is there", || name.path().exists());
    let mut sender = Annulus::start(&["send", &name.0]);
    sender.write(&lines.as_bytes()[..50_000]);
    assert_eq!(receiver.read(5), b"line\n");
    drop(receiver.take_stdout());
    receiver.finish().quiet(0);
}

#[test]
fn a_closed_output_is_noticed_while_nothing_comes() {
    let name = Name::new();
    let mut receiver = Annulus::start(&["recv", &name.0, "--create"]);
    annulus_with(&["send", &name.0, "--create"], b"only\n").quiet(0);
    assert_eq!(receiver.read(5), b"only\n");
    drop(receiver.take_stdout());
    receiver.finish().quiet(0);
}

#[test]
fn a_sender_whose_receiver_has_closed_says_so() {
    let name = Name::new();
    let mut sender = Annulus::start(&["send", &name.0, "--create"]);
    sender.write(b"1\n");
    let first = annulus(&["recv", &name.0, "--wait", "-c", "1"]);
    assert_eq!(first.quiet(0).stdout, b"1\n");
    sender.write(b"2\n");
    sender.finish().says(1, &["the last receiver has closed"]);
}
