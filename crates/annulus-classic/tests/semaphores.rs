//! Processes that are killed with a semaphore in their hands, and crowds.

#[path = "common/actor.rs"]
mod actor;
#[path = "common/cast.rs"]
mod cast;
mod common;

use actor::PATIENCE;
use annulus_channel::{Receiver as _, Sender as _, TryRecvError, TrySendError};
use annulus_classic::{Moment, Sem, SemReceiver, SemSender, WhenDead};
use cast::{MOMENTS, nothing_is_left, options, play, read, record};
use common::Name;
use std::thread;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// Not a test by itself: what an actor runs.
#[test]
fn actor() {
    cast::act();
}

/// Whoever is killed with a semaphore in its hand.
#[test]
fn a_killed_holder_of_a_semaphore_blocks_nobody() {
    for at in MOMENTS {
        let name = Name::sem();
        let (mut tx, mut rx): (SemSender, SemReceiver) = (
            options(WhenDead::Wait).sender(name.word()).unwrap(),
            options(WhenDead::Wait).receiver(name.word()).unwrap(),
        );
        let mut buffer = vec![];
        let mut room = 0;
        while tx.try_send(&record(room)) == Ok(()) {
            room += 1;
        }
        assert_eq!(room, 7);
        for number in 0..room {
            rx.recv(&mut buffer).unwrap();
            assert_eq!(read(&buffer), number);
        }
        // More often than there are slots: each costs a unit.
        for round in 0..10 {
            let mut victim = play::<Sem>("tx", "wait", &name);
            victim.must(&format!("stop_at {at:?} 1000"));
            victim.kill();
            let since = Instant::now();
            if at == Moment::Unsignalled {
                rx.recv(&mut buffer).unwrap();
                assert_eq!(read(&buffer), 1000);
            }
            tx.send(&record(round)).unwrap();
            let mut victim = play::<Sem>("rx", "wait", &name);
            victim.must(&format!("stop_at {at:?}"));
            victim.kill();
            if at != Moment::Unsignalled {
                // It was not received.
                rx.recv(&mut buffer).unwrap();
                assert_eq!(read(&buffer), round);
            }
            assert_eq!(rx.try_recv(&mut buffer), Err(TryRecvError::Empty));
            println!("{at:?}: {:?}", since.elapsed());
        }
        // All the room is there, by every call.
        for number in 0..room {
            if number % 2 == 0 {
                tx.send(&record(number)).unwrap();
            } else {
                tx.try_send(&record(number)).unwrap();
            }
        }
        assert_eq!(tx.try_send(b""), Err(TrySendError::Full(())));
        for number in 0..room {
            rx.recv(&mut buffer).unwrap();
            assert_eq!(read(&buffer), number);
        }
        drop((tx, rx));
        nothing_is_left::<Sem>(&name);
    }
}

#[test]
fn who_sleeps_while_the_holder_of_mutex_is_killed_goes_on_within_a_second() {
    for at in [Moment::Unnamed, Moment::Inside] {
        let name = Name::sem();
        let mut tx: SemSender = options(WhenDead::Wait).sender(name.word()).unwrap();
        let mut other: SemSender = options(WhenDead::Wait).sender(name.word()).unwrap();
        let mut rx: SemReceiver = options(WhenDead::Wait).receiver(name.word()).unwrap();
        let mut victim = play::<Sem>("tx", "wait", &name);
        victim.must(&format!("stop_at {at:?} 1000"));
        // A living holder that is stopped holds the others up, if it has said that it is inside.
        let sending = thread::spawn(move || {
            tx.send(&record(1)).unwrap();
            Instant::now()
        });
        if at == Moment::Inside {
            let since = Instant::now();
            assert_eq!(other.try_send(b""), Err(TrySendError::Full(())));
            assert!(since.elapsed() < SECOND);
            assert!(!sending.is_finished());
        }
        let killed = Instant::now();
        victim.kill();
        let went_on = sending.join().unwrap();
        assert!(went_on.saturating_duration_since(killed) < SECOND);
        let mut buffer = vec![];
        rx.recv(&mut buffer).unwrap();
        assert_eq!(read(&buffer), 1);
    }
}

#[test]
fn who_was_too_slow_to_say_its_name_waits_like_the_others() {
    let name = Name::sem();
    let options = options(WhenDead::Wait);
    let mut slow: SemSender = options.sender(name.word()).unwrap();
    let mut rx: SemReceiver = options.receiver(name.word()).unwrap();
    let mut buffer = vec![];
    for number in 0..10 {
        slow.stop_at(Moment::Unnamed, b"").unwrap();
        // Goes in without the semaphore, which the slow one has.
        let mut quick: SemSender = options.sender(name.word()).unwrap();
        quick.stop_at(Moment::Inside, b"").unwrap();
        assert_eq!(slow.try_send(b""), Err(TrySendError::Full(())));
        quick.die();
        slow.send(&record(number)).unwrap();
        rx.recv(&mut buffer).unwrap();
        assert_eq!(read(&buffer), number);
    }
}

/// Many senders and receivers in processes of their own, some of which are killed.
#[test]
fn a_crowd_with_semaphores_loses_nothing_of_the_living() {
    let name = Name::sem();
    let mut rx: SemReceiver = options(WhenDead::Wait).receiver(name.word()).unwrap();
    let mut senders: Vec<_> = (0..3).map(|_| play::<Sem>("tx", "wait", &name)).collect();
    let mut victims: Vec<_> = (0..3).map(|_| play::<Sem>("tx", "wait", &name)).collect();
    for (sender, actor) in (0_u64..).zip(senders.iter_mut().chain(&mut victims)) {
        let count = if sender < 3 { 1500 } else { 1_000_000_000 };
        actor.tell(&format!("send {} {count}", sender << 40));
    }
    let mut next = [0_u64; 6];
    let mut buffer = vec![];
    let mut total = 0;
    loop {
        match rx.recv_timeout(&mut buffer, PATIENCE) {
            Ok(_) => {
                let number = read(&buffer);
                let (sender, number) = ((number >> 40) as usize, number & ((1 << 40) - 1));
                assert_eq!(number, next[sender], "of sender {sender}");
                next[sender] += 1;
            }
            Err(error) => panic!("{error} after {next:?}"),
        }
        total += 1;
        if total % 1000 == 0 {
            if let Some(victim) = victims.pop() {
                victim.kill();
            }
        }
        if victims.is_empty() && next[..3] == [1500; 3] {
            break;
        }
    }
    for sender in senders {
        assert_eq!(sender.answer(), "ok");
        sender.end();
    }
    while rx
        .recv_timeout(&mut buffer, Duration::from_millis(200))
        .is_ok()
    {}
    drop(rx);
    nothing_is_left::<Sem>(&name);
}

/// Coming and going at once: everybody finds a whole channel, and the last takes it away.
#[test]
fn whoever_comes_and_goes_at_once_leaves_nothing() {
    let name = Name::sem();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let mut tx: SemSender = options(WhenDead::Wait).sender(name.word()).unwrap();
                    let mut rx: SemReceiver =
                        options(WhenDead::Wait).receiver(name.word()).unwrap();
                    tx.send(&record(1)).unwrap();
                    // Somebody else's may come first, but then ours is left for another.
                    let mut buffer = vec![];
                    rx.recv(&mut buffer).unwrap();
                    assert_eq!(read(&buffer), 1);
                }
            });
        }
    });
    nothing_is_left::<Sem>(&name);
}
