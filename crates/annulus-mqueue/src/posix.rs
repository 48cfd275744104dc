//! POSIX message queues.
//!
//! On Linux a queue's descriptor can be polled, so a blocked call polls it, against the monotonic clock and
//! in slices. `mq_timedreceive` and `mq_timedsend` would sleep in the queue itself, but count on the wall
//! clock, which somebody may set back, and do not wake for a peer that has gone.
//!
//! The limits are checked by the kernel; its answers say too little, so they are looked up after it has refused.

use crate::kernel::{Attributes, Kernel, Plan, Scratch};
use crate::limits::{self, MSG_DEFAULT, MSG_MAX, MSGSIZE_DEFAULT, MSGSIZE_MAX, QUEUES_MAX};
use crate::name::Name;
use crate::page::Layout;
use annulus_channel::{Fault, OpenError, OpenReason};
use annulus_fd::limits::sysctl;
use annulus_fd::names::Side;
use annulus_fd::wait::{readable, writable};
use nix::errno::Errno;
use nix::mqueue::{
    MQ_OFlag, MqAttr, MqdT, mq_close, mq_getattr, mq_open, mq_receive, mq_send, mq_unlink,
};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::{Mode, fstat};
use std::fs::File;
use std::os::fd::AsFd;
use std::time::Instant;

/// What the kernel allows the privileged, whatever the settings (`ipc/mqueue.c`).
const HARD_MSGMAX: u64 = 65536;
const HARD_MSGSIZEMAX: u64 = 16 << 20;

/// What a record costs besides its bytes: `struct msg_msg` and `struct posix_msg_tree_node`.
const OVERHEAD: u64 = 48 + 48;

/// An open POSIX queue.
#[derive(Debug)]
pub(crate) struct PosixQueue {
    /// Always there, until we are dropped.
    fd: Option<MqdT>,
}

impl Drop for PosixQueue {
    fn drop(&mut self) {
        if let Some(fd) = self.fd.take() {
            // It is closed whatever this says.
            let _ = mq_close(fd);
        }
    }
}

impl PosixQueue {
    fn open(name: &Name, flags: MQ_OFlag, mode: u32, attr: Option<&MqAttr>) -> Result<Self, Errno> {
        let flags = flags | MQ_OFlag::O_RDWR | MQ_OFlag::O_NONBLOCK | MQ_OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(mode);
        let fd = mq_open(path(name).as_str(), flags, mode, attr)?;
        Ok(Self { fd: Some(fd) })
    }

    fn fd(&self) -> &MqdT {
        match &self.fd {
            Some(fd) => fd,
            None => unreachable!("closed only when dropped"),
        }
    }
}

fn path(name: &Name) -> String {
    match name {
        Name::Posix(word) => format!("/{word}"),
        Name::SystemV(_) => unreachable!("a name of this kind"),
    }
}

impl Kernel for PosixQueue {
    const UNIT: &'static str = "records";
    const LABEL: i64 = 0;
    const SEND: &'static str = "mq_send";
    const RECEIVE: &'static str = "mq_receive";
    const BELLS: bool = false;

    fn find(name: &Name) -> Result<Option<Self>, OpenError> {
        match Self::open(name, MQ_OFlag::empty(), 0, None) {
            Ok(queue) => Ok(Some(queue)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(OpenError::os(name, "mq_open", &errno.into())),
        }
    }

    fn create(name: &Name, plan: &Plan) -> Result<(Self, usize), OpenError> {
        // The default may be set above the limit; the kernel then refuses it.
        let default = |setting, max, otherwise| {
            let default = sysctl(setting).unwrap_or(otherwise);
            sysctl(max).map_or(default, |max| max.min(default))
        };
        let asked = |number: Option<usize>| number.map(|number| number as u64);
        let capacity = asked(plan.capacity).unwrap_or_else(|| default(MSG_DEFAULT, MSG_MAX, 10));
        let max_record =
            asked(plan.max_record).unwrap_or_else(|| default(MSGSIZE_DEFAULT, MSGSIZE_MAX, 8192));
        let long = |number: u64| number.try_into().unwrap_or(i64::MAX);
        let attr = MqAttr::new(0, long(capacity), long(max_record), 0);
        let flags = MQ_OFlag::O_CREAT | MQ_OFlag::O_EXCL;
        match Self::open(name, flags, plan.mode, Some(&attr)) {
            Ok(queue) => Ok((queue, max_record as usize)),
            Err(errno) => Err(match refusal(errno, capacity, max_record) {
                Some(reason) => OpenError::new(name, reason),
                None => OpenError::os(name, "mq_open", &errno.into()),
            }),
        }
    }

    fn remove(&self, name: &Name) -> Result<(), OpenError> {
        match mq_unlink(path(name).as_str()) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(OpenError::os(name, "mq_unlink", &errno.into())),
        }
    }

    fn identity(&self) -> Result<[u64; 2], Errno> {
        let stat = fstat(self.fd().as_fd())?;
        Ok([stat.st_dev, stat.st_ino])
    }

    fn attributes(&self) -> Result<Attributes, Errno> {
        let attr = mq_getattr(self.fd())?;
        Ok(Attributes {
            capacity: attr.maxmsg() as usize,
            max_record: attr.msgsize() as usize,
        })
    }

    fn len(&self) -> Result<usize, Errno> {
        Ok(mq_getattr(self.fd())?.curmsgs() as usize)
    }

    fn send(&self, _scratch: &mut Scratch, record: &[u8], label: i64) -> Result<(), Errno> {
        mq_send(self.fd(), record, label as u32)
    }

    fn receive(
        &self,
        scratch: &mut Scratch,
        _only: i64,
        buffer: &mut Vec<u8>,
    ) -> Result<i64, Errno> {
        let mut priority = 0;
        let room: &mut [u8] = bytemuck::cast_slice_mut(scratch);
        let len = mq_receive(self.fd(), room, &mut priority)?;
        buffer.extend_from_slice(&room[..len]);
        Ok(i64::from(priority))
    }

    fn sleep(&self, _page: &Layout, side: Side, _armed: u32, until: Instant) -> Result<(), Fault> {
        let fd = self.fd();
        match side {
            Side::Sender => writable(fd, Some(until)),
            Side::Receiver => readable(fd, Some(until)),
        }
        .map(drop)
    }
}

/// The limit that made the kernel refuse, if one did.
fn refusal(errno: Errno, capacity: u64, max_record: u64) -> Option<OpenReason> {
    match errno {
        Errno::EINVAL | Errno::EOVERFLOW => {
            let broken = |setting, hard, needed| match limits::is_privileged() {
                true if needed > hard => Some(limits::error(setting, hard, needed)),
                true => None,
                false => limits::broken_by(setting, needed),
            };
            broken(MSG_MAX, HARD_MSGMAX, capacity)
                .or_else(|| broken(MSGSIZE_MAX, HARD_MSGSIZEMAX, max_record))
        }
        Errno::ENOSPC => Some(limits::used_up(QUEUES_MAX)),
        // The same number as for too many open files, which it is not if one more can be opened.
        Errno::EMFILE if File::open("/proc/self/stat").is_ok() => {
            let (limit, _) = getrlimit(Resource::RLIMIT_MSGQUEUE).ok()?;
            let setting = "RLIMIT_MSGQUEUE, the bytes of all queues of the user";
            let needed = capacity.saturating_mul(max_record.saturating_add(OVERHEAD));
            Some(limits::error(setting, limit, needed))
        }
        _ => None,
    }
}
