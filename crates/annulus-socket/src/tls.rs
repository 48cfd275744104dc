//! TCP under TLS 1.3, with a certificate at either end.
//!
//! Both ends show a certificate that one authority has signed, the listener's for the host or address
//! by which it was asked for. Whoever has none is not let in.
//!
//! What was encrypted cannot be given up, so nothing is before the socket has room for it. If the
//! kernel, short of memory, then takes only a part, the rest goes with the next call or the close.

use crate::limits::{self, fault, os};
use crate::stream::{Bytes, Plain};
use crate::wait;
use annulus_channel::{OpenError, OpenReason};
use nix::errno::Errno;
use nix::poll::PollFlags;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
};
use std::fmt::{self, Display};
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The most that is encrypted at once: one record of TLS.
const MOST: usize = 16 << 10;
/// How long the end of a stream waits for room that cannot be made.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Who we are, and whom we trust.
///
/// ```no_run
/// use annulus_socket::{Address, Receiver, SocketOptions, Tls};
///
/// let mut options = SocketOptions::new();
/// options.tls(Tls::from_files("ca.pem", "mine.pem", "mine.key")?);
/// let listener = options.listen(&Address::Tcp("[::]:7000".into()))?;
/// let receiver: Receiver = listener.accept()?;
/// # Ok::<(), annulus_channel::OpenError>(())
/// ```
#[derive(Clone)]
pub struct Tls {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Tls {
    /// From files of PEM: the authority's certificate, or several; our own, with those between it and
    /// the authority; and its key.
    ///
    /// ```
    /// use annulus_channel::OpenReason;
    /// use annulus_socket::Tls;
    ///
    /// let error = Tls::from_files("/nonexistent/ca.pem", "mine.pem", "mine.key").unwrap_err();
    /// assert_eq!(error.reason, OpenReason::NotFound);
    /// ```
    ///
    /// # Errors
    ///
    /// The file's name, with [`OpenReason::NotFound`] or [`OpenReason::Permission`], or with
    /// [`OpenReason::Mismatch`] where it does not hold what it should.
    pub fn from_files(
        authority: impl AsRef<Path>,
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, OpenError> {
        let authority = authority.as_ref();
        let mut roots = RootCertStore::empty();
        for root in certificates(authority)? {
            roots
                .add(root)
                .map_err(|e| unfit(authority, CERTIFICATES, e))?;
        }
        let chain = certificates(certificate.as_ref())?;
        let secret =
            PrivateKeyDer::from_pem_file(&key).map_err(|e| pem(key.as_ref(), "a key", e))?;
        let (roots, provider) = (Arc::new(roots), Arc::new(default_provider()));

        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|e| unfit(authority, CERTIFICATES, e))?;
        let no_pair = |e| unfit(certificate.as_ref(), "the certificate of the key", e);
        let client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(no_pair)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain.clone(), secret.clone_key())
            .map_err(no_pair)?;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(no_pair)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, secret)
            .map_err(no_pair)?;
        // Unread when a sender closes, they would reset the connection under its last records.
        server.send_tls13_tickets = 0;
        Ok(Self {
            client: Arc::new(client),
            server: Arc::new(server),
        })
    }

    /// The listener's side of a connection; nothing if the peer parts in the middle.
    pub(crate) fn accept(
        &self,
        socket: OwnedFd,
        until: Option<Instant>,
    ) -> Result<Option<Secret>, OpenReason> {
        let connection = ServerConnection::new(self.server.clone()).map_err(refused)?;
        Secret::new(socket, connection.into()).shake_hands(until)
    }

    /// The other side, which has asked for `place`.
    pub(crate) fn connect(
        &self,
        socket: OwnedFd,
        place: &str,
        until: Option<Instant>,
    ) -> Result<Option<Secret>, OpenReason> {
        let host = place.rsplit_once(':').map_or(place, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(refused)?;
        let connection = ClientConnection::new(self.client.clone(), name).map_err(refused)?;
        Secret::new(socket, connection.into()).shake_hands(until)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

const CERTIFICATES: &str = "certificates in PEM";

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, OpenError> {
    let found =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(found) if found.is_empty() => Err(unfit(file, CERTIFICATES, "none")),
        Ok(found) => Ok(found),
        Err(error) => Err(pem(file, CERTIFICATES, error)),
    }
}

fn pem(file: &Path, expected: &str, error: rustls::pki_types::pem::Error) -> OpenError {
    match error {
        rustls::pki_types::pem::Error::Io(error) => OpenError::os(file.display(), "read", &error),
        error => unfit(file, expected, error),
    }
}

fn unfit(file: &Path, expected: &str, found: impl Display) -> OpenError {
    let reason = OpenReason::Mismatch {
        what: "contents",
        expected: expected.to_owned(),
        found: found.to_string(),
    };
    OpenError::new(file.display(), reason)
}

fn refused(error: impl Display) -> OpenReason {
    OpenReason::Mismatch {
        what: "TLS",
        expected: "a peer whose certificate our authority has signed".to_owned(),
        found: error.to_string(),
    }
}

/// A socket, and what makes it secret.
pub(crate) struct Secret {
    socket: Plain,
    connection: Connection,
}

/// The socket as the standard library's traits want it.
struct Raw<'a>(&'a mut Plain);

impl Read for Raw<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Ok(self.0.read(into)?)
    }
}

impl Write for Raw<'_> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        Ok(self.0.write(&[IoSlice::new(from)])?)
    }

    fn write_vectored(&mut self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(self.0.write(from)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

impl Secret {
    fn new(socket: OwnedFd, connection: Connection) -> Self {
        let socket = Plain(socket);
        Self { socket, connection }
    }

    fn shake_hands(mut self, until: Option<Instant>) -> Result<Option<Self>, OpenReason> {
        while self.connection.is_handshaking() || self.connection.wants_write() {
            let events = match self.flush() {
                Err(Errno::EAGAIN) => PollFlags::POLLOUT,
                Err(Errno::ECONNRESET | Errno::EPIPE) => return Ok(None),
                Err(errno) => return Err(os("send", errno)),
                Ok(()) if !self.connection.is_handshaking() => break,
                Ok(()) => match self.take() {
                    Ok(0) => return Ok(None),
                    Ok(_) => {
                        if let Err(error) = self.connection.process_new_packets() {
                            // The peer is told, if it can be.
                            let _ = self.flush();
                            return Err(refused(error));
                        }
                        continue;
                    }
                    Err(Errno::EAGAIN) => PollFlags::POLLIN,
                    Err(Errno::ECONNRESET) => return Ok(None),
                    Err(errno) => return Err(os("recv", errno)),
                },
            };
            if wait::passed(until) {
                return Err(OpenReason::TimedOut);
            }
            wait::sleep(self.fd(), events, until).map_err(fault)?;
        }
        Ok(Some(self))
    }

    /// Sends what is encrypted. `EAGAIN` if there is no room.
    fn flush(&mut self) -> Result<(), Errno> {
        while self.connection.wants_write() {
            self.connection
                .write_tls(&mut Raw(&mut self.socket))
                .map_err(|e| errno(&e))?;
        }
        Ok(())
    }

    /// Reads what is encrypted.
    fn take(&mut self) -> Result<usize, Errno> {
        self.connection
            .read_tls(&mut Raw(&mut self.socket))
            .map_err(|e| errno(&e))
    }
}

impl Bytes for Secret {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, Errno> {
        self.flush()?;
        let mut taken = 0;
        for slice in slices {
            let most = slice.len().min(MOST - taken);
            let mut writer = self.connection.writer();
            taken += writer.write(&slice[..most]).map_err(|e| errno(&e))?;
        }
        match self.flush() {
            // It is encrypted, and will go.
            Ok(()) | Err(Errno::EAGAIN) => Ok(taken),
            Err(errno) => Err(errno),
        }
    }

    fn read(&mut self, into: &mut [u8]) -> Result<usize, Errno> {
        loop {
            match self.connection.reader().read(into) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The connection was cut off without the word of TLS that ends it; ours tell more.
                Err(_) => return Ok(0),
            }
            // After the end of the file the next look finds the end.
            self.take()?;
            self.connection.process_new_packets().map_err(broken)?;
            // What TLS itself has to answer. If that fails, what has come is still to be read.
            let _ = self.flush();
        }
    }

    fn finish(&mut self) {
        self.connection.send_close_notify();
        if self.flush() == Err(Errno::EAGAIN) {
            limits::make_room(self.fd());
            let until = Instant::now() + LAST_WORD;
            while self.flush() == Err(Errno::EAGAIN) && Instant::now() < until {
                if wait::sleep(self.fd(), PollFlags::POLLOUT, Some(until)).is_err() {
                    break;
                }
            }
        }
        self.socket.finish();
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.socket.fd()
    }

    fn asks_first(&self) -> bool {
        true
    }
}

/// What is wrong with what has come: the peer does not let us in, or it is no TLS.
fn broken(error: rustls::Error) -> Errno {
    match error {
        rustls::Error::AlertReceived(_) => Errno::EACCES,
        _ => Errno::EBADMSG,
    }
}
