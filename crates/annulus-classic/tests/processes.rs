//! Does it hold between processes, and when they are killed or stopped?

mod common;
#[path = "common/actor.rs"]
mod the_actor;

use annulus_channel::{
    OpenReason, Receiver as _, RecvError, RecvTimeoutError, SendError, Sender as _, TryRecvError,
    TrySendError,
};
use annulus_classic::{
    Classic, Medium, Moment, Options, Receiver, Sem, SemReceiver, SemSender, Sender, Spool,
    WhenDead,
};
use common::Name;
use nix::sys::signal::Signal;
use std::thread;
use std::time::{Duration, Instant};
use the_actor::{Actor, PATIENCE};

const SECOND: Duration = Duration::from_secs(1);

/// Record `number`: itself, then noise that follows from it; its length, too.
fn record(number: u64) -> Vec<u8> {
    let mut noise = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let len = 8 + (noise >> 40) as usize % 900;
    let mut bytes = number.to_le_bytes().to_vec();
    while bytes.len() < len {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        bytes.push(noise as u8);
    }
    bytes
}

/// The number of a record, every byte of which is right.
fn read(bytes: &[u8]) -> u64 {
    let number = bytes.first_chunk().expect("at least a number");
    let number = u64::from_le_bytes(*number);
    assert!(bytes == record(number), "record {number} has changed");
    number
}

fn options(when: WhenDead) -> Options {
    let mut options = Options::new();
    options
        .slots(8)
        .max_record(1000)
        .capacity(8000)
        .when_dead(when);
    options
}

/// What an actor has.
enum Handle {
    Tx(Box<dyn annulus_channel::Sender>),
    Rx(Box<dyn annulus_channel::Receiver>),
    SemTx(SemSender),
    SemRx(SemReceiver),
}

impl Handle {
    fn open(medium: &str, side: &str, when: &str, name: &str) -> Self {
        let when = if when == "fail" {
            WhenDead::Fail
        } else {
            WhenDead::Wait
        };
        let options = options(when);
        let open = "a channel that one can attach to";
        match (medium, side) {
            ("classic", "tx") => Self::Tx(Box::new(options.sender::<Classic>(name).expect(open))),
            ("spool", "tx") => Self::Tx(Box::new(options.sender::<Spool>(name).expect(open))),
            ("sem", "tx") => Self::SemTx(options.sender(name).expect(open)),
            ("classic", "rx") => Self::Rx(Box::new(options.receiver::<Classic>(name).expect(open))),
            ("spool", "rx") => Self::Rx(Box::new(options.receiver::<Spool>(name).expect(open))),
            ("sem", "rx") => Self::SemRx(options.receiver(name).expect(open)),
            other => panic!("{other:?}"),
        }
    }

    fn tx(&mut self) -> &mut dyn annulus_channel::Sender {
        match self {
            Self::Tx(tx) => &mut **tx,
            Self::SemTx(tx) => tx,
            _ => panic!("not a sender"),
        }
    }

    fn rx(&mut self) -> &mut dyn annulus_channel::Receiver {
        match self {
            Self::Rx(rx) => &mut **rx,
            Self::SemRx(rx) => rx,
            _ => panic!("not a receiver"),
        }
    }
}

fn moment(word: &str) -> Moment {
    let all = MOMENTS.into_iter();
    all.clone()
        .find(|moment| format!("{moment:?}") == word)
        .expect("a moment")
}

const MOMENTS: [Moment; 4] = [
    Moment::Promised,
    Moment::Unnamed,
    Moment::Inside,
    Moment::Unsignalled,
];

/// Not a test by itself: what an actor runs.
#[test]
fn actor() {
    let Some(role) = the_actor::role() else {
        return;
    };
    let role: Vec<&str> = role.iter().map(String::as_str).collect();
    let &[medium, side, when, name] = &role[..] else {
        panic!("{role:?}");
    };
    let mut handle = Some(Handle::open(medium, side, when, name));
    let mut buffer = vec![];
    the_actor::say("ready");
    the_actor::obey(|words| {
        let number = |at: usize| words[at].parse::<u64>().expect("a number");
        let here = handle.as_mut();
        match words[0] {
            "close" => {
                handle = None;
                "ok".into()
            }
            // Sends so many records from a number on.
            "send" => {
                let tx = here.expect("open").tx();
                for number in number(1)..number(1) + number(2) {
                    if let Err(error) = tx.send(&record(number)) {
                        return format!("{number}: {error}");
                    }
                }
                "ok".into()
            }
            // Receives until an error, or so many; says the numbers.
            "recv" => {
                let rx = here.expect("open").rx();
                let mut numbers = vec![];
                while (numbers.len() as u64) < number(1) {
                    match rx.recv(&mut buffer) {
                        Ok(_) => numbers.push(read(&buffer).to_string()),
                        Err(error) => {
                            numbers.push(error.to_string());
                            break;
                        }
                    }
                }
                numbers.join(",")
            }
            // Receives until an error: how many, and whether they count on from the first.
            "drain" => {
                let rx = here.expect("open").rx();
                let mut next = number(1);
                loop {
                    match rx.recv(&mut buffer) {
                        Ok(_) if read(&buffer) == next => next += 1,
                        Ok(_) => return format!("{} where {next} was next", read(&buffer)),
                        Err(error) => return format!("{next}: {error}"),
                    }
                }
            }
            "stop_at" => match here.expect("open") {
                Handle::SemTx(tx) => {
                    tx.stop_at(moment(words[1]), &record(number(2)))
                        .expect("it gets so far");
                    "ok".into()
                }
                Handle::SemRx(rx) => {
                    rx.stop_at(moment(words[1]), &mut buffer)
                        .expect("it gets so far");
                    "ok".into()
                }
                _ => panic!("not with semaphores"),
            },
            // A child that inherits everything, tries it, and stays.
            "fork" => {
                // SAFETY: the child calls what is safe to call there: the only other thread is asleep in the harness.
                match unsafe { nix::unistd::fork() }.expect("a child") {
                    nix::unistd::ForkResult::Parent { .. } => "ok".into(),
                    nix::unistd::ForkResult::Child => {
                        let tried = match here.expect("open") {
                            Handle::Tx(tx) => tx.try_send(b"a child's").unwrap_err().to_string(),
                            Handle::SemTx(tx) => tx.try_send(b"a child's").unwrap_err().to_string(),
                            _ => "not tried".into(),
                        };
                        handle = None;
                        the_actor::say(&tried);
                        thread::sleep(Duration::from_secs(20));
                        std::process::exit(0)
                    }
                }
            }
            other => panic!("{other}"),
        }
    });
}

/// A medium, as an actor knows it.
trait Known: Medium + Send + 'static {
    const WORD: &'static str;
    fn name() -> Name;
}

impl Known for Classic {
    const WORD: &'static str = "classic";
    fn name() -> Name {
        Name::classic()
    }
}

impl Known for Sem {
    const WORD: &'static str = "sem";
    fn name() -> Name {
        Name::sem()
    }
}

impl Known for Spool {
    const WORD: &'static str = "spool";
    fn name() -> Name {
        Name::spool()
    }
}

fn play<M: Known>(side: &str, when: &str, name: &Name) -> Actor {
    let role = format!("{} {side} {when} {}", M::WORD, name.word().display());
    let actor = Actor::start(&role);
    assert_eq!(actor.answer(), "ready");
    actor
}

/// Nothing is left but a spool, which is to be removed.
fn nothing_is_left<M: Known>(name: &Name) {
    if M::WORD == "spool" {
        annulus_classic::remove::<M>(name.word()).expect("nobody is there");
        let dir = name.word().parent().expect("a directory");
        let left: Vec<_> = dir.read_dir().expect("a directory").flatten().collect();
        assert!(left.is_empty(), "{left:?}");
    } else {
        assert_eq!(name.files(), [""; 0].map(std::path::PathBuf::from));
    }
}

/// Two tests for each fact, and one for the third medium.
macro_rules! each {
    ($($fact:ident)*) => { $(
        mod $fact {
            use super::*;

            #[test]
            fn classic() {
                super::$fact::<Classic>();
            }

            #[test]
            fn sem() {
                super::$fact::<Sem>();
            }

            #[test]
            fn spool() {
                super::$fact::<Spool>();
            }
        }
    )* };
}

each! {
    what_one_process_sends_another_receives
    a_killed_sender_is_told_within_a_second
    a_killed_receiver_is_told_within_a_second
    a_killed_sender_is_succeeded
    a_killed_receiver_is_succeeded
    the_stopped_are_not_dead
    killed_again_and_again
    a_forked_child_does_not_vouch
    a_receiver_that_comes_late_finds_all
    signals_end_no_call
    left_by_the_dead_it_can_be_removed
}

fn what_one_process_sends_another_receives<M: Known>() {
    let name = M::name();
    // Neither knows the other; whoever comes first creates it.
    let mut rx = play::<M>("rx", "wait", &name);
    let mut tx = play::<M>("tx", "wait", &name);
    rx.tell("drain 0");
    tx.must("send 0 5000");
    tx.end();
    assert_eq!(rx.answer(), "5000: the last sender has closed");
    rx.end();
    nothing_is_left::<M>(&name);
}

fn a_killed_sender_is_told_within_a_second<M: Known>() {
    let name = M::name();
    let mut rx: Receiver<M> = options(WhenDead::Fail).receiver(name.word()).unwrap();
    let mut tx = play::<M>("tx", "wait", &name);
    tx.tell("send 0 1000000000");
    let mut buffer = vec![];
    for number in 0..200 {
        rx.recv(&mut buffer).unwrap();
        assert_eq!(read(&buffer), number);
    }
    tx.kill();
    let killed = Instant::now();
    let mut next = 200;
    let end = loop {
        match rx.recv(&mut buffer) {
            Ok(_) => assert_eq!(read(&buffer), next),
            Err(error) => break error,
        }
        next += 1;
    };
    assert_eq!(end, RecvError::PeerDead);
    assert!(killed.elapsed() < SECOND, "{:?}", killed.elapsed());
    assert_eq!(rx.try_recv(&mut buffer), Err(TryRecvError::PeerDead));
    drop(rx);
    nothing_is_left::<M>(&name);
}

fn a_killed_receiver_is_told_within_a_second<M: Known>() {
    let name = M::name();
    let mut tx: Sender<M> = options(WhenDead::Fail).sender(name.word()).unwrap();
    let mut rx = play::<M>("rx", "wait", &name);
    rx.tell("recv 1000000000");
    for number in 0..200 {
        tx.send(&record(number)).unwrap();
    }
    rx.kill();
    let killed = Instant::now();
    let end = loop {
        if let Err(error) = tx.send(&record(200)) {
            break error;
        }
    };
    assert_eq!(end, SendError::PeerDead(()));
    assert!(killed.elapsed() < SECOND, "{:?}", killed.elapsed());
    assert_eq!(tx.try_send(b""), Err(TrySendError::PeerDead(())));
    drop(tx);
    nothing_is_left::<M>(&name);
}

fn a_killed_sender_is_succeeded<M: Known>() {
    let name = M::name();
    let mut rx: Receiver<M> = options(WhenDead::Wait).receiver(name.word()).unwrap();
    let mut first = play::<M>("tx", "wait", &name);
    first.must("send 0 3");
    first.kill();
    let receiving = thread::spawn(move || {
        let mut buffer = vec![];
        let got = (0..6).map(|_| rx.recv(&mut buffer).map(|_| read(&buffer)));
        let got: Vec<_> = got.collect();
        (got, rx)
    });
    thread::sleep(Duration::from_millis(300));
    let mut second = play::<M>("tx", "wait", &name);
    second.must("send 3 3");
    let (got, mut rx) = receiving.join().unwrap();
    assert_eq!(got, [0, 1, 2, 3, 4, 5].map(Ok));
    second.end();
    assert_eq!(rx.recv(&mut vec![]), Err(RecvError::Disconnected));
    drop(rx);
    nothing_is_left::<M>(&name);
}

fn a_killed_receiver_is_succeeded<M: Known>() {
    let name = M::name();
    let mut tx = play::<M>("tx", "wait", &name);
    let mut first = play::<M>("rx", "wait", &name);
    tx.tell("send 0 500");
    assert_eq!(first.ask("recv 5"), "0,1,2,3,4");
    first.kill();
    thread::sleep(Duration::from_millis(300));
    let mut second = play::<M>("rx", "wait", &name);
    second.tell("drain 5");
    assert_eq!(tx.answer(), "ok");
    tx.end();
    assert_eq!(second.answer(), "500: the last sender has closed");
    second.end();
    nothing_is_left::<M>(&name);
}

fn the_stopped_are_not_dead<M: Known>() {
    let name = M::name();
    let mut rx: Receiver<M> = options(WhenDead::Fail).receiver(name.word()).unwrap();
    let mut tx = play::<M>("tx", "fail", &name);
    tx.must("send 0 1");
    let mut buffer = vec![];
    rx.recv(&mut buffer).unwrap();
    tx.signal(Signal::SIGSTOP);
    let wait = Duration::from_millis(700);
    assert_eq!(
        rx.recv_timeout(&mut buffer, wait),
        Err(RecvTimeoutError::Timeout)
    );
    tx.signal(Signal::SIGCONT);
    tx.must("send 1 1");
    rx.recv(&mut buffer).unwrap();
    assert_eq!(read(&buffer), 1);
}

/// Senders that are killed anywhere: no gap but at the seams, nothing twice, nothing torn.
fn killed_again_and_again<M: Known>() {
    let name = M::name();
    let mut rx: Receiver<M> = options(WhenDead::Wait).receiver(name.word()).unwrap();
    let mut buffer = vec![];
    let mut noise = 7_u64;
    for round in 0..15_u64 {
        let first = round << 32;
        let mut tx = play::<M>("tx", "wait", &name);
        tx.tell(&format!("send {first} 1000000000"));
        noise = noise
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let until = Instant::now() + Duration::from_micros((noise >> 33) % 20_000);
        let mut next = first;
        let mut receive = |rx: &mut Receiver<M>, wait| match rx.recv_timeout(&mut buffer, wait) {
            Ok(_) => {
                assert_eq!(read(&buffer), next);
                next += 1;
                true
            }
            Err(error) => {
                assert_eq!(error, RecvTimeoutError::Timeout);
                false
            }
        };
        assert!(receive(&mut rx, PATIENCE));
        while Instant::now() < until {
            receive(&mut rx, Duration::from_millis(1));
        }
        tx.kill();
        while receive(&mut rx, Duration::from_millis(200)) {}
    }
    drop(rx);
    nothing_is_left::<M>(&name);
}

fn a_forked_child_does_not_vouch<M: Known>() {
    let name = M::name();
    let mut rx: Receiver<M> = options(WhenDead::Fail).receiver(name.word()).unwrap();
    let mut tx = play::<M>("tx", "wait", &name);
    tx.must("send 0 1");
    tx.tell("fork");
    let answers = [tx.answer(), tx.answer()];
    let refused =
        "the handle was inherited through fork; this process has to attach one of its own";
    assert!(answers.iter().any(|answer| answer == "ok"), "{answers:?}");
    assert!(
        answers.iter().any(|answer| answer == refused),
        "{answers:?}"
    );
    // The child's closing of what it inherited has told nobody anything.
    let mut buffer = vec![];
    rx.recv(&mut buffer).unwrap();
    assert_eq!(rx.try_recv(&mut buffer), Err(TryRecvError::Empty));
    tx.kill();
    let killed = Instant::now();
    assert_eq!(rx.recv(&mut buffer), Err(RecvError::PeerDead));
    assert!(killed.elapsed() < SECOND);
}

fn a_receiver_that_comes_late_finds_all<M: Known>() {
    let name = M::name();
    let mut tx = play::<M>("tx", "wait", &name);
    tx.must("send 0 5");
    tx.end();
    let mut rx = play::<M>("rx", "wait", &name);
    assert_eq!(rx.ask("drain 0"), "5: the last sender has closed");
    rx.end();
    nothing_is_left::<M>(&name);
}

extern "C" fn nothing(_: i32) {}

fn signals_end_no_call<M: Known>() {
    use nix::sys::pthread::{pthread_kill, pthread_self};
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, sigaction};
    // No SA_RESTART: calls are interrupted.
    let action = SigAction::new(
        SigHandler::Handler(nothing),
        SaFlags::empty(),
        SigSet::empty(),
    );
    // SAFETY: the handler does nothing.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
    let name = M::name();
    let mut rx: Receiver<M> = options(WhenDead::Wait).receiver(name.word()).unwrap();
    let mut tx: Sender<M> = options(WhenDead::Wait).sender(name.word()).unwrap();
    let me = pthread_self();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let storm = thread::spawn(move || {
        let mut count = 0;
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            // The thread waits for us, so it is there.
            pthread_kill(me, Signal::SIGUSR1).unwrap();
            count += 1;
            thread::sleep(Duration::from_micros(200));
        }
        count
    });
    let mut buffer = vec![];
    for millis in [1, 20, 120] {
        let (wait, since) = (Duration::from_millis(millis), Instant::now());
        let got = rx.recv_timeout(&mut buffer, wait);
        assert_eq!(got, Err(RecvTimeoutError::Timeout));
        assert!(since.elapsed() >= wait);
    }
    let mut count = 0;
    while tx.try_send(&record(count)) == Ok(()) {
        count += 1;
    }
    let since = Instant::now();
    let wait = Duration::from_millis(60);
    assert!(tx.send_timeout(&record(count), wait).is_err());
    assert!(since.elapsed() >= wait);
    // Both sides for good: the other thread receives a little later than we send, and the other way round.
    let other = thread::spawn(move || {
        let mut buffer = vec![];
        thread::sleep(Duration::from_millis(100));
        for number in 0..=count {
            rx.recv(&mut buffer).unwrap();
            assert_eq!(read(&buffer), number);
        }
        rx
    });
    tx.send(&record(count)).unwrap();
    let mut rx = other.join().unwrap();
    let other = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        tx.send(&record(0)).unwrap();
    });
    rx.recv(&mut buffer).unwrap();
    assert_eq!(read(&buffer), 0);
    other.join().unwrap();
    drop(stop);
    assert!(storm.join().unwrap() > 10);
}

fn left_by_the_dead_it_can_be_removed<M: Known>() {
    let name = M::name();
    let missing = annulus_classic::remove::<M>(name.word()).unwrap_err();
    assert_eq!(missing.reason, OpenReason::NotFound);
    let mut tx = play::<M>("tx", "wait", &name);
    tx.must("send 0 2");
    let refused = annulus_classic::remove::<M>(name.word()).unwrap_err();
    let (side, pid) = ("sender", tx.pid());
    assert_eq!(refused.reason, OpenReason::Taken { side, pid });
    if M::WORD != "sem" {
        let refused = options(WhenDead::Wait)
            .sender::<M>(name.word())
            .unwrap_err();
        assert_eq!(refused.reason, OpenReason::Taken { side, pid });
    }
    let word = format!("{}:{}", M::WORD, name.word().display());
    let is_stale = || annulus_classic::stale().unwrap().contains(&word);
    assert!(!is_stale());
    tx.kill();
    assert_eq!(is_stale(), M::WORD != "spool");
    let refused = options(WhenDead::Wait)
        .create_new(true)
        .sender::<M>(name.word())
        .unwrap_err();
    assert_eq!(refused.reason, OpenReason::Exists);
    annulus_classic::remove::<M>(name.word()).unwrap();
    if M::WORD == "spool" {
        assert!(!name.word().exists());
    } else {
        nothing_is_left::<M>(&name);
    }
    let missing = options(WhenDead::Wait)
        .create(false)
        .sender::<M>(name.word())
        .unwrap_err();
    assert_eq!(missing.reason, OpenReason::NotFound);
}

/// Whoever is killed with a semaphore in its hand.
#[test]
fn a_killed_holder_of_a_semaphore_blocks_nobody() {
    for at in MOMENTS {
        let name = Name::sem();
        let (mut tx, mut rx): (SemSender, SemReceiver) = (
            options(WhenDead::Wait).sender(name.word()).unwrap(),
            options(WhenDead::Wait).receiver(name.word()).unwrap(),
        );
        let mut buffer = vec![];
        let mut room = 0;
        while tx.try_send(&record(room)) == Ok(()) {
            room += 1;
        }
        assert_eq!(room, 7);
        for number in 0..room {
            rx.recv(&mut buffer).unwrap();
            assert_eq!(read(&buffer), number);
        }
        // More often than there are slots: each costs a unit.
        for round in 0..10 {
            let mut victim = play::<Sem>("tx", "wait", &name);
            victim.must(&format!("stop_at {at:?} 1000"));
            victim.kill();
            let since = Instant::now();
            if at == Moment::Unsignalled {
                rx.recv(&mut buffer).unwrap();
                assert_eq!(read(&buffer), 1000);
            }
            tx.send(&record(round)).unwrap();
            let mut victim = play::<Sem>("rx", "wait", &name);
            victim.must(&format!("stop_at {at:?}"));
            victim.kill();
            if at != Moment::Unsignalled {
                // It was not received.
                rx.recv(&mut buffer).unwrap();
                assert_eq!(read(&buffer), round);
            }
            assert_eq!(rx.try_recv(&mut buffer), Err(TryRecvError::Empty));
            println!("{at:?}: {:?}", since.elapsed());
        }
        // All the room is there, by every call.
        for number in 0..room {
            if number % 2 == 0 {
                tx.send(&record(number)).unwrap();
            } else {
                tx.try_send(&record(number)).unwrap();
            }
        }
        assert_eq!(tx.try_send(b""), Err(TrySendError::Full(())));
        for number in 0..room {
            rx.recv(&mut buffer).unwrap();
            assert_eq!(read(&buffer), number);
        }
        drop((tx, rx));
        nothing_is_left::<Sem>(&name);
    }
}

#[test]
fn who_sleeps_while_the_holder_of_mutex_is_killed_goes_on_within_a_second() {
    for at in [Moment::Unnamed, Moment::Inside] {
        let name = Name::sem();
        let mut tx: SemSender = options(WhenDead::Wait).sender(name.word()).unwrap();
        let mut other: SemSender = options(WhenDead::Wait).sender(name.word()).unwrap();
        let mut rx: SemReceiver = options(WhenDead::Wait).receiver(name.word()).unwrap();
        let mut victim = play::<Sem>("tx", "wait", &name);
        victim.must(&format!("stop_at {at:?} 1000"));
        // A living holder that is stopped holds the others up, if it has said that it is inside.
        let sending = thread::spawn(move || {
            tx.send(&record(1)).unwrap();
            Instant::now()
        });
        if at == Moment::Inside {
            let since = Instant::now();
            assert_eq!(other.try_send(b""), Err(TrySendError::Full(())));
            assert!(since.elapsed() < SECOND);
            assert!(!sending.is_finished());
        }
        let killed = Instant::now();
        victim.kill();
        let went_on = sending.join().unwrap();
        assert!(went_on.saturating_duration_since(killed) < SECOND);
        let mut buffer = vec![];
        rx.recv(&mut buffer).unwrap();
        assert_eq!(read(&buffer), 1);
    }
}

/// Many senders and receivers in processes of their own, some of which are killed.
#[test]
fn a_crowd_with_semaphores_loses_nothing_of_the_living() {
    let name = Name::sem();
    let mut rx: SemReceiver = options(WhenDead::Wait).receiver(name.word()).unwrap();
    let mut senders: Vec<_> = (0..3).map(|_| play::<Sem>("tx", "wait", &name)).collect();
    let mut victims: Vec<_> = (0..3).map(|_| play::<Sem>("tx", "wait", &name)).collect();
    for (sender, actor) in (0_u64..).zip(senders.iter_mut().chain(&mut victims)) {
        let count = if sender < 3 { 1500 } else { 1_000_000_000 };
        actor.tell(&format!("send {} {count}", sender << 40));
    }
    let mut next = [0_u64; 6];
    let mut buffer = vec![];
    let mut total = 0;
    loop {
        match rx.recv_timeout(&mut buffer, PATIENCE) {
            Ok(_) => {
                let number = read(&buffer);
                let (sender, number) = ((number >> 40) as usize, number & ((1 << 40) - 1));
                assert_eq!(number, next[sender], "of sender {sender}");
                next[sender] += 1;
            }
            Err(error) => panic!("{error} after {next:?}"),
        }
        total += 1;
        if total % 1000 == 0 {
            if let Some(victim) = victims.pop() {
                victim.kill();
            }
        }
        if victims.is_empty() && next[..3] == [1500; 3] {
            break;
        }
    }
    for sender in senders {
        assert_eq!(sender.answer(), "ok");
        sender.end();
    }
    while rx
        .recv_timeout(&mut buffer, Duration::from_millis(200))
        .is_ok()
    {}
    drop(rx);
    nothing_is_left::<Sem>(&name);
}

/// Coming and going at once: everybody finds a whole channel, and the last takes it away.
#[test]
fn whoever_comes_and_goes_at_once_leaves_nothing() {
    let name = Name::sem();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let mut tx: SemSender = options(WhenDead::Wait).sender(name.word()).unwrap();
                    let mut rx: SemReceiver =
                        options(WhenDead::Wait).receiver(name.word()).unwrap();
                    tx.send(&record(1)).unwrap();
                    // Somebody else's may come first, but then ours is left for another.
                    let mut buffer = vec![];
                    rx.recv(&mut buffer).unwrap();
                    assert_eq!(read(&buffer), 1);
                }
            });
        }
    });
    nothing_is_left::<Sem>(&name);
}

#[test]
fn what_is_something_else_is_left_alone() {
    let name = Name::spool();
    std::fs::write(name.word(), vec![7; 10_000]).unwrap();
    let refused = options(WhenDead::Wait)
        .sender::<Spool>(name.word())
        .unwrap_err();
    assert!(matches!(
        refused.reason,
        OpenReason::Mismatch { what: "magic", .. }
    ));
    assert!(annulus_classic::remove::<Spool>(name.word()).is_err());
    assert_eq!(std::fs::read(name.word()).unwrap(), vec![7; 10_000]);
    for bad in ["", "a/b", "..", &"x".repeat(300)] {
        let refused = options(WhenDead::Wait).sender::<Classic>(bad).unwrap_err();
        assert!(
            matches!(refused.reason, OpenReason::Name { .. }),
            "{refused}"
        );
    }
    let refused = Options::new()
        .slots(1 << 20)
        .max_record(1 << 30)
        .sender::<Classic>("too-large")
        .unwrap_err();
    assert!(
        matches!(refused.reason, OpenReason::Limit { needed, .. } if needed > 1 << 50),
        "{refused}"
    );
}
