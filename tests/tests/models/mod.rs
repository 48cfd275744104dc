//! What the loom models share: how far each is explored, and the facts that hold on every kind of ring.
//!
//! A model runs the production source on a heap ring of two to four cells; the lease table is scaled down
//! (`annulus::sync::scaled`), nothing else is changed. No timeout ever ends in a model, so a lost wake is a
//! deadlock, and loom fails on it. `tests/weaken` shows that the models notice a weakened ordering.

#![allow(
    dead_code,
    reason = "each test target uses the facts that its ring has"
)]

mod repair;

pub use repair::*;

use annulus::{
    ManyReceivers, ManySenders, Order, Protocol, Receiver, Ring, RingOptions, Sender, Spmc,
    TryRecvError, TrySendError, WhenDead,
};
use loom::model::Builder;
use loom::thread;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Explores every interleaving of `model`, or, with a bound, every one of at most so many preemptions.
/// Says how many that were.
pub fn explore(name: &str, preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let count = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&count);
    let begin = Instant::now();
    let mut builder = Builder::new();
    builder.max_branches = 20_000;
    builder.preemption_bound = preemptions;
    builder.check(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        model();
    });
    println!(
        "{name}: {} executions, {:.1} s",
        count.load(Ordering::Relaxed),
        begin.elapsed().as_secs_f64()
    );
}

/// A ring on the heap with room for `capacity` messages.
pub fn ring<K: Protocol>(capacity: usize) -> Ring<u64, K> {
    RingOptions::new().capacity(capacity).heap().unwrap()
}

/// The same with one sender and one receiver.
pub fn ends<K: Protocol>(capacity: usize) -> (Sender<u64, K>, Receiver<u64, K>) {
    let ring = ring(capacity);
    (ring.sender().unwrap(), ring.receiver().unwrap())
}

/// Sends the values until the ring is full; tells how many.
pub fn send_some<K: Protocol>(
    sender: &mut Sender<u64, K>,
    values: impl IntoIterator<Item = u64>,
) -> usize {
    let mut sent = 0;
    for value in values {
        match sender.try_send(value) {
            Ok(()) => sent += 1,
            Err(TrySendError::Full(back)) => {
                assert_eq!(back, value);
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    sent
}

/// Looks `times` times; gives what was there.
pub fn receive_some<K: Protocol>(receiver: &mut Receiver<u64, K>, times: usize) -> Vec<u64> {
    let mut values = Vec::new();
    for _ in 0..times {
        match receiver.try_recv() {
            Ok(value) => values.push(value),
            Err(TryRecvError::Empty) => {}
            Err(error) => panic!("{error}"),
        }
    }
    values
}

/// Receives until there is nothing.
pub fn drain<K: Protocol>(receiver: &mut Receiver<u64, K>) -> Vec<u64> {
    let mut values = Vec::new();
    loop {
        match receiver.try_recv() {
            Ok(value) => values.push(value),
            Err(TryRecvError::Empty | TryRecvError::Disconnected | TryRecvError::PeerDead) => {
                return values;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Full, empty and a wrap: whatever was accepted arrives once, in order.
pub fn passes_over_a_wrap<K: Protocol + 'static>(order: Order, preemptions: Option<usize>) {
    explore("passes_over_a_wrap", preemptions, move || {
        let mut options = RingOptions::new();
        let ring: Ring<u64, K> = options.capacity(2).order(order).heap().unwrap();
        let (mut sender, mut receiver) = (ring.sender().unwrap(), ring.receiver().unwrap());
        sender.try_send(1).unwrap();
        let worker = thread::spawn(move || {
            let sent = send_some(&mut sender, 2..=4);
            (sender, sent)
        });
        let mut got = receive_some(&mut receiver, 2);
        let (_sender, sent) = worker.join().unwrap();
        got.extend(drain(&mut receiver));
        assert_eq!(got, (1..=1 + sent as u64).collect::<Vec<_>>());
    });
}

/// A batch becomes visible all at once, over the ring's end, and so does the one behind it.
pub fn a_batch_comes_whole<K: Protocol + 'static>(preemptions: Option<usize>) {
    explore("a_batch_comes_whole", preemptions, || {
        let mut options = RingOptions::new();
        let ring: Ring<u64, K> = options.capacity(4).start_at(3).heap().unwrap();
        let (mut sender, mut receiver) = (ring.sender().unwrap(), ring.receiver().unwrap());
        let worker = thread::spawn(move || {
            assert_eq!(sender.try_send_slice(&[1, 2, 3]), Ok(3));
            let more = sender.try_send_slice(&[4, 5]).unwrap_or(0);
            (sender, more)
        });
        let mut values = [0; 4];
        let first = receiver.try_recv_slice(&mut values[..3]).unwrap_or(0);
        assert!(first == 0 || first == 3, "a batch came in parts");
        let (_sender, more) = worker.join().unwrap();
        let mut got = values[..first].to_vec();
        got.extend(drain(&mut receiver));
        assert_eq!(got, (1..=3 + more as u64).collect::<Vec<_>>());
    });
}

/// The receiver gets everything that was sent, and then the end.
pub fn the_end_comes_last<K: Protocol + 'static>(preemptions: Option<usize>) {
    explore("the_end_comes_last", preemptions, || {
        let (mut sender, mut receiver) = ends::<K>(2);
        let worker = thread::spawn(move || {
            sender.try_send(1).unwrap();
            sender.try_send(2).unwrap();
        });
        let mut got = Vec::new();
        let end = loop {
            match receiver.try_recv() {
                Ok(value) => got.push(value),
                Err(TryRecvError::Empty) => thread::yield_now(),
                Err(end) => break end,
            }
        };
        assert_eq!(end, TryRecvError::Disconnected);
        assert_eq!(got, [1, 2]);
        worker.join().unwrap();
    });
}

/// Once the last receiver has closed every sender learns of it, and not before; what was sent is still accounted for.
pub fn a_sender_learns_of_the_end<K: Protocol + 'static>(preemptions: Option<usize>) {
    explore("a_sender_learns_of_the_end", preemptions, || {
        let (mut sender, mut receiver) = ends::<K>(2);
        let worker = thread::spawn(move || receive_some(&mut receiver, 1));
        let mut closed = false;
        for value in 1..=2 {
            match sender.try_send(value) {
                Ok(()) => assert!(!closed, "sent after the end"),
                Err(TrySendError::Disconnected(_)) => closed = true,
                Err(error) => panic!("{error}"),
            }
        }
        let got = worker.join().unwrap();
        assert!(got.is_empty() || got == [1]);
        assert_eq!(sender.try_send(3), Err(TrySendError::Disconnected(3)));
    });
}

/// A sender dies with a record half sent: its successor comes in only then, and goes on behind what the dead one
/// had committed.
pub fn a_sender_is_succeeded<K: Protocol + 'static>(preemptions: Option<usize>) {
    explore("a_sender_is_succeeded", preemptions, || {
        let ring = ring::<K>(2);
        let (mut sender, mut receiver) = (ring.sender().unwrap(), ring.receiver().unwrap());
        let worker = thread::spawn(move || {
            sender.try_send(1).unwrap();
            let mut open = sender.try_reserve().unwrap();
            open.write(99);
            mem::forget(open);
            sender.die();
        });
        let early = ring.sender();
        let mut got = receive_some(&mut receiver, 1);
        let (mut successor, one) = match early {
            Ok(mut successor) if !K::KIND.many_senders() => {
                let sent = send_some(&mut successor, [2]);
                worker.join().unwrap();
                (successor, sent)
            }
            _ => {
                worker.join().unwrap();
                (ring.sender().unwrap(), 0)
            }
        };
        got.extend(drain(&mut receiver));
        let sent = one + send_some(&mut successor, 2 + one as u64..=3);
        got.extend(drain(&mut receiver));
        assert_eq!(got, (1..=1 + sent as u64).collect::<Vec<_>>());
        assert!(sent >= 1);
    });
}

/// A receiver dies with a record in its hands: its successor gets that record, and the rest.
pub fn a_receiver_is_succeeded<K: Protocol + 'static>(preemptions: Option<usize>) {
    explore("a_receiver_is_succeeded", preemptions, || {
        let ring = ring::<K>(2);
        let (mut sender, mut receiver) = (ring.sender().unwrap(), ring.receiver().unwrap());
        sender.on_peer_death(WhenDead::Wait);
        sender.try_send(1).unwrap();
        sender.try_send(2).unwrap();
        let worker = thread::spawn(move || {
            let first = receiver.try_recv().unwrap();
            let held = receiver.try_peek().unwrap();
            assert_eq!((first, held.read()), (1, 2));
            mem::forget(held);
            receiver.die();
        });
        let sending = thread::spawn(move || (send_some(&mut sender, [3]) as u64, sender));
        let mut early = ring.receiver().ok();
        // With many receivers one may come at any time; the only one's successor comes after its death.
        let mut got = match &mut early {
            Some(early) if !K::KIND.many_receivers() => receive_some(early, 1),
            _ => Vec::new(),
        };
        worker.join().unwrap();
        let (mut successor, _early) = match early {
            Some(early) if !K::KIND.many_receivers() => (early, None),
            early => (ring.receiver().unwrap(), early),
        };
        got.extend(drain(&mut successor));
        let (sent, _sender) = sending.join().unwrap();
        got.extend(drain(&mut successor));
        assert_eq!(got, (2..=2 + sent).collect::<Vec<_>>());
    });
}

/// A leaked guard's claim or record is given up by its handle's next operation.
pub fn leaked_guards_are_given_up<K: Protocol + 'static>(preemptions: Option<usize>) {
    explore("leaked_guards_are_given_up", preemptions, || {
        let (mut sender, mut receiver) = ends::<K>(2);
        let worker = thread::spawn(move || {
            let mut open = sender.try_reserve().unwrap();
            open.write(99);
            mem::forget(open);
            sender.try_send(1).unwrap();
            sender
        });
        let mut got = Vec::new();
        let first = receiver.try_peek().map(|held| {
            let value = held.read();
            mem::forget(held);
            value
        });
        if let Ok(value) = first {
            assert_eq!(value, 1);
            got.extend(receive_some(&mut receiver, 1));
            assert_eq!(got, [1]);
        }
        let _sender = worker.join().unwrap();
        got.extend(drain(&mut receiver));
        assert_eq!(got, [1]);
    });
}

/// A message is written, given up or committed, looked at, put back and released.
pub fn two_phases<K: Protocol + 'static>(preemptions: Option<usize>) {
    explore("two_phases", preemptions, || {
        let (mut sender, mut receiver) = ends::<K>(2);
        let worker = thread::spawn(move || {
            let mut given_up = sender.try_reserve().unwrap();
            given_up.write(99);
            drop(given_up);
            let mut sent = 0;
            for value in 1..=2 {
                if let Ok(mut open) = sender.try_reserve() {
                    open.write(value);
                    open.commit();
                    sent += 1;
                } else {
                    break;
                }
            }
            (sender, sent)
        });
        let mut got = Vec::new();
        let first = receiver.try_peek().map(|held| held.read());
        if let Ok(value) = first {
            assert_eq!(value, 1);
            let held = receiver.try_peek().unwrap();
            got.push(held.read());
            held.release();
        }
        let (_sender, sent) = worker.join().unwrap();
        got.extend(drain(&mut receiver));
        assert_eq!(got, (1..=sent).collect::<Vec<_>>());
    });
}

/// Asserts that `got` has exactly the first `sent` values of each sender, whose values begin with 1, 11, …
fn assert_all(got: &[u64], sent: &[usize]) {
    let mut sorted = got.to_vec();
    sorted.sort_unstable();
    let expected: Vec<_> = sent
        .iter()
        .zip((1..).step_by(10))
        .flat_map(|(&sent, first)| first..first + sent as u64)
        .collect();
    assert_eq!(sorted, expected, "lost, doubled or torn");
}

/// Asserts that the values of each sender, alike in their tens, came in order.
fn assert_in_order(got: &[u64]) {
    for (at, value) in got.iter().enumerate() {
        let later = &got[at..];
        assert!(
            later
                .iter()
                .all(|other| other / 10 != value / 10 || other >= value),
            "{got:?} is out of order"
        );
    }
}

/// Two senders want the same place: each gets one, and each sender's messages stay in order.
pub fn senders_race<K: ManySenders + 'static>(order: Order, preemptions: Option<usize>) {
    explore("senders_race", preemptions, move || {
        let mut options = RingOptions::new();
        let ring: Ring<u64, K> = options.capacity(2).order(order).heap().unwrap();
        let (mut a, mut b) = (ring.sender().unwrap(), ring.sender().unwrap());
        let mut receiver = ring.receiver().unwrap();
        let first = thread::spawn(move || (send_some(&mut a, 1..=2), a));
        let second = thread::spawn(move || (send_some(&mut b, 11..=11), b));
        let mut got = receive_some(&mut receiver, 1);
        let (ones, _a) = first.join().unwrap();
        let (tens, _b) = second.join().unwrap();
        got.extend(drain(&mut receiver));
        assert_all(&got, &[ones, tens]);
        assert_in_order(&got);
    });
}

/// The same over a wrap, and one of them has seen nothing of the ring yet.
pub fn senders_race_over_a_wrap<K: ManySenders + 'static>(preemptions: Option<usize>) {
    explore("senders_race_over_a_wrap", preemptions, || {
        let ring = ring::<K>(2);
        let (mut a, mut b) = (ring.sender().unwrap(), ring.sender().unwrap());
        let mut receiver = ring.receiver().unwrap();
        a.try_send(1).unwrap();
        a.try_send(2).unwrap();
        let first = thread::spawn(move || (2 + send_some(&mut a, 3..=3), a));
        let second = thread::spawn(move || (send_some(&mut b, 11..=11), b));
        let mut got = receive_some(&mut receiver, 1);
        let (ones, _a) = first.join().unwrap();
        let (tens, _b) = second.join().unwrap();
        got.extend(drain(&mut receiver));
        assert_all(&got, &[ones, tens]);
        assert_in_order(&got);
    });
}

/// Two batches race for their places, and each comes whole.
pub fn batches_race<K: ManySenders + 'static>(preemptions: Option<usize>) {
    explore("batches_race", preemptions, || {
        let ring = ring::<K>(4);
        let (mut a, mut b) = (ring.sender().unwrap(), ring.sender().unwrap());
        let mut receiver = ring.receiver().unwrap();
        let first = thread::spawn(move || (a.try_send_slice(&[1, 2]).unwrap(), a));
        let second = thread::spawn(move || (b.try_send_slice(&[11, 12]).unwrap(), b));
        let mut got = Vec::new();
        if let Ok(value) = receiver.try_recv() {
            got = vec![value, receiver.try_recv().expect("the rest of the batch")];
        }
        let (ones, _a) = first.join().unwrap();
        let (tens, _b) = second.join().unwrap();
        got.extend(drain(&mut receiver));
        assert_all(&got, &[ones, tens]);
        assert_in_order(&got);
    });
}

/// Two receivers want the same record: one gets it; and a sender at work meanwhile is not disturbed.
pub fn receivers_race<K: ManyReceivers + 'static>(preemptions: Option<usize>) {
    explore("receivers_race", preemptions, || {
        let ring = ring::<K>(2);
        let (mut a, mut b) = (ring.receiver().unwrap(), ring.receiver().unwrap());
        let mut sender = ring.sender().unwrap();
        sender.try_send(1).unwrap();
        sender.try_send(2).unwrap();
        let first = thread::spawn(move || (receive_some(&mut a, 1), a));
        let worker = thread::spawn(move || (2 + send_some(&mut sender, 3..=3), sender));
        let mut got = receive_some(&mut b, 1);
        let (others, _a) = first.join().unwrap();
        let (sent, _sender) = worker.join().unwrap();
        got.extend(drain(&mut b));
        assert_in_order(&got);
        got.extend(others);
        assert_all(&got, &[sent]);
    });
}

/// Who was done with records before and after one that another holds does not free that one.
pub fn what_another_holds_is_not_freed<K: ManyReceivers + 'static>(preemptions: Option<usize>) {
    explore("what_another_holds_is_not_freed", preemptions, || {
        let ring = ring::<K>(2);
        let (mut a, mut b) = (ring.receiver().unwrap(), ring.receiver().unwrap());
        let mut sender = ring.sender().unwrap();
        assert_eq!(send_some(&mut sender, 1..=2), 2);
        assert_eq!(a.try_recv(), Ok(1));
        let held = b.try_peek().unwrap();
        assert_eq!(send_some(&mut sender, 3..=3), 1);
        assert_eq!(a.try_recv(), Ok(3));
        assert!(sender.try_send(4).is_err());
        assert_eq!(held.read(), 2);
        held.release();
        assert_eq!(sender.try_send(4), Ok(()));
    });
}

/// The end comes when the last of several senders has closed.
pub fn the_last_sender_ends_it<K: ManySenders + 'static>(preemptions: Option<usize>) {
    explore("the_last_sender_ends_it", preemptions, || {
        let ring = ring::<K>(2);
        let (mut a, mut b) = (ring.sender().unwrap(), ring.sender().unwrap());
        let mut receiver = ring.receiver().unwrap();
        let worker = thread::spawn(move || {
            a.try_send(1).unwrap();
            drop(a);
        });
        b.try_send(11).unwrap();
        drop(b);
        let mut got = Vec::new();
        let end = loop {
            match receiver.try_recv() {
                Ok(value) => got.push(value),
                Err(TryRecvError::Empty) => thread::yield_now(),
                Err(end) => break end,
            }
        };
        assert_eq!(end, TryRecvError::Disconnected);
        assert_all(&got, &[1, 1]);
        worker.join().unwrap();
    });
}

/// The last receiver closes while another comes: who sends then, reaches it.
pub fn a_receiver_comes_as_the_last_closes<K: Protocol + 'static>(preemptions: Option<usize>) {
    explore("a_receiver_comes_as_the_last_closes", preemptions, || {
        let ring = Arc::new(ring::<K>(4));
        let (mut sender, receiver) = (ring.sender().unwrap(), ring.receiver().unwrap());
        let other = Arc::clone(&ring);
        let closer = thread::spawn(move || drop(receiver));
        let comer = thread::spawn(move || other.receiver().ok());
        let early = sender.try_send(1);
        closer.join().unwrap();
        let mut newcomer = match comer.join().unwrap() {
            Some(newcomer) => newcomer,
            // Where there is one place only, it was still taken.
            None => ring.receiver().unwrap(),
        };
        sender.try_send(2).unwrap();
        let got = drain(&mut newcomer);
        assert!(if early.is_ok() {
            got == [1, 2]
        } else {
            got == [2]
        });
        drop(newcomer);
        assert_eq!(sender.try_send(3), Err(TrySendError::Disconnected(3)));
    });
}

/// Byte records of different lengths from a single sender: a receiver that comes late reads a header that is
/// already of the next lap, and is not led astray.
pub fn a_late_receiver_is_not_led_astray(preemptions: Option<usize>) {
    explore("a_late_receiver_is_not_led_astray", preemptions, || {
        let ring: Ring<[u8], Spmc> = RingOptions::new().capacity(32).heap().unwrap();
        let (mut a, mut b) = (ring.receiver().unwrap(), ring.receiver().unwrap());
        let mut sender = ring.sender().unwrap();
        let number = |value: u64| value.to_le_bytes();
        // Four cells of 8 bytes: a record of no bytes takes one, of 8 bytes two.
        sender.try_send(&[]).unwrap();
        sender.try_send(&number(1)).unwrap();
        let mut buffer = Vec::new();
        assert_eq!(a.try_recv(&mut buffer), Ok(0));
        let first = thread::spawn(move || {
            let mut buffer = Vec::new();
            let got = a.try_recv(&mut buffer).is_ok().then_some(buffer);
            (got, a)
        });
        let worker = thread::spawn(move || (sender.try_send(&number(2)).is_ok(), sender));
        // Has seen nothing of the ring yet, and walks from where it was free when it came.
        let mut got = Vec::new();
        match b.try_recv(&mut buffer) {
            Ok(_) => got.push(buffer.clone()),
            Err(TryRecvError::Empty) => {}
            Err(error) => panic!("{error}"),
        }
        let (sent, _sender) = worker.join().unwrap();
        let (other, _a) = first.join().unwrap();
        while b.try_recv(&mut buffer).is_ok() {
            got.push(buffer.clone());
        }
        got.extend(other);
        got.sort_unstable();
        let expected = [number(1), number(2)];
        assert_eq!(got, if sent { &expected[..] } else { &expected[..1] });
    });
}

/// A batch is shared out: whoever is led past its first record by a hint sees the later ones whole.
pub fn a_batch_is_shared<K: ManyReceivers + 'static>(preemptions: Option<usize>) {
    explore("a_batch_is_shared", preemptions, || {
        let ring = ring::<K>(4);
        let (mut a, mut b) = (ring.receiver().unwrap(), ring.receiver().unwrap());
        let mut sender = ring.sender().unwrap();
        // Both have looked from the start, and follow hints now.
        assert_eq!(drain(&mut a), []);
        assert_eq!(drain(&mut b), []);
        let worker = thread::spawn(move || {
            assert_eq!(sender.try_send_slice(&[1, 2]), Ok(2));
            sender
        });
        let first = thread::spawn(move || (receive_some(&mut a, 1), a));
        let mut got = receive_some(&mut b, 1);
        let (others, _a) = first.join().unwrap();
        let _sender = worker.join().unwrap();
        got.extend(drain(&mut b));
        assert_in_order(&got);
        got.extend(others);
        assert_all(&got, &[2]);
    });
}
