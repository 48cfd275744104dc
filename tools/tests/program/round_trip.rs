//! What goes in comes out, byte for byte, whatever the kind of ring and however it is cut.

use crate::harness::{Annulus, Name, annulus, annulus_with, until};
use std::fs;
use std::path::Path;

const KINDS: [&str; 4] = ["spsc", "mpsc", "spmc", "mpmc"];

/// Bytes that look random, and are the same in every run.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

fn path(folder: &tempfile::TempDir, name: &str) -> String {
    let path = folder.path().join(name);
    path.to_str().expect("UTF-8").to_owned()
}

/// Starts a receiver first, then sends, and gives what came out.
#[track_caller]
fn through(name: &str, kind: &str, send: &[&str], recv: &[&str]) -> Vec<u8> {
    let receiver = Annulus::start(&[&["recv", name, "--wait", "-e"], recv].concat());
    let receiver = receiver.finish_later();
    annulus(&[&["send", name, "--create", "--kind", kind], send].concat()).quiet(0);
    let outcome = receiver.join().expect("the receiver's end");
    outcome.quiet(0);
    outcome.stdout
}

#[test]
fn every_kind_and_framing_gives_the_files_own_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = path(&folder, "file");
    let bytes = noise(700_000);
    fs::write(&file, &bytes).expect("write");
    for kind in KINDS {
        for framing in [&[][..], &["-0"], &["--chunk", "64k"], &["--chunk", "1000"]] {
            let name = Name::new();
            let args = [framing, &[&file[..]]].concat();
            let received = through(&name.0, kind, &args, &[]);
            assert!(
                received == bytes,
                "{kind} {framing:?}: {} bytes",
                received.len()
            );
            assert!(!name.path().exists(), "{kind} {framing:?} left its name");
        }
    }
}

#[test]
fn every_kind_passes_prefixed_records() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = path(&folder, "file");
    let noise = noise(300_000);
    let mut bytes = Vec::new();
    for (number, piece) in noise.chunks(999).enumerate() {
        let piece = &piece[..piece.len().min(number)];
        bytes.extend_from_slice(&(piece.len() as u32).to_le_bytes());
        bytes.extend_from_slice(piece);
    }
    fs::write(&file, &bytes).expect("write");
    for kind in KINDS {
        let name = Name::new();
        let received = through(
            &name.0,
            kind,
            &["--len-prefixed", &file],
            &["--len-prefixed"],
        );
        assert!(received == bytes, "{kind}: {} bytes", received.len());
    }
}

#[test]
fn many_lines_come_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = path(&folder, "lines");
    let lines: String = (0..100_000)
        .map(|number| format!("line {number}\n"))
        .collect();
    fs::write(&file, &lines).expect("write");
    for kind in KINDS {
        let name = Name::new();
        let received = through(&name.0, kind, &[&file], &[]);
        assert!(
            received == lines.as_bytes(),
            "{kind}: {} bytes",
            received.len()
        );
    }
}

#[test]
fn odd_ends_stay_as_they_are() {
    for input in [
        &b""[..],
        b"\n",
        b"no newline",
        b"one\n\n\ntwo",
        b"\0\0",
        b"\r\n\xff\xfe",
    ] {
        for framing in [&[][..], &["-0"], &["--chunk", "3"]] {
            let name = Name::new();
            let receiver = Annulus::start(&["recv", &name.0, "--create", "-e"]);
            until("the ring is there", || name.path().exists());
            annulus_with(&[&["send", &name.0], framing].concat(), input).quiet(0);
            let outcome = receiver.finish();
            assert_eq!(outcome.quiet(0).stdout, input, "{framing:?}");
        }
    }
}

#[test]
fn several_files_and_the_standard_input_come_one_after_the_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two) = (path(&folder, "one"), path(&folder, "two"));
    fs::write(&one, "a\nb").expect("write");
    fs::write(&two, "c\n").expect("write");
    let name = Name::new();
    annulus_with(
        &["send", &name.0, "--create", &one, "-", &two],
        b"from stdin\n",
    )
    .quiet(0);
    let records = annulus(&["recv", &name.0, "-e", "--len-prefixed"]);
    let expected = [&b"a\n"[..], b"b", b"from stdin\n", b"c\n"].map(|record| {
        let prefix = (record.len() as u32).to_le_bytes();
        [&prefix[..], record].concat()
    });
    assert_eq!(records.quiet(0).stdout, expected.concat());
}

#[test]
fn a_ring_in_a_file_outlives_everyone() {
    let folder = tempfile::tempdir().expect("a folder");
    let ring = path(&folder, "ring");
    annulus_with(&["send", &ring, "--create"], b"one\ntwo\n").quiet(0);
    assert_eq!(
        annulus(&["recv", &ring, "-c", "1"]).quiet(0).stdout,
        b"one\n"
    );
    annulus_with(&["send", &ring], b"three\n").quiet(0);
    assert_eq!(
        annulus(&["recv", &ring, "-e"]).quiet(0).stdout,
        b"two\nthree\n"
    );
    assert!(Path::new(&ring).exists());
    annulus(&["rm", &ring]).quiet(0);
    assert!(!Path::new(&ring).exists());
}

#[test]
fn what_was_sent_before_anyone_received_is_not_lost() {
    let name = Name::new();
    annulus_with(&["send", &name.0, "--create"], b"early\n").quiet(0);
    assert!(name.path().exists());
    assert_eq!(
        annulus(&["recv", &name.0, "-e"]).quiet(0).stdout,
        b"early\n"
    );
    assert!(!name.path().exists());
}

#[test]
fn keep_keeps_the_name() {
    let name = Name::new();
    annulus_with(&["send", &name.0, "--create", "--keep"], b"1\n").quiet(0);
    assert_eq!(annulus(&["recv", &name.0, "-e"]).quiet(0).stdout, b"1\n");
    assert!(name.path().exists());
    annulus(&["rm", &name.0]).quiet(0);
}

#[test]
fn several_senders_and_receivers_share_a_ring() {
    const SENDERS: usize = 3;
    const LINES: usize = 5_000;
    let folder = tempfile::tempdir().expect("a folder");
    let name = Name::new();
    // A first sender that stays, so that the ring does not end before all the others have come.
    let mut first = Annulus::start(&["send", &name.0, "--create", "--kind", "mpmc"]);
    until("the ring is there", || name.path().exists());
    let receivers = [(); 3].map(|()| Annulus::start(&["recv", &name.0, "-e"]).finish_later());
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let file = path(&folder, &sender.to_string());
            let lines: String = (0..LINES)
                .map(|line| format!("{sender} {line}\n"))
                .collect();
            fs::write(&file, lines).expect("write");
            Annulus::start(&["send", &name.0, &file])
        })
        .collect();
    for sender in senders {
        sender.finish().quiet(0);
    }
    first.close_stdin();
    first.finish().quiet(0);
    let mut seen = [const { Vec::new() }; SENDERS];
    for receiver in receivers {
        let outcome = receiver.join().expect("the receiver's end");
        let text = String::from_utf8(outcome.quiet(0).stdout.clone()).expect("UTF-8");
        let mut last = [None; SENDERS];
        for line in text.lines() {
            let (sender, number) = line.split_once(' ').expect("two words");
            let sender: usize = sender.parse().expect("a number");
            let number: usize = number.parse().expect("a number");
            assert!(
                last[sender].is_none_or(|last| last < number),
                "order at one receiver"
            );
            last[sender] = Some(number);
            seen[sender].push(number);
        }
    }
    for mut numbers in seen {
        numbers.sort_unstable();
        assert!(
            numbers.iter().copied().eq(0..LINES),
            "each line exactly once"
        );
    }
    assert!(!name.path().exists());
}
