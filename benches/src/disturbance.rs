//! What else happened while something was measured.
//!
//! The hypervisor may have run another machine on our processors (steal), and the kernel another task (an involuntary
//! switch). Either makes a measurement one of the neighbours.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde::{Deserialize, Serialize};
use std::fs;

/// What disturbed a measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disturbance {
    /// Ticks (usually of 10 ms) in which the hypervisor ran something else on any of the processors.
    pub steal: u64,
    /// Times that an actor had to leave its processor without wanting to.
    pub involuntary: u64,
}

impl Disturbance {
    /// Nothing happened.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    /// How bad it is, to compare. A stolen tick is as long as several time slices.
    pub fn weight(self) -> u64 {
        8 * self.steal + self.involuntary
    }
}

/// Ticks stolen since the machine started.
pub fn steal() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    // cpu user nice system idle iowait irq softirq steal …
    let steal = stat
        .lines()
        .next()
        .and_then(|line| line.split_whitespace().nth(8));
    steal.and_then(|ticks| ticks.parse().ok()).unwrap_or(0)
}

/// What a thread has used so far.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Switches that it wanted: it slept.
    pub voluntary: u64,
    /// Switches that it did not want.
    pub involuntary: u64,
    /// Time on a processor, in nanoseconds.
    pub cpu: u64,
}

impl Usage {
    /// Of the calling thread.
    ///
    /// # Panics
    ///
    /// Never on Linux, which knows threads' usage.
    pub fn now() -> Self {
        let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("the usage of this thread");
        let nanoseconds =
            |time: TimeVal| time.tv_sec() as u64 * 1_000_000_000 + time.tv_usec() as u64 * 1000;
        Self {
            voluntary: usage.voluntary_context_switches() as u64,
            involuntary: usage.involuntary_context_switches() as u64,
            cpu: nanoseconds(usage.user_time()) + nanoseconds(usage.system_time()),
        }
    }

    /// What was used since `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            voluntary: self.voluntary - before.voluntary,
            involuntary: self.involuntary - before.involuntary,
            cpu: self.cpu - before.cpu,
        }
    }
}
