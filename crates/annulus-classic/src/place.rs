//! Names, and the files that have them.
//!
//! A file is created nameless, at full size, and gets its name when it is complete (`O_TMPFILE`, `posix_fallocate`,
//! `linkat`). Whoever opens a name finds a whole file or nothing; nothing is ever truncated; too little space is an error
//! here, not a signal later.

use annulus_channel::{OpenError, OpenReason};
use annulus_fd::limits::no_space;
use annulus_fd::names::{DIR, full_name};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open, posix_fallocate};
use nix::sys::stat::Mode;
use nix::sys::statvfs::statvfs;
use nix::unistd::linkat;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// What has a name: as it was asked for, and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

impl Place {
    /// The buffer `name` in shared memory; `word` says which kind.
    pub(crate) fn shm(word: &str, name: &Path) -> Result<Self, OpenError> {
        let shown = format!("{word}:{}", name.display());
        let Some(name) = name.to_str() else {
            let expected = "UTF-8";
            return Err(OpenError::new(shown, OpenReason::Name { expected }));
        };
        let path = Path::new(DIR).join(full_name(word, name)?);
        Ok(Self { name: shown, path })
    }

    /// The file at `path`; `word` says which kind.
    pub(crate) fn file(word: &str, path: &Path) -> Result<Self, OpenError> {
        let name = format!("{word}:{}", path.display());
        // The process may change its directory before the name is removed.
        match std::path::absolute(path) {
            Ok(path) => Ok(Self { name, path }),
            Err(error) => Err(OpenError::os(name, "getcwd", &error)),
        }
    }

    pub(crate) fn error(&self, reason: OpenReason) -> OpenError {
        OpenError::new(&self.name, reason)
    }

    pub(crate) fn os(&self, call: &'static str, error: impl Into<io::Error>) -> OpenError {
        OpenError::os(&self.name, call, &error.into())
    }

    /// The directory where it has its name.
    fn dir(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Opens what has the name; nothing if nothing has.
    pub(crate) fn open(&self) -> Result<Option<File>, OpenError> {
        // Not blocking, so that a FIFO without a peer does not hold us.
        let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let file = match open(&self.path, flags | OFlag::O_NOCTTY, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ELOOP) => return Err(self.wrong_type("a symbolic link")),
            Err(Errno::EISDIR) => return Err(self.wrong_type("a directory")),
            Err(Errno::ENXIO) => return Err(self.wrong_type("a socket")),
            Err(errno) => return Err(self.os("open", errno)),
        };
        let metadata = file.metadata().map_err(|error| self.os("fstat", error))?;
        if !metadata.is_file() {
            return Err(self.wrong_type("something else"));
        }
        Ok(Some(file))
    }

    fn wrong_type(&self, found: &str) -> OpenError {
        self.error(OpenReason::Mismatch {
            what: "file type",
            expected: "a regular file".into(),
            found: found.into(),
        })
    }

    /// Creates a file of `len` bytes that has no name yet.
    pub(crate) fn create(&self, len: u64, mode: u32) -> Result<Nameless, OpenError> {
        let dir = self.dir();
        let mode = Mode::from_bits_truncate(mode);
        let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC;
        let (fd, temporary) = match open(dir, flags | OFlag::O_TMPFILE, mode) {
            Ok(fd) => (fd, None),
            // A file system without nameless files: a hidden name in the same directory.
            Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL) => loop {
                let temporary = dir.join(temporary_name());
                match open(&temporary, flags | OFlag::O_CREAT | OFlag::O_EXCL, mode) {
                    Ok(fd) => break (fd, Some(temporary)),
                    // Left by a process of the same number that was killed here.
                    Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(self.os("open", errno)),
                }
            },
            Err(Errno::ENOSPC) => return Err(self.error(no_space(dir, len))),
            Err(errno) => return Err(self.os("open(O_TMPFILE)", errno)),
        };
        let nameless = Nameless {
            file: File::from(fd),
            temporary,
        };
        self.allocate(&nameless.file, len, dir)?;
        Ok(nameless)
    }

    /// Gives `file` its full size, with memory or disk space behind every byte.
    fn allocate(&self, file: &File, len: u64, dir: &Path) -> Result<(), OpenError> {
        let free = statvfs(dir).map(|stat| stat.blocks_available() * stat.fragment_size());
        if free.is_ok_and(|free| free < len) {
            return Err(self.error(no_space(dir, len)));
        }
        // In pieces, so that signals, each of which ends a call, cannot keep us here for ever.
        let mut done = 0;
        while done < len {
            let piece = (len - done).min(64 << 20);
            match posix_fallocate(file, done as i64, piece as i64) {
                Ok(()) => done += piece,
                Err(Errno::EINTR) => {}
                Err(Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG) => {
                    return Err(self.error(no_space(dir, len - done)));
                }
                Err(errno) => return Err(self.os("posix_fallocate", errno)),
            }
        }
        Ok(())
    }

    /// Gives the file its name, unless something has it: then nothing.
    pub(crate) fn publish(&self, nameless: Nameless) -> Result<Option<File>, OpenError> {
        let own = format!("/proc/self/fd/{}", nameless.file.as_raw_fd());
        let from = nameless.temporary.clone().unwrap_or_else(|| own.into());
        let follow = AtFlags::AT_SYMLINK_FOLLOW;
        match linkat(AT_FDCWD, &from, AT_FDCWD, &self.path, follow) {
            Ok(()) => nameless
                .file
                .try_clone()
                .map(Some)
                .map_err(|error| self.os("dup", error)),
            Err(Errno::EEXIST) => Ok(None),
            Err(errno) => Err(self.os("linkat", errno)),
        }
    }

    /// Whether the name is `file`'s.
    pub(crate) fn names(&self, file: &File) -> bool {
        match (fs::symlink_metadata(&self.path), file.metadata()) {
            (Ok(there), Ok(here)) => (there.dev(), there.ino()) == (here.dev(), here.ino()),
            _ => false,
        }
    }
}

/// A file that has no name yet. Dropped, nothing of it is left but what was published.
pub(crate) struct Nameless {
    pub(crate) file: File,
    temporary: Option<PathBuf>,
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
    let count = COUNT.fetch_add(1, Relaxed);
    format!(".annulus-{}-{count}.tmp", std::process::id())
}
