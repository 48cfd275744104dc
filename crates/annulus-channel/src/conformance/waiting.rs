//! Clauses 5 to 7: calls that do not wait, that wait, and that wait until a deadline.

use super::Transport;
use super::harness::{
    LONG_WATCH, Stop, Task, Terms, Way, act, assert_same, bytes, crowd, crowds, receive, scene,
    send,
};
use crate::{Receiver, Sender};
use std::time::{Duration, Instant};

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
