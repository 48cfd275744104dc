//! A slice of what the laboratory does: `crash-lab` on a few operations. All of it takes minutes; see `.ci/crash`.

#![cfg(all(target_arch = "x86_64", not(loom)))]

use annulus_tests::watch::Watch;
use std::process::{Command, Output};

fn crash_lab(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crash-lab"));
    command.args(arguments).output().expect("it can be started")
}

/// Runs it, asserts that nothing is wrong, and returns the number of kills.
fn kills(arguments: &[&str]) -> u64 {
    let _watch = Watch::start();
    let output = crash_lab(arguments);
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.lines().last().unwrap_or_default();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{last}\n{errors}");
    let (kills, rest) = last.split_once(' ').expect("a number and more");
    assert_eq!(rest, "kills, 0 lost, 0 duplicated, 0 torn, 0 hung");
    kills.parse().expect("a number of kills")
}

#[test]
fn any_instruction_of_a_send_may_be_its_last() {
    assert!(kills(&["--only", "mpmc send typed, half"]) > 100);
}

#[test]
fn any_instruction_of_an_acknowledged_receive_may_be_its_last() {
    assert!(kills(&["--quick", "--only", "spmc ack"]) > 20);
}

#[test]
fn any_instruction_of_a_repair_may_be_its_last() {
    assert!(kills(&["--quick", "--only", "mpmc voids-last typed"]) > 10);
    assert!(kills(&["--quick", "--only", "mpmc pair send looking"]) > 10);
}

#[test]
fn any_instruction_of_a_creation_may_be_its_last() {
    assert!(kills(&["--quick", "--only", "create-new shm"]) > 20);
}

#[test]
fn others_may_be_at_work_on_the_same_ring() {
    assert!(kills(&["--quick", "--only", "mpmc crowd send typed"]) >= 4);
    assert!(kills(&["--quick", "--only", "spmc crowd ack typed"]) >= 4);
}

#[test]
fn a_stopped_process_is_not_dead() {
    assert!(kills(&["--quick", "--only", "stop mpmc commit typed, half"]) > 10);
}

#[test]
fn what_cannot_be_done_is_said() {
    for (arguments, part) in [
        (&["--everything"][..], "found '--everything'"),
        (&["--only"], "expected words after --only"),
        (
            &["--only", "send", "nonsense"],
            "nothing has all of these words",
        ),
        (
            &["--seed", "x"],
            "expected a number after --seed, found 'x'",
        ),
    ] {
        let output = crash_lab(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
}
