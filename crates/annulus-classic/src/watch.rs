//! Sleeping until a file is written to: inotify.

use annulus_channel::{Fault, OpenReason};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::time::TimeSpec;
use nix::unistd::read;
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Instant;

/// Waits until something can be read from `fd`, not after `until`. May come back for no reason.
pub(crate) fn readable(fd: BorrowedFd<'_>, until: Instant) -> Result<(), Fault> {
    let left = until.saturating_duration_since(Instant::now());
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    match ppoll(&mut fds, Some(TimeSpec::from_duration(left)), None) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(fault("ppoll", errno)),
    }
}

pub(crate) fn fault(call: &'static str, errno: Errno) -> Fault {
    Fault::Os {
        call,
        errno: errno as i32,
    }
}

/// An eye on one file.
#[derive(Debug)]
pub(crate) struct Watch {
    inotify: Inotify,
}

impl Watch {
    pub(crate) fn new(file: &File) -> Result<Self, OpenReason> {
        let limits = |call, errno| match errno {
            Errno::EMFILE => limit(
                "fs.inotify.max_user_instances",
                "/proc/sys/fs/inotify/max_user_instances",
            ),
            Errno::ENOSPC => limit(
                "fs.inotify.max_user_watches",
                "/proc/sys/fs/inotify/max_user_watches",
            ),
            errno => OpenReason::Os {
                call,
                errno: errno as i32,
            },
        };
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
            .map_err(|errno| limits("inotify_init1", errno))?;
        // The file itself, whatever happens to its name.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        inotify
            .add_watch(path.as_str(), AddWatchFlags::IN_MODIFY)
            .map_err(|errno| limits("inotify_add_watch", errno))?;
        Ok(Self { inotify })
    }

    /// Forgets what was written until now.
    pub(crate) fn empty(&self) -> Result<(), Fault> {
        let mut events = [0; 1024];
        loop {
            match read(self.inotify.as_fd(), &mut events) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                Err(errno) => return Err(fault("read(inotify)", errno)),
            }
        }
    }

    /// Sleeps until something is written, not after `until`. May come back for no reason.
    pub(crate) fn sleep(&self, until: Instant) -> Result<(), Fault> {
        readable(self.inotify.as_fd(), until)
    }
}

/// A limit of the system that was met.
fn limit(setting: &'static str, path: &str) -> OpenReason {
    let limit = fs::read_to_string(path).ok();
    let limit = limit.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    OpenReason::Limit {
        setting,
        limit,
        needed: limit + 1,
    }
}
