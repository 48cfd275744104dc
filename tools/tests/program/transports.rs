//! Every transport through the same two commands: what goes in comes out, who is killed is noticed, and nothing is left.

use crate::harness::{Annulus, Name, annulus, annulus_with, sweeping, until};
use nix::sys::signal::Signal;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// Every scheme that has a name, and two more places for a ring.
const WORDS: [&str; 14] = [
    "ring",
    "file",
    "ring:sysv",
    "fifo",
    "unix",
    "unix-seqpacket",
    "unix-dgram",
    "tcp",
    "udp",
    "mq",
    "sysv",
    "classic",
    "sem",
    "spool",
];

/// A channel's name of this kind, which no other test has.
struct Channel {
    word: &'static str,
    url: String,
    _name: Name,
    folder: tempfile::TempDir,
}

impl Channel {
    fn new(word: &'static str) -> Self {
        let name = Name::new();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("channel");
        let path = path.to_str().expect("UTF-8");
        let number: u32 = name
            .0
            .rsplit('-')
            .next()
            .and_then(|n| n.parse().ok())
            .expect("a number");
        let key = 0x7e00_0000 | (std::process::id() & 0xffff) << 8 | (number & 0xff);
        let url = match word {
            "ring" | "classic" | "sem" => format!("{word}:{}", name.0),
            "ring:sysv" | "sysv" => format!("{word}:{key:#x}"),
            "mq" => format!("mq:/{}", name.0),
            "tcp" => {
                let free = TcpListener::bind("127.0.0.1:0").expect("a port");
                format!("tcp:{}", free.local_addr().expect("bound"))
            }
            "udp" => {
                let free = UdpSocket::bind("127.0.0.1:0").expect("a port");
                format!("udp:{}", free.local_addr().expect("bound"))
            }
            _ => format!("{word}:{path}"),
        };
        Self {
            word,
            url,
            _name: name,
            folder,
        }
    }

    /// Whether the receiver makes it, unasked.
    fn is_met(&self) -> bool {
        matches!(
            self.word,
            "fifo" | "unix" | "unix-seqpacket" | "unix-dgram" | "tcp" | "udp"
        )
    }

    /// Whether it stays when everybody has closed.
    fn stays(&self) -> bool {
        matches!(self.word, "file" | "spool")
    }

    /// Starts whoever receives.
    fn recv(&self, more: &[&str]) -> Annulus {
        let how = if self.is_met() {
            &[][..]
        } else {
            &["--create"]
        };
        Annulus::start(&[&["recv", &self.url], how, more].concat())
    }

    /// Starts whoever sends.
    fn send(&self, more: &[&str]) -> Annulus {
        // Whoever is to come first is waited for.
        Annulus::start(&[&["send", &self.url, "--wait", "--timeout", "50s"], more].concat())
    }

    /// Asserts that nothing is left, when what stays has been removed.
    #[track_caller]
    fn is_gone(&self) {
        if self.stays() {
            annulus(&["rm", &self.url]).quiet(0);
        }
        let left: Vec<_> = fs::read_dir(self.folder.path())
            .expect("the folder")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        assert!(left.is_empty(), "{}: {left:?}", self.url);
        assert!(
            in_shm(&self.url).is_empty(),
            "{}: {:?}",
            self.url,
            in_shm(&self.url)
        );
        if !self.is_met() {
            annulus(&["rm", &self.url]).says(3, &[]);
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        // Whatever a failed test has left.
        let _ = annulus(&["rm", &self.url]);
    }
}

/// What has the name in it that the channel has, where names in shared memory are.
fn in_shm(url: &str) -> Vec<PathBuf> {
    let (_, place) = url.rsplit_once(':').expect("a scheme");
    let place = place.trim_start_matches('/').trim_start_matches("0x");
    let names = fs::read_dir("/dev/shm").expect("shared memory");
    let paths = names.map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| {
            path.to_str()
                .is_some_and(|path| path.ends_with(place) || path.contains(&format!("{place}.")))
        })
        .collect()
}

fn killed(process: Annulus) {
    process.signal(Signal::SIGKILL);
    assert_eq!(process.finish().code, None);
}

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

/// Bytes that look random.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

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
fn a_few_records_pass_over_udp() {
    let channel = Channel::new("udp");
    let receiver = channel.recv(&["-e"]).finish_later();
    channel.send(&[]).write_and_finish(b"one\ntwo\nthree\n");
    let outcome = receiver.join().expect("the receiver's end");
    assert_eq!(outcome.quiet(0).stdout, b"one\ntwo\nthree\n");
}

/// What a receiver that is stopped misses of so many records, all but the last one sent meanwhile; its exit code and its words.
fn missed(more: &[&str], records: usize) -> (usize, Option<i32>, String) {
    let channel = Channel::new("udp");
    let receiver = channel.recv(&[&["-e", "--len-prefixed"], more].concat());
    let mut sender = channel.send(&["--len-prefixed"]);
    let record = |byte| [&1000_u32.to_le_bytes()[..], &[byte; 1000]].concat();
    sender.write(&record(0));
    let mut receiver = receiver;
    assert_eq!(receiver.read(1004), record(0));
    receiver.signal(Signal::SIGSTOP);
    // More than any receive buffer here holds.
    for _ in 0..records - 2 {
        sender.write(&record(1));
    }
    until("all is sent", || unread(sender.pid()) == 0);
    receiver.signal(Signal::SIGCONT);
    // Once there is room again, the last one comes.
    let mut stdout = receiver.take_stdout();
    let (heard, hear) = std::sync::mpsc::channel();
    let reading = std::thread::spawn(move || {
        let (mut bytes, mut came) = ([0; 1004], 1);
        while std::io::Read::read_exact(&mut stdout, &mut bytes).is_ok() {
            came += 1;
            let _ = heard.send(());
        }
        came
    });
    while hear
        .recv_timeout(std::time::Duration::from_millis(500))
        .is_ok()
    {}
    sender.write_and_finish(&record(2));
    let outcome = receiver.finish();
    (
        reading.join().expect("it reads"),
        outcome.code,
        outcome.stderr,
    )
}

/// How many bytes wait in the pipe that is a process's standard input.
fn unread(pid: i32) -> usize {
    let stdin = fs::File::open(format!("/proc/{pid}/fd/0")).expect("its standard input");
    let mut count = 0;
    // SAFETY: FIONREAD writes one int, to which the pointer leads.
    let done = unsafe { nix::libc::ioctl(stdin.as_raw_fd(), nix::libc::FIONREAD, &raw mut count) };
    assert_eq!(done, 0);
    usize::try_from(count).expect("a count")
}

#[test]
fn what_udp_loses_is_counted() {
    const RECORDS: usize = 12_000;
    let (came, code, words) = missed(&[], RECORDS);
    assert!(came < RECORDS, "{came}");
    assert_eq!(code, Some(0), "{words}");
    let lost = RECORDS - came;
    assert_eq!(
        words,
        format!("annulus: {lost} records were lost on the way\n")
    );

    let (came, code, words) = missed(&["--no-loss"], RECORDS);
    assert_eq!(code, Some(1), "{words}");
    let lost = RECORDS - came;
    assert_eq!(
        words,
        format!("annulus: {lost} records were lost on the way\n")
    );
}

/// `ANNULUS_FILE_BYTES` as above.
#[test]
fn a_file_goes_through_udp_at_a_pace_that_its_receiver_follows() {
    let size = std::env::var("ANNULUS_FILE_BYTES").ok();
    let size = size.map_or(2_000_000, |size| size.parse().expect("a number"));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    let bytes = noise(size);
    fs::write(&file, &bytes).expect("write");
    let channel = Channel::new("udp");
    let receiver = channel.recv(&["-e", "--no-loss"]).finish_later();
    let file = file.to_str().expect("UTF-8");
    let start = Instant::now();
    let args = ["--chunk", "8000", "--rate", "1000", file];
    channel.send(&args).finish().quiet(0);
    let least = (size / 8000 - 3) as f64 / 1000.0;
    assert!(
        start.elapsed().as_secs_f64() >= least,
        "{:?}",
        start.elapsed()
    );
    let outcome = receiver.join().expect("the receiver's end");
    outcome.quiet(0);
    assert!(outcome.stdout == bytes);
}

impl Annulus {
    fn write_and_finish(mut self, bytes: &[u8]) {
        self.write(bytes);
        self.finish().quiet(0);
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
