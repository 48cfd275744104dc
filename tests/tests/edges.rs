//! What happens at the edges: the smallest and the greatest, names that name no ring, rings that are not what was
//! asked for, no rights, no space, and many who create the same ring at once?
#![cfg(not(loom))]

use annulus::{
    Kind, Location, Mpmc, Mpsc, OpenError, Protocol, Ring, RingOptions, Spmc, Spsc, TryRecvError,
    TrySendError, remove,
};
use annulus_tests::actor::Actor;
use annulus_tests::place::{Medium, Name, create};
use annulus_tests::watch::Watch;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Barrier;
use std::thread;

const NAMED: [Medium; 3] = [Medium::Shm, Medium::File, Medium::Sysv];

fn actor(arguments: &[&str]) -> Actor {
    Actor::start(env!("CARGO_BIN_EXE_actor"), arguments)
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

// Sizes.

fn holds_exactly<K: Protocol>(capacity: usize) {
    let ring: Ring<u32, K> = RingOptions::new().capacity(capacity).heap().unwrap();
    assert_eq!(
        (ring.capacity(), ring.info().capacity),
        (capacity, capacity)
    );
    let (mut sender, mut receiver) = (ring.sender().unwrap(), ring.receiver().unwrap());
    assert_eq!(
        (sender.capacity(), receiver.capacity()),
        (capacity, capacity)
    );
    for round in 0..200 {
        for number in 0..capacity as u32 {
            assert_eq!(sender.try_send(round + number), Ok(()));
        }
        assert_eq!((sender.len(), receiver.len()), (capacity, capacity));
        assert_eq!(sender.try_send(99), Err(TrySendError::Full(99)));
        for number in 0..capacity as u32 {
            assert_eq!(receiver.try_recv(), Ok(round + number));
        }
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        assert!(sender.is_empty() && receiver.is_empty());
    }
}

#[test]
fn a_typed_ring_holds_exactly_what_was_asked_for() {
    for capacity in [1, 2, 3, 4, 63, 64, 65, 127] {
        holds_exactly::<Spsc>(capacity);
        holds_exactly::<Mpsc>(capacity);
        holds_exactly::<Spmc>(capacity);
        holds_exactly::<Mpmc>(capacity);
    }
}

fn refuses_sizes<K: Protocol>() {
    let out_of_bounds = |capacity: usize| {
        let refused = RingOptions::new()
            .capacity(capacity)
            .heap::<u64, K>()
            .unwrap_err();
        assert!(
            matches!(refused, OpenError::Capacity { asked, min: 1, .. } if asked == capacity as u64),
            "{refused}"
        );
        let refused = RingOptions::new()
            .capacity(capacity)
            .memfd::<[u8], K>()
            .unwrap_err();
        assert!(matches!(refused, OpenError::Capacity { .. }), "{refused}");
    };
    out_of_bounds(0);
    out_of_bounds(usize::MAX);
    out_of_bounds(1 << 63);
    out_of_bounds((1 << 43) + 1);
    let refused = RingOptions::new().heap::<u64, K>().unwrap_err();
    assert_eq!(refused, OpenError::NoCapacity);
}

#[test]
fn no_capacity_and_impossible_capacities_are_refused() {
    refuses_sizes::<Spsc>();
    refuses_sizes::<Mpsc>();
    refuses_sizes::<Spmc>();
    refuses_sizes::<Mpmc>();
    for medium in NAMED {
        let name = Name::on(medium).unwrap();
        for capacity in [0, usize::MAX] {
            let refused = RingOptions::new()
                .create(true)
                .capacity(capacity)
                .open::<u64, Mpmc>(name.location());
            assert!(matches!(refused, Err(OpenError::Capacity { .. })));
            assert!(!name.exists(), "{medium:?}");
        }
    }
}

fn rounds<K: Protocol>(least: usize) {
    let capacity = |asked| {
        let ring: Ring<[u8], K> = RingOptions::new().capacity(asked).heap().unwrap();
        ring.capacity()
    };
    for asked in [1, 2, 3, least - 1, least] {
        assert_eq!(capacity(asked), least);
    }
    assert_eq!(capacity(least + 1), 2 * least);
    assert_eq!(capacity(10_000), 16_384);
    assert_eq!(capacity(16_384), 16_384);
}

#[test]
fn bytes_are_rounded_up_to_a_power_of_two() {
    rounds::<Spsc>(64);
    rounds::<Mpsc>(4096);
    rounds::<Spmc>(4096);
    rounds::<Mpmc>(4096);
}

fn longest<K: Protocol>(capacity: usize) {
    let ring: Ring<[u8], K> = RingOptions::new().capacity(capacity).memfd().unwrap();
    let (mut sender, mut receiver) = (ring.sender().unwrap(), ring.receiver().unwrap());
    let max = ring.capacity() / 2 - 8;
    assert_eq!((sender.max_record(), ring.info().max_record), (max, max));
    let record: Vec<u8> = (0..=max).map(|at| (at * 7) as u8).collect();
    let mut buffer = vec![];
    // From many places, so that it meets the ring's end in every way.
    for round in 0..60 {
        assert_eq!(sender.try_send(&record[..max]), Ok(()));
        assert_eq!(receiver.try_recv(&mut buffer), Ok(max));
        assert!(buffer == record[..max]);
        sender.try_send(&record[..round * 13 % (max + 1)]).unwrap();
        receiver.try_recv(&mut buffer).unwrap();
    }
    let too_large = Err(TrySendError::TooLarge {
        value: (),
        len: max + 1,
        max,
    });
    assert_eq!(sender.try_send(&record), too_large);
    let says = sender.try_send(&record).unwrap_err().to_string();
    assert!(
        says.contains(&max.to_string()) && says.contains(&(max + 1).to_string()),
        "{says}"
    );
    assert_eq!(sender.try_send_batch(&[&record]).map(drop), too_large);
    assert_eq!(sender.try_reserve(max + 1).map(drop), too_large);
    assert_eq!(receiver.try_recv(&mut buffer), Err(TryRecvError::Empty));
}

#[test]
fn half_the_ring_less_a_header_fits_and_one_byte_more_does_not() {
    for capacity in [1, 4096, 5000, 4 << 20] {
        longest::<Spsc>(capacity);
        longest::<Mpsc>(capacity);
        longest::<Spmc>(capacity);
        longest::<Mpmc>(capacity);
    }
}

fn wraps<K: Protocol + Send + Sync + 'static>(start: u64) {
    const EACH: u64 = 1000;
    let ring: Ring<u64, K> = RingOptions::new()
        .capacity(5)
        .start_at(start)
        .memfd()
        .unwrap();
    let count = |many| if many { 2 } else { 1 };
    let (senders, receivers) = (
        count(K::KIND.many_senders()),
        count(K::KIND.many_receivers()),
    );
    let receiving: Vec<_> = (0..receivers)
        .map(|_| {
            let mut receiver = ring.receiver().unwrap();
            thread::spawn(move || receiver.iter().collect::<Vec<_>>())
        })
        .collect();
    let attached: Vec<_> = (0..senders).map(|_| ring.sender().unwrap()).collect();
    let sending: Vec<_> = attached
        .into_iter()
        .zip(0..)
        .map(|(mut sender, id)| {
            thread::spawn(move || (0..EACH).for_each(|n| sender.send(id * EACH + n).unwrap()))
        })
        .collect();
    sending
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    let mut got: Vec<u64> = receiving
        .into_iter()
        .flat_map(|thread| thread.join().unwrap())
        .collect();
    got.sort_unstable();
    assert!(got.into_iter().eq(0..senders * EACH), "from {start:#x}");
}

#[test]
fn positions_and_laps_wrap_under_traffic() {
    let _watch = Watch::start();
    // 2^54 positions are all that a control word tells apart.
    for boundary in [0, 1 << 8, 1 << 31, 1 << 32, 1 << 53, 1 << 54, 1 << 63] {
        let start = u64::wrapping_sub(boundary, 500);
        wraps::<Spsc>(start);
        wraps::<Mpsc>(start);
        wraps::<Spmc>(start);
        wraps::<Mpmc>(start);
    }
}

// Names.

fn refused_name(name: &str) -> String {
    match RingOptions::new()
        .create(true)
        .capacity(1)
        .shm::<u64, Spsc>(name)
    {
        Err(OpenError::Name { name: said, reason }) => {
            assert_eq!(said, name);
            reason.to_owned()
        }
        other => panic!("'{name}': {other:?}"),
    }
}

#[test]
fn names_that_cannot_be_are_refused_with_the_reason() {
    assert!(refused_name("").contains("empty"));
    assert!(refused_name("a/b").contains('/'));
    assert!(refused_name("/").contains('/'));
    assert!(refused_name(".").contains("directory"));
    assert!(refused_name("..").contains("directory"));
    assert!(refused_name("a\0b").contains("zero"));
    assert!(refused_name(&"x".repeat(256)).contains("255"));
    for word in [
        "",
        "a/b",
        "file:",
        "sysv:",
        "sysv:0",
        "sysv:x",
        "sysv:0x1ffffffff",
        "shm:",
    ] {
        let refused = word.parse::<Location>().unwrap_err();
        assert!(
            matches!(refused, OpenError::Name { .. }),
            "'{word}': {refused}"
        );
    }
}

#[test]
fn a_name_of_255_bytes_is_a_name() {
    let word = format!("annulus-test-{}-{}", std::process::id(), "x".repeat(255));
    let location = Location::Shm(word[..255].to_owned());
    let path = Path::new("/dev/shm").join(&word[..255]);
    let ring = RingOptions::new()
        .create_new(true)
        .capacity(1)
        .open::<u64, Spsc>(&location);
    let made = path.exists();
    let _ = fs::remove_file(path);
    assert!(made && ring.is_ok(), "{ring:?}");
}

#[test]
fn nothing_there_is_said_to_be_nothing() {
    for medium in NAMED {
        let name = Name::on(medium).unwrap();
        let missing = OpenError::NotFound(name.location().clone());
        let opened = RingOptions::new().open::<u64, Mpmc>(name.location());
        assert_eq!(opened.map(drop), Err(missing.clone()));
        let opened = RingOptions::new().open_any(Kind::Spsc, name.location());
        assert_eq!(opened.map(drop), Err(missing.clone()));
        assert_eq!(remove(name.location()), Err(missing));
        assert!(!name.exists());
    }
    let nowhere = Location::File("/nowhere/at/all".into());
    let opened = RingOptions::new().open::<u64, Mpmc>(&nowhere);
    assert_eq!(opened.map(drop), Err(OpenError::NotFound(nowhere.clone())));
    let created = RingOptions::new()
        .create(true)
        .capacity(1)
        .open::<u64, Mpmc>(&nowhere);
    assert!(created.is_err());
}

// Something else there. Each is an error that says what is there, and leaves it as it was.

/// Opens `location` in every way, each of which must be refused; `what` is in what it says.
fn refused<K: Protocol>(location: &Location, what: &[&str]) {
    let mut options = RingOptions::new();
    for create in [false, true] {
        let opened = options.create(create).capacity(16).open::<u64, K>(location);
        let says = opened.expect_err("something else is there").to_string();
        for what in what {
            assert!(says.contains(what), "'{says}' does not say '{what}'");
        }
    }
    let created = options.create_new(true).open::<u64, K>(location);
    assert_eq!(created.map(drop), Err(OpenError::Exists(location.clone())));
}

/// A ring in a file, and its bytes.
fn ring_in_a_file() -> (Name, Vec<u8>) {
    let name = Name::file();
    let ring: Ring<u64, Mpmc> = RingOptions::new()
        .create_new(true)
        .capacity(16)
        .open(name.location())
        .unwrap();
    let mut sender = ring.sender().unwrap();
    sender.send_slice(&[1, 2, 3]).unwrap();
    drop((sender, ring));
    let bytes = fs::read(name.path()).unwrap();
    (name, bytes)
}

/// Opens a file of these bytes, which is refused and left as it is.
fn refused_bytes<K: Protocol>(bytes: &[u8], what: &[&str]) {
    for name in [Name::file(), Name::shm()] {
        fs::write(name.path(), bytes).unwrap();
        refused::<K>(name.location(), what);
        let says = remove(name.location()).is_err();
        assert!(
            says || what.contains(&"mismatch"),
            "no ring, and yet removed"
        );
        if says {
            assert!(
                fs::read(name.path()).unwrap() == bytes,
                "the bytes were changed"
            );
        }
    }
}

#[test]
fn what_is_no_ring_is_told_and_left_alone() {
    let (name, bytes) = ring_in_a_file();
    refused_bytes::<Mpmc>(b"", &["truncated", "0 bytes"]);
    refused_bytes::<Mpmc>(b"a text", &["truncated", "6 bytes"]);
    refused_bytes::<Mpmc>(&vec![0; bytes.len()], &["not a ring", "magic"]);
    refused_bytes::<Mpmc>(&vec![b'x'; 100_000], &["not a ring", "magic"]);
    refused_bytes::<Mpmc>(&bytes[..bytes.len() - 1], &["truncated"]);
    refused_bytes::<Mpmc>(&bytes[..bytes.len() / 2], &["truncated"]);
    refused_bytes::<Mpmc>(&bytes[..2048], &["truncated", "2048 bytes"]);
    refused_bytes::<Mpmc>(&bytes[..100], &["truncated", "100 bytes"]);
    let mut other_version = bytes.clone();
    other_version[8] = 77;
    refused_bytes::<Mpmc>(&other_version, &["layout version", "2", "77"]);
    assert!(fs::read(name.path()).unwrap() == bytes);
}

#[test]
fn another_kind_or_type_is_told_with_both_names_and_left_alone() {
    let (name, bytes) = ring_in_a_file();
    refused::<Spsc>(name.location(), &["ring kind", "expected spsc", "has mpmc"]);
    refused::<Mpsc>(name.location(), &["ring kind", "expected mpsc", "has mpmc"]);
    let says = |opened: Result<(), OpenError>| opened.unwrap_err().to_string();
    let open = RingOptions::new();
    let other = says(open.open::<i64, Mpmc>(name.location()).map(drop));
    assert!(other.contains("i64") && other.contains("u64"), "{other}");
    let other = says(open.open::<[u8; 16], Mpmc>(name.location()).map(drop));
    assert!(
        other.contains("size 16") && other.contains("size 8"),
        "{other}"
    );
    let other = says(open.open::<[u8], Mpmc>(name.location()).map(drop));
    assert!(
        other.contains("byte records") && other.contains("u64"),
        "{other}"
    );
    let other = says(open.open_any(Kind::Mpmc, name.location()).map(drop));
    assert!(
        other.contains("byte records") && other.contains("u64"),
        "{other}"
    );
    let mut named = RingOptions::new();
    named.type_name("order");
    let other = says(named.open::<u64, Mpmc>(name.location()).map(drop));
    assert!(
        other.contains("expected order") && other.contains("has u64"),
        "{other}"
    );
    assert!(fs::read(name.path()).unwrap() == bytes);
    // And the right ones still find what was sent.
    let ring: Ring<u64, Mpmc> = open.open(name.location()).unwrap();
    let mut receiver = ring.receiver().unwrap();
    assert_eq!([1, 2, 3].map(|_| receiver.try_recv().unwrap()), [1, 2, 3]);
}

#[test]
fn an_existing_ring_is_opened_by_create_and_refused_by_create_new() {
    for medium in NAMED {
        let name = Name::on(medium).unwrap();
        let first: Ring<u64, Spsc> =
            create(RingOptions::new().capacity(4), medium, Some(&name)).unwrap();
        first.sender().unwrap().send(7).unwrap();
        let again = create::<u64, Spsc>(RingOptions::new().capacity(8), medium, Some(&name));
        assert_eq!(
            again.map(drop),
            Err(OpenError::Exists(name.location().clone()))
        );
        let again: Ring<u64, Spsc> = RingOptions::new()
            .create(true)
            .capacity(8)
            .open(name.location())
            .unwrap();
        assert_eq!(again.capacity(), 4, "an existing ring keeps its own");
        assert_eq!(again.receiver().unwrap().try_recv(), Ok(7));
    }
}

#[test]
fn what_is_no_file_is_told_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let at = |word: &str| directory.path().join(word);
    fs::create_dir(at("dir")).unwrap();
    nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _socket = UnixListener::bind(at("socket")).unwrap();
    let (ring, bytes) = ring_in_a_file();
    symlink(ring.path(), at("link")).unwrap();
    symlink(at("nothing"), at("dangling")).unwrap();
    let expected = [
        ("dir", "a directory"),
        ("fifo", "a FIFO"),
        ("socket", "a socket"),
        ("link", "a symbolic link"),
        ("dangling", "a symbolic link"),
    ];
    for (word, what) in expected {
        let before = fs::symlink_metadata(at(word)).unwrap();
        let location = Location::File(at(word));
        refused::<Mpmc>(&location, &["file type", what, "a regular file"]);
        assert!(remove(&location).is_err());
        let after = fs::symlink_metadata(at(word)).unwrap();
        assert_eq!((before.ino(), before.mode()), (after.ino(), after.mode()));
    }
    assert!(!at("nothing").exists());
    assert!(fs::read(ring.path()).unwrap() == bytes);
}

// Rights and space.

#[test]
fn a_new_ring_is_its_creators_alone_unless_asked_otherwise() {
    for name in [Name::shm(), Name::file()] {
        let mode = || fs::metadata(name.path()).unwrap().permissions().mode() & 0o777;
        let make = |options: &mut RingOptions| {
            options
                .create_new(true)
                .capacity(1)
                .open::<u64, Spsc>(name.location())
                .unwrap();
        };
        make(&mut RingOptions::new());
        assert_eq!(mode(), 0o600);
        remove(name.location()).unwrap();
        make(RingOptions::new().mode(0o640));
        assert_eq!(mode() & !0o040, 0o600, "less the umask");
        remove(name.location()).unwrap();
    }
}

#[test]
fn without_rights_nothing_is_opened_created_or_changed() {
    if !is_root() {
        println!("skipped: only root can become somebody without rights");
        return;
    }
    for medium in NAMED {
        let name = Name::on(medium).unwrap();
        if medium == Medium::File {
            // Found by everybody, changed by nobody.
            let directory = name.path().parent().unwrap().to_owned();
            fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let ring: Ring<u64, Mpmc> =
            create(RingOptions::new().capacity(4), medium, Some(&name)).unwrap();
        ring.sender().unwrap().send(7).unwrap();
        let mut stranger = actor(&["ring", "mpmc", &name.word()]);
        stranger.must("become 65534");
        let denied = format!("error: {}: permission denied", name.location());
        assert_eq!(stranger.ask("open"), denied);
        assert_eq!(stranger.ask("create 4"), denied);
        assert_eq!(ring.receiver().unwrap().try_recv(), Ok(7));
    }
    let name = Name::file();
    let directory = name.path().parent().unwrap().to_owned();
    let mut stranger = actor(&["ring", "mpmc", &name.word()]);
    stranger.must("become 65534");
    for mode in [0o700, 0o755] {
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
        let denied = format!("error: {}: permission denied", name.location());
        assert_eq!(stranger.ask("create 4"), denied);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    }
}

#[test]
fn a_full_file_system_is_an_error_and_nothing_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ring");
    let places = [
        (Path::new("/dev/shm"), "shm:annulus-test-full".to_owned()),
        (directory.path(), format!("file:{}", file.display())),
    ];
    for (directory, place) in places {
        let directory = directory.to_str().unwrap();
        let mut actor = actor(&["ring", "mpmc", &place]);
        let mounted = actor.ask(&format!("tmpfs {directory} 1M"));
        if mounted != "ok" {
            println!("skipped: a file system of our own: {mounted}");
            return;
        }
        for way in ["create", "create_new"] {
            let says = actor.ask(&format!("{way} 200000"));
            assert!(says.contains(": no space: it needs"), "{says}");
            assert!(says.contains("free"), "{says}");
            assert_eq!(actor.ask(&format!("list {directory}")), "");
        }
        // And what fits, fits.
        actor.must("create 1000");
        actor.must("sender");
        actor.must("send 1");
        actor.end();
    }
}

// Many at once.

#[test]
fn whoever_creates_a_ring_at_once_with_others_gets_the_same() {
    for medium in NAMED {
        for _ in 0..10 {
            let name = Name::on(medium).unwrap();
            let barrier = Barrier::new(8);
            let race = |id: u64| {
                barrier.wait();
                let ring: Ring<u64, Mpmc> = RingOptions::new()
                    .create(true)
                    .capacity(8)
                    .open(name.location())
                    .unwrap();
                ring.sender().unwrap().send(id).unwrap();
                ring
            };
            let rings: Vec<_> = thread::scope(|scope| {
                let racers: Vec<_> = (0..8).map(|id| scope.spawn(move || race(id))).collect();
                racers
                    .into_iter()
                    .map(|racer| racer.join().unwrap())
                    .collect()
            });
            let mut receiver = rings[0].receiver().unwrap();
            let mut got: Vec<_> = receiver.try_iter().collect();
            got.sort_unstable();
            assert!(got.into_iter().eq(0..8), "{medium:?}");
        }
    }
}

#[test]
fn processes_that_create_a_ring_at_once_get_the_same() {
    for medium in NAMED {
        let name = Name::on(medium).unwrap();
        let mut racers: Vec<_> = (0..8)
            .map(|_| actor(&["ring", "mpmc", &name.word()]))
            .collect();
        racers.iter_mut().for_each(|racer| racer.tell("create 8"));
        for racer in &racers {
            assert_eq!(racer.answer(), "ok");
        }
        if medium != Medium::Sysv {
            let inode = fs::metadata(name.path()).unwrap().ino().to_string();
            for racer in &mut racers {
                assert_eq!(racer.ask("inode"), inode);
            }
        }
        for (id, racer) in racers.iter_mut().enumerate() {
            racer.must("sender");
            racer.must(&format!("send {id}"));
        }
        racers[0].must("receiver");
        for id in 0..8 {
            assert_eq!(racers[0].ask("try_recv"), id.to_string());
        }
    }
}

#[test]
fn of_those_who_create_a_new_ring_at_once_one_succeeds() {
    for medium in NAMED {
        for _ in 0..10 {
            let name = Name::on(medium).unwrap();
            let barrier = Barrier::new(8);
            let race = || {
                barrier.wait();
                create::<u64, Mpmc>(RingOptions::new().capacity(8), medium, Some(&name))
            };
            let made = thread::scope(|scope| {
                let racers: Vec<_> = (0..8).map(|_| scope.spawn(race)).collect();
                let results = racers.into_iter().map(|racer| racer.join().unwrap());
                let (made, failed): (Vec<_>, Vec<_>) = results.partition(Result::is_ok);
                for failed in failed {
                    assert_eq!(
                        failed.unwrap_err(),
                        OpenError::Exists(name.location().clone())
                    );
                }
                made.len()
            });
            assert_eq!(made, 1, "{medium:?}");
        }
    }
}

// The end.

fn leaves_nothing<K: Protocol>(medium: Medium) {
    let name = Name::on(medium).unwrap();
    let options = RingOptions::new()
        .capacity(4)
        .unlink_when_finished(true)
        .clone();
    let ring: Ring<u64, K> = create(&options, medium, Some(&name)).unwrap();
    drop(ring.receiver().unwrap());
    assert!(name.exists(), "no sender has come");
    // A sender that finds no receiver any more sends nothing, so one is there.
    let mut receiver = ring.receiver().unwrap();
    let mut sender = ring.sender().unwrap();
    sender.send_slice(&[1, 2]).unwrap();
    drop(sender);
    assert_eq!(receiver.try_recv(), Ok(1));
    drop(receiver);
    assert!(
        name.exists(),
        "{} on {medium:?}: something is left to be received",
        K::KIND
    );
    let mut receiver = ring.receiver().unwrap();
    assert_eq!(receiver.try_recv(), Ok(2));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    drop(receiver);
    assert!(!name.exists(), "{} on {medium:?}: finished", K::KIND);
    assert!(ring.sender().is_err(), "nobody would find it");
}

#[test]
fn a_finished_ring_leaves_nothing_if_asked() {
    for medium in NAMED {
        leaves_nothing::<Spsc>(medium);
        leaves_nothing::<Mpsc>(medium);
        leaves_nothing::<Spmc>(medium);
        leaves_nothing::<Mpmc>(medium);
    }
}

#[test]
fn a_ring_in_use_is_not_removed() {
    for medium in NAMED {
        let name = Name::on(medium).unwrap();
        let ring: Ring<u64, Mpmc> =
            create(RingOptions::new().capacity(4), medium, Some(&name)).unwrap();
        let sender = ring.sender().unwrap();
        let busy = remove(name.location()).unwrap_err();
        let pid = std::process::id();
        assert!(
            matches!(busy, OpenError::Busy { pid: by, .. } if by == pid),
            "{busy}"
        );
        assert!(busy.to_string().contains(&pid.to_string()), "{busy}");
        assert!(name.exists());
        drop(sender);
        remove(name.location()).unwrap();
        assert!(!name.exists(), "{medium:?}");
    }
}

// Anything in the header.

/// Uses a ring of byte records as one would, without waiting.
fn try_out<K: Protocol>(location: &Location) -> Result<(), String> {
    let ring: Ring<[u8], K> = RingOptions::new()
        .open(location)
        .map_err(|error| error.to_string())?;
    let mut sender = ring.sender().map_err(|error| error.to_string())?;
    let mut receiver = ring.receiver().map_err(|error| error.to_string())?;
    let mut buffer = vec![];
    for record in [&b"a record"[..], &[7; 1000], b""] {
        sender.try_send(record).map_err(|error| error.to_string())?;
        receiver
            .try_recv(&mut buffer)
            .map_err(|error| error.to_string())?;
        if buffer != record {
            return Err("another record".into());
        }
    }
    let _ = (sender.len(), receiver.len(), ring.info());
    Ok(())
}

/// Flips each bit of this part of a ring in turn, and tries out what is there then.
fn flips<K: Protocol>(part: std::ops::Range<usize>) -> Vec<(usize, Result<(), String>)> {
    let name = Name::shm();
    let options = RingOptions::new().capacity(4096).clone();
    drop(create::<[u8], K>(&options, Medium::Shm, Some(&name)).unwrap());
    let bytes = fs::read(name.path()).unwrap();
    let flip = |bit: usize| {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(name.path(), &flipped).unwrap();
        (bit, try_out::<K>(name.location()))
    };
    (part.start * 8..part.end * 8).map(flip).collect()
}

fn flips_of_the_cold_header<K: Protocol>() {
    let results = flips::<K>(0..512);
    let opened = |at: usize| {
        results[at * 8..at * 8 + 8]
            .iter()
            .all(|(_, tried)| tried.is_ok())
    };
    let refused = |at: usize| {
        results[at * 8..at * 8 + 8]
            .iter()
            .all(|(_, tried)| tried.is_err())
    };
    for at in 0..112 {
        // The order and the flags have other values that make sense.
        assert!(
            refused(at) || (20..32).contains(&at),
            "byte {at} of a {} ring",
            K::KIND
        );
    }
    // Where it began, when it was made, and what is reserved do not matter. More than 32 tries are refused.
    assert!((112..128).all(opened) && (256..272).all(opened) && (280..512).all(opened));
    assert!((273..280).all(refused));
    for (bit, tried) in results {
        if let Err(says) = tried {
            assert!(
                !says.is_empty() && says != "another record",
                "bit {bit}: {says}"
            );
        }
    }
}

#[test]
fn any_bit_of_the_cold_header_makes_an_error_or_a_usable_ring() {
    flips_of_the_cold_header::<Spsc>();
    flips_of_the_cold_header::<Mpmc>();
}

#[test]
fn no_bit_of_the_rest_of_the_header_makes_a_crash_or_a_hang() {
    let _watch = Watch::start();
    flips::<Spsc>(512..1408);
    flips::<Spmc>(512..1408);
    flips::<Mpmc>(512..1408);
}
