//! Other processes in a test: the test program itself, told by an environment variable to obey. An [`Actor`] takes one line
//! at a time and answers each with one line. It is killed when it is dropped.

#![allow(dead_code, reason = "each test uses a part")]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// What counts as a hang.
pub const PATIENCE: Duration = Duration::from_secs(60);

const ROLE: &str = "ANNULUS_ACTOR";
/// Before each answer; the test harness prints other lines.
const MARK: &str = "@@";

/// What this process is to play, if it was started as an actor.
pub fn role() -> Option<Vec<String>> {
    let role = std::env::var(ROLE).ok()?;
    Some(role.split(' ').map(str::to_owned).collect())
}

/// In an actor: obeys until its input ends.
pub fn obey(mut answer: impl FnMut(&[&str]) -> String) {
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let words: Vec<_> = line.split(' ').collect();
        if words == ["end"] {
            return;
        }
        say(&answer(&words));
    }
}

/// In an actor: answers.
pub fn say(answer: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{MARK}{answer}").expect("somebody listens");
    out.flush().expect("somebody listens");
}

/// A process that obeys.
#[derive(Debug)]
pub struct Actor {
    child: Child,
    input: Option<ChildStdin>,
    answers: mpsc::Receiver<String>,
}

impl Actor {
    /// Starts the test `actor` of this program in a process of its own.
    pub fn start(role: &str) -> Self {
        Self::of(
            Command::new(std::env::current_exe().expect("this program"))
                .args(["actor", "--exact", "--nocapture", "--test-threads=1"])
                .env(ROLE, role),
        )
    }

    /// Starts a command that runs the test `actor`.
    pub fn of(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the actor can be started");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (send, answers) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some((_, answer)) = line.split_once(MARK) {
                    if send.send(answer.to_owned()).is_err() {
                        return;
                    }
                }
            }
        });
        let input = child.stdin.take();
        Self {
            child,
            input,
            answers,
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Says a line, without waiting for the answer.
    pub fn tell(&mut self, line: &str) {
        let input = self.input.as_mut().expect("it has not ended");
        writeln!(input, "{line}").expect("the actor listens");
    }

    /// The next answer.
    pub fn answer(&self) -> String {
        self.answers
            .recv_timeout(PATIENCE)
            .expect("the actor hangs, or has gone")
    }

    /// Says a line and waits for the answer.
    pub fn ask(&mut self, line: &str) -> String {
        self.tell(line);
        self.answer()
    }

    /// Says a line whose answer is `ok`.
    pub fn must(&mut self, line: &str) {
        assert_eq!(self.ask(line), "ok", "the answer to '{line}'");
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal).expect("it is our child");
    }

    /// Kills it as nobody can prevent, and waits until it is dead.
    pub fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it was not waited for before");
    }

    /// Lets it end by itself, and asserts that it ends well.
    pub fn end(mut self) {
        self.tell("end");
        self.input = None;
        let status = self.child.wait().expect("it was not waited for before");
        assert!(status.success(), "the actor ended with {status}");
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
