//! What is tried: an operation, on a kind of ring, with a form of record, in a state. A [`Cell`] is one such choice;
//! a line of the table sums the cells that differ in the state alone.

use super::form::BATCH;
use super::row::Row;
use annulus::{Kind, Order};
use std::fmt;

/// The side that the victim is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It sends.
    Sender,
    /// It receives.
    Receiver,
}

/// What the victim is killed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `try_send`.
    Send,
    /// `try_send`, and again: a handle may go a shorter way the second time.
    SendTwice,
    /// `try_send` while a receiver sleeps, which has to be woken.
    SendWakes,
    /// A batch is sent.
    SendBatch,
    /// `try_reserve`, write, commit.
    Commit,
    /// `try_reserve`, write, drop.
    Abort,
    /// `try_recv`: at most once.
    Recv,
    /// `try_recv` while a sender sleeps, which has to be woken.
    RecvWakes,
    /// A batch is received.
    RecvBatch,
    /// `try_peek`, read, release: at least once.
    Ack,
    /// `try_peek`, read, drop.
    Return,
    /// A sender is attached.
    AttachSender,
    /// A receiver is attached.
    AttachReceiver,
    /// A sender is closed.
    CloseSender,
    /// A receiver is closed.
    CloseReceiver,
    /// A receiver's `try_recv` finds that all senders are dead, and the last one's claim is in the way.
    VoidsLast,
    /// A receiver that has looked in vain for long meets a dead one's claim while other senders live.
    VoidsLooking,
    /// A receiver goes to sleep before a dead one's claim, and has more behind it.
    VoidsSleeping,
    /// A sender that has found the ring full for long meets a dead one's claim.
    VoidsFull,
    /// A sender comes and finds the lease of a dead one, and its claim.
    VoidsComing,
    /// A receiver that has looked in vain for long meets a record that a dead one had taken.
    ReturnsLooking,
    /// A sender that has found the ring full for long meets a record that a dead receiver had taken.
    ReturnsFull,
    /// A receiver comes and finds the lease of a dead one, and the record that it had taken.
    ReturnsComing,
    /// As `Return`, but it was the record's last try: it becomes a dead letter.
    Condemn,
    /// As `ReturnsComing`, but it was the record's last try.
    CondemnsComing,
    /// A dead letter is read and discarded.
    Discard,
}

impl Op {
    /// All of them.
    pub const ALL: [Self; 26] = [
        Self::Send,
        Self::SendTwice,
        Self::SendWakes,
        Self::SendBatch,
        Self::Commit,
        Self::Abort,
        Self::Recv,
        Self::RecvWakes,
        Self::RecvBatch,
        Self::Ack,
        Self::Return,
        Self::AttachSender,
        Self::AttachReceiver,
        Self::CloseSender,
        Self::CloseReceiver,
        Self::VoidsLast,
        Self::VoidsLooking,
        Self::VoidsSleeping,
        Self::VoidsFull,
        Self::VoidsComing,
        Self::ReturnsLooking,
        Self::ReturnsFull,
        Self::ReturnsComing,
        Self::Condemn,
        Self::CondemnsComing,
        Self::Discard,
    ];

    /// Its name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::SendTwice => "send-twice",
            Self::SendWakes => "send-wakes",
            Self::SendBatch => "send-batch",
            Self::Commit => "commit",
            Self::Abort => "abort",
            Self::Recv => "recv",
            Self::RecvWakes => "recv-wakes",
            Self::RecvBatch => "recv-batch",
            Self::Ack => "ack",
            Self::Return => "return",
            Self::AttachSender => "attach-sender",
            Self::AttachReceiver => "attach-receiver",
            Self::CloseSender => "close-sender",
            Self::CloseReceiver => "close-receiver",
            Self::VoidsLast => "voids-last",
            Self::VoidsLooking => "voids-looking",
            Self::VoidsSleeping => "voids-sleeping",
            Self::VoidsFull => "voids-full",
            Self::VoidsComing => "voids-coming",
            Self::ReturnsLooking => "returns-looking",
            Self::ReturnsFull => "returns-full",
            Self::ReturnsComing => "returns-coming",
            Self::Condemn => "condemn",
            Self::CondemnsComing => "condemns-coming",
            Self::Discard => "discard",
        }
    }

    /// The victim's side.
    pub const fn side(self) -> Side {
        match self {
            Self::Send
            | Self::SendTwice
            | Self::SendWakes
            | Self::SendBatch
            | Self::Commit
            | Self::Abort
            | Self::AttachSender
            | Self::CloseSender
            | Self::VoidsFull
            | Self::VoidsComing
            | Self::ReturnsFull => Side::Sender,
            _ => Side::Receiver,
        }
    }

    /// Whether somebody died before and left a claim.
    pub const fn voids(self) -> bool {
        matches!(
            self,
            Self::VoidsLast
                | Self::VoidsLooking
                | Self::VoidsSleeping
                | Self::VoidsFull
                | Self::VoidsComing
        )
    }

    /// Whether somebody died before and left a record taken.
    pub const fn returns(self) -> bool {
        matches!(
            self,
            Self::ReturnsLooking | Self::ReturnsFull | Self::ReturnsComing | Self::CondemnsComing
        )
    }

    /// Whether the first try of a record is its last.
    pub const fn condemns(self) -> bool {
        matches!(self, Self::Condemn | Self::CondemnsComing | Self::Discard)
    }

    /// Whether a helper sleeps on the other side.
    pub const fn wakes(self) -> bool {
        matches!(self, Self::SendWakes | Self::RecvWakes)
    }

    /// Whether a record may be found taken, so that receivers are to be asked for its tries.
    pub const fn at_least_once(self) -> bool {
        matches!(self, Self::Ack | Self::Return) || self.returns() || self.condemns()
    }

    /// Whether a ring of this kind has such a thing.
    pub fn applies(self, kind: Kind) -> bool {
        if self.voids() {
            kind.many_senders()
        } else if self.returns() || self.condemns() {
            kind.many_receivers()
        } else {
            true
        }
    }

    /// Whether the states of the ring make a difference to it.
    pub const fn is_message(self) -> bool {
        matches!(
            self,
            Self::Send
                | Self::SendTwice
                | Self::SendBatch
                | Self::Commit
                | Self::Abort
                | Self::Recv
                | Self::RecvBatch
                | Self::Ack
                | Self::Return
        )
    }
}

/// How full the ring is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Nothing in it.
    Empty,
    /// Half.
    Half,
    /// No room.
    Full,
}

/// Where the ring's first record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At position 0.
    Zero,
    /// At the last index of the first lap.
    Index,
    /// Where the control words' laps wrap with the next one: position 2^54 - 1.
    Lap,
    /// Where positions wrap with the next one: 2^64 - 1.
    Position,
}

impl Start {
    /// The position, in a ring of so many units.
    pub const fn position(self, units: u64) -> u64 {
        match self {
            Self::Zero => 0,
            Self::Index => units - 1,
            Self::Lap => (1 << 54) - 1,
            Self::Position => u64::MAX,
        }
    }
}

/// The forms of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormName {
    /// Values of four words.
    Typed,
    /// Byte strings of one cell.
    Short,
    /// Byte strings of several cells.
    Long,
}

/// One choice of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The kind of ring.
    pub kind: Kind,
    /// The order among senders.
    pub order: Order,
    /// The form of records.
    pub form: FormName,
    /// What the victim does.
    pub op: Op,
    /// How full the ring is before.
    pub fill: Fill,
    /// Where it begins.
    pub start: Start,
}

impl Cell {
    /// Whether receivers have words, so that a record that came back says so.
    pub fn counts_tries(&self) -> bool {
        self.kind.many_receivers() || self.kind.many_senders() && self.order == Order::PerSender
    }

    /// Units of the ring, which are not always cells where there is one sender and one receiver.
    pub fn units(&self) -> u64 {
        let single = !self.kind.many_senders() && !self.kind.many_receivers();
        match (single, self.form) {
            (false, _) => 64,
            (true, FormName::Typed) => 8,
            (true, _) => 128,
        }
    }

    /// How many committed records the victim may have for good; `seen` if it has read what it peeked at.
    pub fn takes(&self, seen: bool) -> usize {
        match self.op {
            Op::Recv
            | Op::RecvWakes
            | Op::VoidsLast
            | Op::VoidsLooking
            | Op::VoidsSleeping
            | Op::ReturnsLooking => 1,
            Op::RecvBatch => BATCH,
            Op::Ack | Op::Discard => usize::from(seen),
            _ => 0,
        }
    }

    /// Its line in the table, empty.
    pub fn row(&self) -> Row {
        Row::new(&self.kind.to_string(), &self.scenario())
    }

    /// The scenario's name in the table, which does not tell the state.
    pub fn scenario(&self) -> String {
        let form = match self.form {
            FormName::Typed => "typed",
            FormName::Short => "short",
            FormName::Long => "long",
        };
        let order = match self.order {
            Order::PerSender => ", per sender",
            _ => "",
        };
        format!("{} {form}{order}", self.op.name())
    }

    /// All cells.
    pub fn all() -> Vec<Self> {
        let kinds = [
            (Kind::Spsc, Order::Total),
            (Kind::Mpsc, Order::Total),
            (Kind::Mpsc, Order::PerSender),
            (Kind::Spmc, Order::Total),
            (Kind::Mpmc, Order::Total),
            (Kind::Mpmc, Order::PerSender),
        ];
        let mut cells = vec![];
        for (kind, order) in kinds {
            for op in Op::ALL.into_iter().filter(|op| op.applies(kind)) {
                for form in [FormName::Typed, FormName::Short, FormName::Long] {
                    // Byte records go the same way every time.
                    if op == Op::SendTwice && form != FormName::Typed {
                        continue;
                    }
                    let states = states(op, kind, order, form).into_iter();
                    cells.extend(states.map(|(fill, start)| Self {
                        kind,
                        order,
                        form,
                        op,
                        fill,
                        start,
                    }));
                }
            }
        }
        cells
    }
}

/// The states in which an operation is tried.
fn states(op: Op, kind: Kind, order: Order, form: FormName) -> Vec<(Fill, Start)> {
    if op.is_message() {
        // What is sent, or received, next, is then the record that wraps.
        let wrapping = match op.side() {
            Side::Sender => Fill::Empty,
            Side::Receiver => Fill::Half,
        };
        let mut states = vec![
            (Fill::Empty, Start::Zero),
            (Fill::Half, Start::Zero),
            (Fill::Full, Start::Zero),
            (wrapping, Start::Index),
            (wrapping, Start::Position),
        ];
        if kind != Kind::Spsc {
            states.push((wrapping, Start::Lap));
        }
        return states;
    }
    // In per-sender order receivers step over a dead one's claim, and are not stuck before they have taken the rest.
    if order == Order::PerSender {
        match op {
            Op::VoidsSleeping => return vec![],
            Op::VoidsLooking => return vec![(Fill::Empty, Start::Zero)],
            _ => {}
        }
    }
    // The record's form makes little difference to the rest.
    match (op, form) {
        (Op::SendWakes, FormName::Typed | FormName::Long) => vec![(Fill::Empty, Start::Zero)],
        (Op::RecvWakes, FormName::Typed | FormName::Long) => vec![(Fill::Full, Start::Zero)],
        (Op::VoidsFull | Op::ReturnsFull, FormName::Typed) => {
            vec![(Fill::Full, Start::Zero), (Fill::Full, Start::Lap)]
        }
        (_, FormName::Typed) => vec![(Fill::Half, Start::Zero), (Fill::Half, Start::Lap)],
        (Op::VoidsLast | Op::VoidsLooking | Op::ReturnsLooking, FormName::Long) => {
            vec![(Fill::Half, Start::Index)]
        }
        _ => vec![],
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fill = match self.fill {
            Fill::Empty => "empty",
            Fill::Half => "half",
            Fill::Full => "full",
        };
        let start = match self.start {
            Start::Zero => "",
            Start::Index => ", at the last index",
            Start::Lap => ", at the last lap",
            Start::Position => ", at the last position",
        };
        write!(f, "{} {}, {fill}{start}", self.kind, self.scenario())
    }
}
