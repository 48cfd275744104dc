//! What is left when a handle's process or thread comes to an end, however it does: by `exec`, `exit`, `abort`, a
//! panic, or not at all, since it is only stopped. Forked children have a file of their own, `forks`.
#![cfg(not(loom))]

use annulus::{
    Mpmc, Mpsc, Order, Protocol, Receiver, RecvError, RecvTimeoutError, Ring, RingOptions, Sender,
    Spmc, Spsc, TryRecvError, TrySendError,
};
use annulus_tests::actor::{Actor, PATIENCE};
use annulus_tests::place::{Medium, Name, create};
use annulus_tests::watch::Watch;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use std::cell::RefCell;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

/// Long enough for whoever guesses to guess wrong.
const A_WHILE: Duration = Duration::from_millis(400);

fn new<K: Protocol>(name: &Name, order: Order) -> Ring<u64, K> {
    let mut options = RingOptions::new();
    options.create_new(true).capacity(16).order(order);
    options.open(name.location()).expect("a new ring")
}

/// A process that has opened the ring of this name.
fn guest<K: Protocol>(name: &Name) -> Actor {
    let arguments = ["ring", &K::KIND.to_string(), &name.word()];
    let mut actor = Actor::start(env!("CARGO_BIN_EXE_actor"), &arguments);
    actor.must("open");
    actor
}

fn next<K: Protocol>(receiver: &mut Receiver<u64, K>) -> Result<u64, RecvTimeoutError> {
    receiver.recv_timeout(PATIENCE)
}

/// Whether the senders of the ring live, and the receivers.
fn alive<K: Protocol>(ring: &Ring<u64, K>) -> (Vec<bool>, Vec<bool>) {
    let info = ring.info();
    let side = |peers: &[annulus::Peer]| peers.iter().map(|peer| peer.alive).collect();
    (side(&info.senders), side(&info.receivers))
}

/// How a process ends with a guard in its hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// It becomes another program, and lives.
    Exec,
    /// `exit`, which drops nothing.
    Exit,
    /// `_exit`.
    Quit,
    /// `abort`.
    Abort,
    /// A panic that nobody catches.
    Panic,
}

const ENDINGS: [Ending; 5] = [
    Ending::Exec,
    Ending::Exit,
    Ending::Quit,
    Ending::Abort,
    Ending::Panic,
];

impl Ending {
    fn word(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Exit => "exit",
            Self::Quit => "_exit",
            Self::Abort => "abort",
            Self::Panic => "panic",
        }
    }

    /// Lets it come, and waits until it has.
    fn come(self, mut actor: Actor) -> Option<Actor> {
        if self == Self::Exec {
            assert_eq!(actor.ask("exec"), "executed");
            return Some(actor);
        }
        actor.tell(self.word());
        actor.gone();
        None
    }

    /// What is left in the table: nothing of those whose handles are dropped.
    fn leaves(self) -> Vec<bool> {
        if self == Self::Panic {
            vec![]
        } else {
            vec![false]
        }
    }
}

fn sender_ends<K: Protocol>(medium: Medium, ending: Ending) {
    let name = Name::on(medium).expect("a medium with names");
    let ring = new::<K>(&name, Order::Total);
    let mut receiver = ring.receiver().unwrap();
    let mut victim = guest::<K>(&name);
    victim.must("sender");
    victim.must("send 1");
    assert_eq!(victim.ask("reserve 2"), "reserved");
    let lives = ending.come(victim);
    assert_eq!(alive(&ring).0, ending.leaves(), "{ending:?}");
    let mut sender = ring.sender().expect("the place of one who has gone");
    sender.send(3).unwrap();
    assert_eq!(next(&mut receiver), Ok(1));
    assert_eq!(next(&mut receiver), Ok(3), "after {ending:?}");
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    // All room is there again.
    for number in 0..ring.capacity() as u64 {
        sender.try_send(number).unwrap();
    }
    let audit = ring.audit();
    assert!(audit.adds_up(), "{audit}");
    if let Some(actor) = lives {
        let lives = kill(Pid::from_raw(actor.pid() as i32), None);
        assert_eq!(lives, Ok(()), "the process lives on");
    }
}

fn receiver_ends<K: Protocol>(medium: Medium, ending: Ending) {
    let name = Name::on(medium).expect("a medium with names");
    let ring = new::<K>(&name, Order::Total);
    let mut sender = ring.sender().unwrap();
    let mut victim = guest::<K>(&name);
    victim.must("receiver");
    sender.send_slice(&[1, 2]).unwrap();
    assert_eq!(victim.ask("peek"), "1 tries 0");
    let lives = ending.come(victim);
    assert_eq!(alive(&ring).1, ending.leaves(), "{ending:?}");
    let mut receiver = ring.receiver().expect("the place of one who has gone");
    let mut got = [next(&mut receiver), next(&mut receiver)];
    got.sort_by_key(|number| number.unwrap_or(0));
    assert_eq!(got, [Ok(1), Ok(2)], "after {ending:?}");
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    drop(lives);
}

#[test]
fn however_a_process_ends_its_claim_is_void_and_its_record_goes_to_another() {
    let _watch = Watch::start();
    for ending in ENDINGS {
        for medium in [Medium::Shm, Medium::Sysv] {
            sender_ends::<Spsc>(medium, ending);
            sender_ends::<Mpsc>(medium, ending);
            sender_ends::<Spmc>(medium, ending);
            sender_ends::<Mpmc>(medium, ending);
            receiver_ends::<Spsc>(medium, ending);
            receiver_ends::<Mpsc>(medium, ending);
            receiver_ends::<Spmc>(medium, ending);
            receiver_ends::<Mpmc>(medium, ending);
        }
    }
}

#[test]
fn a_waiting_receiver_passes_the_claim_of_a_process_that_became_another_program() {
    let _watch = Watch::start();
    let name = Name::shm();
    let ring = new::<Mpmc>(&name, Order::Total);
    let mut victim = guest::<Mpmc>(&name);
    victim.must("sender");
    assert_eq!(victim.ask("reserve 1"), "reserved");
    // It came before, so nobody cleans up after the victim on arrival.
    let mut sender = ring.sender().unwrap();
    let mut receiver = ring.receiver().unwrap();
    sender.send(2).unwrap();
    let receiving = thread::spawn(move || next(&mut receiver));
    thread::sleep(Duration::from_millis(30));
    assert!(!receiving.is_finished(), "the claim is open");
    let lives = Ending::Exec.come(victim);
    assert_eq!(receiving.join().unwrap(), Ok(2));
    assert_eq!(ring.info().voided, 1);
    drop(lives);
}

/// A ring on each medium, with both handles.
fn on_all_media<K: Protocol>(test: impl Fn(&Ring<u64, K>, Sender<u64, K>, Receiver<u64, K>)) {
    let media = [Medium::Heap, Medium::Memfd, Medium::Shm, Medium::Sysv];
    for medium in media {
        let name = Name::on(medium);
        let options = RingOptions::new().capacity(8).clone();
        let ring = create(&options, medium, name.as_ref()).expect("a new ring");
        let (sender, receiver) = (ring.sender().unwrap(), ring.receiver().unwrap());
        test(&ring, sender, receiver);
    }
}

/// Ends the thread as a panic does, without a word.
fn panic() -> ! {
    resume_unwind(Box::new("as told"))
}

fn thread_panics<K: Protocol + Send + 'static>() {
    on_all_media::<K>(|ring, mut sender, mut receiver| {
        let ended = thread::spawn(move || {
            sender.send(1).unwrap();
            let mut reservation = sender.reserve().unwrap();
            reservation.write(2);
            panic();
        });
        assert!(ended.join().is_err());
        assert_eq!(alive(ring), (vec![], vec![true]));
        assert_eq!(receiver.recv(), Ok(1));
        assert_eq!(receiver.recv(), Err(RecvError::Disconnected));

        let mut sender = ring.sender().unwrap();
        sender.send(3).unwrap();
        let ended = thread::spawn(move || {
            let peeked = receiver.peek().unwrap();
            assert_eq!(peeked.read(), 3);
            panic();
        });
        assert!(ended.join().is_err());
        assert_eq!(alive(ring), (vec![true], vec![]));
        assert!(matches!(
            sender.try_send(4),
            Err(TrySendError::Disconnected(4))
        ));
        let mut receiver = ring.receiver().unwrap();
        let peeked = receiver.peek().unwrap();
        let tries = u64::from(K::KIND.many_receivers());
        assert_eq!((peeked.read(), peeked.tries()), (3, tries));
        peeked.release();
        assert!(ring.audit().adds_up());
    });
}

#[test]
fn a_thread_that_panics_gives_up_its_claim_and_returns_its_record() {
    let _watch = Watch::start();
    thread_panics::<Spsc>();
    thread_panics::<Mpsc>();
    thread_panics::<Spmc>();
    thread_panics::<Mpmc>();
}

fn handle_survives_panic<K: Protocol>() {
    on_all_media::<K>(|ring, mut sender, mut receiver| {
        for round in 0..100 {
            let caught = catch_unwind(AssertUnwindSafe(|| {
                let mut reservation = sender.reserve().unwrap();
                reservation.write(1000);
                panic();
            }));
            assert!(caught.is_err());
            sender.send(round).unwrap();
            let caught = catch_unwind(AssertUnwindSafe(|| {
                let peeked = receiver.peek().unwrap();
                assert_eq!((peeked.read(), peeked.tries()), (round, 0));
                panic();
            }));
            assert!(caught.is_err());
            let peeked = receiver.peek().unwrap();
            let tries = u64::from(K::KIND.many_receivers());
            assert_eq!((peeked.read(), peeked.tries()), (round, tries));
            peeked.release();
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        }
        if K::KIND.many_receivers() {
            // What came back is there for others, whatever its first holder does.
            sender.send(100).unwrap();
            let caught = catch_unwind(AssertUnwindSafe(|| {
                let _peeked = receiver.peek().unwrap();
                panic();
            }));
            assert!(caught.is_err());
            assert_eq!(ring.receiver().unwrap().try_recv(), Ok(100));
        }
        let audit = ring.audit();
        assert!(audit.adds_up() && audit.in_flight == 0, "{audit}");
    });
}

#[test]
fn after_a_panic_with_a_guard_the_handle_goes_on() {
    let _watch = Watch::start();
    handle_survives_panic::<Spsc>();
    handle_survives_panic::<Mpsc>();
    handle_survives_panic::<Spmc>();
    handle_survives_panic::<Mpmc>();
}

fn leaked_at_exit<K: Protocol + Send + 'static>() {
    on_all_media::<K>(|ring, mut sender, mut receiver| {
        let leaking = thread::spawn(move || {
            sender.send(1).unwrap();
            mem::forget(sender.reserve().unwrap());
        });
        leaking.join().unwrap();
        assert_eq!(receiver.recv(), Ok(1));
        assert_eq!(receiver.recv(), Err(RecvError::Disconnected));

        let mut sender = ring.sender().unwrap();
        sender.send(2).unwrap();
        let leaking = thread::spawn(move || mem::forget(receiver.peek().unwrap()));
        leaking.join().unwrap();
        assert_eq!(alive(ring), (vec![true], vec![]));
        let mut receiver = ring.receiver().unwrap();
        assert_eq!(receiver.recv(), Ok(2));
        // The room of what was leaked is there again.
        for number in 0..ring.capacity() as u64 {
            sender.try_send(number).unwrap();
        }
        let audit = ring.audit();
        assert!(audit.adds_up() && audit.open + audit.held == 0, "{audit}");
    });
}

#[test]
fn a_leaked_guard_goes_with_its_handle() {
    let _watch = Watch::start();
    leaked_at_exit::<Spsc>();
    leaked_at_exit::<Mpsc>();
    leaked_at_exit::<Spmc>();
    leaked_at_exit::<Mpmc>();
}

fn kept_by_the_thread<K: Protocol + Send + 'static>() {
    thread_local! {
        static KEPT: RefCell<Vec<Box<dyn std::any::Any>>> = const { RefCell::new(vec![]) };
    }
    on_all_media::<K>(|ring, mut sender, receiver| {
        let keeping = thread::spawn(move || {
            sender.send(1).unwrap();
            mem::forget(sender.reserve().unwrap());
            KEPT.with_borrow_mut(|kept| kept.push(Box::new(sender)));
            KEPT.with_borrow_mut(|kept| kept.push(Box::new(receiver)));
        });
        keeping.join().unwrap();
        assert_eq!(alive(ring), (vec![], vec![]));
        let mut receiver = ring.receiver().unwrap();
        assert_eq!(receiver.recv(), Ok(1));
        assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
    });
}

#[test]
fn a_handle_that_belongs_to_its_thread_is_closed_when_the_thread_ends() {
    let _watch = Watch::start();
    kept_by_the_thread::<Spsc>();
    kept_by_the_thread::<Mpsc>();
    kept_by_the_thread::<Spmc>();
    kept_by_the_thread::<Mpmc>();
}

#[test]
fn past_a_stopped_senders_claim_flows_as_much_as_there_is_room() {
    let _watch = Watch::start();
    let name = Name::shm();
    let ring = new::<Mpmc>(&name, Order::PerSender);
    let mut sleeper = guest::<Mpmc>(&name);
    sleeper.must("sender");
    assert_eq!(sleeper.ask("reserve 1000"), "reserved");
    sleeper.stop();
    let (mut sender, mut receiver) = (ring.sender().unwrap(), ring.receiver().unwrap());
    let room = ring.capacity() as u64 - 1;
    for number in 0..room {
        sender.try_send(number).unwrap();
        assert_eq!(next(&mut receiver), Ok(number));
        thread::sleep(A_WHILE / room as u32);
    }
    // Everything behind the claim is pinned, and whoever looks, waits or comes does not repair it.
    assert_eq!(sender.try_send(0), Err(TrySendError::Full(0)));
    assert!(sender.send_timeout(0, A_WHILE).is_err());
    let wait = receiver.recv_timeout(A_WHILE);
    assert_eq!(wait, Err(RecvTimeoutError::Timeout));
    drop((ring.sender().unwrap(), ring.receiver().unwrap()));
    assert_eq!(ring.info().voided, 0);
    assert_eq!(ring.audit().open, 1);
    sleeper.go_on();
    sleeper.must("commit");
    assert_eq!(next(&mut receiver), Ok(1000));
    sender.send(room).unwrap();
    assert_eq!(next(&mut receiver), Ok(room));
    assert!(ring.audit().adds_up());
}

fn stopped_receiver<K: Protocol>() {
    let name = Name::shm();
    let ring = new::<K>(&name, Order::Total);
    let mut sender = ring.sender().unwrap();
    let mut sleeper = guest::<K>(&name);
    sleeper.must("receiver");
    sender.send_slice(&[1, 2, 3]).unwrap();
    assert_eq!(sleeper.ask("peek"), "1 tries 0");
    sleeper.stop();
    if let Ok(mut receiver) = ring.receiver() {
        assert!(K::KIND.many_receivers());
        assert_eq!(next(&mut receiver), Ok(2));
        assert_eq!(next(&mut receiver), Ok(3));
        let wait = receiver.recv_timeout(A_WHILE);
        assert_eq!(wait, Err(RecvTimeoutError::Timeout));
        // A newcomer cleans up after the dead.
        drop(ring.receiver().unwrap());
    } else {
        assert!(!K::KIND.many_receivers());
        while sender.try_send(0).is_ok() {}
        assert!(sender.send_timeout(0, A_WHILE).is_err());
        assert!(ring.receiver().is_err());
    }
    assert_eq!(alive(&ring).1, [true]);
    assert_eq!(ring.info().returned, 0);
    sleeper.go_on();
    sleeper.must("release");
    if !K::KIND.many_receivers() {
        assert_eq!(sleeper.ask("recv"), "2");
    }
    assert!(ring.audit().adds_up());
}

#[test]
fn a_stopped_receiver_keeps_what_it_holds() {
    let _watch = Watch::start();
    stopped_receiver::<Spsc>();
    stopped_receiver::<Mpsc>();
    stopped_receiver::<Spmc>();
    stopped_receiver::<Mpmc>();
}

fn epochs<K: Protocol>() {
    let name = Name::shm();
    let ring = new::<K>(&name, Order::Total);
    let mut survivor = guest::<K>(&name);
    survivor.must("sender");
    let mut before = None;
    for _ in 0..3 {
        let mut other = guest::<K>(&name);
        other.must("receiver");
        let epoch: u64 = survivor.ask("epoch").parse().expect("a number");
        if let Some(before) = before {
            assert_eq!(epoch, before + 1, "a receiver took over");
        }
        before = Some(epoch);
        other.kill();
        let after: u64 = survivor.ask("epoch").parse().expect("a number");
        assert_eq!(after, epoch, "a death is not a takeover");
    }
    survivor.kill();
    let receiver = ring.receiver().unwrap();
    let epoch = receiver.peer_epoch();
    for taken in 1..=3 {
        let mut other = guest::<K>(&name);
        other.must("sender");
        assert_eq!(receiver.peer_epoch(), epoch + taken);
        other.kill();
        assert_eq!(receiver.peer_epoch(), epoch + taken);
    }
}

#[test]
fn a_survivor_knows_how_often_the_other_side_was_taken_over() {
    let _watch = Watch::start();
    epochs::<Spsc>();
    epochs::<Mpsc>();
    epochs::<Spmc>();
    epochs::<Mpmc>();
}

/// Nobody has closed yet, so it is no end. Others come and go on the sender's own side, so that it looks again and again.
#[test]
fn who_looks_while_the_first_receiver_comes_sees_no_end() {
    let _watch = Watch::start();
    for _ in 0..2000 {
        let ring: Ring<u64, Mpsc> = RingOptions::new().capacity(1).heap().expect("a ring");
        let (mut sender, done) = (ring.sender().expect("a place"), AtomicBool::new(false));
        sender.try_send(1).expect("there is room");
        // Relaxed: nothing hangs on it.
        let goes_on = || !done.load(Relaxed);
        thread::scope(|scope| {
            scope.spawn(|| {
                while goes_on() {
                    drop(ring.sender().expect("a place"));
                }
            });
            let looks = scope.spawn(|| {
                while goes_on() {
                    assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
                }
            });
            thread::sleep(Duration::from_micros(50));
            let receiver = ring.receiver().expect("a place");
            done.store(true, Relaxed);
            let looked = looks.join();
            drop(receiver);
            looked.expect("no end was seen");
        });
    }
}
