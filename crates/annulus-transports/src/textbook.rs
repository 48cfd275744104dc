//! The textbook's channels behind the facade: bounded buffers and the spool file.

use crate::error::OpenError;
use crate::options::Options;
use crate::remove::Stale;
use crate::url::Url;
use crate::{BoxedReceiver, BoxedSender};
use annulus::{WhenClosed, WhenDead};
use annulus_channel::OpenReason;
use annulus_classic::{Classic, Sem, Spool};

/// The longest record of a new buffer.
const RECORD: usize = 1 << 16;

pub(crate) fn sender(url: &Url, options: &Options) -> Result<BoxedSender, OpenError> {
    let to = settle(url, options);
    Ok(match url {
        Url::Classic(name) => Box::new(to.sender::<Classic>(name)?),
        Url::Sem(name) => Box::new(to.sender::<Sem>(name)?),
        Url::Spool(path) => Box::new(to.sender::<Spool>(path)?),
        other => unreachable!("no such channel: {other}"),
    })
}

pub(crate) fn receiver(url: &Url, options: &Options) -> Result<BoxedReceiver, OpenError> {
    let to = settle(url, options);
    Ok(match url {
        Url::Classic(name) => Box::new(to.receiver::<Classic>(name)?),
        Url::Sem(name) => Box::new(to.receiver::<Sem>(name)?),
        Url::Spool(path) => Box::new(to.receiver::<Spool>(path)?),
        other => unreachable!("no such channel: {other}"),
    })
}

fn settle(url: &Url, options: &Options) -> annulus_classic::Options {
    let mut to = annulus_classic::Options::new();
    to.create(options.create).create_new(options.create_new);
    let record = options.max_record.unwrap_or(RECORD);
    match (url, options.capacity) {
        (Url::Spool(_), Some(bytes)) => {
            to.capacity(bytes as u64);
        }
        (_, Some(bytes)) => {
            to.slots((bytes / record).max(2) as u64);
        }
        _ => {}
    }
    to.max_record(record as u64);
    if let Some(mode) = options.mode {
        to.mode(mode);
    }
    if let Some(what) = options.when_dead {
        to.when_dead(match what {
            WhenDead::Wait => annulus_classic::WhenDead::Wait,
            WhenDead::Fail => annulus_classic::WhenDead::Fail,
        });
    }
    if let Some(what) = options.when_closed {
        to.when_closed(match what {
            WhenClosed::End => annulus_classic::WhenClosed::End,
            WhenClosed::Wait => annulus_classic::WhenClosed::Wait,
        });
    }
    to
}

pub(crate) fn remove(url: &Url) -> Result<(), OpenError> {
    let removed = match url {
        Url::Classic(name) => annulus_classic::remove::<Classic>(name),
        Url::Sem(name) => annulus_classic::remove::<Sem>(name),
        Url::Spool(path) => annulus_classic::remove::<Spool>(path),
        other => unreachable!("no such channel: {other}"),
    };
    removed.map_err(|error| match error.reason {
        OpenReason::Taken { pid, .. } => OpenError::Busy {
            url: url.clone(),
            pid,
        },
        _ => error.into(),
    })
}

/// Removes a buffer that nobody living is attached to and that holds nothing.
pub(crate) fn remove_finished(url: &Url) -> Result<bool, OpenError> {
    let removed = match url {
        Url::Classic(name) => annulus_classic::remove_finished::<Classic>(name),
        Url::Sem(name) => annulus_classic::remove_finished::<Sem>(name),
        // It has a file's name, which stays.
        _ => Ok(false),
    };
    match removed {
        Err(error) if matches!(error.reason, OpenReason::Taken { .. }) => Ok(false),
        removed => Ok(removed?),
    }
}

/// Whether a living receiver is attached.
pub(crate) fn is_received(url: &Url) -> Result<bool, OpenError> {
    Ok(match url {
        Url::Classic(name) => annulus_classic::is_received::<Classic>(name)?,
        Url::Sem(name) => annulus_classic::is_received::<Sem>(name)?,
        Url::Spool(path) => annulus_classic::is_received::<Spool>(path)?,
        other => unreachable!("no such channel: {other}"),
    })
}

/// Buffers that nobody living is attached to.
pub(crate) fn stale() -> Vec<Stale> {
    let all = annulus_classic::stale().unwrap_or_default();
    let urls = all.iter().filter_map(|name| name.parse().ok());
    let stale = |url: Url| {
        let empty = match &url {
            Url::Classic(name) => annulus_classic::is_empty::<Classic>(name),
            Url::Sem(name) => annulus_classic::is_empty::<Sem>(name),
            _ => return None,
        };
        // How many there are, nobody has counted.
        let records = empty.ok()?.then_some(0);
        Some(Stale { url, records })
    };
    urls.filter_map(stale).collect()
}
