//! `annulus rm`: removes a channel's name, or everything that nobody needs any more.

use crate::bench;
use crate::cli;
use crate::exit::Failure;
use annulus_transports::{Scheme, Stale, remove, remove_finished, remove_stale_in, stale};
use std::io::{self, Write};
use std::path::PathBuf;

/// Removes what was asked for, unless somebody living uses it or it is something else.
pub fn run(args: &cli::Rm) -> Result<(), Failure> {
    match &args.name {
        Some(name) => Ok(remove(name)?),
        None if args.within.is_empty() => remove_stale(),
        None => remove_within(&args.within),
    }
}

/// Removes what nobody needs and what dead owners have left, and says for each what became of it. The first that cannot be
/// removed is the failure, but all are tried.
fn remove_stale() -> Result<(), Failure> {
    let mut result = Ok(());
    for (path, removed) in bench::remove_stale() {
        let path = path.display();
        match removed {
            Ok(()) => say(&format!("removed {path}, of a comparison\n"))?,
            Err(error) => result = result.and(Err(Failure::input(&path.to_string(), error))),
        }
    }
    for Stale { url, records, .. } in stale(&Scheme::ALL) {
        let line = match records {
            // A ring counts cells, of which a record may take several.
            Some(1..) if url.scheme() == Scheme::Ring => {
                format!("kept {url}: it holds records that nobody has received\n")
            }
            None => format!("kept {url}: it holds records that nobody has received\n"),
            Some(records @ 1..) => {
                format!("kept {url}: it holds {records} records that nobody has received\n")
            }
            Some(0) => match remove_finished(&url) {
                Ok(true) => format!("removed {url}\n"),
                Ok(false) => format!("kept {url}: somebody has just used it\n"),
                // Somebody else was faster.
                Err(error) if error.is_not_found() => continue,
                Err(error) => {
                    let line = format!("kept {url}: {error}\n");
                    result = result.and(Err(error.into()));
                    line
                }
            },
        };
        say(&line)?;
    }
    result
}

/// Removes what the killed have left in directories, and says what.
fn remove_within(dirs: &[PathBuf]) -> Result<(), Failure> {
    let mut result = Ok(());
    for dir in dirs {
        match remove_stale_in(dir) {
            Ok(removed) => {
                for path in removed {
                    say(&format!("removed {}\n", path.display()))?;
                }
            }
            Err(error) => {
                let failure = Failure::input(&dir.display().to_string(), error);
                result = result.and(Err(failure));
            }
        }
    }
    result
}

fn say(line: &str) -> Result<(), Failure> {
    let written = io::stdout().write_all(line.as_bytes());
    written.map_err(|error| Failure::output(error, 0))
}
