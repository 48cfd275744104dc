//! `annulus-bench`: see the library's documentation, and `annulus-bench --help`.

use annulus_bench::cell::Cell;
use annulus_bench::cells;
use annulus_bench::report::{Report, text};
use annulus_bench::stage::Stage;
use clap::{Parser, Subcommand};
use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// What the machine allows, and what Annulus and other queues make of it.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Ours beside other projects' queues.
    Peers(Run),
}

#[derive(Debug, clap::Args)]
struct Run {
    /// A few short rounds: to see that it works, not to be quoted.
    #[arg(long)]
    quick: bool,

    /// Only cells with these names, or whose names begin so.
    #[arg(long, value_name = "CELL", num_args = 1..)]
    only: Vec<String>,

    /// How many rounds.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,

    /// How long each subject's work takes in a round.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u16).range(1..))]
    millis: Option<u16>,

    /// Write everything as JSON.
    #[arg(long, value_name = "FILE")]
    export_json: Option<PathBuf>,

    /// Name the cells, and measure nothing.
    #[arg(long)]
    list: bool,

    /// Send one wrong byte, to see the run fail.
    #[arg(long, hide = true)]
    inject_fault: bool,
}

/// Rounds, and the time of a subject's work in one.
const FULL: (u16, u16) = (21, 250);
const QUICK: (u16, u16) = (5, 25);

fn main() -> ExitCode {
    let Cli { command } = Cli::parse();
    let done = match &command {
        What::Peers(_) if !cfg!(feature = "peers") => again_with_peers(),
        What::Peers(run) => measure(run, cells::peers()),
    };
    match done {
        Ok(code) => code,
        Err(said) => {
            eprintln!("annulus-bench: {said}");
            ExitCode::FAILURE
        }
    }
}

/// Has cargo build this program with the peers, and runs that.
fn again_with_peers() -> Result<ExitCode, String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    eprintln!("annulus-bench: built without other queues; building with `--features peers`");
    let mut command = Command::new(cargo);
    command.args([
        "run",
        "--release",
        "-p",
        "annulus-bench",
        "--features",
        "peers",
        "--",
    ]);
    let status = command.args(env::args_os().skip(1)).status();
    let status = status.map_err(|error| format!("cargo: {error}"))?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn measure(run: &Run, cells: Vec<Cell>) -> Result<ExitCode, String> {
    let wanted = |cell: &Cell| {
        run.only.is_empty()
            || run
                .only
                .iter()
                .any(|name| cell.name.starts_with(name.as_str()))
    };
    let cells: Vec<Cell> = cells.into_iter().filter(wanted).collect();
    if cells.is_empty() {
        return Err(format!("no cell is called {}", run.only.join(" or ")));
    }
    if run.list {
        for cell in cells {
            println!("{:<24}{}", cell.name, cell.what);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let (rounds, millis) = if run.quick { QUICK } else { FULL };
    let rounds = usize::from(run.rounds.unwrap_or(rounds));
    let time = Duration::from_millis(run.millis.unwrap_or(millis).into());
    let mut stage = Stage::new(time, cells::CAPACITY)?;
    stage.fault = run.inject_fault;
    let mut outcomes = Vec::new();
    for cell in &cells {
        let outcome = cell.run(&mut stage, rounds)?;
        println!("{}", text(&outcome));
        outcomes.push(outcome);
    }
    let mut notes = Vec::new();
    if run.quick {
        notes.push(format!("a quick run of {rounds} rounds: not to be quoted"));
    }
    let report = Report::new(outcomes, notes);
    if let Some(path) = &run.export_json {
        let json = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
        fs::write(path, json + "\n").map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
