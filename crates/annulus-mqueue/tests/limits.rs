//! Which limit stands in the way, and which setting raises it?

mod common;

use annulus_channel::OpenReason;
use annulus_mqueue::{Posix, QueueOptions, SystemV};
use common::actor::Actor;
use common::{Kind, Place};
use std::fs;

/// The other process.
#[test]
fn actor() {
    common::actor::act();
}

/// What the system says of a setting.
fn sysctl(name: &str) -> u64 {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    let text = fs::read_to_string(path).expect("a setting");
    text.trim().parse().expect("a number")
}

fn limit(reason: OpenReason) -> (&'static str, u64, u64) {
    match reason {
        OpenReason::Limit {
            setting,
            limit,
            needed,
        } => (setting, limit, needed),
        other => panic!("{other}"),
    }
}

fn refused<K: Kind>(options: &mut QueueOptions) -> OpenReason {
    let place = Place::fresh::<K>();
    let refused = K::open(options.create(true), &place.0).unwrap_err();
    assert!(refused.to_string().starts_with(&place.0.to_string()));
    assert!(!place.is_there(), "nothing is left of what was not made");
    refused.reason
}

/// Whether the settings bind this process, or, as root with all rights, the kernel's own limits only.
fn is_bound() -> bool {
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let bits = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:\t"));
    let bits = u64::from_str_radix(bits.expect("capabilities"), 16).expect("bits");
    bits & (1 << 24) == 0
}

#[test]
fn too_many_records_are_refused_with_the_setting() {
    let most = |setting, hard| if is_bound() { sysctl(setting) } else { hard };
    let reason = refused::<Posix>(QueueOptions::new().capacity(100_000).max_record(64));
    let setting = "fs.mqueue.msg_max";
    assert_eq!(limit(reason), (setting, most(setting, 65536), 100_000));
    let reason = refused::<Posix>(QueueOptions::new().max_record(1 << 30));
    let setting = "fs.mqueue.msgsize_max";
    assert_eq!(limit(reason), (setting, most(setting, 16 << 20), 1 << 30));
    let longest = sysctl("kernel.msgmax");
    let reason = refused::<SystemV>(QueueOptions::new().max_record(longest as usize + 1));
    assert_eq!(limit(reason), ("kernel.msgmax", longest, longest + 1));
}

#[test]
fn the_memory_of_all_queues_is_a_limit() {
    let place = Place::fresh::<Posix>();
    let mut other = Actor::start(&place.0);
    other.must("limit_memory 1000");
    assert_eq!(
        other.ask("open 4 512"),
        format!(
            "error: {}: 2432 needed, the system allows 1000 (setting RLIMIT_MSGQUEUE, the bytes of all queues \
             of the user)",
            place.0
        )
    );
    assert!(!place.is_there(), "nothing is left of what was not made");
    // It is not a limit of open files.
    other.must("limit_memory 1000000");
    other.must("open 4 512");
}

#[test]
fn the_settings_bind_who_has_no_privileges() {
    let is_root = nix::unistd::geteuid().is_root();
    let start = |place: &Place| {
        let mut other = Actor::start(&place.0);
        if is_root {
            other.must("become 65534");
        }
        other
    };
    let place = Place::fresh::<Posix>();
    let most = sysctl("fs.mqueue.msg_max");
    assert_eq!(
        start(&place).ask(&format!("open {} 64", most + 1)),
        format!(
            "error: {}: {} needed, the system allows {most} (setting fs.mqueue.msg_max)",
            place.0,
            most + 1
        )
    );
    let place = Place::fresh::<SystemV>();
    let most = sysctl("kernel.msgmnb");
    let records = most / 64 + 1;
    assert_eq!(
        start(&place).ask(&format!("open {records} 64")),
        format!(
            "error: {}: {} needed, the system allows {most} (setting kernel.msgmnb)",
            place.0,
            records * 64
        )
    );
    assert!(!place.is_there());
}

#[test]
fn there_are_256_seats_and_the_dead_leave_theirs() {
    let place = Place::fresh::<Posix>();
    let queue = Posix::open(Posix::small(1, 64).create(true), &place.0).unwrap();
    let mut senders: Vec<_> = (0..256).map(|_| queue.sender().unwrap()).collect();
    let reason = queue.receiver().unwrap_err().reason;
    assert_eq!(limit(reason), ("seats at a queue, fixed", 256, 257));
    senders.pop().unwrap().die();
    let _receiver = queue.receiver().expect("the dead one's seat");
}
