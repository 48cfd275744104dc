//! The textbook's buffer with the textbook's semaphores, and what the textbook leaves out: a process may be killed
//! anywhere.
//!
//! ```text
//! producer  wait(empty);  wait(mutex);       consumer  wait(full);  wait(mutex);
//!           buffer[in] = item;                         item = buffer[out];
//!           in = (in + 1) % N;                         out = (out + 1) % N;
//!           signal(mutex);  signal(full);              signal(mutex);  signal(empty);
//! ```
//!
//! A semaphore does not know who has taken a unit of it. What a dead process took is gone: a unit of `mutex` blocks everybody
//! for ever, a unit of `empty` or `full` costs a slot. So the semaphores say only when to sleep and when to wake. What is true
//! stands in the shared memory, where each step is one store:
//!
//! - **Who is inside** is the word `owner`. Who has waited for `mutex` enters by swapping 0 for the name of its seat, and
//!   leaves by storing 0, then signals. Who has waited for [`PATIENCE`] in vain looks at the word. If the kernel says that
//!   its owner is dead, or if it is 0 (then somebody died between the semaphore and the word, or is very slow), it swaps
//!   the word for its own name and is inside. Two are never inside, as there is one word; who was too slow
//!   finds it taken and waits again. A stopped owner is waited for.
//! - **What is there** are the indices `in` and `out`. Who has a unit of `empty` and finds the buffer full, throws the unit
//!   away; who has none and finds room, goes on without. So whatever the dead took is made up for by the first
//!   who looks, and a unit too many costs one look. Sleepers look every 50 ms.
//!
//! A unit of `mutex` too many may come of somebody very slow. It lets one more process look at `owner`, and is used
//! up by that.

use crate::buffer::Buffer;
use crate::header::{self, Shape};
use crate::link::{Link, Side};
use crate::medium::{Carry, Medium};
use crate::options::Options;
use crate::place::Place;
use crate::semaphore::{self, Semaphore};
use annulus_channel::{Boundaries, Capabilities, Fault, OpenError, OpenReason, Order};
use annulus_fd::limits::no_space;
use annulus_fd::names::DIR;
use nix::errno::Errno;
use std::path::Path;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::time::{Duration, Instant};

/// How long a process waits for `mutex` before it asks who has it: longer than anybody living is inside, as a rule.
const PATIENCE: Duration = Duration::from_millis(20);

/// How long a call that does not wait for room or a record waits for `mutex` while its living owner copies: a stopped one
/// is not waited for.
const TRY_PATIENCE: Duration = Duration::from_millis(100);

/// The textbook's bounded buffer, guarded by the semaphores `empty`, `full` and `mutex`. Up to 64 senders and as many
/// receivers. `sem:NAME`.
///
/// A killed holder of `mutex` holds the others up for 20 ms. A record whose sender was killed before `in` moved is not there;
/// one whose receiver was killed before `out` moved goes to another.
#[derive(Debug)]
pub struct Sem {
    buffer: Buffer,
    /// What this side waits for, and what it signals.
    mine: Semaphore,
    others: Semaphore,
    mutex: Semaphore,
    /// A unit of `mine` that a wait has taken and no attempt has used yet.
    unit: bool,
}

impl Medium for Sem {}

/// Where a killed process stops: for tests.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It has a unit of `empty` or `full`.
    Promised,
    /// It has `mutex`, and `owner` does not say so.
    Unnamed,
    /// It is inside.
    Inside,
    /// It has moved its index, left, and not signalled `full` or `empty`.
    Unsignalled,
}

fn names(place: &Place) -> [String; 3] {
    let file = place.path.file_name().unwrap_or_default();
    let file = file.to_string_lossy();
    ["empty", "full", "mutex"].map(|which| format!("/{file}.{which}"))
}

fn refused(errno: Errno) -> OpenReason {
    match errno {
        Errno::EACCES => OpenReason::Permission,
        // A semaphore is a file of one page.
        Errno::ENOSPC => no_space(Path::new(DIR), 4096),
        errno => OpenReason::Os {
            call: "sem_open",
            errno: errno as i32,
        },
    }
}

impl Sem {
    /// Makes the semaphores anew, for whoever is the first: with what the indices say.
    fn create(
        link: &Link,
        names: &[String; 3],
        buffer: &Buffer,
        mode: u32,
    ) -> Result<[Semaphore; 3], OpenReason> {
        let full = buffer.len(&link.memory).map_err(|fault| match fault {
            Fault::Corrupt {
                what,
                found,
                expected,
            } => OpenReason::Mismatch {
                what,
                expected: format!("at most {expected}"),
                found: found.to_string(),
            },
            _ => OpenReason::NotFound,
        })?;
        let create = |number: usize, value: u64| {
            match semaphore::unlink(&names[number]) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(refused(errno)),
            }
            // The buffer has at most 2³² slots; a semaphore that cannot count them all counts fewer.
            let value = value.min(i32::MAX as u64) as u32;
            Semaphore::create(&names[number], mode, value).map_err(refused)
        };
        // Release: whoever comes comes by the door.
        link.memory.word(header::OWNER).store(0, Release);
        Ok([
            create(0, buffer.room() - full)?,
            create(1, full)?,
            create(2, 1)?,
        ])
    }

    /// wait(mutex). False if somebody living is inside for so long.
    fn enter(&self, link: &Link, patience: Duration) -> bool {
        let owner = link.memory.word(header::OWNER);
        let since = Instant::now();
        loop {
            self.mutex.wait_until(Instant::now() + PATIENCE);
            // Acquire: what the one before did is visible. It pairs with the Release in `leave`; the kernel orders the last
            // stores of the dead before the loss of their locks.
            match owner.compare_exchange(0, link.word, AcqRel, Acquire) {
                Ok(_) => return true,
                Err(other) if other == link.word => return true,
                Err(other) => {
                    let dead = !link.is_alive(other);
                    let swap = || owner.compare_exchange(other, link.word, AcqRel, Acquire);
                    if dead && swap().is_ok() {
                        return true;
                    }
                }
            }
            if since.elapsed() >= patience {
                return false;
            }
        }
    }

    /// signal(mutex).
    fn leave(&self, link: &Link) {
        // Release: pairs with the Acquire in `enter`.
        link.memory.word(header::OWNER).store(0, Release);
        self.mutex.post();
    }

    /// One of the textbook's two procedures; `blocked` and `step` are its side of the buffer.
    fn act(
        &mut self,
        link: &Link,
        blocked: impl Fn(&Buffer) -> Result<bool, Fault>,
        step: impl FnOnce(&Buffer) -> Result<bool, Fault>,
    ) -> Result<bool, Fault> {
        // wait(empty), wait(full): without a unit, only if the indices say so.
        let unit = std::mem::take(&mut self.unit) || self.mine.try_wait();
        if !unit && blocked(&self.buffer)? {
            return Ok(false);
        }
        if !self.enter(link, TRY_PATIENCE) {
            if unit {
                self.mine.post();
            }
            return Ok(false);
        }
        let done = step(&self.buffer);
        self.leave(link);
        if done == Ok(true) {
            self.others.post();
        }
        done
    }
}

impl Carry for Sem {
    const WORD: &'static str = "sem";
    const KIND: u64 = 2;
    const CAPABILITIES: Capabilities = Capabilities {
        order: Order::Total,
        lossy: false,
        many_senders: true,
        many_receivers: true,
        persistent: false,
        crosses_machines: false,
        boundaries: Boundaries::Native,
        max_record: None,
    };
    const PASSES: bool = true;

    fn place(name: &Path) -> Result<Place, OpenError> {
        Place::shm(Self::WORD, name)
    }

    fn shape(options: &Options) -> Result<Shape, OpenReason> {
        Buffer::shape(options)
    }

    fn mapped(shape: &Shape) -> Option<usize> {
        Buffer::mapped(shape)
    }

    fn attach(link: &Link, shape: &Shape, mode: u32) -> Result<Self, OpenReason> {
        let buffer = Buffer::new(shape);
        let names = names(&link.place);
        let [empty, full, mutex] = if link.is_alone() {
            Self::create(link, &names, &buffer, mode)?
        } else {
            let open = |number: usize| Semaphore::open(&names[number]).map_err(refused);
            [open(0)?, open(1)?, open(2)?]
        };
        let (mine, others) = match link.side {
            Side::Sender => (empty, full),
            Side::Receiver => (full, empty),
        };
        Ok(Self {
            buffer,
            mine,
            others,
            mutex,
            unit: false,
        })
    }

    fn put(&mut self, link: &mut Link, record: &[u8]) -> Result<bool, Fault> {
        let memory = &link.memory;
        self.act(
            link,
            |buffer| buffer.is_full(memory),
            |buffer| buffer.put(memory, record),
        )
    }

    fn take(&mut self, link: &mut Link, into: &mut Vec<u8>) -> Result<bool, Fault> {
        let memory = &link.memory;
        self.act(
            link,
            |buffer| buffer.is_empty(memory),
            |buffer| buffer.take(memory, into),
        )
    }

    fn wait(&mut self, _link: &Link, until: Instant) -> Result<(), Fault> {
        self.unit = self.unit || self.mine.wait_until(until);
        Ok(())
    }

    fn give_up(&mut self) {
        if std::mem::take(&mut self.unit) {
            self.mine.post();
        }
    }

    /// A unit for each sleeper, which will find that it means nothing.
    fn wake(&mut self, link: &Link) {
        for _ in 0..link.others_seated() {
            self.others.post();
        }
    }

    fn is_empty(&self, link: &Link) -> bool {
        self.buffer.is_empty(&link.memory).unwrap_or(true)
    }

    fn clean(place: &Place) {
        for name in names(place) {
            // Whoever was killed before may not have made it.
            let _ = semaphore::unlink(&name);
        }
    }
}

impl Sem {
    /// Goes so far and no farther. For tests.
    pub(crate) fn stop_at(
        &mut self,
        link: &Link,
        moment: Moment,
        step: impl FnOnce(&Buffer) -> Result<bool, Fault>,
    ) -> Result<(), Fault> {
        self.mine.try_wait();
        match moment {
            Moment::Promised => {}
            Moment::Unnamed => _ = self.mutex.wait_until(Instant::now() + TRY_PATIENCE),
            Moment::Inside => _ = self.enter(link, TRY_PATIENCE),
            Moment::Unsignalled => {
                self.enter(link, TRY_PATIENCE);
                step(&self.buffer)?;
                self.leave(link);
            }
        }
        Ok(())
    }
}

impl crate::Sender<Sem> {
    /// Sends as far as that moment. For tests, in a process that is killed then.
    #[doc(hidden)]
    pub fn stop_at(&mut self, moment: Moment, record: &[u8]) -> Result<(), Fault> {
        let open = self.parts();
        let link = &open.link;
        let put = |buffer: &Buffer| buffer.put(&link.memory, record);
        open.medium.stop_at(link, moment, put)
    }
}

impl crate::Receiver<Sem> {
    /// Receives as far as that moment. For tests, in a process that is killed then.
    #[doc(hidden)]
    pub fn stop_at(&mut self, moment: Moment, into: &mut Vec<u8>) -> Result<(), Fault> {
        let open = self.parts();
        let link = &open.link;
        let take = |buffer: &Buffer| buffer.take(&link.memory, into);
        open.medium.stop_at(link, moment, take)
    }
}
