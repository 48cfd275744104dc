//! Pipes and FIFOs behind the facade.

use crate::again::again;
use crate::error::OpenError;
use crate::options::Options;
use crate::url::Url;
use crate::{BoxedReceiver, BoxedSender};
use annulus_pipe::{FifoOptions, PipeReceiver, PipeSender};
use std::os::fd::OwnedFd;
use std::path::Path;
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
    if let Some(mode) = options.mode {
        fifo.mode(mode);
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
    match annulus_pipe::remove(path)? {
        true => Ok(()),
        false => Err(OpenError::Busy {
            url: url.clone(),
            pid: 0,
        }),
    }
}
