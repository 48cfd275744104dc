//! `annulus rm`: removes a ring's name.

use crate::cli;
use crate::exit::Failure;

/// Removes the ring, unless somebody living is attached to it or it is none.
pub fn run(args: &cli::Rm) -> Result<(), Failure> {
    Ok(annulus::remove(&args.name)?)
}
