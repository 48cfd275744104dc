//! What the figures were measured on.

use serde::Serialize;
use std::fmt;
use std::fs;
use std::thread;

/// The machine, as far as it matters.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// How many CPUs this process may use.
    pub cpus: usize,
    /// The kernel's release.
    pub kernel: String,
    /// How many tasks wanted a CPU during the minute before.
    pub load: f64,
}

impl Machine {
    pub fn this() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or("unknown processor", |(_, name)| name.trim());
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().and_then(|word| word.parse().ok());
        Self {
            cpu: cpu.to_owned(),
            cpus: thread::available_parallelism().map_or(1, usize::from),
            kernel: kernel.trim().to_owned(),
            load: load.unwrap_or(0.0),
        }
    }

    /// What a reader of the figures has to know.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.cpus < 2 {
            warnings.push(
                "two processes share one CPU: the figures are those of the scheduler".to_owned(),
            );
        }
        if self.load > self.cpus as f64 / 2.0 {
            warnings.push(format!(
                "the machine was busy: {:.1} tasks wanted {} CPUs before we began",
                self.load, self.cpus
            ));
        }
        warnings
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cpu,
            cpus,
            kernel,
            load,
        } = self;
        write!(f, "{cpu}, {cpus} CPUs, Linux {kernel}, load {load:.1}")
    }
}
