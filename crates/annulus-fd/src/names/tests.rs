//! Who comes, who goes, and what the dead leave.

use super::{Presence, Side, full_name, parse, remove_stale, stale};
use crate::lock::Door;
use annulus_channel::{OpenError, OpenReason};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A directory that goes with the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("annulus-names-{name}-{}", std::process::id()));
        fs::create_dir(&dir).expect("a new directory");
        Self(dir)
    }

    fn files(&self) -> usize {
        self.0.read_dir().expect("it is there").count()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn enter(dir: &Path, side: Side, only: bool) -> Result<(Presence, bool), OpenError> {
    Presence::enter(dir, "mq", "q", side, only, Ok)
}

#[test]
fn names_are_told_from_those_of_others() {
    assert_eq!(parse("annulus.mq-a-b.lock"), Some(("mq", "a-b")));
    for other in [
        "annulus-mq-a",
        "annulus.-a",
        "annulus.mq-",
        "annulus.MQ-a",
        "mq",
        "annulus.mq",
    ] {
        assert_eq!(parse(other), None, "{other}");
    }
    for bad in ["", ".", "..", "a/b", "a\0", &"x".repeat(201)] {
        let error = full_name("mq", bad).unwrap_err();
        assert!(matches!(error.reason, OpenReason::Name { .. }), "{bad}");
    }
}

#[test]
fn the_first_is_told_so_and_the_last_takes_it_away() {
    let dir = Dir::new("order");
    let (one, first) = enter(&dir.0, Side::Sender, false).unwrap();
    assert!(first);
    let (other, first) = enter(&dir.0, Side::Sender, false).unwrap();
    assert!(!first);
    let (receiver, _) = enter(&dir.0, Side::Receiver, true).unwrap();
    let taken = enter(&dir.0, Side::Receiver, true).unwrap_err();
    assert_eq!(
        taken.reason,
        OpenReason::Taken {
            side: "receiver",
            pid: 0
        }
    );
    assert_eq!(one.leave(|| ()), None);
    assert!(!other.is_any(Side::Sender) && other.is_any(Side::Receiver));
    drop(receiver);
    assert_eq!(other.leave(|| "away"), Some("away"));
    assert_eq!(dir.files(), 0);
}

#[test]
fn whoever_cannot_prepare_has_not_entered() {
    let dir = Dir::new("prepare");
    let refuse = |_| Err::<(), _>(OpenError::new("mq:q", OpenReason::NotFound));
    let refused = Presence::enter(&dir.0, "mq", "q", Side::Sender, true, refuse);
    assert_eq!(refused.unwrap_err().reason, OpenReason::NotFound);
    assert_eq!(dir.files(), 0);
}

#[test]
fn the_dead_are_found_and_the_living_are_not() {
    let dir = Dir::new("stale");
    let (one, _) = enter(&dir.0, Side::Sender, true).unwrap();
    fs::write(dir.0.join("annulus.mq-q"), "the thing").unwrap();
    fs::write(dir.0.join("other.lock"), "another's").unwrap();
    assert_eq!(stale(&dir.0).unwrap(), []);
    one.die();
    let left = stale(&dir.0).unwrap();
    assert_eq!(
        (left.len(), &*left[0].transport, &*left[0].name),
        (1, "mq", "q")
    );

    let behind = File::options().write(true).open(&left[0].lock).unwrap();
    let door = Door::alone(&behind, Duration::ZERO).unwrap();
    assert_eq!(
        remove_stale(&dir.0, |_| true).unwrap(),
        [],
        "somebody comes just now"
    );
    drop(door);
    assert_eq!(
        remove_stale(&dir.0, |_| false).unwrap(),
        [],
        "the thing stays"
    );
    let removed = remove_stale(&dir.0, |_| true).unwrap();
    assert_eq!(removed, left);
    assert_eq!(dir.files(), 2);

    // A successor is the first again.
    let (one, _) = enter(&dir.0, Side::Sender, true).unwrap();
    one.die();
    let (_one, first) = enter(&dir.0, Side::Sender, true).unwrap();
    assert!(first);
}

#[test]
fn many_come_and_go_and_never_meet_a_file_that_is_gone() {
    let dir = Dir::new("crowd");
    let made = dir.0.join("thing");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let (one, ()) =
                        Presence::enter(&dir.0, "mq", "q", Side::Sender, false, |first| {
                            assert_eq!(
                                made.exists(),
                                !first,
                                "made by the first, gone with the last"
                            );
                            fs::write(&made, "").unwrap();
                            Ok(())
                        })
                        .unwrap();
                    assert!(made.exists());
                    one.leave(|| fs::remove_file(&made).unwrap());
                }
            });
        }
    });
    assert_eq!(dir.files(), 0);
}
