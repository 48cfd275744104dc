//! The command line: what may be asked of the program.

use crate::bench;
use crate::demo;
use crate::exit::Exit;
use crate::framing::Framing;
use crate::units;
use annulus_transports::{Kind, Location, Scheme, Url, WhenDead};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Moves records between processes: through a ring in shared memory, or through what the system offers.
///
/// Without a command it gives a demonstration: two processes, a real file, millions of messages,
/// every byte checked.
#[derive(Debug, Parser)]
#[command(name = "annulus", version, after_help = Exit::help())]
#[command(disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
}

impl Cli {
    /// The command line as it was given; ends the program if it makes no sense.
    pub fn read() -> Self {
        let cli = Self::parse();
        let channel = match &cli.command {
            Some(Command::Send(send)) => &send.channel,
            Some(Command::Recv(recv)) => &recv.channel,
            _ => return cli,
        };
        if let Err(message) = channel.check() {
            let kind = clap::error::ErrorKind::MissingRequiredArgument;
            Self::command().error(kind, message).exit();
        }
        cli
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Send files, or the standard input, as records: lines unless told otherwise.
    ///
    /// Bytes pass unchanged: a line travels with its newline. Each record is sent as soon as it is
    /// complete; no record spans two files. With no room in the channel, `send` waits.
    ///
    /// Interrupted (Ctrl-C, SIGTERM), it closes the channel: what was sent stays for whoever receives, where the channel keeps it. One that it was
    /// to --create, where nothing is in it and nobody else, goes, unless it is to be kept.
    Send(Send),
    /// Receive records and write them to the standard output, back to back.
    ///
    /// Nothing needs to be said of how they were cut: they hold every byte that was sent. When the
    /// senders have closed, `recv` waits for the next one, unless told otherwise.
    ///
    /// Interrupted (Ctrl-C, SIGTERM), it writes what it has received, and closes the channel: what is in a ring, a queue or a spool stays. One that
    /// it was to --create, where nothing is in it and nobody else, goes, unless it is to be kept.
    Recv(Recv),
    /// Draw a ring's balance: what went in, and where it is. Fails if it does not add up.
    ///
    /// Any ring can be audited at any time, also while it is in use; nothing is changed, and nobody waits.
    Audit(Audit),
    /// List the messages that came back too often, or write them out and remove them.
    DeadLetters(DeadLetters),
    /// Remove a channel's name, unless somebody living uses it; or everything that nobody needs any more.
    Rm(Rm),
    /// Show two processes at work, checking every byte, and measure them against a pipe.
    Demo(demo::Args),
    /// Compare the transports: two processes, the same work over each, every byte checked.
    ///
    /// Throughput as fast as it goes, round trips, latency on a schedule (counted from when each record was due, so
    /// that a stall is not hidden), and CPU time. The transports take turns in rounds; figures are medians of the rounds;
    /// "relative" is to ring-spsc at the same size.
    Bench(bench::Args),
    /// One process of the demonstration.
    #[command(hide = true)]
    DemoWorker(demo::Orders),
    /// One process of the comparison.
    #[command(hide = true)]
    BenchWorker(bench::Orders),
}

impl Default for Command {
    fn default() -> Self {
        Self::Demo(demo::Args::default())
    }
}

/// The heading of the options that an existing channel does not heed: it keeps its own.
const NEW: &str =
    "Options for a new channel (with --create, unless its receiver always creates it)";

/// Which channel, and how to come by it.
#[derive(Debug, Args)]
pub struct Channel {
    /// The channel. A ring: NAME or ring:NAME in shared memory, /PATH, ./PATH or file:PATH in a file,
    /// ring:sysv:KEY in System V shared memory. Another transport: fifo:PATH, unix:PATH, unix-seqpacket:PATH,
    /// unix-dgram:PATH, tcp:HOST:PORT, tls:HOST:PORT, udp:HOST:PORT, mq:/NAME, sysv:KEY, classic:NAME, sem:NAME, spool:PATH.
    pub name: Url,

    /// Create the channel if it is not there. A socket needs no such word: its receiver creates it.
    #[arg(long)]
    pub create: bool,

    /// How many may send to and receive from a ring: spsc, mpsc, spmc or mpmc [default: spsc].
    #[arg(long, value_name = "KIND", requires = "create", help_heading = NEW)]
    pub kind: Option<Kind>,

    /// How much it holds in bytes, as in 65536, 64k, 1M or 1G, all of it allocated at once [default: 1M for a ring]. For a
    /// FIFO the pipe's size, said by its receiver; for a socket this end's buffers, said by either.
    #[arg(long, value_name = "SIZE", value_parser = units::size, help_heading = NEW)]
    pub capacity: Option<usize>,

    /// Who may open it, as an octal file mode, less the umask [default: 0600]. Exactly this for a FIFO or a Unix socket, said
    /// by its receiver; whoever may write to the socket's file may then send, whatever user it is.
    #[arg(long, value_name = "MODE", value_parser = units::mode, help_heading = NEW)]
    pub mode: Option<u32>,

    /// Keep a new ring's name when all have finished and nothing is left; a file always stays.
    #[arg(long, requires = "create", help_heading = NEW)]
    pub keep: bool,

    /// Wait for the channel if it is not there yet.
    #[arg(long)]
    pub wait: bool,

    /// Give up when one record, or the channel itself, took this long, as in 500ms or 2s.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,

    /// When the last peer was killed: wait for the next one, or fail.
    ///
    /// By default `recv -e` fails, and everyone else waits, where a next one can come.
    #[arg(long, value_name = "REACTION")]
    pub on_death: Option<OnDeath>,

    /// For tls: the certificates of the authorities that the other end's has to be signed by, in PEM.
    #[arg(long, value_name = "FILE", requires_all = ["cert", "key"], help_heading = TLS)]
    pub ca: Option<PathBuf>,

    /// For tls: our own certificate, with those between it and the authority. That of `recv` is for the HOST by which it is
    /// asked for.
    #[arg(long, value_name = "FILE", requires_all = ["ca", "key"], help_heading = TLS)]
    pub cert: Option<PathBuf>,

    /// For tls: our own certificate's key.
    #[arg(long, value_name = "FILE", requires_all = ["ca", "cert"], help_heading = TLS)]
    pub key: Option<PathBuf>,
}

/// The heading of what TLS needs.
const TLS: &str = "Options for tls:HOST:PORT (if the program was built with the feature tls)";

impl Channel {
    /// Refuses what only a new channel heeds where none is created.
    fn check(&self) -> Result<(), String> {
        let new = self.create || self.name.scheme().is_met();
        let option = match (self.capacity, self.mode) {
            _ if new => return Ok(()),
            (None, None) => return Ok(()),
            (Some(_), _) => "--capacity",
            (None, Some(_)) => "--mode",
        };
        Err(format!(
            "{option} is for a new channel: it wants --create as well, an existing one keeps its own"
        ))
    }

    /// What to do when the last peer was killed.
    pub fn when_dead(&self, default: WhenDead) -> WhenDead {
        match self.on_death {
            None => default,
            Some(OnDeath::Wait) => WhenDead::Wait,
            Some(OnDeath::Fail) => WhenDead::Fail,
        }
    }
}

/// The choice of `--on-death`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum OnDeath {
    /// Another one may come.
    Wait,
    /// Exit with code 7, after the last whole record.
    Fail,
}

/// `annulus send`.
#[derive(Debug, Args)]
pub struct Send {
    #[command(flatten)]
    pub channel: Channel,

    /// What to send; `-` is the standard input, and so is nothing.
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// Records end with a NUL byte instead of a newline.
    #[arg(short = '0', long, group = "framing")]
    pub null: bool,

    /// Records are pieces of this many bytes, as in 4096, 64k or 1M.
    #[arg(long, value_name = "SIZE", group = "framing", value_parser = units::size)]
    pub chunk: Option<usize>,

    /// Records come after their length, a 32-bit little-endian number, which is not sent.
    #[arg(long, group = "framing")]
    pub len_prefixed: bool,

    /// Send at most so many records a second, evenly, as in 500, 10k or 1.5M: over UDP, what its receiver can follow is not
    /// lost.
    #[arg(long, value_name = "RATE", value_parser = units::rate)]
    pub rate: Option<f64>,
}

impl Send {
    /// How to cut the input into records.
    pub fn framing(&self) -> Framing {
        match self.chunk {
            Some(size) => Framing::Chunks(size),
            None if self.len_prefixed => Framing::LenPrefixed,
            None if self.null => Framing::Terminated(0),
            None => Framing::Terminated(b'\n'),
        }
    }
}

/// `annulus recv`.
#[derive(Debug, Args)]
pub struct Recv {
    #[command(flatten)]
    pub channel: Channel,

    /// Stop after this many records.
    #[arg(short, long)]
    pub count: Option<u64>,

    /// Stop when the senders have closed and every record is out.
    #[arg(short, long)]
    pub exit_at_end: bool,

    /// Write each record's length before it, as a 32-bit little-endian number.
    #[arg(long)]
    pub len_prefixed: bool,

    /// Exit with code 1 if records were lost on the way, as over UDP. Without it they are only counted, on the standard error.
    #[arg(long)]
    pub no_loss: bool,
}

/// `annulus audit`.
#[derive(Debug, Args)]
pub struct Audit {
    /// The ring, named as in `annulus send`.
    #[arg(value_parser = ring)]
    pub name: Location,
}

/// `annulus dead-letters`.
#[derive(Debug, Args)]
pub struct DeadLetters {
    /// The ring, named as in `annulus send`.
    #[arg(value_parser = ring)]
    pub name: Location,

    /// Write each to the standard output, as it was sent, and remove it.
    #[arg(long)]
    pub drain: bool,
}

/// `annulus rm`.
#[derive(Debug, Args)]
pub struct Rm {
    /// The channel, named as in `annulus send`.
    #[arg(required_unless_present = "stale")]
    pub name: Option<Url>,

    /// Remove what was to go when all have finished, and is empty without anybody living there: whoever made it was killed,
    /// or went before anybody came. It is listed, and so is what the killed have left with records in it, which stays. What is
    /// --kept, or has a file's name, is not looked for. What a killed `bench` has left goes with all that is in it.
    #[arg(long, conflicts_with = "name")]
    pub stale: bool,

    /// With --stale: look in this directory instead of where names in shared memory and queues are, for FIFOs whose ends were
    /// killed, and for the drafts of FIFOs and Unix sockets whose makers were.
    #[arg(long, value_name = "DIR", requires = "stale")]
    pub within: Vec<PathBuf>,
}

/// Reads the name of a ring, where only a ring will do.
fn ring(word: &str) -> Result<Location, String> {
    match word.parse() {
        Ok(Url::Ring(location)) => Ok(location),
        Ok(url) if url.scheme() == Scheme::Sysv => Err(format!(
            "expected a ring, found a message queue; a ring in a System V segment is ring:{url}"
        )),
        Ok(url) => Err(format!("expected a ring, found {url}")),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
