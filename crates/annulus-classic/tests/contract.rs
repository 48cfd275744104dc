//! Do the buffers and the spool keep the contract? The conformance suite of `annulus-channel`, clause by clause, once where
//! survivors wait for a successor and once where they are told of a death.

mod common;

use annulus_channel::conformance::{self, Death, Transport};
use annulus_classic::{Classic, Medium, Options, Receiver, Sem, Sender, Spool, WhenDead};
use common::Name;
use std::sync::Arc;
use std::time::Instant;

/// Channels of one medium.
struct Of<M> {
    options: Options,
    fail: bool,
    name: fn() -> Name,
    medium: std::marker::PhantomData<M>,
}

/// A handle, and the name of its channel, which goes last.
struct At<Handle>(Handle, Arc<Name>);

impl<M: Medium> annulus_channel::Sender for At<Sender<M>> {
    fn try_send(&mut self, record: &[u8]) -> Result<(), annulus_channel::TrySendError> {
        self.0.try_send(record)
    }

    fn send(&mut self, record: &[u8]) -> Result<(), annulus_channel::SendError> {
        self.0.send(record)
    }

    fn send_deadline(
        &mut self,
        record: &[u8],
        deadline: Instant,
    ) -> Result<(), annulus_channel::SendTimeoutError> {
        self.0.send_deadline(record, deadline)
    }

    fn max_record(&self) -> usize {
        self.0.max_record()
    }

    fn capabilities(&self) -> annulus_channel::Capabilities {
        self.0.capabilities()
    }
}

impl<M: Medium> annulus_channel::Receiver for At<Receiver<M>> {
    fn try_recv(&mut self, buffer: &mut Vec<u8>) -> Result<usize, annulus_channel::TryRecvError> {
        self.0.try_recv(buffer)
    }

    fn recv(&mut self, buffer: &mut Vec<u8>) -> Result<usize, annulus_channel::RecvError> {
        self.0.recv(buffer)
    }

    fn recv_deadline(
        &mut self,
        buffer: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<usize, annulus_channel::RecvTimeoutError> {
        self.0.recv_deadline(buffer, deadline)
    }

    fn capabilities(&self) -> annulus_channel::Capabilities {
        self.0.capabilities()
    }
}

impl<M: Medium> Of<M> {
    fn tx(&self, name: &Name) -> Option<Sender<M>> {
        self.options.sender(name.word()).ok()
    }

    fn rx(&self, name: &Name) -> Option<Receiver<M>> {
        self.options.receiver(name.word()).ok()
    }
}

impl<M: Medium + Send + 'static> Transport for Of<M> {
    type Tx = At<Sender<M>>;
    type Rx = At<Receiver<M>>;

    fn pair(&self) -> (Self::Tx, Self::Rx) {
        let name = Arc::new((self.name)());
        let tx = self.tx(&name).expect("the first sender");
        let rx = self.rx(&name).expect("the first receiver");
        (At(tx, Arc::clone(&name)), At(rx, name))
    }

    fn more_tx(&self, beside: &Self::Tx) -> Option<Self::Tx> {
        Some(At(self.tx(&beside.1)?, Arc::clone(&beside.1)))
    }

    fn more_rx(&self, beside: &Self::Rx) -> Option<Self::Rx> {
        Some(At(self.rx(&beside.1)?, Arc::clone(&beside.1)))
    }

    fn reopen(&self, tx: Self::Tx, rx: Self::Rx) -> Option<(Self::Tx, Self::Rx)> {
        let At(tx, name) = tx;
        drop((tx, rx));
        let (tx, rx) = (self.tx(&name)?, self.rx(&name)?);
        Some((At(tx, Arc::clone(&name)), At(rx, name)))
    }

    fn kill_tx(&self, tx: Self::Tx) -> Option<Death<'_, Self::Tx>> {
        let At(tx, name) = tx;
        tx.die();
        if self.fail {
            return Some(Death::Final);
        }
        Some(Death::Succeeded(Box::new(move || {
            At(self.tx(&name).expect("the dead one's seat"), name)
        })))
    }

    fn kill_rx(&self, rx: Self::Rx) -> Option<Death<'_, Self::Rx>> {
        let At(rx, name) = rx;
        rx.die();
        if self.fail {
            return Some(Death::Final);
        }
        Some(Death::Succeeded(Box::new(move || {
            At(self.rx(&name).expect("the dead one's seat"), name)
        })))
    }
}

fn keeps_the_contract<M: Medium + Send + 'static>(
    name: fn() -> Name,
    set: impl Fn(&mut Options) -> &mut Options,
    when_dead: WhenDead,
) {
    let mut options = Options::new();
    set(&mut options).when_dead(when_dead);
    conformance::all(&Of::<M> {
        options,
        fail: when_dead == WhenDead::Fail,
        name,
        medium: std::marker::PhantomData,
    });
}

/// One test for each line: the medium, its names, its size, and what survivors do.
macro_rules! keep_the_contract {
    ($($test:ident: $medium:ident, $name:ident, $set:expr, $when:ident;)*) => { $(
        #[test]
        fn $test() {
            keeps_the_contract::<$medium>(Name::$name, $set, WhenDead::$when);
        }
    )* };
}

keep_the_contract! {
    classic: Classic, classic, |o| o.slots(8).max_record(5000), Wait;
    classic_whose_dead_have_no_successor: Classic, classic, |o| o.slots(8).max_record(5000), Fail;
    the_smallest_classic: Classic, classic, |o| o.slots(2).max_record(8), Wait;
    classic_with_long_records: Classic, classic, |o| o.slots(3).max_record(1 << 20), Wait;
    sem: Sem, sem, |o| o.slots(8).max_record(5000), Wait;
    sem_whose_dead_have_no_successor: Sem, sem, |o| o.slots(8).max_record(5000), Fail;
    the_smallest_sem: Sem, sem, |o| o.slots(2).max_record(8), Wait;
    spool: Spool, spool, |o| o.capacity(20_000), Wait;
    spool_whose_dead_have_no_successor: Spool, spool, |o| o.capacity(20_000), Fail;
    the_smallest_spool: Spool, spool, |o| o.capacity(64), Wait;
    a_larger_spool: Spool, spool, |o| o.capacity(1 << 20), Wait;
    spool_in_shared_memory: Spool, spool_in_memory, |o| o.capacity(20_000), Wait;
}
