//! Names of tests. A [`Name`] is nobody else's, and nothing is left of it when it is dropped. If that takes too long, the
//! test hangs, and the whole run ends.

#![allow(dead_code, reason = "each test uses a part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// The name of a channel.
#[derive(Debug)]
pub struct Name {
    word: PathBuf,
    shm: bool,
    _dir: Option<TempDir>,
    _watch: mpsc::Sender<()>,
}

/// What counts as a hang, on a machine with much else to do.
const LIMIT: Duration = Duration::from_secs(120);

fn unique() -> String {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let number = LAST.fetch_add(1, Relaxed);
    format!("test-{}-{number}", std::process::id())
}

impl Name {
    fn new(word: PathBuf, dir: Option<TempDir>) -> Self {
        let (watch, dropped) = mpsc::channel();
        let name = Self {
            word,
            shm: dir.is_none(),
            _dir: dir,
            _watch: watch,
        };
        let copy = name.word.clone();
        let test = thread::current().name().unwrap_or("a test").to_owned();
        thread::spawn(move || {
            if dropped.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("{test} hangs, with {}", copy.display());
                std::process::exit(101);
            }
        });
        name
    }

    /// Of a buffer.
    pub fn classic() -> Self {
        Self::new(unique().into(), None)
    }

    /// Of a buffer with semaphores.
    pub fn sem() -> Self {
        Self::classic()
    }

    /// Of a spool, in a new directory.
    pub fn spool() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        Self::new(dir.path().join("spool"), Some(dir))
    }

    /// Of a spool in a file system of memory.
    pub fn spool_in_memory() -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").expect("a temporary directory can be made");
        Self::new(dir.path().join("spool"), Some(dir))
    }

    /// As it is given to `Options`.
    pub fn word(&self) -> &Path {
        &self.word
    }

    /// The files that have the name now.
    pub fn files(&self) -> Vec<PathBuf> {
        if !self.shm {
            return vec![self.word.clone()];
        }
        let word = self.word.to_string_lossy();
        let ours = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let rest = name
                .strip_prefix("sem.annulus.sem-")
                .or(name.strip_prefix("annulus.sem-"))
                .or(name.strip_prefix("annulus.classic-"))
                .and_then(|rest| rest.strip_prefix(&*word));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let all = fs::read_dir("/dev/shm").expect("there is shared memory");
        all.flatten()
            .map(|entry| entry.path())
            .filter(ours)
            .collect()
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        for file in self.files() {
            let _ = fs::remove_file(file);
        }
    }
}
