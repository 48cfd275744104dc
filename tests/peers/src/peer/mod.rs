//! The queues, each behind the same few words. Every driver follows the documentation of its crate; where that
//! offers a mode without loss, the mode is used.

mod annulus;
mod iceoryx2;
mod ringfire;
mod shaq;
mod textbook;

use crate::message::Message;
use crate::place::Place;

/// How many messages a queue holds.
pub const CAPACITY: u64 = 16;

/// Which end of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Sends.
    Sender,
    /// Receives.
    Receiver,
}

/// One end of a queue, in the process that holds it.
pub trait Handle {
    /// Sends a message: false if there is no room now. Only of a sender.
    fn send(&mut self, message: &Message) -> bool {
        unreachable!("a receiver does not send {message:?}")
    }

    /// Receives a message, if there is one now. Only of a receiver.
    fn receive(&mut self) -> Option<Message> {
        unreachable!("a sender does not receive")
    }

    /// Does what the documentation offers to a survivor of a dead process.
    fn recover(&mut self) {}
}

/// A handle, or why there is none.
pub type Opened = Result<Box<dyn Handle>, String>;

/// What a peer offers to survivors.
#[derive(Clone, Copy, Debug)]
pub struct Recovery {
    /// The call.
    pub call: &'static str,
    /// Whether all others of the victim's side must be gone before.
    pub alone: bool,
}

/// A queue of another project, or ours.
#[derive(Clone, Copy)]
pub struct Peer {
    /// What it is called here.
    pub name: &'static str,
    /// The crate, if it is one.
    pub package: Option<&'static str>,
    /// Opens or creates it.
    pub open: fn(&Place, Side, create: bool) -> Opened,
    /// Whether a second sender may be there.
    pub many_senders: bool,
    /// Whether a second receiver may be there.
    pub many_receivers: bool,
    /// Whether every receiver gets every message.
    pub broadcast: bool,
    /// Whether it overwrites what was not received: then senders wait for receivers to have polled.
    pub lossy: bool,
    /// What it does after a death without being asked.
    pub itself: &'static str,
    /// Whether `send` returns when there is no room.
    pub refuses: bool,
    /// What it offers after the death of a sender.
    pub sender_died: Option<Recovery>,
    /// What it offers after the death of a receiver.
    pub receiver_died: Option<Recovery>,
}

impl Peer {
    /// What it offers after the death of one of this side.
    pub fn recovery(&self, dead: Side) -> Option<Recovery> {
        match dead {
            Side::Sender => self.sender_died,
            Side::Receiver => self.receiver_died,
        }
    }

    /// Whether it is ours.
    pub fn is_control(&self) -> bool {
        self.package == Some("annulus")
    }
}

/// A queue of many senders and receivers, each message to one of them, that refuses what it has no room for.
const MPMC: Peer = Peer {
    name: "",
    package: None,
    open: |_, _, _| Err("no such queue".to_owned()),
    many_senders: true,
    many_receivers: true,
    broadcast: false,
    lossy: false,
    itself: "nothing offered",
    refuses: true,
    sender_died: None,
    receiver_died: None,
};

/// All of them; ours last.
pub const PEERS: [Peer; 10] = [
    shaq::MPMC,
    shaq::SPSC,
    ringfire::MPMC,
    ringfire::SPMC,
    iceoryx2::PUBLISH_SUBSCRIBE,
    iceoryx2::OVERFLOW,
    textbook::PLAIN,
    textbook::ROBUST,
    annulus::MPMC,
    annulus::SPSC,
];
