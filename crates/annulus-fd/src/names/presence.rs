//! Who is there.

use super::{HANDLES, PATIENCE, SUFFIX, full_name, is_at, open};
use crate::lock::{self, Door};
use annulus_channel::{OpenError, OpenReason};
use nix::errno::Errno;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Which end of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The end that sends.
    Sender,
    /// The end that receives.
    Receiver,
}

impl Side {
    /// `"sender"` or `"receiver"`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Receiver => "receiver",
        }
    }

    /// The first byte that handles of this side lock.
    fn base(self) -> u64 {
        match self {
            Self::Sender => HANDLES,
            Self::Receiver => HANDLES + SPAN,
        }
    }
}

/// How many bytes a side has.
const SPAN: u64 = 1 << 60;

/// A handle's entry at a named thing: it vouches that this handle lives. Dropped, it leaves; the last one takes the
/// lock file with it. A process that is killed leaves as the dead do.
///
/// ```
/// use annulus_fd::names::{Presence, Side};
///
/// let dir = std::env::temp_dir().join(format!("annulus-who-{}", std::process::id()));
/// std::fs::create_dir(&dir)?;
/// let (sender, first) = Presence::enter(&dir, "mq", "orders", Side::Sender, false, |first| {
///     // Alone behind the door: whoever is first makes the thing.
///     Ok(first)
/// })?;
/// assert!(first && !sender.is_any(Side::Receiver));
///
/// let (only, _) = Presence::enter(&dir, "mq", "orders", Side::Receiver, true, |_| Ok(()))?;
/// assert!(sender.is_any(Side::Receiver));
/// let second = Presence::enter(&dir, "mq", "orders", Side::Receiver, true, |_| Ok(()));
/// assert_eq!(second.unwrap_err().to_string(), "mq:orders: it takes one receiver, and has it");
///
/// drop(only);
/// assert_eq!(sender.leave(|| "the last takes it away"), Some("the last takes it away"));
/// std::fs::remove_dir(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Presence {
    /// Always there, until it has left.
    file: Option<File>,
    path: PathBuf,
    byte: u64,
}

impl Presence {
    /// Enters a handle at `transport:name`, whose lock file lies in `dir`; `only` if the side takes one handle.
    /// Behind the door, `prepare` is told whether nobody else is there, and makes or opens the thing.
    ///
    /// # Errors
    ///
    /// [`OpenReason::Name`]; [`OpenReason::Taken`] if the side takes one, and somebody living has it;
    /// [`OpenReason::TimedOut`] if somebody was stopped in the door for a second; what the operating system
    /// says of the lock file; and those of `prepare`, which leave nobody entered.
    pub fn enter<T>(
        dir: &Path,
        transport: &str,
        name: &str,
        side: Side,
        only: bool,
        prepare: impl FnOnce(bool) -> Result<T, OpenError>,
    ) -> Result<(Self, T), OpenError> {
        let path = dir.join(full_name(transport, name)? + SUFFIX);
        let error = |reason| OpenError::new(format_args!("{transport}:{name}"), reason);
        let os = |call, errno: Errno| {
            error(OpenReason::Os {
                call,
                errno: errno as i32,
            })
        };
        loop {
            let file = open(&path, true).map_err(|error| {
                OpenError::os(format_args!("{transport}:{name}"), "open", &error)
            })?;
            let door = match Door::alone(&file, PATIENCE) {
                Ok(Some(door)) => door,
                Ok(None) => return Err(error(OpenReason::TimedOut)),
                Err(errno) => return Err(os("fcntl(F_OFD_SETLK)", errno)),
            };
            // The last one may have taken the file away meanwhile.
            if !is_at(&file, &path) {
                continue;
            }
            let busy = lock::is_locked(&file, HANDLES, 0)
                .map_err(|errno| os("fcntl(F_OFD_GETLK)", errno))?;
            let byte = take(&file, side, only).map_err(|errno| os("fcntl(F_OFD_SETLK)", errno))?;
            let Some(byte) = byte else {
                let side = side.name();
                return Err(error(OpenReason::Taken { side, pid: 0 }));
            };
            let result = prepare(!busy);
            drop(door);
            let presence = Self {
                file: Some(file),
                path,
                byte,
            };
            return result.map(|made| (presence, made));
        }
    }

    /// Whether anybody else of this side is there, and alive. If the kernel does not tell, somebody is.
    pub fn is_any(&self, side: Side) -> bool {
        self.file
            .as_ref()
            .is_none_or(|file| lock::is_locked(file, side.base(), SPAN).unwrap_or(true))
    }

    /// Leaves. The last one of both sides takes the thing away by `remove`, behind the door, and then the lock file;
    /// what `remove` made is returned. If somebody is stopped in the door for a second, nobody takes anything away:
    /// it is left for [`remove_stale`](super::remove_stale).
    pub fn leave<T>(mut self, remove: impl FnOnce() -> T) -> Option<T> {
        self.go(remove)
    }

    /// Leaves as the dead do: nothing is taken away. For tests of what others make of it.
    pub fn die(mut self) {
        self.file = None;
    }

    fn go<T>(&mut self, remove: impl FnOnce() -> T) -> Option<T> {
        let file = self.file.take()?;
        let door = Door::alone(&file, PATIENCE).ok()??;
        lock::unlock(&file, self.byte, 1).ok()?;
        let last = lock::is_locked(&file, HANDLES, 0) == Ok(false) && is_at(&file, &self.path);
        let removed = last.then(|| {
            let removed = remove();
            // If it cannot be removed, it is there for whoever comes next.
            let _ = std::fs::remove_file(&self.path);
            removed
        });
        drop(door);
        removed
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.go(|| ());
    }
}

/// Locks a byte of `side`, the first one if it is the only one; nothing if that is taken.
fn take(file: &File, side: Side, only: bool) -> Result<Option<u64>, Errno> {
    if only {
        let free =
            !lock::is_locked(file, side.base(), SPAN)? && lock::try_lock(file, side.base(), 1)?;
        return Ok(free.then_some(side.base()));
    }
    loop {
        let byte = side.base() + ticket();
        if lock::try_lock(file, byte, 1)? {
            return Ok(Some(byte));
        }
    }
}

/// A number from 1 to 2^32 - 1 that others hardly have: whoever needs one that nobody has locks it, or takes another.
///
/// ```
/// use annulus_fd::names::ticket;
///
/// assert_ne!(ticket(), ticket());
/// ```
pub fn ticket() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // Relaxed: only the number counts.
    let number = NEXT.fetch_add(1, Relaxed);
    let mixed = (u64::from(std::process::id()) << 12).wrapping_add(number);
    mixed % (u64::from(u32::MAX) - 1) + 1
}
