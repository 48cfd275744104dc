//! Streams of byte records: as `stream`, with records of many lengths, or long ones, copied or in place.

use super::{Sample, per_message, spin};
use crate::clock::now;
use crate::message::LAST;
use crate::queue::{PlaceRx, PlaceTx, RecordRx, RecordTx, Records};
use crate::record::Pool;
use crate::stage::{Actor, Cast, Stage, Venue};

/// How often the queue is filled before the clock starts.
const WARM_LAPS: u64 = 2;

/// Bytes between the sender's looks at its clock.
const STRIDE: usize = 1 << 20;

/// Records of `LEAST` to `MOST` bytes, copied into the queue and out of it: nanoseconds a record.
///
/// # Errors
///
/// What the first actor said that failed.
pub fn records<V, const LEAST: usize, const MOST: usize>(stage: &Stage) -> Result<Sample, String>
where
    V: Venue<Records, Tx: RecordTx, Rx: RecordRx>,
{
    let heard = V::play(stage, &Cast::flow(1, 1), |actor, tx, rx| {
        let mut pool = Pool::<LEAST, MOST>::new();
        match (tx, rx) {
            (Some(tx), _) => send::<LEAST>(actor, |number| {
                let record = pool.make(number);
                spoil(actor, number, record);
                spin(|| tx.try_send_record(record).then_some(()));
            }),
            (_, Some(rx)) => receive(actor, |number| {
                let mut verdict = None;
                spin(|| {
                    let look = |record: &[u8]| verdict = Some(judge(&pool, number, record));
                    rx.try_recv_record(look).then_some(())
                });
                verdict.unwrap_or(Verdict::Wrong)
            }),
            _ => unreachable!("an actor has an end"),
        }
    });
    per_message(heard?)
}

/// Records of `LEN` bytes, written and read where they lie in the queue: nanoseconds a record. The sender writes every byte,
/// the receiver reads every byte, and nobody copies.
///
/// # Errors
///
/// What the first actor said that failed.
pub fn in_place<V, const LEN: usize>(stage: &Stage) -> Result<Sample, String>
where
    V: Venue<Records, Tx: PlaceTx, Rx: PlaceRx>,
{
    let heard = V::play(stage, &Cast::flow(1, 1), |actor, tx, rx| match (tx, rx) {
        (Some(tx), _) => send::<LEN>(actor, |number| {
            spin(|| {
                let fill = |place: &mut [u8]| {
                    fill(place, number);
                    spoil(actor, number, place);
                };
                tx.try_send_in_place(LEN, fill).then_some(())
            });
        }),
        (_, Some(rx)) => receive(actor, |number| {
            let mut verdict = None;
            spin(|| {
                let look = |record: &[u8]| verdict = Some(judge_filled::<LEN>(number, record));
                rx.try_recv_in_place(look).then_some(())
            });
            verdict.unwrap_or(Verdict::Wrong)
        }),
        _ => unreachable!("an actor has an end"),
    });
    per_message(heard?)
}

/// What the receiver thinks of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Next,
    Last,
    Wrong,
}

#[inline(always)]
fn judge<const LEAST: usize, const MOST: usize>(
    pool: &Pool<LEAST, MOST>,
    number: u64,
    record: &[u8],
) -> Verdict {
    if pool.is(number, record) {
        Verdict::Next
    } else if pool.is(number | LAST, record) {
        Verdict::Last
    } else {
        Verdict::Wrong
    }
}

/// Writes word `i` of record `number`: the number plus `i`.
#[inline(always)]
pub(crate) fn fill(place: &mut [u8], number: u64) {
    let (words, _) = place.as_chunks_mut::<8>();
    for (at, word) in words.iter_mut().enumerate() {
        *word = number.wrapping_add(at as u64).to_le_bytes();
    }
}

/// Whether every word is what `fill` wrote.
#[inline(always)]
pub(crate) fn is_filled(record: &[u8], number: u64) -> bool {
    let (words, _) = record.as_chunks::<8>();
    let differences = words.iter().enumerate().fold(0, |found, (at, word)| {
        found | (u64::from_le_bytes(*word) ^ number.wrapping_add(at as u64))
    });
    differences == 0
}

#[inline(always)]
fn judge_filled<const LEN: usize>(number: u64, record: &[u8]) -> Verdict {
    if record.len() == LEN && is_filled(record, number) {
        Verdict::Next
    } else if record.len() == LEN && is_filled(record, number | LAST) {
        Verdict::Last
    } else {
        Verdict::Wrong
    }
}

/// Makes the last record wrong, if that is asked for.
#[inline(always)]
fn spoil(actor: &Actor, number: u64, record: &mut [u8]) {
    if number & LAST != 0
        && actor.stage.fault
        && let Some(byte) = record.last_mut()
    {
        *byte ^= 0x10;
    }
}

fn warm_up(actor: &Actor) -> u64 {
    WARM_LAPS * actor.stage.capacity as u64
}

fn send<const LEAST: usize>(actor: &Actor, mut put: impl FnMut(u64)) -> Result<f64, String> {
    let mut number = 0;
    while number < warm_up(actor) {
        put(number);
        number += 1;
    }
    let end = now() + actor.stage.time.as_nanos() as u64;
    while now() < end {
        for _ in 0..(STRIDE / LEAST).clamp(1, 4096) {
            put(number);
            number += 1;
        }
    }
    put(number | LAST);
    Ok(0.0)
}

fn receive(actor: &Actor, mut take: impl FnMut(u64) -> Verdict) -> Result<f64, String> {
    let mut number = 0;
    let mut verdict = Verdict::Next;
    while number < warm_up(actor) && verdict == Verdict::Next {
        verdict = take(number);
        number += 1;
    }
    let (first, begin) = (number, now());
    while verdict == Verdict::Next {
        verdict = take(number);
        number += 1;
    }
    let time = now() - begin;
    match verdict {
        Verdict::Wrong => Err(format!("record {} is wrong, or not the next", number - 1)),
        _ => Ok(time as f64 / (number - first).max(1) as f64),
    }
}
