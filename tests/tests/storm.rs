//! Does the ring keep its promises in a storm of kills, and when process numbers are used again? A short run of the
//! program `crash-storm`; a long one is `crash-storm storm --kills 5000` and `crash-storm pids --count 10000`.
#![cfg(all(target_arch = "x86_64", not(loom)))]

use annulus_tests::watch::Watch;
use std::process::{Command, Output};

fn run(words: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_crash-storm"))
        .args(words)
        .output()
        .expect("the program can be started");
    print!("{}", String::from_utf8_lossy(&output.stdout));
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// What the program says where the system does not let it play.
const NOT_PERMITTED: i32 = 77;

#[test]
fn in_a_storm_of_kills_nothing_is_lost_doubled_or_torn() {
    let _watch = Watch::start();
    let output = run(&["storm", "--kills", "40"]);
    assert!(output.status.success(), "{}", output.status);
}

#[test]
fn a_verdict_on_life_and_death_does_not_depend_on_process_numbers() {
    let _watch = Watch::start();
    let output = run(&["pids", "--count", "60"]);
    match output.status.code() {
        Some(NOT_PERMITTED) => eprintln!("not permitted here, so not tested"),
        _ => assert!(output.status.success(), "{}", output.status),
    }
}
