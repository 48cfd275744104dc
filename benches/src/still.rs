//! What is counted and not timed: bytes of memory, and instructions.

use crate::disturbance::Disturbance;
use crate::drive::Sample;
use crate::message::Message;
use crate::queue::{Local, Rx, Site, Tx, said};
use crate::stage::Stage;
use annulus::{Protocol, Ring, RingOptions};
use std::hint::black_box;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A message of 8 bytes.
type Word = [u64; 1];

/// Bytes of a slot of a typed ring beyond those of its message: what another 4096 slots take.
///
/// # Errors
///
/// What the ring said.
pub fn slot_overhead<K: Protocol>(_: &Stage) -> Result<Sample, String> {
    let (small, large) = (region::<K>(4096)?, region::<K>(8192)?);
    let each = (large - small) as f64 / 4096.0;
    Ok(Sample::new(
        each - size_of::<Word>() as f64,
        Disturbance::default(),
    ))
}

/// Bytes of a ring besides its slots and the leases of its handles.
///
/// # Errors
///
/// What the ring said.
pub fn header<K: Protocol>(_: &Stage) -> Result<Sample, String> {
    /// Entries of the lease table and bytes of each, as `docs/layout.md` specifies them.
    const LEASES: u64 = 128 * 128;
    let (small, large) = (region::<K>(4096)?, region::<K>(8192)?);
    let header = small - (large - small) - LEASES;
    Ok(Sample::new(header as f64, Disturbance::default()))
}

fn region<K: Protocol>(capacity: usize) -> Result<u64, String> {
    let ring: Ring<Word, K> = said(RingOptions::new().capacity(capacity).heap())?;
    Ok(ring.info().region_len)
}

/// What the program does under callgrind: sends and receives a message of a queue so often, in one thread.
///
/// # Errors
///
/// What the queue said, or that a message was wrong.
pub fn alone<M: Message, Q>(count: u64) -> Result<(), String>
where
    Q: Local<M, Tx: Tx<M>, Rx: Rx<M>>,
{
    let site = Site {
        path: PathBuf::from("/nowhere"),
        name: String::new(),
        capacity: 64,
        record: 0,
    };
    let (mut tx, mut rx) = Q::open(&site, 1, 1)?;
    for number in 0..count {
        if !tx[0].try_send(black_box(&M::new(number))) {
            return Err("there was no room".to_owned());
        }
        match rx[0].try_recv() {
            Some(message) if message.is(number) => {}
            found => return Err(format!("expected message {number}, found {found:?}")),
        }
    }
    Ok(())
}

/// Messages of the shorter and of the longer run: their difference leaves out what does not repeat.
const COUNTS: [u64; 2] = [1000, 11_000];

/// Instructions a message on a path that `annulus-bench hot` knows, as callgrind counts them.
///
/// # Errors
///
/// If valgrind is missing, or what the run said.
pub fn instructions(path: &str) -> Result<Sample, String> {
    let [short, long] = COUNTS;
    let difference = counted(path, long)? - counted(path, short)?;
    let each = difference as f64 / (long - short) as f64;
    Ok(Sample::new(each, Disturbance::default()))
}

/// The unit of what valgrind counts.
pub const INSTRUCTIONS: &str = "instructions/message";

/// Whether valgrind is there, so that nothing is measured in vain before it is missed.
///
/// # Errors
///
/// If it is not.
pub fn valgrind() -> Result<(), String> {
    let output = Command::new("valgrind").arg("--version").output();
    output.map(drop).map_err(missing)
}

fn missing(error: std::io::Error) -> String {
    format!("valgrind, which counts instructions: {error}; it is in the package valgrind")
}

fn counted(path: &str, count: u64) -> Result<u64, String> {
    let program = said(std::env::current_exe())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["hot", path, &count.to_string()])
        .stdout(Stdio::null())
        .output()
        .map_err(missing)?;
    let told = String::from_utf8_lossy(&output.stderr);
    let collected = told
        .lines()
        .find_map(|line| line.split_once("Collected :"))
        .and_then(|(_, count)| count.trim().parse().ok());
    match collected {
        Some(count) if output.status.success() => Ok(count),
        _ => Err(format!("valgrind of {path}: {}", told.trim())),
    }
}
