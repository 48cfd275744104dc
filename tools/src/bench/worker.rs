//! One of the two processes of a measurement: its orders, and how it comes by its channels.
//!
//! A pipe's ends are inherited: the end to receive from is the standard input, the other the standard output.
//! Everything else is opened by name. The receipt goes to the standard error.

use super::far::Far;
use super::near::Near;
use super::subject::Subject;
use crate::crew::{die_with, failed};
use annulus_transports::{
    BoxedReceiver, BoxedSender, Url, open_receiver, open_sender, pipe_receiver, pipe_sender,
};
use clap::ValueEnum;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use nix::unistd::Pid;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

/// What a fault begins with that is nobody's: the transport is not to be had here, or not at this size.
pub const LEFT_OUT: &str = "left out: ";

/// One worker's orders.
#[derive(Clone, Debug, clap::Args)]
pub struct Orders {
    pub role: Role,
    pub subject: Subject,
    pub size: usize,
    /// The channel from near to far.
    pub there: Url,
    /// The channel back.
    pub back: Url,
    /// How long each part takes, in milliseconds.
    pub millis: u64,
    /// Records a second on schedule.
    pub rate: f64,
    /// A fault to commit.
    #[arg(long)]
    pub fault: Option<Fault>,
    /// The process that gives the orders; without it a worker has nothing to live for.
    #[arg(long)]
    pub parent: i32,
}

/// Which of the two it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Sends, and asks.
    Near,
    /// Receives, and answers.
    Far,
}

/// A fault that the sender commits on purpose, to show that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// Flip one bit of a record.
    Flip,
    /// Leave a record out.
    Lose,
}

/// The two channels' ends that a worker has.
pub struct Ends {
    pub tx: BoxedSender,
    pub rx: BoxedReceiver,
}

impl Orders {
    /// The same orders for another role.
    pub fn of(&self, role: Role) -> Self {
        Self {
            role,
            ..self.clone()
        }
    }

    /// The command line that gives these orders.
    pub fn to_args(&self) -> Vec<String> {
        let mut args = vec![
            "bench-worker".to_owned(),
            spelled(&self.role),
            self.subject.to_string(),
            self.size.to_string(),
            self.there.to_string(),
            self.back.to_string(),
            self.millis.to_string(),
            self.rate.to_string(),
            format!("--parent={}", self.parent),
        ];
        args.extend(
            self.fault
                .map(|fault| format!("--fault={}", spelled(&fault))),
        );
        args
    }

    fn open(&self) -> Result<Ends, String> {
        if self.there == Url::Pipe {
            return inherited();
        }
        let options = self.subject.options(self.size);
        let left_out = |error: &dyn std::fmt::Display| format!("{LEFT_OUT}{error}");
        let tx = |url| open_sender(url, &options).map_err(|error| left_out(&error));
        let rx = |url| open_receiver(url, &options).map_err(|error| left_out(&error));
        // In this order, since one end may have to wait for the other.
        match self.role {
            Role::Near => {
                let tx = tx(&self.there)?;
                let rx = rx(&self.back)?;
                Ok(Ends { tx, rx })
            }
            Role::Far => {
                let rx = rx(&self.there)?;
                let tx = tx(&self.back)?;
                Ok(Ends { tx, rx })
            }
        }
    }
}

/// The ends of pipes that this process was started with.
fn inherited() -> Result<Ends, String> {
    let end = |fd: BorrowedFd<'_>| {
        fd.try_clone_to_owned()
            .map_err(failed("the inherited pipe"))
    };
    let rx = pipe_receiver(end(io::stdin().as_fd())?);
    let tx = pipe_sender(end(io::stdout().as_fd())?);
    Ok(Ends {
        tx: tx.map_err(|error| error.to_string())?,
        rx: rx.map_err(|error| error.to_string())?,
    })
}

/// Our own process, for the orders.
pub fn parent() -> i32 {
    Pid::this().as_raw()
}

fn spelled(value: &impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

/// Does as `orders` say.
pub fn run(orders: &Orders) -> Result<(), String> {
    die_with(orders.parent)?;
    let ends = orders.open()?;
    let max = ends.tx.max_record();
    if orders.size > max {
        return Err(format!(
            "{LEFT_OUT}records of {} bytes are too long, it takes {max}",
            orders.size
        ));
    }
    let receipt = match orders.role {
        Role::Near => serde_json::to_string(&Near::new(ends, orders).run()?),
        Role::Far => serde_json::to_string(&Far::new(ends, orders).run()?),
    };
    let receipt = receipt.map_err(failed("the receipt"))?;
    io::stderr()
        .write_all(receipt.as_bytes())
        .map_err(failed("the receipt"))
}

/// The CPU time of this process so far, in nanoseconds.
pub fn cpu_time() -> u64 {
    let nanoseconds =
        |time: TimeVal| time.tv_sec() as u64 * 1_000_000_000 + time.tv_usec() as u64 * 1000;
    getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| {
        nanoseconds(usage.user_time()) + nanoseconds(usage.system_time())
    })
}
