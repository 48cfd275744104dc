//! TCP under TLS: the whole contract, and who is let in.
#![cfg(feature = "tls")]

mod common;

use annulus_channel::conformance::{self, Death, Transport};
use annulus_channel::{OpenReason, Receiver as _, Sender as _};
use annulus_socket::{Address, Receiver, Sender, SocketOptions, Tls};
use common::actor::PATIENCE;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

/// An authority, its certificate in a file, and those that it signs.
struct Authority {
    directory: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let this = Self { directory, issuer };
        fs::write(this.file("ca.pem"), this.issuer.pem()).unwrap();
        this
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Options of one who trusts us, and has a certificate for `host` that `signer` has signed.
    fn options(&self, host: &str, signer: &Self) -> SocketOptions {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &signer.issuer).unwrap();
        fs::write(self.file("own.pem"), certificate.pem()).unwrap();
        fs::write(self.file("own.key"), key.serialize_pem()).unwrap();
        let files = ["ca.pem", "own.pem", "own.key"].map(|name| self.file(name));
        let mut options = SocketOptions::new();
        options.tls(Tls::from_files(&files[0], &files[1], &files[2]).unwrap());
        options
    }
}

fn anywhere() -> Address {
    Address::Tcp("127.0.0.1:0".into())
}

/// Channels between two who trust each other.
struct Secret;

impl Transport for Secret {
    type Tx = Sender;
    type Rx = Receiver;

    fn pair(&self) -> (Sender, Receiver) {
        static OPTIONS: OnceLock<SocketOptions> = OnceLock::new();
        let options = OPTIONS.get_or_init(|| {
            let authority = Authority::new();
            let mut options = authority.options("127.0.0.1", &authority);
            options.buffer(64 << 10);
            options
        });
        let listener = options.listen(&anywhere()).unwrap();
        let address = listener.address().clone();
        let far = thread::spawn(move || options.connect(&address).unwrap());
        let rx = listener.accept().unwrap();
        (far.join().unwrap(), rx)
    }

    fn kill_tx(&self, tx: Sender) -> Option<Death<'_, Sender>> {
        tx.die();
        Some(Death::Final)
    }

    fn kill_rx(&self, rx: Receiver) -> Option<Death<'_, Receiver>> {
        rx.die();
        Some(Death::Final)
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn prompt(&self) -> bool {
        false
    }
}

#[test]
fn the_contract_is_kept() {
    conformance::all(&Secret);
}

/// What the listener and whoever connects to it make of each other.
fn meeting(here: SocketOptions, there: SocketOptions) -> (Option<OpenReason>, Option<OpenReason>) {
    let listener = here.listen(&anywhere()).unwrap();
    let address = listener.address().clone();
    let far = thread::spawn(move || there.connect::<Sender>(&address).err());
    let here = listener.accept::<Receiver>().err();
    (
        here.map(|error| error.reason),
        far.join().unwrap().map(|error| error.reason),
    )
}

fn is_tls(reason: Option<&OpenReason>) -> bool {
    matches!(reason, Some(OpenReason::Mismatch { what: "TLS", .. }))
}

#[test]
fn only_those_whom_the_authority_has_signed_are_let_in() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let good = || ours.options("127.0.0.1", &ours);
    assert_eq!(meeting(good(), good()), (None, None));

    // One who trusts us, but whom we do not trust.
    let (here, there) = meeting(good(), ours.options("127.0.0.1", &theirs));
    assert!(is_tls(here.as_ref()), "{here:?}");
    assert_eq!(there, Some(OpenReason::Permission));

    // A listener that somebody else has signed, or that was signed for another host.
    let (_, there) = meeting(ours.options("127.0.0.1", &theirs), good());
    assert!(is_tls(there.as_ref()), "{there:?}");
    let (_, there) = meeting(ours.options("127.0.0.2", &ours), good());
    assert!(is_tls(there.as_ref()), "{there:?}");
}

#[test]
fn one_without_tls_is_refused() {
    let ours = Authority::new();
    let (here, there) = meeting(ours.options("127.0.0.1", &ours), SocketOptions::new());
    assert!(is_tls(here.as_ref()), "{here:?}");
    assert!(there.is_some());
    let (here, there) = meeting(SocketOptions::new(), ours.options("127.0.0.1", &ours));
    assert!(here.is_some());
    assert!(there.is_some());
}

#[test]
fn nothing_is_read_on_the_way() {
    // The address of somebody in the middle, who passes on and remembers.
    let ours = Authority::new();
    let options = ours.options("127.0.0.1", &ours);
    let listener = options.listen(&anywhere()).unwrap();
    let Address::Tcp(place) = listener.address().clone() else {
        unreachable!("it is TCP")
    };
    let middle = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(middle.local_addr().unwrap().to_string());
    let seen = thread::spawn(move || {
        let (mut from, _) = middle.accept().unwrap();
        let mut to = std::net::TcpStream::connect(place).unwrap();
        let (mut back, mut answers) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        let answering = thread::spawn(move || std::io::copy(&mut answers, &mut back));
        let mut seen = Vec::new();
        let mut some = [0; 4096];
        while let Ok(count @ 1..) = std::io::Read::read(&mut from, &mut some) {
            seen.extend_from_slice(&some[..count]);
            if std::io::Write::write_all(&mut to, &some[..count]).is_err() {
                break;
            }
        }
        // Fails if the receiver has gone already.
        let _ = to.shutdown(std::net::Shutdown::Both);
        let _ = answering.join().unwrap();
        seen
    });
    let far = thread::spawn(move || {
        let mut tx: Sender = options.connect(&address).unwrap();
        tx.send(b"a word that nobody else may read").unwrap();
    });
    let mut rx: Receiver = listener.accept().unwrap();
    let mut record = Vec::new();
    rx.recv(&mut record).unwrap();
    assert_eq!(record, b"a word that nobody else may read");
    drop(rx);
    far.join().unwrap();
    let seen = seen.join().unwrap();
    assert!(seen.len() > record.len());
    assert!(!seen.windows(6).any(|word| word == b"a word"));
}
