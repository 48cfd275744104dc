//! Is the layout what `docs/layout.md` says? Rings in files, read byte by byte by somebody who knows only that page.
//!
//! Whoever moves anything must raise the version, or `the_layout_has_not_moved_without_a_new_version` fails.
#![cfg(not(loom))]

use annulus::{Mpmc, Mpsc, Order, Protocol, Ring, RingOptions, Spmc, Spsc};
use annulus_tests::place::Name;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// The version that this page describes.
const VERSION: u32 = 2;

/// The cold header: name, offset, bytes.
const COLD: [(&str, usize, usize); 23] = [
    ("magic", 0, 8),
    ("version", 8, 4),
    ("leases_at", 12, 4),
    ("kind", 16, 4),
    ("order", 20, 4),
    ("form", 24, 4),
    ("flags", 28, 4),
    ("region_len", 32, 8),
    ("capacity", 40, 8),
    ("units", 48, 8),
    ("unit_size", 56, 8),
    ("leases", 64, 8),
    ("senders_at", 72, 8),
    ("receivers_at", 80, 8),
    ("payload_at", 88, 8),
    ("type_hash", 96, 8),
    ("type_size", 104, 4),
    ("type_align", 108, 4),
    ("start", 112, 8),
    ("created", 120, 8),
    ("lock_dev", 256, 8),
    ("lock_ino", 264, 8),
    ("max_tries", 272, 8),
];

/// The rest of the header.
const HOT: [(&str, usize, usize); 17] = [
    ("tail", 512, 8),
    ("head", 640, 8),
    ("free", 768, 8),
    ("data bell", 896, 4),
    ("room bell", 1024, 4),
    ("epoch", 1028, 4),
    ("tickets", 1152, 8),
    ("changes", 1160, 8),
    ("senders", 1168, 8),
    ("receivers", 1176, 8),
    ("closes", 1184, 8),
    ("rescues", 1280, 8),
    ("voided", 1288, 8),
    ("returned", 1296, 8),
    ("given_up", 1304, 8),
    ("widest", 1312, 8),
    ("drained", 1320, 8),
];

const TYPE_NAME: usize = 128;
const LEASES_AT: usize = 2048;
const LEASE: usize = 128;

/// A region's bytes.
struct Bytes(Vec<u8>);

impl Bytes {
    fn word(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.0[at..at + 8].try_into().unwrap())
    }

    fn number(&self, name: &str) -> u64 {
        let (_, at, len) = COLD
            .into_iter()
            .chain(HOT)
            .find(|&(known, ..)| known == name)
            .unwrap();
        let mut bytes = [0; 8];
        bytes[..len].copy_from_slice(&self.0[at..at + len]);
        u64::from_le_bytes(bytes)
    }

    fn assert(&self, numbers: &[(&str, u64)]) {
        for &(name, value) in numbers {
            assert_eq!(self.number(name), value, "{name}");
        }
    }

    fn senders_word(&self, index: u64) -> u64 {
        self.word((self.number("senders_at") + 8 * index) as usize)
    }

    fn receivers_word(&self, index: u64) -> u64 {
        self.word((self.number("receivers_at") + 8 * index) as usize)
    }

    fn payload(&self, unit: u64) -> usize {
        (self.number("payload_at") + unit * self.number("unit_size")) as usize
    }
}

/// FNV-1a.
fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn type_hash(name: &str, size: u32, align: u32) -> u64 {
    hash(
        name.bytes()
            .chain(size.to_le_bytes())
            .chain(align.to_le_bytes()),
    )
}

/// The control word of a ring of 64 units.
fn word(position: u64, low: u64, who: u64) -> u64 {
    let lap = (position >> 6) & ((1 << 48) - 1);
    lap << 16 | low << 10 | who
}

const VOID: u64 = 0;
const READY: u64 = 1;
const DONE: u64 = 0;
const AGAIN: u64 = 1;
const OWNER: u64 = 8;

/// A ring in a file, at this position.
fn ring<T: annulus::Message + ?Sized, K: Protocol>(
    capacity: usize,
    start: u64,
) -> (Name, Ring<T, K>) {
    let name = Name::file();
    let ring = RingOptions::new()
        .create_new(true)
        .capacity(capacity)
        .start_at(start)
        .type_name("golden")
        .open(name.location())
        .unwrap();
    (name, ring)
}

fn read(name: &Name) -> Bytes {
    Bytes(fs::read(name.path()).unwrap())
}

#[test]
fn the_cold_header_is_as_specified() {
    let (name, _ring) = ring::<u32, Spsc>(5, 1000);
    let bytes = read(&name);
    assert_eq!(&bytes.0[..8], b"ANNULUS\0");
    let (leases_end, payload) = (2048 + 128 * 128, 8 * 4);
    bytes.assert(&[
        ("version", VERSION.into()),
        ("leases_at", 2048),
        ("kind", 1),
        ("order", 0),
        ("form", 0),
        ("flags", 1),
        ("region_len", leases_end + payload),
        ("capacity", 5),
        ("units", 8),
        ("unit_size", 4),
        ("leases", 128),
        ("senders_at", leases_end),
        ("receivers_at", leases_end),
        ("payload_at", leases_end),
        ("type_hash", type_hash("golden", 4, 4)),
        ("type_size", 4),
        ("type_align", 4),
        ("start", 1000),
        ("lock_dev", 0),
        ("lock_ino", 0),
        ("max_tries", 0),
    ]);
    assert!(bytes.number("created") > 1_700_000_000_000_000_000);
    assert_eq!(&bytes.0[TYPE_NAME..TYPE_NAME + 7], b"golden\0");
    assert!(bytes.0[280..512].iter().all(|&byte| byte == 0));
    bytes.assert(&[("tail", 1000), ("head", 1000), ("free", 1000)]);
}

fn sizes<T: annulus::Message + ?Sized, K: Protocol>(
    capacity: usize,
    order: Order,
    expected: [u64; 8],
) {
    let name = Name::file();
    let _ring: Ring<T, K> = RingOptions::new()
        .create_new(true)
        .capacity(capacity)
        .order(order)
        .open(name.location())
        .unwrap();
    let bytes = read(&name);
    let names = ["kind", "order", "form", "capacity", "units", "unit_size"];
    let names = names.into_iter().chain(["receivers_at", "payload_at"]);
    let found: Vec<_> = names.map(|name| bytes.number(name)).collect();
    assert_eq!(found, expected, "{} {order:?} {capacity}", K::KIND);
    let len = expected[7] + expected[4] * expected[5];
    assert_eq!(
        (bytes.0.len() as u64, bytes.number("region_len")),
        (len, len)
    );
}

#[test]
fn sizes_and_offsets_follow_from_kind_order_form_and_capacity() {
    use Order::{PerSender, Total};
    const L: u64 = 2048 + 128 * 128;
    // kind, order, form, capacity, units, unit_size, receivers_at, payload_at
    sizes::<u64, Spsc>(1, Total, [1, 0, 0, 1, 1, 8, L, L]);
    sizes::<[u8; 3], Spsc>(100, Total, [1, 0, 0, 100, 128, 3, L, L]);
    sizes::<[u8], Spsc>(1, Total, [1, 0, 1, 64, 8, 8, L, L]);
    sizes::<[u8], Spsc>(1000, Total, [1, 0, 1, 1024, 128, 8, L, L]);
    sizes::<[u8; 3], Mpsc>(1, Total, [2, 0, 0, 1, 64, 8, L + 512, L + 512]);
    sizes::<[u8; 3], Mpsc>(1, PerSender, [2, 1, 0, 1, 64, 8, L + 512, L + 1024]);
    sizes::<[u64; 4], Spmc>(65, Total, [3, 0, 0, 65, 128, 32, L, L + 1024]);
    sizes::<[u8], Spmc>(5000, Total, [3, 0, 1, 8192, 128, 64, L, L + 1024]);
    sizes::<[u8], Mpmc>(1, PerSender, [4, 1, 1, 4096, 64, 64, L + 512, L + 1024]);
}

#[test]
fn spsc_records_lie_as_specified() {
    // Four units before the end, so that the record does not fit there.
    let (name, ring) = ring::<[u8], Spsc>(256, 28);
    let (mut sender, mut receiver) = (ring.sender().unwrap(), ring.receiver().unwrap());
    sender.send(b"ab").unwrap();
    sender.send(&[7; 25]).unwrap();
    let bytes = read(&name);
    bytes.assert(&[("units", 32), ("tail", 37), ("head", 28), ("free", 28)]);
    let at = bytes.payload(28);
    assert_eq!(bytes.word(at), 2);
    assert_eq!(&bytes.0[at + 8..at + 10], b"ab");
    assert_eq!(
        bytes.word(bytes.payload(30)),
        1 << 63 | 2,
        "two units of padding"
    );
    assert_eq!(bytes.word(bytes.payload(0)), 25);
    assert_eq!(&bytes.0[bytes.payload(1)..bytes.payload(1) + 25], [7; 25]);
    let mut buffer = vec![];
    receiver.recv(&mut buffer).unwrap();
    receiver.recv(&mut buffer).unwrap();
    read(&name).assert(&[("tail", 37), ("head", 37)]);
}

/// The page's example is a ring that this library makes, byte by byte, but for the time.
#[test]
fn the_example_is_a_ring() {
    let name = Name::file();
    let mut options = RingOptions::new();
    let ring: Ring<[u8], Spsc> = options
        .create_new(true)
        .capacity(64)
        .open(name.location())
        .unwrap();
    let mut sender = ring.sender().unwrap();
    sender.try_send(b"hello\n").unwrap();
    sender.try_send(b"a second one\n").unwrap();
    drop(sender);
    let mut found = read(&name).0;
    let page = include_str!("../../docs/layout.md");
    let (_, example) = page.split_once("## An example").unwrap();
    let lines = example.lines().filter(|line| line.starts_with("00"));
    let mut expected = vec![0; found.len()];
    for line in lines {
        let at = usize::from_str_radix(&line[..6], 16).unwrap();
        for (byte, digits) in line[8..].split(' ').take(16).enumerate() {
            expected[at + byte] = u8::from_str_radix(digits, 16).unwrap();
        }
    }
    let created = 120..128;
    found[created.clone()].fill(0);
    expected[created].fill(0);
    let differs = (0..found.len()).find(|&at| found[at] != expected[at]);
    assert_eq!(differs, None, "the first byte that is not as on the page");
}

#[test]
fn control_words_are_as_specified() {
    let start = (7 << 6) + 62;
    let (name, ring) = ring::<[u8], Mpmc>(4096, start);
    let bytes = read(&name);
    // Before its first use each word is as its cell was left in the lap before.
    for ahead in 0..64 {
        let position = start + ahead - 64;
        assert_eq!(bytes.senders_word(position % 64), word(position, 1, VOID));
        assert_eq!(bytes.receivers_word(position % 64), word(position, 0, DONE));
    }
    let (mut sender, mut receiver) = (ring.sender().unwrap(), ring.receiver().unwrap());
    let lease = |bytes: &Bytes, number: usize| bytes.word(LEASES_AT + LEASE * number);
    let pid = u64::from(std::process::id());
    let bytes = read(&name);
    bytes.assert(&[
        ("tickets", 2),
        ("changes", 2),
        ("senders", 1),
        ("receivers", 1),
    ]);
    // The first two leases are for single sides.
    let leases: Vec<_> = (0..128).map(|number| lease(&bytes, number)).collect();
    assert_eq!(leases[..2], [0, 0]);
    assert_eq!(leases[2..4], [1 << 24 | pid, 2 << 24 | 1 << 22 | pid]);
    assert!(leases[4..].iter().all(|&word| word == 0));

    // One cell, then three, which do not fit before the end and leave it void.
    sender.send(b"one cell").unwrap();
    sender.send(&[7; 130]).unwrap();
    std::mem::forget(sender.try_reserve(57).unwrap());
    let bytes = read(&name);
    assert_eq!(bytes.senders_word(62), word(start, 1, READY));
    assert_eq!(bytes.senders_word(63), word(start + 1, 1, VOID));
    assert_eq!(bytes.senders_word(0), word(start + 2, 3, READY));
    assert_eq!(bytes.senders_word(3), word(start + 5, 2, OWNER + 2));
    assert_eq!(bytes.number("tail"), start + 7);
    assert_eq!(bytes.word(bytes.payload(62)), 8);
    assert_eq!(&bytes.0[bytes.payload(62) + 8..][..8], b"one cell");
    assert_eq!(bytes.word(bytes.payload(0)), 130);

    let mut buffer = vec![];
    receiver.recv(&mut buffer).unwrap();
    std::mem::forget(receiver.try_peek().unwrap());
    let bytes = read(&name);
    assert_eq!(bytes.receivers_word(62), word(start, 1, DONE));
    assert_eq!(bytes.receivers_word(63), word(start + 1, 1, DONE));
    assert_eq!(bytes.receivers_word(0), word(start + 2, 0, OWNER + 3));
    drop(receiver);
    drop(sender);
    let bytes = read(&name);
    assert_eq!(bytes.receivers_word(0), word(start + 2, 1, AGAIN));
    assert_eq!(bytes.senders_word(3), word(start + 5, 2, VOID));
    bytes.assert(&[("epoch", 1), ("changes", 4), ("tickets", 2), ("closes", 2)]);
    // The audit's counts: two records of four cells, one received; a filling of one and a claim of two given up.
    let counts = |number: usize| {
        let at = LEASES_AT + LEASE * number;
        [bytes.word(at + 8), bytes.word(at + 16)]
    };
    assert_eq!((counts(2), counts(3)), ([4, 0], [0, 1]));
    bytes.assert(&[("given_up", 3), ("widest", 3)]);
    // The last receiver has closed.
    assert_eq!(bytes.number("data bell") & 3, 2);
    assert_eq!([lease(&bytes, 2), lease(&bytes, 3)], [0, 0]);
}

#[test]
fn a_system_v_ring_names_its_lock_file() {
    let name = Name::sysv();
    let _ring: Ring<u64, Spsc> = RingOptions::new()
        .create_new(true)
        .capacity(1)
        .open(name.location())
        .unwrap();
    let lock = fs::metadata(name.path()).unwrap();
    assert_eq!(lock.len(), 0);
    let bytes = Bytes(name.segment_bytes().unwrap());
    assert_eq!(&bytes.0[..8], b"ANNULUS\0");
    bytes.assert(&[("lock_dev", lock.dev()), ("lock_ino", lock.ino())]);
}

/// The whole region after the same few steps, but for what differs each time.
fn fingerprint<T: annulus::Message + ?Sized, K: Protocol>(
    act: impl FnOnce(&mut annulus::Sender<T, K>, &mut annulus::Receiver<T, K>),
) -> u64 {
    let (name, ring) = ring::<T, K>(300, 1000);
    let (mut sender, mut receiver) = (ring.sender().unwrap(), ring.receiver().unwrap());
    act(&mut sender, &mut receiver);
    drop((sender, receiver));
    let mut bytes = read(&name).0;
    bytes[120..128].fill(0);
    hash(bytes)
}

fn fingerprints<K: Protocol>() -> [u64; 2] {
    [
        fingerprint::<[u32; 3], K>(|sender, receiver| {
            sender.send_slice(&[[1, 2, 3], [4, 5, 6]]).unwrap();
            receiver.recv().unwrap();
        }),
        fingerprint::<[u8], K>(|sender, receiver| {
            sender.send_batch(&[b"a", b"record"]).unwrap();
            receiver.recv(&mut vec![]).unwrap();
        }),
    ]
}

/// The version, and what a typed and a byte ring of each kind come to.
const GOLDEN: (u32, [[u64; 2]; 4]) = (
    2,
    [
        [0x272f4f09037ae1f7, 0xb10e46c994f388a4],
        [0x9a28780750f4ea80, 0x810cd7a9f77236d0],
        [0x93150443a80a3fb0, 0x06ef8cc9f98dd6eb],
        [0xba06bf874e241d6f, 0x6758d5def8a066a6],
    ],
);

#[test]
fn the_layout_has_not_moved_without_a_new_version() {
    let (name, _ring) = ring::<u64, Spsc>(1, 0);
    assert_eq!(
        read(&name).number("version") as u32,
        VERSION,
        "a new version: change docs/layout.md and this file"
    );
    let found = [
        fingerprints::<Spsc>(),
        fingerprints::<Mpsc>(),
        fingerprints::<Spmc>(),
        fingerprints::<Mpmc>(),
    ];
    assert_eq!(
        (VERSION, found),
        GOLDEN,
        "the layout has moved: raise VERSION in layout.rs, and say so in docs/layout.md and here"
    );
}
