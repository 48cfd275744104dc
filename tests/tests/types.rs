//! Are rights types? What the compiler lets a handle do, and not do. What must not compile stands in
//! `annulus_tests::rights`.
#![cfg(not(loom))]

use annulus::{
    AttachError, Fault, Mpmc, Mpsc, OpenError, Peeked, Receiver, RecvError, Reservation, Ring,
    RingOptions, SendError, Sender, Spmc, Spsc, TryRecvError, TrySendError,
};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use std::error::Error;
use std::fmt::Debug;

/// The handles of every kind: they move between threads, are used by one at a time, and are not copied.
macro_rules! handles {
    ($($kind:ident),*) => { $(
        assert_impl_all!(Sender<u64, $kind>: Send, Debug);
        assert_impl_all!(Sender<[u8], $kind>: Send, Debug, annulus_channel::Sender);
        assert_impl_all!(Receiver<u64, $kind>: Send, Debug);
        assert_impl_all!(Receiver<[u8], $kind>: Send, Debug, annulus_channel::Receiver);
        assert_not_impl_any!(Sender<u64, $kind>: Sync, Clone, Copy);
        assert_not_impl_any!(Sender<[u8], $kind>: Sync, Clone, Copy);
        assert_not_impl_any!(Receiver<u64, $kind>: Sync, Clone, Copy);
        assert_not_impl_any!(Receiver<[u8], $kind>: Sync, Clone, Copy);
        assert_impl_all!(Ring<u64, $kind>: Send, Sync, Debug);
        assert_impl_all!(Ring<[u8], $kind>: Send, Sync, Debug);
        assert_not_impl_any!(Reservation<'static, u64, $kind>: Clone, Copy, Sync);
        assert_not_impl_any!(Peeked<'static, u64, $kind>: Clone, Copy, Sync);
    )* };
}

handles!(Spsc, Mpsc, Spmc, Mpmc);

assert_impl_all!(RingOptions: Send, Sync, Clone, Debug, Default);
assert_impl_all!(OpenError: Error, Send, Sync, Clone, PartialEq);
assert_impl_all!(AttachError: Error, Send, Sync, Clone, PartialEq);
assert_impl_all!(SendError<u64>: Error, Send, Sync, PartialEq);
assert_impl_all!(TrySendError: Error, Send, Sync, PartialEq);
assert_impl_all!(RecvError: Error, Send, Sync, Copy, PartialEq);
assert_impl_all!(TryRecvError: Error, Send, Sync, Copy, PartialEq);
assert_impl_all!(Fault: Error, Send, Sync, Copy, PartialEq);

#[test]
fn a_handle_moves_to_another_thread_and_back() {
    let ring: Ring<u64, Spsc> = RingOptions::new().capacity(1).heap().unwrap();
    let mut sender = ring.sender().unwrap();
    let mut sender = std::thread::spawn(move || {
        sender.send(1).unwrap();
        sender
    })
    .join()
    .unwrap();
    let mut receiver = ring.receiver().unwrap();
    assert_eq!(receiver.recv(), Ok(1));
    sender.send(2).unwrap();
    assert_eq!(receiver.recv(), Ok(2));
}

#[test]
fn a_handle_outlives_the_ring_that_it_came_from() {
    let ring: Ring<u64, Mpmc> = RingOptions::new().capacity(1).memfd().unwrap();
    let (mut sender, mut receiver) = (ring.sender().unwrap(), ring.receiver().unwrap());
    drop(ring);
    let mut second = sender.try_clone().unwrap();
    sender.send(1).unwrap();
    drop(sender);
    assert_eq!(receiver.recv(), Ok(1));
    second.send(2).unwrap();
    drop(second);
    assert_eq!(
        (receiver.recv(), receiver.recv()),
        (Ok(2), Err(RecvError::Disconnected))
    );
}
