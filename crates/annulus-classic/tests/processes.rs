//! Does it hold between processes, and when they are killed or stopped?

#[path = "common/actor.rs"]
mod actor;
#[path = "common/cast.rs"]
mod cast;
mod common;

use actor::PATIENCE;
use annulus_channel::{
    OpenReason, Receiver as _, RecvError, RecvTimeoutError, SendError, Sender as _, TryRecvError,
    TrySendError,
};
use annulus_classic::{Classic, Options, Receiver, Sem, Sender, Spool, WhenDead};
use cast::{Known, nothing_is_left, options, play, read, record};
use common::Name;
use nix::sys::signal::Signal;
use std::thread;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// Not a test by itself: what an actor runs.
#[test]
fn actor() {
    cast::act();
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
    for what in ["close", "keep"] {
        tx.tell(&format!("fork {what}"));
        let answers = [tx.answer(), tx.answer()];
        let refused =
            "the handle was inherited through fork; this process has to attach one of its own";
        assert!(answers.iter().any(|answer| answer == "ok"), "{answers:?}");
        assert!(
            answers.iter().any(|answer| answer == refused),
            "{answers:?}"
        );
    }
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

/// What was sent before a close is received before its news, however close the two are.
#[test]
fn the_news_of_a_close_never_comes_before_the_last_record() {
    for _ in 0..1000 {
        let name = Name::classic();
        let options = options(WhenDead::Wait);
        let mut rx: Receiver<Classic> = options.receiver(name.word()).unwrap();
        let mut tx: Sender<Classic> = options.sender(name.word()).unwrap();
        let sending = thread::spawn(move || tx.send(&record(1)));
        let mut buffer = vec![];
        let got = loop {
            match rx.try_recv(&mut buffer) {
                Err(TryRecvError::Empty) => {}
                got => break got,
            }
        };
        assert_eq!(got.map(|_| read(&buffer)), Ok(1));
        sending.join().unwrap().unwrap();
    }
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
