//! Pipes and FIFOs behind the facade.

use crate::again::again;
use crate::error::OpenError;
use crate::options::Options;
use crate::url::Url;
use crate::{BoxedReceiver, BoxedSender};
use annulus_channel::OpenReason;
use annulus_pipe::{FifoOptions, PipeReceiver, PipeSender};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) fn sender(path: &Path) -> Result<BoxedSender, OpenError> {
    let mut fifo = FifoOptions::new();
    // Waiting is the facade's own.
    fifo.patience(Duration::ZERO);
    Ok(Box::new(fifo.sender(path)?))
}

pub(crate) fn receiver(path: &Path, options: &Options) -> Result<BoxedReceiver, OpenError> {
    let mut fifo = FifoOptions::new();
    if let Some(bytes) = options.capacity {
        fifo.capacity(bytes);
    }
    let path = path.to_owned();
    again(options, move || {
        let receiver: BoxedReceiver = Box::new(fifo.receiver(&path)?);
        Ok(receiver)
    })
}

/// The sending end of an anonymous pipe that this process inherited, as its standard output for instance.
///
/// # Errors
///
/// [`OpenError::Transport`] if the descriptor is something else.
pub fn pipe_sender(end: OwnedFd) -> Result<BoxedSender, OpenError> {
    Ok(Box::new(PipeSender::from_fd(end)?))
}

/// The receiving end of an anonymous pipe that this process inherited, as its standard input for instance.
///
/// # Errors
///
/// As [`pipe_sender`].
pub fn pipe_receiver(end: OwnedFd) -> Result<BoxedReceiver, OpenError> {
    Ok(Box::new(PipeReceiver::from_fd(end)?))
}

/// Removes a FIFO whose ends were all killed.
pub(crate) fn remove(path: &Path, url: &Url) -> Result<(), OpenError> {
    use std::os::unix::fs::FileTypeExt;
    let error = |reason| Err(annulus_channel::OpenError::new(url, reason).into());
    let found = match path.symlink_metadata() {
        Err(_) => return error(OpenReason::NotFound),
        Ok(found) => found.file_type(),
    };
    if !found.is_fifo() {
        return error(OpenReason::Mismatch {
            what: "file type",
            expected: "a FIFO".to_owned(),
            found: "something else".to_owned(),
        });
    }
    let dir = match path.parent() {
        Some(dir) if dir != Path::new("") => dir.to_owned(),
        _ => PathBuf::from("."),
    };
    let dead = annulus_pipe::stale(&dir).unwrap_or_default();
    match dead.iter().any(|dead| dead.file_name() == path.file_name()) {
        true => std::fs::remove_file(path)
            .map_err(|error| annulus_channel::OpenError::os(url, "unlink", &error).into()),
        false => Err(OpenError::Busy {
            url: url.clone(),
            pid: 0,
        }),
    }
}
