//! The number of a process says nothing about whether it lives.
//!
//! *Reuse:* whoever holds something in a ring is killed, and its number goes to another process at once
//! (`/proc/sys/kernel/ns_last_pid`), which may attach to the same ring or not. The dead one must be seen dead, and
//! what it held go on; the living one of the same number must not be taken for it. All of that happens in a fresh
//! namespace of process numbers, in which nobody else draws any.
//!
//! *Namespaces:* two that hold something in one ring have the same number, each in a namespace of its own. One is
//! killed. Those outside, beside the dead and beside the living must all say the same of both.

mod puppet;

use super::row::Row;
use super::storm::option;
use annulus::{
    Kind, Mpmc, Mpsc, Protocol, Receiver, RecvTimeoutError, Ring, RingOptions, Spmc, Spsc,
    WhenClosed, WhenDead,
};
use nix::sched::{CloneFlags, unshare};
use puppet::{Line, PATIENCE, Puppet, attached, holder};
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// What the command lines of the processes begin with that play.
pub const ACT: &str = "pids-act";

/// What a scenario is called that the system does not allow.
const NOT_PERMITTED: &str = "not permitted here";

/// How long it is watched that a living holder is left alone.
const A_WHILE: Duration = Duration::from_millis(2);

/// Plays all games that `words` do not leave out, and prints what came of them: `[--count N] [--only WORDS]`, N
/// reuses. A game that the system does not allow has no kills, and says so.
pub fn command(words: &[&str]) -> Vec<Row> {
    let count: u64 = option(words, "--count").unwrap_or(200);
    let only: String = option(words, "--only").unwrap_or_default();
    let mut rows = vec![];
    for (kind, scenario) in games() {
        if format!("{kind} {scenario}").contains(&only) {
            let row = play(kind, scenario, count);
            println!("{row}");
            rows.push(row);
        }
    }
    rows
}

/// The games that there are.
pub fn games() -> Vec<(Kind, &'static str)> {
    let games = |kind| [(kind, "pid reuse"), (kind, "pid namespaces")];
    Kind::ALL.into_iter().flat_map(games).collect()
}

/// One game, in a process of its own.
pub fn play(kind: Kind, scenario: &str, count: u64) -> Row {
    let mut row = Row::new(&kind.to_string(), scenario);
    let program = std::env::current_exe().expect("this program has a path");
    let game = scenario.trim_start_matches("pid ");
    let output = Command::new(program)
        .args([ACT, game, &kind.to_string(), &count.to_string()])
        .stderr(std::process::Stdio::inherit())
        .output()
        .expect("this program can be started");
    let said = String::from_utf8_lossy(&output.stdout);
    let words: Vec<&str> = said.split_whitespace().collect();
    match words[..] {
        ["done", kills, lost, hung] if output.status.success() => {
            let number = |word: &str| word.parse().expect("a number");
            row.kills = number(kills);
            row.lost = number(lost);
            row.hung = number(hung);
        }
        ["not", "permitted"] => row.scenario = format!("{scenario}: {NOT_PERMITTED}"),
        // Whatever it is, it did not come to an end.
        _ => row.hung = 1,
    }
    row
}

/// Plays; `words` are what stands on the command line after [`ACT`].
pub fn act(words: &[&str]) -> ExitCode {
    // SAFETY: takes no pointer. Nobody outlives whoever asked.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    let [game, kind, count] = *words else {
        eprintln!("expected GAME KIND COUNT, got {words:?}");
        return ExitCode::FAILURE;
    };
    let count = count.parse().expect("a number");
    let score = match kind.parse().expect("a kind") {
        Kind::Spsc => game_on::<Spsc>(game, count),
        Kind::Mpsc => game_on::<Mpsc>(game, count),
        Kind::Spmc => game_on::<Spmc>(game, count),
        Kind::Mpmc => game_on::<Mpmc>(game, count),
    };
    match score {
        Ok(said) => println!("{said}"),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => println!("not permitted"),
        Err(error) => {
            eprintln!("{game}: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn game_on<K: Protocol>(game: &str, count: u64) -> io::Result<String> {
    if game == "namespaces" {
        return namespaces::<K>(count / 10 + 1).map(|score| score.line());
    }
    unshare(CloneFlags::CLONE_NEWPID)?;
    // The first child is the namespace's first process, and sees all others end.
    let mut first = Puppet::fork(|mut line| {
        line.hear();
        line.say(&match reuse::<K>(count) {
            Ok(score) => score.line(),
            Err(error) => format!("error {error}"),
        });
    })?;
    first.wait_for_ever();
    let said = first.ask("begin");
    match said.strip_prefix("error ") {
        Some(error) if error.contains("Permission denied") => Ok("not permitted".to_owned()),
        Some(error) => Err(io::Error::other(error.to_owned())),
        None => Ok(said),
    }
}

/// What came of a game so far.
#[derive(Debug, Default)]
struct Score {
    kills: u64,
    lost: u64,
    wrong: u64,
}

impl Score {
    fn line(&self) -> String {
        format!("done {} {} {}", self.kills, self.lost, self.wrong)
    }

    /// Counts a verdict, and says the first wrong ones.
    fn check<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, found: T, expected: T) {
        if found != expected {
            self.wrong += 1;
            if self.wrong < 10 {
                eprintln!("{what}: found {found:?}, expected {expected:?}");
            }
        }
    }

    /// Receives a record that must come.
    fn must_come<K: Protocol>(&mut self, receiver: &mut Receiver<u64, K>, number: u64) {
        let got = receiver.recv_timeout(PATIENCE);
        if got != Ok(number) {
            self.lost += 1;
            eprintln!("received {got:?}, expected {number}");
        }
    }
}

fn new<K: Protocol>() -> (Ring<u64, K>, String) {
    let ring: Ring<u64, K> = RingOptions::new()
        .capacity(8)
        .memfd()
        .expect("a small ring");
    let fd = ring.as_fd().expect("a memory file").as_raw_fd();
    (ring, format!("/proc/self/fd/{fd}"))
}

fn patient<K: Protocol>(ring: &Ring<u64, K>) -> Receiver<u64, K> {
    let mut receiver = ring.receiver().expect("a place for a receiver");
    receiver.on_peer_death(WhenDead::Wait);
    receiver.on_close(WhenClosed::Wait);
    receiver
}

/// Has the next process of this namespace get the number `pid`, if it is free.
fn next_is(pid: i32) -> io::Result<()> {
    fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string())
}

/// A holder whose number is `pid`.
fn holder_with<K: Protocol>(pid: i32, path: &str) -> io::Result<Puppet> {
    for _ in 0..100 {
        next_is(pid)?;
        let puppet = Puppet::fork(|line| holder::<K>(line, path))?;
        if puppet.pid == pid {
            return Ok(puppet);
        }
    }
    Err(io::Error::other(format!("{pid} is taken")))
}

/// The first process of a namespace lets the numbers of the killed go to others.
fn reuse<K: Protocol>(count: u64) -> io::Result<Score> {
    let (ring, path) = new::<K>();
    let mut score = Score::default();
    // Whether the kernel does what we ask at all; a number far from our own.
    drop(holder_with::<K>(300, &path)?);
    for round in 0..count {
        let pid = 300 + (round % 100) as i32;
        let newcomer = round / 2 % 2 == 0;
        if round % 2 == 0 {
            dead_sender(&ring, &path, pid, newcomer, round, &mut score)?;
        } else {
            dead_receiver(&ring, &path, pid, newcomer, round, &mut score)?;
        }
        let left = attached(&ring.info());
        score.check("after the round", left.as_str(), " | ");
    }
    Ok(score)
}

/// A sender is killed with an open claim.
fn dead_sender<K: Protocol>(
    ring: &Ring<u64, K>,
    path: &str,
    pid: i32,
    newcomer: bool,
    round: u64,
    score: &mut Score,
) -> io::Result<()> {
    let voided = ring.info().voided;
    let mut receiver = patient(ring);
    let me = std::process::id();
    let mut first = holder_with::<K>(pid, path)?;
    score.check("first", first.ask("sender 1").as_str(), "open");
    let seen = attached(&ring.info());
    score.check("living sender", seen, format!("{pid}+ | {me}+"));
    first.kill();
    score.kills += 1;
    let mut second = holder_with::<K>(pid, path)?;
    let seen = second.ask("judge");
    score.check("dead sender", seen, format!("{pid}- | {me}+"));
    if newcomer {
        let said = second.ask(&format!("sender {round}"));
        score.check("newcomer", said.as_str(), "open");
        let seen = attached(&ring.info());
        score.check("newcomer of that number", seen, format!("{pid}+ | {me}+"));
        let early = receiver.recv_timeout(A_WHILE);
        score.check("open claim", early, Err(RecvTimeoutError::Timeout));
        score.check("commit", second.ask("commit").as_str(), "closed");
    } else {
        match ring.sender() {
            Ok(mut sender) => {
                let sent = sender.send_timeout(round, PATIENCE);
                score.check("successor", sent, Ok(()));
            }
            Err(why) => score.check("successor", why.to_string().as_str(), "attached"),
        }
    }
    score.must_come(&mut receiver, round);
    let claims = u64::from(K::KIND.many_senders());
    score.check("claims made void", ring.info().voided, voided + claims);
    Ok(())
}

/// A receiver is killed with a record in its hands.
fn dead_receiver<K: Protocol>(
    ring: &Ring<u64, K>,
    path: &str,
    pid: i32,
    newcomer: bool,
    round: u64,
    score: &mut Score,
) -> io::Result<()> {
    let mut sender = ring.sender().map_err(io::Error::other)?;
    let me = std::process::id();
    let mut first = holder_with::<K>(pid, path)?;
    score.check("first", first.ask("receiver").as_str(), "attached");
    sender.send(round).map_err(io::Error::other)?;
    score.check("first", first.ask("peek"), format!("{round} 0"));
    let seen = attached(&ring.info());
    score.check("living receiver", seen, format!("{me}+ | {pid}+"));
    first.kill();
    score.kills += 1;
    let mut second = holder_with::<K>(pid, path)?;
    let seen = second.ask("judge");
    score.check("dead receiver", seen, format!("{me}+ | {pid}-"));
    if newcomer {
        let tries = u64::from(K::KIND.many_receivers());
        score.check("newcomer", second.ask("receiver").as_str(), "attached");
        score.check("newcomer", second.ask("peek"), format!("{round} {tries}"));
        let returned = ring.info().returned;
        let seen = attached(&ring.info());
        score.check("newcomer of that number", seen, format!("{me}+ | {pid}+"));
        std::thread::sleep(A_WHILE);
        score.check("held record", ring.info().returned, returned);
        score.check("release", second.ask("release").as_str(), "closed");
        // Nobody gets it again.
        drop(second);
        let again = patient(ring).recv_timeout(A_WHILE);
        score.check("released record", again, Err(RecvTimeoutError::Timeout));
    } else {
        score.must_come(&mut patient(ring), round);
    }
    Ok(())
}

/// The first process of a namespace of its own. It plays with one more, whose number is 2:
///
/// ```text
/// judge       -> who is attached
/// kill        the other one                      -> killed
/// other LINE  asks it, after making it if there is none
/// ```
fn nest<K: Protocol>(mut line: Line, path: &str) {
    let ring = puppet::open::<K>(path);
    let mut other: Option<Puppet> = None;
    while let Some(said) = line.hear() {
        let answer = match said.strip_prefix("other ") {
            Some(said) => {
                if other.is_none() {
                    other = holder_with::<K>(2, path).ok();
                }
                match &mut other {
                    Some(other) => other.ask(said),
                    None => "not permitted".to_owned(),
                }
            }
            None if said == "kill" => {
                other = None;
                "killed".to_owned()
            }
            None => attached(&ring.info()),
        };
        line.say(&answer);
    }
}

/// A namespace, whose first process plays [`nest`]. A process may make one in its life, so another does it for us.
fn nested<K: Protocol>(path: &str) -> io::Result<Puppet> {
    Puppet::fork(|mut line| {
        let inner = unshare(CloneFlags::CLONE_NEWPID)
            .map_err(io::Error::from)
            .and_then(|()| Puppet::fork(|line| nest::<K>(line, path)));
        let mut inner = inner.ok();
        while let Some(said) = line.hear() {
            match &mut inner {
                Some(inner) => line.say(&inner.ask(&said)),
                None => line.say(NOT_PERMITTED),
            }
        }
    })
}

/// Asks outside and in both namespaces who is attached.
fn judge<K: Protocol>(
    ring: &Ring<u64, K>,
    nests: [&mut Puppet; 2],
    expected: &str,
    score: &mut Score,
) {
    score.check("outside", attached(&ring.info()).as_str(), expected);
    for (nest, name) in nests.into_iter().zip(["first", "second"]) {
        let what = format!("in the {name} namespace");
        score.check(&what, nest.ask("judge").as_str(), expected);
    }
}

/// Holders of the same number in two namespaces, of which now the one and now the other is killed.
fn namespaces<K: Protocol>(count: u64) -> io::Result<Score> {
    let (ring, path) = new::<K>();
    let mut score = Score::default();
    let (mut one, mut two) = (nested::<K>(&path)?, nested::<K>(&path)?);
    if [&mut one, &mut two].map(|nest| nest.ask("other judge")) != [" | ", " | "] {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    for round in 0..count {
        let info = ring.info();
        score.check("receiver", two.ask("other receiver").as_str(), "attached");
        let mut sender = ring.sender().map_err(io::Error::other)?;
        sender.send(round).map_err(io::Error::other)?;
        drop(sender);
        score.check("receiver", two.ask("other peek"), format!("{round} 0"));
        score.check("sender", one.ask("other sender 1").as_str(), "open");
        judge(&ring, [&mut one, &mut two], "2+ | 2+", &mut score);
        if round % 2 == 0 {
            one.ask("kill");
            judge(&ring, [&mut one, &mut two], "2- | 2+", &mut score);
            let mut sender = ring.sender().map_err(io::Error::other)?;
            sender.send(2).map_err(io::Error::other)?;
            score.check("held record", ring.info().returned, info.returned);
            score.check("release", two.ask("other release").as_str(), "closed");
            score.must_come(&mut patient(&ring), 2);
            let claims = u64::from(K::KIND.many_senders());
            score.check("made void", ring.info().voided, info.voided + claims);
        } else {
            two.ask("kill");
            judge(&ring, [&mut one, &mut two], "2+ | 2-", &mut score);
            let mut receiver = patient(&ring);
            score.must_come(&mut receiver, round);
            let early = receiver.recv_timeout(A_WHILE);
            score.check("open claim", early, Err(RecvTimeoutError::Timeout));
            score.check("made void", ring.info().voided, info.voided);
            score.check("commit", one.ask("other commit").as_str(), "closed");
            score.must_come(&mut receiver, 1);
        }
        score.kills += 1;
        score.check("after the round", attached(&ring.info()).as_str(), " | ");
    }
    Ok(score)
}
