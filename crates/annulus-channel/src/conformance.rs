//! One suite for every transport: a function for each clause of the [contract](crate#the-clauses).
//!
//! A transport's tests implement [`Transport`], which makes channels, and call the clauses, each
//! from a test of its own, so that a failure names what was broken:
//!
//! ```
//! use annulus_channel::{Receiver, Sender, conformance};
//!
//! # fn tests<T: conformance::Transport>(transport: T) {
//! # if false {
//! // #[test] fn once() {
//! conformance::once(&transport);
//! // }
//!
//! // or all of them in one test:
//! conformance::all(&transport);
//! # }
//! # }
//! ```
//!
//! A clause asserts what the contract says and what the transport's [`Capabilities`] declare, no
//! more: no test depends on speed. A time is only ever compared with a lower bound; a call that
//! does not come back within [`Transport::patience`] hangs. Clauses panic, as a test does.
//!
//! Several clauses fill the channel, so let it be small: one record of 4 KiB is enough, some MiB
//! take time. What needs a second process (signals, death at any instruction) is not in here, but
//! in the tests of processes.

mod harness;

use crate::{Boundaries, Capabilities, Order, Receiver, Sender};
use harness::{
    LONG_WATCH, LONGEST, LOSSY_WAIT, Stop, Task, Terms, Way, act, assert_same, bytes, crowd,
    crowds, mix, receive, scene, send, traffic,
};
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// Makes channels of the transport under test.
///
/// ```
/// use annulus_channel::conformance::{self, Transport};
/// use annulus_channel::{Receiver, Sender};
///
/// /// Channels made by a function, as many transports have one.
/// struct Made<F>(F);
///
/// impl<Tx, Rx, F> Transport for Made<F>
/// where
///     Tx: Sender + Send + 'static,
///     Rx: Receiver + Send + 'static,
///     F: Fn() -> (Tx, Rx),
/// {
///     type Tx = Tx;
///     type Rx = Rx;
///
///     fn pair(&self) -> (Tx, Rx) {
///         (self.0)()
///     }
/// }
/// ```
pub trait Transport {
    /// Its sending end. A thread that hangs is left behind with it, hence `'static`.
    type Tx: Sender + Send + 'static;
    /// Its receiving end.
    type Rx: Receiver + Send + 'static;

    /// A channel that is new and empty, with one handle at either end. It has nothing to do with
    /// other channels made by the same transport; several are open at once.
    fn pair(&self) -> (Self::Tx, Self::Rx);

    /// One more sender on the channel of `beside`, where [`Capabilities::many_senders`] is
    /// declared. `None` where it is not: the transport refuses it.
    fn more_tx(&self, beside: &Self::Tx) -> Option<Self::Tx> {
        let _ = beside;
        None
    }

    /// One more receiver on the channel of `beside`, where [`Capabilities::many_receivers`] is
    /// declared. `None` where it is not: the transport refuses it.
    fn more_rx(&self, beside: &Self::Rx) -> Option<Self::Rx> {
        let _ = beside;
        None
    }

    /// Closes both ends of a channel, then opens both anew, where [`Capabilities::persistent`] is
    /// declared. `None` where it is not.
    fn reopen(&self, tx: Self::Tx, rx: Self::Rx) -> Option<(Self::Tx, Self::Rx)> {
        let _ = (tx, rx);
        None
    }

    /// Leaves the channel as if the process of `tx` had been killed, between two calls. `None`
    /// where that cannot be done: the clause [`dead`] then asserts nothing of it.
    fn kill_tx(&self, tx: Self::Tx) -> Option<Death<'_, Self::Tx>> {
        let _ = tx;
        None
    }

    /// Leaves the channel as if the process of `rx` had been killed, between two calls. `None`
    /// where that cannot be done: the clause [`dead`] then asserts nothing of it.
    fn kill_rx(&self, rx: Self::Rx) -> Option<Death<'_, Self::Rx>> {
        let _ = rx;
        None
    }

    /// Whether what one end has done shows at the other at once, and not a little later, as over
    /// a network: `try_recv` finds what was sent, every call sees who has closed. A death is nobody's
    /// act, and may always show a little later.
    fn prompt(&self) -> bool {
        true
    }

    /// How long a call that can go on may take before it counts as hanging.
    fn patience(&self) -> Duration {
        Duration::from_secs(30)
    }
}

/// What becomes of a channel when a handle's process was killed.
///
/// ```
/// use annulus_channel::conformance::Death;
///
/// let pipe: Death<'_, ()> = Death::Final;
/// let named: Death<'_, u32> = Death::Succeeded(Box::new(|| 7));
/// assert_eq!(format!("{pipe:?}, {named:?}"), "Final, Succeeded(..)");
/// ```
pub enum Death<'t, Handle> {
    /// No successor can come: the survivors are told `PeerDead`.
    Final,
    /// A successor can come: the survivors wait for the handle that this makes.
    Succeeded(Box<dyn FnOnce() -> Handle + 't>),
}

impl<Handle> fmt::Debug for Death<'_, Handle> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Final => "Final",
            Self::Succeeded(_) => "Succeeded(..)",
        })
    }
}

/// One clause: its name and its test.
pub type Clause<T> = (&'static str, fn(&T));

/// Every clause, in the contract's order.
///
/// ```
/// use annulus_channel::conformance::{Transport, clauses};
///
/// fn names<T: Transport>() -> Vec<&'static str> {
///     clauses::<T>().map(|(name, _)| name).to_vec()
/// }
/// ```
pub fn clauses<T: Transport>() -> [Clause<T>; 11] {
    [
        ("boundaries", boundaries),
        ("order", order),
        ("once", once),
        ("bounds", bounds),
        ("non_blocking", non_blocking),
        ("blocking", blocking),
        ("timed", timed),
        ("closed", closed),
        ("dead", dead),
        ("handing_back", handing_back),
        ("declared", declared),
    ]
}

/// Runs every clause, naming each as it begins.
///
/// ```no_run
/// # use annulus_channel::conformance::{self, Transport};
/// fn conforms<T: Transport>(transport: T) {
///     conformance::all(&transport);
/// }
/// ```
///
/// # Panics
///
/// At the first clause that is broken.
pub fn all<T: Transport>(t: &T) {
    for (name, clause) in clauses() {
        let since = Instant::now();
        println!("clause {name}");
        clause(t);
        println!("clause {name} kept, {:.0?}", since.elapsed());
    }
}

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

/// Clause 5: `try_recv` says `Empty` and `try_send` says `Full`, however often, while nobody else
/// acts; both do at once what can be done.
///
/// # Panics
///
/// If the clause is broken.
pub fn non_blocking<T: Transport>(t: &T) {
    const TIMES: u32 = 1000;
    scene(t, "non_blocking", |terms, mut tx, mut rx| {
        for _ in 0..TIMES {
            assert_eq!(
                receive(&mut rx, Way::Try),
                Err(Stop::NotNow),
                "try_recv, nothing there"
            );
        }
        if let Some(mut count) = terms.fill(&mut tx) {
            for _ in 0..TIMES {
                let sent = send(&mut tx, Way::Try, &terms.page(count));
                if sent.is_ok() && !terms.prompt {
                    count += 1;
                } else {
                    assert_eq!(sent, Err(Stop::NotNow), "try_send, no room");
                }
            }
            terms.drain(&mut rx, count);
        } else {
            terms.exhaust(&mut rx);
        }
        for number in 0..10 {
            let record = bytes(1, number, 8);
            terms.put_by(&mut tx, Way::Try, &record);
            if terms.prompt {
                assert_eq!(
                    receive(&mut rx, Way::Try),
                    Ok(record),
                    "try_recv, a record there"
                );
            } else {
                terms.exhaust(&mut rx);
            }
        }
        assert_eq!(
            receive(&mut rx, Way::Try),
            Err(Stop::NotNow),
            "try_recv, nothing there"
        );
    });
}

/// Clause 6: a blocked `recv` waits until there is a record, a blocked `send` until there is room,
/// as many of them as may; no wake is lost between two who take turns.
///
/// # Panics
///
/// If the clause is broken.
pub fn blocking<T: Transport>(t: &T) {
    let (tx, _rx) = t.pair();
    let caps = tx.capabilities();
    for (senders, receivers) in crowds(caps) {
        let (terms, txs, rxs) = crowd(t, senders, receivers);
        act(terms, "blocking", move || {
            waiting_for_records(terms, txs, rxs)
        });
    }
    for (senders, _) in crowds(caps).filter(|&(_, receivers)| receivers == 1) {
        let (terms, txs, mut rxs) = crowd(t, senders, 1);
        let rx = rxs.remove(0);
        act(terms, "blocking", move || waiting_for_room(terms, txs, rx));
    }
    if caps.lossy {
        return;
    }
    let (mut there, mut echo_in) = t.pair();
    let (mut echo_out, mut back) = t.pair();
    let terms = Terms::of(t, &there);
    act(terms, "blocking: taking turns", move || {
        let echo = terms.task("blocking: echo", move || {
            loop {
                let record = terms.get_by(&mut echo_in, Way::Wait);
                terms.put_by(&mut echo_out, Way::Wait, &record);
                if record.is_empty() {
                    return (echo_in, echo_out);
                }
            }
        });
        for record in (0..200)
            .map(|number| terms.record(1, number))
            .chain([vec![]])
        {
            terms.put_by(&mut there, Way::Wait, &record);
            assert_same(&terms.get_by(&mut back, Way::Wait), &record);
        }
        let _open = echo.end();
    });
}

fn waiting_for_records<Tx, Rx>(terms: Terms, mut txs: Vec<Tx>, rxs: Vec<Rx>)
where
    Tx: Sender + Send + 'static,
    Rx: Receiver + Send + 'static,
{
    let waiting: Vec<_> = rxs
        .into_iter()
        .map(|mut rx| {
            terms.task("blocking: recv", move || {
                let got = receive(&mut rx, Way::Wait);
                (
                    rx,
                    terms.read(&got.expect("blocking: recv, nobody has gone")),
                )
            })
        })
        .collect();
    let waiting = Task::all_wait_for(LONG_WATCH, waiting);
    let senders = txs.len();
    for number in 0..waiting.len() {
        let tx = &mut txs[number % senders];
        terms.put_by(tx, Way::Wait, &terms.record(1, number as u32));
    }
    let (_open, mut got): (Vec<Rx>, Vec<_>) = waiting.into_iter().map(Task::end).unzip();
    got.sort_unstable();
    assert_eq!(
        got,
        (0..got.len() as u32)
            .map(|number| (1, number))
            .collect::<Vec<_>>()
    );
}

fn waiting_for_room<Tx, Rx>(terms: Terms, mut txs: Vec<Tx>, mut rx: Rx)
where
    Tx: Sender + Send + 'static,
    Rx: Receiver + Send + 'static,
{
    let Some(count) = terms.fill(&mut txs[0]) else {
        return;
    };
    let total = count as usize + txs.len();
    let len = terms.page(0).len();
    let waiting: Vec<_> = txs
        .into_iter()
        .zip(1..)
        .map(|(mut tx, sender)| {
            terms.task("blocking: send", move || {
                let sent = send(&mut tx, Way::Wait, &bytes(sender, 0, len));
                assert_eq!(sent, Ok(()), "blocking: send, nobody has gone");
                tx
            })
        })
        .collect();
    let waiting = Task::all_wait_for(LONG_WATCH, waiting);
    let mut got: Vec<_> = (0..total)
        .map(|_| terms.get_by(&mut rx, Way::Wait))
        .collect();
    let txs: Vec<Tx> = waiting.into_iter().map(Task::end).collect();
    terms.nothing_there(&mut rx);
    let mut sent: Vec<_> = (0..count).map(|number| terms.page(number)).collect();
    sent.extend((1..).take(txs.len()).map(|sender| bytes(sender, 0, len)));
    got.sort_unstable();
    sent.sort_unstable();
    assert!(got == sent, "blocking: what came is not what was sent");
}

/// Clause 7: a timed call says `Timeout` not before the deadline, does what can be done even if
/// the deadline has passed, and takes any deadline, however far.
///
/// # Panics
///
/// If the clause is broken.
pub fn timed<T: Transport>(t: &T) {
    scene(t, "timed: receiving", |terms, mut tx, mut rx| {
        not_before_the_deadline("receive", |way| receive(&mut rx, way).map(drop));

        let passed = Instant::now();
        let late = bytes(1, 0, 8);
        for way in [Way::Timeout(Duration::ZERO), Way::Deadline(passed)] {
            let since = Instant::now();
            terms.put_by(&mut tx, Way::Try, &late);
            let got = loop {
                match receive(&mut rx, way) {
                    // What is under way for a while may be lost, or come in a moment.
                    Err(Stop::NotNow) if !terms.prompt && since.elapsed() < terms.patience => {
                        if terms.caps.lossy {
                            terms.put_by(&mut tx, Way::Try, &late);
                        }
                    }
                    result => break result,
                }
            };
            assert_eq!(
                got,
                Ok(late.clone()),
                "timed: {way:?} has passed, a record is there"
            );
        }
        if terms.caps.lossy {
            return;
        }
        // Any deadline, and a record before it.
        for way in far_ways() {
            let mut later = rx;
            let waiting = terms.task("timed: receiving", move || {
                let got = receive(&mut later, way);
                (later, got)
            });
            std::thread::sleep(Duration::from_millis(5));
            terms.put_by(&mut tx, Way::Try, &late);
            let (back, got) = waiting.end();
            assert_eq!(got, Ok(late.clone()), "timed: {way:?}, a record comes");
            rx = back;
        }
    });
    scene(t, "timed: sending", |terms, mut tx, mut rx| {
        let passed = Instant::now();
        for way in [Way::Timeout(Duration::ZERO), Way::Deadline(passed)]
            .into_iter()
            .chain(far_ways())
        {
            let record = bytes(1, 0, 8);
            assert_eq!(
                send(&mut tx, way, &record),
                Ok(()),
                "timed: {way:?}, room is there"
            );
            if terms.caps.lossy {
                terms.exhaust(&mut rx);
            } else {
                assert_same(&terms.get(&mut rx, 0), &record);
            }
        }
        let Some(count) = terms.fill(&mut tx) else {
            return;
        };
        not_before_the_deadline("send", |way| send(&mut tx, way, &terms.page(count)));
        let waiting = terms.task("timed: sending", move || {
            let sent = send(&mut tx, far_ways()[0], &terms.page(count));
            (tx, sent)
        });
        for number in 0..=count {
            assert_same(&terms.get_by(&mut rx, Way::Wait), &terms.page(number));
        }
        let (_open, sent) = waiting.end();
        assert_eq!(sent, Ok(()), "timed: room comes");
        terms.nothing_there(&mut rx);
    });
}

/// Deadlines beyond 31 and 32 bits of milliseconds, and beyond the clock.
fn far_ways() -> [Way; 4] {
    let days = |days: u64| Duration::from_secs(days * 24 * 60 * 60);
    [
        Way::Deadline(Instant::now() + days(30)),
        Way::Deadline(Instant::now() + days(100 * 365)),
        Way::Timeout(days(60)),
        Way::Timeout(Duration::MAX),
    ]
}

fn not_before_the_deadline(what: &str, mut call: impl FnMut(Way) -> Result<(), Stop>) {
    for micros in [0, 1, 300, 2_000, 20_000, 130_000] {
        let timeout = Duration::from_micros(micros);
        for timed in [false, true] {
            let start = Instant::now();
            let way = if timed {
                Way::Timeout(timeout)
            } else {
                Way::Deadline(start + timeout)
            };
            let result = call(way);
            let took = start.elapsed();
            assert_eq!(
                result,
                Err(Stop::NotNow),
                "timed: {what} for {timeout:?}, nobody acts"
            );
            assert!(
                took >= timeout,
                "timed: {what} for {timeout:?}, gave up after {took:?}"
            );
        }
    }
}

/// Clause 8: when the last sender has closed, receivers get what was sent, then `Disconnected`;
/// when the last receiver has closed, so do senders; both again and again, and both are woken.
/// While one remains, nothing is said.
///
/// # Panics
///
/// If the clause is broken.
pub fn closed<T: Transport>(t: &T) {
    for turn in 0..4 {
        scene(
            t,
            "closed: the sender, then receiving",
            move |terms, mut tx, mut rx| {
                let count = if turn == 0 { 0 } else { a_few(&terms, &mut tx) };
                drop(tx);
                the_end(&terms, &mut rx, count, turn, Stop::Disconnected);
            },
        );
        scene(
            t,
            "closed: the receiver, then sending",
            move |terms, mut tx, rx| {
                match turn {
                    0 => {}
                    1 => _ = a_few(&terms, &mut tx),
                    _ => _ = terms.fill(&mut tx),
                }
                drop(rx);
                no_receiver(&terms, &mut tx, turn, Stop::Disconnected);
            },
        );
    }
    let (tx, _rx) = t.pair();
    let caps = tx.capabilities();
    if caps.lossy {
        // The news may be lost, too.
        return;
    }
    for (senders, receivers) in crowds(caps) {
        let (terms, txs, rxs) = crowd(t, senders, receivers);
        act(terms, "closed: senders, one by one", move || {
            senders_close(terms, txs, rxs)
        });
        let (terms, txs, rxs) = crowd(t, senders, receivers);
        act(terms, "closed: receivers, one by one", move || {
            receivers_close(terms, txs, rxs)
        });
        let (terms, txs, rxs) = crowd(t, senders, receivers);
        act(terms, "closed: senders at work", move || {
            close_after_work(terms, txs, rxs)
        });
    }
}

/// Sends up to three records, as many as there is room for.
fn a_few(terms: &Terms, tx: &mut impl Sender) -> u32 {
    (0..3)
        .take_while(|&number| send(tx, Way::Try, &terms.record(1, number)).is_ok())
        .count() as u32
}

/// Asserts that a receiver gets `count` records and then the end, beginning with the call of this
/// turn and then by every call.
fn the_end(terms: &Terms, rx: &mut impl Receiver, count: u32, turn: usize, end: Stop) {
    if terms.caps.lossy {
        let wait = Way::Timeout(Duration::from_millis(50));
        while receive(rx, wait).is_ok() {}
        let stop = receive(rx, wait);
        assert!(
            stop == Err(end) || stop == Err(Stop::NotNow),
            "{stop:?}, then no sender"
        );
        return;
    }
    for number in 0..count {
        let got = terms.get_by(rx, terms.ways()[turn]);
        assert_same(&got, &terms.record(1, number));
    }
    let since = Instant::now();
    for way in terms.ways().into_iter().cycle().skip(turn).take(8) {
        let mut got = receive(rx, way);
        while late(terms, end) && got == Err(Stop::NotNow) && since.elapsed() < terms.patience {
            got = receive(rx, way);
        }
        assert_eq!(
            got,
            Err(end),
            "{way:?}: no sender is left, all {count} records were received"
        );
    }
}

/// Whether the news of an end may take a moment: a death is nobody's act, so it always may.
fn late(terms: &Terms, end: Stop) -> bool {
    !terms.prompt || end == Stop::PeerDead
}

/// Asserts that a sender is told of the end, beginning with the call of this turn.
fn no_receiver(terms: &Terms, tx: &mut impl Sender, turn: usize, end: Stop) {
    let since = Instant::now();
    for way in terms.ways().into_iter().cycle().skip(turn).take(8) {
        // A lossy transport may lose the news.
        let way = if terms.caps.lossy { Way::Try } else { way };
        let mut sent = send(tx, way, b"nobody");
        let goes_on = |sent| matches!(sent, Ok(()) | Err(Stop::NotNow));
        while late(terms, end) && goes_on(sent) && since.elapsed() < terms.patience {
            if terms.caps.lossy && since.elapsed() > Duration::from_millis(50) {
                return;
            }
            sent = send(tx, way, b"nobody");
        }
        assert_eq!(sent, Err(end), "{way:?}: no receiver is left");
    }
}

fn senders_close<Tx, Rx>(terms: Terms, txs: Vec<Tx>, rxs: Vec<Rx>)
where
    Tx: Sender + Send + 'static,
    Rx: Receiver + Send + 'static,
{
    let blocked: Vec<_> = rxs
        .into_iter()
        .enumerate()
        .map(|(turn, mut rx)| {
            terms.task("closed: receiving", move || {
                let got = receive(&mut rx, terms.ways()[1 + turn % 3]);
                (rx, got)
            })
        })
        .collect();
    let mut blocked = Task::all_wait(blocked);
    for tx in txs {
        blocked = Task::all_wait(blocked);
        drop(tx);
    }
    let _open: Vec<Rx> = blocked
        .into_iter()
        .map(|task| {
            let (rx, got) = task.end();
            assert_eq!(got, Err(Stop::Disconnected), "the last sender closes");
            rx
        })
        .collect();
}

fn receivers_close<Tx, Rx>(terms: Terms, mut txs: Vec<Tx>, mut rxs: Vec<Rx>)
where
    Tx: Sender + Send + 'static,
    Rx: Receiver + Send + 'static,
{
    while rxs.len() > 1 {
        drop(rxs.remove(0));
        // Whoever is left gets everything.
        let number = rxs.len() as u32;
        terms.put(&mut txs[0], 0, &terms.record(1, number));
        let got = terms.get(rxs.last_mut().expect("one is left"), 0);
        assert_same(&got, &terms.record(1, number));
    }
    let Some(count) = terms.fill(&mut txs[0]) else {
        return;
    };
    let blocked: Vec<_> = txs
        .into_iter()
        .enumerate()
        .map(|(turn, mut tx)| {
            terms.task("closed: sending", move || {
                let sent = send(&mut tx, terms.ways()[1 + turn % 3], &terms.page(count));
                (tx, sent)
            })
        })
        .collect();
    let blocked = Task::all_wait(blocked);
    drop(rxs);
    for task in blocked {
        let (_open, sent) = task.end();
        assert_eq!(sent, Err(Stop::Disconnected), "the last receiver closes");
    }
}

/// Senders send and close while receivers receive until the end: everything comes before it.
fn close_after_work<Tx, Rx>(terms: Terms, txs: Vec<Tx>, rxs: Vec<Rx>)
where
    Tx: Sender + Send + 'static,
    Rx: Receiver + Send + 'static,
{
    const EACH: u32 = 100;
    let receiving: Vec<_> = rxs
        .into_iter()
        .map(|mut rx| {
            terms.task("closed: receiving to the end", move || {
                let mut ledger = vec![];
                let end = loop {
                    match receive(&mut rx, Way::Wait) {
                        Ok(got) => ledger.push(terms.read(&got)),
                        Err(stop) => break stop,
                    }
                };
                assert_eq!(end, Stop::Disconnected, "the last sender has closed");
                (rx, ledger)
            })
        })
        .collect();
    let mut sent = vec![];
    let sending: Vec<_> = txs
        .into_iter()
        .zip(0..)
        .map(|(mut tx, sender)| {
            sent.extend((0..EACH).map(|number| (sender, number)));
            terms.task("closed: sending, then closing", move || {
                for number in 0..EACH {
                    terms.put_by(&mut tx, Way::Wait, &terms.record(sender, number));
                }
            })
        })
        .collect();
    sending.into_iter().for_each(Task::end);
    let (_open, ledgers): (Vec<Rx>, Vec<_>) = receiving.into_iter().map(Task::end).unzip();
    let mut got = ledgers.concat();
    got.sort_unstable();
    assert!(
        got == sent,
        "closed: {} records received before the end, {} sent",
        got.len(),
        sent.len()
    );
}

/// Clause 9: a killed peer has not closed. Survivors get every whole record, and then are told
/// `PeerDead`, or wait for the successor where one can come.
///
/// Asserts nothing where the transport cannot simulate a death, and says so.
///
/// # Panics
///
/// If the clause is broken.
pub fn dead<T: Transport>(t: &T) {
    let simulated = (0..4).map(|turn| dead_sender(t, turn) | dead_receiver(t, turn));
    if !simulated.fold(false, |any, one| any | one) {
        println!("clause dead: no death is simulated");
    }
}

fn dead_sender<T: Transport>(t: &T, turn: usize) -> bool {
    let (mut tx, mut rx) = t.pair();
    let terms = Terms::of(t, &tx);
    let other = if terms.caps.many_senders {
        t.more_tx(&tx)
    } else {
        None
    };
    let (tx, count) = act(terms, "dead: sending", move || {
        let count = a_few(&terms, &mut tx);
        (tx, count)
    });
    // While another sender lives, the channel goes on.
    let Some(mut death) = t.kill_tx(tx) else {
        return false;
    };
    if let Some(mut other) = other {
        (other, rx) = act(terms, "dead: one sender of two", move || {
            for number in 0..count {
                assert_same(&terms.get(&mut rx, 0), &terms.record(1, number));
            }
            terms.nothing_there(&mut rx);
            terms.pass(&mut other, &mut rx, 0, &terms.record(2, 0));
            // For the end.
            for number in 0..count {
                terms.put(&mut other, 0, &terms.record(1, number));
            }
            (other, rx)
        });
        death = t
            .kill_tx(other)
            .expect("dead: the second sender dies as the first did");
    }
    match death {
        Death::Final => act(terms, "dead: the sender, then receiving", move || {
            the_end(&terms, &mut rx, count, turn, Stop::PeerDead);
        }),
        Death::Succeeded(successor) => {
            let receiving = terms.task("dead: waiting for a new sender", move || {
                for number in 0..count {
                    assert_same(&terms.get(&mut rx, 0), &terms.record(1, number));
                }
                terms.nothing_there(&mut rx);
                let got = terms.get_by(&mut rx, terms.ways()[1 + turn % 3]);
                assert_same(&got, &terms.record(2, 0));
                rx
            });
            let receiving = receiving.waits();
            let mut tx = successor();
            act(terms, "dead: the new sender", move || {
                terms.put(&mut tx, 0, &terms.record(2, 0));
                let _open = receiving.end();
            });
            return true;
        }
    }
    // A blocked call is woken.
    let (tx, mut rx) = t.pair();
    let receiving = terms.task("dead: receiving", move || {
        receive(&mut rx, terms.ways()[1 + turn % 3])
    });
    let receiving = receiving.waits();
    t.kill_tx(tx).expect("dead: a sender dies as another did");
    assert_eq!(
        receiving.end(),
        Err(Stop::PeerDead),
        "dead: the last sender was killed"
    );
    true
}

fn dead_receiver<T: Transport>(t: &T, turn: usize) -> bool {
    let (mut tx, mut rx) = t.pair();
    let terms = Terms::of(t, &tx);
    let other = if terms.caps.many_receivers {
        t.more_rx(&rx)
    } else {
        None
    };
    // While another receiver lives, the channel goes on.
    let mut death = if let Some(mut other) = other {
        let Some(_) = t.kill_rx(rx) else { return false };
        (tx, rx) = act(terms, "dead: one receiver of two", move || {
            terms.pass(&mut tx, &mut other, 0, &terms.record(1, 0));
            (tx, other)
        });
        t.kill_rx(rx)
    } else {
        t.kill_rx(rx)
    };
    match death.take() {
        None => return false,
        Some(Death::Final) => act(terms, "dead: the receiver, then sending", move || {
            no_receiver(&terms, &mut tx, turn, Stop::PeerDead);
        }),
        Some(Death::Succeeded(successor)) => {
            let (mut tx, Some(count)) = act(terms, "dead: filling", move || {
                let count = terms.fill(&mut tx);
                (tx, count)
            }) else {
                return true;
            };
            let sending = terms.task("dead: waiting for a new receiver", move || {
                terms.put_by(&mut tx, terms.ways()[1 + turn % 3], &terms.page(count));
                tx
            });
            let sending = sending.waits();
            let mut rx = successor();
            act(terms, "dead: the new receiver", move || {
                for number in 0..=count {
                    assert_same(&terms.get_by(&mut rx, Way::Wait), &terms.page(number));
                }
                let _open = sending.end();
                terms.nothing_there(&mut rx);
            });
            return true;
        }
    }
    // A blocked call is woken.
    let (mut tx, rx) = t.pair();
    let (mut tx, Some(count)) = act(terms, "dead: filling", move || {
        let count = terms.fill(&mut tx);
        (tx, count)
    }) else {
        return true;
    };
    let sending = terms.task("dead: sending", move || {
        send(&mut tx, terms.ways()[1 + turn % 3], &terms.page(count))
    });
    let sending = sending.waits();
    t.kill_rx(rx).expect("dead: a receiver dies as another did");
    assert_eq!(
        sending.end(),
        Err(Stop::PeerDead),
        "dead: the last receiver was killed"
    );
    true
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
