//! What may be asked of the comparison.

use super::record;
use super::report::Exports;
use super::subject::Subject;
use super::worker::Fault;
use crate::units;

/// `annulus bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to compare: all, or some of ring-spsc, ring-mpsc, ring-spmc, ring-mpmc, pipe, fifo, unix, unix-seqpacket,
    /// unix-dgram, tcp, udp, mq, sysv, classic, sem, spool.
    #[arg(long, value_name = "LIST", default_value = "all", value_parser = subjects)]
    pub transport: Subjects,

    /// The records' sizes in bytes, at least 16.
    #[arg(long, value_name = "LIST", default_value = "64,1k,64k", value_parser = sizes)]
    pub size: Sizes,

    /// Records a second on schedule, as in 5000 or 10k [default: 10k, or as many as make 64 MiB a second].
    #[arg(long, value_name = "RATE", value_parser = units::rate)]
    pub rate: Option<f64>,

    /// How long to measure each transport at each size, in all rounds together [default: 3].
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "quick")]
    pub seconds: Option<f64>,

    /// How many rounds [default: 7; with --quick 3, or fewer where there is no time].
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: Option<u16>,

    /// Take less than a minute for everything. Enough to see that it works, not to quote.
    #[arg(long)]
    pub quick: bool,

    #[command(flatten)]
    pub exports: Exports,

    /// A fault to commit, which must be found.
    #[arg(long, hide = true, value_name = "FAULT")]
    pub inject_fault: Option<Fault>,
}

#[derive(Clone, Debug)]
pub struct Subjects(pub Vec<Subject>);

#[derive(Clone, Debug)]
pub struct Sizes(pub Vec<usize>);

fn subjects(list: &str) -> Result<Subjects, String> {
    if list == "all" {
        return Ok(Subjects(Subject::all()));
    }
    let mut subjects = Vec::new();
    for word in list.split(',') {
        let subject = word.trim().parse()?;
        if !subjects.contains(&subject) {
            subjects.push(subject);
        }
    }
    Ok(Subjects(subjects))
}

fn sizes(list: &str) -> Result<Sizes, String> {
    let mut sizes = Vec::new();
    for word in list.split(',') {
        let size = units::size(word.trim())?;
        if size < record::LEAST {
            return Err(format!(
                "expected sizes of at least {} bytes, found {size}",
                record::LEAST
            ));
        }
        if !sizes.contains(&size) {
            sizes.push(size);
        }
    }
    Ok(Sizes(sizes))
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.001..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected seconds between 0.001 and 86400, such as 3 or 0.5".to_owned()),
    }
}
