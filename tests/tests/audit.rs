//! Does the balance of a ring add up when it should, and only then? And where do records go that keep coming back?
#![cfg(not(loom))]

use annulus::{
    Audit, ManyReceivers, ManySenders, Mpmc, Mpsc, OpenError, Order, Protocol, Receiver, Ring,
    RingOptions, Sender, Spmc, Spsc, TryRecvError, TrySendError,
};
use annulus_tests::place::Name;
use annulus_tests::watch::Watch;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

fn ring<T: annulus::Message + ?Sized, K: Protocol>(capacity: usize) -> Ring<T, K> {
    RingOptions::new().capacity(capacity).heap().unwrap()
}

fn ends<T: annulus::Message + ?Sized, K: Protocol>(
    ring: &Ring<T, K>,
) -> (Sender<T, K>, Receiver<T, K>) {
    (ring.sender().unwrap(), ring.receiver().unwrap())
}

/// Asserts that it adds up, and that nobody left anything uncounted.
fn balanced(audit: &Audit) {
    assert!(audit.adds_up(), "{audit}");
    assert_eq!((audit.uncounted_sent, audit.uncounted_received), (0, 0));
    let parts = audit.received + audit.in_flight + audit.dead_letters + audit.voided + audit.open;
    assert_eq!(audit.claimed, parts, "{audit}");
    assert_eq!(audit.sent, audit.claimed - audit.voided - audit.open);
}

fn every_step_is_balanced<K: Protocol>() {
    let ring = ring::<u64, K>(8);
    let (mut sender, mut receiver) = ends(&ring);
    let state = |ring: &Ring<u64, K>| {
        let audit = ring.audit();
        balanced(&audit);
        (audit.sent, audit.received, audit.in_flight)
    };
    assert_eq!(state(&ring), (0, 0, 0));
    for lap in 0..20 {
        let before = 5 * lap;
        sender.send_slice(&[1, 2, 3]).unwrap();
        assert_eq!(state(&ring), (before + 3, before, 3));
        let mut reservation = sender.try_reserve().unwrap();
        reservation.write(4);
        let open = ring.audit();
        drop(reservation);
        balanced(&open);
        assert_eq!(open.open, u64::from(K::KIND.many_senders()));
        assert_eq!(open.sent, before + 3);
        let mut reservation = sender.try_reserve().unwrap();
        reservation.write(4);
        reservation.commit();
        sender.try_send(5).unwrap();
        assert_eq!(state(&ring), (before + 5, before, 5));
        assert_eq!(receiver.recv(), Ok(1));
        assert_eq!(state(&ring), (before + 5, before + 1, 4));
        let held = receiver.try_peek().unwrap();
        assert_eq!(held.read(), 2);
        held.release();
        drop(receiver.try_peek().unwrap());
        assert_eq!(state(&ring), (before + 5, before + 2, 3));
        assert_eq!(receiver.recv_slice(&mut [0; 8]).unwrap(), 3);
        assert_eq!(state(&ring), (before + 5, before + 5, 0));
    }
}

#[test]
fn every_step_of_every_kind_is_balanced() {
    every_step_is_balanced::<Spsc>();
    every_step_is_balanced::<Mpsc>();
    every_step_is_balanced::<Spmc>();
    every_step_is_balanced::<Mpmc>();
}

fn byte_records_are_balanced<K: Protocol>(order: Order) {
    let mut options = RingOptions::new();
    let ring: Ring<[u8], K> = options.capacity(16_384).order(order).heap().unwrap();
    let (mut sender, mut receiver) = ends(&ring);
    let mut buffer = vec![];
    let mut sent = 0;
    // Lengths that leave every rest at the ring's end.
    for round in 0..2000usize {
        let record = vec![round as u8; round * 37 % 1500];
        sender.try_send(&record).unwrap();
        sent += 1;
        if round % 3 == 0 {
            // Less than was asked for: what is left of the claim is given up.
            let reserved = sender.try_reserve(300);
            reserved.unwrap().commit_len(round % 100);
            sent += 1;
        }
        balanced(&ring.audit());
        while sent > 1 {
            receiver.try_recv(&mut buffer).unwrap();
            sent -= 1;
        }
        balanced(&ring.audit());
    }
    let audit = ring.audit();
    assert!(
        K::KIND == annulus::Kind::Spsc || audit.voided > 0,
        "{audit}"
    );
}

#[test]
fn byte_records_of_all_lengths_are_balanced() {
    byte_records_are_balanced::<Spsc>(Order::Total);
    byte_records_are_balanced::<Mpsc>(Order::Total);
    byte_records_are_balanced::<Mpsc>(Order::PerSender);
    byte_records_are_balanced::<Spmc>(Order::Total);
    byte_records_are_balanced::<Mpmc>(Order::Total);
}

fn traffic_is_balanced<K: ManySenders + ManyReceivers>() {
    let ring = ring::<u64, K>(64);
    let (mut a, mut x) = ends(&ring);
    let (mut b, mut y) = (a.try_clone().unwrap(), x.try_clone().unwrap());
    let stop = &AtomicBool::new(false);
    thread::scope(|scope| {
        for sender in [&mut a, &mut b] {
            scope.spawn(move || {
                while !stop.load(Relaxed) {
                    let _ = sender.try_send(1);
                    drop(sender.try_reserve());
                    let _ = sender.try_send_slice(&[2, 3]);
                }
            });
        }
        for receiver in [&mut x, &mut y] {
            scope.spawn(move || {
                while !stop.load(Relaxed) {
                    let _ = receiver.try_recv();
                    drop(receiver.try_peek());
                }
            });
        }
        let until = Instant::now() + Duration::from_secs(1);
        while Instant::now() < until {
            let audit = ring.audit();
            assert!(audit.adds_up(), "{audit}");
        }
        stop.store(true, Relaxed);
    });
    balanced(&ring.audit());
}

#[test]
fn a_ring_in_use_is_balanced() {
    let _watch = Watch::start();
    traffic_is_balanced::<Mpmc>();
}

#[test]
fn what_the_dead_left_is_accounted_for() {
    let ring = ring::<u64, Mpmc>(8);
    let (mut sender, mut receiver) = ends(&ring);
    let (mut dying, mut dead) = (ring.sender().unwrap(), ring.receiver().unwrap());
    sender.send_slice(&[1, 2]).unwrap();
    std::mem::forget(dying.try_reserve().unwrap());
    std::mem::forget(dead.try_peek().unwrap());
    dying.die();
    dead.die();
    let audit = ring.audit();
    balanced(&audit);
    assert_eq!((audit.killed, audit.open, audit.held), (2, 1, 1));
    sender.send(3).unwrap();
    let mut got: Vec<_> = (0..3).map(|_| receiver.recv().unwrap()).collect();
    got.sort_unstable();
    assert_eq!(got, [1, 2, 3]);
    let audit = ring.audit();
    balanced(&audit);
    assert_eq!((audit.voided, audit.received, audit.open), (1, 3, 0));
}

/// A ring in a file after some traffic, its bytes, and what an audit says of other bytes.
fn tampered<K: Protocol>(change: impl FnOnce(&mut Vec<u8>)) -> Audit {
    let name = Name::file();
    let options = RingOptions::new().create(true).capacity(64).clone();
    let ring: Ring<u64, K> = options.open(name.location()).unwrap();
    let (mut sender, mut receiver) = ends(&ring);
    sender.send_slice(&[1, 2, 3, 4]).unwrap();
    receiver.recv().unwrap();
    receiver.recv().unwrap();
    balanced(&ring.audit());
    drop((ring, sender, receiver));
    let mut bytes = fs::read(name.path()).unwrap();
    change(&mut bytes);
    fs::write(name.path(), &bytes).unwrap();
    let ring: Ring<u64, K> = options.open(name.location()).unwrap();
    ring.audit()
}

/// Adds to a number in a region.
fn add(at: usize, number: u64) -> impl Fn(&mut Vec<u8>) {
    move |bytes| {
        let word = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        bytes[at..at + 8].copy_from_slice(&word.wrapping_add(number).to_le_bytes());
    }
}

#[test]
fn what_does_not_add_up_is_seen() {
    const FREE: usize = 768;
    const TAIL: usize = 512;
    const GIVEN_UP: usize = 1304;
    const SENDERS: usize = 18432;
    const RECEIVERS: usize = SENDERS + 64 * 8;
    let lease = |number: usize| 2048 + 128 * number;
    let adds_up = |audit: Audit| audit.adds_up();
    assert!(adds_up(tampered::<Mpmc>(|_| {})));
    // A record vanished: what is free went past it.
    assert!(!adds_up(tampered::<Mpmc>(add(FREE, 3))));
    // A sender, or a receiver, counted more or less than the words say.
    for number in [1, u64::MAX] {
        assert!(!adds_up(tampered::<Mpmc>(add(lease(2) + 8, number))));
        assert!(!adds_up(tampered::<Mpmc>(add(lease(3) + 16, number))));
        assert!(!adds_up(tampered::<Mpmc>(add(GIVEN_UP, number))));
    }
    // A committed record became a claim, or void; a received one came back; a lease that is none.
    assert!(!adds_up(tampered::<Mpmc>(add(SENDERS + 3 * 8, 8 + 2 - 1))));
    assert!(!adds_up(tampered::<Mpmc>(add(SENDERS + 3 * 8, u64::MAX))));
    assert!(!adds_up(tampered::<Mpmc>(add(RECEIVERS + 2 * 8, 1 << 16))));
    assert!(!adds_up(tampered::<Mpmc>(add(
        SENDERS + 3 * 8,
        8 + 500 - 1
    ))));
    // Single sides: the positions are the counts.
    assert!(!adds_up(tampered::<Spsc>(add(TAIL, 65))));
    assert!(!adds_up(tampered::<Spmc>(add(TAIL, u64::MAX - 3))));
}

#[test]
fn too_many_tries_are_refused() {
    let ring: Result<Ring<u64, Mpmc>, _> = RingOptions::new().capacity(4).max_tries(33).heap();
    let error = ring.unwrap_err();
    assert_eq!(error, OpenError::MaxTries { asked: 33, max: 32 });
    assert_eq!(error.to_string(), "33 tries are out of bounds: at most 32");
}

#[test]
fn a_record_that_keeps_coming_back_is_set_aside() {
    let mut options = RingOptions::new();
    let ring: Ring<[u8], Mpmc> = options.capacity(4096).max_tries(2).heap().unwrap();
    let (mut sender, mut receiver) = ends(&ring);
    sender.send(b"poison").unwrap();
    sender.send(b"good").unwrap();
    for _ in 0..2 {
        let mut dying = ring.receiver().unwrap();
        let peeked = dying.try_peek().unwrap();
        let mut buffer = vec![];
        peeked.read(&mut buffer);
        assert_eq!(buffer, b"poison");
        std::mem::forget(peeked);
        dying.die();
        // A newcomer looks after the dead of its side.
        drop(ring.receiver().unwrap());
    }
    let inspector = ring.inspector();
    let letters = inspector.dead_letters();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].tries, letters[0].position), (2, 0));
    let mut buffer = vec![];
    assert_eq!(receiver.try_recv(&mut buffer), Ok(4));
    assert_eq!(receiver.try_recv(&mut buffer), Err(TryRecvError::Empty));
    let audit = ring.audit();
    balanced(&audit);
    assert_eq!(audit.dead_letters, 1);

    // It holds its place until somebody drains it.
    let mut accepted = 0;
    while sender.try_send(&[7; 50]).is_ok() {
        accepted += 1;
        receiver.try_recv(&mut buffer).unwrap();
    }
    assert_eq!(accepted, 62, "cells behind it, up to its own");
    assert_eq!(sender.try_send(b"x"), Err(TrySendError::Full(())));
    let letter = letters.into_iter().next().unwrap();
    assert_eq!(inspector.read_dead(&letter).unwrap(), b"poison");
    assert!(inspector.discard_dead(letter.clone()));
    // Whoever comes too late is told so.
    assert_eq!(inspector.read_dead(&letter), None);
    assert!(!inspector.discard_dead(letter));
    assert_eq!(inspector.dead_letters(), []);
    sender.try_send(b"x").unwrap();
    balanced(&ring.audit());
}

#[test]
fn what_is_given_back_may_come_back_for_ever_and_what_kills_may_not() {
    let ring = ring::<u64, Mpmc>(8);
    let (mut sender, mut receiver) = ends(&ring);
    sender.send(1).unwrap();
    for tries in 0..100 {
        let peeked = receiver.try_peek().unwrap();
        assert_eq!(peeked.tries(), tries.min(32));
    }
    for tries in 32..64 {
        let mut dying = ring.receiver().unwrap();
        let peeked = dying.try_peek().unwrap();
        assert_eq!(peeked.tries(), tries);
        std::mem::forget(peeked);
        dying.die();
        drop(ring.receiver().unwrap());
    }
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(ring.inspector().dead_letters()[0].tries, 63);
    balanced(&ring.audit());
}

#[test]
fn dead_letters_do_not_hide_the_end_and_keep_the_name() {
    let name = Name::shm();
    let mut options = RingOptions::new();
    options.create(true).capacity(8).max_tries(1);
    let ring: Ring<u64, Mpmc> = options
        .unlink_when_finished(true)
        .open(name.location())
        .unwrap();
    let (mut sender, mut receiver) = ends(&ring);
    sender.send_slice(&[1, 2]).unwrap();
    drop(receiver.try_peek().unwrap());
    drop(sender);
    assert_eq!(receiver.recv(), Ok(2));
    assert_eq!(receiver.recv(), Err(annulus::RecvError::Disconnected));
    drop(receiver);
    assert!(name.exists(), "a dead letter is in it");
    let inspector = ring.inspector();
    for letter in inspector.dead_letters() {
        assert!(inspector.discard_dead(letter));
    }
    drop(ring.receiver().unwrap());
    assert!(!name.exists(), "it is finished");
}
