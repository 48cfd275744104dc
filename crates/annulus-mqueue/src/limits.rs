//! The system's limits, as numbers with the settings that change them.

use annulus_channel::OpenReason;
use annulus_fd::limits::sysctl;

pub(crate) const MSG_MAX: &str = "fs.mqueue.msg_max";
pub(crate) const MSG_DEFAULT: &str = "fs.mqueue.msg_default";
pub(crate) const MSGSIZE_MAX: &str = "fs.mqueue.msgsize_max";
pub(crate) const MSGSIZE_DEFAULT: &str = "fs.mqueue.msgsize_default";
pub(crate) const QUEUES_MAX: &str = "fs.mqueue.queues_max";
pub(crate) const MSGMAX: &str = "kernel.msgmax";
pub(crate) const MSGMNB: &str = "kernel.msgmnb";
pub(crate) const MSGMNI: &str = "kernel.msgmni";

/// The error of asking for `needed` where `limit` is allowed.
pub(crate) fn error(setting: &'static str, limit: u64, needed: u64) -> OpenReason {
    OpenReason::Limit {
        setting,
        limit,
        needed,
    }
}

/// The error of asking for `needed`, if that is more than the setting allows.
pub(crate) fn broken_by(setting: &'static str, needed: u64) -> Option<OpenReason> {
    let limit = sysctl(setting).filter(|&limit| needed > limit)?;
    Some(error(setting, limit, needed))
}

/// The error of asking for one more than there may be.
pub(crate) fn used_up(setting: &'static str) -> OpenReason {
    let limit = sysctl(setting).unwrap_or(0);
    error(setting, limit, limit + 1)
}

/// Whether the kernel lets this process go beyond settings (`CAP_SYS_RESOURCE`).
pub(crate) fn is_privileged() -> bool {
    const CAP_SYS_RESOURCE: u32 = 24;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    bits.is_some_and(|bits| bits & (1 << CAP_SYS_RESOURCE) != 0)
}
