//! Other processes in a test: this test program run again, as one that obeys a line at a time and answers
//! each with one line.
//!
//! ```text
//! listen ADDRESS | accept END | connect END ADDRESS       END is sender or receiver
//! send COUNT LEN | flood LEN | recv                       what came of it, with a checksum
//! hide (the listener goes) | close | end
//! sigpipe (kills, as by default) | catch (SIGUSR1 interrupts) | become UID | any (every user may come)
//! ```

use super::noise;
use annulus_channel::{OpenError, Receiver as _, Sender as _};
use annulus_socket::{Address, End, Listener, Receiver, Sender, SocketOptions};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::unistd::{Gid, Pid, Uid, setgroups, setresgid, setresuid};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Set for an actor's process.
const ACTS: &str = "ANNULUS_SOCKET_ACTOR";

/// What counts as a hang, on a machine with much else to do.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Before what an actor says; the rest is the test harness's.
const SAYS: &str = "actor: ";
/// The test that is the actor's life.
const LIFE: &str = "actor";

/// A process that obeys. It is killed when it is dropped.
pub struct Actor {
    child: Child,
    input: ChildStdin,
    answers: mpsc::Receiver<String>,
}

impl Actor {
    pub fn start() -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .args(["--exact", LIFE, "--nocapture"])
            .env(ACTS, "")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it can be started");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (send, answers) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let Some((_, says)) = line.split_once(SAYS) else {
                    continue;
                };
                if send.send(says.to_owned()).is_err() {
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

    pub fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("the actor listens");
    }

    pub fn answer(&self) -> String {
        self.answers
            .recv_timeout(PATIENCE)
            .expect("the actor answers")
    }

    pub fn ask(&mut self, line: &str) -> String {
        self.tell(line);
        self.answer()
    }

    pub fn must(&mut self, line: &str) {
        assert_eq!(self.ask(line), "ok", "the answer to '{line}'");
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("it is our child");
    }

    /// Kills it as nobody can prevent, and says when.
    pub fn kill(mut self) -> Instant {
        let now = Instant::now();
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it was not waited for before");
        now
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What an actor has.
#[derive(Default)]
struct Stage {
    options: SocketOptions,
    listener: Option<Listener>,
    tx: Option<Sender>,
    rx: Option<Receiver>,
}

/// An actor's life, if this is one: obeys until it is told to end.
pub fn live() {
    if std::env::var_os(ACTS).is_none() {
        return;
    }
    let mut stage = Stage::default();
    for line in std::io::stdin().lines() {
        let line = line.expect("lines of text");
        let words: Vec<&str> = line.split(' ').collect();
        if words == ["end"] {
            return;
        }
        let answer = stage
            .obey(&words)
            .unwrap_or_else(|error| format!("error: {error}"));
        println!("\n{SAYS}{answer}");
    }
}

impl Stage {
    fn obey(&mut self, words: &[&str]) -> Result<String, OpenError> {
        let deadline = Instant::now() + PATIENCE;
        match *words {
            ["listen", address] => {
                let listener = self.options.listen(&address.parse()?)?;
                let address = listener.address().to_string();
                self.listener = Some(listener);
                return Ok(address);
            }
            ["accept", end] => {
                let listener = self.listener.as_ref().expect("it listens");
                match end {
                    "sender" => self.tx = Some(listener.accept_deadline(deadline)?),
                    _ => self.rx = Some(listener.accept_deadline(deadline)?),
                }
            }
            ["connect", end, address] => {
                let address = address.parse()?;
                match end {
                    "sender" => self.tx = Some(self.come(&address, deadline)?),
                    _ => self.rx = Some(self.come(&address, deadline)?),
                }
            }
            ["send", count, len] => {
                let (count, len) = (number(count), number(len));
                return Ok(send(self.tx.as_mut().expect("it sends"), count, len));
            }
            ["flood", len] => {
                let tx = self.tx.as_mut().expect("it sends");
                return Ok(send(tx, u64::MAX, number(len)));
            }
            ["recv"] => return Ok(receive(self.rx.as_mut().expect("it receives"))),
            ["hide"] => self.listener = None,
            ["close"] => (self.tx, self.rx) = (None, None),
            ["any"] => _ = self.options.any_user().mode(0o666),
            ["become", uid] => {
                let uid = number(uid) as u32;
                let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
                setgroups(&[]).expect("we are root");
                setresgid(group, group, group).expect("we are root");
                setresuid(user, user, user).expect("we are root");
            }
            ["sigpipe"] => handle(Signal::SIGPIPE, SigHandler::SigDfl),
            ["catch"] => handle(Signal::SIGUSR1, SigHandler::Handler(nothing)),
            _ => panic!("see the head of actor.rs; got {words:?}"),
        }
        Ok("ok".to_owned())
    }

    fn come<E: End>(&self, address: &Address, deadline: Instant) -> Result<E, OpenError> {
        self.options.connect_deadline(address, deadline)
    }
}

extern "C" fn nothing(_: i32) {}

fn handle(signal: Signal, handler: SigHandler) {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing, or is the system's.
    unsafe { sigaction(signal, &action) }.expect("a signal that can be handled");
}

fn number(word: &str) -> u64 {
    word.parse().expect("a number")
}

/// Sends so many records, of up to so many bytes.
fn send(tx: &mut Sender, count: u64, len: u64) -> String {
    let mut sum = noise::Sum::new();
    for number in 0..count {
        let record = noise::record(number, len.min(tx.max_record() as u64) as usize);
        if let Err(error) = tx.send(&record) {
            return format!("error: {error}");
        }
        sum.add(&record);
    }
    format!("{count} {sum}")
}

/// Receives to the end.
fn receive(rx: &mut Receiver) -> String {
    let (mut sum, mut record) = (noise::Sum::new(), Vec::new());
    for count in 0_u64.. {
        if let Err(error) = rx.recv(&mut record) {
            return format!("{count} {sum}, {error}");
        }
        sum.add(&record);
    }
    unreachable!("the records do not end")
}
