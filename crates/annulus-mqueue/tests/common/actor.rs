//! Other processes in a test. An [`Actor`] is this very test program, run for its test `actor` only, which obeys
//! one line at a time and answers each with one line.
//!
//! ```text
//! open RECORDS MAX [unlink]    creates the queue if there is none           -> ok
//! sender | receiver | fail     attaches; `fail`: rather than wait for the dead's successors
//! sender_of NAME               attaches to another queue
//! send N | send_for MS         N: that record
//! recv                         -> which record it is
//! recv_for MS                  -> Timeout, and how many ms that took
//! transfer COUNT               -> ok, when records 0 to COUNT - 1 are sent
//! flood | drain                sends, or receives, until it is killed
//! come_and_go                  opens, attaches, sends, closes, until it is killed
//! echo COUNT                   -> ok, when it has sent back so many records
//! limit_memory BYTES           of all POSIX queues
//! idle MS                      -> switches, and CPU time in us, of a receiver that waits so long
//! fork_stay                    -> the number of a forked child that stays for a while
//! fork_recv                    -> what `try_recv` says in a forked child
//! catch_signals | become UID | close | end
//! ```

use super::{Kind, record, which};
use annulus_mqueue::{Name, Posix, Queue, QueueOptions, Receiver, Sender, SystemV, WhenDead};
use nix::sys::resource::{Resource, Usage, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::sys::time::TimeValLike;
use nix::unistd::{ForkResult, Gid, Pid, Uid, fork, setgroups, setresgid, setresuid};
use std::fs::File;
use std::io::{BufRead, BufReader, Write, stdin};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// What counts as a hang.
pub const PATIENCE: Duration = Duration::from_secs(30);

const QUEUE: &str = "ANNULUS_MQUEUE_ACTOR";

/// A process that obeys.
pub struct Actor {
    child: Child,
    input: ChildStdin,
    answers: mpsc::Receiver<String>,
}

impl Actor {
    /// Starts one for the queue of this name.
    pub fn start(name: &Name) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .args(["--exact", "actor", "--nocapture"])
            .env(QUEUE, name.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it can be started");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stderr.take().expect("piped"));
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

    /// One that has opened a queue of 4 records of up to 512 bytes, and has this role there.
    pub fn with(name: &Name, role: &str) -> Self {
        let mut actor = Self::start(name);
        actor.must("open 4 512");
        actor.must(role);
        actor
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// Says a line, without waiting for the answer.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("the actor listens");
    }

    /// The next answer, if it comes in time.
    pub fn answer_within(&self, time: Duration) -> Option<String> {
        match self.answers.recv_timeout(time) {
            Ok(answer) => Some(answer),
            Err(mpsc::RecvTimeoutError::Timeout) => None,
            Err(mpsc::RecvTimeoutError::Disconnected) => panic!("the actor has gone"),
        }
    }

    /// The next answer.
    pub fn answer(&self) -> String {
        self.answer_within(PATIENCE).expect("the actor hangs")
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
        kill(self.pid(), signal).expect("it is our child");
    }

    /// Kills it as nobody can prevent, and waits until it is dead.
    pub fn kill(mut self) -> Instant {
        let killed = Instant::now();
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it was not waited for before");
        killed
    }

    /// Lets it end by itself, and asserts that it ends well.
    pub fn end(mut self) {
        self.tell("end");
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                assert!(status.success(), "the actor ended with {status}");
                return;
            }
            assert!(since.elapsed() < PATIENCE, "the actor does not end");
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

/// What the test `actor` does: nothing, unless an [`Actor`] started it.
pub fn act() {
    let Ok(name) = std::env::var(QUEUE) else {
        return;
    };
    match name.parse().expect("a name") {
        name @ Name::Posix(_) => Stage::<Posix>::new(name).play(),
        name @ Name::SystemV(_) => Stage::<SystemV>::new(name).play(),
    }
}

/// What an actor has.
struct Stage<K: Kind> {
    name: Name,
    queue: Option<Queue<K>>,
    sender: Option<Sender<K>>,
    receiver: Option<Receiver<K>>,
}

impl<K: Kind> Stage<K> {
    fn new(name: Name) -> Self {
        Self {
            name,
            queue: None,
            sender: None,
            receiver: None,
        }
    }

    fn play(mut self) {
        for line in stdin().lines() {
            let line = line.expect("a line");
            let words: Vec<&str> = line.split(' ').collect();
            if words == ["end"] {
                return;
            }
            let answer = match self.obey(&words) {
                Ok(answer) => answer,
                Err(error) => format!("error: {error}"),
            };
            eprintln!("{answer}");
        }
    }

    fn obey(&mut self, words: &[&str]) -> Result<String, Box<dyn std::error::Error>> {
        let number = |at: usize| words[at].parse::<usize>();
        let mut buffer = Vec::new();
        match *words {
            ["open", ..] => {
                let mut options = K::small(number(1)?, number(2)?);
                options.create(true);
                options.unlink_when_finished(words.get(3) == Some(&"unlink"));
                self.queue = Some(K::open(&options, &self.name)?);
            }
            ["sender"] => self.sender = Some(self.queue.as_ref().expect("opened").sender()?),
            ["receiver"] => self.receiver = Some(self.queue.as_ref().expect("opened").receiver()?),
            ["sender_of", name] => {
                let queue = K::open(&QueueOptions::new(), &name.parse()?)?;
                self.sender = Some(queue.sender()?);
            }
            ["fail"] => {
                let what = WhenDead::Fail;
                self.sender.iter_mut().for_each(|tx| tx.on_peer_death(what));
                let receivers = self.receiver.iter_mut();
                receivers.for_each(|rx| rx.on_peer_death(what));
            }
            ["send", _] => self.tx().send(&record(number(1)?))?,
            ["send_for", _] => {
                let since = Instant::now();
                let time = Duration::from_millis(number(1)? as u64);
                let sent = self.tx().send_timeout(&record(0), time);
                return Ok(format!("{sent:?} {}", since.elapsed().as_millis()));
            }
            ["recv"] => {
                self.rx().recv(&mut buffer)?;
                return Ok(which(&buffer).to_string());
            }
            ["recv_for", _] => {
                let since = Instant::now();
                let time = Duration::from_millis(number(1)? as u64);
                let got = self.rx().recv_timeout(&mut buffer, time);
                return Ok(format!("{got:?} {}", since.elapsed().as_millis()));
            }
            ["transfer", _] => {
                for number in 0..number(1)? {
                    self.tx().send(&record(number))?;
                }
            }
            ["flood"] => {
                eprintln!("ok");
                for number in 0.. {
                    self.tx().send(&record(number))?;
                }
            }
            ["drain"] => {
                eprintln!("ok");
                loop {
                    self.rx().recv(&mut buffer)?;
                }
            }
            ["idle", _] => {
                let time = Duration::from_millis(number(1)? as u64);
                let before = getrusage(UsageWho::RUSAGE_THREAD)?;
                let got = self.rx().recv_timeout(&mut buffer, time);
                assert!(got.is_err(), "nobody sends");
                let after = getrusage(UsageWho::RUSAGE_THREAD)?;
                let switches = |usage: Usage| usage.voluntary_context_switches();
                let micros =
                    |usage: Usage| (usage.user_time() + usage.system_time()).num_microseconds();
                return Ok(format!(
                    "{} {}",
                    switches(after) - switches(before),
                    micros(after) - micros(before)
                ));
            }
            ["fork_stay"] => {
                // SAFETY: the child does nothing but sleep and exit.
                return Ok(match unsafe { fork() }? {
                    ForkResult::Parent { child } => child.to_string(),
                    ForkResult::Child => {
                        thread::sleep(PATIENCE);
                        std::process::exit(0)
                    }
                });
            }
            ["fork_recv"] => {
                let (reader, writer) = nix::unistd::pipe()?;
                let (mut reader, mut writer) = (File::from(reader), File::from(writer));
                // SAFETY: the child uses what it was given, then exits without running what else the parent runs.
                if let ForkResult::Child = unsafe { fork() }? {
                    let said = format!("{:?}", self.rx().try_recv(&mut buffer));
                    let _ = writer.write_all(said.as_bytes());
                    drop(self.receiver.take());
                    drop(self.sender.take());
                    // SAFETY: ends the process.
                    unsafe { libc::_exit(0) };
                }
                drop(writer);
                return Ok(std::io::read_to_string(&mut reader)?);
            }
            ["come_and_go"] => {
                eprintln!("ok");
                let mut options = K::small(4, 512);
                options.create(true).unlink_when_finished(true);
                for number in 0.. {
                    let queue = K::open(&options, &self.name)?;
                    let mut receiver = queue.receiver()?;
                    let mut sender = queue.sender()?;
                    let _ = sender.try_send(&record(number));
                    if number % 2 == 0 {
                        let _ = receiver.try_recv(&mut buffer);
                    }
                }
            }
            ["echo", _] => {
                for _ in 0..number(1)? {
                    self.rx().recv(&mut buffer)?;
                    self.tx().send(&buffer)?;
                }
            }
            ["limit_memory", _] => {
                let (_, hard) = getrlimit(Resource::RLIMIT_MSGQUEUE)?;
                let soft = (number(1)? as u64).min(hard);
                setrlimit(Resource::RLIMIT_MSGQUEUE, soft, hard)?;
            }
            ["catch_signals"] => catch_signals(),
            ["become", _] => {
                let (uid, gid) = (number(1)? as u32, number(1)? as u32);
                let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
                setgroups(&[])?;
                setresgid(gid, gid, gid)?;
                setresuid(uid, uid, uid)?;
            }
            ["close"] => {
                self.sender = None;
                self.receiver = None;
                self.queue = None;
            }
            _ => return Err(format!("what is {words:?}").into()),
        }
        Ok("ok".to_owned())
    }

    fn tx(&mut self) -> &mut Sender<K> {
        self.sender.as_mut().expect("a sender")
    }

    fn rx(&mut self) -> &mut Receiver<K> {
        self.receiver.as_mut().expect("a receiver")
    }
}

extern "C" fn nothing(_signal: libc::c_int) {}

/// Has SIGUSR1 interrupt system calls, and do nothing else.
fn catch_signals() {
    let handler = SigHandler::Handler(nothing);
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.expect("a handler");
}
