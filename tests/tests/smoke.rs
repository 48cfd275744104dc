//! smoke
use annulus::*;
use std::thread;

fn run<K: Protocol + 'static>(senders: u64, receivers: usize, cap: usize) {
    let ring: Ring<u64, K> = RingOptions::new().capacity(cap).heap().unwrap();
    const N: u64 = 200_000;
    let mut hs = vec![];
    for s in 0..senders {
        let mut tx = ring.sender().unwrap();
        hs.push(thread::spawn(move || {
            for i in 0..N {
                tx.send(s << 32 | i).unwrap();
            }
        }));
    }
    let mut rs = vec![];
    for _ in 0..receivers {
        let mut rx = ring.receiver().unwrap();
        rs.push(thread::spawn(move || {
            let v: Vec<u64> = rx.iter().collect();
            v
        }));
    }
    for h in hs {
        h.join().unwrap();
    }
    let mut all: Vec<u64> = rs
        .into_iter()
        .flat_map(|r| {
            let v = r.join().unwrap();
            for s in 0..senders {
                let mine: Vec<_> = v.iter().filter(|x| *x >> 32 == s).collect();
                assert!(mine.is_sorted());
            }
            v
        })
        .collect();
    all.sort();
    assert_eq!(all.len() as u64, N * senders);
    all.dedup();
    assert_eq!(all.len() as u64, N * senders);
    println!("{:?}", ring.info());
}
fn bytes<K: Protocol + 'static>(senders: u64, receivers: usize, cap: usize) {
    let ring: Ring<[u8], K> = RingOptions::new().capacity(cap).memfd().unwrap();
    const N: u64 = 50_000;
    let mut hs = vec![];
    for s in 0..senders {
        let mut tx = ring.sender().unwrap();
        hs.push(thread::spawn(move || {
            for i in 0..N {
                let mut r = (s << 32 | i).to_le_bytes().to_vec();
                r.resize(8 + (i as usize * 7) % 300, i as u8);
                tx.send(&r).unwrap();
            }
        }));
    }
    let mut rs = vec![];
    for _ in 0..receivers {
        let mut rx = ring.receiver().unwrap();
        rs.push(thread::spawn(move || {
            let mut v: Vec<u64> = vec![];
            let mut b = vec![];
            while rx.recv(&mut b).is_ok() {
                let x = u64::from_le_bytes(b[..8].try_into().unwrap());
                let i = x & 0xffffffff;
                assert_eq!(b.len(), 8 + (i as usize * 7) % 300);
                assert!(b[8..].iter().all(|c| *c == i as u8));
                v.push(x);
            }
            v
        }));
    }
    for h in hs {
        h.join().unwrap();
    }
    let mut all: Vec<u64> = rs
        .into_iter()
        .flat_map(|r| {
            let v = r.join().unwrap();
            for s in 0..senders {
                let mine: Vec<_> = v.iter().filter(|x| *x >> 32 == s).collect();
                assert!(mine.is_sorted());
            }
            v
        })
        .collect();
    all.sort();
    assert_eq!(all.len() as u64, N * senders);
    all.dedup();
    assert_eq!(all.len() as u64, N * senders);
    println!("{:?}", ring.info());
}
#[test]
fn a() {
    run::<Spsc>(1, 1, 64);
    run::<Spsc>(1, 1, 1);
}
#[test]
fn b() {
    run::<Mpsc>(3, 1, 64);
    run::<Mpsc>(3, 1, 1);
}
#[test]
fn c() {
    run::<Spmc>(1, 3, 64);
    run::<Spmc>(1, 3, 1);
}
#[test]
fn d() {
    run::<Mpmc>(3, 3, 64);
    run::<Mpmc>(3, 3, 3);
}
#[test]
fn e() {
    bytes::<Spsc>(1, 1, 4096);
    bytes::<Spsc>(1, 1, 800);
}
#[test]
fn f() {
    bytes::<Mpsc>(3, 1, 4096);
}
#[test]
fn g() {
    bytes::<Spmc>(1, 3, 4096);
}
#[test]
fn h() {
    bytes::<Mpmc>(3, 3, 4096);
    bytes::<Mpmc>(3, 3, 65536);
}
