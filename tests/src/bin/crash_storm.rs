//! The storm and the games with process numbers of the laboratory, by themselves.
//!
//! ```text
//! crash-storm storm [--kills N] [--pause MS] [--seed S] [--only WORDS]   random kills, every kind of ring
//! ```
//!
//! Prints a line a scenario, and ends well if every one of them was clean.

use annulus_tests::lab::storm::{self, Plan};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.split_first() {
        Some((&storm::ACT, rest)) => {
            storm::act(rest);
            ExitCode::SUCCESS
        }
        Some((&"storm", rest)) => storms(rest),
        _ => {
            eprintln!("expected storm or pids, got {words:?}");
            ExitCode::FAILURE
        }
    }
}

/// The value after `name`, if it is there.
fn option<T: std::str::FromStr>(words: &[&str], name: &str) -> Option<T> {
    let at = words.iter().position(|word| *word == name)?;
    words.get(at + 1)?.parse().ok()
}

fn storms(words: &[&str]) -> ExitCode {
    let kills = option(words, "--kills").unwrap_or(1000);
    let pause = option(words, "--pause").unwrap_or(4.0);
    let seed = option(words, "--seed").unwrap_or(1);
    let only: String = option(words, "--only").unwrap_or_default();
    let program = std::env::current_exe().expect("this program has a path");
    println!("seed {seed}");
    let mut clean = true;
    for plan in Plan::all(kills, pause, seed) {
        if !format!("{} {}", plan.kind, plan.name()).contains(&only) {
            continue;
        }
        let outcome = storm::run(&plan, &program);
        println!("{}   {}", outcome.row(), outcome.remarks());
        for fault in &outcome.faults {
            println!("     {fault}");
        }
        clean &= outcome.row().is_clean();
    }
    if clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
