//! `annulus recv`: records from a channel to the standard output.
//!
//! Output is gathered while the channel has more, and flushed as soon as it has not: millions of short
//! records cost few writes, and someone who watches sees each record at once.

use crate::attach::{attach, give_up, or_dead};
use crate::cli;
use crate::exit::Failure;
use crate::progress::Progress;
use crate::signals::{self, UntilCaught};
use crate::wait::Wait;
use annulus_channel::RecvTimeoutError;
use annulus_transports::{BoxedReceiver, Side, Url, WhenClosed, WhenDead, open_receiver_at};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::Duration;

/// Output is gathered up to this many bytes.
const BUFFER: usize = 256 << 10;

/// Receives records until the count is reached, or the end, or for ever.
pub fn run(args: &cli::Recv) -> Result<(), Failure> {
    pass_on(args).map_err(|failure| give_up(&args.channel, failure))
}

fn pass_on(args: &cli::Recv) -> Result<(), Failure> {
    signals::catch().map_err(|error| Failure::input("signals", error))?;
    let (when_closed, when_dead) = match args.exit_at_end {
        true => (WhenClosed::End, WhenDead::Fail),
        false => (WhenClosed::Wait, WhenDead::Wait),
    };
    let mut options = args.channel.options();
    options.when_closed(when_closed);
    options.when_dead(args.channel.when_dead(when_dead));
    let url = &args.channel.name;
    let (receiver, at) = attach(&args.channel, &options, open_receiver_at)?;
    if at != *url {
        // With nowhere to say it, nobody can come.
        writeln!(io::stderr(), "annulus: listening on {at}")
            .map_err(|error| Failure::input("standard error", error))?;
    }
    let mut inlet = Inlet {
        url,
        receiver,
        timeout: args.channel.timeout,
    };
    let mut out = Output::new(args.len_prefixed)?;
    let result = inlet.pass_on(args.count.unwrap_or(u64::MAX), &mut out);
    // What was received is no longer in the channel: out with it, whatever else has happened.
    let result = out.finish().and(result);
    match inlet.receiver.lost() {
        0 => result,
        lost if args.no_loss && result.is_ok() => Err(Failure::Lost { lost }),
        lost => {
            // With nowhere to complain to, there is no more to do.
            let _ = writeln!(io::stderr(), "annulus: {}", Failure::Lost { lost });
            result
        }
    }
}

/// The channel's receiving end, with the user's patience.
struct Inlet<'a> {
    url: &'a Url,
    receiver: BoxedReceiver,
    timeout: Option<Duration>,
}

impl Inlet<'_> {
    fn pass_on(&mut self, count: u64, out: &mut Output) -> Result<(), Failure> {
        let mut record = Vec::new();
        for _ in 0..count {
            if let Some(stopped) = Failure::stopped(0) {
                return Err(stopped);
            }
            // Whatever stands in the way, an empty channel or worse, the waiting call says it again.
            if self.receiver.try_recv(&mut record).is_err() {
                out.flush()?;
                if !self.recv_waiting(&mut record, out)? {
                    break;
                }
            }
            out.write(&record)?;
        }
        Ok(())
    }

    /// Waits for a record. `false`: the senders have closed, and there is none.
    #[cold]
    fn recv_waiting(&mut self, record: &mut Vec<u8>, out: &mut Output) -> Result<bool, Failure> {
        let wait = Wait::new("no record came", self.timeout);
        loop {
            let slice = wait
                .slice()
                .map_err(|failure| or_dead(failure, self.url, Side::Sender))?;
            match self.receiver.recv_deadline(record, slice) {
                Ok(_) => return Ok(true),
                Err(RecvTimeoutError::Timeout) => out.idle()?,
                Err(RecvTimeoutError::Disconnected) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The standard output.
struct Output {
    out: BufWriter<UntilCaught<File>>,
    /// A write has failed: what is left cannot be written either.
    failed: bool,
    len_prefixed: bool,
    progress: Progress,
}

impl Output {
    fn new(len_prefixed: bool) -> Result<Self, Failure> {
        let stdout = io::stdout();
        // Not through std's own handle, which would look for newlines in what we write.
        let file = stdout.as_fd().try_clone_to_owned().map(File::from);
        let file = file.map_err(|error| Failure::output(error, 0))?;
        Ok(Self {
            out: BufWriter::with_capacity(BUFFER, UntilCaught(file)),
            failed: false,
            len_prefixed,
            // On a terminal the records themselves are the progress.
            progress: Progress::new(None, !stdout.is_terminal()),
        })
    }

    fn write(&mut self, record: &[u8]) -> Result<(), Failure> {
        if self.len_prefixed {
            let len = u32::try_from(record.len()).map_err(|_| {
                let len = record.len();
                Failure::Ended(format!(
                    "a record of {len} bytes is too long for its prefix"
                ))
            })?;
            self.done(|out| out.write_all(&len.to_le_bytes()))?;
        }
        self.done(|out| out.write_all(record))?;
        self.progress.add(record.len());
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.done(|out| out.flush())
    }

    /// For a moment when nothing comes: shows the progress, and fails if nobody reads any more.
    fn idle(&mut self) -> Result<(), Failure> {
        self.progress.show();
        let mut stdout = [PollFd::new(
            self.out.get_ref().0.as_fd(),
            PollFlags::empty(),
        )];
        // Errors and hang-ups are told unasked. If poll fails, the next write will tell.
        match poll(&mut stdout, PollTimeout::ZERO) {
            Ok(1..) => Err(Failure::Output(io::ErrorKind::BrokenPipe.into())),
            _ => Ok(()),
        }
    }

    /// Writes what is left.
    fn finish(mut self) -> Result<(), Failure> {
        let result = match self.failed {
            true => Ok(()),
            false => self.flush(),
        };
        // Not dropped as it is: that would write once more what could not be written.
        let _ = self.out.into_parts();
        result
    }

    fn done(
        &mut self,
        call: impl FnOnce(&mut BufWriter<UntilCaught<File>>) -> io::Result<()>,
    ) -> Result<(), Failure> {
        call(&mut self.out).map_err(|error| {
            self.failed = true;
            Failure::output(error, self.out.buffer().len())
        })
    }
}
