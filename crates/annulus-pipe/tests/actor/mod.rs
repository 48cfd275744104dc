//! The other process in a test: the test's own program, run again as the test `actor`, with its errand in the environment. It
//! answers by lines on its standard output; the descriptor that it is given is its standard input.

use annulus_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender};
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// What counts as a hang.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where the errand is.
const ERRAND: &str = "ANNULUS_PIPE_ACTOR";

/// Before each answer: the test harness prints, too.
const ANSWER: &str = "actor: ";

/// A process on an errand. Killed when it is dropped.
#[derive(Debug)]
pub struct Actor {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Actor {
    pub fn start(errand: &str, input: impl Into<Stdio>) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .args(["actor", "--exact", "--nocapture", "--test-threads=1"])
            .env(ERRAND, errand)
            .stdin(input)
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be run again");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, output }
    }

    /// Its next answer.
    pub fn answer(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            let count = self.output.read_line(&mut line).expect("it writes text");
            assert_ne!(count, 0, "the actor has gone");
            if let Some((_, answer)) = line.split_once(ANSWER) {
                return answer.trim_end().to_owned();
            }
        }
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it is our child");
    }

    /// Waits until it ends, and asserts that it ends well.
    pub fn end(mut self) {
        let status = self.child.wait().expect("it is our child");
        assert!(status.success(), "the actor ended with {status}");
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The errand of this process, if it is an actor: its words.
pub fn errand() -> Option<Vec<String>> {
    let errand = std::env::var(ERRAND).ok()?;
    Some(errand.split('|').map(str::to_owned).collect())
}

pub fn say(answer: impl std::fmt::Display) {
    println!("{ANSWER}{answer}");
}

/// The descriptor that the actor was given.
pub fn given() -> OwnedFd {
    use std::os::fd::AsFd;
    let given = std::io::stdin().as_fd().try_clone_to_owned();
    // The one that is left would keep the pipe open.
    let nothing = std::fs::File::open("/dev/null").expect("/dev/null");
    nix::unistd::dup2_stdin(nothing).expect("a descriptor");
    given.expect("a descriptor")
}

/// Record `number` of `sender`: every byte follows from both. Short ones, long ones, and all around a frame's length.
pub fn record(sender: u32, number: u32) -> Vec<u8> {
    let head = u64::from(sender) << 32 | u64::from(number);
    let mut noise = mix(head);
    let len = match noise % 8 {
        0 => 0,
        1 => 4087 - 8 + noise as usize / 8 % 17,
        2 => noise as usize / 8 % 200_000,
        _ => noise as usize / 8 % 600,
    };
    let mut bytes = Vec::with_capacity(len + 16);
    bytes.extend_from_slice(&head.to_le_bytes());
    while bytes.len() < len + 8 {
        noise = mix(noise);
        bytes.extend_from_slice(&noise.to_le_bytes());
    }
    bytes.truncate(len + 8);
    bytes
}

/// The sender and the number of a record, every byte of which is checked.
pub fn read(bytes: &[u8]) -> (u32, u32) {
    let head = bytes.first_chunk().expect("not shorter than its head");
    let head = u64::from_le_bytes(*head);
    let (sender, number) = ((head >> 32) as u32, head as u32);
    assert!(
        bytes == record(sender, number),
        "record {number} of {sender} is not what was sent"
    );
    (sender, number)
}

fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Sends `count` records, in all ways, or until it fails.
pub fn send_all(to: &mut impl Sender, sender: u32, count: u32) -> Result<(), SendTimeoutError> {
    for number in 0..count {
        let record = record(sender, number);
        loop {
            let sent = match number % 3 {
                0 => to.send(&record).map_err(Into::into),
                1 => to.send_timeout(&record, Duration::from_micros(300)),
                _ => to.try_send(&record).map_err(|error| match error.or_full() {
                    Ok(error) => error.into(),
                    Err(()) => SendTimeoutError::Timeout(()),
                }),
            };
            match sent {
                Err(SendTimeoutError::Timeout(())) => std::thread::yield_now(),
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
    }
    Ok(())
}

/// Receives to the end: how many records of each sender came, in order and from the first on, and how it ended.
pub fn receive_all(from: &mut impl Receiver, counts: &mut [u32]) -> RecvTimeoutError {
    let mut bytes = vec![];
    loop {
        match from.recv_timeout(&mut bytes, PATIENCE) {
            Ok(_) => {
                let (sender, number) = read(&bytes);
                let count = &mut counts[sender as usize];
                assert_eq!(number, *count, "the next record of sender {sender}");
                *count += 1;
            }
            Err(error) => return error,
        }
    }
}
