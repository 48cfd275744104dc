//! Does it hold between processes, and when they are killed or stopped? The other process is the program `actor`.
//!
//! `ANNULUS_STORM=10000000 cargo test -p annulus-tests --profile checked --test processes storm -- --nocapture`
//! sends ten million messages between 4 senders and 4 receivers; the default is 200 000.
#![cfg(not(loom))]

use annulus::{
    AttachError, Mpmc, Mpsc, Order, Protocol, Receiver, RecvError, RecvTimeoutError, Ring,
    RingOptions, SendError, Spmc, Spsc, TryRecvError,
};
use annulus_tests::actor::{Actor, PATIENCE};
use annulus_tests::place::{Medium, Name, create};
use annulus_tests::storm::{self, Notes};
use annulus_tests::watch::Watch;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::Signal;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::thread;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

fn actor(arguments: &[&str]) -> Actor {
    Actor::start(env!("CARGO_BIN_EXE_actor"), arguments)
}

/// A process that has opened the ring of this name.
fn guest<K: Protocol>(name: &Name) -> Actor {
    let mut actor = actor(&["ring", &K::KIND.to_string(), &name.word()]);
    actor.must("open");
    actor
}

fn new<K: Protocol>(name: &Name) -> Ring<u64, K> {
    RingOptions::new()
        .create_new(true)
        .capacity(16)
        .open(name.location())
        .expect("a new ring")
}

fn next<K: Protocol>(receiver: &mut Receiver<u64, K>) -> Result<u64, RecvTimeoutError> {
    receiver.recv_timeout(PATIENCE)
}

fn meet<K: Protocol>(medium: Medium) {
    let name = Name::on(medium).expect("a medium with names");
    let kind = K::KIND.to_string();
    // Neither knows the other; whoever comes first creates the ring.
    let mut one = actor(&["ring", &kind, &name.word()]);
    let mut other = actor(&["ring", &kind, &name.word()]);
    one.must("create 4");
    other.must("create 4");
    one.must("sender");
    other.must("receiver");
    other.tell("recv");
    one.must("send 42");
    assert_eq!(other.answer(), "42");
    for number in 0..4 {
        one.must(&format!("try_send {number}"));
    }
    assert_eq!(one.ask("try_send 4"), "error: sending on a full channel");
    for number in 0..4 {
        assert_eq!(other.ask("try_recv"), number.to_string());
    }
    one.end();
    assert!(other.ask("recv").starts_with("error: "));
    other.end();
}

#[test]
fn unrelated_processes_meet_by_name() {
    let _watch = Watch::start();
    for medium in [Medium::Shm, Medium::File, Medium::Sysv] {
        meet::<Spsc>(medium);
        meet::<Mpsc>(medium);
        meet::<Spmc>(medium);
        meet::<Mpmc>(medium);
    }
}

/// A process that inherits the descriptor.
fn heir<K: Protocol>(fd: BorrowedFd<'_>) -> Actor {
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())).expect("a descriptor");
    let place = format!("fd:{}", fd.as_raw_fd());
    let mut actor = actor(&["ring", &K::KIND.to_string(), &place]);
    actor.must("open");
    actor
}

#[test]
fn a_memory_file_is_inherited() {
    let _watch = Watch::start();
    let ring: Ring<u64, Spsc> = RingOptions::new().capacity(4).memfd().unwrap();
    let fd = ring.as_fd().unwrap();
    let (mut one, mut other) = (heir::<Spsc>(fd), heir::<Spsc>(fd));
    one.must("sender");
    other.must("receiver");
    one.must("send 1");
    assert_eq!(other.ask("recv"), "1");
}

#[test]
fn the_only_place_of_a_side_is_refused_to_a_second() {
    let _watch = Watch::start();
    let name = Name::shm();
    let ring = new::<Spsc>(&name);
    let mut holder = guest::<Spsc>(&name);
    holder.must("sender");
    holder.must("receiver");
    let pid = holder.pid();
    let refused = ring.sender().unwrap_err();
    assert_eq!(
        refused,
        AttachError::Taken {
            side: "sender",
            pid
        }
    );
    assert!(refused.to_string().contains(&pid.to_string()), "{refused}");
    let refused = ring.receiver().unwrap_err();
    assert!(matches!(refused, AttachError::Taken { side: "receiver", pid: by } if by == pid));
    // A stopped holder holds on.
    holder.stop();
    assert!(ring.sender().is_err());
    holder.go_on();
    holder.must("close");
    assert!(ring.sender().is_ok());
}

fn take_over<K: Protocol>(medium: Medium) {
    let name = Name::on(medium).expect("a medium with names");
    let ring = new::<K>(&name);
    let mut receiver = ring.receiver().unwrap();
    let mut first = guest::<K>(&name);
    first.must("sender");
    for number in 1..=3 {
        first.must(&format!("send {number}"));
    }
    first.kill();
    let mut second = ring.sender().expect("the dead one's place");
    second.send(4).unwrap();
    let got: Vec<_> = (0..4).map(|_| next(&mut receiver)).collect();
    assert_eq!(got, [Ok(1), Ok(2), Ok(3), Ok(4)]);

    drop(receiver);
    let mut first = guest::<K>(&name);
    first.must("receiver");
    for number in 5..=6 {
        second.send(number).unwrap();
    }
    assert_eq!(first.ask("recv"), "5");
    first.kill();
    let mut receiver = ring.receiver().expect("the dead one's place");
    assert_eq!(next(&mut receiver), Ok(6));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn a_killed_holder_is_succeeded_and_the_position_continues() {
    let _watch = Watch::start();
    for medium in [Medium::Shm, Medium::File, Medium::Sysv] {
        take_over::<Spsc>(medium);
        take_over::<Mpsc>(medium);
        take_over::<Spmc>(medium);
        take_over::<Mpmc>(medium);
    }
}

/// A record that is reserved and not committed when its sender is killed.
fn open_claim<K: Protocol + Send + Sync + 'static>(order: Order) {
    let name = Name::shm();
    let ring: Ring<u64, K> = RingOptions::new()
        .create_new(true)
        .capacity(16)
        .order(order)
        .open(name.location())
        .unwrap();
    let mut victim = guest::<K>(&name);
    victim.must("sender");
    assert_eq!(victim.ask("reserve 1"), "reserved");
    let mut sender = ring.sender().unwrap();
    let mut receiver = ring.receiver().unwrap();
    let receiving = thread::spawn(move || (next(&mut receiver), Instant::now(), receiver));
    thread::sleep(Duration::from_millis(30));
    sender.send(2).unwrap();
    thread::sleep(Duration::from_millis(30));
    let killed = Instant::now();
    victim.kill();
    let (got, then, mut receiver) = receiving.join().unwrap();
    assert_eq!(got, Ok(2));
    assert!(then.saturating_duration_since(killed) < SECOND);
    // What was not committed never appears, and its space comes back.
    let wait = Duration::from_millis(300);
    assert_eq!(receiver.recv_timeout(wait), Err(RecvTimeoutError::Timeout));
    for number in 0..100 {
        sender.send(number).unwrap();
        assert_eq!(next(&mut receiver), Ok(number));
    }
    for number in 0..16 {
        sender.try_send(number).unwrap();
    }
    assert_eq!(ring.info().voided, 1);
}

#[test]
fn a_killed_sender_with_an_open_claim_holds_nobody_up() {
    let _watch = Watch::start();
    open_claim::<Mpsc>(Order::Total);
    open_claim::<Mpmc>(Order::Total);
    open_claim::<Mpsc>(Order::PerSender);
    open_claim::<Mpmc>(Order::PerSender);
    open_claim_of_a_single_sender();
}

fn open_claim_of_a_single_sender() {
    let name = Name::shm();
    let ring = new::<Spsc>(&name);
    let mut receiver = ring.receiver().unwrap();
    let mut victim = guest::<Spsc>(&name);
    victim.must("sender");
    assert_eq!(victim.ask("reserve 1"), "reserved");
    victim.kill();
    ring.sender().unwrap().send(2).unwrap();
    assert_eq!(next(&mut receiver), Ok(2));
}

fn held_record<K: Protocol>(tries: u64) {
    let name = Name::shm();
    let ring = new::<K>(&name);
    let mut sender = ring.sender().unwrap();
    let mut victim = guest::<K>(&name);
    victim.must("receiver");
    sender.send_slice(&[1, 2, 3]).unwrap();
    assert_eq!(victim.ask("peek"), "1 tries 0");
    victim.kill();
    let mut receiver = ring.receiver().unwrap();
    let since = Instant::now();
    let mut got = vec![];
    while got.len() < 3 {
        assert!(since.elapsed() < PATIENCE, "got {got:?}");
        if let Ok(peeked) = receiver.try_peek() {
            got.push((peeked.read(), peeked.tries()));
            peeked.release();
        }
    }
    got.sort_unstable();
    assert_eq!(got, [(1, tries), (2, 0), (3, 0)]);
}

#[test]
fn a_record_that_a_killed_receiver_held_goes_to_another() {
    let _watch = Watch::start();
    held_record::<Spsc>(0);
    held_record::<Mpsc>(0);
    held_record::<Spmc>(1);
    held_record::<Mpmc>(1);
}

#[test]
fn a_waiting_receiver_gets_the_record_that_a_killed_one_held() {
    let _watch = Watch::start();
    let name = Name::shm();
    let ring = new::<Mpmc>(&name);
    let mut sender = ring.sender().unwrap();
    let mut victim = guest::<Mpmc>(&name);
    victim.must("receiver");
    sender.send(1).unwrap();
    assert_eq!(victim.ask("peek"), "1 tries 0");
    let mut receiver = ring.receiver().unwrap();
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    let receiving = thread::spawn(move || (next(&mut receiver), Instant::now()));
    thread::sleep(Duration::from_millis(30));
    let killed = Instant::now();
    victim.kill();
    let (got, then) = receiving.join().unwrap();
    assert_eq!(got, Ok(1));
    assert!(then.saturating_duration_since(killed) < SECOND);
    assert_eq!(ring.info().returned, 1);
}

/// A sender that is stopped between claim and commit, and another that sends after it.
fn stopped(order: Order) -> (Name, Ring<u64, Mpmc>, Actor, Receiver<u64, Mpmc>) {
    let name = Name::shm();
    let ring: Ring<u64, Mpmc> = RingOptions::new()
        .create_new(true)
        .capacity(16)
        .order(order)
        .open(name.location())
        .unwrap();
    let mut sleeper = guest::<Mpmc>(&name);
    sleeper.must("sender");
    assert_eq!(sleeper.ask("reserve 1"), "reserved");
    sleeper.stop();
    let receiver = ring.receiver().unwrap();
    ring.sender().unwrap().send(2).unwrap();
    (name, ring, sleeper, receiver)
}

#[test]
fn a_stopped_sender_holds_total_order_up_and_is_never_repaired() {
    let _watch = Watch::start();
    let (_name, ring, mut sleeper, mut receiver) = stopped(Order::Total);
    let wait = Duration::from_millis(1500);
    assert_eq!(
        receiver.recv_timeout(wait),
        Err(RecvTimeoutError::Timeout),
        "nothing comes before it"
    );
    assert_eq!(ring.info().voided, 0);
    sleeper.go_on();
    sleeper.must("commit");
    assert_eq!(next(&mut receiver), Ok(1));
    assert_eq!(next(&mut receiver), Ok(2));
}

#[test]
fn a_stopped_sender_does_not_hold_the_order_of_others_up() {
    let _watch = Watch::start();
    let (_name, ring, mut sleeper, mut receiver) = stopped(Order::PerSender);
    assert_eq!(next(&mut receiver), Ok(2));
    let wait = Duration::from_millis(500);
    assert_eq!(receiver.recv_timeout(wait), Err(RecvTimeoutError::Timeout));
    assert_eq!(ring.info().voided, 0);
    sleeper.go_on();
    sleeper.must("commit");
    assert_eq!(next(&mut receiver), Ok(1));
}

fn peer_dead<K: Protocol + Send + Sync + 'static>() {
    let ring: Ring<u64, K> = RingOptions::new().capacity(4).memfd().unwrap();
    let mut victim = heir::<K>(ring.as_fd().unwrap());
    let mut receiver = ring.receiver().unwrap();
    victim.must("sender");
    victim.must("send 1");
    assert_eq!(receiver.recv(), Ok(1));
    let receiving = thread::spawn(move || (receiver.recv(), Instant::now()));
    thread::sleep(Duration::from_millis(30));
    let killed = Instant::now();
    victim.kill();
    let (got, then) = receiving.join().unwrap();
    assert_eq!(got, Err(RecvError::PeerDead));
    assert!(then.saturating_duration_since(killed) < SECOND);

    let mut victim = heir::<K>(ring.as_fd().unwrap());
    victim.must("receiver");
    let mut sender = ring.sender().unwrap();
    while sender.try_send(7).is_ok() {}
    let sending = thread::spawn(move || (sender.send(8), Instant::now()));
    thread::sleep(Duration::from_millis(30));
    let killed = Instant::now();
    victim.kill();
    let (sent, then) = sending.join().unwrap();
    assert_eq!(sent, Err(SendError::PeerDead(8)));
    assert!(then.saturating_duration_since(killed) < SECOND);
}

#[test]
fn the_survivor_on_a_memory_file_is_told_within_a_second() {
    let _watch = Watch::start();
    peer_dead::<Spsc>();
    peer_dead::<Mpsc>();
    peer_dead::<Spmc>();
    peer_dead::<Mpmc>();
}

#[test]
fn a_ring_in_a_file_outlives_everybody() {
    let _watch = Watch::start();
    let name = Name::file();
    let mut one = actor(&["ring", "mpmc", &name.word()]);
    one.must("create 16");
    one.must("sender");
    one.must("receiver");
    for number in 1..=5 {
        one.must(&format!("send {number}"));
    }
    assert_eq!(one.ask("recv"), "1");
    assert_eq!(one.ask("peek"), "2 tries 0");
    one.kill();
    let mut other = guest::<Mpmc>(&name);
    other.must("receiver");
    other.must("sender");
    other.must("send 6");
    for number in 2..=6 {
        assert_eq!(other.ask("recv"), number.to_string());
    }
    assert_eq!(other.ask("info"), "voided 0 returned 1 rescues 0");
}

#[test]
fn there_are_126_places() {
    let _watch = Watch::start();
    let name = Name::shm();
    let ring = new::<Mpmc>(&name);
    let (mut one, mut other) = (guest::<Mpmc>(&name), guest::<Mpmc>(&name));
    one.must("handles 100");
    other.must("handles 26");
    assert_eq!(
        ring.sender().unwrap_err(),
        AttachError::TooMany { max: 126 }
    );
    assert_eq!(
        ring.receiver().unwrap_err(),
        AttachError::TooMany { max: 126 }
    );
    // The places of the dead are free, of their side at least.
    other.kill();
    let senders: Vec<_> = (0..26).map(|_| ring.sender().unwrap()).collect();
    assert_eq!(
        ring.sender().unwrap_err(),
        AttachError::TooMany { max: 126 }
    );
    drop(senders);
    one.must("close");
    assert!(ring.receiver().is_ok());
}

#[test]
fn signals_do_not_end_a_call_that_waits() {
    let _watch = Watch::start();
    let name = Name::shm();
    let ring = new::<Spsc>(&name);
    let mut sender = ring.sender().unwrap();
    let mut receiver = guest::<Spsc>(&name);
    receiver.must("receiver");
    receiver.must("catch_signals");
    receiver.tell("recv");
    for _ in 0..30 {
        receiver.signal(Signal::SIGUSR1);
        assert_eq!(receiver.answer_within(Duration::from_millis(7)), None);
    }
    sender.send(1).unwrap();
    assert_eq!(receiver.answer(), "1");
    // A wait with a deadline is not longer for it.
    let since = Instant::now();
    receiver.tell("recv_for 300");
    while since.elapsed() < Duration::from_millis(250) {
        receiver.signal(Signal::SIGUSR1);
        assert_eq!(receiver.answer_within(Duration::from_millis(7)), None);
    }
    assert_eq!(receiver.answer(), "error: timed out waiting for a record");
    assert!(since.elapsed() >= Duration::from_millis(300));
}

#[test]
fn in_a_storm_each_message_comes_once_in_its_senders_order_and_nobody_stalls() {
    let _watch = Watch::start();
    let total: u64 = match std::env::var("ANNULUS_STORM") {
        Ok(count) => count.parse().expect("a number of messages"),
        Err(_) => 200_000,
    };
    let each = total / storm::SIDE;
    let name = Name::shm();
    let ring: Ring<u64, Mpmc> =
        create(RingOptions::new().capacity(1024), Medium::Shm, Some(&name)).unwrap();
    // Keeps the ring open until all have come.
    let open = ring.sender().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = |id| directory.path().join(format!("notes-{id}"));
    let receivers: Vec<_> = (0..storm::SIDE)
        .map(|id| actor(&["storm", "recv", &name.word(), file(id).to_str().unwrap()]))
        .collect();
    for receiver in &receivers {
        assert_eq!(receiver.answer(), "ready");
    }
    let since = Instant::now();
    let count = each.to_string();
    let senders: Vec<_> = (0..storm::SIDE)
        .map(|id| actor(&["storm", "send", &name.word(), &id.to_string(), &count]))
        .collect();
    senders.into_iter().for_each(Actor::ended);
    drop(open);
    receivers.into_iter().for_each(Actor::ended);
    println!(
        "{} messages in {:?}, {:?}",
        each * storm::SIDE,
        since.elapsed(),
        ring.info()
    );
    let mut notes = Notes::default();
    for id in 0..storm::SIDE {
        notes.add(&file(id));
    }
    notes.assert_whole(each);
}
