//! Sockets behind the facade: the receiver listens, the sender connects.
//!
//! A receiver that was told to wait is open when a sender has connected. Otherwise it is open at once, and the call that
//! waits for a record waits for the sender first. That call may then take up to a second longer than it was
//! given, for somebody who connects and does not say who it is.

use crate::error::OpenError;
use crate::options::Options;
use crate::url::Url;
use crate::{BoxedReceiver, BoxedSender};
use annulus::{WhenClosed, WhenDead};
use annulus_channel::Receiver as _;
use annulus_channel::{
    Boundaries, Capabilities, Fault, OpenReason, Order, RecvError, RecvTimeoutError, TryRecvError,
};
#[cfg(feature = "tls")]
use annulus_socket::Tls;
use annulus_socket::{Address, Listener, Receiver, Sender, SocketOptions};
use std::time::{Duration, Instant};

/// How long one who connects may take to say who it is.
const GREETING: Duration = Duration::from_secs(1);

/// How long a sender waits, unless told, for an answer from somebody who may just be about to accept.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) fn sender(url: &Url, options: &Options) -> Result<BoxedSender, OpenError> {
    let address = address(url);
    let socket = settle(url, options)?;
    let sender: Result<Sender, _> = match (options.wait, &address) {
        (Some(limit), _) => socket.connect_deadline(&address, Instant::now() + limit),
        // A machine that does not answer cannot be told from one that will.
        (None, Address::Udp(_)) => socket.connect_once(&address, Instant::now() + PATIENCE),
        (None, _) => socket.connect(&address),
    };
    Ok(Box::new(sender.map_err(|error| named(url, error))?))
}

/// The error under the name that was asked for: to the adapter, `tls:` is `tcp:` with an option.
fn named(url: &Url, error: annulus_channel::OpenError) -> annulus_channel::OpenError {
    match url {
        Url::Tls(_) => annulus_channel::OpenError::new(url, error.reason),
        _ => error,
    }
}

/// The receiving end, and where it listens.
pub(crate) fn receiver(url: &Url, options: &Options) -> Result<(BoxedReceiver, Url), OpenError> {
    let socket = settle(url, options)?;
    let listener = socket.listen(&address(url));
    let listener = listener.map_err(|error| named(url, received(url, error)))?;
    let at = found(url, listener.address());
    let mut accepting = Accepting {
        // With the port that was found where none was asked for.
        address: listener.address().clone(),
        options: socket,
        listener: Some(listener),
        connection: None,
        lost: 0,
        past_close: options.when_closed == Some(WhenClosed::Wait),
        past_death: options.when_dead == Some(WhenDead::Wait),
    };
    if let Some(limit) = options.wait {
        if !accepting.accept(Some(Instant::now() + limit))? {
            return Err(annulus_channel::OpenError::new(url, OpenReason::TimedOut).into());
        }
    }
    Ok((Box::new(accepting), at))
}

/// The better word for a path that is taken by a socket: somebody listens there already. A file there is another matter.
fn received(url: &Url, error: annulus_channel::OpenError) -> annulus_channel::OpenError {
    use std::os::unix::fs::FileTypeExt;
    let (Url::Unix(path) | Url::UnixSeqpacket(path) | Url::UnixDgram(path)) = url else {
        return error;
    };
    let found = path.symlink_metadata();
    let reason = match error.reason {
        OpenReason::Exists if found.is_ok_and(|found| found.file_type().is_socket()) => {
            OpenReason::Taken {
                side: "receiver",
                pid: 0,
            }
        }
        reason => reason,
    };
    annulus_channel::OpenError { reason, ..error }
}

/// The name by which senders find it: with the port that was found, if none was asked for.
fn found(url: &Url, address: &Address) -> Url {
    match (url, address) {
        (Url::Tcp(asked), Address::Tcp(at)) if has_no_port(asked) => Url::Tcp(at.clone()),
        (Url::Tls(asked), Address::Tcp(at)) if has_no_port(asked) => {
            // The certificate is for the host that was asked for.
            let host = asked.rsplit_once(':').map_or("", |(host, _)| host);
            let port = at.rsplit_once(':').map_or("", |(_, port)| port);
            Url::Tls(format!("{host}:{port}"))
        }
        (Url::Udp(asked), Address::Udp(at)) if has_no_port(asked) => Url::Udp(at.clone()),
        _ => url.clone(),
    }
}

fn has_no_port(place: &str) -> bool {
    let port = place.rsplit_once(':').map(|(_, port)| port);
    port.and_then(|port| port.parse::<u16>().ok()) == Some(0)
}

/// Puts it under TLS, if it is to be.
fn secure(socket: &mut SocketOptions, url: &Url, options: &Options) -> Result<(), OpenError> {
    if !matches!(url, Url::Tls(_)) {
        return Ok(());
    }
    #[cfg(feature = "tls")]
    match &options.tls {
        Some(files) => {
            let tls = Tls::from_files(&files.authority, &files.certificate, &files.key)?;
            socket.tls(tls);
            Ok(())
        }
        None => Err(OpenError::Unfit {
            url: url.clone(),
            reason: "it needs the files of an authority, of a certificate and of its key",
        }),
    }
    #[cfg(not(feature = "tls"))]
    {
        let _ = (socket, options);
        Err(crate::open::left_out(url))
    }
}

fn settle(url: &Url, options: &Options) -> Result<SocketOptions, OpenError> {
    let mut socket = SocketOptions::new();
    secure(&mut socket, url, options)?;
    if let Some(mode) = options.mode {
        socket.mode(mode);
        // Then the file's rights say who may come.
        if mode & 0o022 != 0 {
            socket.any_user();
        }
    }
    if let Some(bytes) = options.capacity {
        socket.buffer(bytes);
    }
    if let Some(bytes) = options.max_record {
        socket.max_record(bytes);
    }
    Ok(socket)
}

fn address(url: &Url) -> Address {
    match url {
        Url::Unix(path) => Address::UnixStream(path.clone()),
        Url::UnixSeqpacket(path) => Address::UnixSeqpacket(path.clone()),
        Url::UnixDgram(path) => Address::UnixDatagram(path.clone()),
        Url::Tcp(place) | Url::Tls(place) => Address::Tcp(place.clone()),
        Url::Udp(place) => Address::Udp(place.clone()),
        other => unreachable!("no socket: {other}"),
    }
}

/// A receiver that listens until somebody connects, and again when that one has gone, if the next one is waited for.
struct Accepting {
    address: Address,
    options: SocketOptions,
    /// Nothing while there is a connection, if it is the only one.
    listener: Option<Listener>,
    connection: Option<Receiver>,
    /// What the connections before this one have lost.
    lost: u64,
    past_close: bool,
    past_death: bool,
}

impl Accepting {
    /// Waits for a connection, not after `until`; false if none came.
    fn accept(&mut self, until: Option<Instant>) -> Result<bool, annulus_channel::OpenError> {
        loop {
            let listener = match &mut self.listener {
                Some(listener) => listener,
                // A UDP socket has become the connection that went.
                none => none.insert(self.options.listen(&self.address)?),
            };
            if !listener.has_come(until)? {
                return Ok(false);
            }
            let soon = Instant::now() + GREETING;
            match listener.accept_deadline(until.map_or(soon, |until| until.max(soon))) {
                Ok(connection) => {
                    self.connection = Some(connection);
                    let is_udp = matches!(self.address, Address::Udp(_));
                    if is_udp || !(self.past_close || self.past_death) {
                        self.listener = None;
                    }
                    return Ok(true);
                }
                // Whoever came was refused, or said nothing: the next one may be right.
                Err(error) => match error.reason {
                    OpenReason::Stranger { .. }
                    | OpenReason::Mismatch { .. }
                    | OpenReason::TimedOut => {}
                    _ => return Err(error),
                },
            }
        }
    }

    /// The connection, waiting for one not after `until`; nothing if none came.
    fn connection(&mut self, until: Option<Instant>) -> Result<Option<&mut Receiver>, Fault> {
        if self.connection.is_none() {
            self.accept(until).map_err(|error| match error.reason {
                OpenReason::Os { call, errno } => Fault::Os { call, errno },
                _ => Fault::Os {
                    call: "listening",
                    errno: 0,
                },
            })?;
        }
        Ok(self.connection.as_mut())
    }

    /// Goes on after this end, or gives it back.
    fn pass(&mut self, end: RecvError) -> Result<(), RecvError> {
        let goes_on = match end {
            RecvError::Disconnected => self.past_close,
            RecvError::PeerDead => self.past_death,
            _ => false,
        };
        match goes_on {
            true => {
                let gone = self.connection.take();
                self.lost += gone.map_or(0, |gone| gone.lost());
                Ok(())
            }
            false => Err(end),
        }
    }
}

impl annulus_channel::Receiver for Accepting {
    fn try_recv(&mut self, buffer: &mut Vec<u8>) -> Result<usize, TryRecvError> {
        buffer.clear();
        loop {
            let connection = self.connection(Some(Instant::now()));
            let Some(connection) = connection.map_err(TryRecvError::Fault)? else {
                return Err(TryRecvError::Empty);
            };
            let end = match connection.try_recv(buffer) {
                Err(TryRecvError::Disconnected) => RecvError::Disconnected,
                Err(TryRecvError::PeerDead) => RecvError::PeerDead,
                done => return done,
            };
            self.pass(end).map_err(TryRecvError::from)?;
        }
    }

    fn recv(&mut self, buffer: &mut Vec<u8>) -> Result<usize, RecvError> {
        buffer.clear();
        loop {
            let Some(connection) = self.connection(None).map_err(RecvError::Fault)? else {
                continue;
            };
            match connection.recv(buffer) {
                Err(end) => self.pass(end)?,
                done => return done,
            }
        }
    }

    fn recv_deadline(
        &mut self,
        buffer: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<usize, RecvTimeoutError> {
        buffer.clear();
        loop {
            let connection = self.connection(Some(deadline));
            let Some(connection) = connection.map_err(RecvTimeoutError::Fault)? else {
                return Err(RecvTimeoutError::Timeout);
            };
            let end = match connection.recv_deadline(buffer, deadline) {
                Err(RecvTimeoutError::Disconnected) => RecvError::Disconnected,
                Err(RecvTimeoutError::PeerDead) => RecvError::PeerDead,
                done => return done,
            };
            self.pass(end).map_err(RecvTimeoutError::from)?;
        }
    }

    fn lost(&self) -> u64 {
        self.lost + self.connection.as_ref().map_or(0, |it| it.lost())
    }

    fn capabilities(&self) -> Capabilities {
        match &self.connection {
            Some(connection) => connection.capabilities(),
            // What every connection here will say.
            None => Capabilities {
                order: Order::Total,
                lossy: matches!(self.address, Address::Udp(_)),
                many_senders: false,
                many_receivers: false,
                persistent: false,
                crosses_machines: matches!(self.address, Address::Tcp(_) | Address::Udp(_)),
                boundaries: match self.address {
                    Address::UnixStream(_) | Address::Tcp(_) => Boundaries::Framed,
                    _ => Boundaries::Native,
                },
                // The sender has a say in it.
                max_record: None,
            },
        }
    }
}

/// Removes the file of a socket that nobody listens at.
pub(crate) fn remove(url: &Url) -> Result<(), OpenError> {
    let (Url::Unix(path) | Url::UnixSeqpacket(path) | Url::UnixDgram(path)) = url else {
        return Err(OpenError::Unfit {
            url: url.clone(),
            reason: "it leaves nothing to remove",
        });
    };
    if annulus_socket::remove_stale(path)? {
        return Ok(());
    }
    use std::os::unix::fs::FileTypeExt;
    let error = |reason| Err(annulus_channel::OpenError::new(url, reason).into());
    match path.symlink_metadata() {
        Err(_) => error(OpenReason::NotFound),
        Ok(found) if found.file_type().is_socket() => Err(OpenError::Busy {
            url: url.clone(),
            pid: 0,
        }),
        Ok(_) => error(OpenReason::Mismatch {
            what: "file type",
            expected: "a socket".to_owned(),
            found: "something else".to_owned(),
        }),
    }
}
