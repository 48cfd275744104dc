//! Who may come in, what they find, and who removes it.
//!
//! What a file says of itself is checked against its real size before the first use, copied, and not read again.

use crate::fork::OwnFile;
use crate::header::{self, Shape};
use crate::link::{self, Link, Side};
use crate::medium::{Carry, Medium};
use crate::memory::Memory;
use crate::options::Options;
use crate::place::Place;
use annulus_channel::{Capabilities, Fault, OpenError, OpenReason};
use annulus_fd::lock::Door;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// How long one who comes waits for others who come and go.
const PATIENCE: Duration = Duration::from_secs(10);

/// An attached handle's parts.
pub(crate) struct Open<M> {
    pub(crate) link: Link,
    pub(crate) medium: M,
    pub(crate) max_record: usize,
}

impl<M: Carry> Open<M> {
    pub(crate) fn capabilities(&self) -> Capabilities {
        Capabilities {
            max_record: Some(self.max_record),
            ..M::CAPABILITIES
        }
    }
}

/// Opens or creates the channel, and attaches a handle of this side.
pub(crate) fn open<M: Carry>(
    options: &Options,
    name: &Path,
    side: Side,
) -> Result<Open<M>, OpenError> {
    let place = M::place(name)?;
    loop {
        let file = match place.open()? {
            Some(_) if options.create_new => return Err(place.error(OpenReason::Exists)),
            Some(file) => file,
            None if !options.create => return Err(place.error(OpenReason::NotFound)),
            None => match create::<M>(options, &place)? {
                Some(file) => file,
                // Somebody else was quicker.
                None => continue,
            },
        };
        if let Some(open) = attach(options, &place, file, side)? {
            return Ok(open);
        }
        // It was finished, and has no name any more.
    }
}

fn create<M: Carry>(options: &Options, place: &Place) -> Result<Option<File>, OpenError> {
    let shape = M::shape(options).map_err(|reason| place.error(reason))?;
    let nameless = place.create(shape.file_len, options.mode)?;
    let memory =
        Memory::map(&nameless.file, header::LEN).map_err(|error| place.os("mmap", error))?;
    shape.write(M::KIND, &memory);
    place.publish(nameless)
}

/// Attaches a handle to the channel in `file`, unless that has lost its name.
fn attach<M: Carry>(
    options: &Options,
    place: &Place,
    file: File,
    side: Side,
) -> Result<Option<Open<M>>, OpenError> {
    let error = |reason| place.error(reason);
    let (memory, shape) = map::<M>(place, &file)?;
    let lock = own(place, &file)?;
    let _door = door(place, own(place, &file)?)?;
    if file.metadata().map_or(0, |metadata| metadata.nlink()) == 0 {
        return Ok(None);
    }
    let many = match side {
        Side::Sender => M::CAPABILITIES.many_senders,
        Side::Receiver => M::CAPABILITIES.many_receivers,
    };
    let mut link =
        Link::new(memory, file, place.clone(), lock, side, many, options).map_err(error)?;
    let medium = M::attach(&link, &shape, options.mode).map_err(|reason| {
        if M::PASSES && link.is_alone() && holds_nothing(&link.memory) {
            // Made in vain. Before the file's, as in `close`.
            M::clean(place);
            link.unlink();
        }
        error(reason)
    })?;
    link.sit();
    Ok(Some(Open {
        link,
        medium,
        max_record: shape.max_record as usize,
    }))
}

fn own(place: &Place, file: &File) -> Result<OwnFile, OpenError> {
    OwnFile::of(file).map_err(|error| place.os("open /proc/self/fd", error))
}

/// Goes into the door.
fn door(place: &Place, own: OwnFile) -> Result<Door<OwnFile>, OpenError> {
    Door::alone(own, PATIENCE)
        .map_err(|errno| place.os("fcntl(F_OFD_SETLK)", errno))?
        .ok_or_else(|| place.error(OpenReason::TimedOut))
}

fn map<M: Carry>(place: &Place, file: &File) -> Result<(Memory, Shape), OpenError> {
    let len = file
        .metadata()
        .map_err(|error| place.os("fstat", error))?
        .len();
    let mismatch = |what, expected: String, found: String| {
        place.error(OpenReason::Mismatch {
            what,
            expected,
            found,
        })
    };
    if len < header::LEN as u64 {
        let expected = format!("at least {}", header::LEN);
        return Err(mismatch("length of the file", expected, len.to_string()));
    }
    let map = |len| Memory::map(file, len).map_err(|error| place.os("mmap", error));
    let memory = map(header::LEN)?;
    let shape = Shape::read(M::KIND, &memory, len).map_err(|reason| place.error(reason))?;
    match M::mapped(&shape) {
        Some(header::LEN) => Ok((memory, shape)),
        Some(len) => Ok((map(len)?, shape)),
        None => {
            let expected = "one that fits its numbers".into();
            Err(mismatch("length of the file", expected, len.to_string()))
        }
    }
}

/// Takes a handle out. If it is the last, so goes the name, where that passes with the handles.
pub(crate) fn close<M: Carry>(link: &Link, medium: &mut M) {
    if link.check() == Err(Fault::ForkedHandle) {
        return;
    }
    let door = link.door();
    link.rise();
    medium.wake(link);
    if M::PASSES && door.is_some() && link.is_finished(medium.is_empty(link)) {
        // Before the file's, so that whoever creates the next finds these gone.
        M::clean(&link.place);
        link.unlink();
    }
}

/// Removes the channel of this name, if nobody living is attached: what was left by those who were killed, or a
/// spool with what is in it.
///
/// ```
/// use annulus_classic::{Classic, ClassicSender, Options, remove};
///
/// let name = format!("remove-example-{}", std::process::id());
/// let tx: ClassicSender = Options::new().sender(&name)?;
/// assert!(remove::<Classic>(&name).is_err(), "somebody is there");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`OpenError`]: `NotFound`; `Taken` while somebody living is attached; `Mismatch` if something else has the name, which
/// is then left alone.
pub fn remove<M: Medium>(name: impl AsRef<Path>) -> Result<(), OpenError> {
    take_away::<M>(name.as_ref(), |_| true).map(drop)
}

/// Removes the channel of this name, if nobody living is attached and nothing is in it. False, and it stays, if something is; a
/// spool stays in any case. Nobody can come, send and go in between.
///
/// ```
/// use annulus_channel::Sender as _;
/// use annulus_classic::{Classic, ClassicSender, Options, remove, remove_finished};
///
/// let name = format!("remove-finished-example-{}", std::process::id());
/// let mut tx: ClassicSender = Options::new().sender(&name)?;
/// tx.send(b"a word")?;
/// assert!(remove_finished::<Classic>(&name).is_err(), "somebody is there");
/// drop(tx);
/// assert!(!remove_finished::<Classic>(&name)?, "the word waits for a receiver");
/// remove::<Classic>(&name)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As [`remove`].
pub fn remove_finished<M: Medium>(name: impl AsRef<Path>) -> Result<bool, OpenError> {
    take_away::<M>(name.as_ref(), |memory| M::PASSES && holds_nothing(memory))
}

/// Removes the channel if nobody living is attached and `may` says so, which is asked while nobody can come.
fn take_away<M: Medium>(name: &Path, may: impl FnOnce(&Memory) -> bool) -> Result<bool, OpenError> {
    let place = M::place(name)?;
    let Some(file) = place.open()? else {
        return Err(place.error(OpenReason::NotFound));
    };
    let (memory, _) = map::<M>(&place, &file)?;
    let lock = own(&place, &file)?;
    let _door = door(&place, own(&place, &file)?)?;
    for seat in 0..2 * header::SEATS {
        if link::is_taken(&lock, seat) {
            // Relaxed: for people to read.
            let pid = memory.word(header::seat(seat) + 8);
            return Err(place.error(OpenReason::Taken {
                side: if seat < header::SEATS {
                    "sender"
                } else {
                    "receiver"
                },
                pid: pid.load(std::sync::atomic::Ordering::Relaxed) as u32,
            }));
        }
    }
    if !place.names(&file) {
        return Err(place.error(OpenReason::NotFound));
    }
    if !may(&memory) {
        return Ok(false);
    }
    M::clean(&place);
    fs::remove_file(&place.path).map_err(|error| place.os("unlink", error))?;
    Ok(true)
}

/// Whether nothing is there that is still to be received.
fn holds_nothing(memory: &Memory) -> bool {
    // Acquire is more than is needed: unless nobody can come, the answer may be old as soon as it is given.
    let word = |at| memory.word(at).load(std::sync::atomic::Ordering::Acquire);
    word(header::IN) == word(header::OUT)
}

/// Whether nothing is in the channel of this name that is still to be received. Attaches nothing.
///
/// ```
/// use annulus_channel::Sender as _;
/// use annulus_classic::{Classic, ClassicSender, Options, is_empty, remove};
///
/// let name = format!("is-empty-example-{}", std::process::id());
/// let mut tx: ClassicSender = Options::new().sender(&name)?;
/// assert!(is_empty::<Classic>(&name)?);
/// tx.send(b"a word")?;
/// assert!(!is_empty::<Classic>(&name)?);
/// # drop(tx);
/// # remove::<Classic>(&name)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`OpenError`]: `NotFound`; `Mismatch` if something else has the name.
pub fn is_empty<M: Medium>(name: impl AsRef<Path>) -> Result<bool, OpenError> {
    let place = M::place(name.as_ref())?;
    let Some(file) = place.open()? else {
        return Err(place.error(OpenReason::NotFound));
    };
    let (memory, _) = map::<M>(&place, &file)?;
    Ok(holds_nothing(&memory))
}

/// Whether a living receiver is attached to the channel of this name. Attaches nothing.
///
/// ```
/// use annulus_classic::{Classic, ClassicReceiver, ClassicSender, Options, is_received};
///
/// let name = format!("is-received-example-{}", std::process::id());
/// let _tx: ClassicSender = Options::new().sender(&name)?;
/// assert!(!is_received::<Classic>(&name)?);
/// let _rx: ClassicReceiver = Options::new().receiver(&name)?;
/// assert!(is_received::<Classic>(&name)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`OpenError`]: `NotFound`; `Mismatch` if something else has the name.
pub fn is_received<M: Medium>(name: impl AsRef<Path>) -> Result<bool, OpenError> {
    let place = M::place(name.as_ref())?;
    let Some(file) = place.open()? else {
        return Err(place.error(OpenReason::NotFound));
    };
    map::<M>(&place, &file)?;
    let lock = own(&place, &file)?;
    Ok(Side::Receiver
        .seats()
        .any(|seat| link::is_taken(&lock, seat)))
}
