//! Sleeping until a file is written to: inotify.

use annulus_channel::{Fault, OpenReason};
use annulus_fd::{limits, wait};
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::unistd::read;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

/// An eye on one file.
#[derive(Debug)]
pub(crate) struct Watch {
    inotify: Inotify,
}

impl Watch {
    pub(crate) fn new(file: &File) -> Result<Self, OpenReason> {
        let refused = |call, errno| match errno {
            Errno::EMFILE => met("fs.inotify.max_user_instances"),
            Errno::ENOSPC => met("fs.inotify.max_user_watches"),
            errno => OpenReason::Os {
                call,
                errno: errno as i32,
            },
        };
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
            .map_err(|errno| refused("inotify_init1", errno))?;
        // The file itself, whatever happens to its name.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        inotify
            .add_watch(path.as_str(), AddWatchFlags::IN_MODIFY)
            .map_err(|errno| refused("inotify_add_watch", errno))?;
        Ok(Self { inotify })
    }

    /// Forgets what was written until now.
    pub(crate) fn empty(&self) -> Result<(), Fault> {
        let mut events = [0; 1024];
        loop {
            match read(self.inotify.as_fd(), &mut events) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                Err(errno) => return Err(wait::os("read(inotify)", errno)),
            }
        }
    }

    /// Sleeps until something is written, not after `until`. May have been written already.
    pub(crate) fn sleep(&self, until: Instant) -> Result<(), Fault> {
        wait::readable(&self.inotify, Some(until)).map(drop)
    }
}

/// A limit of the system that does not allow one more.
fn met(setting: &'static str) -> OpenReason {
    let limit = limits::sysctl(setting).unwrap_or(0);
    OpenReason::Limit {
        setting,
        limit,
        needed: limit + 1,
    }
}
