//! Does it hold between processes, and when one is killed? The other processes are this program again;
//! see `common/actor.rs`.

mod common;

use annulus_channel::{OpenReason, Receiver as _, RecvError, RecvTimeoutError, Sender as _};
use annulus_socket::{Address, Kind, Receiver, Sender, SocketOptions, remove_stale};
use common::actor::{Actor, PATIENCE, live};
use common::{KINDS, Place};
use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What the other process does. Not a test, unless this is the other process.
#[test]
fn actor() {
    live();
}

/// A sender and a receiver in processes of their own, which have met at `place`; nobody listens any more.
fn couple(place: &Place, receiver_listens: bool) -> (Actor, Actor) {
    let (mut tx, mut rx) = (Actor::start(), Actor::start());
    let (here, end, there, other) = match receiver_listens {
        true => (&mut rx, "receiver", &mut tx, "sender"),
        false => (&mut tx, "sender", &mut rx, "receiver"),
    };
    let address = here.ask(&format!("listen {}", place.address()));
    here.tell(&format!("accept {end}"));
    there.must(&format!("connect {other} {address}"));
    assert_eq!(here.answer(), "ok");
    here.must("hide");
    assert!(
        place.is_empty(),
        "{address}: the name has gone with the listener"
    );
    (tx, rx)
}

#[test]
fn records_arrive_as_they_were_sent() {
    for kind in KINDS {
        for receiver_listens in [true, false] {
            let place = Place::new(kind);
            let (mut tx, mut rx) = couple(&place, receiver_listens);
            // As many as UDP has room for without loss.
            let work = match kind {
                Kind::Udp => "send 40 2000",
                _ => "send 3000 20000",
            };
            if kind != Kind::Udp {
                rx.tell("recv");
            }
            let sent = tx.ask(work);
            tx.must("close");
            let received = match kind {
                Kind::Udp => rx.ask("recv"),
                _ => rx.answer(),
            };
            assert_eq!(
                received,
                format!("{sent}, the last sender has closed"),
                "{kind}"
            );
        }
    }
}

/// Runs `round` up to three times, until one takes less than a second: only a machine that is busy
/// with something else may be slower, and not every time.
fn within_a_second(what: &str, mut round: impl FnMut() -> Duration) {
    let took: Vec<_> = (0..3)
        .map(|_| round())
        .take_while(|&took| took >= Duration::from_secs(1))
        .collect();
    assert!(took.len() < 3, "{what}: {took:?}");
}

#[test]
fn a_killed_sender_is_noticed_within_a_second() {
    for kind in KINDS {
        for at_work in [true, false] {
            within_a_second(&format!("{kind}, at work: {at_work}"), || {
                let place = Place::new(kind);
                let (mut tx, mut rx) = couple(&place, at_work);
                rx.tell("recv");
                if at_work {
                    tx.tell("flood 5000");
                }
                thread::sleep(Duration::from_millis(100));
                let since = tx.kill();
                let answer = rx.answer();
                assert!(
                    answer.ends_with(", the last sender was killed"),
                    "{kind}: {answer}"
                );
                assert!(place.is_empty());
                since.elapsed()
            });
        }
    }
}

#[test]
fn a_killed_receiver_is_noticed_within_a_second() {
    for kind in KINDS {
        for at_work in [true, false] {
            within_a_second(&format!("{kind}, at work: {at_work}"), || {
                let place = Place::new(kind);
                let (mut tx, mut rx) = couple(&place, at_work);
                // As a program that has not ignored it.
                tx.must("sigpipe");
                tx.tell("flood 5000");
                if at_work {
                    rx.tell("recv");
                }
                thread::sleep(Duration::from_millis(100));
                let since = rx.kill();
                assert_eq!(tx.answer(), "error: the last receiver was killed", "{kind}");
                assert!(place.is_empty());
                since.elapsed()
            });
        }
    }
}

#[test]
fn a_receiver_that_closes_ends_a_flood() {
    for kind in KINDS {
        let place = Place::new(kind);
        let (mut tx, mut rx) = couple(&place, true);
        tx.must("sigpipe");
        tx.tell("flood 5000");
        thread::sleep(Duration::from_millis(100));
        rx.must("close");
        assert_eq!(tx.answer(), "error: the last receiver has closed", "{kind}");
    }
}

#[test]
fn a_sender_may_close_and_end_before_anything_is_received() {
    for kind in KINDS.into_iter().filter(|&kind| kind != Kind::Udp) {
        let place = Place::new(kind);
        let (mut tx, mut rx) = couple(&place, true);
        let sent = tx.ask("send 20 500");
        tx.tell("end");
        // Also from a buffer that is full to the brim.
        thread::sleep(Duration::from_millis(50));
        let received = rx.ask("recv");
        assert_eq!(
            received,
            format!("{sent}, the last sender has closed"),
            "{kind}"
        );
    }
}

#[test]
fn a_full_channel_closes_in_order() {
    for kind in KINDS.into_iter().filter(|&kind| kind != Kind::Udp) {
        let place = Place::new(kind);
        let mut rx = Actor::start();
        let address: Address = rx
            .ask(&format!("listen {}", place.address()))
            .parse()
            .unwrap();
        rx.tell("accept receiver");
        let mut tx: Sender = SocketOptions::new().connect(&address).unwrap();
        assert_eq!(rx.answer(), "ok");
        let mut sent = 0_u32;
        while tx
            .send_timeout(&[7; 3000], Duration::from_millis(300))
            .is_ok()
        {
            sent += 1;
        }
        assert!(sent > 0);
        drop(tx);
        let received = rx.ask("recv");
        assert!(
            received.starts_with(&format!("{sent} ")),
            "{kind}: {sent}, {received}"
        );
        assert!(
            received.ends_with(", the last sender has closed"),
            "{kind}: {received}"
        );
    }
}

#[test]
fn signals_end_nothing() {
    for kind in KINDS {
        let place = Place::new(kind);
        let (mut tx, mut rx) = couple(&place, true);
        tx.must("catch");
        rx.must("catch");
        let ended = Arc::new(AtomicBool::new(false));
        let storm = {
            let (ended, pids) = (ended.clone(), [tx.pid(), rx.pid()]);
            thread::spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    for pid in pids {
                        nix::sys::signal::kill(pid, Signal::SIGUSR1).expect("our child");
                    }
                    thread::sleep(Duration::from_micros(100));
                }
            })
        };
        rx.tell("recv");
        thread::sleep(Duration::from_millis(100));
        let work = match kind {
            Kind::Udp => "send 40 2000",
            _ => "send 2000 20000",
        };
        let sent = tx.ask(work);
        thread::sleep(Duration::from_millis(100));
        tx.must("close");
        let received = rx.answer();
        ended.store(true, Ordering::Relaxed);
        storm.join().unwrap();
        assert_eq!(
            received,
            format!("{sent}, the last sender has closed"),
            "{kind}"
        );
    }
}

#[test]
fn a_stopped_process_is_not_dead() {
    for kind in KINDS {
        let place = Place::new(kind);
        let mut far = Actor::start();
        let address: Address = far
            .ask(&format!("listen {}", place.address()))
            .parse()
            .unwrap();
        far.tell("accept sender");
        let mut rx: Receiver = SocketOptions::new().connect(&address).unwrap();
        assert_eq!(far.answer(), "ok");
        far.signal(Signal::SIGSTOP);
        let mut record = Vec::new();
        let nothing = rx.recv_timeout(&mut record, Duration::from_millis(500));
        assert_eq!(nothing, Err(RecvTimeoutError::Timeout), "{kind}");
        far.signal(Signal::SIGCONT);
        far.tell("send 1 100");
        assert!(rx.recv_timeout(&mut record, PATIENCE).is_ok(), "{kind}");
        far.kill();
        assert_eq!(rx.recv(&mut record), Err(RecvError::PeerDead), "{kind}");
    }
}

#[test]
fn a_stranger_is_refused() {
    if !geteuid().is_root() {
        println!("only root can be two users");
        return;
    }
    for kind in KINDS
        .into_iter()
        .filter(|&kind| kind != Kind::Tcp && kind != Kind::Udp)
    {
        let place = Place::new(kind);
        fs::set_permissions(
            place.path().parent().unwrap(),
            PermissionsExt::from_mode(0o755),
        )
        .unwrap();
        let address = place.address();
        let mut stranger = Actor::start();
        stranger.must("any");
        stranger.must("become 54321");

        // By the rights of the file …
        let listener = SocketOptions::new().listen(&address).unwrap();
        let refused = stranger.ask(&format!("connect sender {address}"));
        assert_eq!(refused, format!("error: {address}: permission denied"));
        drop(listener);

        // … or, where these are wide, by name.
        let listener = SocketOptions::new().mode(0o666).listen(&address).unwrap();
        stranger.tell(&format!("connect sender {address}"));
        let refused = listener.accept::<Receiver>().unwrap_err();
        assert_eq!(
            refused.reason,
            OpenReason::Stranger {
                expected: 0,
                found: 54321
            }
        );
        assert_eq!(
            stranger.answer(),
            format!("error: {address}: permission denied")
        );

        // The listener stands, and takes others.
        let mut friend = Actor::start();
        friend.tell(&format!("connect sender {address}"));
        let _rx: Receiver = listener.accept().unwrap();
        assert_eq!(friend.answer(), "ok");
        drop(listener);

        // Who is expected comes in, and everybody where everybody is.
        let listener = SocketOptions::new()
            .mode(0o666)
            .user(54321)
            .listen(&address)
            .unwrap();
        stranger.tell(&format!("connect sender {address}"));
        let _rx: Receiver = listener.accept().unwrap();
        assert_eq!(stranger.answer(), "ok");
    }
}

#[test]
fn whoever_connects_does_not_talk_to_a_stranger() {
    if !geteuid().is_root() {
        println!("only root can be two users");
        return;
    }
    for kind in KINDS
        .into_iter()
        .filter(|&kind| kind != Kind::Tcp && kind != Kind::Udp)
    {
        let place = Place::new(kind);
        fs::set_permissions(
            place.path().parent().unwrap(),
            PermissionsExt::from_mode(0o777),
        )
        .unwrap();
        let mut stranger = Actor::start();
        stranger.must("any");
        stranger.must("become 54321");
        let address: Address = stranger
            .ask(&format!("listen {}", place.address()))
            .parse()
            .unwrap();
        stranger.tell("accept receiver");
        let refused = SocketOptions::new()
            .connect::<Sender>(&address)
            .unwrap_err();
        assert!(
            matches!(refused.reason, OpenReason::Stranger { found: 54321, .. }),
            "{refused}"
        );
    }
}

#[test]
fn the_name_of_a_dead_listener_is_taken_over_and_a_living_one_is_not() {
    for kind in KINDS
        .into_iter()
        .filter(|&kind| kind != Kind::Tcp && kind != Kind::Udp)
    {
        let place = Place::new(kind);
        let (path, address) = (place.path(), place.address());
        let mut dead = Actor::start();
        dead.ask(&format!("listen {address}"));
        // Nobody takes it from the living, of whatever kind.
        for other in [
            Address::UnixStream(path.clone()),
            Address::UnixSeqpacket(path.clone()),
            Address::UnixDatagram(path.clone()),
        ] {
            let taken = SocketOptions::new().listen(&other).unwrap_err();
            assert_eq!(taken.reason, OpenReason::Exists, "{other}");
        }
        assert!(!remove_stale(&path).unwrap());
        dead.kill();
        assert!(path.exists(), "nobody was there to remove it");

        let listener = SocketOptions::new().listen(&address).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{kind}");
        let mut friend = Actor::start();
        friend.tell(&format!("connect sender {address}"));
        let _rx: Receiver = listener.accept().unwrap();
        assert_eq!(friend.answer(), "ok");
        drop(listener);
        assert!(place.is_empty(), "{kind}");

        let mut dead = Actor::start();
        dead.ask(&format!("listen {address}"));
        dead.kill();
        assert!(remove_stale(&path).unwrap());
        assert!(place.is_empty(), "{kind}");
    }
}

#[test]
fn many_who_take_over_at_once_are_one() {
    for round in 0..20 {
        let place = Place::new(Kind::UnixStream);
        drop(UnixListener::bind(place.path()).unwrap());
        let address = place.address();
        let start = Arc::new(std::sync::Barrier::new(8));
        let listeners: Vec<_> = (0..8)
            .map(|_| {
                let (address, start) = (address.clone(), start.clone());
                thread::spawn(move || {
                    start.wait();
                    SocketOptions::new().listen(&address)
                })
            })
            .collect::<Vec<_>>()
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect();
        let living = listeners.iter().filter(|listener| listener.is_ok()).count();
        assert_eq!(living, 1, "round {round}");
        drop(listeners);
        assert!(place.is_empty());
    }
}

#[test]
fn a_file_that_is_no_socket_stays() {
    let place = Place::new(Kind::UnixStream);
    fs::write(place.path(), "precious").unwrap();
    let exists = SocketOptions::new().listen(&place.address()).unwrap_err();
    assert_eq!(exists.reason, OpenReason::Exists);
    assert!(!remove_stale(&place.path()).unwrap());
    assert_eq!(fs::read_to_string(place.path()).unwrap(), "precious");
    let dir = place.path().parent().unwrap().to_owned();
    assert_eq!(fs::read_dir(dir).unwrap().count(), 1, "nothing beside it");
}

#[test]
fn deadlines_of_meeting_are_kept() {
    for kind in KINDS {
        let place = Place::new(kind);
        let soon = Duration::from_millis(30);
        let since = Instant::now();
        let listener = SocketOptions::new().listen(&place.address()).unwrap();
        let nobody = listener
            .accept_deadline::<Sender>(since + soon)
            .unwrap_err();
        assert_eq!(nobody.reason, OpenReason::TimedOut, "{kind}");
        assert!(since.elapsed() >= soon);
        // It listens, but does not accept.
        let since = Instant::now();
        let silent = SocketOptions::new()
            .connect_deadline::<Sender>(listener.address(), since + soon)
            .unwrap_err();
        assert_eq!(silent.reason, OpenReason::TimedOut, "{kind}");
        assert!(since.elapsed() >= soon);
        // It does not listen any more.
        let address = listener.address().clone();
        drop(listener);
        let gone = SocketOptions::new()
            .connect::<Sender>(&address)
            .unwrap_err();
        assert!(
            matches!(gone.reason, OpenReason::NotFound | OpenReason::Refused),
            "{gone}"
        );
    }
}
