//! How pipes and FIFOs are made and opened.

use crate::fifo::{self, End, FifoReceiver, FifoSender};
use crate::pipe::{NAME, PipeReceiver, PipeSender};
use crate::stream::set_capacity;
use annulus_channel::{OpenError, OpenReason};
use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use std::path::Path;
use std::time::Duration;

/// Makes anonymous pipes.
///
/// ```
/// use annulus_pipe::PipeOptions;
///
/// let (sender, receiver) = PipeOptions::new().capacity(1 << 20).pair()?;
/// # Ok::<(), annulus_channel::OpenError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct PipeOptions {
    capacity: Option<usize>,
}

impl PipeOptions {
    /// A pipe of the kernel's usual size: 64 KiB.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes the pipe holds, rounded up to a power of two of pages. Records have five bytes more each, and in a
    /// FIFO nine bytes in each 4096.
    ///
    /// ```
    /// use annulus_pipe::PipeOptions;
    ///
    /// let error = PipeOptions::new().capacity(1 << 40).pair().unwrap_err();
    /// assert!(error.to_string().contains("1099511627776 needed"));
    /// assert!(error.to_string().contains("fs.pipe-max-size"));
    /// ```
    pub fn capacity(&mut self, bytes: usize) -> &mut Self {
        self.capacity = Some(bytes);
        self
    }

    /// Makes a pipe: its sender and its receiver. Their descriptors are closed on exec.
    ///
    /// # Errors
    ///
    /// [`OpenReason::Limit`] if the system does not allow the capacity: `fs.pipe-max-size` for one pipe,
    /// `fs.pipe-user-pages-soft` for all of a user's together; and what the operating system says, such as that there
    /// are too many open files.
    pub fn pair(&self) -> Result<(PipeSender, PipeReceiver), OpenError> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| {
            let (call, errno) = ("pipe2", errno as i32);
            OpenError::new(NAME, OpenReason::Os { call, errno })
        })?;
        if let Some(bytes) = self.capacity {
            set_capacity(&writer, NAME, bytes)?;
        }
        Ok((PipeSender::from_fd(writer)?, PipeReceiver::from_fd(reader)?))
    }
}

/// Opens FIFOs.
///
/// ```
/// use annulus_channel::{Receiver, Sender};
/// use annulus_pipe::FifoOptions;
///
/// let path = std::env::temp_dir().join(format!("annulus-fifo-{}", std::process::id()));
/// let mut receiver = FifoOptions::new().receiver(&path)?;
/// let mut sender = FifoOptions::new().sender(&path)?;
/// sender.send(b"a record")?;
/// assert_eq!(receiver.recv(&mut Vec::new())?, 8);
/// drop(receiver);
/// assert!(!path.exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FifoOptions {
    capacity: Option<usize>,
    mode: u32,
    patience: Duration,
}

impl Default for FifoOptions {
    fn default() -> Self {
        Self {
            capacity: None,
            mode: 0o600,
            patience: Duration::from_secs(10),
        }
    }
}

impl FifoOptions {
    /// A FIFO of the kernel's usual size, 64 KiB, for this user alone; a sender waits for a receiver for ten seconds.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes the FIFO holds, as [`PipeOptions::capacity`]. The receiver sets it.
    pub fn capacity(&mut self, bytes: usize) -> &mut Self {
        self.capacity = Some(bytes);
        self
    }

    /// Who may open the FIFO, as in `chmod`; 0600 unless asked otherwise, and the owner always may. The receiver sets it. Whoever
    /// is to send has to write. Bits for execution are the library's own marks, and are not set.
    ///
    /// A sender of another user, other than root, cannot leave a mark when it closes: if no other has left one, it seems to have
    /// been killed.
    ///
    /// ```
    /// use annulus_pipe::FifoOptions;
    /// use std::os::unix::fs::PermissionsExt;
    ///
    /// let path = std::env::temp_dir().join(format!("annulus-mode-{}", std::process::id()));
    /// let receiver = FifoOptions::new().mode(0o620).receiver(&path)?;
    /// assert_eq!(path.metadata()?.permissions().mode() & 0o777, 0o620);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn mode(&mut self, mode: u32) -> &mut Self {
        self.mode = mode;
        self
    }

    /// How long [`sender`](Self::sender) waits for a receiver to come. [`Duration::MAX`] is for ever, zero only looks.
    ///
    /// ```
    /// use annulus_channel::OpenReason;
    /// use annulus_pipe::FifoOptions;
    /// use std::time::Duration;
    ///
    /// let mut options = FifoOptions::new();
    /// let nobody = options.patience(Duration::ZERO).sender("/tmp/nobody-receives-here").unwrap_err();
    /// assert_eq!(nobody.reason, OpenReason::NotFound);
    /// ```
    pub fn patience(&mut self, time: Duration) -> &mut Self {
        self.patience = time;
        self
    }

    /// Makes a FIFO at `path`, for this user alone unless [`mode`](Self::mode) says otherwise, and receives from it. It lasts until its receiver closes, or until
    /// its last sender has gone; then the path is free again. What a killed receiver has left there is replaced.
    ///
    /// Never waits for senders.
    ///
    /// # Errors
    ///
    /// [`OpenReason::Taken`] if somebody living receives there; [`OpenReason::Mismatch`] if there is something
    /// else, such as a file, or a FIFO that somebody else made; [`OpenReason::NotFound`] or [`OpenReason::Permission`] of
    /// its directory; [`OpenReason::Limit`] as [`PipeOptions::pair`].
    pub fn receiver(&self, path: impl AsRef<Path>) -> Result<FifoReceiver, OpenError> {
        fifo::receiver(path.as_ref(), self.mode, self.capacity)
    }

    /// Sends to the FIFO at `path`, together with whoever else does. Waits for its receiver: until there is a
    /// FIFO whose receiver lives.
    ///
    /// # Errors
    ///
    /// [`OpenReason::TimedOut`] if no receiver came in time, [`OpenReason::NotFound`] if it was not to wait; the others as [`receiver`](Self::receiver).
    pub fn sender(&self, path: impl AsRef<Path>) -> Result<FifoSender, OpenError> {
        fifo::sender(path.as_ref(), self.patience)
    }

    /// Opens one end of a pair of FIFOs, for two processes that both send and receive: each makes the FIFO that it
    /// receives from, and waits for that of the other. They are called `path` with `.1` and `.2` after it.
    ///
    /// ```
    /// use annulus_channel::{Receiver, Sender};
    /// use annulus_pipe::{End, FifoOptions};
    ///
    /// let path = std::env::temp_dir().join(format!("annulus-both-{}", std::process::id()));
    /// let there = path.clone();
    /// let echo = std::thread::spawn(move || {
    ///     let (mut sender, mut receiver) = FifoOptions::new().both(there, End::Two).unwrap();
    ///     let mut record = Vec::new();
    ///     receiver.recv(&mut record).unwrap();
    ///     sender.send(&record).unwrap();
    /// });
    /// let (mut sender, mut receiver) = FifoOptions::new().both(path, End::One)?;
    /// sender.send(b"there and back")?;
    /// assert_eq!(receiver.recv(&mut Vec::new())?, 14);
    /// echo.join().unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`receiver`](Self::receiver) and [`sender`](Self::sender).
    pub fn both(
        &self,
        path: impl AsRef<Path>,
        end: End,
    ) -> Result<(FifoSender, FifoReceiver), OpenError> {
        let [own, other] = fifo::both(path.as_ref(), end);
        let receiver = self.receiver(own)?;
        Ok((self.sender(other)?, receiver))
    }
}
