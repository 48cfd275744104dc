//! What does a message cost besides its copy? No allocation and no system call while nobody sleeps; and a
//! receiver that waits uses no processor. With `--release` the last is held to 0.1 %.
#![cfg(not(loom))]

use annulus::{Mpmc, Mpsc, Protocol, Ring, RingOptions, Spmc, Spsc};
use annulus_tests::actor::Actor;
use annulus_tests::place::Name;
use annulus_tests::watch::Watch;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::process::Command;

/// Counts what this thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread at its end has no count any more.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is the same.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(old, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `work` allocates.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

fn typed_allocates_nothing<K: Protocol>() {
    let ring: Ring<[u64; 8], K> = RingOptions::new().capacity(16).memfd().unwrap();
    let (mut sender, mut receiver) = (ring.sender().unwrap(), ring.receiver().unwrap());
    let mut values = [[0; 8]; 8];
    let many = allocations(|| {
        for number in 0..1000 {
            let value = [number; 8];
            sender.send(value).unwrap();
            assert_eq!(receiver.recv(), Ok(value));
            // Also when it is full, and empty, and waited for.
            while sender.try_send(value).is_ok() {}
            while receiver.try_recv().is_ok() {}
            sender.send_slice(&[value; 8]).unwrap();
            receiver.recv_slice(&mut values).unwrap();
            let mut reservation = sender.reserve().unwrap();
            reservation.write(value);
            reservation.commit();
            receiver.peek().unwrap().release();
        }
        let short = std::time::Duration::from_millis(5);
        assert!(receiver.recv_timeout(short).is_err());
    });
    assert_eq!(many, 0, "{}", K::KIND);
}

fn bytes_allocate_nothing<K: Protocol>() {
    let ring: Ring<[u8], K> = RingOptions::new().capacity(4096).memfd().unwrap();
    let (mut sender, mut receiver) = (ring.sender().unwrap(), ring.receiver().unwrap());
    let record = [7; 1000];
    let mut buffer = Vec::with_capacity(record.len());
    let many = allocations(|| {
        for len in 0..1000 {
            sender.send(&record[..len]).unwrap();
            assert_eq!(receiver.recv(&mut buffer), Ok(len));
            while sender.try_send(&record[..len]).is_ok() {}
            while receiver.try_recv(&mut buffer).is_ok() {}
            sender.send_batch(&[&record[..len / 2], b"b", b""]).unwrap();
            while receiver.try_recv_batch(2, &mut buffer, |_| ()).is_ok() {}
            let mut reservation = sender.reserve(len).unwrap();
            reservation.write_at(len / 2, &record[len / 2..len]);
            reservation.commit();
            let peeked = receiver.peek().unwrap();
            peeked.read(&mut buffer);
            peeked.release();
        }
    });
    assert_eq!(many, 0, "{}", K::KIND);
}

#[test]
fn after_attach_a_message_allocates_nothing() {
    let _watch = Watch::start();
    typed_allocates_nothing::<Spsc>();
    typed_allocates_nothing::<Mpsc>();
    typed_allocates_nothing::<Spmc>();
    typed_allocates_nothing::<Mpmc>();
    bytes_allocate_nothing::<Spsc>();
    bytes_allocate_nothing::<Mpsc>();
    bytes_allocate_nothing::<Spmc>();
    bytes_allocate_nothing::<Mpmc>();
    assert!(allocations(|| drop(Box::new(1))) > 0, "they are counted");
}

#[test]
fn while_nobody_sleeps_a_message_makes_no_system_call() {
    for kind in ["spsc", "mpsc", "spmc", "mpmc"] {
        let status = Command::new(env!("CARGO_BIN_EXE_actor"))
            .args(["silent", kind])
            .status()
            .unwrap();
        if status.code() == Some(77) {
            println!("skipped: the kernel has no seccomp filter");
            return;
        }
        // SIGSYS means that it made one.
        assert!(status.success(), "{kind}: {status}");
    }
}

/// How much of a processor a waiting receiver may use: 0.1 %, and more without optimisation.
const IDLE_PER_MILLE: u64 = if cfg!(debug_assertions) { 5 } else { 1 };

#[test]
fn a_receiver_that_waits_uses_no_processor() {
    let name = Name::shm();
    let ring: Ring<u64, Mpmc> = RingOptions::new()
        .create(true)
        .capacity(64)
        .open(name.location())
        .unwrap();
    let _sender = ring.sender().unwrap();
    let arguments = ["ring", "mpmc", &name.word()];
    let mut idle = Actor::start(env!("CARGO_BIN_EXE_actor"), &arguments);
    idle.must("open");
    idle.must("receiver");
    idle.ask("idle 100");
    let answer = idle.ask("idle 2000");
    println!("processor time in us, times asleep, and how it ended: {answer}");
    let mut numbers = answer.split(' ').map_while(|word| word.parse::<u64>().ok());
    let (cpu, asleep) = (numbers.next().unwrap(), numbers.next().unwrap());
    assert!(cpu < 2000 * IDLE_PER_MILLE, "{cpu} us of 2 s");
    assert!(asleep <= 30, "{asleep} times asleep in 2 s");
}
