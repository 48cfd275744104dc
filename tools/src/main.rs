//! `annulus`: records through rings in shared memory, and through what they are compared with, from a shell.
//!
//! `annulus send` and `annulus recv` move whole records between processes and change no byte of
//! them; `annulus audit` says whether all of a ring's are accounted for; `annulus rm` removes a channel;
//! `annulus bench` compares the transports; `annulus demo`, which is also what the program does when
//! nothing is asked of it, shows two processes at work and checks every byte that arrives.

mod attach;
mod audit;
mod bench;
mod cli;
mod crew;
mod demo;
mod exit;
mod framing;
mod pace;
mod progress;
mod recv;
mod rm;
mod send;
mod signals;
mod units;
mod wait;

use cli::{Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    let command = Cli::read().command.unwrap_or_default();
    let result = match command {
        Command::Send(args) => send::run(&args),
        Command::Recv(args) => recv::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::DeadLetters(args) => audit::dead_letters(&args),
        Command::Rm(args) => rm::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::DemoWorker(args) => demo::work(&args),
        Command::BenchWorker(args) => bench::work(&args),
    };
    exit::report(result)
}
