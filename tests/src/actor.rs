//! Other processes in a test. An [`Actor`] is a run of the program `actor`, which obeys one line at a time
//! and answers each with one line; see `src/bin/actor.rs` for the words. It is killed when it is dropped.

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// What counts as a hang.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A process that obeys.
#[derive(Debug)]
pub struct Actor {
    child: Child,
    input: ChildStdin,
    answers: mpsc::Receiver<String>,
}

impl Actor {
    /// Starts `program`, which is `env!("CARGO_BIN_EXE_actor")`.
    pub fn start(program: &str, arguments: &[&str]) -> Self {
        Self::of(Command::new(program).args(arguments))
    }

    /// Starts a command that runs the program.
    pub fn of(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the actor can be started");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (send, answers) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
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
        writeln!(self.input, "{line}").expect("the actor listens");
    }

    /// The next answer.
    pub fn answer(&self) -> String {
        self.answer_within(PATIENCE).expect("the actor hangs")
    }

    /// The next answer, if it comes in time.
    pub fn answer_within(&self, time: Duration) -> Option<String> {
        match self.answers.recv_timeout(time) {
            Ok(answer) => Some(answer),
            Err(mpsc::RecvTimeoutError::Timeout) => None,
            Err(mpsc::RecvTimeoutError::Disconnected) => panic!("the actor has gone"),
        }
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

    /// Kills it as nobody can prevent, and waits until it is dead.
    pub fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it was not waited for before");
    }

    /// Stops it, and waits until it has stopped.
    pub fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        let pid = Pid::from_raw(self.pid() as i32);
        let since = Instant::now();
        loop {
            let flags = WaitPidFlag::WUNTRACED | WaitPidFlag::WNOHANG;
            match waitpid(pid, Some(flags)).expect("it is our child") {
                WaitStatus::Stopped(..) => return,
                _ => assert!(since.elapsed() < PATIENCE, "it does not stop"),
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal).expect("it is our child");
    }

    /// Lets it end by itself, and asserts that it ends well.
    pub fn end(mut self) {
        self.tell("end");
        self.ended();
    }

    /// Waits until it has ended by itself, well or not.
    pub fn gone(mut self) {
        let since = Instant::now();
        while self.child.try_wait().expect("it is our child").is_none() {
            assert!(since.elapsed() < PATIENCE, "the actor does not end");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until it has ended by itself, for ten minutes, and asserts that it ended well.
    pub fn ended(mut self) {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                assert!(status.success(), "the actor ended with {status}");
                return;
            }
            assert!(since.elapsed() < 20 * PATIENCE, "the actor does not end");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
