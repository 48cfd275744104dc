//! The demonstration succeeds, and does not when something is wrong.

use crate::harness::{Annulus, annulus, until};
use nix::sys::signal::Signal;
use std::fs;

#[test]
fn the_demonstration_reports_what_it_found() {
    let outcome = annulus(&["demo", "--messages", "20000"]);
    let report = String::from_utf8(outcome.quiet(0).stdout.clone()).expect("UTF-8");
    for word in [
        "SHA-256 sent",
        "20,000 messages",
        "0 lost",
        "GB/s",
        "million/s",
        "p99.9",
        "ring",
        "pipe",
        "once, whole, and in order",
    ] {
        assert!(report.contains(word), "no {word:?} in {report}");
    }
}

#[test]
fn every_injected_fault_is_found() {
    for (fault, words) in [
        ("flip", &["a file over a ring", "SHA-256"][..]),
        ("lose", &["messages over a ring", "1 lost"]),
        ("double", &["messages over a ring", "1 doubled"]),
        ("swap", &["messages over a ring", "1 out of order"]),
        ("tear", &["messages over a ring", "1 torn"]),
        ("crash", &["messages over a ring", "SIGKILL"]),
    ] {
        let outcome = annulus(&["demo", "--messages", "20000", "--inject-fault", fault]);
        outcome.says(1, words);
        let report = String::from_utf8(outcome.stdout).expect("UTF-8");
        assert!(!report.contains("in order"), "{fault}: {report}");
    }
}

#[test]
fn a_killed_demonstration_leaves_no_process_behind() {
    let mut demo = Annulus::start(&["demo", "--messages", "100000000"]);
    let mut workers = Vec::new();
    until("it has workers", || {
        workers = children(demo.pid());
        !workers.is_empty()
    });
    assert!(demo.is_running());
    demo.signal(Signal::SIGINT);
    demo.finish();
    until("its workers have ended", || {
        workers.iter().all(|&pid| !is_ours(pid))
    });
}

fn children(pid: i32) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let list = list.unwrap_or_default();
    list.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// Whether there is still such a worker.
fn is_ours(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.contains("demo-worker"))
}
