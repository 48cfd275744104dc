//! Processes that work together: this program again, with other orders.
//!
//! A crew ends as one. If a member fails, the others are given a moment to notice by themselves. Dropping
//! a crew leaves no process behind; and should we be killed, the kernel kills the workers.

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::fmt::Display;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How often to look whether anybody has finished.
const LOOK: Duration = Duration::from_millis(1);

/// Processes that work together.
pub struct Crew {
    members: Vec<Member>,
    limit: Duration,
    grace: Duration,
}

struct Member {
    name: String,
    child: Child,
    /// How it ended, once it has.
    status: Option<ExitStatus>,
}

impl Crew {
    /// A crew that may work for `limit`, which is far longer than the slowest machine needs. `grace` is how long the
    /// others may go on after a member has failed.
    pub fn new(limit: Duration, grace: Duration) -> Self {
        Self {
            members: Vec::new(),
            limit,
            grace,
        }
    }

    /// Starts a member. What it writes to an `output` that is [`Stdio::piped`], and to its standard error, is what
    /// [`finish`](Self::finish) returns: not more than a pipe holds.
    pub fn start(
        &mut self,
        name: &str,
        args: &[String],
        input: Stdio,
        output: Stdio,
    ) -> Result<(), String> {
        let child = Command::new("/proc/self/exe")
            .arg0("annulus")
            .args(args)
            .stdin(input)
            .stdout(output)
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed("a new process"))?;
        self.members.push(Member {
            name: name.to_owned(),
            child,
            status: None,
        });
        Ok(())
    }

    /// Waits until all have ended, and returns what each wrote. Calls `go_on` now and then, and gives up when it says no.
    pub fn finish(mut self, go_on: impl Fn() -> bool) -> Result<Vec<String>, String> {
        let mut deadline = Instant::now() + self.limit;
        let mut faults = Vec::new();
        loop {
            for member in &mut self.members {
                if let Some(fault) = member.look()? {
                    faults.push(fault);
                    deadline = deadline.min(Instant::now() + self.grace);
                }
            }
            if self.members.iter().all(|member| member.status.is_some()) {
                break;
            }
            if Instant::now() > deadline {
                let stuck = self.members.iter().filter(|member| member.status.is_none());
                faults.extend(stuck.map(|member| format!("{}: came to no end", member.name)));
                break;
            }
            if !go_on() {
                return Err("given up".to_owned());
            }
            thread::sleep(LOOK);
        }
        match faults.is_empty() {
            true => self.members.iter_mut().map(Member::output).collect(),
            false => Err(faults.join("; ")),
        }
    }
}

impl Member {
    /// If it has just ended badly, how.
    fn look(&mut self) -> Result<Option<String>, String> {
        if self.status.is_some() {
            return Ok(None);
        }
        self.status = self.child.try_wait().map_err(failed("a process"))?;
        match self.status {
            Some(status) if !status.success() => {
                let mut said = String::new();
                if let Some(stderr) = &mut self.child.stderr {
                    // The status alone must do if the words cannot be had.
                    let _ = stderr.read_to_string(&mut said);
                }
                let said = said.trim().trim_start_matches("annulus: ");
                Ok(Some(match said.is_empty() {
                    true => format!("{}: {status}", self.name),
                    false => format!("{}: {said}", self.name),
                }))
            }
            _ => Ok(None),
        }
    }

    fn output(&mut self) -> Result<String, String> {
        let mut output = String::new();
        if let Some(stdout) = &mut self.child.stdout {
            let read = stdout.read_to_string(&mut output);
            read.map_err(failed("a process's output"))?;
        }
        if let Some(stderr) = &mut self.child.stderr {
            let read = stderr.read_to_string(&mut output);
            read.map_err(failed("a process's output"))?;
        }
        Ok(output)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.status.is_none() {
            // It may have ended by itself by now, which is as good.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// For a member's first act: from now on it dies with `parent`, which gave it its orders.
pub fn die_with(parent: i32) -> Result<(), String> {
    set_pdeathsig(Signal::SIGKILL).map_err(failed("prctl"))?;
    match Pid::parent().as_raw() == parent {
        true => Ok(()),
        false => Err("whoever gave the orders is gone".to_owned()),
    }
}

/// Says of what it is that an error speaks.
pub fn failed<E: Display>(what: &'static str) -> impl Fn(E) -> String {
    move |error| format!("{what}: {error}")
}
