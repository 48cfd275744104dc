//! System V message queues.
//!
//! They have no descriptor and no call with a deadline, and a thread blocked in one is freed by nothing but a
//! signal. So no call here blocks: who finds nothing sleeps on a bell in the companion (`bell`).
//!
//! A queue holds bytes. The longest record is the least of what was asked for, `kernel.msgmax` when the queue was
//! made, and the queue's bytes; the companion keeps it.

use crate::kernel::{Attributes, Kernel, Plan, Scratch};
use crate::limits::{self, MSGMAX, MSGMNB, MSGMNI};
use crate::name::Name;
use crate::page::Layout;
use annulus_channel::{Fault, OpenError, OpenReason};
use annulus_fd::limits::sysctl;
use annulus_fd::names::Side;
use nix::errno::Errno;
use std::ptr;
use std::time::Instant;

// A message begins with a `long`, and a scratch is made of these.
const _: () = assert!(size_of::<libc::c_long>() == size_of::<i64>());

/// A System V queue.
#[derive(Debug)]
pub(crate) struct SysvQueue {
    id: i32,
}

fn key(name: &Name) -> i32 {
    match name {
        Name::SystemV(key) => *key,
        Name::Posix(_) => unreachable!("a name of this kind"),
    }
}

/// The queue with this key, or a new one with `IPC_CREAT`.
fn msgget(key: i32, flags: i32) -> Result<i32, Errno> {
    // SAFETY: takes no pointer.
    Errno::result(unsafe { libc::msgget(key, flags) })
}

impl SysvQueue {
    fn stat(&self) -> Result<libc::msqid_ds, Errno> {
        // SAFETY: all zeros is a value of this plain struct.
        let mut stat: libc::msqid_ds = unsafe { std::mem::zeroed() };
        // SAFETY: IPC_STAT fills the struct, which outlives the call.
        Errno::result(unsafe { libc::msgctl(self.id, libc::IPC_STAT, &raw mut stat) })?;
        Ok(stat)
    }

    /// Sets how many bytes it holds.
    fn resize(&self, bytes: usize) -> Result<(), Errno> {
        let mut stat = self.stat()?;
        stat.msg_qbytes = bytes as libc::msglen_t;
        // SAFETY: IPC_SET reads the struct, which outlives the call.
        Errno::result(unsafe { libc::msgctl(self.id, libc::IPC_SET, &raw mut stat) }).map(drop)
    }

    /// Gives a new queue its bytes, sees that the longest record fits, and returns how many there are.
    fn shape(&self, name: &Name, plan: &Plan) -> Result<usize, OpenError> {
        if let Some(bytes) = plan.capacity {
            self.resize(bytes).map_err(|errno| match errno {
                Errno::EPERM => match limits::broken_by(MSGMNB, bytes as u64) {
                    Some(reason) => OpenError::new(name, reason),
                    None => OpenError::os(name, "msgctl(IPC_SET)", &errno.into()),
                },
                _ => OpenError::os(name, "msgctl(IPC_SET)", &errno.into()),
            })?;
        }
        let stat = self.stat();
        let stat = stat.map_err(|errno| OpenError::os(name, "msgctl(IPC_STAT)", &errno.into()))?;
        let (capacity, needed) = (stat.msg_qbytes as usize, plan.max_record.unwrap_or(0));
        if needed <= capacity {
            return Ok(capacity);
        }
        let reason = match plan.capacity {
            Some(_) => OpenReason::Mismatch {
                what: "capacity",
                expected: format!("at least the longest record, {needed} bytes"),
                found: format!("{capacity} bytes"),
            },
            None => limits::error(MSGMNB, capacity as u64, needed as u64),
        };
        Err(OpenError::new(name, reason))
    }

    fn remove_id(&self) -> Result<(), Errno> {
        // SAFETY: IPC_RMID reads no buffer.
        Errno::result(unsafe { libc::msgctl(self.id, libc::IPC_RMID, ptr::null_mut()) }).map(drop)
    }
}

impl Kernel for SysvQueue {
    const UNIT: &'static str = "bytes";
    const LABEL: i64 = 1;
    const SEND: &'static str = "msgsnd";
    const RECEIVE: &'static str = "msgrcv";
    const BELLS: bool = true;

    fn find(name: &Name) -> Result<Option<Self>, OpenError> {
        match msgget(key(name), 0) {
            Ok(id) => Ok(Some(Self { id })),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(OpenError::os(name, "msgget", &errno.into())),
        }
    }

    fn create(name: &Name, plan: &Plan) -> Result<(Self, usize), OpenError> {
        let refused = |reason| Err(OpenError::new(name, reason));
        if let Some(reason) = plan
            .max_record
            .and_then(|max| limits::broken_by(MSGMAX, max as u64))
        {
            return refused(reason);
        }
        let flags = libc::IPC_CREAT | libc::IPC_EXCL | (plan.mode & 0o777) as i32;
        let id = match msgget(key(name), flags) {
            Ok(id) => id,
            Err(Errno::ENOSPC) => return refused(limits::used_up(MSGMNI)),
            Err(errno) => return Err(OpenError::os(name, "msgget", &errno.into())),
        };
        let queue = Self { id };
        let capacity = queue.shape(name, plan).inspect_err(|_| {
            // Nobody has seen it.
            let _ = queue.remove_id();
        })?;
        let msgmax = sysctl(MSGMAX).map_or(8192, |max| max as usize);
        let max_record = plan.max_record.unwrap_or(msgmax.min(capacity));
        Ok((queue, max_record))
    }

    fn remove(&self, name: &Name) -> Result<(), OpenError> {
        match self.remove_id() {
            Ok(()) | Err(Errno::EIDRM | Errno::EINVAL) => Ok(()),
            Err(errno) => Err(OpenError::os(name, "msgctl(IPC_RMID)", &errno.into())),
        }
    }

    fn identity(&self) -> Result<[u64; 2], Errno> {
        // An identifier has a count in it, and does not come back for thousands of queues.
        Ok([self.id as u64, 0])
    }

    fn attributes(&self) -> Result<Attributes, Errno> {
        let stat = self.stat()?;
        Ok(Attributes {
            capacity: stat.msg_qbytes as usize,
            max_record: stat.msg_qbytes as usize,
        })
    }

    fn len(&self) -> Result<usize, Errno> {
        Ok(self.stat()?.msg_qnum as usize)
    }

    fn send(&self, scratch: &mut Scratch, record: &[u8], label: i64) -> Result<(), Errno> {
        scratch[0] = label;
        let text: &mut [u8] = bytemuck::cast_slice_mut(&mut scratch[1..]);
        text[..record.len()].copy_from_slice(record);
        let message = scratch.as_ptr().cast();
        // SAFETY: `scratch` holds the type and, behind it, `record.len()` bytes.
        Errno::result(unsafe { libc::msgsnd(self.id, message, record.len(), libc::IPC_NOWAIT) })
            .map(drop)
    }

    fn receive(
        &self,
        scratch: &mut Scratch,
        only: i64,
        buffer: &mut Vec<u8>,
    ) -> Result<i64, Errno> {
        let max = size_of_val(&scratch[1..]);
        let message = scratch.as_mut_ptr().cast();
        // SAFETY: `scratch` has room for the type and, behind it, `max` bytes.
        let len = unsafe { libc::msgrcv(self.id, message, max, only, libc::IPC_NOWAIT) };
        match Errno::result(len) {
            Ok(len) => {
                let text: &[u8] = bytemuck::cast_slice(&scratch[1..]);
                buffer.extend_from_slice(&text[..len as usize]);
                Ok(scratch[0])
            }
            Err(Errno::ENOMSG) => Err(Errno::EAGAIN),
            Err(errno) => Err(errno),
        }
    }

    fn sleep(&self, page: &Layout, side: Side, armed: u32, until: Instant) -> Result<(), Fault> {
        let left = until.saturating_duration_since(Instant::now());
        page.bell(side).sleep(armed, left);
        Ok(())
    }
}
