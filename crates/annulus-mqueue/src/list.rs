//! Which queues there are, and their removal by name.

use crate::kernel::Kernel;
use crate::lock::{self, Turn};
use crate::name::Name;
use crate::open::{self, Unless, map, open_companion};
use crate::posix::PosixQueue;
use crate::sysv::SysvQueue;
use annulus_channel::{OpenError, OpenReason};
use annulus_fd::names::{DIR, Side};
use std::fs;
use std::io;
use std::sync::atomic::Ordering::Relaxed;

/// A queue as [`list`] finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: Name,
    /// Whether any process has it open.
    pub open: bool,
    /// How many living senders are attached.
    pub senders: usize,
    /// How many living receivers are attached.
    pub receivers: usize,
    /// How many handles were killed and have no successor yet.
    pub dead: usize,
    /// How many records wait; nothing if the queue itself is gone, or was never finished.
    pub records: Option<usize>,
    /// Whether it was to be removed [when it is finished](crate::QueueOptions::unlink_when_finished).
    pub unlink_when_finished: bool,
}

impl Listed {
    /// Whether nobody has it open, no record waits, and it was to be removed when it is finished, or never was: nobody
    /// misses it.
    pub fn is_stale(&self) -> bool {
        let finished = match self.records {
            Some(records) => self.unlink_when_finished && records == 0,
            None => true,
        };
        !self.open && finished
    }
}

/// The queues made by this library that the user may open.
///
/// ```
/// use annulus_mqueue::{QueueOptions, list, remove};
/// # let name = format!("/annulus-doc-list-{}", std::process::id());
/// let queue = QueueOptions::new().create(true).posix(&name)?;
/// let _sender = queue.sender()?;
/// let found = list()?.into_iter().find(|found| found.name == *queue.name()).unwrap();
/// assert_eq!((found.senders, found.receivers, found.records), (1, 0, Some(0)));
/// assert!(!found.is_stale());
/// remove(queue.name())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// If the directory of the companions cannot be read. What cannot be opened is left out.
pub fn list() -> io::Result<Vec<Listed>> {
    let mut listed = Vec::new();
    for entry in fs::read_dir(DIR)? {
        let file = entry?.file_name();
        let name = file.to_str().and_then(Name::of_companion);
        listed.extend(name.and_then(|name| match name {
            Name::Posix(_) => look_again::<PosixQueue>(name),
            Name::SystemV(_) => look_again::<SysvQueue>(name),
        }));
    }
    Ok(listed)
}

/// Looks once more, in turn, at what seems never finished: a living creator has finished it by then. One who was stopped
/// halfway has the turn, and his queue is left out.
fn look_again<K: Kernel>(name: Name) -> Option<Listed> {
    let listed = listed::<K>(name).ok()?;
    if listed.open || listed.records.is_some() {
        return Some(listed);
    }
    let companion = open_companion(&listed.name, None).ok()?;
    let _turn = Turn::take(&listed.name, &companion).ok()?;
    self::listed::<K>(listed.name).ok()
}

/// The queue of this name, as [`list`] would have it.
///
/// ```
/// use annulus_mqueue::{QueueOptions, look};
/// # let name = format!("/annulus-doc-look-{}", std::process::id());
/// let queue = QueueOptions::new().create(true).unlink_when_finished(true).posix(&name)?;
/// let receiver = queue.receiver()?;
/// assert_eq!(look(queue.name())?.receivers, 1);
/// # drop(receiver);
/// # queue.remove()?;
/// # Ok::<(), annulus_channel::OpenError>(())
/// ```
///
/// # Errors
///
/// [`OpenError`]: `NotFound`, `Permission`, or what the system says of the queue or its companion.
pub fn look(name: &Name) -> Result<Listed, OpenError> {
    match name {
        Name::Posix(_) => listed::<PosixQueue>(name.clone()),
        Name::SystemV(_) => listed::<SysvQueue>(name.clone()),
    }
}

fn listed<K: Kernel>(name: Name) -> Result<Listed, OpenError> {
    let companion = open_companion(&name, None)?;
    let mut listed = Listed {
        name,
        open: lock::is_open(&companion),
        senders: 0,
        receivers: 0,
        dead: 0,
        records: None,
        unlink_when_finished: false,
    };
    let metadata = companion.metadata();
    let metadata = metadata.map_err(|error| open::os(&listed.name, "fstat", &error))?;
    if metadata.len() == 0 {
        return Ok(listed);
    }
    let page = map(&listed.name, &companion)?;
    // Relaxed: published by the magic, without which there are no records.
    listed.unlink_when_finished = page.unlink.load(Relaxed) == 1;
    for (_, _, holder) in page.holders() {
        let count = match holder.side {
            _ if !lock::is_held(&companion, holder.ticket) => &mut listed.dead,
            Side::Sender => &mut listed.senders,
            Side::Receiver => &mut listed.receivers,
        };
        *count += 1;
    }
    let kernel = K::find(&listed.name)?;
    listed.records = kernel
        .filter(|kernel| open::is_ours(kernel, &page))
        .and_then(|kernel| kernel.len().ok());
    Ok(listed)
}

/// Removes the queues that [are stale](Listed::is_stale), and says which. Nobody can come in between.
///
/// ```no_run
/// for name in annulus_mqueue::remove_stale()? {
///     println!("removed {name}");
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// As [`list`]. What cannot be removed stays.
pub fn remove_stale() -> io::Result<Vec<Name>> {
    let mut removed = Vec::new();
    for found in list()? {
        if found.is_stale() && matches!(remove_finished(&found.name), Ok(true)) {
            removed.push(found.name);
        }
    }
    Ok(removed)
}

/// Removes the queue of this name if it [is stale](Listed::is_stale). False, and it stays, if it is not. Nobody can come,
/// send and go in between.
///
/// ```
/// use annulus_mqueue::{QueueOptions, remove_finished};
/// # let name = format!("/annulus-doc-finished-{}", std::process::id());
/// let queue = QueueOptions::new().create(true).unlink_when_finished(true).posix(&name)?;
/// let name = queue.name().clone();
/// assert!(!remove_finished(&name)?, "somebody has it open");
/// // A receiver comes and goes, but no sender: the queue stays for one.
/// drop(queue.receiver()?);
/// drop(queue);
/// assert!(remove_finished(&name)?);
/// # Ok::<(), annulus_channel::OpenError>(())
/// ```
///
/// # Errors
///
/// As [`remove_unused`].
pub fn remove_finished(name: &Name) -> Result<bool, OpenError> {
    match name {
        Name::Posix(_) => sweep::<PosixQueue>(name),
        Name::SystemV(_) => sweep::<SysvQueue>(name),
    }
}

fn sweep<K: Kernel>(name: &Name) -> Result<bool, OpenError> {
    let companion = open_companion(name, None)?;
    let _turn = Turn::take(name, &companion)?;
    if !open::is_same(&name.companion(), &companion) {
        return Err(OpenError::new(name, OpenReason::NotFound));
    }
    // In turn: what is so stays so.
    if !listed::<K>(name.clone())?.is_stale() {
        return Ok(false);
    }
    let page = map(name, &companion)?;
    open::remove_in_turn::<K>(name, &page).map(|()| true)
}

/// Removes the queue of this name, with what is in it, and its companion. A queue that was not made by this
/// library is not touched.
///
/// # Errors
///
/// [`OpenError`]: `NotFound`, `Permission`, `Mismatch` if the queue is somebody else's.
pub fn remove(name: &Name) -> Result<(), OpenError> {
    match name {
        Name::Posix(_) => open::remove::<PosixQueue>(name, Unless::Never),
        Name::SystemV(_) => open::remove::<SysvQueue>(name, Unless::Never),
    }
    .map(|_| ())
}

/// Does what [`remove`] does, unless somebody living has the queue open: then it stays, and this is false. Nobody can come
/// in between. Records that are in it go with it.
///
/// ```
/// use annulus_mqueue::{QueueOptions, remove_unused};
/// # let name = format!("/annulus-doc-unused-{}", std::process::id());
/// let queue = QueueOptions::new().create(true).posix(&name)?;
/// let name = queue.name().clone();
/// assert!(!remove_unused(&name)?);
/// drop(queue);
/// assert!(remove_unused(&name)?);
/// # Ok::<(), annulus_channel::OpenError>(())
/// ```
///
/// # Errors
///
/// As [`remove`]; and `TimedOut` if somebody was stopped while he created, opened or removed it.
pub fn remove_unused(name: &Name) -> Result<bool, OpenError> {
    match name {
        Name::Posix(_) => open::remove::<PosixQueue>(name, Unless::Open),
        Name::SystemV(_) => open::remove::<SysvQueue>(name, Unless::Open),
    }
}
