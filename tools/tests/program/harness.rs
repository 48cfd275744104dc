//! Processes that cannot outlive a test, and names that cannot collide.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// No test waits longer than this for anything. It is a guard against hangs, no measure of speed.
pub const GUARD: Duration = Duration::from_secs(60);

/// A name in shared memory that no other test has, and that is free again after the test.
pub struct Name(pub String);

impl Name {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Relaxed);
        Self(format!("annulus-cli-test-{}-{number}", std::process::id()))
    }

    /// Where Linux shows it.
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/dev/shm").join(&self.0)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.path());
    }
}

/// How a process ended, and what it said.
#[derive(Debug)]
pub struct Outcome {
    /// `None`: killed by a signal.
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Outcome {
    /// Checks the exit code, and that stderr is empty.
    #[track_caller]
    pub fn quiet(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "stderr: {}", self.stderr);
        assert_eq!(self.stderr, "");
        self
    }

    /// Checks the exit code, and that stderr is one line that has all those words.
    #[track_caller]
    pub fn says(&self, code: i32, words: &[&str]) -> &Self {
        assert_eq!(self.code, Some(code), "stderr: {}", self.stderr);
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        for word in words {
            assert!(
                self.stderr.contains(word),
                "no {word:?} in {:?}",
                self.stderr
            );
        }
        self
    }
}

/// A running `annulus`. Killed when dropped.
pub struct Annulus {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<JoinHandle<String>>,
}

impl Annulus {
    /// Starts it with these arguments.
    pub fn start(args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_annulus"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start annulus");
        let mut stderr = child.stderr.take().expect("piped");
        let collect = move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).expect("UTF-8");
            text
        };
        Self {
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            stderr: Some(thread::spawn(collect)),
            child,
        }
    }

    pub fn pid(&self) -> i32 {
        self.child.id().try_into().expect("a pid")
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("kill");
    }

    /// Writes to its standard input, which stays open.
    pub fn write(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("open");
        stdin.write_all(bytes).expect("write to annulus");
        stdin.flush().expect("flush");
    }

    /// Writes to its standard input; false if it does not read any more.
    pub fn try_write(&mut self, bytes: &[u8]) -> bool {
        let stdin = self.stdin.as_mut().expect("open");
        stdin.write_all(bytes).and_then(|()| stdin.flush()).is_ok()
    }

    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Reads exactly so many bytes from its standard output.
    pub fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let stdout = self.stdout.as_mut().expect("open");
        stdout.read_exact(&mut bytes).expect("read from annulus");
        bytes
    }

    pub fn take_stdout(&mut self) -> ChildStdout {
        self.stdout.take().expect("open")
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_none()
    }

    /// Waits for its end while its standard input is open, so that it does not end by that.
    #[track_caller]
    pub fn finish_at_once(mut self) -> Outcome {
        until("it has ended", || !self.is_running());
        self.finish()
    }

    /// Waits for its end elsewhere, so that its output does not get stuck meanwhile.
    pub fn finish_later(self) -> JoinHandle<Outcome> {
        thread::spawn(|| self.finish())
    }

    /// Waits for its end.
    #[track_caller]
    pub fn finish(mut self) -> Outcome {
        self.stdin = None;
        let stdout = self.stdout.take().map(|mut stdout| {
            thread::spawn(move || {
                let mut bytes = Vec::new();
                stdout.read_to_end(&mut bytes).expect("read");
                bytes
            })
        });
        let deadline = Instant::now() + GUARD;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                break status;
            }
            assert!(Instant::now() < deadline, "annulus hangs");
            thread::sleep(Duration::from_millis(2));
        };
        Outcome {
            code: status.code(),
            stdout: stdout.map_or_else(Vec::new, |reader| reader.join().expect("reader")),
            stderr: self.stderr.take().expect("once").join().expect("reader"),
        }
    }
}

impl Drop for Annulus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

static SWEEPS: RwLock<()> = RwLock::new(());

/// For a test that lets `rm --stale` run: it sweeps up what others leave for a moment.
pub fn sweeping() -> RwLockWriteGuard<'static, ()> {
    SWEEPS.write().unwrap_or_else(PoisonError::into_inner)
}

/// For a test that leaves for a moment what `rm --stale` would sweep up.
pub fn unswept() -> RwLockReadGuard<'static, ()> {
    SWEEPS.read().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `annulus` with nothing on its standard input.
#[track_caller]
pub fn annulus(args: &[&str]) -> Outcome {
    Annulus::start(args).finish()
}

/// Runs `annulus` with these bytes on its standard input.
#[track_caller]
pub fn annulus_with(args: &[&str], input: &[u8]) -> Outcome {
    let mut child = Annulus::start(args);
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    // It may end without reading everything, as when a record is too large.
    thread::spawn(move || stdin.write_all(&input));
    child.finish()
}

/// Waits until something is so.
#[track_caller]
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + GUARD;
    while !so() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A receiver that has received, so that it certainly waits for more.
pub fn waiting_receiver(name: &Name) -> Annulus {
    let mut receiver = Annulus::start(&["recv", &name.0, "--create"]);
    annulus_with(&["send", &name.0, "--create", "--keep"], b"hello\n").quiet(0);
    assert_eq!(receiver.read(6), b"hello\n");
    receiver
}
