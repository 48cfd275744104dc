//! Runs all that is asked for, in a few worker processes, and puts the table together.
//!
//! A worker has one thread, since it forks victims. It takes the next task from a counter that all share, and writes what
//! it found to a pipe, a line each. Whoever started it watches that it goes on: a worker that does not is killed, and
//! counts as a survivor that hung.

use super::cell::{Cell, FormName};
use super::crowd::{CrowdCell, kill as kill_in_crowd};
use super::form::{Long, Short, Typed};
use super::kill::{Choice, Report, kill};
use super::names::{NameCell, kill as kill_names};
use super::page::Page;
use super::pairs::{PairCell, kill as kill_pairs};
use super::row::Row;
use super::stage::spawn;
use super::stops::{StopCell, stop as stop_all};
use super::watch::Watch;
use annulus::{Kind, Mpmc, Mpsc, Spmc, Spsc};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{Signal, kill as signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// A worker that begins no step for so long hangs. Many times more than a survivor may take.
const STUCK: Duration = Duration::from_secs(30);

/// So many scenarios are tried all of them, even in a hurry.
const FEW: usize = 30;

/// Between two looks at the workers.
const PAUSE: Duration = Duration::from_millis(5);

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Only so many steps of each cell, if given.
    pub spread: Option<usize>,
    /// Chooses them.
    pub seed: u64,
    /// Worker processes.
    pub workers: usize,
}

/// Something that a worker does at once.
#[derive(Clone, Copy, Debug)]
pub enum Task {
    /// A death after every instruction.
    Kill(Cell),
    /// The same while a name is made, opened or removed.
    Name(NameCell),
    /// A death, and another while it is repaired.
    Pair(PairCell),
    /// A stop after every instruction.
    Stop(StopCell),
    /// A death after every instruction, while others use the ring.
    Crowd(CrowdCell),
}

/// Calls a generic function with the form and the kind that a cell names.
macro_rules! typed {
    ($cell:expr, $function:ident($($argument:expr),*)) => {
        match ($cell.form, $cell.kind) {
            (FormName::Typed, Kind::Spsc) => $function::<Typed, Spsc>($($argument),*),
            (FormName::Typed, Kind::Mpsc) => $function::<Typed, Mpsc>($($argument),*),
            (FormName::Typed, Kind::Spmc) => $function::<Typed, Spmc>($($argument),*),
            (FormName::Typed, Kind::Mpmc) => $function::<Typed, Mpmc>($($argument),*),
            (FormName::Short, Kind::Spsc) => $function::<Short, Spsc>($($argument),*),
            (FormName::Short, Kind::Mpsc) => $function::<Short, Mpsc>($($argument),*),
            (FormName::Short, Kind::Spmc) => $function::<Short, Spmc>($($argument),*),
            (FormName::Short, Kind::Mpmc) => $function::<Short, Mpmc>($($argument),*),
            (FormName::Long, Kind::Spsc) => $function::<Long, Spsc>($($argument),*),
            (FormName::Long, Kind::Mpsc) => $function::<Long, Mpsc>($($argument),*),
            (FormName::Long, Kind::Spmc) => $function::<Long, Spmc>($($argument),*),
            (FormName::Long, Kind::Mpmc) => $function::<Long, Mpmc>($($argument),*),
        }
    };
}

impl Task {
    /// Everything there is.
    pub fn all() -> Vec<Self> {
        let kills = Cell::all().into_iter().map(Self::Kill);
        let names = NameCell::all().into_iter().map(Self::Name);
        let pairs = PairCell::all().into_iter().map(Self::Pair);
        let stops = StopCell::all().into_iter().map(Self::Stop);
        let crowds = CrowdCell::all().into_iter().map(Self::Crowd);
        let alone = kills.chain(names).chain(pairs).chain(stops);
        alone.chain(crowds).collect()
    }

    /// One of each scenario, and of many scenarios one in two: others with another seed.
    pub fn some(tasks: Vec<Self>, seed: u64) -> Vec<Self> {
        let mut scenarios: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (number, task) in tasks.iter().enumerate() {
            let row = task.row();
            let like = scenarios.entry((row.kind, row.scenario)).or_default();
            like.push(number);
        }
        let few = scenarios.len() <= FEW;
        let mut numbers: Vec<_> = scenarios
            .values()
            .enumerate()
            .filter(|(at, _)| few || (at + seed as usize).is_multiple_of(2))
            .map(|(at, like)| like[(at + seed as usize / 2) % like.len()])
            .collect();
        numbers.sort_unstable();
        numbers.into_iter().map(|number| tasks[number]).collect()
    }

    /// Its line in the table, empty.
    pub fn row(&self) -> Row {
        match self {
            Self::Kill(cell) => cell.row(),
            Self::Name(cell) => cell.row(),
            Self::Pair(pair) => pair.row(),
            Self::Stop(cell) => cell.row(),
            Self::Crowd(cell) => cell.row(),
        }
    }

    /// Does it.
    fn run(&self, settings: &Settings, watch: &Watch) -> Report {
        let choice = |part: usize| match settings.spread {
            None => Choice::All,
            Some(count) => Choice::Spread((count / part).max(1), settings.seed),
        };
        match self {
            Self::Kill(cell) => typed!(cell, kill(cell, choice(1), watch)),
            Self::Name(cell) => typed!(cell, kill_names(cell, choice(1), watch)),
            Self::Stop(stop) => {
                let StopCell(cell) = stop;
                typed!(cell, stop_all(stop, choice(1), watch))
            }
            Self::Pair(pair) => {
                let cell = &pair.cell;
                typed!(cell, kill_pairs(pair, choice(4), watch))
            }
            Self::Crowd(crowd) => {
                let (CrowdCell(cell), seed) = (crowd, settings.seed);
                typed!(cell, kill_in_crowd(crowd, choice(4), seed, watch))
            }
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(cell) => write!(f, "{cell}"),
            Self::Name(cell) => write!(f, "{cell}"),
            Self::Pair(pair) => write!(f, "{pair}"),
            Self::Stop(cell) => write!(f, "{cell}"),
            Self::Crowd(cell) => write!(f, "{cell}"),
        }
    }
}

/// What a task has shown, as it comes through the pipe.
#[derive(Clone, Debug)]
pub struct Done {
    /// Which task.
    pub task: usize,
    /// Its line.
    pub row: Row,
    /// Instructions stepped through.
    pub steps: usize,
    /// Victims that had to be walked.
    pub strayed: u64,
    /// How long it took.
    pub time: Duration,
}

/// A worker, seen from outside.
struct Worker {
    pid: Pid,
    beats: u64,
    since: Instant,
    ended: bool,
}

/// The processors that we may use.
pub fn processors() -> Vec<usize> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).expect("our processors");
    let is_allowed = |&number: &usize| allowed.is_set(number).unwrap_or(false);
    (0..CpuSet::count()).filter(is_allowed).collect()
}

/// The processors that our parent may use and we may not; ours, if there are no others.
pub fn elsewhere() -> Vec<usize> {
    let ours = processors();
    let all = sched_getaffinity(nix::unistd::getppid());
    let others = |number: &usize| {
        let allowed = all.is_ok_and(|all| all.is_set(*number).unwrap_or(false));
        allowed && !ours.contains(number)
    };
    let others: Vec<_> = (0..CpuSet::count()).filter(others).collect();
    if others.is_empty() { ours } else { others }
}

/// Keeps this process, and what it forks, on these processors.
pub fn stay_on(numbers: &[usize]) {
    let mut set = CpuSet::new();
    // Where that is refused, it is only slower.
    for &number in numbers {
        let _ = set.set(number);
    }
    let _ = sched_setaffinity(Pid::from_raw(0), &set);
}

/// Runs the tasks. `done` is told of each, `fault` of what was wrong.
///
/// # Panics
///
/// If no worker can be started.
pub fn run(
    tasks: &[Task],
    settings: &Settings,
    mut done: impl FnMut(Done),
    mut fault: impl FnMut(&Task, &str),
) {
    let page = Page::new();
    let (mut reader, writer) = std::io::pipe().expect("a pipe can be made");
    set_nonblocking(&reader);
    let processors = processors();
    let start = |number: usize| {
        let work = || {
            stay_on(&[processors[number % processors.len()]]);
            work(tasks, settings, &page, &Watch::new(&page, number), &writer);
        };
        Worker {
            pid: spawn(work).expect("a worker can be started"),
            beats: 0,
            since: Instant::now(),
            ended: false,
        }
    };
    let mut workers: Vec<_> = (0..settings.workers).map(start).collect();
    let mut text = Vec::new();
    let mut over = false;
    while !over {
        // Those who ended have written all they had to say before.
        over = workers.iter().all(|worker| worker.ended);
        read_all(&mut reader, &mut text);
        while let Some(end) = text.iter().position(|&byte| byte == b'\n') {
            let line: Vec<_> = text.drain(..=end).collect();
            hear(
                tasks,
                String::from_utf8_lossy(&line).trim_end(),
                &mut done,
                &mut fault,
            );
        }
        for (number, worker) in workers.iter_mut().enumerate() {
            if worker.ended {
                continue;
            }
            let watch = Watch::new(&page, number);
            let status = waitpid(worker.pid, Some(WaitPidFlag::WNOHANG));
            let why = match status {
                Ok(WaitStatus::Exited(_, 0)) => {
                    worker.ended = true;
                    continue;
                }
                Ok(WaitStatus::StillAlive) if watch.beats() != worker.beats => {
                    (worker.beats, worker.since) = (watch.beats(), Instant::now());
                    continue;
                }
                Ok(WaitStatus::StillAlive) if worker.since.elapsed() < STUCK => continue,
                Ok(WaitStatus::StillAlive) => {
                    let _ = signal(worker.pid, Signal::SIGKILL);
                    let _ = waitpid(worker.pid, None);
                    format!("a survivor hung for {} s", STUCK.as_secs())
                }
                other => format!("a survivor ended: {other:?}"),
            };
            let (task, step) = watch.place();
            if let Some(task) = tasks.get(task) {
                fault(task, &format!("{task}: at step {step} {why}"));
            }
            let mut row = tasks.get(task).map(Task::row).unwrap_or_default();
            (row.kills, row.hung) = (1, 1);
            done(Done {
                task,
                row,
                steps: 0,
                strayed: 0,
                time: STUCK,
            });
            *worker = start(number);
        }
        std::thread::sleep(PAUSE);
    }
}

fn set_nonblocking(pipe: &PipeReader) {
    // SAFETY: a descriptor of ours, and no memory.
    unsafe { nix::libc::fcntl(pipe.as_raw_fd(), nix::libc::F_SETFL, nix::libc::O_NONBLOCK) };
}

/// Reads what is there.
fn read_all(reader: &mut PipeReader, text: &mut Vec<u8>) {
    let mut part = [0; 4096];
    while let Ok(count @ 1..) = reader.read(&mut part) {
        text.extend_from_slice(&part[..count]);
    }
}

/// A worker's life.
fn work(tasks: &[Task], settings: &Settings, page: &Page, watch: &Watch, mut writer: &PipeWriter) {
    loop {
        let next = page[0].fetch_add(1, Relaxed) as usize;
        let Some(task) = tasks.get(next) else {
            return;
        };
        watch.begin(next);
        let since = Instant::now();
        let report = task.run(settings, watch);
        let mut say = |line: String| {
            // Short enough for the pipe to take it in one piece.
            let cut = line
                .char_indices()
                .nth(1500)
                .map_or(line.len(), |(at, _)| at);
            let line = format!("{}\n", line[..cut].replace('\n', "; "));
            writer.write_all(line.as_bytes()).expect("somebody reads");
        };
        for text in &report.faults {
            say(format!("fault\t{next}\t{text}"));
        }
        let row = &report.row;
        say(format!(
            "done\t{next}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
            row.kills,
            row.lost,
            row.duplicated,
            row.torn,
            row.hung,
            row.own,
            report.steps,
            report.strayed,
            since.elapsed().as_micros()
        ));
    }
}

/// Understands a worker's line.
fn hear(
    tasks: &[Task],
    line: &str,
    done: &mut impl FnMut(Done),
    fault: &mut impl FnMut(&Task, &str),
) {
    let mut fields = line.split('\t');
    let (word, task) = (
        fields.next(),
        fields.next().and_then(|task| task.parse().ok()),
    );
    let Some((task, subject)) = task.and_then(|at: usize| Some((at, tasks.get(at)?))) else {
        return;
    };
    if word == Some("fault") {
        return fault(subject, fields.next().unwrap_or_default());
    }
    let mut next = || {
        fields
            .next()
            .and_then(|field| field.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let mut row = subject.row();
    row.kills = next();
    row.lost = next();
    row.duplicated = next();
    row.torn = next();
    row.hung = next();
    row.own = next();
    done(Done {
        task,
        row,
        steps: next() as usize,
        strayed: next(),
        time: Duration::from_micros(next()),
    });
}

/// Sums the rows of equal scenarios, in the order in which they first came.
#[derive(Debug, Default)]
pub struct Table {
    places: BTreeMap<(String, String), usize>,
    /// The lines.
    pub rows: Vec<Row>,
}

impl Table {
    /// Adds a line to its like.
    pub fn add(&mut self, row: &Row) {
        let key = (row.kind.clone(), row.scenario.clone());
        let place = *self.places.entry(key).or_insert(self.rows.len());
        match self.rows.get_mut(place) {
            Some(sum) => *sum += row,
            None => self.rows.push(row.clone()),
        }
    }
}
