//! A spool file: the sender appends, the receiver follows.
//!
//! The file is a header and a log of fixed size, whose disk space is taken when it is created: a full disk is an error there,
//! and a spool that the receiver does not keep up with is `Full`. When the log's end is reached, appending goes on at
//! its start, over what was received.
//!
//! ```text
//! sender    write the frame at IN         pwrite
//!           IN = after it                 a store in the header: now it is there
//!           does the receiver sleep?      then a byte is written for inotify to see
//! receiver  read the frame at OUT         pread; position, length and checksum are right
//!           OUT = after it                now it is received
//!           does the sender sleep?
//! ```
//!
//! Both positions lie in the file, so they survive both ends. A sender killed while it wrote has not moved `IN`: its
//! successor writes over the half frame. A receiver killed before it moved `OUT` has not received the record: its
//! successor does. So as long as the machine runs, a record is handed over once, to a caller that may be killed before
//! it has done anything with it: *at most once*.
//!
//! Where the machine stops, the kernel may have written any part of this to the disk. Then a sender that comes reads the log from
//! `OUT` on, and cuts it at the first frame that is not whole; what was received may come again, if `OUT` was
//! not written.
//!
//! # Sleeping
//!
//! Who finds nothing empties its inotify queue, sets its side's word in `WAITS`, looks once more, and sleeps until the file is
//! written to. The other side stores its position, then swaps the word for 0, and writes if it was 1. All
//! are sequentially consistent, so one of the two sees the other. Who is killed between the store and the write leaves a
//! sleeper that looks again after 50 ms.

use crate::frame::{self, Bad, Log};
use crate::header::{self, Shape, corrupt};
use crate::link::{Link, Side};
use crate::medium::{Carry, Medium};
use crate::options::Options;
use crate::place::Place;
use crate::watch::Watch;
use annulus_channel::{Boundaries, Capabilities, Fault, OpenError, OpenReason, Order};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

const MIN_CAPACITY: u64 = 64;
const MAX_CAPACITY: u64 = 1 << 40;

/// A file that is appended to, and followed with inotify. One sender, one receiver. `spool:PATH`.
///
/// It holds so many bytes and no more ([`Options::capacity`]), and keeps them when both ends have gone. A record
/// is at most 1 GiB.
#[derive(Debug)]
pub struct Spool {
    log: Log,
    watch: Watch,
    scratch: Vec<u8>,
    /// The room that the last attempt did not find.
    needed: u64,
}

impl Medium for Spool {}

fn os(call: &'static str) -> impl Fn(io::Error) -> Fault {
    move |error| Fault::Os {
        call,
        errno: error.raw_os_error().unwrap_or(libc::EIO),
    }
}

/// The positions: first what is to be received, then what was sent.
fn positions(link: &Link, capacity: u64) -> Result<(u64, u64), Fault> {
    // SeqCst: see the module. The one's load is the acquire to the other's release.
    let out = link.memory.word(header::OUT).load(SeqCst);
    let in_ = link.memory.word(header::IN).load(SeqCst);
    if in_ % 8 != 0 || out % 8 != 0 {
        return Err(corrupt("position", in_ | out, 8));
    }
    match in_.checked_sub(out) {
        Some(there) if there <= capacity => Ok((out, in_)),
        _ => Err(corrupt("out", out, in_)),
    }
}

impl Spool {
    /// Follows the frames from `OUT`; the position after the last that is whole.
    fn whole(&self, link: &Link) -> Result<u64, Fault> {
        let (mut at, end) = positions(link, self.log.capacity)?;
        let mut record = Vec::new();
        while at < end {
            let taken = self.log.take(&link.file, at, end - at, &mut record);
            if taken.map_err(os("pread"))?.is_err() {
                break;
            }
            at += frame::len(record.len() as u64);
        }
        Ok(at)
    }

    /// Wakes the other side, if it sleeps.
    fn ring(&self, link: &Link) -> Result<(), Fault> {
        let waits = link.memory.word(header::WAITS[link.side.other() as usize]);
        // SeqCst: after the store of a position.
        if waits.load(SeqCst) != 0 && waits.swap(0, SeqCst) != 0 {
            bell(&link.file).map_err(os("pwrite"))?;
        }
        Ok(())
    }
}

/// Writes a byte that says nothing, so that inotify tells.
fn bell(file: &File) -> io::Result<()> {
    file.write_all_at(&[0], header::BELL as u64)
}

impl Carry for Spool {
    const WORD: &'static str = "spool";
    const KIND: u64 = 3;
    const CAPABILITIES: Capabilities = Capabilities {
        order: Order::Total,
        lossy: false,
        many_senders: false,
        many_receivers: false,
        persistent: true,
        crosses_machines: false,
        boundaries: Boundaries::Native,
        max_record: None,
    };
    const PASSES: bool = false;

    fn place(name: &Path) -> Result<Place, OpenError> {
        Place::file(Self::WORD, name)
    }

    fn shape(options: &Options) -> Result<Shape, OpenReason> {
        let n = options
            .capacity
            .clamp(MIN_CAPACITY, u64::MAX - 7)
            .next_multiple_of(8);
        if n > MAX_CAPACITY {
            return Err(OpenReason::Limit {
                setting: "capacity",
                limit: MAX_CAPACITY,
                needed: n,
            });
        }
        Ok(Shape {
            n,
            max_record: longest(n),
            file_len: header::LEN as u64 + n,
        })
    }

    fn mapped(shape: &Shape) -> Option<usize> {
        let sane = (MIN_CAPACITY..=MAX_CAPACITY).contains(&shape.n) && shape.n % 8 == 0;
        let fits = sane
            && shape.file_len == header::LEN as u64 + shape.n
            && shape.max_record == longest(shape.n);
        fits.then_some(header::LEN)
    }

    fn attach(link: &Link, shape: &Shape, _mode: u32) -> Result<Self, OpenReason> {
        let spool = Self {
            log: Log {
                start: header::LEN as u64,
                capacity: shape.n,
            },
            watch: Watch::new(&link.file)?,
            scratch: Vec::new(),
            needed: 0,
        };
        if link.side == Side::Sender {
            // Nobody else sends; a receiver that finds a bad frame looks whether `IN` has come back.
            let whole = spool.whole(link).map_err(|fault| match fault {
                Fault::Os { call, errno } => OpenReason::Os { call, errno },
                other => OpenReason::Mismatch {
                    what: "spool",
                    expected: "positions that fit its capacity".into(),
                    found: other.to_string(),
                },
            })?;
            link.memory.word(header::IN).store(whole, SeqCst);
        }
        Ok(spool)
    }

    fn put(&mut self, link: &mut Link, record: &[u8]) -> Result<bool, Fault> {
        let (out, in_) = positions(link, self.log.capacity)?;
        let len = frame::len(record.len() as u64);
        if in_ - out + len > self.log.capacity {
            self.needed = len;
            return Ok(false);
        }
        self.log
            .put(&link.file, in_, record, &mut self.scratch)
            .map_err(os("pwrite"))?;
        // SeqCst: see the module. A release, too: the frame is written.
        link.memory.word(header::IN).store(in_ + len, SeqCst);
        self.ring(link)?;
        Ok(true)
    }

    fn take(&mut self, link: &mut Link, buffer: &mut Vec<u8>) -> Result<bool, Fault> {
        let (out, in_) = positions(link, self.log.capacity)?;
        if in_ == out {
            return Ok(false);
        }
        let taken = self.log.take(&link.file, out, in_ - out, buffer);
        let bad = match taken.map_err(os("pread"))? {
            Ok(()) => {
                let len = frame::len(buffer.len() as u64);
                link.memory.word(header::OUT).store(out + len, SeqCst);
                self.ring(link)?;
                return Ok(true);
            }
            Err(bad) => bad,
        };
        buffer.clear();
        // The machine has stopped after this was sent. Its next sender cuts it off before it sits down; a
        // sender that sits there has found it whole.
        let present = link.is_met();
        if !present || positions(link, self.log.capacity)?.1 != in_ {
            return Ok(false);
        }
        Err(match bad {
            Bad::Position(found) => corrupt("frame's position", found, out),
            Bad::Length(found) => corrupt("frame's length", found, in_ - out),
            Bad::Checksum { found, expected } => {
                corrupt("frame's checksum", found.into(), expected.into())
            }
        })
    }

    fn wait(&mut self, link: &Link, until: Instant) -> Result<(), Fault> {
        self.watch.empty()?;
        let waits = link.memory.word(header::WAITS[link.side as usize]);
        // SeqCst: before the look.
        waits.store(1, SeqCst);
        let (out, in_) = positions(link, self.log.capacity)?;
        let blocked = match link.side {
            Side::Sender => in_ - out + self.needed > self.log.capacity,
            Side::Receiver => in_ == out,
        };
        // A frame that is not whole is waited for, too.
        if blocked && !link.is_stale() {
            self.watch.sleep(until)?;
        }
        waits.store(0, SeqCst);
        Ok(())
    }

    fn wake(&mut self, link: &Link) {
        // If it cannot be written, the sleeper looks again.
        let _ = bell(&link.file);
    }

    fn is_empty(&self, link: &Link) -> bool {
        positions(link, self.log.capacity).is_ok_and(|(out, in_)| out == in_)
    }
}

/// The longest record of a log of so many bytes.
fn longest(capacity: u64) -> u64 {
    (capacity - frame::HEAD).min(1 << 30)
}
