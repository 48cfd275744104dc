//! `annulus-bench`: see the library's documentation, and `annulus-bench --help`.

use annulus_bench::cell::{Cell, Outcome};
use annulus_bench::document::{self, Part};
use annulus_bench::report::{Report, text};
use annulus_bench::stage::Stage;
use annulus_bench::{cells, hot, still};
use clap::{Parser, Subcommand};
use std::env;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

/// What the machine allows, and what Annulus and other queues make of it.
#[derive(Debug, Parser)]
#[command(name = "annulus-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The machine by itself: lines, copies, locked operations, the kernel.
    Limits(Run),
    /// Ours beside other projects' queues, each cell with what is to be reached in it.
    Peers(Run),
    /// Ours by itself: sizes, crowds, batches, ways to wait, capacities.
    Matrix(Run),
    /// All of it, written down as docs/performance.md with its charts and raw data, in the source tree that this was built in. By
    /// reckoning 40 minutes, if nothing else is said.
    Report(Extent),
    /// Sends and receives COUNT messages in one thread, for callgrind to count. Without a path, names the paths.
    #[command(hide = true)]
    Hot {
        path: Option<String>,
        #[arg(default_value_t = 1000)]
        count: u64,
    },
}

#[derive(Debug, clap::Args)]
struct Run {
    #[command(flatten)]
    extent: Extent,

    /// Only cells whose names begin so.
    #[arg(long, value_name = "CELL", num_args = 1..)]
    only: Vec<String>,

    /// Write everything as JSON.
    #[arg(long, value_name = "FILE")]
    export_json: Option<PathBuf>,

    /// Name the cells, and measure nothing.
    #[arg(long)]
    list: bool,
}

#[derive(Debug, clap::Args)]
struct Extent {
    /// A few short rounds: to see that it works, not to be quoted.
    #[arg(long)]
    quick: bool,

    /// How many rounds: 21, or 5 if quick.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,

    /// How long each subject's work takes in a round: 200, or 20 if quick.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u16).range(1..))]
    millis: Option<u16>,

    /// Let actors that have a processor each go before all other tasks, on a busy machine. Those stand still meanwhile.
    #[arg(long)]
    real_time: bool,

    /// Send one wrong byte, to see the run fail.
    #[arg(long, hide = true)]
    inject_fault: bool,
}

/// Rounds, and milliseconds of a subject's work in one.
const FULL: (u16, u16) = (21, 200);
const QUICK: (u16, u16) = (5, 20);

fn main() -> ExitCode {
    let Cli { command } = Cli::parse();
    let done = match &command {
        What::Peers(_) | What::Report(_) if !cfg!(feature = "peers") => again_with_peers(),
        What::Limits(run) => one(run, cells::limits()),
        What::Peers(run) => one(run, cells::peers()),
        What::Matrix(run) => one(run, cells::matrix()),
        What::Report(extent) => all(extent),
        What::Hot { path, count } => execute(path.as_deref(), *count),
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
    eprintln!("annulus-bench: built without other queues; runs again with `--features peers`");
    let mut command = Command::new(cargo);
    command.args(["run", "--release", "-p", "annulus-bench"]);
    command.args(["--features", "peers", "--"]);
    // In our place, so that a signal to us is one to it.
    let error = command.args(env::args_os().skip(1)).exec();
    Err(format!("cargo: {error}"))
}

/// Measures these cells, tells, and exports.
fn one(run: &Run, cells: Vec<Cell>) -> Result<ExitCode, String> {
    let cells = wanted(run, cells);
    if cells.is_empty() {
        return Err(format!(
            "no cell's name begins with {}",
            run.only.join(" or ")
        ));
    }
    if run.list {
        for cell in cells {
            println!("{:<24}{}", cell.name, cell.what);
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(path) = &run.export_json {
        document::writable(path)?;
    }
    let outcomes = measure(&run.extent, &cells)?;
    let report = Report::new(outcomes, notes(&run.extent));
    if let Some(path) = &run.export_json {
        document::write(path, &report.json()?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures everything and writes the document.
fn all(extent: &Extent) -> Result<ExitCode, String> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    document::writable(&docs.join("performance.md"))?;
    still::valgrind()?;
    let mut parts = Vec::new();
    for (name, cells) in [
        ("limits", cells::limits()),
        ("peers", cells::peers()),
        ("matrix", cells::matrix()),
    ] {
        let report = Report::new(measure(extent, &cells)?, notes(extent));
        parts.push(Part { name, report });
    }
    document::publish(&docs, &parts)?;
    println!("written: {}", docs.join("performance.md").display());
    Ok(ExitCode::SUCCESS)
}

fn wanted(run: &Run, cells: Vec<Cell>) -> Vec<Cell> {
    let named = |cell: &Cell| {
        run.only
            .iter()
            .any(|name| cell.name.starts_with(name.as_str()))
    };
    let all = run.only.is_empty();
    cells
        .into_iter()
        .filter(|cell| all || named(cell))
        .collect()
}

fn notes(extent: &Extent) -> Vec<String> {
    let (rounds, millis) = extent.size();
    let before = if extent.real_time {
        ", actors with a processor each before all other tasks"
    } else {
        ""
    };
    let mut notes = vec![format!("{rounds} rounds of {millis} ms{before}")];
    if extent.quick {
        notes.push("a quick run: not to be quoted".to_owned());
    }
    notes
}

impl Extent {
    /// Rounds, and milliseconds of a subject's work in one.
    fn size(&self) -> (u16, u16) {
        let (rounds, millis) = if self.quick { QUICK } else { FULL };
        (self.rounds.unwrap_or(rounds), self.millis.unwrap_or(millis))
    }
}

fn measure(extent: &Extent, cells: &[Cell]) -> Result<Vec<Outcome>, String> {
    let (rounds, millis) = extent.size();
    if cells.iter().any(|cell| cell.unit == still::INSTRUCTIONS) {
        still::valgrind()?;
    }
    let mut stage = Stage::new(Duration::from_millis(millis.into()), cells::CAPACITY)?;
    stage.real_time = extent.real_time;
    stage.fault = extent.inject_fault;
    let mut outcomes = Vec::new();
    for cell in cells {
        let outcome = cell.run(&mut stage, rounds.into())?;
        println!("{}", text(&outcome));
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

fn execute(path: Option<&str>, count: u64) -> Result<ExitCode, String> {
    let Some(path) = path else {
        hot::PATHS.iter().for_each(|(name, _)| println!("{name}"));
        return Ok(ExitCode::SUCCESS);
    };
    let known = hot::PATHS.iter().find(|(name, _)| *name == path);
    let (_, execute) = known.ok_or_else(|| format!("no hot path is called {path}"))?;
    execute(count)?;
    Ok(ExitCode::SUCCESS)
}
