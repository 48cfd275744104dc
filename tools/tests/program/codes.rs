//! The exit codes and the command line's own errors. (What leads to 5 is in `bad_rings`, to 7 and 130 in
//! `signals`.)

use crate::harness::{Annulus, Name, Outcome, annulus, annulus_with, waiting_receiver};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn help_and_version_are_asked_for_and_no_error() {
    let help = annulus(&["--help"]);
    help.quiet(0);
    let text = String::from_utf8(help.stdout).expect("UTF-8");
    for word in ["send", "recv", "rm", "demo", "Exit codes", "130"] {
        assert!(text.contains(word), "{text}");
    }
    assert!(!text.contains("demo-worker"), "{text}");
    annulus(&["--version"]).quiet(0);
    annulus(&["send", "--help"]).quiet(0);
}

#[test]
fn wrong_usage_is_2() {
    for args in [
        &["frobnicate"][..],
        &["--frobnicate"],
        &["send"],
        &["recv"],
        &["rm"],
        &["recv", "x", "--frobnicate"],
        &["send", "x", "--kind", "mpmc"],
        &["send", "x", "--capacity", "1M"],
        &["send", "x", "--create", "--kind", "mpsx"],
        &["send", "x", "--create", "--capacity", "lots"],
        &["send", "x", "--create", "--mode", "rw"],
        &["send", "x", "-0", "--chunk", "10"],
        &["send", "x", "--chunk", "0"],
        &["recv", "x", "-c", "-1"],
        &["recv", "x", "--timeout", "2"],
        &["recv", "x", "--on-death", "mourn"],
    ] {
        let outcome = annulus(args);
        assert_eq!(outcome.code, Some(2), "{args:?}: {}", outcome.stderr);
        assert_eq!(outcome.stdout, b"", "{args:?}");
        assert!(
            outcome.stderr.contains("error:"),
            "{args:?}: {}",
            outcome.stderr
        );
    }
}

#[test]
fn a_name_that_cannot_name_a_ring_is_2() {
    let long = "n".repeat(300);
    let long_prefixed = format!("shm:{long}");
    for name in [
        "",
        "a/b",
        "sub/",
        "shm:",
        "shm:a/b",
        "shm:/a",
        "file:",
        "sysv:",
        "sysv:red",
        "sysv:0",
        "..",
        &long,
        &long_prefixed,
    ] {
        for command in ["send", "recv", "rm"] {
            let outcome = annulus(&[command, "--", name]);
            assert_eq!(
                outcome.code,
                Some(2),
                "{command} {name:?}: {}",
                outcome.stderr
            );
        }
        assert_eq!(
            annulus(&["send", "--create", "--", name]).code,
            Some(2),
            "{name:?}"
        );
    }
}

#[test]
fn an_error_in_a_value_says_what_was_expected() {
    let outcome = annulus(&["send", "x", "--create", "--capacity", "lots"]);
    assert!(outcome.stderr.contains("64k"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("lots"), "{}", outcome.stderr);
    let outcome = annulus(&["send", "x", "--create", "--kind", "ring"]);
    assert!(
        outcome.stderr.contains("spsc, mpsc, spmc or mpmc"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn no_such_ring_is_3() {
    let name = Name::new();
    for command in ["send", "recv", "rm"] {
        annulus(&[command, &name.0]).says(3, &["no such ring", &name.0]);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing");
    annulus(&["recv", missing.to_str().expect("UTF-8")]).says(3, &["no such ring"]);
    assert!(!name.path().exists() && !missing.exists());
}

#[test]
fn a_timeout_is_4() {
    let name = Name::new();
    annulus(&["recv", &name.0, "--wait", "--timeout", "30ms"]).says(4, &["did not appear", "30ms"]);
    let empty = annulus(&["recv", &name.0, "--create", "--timeout", "30ms"]);
    empty.says(4, &["no record", "30ms"]);
    assert_eq!(empty.stdout, b"");

    // More than the ring holds, and nobody receives.
    let full = Name::new();
    let lines = "a line of some length\n".repeat(10_000);
    let args = [
        "send",
        &full.0,
        "--create",
        "--capacity",
        "64k",
        "--timeout",
        "30ms",
    ];
    annulus_with(&args, lines.as_bytes()).says(4, &["no room", "30ms"]);
}

#[test]
fn another_kind_is_5() {
    let name = Name::new();
    annulus_with(&["send", &name.0, "--create", "--kind", "mpmc"], b"1\n").quiet(0);
    let other = annulus_with(&["send", &name.0, "--create", "--kind", "spsc"], b"2\n");
    other.says(5, &["kind", "mpmc", "spsc"]);
    // Whoever asks for no kind takes what is there, and the ring is as it was.
    annulus_with(&["send", &name.0, "--create"], b"3\n").quiet(0);
    let received = annulus(&["recv", &name.0, "-e"]);
    assert_eq!(received.quiet(0).stdout, b"1\n3\n");
}

#[test]
fn no_permission_is_6() {
    // Root may open anything, so for root there is nothing to test.
    let name = Name::new();
    annulus_with(&["send", &name.0, "--create"], b"1\n").quiet(0);
    fs::set_permissions(name.path(), fs::Permissions::from_mode(0o000)).expect("chmod");
    if fs::File::open(name.path()).is_ok() {
        return;
    }
    annulus(&["recv", &name.0]).says(6, &["permission denied", &name.0]);
}

#[test]
fn every_error_begins_with_the_channels_name() {
    let begins = |outcome: &Outcome, url: &str| {
        let said = &outcome.stderr;
        assert!(said.starts_with(&format!("annulus: {url}: ")), "{said}");
    };
    for url in [
        "annulus-cli-none",
        "ring:sysv:0x7e7e7e7e",
        "mq:/.",
        "mq:/none",
        "unix:/none/s",
    ] {
        for args in [
            &["recv", url][..],
            &["send", url],
            &["send", url, "--wait", "--timeout", "10ms"],
            &["rm", url],
        ] {
            if args[0] == "recv" && url.starts_with("unix:") {
                continue;
            }
            begins(&annulus(args), url);
        }
    }
    let name = Name::new();
    let ring = name.0.as_str();
    let small = ["send", ring, "--create", "--capacity", "1T"];
    begins(&annulus_with(&small, b""), ring);
    begins(
        &annulus(&["recv", ring, "--create", "--keep", "--timeout", "10ms"]),
        ring,
    );
    begins(
        &annulus(&["send", ring, "--create", "--kind", "mpmc"]),
        ring,
    );
    fs::write(name.path(), "no ring").expect("write");
    for command in ["recv", "send", "rm", "audit"] {
        begins(&annulus(&[command, ring]), ring);
    }
}

#[test]
fn mode_is_the_new_rings() {
    let name = Name::new();
    annulus_with(&["send", &name.0, "--create"], b"1\n").quiet(0);
    let mode = |name: &Name| {
        fs::metadata(name.path())
            .expect("there")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(&name), 0o600);
    let open = Name::new();
    annulus_with(&["send", &open.0, "--create", "--mode", "0400"], b"1\n").quiet(0);
    assert_eq!(mode(&open), 0o400);
}

#[test]
fn a_missing_file_is_1_and_creates_no_ring() {
    let name = Name::new();
    annulus(&["send", &name.0, "--create", "/no/such/file"]).says(1, &["/no/such/file"]);
    annulus(&["send", &name.0, "--create", "/"]).says(1, &["directory"]);
    assert!(!name.path().exists());
}

#[test]
fn a_second_receiver_of_a_ring_for_one_is_1_and_learns_who_is_there() {
    let name = Name::new();
    let mut first = waiting_receiver(&name);
    let second = annulus(&["recv", &name.0]);
    second.says(1, &["one receiver", &first.pid().to_string()]);
    assert!(first.is_running());
}

#[test]
fn rm_removes_a_ring_but_not_from_under_the_living() {
    let name = Name::new();
    annulus_with(&["send", &name.0, "--create"], b"1\n").quiet(0);
    annulus(&["rm", &name.0]).quiet(0);
    assert!(!name.path().exists());

    let mut receiver = Annulus::start(&["recv", &name.0, "--create"]);
    annulus_with(&["send", &name.0, "--create"], b"hello\n").quiet(0);
    assert_eq!(receiver.read(6), b"hello\n");
    let refused = annulus(&["rm", &name.0]);
    refused.says(1, &[&receiver.pid().to_string()]);
    annulus_with(&["send", &name.0], b"again\n").quiet(0);
    assert_eq!(receiver.read(6), b"again\n");
}
