//! How to open a channel: [`Options`].

use crate::ends::{Receiver, Sender};
use crate::link::{WhenClosed, WhenDead};
use crate::medium::Medium;
use annulus_channel::OpenError;
use std::path::Path;

/// How to open or create a channel, in the manner of `std::fs::OpenOptions`.
///
/// Whoever comes first creates it; the numbers of one that is there stay as they are.
///
/// ```
/// use annulus_channel::{Receiver as _, Sender as _};
/// use annulus_classic::{ClassicReceiver, ClassicSender, Options};
///
/// let name = format!("options-example-{}", std::process::id());
/// let mut tx: ClassicSender = Options::new().slots(4).max_record(100).sender(&name)?;
/// let mut rx: ClassicReceiver = Options::new().create(false).receiver(&name)?;
/// tx.send(b"a word")?;
/// let mut record = Vec::new();
/// assert_eq!(rx.recv(&mut record)?, 6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) slots: u64,
    pub(crate) max_record: u64,
    pub(crate) capacity: u64,
    pub(crate) mode: u32,
    pub(crate) create: bool,
    pub(crate) create_new: bool,
    pub(crate) when_dead: WhenDead,
    pub(crate) when_closed: WhenClosed,
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Options {
    /// 64 slots of 64 KiB for a buffer, 4 MiB for a spool; for the user alone; successors of the dead are waited for.
    pub fn new() -> Self {
        Self {
            slots: 64,
            max_record: 1 << 16,
            capacity: 4 << 20,
            mode: 0o600,
            create: true,
            create_new: false,
            when_dead: WhenDead::Wait,
            when_closed: WhenClosed::End,
        }
    }

    /// Slots of a new buffer, N in the textbook, of which N - 1 hold a record at a time: 2 to 2³².
    pub fn slots(&mut self, slots: u64) -> &mut Self {
        self.slots = slots;
        self
    }

    /// The longest record of a new buffer, in bytes: 8 to 2³⁰. A slot takes that much. (A spool's longest record fills it.)
    pub fn max_record(&mut self, bytes: u64) -> &mut Self {
        self.max_record = bytes;
        self
    }

    /// What a new spool holds at most, in bytes, rounded up to a multiple of 8: 64 to 2⁴⁰. A record takes 16 bytes
    /// and its own, rounded up to a multiple of 8. The disk space is taken at once.
    pub fn capacity(&mut self, bytes: u64) -> &mut Self {
        self.capacity = bytes;
        self
    }

    /// The permissions of what is created, less the process's umask. 0600 until told otherwise.
    pub fn mode(&mut self, mode: u32) -> &mut Self {
        self.mode = mode & 0o777;
        self
    }

    /// Whether to create a channel where there is none. True until told otherwise.
    pub fn create(&mut self, create: bool) -> &mut Self {
        self.create = create;
        self
    }

    /// Whether it is an error if the channel is there already.
    pub fn create_new(&mut self, create_new: bool) -> &mut Self {
        self.create_new = create_new;
        self
    }

    /// What a blocked call does when everybody on the other side was killed.
    pub fn when_dead(&mut self, when_dead: WhenDead) -> &mut Self {
        self.when_dead = when_dead;
        self
    }

    /// What a receiver does when every sender has closed and all is received.
    ///
    /// ```
    /// use annulus_channel::{Receiver as _, Sender as _};
    /// use annulus_classic::{ClassicReceiver, ClassicSender, Options, WhenClosed};
    ///
    /// let name = format!("when-closed-example-{}", std::process::id());
    /// let mut rx: ClassicReceiver = Options::new().when_closed(WhenClosed::Wait).receiver(&name)?;
    /// let mut record = Vec::new();
    /// for word in [b"one", b"two"] {
    ///     // A sender after the other, by the same buffer.
    ///     let mut tx: ClassicSender = Options::new().create(false).sender(&name)?;
    ///     tx.send(word)?;
    ///     drop(tx);
    ///     rx.recv(&mut record)?;
    ///     assert_eq!(record, word);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn when_closed(&mut self, when_closed: WhenClosed) -> &mut Self {
        self.when_closed = when_closed;
        self
    }

    /// Attaches a sender to the channel of this name: the name of a buffer, or the path of a spool.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: bad name, not there, there already, not permitted, side taken, no space, something else there.
    pub fn sender<M: Medium>(&self, name: impl AsRef<Path>) -> Result<Sender<M>, OpenError> {
        Sender::open(self, name.as_ref())
    }

    /// Attaches a receiver to the channel of this name: the name of a buffer, or the path of a spool.
    ///
    /// # Errors
    ///
    /// As [`sender`](Self::sender).
    pub fn receiver<M: Medium>(&self, name: impl AsRef<Path>) -> Result<Receiver<M>, OpenError> {
        Receiver::open(self, name.as_ref())
    }
}
