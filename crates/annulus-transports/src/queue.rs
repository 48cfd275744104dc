//! Message queues behind the facade.

use crate::error::OpenError;
use crate::options::Options;
use crate::remove::Stale;
use crate::url::Url;
use crate::{BoxedReceiver, BoxedSender};
use annulus::{WhenClosed, WhenDead};
use annulus_mqueue::{Listed, Name, Protocol, Queue, QueueOptions};
use std::fs;

/// The longest record of a new POSIX queue, unless the system says otherwise.
const RECORD: usize = 8192;

pub(crate) fn sender(url: &Url, options: &Options) -> Result<BoxedSender, OpenError> {
    fn of<K: Protocol + 'static>(
        queue: &Queue<K>,
        options: &Options,
    ) -> Result<BoxedSender, OpenError> {
        let mut sender = queue.sender()?;
        if let Some(what) = options.when_dead {
            sender.on_peer_death(when_dead(what));
        }
        Ok(Box::new(sender))
    }
    match name(url) {
        Name::Posix(name) => of(&settle(options, true).posix(&format!("/{name}"))?, options),
        Name::SystemV(key) => of(&settle(options, false).sysv(&format!("{key:#x}"))?, options),
    }
}

pub(crate) fn receiver(url: &Url, options: &Options) -> Result<BoxedReceiver, OpenError> {
    fn of<K: Protocol + 'static>(
        queue: &Queue<K>,
        options: &Options,
    ) -> Result<BoxedReceiver, OpenError> {
        let mut receiver = queue.receiver()?;
        if let Some(what) = options.when_dead {
            receiver.on_peer_death(when_dead(what));
        }
        if let Some(what) = options.when_closed {
            receiver.on_close(match what {
                WhenClosed::End => annulus_mqueue::WhenClosed::End,
                WhenClosed::Wait => annulus_mqueue::WhenClosed::Wait,
            });
        }
        Ok(Box::new(receiver))
    }
    match name(url) {
        Name::Posix(name) => of(&settle(options, true).posix(&format!("/{name}"))?, options),
        Name::SystemV(key) => of(&settle(options, false).sysv(&format!("{key:#x}"))?, options),
    }
}

fn settle(options: &Options, posix: bool) -> QueueOptions {
    let mut queue = QueueOptions::new();
    queue
        .create(options.create)
        .create_new(options.create_new)
        .unlink_when_finished(!options.keep);
    if let (Some(bytes), true) = (options.capacity, options.create) {
        queue.capacity(match posix {
            true => (bytes / options.max_record.unwrap_or_else(default_record)).max(1),
            false => bytes,
        });
    }
    if let (Some(bytes), true) = (options.max_record, options.create) {
        queue.max_record(bytes);
    }
    if let Some(mode) = options.mode {
        queue.mode(mode);
    }
    queue
}

/// The longest record of a new POSIX queue.
fn default_record() -> usize {
    let setting = fs::read_to_string("/proc/sys/fs/mqueue/msgsize_default");
    let setting = setting.ok().and_then(|text| text.trim().parse().ok());
    setting.unwrap_or(RECORD).max(1)
}

fn when_dead(what: WhenDead) -> annulus_mqueue::WhenDead {
    match what {
        WhenDead::Wait => annulus_mqueue::WhenDead::Wait,
        WhenDead::Fail => annulus_mqueue::WhenDead::Fail,
    }
}

fn name(url: &Url) -> Name {
    match url {
        Url::Mq(name) => Name::Posix(name.trim_start_matches('/').to_owned()),
        Url::Sysv(key) => Name::SystemV(*key),
        other => unreachable!("no queue: {other}"),
    }
}

/// Removes a queue that nobody living has open. Nobody can come in between.
pub(crate) fn remove(url: &Url) -> Result<(), OpenError> {
    match annulus_mqueue::remove_unused(&name(url))? {
        true => Ok(()),
        false => Err(OpenError::Busy {
            url: url.clone(),
            pid: 0,
        }),
    }
}

/// Whether a living receiver is attached to the queue.
pub(crate) fn is_received(url: &Url) -> Result<bool, OpenError> {
    Ok(annulus_mqueue::look(&name(url))?.receivers > 0)
}

/// Removes a queue that is finished.
pub(crate) fn remove_finished(url: &Url) -> Result<bool, OpenError> {
    Ok(annulus_mqueue::remove_finished(&name(url))?)
}

/// Queues that nobody needs, and those with records that the dead have left.
pub(crate) fn stale() -> Vec<Stale> {
    let all = annulus_mqueue::list().unwrap_or_default().into_iter();
    let kept = |listed: &Listed| listed.records.is_some() && !listed.unlink_when_finished;
    let left =
        all.filter(|listed| listed.is_stale() || !listed.open && listed.dead > 0 && !kept(listed));
    left.map(|listed| Stale {
        url: match listed.name {
            Name::Posix(name) => Url::Mq(format!("/{name}")),
            Name::SystemV(key) => Url::Sysv(key),
        },
        records: Some(listed.records.map_or(0, |records| records as u64)),
    })
    .collect()
}
