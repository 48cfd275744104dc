//! Does every ring do what the textbook's bounded buffer does? The same operations go to a ring, to the textbook's
//! buffer and to a `VecDeque`, from one thread; whatever comes back must be the same.
//!
//! `PROPTEST_CASES=10000` looks longer. Positions begin where counters of every width wrap, and laps of the control words (54 bits with the index).
#![cfg(not(loom))]

use annulus::{Mpmc, Mpsc, Order, Protocol, RingOptions, Spmc, Spsc};
use annulus_tests::model::{Ending, Model, No, Record, Rules, Slot};
use annulus_tests::subject::{Bytes, Handles, Subject, Typed};
use annulus_tests::textbook::{Queue, Textbook};
use annulus_tests::watch::Watch;
use bytemuck::Pod;
use proptest::prelude::*;
use proptest::sample::select;
use std::mem::size_of;

#[derive(Clone, Debug)]
enum Op {
    Send(usize, u16),
    SendBatch(usize, Vec<u16>),
    Reserve(usize, u16, u16, Ending),
    Recv(usize),
    RecvBatch(usize, usize),
    Peek(usize, Ending),
    RenewSender(usize),
    RenewReceiver(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let handle = 0..3_usize;
    let ending = select(&[Ending::Done, Ending::Dropped, Ending::Leaked][..]);
    let batch = prop::collection::vec(any::<u16>(), 0..70);
    let op = prop_oneof![
        6 => (handle.clone(), any::<u16>()).prop_map(|(s, len)| Op::Send(s, len)),
        3 => (handle.clone(), batch).prop_map(|(s, lens)| Op::SendBatch(s, lens)),
        4 => (handle.clone(), any::<u16>(), any::<u16>(), ending.clone())
            .prop_map(|(s, asked, used, ending)| Op::Reserve(s, asked, used, ending)),
        6 => handle.clone().prop_map(Op::Recv),
        3 => (handle.clone(), 0..80_usize).prop_map(|(r, max)| Op::RecvBatch(r, max)),
        4 => (handle.clone(), ending).prop_map(|(r, ending)| Op::Peek(r, ending)),
        1 => handle.clone().prop_map(Op::RenewSender),
        1 => handle.prop_map(Op::RenewReceiver),
    ];
    prop::collection::vec(op, 1..120)
}

/// Positions to begin at: within a short way of every boundary that a counter may have.
fn starts() -> impl Strategy<Value = u64> {
    let boundary = select(&[0_u64, 1 << 8, 1 << 31, 1 << 32, 1 << 53, 1 << 54, 1 << 63][..]);
    prop_oneof![
        select(
            &[
                0_u64,
                1 << 8,
                (1 << 31) - 1,
                (1 << 32) - 1,
                1 << 63,
                u64::MAX
            ][..]
        ),
        (boundary, 0..200_u64).prop_map(|(boundary, before)| boundary.wrapping_sub(before)),
    ]
}

/// Does the same to all three, and compares.
struct Trial<S> {
    subject: S,
    rules: Rules,
    textbook: Model<Textbook<Slot>>,
    queue: Model<Queue<Slot>>,
    /// The length of every record, where there is only one.
    size: Option<usize>,
    /// Records made so far, so that each is another.
    made: u64,
    /// Both sides are single, so that lengths are exact.
    exact: bool,
}

/// Asserts that the three say the same.
macro_rules! same {
    ($trial:ident, $name:ident ( $($argument:expr),* )) => {{
        let (textbook, queue) = ($trial.textbook.$name($($argument),*), $trial.queue.$name($($argument),*));
        assert_eq!(textbook, queue, "the two references");
        let ring = $trial.subject.$name($($argument),*);
        assert_eq!(ring, textbook, "the ring, the textbook");
        ring
    }};
}

impl<S: Subject> Trial<S> {
    fn len(&self, word: u16) -> usize {
        let max = self.rules.max_record;
        match word % 16 {
            0..8 => usize::from(word / 16) % 150 % (max + 1),
            8 => max - usize::from(word / 16) % 9,
            9 => max + 1,
            _ => usize::from(word / 16) % (max + 1),
        }
    }

    fn record(&mut self, word: u16) -> Record {
        let len = self.size.unwrap_or_else(|| self.len(word));
        self.made += 1;
        let seed = self.made.to_le_bytes();
        Record((0..len).map(|at| seed[at % 8] ^ (at / 8) as u8).collect())
    }

    fn act(&mut self, op: &Op) {
        match *op {
            Op::Send(sender, len) => {
                let record = self.record(len);
                let _ = same!(self, send(sender, &record));
            }
            Op::SendBatch(sender, ref lens) => {
                let records: Vec<_> = lens.iter().map(|&len| self.record(len)).collect();
                let _ = same!(self, send_batch(sender, &records));
            }
            Op::Reserve(sender, asked, used, ending) => {
                let asked = self.size.unwrap_or_else(|| self.len(asked));
                let mut record = self.record(used);
                record.0.truncate(asked);
                let _ = same!(self, reserve(sender, asked, &record, ending));
            }
            Op::Recv(receiver) => {
                let _ = same!(self, recv(receiver));
            }
            Op::RecvBatch(receiver, max) => {
                let _ = same!(self, recv_batch(receiver, max));
            }
            Op::Peek(receiver, ending) => {
                let _ = same!(self, peek(receiver, ending));
            }
            Op::RenewSender(sender) => {
                self.subject.renew_sender(sender);
                self.textbook.settle_sender(sender);
                self.queue.settle_sender(sender);
            }
            Op::RenewReceiver(receiver) => {
                self.subject.renew_receiver(receiver);
                self.textbook.settle_receiver(receiver);
                self.queue.settle_receiver(receiver);
            }
        }
        if self.exact {
            let unit = self.rules.bytes_of_a_unit.unwrap_or(1) as usize;
            let len = self.textbook.in_use() * unit;
            assert_eq!(
                self.subject.lens(),
                (len, len),
                "what the handles say is in use"
            );
        }
    }

    /// Empties the ring, fills it to its bound, and empties it again.
    fn end(&mut self) {
        for handle in 0..3 {
            self.act(&Op::RenewSender(handle));
            self.act(&Op::RenewReceiver(handle));
        }
        while same!(self, recv(0)).is_ok() {}
        for _ in 0..self.rules.room {
            let record = self.record(0);
            if same!(self, send(0, &record)).is_err() {
                assert!(self.size.is_none(), "the capacity of a typed ring is exact");
                break;
            }
        }
        let record = self.record(0);
        if self.size.is_some() {
            assert_eq!(same!(self, send(0, &record)), Err(No::Full));
        }
        while same!(self, recv(0)).is_ok() {}
    }
}

/// Handles are numbered modulo what there is.
fn limit(ops: &[Op], senders: usize, receivers: usize) -> Vec<Op> {
    let mut ops = ops.to_vec();
    for op in &mut ops {
        match op {
            Op::Send(s, _) | Op::SendBatch(s, _) | Op::Reserve(s, ..) | Op::RenewSender(s) => {
                *s %= senders;
            }
            Op::Recv(r) | Op::RecvBatch(r, _) | Op::Peek(r, _) | Op::RenewReceiver(r) => {
                *r %= receivers;
            }
        }
    }
    ops
}

fn try_out<K: Protocol>(
    subject: impl Subject,
    order: Order,
    (units, room): (u64, u64),
    bytes_of_a_unit: Option<u64>,
    size: Option<usize>,
    start: u64,
    ops: &[Op],
) {
    let many_senders = K::KIND.many_senders();
    let many_receivers = K::KIND.many_receivers();
    let rules = Rules {
        units,
        room,
        bytes_of_a_unit,
        many_senders,
        receiver_words: many_receivers || (many_senders && order == Order::PerSender),
        total_order: order == Order::Total,
        start,
        max_record: size.unwrap_or_else(|| (units * bytes_of_a_unit.unwrap_or(1)) as usize / 2 - 8),
    };
    let _watch = Watch::start();
    let mut trial = Trial {
        subject,
        rules,
        textbook: Model::new(rules),
        queue: Model::new(rules),
        size,
        made: 0,
        exact: !many_senders && !many_receivers,
    };
    let count = |many| if many { 3 } else { 1 };
    for op in limit(ops, count(many_senders), count(many_receivers)) {
        trial.act(&op);
    }
    trial.end();
}

fn typed<T: Pod, K: Protocol>(order: Order, capacity: usize, start: u64, ops: &[Op]) {
    let ring = RingOptions::new()
        .capacity(capacity)
        .order(order)
        .start_at(start)
        .heap::<T, K>()
        .unwrap();
    assert_eq!(ring.capacity(), capacity);
    let many = K::KIND.many_senders() || K::KIND.many_receivers();
    let units = (capacity as u64)
        .next_power_of_two()
        .max(if many { 64 } else { 1 });
    try_out::<K>(
        Typed(Handles::attach(ring)),
        order,
        (units, capacity as u64),
        None,
        Some(size_of::<T>()),
        start,
        ops,
    );
}

fn bytes<K: Protocol>(order: Order, capacity: usize, start: u64, ops: &[Op]) {
    let ring = RingOptions::new()
        .capacity(capacity)
        .order(order)
        .start_at(start)
        .heap::<[u8], K>()
        .unwrap();
    let many = K::KIND.many_senders() || K::KIND.many_receivers();
    let unit = if many { 64 } else { 8 };
    let units = (capacity as u64)
        .div_ceil(unit)
        .next_power_of_two()
        .max(if many { 64 } else { 8 });
    assert_eq!(ring.capacity() as u64, units * unit);
    try_out::<K>(
        Bytes(Handles::attach(ring)),
        order,
        (units, units),
        Some(unit),
        None,
        start,
        ops,
    );
}

/// Values that fill a word, that leave some of it over, that are pairs of words and one more, and that take several lines, whole words or
/// not, and more than go by words.
fn all_types<K: Protocol>(order: Order, capacity: usize, start: u64, ops: &[Op]) {
    typed::<u64, K>(order, capacity, start, ops);
    typed::<[u8; 3], K>(order, capacity, start, ops);
    typed::<[u64; 5], K>(order, capacity, start, ops);
    typed::<[u32; 31], K>(order, capacity, start, ops);
    typed::<[u64; 128], K>(order, capacity, start, ops);
}

const CAPACITIES: &[usize] = &[1, 2, 3, 5, 8, 63, 64, 65, 100];
const BYTES: &[usize] = &[1, 64, 100, 1000, 4096, 5000];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_typed_spsc_ring_is_the_textbooks(capacity in select(CAPACITIES), start in starts(), ops in ops()) {
        all_types::<Spsc>(Order::Total, capacity, start, &ops);
    }

    #[test]
    fn a_typed_mpsc_ring_is_the_textbooks(capacity in select(CAPACITIES), start in starts(), ops in ops()) {
        all_types::<Mpsc>(Order::Total, capacity, start, &ops);
    }

    #[test]
    fn a_typed_spmc_ring_is_the_textbooks(capacity in select(CAPACITIES), start in starts(), ops in ops()) {
        all_types::<Spmc>(Order::Total, capacity, start, &ops);
    }

    #[test]
    fn a_typed_mpmc_ring_is_the_textbooks(capacity in select(CAPACITIES), start in starts(), ops in ops()) {
        all_types::<Mpmc>(Order::Total, capacity, start, &ops);
    }

    #[test]
    fn a_typed_ring_with_the_order_of_each_sender_is_the_textbooks(
        capacity in select(CAPACITIES), start in starts(), ops in ops()
    ) {
        typed::<u64, Mpsc>(Order::PerSender, capacity, start, &ops);
        typed::<u64, Mpmc>(Order::PerSender, capacity, start, &ops);
    }

    #[test]
    fn a_byte_spsc_ring_is_the_textbooks(capacity in select(BYTES), start in starts(), ops in ops()) {
        bytes::<Spsc>(Order::Total, capacity, start, &ops);
    }

    #[test]
    fn a_byte_mpsc_ring_is_the_textbooks(capacity in select(BYTES), start in starts(), ops in ops()) {
        bytes::<Mpsc>(Order::Total, capacity, start, &ops);
    }

    #[test]
    fn a_byte_spmc_ring_is_the_textbooks(capacity in select(BYTES), start in starts(), ops in ops()) {
        bytes::<Spmc>(Order::Total, capacity, start, &ops);
    }

    #[test]
    fn a_byte_mpmc_ring_is_the_textbooks(capacity in select(BYTES), start in starts(), ops in ops()) {
        bytes::<Mpmc>(Order::Total, capacity, start, &ops);
    }

    #[test]
    fn a_byte_ring_with_the_order_of_each_sender_is_the_textbooks(
        capacity in select(BYTES), start in starts(), ops in ops()
    ) {
        bytes::<Mpsc>(Order::PerSender, capacity, start, &ops);
        bytes::<Mpmc>(Order::PerSender, capacity, start, &ops);
    }
}
