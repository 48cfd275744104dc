//! How a channel is to be opened.

use crate::error::OpenError;
use crate::url::{Scheme, Url};
use annulus::{Kind, WhenClosed, WhenDead};
use std::path::PathBuf;
use std::time::Duration;

/// The two ends of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Records go in.
    Sender,
    /// Records come out.
    Receiver,
}

/// How to open a channel, in the manner of `std::fs::OpenOptions`. What is not set is the transport's own default.
///
/// An option that means nothing for a transport is an error when it is opened, not something to ignore:
///
/// ```
/// use annulus_transports::{Options, Url, open_sender};
///
/// let url: Url = "tcp:127.0.0.1:7000".parse()?;
/// let Err(error) = open_sender(&url, Options::new().mode(0o660)) else { unreachable!() };
/// assert!(error.to_string().contains("the option mode does not apply"));
/// # Ok::<(), annulus_transports::OpenError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub(crate) create: bool,
    /// And is an error if it is there. For a fallback's offers.
    pub(crate) create_new: bool,
    pub(crate) kind: Option<Kind>,
    pub(crate) capacity: Option<usize>,
    pub(crate) max_record: Option<usize>,
    pub(crate) mode: Option<u32>,
    pub(crate) keep: bool,
    pub(crate) wait: Option<Duration>,
    pub(crate) when_dead: Option<WhenDead>,
    pub(crate) when_closed: Option<WhenClosed>,
    pub(crate) tls: Option<TlsFiles>,
}

/// The files of one end under TLS.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "nobody reads them"))]
pub(crate) struct TlsFiles {
    pub(crate) authority: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Options {
    /// Opens what is there, until told otherwise.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates the channel if it is not there. A socket or a FIFO is always created by its receiver, and takes no such word.
    pub fn create(&mut self, create: bool) -> &mut Self {
        self.create = create;
        self
    }

    /// How many may act on each side of a ring: of a new one; an existing one has to be of this kind. Rings only.
    pub fn kind(&mut self, kind: Kind) -> &mut Self {
        self.kind = Some(kind);
        self
    }

    /// How much a new channel holds, in bytes. Where the channel is made of slots, as many as that makes. For a FIFO, the size
    /// of the pipe, which its receiver says; the kernel rounds it up. For a socket, what the kernel holds for this end, which
    /// either end says.
    pub fn capacity(&mut self, bytes: usize) -> &mut Self {
        self.capacity = Some(bytes);
        self
    }

    /// The longest record of a new channel, in bytes. Not for rings, whose longest record follows from their capacity, nor for
    /// pipes, FIFOs and spools.
    pub fn max_record(&mut self, bytes: usize) -> &mut Self {
        self.max_record = Some(bytes);
        self
    }

    /// The permissions of a new channel's name, less the umask. 0600 if not set. Not for TCP and UDP. A FIFO or a Unix
    /// socket has exactly these, by its receiver; if somebody else may write to a socket then, whoever connects is let in,
    /// whatever user it is.
    pub fn mode(&mut self, mode: u32) -> &mut Self {
        self.mode = Some(mode);
        self
    }

    /// Leaves the name of a new ring or message queue when all have finished and nothing is in it; a file always stays.
    pub fn keep(&mut self, keep: bool) -> &mut Self {
        self.keep = keep;
        self
    }

    /// Waits so long for the channel, if there is none yet or nobody listens there.
    pub fn wait(&mut self, limit: Duration) -> &mut Self {
        self.wait = Some(limit);
        self
    }

    /// What a call does when everybody on the other side was killed: wait for a successor, or fail with `PeerDead`.
    /// If not set, it waits where a successor can come.
    pub fn when_dead(&mut self, what: WhenDead) -> &mut Self {
        self.when_dead = Some(what);
        self
    }

    /// What a receiver does when every sender has closed and all is received: say so, which is the default, or wait
    /// for the next one.
    pub fn when_closed(&mut self, what: WhenClosed) -> &mut Self {
        self.when_closed = Some(what);
        self
    }

    /// Who this end is under TLS, and whom it trusts, by files of PEM: the certificate of the authority, or several; its own, with
    /// those between it and the authority; and its key. For `tls:` alone, where either end has to say it. The certificate of the end
    /// that receives has to be for the host by which it is asked for.
    pub fn tls(
        &mut self,
        authority: impl Into<PathBuf>,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> &mut Self {
        self.tls = Some(TlsFiles {
            authority: authority.into(),
            certificate: certificate.into(),
            key: key.into(),
        });
        self
    }

    /// Refuses what means nothing for this channel.
    pub(crate) fn check(&self, url: &Url, side: Side) -> Result<(), OpenError> {
        let scheme = url.scheme();
        let queue = matches!(scheme, Scheme::Mq | Scheme::Sysv);
        let buffer = matches!(scheme, Scheme::Classic | Scheme::Sem);
        let sends = side == Side::Sender;
        let unfit = [
            (
                "kind",
                self.kind.is_some() && scheme != Scheme::Ring,
                "only rings come in kinds",
            ),
            (
                "keep",
                self.keep && !(scheme == Scheme::Ring || queue),
                "only rings and message queues remove their names by themselves, unless kept",
            ),
            (
                "create",
                self.create && scheme.is_met(),
                "its receiver creates it, always",
            ),
            (
                "mode",
                self.mode.is_some() && matches!(scheme, Scheme::Tcp | Scheme::Tls | Scheme::Udp),
                "it has no permissions to choose",
            ),
            (
                "mode",
                self.mode.is_some() && scheme.is_met() && sends,
                "its receiver chooses them",
            ),
            (
                "capacity",
                self.capacity.is_some() && scheme == Scheme::Fifo && sends,
                "its receiver chooses how much it holds",
            ),
            (
                "tls",
                self.tls.is_some() && scheme != Scheme::Tls,
                "only tls: has certificates",
            ),
            (
                "max_record",
                self.max_record.is_some() && !(scheme.is_socket() || queue || buffer),
                "its longest record follows from its capacity",
            ),
        ];
        match unfit.into_iter().find(|(_, unfit, _)| *unfit) {
            Some((option, _, reason)) => Err(OpenError::Option {
                url: url.clone(),
                option,
                reason,
            }),
            None => Ok(()),
        }
    }
}
