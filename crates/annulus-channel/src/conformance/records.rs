//! Clauses 1 to 4, 10 and 11: what goes through a channel, and what its capabilities say of it.

use super::Transport;
use super::ends::a_few;
use super::harness::{
    LONGEST, LOSSY_WAIT, Stop, Task, Terms, Way, act, assert_same, bytes, crowd, crowds, mix,
    receive, scene, send, traffic,
};
use crate::{Boundaries, Capabilities, Order, Receiver, Sender};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Clause 1: records of every length that may be a boundary arrive whole, alone and unchanged,
/// however they are sent and received.
///
/// # Panics
///
/// If the clause is broken, as every function here.
pub fn boundaries<T: Transport>(t: &T) {
    scene(t, "boundaries", |terms, mut tx, mut rx| {
        let lens = lens(terms.max);
        let record = |(number, &len): (u32, &usize)| bytes(1, number, len);
        if terms.caps.lossy {
            for (number, record) in (0..).zip(&lens).map(record).enumerate() {
                terms.pass(&mut tx, &mut rx, number as u64, &record);
            }
            return;
        }
        let sent = lens.clone();
        let sending = terms.task("boundaries: sending", move || {
            for (turn, record) in (0..).zip(&sent).map(record).enumerate() {
                terms.put(&mut tx, turn as u64, &record);
            }
            tx
        });
        for (turn, record) in (0..).zip(&lens).map(record).enumerate() {
            let got = terms.get(&mut rx, turn as u64 + 7);
            assert_same(&got, &record);
        }
        let _open = sending.end();
        terms.nothing_there(&mut rx);
    });
}

/// The lengths that [`boundaries`] tries: in order, then the shorter ones in disorder.
fn lens(max: usize) -> Vec<usize> {
    let near = [-9, -8, -7, -1, 0, 1, 7, 8, 9];
    let powers = (7..17).flat_map(|k| near.map(|d| (1_isize << k) + d));
    let mut lens: Vec<usize> = (0..130).chain(powers.map(|len| len as usize)).collect();
    lens.extend((17..21).flat_map(|k| [(1 << k) - 1, 1 << k]));
    lens.extend((0..9).map(|less| max.saturating_sub(less)));
    lens.retain(|&len| len <= max && (len <= 1 << 20 || (len == max && max <= LONGEST)));
    lens.sort_unstable();
    lens.dedup();
    let mut short: Vec<usize> = lens.iter().copied().filter(|&len| len <= 4200).collect();
    short.sort_by_key(|&len| mix(len as u64));
    lens.extend(short);
    lens
}

/// Clause 2: the records of each sender reach each receiver in the order of sending; where
/// [`Order::Total`] is declared, so do all records together.
///
/// # Panics
///
/// If the clause is broken.
pub fn order<T: Transport>(t: &T) {
    let (tx, _rx) = t.pair();
    let caps = tx.capabilities();
    for (senders, receivers) in crowds(caps) {
        let (terms, txs, rxs) = crowd(t, senders, receivers);
        for ledger in act(terms, "order", move || traffic(terms, txs, rxs, 300)) {
            let mut last = BTreeMap::new();
            for (sender, number) in ledger {
                if let Some(last) = last.insert(sender, number) {
                    assert!(
                        last < number,
                        "order: {senders} senders, {receivers} receivers: sender {sender}'s record \
                         {number} came after {last}"
                    );
                }
            }
        }
        if caps.order == Order::Total && !caps.lossy {
            let (terms, txs, rxs) = crowd(t, senders, receivers);
            act(terms, "order", move || total(terms, txs, rxs));
        }
    }
}

/// Sends by one handle after the other, each after the one before has sent: that is the order.
fn total<Tx, Rx>(terms: Terms, mut txs: Vec<Tx>, rxs: Vec<Rx>)
where
    Tx: Sender + Send + 'static,
    Rx: Receiver + Send + 'static,
{
    const RECORDS: u32 = 300;
    let receiving: Vec<_> = rxs
        .into_iter()
        .map(|mut rx| {
            terms.task("order: receiving", move || {
                let mut numbers = vec![];
                while numbers.last().is_none_or(|&last| last < RECORDS) {
                    let got = receive(&mut rx, Way::Wait).expect("order: nobody has gone");
                    numbers.push(terms.read(&got).1);
                }
                (rx, numbers)
            })
        })
        .collect();
    let senders = txs.len() as u32;
    for number in 0..RECORDS {
        let sender = number % senders;
        terms.put(
            &mut txs[sender as usize],
            u64::from(number),
            &terms.record(sender, number),
        );
    }
    // One for each receiver, to end with.
    for number in (RECORDS..).take(receiving.len()) {
        terms.put(&mut txs[0], 0, &terms.record(0, number));
    }
    let (_open, received): (Vec<Rx>, Vec<_>) = receiving.into_iter().map(Task::end).unzip();
    for pair in received.iter().flat_map(|numbers| numbers.windows(2)) {
        assert!(
            pair[0] < pair[1],
            "order: total order is declared, record {} came after {}",
            pair[1],
            pair[0]
        );
    }
}

/// Clause 3: what was sent is received once, by one receiver, with as many senders and receivers
/// as are declared. Where loss is declared: at most once, and the receiver counts what it misses.
///
/// # Panics
///
/// If the clause is broken.
pub fn once<T: Transport>(t: &T) {
    const EACH: u32 = 400;
    let (tx, rx) = t.pair();
    let terms = Terms::of(t, &tx);
    act(terms, "once", move || counts(&terms, tx, rx, EACH));
    let (tx, _rx) = t.pair();
    for (senders, receivers) in crowds(tx.capabilities()) {
        let (terms, txs, rxs) = crowd(t, senders, receivers);
        let mut times = BTreeMap::new();
        for entry in act(terms, "once", move || traffic(terms, txs, rxs, EACH)).concat() {
            *times.entry(entry).or_insert(0) += 1;
        }
        for sender in 0..senders as u32 {
            for number in 0..EACH {
                let times = times.remove(&(sender, number)).unwrap_or(0);
                assert!(
                    times == 1 || (times == 0 && terms.caps.lossy),
                    "once: {senders} senders, {receivers} receivers: sender {sender}'s record \
                     {number} came {times} times"
                );
            }
        }
        assert!(
            times.is_empty(),
            "once: records that nobody sent: {times:?}"
        );
    }
}

/// Sends without anybody receiving, then receives: what is missing was counted.
fn counts(terms: &Terms, mut tx: impl Sender, mut rx: impl Receiver, each: u32) {
    if !terms.caps.lossy {
        assert_eq!(rx.lost(), 0, "once: nothing may be lost here");
        return;
    }
    let mut sent = 0;
    while sent < each && send(&mut tx, Way::Try, &terms.record(1, sent)).is_ok() {
        sent += 1;
    }
    let (mut last, mut received) = (None, 0);
    while let Ok(got) = receive(&mut rx, Way::Timeout(LOSSY_WAIT)) {
        last = Some(terms.read(&got).1);
        received += 1;
    }
    // Those after the last one received may be known too.
    let missed = u64::from(last.map_or(0, |last| last + 1) - received);
    let most = u64::from(sent - received);
    assert!(
        (missed..=most).contains(&rx.lost()),
        "once: {missed} to {most} records were lost, counted {}",
        rx.lost()
    );
}

/// Clause 4: a channel becomes full; a record as long as is declared passes, and fits at once where
/// [`Boundaries::Native`] is declared; a longer one is refused by its length at once, also when there is
/// no room, and nothing of it is sent.
///
/// # Panics
///
/// If the clause is broken.
pub fn bounds<T: Transport>(t: &T) {
    scene(t, "bounds", |terms, mut tx, mut rx| {
        let max = terms.max;
        assert_eq!(
            tx.max_record(),
            max,
            "bounds: the longest record of the sender, as declared"
        );
        if max <= LONGEST && terms.caps.boundaries == Boundaries::Native {
            let longest = bytes(1, 0, max);
            let sent = send(&mut tx, Way::Try, &longest);
            assert_eq!(
                sent,
                Ok(()),
                "bounds: boundaries are native, a record of {max} bytes into an empty channel"
            );
            match terms.caps.lossy {
                true => terms.exhaust(&mut rx),
                false => assert_same(&terms.get(&mut rx, 0), &longest),
            }
        }
        if max <= LONGEST {
            let longest = bytes(1, 1, max);
            // More often than there are places to begin at in memory before a wrap.
            const TIMES: usize = 5;
            let receiving = terms.task("bounds: receiving the longest record", move || {
                let times = if terms.caps.lossy { 0 } else { TIMES };
                let got: Vec<_> = (0..times).map(|_| receive(&mut rx, Way::Wait)).collect();
                (rx, got)
            });
            for _ in 0..TIMES {
                terms.put_by(&mut tx, Way::Wait, &longest);
            }
            let (back, got) = receiving.end();
            rx = back;
            for got in got {
                assert_same(&got.expect("bounds: nobody has gone"), &longest);
            }
            if terms.caps.lossy {
                terms.exhaust(&mut rx);
            }
        }
        terms.nothing_there(&mut rx);
        refused(&terms, &mut tx);
        terms.nothing_there(&mut rx);
        terms.pass(&mut tx, &mut rx, 0, &bytes(1, 2, 8));
        assert_eq!(
            tx.max_record(),
            max,
            "bounds: the longest record's length has changed"
        );

        if let Some(count) = terms.fill(&mut tx) {
            refused(&terms, &mut tx);
            terms.drain(&mut rx, count);
        }
    });
}

/// Asserts that a record too long is refused with both lengths, in all four ways.
fn refused(terms: &Terms, tx: &mut impl Sender) {
    let max = terms.max;
    // The pages of a long vector of zeroes are not there before somebody reads them.
    for len in [max.saturating_add(1), max.saturating_add(4096)] {
        if len <= 1 << 30 {
            let record = vec![0; len];
            for way in terms.ways() {
                assert_eq!(
                    send(tx, way, &record),
                    Err(Stop::TooLarge { len, max }),
                    "{way:?}: a record of {len} bytes, where {max} is the limit"
                );
            }
        }
    }
}

/// Clause 10: after every error of a send, nothing of the record was sent; what had been sent is
/// still there. (That the value comes back is in the types: these traits borrow it.)
///
/// # Panics
///
/// If the clause is broken.
pub fn handing_back<T: Transport>(t: &T) {
    scene(t, "handing_back", |terms, mut tx, mut rx| {
        terms.pass(&mut tx, &mut rx, 0, &terms.record(1, 0));
        refused(&terms, &mut tx);
        terms.nothing_there(&mut rx);
        let Some(mut count) = terms.fill(&mut tx) else {
            return;
        };
        let ways = [
            Way::Try,
            Way::Deadline(Instant::now()),
            Way::Timeout(Duration::ZERO),
            Way::Timeout(Duration::from_micros(300)),
        ];
        // As often as would use up a small channel, if each took something.
        for way in ways.into_iter().cycle().take(1000.min(8 * count as usize)) {
            let sent = send(&mut tx, way, &terms.page(count));
            if sent.is_ok() && !terms.prompt {
                count += 1;
            } else {
                assert_eq!(sent, Err(Stop::NotNow), "{way:?}: no room");
            }
        }
        refused(&terms, &mut tx);
        terms.drain(&mut rx, count);
        // The room of what was not sent is room still, but for what a wrap leaves unused.
        let again = terms.fill(&mut tx).unwrap_or(0);
        assert!(
            again > 0 && (again >= count / 2 || !terms.prompt),
            "handing_back: room for {count} records, then for {again}"
        );
        terms.drain(&mut rx, again);
    });
}

/// Clause 11: every handle declares the same, and it holds: many attach only where many may; what
/// persists is there for those who come later.
///
/// # Panics
///
/// If the clause is broken.
pub fn declared<T: Transport>(t: &T) {
    let (tx, rx) = t.pair();
    let caps = tx.capabilities();
    assert_eq!(
        rx.capabilities(),
        caps,
        "declared by the receiver, declared by the sender"
    );
    let same = |more: Option<Capabilities>, many: bool, side: &str| match more {
        Some(more) => {
            assert!(many, "declared: one {side} only, but another has attached");
            assert_eq!(
                more, caps,
                "declared by another {side}, declared by the sender"
            );
        }
        None => assert!(!many, "declared: many {side}s, but no other has attached"),
    };
    let more = t.more_tx(&tx);
    let max = more.as_ref().map_or(tx.max_record(), Sender::max_record);
    assert_eq!(
        max,
        tx.max_record(),
        "longest record of another sender, of the first one"
    );
    same(
        more.as_ref().map(Sender::capabilities),
        caps.many_senders,
        "sender",
    );
    let more_rx = t.more_rx(&rx);
    same(
        more_rx.as_ref().map(Receiver::capabilities),
        caps.many_receivers,
        "receiver",
    );
    if !caps.persistent {
        return;
    }
    let (mut tx, rx) = t.pair();
    let terms = Terms::of(t, &tx);
    let (tx, count) = act(terms, "declared: sending", move || {
        let count = a_few(&terms, &mut tx);
        (tx, count)
    });
    let (mut tx, mut rx) = t
        .reopen(tx, rx)
        .expect("declared: persistent, `reopen` gives nothing");
    act(terms, "declared: what was sent before", move || {
        for number in 0..count {
            assert_same(
                &terms.get(&mut rx, u64::from(number)),
                &terms.record(1, number),
            );
        }
        terms.nothing_there(&mut rx);
        terms.pass(&mut tx, &mut rx, 0, &terms.record(2, 0));
    });
}
