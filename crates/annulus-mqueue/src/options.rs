//! How a queue is to be opened: [`QueueOptions`].

use crate::kernel::Plan;
use crate::name::Name;
use crate::open;
use crate::queue::{Posix, Queue, SystemV};
use annulus_channel::OpenError;

/// How to open a queue, in the manner of `std::fs::OpenOptions`.
///
/// ```
/// use annulus_mqueue::QueueOptions;
///
/// let name = format!("/annulus-doc-options-{}", std::process::id());
/// let queue = QueueOptions::new()
///     .create(true)
///     .capacity(4)
///     .max_record(256)
///     .unlink_when_finished(true)
///     .posix(&name)?;
/// let (mut sender, mut receiver) = (queue.sender()?, queue.receiver()?);
/// sender.send(b"a word")?;
/// let mut record = Vec::new();
/// receiver.recv(&mut record)?;
/// assert_eq!(record, b"a word");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct QueueOptions {
    pub(crate) plan: Plan,
    pub(crate) create: bool,
    pub(crate) create_new: bool,
    pub(crate) unlink_when_finished: bool,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl QueueOptions {
    /// Opens an existing queue, until told otherwise.
    pub fn new() -> Self {
        let plan = Plan {
            mode: 0o600,
            ..Plan::default()
        };
        Self {
            plan,
            create: false,
            create_new: false,
            unlink_when_finished: false,
        }
    }

    /// How much a new queue holds: records (POSIX; `fs.mqueue.msg_default` if not set), or bytes (System V;
    /// `kernel.msgmnb` if not set). An existing queue must hold the same.
    pub fn capacity(&mut self, capacity: usize) -> &mut Self {
        self.plan.capacity = Some(capacity);
        self
    }

    /// The longest record of a new queue, in bytes. If not set, `fs.mqueue.msgsize_default` (POSIX) or
    /// `kernel.msgmax` (System V). An existing queue must have the same.
    pub fn max_record(&mut self, bytes: usize) -> &mut Self {
        self.plan.max_record = Some(bytes);
        self
    }

    /// The permissions of a new queue and its companion, less the process's umask. 0600 if not set.
    pub fn mode(&mut self, mode: u32) -> &mut Self {
        self.plan.mode = mode;
        self
    }

    /// Creates the queue if there is none. Opens it, if there is one.
    pub fn create(&mut self, create: bool) -> &mut Self {
        self.create = create;
        self
    }

    /// Creates the queue, and fails if there is one.
    pub fn create_new(&mut self, create_new: bool) -> &mut Self {
        self.create_new = create_new;
        self
    }

    /// Lets the last handle to close remove a new queue, once a sender has come and gone and everything was received.
    pub fn unlink_when_finished(&mut self, unlink: bool) -> &mut Self {
        self.unlink_when_finished = unlink;
        self
    }

    /// Opens or creates the POSIX queue of this name, with or without the slash at the beginning.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: the reason may be any but `Taken`, `Stranger` and `TimedOut`. Limits are named with their
    /// settings: `fs.mqueue.msg_max`, `fs.mqueue.msgsize_max`, `fs.mqueue.queues_max`, `RLIMIT_MSGQUEUE`.
    pub fn posix(&self, name: &str) -> Result<Queue<Posix>, OpenError> {
        open::open(self, &Name::posix(name)?).map(Queue::new)
    }

    /// Opens or creates the System V queue with this key, as [`Name::sysv`] reads it.
    ///
    /// ```
    /// use annulus_mqueue::QueueOptions;
    ///
    /// let word = format!("annulus-doc-sysv-{}", std::process::id());
    /// let queue = QueueOptions::new().create(true).capacity(4096).sysv(&word)?;
    /// queue.sender()?.send(b"for whoever comes")?;
    /// let mut record = Vec::new();
    /// queue.receiver()?.recv(&mut record)?;
    /// assert_eq!(record, b"for whoever comes");
    /// queue.remove()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`posix`](Self::posix), with the settings `kernel.msgmax`, `kernel.msgmnb`, `kernel.msgmni`.
    pub fn sysv(&self, key: &str) -> Result<Queue<SystemV>, OpenError> {
        open::open(self, &Name::sysv(key)?).map(Queue::new)
    }
}
