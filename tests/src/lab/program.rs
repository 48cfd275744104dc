//! The program `crash-lab`: what it is asked to do, and what it prints.

use super::pids;
use super::row::Row;
use super::run::{Done, Settings, Table, Task, processors, run};
use super::storm::{self, Plan};
use annulus::Kind;
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "\
usage: crash-lab [--all] [--quick] [--only WORD...] [--summary] [--list] [--workers N] [--seed N]

  --all            everything (the default)
  --quick          some steps of everything, in less than a minute
  --only WORD...   what has every one of these words in its name, or this very name; --list tells them
  --summary        one line a scenario, and no more
  --list           names what would be done
  --workers N      processes at work; as many as there are processors if not given
  --seed N         chooses the steps of --quick

Kills a process after every instruction of every operation on every kind of ring, and counts what the
survivors then lost, received twice or torn, and how often they hung for more than a second.
Ends with 0 if all four are 0, with 1 if not, with 2 if it was called wrongly.";

/// What was asked for.
struct Asked {
    quick: bool,
    only: Vec<String>,
    summary: bool,
    list: bool,
    workers: usize,
    seed: u64,
}

impl Asked {
    fn wants(&self, name: &str) -> bool {
        self.only.iter().all(|word| name.contains(word.as_str()))
    }

    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut asked = Self {
            quick: false,
            only: vec![],
            summary: false,
            list: false,
            workers: processors().len(),
            seed: 0,
        };
        let mut only = false;
        while let Some(word) = words.next() {
            let mut number = |word: &str| -> Result<u64, String> {
                let found = words.next().unwrap_or_default();
                let parsed = found.parse();
                parsed.map_err(|_| format!("expected a number after {word}, found '{found}'"))
            };
            match word.as_str() {
                "--only" => {
                    only = true;
                    continue;
                }
                "--all" => {}
                "--quick" => asked.quick = true,
                "--summary" => asked.summary = true,
                "--list" => asked.list = true,
                "--workers" => asked.workers = number("--workers")?.clamp(1, 32) as usize,
                "--seed" => asked.seed = number("--seed")?,
                "--help" | "-h" => return Err(String::new()),
                _ if only && !word.starts_with('-') => {
                    asked.only.push(word);
                    continue;
                }
                _ => {
                    return Err(format!(
                        "expected --all, --quick, --only, --summary, --list, --workers, --seed or --help, \
                         found '{word}'"
                    ));
                }
            }
            only = false;
        }
        if only && asked.only.is_empty() {
            return Err("expected words after --only, found none".to_owned());
        }
        Ok(asked)
    }
}

/// What has a process of its own for everybody in it.
enum Game {
    Storm(Plan),
    Pids(Kind, &'static str),
}

impl std::fmt::Display for Game {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Storm(plan) => write!(f, "{} {}", plan.kind, plan.name()),
            Self::Pids(kind, scenario) => write!(f, "{kind} {scenario}"),
        }
    }
}

impl Game {
    /// All of them, long or short.
    fn all(quick: bool, seed: u64) -> Vec<Self> {
        let plans = Plan::all(if quick { 20 } else { 1000 }, 4.0, seed);
        let games = pids::games();
        let games = games.into_iter().map(|(kind, game)| Self::Pids(kind, game));
        plans.into_iter().map(Self::Storm).chain(games).collect()
    }

    /// Plays it. Returns its line, and says what was wrong.
    fn play(&self, quick: bool) -> Row {
        match self {
            Self::Storm(plan) => {
                let program = std::env::current_exe().expect("this program has a path");
                let outcome = storm::run(plan, &program);
                for fault in &outcome.faults {
                    eprintln!("{self}: {fault}");
                }
                outcome.row()
            }
            Self::Pids(kind, scenario) => {
                pids::play(*kind, scenario, if quick { 20 } else { 1000 })
            }
        }
    }
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.split_first() {
        Some((&storm::ACT, rest)) => return storm::act(rest),
        Some((&pids::ACT, rest)) => return pids::act(rest),
        _ => {}
    }
    let asked = match Asked::parse(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(why) if why.is_empty() => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("crash-lab: {why}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let mut tasks = Task::all();
    tasks.retain(|task| asked.wants(&task.to_string()));
    let mut games = Game::all(asked.quick, asked.seed);
    games.retain(|game| asked.wants(&game.to_string()));
    // A whole name means that one alone.
    if let [only] = &asked.only[..]
        && let Some(&task) = tasks.iter().find(|task| task.to_string() == *only)
    {
        (tasks, games) = (vec![task], vec![]);
    }
    if asked.quick {
        tasks = Task::some(tasks, asked.seed);
    }
    if tasks.is_empty() && games.is_empty() {
        eprintln!(
            "crash-lab: nothing has all of these words in its name: {}; --list tells the names",
            asked.only.join(" ")
        );
        return ExitCode::from(2);
    }
    if asked.list {
        let names = tasks.iter().map(|task| format!("{task}\n"));
        let names = names.chain(games.iter().map(|game| format!("{game}\n")));
        // Whoever reads no further has seen enough.
        let _ = std::io::stdout().write_all(names.collect::<String>().as_bytes());
        return ExitCode::SUCCESS;
    }
    let settings = Settings {
        spread: asked.quick.then_some(16),
        seed: asked.seed,
        workers: asked.workers.min(tasks.len()),
    };
    let table = show(&tasks, &games, &settings, &asked);
    println!("{}", Row::total(&table.rows));
    if table.rows.iter().all(|row| row.faults() == 0) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs the tasks and prints what they show.
fn show(tasks: &[Task], games: &[Game], settings: &Settings, asked: &Asked) -> Table {
    let since = Instant::now();
    let mut table = Table::default();
    // In the order of the list, whoever is done first.
    tasks.iter().for_each(|task| table.add(&task.row()));
    let (mut steps, mut strayed, mut count) = (0, 0, 0);
    let done = |done: Done| {
        table.add(&done.row);
        steps += done.steps;
        strayed += done.strayed;
        count += 1;
        if !asked.summary {
            println!(
                "{}: {} instructions, {} kills, {} strayed, {} its own, {:.1} s",
                tasks[done.task],
                done.steps,
                done.row.kills,
                done.strayed,
                done.row.own,
                done.time.as_secs_f64()
            );
            let _ = std::io::stdout().flush();
        }
    };
    run(tasks, settings, done, |_, text| eprintln!("{text}"));
    for game in games {
        let row = game.play(asked.quick);
        if !asked.summary {
            println!("{game}: {} kills", row.kills);
        }
        table.add(&row);
    }
    println!("{}", Row::header());
    table.rows.iter().for_each(|row| println!("{row}"));
    println!(
        "\n{count} states, {steps} instructions, {strayed} victims walked, {} records taken by killed receivers, {:.0} s",
        table.rows.iter().map(|row| row.own).sum::<u64>(),
        since.elapsed().as_secs_f64()
    );
    table
}
