//! The suite, tried on a transport that is simple enough to be right (a queue, a lock and two
//! condition variables), and on the same one with a flaw. A suite is worth what it finds: every
//! flaw must be found by the clause that it breaks, and the flawless pass them all.

#![cfg(feature = "conformance")]

use Flaw::*;
use annulus_channel::conformance::{self, Death, Transport, clauses};
use annulus_channel::{
    Boundaries, Capabilities, Order, Receiver, RecvError, RecvTimeoutError, SendError,
    SendTimeoutError, Sender, TryRecvError, TrySendError,
};
use std::collections::VecDeque;
use std::panic::catch_unwind;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// What is wrong with the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    Flawless,
    LosesOne,
    DoublesOne,
    SwapsTwo,
    SwapsSenders,
    Truncates,
    SwallowsEmpty,
    JoinsRecords,
    FlipsABit,
    AppendsToTheBuffer,
    LeavesTheBuffer,
    ReturnsAnotherLength,
    HasNoBound,
    RefusesTheLongest,
    AllowsOneMore,
    NamesAnotherLength,
    WaitsWithTooLarge,
    SendsPartOfTooLarge,
    TrySendWaits,
    TryRecvWaits,
    FullButSent,
    TimeoutButSent,
    RecvGivesUp,
    SendGivesUp,
    SendWakesNobody,
    ReceiveWakesNobody,
    SendWakesOneSide,
    TooEarly,
    PassedIsTooLate,
    FarIsNow,
    ForgetsSenderClosed,
    ForgetsReceiverClosed,
    ClosesBeforeTheRest,
    ClosesOnce,
    ClosesWithTheFirst,
    CloseWakesNobody,
    DeathIsClosing,
    DeathBeforeTheRest,
    DeathOfOne,
    LeaksRoom,
    DeclaresDifferently,
    DeclaresOneSender,
    DeclaresPersistence,
    DeclaresMore,
    DeclaresLess,
    TakesInPieces,
    LosesUncounted,
    CountsTooMany,
}

/// The reference transport's parameters.
#[derive(Clone, Copy, Debug)]
struct Reference {
    caps: Capabilities,
    max: usize,
    room: usize,
    /// A death can be followed by a successor.
    successors: bool,
    flaw: Flaw,
    prompt: bool,
    patience: Duration,
}

const MANY: Reference = Reference {
    caps: Capabilities {
        order: Order::Total,
        lossy: false,
        many_senders: true,
        many_receivers: true,
        persistent: false,
        crosses_machines: false,
        boundaries: Boundaries::Native,
        max_record: Some(5000),
    },
    max: 5000,
    room: 7,
    successors: false,
    flaw: Flawless,
    prompt: true,
    patience: Duration::from_secs(30),
};

struct State {
    queue: VecDeque<Vec<u8>>,
    /// How many were sent: most flaws show now and then.
    sent: u64,
    lost: u64,
    senders: usize,
    receivers: usize,
    /// Whether the last sender, the last receiver, was killed.
    sender_killed: bool,
    receiver_killed: bool,
    told: bool,
    leaked: usize,
    held: Vec<u8>,
}

struct Channel {
    made: Reference,
    state: Mutex<State>,
    record: Condvar,
    room: Condvar,
}

struct Tx(Arc<Channel>);
struct Rx(Arc<Channel>);

/// Until when a call waits.
#[derive(Clone, Copy)]
enum Until {
    Now,
    Ever,
    Then(Instant),
}

/// What a send meets.
enum NotSent {
    NoRoom,
    Disconnected,
    PeerDead,
    TooLarge { len: usize, max: usize },
}

/// What a receive meets.
enum NotReceived {
    Nothing,
    Disconnected,
    PeerDead,
}

impl Channel {
    fn is(&self, flaw: Flaw) -> bool {
        self.made.flaw == flaw
    }

    /// Waits on `bell`; false when the time is up.
    fn wait<'s>(
        &self,
        bell: &Condvar,
        state: std::sync::MutexGuard<'s, State>,
        until: Until,
    ) -> (std::sync::MutexGuard<'s, State>, bool) {
        match until {
            Until::Now => (state, false),
            Until::Ever => (bell.wait(state).unwrap(), true),
            Until::Then(deadline) => {
                let mut left = deadline.saturating_duration_since(Instant::now());
                match self.made.flaw {
                    TooEarly => left /= 2,
                    // As one more than an `int` of milliseconds holds.
                    FarIsNow if left.as_millis() > i32::MAX as u128 => left = Duration::ZERO,
                    _ => {}
                }
                if left.is_zero() {
                    return (state, false);
                }
                let (state, timeout) = bell.wait_timeout(state, left).unwrap();
                // The flawless look once more.
                let ends = matches!(self.made.flaw, TooEarly | RecvGivesUp | SendGivesUp);
                (state, !(ends && timeout.timed_out()))
            }
        }
    }

    fn send(&self, record: &[u8], until: Until) -> Result<(), NotSent> {
        let max = self.made.max;
        let len = record.len();
        let limit = match self.made.flaw {
            RefusesTheLongest => max - 1,
            AllowsOneMore => max + 1,
            _ => max,
        };
        let mut record = record.to_vec();
        if len > limit {
            if self.is(SendsPartOfTooLarge) {
                self.state
                    .lock()
                    .unwrap()
                    .queue
                    .push_back(record[..max].to_vec());
            }
            let state = self.state.lock().unwrap();
            if self.is(WaitsWithTooLarge) && state.queue.len() >= self.made.room {
                drop(self.room.wait(state).unwrap());
            }
            let max = if self.is(NamesAnotherLength) {
                max + 8
            } else {
                max
            };
            return Err(NotSent::TooLarge { len, max });
        }
        match self.made.flaw {
            Truncates if len > 63 => record.truncate(63),
            FlipsABit if len > 1024 => record[1000] ^= 4,
            _ => {}
        }
        let mut state = self.state.lock().unwrap();
        if self.is(PassedIsTooLate) && matches!(until, Until::Then(then) if then <= Instant::now())
        {
            return Err(NotSent::NoRoom);
        }
        if self.is(TakesInPieces) && matches!(until, Until::Now) && len > 4096 {
            return Err(NotSent::NoRoom);
        }
        loop {
            if state.receivers == 0 && state.receiver_killed && !self.made.successors {
                return Err(match self.made.flaw {
                    DeathIsClosing => NotSent::Disconnected,
                    _ => NotSent::PeerDead,
                });
            }
            if state.receivers == 0 && !state.receiver_killed && !self.is(ForgetsReceiverClosed) {
                return Err(NotSent::Disconnected);
            }
            if state.queue.len() + state.leaked < self.made.room || self.is(HasNoBound) {
                break;
            }
            let until = match until {
                Until::Now if self.is(TrySendWaits) => Until::Ever,
                Until::Ever if self.is(SendGivesUp) => {
                    Until::Then(Instant::now() + Duration::from_millis(50))
                }
                until => until,
            };
            let again;
            (state, again) = self.wait(&self.room, state, until);
            if !again {
                if self.is(FullButSent) && matches!(until, Until::Now)
                    || self.is(TimeoutButSent) && matches!(until, Until::Then(_))
                {
                    state.queue.push_back(record);
                }
                if self.is(LeaksRoom) && matches!(until, Until::Then(_)) {
                    state.leaked += 1;
                }
                return Err(match until {
                    Until::Then(_) if self.is(SendGivesUp) => NotSent::Disconnected,
                    _ => NotSent::NoRoom,
                });
            }
        }
        state.sent += 1;
        let turn = state.sent % 100 == 99;
        let back = state.queue.len().wrapping_sub(1);
        match self.made.flaw {
            LosesOne if turn => state.lost += 1,
            // So that others come after it while there is room.
            LosesUncounted if state.sent == 3 => {}
            // No need to hold all of it.
            HasNoBound if state.queue.len() > 1000 => {}
            SwallowsEmpty if len == 0 => {}
            DoublesOne if turn => state.queue.extend([record.clone(), record]),
            SwapsTwo if !state.queue.is_empty() => state.queue.insert(back, record),
            // Another sender's records may be overtaken, one's own not.
            SwapsSenders
                if len >= 8
                    && state
                        .queue
                        .back()
                        .is_some_and(|last| last.len() >= 8 && last[4..8] != record[4..8]) =>
            {
                state.queue.insert(back, record);
            }
            JoinsRecords if len == 9 => state.held = record,
            JoinsRecords => {
                let mut joined = std::mem::take(&mut state.held);
                joined.append(&mut record);
                state.queue.push_back(joined);
            }
            _ => state.queue.push_back(record),
        }
        match self.made.flaw {
            SendWakesNobody => {}
            // The one that wakes may be of the other side.
            SendWakesOneSide if turn => self.room.notify_one(),
            _ => self.record.notify_one(),
        }
        Ok(())
    }

    fn recv(&self, buffer: &mut Vec<u8>, until: Until) -> Result<usize, NotReceived> {
        if !self.is(LeavesTheBuffer) && !self.is(AppendsToTheBuffer) {
            buffer.clear();
        }
        let mut state = self.state.lock().unwrap();
        if self.is(PassedIsTooLate) && matches!(until, Until::Then(then) if then <= Instant::now())
        {
            return Err(NotReceived::Nothing);
        }
        loop {
            let killed = state.senders == 0 && state.sender_killed && !self.made.successors;
            if killed && self.is(DeathBeforeTheRest) {
                return Err(NotReceived::PeerDead);
            }
            if self.is(DeathOfOne) && state.sender_killed {
                return Err(NotReceived::PeerDead);
            }
            let closed = state.senders == 0 && !state.sender_killed;
            if closed && self.is(ClosesBeforeTheRest) {
                return Err(NotReceived::Disconnected);
            }
            if let Some(record) = state.queue.pop_front() {
                if !self.is(AppendsToTheBuffer) {
                    buffer.clear();
                }
                buffer.extend(&record);
                if !self.is(ReceiveWakesNobody) {
                    self.room.notify_one();
                }
                let more = usize::from(self.is(ReturnsAnotherLength));
                return Ok(record.len() + more);
            }
            if killed {
                return Err(match self.made.flaw {
                    DeathIsClosing => NotReceived::Disconnected,
                    _ => NotReceived::PeerDead,
                });
            }
            if closed && !self.is(ForgetsSenderClosed) && !(self.is(ClosesOnce) && state.told) {
                state.told = true;
                return Err(NotReceived::Disconnected);
            }
            let until = match until {
                Until::Now if self.is(TryRecvWaits) => Until::Ever,
                Until::Ever if self.is(RecvGivesUp) => {
                    Until::Then(Instant::now() + Duration::from_millis(50))
                }
                until => until,
            };
            let again;
            (state, again) = self.wait(&self.record, state, until);
            if !again {
                return Err(match until {
                    Until::Then(_) if self.is(RecvGivesUp) => NotReceived::Disconnected,
                    _ => NotReceived::Nothing,
                });
            }
        }
    }

    fn leave(&self, count: impl Fn(&mut State) -> &mut usize) {
        // The one who asserts may have panicked; that is not for a drop to say again.
        let mut state = self
            .state
            .lock()
            .unwrap_or_else(|poison| poison.into_inner());
        let count = count(&mut state);
        *count = if self.is(ClosesWithTheFirst) {
            0
        } else {
            count.saturating_sub(1)
        };
        if !self.is(CloseWakesNobody) {
            self.record.notify_all();
            self.room.notify_all();
        }
    }

    fn caps(&self) -> Capabilities {
        self.made.caps
    }
}

impl Sender for Tx {
    fn try_send(&mut self, record: &[u8]) -> Result<(), TrySendError> {
        self.0.send(record, Until::Now).map_err(|not| match not {
            NotSent::NoRoom => TrySendError::Full(()),
            NotSent::Disconnected => TrySendError::Disconnected(()),
            NotSent::PeerDead => TrySendError::PeerDead(()),
            NotSent::TooLarge { len, max } => TrySendError::TooLarge {
                value: (),
                len,
                max,
            },
        })
    }

    fn send(&mut self, record: &[u8]) -> Result<(), SendError> {
        self.0.send(record, Until::Ever).map_err(|not| match not {
            NotSent::NoRoom => unreachable!("waited for ever"),
            NotSent::Disconnected => SendError::Disconnected(()),
            NotSent::PeerDead => SendError::PeerDead(()),
            NotSent::TooLarge { len, max } => SendError::TooLarge {
                value: (),
                len,
                max,
            },
        })
    }

    fn send_deadline(&mut self, record: &[u8], deadline: Instant) -> Result<(), SendTimeoutError> {
        self.0
            .send(record, Until::Then(deadline))
            .map_err(|not| match not {
                NotSent::NoRoom => SendTimeoutError::Timeout(()),
                NotSent::Disconnected => SendTimeoutError::Disconnected(()),
                NotSent::PeerDead => SendTimeoutError::PeerDead(()),
                NotSent::TooLarge { len, max } => SendTimeoutError::TooLarge {
                    value: (),
                    len,
                    max,
                },
            })
    }

    fn max_record(&self) -> usize {
        self.0.made.max
    }

    fn capabilities(&self) -> Capabilities {
        self.0.caps()
    }
}

impl Receiver for Rx {
    fn try_recv(&mut self, buffer: &mut Vec<u8>) -> Result<usize, TryRecvError> {
        self.0.recv(buffer, Until::Now).map_err(|not| match not {
            NotReceived::Nothing => TryRecvError::Empty,
            NotReceived::Disconnected => TryRecvError::Disconnected,
            NotReceived::PeerDead => TryRecvError::PeerDead,
        })
    }

    fn recv(&mut self, buffer: &mut Vec<u8>) -> Result<usize, RecvError> {
        self.0.recv(buffer, Until::Ever).map_err(|not| match not {
            NotReceived::Nothing => unreachable!("waited for ever"),
            NotReceived::Disconnected => RecvError::Disconnected,
            NotReceived::PeerDead => RecvError::PeerDead,
        })
    }

    fn recv_deadline(
        &mut self,
        buffer: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<usize, RecvTimeoutError> {
        self.0
            .recv(buffer, Until::Then(deadline))
            .map_err(|not| match not {
                NotReceived::Nothing => RecvTimeoutError::Timeout,
                NotReceived::Disconnected => RecvTimeoutError::Disconnected,
                NotReceived::PeerDead => RecvTimeoutError::PeerDead,
            })
    }

    fn lost(&self) -> u64 {
        u64::from(self.0.is(CountsTooMany)) + self.0.state.lock().unwrap().lost
    }

    fn capabilities(&self) -> Capabilities {
        let many_senders = self.0.caps().many_senders != self.0.is(DeclaresDifferently);
        Capabilities {
            many_senders,
            ..self.0.caps()
        }
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        self.0.leave(|state| &mut state.senders);
    }
}

impl Drop for Rx {
    fn drop(&mut self) {
        self.0.leave(|state| &mut state.receivers);
    }
}

impl Reference {
    fn death<Handle>(
        &self,
        channel: Arc<Channel>,
        handle: impl FnOnce(Arc<Channel>) -> Handle + 'static,
    ) -> Death<'_, Handle> {
        if self.successors {
            Death::Succeeded(Box::new(|| handle(channel)))
        } else {
            Death::Final
        }
    }
}

impl Transport for Reference {
    type Tx = Tx;
    type Rx = Rx;

    fn pair(&self) -> (Tx, Rx) {
        let channel = Arc::new(Channel {
            made: *self,
            state: Mutex::new(State {
                queue: VecDeque::new(),
                sent: 0,
                lost: 0,
                senders: 1,
                receivers: 1,
                sender_killed: false,
                receiver_killed: false,
                told: false,
                leaked: 0,
                held: vec![],
            }),
            record: Condvar::new(),
            room: Condvar::new(),
        });
        (Tx(channel.clone()), Rx(channel))
    }

    fn more_tx(&self, beside: &Tx) -> Option<Tx> {
        (self.caps.many_senders || self.flaw == DeclaresOneSender).then(|| {
            beside.0.state.lock().unwrap().senders += 1;
            Tx(beside.0.clone())
        })
    }

    fn more_rx(&self, beside: &Rx) -> Option<Rx> {
        self.caps.many_receivers.then(|| {
            beside.0.state.lock().unwrap().receivers += 1;
            Rx(beside.0.clone())
        })
    }

    fn reopen(&self, tx: Tx, rx: Rx) -> Option<(Tx, Rx)> {
        let kept = tx.0.clone();
        drop((tx, rx));
        let (tx, rx) = self.pair();
        if self.flaw != DeclaresPersistence {
            let rest = kept.state.lock().unwrap().queue.drain(..).collect();
            tx.0.state.lock().unwrap().queue = rest;
        }
        self.caps.persistent.then_some((tx, rx))
    }

    fn kill_tx(&self, tx: Tx) -> Option<Death<'_, Tx>> {
        tx.0.state.lock().unwrap().sender_killed = true;
        let channel = tx.0.clone();
        Some(self.death(channel, |channel| {
            let mut state = channel.state.lock().unwrap();
            state.senders += 1;
            state.sender_killed = false;
            drop(state);
            Tx(channel)
        }))
    }

    fn kill_rx(&self, rx: Rx) -> Option<Death<'_, Rx>> {
        rx.0.state.lock().unwrap().receiver_killed = true;
        let channel = rx.0.clone();
        Some(self.death(channel, |channel| {
            let mut state = channel.state.lock().unwrap();
            state.receivers += 1;
            state.receiver_killed = false;
            drop(state);
            Rx(channel)
        }))
    }

    fn prompt(&self) -> bool {
        self.prompt
    }

    fn patience(&self) -> Duration {
        self.patience
    }
}

#[test]
fn the_flawless_keep_every_clause() {
    conformance::all(&MANY);
}

#[test]
fn one_sender_one_receiver_room_for_one() {
    let caps = Capabilities {
        many_senders: false,
        many_receivers: false,
        ..MANY.caps
    };
    conformance::all(&Reference {
        caps: Capabilities {
            max_record: Some(8),
            ..caps
        },
        room: 1,
        max: 8,
        ..MANY
    });
}

#[test]
fn persistent_with_successors_and_long_records() {
    let caps = Capabilities {
        persistent: true,
        many_receivers: false,
        max_record: Some(3 << 20),
        ..MANY.caps
    };
    conformance::all(&Reference {
        caps,
        room: 200,
        max: 3 << 20,
        successors: true,
        ..MANY
    });
}

#[test]
fn nobody_has_to_be_slow_who_may() {
    conformance::all(&Reference {
        prompt: false,
        room: 3,
        ..MANY
    });
}

#[test]
fn the_order_of_each_sender_is_enough_where_no_more_is_declared() {
    let caps = Capabilities {
        order: Order::PerSender,
        many_receivers: false,
        ..MANY.caps
    };
    conformance::order(&Reference {
        caps,
        flaw: SwapsSenders,
        ..MANY
    });
}

#[test]
fn losing_is_allowed_where_it_is_declared() {
    let caps = Capabilities {
        lossy: true,
        ..MANY.caps
    };
    conformance::all(&Reference {
        caps,
        flaw: LosesOne,
        ..MANY
    });
}

/// Which clause finds the flaw, and a word from what it then says.
const FLAWS: &[(Flaw, &str, &str)] = &[
    (LosesOne, "once", "came 0 times"),
    (DoublesOne, "once", "came 2 times"),
    (SwapsTwo, "order", "came after"),
    (SwapsSenders, "order", "total order is declared"),
    (Truncates, "boundaries", "length received"),
    (SwallowsEmpty, "boundaries", "length received"),
    (JoinsRecords, "boundaries", "length received"),
    (FlipsABit, "boundaries", "byte 1000 of"),
    (AppendsToTheBuffer, "boundaries", "length in the buffer"),
    (LeavesTheBuffer, "non_blocking", "in the buffer after"),
    (ReturnsAnotherLength, "boundaries", "length in the buffer"),
    (HasNoBound, "bounds", "no end to the room"),
    (RefusesTheLongest, "bounds", "TooLarge { len: 5000"),
    (AllowsOneMore, "bounds", "where 5000 is the limit"),
    (NamesAnotherLength, "bounds", "where 5000 is the limit"),
    (WaitsWithTooLarge, "bounds", "hangs"),
    (
        SendsPartOfTooLarge,
        "bounds",
        "received 5000 bytes that were not sent",
    ),
    (TrySendWaits, "non_blocking", "hangs"),
    (TryRecvWaits, "non_blocking", "hangs"),
    (FullButSent, "non_blocking", "that were not sent"),
    (TimeoutButSent, "handing_back", "that were not sent"),
    (RecvGivesUp, "blocking", "nobody has gone"),
    (SendGivesUp, "blocking", "nobody has gone"),
    (SendWakesNobody, "blocking", "hangs"),
    (ReceiveWakesNobody, "blocking", "hangs"),
    (SendWakesOneSide, "blocking", "hangs"),
    (TooEarly, "timed", "gave up after"),
    (PassedIsTooLate, "timed", "has passed, a record is there"),
    (FarIsNow, "timed", "a record comes"),
    (ForgetsSenderClosed, "closed", "no sender is left"),
    (ForgetsReceiverClosed, "closed", "no receiver is left"),
    (ClosesBeforeTheRest, "closed", "receiving, got Disconnected"),
    (ClosesOnce, "closed", "hangs"),
    (
        ClosesWithTheFirst,
        "closed",
        "with nothing to come back for",
    ),
    (CloseWakesNobody, "closed", "hangs"),
    (DeathIsClosing, "dead", "no sender is left"),
    (DeathBeforeTheRest, "dead", "receiving, got PeerDead"),
    (DeathOfOne, "dead", "receiving, got PeerDead"),
    (LeaksRoom, "handing_back", "room for 7 records, then for 0"),
    (DeclaresDifferently, "declared", "declared by the sender"),
    (DeclaresOneSender, "declared", "one sender only"),
    (DeclaresPersistence, "declared", "hangs"),
    (DeclaresMore, "bounds", "as declared"),
    (DeclaresLess, "bounds", "as declared"),
    (TakesInPieces, "bounds", "into an empty channel"),
    (LosesUncounted, "once", "records were lost, counted 0"),
    (CountsTooMany, "once", "nothing may be lost here"),
];

#[test]
fn every_flaw_is_found_by_the_clause_that_it_breaks() {
    // At the same time, for those that hang take all the patience there is.
    let found: Vec<_> = FLAWS
        .iter()
        .map(|&(flaw, clause, says)| {
            (
                flaw,
                clause,
                says,
                thread::spawn(move || find(flaw, clause)),
            )
        })
        .collect();
    let mut missed = vec![];
    for (flaw, clause, says, finding) in found {
        match finding.join().unwrap() {
            Some(said) if said.contains(says) => {}
            Some(said) => missed.push(format!("{flaw:?}: {clause} says: {said}")),
            None => missed.push(format!("{flaw:?}: {clause} finds nothing")),
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

/// What the clause says of a transport with this flaw.
fn find(flaw: Flaw, clause: &str) -> Option<String> {
    let one = Capabilities {
        many_senders: false,
        ..MANY.caps
    };
    let caps = match flaw {
        DeclaresOneSender => one,
        DeclaresPersistence => Capabilities {
            persistent: true,
            ..MANY.caps
        },
        DeclaresMore | DeclaresLess => Capabilities {
            max_record: Some(if flaw == DeclaresMore { 5001 } else { 4999 }),
            ..MANY.caps
        },
        LosesUncounted => Capabilities {
            lossy: true,
            ..MANY.caps
        },
        _ => MANY.caps,
    };
    let made = Reference {
        caps,
        flaw,
        patience: Duration::from_secs(2),
        ..MANY
    };
    let (_, test) = clauses::<Reference>()
        .into_iter()
        .find(|&(name, _)| name == clause)
        .unwrap();
    let panic = catch_unwind(|| test(&made)).err()?;
    let said = panic.downcast_ref::<String>().cloned();
    Some(said.unwrap_or_else(|| panic.downcast_ref::<&str>().unwrap().to_string()))
}

#[test]
fn every_clause_finds_a_flaw() {
    for (name, _) in clauses::<Reference>() {
        assert!(
            FLAWS.iter().any(|&(_, clause, _)| clause == name),
            "{name} is never tried"
        );
    }
}
