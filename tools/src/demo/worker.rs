//! What each process of the demonstration does.
//!
//! A worker finds its link in its standard input (an echo, which needs two, finds the second in its standard
//! output), and says what came of it: a line of numbers on the standard output, or a fault on the standard
//! error with exit code 1.

use super::link::{Inlet, Link, Outlet, PIECE, PipeInlet, PipeOutlet, ring_receiver, ring_sender};
use super::message::{Checker, Message};
use crate::crew::{die_with, failed};
use annulus_channel::RecvError;
use clap::{Args, ValueEnum};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// One worker's orders.
#[derive(Debug, Args)]
pub struct Orders {
    role: Role,
    link: Link,
    /// How many messages, or bytes, there are.
    count: u64,
    #[arg(long)]
    fault: Option<Fault>,
    /// The process that gives the orders; without it a worker has nothing to live for.
    #[arg(long)]
    parent: i32,
}

impl Orders {
    /// Orders to do this.
    pub fn new(role: Role, link: Link, count: u64, fault: Option<Fault>) -> Self {
        Self {
            role,
            link,
            count,
            fault,
            parent: Pid::this().as_raw(),
        }
    }

    /// The worker's name, for people.
    pub fn name(&self) -> String {
        spelled(&self.role)
    }

    /// The command line that gives these orders.
    pub fn to_args(&self) -> Vec<String> {
        let words = ["demo-worker", &spelled(&self.role), &spelled(&self.link)];
        let mut args = words.map(str::to_owned).to_vec();
        args.push(self.count.to_string());
        args.push(format!("--parent={}", self.parent));
        args.extend(
            self.fault
                .map(|fault| format!("--fault={}", spelled(&fault))),
        );
        args
    }
}

fn spelled(value: &impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    SendFile,
    RecvFile,
    SendMessages,
    RecvMessages,
    Echo,
}

/// A fault that a sender commits on purpose, to show that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// Flip one bit of the file.
    Flip,
    /// Leave a message out.
    Lose,
    /// Send a message twice.
    Double,
    /// Send two messages in the wrong order.
    Swap,
    /// Send half of one message and half of another.
    Tear,
    /// Be killed halfway.
    Crash,
}

/// What a receiver says when all is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// How many messages or bytes came after the first piece, which started the clock.
    pub count: u64,
    /// How long they took.
    pub time: Duration,
    /// The SHA-256 of a file.
    pub digest: Option<String>,
}

/// Does as `args` say.
pub fn run(args: &Orders) -> Result<(), String> {
    die_with(args.parent)?;
    let link = inherited(io::stdin().as_fd())?;
    match (args.role, args.link) {
        (Role::SendFile, Link::Ring) => {
            let mut sender = ring_sender::<[u8]>(link)?;
            send_file(args, |piece| sender.send(piece).map_err(failed("the ring")))
        }
        (Role::SendFile, Link::Pipe) => {
            let mut pipe = File::from(link);
            send_file(args, |piece| {
                pipe.write_all(piece).map_err(failed("the pipe"))
            })
        }
        (Role::RecvFile, Link::Ring) => {
            let mut receiver = ring_receiver::<[u8]>(link)?;
            recv_file(args, |piece| match receiver.recv(piece) {
                Ok(_) => Ok(true),
                Err(RecvError::Disconnected) => Ok(false),
                Err(error) => Err(failed("the ring")(error)),
            })
        }
        (Role::RecvFile, Link::Pipe) => {
            let mut pipe = File::from(link);
            recv_file(args, |piece| {
                piece.resize(PIECE, 0);
                let len = pipe.read(piece).map_err(failed("the pipe"))?;
                piece.truncate(len);
                Ok(len > 0)
            })
        }
        (Role::SendMessages, Link::Ring) => send_messages(args, ring_sender::<Message>(link)?),
        (Role::SendMessages, Link::Pipe) => send_messages(args, PipeOutlet::new(link)),
        (Role::RecvMessages, Link::Ring) => recv_messages(args, ring_receiver::<Message>(link)?),
        (Role::RecvMessages, Link::Pipe) => recv_messages(args, PipeInlet::new(link)),
        (Role::Echo, Link::Ring) => {
            let replies = ring_sender::<Message>(inherited(io::stdout().as_fd())?)?;
            echo(ring_receiver::<Message>(link)?, replies)
        }
        (Role::Echo, Link::Pipe) => {
            let replies = PipeOutlet::new(inherited(io::stdout().as_fd())?);
            echo(PipeInlet::new(link), replies)
        }
    }
}

fn inherited(fd: BorrowedFd<'_>) -> Result<OwnedFd, String> {
    fd.try_clone_to_owned()
        .map_err(failed("the inherited link"))
}

/// The file that the demonstration sends: this program, up to a length.
pub fn this_program(len: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = File::open("/proc/self/exe").map_err(failed("this program's file"))?;
    let read = file.take(len).read_to_end(&mut bytes);
    read.map_err(failed("this program's file"))?;
    Ok(bytes)
}

fn send_file(args: &Orders, send: impl FnMut(&[u8]) -> Result<(), String>) -> Result<(), String> {
    let mut file = this_program(args.count)?;
    if args.fault == Some(Fault::Flip) {
        let middle = file.len() / 2;
        file[middle] ^= 0x10;
    }
    file.chunks(PIECE).try_for_each(send)
}

/// `recv` puts the next piece into the buffer, and says whether there was one.
fn recv_file(
    args: &Orders,
    mut recv: impl FnMut(&mut Vec<u8>) -> Result<bool, String>,
) -> Result<(), String> {
    // Touched here and now, so that the clock does not see the page faults.
    let mut file = vec![1; args.count as usize];
    file.clear();
    let mut piece = Vec::with_capacity(PIECE);
    let mut clock = None;
    let mut first = 0;
    while recv(&mut piece)? {
        file.extend_from_slice(&piece);
        clock.get_or_insert_with(|| {
            first = file.len();
            Instant::now()
        });
    }
    Receipt {
        count: (file.len() - first) as u64,
        time: clock.map_or(Duration::ZERO, |start| start.elapsed()),
        digest: Some(sha256(&file)),
    }
    .print()
}

fn send_messages(args: &Orders, mut out: impl Outlet) -> Result<(), String> {
    let mut sequence = 0;
    if let Some(fault) = args.fault {
        while sequence < args.count / 2 {
            out.put(&Message::new(sequence))?;
            sequence += 1;
        }
        commit(fault, sequence, &mut out)?;
        sequence += 2;
    }
    while sequence < args.count {
        out.put(&Message::new(sequence))?;
        sequence += 1;
    }
    Ok(())
}

/// Sends messages `first` and `first + 1`, but with a fault.
fn commit(fault: Fault, first: u64, out: &mut impl Outlet) -> Result<(), String> {
    let (one, two) = (Message::new(first), Message::new(first + 1));
    let sent = match fault {
        Fault::Flip => vec![one, two],
        Fault::Lose => vec![two],
        Fault::Double => vec![one, two, two],
        Fault::Swap => vec![two, one],
        Fault::Tear => vec![one, two.torn(&one)],
        Fault::Crash => {
            return kill(Pid::this(), Signal::SIGKILL).map_err(failed("kill"));
        }
    };
    sent.iter().try_for_each(|message| out.put(message))
}

fn recv_messages(args: &Orders, mut inlet: impl Inlet) -> Result<(), String> {
    let mut checker = Checker::new(args.count);
    let Some(first) = inlet.take()? else {
        return Err(format!("not one of {} messages came", args.count));
    };
    let start = Instant::now();
    checker.check(&first);
    let mut count = 0;
    while let Some(message) = inlet.take()? {
        checker.check(&message);
        count += 1;
    }
    let time = start.elapsed();
    checker
        .verdict()
        .map_err(|tally| format!("of {} messages: {tally}", args.count))?;
    Receipt {
        count,
        time,
        digest: None,
    }
    .print()
}

fn echo(mut requests: impl Inlet, mut replies: impl Outlet) -> Result<(), String> {
    while let Some(message) = requests.take()? {
        replies.put(&message)?;
    }
    Ok(())
}

/// The SHA-256 of `bytes`, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Receipt {
    fn print(&self) -> Result<(), String> {
        let digest = self.digest.as_deref().unwrap_or("-");
        let line = format!("{} {} {digest}\n", self.count, self.time.as_nanos());
        let mut out = io::stdout();
        out.write_all(line.as_bytes())
            .map_err(failed("the receipt"))
    }
}

impl FromStr for Receipt {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let parse = || {
            let mut words = line.split_whitespace();
            let count = words.next()?.parse().ok()?;
            let time = Duration::from_nanos(words.next()?.parse().ok()?);
            let digest = words.next()?;
            Some(Self {
                count,
                time,
                digest: (digest != "-").then(|| digest.to_owned()),
            })
        };
        parse().ok_or_else(|| format!("expected a receipt, found {line:?}"))
    }
}
