//! Words that come with real-time signals, between processes.

#[path = "common/actor.rs"]
mod the_actor;

use annulus_channel::{OpenReason, RecvTimeoutError, TryRecvError};
use annulus_classic::signal::{SignalError, SignalReceiver, SignalSender};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};
use the_actor::Actor;

const OFFSET: u8 = 5;

/// Blocks the signal, for a thread that does nothing else.
fn block() -> std::io::Result<()> {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: the function fills the set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: just filled.
    let mut set = unsafe { set.assume_init() };
    let number = libc::SIGRTMIN() + i32::from(OFFSET);
    // SAFETY: a set and a signal's number.
    unsafe { libc::sigaddset(&raw mut set, number) };
    // SAFETY: a set, and nothing to be told of the old one.
    let set = unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    Errno::result(set).map(drop).map_err(Into::into)
}

/// Not a test by itself: what an actor runs.
#[test]
fn actor() {
    let Some(role) = the_actor::role() else {
        return;
    };
    if role[0] == "careless" {
        // Its first thread does not block the signal.
        the_actor::say(&SignalReceiver::open(OFFSET).unwrap_err().to_string());
        the_actor::obey(|_| "ok".into());
        return;
    }
    let mut receiver = SignalReceiver::open(OFFSET).expect("every thread blocks it");
    the_actor::say("ready");
    the_actor::obey(|words| match words[0] {
        // At most so many signals may be queued for the user, for this process to take one more.
        "limit" => {
            let mut limit = libc::rlimit {
                rlim_cur: 0,
                rlim_max: 0,
            };
            // SAFETY: writes the limit, which outlives the call.
            let got = unsafe { libc::getrlimit(libc::RLIMIT_SIGPENDING, &raw mut limit) };
            assert_eq!(got, 0);
            // The lower limit, which may be raised again.
            limit.rlim_cur = match words[1] {
                "greatest" => limit.rlim_max,
                number => number.parse().expect("a number"),
            };
            // SAFETY: reads the limit, which outlives the call.
            let set = unsafe { libc::setrlimit(libc::RLIMIT_SIGPENDING, &raw const limit) };
            assert_eq!(set, 0);
            "ok".into()
        }
        "recv" => match receiver.recv() {
            Ok(note) => format!("{:?} {} {}", note.word, note.pid, note.uid),
            Err(error) => error.to_string(),
        },
        // Receives so many, which count from 0.
        "count" => {
            let count: u64 = words[1].parse().expect("a number");
            for number in 0..count {
                let word = receiver.recv().expect("somebody sends").word;
                if word != Some(number) {
                    return format!("{word:?} where {number} was next");
                }
            }
            "ok".into()
        }
        "try" => match receiver.try_recv() {
            Ok(note) => format!("{:?}", note.word),
            Err(error) => {
                assert_eq!(error, TryRecvError::Empty);
                "empty".into()
            }
        },
        "timed" => {
            let millis = words[1].parse().expect("a number");
            let (wait, since) = (Duration::from_millis(millis), Instant::now());
            let got = receiver.recv_deadline(since + wait);
            assert_eq!(got, Err(RecvTimeoutError::Timeout));
            assert!(since.elapsed() >= wait);
            "ok".into()
        }
        other => panic!("{other}"),
    });
}

fn receiver() -> Actor {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .args(["actor", "--exact", "--nocapture", "--test-threads=1"])
        .env("ANNULUS_ACTOR", "receiver");
    // SAFETY: the function calls what may be called between fork and exec.
    unsafe { command.pre_exec(block) };
    let actor = Actor::of(&mut command);
    assert_eq!(actor.answer(), "ready");
    actor
}

#[test]
fn a_word_comes_with_its_sender() {
    let mut receiver = receiver();
    let mut sender = SignalSender::open(receiver.pid(), OFFSET).unwrap();
    assert_eq!(receiver.ask("try"), "empty");
    receiver.must("timed 30");
    receiver.tell("recv");
    sender.send(u64::MAX - 1).unwrap();
    let (pid, uid) = (std::process::id(), nix::unistd::getuid());
    assert_eq!(
        receiver.answer(),
        format!("Some({}) {pid} {uid}", u64::MAX - 1)
    );
    // Signals that nobody queued have no word.
    let number = libc::SIGRTMIN() + i32::from(OFFSET);
    // SAFETY: takes no pointer; the process is our child.
    unsafe { libc::kill(receiver.pid() as i32, number) };
    assert!(receiver.ask("recv").starts_with("None "));
    receiver.end();
}

#[test]
fn none_is_lost_and_the_order_is_kept() {
    let mut receiver = receiver();
    let mut sender = SignalSender::open(receiver.pid(), OFFSET).unwrap();
    receiver.tell("count 20000");
    for word in 0..20_000 {
        sender.send(word).unwrap();
    }
    assert_eq!(receiver.answer(), "ok");
}

#[test]
fn what_is_sent_before_a_receive_waits_and_the_limit_is_told() {
    let mut receiver = receiver();
    let mut sender = SignalSender::open(receiver.pid(), OFFSET).unwrap();
    for word in 0..100 {
        sender.send(word).unwrap();
    }
    receiver.must("count 100");
    receiver.must("limit 50");
    assert_eq!(sender.limit(), Some(50));
    // Signals of the user's other processes count, too: at most 50.
    let sent = (0..1000).take_while(|&word| sender.try_send(word).is_ok());
    let sent = sent.count();
    receiver.must(&format!("count {sent}"));
    receiver.must("limit 0");
    let full = sender.try_send(7).unwrap_err();
    assert_eq!(full, SignalError::Full { word: 7, limit: 0 });
    let words = "0 signals are queued for the receiver's user, which is the limit (setting RLIMIT_SIGPENDING)";
    assert!(full.to_string().contains(words), "{full}");
    let (wait, since) = (Duration::from_millis(40), Instant::now());
    assert_eq!(sender.send_deadline(7, since + wait), Err(full));
    assert!(since.elapsed() >= wait);
    // A sender that waits goes on when there is room.
    let sending = std::thread::spawn(move || sender.send(0));
    std::thread::sleep(Duration::from_millis(30));
    assert!(!sending.is_finished());
    receiver.must("limit greatest");
    sending.join().unwrap().unwrap();
    receiver.must("count 1");
}

#[test]
fn a_dead_receiver_is_told_at_once_and_nobody_else_gets_its_words() {
    let mut receiver = receiver();
    let mut sender = SignalSender::open(receiver.pid(), OFFSET).unwrap();
    receiver.must("limit 0");
    let pid = receiver.pid();
    let sending = std::thread::spawn(move || {
        // A process that is dying takes what comes, for a moment.
        loop {
            if let Err(error) = sender.send(7) {
                return (error, Instant::now(), sender);
            }
        }
    });
    std::thread::sleep(Duration::from_millis(50));
    let killed = Instant::now();
    receiver.signal(Signal::SIGKILL);
    let (sent, then, mut sender) = sending.join().unwrap();
    assert_eq!(sent, SignalError::PeerDead { word: 7 });
    assert!(then.saturating_duration_since(killed) < Duration::from_secs(1));
    drop(receiver);
    assert_eq!(sender.try_send(8), Err(SignalError::PeerDead { word: 8 }));
    let gone = SignalSender::open(pid, OFFSET).unwrap_err();
    assert_eq!(gone.reason, OpenReason::NotFound);
}

#[test]
fn a_process_that_the_signal_would_end_is_refused() {
    let careless = Actor::start("careless");
    let refused = careless.answer();
    assert!(refused.contains("would end the process"), "{refused}");
    let refused = SignalSender::open(careless.pid(), OFFSET).unwrap_err();
    assert!(
        refused.to_string().contains("would end the process"),
        "{refused}"
    );
    let no_such = SignalSender::open(careless.pid(), 200).unwrap_err();
    assert!(
        matches!(no_such.reason, OpenReason::Name { .. }),
        "{no_such}"
    );
    careless.end();
}
