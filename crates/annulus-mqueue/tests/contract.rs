//! Do the kernel's queues keep the contract? The conformance suite of `annulus-channel`, over both kinds.

mod common;

use annulus_channel::conformance::{self, Death, Transport};
use annulus_mqueue::{Posix, Queue, Receiver, Sender, SystemV, WhenDead};
use common::{Kind, Place};
use std::sync::Mutex;

/// Queues of one kind and size.
struct Queues<K: Kind> {
    records: usize,
    max: usize,
    when_dead: WhenDead,
    /// What was made, in order; the handles do not know their place.
    made: Mutex<Vec<(Place, Queue<K>)>>,
}

impl<K: Kind> Queues<K> {
    fn new(records: usize, max: usize, when_dead: WhenDead) -> Self {
        let made = Mutex::new(Vec::new());
        Self {
            records,
            max,
            when_dead,
            made,
        }
    }

    /// Calls `make` with the queue of this handle, which says its name.
    fn at<R>(&self, handle: &impl std::fmt::Debug, make: impl FnOnce(&Queue<K>) -> R) -> R {
        let made = self.made.lock().unwrap();
        let said = format!("{handle:?}");
        let mine = |(place, _): &&(Place, Queue<K>)| said.contains(&format!("({})", place.0));
        make(&made.iter().find(mine).expect("made here").1)
    }

    fn sender(&self, queue: &Queue<K>) -> Sender<K> {
        let mut sender = queue.sender().expect("a sender");
        sender.on_peer_death(self.when_dead);
        sender
    }

    fn receiver(&self, queue: &Queue<K>) -> Receiver<K> {
        let mut receiver = queue.receiver().expect("a receiver");
        receiver.on_peer_death(self.when_dead);
        receiver
    }

    /// What becomes of a handle's death.
    fn death<'t, Handle>(&self, successor: impl FnOnce() -> Handle + 't) -> Death<'t, Handle> {
        match self.when_dead {
            WhenDead::Wait => Death::Succeeded(Box::new(successor)),
            WhenDead::Fail => Death::Final,
        }
    }
}

impl<K: Kind> Transport for Queues<K> {
    type Tx = Sender<K>;
    type Rx = Receiver<K>;

    fn pair(&self) -> (Self::Tx, Self::Rx) {
        let place = Place::fresh::<K>();
        let mut options = K::small(self.records, self.max);
        options.create_new(true).unlink_when_finished(true);
        let queue = K::open(&options, &place.0).expect("a new queue");
        let pair = (self.sender(&queue), self.receiver(&queue));
        let mut made = self.made.lock().unwrap();
        // The memory of POSIX queues is scarce, so what nobody has any more goes at once.
        made.retain(|(place, queue)| queue.name() != &place.0 || common::is_attached(&place.0));
        made.push((place, queue));
        pair
    }

    fn more_tx(&self, beside: &Self::Tx) -> Option<Self::Tx> {
        Some(self.at(beside, |queue| self.sender(queue)))
    }

    fn more_rx(&self, beside: &Self::Rx) -> Option<Self::Rx> {
        Some(self.at(beside, |queue| self.receiver(queue)))
    }

    fn reopen(&self, tx: Self::Tx, rx: Self::Rx) -> Option<(Self::Tx, Self::Rx)> {
        let name = self.at(&tx, |queue| queue.name().clone());
        drop((tx, rx));
        let queue = K::open(&annulus_mqueue::QueueOptions::new(), &name).expect("it is there");
        Some((self.sender(&queue), self.receiver(&queue)))
    }

    fn kill_tx(&self, tx: Self::Tx) -> Option<Death<'_, Self::Tx>> {
        let name = self.at(&tx, |queue| queue.name().clone());
        tx.die();
        Some(self.death(move || self.at(&format!("({name})"), |queue| self.sender(queue))))
    }

    fn kill_rx(&self, rx: Self::Rx) -> Option<Death<'_, Self::Rx>> {
        let name = self.at(&rx, |queue| queue.name().clone());
        rx.die();
        Some(self.death(move || self.at(&format!("({name})"), |queue| self.receiver(queue))))
    }
}

/// One test for each line: the kind, records, the longest, and what a death means.
macro_rules! keeps_the_contract {
    ($($name:ident: $kind:ident, $records:expr, $max:expr, $dead:ident;)*) => { $(
        #[test]
        fn $name() {
            conformance::all(&Queues::<$kind>::new($records, $max, WhenDead::$dead));
        }
    )* };
}

keeps_the_contract! {
    posix: Posix, 4, 4096, Wait;
    posix_where_death_is_final: Posix, 4, 1000, Fail;
    a_posix_queue_of_one: Posix, 1, 64, Wait;
    system_v: SystemV, 4, 4096, Wait;
    system_v_where_death_is_final: SystemV, 4, 1000, Fail;
    a_system_v_queue_of_one: SystemV, 1, 64, Wait;
}
