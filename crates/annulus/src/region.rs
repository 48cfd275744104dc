//! The memory that a ring lies in: a memory file, a file in `/dev/shm` or elsewhere, a System V segment, or the
//! heap. The only caller of mmap.
//!
//! A file's region is created nameless, at full size (`posix_fallocate`, so that a full disk is an error here
//! and not a signal later), and gets its name when it is complete. Whoever opens a name finds a
//! whole ring or nothing.

use crate::error::OpenError;
use crate::fork;
use crate::geometry::Geometry;
use crate::layout::{FORKED, Header, LEASES, Lease, LeaseBlock, bell};
use crate::options::{Location, RingOptions};
use crate::sync::{AtomicU64, Count, HeapPayload, Relaxed};
use crate::sysv::Segment;
use crate::view::View;
use crossbeam_utils::CachePadded;
use memmap2::{Advice, MmapOptions, MmapRaw};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open, posix_fallocate};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode;
use nix::sys::statvfs::statvfs;
use nix::unistd::linkat;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where glibc's `shm_open` keeps its names.
pub(crate) const SHM_DIR: &str = "/dev/shm";

/// Memory with a ring's parts in it.
pub(crate) struct Region {
    backing: Backing,
    pub(crate) huge_pages: bool,
}

enum Backing {
    Mapped(MmapRaw),
    Sysv(Segment),
    Heap(Box<Parts>),
}

/// A ring's parts on the heap.
struct Parts {
    header: Header,
    leases: Box<[LeaseBlock]>,
    senders: Box<[AtomicU64]>,
    receivers: Box<[AtomicU64]>,
    payload: HeapPayload,
}

impl Region {
    /// Maps the whole of `file`, which is `len` bytes long.
    pub(crate) fn map(file: &File, len: u64, options: &RingOptions) -> Result<Self, OpenError> {
        let map = MmapOptions::new()
            .len(len as usize)
            .map_raw(file)
            .map_err(|error| OpenError::io("mmap", &error))?;
        let huge_pages = options.huge_pages && map.advise(Advice::HugePage).is_ok();
        if options.mlock {
            map.lock()
                .map_err(|error| OpenError::io("mlock (limit RLIMIT_MEMLOCK)", &error))?;
        }
        if options.prefault {
            prefault(map.as_ptr(), len as usize);
        }
        fork::keep(map.as_mut_ptr(), map.len());
        Ok(Self {
            backing: Backing::Mapped(map),
            huge_pages,
        })
    }

    /// The region in a System V segment.
    pub(crate) fn segment(segment: Segment) -> Self {
        fork::keep(segment.base, segment.len as usize);
        Self {
            backing: Backing::Sysv(segment),
            huge_pages: false,
        }
    }

    /// A region on the heap, all zeros, with the parts that `geometry` asks for.
    pub(crate) fn heap(geometry: &Geometry) -> Result<Self, OpenError> {
        let words = |present: bool| -> Result<Box<[AtomicU64]>, OpenError> {
            let count = if present { geometry.units as usize } else { 0 };
            let mut words = Vec::new();
            let room = words.try_reserve_exact(count);
            room.map_err(|_| OpenError::os("malloc", Errno::ENOMEM))?;
            words.extend((0..count).map(|_| AtomicU64::new(0)));
            Ok(words.into())
        };
        let lease = |_| {
            CachePadded::new(Lease {
                word: AtomicU64::new(0),
                sent: Count::new(),
                received: Count::new(),
            })
        };
        let payload = HeapPayload::new(geometry.payload_len())
            .ok_or(OpenError::os("malloc", Errno::ENOMEM))?;
        let parts = Parts {
            header: Header::zeroed(),
            leases: (0..LEASES).map(lease).collect(),
            senders: words(geometry.sender_words)?,
            receivers: words(geometry.receiver_words)?,
            payload,
        };
        Ok(Self {
            backing: Backing::Heap(Box::new(parts)),
            huge_pages: false,
        })
    }

    /// Whether the region is a mapped file, whose descriptor is the region.
    pub(crate) fn is_mapped(&self) -> bool {
        matches!(self.backing, Backing::Mapped(_))
    }

    /// The header and the region's length, for looking at what is there before anything is believed.
    pub(crate) fn header(&self) -> (&Header, u64) {
        let (base, len) = match &self.backing {
            Backing::Mapped(map) => (map.as_mut_ptr(), map.len() as u64),
            Backing::Sysv(segment) => (segment.base, segment.len),
            Backing::Heap(parts) => return (&parts.header, u64::MAX),
        };
        // SAFETY: page aligned, at least as long as a header (checked when opened), all atomics.
        (unsafe { &*base.cast::<Header>() }, len)
    }

    /// The ring's parts. `geometry` fits the region's length. The view lives as long as the region.
    pub(crate) fn view(&self, geometry: Geometry) -> View {
        let base = match &self.backing {
            Backing::Mapped(map) => map.as_mut_ptr(),
            Backing::Sysv(segment) => segment.base,
            Backing::Heap(parts) => {
                // SAFETY: the parts are what the geometry asks for, on the heap, and never moved.
                return unsafe {
                    View::new(
                        &parts.header,
                        parts.leases.as_ptr(),
                        parts.senders.as_ptr(),
                        parts.receivers.as_ptr(),
                        parts.payload.payload(),
                        geometry,
                    )
                };
            }
        };
        // SAFETY: page aligned, and as long as the geometry says: `read_cold` checked it, or we created it so.
        unsafe { View::mapped(base, geometry) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        match &self.backing {
            Backing::Mapped(map) => fork::forget(map.as_mut_ptr()),
            Backing::Sysv(segment) => fork::forget(segment.base),
            Backing::Heap(_) => {}
        }
    }
}

/// In a forked child: puts private memory where its parent has a region, so that inherited handles find a header that
/// says so. Not for a place where something else is mapped already.
pub(crate) fn shut(base: *mut u8, len: usize) {
    // SAFETY: the parent's region, which is not mapped here (`MADV_DONTFORK`), was at this address; the flag leaves
    // alone whatever else may be.
    let mapped = unsafe {
        libc::mmap(
            base.cast(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE
                | libc::MAP_ANONYMOUS
                | libc::MAP_NORESERVE
                | libc::MAP_FIXED_NOREPLACE,
            -1,
            0,
        )
    };
    if mapped != base.cast() {
        return;
    }
    // SAFETY: just mapped, page aligned, and at least as long as a header; all atomics.
    let header = unsafe { &*base.cast::<Header>() };
    // Relaxed throughout: there is one thread.
    header.cold.magic.store(FORKED, Relaxed);
    header.data.word().store(bell::CLOSED, Relaxed);
    header.room.bell.word().store(bell::ASLEEP, Relaxed);
}

/// Reads a byte of every page, so that all are there.
pub(crate) fn prefault(base: *const u8, len: usize) {
    for at in (0..len).step_by(4096) {
        // SAFETY: within the mapping.
        let byte = unsafe { base.add(at) };
        // SAFETY: mapped and readable; the value does not matter.
        unsafe { ptr::read_volatile(byte) };
    }
}

/// Creates a memory file of `len` bytes that can neither shrink nor grow.
pub(crate) fn memfd(len: u64) -> Result<File, OpenError> {
    let base = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let create = |flags| memfd_create(c"annulus", flags);
    // Kernels before 6.3 do not know MFD_NOEXEC_SEAL.
    let no_exec = base | MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL);
    let fd = match create(no_exec) {
        Err(Errno::EINVAL) => create(base),
        other => other,
    };
    let file = File::from(fd.map_err(|errno| OpenError::os("memfd_create", errno))?);
    allocate(
        &file,
        len,
        &Location::Shm("(memory file)".into()),
        Path::new(SHM_DIR),
    )?;
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    let seals = nix::fcntl::SealFlag::from_bits_retain(seals);
    nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_ADD_SEALS(seals))
        .map_err(|errno| OpenError::os("fcntl(F_ADD_SEALS)", errno))?;
    Ok(file)
}

/// The bytes that a file in `dir` can have: what is free there, and of shared memory no more than the machine has available.
fn free_space(dir: &Path) -> Option<u64> {
    let stat = statvfs(dir).ok()?;
    let free = stat.blocks_available() * stat.fragment_size();
    if !dir.starts_with(SHM_DIR) {
        return Some(free);
    }
    let meminfo = fs::read_to_string("/proc/meminfo").ok();
    let available = meminfo.as_deref().and_then(|info| {
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix("MemAvailable:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    });
    Some(available.map_or(free, |available| free.min(available * 1024)))
}

/// The error of a file system that has no room in `dir` for a file of `len` bytes, or for one more file.
pub(crate) fn full(location: &Location, dir: &Path, len: u64) -> OpenError {
    let location = location.clone();
    let free = free_space(dir);
    // A file system that does not count its files has none.
    let files = statvfs(dir).ok().filter(|stat| {
        stat.files() > 0 && (stat.files_available() == 0 || free.is_some_and(|free| free >= len))
    });
    match files {
        Some(stat) => OpenError::Limit {
            location,
            setting: "files in the file system, the mount option nr_inodes where that is in memory",
            limit: stat.files(),
            needed: stat.files() + 1,
        },
        None => OpenError::NoSpace {
            location,
            len,
            free,
        },
    }
}

/// Gives `file` its full size, with memory or disk space behind every byte.
fn allocate(file: &File, len: u64, location: &Location, dir: &Path) -> Result<(), OpenError> {
    let free = free_space(dir);
    let full = || OpenError::NoSpace {
        location: location.clone(),
        len,
        free,
    };
    // Memory is given piece by piece, and what is too much for the machine would not end with an error.
    if free.is_some_and(|free| free < len) {
        return Err(full());
    }
    // In pieces, so that signals, each of which ends a call, cannot keep us here for ever.
    let mut done = 0;
    while done < len {
        let piece = (len - done).min(64 << 20);
        match posix_fallocate(file, done as i64, piece as i64) {
            Ok(()) => done += piece,
            Err(Errno::EINTR) => {}
            Err(Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG | Errno::ENOMEM) => return Err(full()),
            Err(errno) => return Err(OpenError::os("posix_fallocate", errno)),
        }
    }
    Ok(())
}

/// A complete region that has no name yet. Dropped before it gets one, nothing is left of it.
pub(crate) struct Nameless {
    pub(crate) file: File,
    path: PathBuf,
    /// Where the file system has no nameless files: a temporary name, hidden, in the same directory.
    temporary: Option<PathBuf>,
}

impl Nameless {
    /// Creates a file of `len` bytes that will be called `path`.
    pub(crate) fn create(
        path: &Path,
        len: u64,
        location: &Location,
        options: &RingOptions,
    ) -> Result<Self, OpenError> {
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        let mode = Mode::from_bits_truncate(options.mode as libc::mode_t);
        let refused = |call, errno| match errno {
            Errno::EACCES | Errno::EPERM | Errno::EROFS => OpenError::Permission(location.clone()),
            Errno::ENOSPC => full(location, dir, len),
            Errno::EDQUOT => OpenError::NoSpace {
                location: location.clone(),
                len,
                free: None,
            },
            errno => OpenError::os(call, errno),
        };
        let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC;
        let (fd, temporary) = match open(dir, flags | OFlag::O_TMPFILE, mode) {
            Ok(fd) => (fd, None),
            Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL) => {
                let exclusive = flags | OFlag::O_CREAT | OFlag::O_EXCL;
                loop {
                    let temporary = dir.join(temporary_name());
                    match open(&temporary, exclusive, mode) {
                        Ok(fd) => break (fd, Some(temporary)),
                        // Left by a process of the same number that was killed here.
                        Err(Errno::EEXIST) => {}
                        Err(errno) => return Err(refused("open", errno)),
                    }
                }
            }
            Err(Errno::ENOENT | Errno::ENOTDIR) => {
                return Err(OpenError::Name {
                    name: location.to_string(),
                    reason: "there is no such directory to create it in",
                });
            }
            Err(errno) => return Err(refused("open(O_TMPFILE)", errno)),
        };
        let nameless = Self {
            file: File::from(fd),
            path: path.to_owned(),
            temporary,
        };
        allocate(&nameless.file, len, location, dir)?;
        Ok(nameless)
    }

    /// Gives the file its name, unless something has it: then false.
    pub(crate) fn publish(self, location: &Location) -> Result<bool, OpenError> {
        let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let from = self.temporary.clone().unwrap_or_else(|| own.into());
        match linkat(
            AT_FDCWD,
            &from,
            AT_FDCWD,
            &self.path,
            AtFlags::AT_SYMLINK_FOLLOW,
        ) {
            Ok(()) => Ok(true),
            Err(Errno::EEXIST) => Ok(false),
            Err(Errno::EACCES | Errno::EPERM) => Err(OpenError::Permission(location.clone())),
            Err(errno) => Err(OpenError::os("linkat", errno)),
        }
    }
}

impl Drop for Nameless {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = fs::remove_file(temporary);
        }
    }
}

fn temporary_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!(".annulus-{}-{count}.tmp", std::process::id())
}

/// Opens an existing file that may be a region, and tells its length.
pub(crate) fn open_file(path: &Path, location: &Location) -> Result<(File, u64), OpenError> {
    let wrong = |found: &str| Err(OpenError::not_a_ring("file type", found, "a regular file"));
    // Not blocking, so that a FIFO without a peer does not hold us; a region does not care.
    let flags =
        OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = match open(path, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(Errno::ENOENT) => return Err(OpenError::NotFound(location.clone())),
        Err(Errno::ELOOP) => return wrong("a symbolic link"),
        Err(Errno::EISDIR) => return wrong("a directory"),
        Err(Errno::ENXIO) => return wrong("a socket"),
        Err(Errno::EACCES | Errno::EPERM | Errno::EROFS) => {
            return Err(OpenError::Permission(location.clone()));
        }
        Err(errno) => return Err(OpenError::os("open", errno)),
    };
    let len = regular_len(&file)?;
    Ok((file, len))
}

/// The length of a regular file that is long enough to hold a header.
pub(crate) fn regular_len(file: &File) -> Result<u64, OpenError> {
    let metadata = file
        .metadata()
        .map_err(|error| OpenError::io("fstat", &error))?;
    let kind = metadata.file_type();
    if !kind.is_file() {
        let found = match () {
            () if kind.is_dir() => "a directory",
            () if kind.is_fifo() => "a FIFO",
            () if kind.is_char_device() => "a character device",
            () if kind.is_block_device() => "a block device",
            () => "something else",
        };
        return Err(OpenError::not_a_ring("file type", found, "a regular file"));
    }
    let least = crate::layout::size_of_header() as u64;
    if metadata.len() < least {
        return Err(OpenError::Truncated {
            len: metadata.len(),
            expected: least,
        });
    }
    Ok(metadata.len())
}

/// Whether `path` still names `file`.
pub(crate) fn is_same(path: &Path, file: &File) -> bool {
    match (fs::symlink_metadata(path), file.metadata()) {
        (Ok(there), Ok(here)) => (there.dev(), there.ino()) == (here.dev(), here.ino()),
        _ => false,
    }
}

/// Whether `file` still has a name.
pub(crate) fn is_linked(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.nlink() > 0)
}
