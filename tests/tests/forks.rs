//! What a forked child can do with its parent's handles: nothing, and it harms nobody by trying.
//!
//! Children of this process end by `_exit`, so nothing of the test is dropped or run twice; those that end otherwise
//! are children of the program `actor`.
#![cfg(not(loom))]

use annulus::{
    AttachError, Fault, Mpmc, Mpsc, Protocol, Receiver, RecvError, RecvTimeoutError, Ring,
    RingOptions, SendError, SendTimeoutError, Sender, Spmc, Spsc, TryRecvError, TrySendError,
};
use annulus_tests::actor::{Actor, PATIENCE};
use annulus_tests::forks::in_child;
use annulus_tests::place::{Medium, Name, create};
use annulus_tests::watch::Watch;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

const FORKED: Fault = Fault::ForkedHandle;
const SHORTLY: Duration = Duration::from_millis(10);

/// The media whose memory is shared.
const MEDIA: [Medium; 4] = [Medium::Memfd, Medium::Shm, Medium::File, Medium::Sysv];

/// What a child found wrong; nothing, if all is well.
#[derive(Default)]
struct Complaints(String);

impl Complaints {
    fn check<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, found: T, expected: T) {
        if found != expected {
            self.0
                .push_str(&format!("{what}: {found:?}, not {expected:?}; "));
        }
    }
}

/// Every way to send a number, in a child.
fn send_typed<K: Protocol>(sender: &mut Sender<u64, K>, all: &mut Complaints) {
    let soon = Instant::now() + SHORTLY;
    let (once, waits) = (TrySendError::Fault(1, FORKED), SendError::Fault(1, FORKED));
    let timed = SendTimeoutError::Fault(1, FORKED);
    let kept = SendError::Fault((), FORKED);
    all.check("try_send", sender.try_send(1), Err(once));
    all.check("send", sender.send(1), Err(waits));
    all.check("send_timeout", sender.send_timeout(1, SHORTLY), Err(timed));
    all.check("send_deadline", sender.send_deadline(1, soon), Err(timed));
    let slice = TrySendError::Fault((), FORKED);
    all.check("try_send_slice", sender.try_send_slice(&[1, 2]), Err(slice));
    let none_sent = SendError::Fault(0, FORKED);
    all.check("send_slice", sender.send_slice(&[1, 2]), Err(none_sent));
    all.check("try_reserve", sender.try_reserve().err(), Some(slice));
    all.check("reserve", sender.reserve().err(), Some(kept));
}

/// Every way to receive a number, in a child.
fn receive_typed<K: Protocol>(receiver: &mut Receiver<u64, K>, all: &mut Complaints) {
    let soon = Instant::now() + SHORTLY;
    let (once, waits) = (TryRecvError::Fault(FORKED), RecvError::Fault(FORKED));
    let timed = RecvTimeoutError::Fault(FORKED);
    let mut values = [0; 2];
    all.check("try_recv", receiver.try_recv(), Err(once));
    all.check("recv", receiver.recv(), Err(waits));
    all.check("recv_timeout", receiver.recv_timeout(SHORTLY), Err(timed));
    all.check("recv_deadline", receiver.recv_deadline(soon), Err(timed));
    let slice = receiver.try_recv_slice(&mut values);
    all.check("try_recv_slice", slice, Err(once));
    all.check("recv_slice", receiver.recv_slice(&mut values), Err(waits));
    all.check("iter", receiver.iter().next(), None);
    all.check("try_iter", receiver.try_iter().next(), None);
    all.check("try_peek", receiver.try_peek().err(), Some(once));
    all.check("peek", receiver.peek().err(), Some(waits));
}

/// Every way to send a record, in a child.
fn send_bytes<K: Protocol>(sender: &mut Sender<[u8], K>, all: &mut Complaints) {
    let soon = Instant::now() + SHORTLY;
    let record = &[7; 100][..];
    let once = TrySendError::Fault((), FORKED);
    let waits = SendError::Fault((), FORKED);
    let timed = SendTimeoutError::Fault((), FORKED);
    all.check("try_send", sender.try_send(record), Err(once));
    all.check("send", sender.send(record), Err(waits));
    let within = sender.send_timeout(record, SHORTLY);
    all.check("send_timeout", within, Err(timed));
    let until = sender.send_deadline(record, soon);
    all.check("send_deadline", until, Err(timed));
    let batch = sender.try_send_batch(&[record, record]);
    all.check("try_send_batch", batch, Err(once));
    let batch = sender.send_batch(&[record, record]);
    all.check("send_batch", batch, Err(SendError::Fault(0, FORKED)));
    all.check("try_reserve", sender.try_reserve(9).err(), Some(once));
    all.check("reserve", sender.reserve(9).err(), Some(waits));
}

/// Every way to receive a record, in a child.
fn receive_bytes<K: Protocol>(receiver: &mut Receiver<[u8], K>, all: &mut Complaints) {
    let soon = Instant::now() + SHORTLY;
    let (once, waits) = (TryRecvError::Fault(FORKED), RecvError::Fault(FORKED));
    let timed = RecvTimeoutError::Fault(FORKED);
    let mut buffer = vec![];
    all.check("try_recv", receiver.try_recv(&mut buffer), Err(once));
    all.check("recv", receiver.recv(&mut buffer), Err(waits));
    let within = receiver.recv_timeout(&mut buffer, SHORTLY);
    all.check("recv_timeout", within, Err(timed));
    let until = receiver.recv_deadline(&mut buffer, soon);
    all.check("recv_deadline", until, Err(timed));
    let batch = receiver.try_recv_batch(2, &mut buffer, |_| {});
    all.check("try_recv_batch", batch, Err(once));
    all.check("try_peek", receiver.try_peek().err(), Some(once));
    all.check("peek", receiver.peek().err(), Some(waits));
}

/// How much was sent, and received, before the fork.
const HISTORIES: [(u64, u64); 4] = [(0, 0), (3, 0), (13, 9), (8, 0)];

fn typed<K: Protocol>(medium: Medium, (sent, received): (u64, u64)) {
    let name = Name::on(medium);
    let options = RingOptions::new().capacity(8).clone();
    let ring: Ring<u64, K> = create(&options, medium, name.as_ref()).expect("a new ring");
    let (mut sender, mut receiver) = (ring.sender().unwrap(), ring.receiver().unwrap());
    for number in 0..sent {
        sender.try_send(number).unwrap();
        if number < received {
            assert_eq!(receiver.try_recv(), Ok(number));
        }
    }
    let (len, before) = (receiver.len(), ring.info());
    let mut handles = Some((sender, receiver));
    let said = in_child(|| {
        let mut all = Complaints::default();
        let (mut sender, mut receiver) = handles.take().expect("both");
        send_typed(&mut sender, &mut all);
        receive_typed(&mut receiver, &mut all);
        all.check("sender", ring.sender().err(), Some(AttachError::Forked));
        all.check("receiver", ring.receiver().err(), Some(AttachError::Forked));
        all.check("audit", ring.audit().adds_up(), false);
        drop((sender, receiver));
        all.check("sender", ring.sender().err(), Some(AttachError::Forked));
        all.0
    });
    assert_eq!(said, "", "{} on {medium:?}", K::KIND);
    let (mut sender, mut receiver) = handles.expect("ours are still here");
    assert_eq!(ring.info(), before);
    assert_eq!(receiver.len(), len);
    // Everything is as it was, and goes on.
    for number in received..sent {
        assert_eq!(receiver.try_recv(), Ok(number));
    }
    for number in 0..20 {
        sender.try_send(number).unwrap();
        assert_eq!(receiver.try_recv(), Ok(number));
    }
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    let audit = ring.audit();
    assert!(audit.adds_up() && audit.killed == 0, "{audit}");
}

fn bytes<K: Protocol>(medium: Medium, (sent, received): (u64, u64)) {
    let name = Name::on(medium);
    let options = RingOptions::new().capacity(4096).clone();
    let ring: Ring<[u8], K> = create(&options, medium, name.as_ref()).expect("a new ring");
    let (mut sender, mut receiver) = (ring.sender().unwrap(), ring.receiver().unwrap());
    let record = |number: u64| vec![number as u8; 300];
    let mut buffer = vec![];
    for number in 0..sent {
        sender.try_send(&record(number)).unwrap();
        if number < received {
            receiver.try_recv(&mut buffer).unwrap();
            assert_eq!(buffer, record(number));
        }
    }
    let before = ring.info();
    let mut handles = Some((sender, receiver));
    let said = in_child(|| {
        let mut all = Complaints::default();
        let (mut sender, mut receiver) = handles.take().expect("both");
        send_bytes(&mut sender, &mut all);
        receive_bytes(&mut receiver, &mut all);
        drop((sender, receiver));
        all.0
    });
    assert_eq!(said, "", "{} on {medium:?}", K::KIND);
    let (mut sender, mut receiver) = handles.expect("ours are still here");
    assert_eq!(ring.info(), before);
    for number in received..sent + 20 {
        if number >= sent {
            sender.try_send(&record(number)).unwrap();
        }
        receiver.try_recv(&mut buffer).unwrap();
        assert_eq!(buffer, record(number));
    }
    let audit = ring.audit();
    assert!(audit.adds_up() && audit.killed == 0, "{audit}");
}

#[test]
fn every_operation_of_an_inherited_handle_says_so_and_does_nothing() {
    let _watch = Watch::start();
    for medium in MEDIA {
        for history in HISTORIES {
            typed::<Spsc>(medium, history);
            typed::<Mpsc>(medium, history);
            typed::<Spmc>(medium, history);
            typed::<Mpmc>(medium, history);
            bytes::<Spsc>(medium, history);
            bytes::<Mpsc>(medium, history);
            bytes::<Spmc>(medium, history);
            bytes::<Mpmc>(medium, history);
        }
    }
}

fn guards<K: Protocol>(finish: bool) {
    let ring: Ring<u64, K> = RingOptions::new().capacity(8).memfd().unwrap();
    let (mut sender, mut receiver) = (ring.sender().unwrap(), ring.receiver().unwrap());
    sender.send(1).unwrap();
    let mut reservation = sender.reserve().unwrap();
    reservation.write(2);
    let peeked = receiver.peek().unwrap();
    let mut both = Some((reservation, peeked));
    let said = in_child(|| {
        let (mut reservation, peeked) = both.take().expect("both");
        reservation.write(3);
        if finish {
            reservation.commit();
            peeked.release();
        } else {
            drop((reservation, peeked));
        }
        String::new()
    });
    assert_eq!(said, "");
    let (reservation, peeked) = both.expect("ours are still here");
    let audit = ring.audit();
    let claims = u64::from(K::KIND.many_senders());
    assert_eq!((audit.open, audit.in_flight), (claims, 1), "{audit}");
    assert_eq!((peeked.read(), peeked.tries()), (1, 0));
    peeked.release();
    reservation.commit();
    assert_eq!(receiver.try_recv(), Ok(2));
    assert!(ring.audit().adds_up());
}

#[test]
fn what_a_child_does_with_inherited_guards_is_nothing() {
    let _watch = Watch::start();
    for finish in [true, false] {
        guards::<Spsc>(finish);
        guards::<Mpsc>(finish);
        guards::<Spmc>(finish);
        guards::<Mpmc>(finish);
    }
}

fn opens_anew<K: Protocol>(medium: Medium) {
    let name = Name::on(medium);
    let options = RingOptions::new().capacity(8).clone();
    let ring: Ring<u64, K> = create(&options, medium, name.as_ref()).expect("a new ring");
    let mut receiver = ring.receiver().unwrap();
    let by_name = |name: &Name| RingOptions::new().open::<u64, K>(name.location());
    let by_descriptor = || {
        let fd = ring.as_fd().expect("a descriptor");
        RingOptions::new().from_fd::<u64, K>(fd.try_clone_to_owned().expect("another"))
    };
    let child = |open: &dyn Fn() -> Result<Ring<u64, K>, annulus::OpenError>| {
        let said = in_child(|| {
            let anew = open().expect("the same ring");
            let mut sender = anew.sender().expect("a sender of the child's own");
            sender.send(7).expect("there is room");
            drop(sender);
            ring.sender().expect_err("the parent's ring").to_string()
        });
        assert_eq!(said, AttachError::Forked.to_string());
    };
    let mut count = 0;
    if let Some(name) = &name {
        child(&|| by_name(name));
        count += 1;
    }
    if ring.as_fd().is_some() {
        child(&by_descriptor);
        count += 1;
    }
    assert!(count > 0);
    for _ in 0..count {
        assert_eq!(receiver.try_recv(), Ok(7));
    }
    assert!(ring.info().senders.is_empty());
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
}

#[test]
fn a_child_opens_the_ring_anew_by_its_name_or_descriptor() {
    let _watch = Watch::start();
    for medium in MEDIA {
        opens_anew::<Spsc>(medium);
        opens_anew::<Mpsc>(medium);
        opens_anew::<Spmc>(medium);
        opens_anew::<Mpmc>(medium);
    }
}

/// An actor on a new ring of this name.
fn actor<K: Protocol>(name: &Name) -> Actor {
    let arguments = ["ring", &K::KIND.to_string(), &name.word()];
    let mut actor = Actor::start(env!("CARGO_BIN_EXE_actor"), &arguments);
    actor.must("create 16");
    actor
}

fn child_ends<K: Protocol>(ending: &str) {
    let name = Name::shm();
    let mut parent = actor::<K>(&name);
    let ring: Ring<u64, K> = RingOptions::new().open(name.location()).unwrap();
    parent.must("sender");
    parent.must("receiver");
    for number in 1..=3 {
        parent.must(&format!("send {number}"));
    }
    assert_eq!(parent.ask("recv"), "1");
    let before = (ring.info(), ring.audit());
    let forked = format!("error: {FORKED}");
    for line in ["try_send 9", "send 9", "try_recv", "recv", "recv_for 10"] {
        assert_eq!(
            parent.ask(&format!("fork {ending} {line}")),
            forked,
            "{line}"
        );
    }
    assert_eq!((ring.info(), ring.audit()), before, "after {ending}");
    assert_eq!(parent.ask("recv"), "2");
    parent.must("send 4");
    assert_eq!(parent.ask("recv"), "3");
    assert_eq!(parent.ask("recv"), "4");
    parent.end();
    assert!(ring.info().senders.is_empty() && ring.info().receivers.is_empty());
    assert!(ring.audit().adds_up());
}

#[test]
fn however_a_child_ends_its_parent_goes_on() {
    let _watch = Watch::start();
    for ending in ["return", "close", "exit", "_exit"] {
        child_ends::<Spsc>(ending);
        child_ends::<Mpsc>(ending);
        child_ends::<Spmc>(ending);
        child_ends::<Mpmc>(ending);
    }
}

/// A child that outlives its parent, killed at last.
struct Orphan(Pid);

impl Orphan {
    fn lives(&self) -> bool {
        kill(self.0, None).is_ok()
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
    }
}

fn outlived<K: Protocol>(medium: Medium) {
    let name = Name::on(medium).expect("a medium with names");
    let mut parent = actor::<K>(&name);
    let ring: Ring<u64, K> = RingOptions::new().open(name.location()).unwrap();
    parent.must("sender");
    parent.must("receiver");
    parent.must("send 1");
    let orphan = parent.ask("fork_stay").parse().expect("a number");
    let orphan = Orphan(Pid::from_raw(orphan));
    parent.kill();
    assert!(orphan.lives());
    let info = ring.info();
    assert!(!info.senders[0].alive && !info.receivers[0].alive);
    let (mut sender, mut receiver) = (
        ring.sender().expect("the place of a dead one"),
        ring.receiver().expect("the place of a dead one"),
    );
    sender.send(2).unwrap();
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok(1));
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok(2));
    assert!(orphan.lives());
}

#[test]
fn a_child_does_not_vouch_for_its_dead_parent() {
    let _watch = Watch::start();
    for medium in [Medium::Shm, Medium::File, Medium::Sysv] {
        outlived::<Spsc>(medium);
        outlived::<Mpsc>(medium);
        outlived::<Spmc>(medium);
        outlived::<Mpmc>(medium);
    }
}

#[test]
fn children_made_while_others_attach_do_not_vouch_for_them() {
    let _watch = Watch::start();
    let mut children = 0;
    for _ in 0..50 {
        let name = Name::shm();
        let mut parent = actor::<Mpmc>(&name);
        let ring: Ring<u64, Mpmc> = RingOptions::new().open(name.location()).unwrap();
        let orphans = parent.ask("forks_stay 100");
        let orphan = |pid: &str| Orphan(Pid::from_raw(pid.parse().expect("a number")));
        let orphans: Vec<_> = orphans.split_whitespace().map(orphan).collect();
        children += orphans.len();
        parent.kill();
        let info = ring.info();
        assert_eq!(info.senders.len(), 100);
        let vouched = info.senders.iter().filter(|sender| sender.alive).count();
        assert_eq!(vouched, 0, "{} children live", orphans.len());
    }
    assert!(children > 0);
}

fn amid_messages<K: Protocol>() {
    let name = Name::shm();
    let mut parent = actor::<K>(&name);
    let ring: Ring<u64, K> = RingOptions::new().open(name.location()).unwrap();
    parent.must("sender");
    parent.must("receiver");
    parent.must("forks 1000");
    let audit = ring.audit();
    assert!(audit.adds_up() && audit.killed == 0, "{audit}");
    assert!(audit.sent > 0 && audit.in_flight == 0, "{audit}");
    parent.end();
}

#[test]
fn a_thousand_forks_amid_messages_disturb_none() {
    let _watch = Watch::start();
    amid_messages::<Spsc>();
    amid_messages::<Mpsc>();
    amid_messages::<Spmc>();
    amid_messages::<Mpmc>();
}

fn beside_traffic<K: Protocol + Send + 'static>() {
    let ring: Ring<u64, K> = RingOptions::new().capacity(64).memfd().unwrap();
    let (mut sender, mut receiver) = (ring.sender().unwrap(), ring.receiver().unwrap());
    let receiving = std::thread::spawn(move || {
        let mut expected = 0;
        for number in receiver.iter() {
            assert_eq!(number, expected);
            expected += 1;
        }
        expected
    });
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let sending = std::thread::spawn(move || {
        let mut number = 0;
        while stopped.try_recv().is_err() {
            sender.send(number).unwrap();
            number += 1;
        }
        number
    });
    for _ in 0..200 {
        assert_eq!(
            in_child(|| ring.sender().unwrap_err().to_string()),
            AttachError::Forked.to_string()
        );
    }
    stop.send(()).unwrap();
    let sent = sending.join().unwrap();
    assert_eq!(receiving.join().unwrap(), sent);
    let audit = ring.audit();
    assert!(audit.adds_up() && audit.killed == 0, "{audit}");
}

#[test]
fn traffic_goes_on_while_another_thread_forks() {
    let _watch = Watch::start();
    beside_traffic::<Spsc>();
    beside_traffic::<Mpsc>();
    beside_traffic::<Spmc>();
    beside_traffic::<Mpmc>();
}

#[test]
fn a_ring_on_the_heap_is_copied_like_any_memory() {
    let ring: Ring<u64, Mpmc> = RingOptions::new().capacity(8).heap().unwrap();
    let (mut sender, mut receiver) = (ring.sender().unwrap(), ring.receiver().unwrap());
    sender.send(1).unwrap();
    let said = in_child(|| {
        sender.send(2).unwrap();
        format!("{:?} {:?}", receiver.recv(), receiver.recv())
    });
    assert_eq!(said, "Ok(1) Ok(2)");
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn descriptors_of_a_child_close_without_harm_to_its_own() {
    let ring: Ring<u64, Mpmc> = RingOptions::new().capacity(8).memfd().unwrap();
    let mut sender = Some(ring.sender().unwrap());
    let said = in_child(|| {
        let own = std::fs::File::open("/dev/null").expect("a file");
        drop(sender.take());
        let fd = own.as_fd().as_raw_fd();
        format!(
            "{}",
            std::fs::read_link(format!("/proc/self/fd/{fd}"))
                .expect("open")
                .display()
        )
    });
    assert_eq!(said, "/dev/null");
}

/// A child that has run nothing yet, and has a copy of every descriptor: as between `vfork` and `exec`.
struct Starting(Pid);

impl Starting {
    fn new() -> Self {
        let none: libc::c_long = 0;
        let flags = libc::c_long::from(libc::SIGCHLD);
        // SAFETY: as `fork`, but no handler runs; the child calls nothing but alarm(2) and pause(2), and is killed.
        match unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) } {
            0 => {
                // SAFETY: takes no pointer. It ends the child should the test end without it.
                unsafe { libc::alarm(100) };
                loop {
                    nix::unistd::pause();
                }
            }
            pid => {
                assert!(pid > 0, "clone: {}", std::io::Error::last_os_error());
                Self(Pid::from_raw(i32::try_from(pid).expect("a pid")))
            }
        }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        kill(self.0, Signal::SIGKILL).expect("it is ours");
        nix::sys::wait::waitpid(self.0, None).expect("it was killed");
    }
}

#[test]
fn a_child_that_is_being_started_holds_no_lock_that_its_parent_let_go_of() {
    for medium in [Medium::Shm, Medium::File, Medium::Sysv] {
        let name = Name::on(medium).unwrap();
        let options = RingOptions::new()
            .capacity(4)
            .unlink_when_finished(true)
            .clone();
        let ring: Ring<u64, Spsc> = create(&options, medium, Some(&name)).unwrap();
        let mut sender = ring.sender().unwrap();
        let mut receiver = ring.receiver().unwrap();
        let starting = Starting::new();
        sender.try_send(1).unwrap();
        drop(sender);
        assert_eq!(receiver.try_recv(), Ok(1));
        drop(receiver);
        assert!(!name.exists(), "{medium:?}: nobody is attached");
        drop(starting);
    }
}
