//! Where test rings live. A [`Name`] is nobody else's, and nothing is left of it when it is dropped,
//! which a failing test does too, or when the process ends, if a thread hangs with it.

use annulus::{Location, Message, OpenError, Protocol, Ring, RingOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use tempfile::TempDir;

/// The kinds of memory that a ring can lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// Of this process alone.
    Heap,
    /// A memory file, without a name.
    Memfd,
    /// POSIX shared memory.
    Shm,
    /// A file in a directory of its own.
    File,
    /// A System V segment.
    Sysv,
}

/// A ring's name, if the medium has names.
#[derive(Debug)]
pub struct Name {
    location: Location,
    _dir: Option<TempDir>,
}

/// The names that are not dropped yet.
static LIVE: Mutex<Vec<Location>> = Mutex::new(vec![]);

fn live() -> MutexGuard<'static, Vec<Location>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// At the end of the process: removes what hanging threads still have.
extern "C" fn remove_all() {
    let left = std::mem::take(&mut *live());
    left.iter().for_each(remove);
}

/// Removes whatever has this name.
fn remove(location: &Location) {
    if let Some(id) = segment(location) {
        // SAFETY: IPC_RMID reads no buffer.
        unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
    }
    let _ = std::fs::remove_file(path(location));
}

/// The file that has the name; of a System V segment, the one with its locks.
fn path(location: &Location) -> PathBuf {
    match location {
        Location::Shm(name) => Path::new("/dev/shm").join(name),
        Location::File(path) => path.clone(),
        Location::Sysv(key) => PathBuf::from(format!("/dev/shm/annulus.sysv-{key:08x}.lock")),
    }
}

/// The identifier of the segment of this name.
fn segment(location: &Location) -> Option<i32> {
    let Location::Sysv(key) = *location else {
        return None;
    };
    // SAFETY: takes no pointer.
    let id = unsafe { libc::shmget(key, 0, 0) };
    (id >= 0).then_some(id)
}

/// Tells this name from others of the process.
fn number() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    LAST.fetch_add(1, Relaxed)
}

impl Name {
    /// A new name in shared memory.
    pub fn shm() -> Self {
        let name = format!("annulus-test-{}-{}", std::process::id(), number());
        Self::of(Location::Shm(name), None)
    }

    /// A new path, in a new directory.
    pub fn file() -> Self {
        Self::file_in(&std::env::temp_dir())
    }

    /// A new path, in a new directory in memory, where nobody waits for a disk.
    pub fn file_in_memory() -> Self {
        Self::file_in(Path::new("/dev/shm"))
    }

    fn file_in(parent: &Path) -> Self {
        let dir = tempfile::tempdir_in(parent).expect("a temporary directory can be made");
        let path = dir.path().join("ring");
        Self::of(Location::File(path), Some(dir))
    }

    /// A new key.
    pub fn sysv() -> Self {
        let key = std::process::id() << 12 | (number() & 0xfff);
        Self::of(Location::Sysv(key as i32), None)
    }

    /// A new name for this medium, if it has names.
    pub fn on(medium: Medium) -> Option<Self> {
        match medium {
            Medium::Heap | Medium::Memfd => None,
            Medium::Shm => Some(Self::shm()),
            Medium::File => Some(Self::file()),
            Medium::Sysv => Some(Self::sysv()),
        }
    }

    fn of(location: Location, dir: Option<TempDir>) -> Self {
        static AT_EXIT: Once = Once::new();
        AT_EXIT.call_once(|| {
            // SAFETY: the function may be called at any time.
            unsafe { libc::atexit(remove_all) };
        });
        live().push(location.clone());
        Self {
            location,
            _dir: dir,
        }
    }

    /// The name.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The name as the actor reads it.
    pub fn word(&self) -> String {
        match &self.location {
            Location::File(path) => format!("file:{}", path.display()),
            other => other.to_string(),
        }
    }

    /// The file that has the name; of a System V segment, the one with its locks.
    pub fn path(&self) -> PathBuf {
        path(&self.location)
    }

    /// Whether anything of this name is there.
    pub fn exists(&self) -> bool {
        self.path().symlink_metadata().is_ok() || segment(&self.location).is_some()
    }

    /// Whatever there is of the name: the name itself, and files beside it that belong to it. Others may use shared memory
    /// too, so there only what has the name in its own counts.
    pub fn left(&self) -> Vec<String> {
        let path = self.path();
        let mut left = vec![];
        if segment(&self.location).is_some() {
            left.push(self.location.to_string());
        }
        let beside = path.parent().map(std::fs::read_dir);
        for entry in beside.into_iter().flatten().flatten().flatten() {
            let name = entry.file_name();
            let own = match (&self.location, path.file_name()) {
                (Location::File(_), _) | (_, None) => true,
                (_, Some(base)) => {
                    let (name, base) = (name.to_string_lossy(), base.to_string_lossy());
                    name.contains(&*base) || name.contains(&format!("-{}-", std::process::id()))
                }
            };
            if own {
                left.push(name.to_string_lossy().into_owned());
            }
        }
        left
    }

    /// Removes whatever has the name.
    pub fn clear(&self) {
        remove(&self.location);
    }

    /// What lies in the segment.
    pub fn segment_bytes(&self) -> Option<Vec<u8>> {
        let id = segment(&self.location)?;
        // SAFETY: all zeros is a value of this plain struct.
        let mut stat: libc::shmid_ds = unsafe { std::mem::zeroed() };
        // SAFETY: IPC_STAT fills the struct, which outlives the call.
        let told = unsafe { libc::shmctl(id, libc::IPC_STAT, &raw mut stat) };
        // SAFETY: the kernel chooses the address.
        let base = unsafe { libc::shmat(id, std::ptr::null(), libc::SHM_RDONLY) };
        if told < 0 || base as isize == -1 {
            return None;
        }
        let mut bytes = vec![0; stat.shm_segsz];
        // SAFETY: the segment is attached and as long as the vector; nobody writes to it meanwhile.
        unsafe { std::ptr::copy_nonoverlapping(base.cast(), bytes.as_mut_ptr(), bytes.len()) };
        // SAFETY: attached above, and not used any more.
        unsafe { libc::shmdt(base) };
        Some(bytes)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        remove(&self.location);
        live().retain(|other| *other != self.location);
    }
}

/// Creates a ring on this medium, under this name if it has names.
///
/// # Errors
///
/// As `RingOptions::open`.
pub fn create<T: Message + ?Sized, K: Protocol>(
    options: &RingOptions,
    medium: Medium,
    name: Option<&Name>,
) -> Result<Ring<T, K>, OpenError> {
    match (medium, name) {
        (Medium::Heap, _) => options.heap(),
        (Medium::Memfd, _) => options.memfd(),
        (_, Some(name)) => options.clone().create_new(true).open(name.location()),
        (_, None) => unreachable!("{medium:?} has names"),
    }
}
