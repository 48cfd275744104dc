//! What the clauses are written with: guarded tasks, self-describing records, one way to call each
//! of the four sends and receives, and traffic between many handles.
//!
//! No clause may hang, so every call into a transport happens on a [`Task`], and whoever waits for
//! the task gives up after the transport's patience. A thread that hangs is left behind.

use super::Transport;
use crate::{
    Capabilities, Fault, Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError,
    Sender, TryRecvError, TrySendError,
};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a call that must wait is watched waiting.
const WATCH: Duration = Duration::from_millis(30);
/// The same for longer than the 100 ms after which a sleeper may look again.
pub(super) const LONG_WATCH: Duration = Duration::from_millis(130);
/// The longest record that a clause sends.
pub(super) const LONGEST: usize = 16 << 20;
/// The longest record that is sent by `try_send`, and the one that channels are filled with.
const PAGE: usize = 4096;
/// How many records of a lossy transport are sent in search of `Full`.
const LOSSY_FILL: u32 = 1000;
/// How long a record of a lossy transport is waited for before it counts as lost.
pub(super) const LOSSY_WAIT: Duration = Duration::from_millis(100);

/// Work on a thread of its own, whose end is waited for with patience.
pub(super) struct Task<R> {
    what: String,
    patience: Duration,
    /// Closed when the work has ended, well or by a panic.
    ended: mpsc::Receiver<()>,
    thread: JoinHandle<R>,
}

impl<R: Send + 'static> Task<R> {
    /// Asserts that the work of all of these does not end for some time, because nothing lets it.
    pub(super) fn all_wait(tasks: Vec<Self>) -> Vec<Self> {
        Self::all_wait_for(WATCH, tasks)
    }

    /// Asserts that the work of all of these does not end for so long.
    pub(super) fn all_wait_for(time: Duration, tasks: Vec<Self>) -> Vec<Self> {
        thread::sleep(time);
        tasks.into_iter().map(Self::not_ended).collect()
    }

    /// Asserts that the work does not end for some time, because nothing lets it.
    pub(super) fn waits(self) -> Self {
        thread::sleep(WATCH);
        self.not_ended()
    }

    fn not_ended(self) -> Self {
        match self.ended.try_recv() {
            Err(mpsc::TryRecvError::Empty) => self,
            _ => {
                let what = self.what.clone();
                self.end();
                panic!("{what}: came back with nothing to come back for");
            }
        }
    }

    /// The work's result. Panics as it did, or when it hangs.
    pub(super) fn end(self) -> R {
        match self.ended.recv_timeout(self.patience) {
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("{}: hangs", self.what),
            _ => self
                .thread
                .join()
                .unwrap_or_else(|panic| resume_unwind(panic)),
        }
    }
}

/// What the transport under test declares.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    pub(super) caps: Capabilities,
    pub(super) max: usize,
    pub(super) prompt: bool,
    pub(super) patience: Duration,
}

/// Why a call did nothing: the six errors as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// `Full`, `Empty` or `Timeout`.
    NotNow,
    Disconnected,
    PeerDead,
    TooLarge {
        len: usize,
        max: usize,
    },
    Fault(Fault),
}

impl From<TrySendError> for Stop {
    fn from(error: TrySendError) -> Self {
        match error.or_full() {
            Ok(error) => error.into(),
            Err(()) => Self::NotNow,
        }
    }
}

impl From<SendError> for Stop {
    fn from(error: SendError) -> Self {
        SendTimeoutError::from(error).into()
    }
}

impl From<SendTimeoutError> for Stop {
    fn from(error: SendTimeoutError) -> Self {
        match error {
            SendTimeoutError::Timeout(()) => Self::NotNow,
            SendTimeoutError::Disconnected(()) => Self::Disconnected,
            SendTimeoutError::PeerDead(()) => Self::PeerDead,
            SendTimeoutError::TooLarge { len, max, .. } => Self::TooLarge { len, max },
            SendTimeoutError::Fault((), fault) => Self::Fault(fault),
        }
    }
}

impl From<TryRecvError> for Stop {
    fn from(error: TryRecvError) -> Self {
        match error {
            TryRecvError::Empty => Self::NotNow,
            TryRecvError::Disconnected => Self::Disconnected,
            TryRecvError::PeerDead => Self::PeerDead,
            TryRecvError::Fault(fault) => Self::Fault(fault),
        }
    }
}

impl From<RecvError> for Stop {
    fn from(error: RecvError) -> Self {
        TryRecvError::from(error).into()
    }
}

impl From<RecvTimeoutError> for Stop {
    fn from(error: RecvTimeoutError) -> Self {
        match error {
            RecvTimeoutError::Timeout => Self::NotNow,
            RecvTimeoutError::Disconnected => Self::Disconnected,
            RecvTimeoutError::PeerDead => Self::PeerDead,
            RecvTimeoutError::Fault(fault) => Self::Fault(fault),
        }
    }
}

/// Which of the four calls is made.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    Try,
    Wait,
    Timeout(Duration),
    Deadline(Instant),
}

impl Way {
    /// Asks again at once what can be asked without waiting.
    fn is_try(self) -> bool {
        matches!(self, Self::Try)
    }
}

/// Calls the send of that way, once.
pub(super) fn send(tx: &mut impl Sender, way: Way, record: &[u8]) -> Result<(), Stop> {
    match way {
        Way::Try => Ok(tx.try_send(record)?),
        Way::Wait => Ok(tx.send(record)?),
        Way::Timeout(timeout) => Ok(tx.send_timeout(record, timeout)?),
        Way::Deadline(deadline) => Ok(tx.send_deadline(record, deadline)?),
    }
}

/// Calls the receive of that way, once, with a buffer that holds something else.
pub(super) fn receive(rx: &mut impl Receiver, way: Way) -> Result<Vec<u8>, Stop> {
    let mut buffer = b"what the buffer held before".to_vec();
    let result = match way {
        Way::Try => rx.try_recv(&mut buffer).map_err(Stop::from),
        Way::Wait => rx.recv(&mut buffer).map_err(Stop::from),
        Way::Timeout(timeout) => rx.recv_timeout(&mut buffer, timeout).map_err(Stop::from),
        Way::Deadline(deadline) => rx.recv_deadline(&mut buffer, deadline).map_err(Stop::from),
    };
    match result {
        Ok(len) => {
            assert_eq!(
                len,
                buffer.len(),
                "{way:?}: length returned, length in the buffer"
            );
            Ok(buffer)
        }
        Err(stop) => {
            assert!(
                buffer.is_empty(),
                "{way:?}: {} bytes in the buffer after {stop:?}",
                buffer.len()
            );
            Err(stop)
        }
    }
}

impl Terms {
    pub(super) fn of<T: Transport>(t: &T, tx: &T::Tx) -> Self {
        let caps = tx.capabilities();
        let max = caps
            .max_record
            .expect("an open channel declares its longest record");
        assert!(
            max >= 8,
            "the suite needs records of 8 bytes; the longest here has {max}"
        );
        Self {
            caps,
            max,
            prompt: t.prompt(),
            patience: t.patience(),
        }
    }

    /// Starts work on a thread of its own; returns when it has begun.
    pub(super) fn task<R: Send + 'static>(
        &self,
        what: impl Into<String>,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Task<R> {
        let what = what.into();
        let (begin, begun) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let thread = thread::Builder::new()
            .name(what.clone())
            .spawn(move || {
                let _dropped_at_the_end: mpsc::Sender<()> = end;
                begin.send(()).expect("the starter waits for this");
                work()
            })
            .expect("a thread can be started");
        begun.recv().expect("the thread tells that it has begun");
        Task {
            what,
            patience: self.patience,
            ended,
            thread,
        }
    }

    /// The four ways, the timed ones with more time than the suite has patience.
    pub(super) fn ways(&self) -> [Way; 4] {
        let far = self.patience * 10;
        [
            Way::Try,
            Way::Wait,
            Way::Timeout(far),
            Way::Deadline(Instant::now() + far),
        ]
    }

    fn way(&self, turn: u64) -> Way {
        self.ways()[(mix(turn) % 4) as usize]
    }

    /// Sends `record` in one way or another; retries a `Full`.
    pub(super) fn put(&self, tx: &mut impl Sender, turn: u64, record: &[u8]) {
        let way = if record.len() > PAGE {
            Way::Wait
        } else {
            self.way(turn)
        };
        self.put_by(tx, way, record);
    }

    /// Sends `record` in this way; retries a `Full`.
    pub(super) fn put_by(&self, tx: &mut impl Sender, way: Way, record: &[u8]) {
        let sent = self.retry(way, || send(tx, way, record));
        assert_eq!(sent, Ok(()), "{way:?}: sending {} bytes", record.len());
    }

    /// Receives in one way or another; retries an `Empty`.
    pub(super) fn get(&self, rx: &mut impl Receiver, turn: u64) -> Vec<u8> {
        self.get_by(rx, self.way(turn))
    }

    /// Receives in this way; retries an `Empty`.
    pub(super) fn get_by(&self, rx: &mut impl Receiver, way: Way) -> Vec<u8> {
        self.retry(way, || receive(rx, way))
            .unwrap_or_else(|stop| panic!("{way:?}: receiving, got {stop:?}"))
    }

    fn retry<R>(&self, way: Way, mut call: impl FnMut() -> Result<R, Stop>) -> Result<R, Stop> {
        let since = Instant::now();
        loop {
            match call() {
                Err(Stop::NotNow) if way.is_try() && since.elapsed() < self.patience => {
                    thread::yield_now();
                }
                result => return result,
            }
        }
    }

    /// Sends `record` and receives it, again if the transport may have lost it.
    pub(super) fn pass(
        &self,
        tx: &mut impl Sender,
        rx: &mut impl Receiver,
        turn: u64,
        record: &[u8],
    ) {
        self.put(tx, turn, record);
        let got = if self.caps.lossy {
            let wait = Way::Timeout(LOSSY_WAIT);
            let mut tries = 0;
            loop {
                match receive(rx, wait) {
                    Err(Stop::NotNow) if tries < 50 => self.put(tx, turn, record),
                    result => break result.expect("a record every now and then"),
                }
                tries += 1;
            }
        } else {
            self.get(rx, turn + 1)
        };
        assert_same(&got, record);
    }

    /// Receives until there is nothing more for now.
    pub(super) fn exhaust(&self, rx: &mut impl Receiver) {
        while receive(rx, Way::Timeout(LOSSY_WAIT)).is_ok() {}
    }

    /// Sends full-size records, numbered from 0, until there is no more room, and returns how
    /// many; `None` if a lossy transport never says `Full`.
    pub(super) fn fill(&self, tx: &mut impl Sender) -> Option<u32> {
        let since = Instant::now();
        let mut count = 0;
        // A transport that is not prompt may find room for a while yet: TCP moves on what a small window held
        // back when a timer of 200 ms fires.
        let mut refusals = if self.prompt { 1 } else { 20 };
        while refusals > 0 {
            match send(tx, Way::Try, &self.page(count)) {
                Ok(()) => count += 1,
                Err(Stop::NotNow) => {
                    refusals -= 1;
                    if refusals > 0 {
                        thread::sleep(Duration::from_millis(25));
                    }
                }
                Err(stop) => panic!("filling the channel, after {count} records: {stop:?}"),
            }
            if self.caps.lossy && count == LOSSY_FILL {
                return None;
            }
            assert!(
                since.elapsed() < self.patience,
                "no end to the room: {count} records of {} bytes, and still not full",
                self.max.min(PAGE)
            );
        }
        // What a lossy transport has taken, it may have dropped.
        (!self.caps.lossy).then_some(count)
    }

    /// Receives what [`fill`](Self::fill) sent, and no more.
    pub(super) fn drain(&self, rx: &mut impl Receiver, count: u32) {
        for number in 0..count {
            let way = if self.prompt {
                Way::Try
            } else {
                Way::Timeout(self.patience)
            };
            match receive(rx, way) {
                Ok(got) => assert_same(&got, &self.page(number)),
                Err(stop) => panic!("{way:?}: record {number} of {count}, got {stop:?}"),
            }
        }
        self.nothing_there(rx);
    }

    /// Asserts that nothing can be received.
    pub(super) fn nothing_there(&self, rx: &mut impl Receiver) {
        let way = if self.prompt {
            Way::Try
        } else {
            Way::Timeout(Duration::from_millis(50))
        };
        match receive(rx, way) {
            Err(Stop::NotNow) => {}
            Ok(got) => panic!("received {} bytes that were not sent", got.len()),
            Err(stop) => panic!("nothing is there, nobody has gone, got {stop:?}"),
        }
    }

    /// Full-size record number `number`, of sender 0.
    pub(super) fn page(&self, number: u32) -> Vec<u8> {
        bytes(0, number, self.max.min(PAGE))
    }

    /// Record `number` of `sender`; its length follows from both.
    pub(super) fn record(&self, sender: u32, number: u32) -> Vec<u8> {
        let random = mix(u64::from(sender) << 32 | u64::from(number)) as usize;
        let span = if random % 16 == 0 { 3000 } else { 200 };
        bytes(sender, number, 8 + (random >> 8) % (self.max.min(span) - 7))
    }

    /// The sender and the number of a [`record`](Self::record), every byte of which is checked.
    pub(super) fn read(&self, got: &[u8]) -> (u32, u32) {
        let Some((head, _)) = got.split_first_chunk::<8>() else {
            panic!(
                "received {} bytes, sent was nothing shorter than 8",
                got.len()
            );
        };
        let head = u64::from_le_bytes(*head);
        let (sender, number) = ((head >> 32) as u32, head as u32);
        assert_same(got, &self.record(sender, number));
        (sender, number)
    }
}

/// Asserts that a record arrived as it was sent.
pub(super) fn assert_same(got: &[u8], sent: &[u8]) {
    assert_eq!(got.len(), sent.len(), "length received, length sent");
    if got != sent {
        let at = got
            .iter()
            .zip(sent)
            .take_while(|(got, sent)| got == sent)
            .count();
        panic!(
            "byte {at} of {}: received {}, sent {}",
            got.len(),
            got[at],
            sent[at]
        );
    }
}

/// `len` bytes: sender and number as far as they fit, then noise that follows from both.
pub(super) fn bytes(sender: u32, number: u32, len: usize) -> Vec<u8> {
    let head = u64::from(sender) << 32 | u64::from(number);
    let mut noise = mix(head);
    let mut bytes = Vec::with_capacity(len + 8);
    bytes.extend_from_slice(&head.to_le_bytes());
    while bytes.len() < len {
        noise = mix(noise);
        bytes.extend_from_slice(&noise.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Noise from a number (splitmix64: Steele, Lea and Flood, OOPSLA 2014).
pub(super) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Runs one scene of a clause on a fresh channel.
pub(super) fn scene<T: Transport>(
    t: &T,
    what: &str,
    play: impl FnOnce(Terms, T::Tx, T::Rx) + Send + 'static,
) {
    let (tx, rx) = t.pair();
    let terms = Terms::of(t, &tx);
    act(terms, what, move || play(terms, tx, rx));
}

/// Runs one act of a clause: with patience for a task of its own to be found hanging.
pub(super) fn act<R: Send + 'static>(
    terms: Terms,
    what: &str,
    play: impl FnOnce() -> R + Send + 'static,
) -> R {
    let mut task = terms.task(what, play);
    task.patience *= 2;
    task.end()
}

/// How many senders and receivers traffic is tried with.
pub(super) fn crowds(caps: Capabilities) -> impl Iterator<Item = (usize, usize)> {
    [(1, 1), (3, 1), (1, 3), (3, 3)]
        .into_iter()
        .filter(move |&(senders, receivers)| {
            (senders == 1 || caps.many_senders) && (receivers == 1 || caps.many_receivers)
        })
}

/// A fresh channel with so many handles on it.
pub(super) fn crowd<T: Transport>(
    t: &T,
    senders: usize,
    receivers: usize,
) -> (Terms, Vec<T::Tx>, Vec<T::Rx>) {
    let (tx, rx) = t.pair();
    let terms = Terms::of(t, &tx);
    let (mut txs, mut rxs) = (vec![tx], vec![rx]);
    while txs.len() < senders {
        txs.push(
            t.more_tx(&txs[0])
                .expect("many senders are declared, `more_tx` gives none"),
        );
    }
    while rxs.len() < receivers {
        rxs.push(
            t.more_rx(&rxs[0])
                .expect("many receivers are declared, `more_rx` gives none"),
        );
    }
    (terms, txs, rxs)
}

/// Which record, by sender and number, came to a receiver, in the order of arrival.
pub(super) type Ledger = Vec<(u32, u32)>;

/// Sends `each` records by every sender and returns what each receiver received.
///
/// Ends when all have arrived and nothing follows, or when nothing comes any more.
pub(super) fn traffic<Tx, Rx>(terms: Terms, txs: Vec<Tx>, rxs: Vec<Rx>, each: u32) -> Vec<Ledger>
where
    Tx: Sender + Send + 'static,
    Rx: Receiver + Send + 'static,
{
    let expected = txs.len() as u32 * each;
    let arrived = Arc::new(AtomicU32::new(0));
    let sending = Arc::new(AtomicUsize::new(txs.len()));
    let receivers: Vec<_> = rxs
        .into_iter()
        .map(|rx| {
            let (arrived, sending) = (arrived.clone(), sending.clone());
            terms.task("traffic: receiving", move || {
                collect(
                    terms,
                    rx,
                    || arrived.load(SeqCst) >= expected,
                    &arrived,
                    &sending,
                )
            })
        })
        .collect();
    let senders: Vec<_> = txs
        .into_iter()
        .zip(0..)
        .map(|(mut tx, sender)| {
            let sending = sending.clone();
            terms.task("traffic: sending", move || {
                for number in 0..each {
                    terms.put(&mut tx, u64::from(number), &terms.record(sender, number));
                }
                sending.fetch_sub(1, SeqCst);
                tx
            })
        })
        .collect();
    // Nobody closes before all have received: closing is another clause.
    let _open: Vec<Tx> = senders.into_iter().map(Task::end).collect();
    let ledgers: Vec<(Ledger, Rx)> = receivers.into_iter().map(Task::end).collect();
    ledgers.into_iter().map(|(ledger, _open)| ledger).collect()
}

fn collect<Rx: Receiver>(
    terms: Terms,
    mut rx: Rx,
    complete: impl Fn() -> bool,
    arrived: &AtomicU32,
    sending: &AtomicUsize,
) -> (Ledger, Rx) {
    let mut ledger = Ledger::new();
    let mut since = Instant::now();
    loop {
        let last = complete();
        let way = match ledger.len() % 3 {
            _ if last => Way::Timeout(Duration::from_millis(20)),
            0 => Way::Try,
            1 => Way::Timeout(Duration::from_millis(1)),
            _ => Way::Deadline(Instant::now() + Duration::from_millis(20)),
        };
        match receive(&mut rx, way) {
            Ok(got) => {
                ledger.push(terms.read(&got));
                arrived.fetch_add(1, SeqCst);
                since = Instant::now();
            }
            Err(Stop::NotNow) => {
                let enough = match sending.load(SeqCst) {
                    0 if terms.caps.lossy => LOSSY_WAIT,
                    0 => terms.patience / 2,
                    _ => terms.patience,
                };
                if last || since.elapsed() > enough {
                    return (ledger, rx);
                }
                thread::yield_now();
            }
            Err(stop) => panic!("{way:?}: nobody has gone, got {stop:?}"),
        }
    }
}
