//! Which cells there are, and what is to be reached in each.

use crate::cell::{Against, Bound, Cell, Goal, Measure, Role, Subject};
use crate::drive::{batches, stream, trip};
use crate::message::Words;
use crate::ours::Annulus;
#[cfg(feature = "peers")]
use crate::peers::{ArrayQueue, Channel, Ringfire, Rtrb, ShaqMpmc, ShaqSpsc};
use crate::queue::Named;
use crate::stage::{Processes, Threads};
use annulus::{Mpmc, Spsc};

/// Messages that a queue holds, where nothing else is said.
pub const CAPACITY: usize = 4096;

const PER_MESSAGE: &str = "ns/message";
const ROUND_TRIP: &str = "ns/round trip";

fn subject<V: Named>(role: Role, measure: Measure) -> Subject {
    Subject {
        name: match role {
            Role::Again => "the same again",
            _ => V::NAME,
        },
        note: V::NOTE,
        role,
        measure,
    }
}

/// A driver for a venue: `driver::<venue, arguments>`.
macro_rules! measure {
    ($driver:ident($($argument:tt)*), $venue:ty) => {
        $driver::<$venue, $($argument)*>
    };
}

/// Who does a piece of work: `cast!(driver(arguments): roles and queues in their places; those that need the feature
/// "peers")`.
macro_rules! cast {
    (
        $driver:ident $arguments:tt:
        $($role:ident $venue:ty),+;
        $($peer_role:ident $peer:ty),* $(,)?
    ) => {{
        let ours = [$(subject::<$venue>(Role::$role, measure!($driver $arguments, $venue))),+];
        #[cfg(feature = "peers")]
        let peers = [$(subject::<$peer>(Role::$peer_role, measure!($driver $arguments, $peer))),*];
        #[cfg(not(feature = "peers"))]
        let peers = [];
        ours.into_iter().chain(peers).collect::<Vec<_>>()
    }};
}

fn faster(against: Against, times: f64) -> Goal {
    Goal {
        against,
        bound: Bound::Faster(times),
    }
}

/// All cells of the comparison with peers.
pub fn peers() -> Vec<Cell> {
    let best = |times| vec![faster(Against::Best, times)];
    let small = vec![
        faster(Against::Best, 1.3),
        faster(Against::Of(&["shaq spsc"]), 5.0),
        faster(Against::Limit, 0.8),
    ];
    let mut cells = vec![
        spsc::<1>(small),
        spsc::<8>(best(3.0)),
        spsc::<32>(best(3.0)),
    ];
    cells.extend([batch::<1>(), batch::<8>()]);
    cells.extend([mpmc::<1>(), mpmc::<8>(), mpmc::<32>()]);
    cells.extend([round_trip::<1>(), round_trip::<8>()]);
    cells.extend([
        between_processes::<1>(),
        between_processes::<8>(),
        between_processes::<32>(),
        round_trip_between_processes::<1>(),
        round_trip_between_processes::<8>(),
    ]);
    cells
}

fn cell<const N: usize>(
    name: &str,
    what: &'static str,
    unit: &'static str,
    subjects: Vec<Subject>,
    goals: Vec<Goal>,
) -> Cell {
    Cell {
        name: format!("{name}-{}", 8 * N),
        what,
        unit,
        capacity: CAPACITY,
        subjects,
        goals,
    }
}

fn spsc<const N: usize>(goals: Vec<Goal>) -> Cell {
    let subjects = cast!(
        stream(Words<N>):
        Ours Threads<Annulus<Spsc>>, Again Threads<Annulus<Spsc>>;
        Peer Threads<Rtrb>,
        Peer Threads<Ringfire>,
        Peer Threads<ShaqSpsc>,
        Peer Threads<ArrayQueue>,
        Peer Threads<Channel>,
    );
    let what = "one sender, one receiver, threads; each message is published before the next";
    cell::<N>("spsc", what, PER_MESSAGE, subjects, goals)
}

fn batch<const N: usize>() -> Cell {
    let subjects = cast!(
        batches(Words<N>, 64):
        Ours Threads<Annulus<Spsc>>, Again Threads<Annulus<Spsc>>;
        Peer Threads<Rtrb>,
        Peer Threads<Ringfire>,
        Peer Threads<ShaqSpsc>,
    );
    let goals = vec![faster(Against::Best, 1.2), faster(Against::Limit, 0.9)];
    let what = "one sender, one receiver, threads; batches of 64";
    cell::<N>("batch", what, PER_MESSAGE, subjects, goals)
}

fn mpmc<const N: usize>() -> Cell {
    let subjects = cast!(
        stream(Words<N>):
        Ours Threads<Annulus<Mpmc>>, Again Threads<Annulus<Mpmc>>, Variant Threads<Annulus<Spsc>>;
        Peer Threads<ArrayQueue>,
        Peer Threads<Channel>,
        Peer Threads<ShaqMpmc>,
    );
    let what = "a queue for many, used by one sender and one receiver, threads";
    let goals = vec![faster(Against::Best, 1.8)];
    cell::<N>("mpmc", what, PER_MESSAGE, subjects, goals)
}

fn round_trip<const N: usize>() -> Cell {
    let subjects = cast!(
        trip(Words<N>):
        Ours Threads<Annulus<Spsc>>, Again Threads<Annulus<Spsc>>, Variant Threads<Annulus<Mpmc>>;
        Peer Threads<Rtrb>,
        Peer Threads<Ringfire>,
        Peer Threads<ShaqSpsc>,
        Peer Threads<ArrayQueue>,
        Peer Threads<Channel>,
    );
    let what = "there and back on two queues, threads, both spin";
    let goals = vec![faster(Against::Best, 1.0)];
    cell::<N>("trip", what, ROUND_TRIP, subjects, goals)
}

fn between_processes<const N: usize>() -> Cell {
    let subjects = cast!(
        stream(Words<N>):
        Ours Processes<Annulus<Spsc>>, Again Processes<Annulus<Spsc>>, Variant Processes<Annulus<Mpmc>>;
        Peer Processes<Ringfire>,
        Peer Processes<ShaqSpsc>,
        Peer Processes<ShaqMpmc>,
    );
    let what = "one sender, one receiver, processes; each message is published before the next";
    let goals = vec![faster(Against::Best, if N == 1 { 1.3 } else { 3.0 })];
    cell::<N>("processes-spsc", what, PER_MESSAGE, subjects, goals)
}

fn round_trip_between_processes<const N: usize>() -> Cell {
    let subjects = cast!(
        trip(Words<N>):
        Ours Processes<Annulus<Spsc>>, Again Processes<Annulus<Spsc>>;
        Peer Processes<Ringfire>,
        Peer Processes<ShaqSpsc>,
    );
    let what = "there and back on two queues, processes, both spin";
    let goals = vec![faster(Against::Best, 1.0)];
    cell::<N>("processes-trip", what, ROUND_TRIP, subjects, goals)
}
