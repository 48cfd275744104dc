//! Where a queue stands while a trial lasts: a directory of its own in `/dev/shm`, removed afterwards together with what a
//! peer put beside it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

const SHM: &str = "/dev/shm";

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
        let name = format!("annulus-peers-{}-{trial}", process::id());
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
        let Ok(entries) = fs::read_dir(SHM) else {
            return;
        };
        // iceoryx2 prefixes its segments with our name and a letter that no number is.
        let prefix = format!("{}_", self.name);
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}
