//! `annulus send`: files, or the standard input, into a channel.

use crate::attach::{Watch, attach, give_up, or_dead};
use crate::cli;
use crate::exit::Failure;
use crate::framing::{FrameError, Records};
use crate::pace::Pace;
use crate::progress::Progress;
use crate::signals::{self, UntilCaught};
use crate::wait::Wait;
use annulus_channel::SendTimeoutError;
use annulus_transports::{BoxedSender, Side, Url, WhenDead, open_sender};
use std::fs::File;
use std::io::{self, Read, Stdin};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Sends every record of every input, in order, waiting for room.
pub fn run(args: &cli::Send) -> Result<(), Failure> {
    pass_on(args).map_err(|failure| give_up(&args.channel, failure))
}

fn pass_on(args: &cli::Send) -> Result<(), Failure> {
    signals::catch().map_err(|error| Failure::input("signals", error))?;
    let stdin = [PathBuf::from("-")];
    let files = match args.files.is_empty() {
        true => &stdin[..],
        false => &args.files,
    };
    let total = total_size(files)?;
    let mut options = args.channel.options();
    let when_dead = args.channel.when_dead(WhenDead::Wait);
    options.when_dead(when_dead);
    let url = &args.channel.name;
    let sender = attach(&args.channel, &options, open_sender)?;
    let watch = (when_dead == WhenDead::Fail).then(|| Watch::new(url));
    let mut out = Outlet {
        url,
        sender,
        watch: watch.flatten(),
        timeout: args.channel.timeout,
        progress: Progress::new(total, true),
        pace: args.rate.map(Pace::new),
    };
    for path in files {
        let source = path.display().to_string();
        let input = Input::open(path).map_err(|error| Failure::input(&source, error))?;
        let max = out.sender.max_record();
        let mut records = Records::new(UntilCaught(input), args.framing(), max);
        for number in 1.. {
            let record = records.next_record().map_err(|error| match error {
                FrameError::Read(error) => Failure::input(&source, error),
                error => Failure::Frame {
                    source: source.clone(),
                    record: number,
                    error,
                    limit: url.scheme().record_limit(),
                },
            })?;
            match record {
                Some(record) => out.send(record)?,
                None => break,
            }
        }
    }
    // What was sent last may lie there for nobody.
    out.watch.as_mut().map_or(Ok(()), Watch::look)
}

/// The size of all files together, if each has one. Finds a missing file before a channel is created.
fn total_size(files: &[PathBuf]) -> Result<Option<u64>, Failure> {
    let mut total = Some(0);
    for path in files {
        let known = match is_stdin(path) {
            true => None,
            false => {
                let failed = |error| Failure::input(&path.display().to_string(), error);
                let metadata = path.metadata().map_err(failed)?;
                if metadata.is_dir() {
                    return Err(failed(io::ErrorKind::IsADirectory.into()));
                }
                metadata.is_file().then_some(metadata.len())
            }
        };
        total = total.zip(known).map(|(total, len)| total + len);
    }
    Ok(total)
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

enum Input {
    Stdin(Stdin),
    File(File),
}

impl Input {
    fn open(path: &Path) -> io::Result<Self> {
        match is_stdin(path) {
            true => Ok(Self::Stdin(io::stdin())),
            false => File::open(path).map(Self::File),
        }
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stdin(stdin) => stdin.read(buffer),
            Self::File(file) => file.read(buffer),
        }
    }
}

/// The channel's sending end, with the user's patience.
struct Outlet<'a> {
    url: &'a Url,
    sender: BoxedSender,
    watch: Option<Watch>,
    timeout: Option<Duration>,
    progress: Progress,
    pace: Option<Pace>,
}

impl Outlet<'_> {
    fn send(&mut self, record: &[u8]) -> Result<(), Failure> {
        if let Some(stopped) = Failure::stopped(0) {
            return Err(stopped);
        }
        if let Some(pace) = &mut self.pace {
            pace.wait()?;
        }
        if let Some(watch) = &mut self.watch {
            watch.glance()?;
        }
        // Whatever stands in the way, a full channel or worse, the waiting call says it again.
        if self.sender.try_send(record).is_err() {
            self.send_waiting(record)?;
        }
        self.progress.add(record.len());
        Ok(())
    }

    #[cold]
    fn send_waiting(&mut self, record: &[u8]) -> Result<(), Failure> {
        let wait = Wait::new("no room in the channel", self.timeout);
        loop {
            self.progress.show();
            let slice = wait
                .slice()
                .map_err(|failure| or_dead(failure, self.url, Side::Receiver))?;
            match self.sender.send_deadline(record, slice) {
                Err(SendTimeoutError::Timeout(())) => {}
                done => return Ok(done?),
            }
        }
    }
}
