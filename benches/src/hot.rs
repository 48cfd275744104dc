//! The hot paths that callgrind counts, by name: each sends and receives a message in one thread, so often as it is told.

use crate::message::Words;
use crate::ours::Annulus;
#[cfg(feature = "peers")]
use crate::peers::Rtrb;
use crate::queue::said;
use crate::record::Pool;
use crate::still::alone;
use annulus::{Mpmc, Mpsc, Protocol, Ring, RingOptions, Spmc, Spsc};
use bytemuck::Zeroable;
use std::hint::black_box;

/// Executes a path.
pub type Path = fn(u64) -> Result<(), String>;

/// All paths. A message of a batch counts as one of 64.
pub const PATHS: &[(&str, Path)] = &[
    ("spsc-8", alone::<Words<1>, Annulus<Spsc>>),
    ("mpsc-8", alone::<Words<1>, Annulus<Mpsc>>),
    ("spmc-8", alone::<Words<1>, Annulus<Spmc>>),
    ("mpmc-8", alone::<Words<1>, Annulus<Mpmc>>),
    ("spsc-record-64", records::<Spsc>),
    ("mpmc-record-64", records::<Mpmc>),
    ("spsc-batch-8", batches::<Spsc>),
    ("mpmc-batch-8", batches::<Mpmc>),
    #[cfg(feature = "peers")]
    ("rtrb-8", alone::<Words<1>, Rtrb>),
];

fn records<K: Protocol>(count: u64) -> Result<(), String> {
    let ring: Ring<[u8], K> = said(RingOptions::new().capacity(1 << 13).heap())?;
    let (mut tx, mut rx) = (said(ring.sender())?, said(ring.receiver())?);
    let (mut pool, mut buffer) = (Pool::<64, 64>::new(), Vec::with_capacity(64));
    for number in 0..count {
        said(tx.try_send(black_box(pool.make(number))))?;
        said(rx.try_recv(&mut buffer))?;
        if !pool.is(number, &buffer) {
            return Err(format!("record {number} is wrong"));
        }
    }
    Ok(())
}

/// Messages in a batch.
const BATCH: usize = 64;

fn batches<K: Protocol>(count: u64) -> Result<(), String> {
    let ring: Ring<Words<1>, K> = said(RingOptions::new().capacity(4 * BATCH).heap())?;
    let (mut tx, mut rx) = (said(ring.sender())?, said(ring.receiver())?);
    let sent = [Words::<1>::zeroed(); BATCH];
    let mut received = sent;
    for _ in 0..count.div_ceil(BATCH as u64) {
        let count = said(tx.try_send_slice(black_box(&sent)))?;
        if (count, said(rx.try_recv_slice(&mut received))?) != (BATCH, BATCH) {
            return Err("a batch was not whole".to_owned());
        }
        black_box(&received);
    }
    Ok(())
}
