//! What opening a queue says, and what it leaves alone.

mod common;

use annulus_channel::{Fault, OpenReason, RecvError, TryRecvError};
use annulus_mqueue::{Name, Posix, QueueOptions, SystemV, remove};
use common::actor::Actor;
use common::{Kind, Place, word};
use nix::mqueue::{MQ_OFlag, MqAttr, mq_close, mq_open, mq_unlink};
use nix::sys::stat::Mode;
use std::fs;
use std::time::Duration;

/// The other process.
#[test]
fn actor() {
    common::actor::act();
}

#[test]
fn another_users_queue_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        println!("only root can become somebody else");
        return;
    }
    fn refused<K: Kind>() {
        let place = Place::fresh::<K>();
        let _queue = K::open(K::small(4, 512).create(true), &place.0).unwrap();
        let mut other = Actor::start(&place.0);
        other.must("become 65534");
        let said = other.ask("open 4 512");
        assert_eq!(said, format!("error: {}: permission denied", place.0));
    }
    refused::<Posix>();
    refused::<SystemV>();
}

#[test]
fn other_attributes_are_a_mismatch_that_names_both() {
    fn mismatch<K: Kind>(unit: &str, capacity: [usize; 2]) {
        let place = Place::fresh::<K>();
        K::open(K::small(4, 64).create(true), &place.0).unwrap();
        let reason = |options: &QueueOptions| K::open(options, &place.0).unwrap_err().reason;
        let said = |what, expected, found| OpenReason::Mismatch {
            what,
            expected,
            found,
        };
        assert_eq!(
            reason(K::small(8, 64).create(true)),
            said(
                "capacity",
                format!("{} {unit}", capacity[1]),
                format!("{} {unit}", capacity[0])
            )
        );
        assert_eq!(
            reason(QueueOptions::new().max_record(65)),
            said("longest record", "65 bytes".into(), "64 bytes".into())
        );
        assert_eq!(
            reason(QueueOptions::new().create_new(true)),
            OpenReason::Exists
        );
        // Who asks for nothing gets what is there.
        assert_eq!(
            K::open(&QueueOptions::new(), &place.0)
                .unwrap()
                .max_record(),
            64
        );
    }
    mismatch::<Posix>("records", [4, 8]);
    mismatch::<SystemV>("bytes", [256, 512]);
}

#[test]
fn what_is_not_there_is_not_found() {
    fn not_found<K: Kind>() {
        let name = K::fresh();
        let open = K::open(&QueueOptions::new(), &name).unwrap_err();
        assert_eq!(open.reason, OpenReason::NotFound);
        assert_eq!(remove(&name).unwrap_err().reason, OpenReason::NotFound);
    }
    not_found::<Posix>();
    not_found::<SystemV>();
}

/// A queue that somebody else made, with a record in it; removed in the end.
struct Foreign(Name);

impl Foreign {
    fn make(name: Name) -> Self {
        match &name {
            Name::Posix(_) => {
                let flags = MQ_OFlag::O_CREAT | MQ_OFlag::O_EXCL | MQ_OFlag::O_RDWR;
                let attr = MqAttr::new(0, 4, 64, 0);
                let path = word(&name);
                let fd = mq_open(path.as_str(), flags, Mode::S_IRWXU, Some(&attr)).unwrap();
                nix::mqueue::mq_send(&fd, b"kept", 0).unwrap();
                mq_close(fd).unwrap();
            }
            Name::SystemV(key) => {
                // SAFETY: takes no pointer.
                let id = unsafe { libc::msgget(*key, libc::IPC_CREAT | libc::IPC_EXCL | 0o600) };
                stranger_sends(id);
            }
        }
        Self(name)
    }

    fn records(&self) -> u64 {
        match &self.0 {
            Name::Posix(_) => {
                let path = word(&self.0);
                let fd = mq_open(path.as_str(), MQ_OFlag::O_RDONLY, Mode::empty(), None).unwrap();
                let attr = nix::mqueue::mq_getattr(&fd).unwrap();
                mq_close(fd).unwrap();
                attr.curmsgs() as u64
            }
            Name::SystemV(key) => {
                // SAFETY: all zeros is a value of this plain struct.
                let mut stat: libc::msqid_ds = unsafe { std::mem::zeroed() };
                // SAFETY: takes no pointer.
                let id = unsafe { libc::msgget(*key, 0) };
                // SAFETY: IPC_STAT fills the struct.
                let said = unsafe { libc::msgctl(id, libc::IPC_STAT, &raw mut stat) };
                assert_eq!(said, 0);
                stat.msg_qnum
            }
        }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        match &self.0 {
            Name::Posix(_) => drop(mq_unlink(word(&self.0).as_str())),
            Name::SystemV(key) => {
                // SAFETY: takes no pointer.
                let id = unsafe { libc::msgget(*key, 0) };
                // SAFETY: IPC_RMID reads no buffer.
                unsafe { libc::msgctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
            }
        }
    }
}

/// Sends without ringing any bell.
fn stranger_sends(id: i32) {
    let message = [1, i64::from_ne_bytes(*b"kept....")];
    // SAFETY: the message is a type and eight bytes.
    let said = unsafe { libc::msgsnd(id, message.as_ptr().cast(), 4, 0) };
    assert_eq!(said, 0);
}

#[test]
fn a_queue_that_is_not_ours_is_not_touched() {
    fn untouched<K: Kind>() {
        let foreign = Foreign::make(K::fresh());
        let mut options = QueueOptions::new();
        for create in [false, true] {
            let refused = K::open(options.create(create), &foreign.0).unwrap_err();
            assert!(
                matches!(refused.reason, OpenReason::Mismatch { .. }),
                "{refused}"
            );
        }
        let refused = remove(&foreign.0).unwrap_err();
        assert!(
            matches!(refused.reason, OpenReason::Mismatch { .. }),
            "{refused}"
        );
        assert_eq!(foreign.records(), 1);
        assert!(!foreign.0.companion().exists(), "nothing was put beside it");

        // Nor one that took the place of ours.
        let place = Place::fresh::<K>();
        drop(K::open(K::small(4, 64).create(true), &place.0).unwrap());
        drop(Foreign(place.0.clone()));
        let foreign = Foreign::make(place.0.clone());
        let refused = K::open(&QueueOptions::new(), &place.0).unwrap_err();
        assert!(
            matches!(refused.reason, OpenReason::Mismatch { .. }),
            "{refused}"
        );
        remove(&place.0).unwrap();
        assert_eq!(foreign.records(), 1, "only the companion went");
    }
    untouched::<Posix>();
    untouched::<SystemV>();
}

#[test]
fn what_a_creator_left_halfway_is_made_anew() {
    fn anew<K: Kind>() {
        let place = Place::fresh::<K>();
        // As if killed before the magic: the second word of the page says that the queue is being made.
        let mut page = vec![0; 4096];
        page[8] = 1;
        fs::write(place.0.companion(), page).unwrap();
        let _foreign = Foreign::make(place.0.clone());
        assert_eq!(
            K::open(&QueueOptions::new(), &place.0).unwrap_err().reason,
            OpenReason::NotFound
        );
        fs::write(place.0.companion(), b"").unwrap();
        let queue = K::open(K::small(4, 64).create(true), &place.0).unwrap();
        assert!(queue.is_empty().unwrap());
    }
    anew::<Posix>();
    anew::<SystemV>();
}

#[test]
fn a_queue_removed_by_its_name_alone_comes_back_new() {
    fn comes_back<K: Kind>() {
        let place = Place::fresh::<K>();
        let queue = K::open(K::small(4, 64).create(true), &place.0).unwrap();
        let sender = queue.sender().unwrap();
        drop(Foreign(place.0.clone()));
        let refused = K::open(K::small(4, 64).create(true), &place.0).unwrap_err();
        assert!(
            matches!(refused.reason, OpenReason::Mismatch { .. }),
            "while somebody is attached: {refused}"
        );
        drop(sender);
        let again = K::open(K::small(8, 32).create(true), &place.0).unwrap();
        again.sender().unwrap().send(b"new").unwrap();
        // The old one has nothing to do with it.
        assert_eq!(queue.sender().unwrap_err().reason, OpenReason::NotFound);
    }
    comes_back::<Posix>();
    comes_back::<SystemV>();
}

#[test]
fn what_a_stranger_sends_is_received() {
    let place = Place::fresh::<SystemV>();
    let queue = SystemV::open(SystemV::small(4, 64).create(true), &place.0).unwrap();
    let mut receiver = queue.receiver().unwrap();
    let receiving = std::thread::spawn(move || {
        let mut buffer = Vec::new();
        receiver.recv(&mut buffer).map(|_| buffer)
    });
    std::thread::sleep(Duration::from_millis(20));
    let Name::SystemV(key) = place.0 else {
        unreachable!()
    };
    // SAFETY: takes no pointer.
    stranger_sends(unsafe { libc::msgget(key, 0) });
    assert_eq!(receiving.join().unwrap().unwrap(), b"kept");
}

#[test]
fn a_removed_queue_says_so_or_goes_on() {
    let place = Place::fresh::<SystemV>();
    let queue = SystemV::open(SystemV::small(4, 64).create(true), &place.0).unwrap();
    let mut receiver = queue.receiver().unwrap();
    remove(&place.0).unwrap();
    let fault = Fault::Os {
        call: "msgrcv",
        errno: libc::EINVAL,
    };
    let mut buffer = Vec::new();
    assert_eq!(receiver.recv(&mut buffer), Err(RecvError::Fault(fault)));
    assert_eq!(
        receiver.try_recv(&mut buffer),
        Err(TryRecvError::Fault(fault))
    );

    let place = Place::fresh::<Posix>();
    let queue = Posix::open(Posix::small(4, 64).create(true), &place.0).unwrap();
    let (mut sender, mut receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
    queue.remove().unwrap();
    assert!(!place.is_there());
    sender.send(b"among ourselves").unwrap();
    receiver.recv(&mut buffer).unwrap();
    assert_eq!(buffer, b"among ourselves");
}
