//! What a message costs on each kind of ring: sent and received by one thread, streamed from one thread to another, and
//! sent there and back.
//!
//! `cargo bench -p annulus-bench`, and `-- NAME` for some of them. On a shared machine compare ratios within one run only.

use annulus::{Mpmc, Mpsc, Protocol, Ring, RingOptions, Spmc, Spsc};
use bytemuck::Pod;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Instant;

const CAPACITY: usize = 4096;

/// A message of `8 * N` bytes: the number in every word, so that the reader can check each.
type Words<const N: usize> = [u64; N];

fn heap<T: Pod, K: Protocol>() -> Ring<T, K> {
    RingOptions::new()
        .capacity(CAPACITY)
        .heap()
        .expect("a ring on the heap")
}

fn memfd<T: Pod, K: Protocol>() -> Ring<T, K> {
    RingOptions::new()
        .capacity(CAPACITY)
        .memfd()
        .expect("a ring in a memory file")
}

/// One thread sends and receives, message by message.
fn alone<K: Protocol, const N: usize>(criterion: &mut Criterion)
where
    Words<N>: Pod,
{
    let ring = heap::<Words<N>, K>();
    let mut sender = ring.sender().expect("a fresh ring takes a sender");
    let mut receiver = ring.receiver().expect("a fresh ring takes a receiver");
    let mut group = criterion.benchmark_group("alone");
    group.bench_function(BenchmarkId::new(K::KIND.to_string(), 8 * N), |bencher| {
        bencher.iter(|| {
            sender.try_send(black_box([7; N])).expect("there is room");
            receiver.try_recv().expect("there is a message")
        });
    });
}

/// One thread sends and receives byte records of 64 bytes.
fn alone_bytes<K: Protocol>(criterion: &mut Criterion) {
    let options = RingOptions::new().capacity(1 << 16).clone();
    let ring: Ring<[u8], K> = options.heap().expect("a ring on the heap");
    let mut sender = ring.sender().expect("a fresh ring takes a sender");
    let mut receiver = ring.receiver().expect("a fresh ring takes a receiver");
    let mut buffer = Vec::with_capacity(64);
    let mut group = criterion.benchmark_group("alone_bytes");
    group.bench_function(BenchmarkId::new(K::KIND.to_string(), 64), |bencher| {
        bencher.iter(|| {
            sender.try_send(black_box(&[7; 64])).expect("there is room");
            receiver.try_recv(&mut buffer).expect("there is a record")
        });
    });
}

/// A stream from one thread to another, each message published at once, each word read and checked.
fn stream<K: Protocol, const N: usize>(
    criterion: &mut Criterion,
    place: &str,
    ring: &Ring<Words<N>, K>,
) where
    Words<N>: Pod,
{
    let mut group = criterion.benchmark_group(format!("stream/{place}"));
    group.throughput(Throughput::Elements(1)).sample_size(20);
    group.bench_function(BenchmarkId::new(K::KIND.to_string(), 8 * N), |bencher| {
        bencher.iter_custom(|messages| {
            let mut sender = ring.sender().expect("the last sender has closed");
            let mut receiver = ring.receiver().expect("the last receiver has closed");
            thread::scope(|scope| {
                let begin = Instant::now();
                scope.spawn(move || {
                    for number in 0..messages {
                        while sender.try_send([number; N]).is_err() {
                            spin_loop();
                        }
                    }
                });
                for number in 0..messages {
                    let words = loop {
                        match receiver.try_recv() {
                            Ok(words) => break words,
                            Err(_) => spin_loop(),
                        }
                    };
                    assert_eq!(words, [number; N], "a message was lost or torn");
                }
                begin.elapsed()
            })
        });
    });
}

/// There and back over two rings, both sides spinning.
fn round_trip<K: Protocol>(criterion: &mut Criterion) {
    let (there, back) = (memfd::<u64, K>(), memfd::<u64, K>());
    let mut ping = there.sender().expect("a fresh ring takes a sender");
    let mut at_other = there.receiver().expect("a fresh ring takes a receiver");
    let mut pong = back.sender().expect("a fresh ring takes a sender");
    let mut at_home = back.receiver().expect("a fresh ring takes a receiver");
    let stop = AtomicBool::new(false);
    let mut group = criterion.benchmark_group("round_trip");
    group.sample_size(20);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                match at_other.try_recv() {
                    Ok(number) => pong.try_send(number).expect("there is room"),
                    Err(_) => spin_loop(),
                }
            }
        });
        group.bench_function(K::KIND.to_string(), |bencher| {
            bencher.iter(|| {
                ping.try_send(42).expect("there is room");
                while at_home.try_recv().is_err() {
                    spin_loop();
                }
            });
        });
        stop.store(true, Relaxed);
    });
}

fn kind<K: Protocol>(criterion: &mut Criterion) {
    alone::<K, 1>(criterion);
    alone::<K, 8>(criterion);
    alone::<K, 32>(criterion);
    alone_bytes::<K>(criterion);
    stream::<K, 1>(criterion, "heap", &heap());
    stream::<K, 1>(criterion, "memfd", &memfd());
    stream::<K, 8>(criterion, "memfd", &memfd());
    stream::<K, 32>(criterion, "memfd", &memfd());
    round_trip::<K>(criterion);
}

fn rings(criterion: &mut Criterion) {
    kind::<Spsc>(criterion);
    kind::<Mpsc>(criterion);
    kind::<Spmc>(criterion);
    kind::<Mpmc>(criterion);
}

criterion_group!(benches, rings);
criterion_main!(benches);
