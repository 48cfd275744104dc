//! Rings in System V shared memory.
//!
//! A segment has no descriptor, so the locks of its leases are on a file of its own, `/dev/shm/annulus.sysv-KEY.lock`, and the
//! segment's header says which file that is: with another in its place the dead could not be told from the living.
//!
//! A segment cannot be made before it has its key. So creators, openers and removers take turns, by a lock on
//! that file; and the file is not empty while a creator is at work, which tells a segment whose creator died
//! halfway.

use crate::attach::{Place, Shared, checked, fresh, plan};
use crate::error::OpenError;
use crate::fork::Lock;
use crate::geometry::Shape;
use crate::kind::Kind;
use crate::layout::size_of_header;
use crate::lease::{self, Witness};
use crate::options::{Location, RingOptions};
use crate::region::{self, Region, SHM_DIR, prefault};
use crate::sync::{PAYLOAD_ALIGN, Relaxed};
use nix::errno::Errno;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;

/// An attached segment.
pub(crate) struct Segment {
    pub(crate) base: *mut u8,
    pub(crate) len: u64,
}

// SAFETY: the address is the process's, not a thread's; `Segment` only detaches it.
unsafe impl Send for Segment {}
// SAFETY: as for `Send`; the value has no operation but to be dropped.
unsafe impl Sync for Segment {}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: attached in `map`, and detached only here.
        unsafe { libc::shmdt(self.base.cast()) };
    }
}

const SHMALL: &str = "kernel.shmall, in pages of all segments";

/// The file whose locks are the leases of the segment with this key.
pub(crate) fn lock_path(key: i32) -> PathBuf {
    PathBuf::from(SHM_DIR).join(format!("annulus.sysv-{key:08x}.lock"))
}

/// Opens or creates the ring in the segment with this key.
pub(crate) fn open(
    options: &RingOptions,
    kind: Option<Kind>,
    shape: Option<&Shape>,
    key: i32,
) -> Result<Arc<Shared>, OpenError> {
    let location = Location::Sysv(key);
    let create = options.create || options.create_new;
    loop {
        let mut file = open_lock(key, None);
        if let Err(OpenError::NotFound(_)) = file {
            match find(key) {
                // Made between our two looks.
                Ok(_) if lock_path(key).exists() => continue,
                // A segment without its lock file is not ours, or not any more.
                Ok(_) => {
                    let expected = lock_path(key);
                    return Err(OpenError::not_a_ring(
                        "lock file",
                        "none",
                        expected.display(),
                    ));
                }
                Err(OpenError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
            let (true, Some(kind), Some(shape)) = (create, kind, shape) else {
                return Err(OpenError::NotFound(location));
            };
            // Refuse what cannot be created before there is anything to clean up.
            plan(options, kind, shape)?;
            file = open_lock(key, Some(options.mode));
        }
        let file = file?;
        let _turn = Turn::take(&file)?;
        // Removed while we waited, and perhaps made anew by somebody else.
        if !region::is_same(&lock_path(key), &file) {
            continue;
        }
        match find(key) {
            Ok(id) if is_half_made(&file)? => remove_segment(key, id)?,
            Ok(_) if options.create_new => return Err(OpenError::Exists(location)),
            Ok(id) => return existing(options, kind, shape, file, key, id),
            Err(OpenError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        let made = match (create, kind, shape) {
            (true, Some(kind), Some(shape)) => create_segment(options, kind, shape, &file, key),
            _ => Err(OpenError::NotFound(location)),
        };
        if made.is_err() {
            // There is no segment, so nobody needs its locks. Should that fail, the file is empty and harmless.
            let _ = fs::remove_file(lock_path(key));
        }
        return made;
    }
}

/// Maps and checks the segment. Only in turn.
fn existing(
    options: &RingOptions,
    kind: Option<Kind>,
    shape: Option<&Shape>,
    file: File,
    key: i32,
    id: i32,
) -> Result<Arc<Shared>, OpenError> {
    let region = map(key, id, options)?;
    let identity = identity(&file)?;
    let place = Place::new(&Location::Sysv(key));
    let shared = checked(kind, shape, region, Witness::Kernel(file), Some(place))?;
    let cold = &shared.view.header().cold;
    // Relaxed, both: published by the magic, which `checked` has read.
    let stored = (cold.lock_dev.load(Relaxed), cold.lock_ino.load(Relaxed));
    if stored != identity {
        let say = |(dev, ino): (u64, u64)| format!("inode {ino} on device {dev:#x}");
        return Err(OpenError::not_a_ring(
            "lock file",
            say(identity),
            say(stored),
        ));
    }
    Ok(shared)
}

/// Creates the segment. Only in turn, and only when there is none.
fn create_segment(
    options: &RingOptions,
    kind: Kind,
    shape: &Shape,
    file: &File,
    key: i32,
) -> Result<Arc<Shared>, OpenError> {
    let geometry = plan(options, kind, shape)?;
    let own = file
        .try_clone()
        .map_err(|error| OpenError::io("dup", &error))?;
    let (lock_dev, lock_ino) = identity(file)?;
    // The umask has its say once, in the lock file.
    let metadata = file
        .metadata()
        .map_err(|error| OpenError::io("fstat", &error))?;
    mark_half_made(file, true)?;
    let id = shmget(key, geometry.region_len, metadata.mode())?;
    let region = match map(key, id, options) {
        Ok(region) => region,
        Err(error) => {
            remove_segment(key, id)?;
            return Err(error);
        }
    };
    let cold = &region.header().0.cold;
    // Relaxed, both: published by the magic, which `fresh` writes last.
    cold.lock_dev.store(lock_dev, Relaxed);
    cold.lock_ino.store(lock_ino, Relaxed);
    let place = Place::new(&Location::Sysv(key));
    let shared = fresh(
        options,
        geometry,
        shape,
        region,
        Witness::Kernel(own),
        Some(place),
    );
    mark_half_made(file, false)?;
    Ok(shared)
}

/// Removes the segment with this key, whose lock file is `file`, and the file. Whoever is attached keeps the memory.
pub(crate) fn remove(key: i32, file: &File) -> Result<(), OpenError> {
    let _turn = Turn::take(file)?;
    if !region::is_same(&lock_path(key), file) {
        return Ok(());
    }
    match find(key) {
        Ok(id) => remove_segment(key, id)?,
        Err(OpenError::NotFound(_)) => {}
        Err(error) => return Err(error),
    }
    fs::remove_file(lock_path(key)).map_err(|error| OpenError::io("unlink", &error))
}

/// Opens the lock file, creating it if `mode` is given.
fn open_lock(key: i32, mode: Option<u32>) -> Result<File, OpenError> {
    let location = Location::Sysv(key);
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC);
    if let Some(mode) = mode {
        options.create(true).mode(mode);
    }
    let file = options.open(lock_path(key));
    file.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => OpenError::NotFound(location),
        io::ErrorKind::PermissionDenied => OpenError::Permission(location),
        io::ErrorKind::StorageFull => region::full(&location, Path::new(SHM_DIR), 0),
        _ => OpenError::io("open", &error),
    })
}

/// Which file it is, whatever its name.
fn identity(file: &File) -> Result<(u64, u64), OpenError> {
    let metadata = file
        .metadata()
        .map_err(|error| OpenError::io("fstat", &error))?;
    Ok((metadata.dev(), metadata.ino()))
}

/// The right to create, open or remove: held by one process at a time, and given back by its death.
struct Turn {
    _lock: Lock,
}

impl Turn {
    /// Waits for the turn, through an open file description of its own.
    fn take(file: &File) -> Result<Self, OpenError> {
        let own = Lock::open(file);
        let own = own.map_err(|error| OpenError::io("open /proc/self/fd", &error))?;
        let turn = lease::wait_for_turn(&own);
        turn.map_err(|errno| OpenError::os("fcntl(F_OFD_SETLKW)", errno))?;
        Ok(Self { _lock: own })
    }
}

/// Marks, or unmarks, the segment as one whose creator is at work. Only in turn.
fn mark_half_made(lock: &File, half_made: bool) -> Result<(), OpenError> {
    let len = u64::from(half_made);
    lock.set_len(len)
        .map_err(|error| OpenError::io("ftruncate", &error))
}

/// Whether the segment's creator died before it was complete. Only in turn.
fn is_half_made(lock: &File) -> Result<bool, OpenError> {
    let metadata = lock
        .metadata()
        .map_err(|error| OpenError::io("fstat", &error))?;
    Ok(metadata.len() > 0)
}

fn refused(errno: Errno, call: &'static str, key: i32) -> OpenError {
    match errno {
        Errno::ENOENT => OpenError::NotFound(Location::Sysv(key)),
        Errno::EEXIST => OpenError::Exists(Location::Sysv(key)),
        Errno::EACCES | Errno::EPERM => OpenError::Permission(Location::Sysv(key)),
        errno => OpenError::os(call, errno),
    }
}

/// The identifier of the segment with this key.
fn find(key: i32) -> Result<i32, OpenError> {
    // SAFETY: takes no pointer.
    let id = unsafe { libc::shmget(key, 0, 0) };
    if id < 0 {
        Err(refused(Errno::last(), "shmget", key))
    } else {
        Ok(id)
    }
}

/// Creates a segment of `len` bytes, all zeros.
fn shmget(key: i32, len: u64, mode: u32) -> Result<i32, OpenError> {
    let flags = libc::IPC_CREAT | libc::IPC_EXCL | (mode & 0o777) as i32;
    // SAFETY: takes no pointer.
    let id = unsafe { libc::shmget(key, len as usize, flags) };
    if id >= 0 {
        return Ok(id);
    }
    let errno = Errno::last();
    match limit(errno, len) {
        Some((setting, limit, needed)) => Err(OpenError::Limit {
            location: Location::Sysv(key),
            setting,
            limit,
            needed,
        }),
        None if matches!(errno, Errno::ENOSPC | Errno::ENOMEM) => Err(OpenError::NoSpace {
            location: Location::Sysv(key),
            len,
            free: None,
        }),
        None => Err(refused(errno, "shmget", key)),
    }
}

/// The setting that made the kernel refuse a segment of `len` bytes, what it allows, and what was needed.
fn limit(errno: Errno, len: u64) -> Option<(&'static str, u64, u64)> {
    let sysctl = |setting: &str| -> Option<u64> {
        let (name, _) = setting.split_once(',').unwrap_or((setting, ""));
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    let broken = |setting: &'static str, needed: u64| {
        let limit = sysctl(setting).filter(|&limit| needed > limit)?;
        Some((setting, limit, needed))
    };
    match errno {
        Errno::EINVAL => broken("kernel.shmmax", len),
        Errno::ENOSPC => {
            // Those of all users, a line each under a heading: key, id, permissions, size, …
            let all = fs::read_to_string("/proc/sysvipc/shm").ok()?;
            let size = |line: &str| line.split_whitespace().nth(3)?.parse::<u64>().ok();
            // SAFETY: takes no pointer.
            let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(1) as u64;
            let pages = |len: u64| len.div_ceil(page);
            let sizes: Vec<u64> = all.lines().filter_map(size).collect();
            broken("kernel.shmmni", sizes.len() as u64 + 1).or_else(|| {
                let taken: u64 = sizes.iter().copied().map(pages).sum();
                broken(SHMALL, taken + pages(len))
            })
        }
        _ => None,
    }
}

/// Marks the segment for removal; it goes with its last process.
fn remove_segment(key: i32, id: i32) -> Result<(), OpenError> {
    // SAFETY: IPC_RMID reads no buffer.
    let result = unsafe { libc::shmctl(id, libc::IPC_RMID, ptr::null_mut()) };
    if result < 0 {
        Err(refused(Errno::last(), "shmctl(IPC_RMID)", key))
    } else {
        Ok(())
    }
}

/// Attaches the segment.
fn map(key: i32, id: i32, options: &RingOptions) -> Result<Region, OpenError> {
    // SAFETY: all zeros is a value of this plain struct.
    let mut stat: libc::shmid_ds = unsafe { std::mem::zeroed() };
    // SAFETY: IPC_STAT fills the struct, which outlives the call.
    if unsafe { libc::shmctl(id, libc::IPC_STAT, &raw mut stat) } < 0 {
        return Err(refused(Errno::last(), "shmctl(IPC_STAT)", key));
    }
    let len = stat.shm_segsz as u64;
    let least = size_of_header() as u64;
    if len < least {
        return Err(OpenError::Truncated {
            len,
            expected: least,
        });
    }
    // SAFETY: the kernel chooses the address.
    let base = unsafe { libc::shmat(id, ptr::null(), 0) };
    if base as isize == -1 {
        return Err(refused(Errno::last(), "shmat", key));
    }
    debug_assert!(base as usize % PAYLOAD_ALIGN == 0);
    let segment = Segment {
        base: base.cast(),
        len,
    };
    if options.mlock {
        // SAFETY: the segment is attached and `len` bytes long.
        let result = unsafe { libc::mlock(base, len as usize) };
        if result < 0 {
            return Err(refused(Errno::last(), "mlock (limit RLIMIT_MEMLOCK)", key));
        }
    }
    if options.prefault {
        prefault(segment.base, len as usize);
    }
    Ok(Region::segment(segment))
}
