//! The system's limits, as numbers with the settings that change them.

use annulus_channel::OpenReason;
use std::fs;

/// A sysctl.
#[derive(Clone, Copy)]
pub(crate) struct Setting {
    /// As `sysctl` names it.
    pub(crate) name: &'static str,
    path: &'static str,
}

pub(crate) const MSG_MAX: Setting = Setting::of("fs.mqueue.msg_max", "/proc/sys/fs/mqueue/msg_max");
pub(crate) const MSG_DEFAULT: Setting =
    Setting::of("fs.mqueue.msg_default", "/proc/sys/fs/mqueue/msg_default");
pub(crate) const MSGSIZE_MAX: Setting =
    Setting::of("fs.mqueue.msgsize_max", "/proc/sys/fs/mqueue/msgsize_max");
pub(crate) const MSGSIZE_DEFAULT: Setting = Setting::of(
    "fs.mqueue.msgsize_default",
    "/proc/sys/fs/mqueue/msgsize_default",
);
pub(crate) const QUEUES_MAX: Setting =
    Setting::of("fs.mqueue.queues_max", "/proc/sys/fs/mqueue/queues_max");
pub(crate) const MSGMAX: Setting = Setting::of("kernel.msgmax", "/proc/sys/kernel/msgmax");
pub(crate) const MSGMNB: Setting = Setting::of("kernel.msgmnb", "/proc/sys/kernel/msgmnb");
pub(crate) const MSGMNI: Setting = Setting::of("kernel.msgmni", "/proc/sys/kernel/msgmni");

impl Setting {
    const fn of(name: &'static str, path: &'static str) -> Self {
        Self { name, path }
    }

    /// Its value; nothing where `/proc` does not show it.
    pub(crate) fn read(self) -> Option<u64> {
        fs::read_to_string(self.path).ok()?.trim().parse().ok()
    }

    /// The error of asking for `needed`, if that is more than the setting allows.
    pub(crate) fn broken_by(self, needed: u64) -> Option<OpenReason> {
        let limit = self.read().filter(|&limit| needed > limit)?;
        Some(self.error(limit, needed))
    }

    /// The error of asking for `needed` where `limit` is allowed.
    pub(crate) fn error(self, limit: u64, needed: u64) -> OpenReason {
        OpenReason::Limit {
            setting: self.name,
            limit,
            needed,
        }
    }

    /// The error of asking for one more than there may be.
    pub(crate) fn used_up(self) -> OpenReason {
        let limit = self.read().unwrap_or(0);
        self.error(limit, limit + 1)
    }
}
