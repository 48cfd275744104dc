//! Arbitrary bytes as a region: whatever they are, opening them gives an error or a ring on which every
//! operation ends, in bounds and without a panic.

use annulus::{
    AttachError, Mpmc, Mpsc, Order, Protocol, Receiver, Ring, RingOptions, Sender, Spmc, Spsc,
};
use std::fs::File;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// What a fuzzer's input means: the first byte is the way, the rest is taken as it comes.
///
/// Odd: the rest is the region. Even: a valid ring, chosen by the second and third byte, to which the rest is applied
/// as edits of ten bytes, two for where and eight for what. So a fuzzer that cannot guess a header still gets to the
/// positions, leases, control words and records behind it.
pub fn attach(data: &[u8]) {
    let Some((&way, rest)) = data.split_first() else {
        return;
    };
    if way % 2 == 1 {
        let region = memory_file();
        region
            .write_all_at(rest, 0)
            .expect("a memory file can be written");
        return open_all(&region);
    }
    let (Some(&kind), Some(&shape)) = (rest.first(), rest.get(1)) else {
        return;
    };
    let edits = &rest[2..];
    match kind % 4 {
        0 => edited::<Spsc>(shape, edits),
        1 => edited::<Mpsc>(shape, edits),
        2 => edited::<Spmc>(shape, edits),
        _ => edited::<Mpmc>(shape, edits),
    }
}

/// A small ring with something in it, whose bytes are then changed.
fn edited<K: Protocol>(shape: u8, edits: &[u8]) {
    let mut options = RingOptions::new();
    options.order(if shape & 2 == 0 {
        Order::Total
    } else {
        Order::PerSender
    });
    options.start_at(if shape & 4 == 0 { 0 } else { u64::MAX - 3 });
    if shape & 1 == 0 {
        let ring: Ring<u64, K> = options.capacity(3).memfd().expect("a small ring");
        let (mut sender, mut receiver) = attached(&ring).expect("a fresh ring takes both");
        sender.try_send(1).expect("there is room");
        sender.try_send(2).expect("there is room");
        receiver.try_recv().expect("there is a message");
        if shape & 8 == 0 {
            drop((sender, receiver));
            change(&ring, edits);
        } else {
            change(&ring, edits);
            typed(&mut sender, &mut receiver);
        }
        open_all(&file(&ring));
    } else {
        let ring: Ring<[u8], K> = options.capacity(200).memfd().expect("a small ring");
        let (mut sender, mut receiver) = attached(&ring).expect("a fresh ring takes both");
        sender.try_send(b"one").expect("there is room");
        sender.try_send(b"another").expect("there is room");
        receiver
            .try_recv(&mut Vec::new())
            .expect("there is a record");
        if shape & 8 == 0 {
            drop((sender, receiver));
            change(&ring, edits);
        } else {
            change(&ring, edits);
            bytes(&mut sender, &mut receiver);
        }
        open_all(&file(&ring));
    }
}

type Handles<T, K> = (Sender<T, K>, Receiver<T, K>);

fn attached<T: annulus::Message + ?Sized, K: Protocol>(
    ring: &Ring<T, K>,
) -> Result<Handles<T, K>, AttachError> {
    Ok((ring.sender()?, ring.receiver()?))
}

/// The ring's region as a file.
fn file<T: annulus::Message + ?Sized, K: Protocol>(ring: &Ring<T, K>) -> File {
    let fd = ring.as_fd().expect("a memory file has a descriptor");
    fd.try_clone_to_owned()
        .expect("a descriptor can be duplicated")
        .into()
}

/// Applies the edits, each within the region.
fn change<T: annulus::Message + ?Sized, K: Protocol>(ring: &Ring<T, K>, edits: &[u8]) {
    let file = file(ring);
    let len = file.metadata().expect("the region's length").len();
    for edit in edits.chunks_exact(10) {
        let at = u64::from(u16::from_le_bytes([edit[0], edit[1]])) * 8 % (len - 8);
        file.write_all_at(&edit[2..], at)
            .expect("a memory file can be written");
    }
}

/// An empty memory file.
fn memory_file() -> File {
    // SAFETY: the name is a C string; the call reads nothing else.
    let fd = unsafe { libc::memfd_create(c"hostile".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(fd >= 0, "memfd_create: {}", std::io::Error::last_os_error());
    // SAFETY: the descriptor is new, and nobody else's.
    File::from(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Opens the region as everything that it might be.
fn open_all(region: &File) {
    open::<Spsc>(region);
    open::<Mpsc>(region);
    open::<Spmc>(region);
    open::<Mpmc>(region);
}

fn open<K: Protocol>(region: &File) {
    let options = RingOptions::new();
    let fd = || {
        region
            .as_fd()
            .try_clone_to_owned()
            .expect("a descriptor can be duplicated")
    };
    if let Ok(ring) = options.from_fd::<u64, K>(fd()) {
        let _ = ring.info();
        if let Ok((mut sender, mut receiver)) = attached(&ring) {
            typed(&mut sender, &mut receiver);
        }
    }
    if let Ok(ring) = options.from_fd::<[u8], K>(fd()) {
        let _ = ring.info();
        if let Ok((mut sender, mut receiver)) = attached(&ring) {
            bytes(&mut sender, &mut receiver);
        }
    }
}

/// Every operation that does not wait, a few times. What it gives does not matter.
fn typed<K: Protocol>(sender: &mut Sender<u64, K>, receiver: &mut Receiver<u64, K>) {
    let mut values = [0; 5];
    for round in 0..4 {
        let _ = sender.try_send(round);
        let _ = sender.try_send_slice(&values);
        if let Ok(mut reservation) = sender.try_reserve() {
            reservation.write(round);
            reservation.commit();
        }
        drop(sender.try_reserve());
        if let Ok(reservation) = sender.try_reserve() {
            std::mem::forget(reservation);
        }
        if let Ok(peeked) = receiver.try_peek() {
            let _ = (peeked.read(), peeked.tries());
            if round % 2 == 0 {
                peeked.release();
            }
        }
        if let Ok(peeked) = receiver.try_peek() {
            std::mem::forget(peeked);
        }
        let _ = receiver.try_recv();
        let _ = receiver.try_recv_slice(&mut values);
        let _ = (sender.len(), receiver.len());
    }
}

/// As [`typed`].
fn bytes<K: Protocol>(sender: &mut Sender<[u8], K>, receiver: &mut Receiver<[u8], K>) {
    let mut buffer = Vec::new();
    for round in 0..4 {
        let _ = sender.try_send(&[7; 77][..20 * round]);
        let _ = sender.try_send_batch(&[b"", b"a", b"batch of records"]);
        if let Ok(mut reservation) = sender.try_reserve(40) {
            reservation.write_at(3, b"within");
            if let Some(bytes) = reservation.as_mut_slice() {
                bytes.fill(1);
            }
            reservation.commit_len(10);
        }
        drop(sender.try_reserve(9));
        if let Ok(reservation) = sender.try_reserve(1) {
            std::mem::forget(reservation);
        }
        if let Ok(peeked) = receiver.try_peek() {
            peeked.read(&mut buffer);
            assert_eq!(buffer.len(), peeked.len());
            if round % 2 == 0 {
                peeked.release();
            }
        }
        if let Ok(peeked) = receiver.try_peek() {
            std::mem::forget(peeked);
        }
        let _ = receiver.try_recv(&mut buffer);
        let _ = receiver.try_recv_batch(3, &mut buffer, |record| assert!(record.len() < 1 << 20));
        let _ = (sender.len(), receiver.len());
    }
}
