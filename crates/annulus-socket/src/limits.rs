//! The system's limits on sockets: read, kept to, and named in the errors that they cause.
//!
//! `net.core.wmem_max` bounds what a socket may hold on its way out. The kernel grants twice the
//! number given to `SO_SNDBUF`, up to twice the setting; a channel takes at most half of that, so
//! that room for a last word (the goodbye of an orderly close) can always be made.

use annulus_channel::{Fault, OpenReason};
pub(crate) use annulus_fd::limits::sysctl;
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use std::os::fd::BorrowedFd;

const WMEM: &str = "net.core.wmem_max";
const RMEM: &str = "net.core.rmem_max";

/// Lets the socket hold `bytes` on their way out, as the kernel counts them.
pub(crate) fn set_send_room(fd: BorrowedFd<'_>, bytes: usize) -> Result<(), OpenReason> {
    within(WMEM, bytes)?;
    setsockopt(&fd, sockopt::SndBuf, &bytes.div_ceil(2)).map_err(|e| os("setsockopt", e))
}

/// Lets the socket hold `bytes` that have arrived, as the kernel counts them.
pub(crate) fn set_receive_room(fd: BorrowedFd<'_>, bytes: usize) -> Result<(), OpenReason> {
    within(RMEM, bytes)?;
    setsockopt(&fd, sockopt::RcvBuf, &bytes.div_ceil(2)).map_err(|e| os("setsockopt", e))
}

fn within(name: &'static str, bytes: usize) -> Result<(), OpenReason> {
    match sysctl(name) {
        Some(limit) if bytes as u64 > limit => Err(OpenReason::Limit {
            setting: name,
            limit,
            needed: bytes as u64,
        }),
        _ => Ok(()),
    }
}

/// What the socket may hold on its way out, in bytes as the kernel counts them.
pub(crate) fn send_room(fd: BorrowedFd<'_>) -> Result<usize, OpenReason> {
    getsockopt(&fd, sockopt::SndBuf).map_err(|e| os("getsockopt", e))
}

/// Makes room for a last word.
pub(crate) fn make_room(fd: BorrowedFd<'_>) {
    let most = sysctl(WMEM).unwrap_or(u64::from(u16::MAX)) as usize;
    // If it is refused, there is no room, and the caller finds that out.
    let _ = setsockopt(&fd, sockopt::SndBuf, &most);
}

/// As much room for arrivals as the system allows, up to `bytes`.
pub(crate) fn widen_receive_room(fd: BorrowedFd<'_>, bytes: usize) {
    // The kernel cuts it down to what is allowed.
    let _ = setsockopt(&fd, sockopt::RcvBuf, &bytes.div_ceil(2));
}

/// The reason of a call that was refused: the limit, where there is one behind the error.
pub(crate) fn os(call: &'static str, errno: Errno) -> OpenReason {
    match errno {
        Errno::EMFILE => {
            let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
            OpenReason::Limit {
                setting: "RLIMIT_NOFILE",
                limit,
                needed: limit + 1,
            }
        }
        Errno::ENFILE => {
            let limit = sysctl("fs.file-max").unwrap_or(0);
            OpenReason::Limit {
                setting: "fs.file-max",
                limit,
                needed: limit.saturating_add(1),
            }
        }
        Errno::ENOENT => OpenReason::NotFound,
        Errno::ECONNREFUSED => OpenReason::Refused,
        Errno::EHOSTUNREACH | Errno::ENETUNREACH | Errno::EHOSTDOWN | Errno::ENETDOWN => {
            OpenReason::Unreachable
        }
        Errno::EADDRINUSE => OpenReason::AddressInUse,
        Errno::EEXIST => OpenReason::Exists,
        Errno::EACCES | Errno::EPERM => OpenReason::Permission,
        errno => OpenReason::Os {
            call,
            errno: errno as i32,
        },
    }
}

/// The reason of a wait that failed.
pub(crate) fn fault(fault: Fault) -> OpenReason {
    match fault {
        Fault::Os { call, errno } => os(call, Errno::from_raw(errno)),
        // Nothing else happens to a wait.
        _ => OpenReason::TimedOut,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_the_way_is_told_apart() {
        for (errno, reason) in [
            (Errno::ENOENT, OpenReason::NotFound),
            (Errno::ECONNREFUSED, OpenReason::Refused),
            (Errno::EHOSTUNREACH, OpenReason::Unreachable),
            (Errno::ENETUNREACH, OpenReason::Unreachable),
            (Errno::EADDRINUSE, OpenReason::AddressInUse),
            (Errno::EACCES, OpenReason::Permission),
        ] {
            assert_eq!(os("connect", errno), reason);
        }
    }
}
