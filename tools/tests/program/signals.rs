//! Ctrl-C ends a process in good order, `kill -9` does not, and the ring survives both.

use crate::harness::{Annulus, Name, annulus, annulus_with, until, waiting_receiver};
use nix::sys::signal::Signal;

#[test]
fn an_interrupted_receiver_leaves_a_usable_ring() {
    for (which, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let name = Name::new();
        let receiver = waiting_receiver(&name);
        receiver.signal(which);
        receiver.finish().quiet(code);
        annulus_with(&["send", &name.0, "--create"], b"again\n").quiet(0);
        assert_eq!(
            annulus(&["recv", &name.0, "-e"]).quiet(0).stdout,
            b"again\n"
        );
    }
}

#[test]
fn a_sender_that_waits_for_input_can_be_interrupted() {
    for (which, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let name = Name::new();
        let mut sender = Annulus::start(&["send", &name.0, "--create"]);
        sender.write(b"one\nhalf");
        let mut receiver = Annulus::start(&["recv", &name.0, "--wait", "-e"]);
        assert_eq!(receiver.read(4), b"one\n");
        sender.signal(which);
        // The standard input is still open here.
        until("the sender has ended", || !sender.is_running());
        sender.finish().quiet(code);
        // The handle was closed: the receiver sees an end, not a death.
        assert_eq!(receiver.finish().quiet(0).stdout, b"");
    }
}

#[test]
fn a_sender_that_waits_for_room_can_be_interrupted() {
    let name = Name::new();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "line\n".repeat(200_000)).expect("write");
    let file = file.to_str().expect("UTF-8");
    let sender = Annulus::start(&["send", &name.0, "--create", "--capacity", "64k", file]);
    let first = annulus(&["recv", &name.0, "--wait", "-c", "1"]);
    assert_eq!(first.quiet(0).stdout, b"line\n");
    sender.signal(Signal::SIGINT);
    let outcome = sender.finish();
    // It may have noticed first that its receiver has closed.
    assert!(matches!(outcome.code, Some(130 | 1)), "{outcome:?}");
    let rest = annulus(&["recv", &name.0, "-e"]);
    assert!(rest.quiet(0).stdout.len().is_multiple_of(5));
}

#[test]
fn a_receiver_that_waits_for_its_ring_can_be_interrupted() {
    let name = Name::new();
    let receiver = Annulus::start(&["recv", &name.0, "--wait"]);
    // Before its handlers are in place the signal would simply kill it: give it something to do first.
    until("the handlers are in place", || {
        catches(receiver.pid(), Signal::SIGINT)
    });
    receiver.signal(Signal::SIGINT);
    receiver.finish().quiet(130);
}

#[test]
fn a_receiver_whose_output_is_stuck_can_be_interrupted() {
    let name = Name::new();
    let mut receiver = Annulus::start(&["recv", &name.0, "--create"]);
    until("the ring is there", || name.path().exists());
    let stuck = receiver.take_stdout();
    let mut sender = Annulus::start(&["send", &name.0, "--create"]);
    // More than the pipe and the receiver's buffer hold.
    sender.write(&b"a line that nobody reads\n".repeat(20_000));
    until("the receiver is stuck", || sleeps_in_pipe(receiver.pid()));
    receiver.signal(Signal::SIGINT);
    until("the receiver has ended", || !receiver.is_running());
    let outcome = receiver.finish();
    outcome.says(130, &[&name.0, "SIGINT", "bytes"]);
    drop(stuck);
}

#[test]
fn a_killed_sender_is_7_for_a_receiver_that_waits_for_the_end() {
    let name = Name::new();
    let mut sender = Annulus::start(&["send", &name.0, "--create"]);
    sender.write(b"one\ntwo\n");
    let mut receiver = Annulus::start(&["recv", &name.0, "--wait", "-e"]);
    assert_eq!(receiver.read(8), b"one\ntwo\n");
    sender.signal(Signal::SIGKILL);
    receiver.finish().says(7, &["sender died"]);
    assert_eq!(sender.finish().code, None);
}

#[test]
fn a_killed_sender_is_7_instead_of_a_timeout() {
    let name = Name::new();
    let mut sender = Annulus::start(&["send", &name.0, "--create"]);
    sender.write(b"one\n");
    let mut receiver = Annulus::start(&["recv", &name.0, "--wait", "--timeout", "300ms"]);
    assert_eq!(receiver.read(4), b"one\n");
    sender.signal(Signal::SIGKILL);
    receiver.finish().says(7, &["sender died"]);
}

#[test]
fn a_killed_senders_successor_goes_on() {
    let name = Name::new();
    let mut sender = Annulus::start(&["send", &name.0, "--create"]);
    sender.write(b"one\n");
    let mut receiver = Annulus::start(&["recv", &name.0, "--wait", "-c", "3"]);
    assert_eq!(receiver.read(4), b"one\n");
    sender.signal(Signal::SIGKILL);
    assert_eq!(sender.finish().code, None);
    annulus_with(&["send", &name.0], b"two\nthree\n").quiet(0);
    assert_eq!(receiver.finish().quiet(0).stdout, b"two\nthree\n");
}

#[test]
fn a_killed_receiver_is_7_for_a_sender_that_says_so() {
    let name = Name::new();
    let receiver = waiting_receiver(&name);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "line\n".repeat(1_000_000)).expect("write");
    let file = file.to_str().expect("UTF-8");
    receiver.signal(Signal::SIGSTOP);
    let sender = Annulus::start(&["send", &name.0, "--on-death", "fail", file]);
    receiver.signal(Signal::SIGKILL);
    sender.finish().says(7, &["receiver died"]);
    assert_eq!(receiver.finish().code, None);
}

#[test]
fn a_receiver_killed_before_the_end_of_the_input_is_7_too() {
    let name = Name::new();
    let receiver = waiting_receiver(&name);
    let mut sender = Annulus::start(&["send", &name.0, "--on-death", "fail"]);
    sender.write(b"one\n");
    receiver.signal(Signal::SIGKILL);
    assert_eq!(receiver.finish().code, None);
    sender.close_stdin();
    sender.finish().says(7, &["receiver died"]);
}

/// Whether the process has a handler for the signal.
fn catches(pid: i32, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = u64::from_str_radix(caught.expect("SigCgt").trim(), 16).expect("hexadecimal");
    caught & (1 << (signal as i32 - 1)) != 0
}

/// Whether the process is blocked in writing to a pipe.
fn sleeps_in_pipe(pid: i32) -> bool {
    let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).expect("syscall");
    // The first word is the call's number: write(2), on each architecture.
    let write = if cfg!(target_arch = "x86_64") {
        "1 "
    } else {
        "64 "
    };
    call.starts_with(write)
}
