//! Every transport through the same two commands: what goes in comes out, who is killed is noticed, and nothing is left.

use crate::channel::{Channel, WORDS, in_shm, killed, noise};
use crate::harness::{Annulus, annulus, annulus_with, until};
use nix::sys::signal::Signal;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// `ANNULUS_FILE_BYTES=268435456` makes it a file of 256 MiB.
#[test]
fn a_file_comes_out_of_every_transport_as_it_went_in() {
    let size = std::env::var("ANNULUS_FILE_BYTES").ok();
    let size = size.map_or(700_000, |size| size.parse().expect("a number"));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    let bytes = noise(size);
    fs::write(&file, &bytes).expect("write");
    let sent = Sha256::digest(&bytes);
    drop(bytes);
    let file = file.to_str().expect("UTF-8");
    for word in WORDS {
        if word == "udp" {
            continue;
        }
        let channel = Channel::new(word);
        let receiver = channel.recv(&["-e"]).finish_later();
        channel.send(&["--chunk", "4000", file]).finish().quiet(0);
        let outcome = receiver.join().expect("the receiver's end");
        outcome.quiet(0);
        assert_eq!(outcome.stdout.len(), size, "{word}");
        assert!(Sha256::digest(&outcome.stdout) == sent, "{word}");
        channel.is_gone();
    }
}

#[test]
fn a_receiver_learns_that_its_sender_was_killed() {
    for word in WORDS {
        let channel = Channel::new(word);
        let mut receiver = channel.recv(&["-e"]);
        let mut sender = channel.send(&[]);
        sender.write(b"last words\nhalf of");
        assert_eq!(receiver.read(11), b"last words\n", "{word}");
        killed(sender);
        receiver.finish().says(7, &["sender"]);
        if !channel.is_met() {
            // Where a successor might have come, the name is there for it.
            let _ = annulus(&["rm", &channel.url]);
        }
        assert!(
            in_shm(&channel.url).is_empty(),
            "{word}: {:?}",
            in_shm(&channel.url)
        );
        assert!(!channel.folder.path().join("channel").exists(), "{word}");
    }
}

#[test]
fn a_sender_learns_that_its_receiver_was_killed() {
    for word in WORDS {
        let channel = Channel::new(word);
        let mut receiver = channel.recv(&[]);
        let mut sender = channel.send(&["--on-death", "fail"]);
        sender.write(b"hello\n");
        assert_eq!(receiver.read(6), b"hello\n", "{word}");
        killed(receiver);
        // It learns of it by sending, while there is room for a long time yet.
        until("the sender has ended", || {
            thread::sleep(Duration::from_millis(20));
            !(sender.is_running() && sender.try_write(b"more\n"))
        });
        sender.finish().says(7, &["receiver"]);
        let _ = annulus(&["rm", &channel.url]);
        assert!(
            in_shm(&channel.url).is_empty(),
            "{word}: {:?}",
            in_shm(&channel.url)
        );
        assert!(!channel.folder.path().join("channel").exists(), "{word}");
    }
}

#[test]
fn without_exit_at_end_a_receiver_takes_one_sender_after_the_other() {
    for word in WORDS {
        let channel = Channel::new(word);
        let mut receiver = channel.recv(&["-c", "3"]);
        for line in [&b"one\n"[..], b"two\n"] {
            channel.send(&[]).write_and_finish(line);
            assert_eq!(receiver.read(4), line, "{word}");
        }
        assert!(receiver.is_running(), "{word}");
        channel.send(&[]).write_and_finish(b"three\n");
        assert_eq!(receiver.finish().quiet(0).stdout, b"three\n", "{word}");
    }
}

#[test]
fn what_a_queue_holds_outlives_its_sender() {
    for word in ["mq", "sysv", "classic", "sem", "spool"] {
        let channel = Channel::new(word);
        annulus_with(&["send", &channel.url, "--create"], b"early\n").quiet(0);
        let received = annulus(&["recv", &channel.url, "-e"]);
        assert_eq!(received.quiet(0).stdout, b"early\n", "{word}");
        channel.is_gone();
    }
}

#[test]
fn a_waiting_sender_gives_up_in_time() {
    for word in WORDS {
        let channel = Channel::new(word);
        let alone = annulus(&["send", &channel.url, "--wait", "--timeout", "30ms"]);
        alone.says(4, &["did not appear", "30ms"]);
        annulus(&["send", &channel.url]).says(3, &[]);
    }
}

#[test]
fn a_sender_that_is_not_accepted_gives_up_in_time_and_can_be_interrupted() {
    for word in ["unix", "unix-seqpacket", "unix-dgram", "tcp"] {
        let channel = Channel::new(word);
        let mut receiver = channel.recv(&[]);
        let mut first = channel.send(&[]);
        first.write(b"hello\n");
        assert_eq!(receiver.read(6), b"hello\n", "{word}");
        let second = annulus(&["send", &channel.url, "--timeout", "100ms"]);
        second.says(4, &["did not appear", "100ms"]);
        let mut third = Annulus::start(&["send", &channel.url]);
        until("it waits", || {
            third.is_running() && threads(third.pid()) > 1
        });
        third.signal(Signal::SIGINT);
        until("it has ended", || !third.is_running());
        third.finish().quiet(130);
        first.write(b"again\n");
        assert_eq!(receiver.read(6), b"again\n", "{word}");
    }
}

fn threads(pid: i32) -> usize {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    threads.map_or(0, Iterator::count)
}

/// A receiver where the kernel is to choose the port, and where it then listens.
fn listening(url: &str, more: &[&str]) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_annulus"))
        .args([&["recv", url, "-e", "--timeout", "30s"], more].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start annulus");
    let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("a line");
    let at = line.trim_end().strip_prefix("annulus: listening on ");
    let at = at.unwrap_or_else(|| panic!("{line}")).to_owned();
    (child, at)
}

#[test]
fn a_port_that_the_kernel_chose_is_said() {
    for url in ["tcp:127.0.0.1:0", "udp:127.0.0.1:0"] {
        let (receiver, at) = listening(url, &[]);
        assert!(at.starts_with(&url[..14]) && at != url, "{at}");
        annulus_with(&["send", &at], b"hello\n").quiet(0);
        let outcome = receiver.wait_with_output().expect("its end");
        assert!(outcome.status.success());
        assert_eq!(outcome.stdout, b"hello\n");
    }
}

#[test]
fn each_way_not_to_be_there_has_its_own_words() {
    for word in ["tcp", "udp"] {
        let channel = Channel::new(word);
        annulus(&["send", &channel.url]).says(3, &["nobody listens there"]);
        let _receiver = UdpSocket::bind(&channel.url[4..]).expect("free");
        let _listener = TcpListener::bind(&channel.url[4..]).expect("free");
        let refused = annulus(&["recv", &channel.url, "--timeout", "1s"]);
        refused.says(1, &["the address is in use"]);
    }
    let nowhere = "tcp:no-such-host.invalid:7000";
    for args in [&["send", nowhere, "--wait"][..], &["recv", nowhere]] {
        annulus(args).says(3, &["unknown host"]);
    }
}

#[test]
fn mode_and_capacity_are_a_sockets_and_a_fifos() {
    for word in ["fifo", "unix", "unix-seqpacket", "unix-dgram"] {
        let channel = Channel::new(word);
        let path = channel.folder.path().join("channel");
        let mut receiver = channel.recv(&["--mode", "0622", "--capacity", "128k"]);
        let mut sender = channel.send(&[]);
        sender.write(b"hello\n");
        assert_eq!(receiver.read(6), b"hello\n", "{word}");
        let mode = path.metadata().expect("it is there").permissions().mode();
        // A FIFO's bits for execution are its ends' marks.
        assert_eq!(mode & 0o666, 0o622, "{word}");
        if word == "fifo" {
            let fifo = fs::File::options()
                .write(true)
                .open(&path)
                .expect("it is received");
            let size = nix::fcntl::fcntl(&fifo, nix::fcntl::FcntlArg::F_GETPIPE_SZ);
            assert_eq!(size, Ok(128 << 10));
        }
        let denied = annulus(&["send", &channel.url, "--mode", "0622"]);
        denied.says(2, &["mode does not apply", "receiver"]);
    }
    for (word, setting) in [
        ("fifo", "fs.pipe-max-size"),
        ("unix", "net.core.wmem_max"),
        ("udp", "net.core.wmem_max"),
    ] {
        let channel = Channel::new(word);
        let refused = annulus(&["recv", &channel.url, "--capacity", "1T"]);
        refused.says(1, &["1099511627776 needed", setting]);
    }
    let fifo = annulus(&["send", "fifo:/nowhere/f", "--capacity", "64k"]);
    fifo.says(2, &["capacity does not apply", "receiver"]);
}

#[test]
fn a_socket_whose_mode_lets_others_write_takes_them() {
    use std::os::unix::process::CommandExt;
    if !nix::unistd::getuid().is_root() {
        return;
    }
    for word in ["unix", "unix-seqpacket", "unix-dgram"] {
        let channel = Channel::new(word);
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(channel.folder.path(), open).expect("chmod");
        let mut receiver = channel.recv(&["--mode", "0622"]);
        let mut other = Command::new(env!("CARGO_BIN_EXE_annulus"));
        other.args(["send", &channel.url, "--wait", "/proc/self/comm"]);
        // Who cannot read this program cannot run it either.
        let Ok(status) = other.uid(65534).status() else {
            return;
        };
        assert!(status.success(), "{word}");
        assert_eq!(receiver.read(8), b"annulus\n", "{word}");
    }
}

#[test]
fn nobody_listens_under_tls_without_a_certificate() {
    let refused = annulus(&["recv", "tls:127.0.0.1:0"]);
    // In most builds there is no TLS at all.
    match refused.code {
        Some(1) => refused.says(1, &["feature 'tls'"]),
        _ => refused.says(2, &["a certificate"]),
    };
}

#[test]
#[cfg(feature = "tls")]
fn a_file_passes_under_tls() {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let mut params = CertificateParams::new(vec![]).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = || KeyPair::generate().expect("a key");
    let issuer = CertifiedIssuer::self_signed(params, key()).expect("a certificate");
    fs::write(file("ca"), issuer.pem()).expect("write");
    for name in ["one", "other"] {
        let key = key();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        fs::write(file(name), certificate.pem()).expect("write");
        fs::write(file(&format!("{name}.key")), key.serialize_pem()).expect("write");
    }
    let (ca, one, key) = (file("ca"), file("one"), file("one.key"));
    let (receiver, at) = listening(
        "tls:127.0.0.1:0",
        &["--ca", &ca, "--cert", &one, "--key", &key],
    );
    assert!(at.starts_with("tls:"), "{at}");
    let (other, key) = (file("other"), file("other.key"));
    let bytes = noise(300_000);
    fs::write(file("file"), &bytes).expect("write");
    // Without a certificate, or without TLS, nobody is let in.
    annulus(&["send", &at]).says(2, &["certificate"]);
    let with = ["--ca", &ca, "--cert", &other, "--key", &key];
    let source = file("file");
    annulus(&[&["send", &at, "--chunk", "64k", &source], &with[..]].concat()).quiet(0);
    let outcome = receiver.wait_with_output().expect("its end");
    assert!(outcome.status.success());
    assert!(outcome.stdout == bytes);
}

#[test]
fn an_unknown_scheme_is_2_and_all_are_listed() {
    for command in ["send", "recv", "rm"] {
        let outcome = annulus(&[command, "pigeon:coop"]);
        assert_eq!(outcome.code, Some(2));
        for word in [
            "'pigeon:coop'",
            "expected",
            "unix-seqpacket:PATH",
            "mq:/NAME",
            "spool:PATH",
        ] {
            assert!(outcome.stderr.contains(word), "{word}: {}", outcome.stderr);
        }
    }
}

#[test]
fn a_pipe_has_no_name() {
    for command in ["send", "recv"] {
        annulus(&[command, "pipe:"]).says(2, &["no name", "fifo:PATH"]);
    }
}

#[test]
fn an_option_that_means_nothing_is_2_and_says_so() {
    for (args, words) in [
        (
            &["send", "tcp:127.0.0.1:9", "--create"][..],
            &["create", "receiver"][..],
        ),
        (
            &["recv", "fifo:/nowhere/f", "--create"],
            &["create", "receiver"],
        ),
        (
            &["send", "mq:/q", "--create", "--kind", "mpmc"],
            &["kind", "rings"],
        ),
        (&["send", "sem:s", "--create", "--keep"], &["keep"]),
    ] {
        annulus(args).says(2, &[words, &["does not apply"]].concat());
    }
}

#[test]
fn only_rings_are_audited() {
    for command in ["audit", "dead-letters"] {
        let outcome = annulus(&[command, "sysv:7"]);
        assert_eq!(outcome.code, Some(2));
        assert!(
            outcome.stderr.contains("ring:sysv:0x7"),
            "{}",
            outcome.stderr
        );
        assert_eq!(annulus(&[command, "unix:x"]).code, Some(2));
    }
}

#[test]
fn a_socket_is_not_put_in_the_place_of_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("letter");
    fs::write(&path, "somebody's letter").expect("write");
    for word in ["fifo", "unix", "unix-seqpacket", "unix-dgram", "spool"] {
        let url = format!("{word}:{}", path.display());
        let outcome = annulus(&["recv", &url, "--timeout", "1s"]);
        assert!(matches!(outcome.code, Some(1 | 5)), "{word}: {outcome:?}");
        let outcome = annulus(&["rm", &url]);
        assert_eq!(outcome.code, Some(5), "{word}: {outcome:?}");
        assert!(is_letter(&path), "{word}");
    }
}

fn is_letter(path: &Path) -> bool {
    fs::read(path).expect("read") == b"somebody's letter"
}
