//! What the dead left in shared memory.

use crate::classic::Classic;
use crate::fork::OwnFile;
use crate::header::SEATS;
use crate::link;
use crate::medium::Carry;
use crate::sem::Sem;
use annulus_fd::names::{DIR, parse};
use std::fs::File;
use std::io;
use std::path::Path;

/// The buffers in shared memory that nobody living is attached to, as `classic:NAME` or `sem:NAME`: all their handles were
/// killed, or a receiver has yet to come. [`remove`](crate::remove) takes them away.
///
/// ```
/// for name in annulus_classic::stale()? {
///     println!("{name}");
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// Those of reading `/dev/shm`. Files of others that may not be opened are passed over.
pub fn stale() -> io::Result<Vec<String>> {
    let mut found = vec![];
    for entry in Path::new(DIR).read_dir()? {
        let entry = entry?;
        let full = entry.file_name();
        let Some((transport, name)) = full.to_str().and_then(parse) else {
            continue;
        };
        if !(transport == Classic::WORD || transport == Sem::WORD) {
            continue;
        }
        let lock = File::open(entry.path()).and_then(|file| OwnFile::of(&file));
        let is_free = |lock: OwnFile| (0..2 * SEATS).all(|seat| !link::is_taken(&lock, seat));
        if lock.is_ok_and(is_free) {
            found.push(format!("{transport}:{name}"));
        }
    }
    found.sort();
    Ok(found)
}
