//! What has a name of its own for a moment, before it is ready for the name by which others find it: a *draft*.
//!
//! A draft's name holds a number. Its maker locks the byte of that number in the directory before the draft is there, and keeps
//! the lock until the draft has gone. So a draft that was seen, and whose byte is then found free, has a dead
//! maker: only a kill leaves one. A maker that is merely stopped keeps its lock.
//!
//! In a directory that its maker may write but not read there is no lock. Whoever removes a draft therefore asks the thing
//! itself as well, whether somebody has it.

use crate::lock::{is_locked, try_share};
use crate::names::ticket;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// A name for a draft, ours until it is dropped; then what has the name is removed.
///
/// ```
/// use annulus_fd::draft::{Draft, abandoned};
///
/// let dir = std::env::temp_dir().join(format!("annulus-draft-{}", std::process::id()));
/// std::fs::create_dir(&dir)?;
/// let draft = Draft::new(&dir, "letter");
/// std::fs::write(draft.path(), "half of")?;
/// assert!(abandoned(&dir, "letter")?.is_empty(), "its maker lives");
/// drop(draft);
/// assert_eq!(dir.read_dir()?.count(), 0);
///
/// // As a killed one leaves it.
/// std::fs::write(dir.join(".annulus.letter-7"), "half of")?;
/// assert_eq!(abandoned(&dir, "letter")?, [dir.join(".annulus.letter-7")]);
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    name: String,
    /// With the lock on the draft's byte. Closed after the draft is removed.
    dir: Option<File>,
}

impl Draft {
    /// A name in `dir` that hardly anybody has: if the thing cannot be made since there is one, take another. `what` says what
    /// is made, in small letters.
    pub fn new(dir: &Path, what: &str) -> Self {
        let number = ticket();
        let name = name(what, number);
        let path = dir.join(&name);
        // Shared, so that nothing stands in its way; refused only where the system has no room for locks.
        let locked = |dir: &File| try_share(dir, number, 1).unwrap_or(false);
        let dir = File::open(dir).ok().filter(locked);
        Self { path, name, dir }
    }

    /// Where the draft is to be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves alone what has the name, since it is another's.
    pub fn disown(mut self) {
        self.path = PathBuf::new();
    }

    /// The same place by another path, which is short however long the directory's is; the usual one where the directory may
    /// not be read.
    pub fn short_path(&self) -> PathBuf {
        match &self.dir {
            Some(dir) => PathBuf::from(format!("/proc/self/fd/{}/{}", dir.as_raw_fd(), self.name)),
            None => self.path.clone(),
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // What cannot be removed is abandoned.
        let _ = fs::remove_file(&self.path);
    }
}

fn name(what: &str, number: u64) -> String {
    format!(".annulus.{what}-{number}")
}

/// The number of a draft of this kind, by its name.
fn number(file_name: &str, what: &str) -> Option<u64> {
    let number = file_name.rsplit('-').next()?.parse().ok()?;
    (name(what, number) == file_name).then_some(number)
}

/// Whether a draft of this kind would have such a name.
pub fn is_draft(path: &Path, what: &str) -> bool {
    let file_name = path.file_name().and_then(|name| name.to_str());
    file_name.is_some_and(|name| number(name, what).is_some())
}

/// The drafts of this kind in `dir` whose makers are dead.
///
/// # Errors
///
/// Those of reading the directory.
pub fn abandoned(dir: &Path, what: &str) -> io::Result<Vec<PathBuf>> {
    let locks = File::open(dir)?;
    let mut found = vec![];
    for entry in dir.read_dir()? {
        let entry = entry?;
        let file_name = entry.file_name();
        let Some(number) = file_name.to_str().and_then(|name| number(name, what)) else {
            continue;
        };
        // Seen first, asked then. If the kernel does not tell, its maker lives.
        if is_locked(&locks, number, 1) == Ok(false) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}
