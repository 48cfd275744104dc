//! Clauses 8 and 9: how a channel ends, by a close or by a death.

use super::harness::{
    Stop, Task, Terms, Way, act, assert_same, crowd, crowds, receive, scene, send,
};
use super::{Death, Transport};
use crate::{Receiver, Sender};
use std::time::{Duration, Instant};

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
pub(super) fn a_few(terms: &Terms, tx: &mut impl Sender) -> u32 {
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
