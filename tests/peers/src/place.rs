//! Where a queue stands while a trial lasts: a directory of its own in `/dev/shm`, removed afterwards together with what a
//! peer put beside it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

const SHM: &str = "/dev/shm";

/// What all our names begin with; the number of the process follows.
const FAMILY: &str = "annulus-peers-";

/// A place for one queue. What is there goes when it is dropped.
#[derive(Debug)]
pub struct Place {
    /// A name that nobody else uses, for peers that choose their own paths.
    name: String,
    path: PathBuf,
}

impl Place {
    /// The place of a trial.
    ///
    /// # Errors
    ///
    /// If the directory cannot be made.
    pub fn new(trial: u64) -> io::Result<Self> {
        let name = format!("{FAMILY}{}-{trial}", process::id());
        let path = Path::new(SHM).join(&name);
        fs::create_dir(&path)?;
        Ok(Self { name, path })
    }

    /// A name, not of a file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.path
    }

    /// The file of the queue.
    pub fn file(&self) -> PathBuf {
        self.path.join("queue")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What cannot be removed is gone already.
        let _ = fs::remove_dir_all(&self.path);
        // iceoryx2 prefixes its segments with our name and a letter that no number is.
        let segments = format!("{}_", self.name);
        remove(|name| name.starts_with(&segments));
    }
}

/// Removes what a run left that was ended from outside.
pub fn sweep() {
    remove(|name| {
        let run = name
            .strip_prefix(FAMILY)
            .and_then(|rest| rest.split('-').next());
        run.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
    });
}

/// Removes everything of such a name.
fn remove(condition: impl Fn(&str) -> bool) {
    let Ok(entries) = fs::read_dir(SHM) else {
        return;
    };
    for entry in entries.flatten() {
        if condition(&entry.file_name().to_string_lossy()) {
            let path = entry.path();
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        }
    }
}
