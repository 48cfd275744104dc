//! Does every ring keep the contract, wherever it lies? The conformance suite of `annulus-channel`, clause by clause, over
//! every kind of ring on every medium.
#![cfg(not(loom))]

use annulus::{
    Mpmc, Mpsc, Order, Protocol, Receiver, RecvError, RecvTimeoutError, Ring, RingOptions,
    SendError, SendTimeoutError, Sender, Spmc, Spsc, TryRecvError, TrySendError,
};
use annulus_channel::Capabilities;
use annulus_channel::conformance::{self, Death, Transport};
use annulus_tests::place::{Medium, Name, create};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

/// Rings of one kind on one medium.
struct Rings<K> {
    medium: Medium,
    options: RingOptions,
    kind: PhantomData<K>,
}

/// A ring, which its handles keep, and with it its name.
struct Place<K: Protocol> {
    ring: Ring<[u8], K>,
    /// Removes what is left of the ring, last.
    name: Option<Name>,
}

/// A handle, and the place that it is attached to. The handle goes first.
struct At<Handle, K: Protocol>(Handle, Arc<Place<K>>);

impl<K: Protocol + Send + Sync + 'static> annulus_channel::Sender for At<Sender<[u8], K>, K> {
    fn try_send(&mut self, record: &[u8]) -> Result<(), TrySendError> {
        self.0.try_send(record)
    }

    fn send(&mut self, record: &[u8]) -> Result<(), SendError> {
        self.0.send(record)
    }

    fn send_deadline(&mut self, record: &[u8], deadline: Instant) -> Result<(), SendTimeoutError> {
        self.0.send_deadline(record, deadline)
    }

    fn max_record(&self) -> usize {
        self.0.max_record()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
}

impl<K: Protocol + Send + Sync + 'static> annulus_channel::Receiver for At<Receiver<[u8], K>, K> {
    fn try_recv(&mut self, buffer: &mut Vec<u8>) -> Result<usize, TryRecvError> {
        self.0.try_recv(buffer)
    }

    fn recv(&mut self, buffer: &mut Vec<u8>) -> Result<usize, RecvError> {
        self.0.recv(buffer)
    }

    fn recv_deadline(
        &mut self,
        buffer: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<usize, RecvTimeoutError> {
        self.0.recv_deadline(buffer, deadline)
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
}

impl<K: Protocol + Send + Sync + 'static> Rings<K> {
    fn new(medium: Medium, capacity: usize, order: Order) -> Self {
        let mut options = RingOptions::new();
        options.capacity(capacity).order(order);
        Self {
            medium,
            options,
            kind: PhantomData,
        }
    }
}

/// What becomes of the ring at `place`: where it has a name, `successor` can come.
fn death<'t, Handle, K: Protocol + Send + Sync + 'static>(
    place: Arc<Place<K>>,
    successor: impl FnOnce(Arc<Place<K>>) -> Handle + 't,
) -> Death<'t, Handle> {
    if place.name.is_some() {
        Death::Succeeded(Box::new(|| successor(place)))
    } else {
        Death::Final
    }
}

impl<K: Protocol + Send + Sync + 'static> Transport for Rings<K> {
    type Tx = At<Sender<[u8], K>, K>;
    type Rx = At<Receiver<[u8], K>, K>;

    fn pair(&self) -> (Self::Tx, Self::Rx) {
        let name = Name::on(self.medium);
        let ring = create(&self.options, self.medium, name.as_ref()).expect("a new ring");
        let place = Arc::new(Place { ring, name });
        let sender = place.ring.sender().expect("the first sender");
        let receiver = place.ring.receiver().expect("the first receiver");
        (At(sender, Arc::clone(&place)), At(receiver, place))
    }

    fn more_tx(&self, beside: &Self::Tx) -> Option<Self::Tx> {
        let sender = beside.1.ring.sender().ok()?;
        Some(At(sender, Arc::clone(&beside.1)))
    }

    fn more_rx(&self, beside: &Self::Rx) -> Option<Self::Rx> {
        let receiver = beside.1.ring.receiver().ok()?;
        Some(At(receiver, Arc::clone(&beside.1)))
    }

    fn reopen(&self, tx: Self::Tx, rx: Self::Rx) -> Option<(Self::Tx, Self::Rx)> {
        let At(sender, place) = tx;
        drop((sender, rx));
        let place = Arc::into_inner(place).expect("nobody else has the ring");
        let name = place.name?;
        drop(place.ring);
        let ring = RingOptions::new()
            .open(name.location())
            .expect("it is there");
        let place = Arc::new(Place {
            ring,
            name: Some(name),
        });
        let sender = place.ring.sender().expect("the place is free");
        let receiver = place.ring.receiver().expect("the place is free");
        Some((At(sender, Arc::clone(&place)), At(receiver, place)))
    }

    fn kill_tx(&self, tx: Self::Tx) -> Option<Death<'_, Self::Tx>> {
        let At(sender, place) = tx;
        sender.die();
        Some(death(place, |place| {
            let sender = place.ring.sender().expect("the dead one's place");
            At(sender, place)
        }))
    }

    fn kill_rx(&self, rx: Self::Rx) -> Option<Death<'_, Self::Rx>> {
        let At(receiver, place) = rx;
        receiver.die();
        Some(death(place, |place| {
            let receiver = place.ring.receiver().expect("the dead one's place");
            At(receiver, place)
        }))
    }
}

/// One test for each line: the kind, where it lies, its bytes, and its order.
macro_rules! keeps_the_contract {
    ($($name:ident: $kind:ident on $medium:ident, $capacity:expr, $order:ident;)*) => { $(
        #[test]
        fn $name() {
            conformance::all(&Rings::<$kind>::new(Medium::$medium, $capacity, Order::$order));
        }
    )* };
}

keeps_the_contract! {
    spsc_on_the_heap: Spsc on Heap, 4096, Total;
    mpsc_on_the_heap: Mpsc on Heap, 4096, Total;
    spmc_on_the_heap: Spmc on Heap, 4096, Total;
    mpmc_on_the_heap: Mpmc on Heap, 4096, Total;
    spsc_in_a_memory_file: Spsc on Memfd, 4096, Total;
    mpsc_in_a_memory_file: Mpsc on Memfd, 4096, Total;
    spmc_in_a_memory_file: Spmc on Memfd, 4096, Total;
    mpmc_in_a_memory_file: Mpmc on Memfd, 4096, Total;
    spsc_in_shared_memory: Spsc on Shm, 4096, Total;
    mpsc_in_shared_memory: Mpsc on Shm, 4096, Total;
    spmc_in_shared_memory: Spmc on Shm, 4096, Total;
    mpmc_in_shared_memory: Mpmc on Shm, 4096, Total;
    spsc_in_a_file: Spsc on File, 4096, Total;
    mpsc_in_a_file: Mpsc on File, 4096, Total;
    spmc_in_a_file: Spmc on File, 4096, Total;
    mpmc_in_a_file: Mpmc on File, 4096, Total;
    spsc_in_a_system_v_segment: Spsc on Sysv, 4096, Total;
    mpsc_in_a_system_v_segment: Mpsc on Sysv, 4096, Total;
    spmc_in_a_system_v_segment: Spmc on Sysv, 4096, Total;
    mpmc_in_a_system_v_segment: Mpmc on Sysv, 4096, Total;

    the_smallest_spsc: Spsc on Heap, 64, Total;
    a_larger_spsc: Spsc on Shm, 1 << 20, Total;
    a_larger_mpsc: Mpsc on Heap, 1 << 20, Total;
    a_larger_spmc: Spmc on File, 1 << 20, Total;
    a_larger_mpmc: Mpmc on Memfd, 1 << 20, Total;

    mpsc_with_the_order_of_each_sender: Mpsc on Heap, 4096, PerSender;
    mpmc_with_the_order_of_each_sender: Mpmc on Shm, 4096, PerSender;
    a_larger_mpmc_with_the_order_of_each_sender: Mpmc on Heap, 1 << 20, PerSender;
}
