//! What the killed have left: FIFOs at their paths.

use crate::fifo::{DRAFT, Location, Probe, has_senders, probe};
use annulus_channel::{OpenError, OpenReason};
use annulus_fd::draft::{abandoned, is_draft};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The FIFOs in a directory that were made by a receiver of this library, and whose ends were all killed. Drafts, which a receiver
/// that was killed while it made one has left, are among them.
///
/// ```
/// use annulus_pipe::FifoOptions;
///
/// let dir = std::env::temp_dir().join(format!("annulus-left-{}", std::process::id()));
/// std::fs::create_dir(&dir)?;
/// let one = FifoOptions::new().receiver(dir.join("one"))?;
/// FifoOptions::new().receiver(dir.join("other"))?.die();
/// assert_eq!(annulus_pipe::stale(&dir)?, [dir.join("other")]);
///
/// assert_eq!(annulus_pipe::remove_stale(&dir)?, [dir.join("other")]);
/// drop(one);
/// std::fs::remove_dir(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Those of reading the directory. What may not be opened is passed over.
pub fn stale(dir: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(find(dir)?.into_iter().map(|(path, ..)| path).collect())
}

/// Removes what [`stale`] finds, and returns what was removed. No receiver can take a path in between.
///
/// # Errors
///
/// As [`stale`].
pub fn remove_stale(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let found = find(dir)?.into_iter();
    let buried = found.filter(|(_, location, dead)| matches!(location.bury(dead), Ok(true)));
    Ok(buried.map(|(path, ..)| path).collect())
}

/// Removes one FIFO whose ends were all killed. False, and it is left alone, if one of them lives. No receiver can take the path in
/// between.
///
/// ```
/// use annulus_pipe::FifoOptions;
///
/// let path = std::env::temp_dir().join(format!("annulus-remove-{}", std::process::id()));
/// let receiver = FifoOptions::new().receiver(&path)?;
/// assert!(!annulus_pipe::remove(&path)?);
/// receiver.die();
/// assert!(annulus_pipe::remove(&path)?);
/// assert!(annulus_pipe::remove(&path).is_err(), "nothing is there");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`OpenReason::NotFound`]: nothing is there. [`OpenReason::Mismatch`]: something else is there, or a FIFO that no receiver of this
/// library made. [`OpenReason::Os`]: it may not be opened.
pub fn remove(path: &Path) -> Result<bool, OpenError> {
    let location = Location::new(path)?;
    match probe(&location)? {
        Probe::Free => Err(OpenError::new(&location.name, OpenReason::NotFound)),
        // Senders that live take it away themselves.
        Probe::Dead(dead) if !has_senders(&dead) => location.bury(&dead),
        Probe::Dead(_) | Probe::Taken => Ok(false),
    }
}

fn find(dir: &Path) -> io::Result<Vec<(PathBuf, Location, OwnedFd)>> {
    use std::os::unix::fs::FileTypeExt;
    let mut found = vec![];
    let drafts = abandoned(dir, DRAFT)?;
    for entry in dir.read_dir()? {
        let entry = entry?;
        if !entry.file_type().is_ok_and(|kind| kind.is_fifo()) {
            continue;
        }
        let path = entry.path();
        if is_draft(&path, DRAFT) && !drafts.contains(&path) {
            continue;
        }
        let Ok(location) = Location::new(&path) else {
            continue;
        };
        // Senders that live take it away themselves.
        match probe(&location) {
            Ok(Probe::Dead(dead)) if !has_senders(&dead) => found.push((path, location, dead)),
            _ => {}
        }
    }
    found.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    Ok(found)
}
