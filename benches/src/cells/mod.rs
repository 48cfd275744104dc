//! Which cells there are, and what is to be reached in each.

mod limits;
mod matrix;
mod peers;

pub use limits::limits;
pub use matrix::matrix;
pub use peers::peers;

use crate::cell::{Against, Bound, Cell, Goal, Measure, Role, Subject};
use crate::queue::Named;

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

/// A subject that is no queue.
fn bare(role: Role, name: &'static str, measure: Measure) -> Subject {
    Subject {
        name,
        note: "",
        role,
        measure,
    }
}

fn limit(measure: Measure) -> Subject {
    bare(Role::Limit, "the limit", measure)
}

/// A driver for a venue: `driver::<venue, arguments>`.
macro_rules! measure {
    ($driver:ident($($argument:tt)*), $venue:ty) => {
        $driver::<$venue, $($argument)*>
    };
}
use measure;

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
use cast;

fn faster(against: Against, times: f64) -> Goal {
    Goal {
        figure: None,
        against,
        bound: Bound::Faster(times),
    }
}

fn longer(against: Against, times: f64) -> Goal {
    Goal {
        figure: None,
        against,
        bound: Bound::Longer(times),
    }
}

/// The same of another of the subjects' figures.
fn of(figure: &'static str, goal: Goal) -> Goal {
    Goal {
        figure: Some(figure),
        ..goal
    }
}

/// A cell with the usual capacity.
fn cell(
    name: impl Into<String>,
    what: &'static str,
    unit: &'static str,
    subjects: Vec<Subject>,
    goals: Vec<Goal>,
) -> Cell {
    Cell {
        name: name.into(),
        what,
        unit,
        capacity: CAPACITY,
        record: 0,
        share: None,
        rounds: None,
        time: None,
        subjects,
        goals,
    }
}
