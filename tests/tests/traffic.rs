//! Does each message come once, whole, and in the order of its sender, when threads are at it in earnest? Rings so small that they
//! are full, empty and at their end all the time. `ANNULUS_TRAFFIC=20` sends twenty times as much.
#![cfg(not(loom))]

use annulus::{
    Message, Mpmc, Mpsc, Order, Protocol, Receiver, RecvError, Ring, RingOptions, Sender, Spmc,
    Spsc, TryRecvError,
};
use annulus_tests::watch::Watch;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// Sends a message that says this.
type SendOne<T, K> = fn(&mut Sender<T, K>, u64);

/// Receives messages until the end, and gives what they say.
type ReceiveAll<T, K> = fn(Receiver<T, K>) -> Vec<u64>;

/// How much more than by default is to be sent.
fn times() -> u64 {
    let times = std::env::var("ANNULUS_TRAFFIC");
    times.map_or(1, |times| times.parse().expect("a number"))
}

fn run<T, K>(ring: &Ring<T, K>, each: u64, send: SendOne<T, K>, receive: ReceiveAll<T, K>)
where
    T: Message + ?Sized + 'static,
    K: Protocol + Moves + 'static,
{
    let count = |many| if many { 3 } else { 1 };
    let senders: Vec<_> = (0..count(K::KIND.many_senders()))
        .map(|_| ring.sender().unwrap())
        .collect();
    let receiving: Vec<_> = (0..count(K::KIND.many_receivers()))
        .map(|_| ring.receiver().unwrap())
        .map(|receiver| thread::spawn(move || receive(receiver)))
        .collect();
    let sending: Vec<_> = senders
        .into_iter()
        .zip(0..)
        .map(|(mut sender, id): (_, u64)| {
            thread::spawn(move || (0..each).for_each(|number| send(&mut sender, id << 32 | number)))
        })
        .collect();
    let senders = sending.len() as u64;
    sending
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    let mut all = vec![];
    for thread in receiving {
        let got = thread.join().unwrap();
        for id in 0..senders {
            let mine = got.iter().filter(|&&message| message >> 32 == id);
            assert!(mine.is_sorted(), "{}: sender {id}'s order", K::KIND);
        }
        all.extend(got);
    }
    all.sort_unstable();
    let sent = (0..senders).flat_map(|id| (0..each).map(move |number| id << 32 | number));
    assert!(all.into_iter().eq(sent), "{}: each once", K::KIND);
}

/// What a kind must be for its handles to move to another thread.
trait Moves: Send + Sync {}
impl<K: Send + Sync> Moves for K {}

fn options(order: Order, capacity: usize) -> RingOptions {
    RingOptions::new().order(order).capacity(capacity).clone()
}

/// Larger than a cache line, so that a torn message shows.
type Large = [u64; 9];

/// The message of this number: no two of its words are the same.
fn large(number: u64) -> Large {
    std::array::from_fn(|at| number + ((at as u64) << 56))
}

fn typed<K: Protocol + Moves + 'static>(order: Order, capacity: usize) {
    let ring: Ring<Large, K> = options(order, capacity).heap().unwrap();
    run(
        &ring,
        1000 * times(),
        |sender, message| match message % 7 {
            0 => {
                let mut reservation = sender.reserve().unwrap();
                reservation.write(large(message));
                reservation.commit();
            }
            1 => {
                drop(sender.try_reserve());
                sender.send(large(message)).unwrap();
            }
            _ => sender.send(large(message)).unwrap(),
        },
        |mut receiver| {
            let whole = |value: Large| {
                assert_eq!(value, large(value[0]), "torn");
                value[0]
            };
            let mut got = vec![];
            let mut values = [[0; 9]; 5];
            loop {
                if got.len() % 3 == 0 {
                    let Ok(peeked) = receiver.peek() else {
                        return got;
                    };
                    got.push(whole(peeked.read()));
                    peeked.release();
                } else {
                    let Ok(count) = receiver.recv_slice(&mut values) else {
                        return got;
                    };
                    got.extend(values[..count].iter().copied().map(whole));
                }
            }
        },
    );
}

#[test]
fn values_come_once_whole_and_in_order() {
    let _watch = Watch::start();
    for capacity in [1, 2, 5, 64] {
        typed::<Spsc>(Order::Total, capacity);
        typed::<Mpsc>(Order::Total, capacity);
        typed::<Spmc>(Order::Total, capacity);
        typed::<Mpmc>(Order::Total, capacity);
        typed::<Mpsc>(Order::PerSender, capacity);
        typed::<Mpmc>(Order::PerSender, capacity);
    }
}

/// The length of the record that says this, 8 at least.
fn len(message: u64) -> usize {
    8 + (message.wrapping_mul(7919) % 600) as usize
}

fn bytes<K: Protocol + Moves + 'static>(order: Order, capacity: usize) {
    let ring: Ring<[u8], K> = options(order, capacity).memfd().unwrap();
    run(
        &ring,
        2500 * times(),
        |sender, message| {
            let mut record = message.to_le_bytes().to_vec();
            record.resize(len(message), message as u8);
            if message % 5 == 0 {
                let mut reservation = sender.reserve(record.len() + 100).unwrap();
                reservation.write_at(0, &record);
                reservation.commit_len(record.len());
            } else {
                sender.send(&record).unwrap();
            }
        },
        |mut receiver| {
            let (mut got, mut buffer) = (vec![], vec![]);
            loop {
                if got.len() % 3 == 0 {
                    let Ok(peeked) = receiver.peek() else {
                        return got;
                    };
                    peeked.read(&mut buffer);
                    peeked.release();
                } else if receiver.recv(&mut buffer).is_err() {
                    return got;
                }
                let (head, rest) = buffer.split_first_chunk().unwrap();
                let message = u64::from_le_bytes(*head);
                assert_eq!(buffer.len(), len(message));
                assert!(rest.iter().all(|&byte| byte == message as u8), "torn");
                got.push(message);
            }
        },
    );
}

#[test]
fn byte_records_come_once_whole_and_in_order() {
    let _watch = Watch::start();
    bytes::<Spsc>(Order::Total, 1500);
    for capacity in [4096, 16_384] {
        bytes::<Spsc>(Order::Total, capacity);
        bytes::<Mpsc>(Order::Total, capacity);
        bytes::<Spmc>(Order::Total, capacity);
        bytes::<Mpmc>(Order::Total, capacity);
        bytes::<Mpsc>(Order::PerSender, capacity);
        bytes::<Mpmc>(Order::PerSender, capacity);
    }
}

#[test]
fn batches_come_once_and_in_order() {
    let _watch = Watch::start();
    fn batches<K: Protocol + Moves + 'static>() {
        let ring: Ring<u64, K> = options(Order::Total, 70).heap().unwrap();
        run(
            &ring,
            10_000 * times(),
            // A hundred at a time, which is more than the ring holds.
            |sender, message| {
                if (message as u32).is_multiple_of(100) {
                    let values: Vec<u64> = (message..message + 100).collect();
                    sender.send_slice(&values).unwrap();
                }
            },
            |mut receiver| {
                let (mut got, mut values) = (vec![], [0; 80]);
                while let Ok(count) = receiver.recv_slice(&mut values) {
                    got.extend(&values[..count]);
                }
                got
            },
        );
    }
    batches::<Spsc>();
    batches::<Mpsc>();
    batches::<Spmc>();
    batches::<Mpmc>();
}

#[test]
fn the_end_comes_after_the_last_message_of_everybody() {
    let _watch = Watch::start();
    const STOP: u64 = u64::MAX;
    let ring: Ring<u64, Spsc> = options(Order::Total, 8).heap().unwrap();
    let mut receiver = ring.receiver().unwrap();
    // How many rounds the receiver has finished.
    let finished = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&finished);
    let sending = thread::spawn(move || {
        for round in 0.. {
            while seen.load(SeqCst) < round {
                thread::yield_now();
            }
            if seen.load(SeqCst) == STOP {
                return;
            }
            let mut sender = ring.sender().unwrap();
            for number in 0..3 {
                sender.send(round * 3 + number).unwrap();
            }
        }
    });
    // Many rounds, or, where two do not run at once, not too long.
    let since = Instant::now();
    for round in (0..10_000).take_while(|_| since.elapsed() < Duration::from_secs(5)) {
        let mut got = vec![];
        // The end of the sender before may still be heard; but not after a message of this one.
        while got.len() < 3 {
            match receiver.try_recv() {
                Ok(message) => got.push(message),
                Err(TryRecvError::Empty) => {}
                Err(_) => assert!(got.is_empty(), "the end came after {got:?}"),
            }
        }
        assert_eq!(got, [0, 1, 2].map(|number| round * 3 + number));
        finished.store(round + 1, SeqCst);
    }
    finished.store(STOP, SeqCst);
    while receiver.recv() != Err(RecvError::Disconnected) {}
    sending.join().unwrap();
}

fn wakes<K: Protocol + Moves + 'static>(capacity: usize, slow_sender: bool) {
    const ROUNDS: u64 = 50;
    let ring: Ring<u64, K> = options(Order::Total, capacity).memfd().unwrap();
    let (mut sender, mut receiver) = (ring.sender().unwrap(), ring.receiver().unwrap());
    let nap = |slow| {
        if slow {
            thread::sleep(Duration::from_millis(1));
        }
    };
    let receiving = thread::spawn(move || {
        while receiver.recv().is_ok() {
            nap(!slow_sender);
        }
    });
    for number in 0..ROUNDS {
        nap(slow_sender);
        sender.send(number).unwrap();
    }
    drop(sender);
    receiving.join().unwrap();
    // A waker that was held up between message and bell may count as one now and then.
    let rescues = ring.info().rescues;
    assert!(rescues <= ROUNDS / 10, "{}: {rescues} rescues", K::KIND);
}

#[test]
fn sleepers_are_woken_and_not_left_to_the_safety_net() {
    let _watch = Watch::start();
    for slow_sender in [true, false] {
        wakes::<Spsc>(1, slow_sender);
        wakes::<Mpsc>(1, slow_sender);
        wakes::<Spmc>(1, slow_sender);
        wakes::<Mpmc>(1, slow_sender);
    }
}
