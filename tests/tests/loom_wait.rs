//! Models of waiting: no wake is lost. No timeout ends here, so a lost wake would be a deadlock, and loom would
//! say so.

#![cfg(loom)]

mod models;

use annulus::{ManyReceivers, ManySenders, Mpmc, Mpsc, Protocol, RecvError, SendError, Spmc, Spsc};
use loom::thread;
use models::{ends, explore, ring};

/// A receiver that waits is woken by whoever sends.
fn a_receiver_is_woken<K: Protocol + 'static>(preemptions: Option<usize>) {
    explore("a_receiver_is_woken", preemptions, || {
        let (mut sender, mut receiver) = ends::<K>(2);
        let worker = thread::spawn(move || {
            sender.try_send(1).unwrap();
            sender.try_send(2).unwrap();
            sender
        });
        assert_eq!(receiver.recv(), Ok(1));
        assert_eq!(receiver.recv(), Ok(2));
        worker.join().unwrap();
    });
}

/// A sender that waits is woken by whoever receives.
fn a_sender_is_woken<K: Protocol + 'static>(preemptions: Option<usize>) {
    explore("a_sender_is_woken", preemptions, || {
        let (mut sender, mut receiver) = ends::<K>(1);
        sender.try_send(1).unwrap();
        let worker = thread::spawn(move || {
            assert_eq!(receiver.try_recv(), Ok(1));
            receiver
        });
        sender.send(2).unwrap();
        let mut receiver = worker.join().unwrap();
        assert_eq!(receiver.try_recv(), Ok(2));
    });
}

/// A receiver whose sleep ends for nothing sleeps on, and is woken all the same.
fn an_interrupted_receiver_is_woken<K: Protocol + 'static>(preemptions: Option<usize>) {
    explore("an_interrupted_receiver_is_woken", preemptions, || {
        let ring = ring::<K>(2);
        let (mut sender, mut receiver) = (ring.sender().unwrap(), ring.receiver().unwrap());
        let sleeper = thread::spawn(move || {
            assert_eq!(receiver.recv(), Ok(1));
            receiver
        });
        let signals = thread::spawn(move || ring.interrupt());
        sender.try_send(1).unwrap();
        signals.join().unwrap();
        sleeper.join().unwrap();
    });
}

/// Both wait for each other in turn.
fn each_wakes_the_other<K: Protocol + 'static>(preemptions: Option<usize>) {
    explore("each_wakes_the_other", preemptions, || {
        let (mut sender, mut receiver) = ends::<K>(1);
        let worker = thread::spawn(move || {
            for value in 1..=2 {
                sender.send(value).unwrap();
            }
            sender
        });
        for value in 1..=2 {
            assert_eq!(receiver.recv(), Ok(value));
        }
        worker.join().unwrap();
    });
}

/// A message taken by peek wakes a waiting sender when it is released.
fn a_release_wakes<K: Protocol + 'static>(preemptions: Option<usize>) {
    explore("a_release_wakes", preemptions, || {
        let (mut sender, mut receiver) = ends::<K>(1);
        sender.try_send(1).unwrap();
        let worker = thread::spawn(move || {
            receiver.peek().unwrap().release();
            receiver
        });
        sender.send(2).unwrap();
        worker.join().unwrap();
    });
}

/// A receiver that waits is told when the sender closes.
fn a_close_wakes_a_receiver<K: Protocol + 'static>(preemptions: Option<usize>) {
    explore("a_close_wakes_a_receiver", preemptions, || {
        let (sender, mut receiver) = ends::<K>(2);
        let worker = thread::spawn(move || drop(sender));
        assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
        worker.join().unwrap();
    });
}

/// A sender that waits is told when the receiver closes.
fn a_close_wakes_a_sender<K: Protocol + 'static>(preemptions: Option<usize>) {
    explore("a_close_wakes_a_sender", preemptions, || {
        let (mut sender, receiver) = ends::<K>(1);
        sender.try_send(1).unwrap();
        let worker = thread::spawn(move || drop(receiver));
        assert_eq!(sender.send(2), Err(SendError::Disconnected(2)));
        worker.join().unwrap();
    });
}

/// A batch wakes every receiver that waits for a part of it.
fn a_batch_wakes_two_receivers<K: ManyReceivers + 'static>(preemptions: Option<usize>) {
    explore("a_batch_wakes_two_receivers", preemptions, || {
        let ring = ring::<K>(4);
        let (mut a, mut b) = (ring.receiver().unwrap(), ring.receiver().unwrap());
        let mut sender = ring.sender().unwrap();
        let first = thread::spawn(move || (a.recv().unwrap(), a));
        let second = thread::spawn(move || (b.recv().unwrap(), b));
        assert_eq!(sender.try_send_slice(&[1, 2]), Ok(2));
        let (one, _a) = first.join().unwrap();
        let (two, _b) = second.join().unwrap();
        assert_eq!(one + two, 3);
    });
}

/// Two receivers wait; the end wakes both.
fn a_close_wakes_two_receivers<K: ManyReceivers + 'static>(preemptions: Option<usize>) {
    explore("a_close_wakes_two_receivers", preemptions, || {
        let ring = ring::<K>(2);
        let (mut a, mut b) = (ring.receiver().unwrap(), ring.receiver().unwrap());
        let sender = ring.sender().unwrap();
        let first = thread::spawn(move || (a.recv(), a));
        let second = thread::spawn(move || (b.recv(), b));
        drop(sender);
        let (one, _a) = first.join().unwrap();
        let (two, _b) = second.join().unwrap();
        assert_eq!(
            (one, two),
            (Err(RecvError::Disconnected), Err(RecvError::Disconnected))
        );
    });
}

/// Two senders wait for the room of one record each.
fn two_senders_are_woken<K: ManySenders + 'static>(preemptions: Option<usize>) {
    explore("two_senders_are_woken", preemptions, || {
        two_senders::<K>(false)
    });
}

/// The same, when their sleeps end once for nothing.
fn an_interrupted_sender_is_woken<K: ManySenders + 'static>(preemptions: Option<usize>) {
    explore("an_interrupted_sender_is_woken", preemptions, || {
        two_senders::<K>(true)
    });
}

fn two_senders<K: ManySenders + 'static>(interrupted: bool) {
    let ring = ring::<K>(2);
    let (mut a, mut b) = (ring.sender().unwrap(), ring.sender().unwrap());
    let mut receiver = ring.receiver().unwrap();
    a.try_send(1).unwrap();
    a.try_send(2).unwrap();
    let first = thread::spawn(move || {
        a.send(3).unwrap();
        a
    });
    let second = thread::spawn(move || {
        b.send(4).unwrap();
        b
    });
    // The last to begin, so that both sleep without costing a preemption.
    let third = thread::spawn(move || {
        if interrupted {
            ring.interrupt();
        }
        assert_eq!(receiver.try_recv(), Ok(1));
        assert_eq!(receiver.try_recv(), Ok(2));
        receiver
    });
    let _a = first.join().unwrap();
    let _b = second.join().unwrap();
    let mut receiver = third.join().unwrap();
    assert_eq!(models::drain(&mut receiver).iter().sum::<u64>(), 7);
}

/// A receiver waits before an open claim; when that is given up, it goes on with the record behind it.
fn an_abort_wakes<K: ManySenders + 'static>(preemptions: Option<usize>) {
    explore("an_abort_wakes", preemptions, || {
        let ring = ring::<K>(2);
        let (mut a, mut b) = (ring.sender().unwrap(), ring.sender().unwrap());
        let mut receiver = ring.receiver().unwrap();
        let worker = thread::spawn(move || {
            let open = a.try_reserve().unwrap();
            b.try_send(1).unwrap();
            drop(open);
            (a, b)
        });
        assert_eq!(receiver.recv(), Ok(1));
        worker.join().unwrap();
    });
}

/// Makes a test of each fact for each kind of ring that has it.
macro_rules! tests {
    ($($kind:ident $module:ident: $($fact:ident $bound:literal),*;)*) => { $(
        mod $module {
            $( #[test] fn $fact() { super::$fact::<super::$kind>(Some($bound)); } )*
        }
    )* };
}

tests! {
    Spsc spsc: a_receiver_is_woken 3, a_sender_is_woken 3, each_wakes_the_other 2, a_release_wakes 3,
        a_close_wakes_a_receiver 3, a_close_wakes_a_sender 3, an_interrupted_receiver_is_woken 3;
    Mpsc mpsc: a_receiver_is_woken 2, a_sender_is_woken 2, each_wakes_the_other 1, a_release_wakes 2,
        a_close_wakes_a_receiver 3, a_close_wakes_a_sender 3, two_senders_are_woken 1, an_abort_wakes 2,
        an_interrupted_receiver_is_woken 2, an_interrupted_sender_is_woken 1;
    Spmc spmc: a_receiver_is_woken 2, a_sender_is_woken 2, each_wakes_the_other 1, a_release_wakes 2,
        a_close_wakes_a_receiver 3, a_close_wakes_a_sender 3, a_batch_wakes_two_receivers 1,
        a_close_wakes_two_receivers 2;
    Mpmc mpmc: a_receiver_is_woken 2, a_sender_is_woken 2, each_wakes_the_other 1, a_release_wakes 2,
        a_close_wakes_a_receiver 3, a_close_wakes_a_sender 3, an_abort_wakes 2, a_batch_wakes_two_receivers 1,
        a_close_wakes_two_receivers 2;
}
