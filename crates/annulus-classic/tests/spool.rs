//! What is peculiar to a spool: it stays, and its file may be damaged.

mod common;

use annulus_channel::{
    Fault, Receiver as _, RecvError, RecvTimeoutError, Sender as _, TryRecvError, TrySendError,
};
use annulus_classic::{Options, SpoolReceiver, SpoolSender};
use common::Name;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// The header's length; the first record is at 16 bytes from there.
const HEADER: u64 = 4096;

fn sender(name: &Name) -> SpoolSender {
    Options::new().capacity(1000).sender(name.word()).unwrap()
}

fn receiver(name: &Name) -> SpoolReceiver {
    Options::new().receiver(name.word()).unwrap()
}

/// Inverts a byte of the file.
fn damage(name: &Name, at: u64) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(name.word())
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[!byte[0]], at).unwrap();
}

#[test]
fn it_holds_so_much_and_no_more_and_its_file_does_not_grow() {
    let name = Name::spool();
    let (mut tx, mut rx) = (sender(&name), receiver(&name));
    let len = || name.word().metadata().unwrap().len();
    assert_eq!(len(), HEADER + 1000);
    let mut buffer = vec![];
    for round in 0..200_u8 {
        let mut count = 0;
        // 16 bytes and 80.
        while tx.try_send(&[round; 77]) == Ok(()) {
            count += 1;
        }
        assert_eq!(count, 10, "1000 / 96");
        for _ in 0..count {
            rx.recv(&mut buffer).unwrap();
            assert_eq!(buffer, [round; 77]);
        }
        assert_eq!(rx.try_recv(&mut buffer), Err(TryRecvError::Empty));
    }
    assert_eq!(len(), HEADER + 1000);
    assert_eq!(tx.max_record(), 984);
    tx.send(&[1; 984]).unwrap();
    assert_eq!(tx.try_send(b""), Err(TrySendError::Full(())));
}

#[test]
fn what_a_stopped_machine_has_not_written_is_cut_off_by_the_next_sender() {
    // Every byte of the second frame that means something.
    for at in (24..44).chain([47]) {
        let name = Name::spool();
        let mut tx = sender(&name);
        for word in ["first", "second", "third"] {
            tx.send(word.as_bytes()).unwrap();
        }
        drop(tx);
        // The first frame is 24 bytes long, the second has 6 of 8 bytes in use.
        damage(&name, HEADER + at);
        let mut rx = receiver(&name);
        let mut buffer = vec![];
        rx.recv(&mut buffer).unwrap();
        assert_eq!(buffer, b"first");
        if at == 47 {
            // Padding.
            rx.recv(&mut buffer).unwrap();
            assert_eq!(buffer, b"second");
            continue;
        }
        // The sender has closed, and nothing whole is there.
        assert_eq!(rx.recv(&mut buffer), Err(RecvError::Disconnected));
        let mut tx = sender(&name);
        let wait = Duration::from_millis(60);
        assert_eq!(
            rx.recv_timeout(&mut buffer, wait),
            Err(RecvTimeoutError::Timeout)
        );
        tx.send(b"fourth").unwrap();
        rx.recv(&mut buffer).unwrap();
        assert_eq!(buffer, b"fourth");
    }
}

#[test]
fn damage_under_a_living_sender_is_a_fault() {
    let name = Name::spool();
    let (mut tx, mut rx) = (sender(&name), receiver(&name));
    tx.send(b"a word").unwrap();
    damage(&name, HEADER + 16);
    let mut buffer = vec![];
    let fault = rx.try_recv(&mut buffer).unwrap_err();
    assert!(
        matches!(
            fault,
            TryRecvError::Fault(Fault::Corrupt {
                what: "frame's checksum",
                ..
            })
        ),
        "{fault}"
    );
    assert_eq!(rx.try_recv(&mut buffer), Err(fault), "a fault is sticky");
    assert!(buffer.is_empty());
}

#[test]
fn positions_that_nobody_writes_are_a_fault() {
    for (at, bytes) in [(256, 5_u64), (256, 9_999_992), (384, 8), (384, u64::MAX)] {
        let name = Name::spool();
        let (mut tx, mut rx) = (sender(&name), receiver(&name));
        let file = OpenOptions::new().write(true).open(name.word()).unwrap();
        file.write_all_at(&bytes.to_le_bytes(), at).unwrap();
        let sent = tx.try_send(b"a word");
        assert!(
            matches!(sent, Err(TrySendError::Fault((), Fault::Corrupt { .. }))),
            "{sent:?}"
        );
        let got = rx.try_recv(&mut vec![]);
        assert!(
            matches!(got, Err(TryRecvError::Fault(Fault::Corrupt { .. }))),
            "{got:?}"
        );
    }
}

#[test]
fn a_receiver_goes_on_where_the_last_one_was() {
    let name = Name::spool();
    let mut buffer = vec![];
    for round in 0..30_u64 {
        let mut tx = sender(&name);
        for number in 0..3 {
            tx.send(&(3 * round + number).to_le_bytes()).unwrap();
        }
        drop(tx);
        let mut rx = receiver(&name);
        for number in 0..3 {
            // One receiver each.
            rx.recv(&mut buffer).unwrap();
            assert_eq!(buffer, (3 * round + number).to_le_bytes());
            drop(rx);
            rx = receiver(&name);
        }
        assert_eq!(rx.recv(&mut buffer), Err(RecvError::Disconnected));
    }
}
