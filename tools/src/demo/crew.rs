//! The demonstration's processes: this program again, with other orders.
//!
//! A crew ends as one. If a member fails, the others are given a moment to notice by themselves. Dropping
//! a crew leaves no process behind; and should we be killed, the kernel kills the workers.

use super::link::failed;
use super::worker::Orders;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a crew may work: far longer than the slowest machine needs.
const LIMIT: Duration = Duration::from_secs(60);

/// How long the others may go on after a member has failed.
const GRACE: Duration = Duration::from_secs(2);

/// How often to look whether anybody has finished.
const LOOK: Duration = Duration::from_millis(1);

/// Processes that work together.
#[derive(Default)]
pub struct Crew(Vec<Member>);

struct Member {
    name: String,
    child: Child,
    /// How it ended, once it has.
    status: Option<ExitStatus>,
}

impl Crew {
    /// Starts a member, with `input` as its standard input and `output` as its standard output. Without
    /// `output`, what it writes there is what [`finish`](Self::finish) returns.
    pub fn start(
        &mut self,
        orders: &Orders,
        input: OwnedFd,
        output: Option<OwnedFd>,
    ) -> Result<(), String> {
        let child = Command::new("/proc/self/exe")
            .arg0("annulus")
            .args(orders.to_args())
            .stdin(input)
            .stdout(output.map_or_else(Stdio::piped, Stdio::from))
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed("a new process"))?;
        self.0.push(Member {
            name: orders.name(),
            child,
            status: None,
        });
        Ok(())
    }

    /// Waits until all have ended, calling `meanwhile` now and then, and returns what they wrote.
    pub fn finish(mut self, meanwhile: impl Fn()) -> Result<String, String> {
        let mut deadline = Instant::now() + LIMIT;
        let mut faults = Vec::new();
        loop {
            for member in &mut self.0 {
                if let Some(fault) = member.look()? {
                    faults.push(fault);
                    deadline = deadline.min(Instant::now() + GRACE);
                }
            }
            if self.0.iter().all(|member| member.status.is_some()) {
                break;
            }
            if Instant::now() > deadline {
                let stuck = self.0.iter().filter(|member| member.status.is_none());
                faults.extend(stuck.map(|member| format!("{}: came to no end", member.name)));
                break;
            }
            meanwhile();
            thread::sleep(LOOK);
        }
        match faults.is_empty() {
            true => self.0.iter_mut().map(Member::output).collect(),
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
