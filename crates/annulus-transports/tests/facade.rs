//! Every transport opened by its name, within one process; and the choice among several.

use annulus::{Kind, RingOptions};
use annulus_channel::{OpenReason, RecvTimeoutError};
use annulus_mqueue::QueueOptions;
use annulus_transports::{
    Chosen, OpenError, Options, Scheme, Side, Url, WhenClosed, fallback, open_receiver,
    open_sender, remove, remove_finished,
};
use nix::unistd::{Uid, setfsuid};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// No test waits longer for anything that should come.
const GUARD: Duration = Duration::from_secs(30);

/// A name of this scheme that no other test has.
fn fresh(scheme: Scheme, folder: &Path) -> Url {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Relaxed);
    let pid = std::process::id();
    let name = format!("annulus-facade-{pid}-{number}");
    let word = match scheme {
        Scheme::Ring | Scheme::Classic | Scheme::Sem => format!("{scheme}:{name}"),
        Scheme::Mq => format!("mq:/{name}"),
        Scheme::Sysv => format!("sysv:{:#x}", 0x7d00_0000 | (pid & 0xffff) << 8 | number),
        Scheme::Tcp => {
            let free = TcpListener::bind("127.0.0.1:0").expect("a port");
            format!("tcp:{}", free.local_addr().expect("bound"))
        }
        Scheme::Udp => {
            let free = UdpSocket::bind("127.0.0.1:0").expect("a port");
            format!("udp:{}", free.local_addr().expect("bound"))
        }
        _ => format!("{scheme}:{}", folder.join(name).display()),
    };
    word.parse().expect("a name")
}

fn is_met(scheme: Scheme) -> bool {
    use Scheme::{Fifo, Tcp, Udp, Unix, UnixDgram, UnixSeqpacket};
    matches!(scheme, Fifo | Tcp | Udp | Unix | UnixDgram | UnixSeqpacket)
}

fn named() -> impl Iterator<Item = Scheme> {
    Scheme::ALL
        .into_iter()
        // TLS has a test of its own, with certificates.
        .filter(|scheme| !matches!(scheme, Scheme::Pipe | Scheme::Tls))
}

#[test]
fn every_scheme_opens_both_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    for scheme in named() {
        let url = fresh(scheme, folder.path());
        let mut options = Options::new();
        options.create(!is_met(scheme));
        let mut receiver = open_receiver(&url, &options).expect("the receiver");
        let to = url.clone();
        let sending = thread::spawn(move || {
            let mut options = Options::new();
            options.create(!is_met(scheme)).wait(GUARD);
            let mut sender = open_sender(&to, &options).expect("the sender");
            for record in [&b"one"[..], b"", b"three"] {
                sender.send(record).expect("room");
            }
            sender.capabilities()
        });
        let mut record = Vec::new();
        for expected in [&b"one"[..], b"", b"three"] {
            receiver.recv_timeout(&mut record, GUARD).expect("a record");
            assert_eq!(record, expected, "{url}");
        }
        let declared = sending.join().expect("the sender's end");
        assert_eq!(declared, receiver.capabilities(), "{url}");
        let end = receiver.recv_timeout(&mut record, GUARD);
        assert_eq!(end, Err(RecvTimeoutError::Disconnected), "{url}");
        drop(receiver);
        match scheme {
            Scheme::Spool => remove(&url).expect("it stays until then"),
            _ => assert!(remove(&url).is_err(), "{url} is left"),
        }
    }
    assert_eq!(folder.path().read_dir().expect("the folder").count(), 0);
}

#[test]
fn a_receiver_that_waits_for_the_next_sender_keeps_its_deadline() {
    let folder = tempfile::tempdir().expect("a folder");
    for scheme in named() {
        let url = fresh(scheme, folder.path());
        let mut options = Options::new();
        options
            .create(!is_met(scheme))
            .when_closed(WhenClosed::Wait);
        let mut receiver = open_receiver(&url, &options).expect("the receiver");
        let mut record = Vec::new();
        for round in 0..2 {
            let to = url.clone();
            let sending = thread::spawn(move || {
                let mut sender = open_sender(&to, Options::new().wait(GUARD)).expect("the sender");
                sender.send(&[round]).expect("room");
            });
            receiver.recv_timeout(&mut record, GUARD).expect("a record");
            assert_eq!(record, [round], "{url}");
            sending.join().expect("the sender's end");
            let limit = Instant::now() + Duration::from_millis(40);
            let nothing = receiver.recv_deadline(&mut record, limit);
            assert_eq!(nothing, Err(RecvTimeoutError::Timeout), "{url}");
            assert!(Instant::now() >= limit, "{url}");
            assert!(receiver.try_recv(&mut record).is_err(), "{url}");
        }
        drop(receiver);
        let _ = remove(&url);
    }
}

#[test]
fn what_many_short_senders_send_is_received() {
    const EACH: u8 = 100;
    let folder = tempfile::tempdir().expect("a folder");
    for scheme in [Scheme::Classic, Scheme::Sem, Scheme::Spool] {
        let url = fresh(scheme, folder.path());
        let mut options = Options::new();
        options.create(true).when_closed(WhenClosed::Wait);
        let mut receiver = open_receiver(&url, &options).expect("the receiver");
        let sending = [0, 1].map(|who| {
            let to = url.clone();
            thread::spawn(move || {
                for number in 0..EACH {
                    let mut sender = loop {
                        match open_sender(&to, Options::new().wait(GUARD)) {
                            Ok(sender) => break sender,
                            // One at a time.
                            Err(OpenError::Transport(error))
                                if matches!(error.reason, OpenReason::Taken { .. }) =>
                            {
                                thread::yield_now();
                            }
                            Err(error) => panic!("{error}"),
                        }
                    };
                    sender.send(&[who, number]).expect("room");
                }
            })
        });
        let mut next = [0; 2];
        let mut record = Vec::new();
        while next != [EACH; 2] {
            let got = receiver.recv_timeout(&mut record, Duration::from_secs(5));
            got.unwrap_or_else(|error| panic!("{url}: {error} after {next:?}"));
            let who = usize::from(record[0]);
            assert_eq!(record[1], next[who], "{url}");
            next[who] += 1;
        }
        for sending in sending {
            sending.join().expect("a sender's end");
        }
        drop(receiver);
        let _ = remove(&url);
    }
}

#[test]
fn a_queue_that_somebody_has_open_is_not_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    #[track_caller]
    fn is_busy(url: &Url) {
        let error = remove(url).expect_err("somebody has it open");
        assert!(matches!(error, OpenError::Busy { .. }), "{error}");
    }
    for scheme in [Scheme::Mq, Scheme::Sysv] {
        let url = fresh(scheme, folder.path());
        // Whoever has made it and attached nothing yet.
        let mut options = QueueOptions::new();
        options.create(true);
        match &url {
            Url::Mq(name) => {
                let _queue = options.posix(name).expect("a queue");
                is_busy(&url);
            }
            Url::Sysv(key) => {
                let _queue = options.sysv(&key.to_string()).expect("a queue");
                is_busy(&url);
            }
            other => unreachable!("no queue: {other}"),
        }
        let mut sender = open_sender(&url, &Options::new()).expect("it is there still");
        sender.send(b"kept").expect("room");
        is_busy(&url);
        let mut receiver = open_receiver(&url, &Options::new()).expect("it is there still");
        drop(sender);
        is_busy(&url);
        let mut record = Vec::new();
        receiver.recv_timeout(&mut record, GUARD).expect("a record");
        assert_eq!(record, b"kept");
        drop(receiver);
        remove(&url).expect("nobody has it open");
    }
}

/// Lets both ends choose, and gives what they chose.
fn choose(receiver: Vec<Url>, sender: Vec<Url>) -> (Chosen, Chosen) {
    let offering = thread::spawn(move || {
        fallback(&receiver, Side::Receiver, Options::new().wait(GUARD)).expect("one works")
    });
    let chosen = fallback(&sender, Side::Sender, Options::new().wait(GUARD));
    (
        offering.join().expect("the receiver's end"),
        chosen.expect("one works"),
    )
}

#[track_caller]
fn passes((receiver, sender): (Chosen, Chosen)) {
    let mut receiver = receiver.channel.receiver().expect("a receiver");
    let mut sender = sender.channel.sender().expect("a sender");
    sender.send(b"through").expect("room");
    let mut record = Vec::new();
    receiver.recv_timeout(&mut record, GUARD).expect("a record");
    assert_eq!(record, b"through");
}

#[test]
fn the_first_that_works_at_both_ends_is_chosen() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    // Every scheme that does not lose records can be the one.
    for scheme in named().filter(|scheme| *scheme != Scheme::Udp) {
        let nowhere: Url = format!("unix:{}", at.join("no/such/folder/s").display())
            .parse()
            .expect("a name");
        let (first, second) = (fresh(scheme, at), fresh(Scheme::Ring, at));
        let urls = vec![nowhere.clone(), first.clone(), second.clone()];
        let (receiver, sender) = choose(urls.clone(), urls);
        assert_eq!((&receiver.url, &sender.url), (&first, &first));
        assert_eq!(sender.rejected[0].0, nowhere);
        // The receiver could not offer it, and hears that the sender could not use it.
        assert_eq!(receiver.rejected[0].0, nowhere);
        assert!(
            matches!(receiver.rejected[1], (ref url, OpenError::Peer { .. }) if *url == nowhere)
        );
        passes((receiver, sender));
        assert!(remove(&second).is_err(), "{second} was offered and is left");
        let _ = remove(&first);
    }
}

#[test]
fn a_ring_that_the_sender_cannot_see_is_passed_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    // As on another machine: the same name means another place there.
    let here = fresh(Scheme::Ring, at);
    let there: Url = format!("{}-there", here).parse().expect("a name");
    let socket = fresh(Scheme::Tcp, at);
    let (receiver, sender) = choose(
        vec![here.clone(), socket.clone()],
        vec![there.clone(), socket.clone()],
    );
    assert_eq!((&receiver.url, &sender.url), (&socket, &socket));
    assert_eq!(sender.rejected.len(), 1);
    assert!(matches!(&receiver.rejected[..], [(url, OpenError::Peer { .. })] if *url == there));
    passes((receiver, sender));
    assert!(remove(&here).is_err(), "the ring that was offered is left");
}

#[test]
fn a_ring_without_a_living_receiver_is_passed_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let (left, socket) = (fresh(Scheme::Ring, at), fresh(Scheme::Unix, at));
    // Somebody's ring of that name, which the receiver knows nothing of.
    drop(open_sender(&left, Options::new().create(true).keep(true)).expect("a ring"));
    let (receiver, sender) = choose(vec![socket.clone()], vec![left.clone(), socket.clone()]);
    assert_eq!(sender.url, socket);
    assert!(sender.rejected[0].1.to_string().contains("nobody receives"));
    passes((receiver, sender));
    remove(&left).expect("the ring");
}

#[test]
fn a_channel_with_a_receiver_says_so_to_the_next_one() {
    use Scheme::{Classic, Fifo, Ring, Tcp, Udp, Unix, UnixDgram, UnixSeqpacket};
    let folder = tempfile::tempdir().expect("a folder");
    for scheme in [
        Ring,
        Fifo,
        Unix,
        UnixSeqpacket,
        UnixDgram,
        Tcp,
        Udp,
        Classic,
    ] {
        let url = fresh(scheme, folder.path());
        let mut options = Options::new();
        options.create(!is_met(scheme));
        let receiver = open_receiver(&url, &options).expect("a receiver");
        let Err(error) = open_receiver(&url, &options) else {
            panic!("{url}: a second receiver");
        };
        let said = error.to_string();
        assert!(said.starts_with(&format!("{url}: ")), "{said}");
        // A port may be taken by anybody.
        let why = match scheme {
            Tcp | Udp => "the address is in use",
            _ => "takes one receiver, and",
        };
        assert!(said.contains(why), "{said}");
        drop(receiver);
        let _ = remove(&url);
    }
}

#[test]
fn an_error_begins_with_the_name_as_it_was_given() {
    for word in [
        "mq:/.",
        "mq:/.q",
        "ring:sysv:0x7d7d7d7d",
        "annulus-facade-none",
    ] {
        let url: Url = word.parse().expect("a name");
        for error in [
            open_sender(&url, &Options::new()).err(),
            open_receiver(&url, &Options::new()).err(),
            remove(&url).err(),
        ] {
            let said = error.expect("there is no such thing").to_string();
            assert!(said.starts_with(&format!("{word}: ")), "{said}");
        }
    }
    // A ring's own errors, which do not all know it.
    let url: Url = "annulus-facade-small".parse().expect("a name");
    let Err(error) = open_sender(&url, Options::new().create(true).capacity(usize::MAX)) else {
        panic!("so large a ring");
    };
    let said = error.to_string();
    assert!(said.starts_with("annulus-facade-small: "), "{said}");
    assert!(said.contains("out of bounds"), "{said}");
}

#[test]
fn what_is_used_between_a_look_and_a_removal_stays() {
    use Scheme::{Classic, Mq, Ring, Sem, Sysv};
    let folder = tempfile::tempdir().expect("a folder");
    for scheme in [Ring, Mq, Sysv, Classic, Sem] {
        let url = fresh(scheme, folder.path());
        let create = || open_receiver(&url, Options::new().create(true)).expect("a receiver");
        // Somebody there.
        let receiver = create();
        assert_eq!(remove_finished(&url), Ok(false), "{url}");
        let mut sender = open_sender(&url, &Options::new()).expect("it is there still");
        drop(receiver);
        // Somebody has come, sent, and gone.
        if matches!(scheme, Classic | Sem) {
            // They end with their only receiver.
            drop(sender);
            let mut sender = open_sender(&url, Options::new().create(true)).expect("a buffer");
            sender.send(b"kept").expect("room");
        } else {
            drop(sender);
            sender = open_sender(&url, Options::new().create(true)).expect("a channel");
            sender.send(b"kept").expect("room");
            drop(sender);
        }
        assert_eq!(remove_finished(&url), Ok(false), "{url}");
        let mut record = Vec::new();
        let mut receiver = open_receiver(&url, &Options::new()).expect("it is there still");
        receiver.recv_timeout(&mut record, GUARD).expect("a record");
        assert_eq!(record, b"kept", "{url}");
        drop(receiver);
        assert!(remove(&url).is_err(), "{url} is left");
    }
}

#[test]
fn nothing_that_is_sent_is_swept_away() {
    use Scheme::{Classic, Mq, Ring, Sem, Sysv};
    const ROUNDS: u8 = 200;
    let folder = tempfile::tempdir().expect("a folder");
    for scheme in [Ring, Mq, Sysv, Classic, Sem] {
        let url = fresh(scheme, folder.path());
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    let _ = remove_finished(&url);
                }
            });
            let mut create = Options::new();
            create.create(true);
            let mut record = Vec::new();
            let passed = (0..ROUNDS).try_for_each(|round| {
                // An empty channel, which may or may not be there still when the sender comes.
                drop(open_receiver(&url, &create).map_err(|error| error.to_string())?);
                let sender = open_sender(&url, &create);
                let mut sender = sender.map_err(|error| error.to_string())?;
                sender.send(&[round]).map_err(|error| error.to_string())?;
                drop(sender);
                thread::yield_now();
                let receiver = open_receiver(&url, &Options::new());
                let mut receiver = receiver.map_err(|error| error.to_string())?;
                let received = receiver.recv_timeout(&mut record, GUARD);
                received.map_err(|error| error.to_string())?;
                match record == [round] {
                    true => Ok(()),
                    false => Err(format!("{record:?}, expected {round}")),
                }
            });
            over.store(true, Relaxed);
            assert_eq!(passed, Ok(()), "{url}");
        });
        let _ = remove(&url);
    }
}

#[test]
fn what_is_to_be_kept_is_not_finished() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in kept(folder.path()) {
        if !matches!(url, Url::Classic(_) | Url::Sem(_)) {
            leave(&url, &[]);
            assert_eq!(remove_finished(&url), Ok(false), "{url}");
            remove(&url).expect("it is there still");
        }
    }
}

#[test]
fn a_ring_that_was_just_made_stays_until_its_maker_attaches() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = fresh(Scheme::Ring, folder.path());
    let Url::Ring(location) = &url else {
        unreachable!("a ring");
    };
    let mut options = RingOptions::new();
    options
        .create(true)
        .capacity(4096)
        .unlink_when_finished(true);
    let ring = options.open_any(Kind::Spsc, location).expect("a ring");
    assert_eq!(remove_finished(&url), Ok(false));
    drop(ring.receiver().expect("it is there still"));
    assert_eq!(remove_finished(&url), Ok(true));
}

#[test]
fn the_senders_order_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let (one, other) = (fresh(Scheme::Mq, at), fresh(Scheme::Fifo, at));
    let (receiver, sender) = choose(vec![one.clone(), other.clone()], vec![other.clone(), one]);
    assert_eq!((&receiver.url, &sender.url), (&other, &other));
    passes((receiver, sender));
}

#[test]
fn where_none_works_every_reason_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let urls = [fresh(Scheme::Ring, at), fresh(Scheme::Unix, at), Url::Pipe];
    let wait = Duration::from_millis(30);
    let none =
        fallback(&urls, Side::Sender, Options::new().wait(wait)).expect_err("nobody is there");
    let names: Vec<_> = none.rejected.iter().map(|(url, _)| url).collect();
    assert_eq!(names, [&urls[0], &urls[1], &urls[2]]);
    let none = fallback(&urls, Side::Receiver, Options::new().wait(wait)).expect_err("nobody came");
    assert_eq!(none.rejected.len(), 1);
    assert_eq!(none.rejected[0].0, Url::Pipe);
    // What was offered is gone.
    for url in &urls[..2] {
        assert!(remove(url).is_err(), "{url}");
    }
    // What may lose the greeting cannot be chosen.
    let udp = [fresh(Scheme::Udp, at)];
    let none = fallback(&udp, Side::Receiver, Options::new().wait(wait)).expect_err("it may lose");
    assert!(none.to_string().contains("may lose"), "{none}");
}

#[test]
fn where_nothing_can_work_a_sender_does_not_wait() {
    if !Uid::effective().is_root() {
        println!("skipped: only root can become somebody who may not");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    use Scheme::{Classic, Mq, Ring, Sem, Spool, Sysv, Unix};
    let ours: Vec<Url> = [Ring, Mq, Sysv, Classic, Sem, Spool, Unix]
        .map(|scheme| fresh(scheme, at))
        .into();
    let receivers: Vec<_> = ours
        .iter()
        .map(|url| {
            let mut options = Options::new();
            options.create(!is_met(url.scheme()));
            open_receiver(url, &options).expect("a receiver")
        })
        .collect();
    let mut urls = ours.clone();
    urls.extend([fresh(Scheme::Udp, at), Url::Pipe]);
    let asked = urls.clone();
    // The rights to files are a thread's own.
    let stranger = thread::spawn(move || {
        setfsuid(Uid::from_raw(65534));
        let since = Instant::now();
        let none = fallback(&asked, Side::Sender, Options::new().wait(GUARD));
        (none.expect_err("it may open none"), since.elapsed())
    });
    let (none, waited) = stranger.join().expect("the stranger");
    assert!(waited < GUARD / 2, "{waited:?}: {none}");
    let said = none.to_string();
    let lines: Vec<_> = said.lines().skip(1).collect();
    assert_eq!(lines.len(), urls.len(), "{said}");
    for (line, url) in lines.iter().zip(&urls) {
        assert!(line.starts_with(&format!("  {url}: ")), "{line}");
        let denied = ours.contains(url);
        assert_eq!(line.ends_with("permission denied"), denied, "{line}");
    }
    drop(receivers);
    for url in &ours {
        let _ = remove(url);
    }
    // Nor is there anything to wait for in an empty list.
    let since = Instant::now();
    fallback(&[], Side::Sender, Options::new().wait(GUARD)).expect_err("there is none");
    assert!(since.elapsed() < GUARD / 2);
}

/// A ring, a file, a queue or a buffer: what its users keep by its name.
fn kept(folder: &Path) -> Vec<Url> {
    use Scheme::{Classic, Mq, Ring, Sem, Spool, Sysv};
    let mut urls: Vec<Url> = [Ring, Mq, Sysv, Classic, Sem, Spool]
        .map(|scheme| fresh(scheme, folder))
        .into();
    let file = format!("file:{}", folder.join("ring").display());
    urls.push(file.parse().expect("a name"));
    urls
}

/// Leaves a channel with these records in it, and nobody there.
fn leave(url: &Url, records: &[&[u8]]) {
    let mut options = Options::new();
    options
        .create(true)
        .keep(matches!(url, Url::Ring(_) | Url::Mq(_) | Url::Sysv(_)));
    let mut sender = open_sender(url, &options).expect("a sender");
    for record in records {
        sender.send(record).expect("room");
    }
}

#[test]
fn a_fallback_leaves_what_exists_already_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    for url in kept(at) {
        leave(&url, &[b"one", b"two"]);
        // It is refused where it is the only one, and passed over where another one works.
        let mut wait = Options::new();
        wait.wait(Duration::from_millis(30));
        let none = fallback(std::slice::from_ref(&url), Side::Receiver, &wait);
        let said = none.expect_err("it is there").to_string();
        assert!(said.contains("it exists already"), "{said}");
        let other = fresh(Scheme::Ring, at);
        let urls = vec![url.clone(), other.clone()];
        let (receiver, sender) = choose(urls.clone(), urls);
        assert_eq!((&receiver.url, &sender.url), (&other, &other));
        assert_eq!(receiver.rejected[0].0, url);
        passes((receiver, sender));

        let mut receiver = open_receiver(&url, &Options::new()).expect("it is there still");
        let mut record = Vec::new();
        for expected in [b"one", b"two"] {
            receiver.recv_timeout(&mut record, GUARD).expect("a record");
            assert_eq!(record, expected, "{url}");
        }
        drop(receiver);
        let _ = remove(&url);
    }
}

#[test]
fn a_fallback_leaves_an_empty_channel_where_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    // An empty buffer does not stay by itself.
    let stays = |url: &Url| !matches!(url, Url::Classic(_) | Url::Sem(_));
    for url in kept(at).into_iter().filter(stays) {
        leave(&url, &[]);
        let urls = [url.clone(), fresh(Scheme::Ring, at)];
        let mut wait = Options::new();
        wait.wait(Duration::from_millis(30));
        let none = fallback(&urls, Side::Receiver, &wait).expect_err("nobody comes");
        assert_eq!(none.rejected.len(), 1);
        remove(&url).expect("it is there still");
        assert!(remove(&urls[1]).is_err(), "what was offered is left");
    }
}

#[test]
fn a_socket_holds_what_either_end_asks_for() {
    let folder = tempfile::tempdir().expect("a folder");
    for scheme in [Scheme::UnixSeqpacket, Scheme::UnixDgram] {
        let url = fresh(scheme, folder.path());
        let mut receiver = open_receiver(&url, &Options::new()).expect("the receiver");
        let to = url.clone();
        let sending = thread::spawn(move || {
            let mut sender =
                open_sender(&to, Options::new().capacity(1 << 16)).expect("the sender");
            sender.send(b"one").expect("room");
            sender.capabilities().max_record
        });
        let mut record = Vec::new();
        receiver.recv_timeout(&mut record, GUARD).expect("a record");
        assert_eq!(
            sending.join().expect("the sender's end"),
            Some((1 << 16) - 33)
        );
        assert_eq!(receiver.capabilities().max_record, Some((1 << 16) - 33));
    }
    for scheme in [Scheme::Unix, Scheme::Tcp, Scheme::Udp, Scheme::Fifo] {
        let url = fresh(scheme, folder.path());
        let mut options = Options::new();
        let mut receiver = open_receiver(&url, options.capacity(1 << 16)).expect("the receiver");
        let to = url.clone();
        let sending = thread::spawn(move || {
            let mut sender = open_sender(&to, Options::new().wait(GUARD)).expect("the sender");
            sender.send(b"one").expect("room");
        });
        let mut record = Vec::new();
        receiver.recv_timeout(&mut record, GUARD).expect("a record");
        sending.join().expect("the sender's end");
    }
}

/// A datagram of a sender by hand, as `annulus-socket` has it: kind, channel, number, and what follows.
fn datagram(kind: u8, channel: u64, number: u64, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(channel.to_le_bytes());
    bytes.extend(number.to_le_bytes());
    bytes.extend(rest);
    bytes
}

#[test]
fn what_several_senders_lose_is_counted_together() {
    let url = fresh(Scheme::Udp, Path::new(""));
    let mut options = Options::new();
    options.when_closed(WhenClosed::Wait);
    let mut receiver = open_receiver(&url, &options).expect("the receiver");
    // A sender, over UDP, of records of up to 100 bytes.
    let mut greeting = b"annulus1\x01\x04\0\0\0\0\0\0".to_vec();
    greeting.extend(100_u64.to_le_bytes());
    let mut record = Vec::new();
    for (channel, last, lost) in [(7, 3, 2), (8, 2, 3)] {
        let hand = UdpSocket::bind("127.0.0.1:0").expect("a port");
        hand.connect(&url.to_string()[4..]).expect("an address");
        let hello = datagram(1, channel, 0, &greeting);
        hand.set_read_timeout(Some(Duration::from_millis(20)))
            .expect("a time");
        // It listens, and answers, in a call that waits for a record.
        let mut answer = || {
            let _ = receiver.try_recv(&mut record);
            hand.send(&hello).is_ok() && {
                let _ = receiver.try_recv(&mut record);
                hand.recv(&mut [0; 100]).is_ok()
            }
        };
        while !answer() {}
        hand.send(&datagram(3, channel, last, b"one"))
            .expect("room");
        receiver.recv_timeout(&mut record, GUARD).expect("a record");
        assert_eq!(record, b"one");
        assert_eq!(receiver.lost(), lost);
        hand.send(&datagram(4, channel, last, b"")).expect("room");
        let soon = receiver.recv_timeout(&mut record, Duration::from_millis(50));
        assert_eq!(soon, Err(RecvTimeoutError::Timeout));
        assert_eq!(receiver.lost(), lost);
    }
}
