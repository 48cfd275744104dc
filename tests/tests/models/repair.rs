//! What the dead leave behind, and what comes back.

use super::{assert_all, assert_in_order, drain, explore, receive_some, ring};
use annulus::{
    Inspector, ManyReceivers, ManySenders, Order, Ring, RingOptions, TryRecvError, TrySendError,
    WhenDead,
};
use loom::thread;
use std::mem;
use std::sync::Arc;

/// A record that was taken comes back, and the others learn of it although they have passed it.
pub fn a_record_comes_back<K: ManyReceivers + 'static>(preemptions: Option<usize>) {
    explore("a_record_comes_back", preemptions, || {
        let ring = ring::<K>(2);
        let (mut a, mut b) = (ring.receiver().unwrap(), ring.receiver().unwrap());
        let mut sender = ring.sender().unwrap();
        sender.try_send(1).unwrap();
        sender.try_send(2).unwrap();
        let first = thread::spawn(move || {
            let seen = a.try_peek().map(|held| held.read()).ok();
            (seen, a)
        });
        // Blocking: the return must wake us.
        let got = [b.recv().unwrap(), b.recv().unwrap()];
        assert_all(&got, &[2]);
        let (seen, mut a) = first.join().unwrap();
        assert!(seen.is_none_or(|value| (1..=2).contains(&value)));
        assert_eq!(drain(&mut a), []);
    });
}

/// A receiver dies with a record. Two newcomers clean up after it at once, while a third is at work: one of them gets
/// the record.
pub fn newcomers_return_a_dead_ones_record<K: ManyReceivers + 'static>(preemptions: Option<usize>) {
    explore("newcomers_return_a_dead_ones_record", preemptions, || {
        let ring = Arc::new(ring::<K>(2));
        let (mut dead, mut sender) = (ring.receiver().unwrap(), ring.sender().unwrap());
        sender.on_peer_death(WhenDead::Wait);
        sender.try_send(1).unwrap();
        mem::forget(dead.try_peek().unwrap());
        dead.die();
        let other = Arc::clone(&ring);
        let first = thread::spawn(move || {
            let mut newcomer = other.receiver().unwrap();
            (receive_some(&mut newcomer, 1), newcomer)
        });
        let mut newcomer = ring.receiver().unwrap();
        let mut got = receive_some(&mut newcomer, 1);
        let (others, _first) = first.join().unwrap();
        got.extend(others);
        got.extend(drain(&mut newcomer));
        assert_all(&got, &[1]);
        assert_eq!(ring.info().returned, 1);
    });
}

/// A receiver dies with a record in a full ring: the sender that waits for room brings the record back, and wakes a
/// receiver that had passed it.
pub fn a_waiting_sender_returns_a_dead_ones_record<K: ManyReceivers + 'static>(
    preemptions: Option<usize>,
) {
    explore(
        "a_waiting_sender_returns_a_dead_ones_record",
        preemptions,
        || {
            let ring = ring::<K>(2);
            let (mut dead, mut receiver) = (ring.receiver().unwrap(), ring.receiver().unwrap());
            let mut sender = ring.sender().unwrap();
            sender.try_send(1).unwrap();
            sender.try_send(2).unwrap();
            mem::forget(dead.try_peek().unwrap());
            dead.die();
            let worker = thread::spawn(move || {
                sender.send(3).unwrap();
                sender
            });
            let got: Vec<_> = (0..3).map(|_| receiver.recv().unwrap()).collect();
            assert_all(&got, &[3]);
            worker.join().unwrap();
        },
    );
}

/// A sender dies with an open claim, and another sends behind it: the receiver passes over the dead one's claim.
pub fn a_dead_claim_is_passed_over<K: ManySenders + 'static>(preemptions: Option<usize>) {
    explore("a_dead_claim_is_passed_over", preemptions, || {
        let ring = ring::<K>(2);
        let (mut dead, mut living) = (ring.sender().unwrap(), ring.sender().unwrap());
        let mut receiver = ring.receiver().unwrap();
        let worker = thread::spawn(move || {
            let mut open = dead.try_reserve().unwrap();
            open.write(99);
            mem::forget(open);
            dead.die();
            living.try_send(1).unwrap();
            living
        });
        assert_eq!(receiver.recv(), Ok(1));
        let _living = worker.join().unwrap();
        assert_eq!(drain(&mut receiver), []);
    });
}

/// Two newcomers clean up after a dead sender at once, and send, while a receiver waits before the dead one's
/// claim.
pub fn newcomers_void_a_dead_claim<K: ManySenders + 'static>(preemptions: Option<usize>) {
    explore("newcomers_void_a_dead_claim", preemptions, || {
        let ring = Arc::new(ring::<K>(4));
        let (mut dead, mut receiver) = (ring.sender().unwrap(), ring.receiver().unwrap());
        receiver.on_peer_death(WhenDead::Wait);
        let mut open = dead.try_reserve().unwrap();
        open.write(99);
        mem::forget(open);
        dead.die();
        let other = Arc::clone(&ring);
        let first = thread::spawn(move || {
            let mut newcomer = other.sender().unwrap();
            newcomer.try_send(11).unwrap();
            newcomer
        });
        let mut newcomer = ring.sender().unwrap();
        newcomer.try_send(1).unwrap();
        let mut got = receive_some(&mut receiver, 1);
        let _first = first.join().unwrap();
        got.extend(drain(&mut receiver));
        assert_all(&got, &[1, 1]);
        assert_eq!(ring.info().voided, 1);
    });
}

/// A living sender's open claim is left alone, however long it takes and however many inspect it.
pub fn a_living_claim_is_left_alone<K: ManySenders + 'static>(preemptions: Option<usize>) {
    explore("a_living_claim_is_left_alone", preemptions, || {
        let ring = ring::<K>(2);
        let (mut sender, mut receiver) = (ring.sender().unwrap(), ring.receiver().unwrap());
        let worker = thread::spawn(move || {
            let mut open = sender.try_reserve().unwrap();
            open.write(1);
            open.commit();
            sender
        });
        // Inspects what lies before it, before it sleeps.
        assert_eq!(receiver.recv(), Ok(1));
        worker.join().unwrap();
    });
}

/// In per-sender order a receiver steps over an open claim, and comes back to it.
pub fn an_open_claim_is_stepped_over<K: ManySenders + 'static>(preemptions: Option<usize>) {
    explore("an_open_claim_is_stepped_over", preemptions, || {
        let mut options = RingOptions::new();
        let ring: Ring<u64, K> = options.capacity(4).order(Order::PerSender).heap().unwrap();
        let (mut a, mut b) = (ring.sender().unwrap(), ring.sender().unwrap());
        let mut receiver = ring.receiver().unwrap();
        let mut open = a.try_reserve().unwrap();
        b.try_send(11).unwrap();
        assert_eq!(receiver.try_recv(), Ok(11));
        open.write(1);
        open.commit();
        let first = thread::spawn(move || {
            let mut open = a.try_reserve().unwrap();
            open.write(2);
            open.commit();
            a
        });
        let second = thread::spawn(move || {
            b.try_send(12).unwrap();
            b
        });
        let mut got = receive_some(&mut receiver, 3);
        let _a = first.join().unwrap();
        let _b = second.join().unwrap();
        got.extend(drain(&mut receiver));
        assert_in_order(&got);
        got.push(11);
        assert_all(&got, &[2, 2]);
    });
}

/// A receiver dies with a record, another has passed it and sleeps: a newcomer brings the record back and wakes it.
pub fn a_newcomer_wakes_for_a_return<K: ManyReceivers + 'static>(preemptions: Option<usize>) {
    explore("a_newcomer_wakes_for_a_return", preemptions, || {
        let ring = Arc::new(ring::<K>(4));
        let (mut dead, mut receiver) = (ring.receiver().unwrap(), ring.receiver().unwrap());
        let mut sender = ring.sender().unwrap();
        sender.try_send(1).unwrap();
        sender.try_send(2).unwrap();
        mem::forget(dead.try_peek().unwrap());
        dead.die();
        let worker = thread::spawn(move || ring.receiver().unwrap());
        let got = [receiver.recv().unwrap(), receiver.recv().unwrap()];
        assert_all(&got, &[2]);
        let _newcomer = worker.join().unwrap();
    });
}

/// A record comes back for the last time while another receiver looks for it, and two drain: it is received, or a dead
/// letter, and never both.
pub fn a_record_is_set_aside<K: ManyReceivers + 'static>(preemptions: Option<usize>) {
    explore("a_record_is_set_aside", preemptions, || {
        let mut options = RingOptions::new();
        let ring: Ring<u64, K> = options.capacity(2).max_tries(1).heap().unwrap();
        let (mut a, mut b) = (ring.receiver().unwrap(), ring.receiver().unwrap());
        let mut sender = ring.sender().unwrap();
        sender.try_send(1).unwrap();
        sender.try_send(2).unwrap();
        let drain_dead = |inspector: &Inspector| -> Vec<u64> {
            let drained = inspector.dead_letters().into_iter().filter_map(|letter| {
                let bytes = inspector.read_dead(&letter)?;
                inspector.discard_dead(letter).then_some(bytes)
            });
            let value = |bytes: Vec<u8>| u64::from_ne_bytes(bytes.try_into().unwrap());
            drained.map(value).collect()
        };
        let inspector = ring.inspector();
        let worker = thread::spawn(move || {
            // Dropped, not released.
            let held = a.try_peek().ok().map(|peeked| peeked.read());
            (held, drain_dead(&inspector), a)
        });
        let mut got = receive_some(&mut b, 2);
        let mut letters = drain_dead(&ring.inspector());
        let (held, others, _a) = worker.join().unwrap();
        letters.extend(others);
        assert_eq!(letters, Vec::from_iter(held), "its only try failed");
        got.extend(drain(&mut b));
        assert_in_order(&got);
        got.extend(letters);
        assert_all(&got, &[2]);
        let audit = ring.audit();
        assert!(audit.adds_up(), "{audit}");
        assert_eq!((audit.sent, audit.in_flight), (2, 0));
    });
}
