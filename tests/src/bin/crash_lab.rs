//! The laboratory: kills processes at every machine instruction of what they do to a ring, and tells what the
//! survivors found. `crash-lab --help` says how to call it; `annulus_tests::lab` says what it does.

use std::process::ExitCode;

#[cfg(all(target_arch = "x86_64", not(loom)))]
fn main() -> ExitCode {
    annulus_tests::lab::program::main()
}

#[cfg(not(all(target_arch = "x86_64", not(loom))))]
fn main() -> ExitCode {
    eprintln!("crash-lab: single steps are known on x86-64 alone");
    ExitCode::from(2)
}
