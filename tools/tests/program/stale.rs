//! What is in use stays, and what nobody needs goes: `annulus rm`, `rm --stale`, and makers that are interrupted.

use crate::channel::{Channel, WORDS, in_shm, killed};
use crate::harness::{Annulus, annulus, sweeping, until};
use nix::sys::signal::Signal;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

#[test]
fn rm_leaves_what_is_in_use() {
    for word in WORDS {
        if matches!(word, "tcp" | "udp") {
            annulus(&["rm", &Channel::new(word).url]).says(2, &["nothing to remove"]);
            continue;
        }
        let channel = Channel::new(word);
        let mut receiver = channel.recv(&[]);
        let mut sender = channel.send(&[]);
        sender.write(b"hello\n");
        assert_eq!(receiver.read(6), b"hello\n", "{word}");
        annulus(&["rm", &channel.url]).says(1, &["in use"]);
        sender.write(b"again\n");
        assert_eq!(receiver.read(6), b"again\n", "{word}");
    }
}

#[test]
fn stale_names_are_listed_and_removed() {
    let _sweeping = sweeping();
    for word in ["ring", "ring:sysv", "mq", "sysv", "classic", "sem"] {
        let channel = Channel::new(word);
        let mut receiver = channel.recv(&[]);
        let mut sender = channel.send(&[]);
        sender.write(b"hello\n");
        assert_eq!(receiver.read(6), b"hello\n", "{word}");
        let listed = annulus(&["rm", "--stale"]);
        let text = String::from_utf8(listed.stdout).expect("UTF-8");
        assert!(!text.contains(&channel.url), "{text}");
        killed(sender);
        killed(receiver);
        let shown = channel
            .url
            .strip_prefix("ring:a")
            .map_or(channel.url.clone(), |name| format!("a{name}"));
        let listed = annulus(&["rm", "--stale"]);
        let text = String::from_utf8(listed.stdout).expect("UTF-8");
        assert!(text.contains(&format!("removed {shown}")), "{word}: {text}");
        channel.is_gone();
    }
}

/// Those whose names go by themselves, when nobody needs them.
const PASSING: [&str; 6] = ["ring", "ring:sysv", "mq", "sysv", "classic", "sem"];

/// Whether the process sleeps in a call that reads.
fn is_asleep_in_read(pid: i32) -> bool {
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).expect("syscall");
    // The first word is the call's number: read(2), on each architecture. The second is the standard input.
    let read = if cfg!(target_arch = "x86_64") {
        "0 0x0 "
    } else {
        "63 0x0 "
    };
    call.starts_with(read)
}

/// Whether somebody receives from the ring.
fn has_receiver(ring: &Channel) -> bool {
    let audit = annulus(&["audit", &ring.url]);
    let text = String::from_utf8(audit.stdout).expect("UTF-8");
    text.contains("receivers: ") && !text.contains("receivers: none")
}

/// What `rm --stale` says of the channel.
fn rm_stale(channel: &Channel) -> Option<String> {
    let listed = annulus(&["rm", "--stale"]);
    let text = String::from_utf8(listed.stdout).expect("UTF-8");
    let url = channel.url.strip_prefix("ring:a");
    let url = url.map_or(channel.url.clone(), |name| format!("a{name}"));
    let mut lines = text.lines();
    lines
        .find(|line| line.contains(&url))
        .map(|line| line.replace(&url, "it"))
}

#[test]
fn an_interrupted_maker_takes_along_what_nobody_came_to() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        for word in PASSING {
            for command in ["recv", "send"] {
                let channel = Channel::new(word);
                let alone = Annulus::start(&[command, &channel.url, "--create"]);
                until("it is there", || !in_shm(&channel.url).is_empty());
                alone.signal(signal);
                alone.finish_at_once().quiet(code);
                channel.is_gone();
            }
        }
    }
}

#[test]
fn what_is_to_be_kept_stays_when_its_maker_is_interrupted() {
    let _sweeping = sweeping();
    for word in ["ring", "ring:sysv", "mq", "sysv"] {
        let channel = Channel::new(word);
        let alone = channel.recv(&["--keep"]);
        until("it is there", || !in_shm(&channel.url).is_empty());
        alone.signal(Signal::SIGINT);
        alone.finish_at_once().quiet(130);
        assert_eq!(rm_stale(&channel), None, "{word}");
        killed(channel.recv(&[]));
        assert_eq!(rm_stale(&channel), None, "{word}");
        annulus(&["rm", &channel.url]).quiet(0);
    }
}

#[test]
fn what_an_interrupted_sender_has_sent_stays() {
    let _sweeping = sweeping();
    for word in PASSING {
        let channel = Channel::new(word);
        let mut sender = Annulus::start(&["send", &channel.url, "--create"]);
        sender.write(b"sent\nhalf");
        until("it is sent", || is_asleep_in_read(sender.pid()));
        sender.signal(Signal::SIGTERM);
        sender.finish_at_once().quiet(143);
        // Only of the textbook's buffers it isn't known whether a receiver was meant to come.
        let listed = rm_stale(&channel).unwrap_or_default();
        assert!(!listed.starts_with("removed"), "{word}: {listed}");
        let received = annulus(&["recv", &channel.url, "-e"]);
        assert_eq!(received.quiet(0).stdout, b"sent\n", "{word}");
        channel.is_gone();
    }
}

#[test]
fn what_a_killed_maker_left_before_anybody_came_is_stale() {
    let _sweeping = sweeping();
    for word in PASSING {
        let channel = Channel::new(word);
        let alone = channel.recv(&[]);
        // Of the semaphores all: where a process is killed while it makes one, the C library leaves a file without a name of ours.
        let least = if word == "sem" { 4 } else { 1 };
        until("it is there", || in_shm(&channel.url).len() >= least);
        thread::sleep(Duration::from_millis(20));
        // A ring that was made a moment ago is left to its maker until he is attached.
        let is_ring = word.starts_with("ring");
        until("it is attached", || !is_ring || has_receiver(&channel));
        killed(alone);
        assert_eq!(rm_stale(&channel).as_deref(), Some("removed it"), "{word}");
        channel.is_gone();
    }
}

#[test]
fn the_end_of_an_empty_input_is_there_to_be_seen_until_it_is_swept_away() {
    let _sweeping = sweeping();
    for word in ["ring", "ring:sysv"] {
        let channel = Channel::new(word);
        annulus(&["send", &channel.url, "--create"]).quiet(0);
        assert_eq!(annulus(&["recv", &channel.url, "-e"]).quiet(0).stdout, b"");
        channel.is_gone();
        annulus(&["send", &channel.url, "--create"]).quiet(0);
        assert_eq!(rm_stale(&channel).as_deref(), Some("removed it"), "{word}");
        channel.is_gone();
        annulus(&["send", &channel.url, "--create", "--keep"]).quiet(0);
        assert_eq!(rm_stale(&channel), None, "{word}");
    }
}

#[test]
fn a_lock_file_without_a_segment_is_swept_away() {
    let _sweeping = sweeping();
    let channel = Channel::new("ring:sysv");
    let key = channel.url.rsplit_once("0x").expect("a key").1;
    let lock = PathBuf::from(format!("/dev/shm/annulus.sysv-{key:0>8}.lock"));
    for args in [&["rm", "--stale"][..], &["rm", &channel.url]] {
        fs::write(&lock, "").expect("write");
        annulus(args);
        assert!(!lock.exists(), "{args:?}");
    }
    channel.is_gone();
}

#[test]
fn what_was_left_in_a_directory_is_listed_and_removed() {
    let channel = Channel::new("fifo");
    let mut receiver = channel.recv(&[]);
    let mut sender = channel.send(&[]);
    sender.write(b"hello\n");
    assert_eq!(receiver.read(6), b"hello\n");
    let folder = channel.folder.path();
    let left = folder.join(".annulus.socket-7");
    drop(std::os::unix::net::UnixListener::bind(&left).expect("a socket"));
    let within = folder.to_str().expect("UTF-8");
    let listed = annulus(&["rm", "--stale", "--within", within]);
    let text = String::from_utf8(listed.stdout).expect("UTF-8");
    assert!(
        text.contains(&format!("removed {}\n", left.display())),
        "{text}"
    );
    let fifo = format!("removed {}\n", folder.join("channel").display());
    assert!(!text.contains(&fifo), "{text}");
    killed(sender);
    killed(receiver);
    let listed = annulus(&["rm", "--stale", "--within", within]);
    let text = String::from_utf8(listed.stdout).expect("UTF-8");
    assert!(text.contains(&fifo), "{text}");
    channel.is_gone();
    let nowhere = annulus(&["rm", "--stale", "--within", "/no/such/place"]);
    assert_eq!(nowhere.code, Some(1), "{}", nowhere.stderr);
    assert!(
        nowhere.stderr.contains("/no/such/place"),
        "{}",
        nowhere.stderr
    );
}
