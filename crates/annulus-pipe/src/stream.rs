//! Records over a pipe's two ends: what anonymous pipes and FIFOs have in common.
//!
//! How the other side went is not in the stream: whoever is told that it has gone asks the pipe's mark.

use crate::MAX_RECORD;
use crate::outcome::{Gone, Stop, Until};
use crate::write::write;
use annulus_channel::{Fault, OpenError, OpenReason};
use annulus_fd::frame::{Decoder, Encoder, Next};
use annulus_fd::limits;
use annulus_fd::wait::{Waited, os, readable, uninterrupted, writable};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{SysconfVar, read, sysconf};
use std::os::fd::AsFd;

/// Where records go in.
#[derive(Debug)]
pub(crate) struct Outlet<Fd> {
    pub(crate) fd: Fd,
    pub(crate) encoder: Encoder,
    /// The end of the channel, once it is known.
    end: Option<Stop>,
}

impl<Fd: AsFd> Outlet<Fd> {
    /// Records into `fd`, which does not block.
    pub(crate) fn new(fd: Fd, encoder: Encoder) -> Self {
        Self {
            fd,
            encoder,
            end: None,
        }
    }

    /// Sends a record; asks `gone` if there is nobody to read it.
    pub(crate) fn send(
        &mut self,
        record: &[u8],
        until: Until,
        gone: impl FnOnce(&Fd) -> Gone,
    ) -> Result<(), Stop> {
        let len = record.len();
        if len > MAX_RECORD {
            let max = MAX_RECORD;
            return Err(Stop::TooLarge { len, max });
        }
        if let Some(end) = self.end {
            return Err(end);
        }
        let result = self.push(record, until);
        let end = match result {
            Err(Push::NotNow) => return Err(Stop::NotNow),
            Err(Push::NobodyReads) => Stop::Gone(gone(&self.fd)),
            Err(Push::Fault(fault)) => Stop::Fault(fault),
            Ok(()) => return Ok(()),
        };
        self.end = Some(end);
        Err(end)
    }

    fn push(&mut self, record: &[u8], until: Until) -> Result<(), Push> {
        let fd = &self.fd;
        let mut push = self.encoder.push(record);
        loop {
            match push.write(|parts| write(fd, parts)) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(Errno::EPIPE) => return Err(Push::NobodyReads),
                Err(errno) => return Err(Push::Fault(os("pwritev2", errno))),
            }
            let deadline = until.deadline().ok_or(Push::NotNow)?;
            match writable(fd, deadline).map_err(Push::Fault)? {
                Waited::Ready => {}
                Waited::HungUp => return Err(Push::NobodyReads),
                Waited::TimedOut => return Err(Push::NotNow),
            }
        }
    }
}

enum Push {
    NotNow,
    NobodyReads,
    Fault(Fault),
}

/// What a look at the pipe has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Record,
    /// Nothing there now, but somebody who may write.
    Empty,
    /// Nothing there, and nobody who writes.
    Nobody,
}

/// Where records come out.
#[derive(Debug)]
pub(crate) struct Inlet<Fd> {
    pub(crate) fd: Fd,
    pub(crate) decoder: Decoder,
    /// Whether anything has ever come.
    pub(crate) heard: bool,
}

impl<Fd: AsFd> Inlet<Fd> {
    /// Takes the next record, without waiting.
    pub(crate) fn look(&mut self, record: &mut Vec<u8>) -> Result<Look, Fault> {
        loop {
            match self.decoder.next(record)? {
                Next::Record => return Ok(Look::Record),
                // A pipe's sender says nothing of the kind; its mark tells.
                Next::Goodbye | Next::More => {}
            }
            let fd = &self.fd;
            let count = self
                .decoder
                .fill(|buffer| uninterrupted(|| read(fd, buffer)));
            match count {
                Ok(0) => return Ok(Look::Nobody),
                Ok(_) => self.heard = true,
                Err(Errno::EAGAIN) => return Ok(Look::Empty),
                Err(errno) => return Err(os("read", errno)),
            }
        }
    }

    /// Waits for something to look at.
    pub(crate) fn wait(&self, until: Until) -> Result<(), Stop> {
        let deadline = until.deadline().ok_or(Stop::NotNow)?;
        match readable(&self.fd, deadline)? {
            Waited::Ready | Waited::HungUp => Ok(()),
            Waited::TimedOut => Err(Stop::NotNow),
        }
    }
}

/// Makes a descriptor's calls not block, whoever shares it.
pub(crate) fn no_block(fd: impl AsFd) -> Result<OFlag, Errno> {
    let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(flags)
}

/// Gives a pipe room for so many bytes.
pub(crate) fn set_capacity(fd: impl AsFd, name: &str, bytes: usize) -> Result<(), OpenError> {
    const LARGEST: &str = "fs.pipe-max-size";
    let Ok(size) = i32::try_from(bytes) else {
        return Err(limits::exceeded(name, LARGEST, bytes as u64));
    };
    match fcntl(fd, FcntlArg::F_SETPIPE_SZ(size)) {
        Ok(_) => Ok(()),
        Err(Errno::EPERM | Errno::EINVAL) => {
            let beyond = limits::sysctl(LARGEST).is_none_or(|largest| bytes as u64 > largest);
            Err(if beyond {
                limits::exceeded(name, LARGEST, bytes as u64)
            } else {
                // All pipes of the user together have too many pages.
                let page = sysconf(SysconfVar::PAGE_SIZE)
                    .ok()
                    .flatten()
                    .unwrap_or(4096);
                let pages = (bytes as u64).div_ceil(page as u64);
                limits::exceeded(name, "fs.pipe-user-pages-soft", pages)
            })
        }
        Err(errno) => Err(OpenError::new(
            name,
            OpenReason::Os {
                call: "fcntl(F_SETPIPE_SZ)",
                errno: errno as i32,
            },
        )),
    }
}
