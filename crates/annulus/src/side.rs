//! The five steps of a message, which each algorithm says in its own way and `handle` puts together:
//! claim, commit, abort; look, confirm (or hold, then release or put back).

use crate::layout::RECORD_HEADER;
use crate::view::View;
use annulus_channel::Fault;

/// Units that a sender may write. Position and number are in units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) position: u64,
    pub(crate) units: u64,
}

/// A record, or a run of typed ones, that a receiver may copy out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) position: u64,
    pub(crate) units: u64,
    /// The receivers' word as it was seen, for the compare-and-swap; 0 where there is none.
    pub(crate) word: u64,
    /// How often the record was taken and came back.
    pub(crate) tries: u64,
}

impl Found {
    #[inline]
    pub(crate) fn new(position: u64, units: u64) -> Self {
        Self {
            position,
            units,
            word: 0,
            tries: 0,
        }
    }
}

/// Why a step could not be made now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// No room.
    Full,
    /// No record.
    Empty,
    /// The next record is claimed and not yet committed.
    Open,
    /// The shared memory makes no sense.
    Fault(Fault),
}

/// A sender's half of an algorithm.
pub(crate) trait SendSide: Sized + Send + 'static {
    /// Begins where the ring stands. `lease` names us in control words.
    fn attach(view: View, lease: usize) -> Result<Self, Fault>;

    fn view(&self) -> &View;

    /// Takes `min` to `max` units. `contiguous` units do not cross the ring's end.
    fn claim(&mut self, min: u64, max: u64, contiguous: bool) -> Result<Claim, Blocked>;

    /// Units from the last claim's end on that are free, by what we know: fewer than there are, perhaps.
    fn free(&self) -> u64;

    /// Marks a later record of a claimed batch; the first is marked by `commit`.
    fn split(&mut self, position: u64, units: u64);

    /// Makes the first `used` units visible, all at once, and gives up the rest. `first` is the length of
    /// the first record.
    fn commit(&mut self, claim: Claim, used: u64, first: u64);

    /// Gives the claim up unseen.
    fn abort(&mut self, claim: Claim);

    /// The usual case of a typed ring in a few steps: a place for one value, claimed if it needs to be, or nothing if that takes a
    /// longer look. A single sender's lines there have been fetched by [`hurry`](Self::hurry).
    fn quick(&mut self) -> Option<u64>;

    /// Makes the value visible that was written where [`quick`](Self::quick) said.
    fn publish(&mut self, position: u64);

    /// After the commit of one value, whose unit has `unit` bytes: fetches lines ahead for a run of them, and lets that be written
    /// quickly, if a compiler fence is enough before the look at the bell (`registered`).
    fn hurry(&mut self, unit: usize, registered: bool);

    /// Units in use, as far as one can see from here.
    fn len(&self) -> u64;
}

/// A receiver's half of an algorithm.
pub(crate) trait RecvSide: Sized + Send + 'static {
    /// Begins where the ring stands. `lease` names us in control words.
    fn attach(view: View, lease: usize) -> Result<Self, Fault>;

    fn view(&self) -> &View;

    /// The next value of a typed ring in the usual case, in a few steps; [`look`](Self::look) finds the rest, and the same.
    fn glance(&mut self) -> Option<Found>;

    /// Finds the next record; typed records come as a run of at most `max` where a side is single.
    /// It is not ours yet, and may change under our eyes.
    fn look(&mut self, max: u64, bytes: bool) -> Result<Found, Blocked>;

    /// Takes what was found and copied, for good. If false, somebody else was first: the copy is void.
    fn confirm(&mut self, found: Found) -> bool;

    /// Whether what was found is still there and nobody else's.
    fn is_current(&self, found: Found) -> bool;

    /// Takes what was found until `release` or `put_back`. If false, somebody else was first.
    fn hold(&mut self, found: Found) -> bool;

    /// Where the next look begins: what bars the way, if anything does, lies there.
    fn front(&self) -> u64;

    /// Gives back the space of a held record.
    fn release(&mut self, found: Found);

    /// Makes a held record available again.
    fn put_back(&mut self, found: Found);

    /// Units in use, as far as one can see from here.
    fn len(&self) -> u64;
}

/// The units that a record of `len` bytes takes.
#[inline]
pub(crate) fn units_for(len: usize, unit_size: u64) -> u64 {
    ((len + RECORD_HEADER) as u64).div_ceil(unit_size)
}
