//! Processes that are forked, not started: so one can be made in a millisecond, and with a number that was somebody
//! else's. They obey a line at a time and answer with one, through a socket.

use annulus::{Protocol, Ring, RingInfo, RingOptions};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// What counts as a hang.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A ring of numbers in a memory file, as processes that open it anew find it.
pub fn open<K: Protocol>(path: &str) -> Ring<u64, K> {
    let file = OpenOptions::new().read(true).write(true).open(path);
    let ring = RingOptions::new().from_fd(file.expect("the ring's file").into());
    ring.expect("a ring")
}

/// The other end of a puppet's socket, line by line.
#[derive(Debug)]
pub struct Line {
    stream: BufReader<UnixStream>,
}

impl Line {
    fn new(stream: UnixStream) -> Self {
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// The next line; nothing at the end.
    pub fn hear(&mut self) -> Option<String> {
        let mut line = String::new();
        let len = self.stream.read_line(&mut line).ok()?;
        (len > 0).then(|| line.trim_end_matches('\n').to_owned())
    }

    /// Says a line.
    pub fn say(&mut self, line: &str) {
        // Whoever has gone does not listen.
        let _ = writeln!(self.stream.get_mut(), "{line}");
    }
}

/// A forked process, killed when it is dropped.
#[derive(Debug)]
pub struct Puppet {
    /// Its number, as we see it.
    pub pid: i32,
    line: Line,
    dead: bool,
}

impl Puppet {
    /// Forks. The child does `play` and ends.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn fork(play: impl FnOnce(Line)) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_read_timeout(Some(PATIENCE))?;
        // SAFETY: the process has one thread, so the child may do whatever its parent may.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Self {
                pid: child.as_raw(),
                line: Line::new(ours),
                dead: false,
            }),
            ForkResult::Child => {
                drop(ours);
                // SAFETY: takes no pointer.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                let play = std::panic::AssertUnwindSafe(|| play(Line::new(theirs)));
                let played = std::panic::catch_unwind(play);
                // SAFETY: takes no pointer, and runs nothing that is the parent's to run.
                unsafe { libc::_exit(i32::from(played.is_err())) }
            }
        }
    }

    /// Says a line and waits for the answer; nothing if there is none in time, or the puppet has gone.
    pub fn ask(&mut self, line: &str) -> String {
        self.line.say(line);
        self.line.hear().unwrap_or_else(|| "no answer".to_owned())
    }

    /// Waits for its answers as long as it takes.
    pub fn wait_for_ever(&mut self) {
        let set = self.line.stream.get_ref().set_read_timeout(None);
        set.expect("a socket of ours");
    }

    /// Kills it and waits until its number is free.
    pub fn kill(&mut self) {
        if !std::mem::replace(&mut self.dead, true) {
            let pid = Pid::from_raw(self.pid);
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
        }
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Who is attached, as `info` shows it: `1+ 7- | 2+`, senders and receivers, living and dead.
pub fn attached(info: &RingInfo) -> String {
    let side = |peers: &[annulus::Peer]| {
        let each = peers
            .iter()
            .map(|peer| format!("{}{}", peer.pid, if peer.alive { '+' } else { '-' }));
        each.collect::<Vec<_>>().join(" ")
    };
    format!("{} | {}", side(&info.senders), side(&info.receivers))
}

/// A puppet that attaches to the ring at `path`:
///
/// ```text
/// sender N    attaches, and reserves room for N      -> open;  then: commit | anything else -> closed
/// receiver    attaches                               -> attached; then peek -> N T, the number and its tries;
///                                                       then: release | anything else      -> closed
/// judge                                              -> who is attached
/// ```
pub fn holder<K: Protocol>(mut line: Line, path: &str) {
    let ring = open::<K>(path);
    while let Some(said) = line.hear() {
        let words: Vec<&str> = said.split(' ').collect();
        match words[..] {
            ["sender", number] => {
                let mut sender = ring.sender().expect("a place for a sender");
                let mut reservation = sender.reserve().expect("room");
                reservation.write(number.parse().expect("a number"));
                line.say("open");
                if line.hear().as_deref() == Some("commit") {
                    reservation.commit();
                }
            }
            ["receiver"] => {
                let mut receiver = ring.receiver().expect("a place for a receiver");
                receiver.on_peer_death(annulus::WhenDead::Wait);
                receiver.on_close(annulus::WhenClosed::Wait);
                line.say("attached");
                line.hear();
                let peeked = receiver.peek().expect("a record");
                line.say(&format!("{} {}", peeked.read(), peeked.tries()));
                if line.hear().as_deref() == Some("release") {
                    peeked.release();
                }
            }
            _ => {
                line.say(&attached(&ring.info()));
                continue;
            }
        }
        line.say("closed");
    }
}
