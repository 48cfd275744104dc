//! The random storm and the games with process numbers, by themselves.
//!
//! ```text
//! crash-storm storm [--kills N] [--pause MS] [--seed S] [--only WORDS]   N kills in each kind of storm
//! crash-storm pids [--count N] [--only WORDS]                            N forced reuses of a process's number
//! ```
//!
//! Prints a line a scenario, and ends well if every one of them was clean; with 77 if the others were not permitted.

use std::process::ExitCode;

#[cfg(all(target_arch = "x86_64", not(loom)))]
fn main() -> ExitCode {
    use annulus_tests::lab::{pids, storm};

    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let rows = match words.split_first() {
        Some((&storm::ACT, rest)) => return storm::act(rest),
        Some((&pids::ACT, rest)) => return pids::act(rest),
        Some((&"storm", rest)) => storm::command(rest),
        Some((&"pids", rest)) => pids::command(rest),
        _ => {
            eprintln!("expected storm or pids, got {words:?}");
            return ExitCode::FAILURE;
        }
    };
    if rows.is_empty() || rows.iter().any(|row| row.faults() > 0) {
        ExitCode::FAILURE
    } else if rows.iter().any(|row| row.kills == 0) {
        ExitCode::from(77)
    } else {
        ExitCode::SUCCESS
    }
}

#[cfg(not(all(target_arch = "x86_64", not(loom))))]
fn main() -> ExitCode {
    ExitCode::SUCCESS
}
