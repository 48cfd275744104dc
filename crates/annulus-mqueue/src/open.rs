//! Creating, opening and removing a queue together with its companion.
//!
//! The kernel's queue and the companion cannot be made in one step. So whoever creates, opens or removes
//! takes the turn, a lock on the companion, and the companion says how far its creator has come (`page`):
//!
//! ```text
//! magic  making  queue    what it means
//!  0      0      none     nobody was here: create
//!  0      0      there    the queue is somebody else's: not touched
//!  0      1      any      the creator died halfway: removed, created anew
//!  set    any    ours     there it is
//!  set    any    other    the queue is somebody else's: not touched
//!  set    any    none     removed behind our back: the companion goes, too, unless somebody is attached
//! ```

use crate::fork::Lock;
use crate::kernel::Kernel;
use crate::lock::{self, Turn};
use crate::name::Name;
use crate::options::QueueOptions;
use crate::page::{LEN, Layout, MAGIC, Page};
use annulus_channel::{OpenError, OpenReason};
use annulus_fd::limits::no_space;
use annulus_fd::names::DIR;
use nix::errno::Errno;
use nix::fcntl::posix_fallocate;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// An open queue, shared by the handles of this process.
pub(crate) struct Shared<K> {
    pub(crate) name: Name,
    /// The note that we have it open. Goes before the companion, of which it is another description.
    _open: Lock,
    /// Holds no lock, since the kernel does not show a description its own.
    pub(crate) companion: File,
    pub(crate) page: Page,
    pub(crate) kernel: K,
    pub(crate) capacity: usize,
    pub(crate) max_record: usize,
}

/// Opens or creates the queue.
pub(crate) fn open<K: Kernel>(
    options: &QueueOptions,
    name: &Name,
) -> Result<Arc<Shared<K>>, OpenError> {
    let create = options.create || options.create_new;
    loop {
        let companion = match open_companion(name, None) {
            Err(OpenError {
                reason: OpenReason::NotFound,
                ..
            }) => {
                if K::find(name)?.is_some() && !name.companion().exists() {
                    return Err(foreign(name));
                }
                if !create {
                    return Err(OpenError::new(name, OpenReason::NotFound));
                }
                open_companion(name, Some(options.plan.mode))?
            }
            other => other?,
        };
        let turn = Turn::take(name, &companion)?;
        // Removed while we waited, and perhaps made anew by somebody else.
        if !is_same(&name.companion(), &companion) {
            continue;
        }
        let page = map(name, &companion)?;
        // Acquire: pairs with the Release of the creator.
        let magic = page.magic.load(Acquire);
        let made = match magic {
            MAGIC => match existing(options, name, &companion, &page)? {
                Some(kernel) => Ok(kernel),
                None => {
                    unlink(name)?;
                    drop(turn);
                    continue;
                }
            },
            0 => make(options, name, &page).inspect_err(|_| {
                // Nobody needs it. Should that fail, it is harmless.
                let _ = unlink(name);
            }),
            other => Err(mismatch(name, "version", MAGIC, other)),
        };
        let kernel: K = made?;
        let attributes = kernel.attributes();
        let attributes = attributes.map_err(|errno| os(name, "attributes", &errno.into()))?;
        // Relaxed: published by the magic. Copied once, checked, and never read again.
        let max_record = page.max_record.load(Relaxed);
        let max_record = match usize::try_from(max_record) {
            Ok(max) if max <= attributes.max_record => max,
            _ => {
                return Err(mismatch(
                    name,
                    "longest record",
                    attributes.max_record,
                    max_record,
                ));
            }
        };
        let open = lock::note_open(&companion);
        let open = open.map_err(|error| os(name, "fcntl(F_OFD_SETLK)", &error))?;
        let shared = Shared {
            name: name.clone(),
            companion,
            page,
            kernel,
            capacity: attributes.capacity,
            max_record,
            _open: open,
        };
        check(options, &shared)?;
        return Ok(Arc::new(shared));
    }
}

/// The queue of a companion that is complete, or nothing if it was removed. Only in turn.
fn existing<K: Kernel>(
    options: &QueueOptions,
    name: &Name,
    companion: &File,
    page: &Layout,
) -> Result<Option<K>, OpenError> {
    let Some(kernel) = K::find(name)? else {
        return if is_attached(page, companion) {
            Err(mismatch(name, "queue of its companion", "there", "removed"))
        } else {
            Ok(None)
        };
    };
    if !is_ours(&kernel, page) {
        return Err(foreign(name));
    }
    if options.create_new {
        return Err(OpenError::new(name, OpenReason::Exists));
    }
    Ok(Some(kernel))
}

/// Creates the queue of a companion that is not complete. Only in turn.
fn make<K: Kernel>(options: &QueueOptions, name: &Name, page: &Layout) -> Result<K, OpenError> {
    // Relaxed, here and below: in turn, which orders us after whoever wrote before.
    match K::find(name)? {
        Some(half_made) if page.making.load(Relaxed) == 1 => half_made.remove(name)?,
        Some(_) => return Err(foreign(name)),
        None => {}
    }
    if !(options.create || options.create_new) {
        return Err(OpenError::new(name, OpenReason::NotFound));
    }
    page.making.store(1, Relaxed);
    let (kernel, max_record) = K::create(name, &options.plan)?;
    let identity = kernel.identity().map_err(|errno| {
        // Nobody has seen it.
        let _ = kernel.remove(name);
        os(name, "fstat", &errno.into())
    })?;
    for (place, part) in page.identity.iter().zip(identity) {
        place.store(part, Relaxed);
    }
    page.max_record.store(max_record as u64, Relaxed);
    page.unlink
        .store(options.unlink_when_finished.into(), Relaxed);
    // Release: pairs with the Acquire in `open`.
    page.magic.store(MAGIC, Release);
    Ok(kernel)
}

/// Compares what was asked for with what is there.
fn check<K: Kernel>(options: &QueueOptions, shared: &Shared<K>) -> Result<(), OpenError> {
    let compare = |what, asked: Option<usize>, found: usize, unit: &str| match asked {
        Some(asked) if asked != found => Err(mismatch(
            &shared.name,
            what,
            format_args!("{asked} {unit}"),
            format_args!("{found} {unit}"),
        )),
        _ => Ok(()),
    };
    let plan = &options.plan;
    compare("capacity", plan.capacity, shared.capacity, K::UNIT)?;
    compare(
        "longest record",
        plan.max_record,
        shared.max_record,
        "bytes",
    )
}

/// What keeps a queue from being removed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unless {
    /// Nothing.
    Never,
    /// Somebody living has it open.
    Open,
}

/// Removes the queue and its companion, `unless` somebody has it open (then it is false) or whoever is attached. What
/// isn't ours stays.
pub(crate) fn remove<K: Kernel>(name: &Name, unless: Unless) -> Result<bool, OpenError> {
    let companion = match open_companion(name, None) {
        Err(error) if error.reason == OpenReason::NotFound && K::find(name)?.is_some() => {
            return Err(foreign(name));
        }
        other => other?,
    };
    let _turn = Turn::take(name, &companion)?;
    if !is_same(&name.companion(), &companion) {
        return match unless {
            Unless::Never => Ok(true),
            Unless::Open => Err(OpenError::new(name, OpenReason::NotFound)),
        };
    }
    // In turn: nobody opens it meanwhile, and whoever has made it has noted that he has it open.
    if unless == Unless::Open && lock::is_open(&companion) {
        return Ok(false);
    }
    let page = map(name, &companion)?;
    remove_in_turn::<K>(name, &page).map(|()| true)
}

/// The same, in turn.
pub(crate) fn remove_in_turn<K: Kernel>(name: &Name, page: &Layout) -> Result<(), OpenError> {
    if let Some(kernel) = K::find(name)? {
        // Acquire: pairs with the Release of the creator. Relaxed: in turn.
        let half_made = page.magic.load(Acquire) == 0 && page.making.load(Relaxed) == 1;
        if half_made || is_ours(&kernel, page) {
            kernel.remove(name)?;
        }
    }
    unlink(name)
}

/// Whether the page is the companion of this very queue.
pub(crate) fn is_ours<K: Kernel>(kernel: &K, page: &Layout) -> bool {
    // Relaxed: published by the magic.
    let noted = [0, 1].map(|part: usize| page.identity[part].load(Relaxed));
    kernel.identity() == Ok(noted)
}

/// Whether anybody living has a seat.
pub(crate) fn is_attached(page: &Layout, companion: &File) -> bool {
    let mut holders = page.holders();
    holders.any(|(_, _, holder)| lock::is_held(companion, holder.ticket))
}

/// Whether the name still leads to this file.
pub(crate) fn is_same(path: &Path, file: &File) -> bool {
    let named = fs::symlink_metadata(path).map(|named| (named.dev(), named.ino()));
    let open = file.metadata().map(|open| (open.dev(), open.ino()));
    matches!((named, open), (Ok(named), Ok(open)) if named == open)
}

/// Opens the companion, creating it if `mode` is given.
pub(crate) fn open_companion(name: &Name, mode: Option<u32>) -> Result<File, OpenError> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC);
    if let Some(mode) = mode {
        options.create(true).mode(mode);
    }
    let file = options.open(name.companion());
    file.map_err(|error| match error.kind() {
        io::ErrorKind::StorageFull => OpenError::new(name, no_space(Path::new(DIR), LEN as u64)),
        _ => os(name, "open", &error),
    })
}

/// Maps the companion, giving it its length if it is new. Only in turn.
pub(crate) fn map(name: &Name, companion: &File) -> Result<Page, OpenError> {
    let metadata = companion.metadata();
    let len = metadata.map_err(|error| os(name, "fstat", &error))?.len();
    if len == 0 {
        // A full file system is an error here, not a fault later.
        let allocated = posix_fallocate(companion, 0, LEN as libc::off_t);
        allocated.map_err(|errno| match errno {
            Errno::ENOSPC => {
                // It is empty, and nobody has the queue: whoever waits for the turn sees that the name is gone.
                let _ = unlink(name);
                OpenError::new(name, no_space(Path::new(DIR), LEN as u64))
            }
            errno => os(name, "posix_fallocate", &errno.into()),
        })?;
    } else if len != LEN as u64 {
        return Err(mismatch(name, "length of its companion", LEN, len));
    }
    Page::map(companion).map_err(|error| os(name, "mmap", &error))
}

fn unlink(name: &Name) -> Result<(), OpenError> {
    match fs::remove_file(name.companion()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(os(name, "unlink", &error)),
        _ => Ok(()),
    }
}

/// The error of a queue that has not come about here.
fn foreign(name: &Name) -> OpenError {
    let path = name.companion();
    mismatch(
        name,
        "companion of the queue",
        path.display(),
        "none that fits",
    )
}

fn mismatch(
    name: &Name,
    what: &'static str,
    expected: impl ToString,
    found: impl ToString,
) -> OpenError {
    let reason = OpenReason::Mismatch {
        what,
        expected: expected.to_string(),
        found: found.to_string(),
    };
    OpenError::new(name, reason)
}

pub(crate) fn os(name: &Name, call: &'static str, error: &io::Error) -> OpenError {
    OpenError::os(name, call, error)
}

impl<K: Kernel> Shared<K> {
    /// Takes the turn, if the companion still has its name.
    pub(crate) fn turn(&self) -> Result<Turn, OpenError> {
        let turn = Turn::take(&self.name, &self.companion)?;
        if is_same(&self.name.companion(), &self.companion) {
            Ok(turn)
        } else {
            Err(OpenError::new(&self.name, OpenReason::NotFound))
        }
    }

    /// How many records are in the queue.
    pub(crate) fn len(&self) -> Result<usize, Errno> {
        self.kernel.len()
    }

    /// Removes the queue if it was to be, and everybody has gone and everything was received.
    pub(crate) fn finish(&self) {
        // Relaxed: published by the magic.
        if self.page.unlink.load(Relaxed) != 1 || is_attached(&self.page, &self.companion) {
            return;
        }
        let Ok(_turn) = self.turn() else { return };
        // Acquire: pairs with the Release of whoever attached, before it left.
        let sent = self.page.arrivals[0].load(Acquire) > 0;
        let empty = self.len() == Ok(0);
        if sent && empty && !is_attached(&self.page, &self.companion) {
            // Whoever closes cannot be told; what is left has its name, and can be removed by it.
            let _ = remove_in_turn::<K>(&self.name, &self.page);
        }
    }
}
