//! Do queues keep their promises between processes, and when these are killed? The other process is this
//! program again.

mod common;

use annulus_channel::{RecvTimeoutError, SendError, TryRecvError};
use annulus_mqueue::{Name, Posix, Queue, SystemV, WhenDead, list, remove_stale};
use common::actor::{Actor, PATIENCE};
use common::{Kind, Place, Watch, record, which};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::thread;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// The other process.
#[test]
fn actor() {
    common::actor::act();
}

/// A new queue as actors open it: of 4 records of up to 512 bytes.
fn new<K: Kind>(name: &Name, unlink: bool) -> Queue<K> {
    let mut options = K::small(4, 512);
    options.create_new(true).unlink_when_finished(unlink);
    K::open(&options, name).expect("a new queue")
}

/// Asserts that `measure`, which may be delayed by what else the machine does, once takes less than a second.
fn within_a_second(mut measure: impl FnMut() -> Duration) {
    let times: Vec<_> = (0..3).map(|_| measure()).collect();
    assert!(times.iter().any(|time| *time < SECOND), "took {times:?}");
}

/// Tests of both kinds.
macro_rules! of_both {
    ($($name:ident)*) => {
        mod posix { $(#[test] fn $name() { super::watched(super::$name::<super::Posix>); })* }
        mod system_v { $(#[test] fn $name() { super::watched(super::$name::<super::SystemV>); })* }
    };
}

fn watched(test: fn()) {
    let _watch = Watch::start();
    test();
}

of_both! {
    a_transfer_is_whole
    what_was_sent_before_the_receiver_starts_is_received
    a_receiver_hears_of_a_killed_sender
    a_sender_hears_of_a_killed_receiver
    a_killed_sender_is_succeeded
    a_stopped_peer_is_not_dead
    signals_end_nothing
    waiting_costs_little
    sleepers_are_woken
    any_moment_is_good_to_be_killed
    a_forked_child_is_nobody
    what_the_dead_leave_is_found_and_removed
}

fn a_transfer_is_whole<K: Kind>() {
    const COUNT: usize = 20_000;
    let place = Place::fresh::<K>();
    let queue = new::<K>(&place.0, true);
    let mut receiver = queue.receiver().unwrap();
    let mut other = Actor::with(&place.0, "sender");
    other.tell(&format!("transfer {COUNT}"));
    let mut buffer = Vec::new();
    for number in 0..COUNT {
        receiver.recv_timeout(&mut buffer, PATIENCE).unwrap();
        assert_eq!(which(&buffer), number);
    }
    assert_eq!(other.answer(), "ok");
    other.end();
    let end = receiver.recv_timeout(&mut buffer, PATIENCE);
    assert_eq!(end, Err(RecvTimeoutError::Disconnected));
    drop(receiver);
    assert!(!place.is_there(), "the last to close removes it");
}

fn what_was_sent_before_the_receiver_starts_is_received<K: Kind>() {
    let place = Place::fresh::<K>();
    let mut early = Actor::start(&place.0);
    early.must("open 4 512 unlink");
    early.must("sender");
    early.must("transfer 3");
    early.end();
    assert!(place.is_there(), "it has records");
    let mut late = Actor::with(&place.0, "receiver");
    for number in 0..3 {
        assert_eq!(late.ask("recv"), number.to_string());
    }
    assert_eq!(late.ask("recv"), "error: the last sender has closed");
    late.end();
    assert!(!place.is_there(), "nothing is left behind");
}

fn a_receiver_hears_of_a_killed_sender<K: Kind>() {
    within_a_second(|| {
        let place = Place::fresh::<K>();
        let queue = new::<K>(&place.0, true);
        let mut receiver = queue.receiver().unwrap();
        receiver.on_peer_death(WhenDead::Fail);
        let mut victim = Actor::with(&place.0, "sender");
        victim.must("flood");
        let mut buffer = Vec::new();
        for number in 0..1000 {
            receiver.recv_timeout(&mut buffer, PATIENCE).unwrap();
            assert_eq!(which(&buffer), number);
        }
        let receiving = thread::spawn(move || {
            let mut next = 1000;
            loop {
                match receiver.recv(&mut buffer) {
                    Ok(_) => assert_eq!(which(&buffer), next, "whole, and in order"),
                    Err(error) => return (error, Instant::now(), receiver),
                }
                next += 1;
            }
        });
        let killed = victim.kill();
        let (error, heard, mut receiver) = receiving.join().unwrap();
        assert_eq!(error.to_string(), "the last sender was killed");
        assert_eq!(receiver.try_recv(&mut vec![]), Err(TryRecvError::PeerDead));
        drop(receiver);
        assert!(!place.is_there(), "nothing is left behind");
        heard - killed
    });
}

fn a_sender_hears_of_a_killed_receiver<K: Kind>() {
    within_a_second(|| {
        let place = Place::fresh::<K>();
        let queue = new::<K>(&place.0, true);
        let mut sender = queue.sender().unwrap();
        sender.on_peer_death(WhenDead::Fail);
        let mut victim = Actor::with(&place.0, "receiver");
        victim.must("drain");
        for number in 0..1000 {
            sender.send(&record(number)).unwrap();
        }
        let sending = thread::spawn(move || {
            loop {
                if let Err(error) = sender.send(&record(7)) {
                    return (error, Instant::now(), sender);
                }
            }
        });
        let killed = victim.kill();
        let (error, heard, sender) = sending.join().unwrap();
        assert_eq!(error, SendError::PeerDead(()));
        drop(sender);
        // What it did not receive is there for its successor, who takes the queue away in the end.
        if place.is_there() {
            let mut successor = queue.receiver().unwrap();
            let mut buffer = Vec::new();
            while successor.recv(&mut buffer).is_ok() {
                which(&buffer);
            }
        }
        assert!(!place.is_there(), "nothing is left behind");
        heard - killed
    });
}

fn a_killed_sender_is_succeeded<K: Kind>() {
    let place = Place::fresh::<K>();
    let queue = new::<K>(&place.0, false);
    let mut receiver = queue.receiver().unwrap();
    let mut first = Actor::with(&place.0, "sender");
    first.must("send 1");
    first.kill();
    let mut buffer = Vec::new();
    receiver.recv(&mut buffer).unwrap();
    let wait = Duration::from_millis(200);
    let waited = receiver.recv_timeout(&mut buffer, wait);
    assert_eq!(
        waited,
        Err(RecvTimeoutError::Timeout),
        "a successor may come"
    );
    let receiving = thread::spawn(move || {
        receiver.recv(&mut buffer).unwrap();
        (which(&buffer), receiver)
    });
    let mut second = Actor::with(&place.0, "sender");
    second.must("send 2");
    let (got, mut receiver) = receiving.join().unwrap();
    assert_eq!(got, 2);
    second.end();
    // The dead one has a successor who closed: that is the end.
    let end = receiver.recv_timeout(&mut vec![], PATIENCE);
    assert_eq!(end, Err(RecvTimeoutError::Disconnected));
}

fn a_stopped_peer_is_not_dead<K: Kind>() {
    let place = Place::fresh::<K>();
    let queue = new::<K>(&place.0, false);
    let mut receiver = queue.receiver().unwrap();
    receiver.on_peer_death(WhenDead::Fail);
    let mut other = Actor::with(&place.0, "sender");
    other.signal(Signal::SIGSTOP);
    let mut buffer = Vec::new();
    let waited = receiver.recv_timeout(&mut buffer, Duration::from_millis(300));
    assert_eq!(waited, Err(RecvTimeoutError::Timeout));
    other.signal(Signal::SIGCONT);
    other.must("send 1");
    receiver.recv(&mut buffer).unwrap();
}

fn signals_end_nothing<K: Kind>() {
    let place = Place::fresh::<K>();
    let queue = new::<K>(&place.0, false);
    let storm = |actor: &Actor, time: Duration| {
        let since = Instant::now();
        while since.elapsed() < time {
            actor.signal(Signal::SIGUSR1);
            thread::sleep(Duration::from_micros(200));
        }
    };
    let answer = |actor: &Actor| {
        // Signals until it answers: a wait that a signal prolongs would never end.
        let since = Instant::now();
        loop {
            if let Some(answer) = actor.answer_within(Duration::from_micros(200)) {
                return answer;
            }
            assert!(since.elapsed() < PATIENCE, "the actor hangs");
            actor.signal(Signal::SIGUSR1);
        }
    };
    let timed_out = |answer: String| {
        let (said, took) = answer.rsplit_once(' ').expect("two words");
        assert!(said.contains("Timeout"), "{answer}");
        assert!(took.parse::<u64>().unwrap() >= 300, "{answer}: too early");
    };
    let mut sender = queue.sender().unwrap();
    let mut other = Actor::with(&place.0, "receiver");
    other.must("catch_signals");
    other.tell("recv");
    storm(&other, Duration::from_millis(300));
    sender.send(&record(5)).unwrap();
    assert_eq!(answer(&other), "5");
    other.tell("recv_for 300");
    timed_out(answer(&other));

    let mut receiver = queue.receiver().unwrap();
    let mut count = 0;
    while sender.try_send(&[0; 512]).is_ok() {
        count += 1;
    }
    other.must("sender");
    other.tell("send_for 300");
    timed_out(answer(&other));
    other.tell("send 6");
    storm(&other, Duration::from_millis(300));
    let mut buffer = Vec::new();
    for _ in 0..count {
        receiver.recv(&mut buffer).unwrap();
    }
    assert_eq!(answer(&other), "ok");
    receiver.recv(&mut buffer).unwrap();
    assert_eq!(which(&buffer), 6, "sent once");
    assert_eq!(receiver.try_recv(&mut buffer), Err(TryRecvError::Empty));
}

fn waiting_costs_little<K: Kind>() {
    let place = Place::fresh::<K>();
    let queue = new::<K>(&place.0, false);
    let _sender = queue.sender().unwrap();
    let mut other = Actor::with(&place.0, "receiver");
    let answer = other.ask("idle 2000");
    let (switches, micros) = answer.split_once(' ').expect("two numbers");
    let (switches, micros): (u64, u64) = (switches.parse().unwrap(), micros.parse().unwrap());
    println!("{switches} wakes and {micros} us in two seconds");
    assert!(
        switches <= 60,
        "{switches} wakes in two seconds, 40 are due"
    );
    assert!(micros < 100_000, "{micros} us of two seconds");
}

/// A thousand turns in half a minute: somebody who is not woken looks for himself only every 50 ms.
fn sleepers_are_woken<K: Kind>() {
    const TURNS: usize = 1000;
    let (there, back) = (Place::fresh::<K>(), Place::fresh::<K>());
    let (to, from) = (new::<K>(&there.0, true), new::<K>(&back.0, true));
    let (mut to, mut from) = (to.sender().unwrap(), from.receiver().unwrap());
    let mut other = Actor::with(&there.0, "receiver");
    other.must(&format!("sender_of {}", back.0));
    other.tell(&format!("echo {TURNS}"));
    let since = Instant::now();
    let mut buffer = Vec::new();
    for turn in 0..TURNS {
        to.send(&record(turn)).unwrap();
        from.recv(&mut buffer).unwrap();
        assert_eq!(which(&buffer), turn);
    }
    assert!(since.elapsed() < PATIENCE, "took {:?}", since.elapsed());
    assert_eq!(other.answer(), "ok");
}

/// Whatever a process is at when it is killed (creating, attaching, closing, removing): whoever comes finds
/// the end, and everything in order.
fn any_moment_is_good_to_be_killed<K: Kind>() {
    let place = Place::fresh::<K>();
    for turn in 0..40_u64 {
        let mut victim = Actor::start(&place.0);
        victim.must("come_and_go");
        thread::sleep(Duration::from_micros(turn * 373 % 5000));
        victim.kill();
        let mut options = K::small(4, 512);
        options.create(true).unlink_when_finished(true);
        let queue = K::open(&options, &place.0).expect("opened or made anew");
        let mut receiver = queue.receiver().expect("a seat");
        receiver.on_peer_death(WhenDead::Fail);
        let mut sender = queue.sender().expect("a seat");
        let mut buffer = Vec::new();
        while receiver.try_recv(&mut buffer).is_ok() {
            which(&buffer);
        }
        sender.send(&record(7)).unwrap();
        receiver.recv(&mut buffer).unwrap();
        assert_eq!(which(&buffer), 7);
        drop(sender);
        let end = receiver.recv_timeout(&mut buffer, PATIENCE);
        assert_eq!(end, Err(RecvTimeoutError::Disconnected), "turn {turn}");
        drop(receiver);
        assert!(!place.is_there(), "turn {turn}: nothing is left behind");
    }
}

fn a_forked_child_is_nobody<K: Kind>() {
    let place = Place::fresh::<K>();
    let queue = new::<K>(&place.0, false);
    let mut sender = queue.sender().unwrap();
    sender.on_peer_death(WhenDead::Fail);
    let mut other = Actor::with(&place.0, "receiver");
    sender.send(&record(1)).unwrap();
    assert_eq!(other.ask("fork_recv"), "Err(Fault(ForkedHandle))");
    assert_eq!(other.ask("recv"), "1", "the child took nothing");
    let child: i32 = other.ask("fork_stay").parse().unwrap();
    other.kill();
    let since = Instant::now();
    // The child lives, and does not vouch for its parent.
    while sender.try_send(b"").is_ok() || sender.try_send(b"") != dead() {
        assert!(since.elapsed() < PATIENCE, "the dead one counts as alive");
        thread::sleep(Duration::from_millis(1));
    }
    kill(Pid::from_raw(child), Signal::SIGKILL).expect("it lives");
}

fn dead() -> Result<(), annulus_channel::TrySendError> {
    Err(annulus_channel::TrySendError::PeerDead(()))
}

fn what_the_dead_leave_is_found_and_removed<K: Kind>() {
    let place = Place::fresh::<K>();
    let mut one = Actor::start(&place.0);
    one.must("open 4 512 unlink");
    one.must("sender");
    one.must("send 1");
    let find = || {
        let mut listed = list().unwrap().into_iter();
        let found = listed.find(|found| found.name == place.0);
        found.expect("it is listed")
    };
    let found = find();
    assert_eq!((found.senders, found.dead, found.records), (1, 0, Some(1)));
    assert!(!found.is_stale());
    one.kill();
    let found = find();
    assert_eq!((found.senders, found.dead, found.records), (0, 1, Some(1)));
    assert!(
        !found.open && !found.is_stale(),
        "somebody may want the record"
    );
    remove_stale().unwrap();
    assert_eq!(find().records, Some(1));
    let mut other = Actor::with(&place.0, "receiver");
    assert_eq!(other.ask("recv"), "1");
    remove_stale().unwrap();
    assert!(place.is_there(), "somebody has it open");
    other.kill();
    remove_stale().unwrap();
    assert!(!place.is_there(), "nothing is lost with it");

    Actor::with(&place.0, "receiver").kill();
    remove_stale().unwrap();
    assert!(place.is_there(), "it was to stay");
}
