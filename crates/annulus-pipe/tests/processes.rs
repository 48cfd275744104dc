//! Do pipes and FIFOs hold between processes, when they are killed, and under signals?

mod actor;

use actor::{Actor, PATIENCE, errand, given, read, receive_all, record, say, send_all};
use annulus_channel::{
    Fault, OpenReason, Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender,
    TryRecvError, TrySendError,
};
use annulus_pipe::{End, FifoOptions, MAX_RECORD, PipeOptions, PipeReceiver, PipeSender};
use nix::sys::pthread::{pthread_kill, pthread_self};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction, signal};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What the other process does. Not a test, unless this is the other process.
#[test]
fn actor() {
    let Some(errand) = errand() else { return };
    let words: Vec<&str> = errand.iter().map(String::as_str).collect();
    let number = |word: &str| word.parse().expect("a number");
    let mut options = FifoOptions::new();
    options.patience(PATIENCE);
    match words[..] {
        ["pipe send", sender, count] => {
            let mut tx = PipeSender::from_fd(given()).unwrap();
            say(format!(
                "{:?}",
                send_all(&mut tx, number(sender), number(count))
            ));
        }
        ["pipe recv"] => {
            let mut counts = [0; 1];
            let mut rx = PipeReceiver::from_fd(given()).unwrap();
            let end = receive_all(&mut rx, &mut counts);
            say(format!("{} {end:?}", counts[0]));
        }
        ["pipe send the longest"] => {
            let mut tx = PipeSender::from_fd(given()).unwrap();
            tx.send(&record(0, 0)).unwrap();
            say("sending");
            let _ = tx.send(&vec![1; MAX_RECORD]);
        }
        ["pipe recv one"] => {
            let mut rx = PipeReceiver::from_fd(given()).unwrap();
            rx.recv(&mut vec![]).unwrap();
            say("received");
            thread::sleep(PATIENCE);
        }
        ["fifo send", path, sender, count] => {
            let mut tx = options.sender(path).unwrap();
            say("open");
            say(format!(
                "{:?}",
                send_all(&mut tx, number(sender), number(count))
            ));
        }
        ["fifo send as", user, path, count] => {
            nix::unistd::setuid(number(user).into()).unwrap();
            match options.sender(path) {
                Ok(mut tx) => say(format!("{:?}", send_all(&mut tx, 0, number(count)))),
                Err(error) => say(format!("{:?}", error.reason)),
            }
        }
        ["fifo recv", path, count] => {
            let mut rx = options.receiver(path).unwrap();
            say("open");
            for _ in 0..number(count) {
                let mut bytes = vec![];
                rx.recv(&mut bytes).unwrap();
                read(&bytes);
            }
            say("received");
            thread::sleep(PATIENCE);
        }
        ["fifo echo", path] => {
            let (mut tx, mut rx) = options.both(path, End::Two).unwrap();
            let mut bytes = vec![];
            while rx.recv(&mut bytes).is_ok() {
                tx.send(&bytes).unwrap();
            }
            say("over");
        }
        ["no SIGPIPE", path] => {
            // SAFETY: the default disposition is no function.
            unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.unwrap();
            let (mut tx, rx) = annulus_pipe::pair().unwrap();
            drop(rx);
            assert_eq!(tx.send(b"nobody"), Err(SendError::Disconnected(())));
            let rx = options.receiver(path).unwrap();
            let mut tx = options.sender(path).unwrap();
            rx.die();
            assert_eq!(tx.send(b"nobody"), Err(SendError::PeerDead(())));
            say("alive");
        }
        ["unprivileged", user] => {
            nix::unistd::setuid(number(user).into()).unwrap();
            let error = PipeOptions::new().capacity(1 << 30).pair().unwrap_err();
            say(error);
        }
        _ => panic!("no such errand: {words:?}"),
    }
}

/// One test at a time: between fork and exec, another test's child has copies of our descriptors, and an end that
/// was closed is open for that moment.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = TempDir::new().expect("a new directory");
        Self { dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("fifo")
    }

    fn word(&self) -> String {
        self.path().to_str().expect("text").to_owned()
    }

    fn is_empty(&self) -> bool {
        self.dir.path().read_dir().expect("it is there").count() == 0
    }
}

fn fifo_sender(place: &Place, number: u32, count: u32) -> Actor {
    Actor::start(
        &format!("fifo send|{}|{number}|{count}", place.word()),
        Stdio::null(),
    )
}

#[test]
fn a_pipe_carries_records_of_all_sizes_to_a_child_and_from_it() {
    let _alone = alone();
    const COUNT: u32 = 2000;
    let (mut tx, rx) = annulus_pipe::pair().unwrap();
    let mut child = Actor::start("pipe recv", rx.into_fd().unwrap());
    send_all(&mut tx, 0, COUNT).unwrap();
    drop(tx);
    assert_eq!(child.answer(), format!("{COUNT} Disconnected"));
    child.end();

    let (tx, mut rx) = annulus_pipe::pair().unwrap();
    let mut child = Actor::start(&format!("pipe send|0|{COUNT}"), tx.into_fd().unwrap());
    let mut counts = [0];
    assert_eq!(
        receive_all(&mut rx, &mut counts),
        RecvTimeoutError::Disconnected
    );
    assert_eq!((counts[0], child.answer()), (COUNT, "Ok(())".to_owned()));
    child.end();
}

#[test]
fn a_pipes_sender_is_killed_in_the_middle_of_a_record() {
    let _alone = alone();
    let (tx, mut rx) = annulus_pipe::pair().unwrap();
    let mut child = Actor::start("pipe send the longest", tx.into_fd().unwrap());
    assert_eq!(child.answer(), "sending");
    let mut bytes = vec![];
    rx.recv(&mut bytes).unwrap();
    assert_eq!(read(&bytes), (0, 0));
    assert!(
        rx.try_recv(&mut bytes).is_err(),
        "the rest does not fit into the pipe"
    );
    child.kill();
    let since = Instant::now();
    assert_eq!(
        rx.recv_timeout(&mut bytes, PATIENCE),
        Err(RecvTimeoutError::PeerDead)
    );
    println!("noticed after {:?}", since.elapsed());
    assert_eq!(rx.recv(&mut bytes), Err(RecvError::PeerDead));
    assert!(bytes.is_empty());
}

#[test]
fn a_pipes_receiver_is_killed_while_the_sender_waits() {
    let _alone = alone();
    let (mut tx, rx) = annulus_pipe::pair().unwrap();
    let mut child = Actor::start("pipe recv one", rx.into_fd().unwrap());
    tx.send(b"one").unwrap();
    assert_eq!(child.answer(), "received");
    let sending = thread::spawn(move || {
        let sent = tx.send_timeout(&vec![1; MAX_RECORD], PATIENCE);
        (sent, Instant::now(), tx.try_send(b"more"))
    });
    // Most likely it waits by now; if not, it finds the same.
    thread::sleep(Duration::from_millis(20));
    let since = Instant::now();
    child.kill();
    let (sent, noticed, more) = sending.join().unwrap();
    println!("noticed after {:?}", noticed - since);
    assert_eq!(sent, Err(SendTimeoutError::PeerDead(())));
    assert_eq!(more, Err(TrySendError::PeerDead(())));
}

#[test]
fn several_processes_send_records_of_all_sizes_to_one_fifo() {
    let _alone = alone();
    const COUNT: u32 = 700;
    let place = Place::new();
    // They come first, and wait for it.
    let mut senders = [0, 1, 2].map(|number| fifo_sender(&place, number, COUNT));
    let mut rx = FifoOptions::new().receiver(place.path()).unwrap();
    for sender in &mut senders {
        assert_eq!(sender.answer(), "open");
    }
    let mut counts = [0; 3];
    assert_eq!(
        receive_all(&mut rx, &mut counts),
        RecvTimeoutError::Disconnected
    );
    assert_eq!(counts, [COUNT; 3]);
    assert!(place.is_empty(), "the end frees the path");
    for mut sender in senders {
        assert_eq!(sender.answer(), "Ok(())");
        sender.end();
    }
}

#[test]
fn a_fifos_sender_is_killed_in_the_middle_and_the_others_go_on() {
    let _alone = alone();
    const COUNT: u32 = 300;
    for round in 0..5 {
        let place = Place::new();
        let mut rx = FifoOptions::new()
            .capacity(8192)
            .receiver(place.path())
            .unwrap();
        let mut victim = fifo_sender(&place, 0, u32::MAX);
        let mut other = fifo_sender(&place, 1, COUNT);
        assert_eq!(
            (victim.answer(), other.answer()),
            ("open".into(), "open".into())
        );
        let (mut bytes, mut counts) = (vec![], [0; 2]);
        // Until the victim is at work. Where the kill meets it, chance decides.
        while counts[0] < 5 + 7 * round {
            rx.recv_timeout(&mut bytes, PATIENCE).unwrap();
            let (sender, number) = read(&bytes);
            assert_eq!(number, counts[sender as usize]);
            counts[sender as usize] += 1;
        }
        victim.kill();
        assert_eq!(
            receive_all(&mut rx, &mut counts),
            RecvTimeoutError::Disconnected
        );
        assert_eq!(counts[1], COUNT, "the survivor closed last");
        assert_eq!(other.answer(), "Ok(())");
        other.end();
    }
}

#[test]
fn a_fifos_last_sender_is_killed() {
    let _alone = alone();
    for _ in 0..5 {
        let place = Place::new();
        let mut rx = FifoOptions::new().receiver(place.path()).unwrap();
        // One that closed before does not matter.
        let mut first = fifo_sender(&place, 1, 10);
        let mut victim = fifo_sender(&place, 0, u32::MAX);
        assert_eq!(
            (first.answer(), victim.answer()),
            ("open".into(), "open".into())
        );
        let mut counts = [0; 2];
        let mut bytes = vec![];
        while counts[1] < 10 {
            rx.recv_timeout(&mut bytes, PATIENCE).unwrap();
            let (sender, _) = read(&bytes);
            counts[sender as usize] += 1;
        }
        assert_eq!(first.answer(), "Ok(())");
        first.end();
        victim.kill();
        let since = Instant::now();
        let end = receive_all(&mut rx, &mut counts);
        println!("noticed after {:?}", since.elapsed());
        assert_eq!(end, RecvTimeoutError::PeerDead);
        assert!(place.is_empty(), "the end frees the path");
    }
}

#[test]
fn a_fifos_receiver_is_killed_in_the_middle() {
    let _alone = alone();
    let place = Place::new();
    let mut victim = Actor::start(&format!("fifo recv|{}|3", place.word()), Stdio::null());
    let mut tx = FifoOptions::new()
        .patience(PATIENCE)
        .sender(place.path())
        .unwrap();
    let mut other = FifoOptions::new().sender(place.path()).unwrap();
    assert_eq!(victim.answer(), "open");
    for number in 0..3 {
        tx.send(&record(0, number)).unwrap();
    }
    assert_eq!(victim.answer(), "received");
    let taken = FifoOptions::new().receiver(place.path()).unwrap_err();
    assert_eq!(
        taken.reason,
        OpenReason::Taken {
            side: "receiver",
            pid: 0
        }
    );
    let sending = thread::spawn(move || {
        let sent = tx.send_timeout(&vec![1; MAX_RECORD], PATIENCE);
        (sent, Instant::now(), tx)
    });
    thread::sleep(Duration::from_millis(20));
    let since = Instant::now();
    victim.kill();
    let (sent, noticed, tx) = sending.join().unwrap();
    println!("noticed after {:?}", noticed - since);
    assert_eq!(sent, Err(SendTimeoutError::PeerDead(())));
    assert_eq!(other.try_send(b""), Err(TrySendError::PeerDead(())));
    drop(tx);
    assert!(place.path().exists());
    drop(other);
    assert!(place.is_empty(), "the last sender frees the path");
}

#[test]
fn a_killed_receivers_fifo_is_replaced_and_nobody_joins_it() {
    let _alone = alone();
    let place = Place::new();
    let mut victim = Actor::start(&format!("fifo recv|{}|1", place.word()), Stdio::null());
    let mut old = FifoOptions::new()
        .patience(PATIENCE)
        .sender(place.path())
        .unwrap();
    old.send(&record(0, 0)).unwrap();
    assert_eq!(victim.answer(), "open");
    assert_eq!(victim.answer(), "received");
    victim.kill();
    // A sender does not take a dead receiver for one.
    let nobody = FifoOptions::new()
        .patience(Duration::ZERO)
        .sender(place.path())
        .unwrap_err();
    assert_eq!(nobody.reason, OpenReason::NotFound);

    let mut rx = FifoOptions::new().receiver(place.path()).unwrap();
    assert_eq!(old.try_send(b"late"), Err(TrySendError::PeerDead(())));
    drop(old);
    assert!(
        place.path().exists(),
        "the old sender leaves the new FIFO alone"
    );
    let mut tx = FifoOptions::new().sender(place.path()).unwrap();
    tx.send(b"new").unwrap();
    assert_eq!(rx.recv(&mut vec![]), Ok(3));
    drop(rx);
    assert!(place.is_empty());
}

#[test]
fn what_is_sent_after_a_receiver_was_killed_reaches_the_next_one() {
    let _alone = alone();
    let mut options = FifoOptions::new();
    options.patience(PATIENCE);
    for round in 0..400_u32 {
        let place = Place::new();
        options.receiver(place.path()).unwrap().die();
        let mut bytes = vec![];
        thread::scope(|scope| {
            scope.spawn(|| {
                // Others look what is there, too.
                for _ in 0..20 {
                    annulus_pipe::stale(place.dir.path()).unwrap();
                }
            });
            scope.spawn(|| {
                let mut tx = options.sender(place.path()).unwrap();
                tx.send(&record(0, round)).unwrap();
            });
            let mut rx = options.receiver(place.path()).unwrap();
            let received = rx.recv_timeout(&mut bytes, Duration::from_secs(20));
            received.unwrap_or_else(|end| panic!("round {round}: {end}"));
            assert_eq!(read(&bytes), (0, round));
        });
    }
}

#[test]
fn a_fifo_is_removed_when_its_ends_are_gone_and_not_before() {
    let _alone = alone();
    let place = Place::new();
    let path = place.path();
    let reason = || annulus_pipe::remove(&path).unwrap_err().reason;
    assert_eq!(reason(), OpenReason::NotFound);
    let rx = FifoOptions::new().receiver(&path).unwrap();
    let tx = FifoOptions::new().sender(&path).unwrap();
    assert_eq!(annulus_pipe::remove(&path), Ok(false));
    rx.die();
    assert_eq!(annulus_pipe::remove(&path), Ok(false), "its sender lives");
    tx.die();
    assert_eq!(annulus_pipe::remove(&path), Ok(true));
    assert!(place.is_empty());
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert!(matches!(reason(), OpenReason::Mismatch { .. }));
    assert!(path.exists());
}

#[test]
fn what_is_not_ours_is_refused_and_left_alone() {
    let _alone = alone();
    let place = Place::new();
    let path = place.path();
    let refused = |expected: &str| {
        let options = FifoOptions::new();
        let (rx, tx) = (
            options.receiver(&path).unwrap_err(),
            options.sender(&path).unwrap_err(),
        );
        for error in [rx, tx] {
            assert!(
                matches!(error.reason, OpenReason::Mismatch { .. }),
                "{error}"
            );
            assert!(error.to_string().contains(expected), "{error}");
        }
    };
    std::fs::write(&path, "a file").unwrap();
    refused("what is there: expected a FIFO or nothing");
    assert_eq!(std::fs::read(&path).unwrap(), b"a file");
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/null", &path).unwrap();
    refused("what is there: expected a FIFO or nothing");
    std::fs::remove_file(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap();
    refused("expected one that a receiver made (mode 1600), found mode 0400");
    assert_eq!(
        annulus_pipe::remove_stale(place.dir.path()).unwrap(),
        [] as [&Path; 0]
    );
    assert!(path.exists());

    let nowhere = FifoOptions::new().sender(path.join("deeper")).unwrap_err();
    assert!(matches!(nowhere.reason, OpenReason::Os { .. }), "{nowhere}");
    let nowhere = FifoOptions::new()
        .receiver("/no/such/directory/fifo")
        .unwrap_err();
    assert_eq!(nowhere.reason, OpenReason::NotFound);
    assert!(matches!(
        FifoOptions::new().receiver("/").unwrap_err().reason,
        OpenReason::Name { .. }
    ));
}

#[test]
fn a_fifo_is_its_users_alone() {
    let _alone = alone();
    let place = Place::new();
    let _rx = FifoOptions::new().receiver(place.path()).unwrap();
    let mode = place
        .path()
        .symlink_metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o677, 0o600);
}

#[test]
fn another_user_sends_to_a_fifo_whose_mode_allows_it() {
    let _alone = alone();
    if !nix::unistd::getuid().is_root() {
        return;
    }
    let place = Place::new();
    std::fs::set_permissions(place.dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let errand = format!("fifo send as|65534|{}|20", place.word());
    let rx = FifoOptions::new().receiver(place.path()).unwrap();
    let mut other = Actor::start(&errand, Stdio::null());
    assert_eq!(other.answer(), "Permission");
    other.end();
    drop(rx);

    let mut rx = FifoOptions::new()
        .mode(0o622)
        .receiver(place.path())
        .unwrap();
    let mut other = Actor::start(&errand, Stdio::null());
    let mut counts = [0];
    // It cannot leave a mark, so it seems to have been killed.
    assert_eq!(
        receive_all(&mut rx, &mut counts),
        RecvTimeoutError::PeerDead
    );
    assert_eq!(counts, [20]);
    assert_eq!(other.answer(), "Ok(())");
    other.end();
    drop(rx);
    assert!(place.is_empty());
}

#[test]
fn two_processes_talk_over_a_pair_of_fifos() {
    let _alone = alone();
    let place = Place::new();
    let mut echo = Actor::start(&format!("fifo echo|{}", place.word()), Stdio::null());
    let mut options = FifoOptions::new();
    let (mut tx, mut rx) = options
        .patience(PATIENCE)
        .both(place.path(), End::One)
        .unwrap();
    let mut bytes = vec![];
    for number in 0..300 {
        tx.send(&record(0, number)).unwrap();
        rx.recv_timeout(&mut bytes, PATIENCE).unwrap();
        assert_eq!(read(&bytes), (0, number));
    }
    drop(tx);
    assert_eq!(echo.answer(), "over");
    echo.end();
    assert_eq!(rx.recv(&mut bytes), Err(RecvError::Disconnected));
    drop(rx);
    assert!(place.is_empty());
}

#[test]
fn a_program_that_did_not_provide_for_sigpipe_survives() {
    let _alone = alone();
    let place = Place::new();
    let mut actor = Actor::start(&format!("no SIGPIPE|{}", place.word()), Stdio::null());
    assert_eq!(actor.answer(), "alive");
    actor.end();
    assert!(place.is_empty());
}

#[test]
fn a_limit_is_named_with_its_number_and_its_setting() {
    let _alone = alone();
    let user = match nix::unistd::getuid() {
        root if root.is_root() => 65534,
        user => user.as_raw(),
    };
    let mut actor = Actor::start(&format!("unprivileged|{user}"), Stdio::null());
    let limit = annulus_fd::limits::sysctl("fs.pipe-max-size").unwrap();
    let expected =
        format!("pipe:: 1073741824 needed, the system allows {limit} (setting fs.pipe-max-size)");
    assert_eq!(actor.answer(), expected);
    actor.end();
}

static STRUCK: AtomicU32 = AtomicU32::new(0);

extern "C" fn struck(_: nix::libc::c_int) {
    STRUCK.fetch_add(1, SeqCst);
}

/// Runs `work` while signals that restart nothing strike its thread, as fast as they can be sent.
fn in_a_storm<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    let action = SigAction::new(
        SigHandler::Handler(struck),
        SaFlags::empty(),
        SigSet::empty(),
    );
    // SAFETY: the handler does nothing but an atomic addition.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
    let over = AtomicBool::new(false);
    let (tell, told) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let target = scope.spawn(|| {
            tell.send(pthread_self()).unwrap();
            let result = work();
            over.store(true, SeqCst);
            // Until the last signal was sent, the thread has to be there.
            while over.load(SeqCst) {
                thread::yield_now();
            }
            result
        });
        let thread = told.recv().unwrap();
        while !over.load(SeqCst) && !target.is_finished() {
            pthread_kill(thread, Signal::SIGUSR1).unwrap();
            thread::sleep(Duration::from_micros(300));
        }
        over.store(false, SeqCst);
        target.join().unwrap()
    })
}

/// Both ends under signals: every record passes, every wait waits.
fn storm(mut tx: impl Sender + Send, mut rx: impl Receiver + Send) {
    const COUNT: u32 = 300;
    let before = STRUCK.load(SeqCst);
    thread::scope(|scope| {
        scope.spawn(move || {
            in_a_storm(move || {
                send_all(&mut tx, 0, COUNT).unwrap();
                // The receiver waits for a while.
                thread::sleep(Duration::from_millis(30));
                tx.send(&record(0, COUNT)).unwrap();
                thread::sleep(Duration::from_millis(80));
            });
        });
        scope.spawn(move || {
            in_a_storm(move || {
                let mut bytes = vec![];
                for number in 0..=COUNT {
                    rx.recv(&mut bytes).unwrap();
                    assert_eq!(read(&bytes), (0, number));
                }
                let since = Instant::now();
                let time = Duration::from_millis(20);
                let end = rx.recv_timeout(&mut bytes, time).unwrap_err();
                assert!(end != RecvTimeoutError::Timeout || since.elapsed() >= time);
                assert_eq!(rx.recv(&mut bytes), Err(RecvError::Disconnected));
            });
        });
    });
    assert!(
        STRUCK.load(SeqCst) > before + 100,
        "too few signals for a storm"
    );
}

#[test]
fn signals_end_no_call() {
    let _alone = alone();
    let (tx, rx) = annulus_pipe::pair().unwrap();
    storm(tx, rx);
    let place = Place::new();
    let rx = FifoOptions::new().receiver(place.path()).unwrap();
    let tx = FifoOptions::new().sender(place.path()).unwrap();
    storm(tx, rx);
}

#[test]
fn a_forked_childs_copies_mean_nothing() {
    let _alone = alone();
    let place = Place::new();
    let mut options = FifoOptions::new();
    let mut rx = options.patience(PATIENCE).receiver(place.path()).unwrap();
    let mut tx = options.sender(place.path()).unwrap();
    let other = place.dir.path().join("other");
    let mut other_rx = options.receiver(&other).unwrap();
    let other_tx = options.sender(&other).unwrap();
    let (mut pipe_tx, mut pipe_rx) = annulus_pipe::pair().unwrap();
    // SAFETY: the child closes descriptors and ends; it takes no lock that another thread may hold.
    match unsafe { nix::unistd::fork() }.unwrap() {
        nix::unistd::ForkResult::Child => {
            let mut bytes = vec![];
            let strange = tx.try_send(b"") == Err(TrySendError::Fault((), Fault::ForkedHandle))
                && rx.try_recv(&mut bytes) == Err(TryRecvError::Fault(Fault::ForkedHandle));
            drop((tx, rx, pipe_tx, pipe_rx, other_tx));
            // SAFETY: ends the child at once.
            unsafe { nix::libc::_exit(i32::from(!strange)) };
        }
        nix::unistd::ForkResult::Parent { child } => {
            let end = nix::sys::wait::waitpid(child, None).unwrap();
            let well = nix::sys::wait::WaitStatus::Exited(child, 0);
            assert_eq!(end, well, "a FIFO's handles say that they are the parent's");
        }
    }
    let second = options.receiver(place.path()).unwrap_err();
    assert!(
        matches!(second.reason, OpenReason::Taken { .. }),
        "{second}"
    );
    let mut bytes = vec![];
    for round in 0..3 {
        tx.send(&record(0, round)).unwrap();
        pipe_tx.send(&record(0, round)).unwrap();
        rx.recv(&mut bytes).unwrap();
        assert_eq!(read(&bytes), (0, round));
        pipe_rx.recv(&mut bytes).unwrap();
        assert_eq!(read(&bytes), (0, round));
    }
    // What the child closed has marked nothing.
    pipe_tx.die();
    assert_eq!(pipe_rx.recv(&mut bytes), Err(RecvError::PeerDead));
    rx.die();
    assert_eq!(tx.send(b"nobody"), Err(SendError::PeerDead(())));
    other_tx.die();
    assert_eq!(other_rx.recv(&mut bytes), Err(RecvError::PeerDead));
}

#[test]
fn many_senders_die_in_the_middle_of_a_record_and_are_forgotten() {
    let _alone = alone();
    let place = Place::new();
    let mut rx = FifoOptions::new().receiver(place.path()).unwrap();
    let mut living = FifoOptions::new().sender(place.path()).unwrap();
    let long = vec![7; 300_000];
    let mut bytes = vec![];
    // One that lives is in the middle, too, and is not forgotten.
    let mut slow = FifoOptions::new().sender(place.path()).unwrap();
    let record = vec![9; 300_000];
    assert_eq!(slow.try_send(&record), Err(TrySendError::Full(())));
    assert!(rx.try_recv(&mut bytes).is_err());
    for number in 0..100_u32 {
        let word = number.to_le_bytes();
        let mut dying = FifoOptions::new().sender(place.path()).unwrap();
        dying.send(&word).unwrap();
        assert_eq!(
            dying.try_send(&long),
            Err(TrySendError::Full(())),
            "a part of it"
        );
        dying.die();
        rx.recv(&mut bytes).unwrap();
        assert_eq!(bytes, word);
        assert!(rx.try_recv(&mut bytes).is_err());
        living.send(&word).unwrap();
        rx.recv(&mut bytes).unwrap();
        assert_eq!(bytes, word);
    }
    drop(living);
    let sending = thread::spawn(move || slow.send(&record));
    assert_eq!(rx.recv(&mut bytes), Ok(300_000));
    assert!(bytes.iter().all(|&byte| byte == 9));
    sending.join().unwrap().unwrap();
    assert_eq!(rx.recv(&mut bytes), Err(RecvError::Disconnected));
}
