//! The system's limits, by the name of the setting that changes them.
//!
//! The name is sysctl(8)'s: `fs.pipe-max-size` lies in `/proc/sys/fs/pipe-max-size`.

use crate::names::DIR;
use annulus_channel::{OpenError, OpenReason};
use nix::sys::statvfs::statvfs;
use std::fmt::Display;
use std::path::Path;

/// The number that a setting holds now, its first one if it holds several. Nothing where this kernel has
/// no such setting, or does not show it.
///
/// ```
/// assert!(annulus_fd::limits::sysctl("fs.pipe-max-size") >= Some(4096));
/// assert_eq!(annulus_fd::limits::sysctl("fs.no-such-setting"), None);
/// ```
pub fn sysctl(setting: &str) -> Option<u64> {
    sysctls(setting).first().copied()
}

/// All numbers that a setting holds now; none where this kernel has no such setting.
///
/// ```
/// // The smallest, the default and the greatest receive buffer of a TCP socket.
/// assert_eq!(annulus_fd::limits::sysctls("net.ipv4.tcp_rmem").len(), 3);
/// ```
pub fn sysctls(setting: &str) -> Vec<u64> {
    let path = format!("/proc/sys/{}", setting.replace('.', "/"));
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let numbers = text.split_whitespace().map(str::parse);
    numbers.map_while(Result::ok).collect()
}

/// The error of a limit that stands in the way of opening `name`: with what the setting allows now (0 if
/// it does not show), and what was needed.
///
/// ```
/// let error = annulus_fd::limits::exceeded("pipe:", "fs.pipe-max-size", 1 << 40);
/// assert!(error.to_string().ends_with("(setting fs.pipe-max-size)"));
/// ```
pub fn exceeded(name: impl Display, setting: &'static str, needed: u64) -> OpenError {
    let limit = sysctl(setting).unwrap_or(0);
    OpenError::new(
        name,
        OpenReason::Limit {
            setting,
            limit,
            needed,
        },
    )
}

/// The reason of a file system that had no room for `needed` more bytes in `dir`, or for one more file.
///
/// ```
/// use std::path::Path;
///
/// let full = annulus_fd::limits::no_space(Path::new("/dev/shm"), 1 << 60);
/// assert!(full.to_string().starts_with("1152921504606846976 needed, the system allows "));
/// assert!(full.to_string().contains("mount option size"));
/// ```
pub fn no_space(dir: &Path, needed: u64) -> OpenReason {
    let in_memory = dir.starts_with(DIR);
    let (mut free, mut files, mut is_full) = (0, 0, true);
    if let Ok(stat) = statvfs(dir) {
        free = stat.blocks_available() * stat.fragment_size();
        files = stat.files();
        is_full = stat.files_available() > 0 && free < needed;
    }
    // A file system that does not count its files has none.
    match files {
        1.. if !is_full => OpenReason::Limit {
            setting: match in_memory {
                true => "files in /dev/shm, its mount option nr_inodes",
                false => "files in the file system",
            },
            limit: files,
            needed: files + 1,
        },
        _ => OpenReason::Limit {
            setting: match in_memory {
                true => "free bytes in /dev/shm, its mount option size",
                false => "free bytes in the file system",
            },
            limit: free,
            needed,
        },
    }
}
