//! `tls:`: a channel between two who trust each other, and who is not let in.

use annulus_channel::{OpenReason, RecvTimeoutError};
use annulus_transports::{OpenError, Options, Url, fallback, open_receiver_at, open_sender};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::fs;
use std::thread;
use std::time::Duration;

/// No test waits longer for anything that should come.
const GUARD: Duration = Duration::from_secs(30);

/// An authority with its files: its certificate, and those that it has signed.
struct Authority {
    folder: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut params = CertificateParams::new(vec![]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("write");
        Self { folder, issuer }
    }

    /// Options of one who trusts us, and whose certificate for this machine we have signed.
    fn options(&self) -> Options {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let at = self.folder.path();
        fs::write(at.join("own.pem"), certificate.pem()).expect("write");
        fs::write(at.join("own.key"), key.serialize_pem()).expect("write");
        let mut options = Options::new();
        options.tls(at.join("ca.pem"), at.join("own.pem"), at.join("own.key"));
        options
    }
}

fn anywhere() -> Url {
    "tls:127.0.0.1:0".parse().expect("a name")
}

#[test]
fn records_pass_between_two_who_trust_each_other() {
    let ours = Authority::new();
    let (mut receiver, at) = open_receiver_at(&anywhere(), &ours.options()).expect("the receiver");
    assert!(at.to_string().starts_with("tls:127.0.0.1:"), "{at}");
    assert_ne!(at, anywhere());
    let mut options = ours.options();
    options.wait(GUARD);
    let sending = thread::spawn(move || {
        let mut sender = open_sender(&at, &options).expect("the sender");
        for record in [&b"one"[..], b"", &[7; 100_000]] {
            sender.send(record).expect("room");
        }
        sender.capabilities()
    });
    let mut record = Vec::new();
    for expected in [&b"one"[..], b"", &[7; 100_000]] {
        receiver.recv_timeout(&mut record, GUARD).expect("a record");
        assert_eq!(record, expected);
    }
    assert_eq!(
        sending.join().expect("the sender's end"),
        receiver.capabilities()
    );
    let end = receiver.recv_timeout(&mut record, GUARD);
    assert_eq!(end, Err(RecvTimeoutError::Disconnected));
}

#[test]
fn who_is_not_trusted_is_refused_and_the_next_one_is_let_in() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (mut receiver, at) = open_receiver_at(&anywhere(), &ours.options()).expect("the receiver");
    let (mut good, stranger) = (ours.options(), theirs.options());
    good.wait(GUARD);
    let sending = thread::spawn(move || {
        let Err(OpenError::Transport(error)) = open_sender(&at, &stranger) else {
            panic!("a stranger was let in")
        };
        assert!(
            matches!(error.reason, OpenReason::Mismatch { what: "TLS", .. }),
            "{error}"
        );
        assert!(
            error.to_string().starts_with(&format!("{at}: TLS")),
            "{error}"
        );
        let mut sender = open_sender(&at, &good).expect("the sender");
        sender.send(b"one").expect("room");
    });
    let mut record = Vec::new();
    receiver.recv_timeout(&mut record, GUARD).expect("a record");
    assert_eq!(record, b"one");
    sending.join().expect("the sender's end");
}

#[test]
fn certificates_are_for_tls_and_tls_is_for_certificates() {
    let ours = Authority::new();
    let Err(error) = open_receiver_at(&anywhere(), &Options::new()) else {
        panic!("without a certificate")
    };
    assert!(matches!(error, OpenError::Unfit { .. }), "{error}");
    let plain: Url = "tcp:127.0.0.1:0".parse().expect("a name");
    let Err(error) = open_receiver_at(&plain, &ours.options()) else {
        panic!("a certificate for nothing")
    };
    assert!(
        matches!(error, OpenError::Option { option: "tls", .. }),
        "{error}"
    );
    let mut lost = Options::new();
    lost.tls("/nonexistent/ca.pem", "own.pem", "own.key");
    let Err(error) = open_receiver_at(&anywhere(), &lost) else {
        panic!("no such file")
    };
    assert!(
        error.to_string().starts_with("/nonexistent/ca.pem: "),
        "{error}"
    );
}

#[test]
fn a_fallback_may_come_to_it() {
    use annulus_transports::Side;
    let ours = Authority::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("bound");
    drop(free);
    let urls: Vec<Url> = [format!("tls:{address}")]
        .map(|word| word.parse().expect("a name"))
        .into();
    let mut options = ours.options();
    options.wait(GUARD);
    let (names, there) = (urls.clone(), options.clone());
    let offering =
        thread::spawn(move || fallback(&names, Side::Receiver, &there).expect("it works"));
    let chosen = fallback(&urls, Side::Sender, &options).expect("it works");
    assert_eq!(
        (chosen.url, offering.join().expect("the receiver's end").url),
        (urls[0].clone(), urls[0].clone())
    );
}
