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
//! A clause asserts what the contract says and what the transport's [`Capabilities`](crate::Capabilities) declare, no
//! more: no test depends on speed. A time is only ever compared with a lower bound; a call that
//! does not come back within [`Transport::patience`] hangs. Clauses panic, as a test does.
//!
//! Several clauses fill the channel, so let it be small: one record of 4 KiB is enough, some MiB
//! take time. What needs a second process (signals, death at any instruction) is not in here, but
//! in the tests of processes.

mod ends;
mod harness;
mod records;
mod waiting;

pub use ends::{closed, dead};
pub use records::{boundaries, bounds, declared, handing_back, once, order};
pub use waiting::{blocking, non_blocking, timed};

use crate::{Receiver, Sender};
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

    /// One more sender on the channel of `beside`, where [`Capabilities::many_senders`](crate::Capabilities::many_senders) is
    /// declared. `None` where it is not: the transport refuses it.
    fn more_tx(&self, beside: &Self::Tx) -> Option<Self::Tx> {
        let _ = beside;
        None
    }

    /// One more receiver on the channel of `beside`, where [`Capabilities::many_receivers`](crate::Capabilities::many_receivers) is
    /// declared. `None` where it is not: the transport refuses it.
    fn more_rx(&self, beside: &Self::Rx) -> Option<Self::Rx> {
        let _ = beside;
        None
    }

    /// Closes both ends of a channel, then opens both anew, where [`Capabilities::persistent`](crate::Capabilities::persistent) is
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
