//! Creating, opening, validating, removing: who may come in, and what they find.
//!
//! Trust: a peer may die at any instruction and may leave any bytes behind. So what a region says of
//! itself is checked against its real size and against what it must be (`layout::read_cold`) before
//! the first use, copied into private memory, and not read again.

use crate::error::{AttachError, OpenError};
use crate::geometry::{Geometry, Shape};
use crate::kind::Kind;
use crate::layout::{LEASES, bell, flag};
use crate::lease::{self, Holder, Seat, Side, Witness};
use crate::options::{Location, RingOptions};
use crate::recover::{self, Left};
use crate::region::{self, Nameless, Region};
use crate::sync::{AcqRel, Acquire, Relaxed, Release};
use crate::view::{View, read_cold};
use crate::{sysv, wait};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a [`OpenError::Mismatch`] of the kind says.
pub(crate) const KIND: &str = "ring kind";

/// An open ring: shared by its handles in this process.
pub(crate) struct Shared {
    // Before `region`, so that no copy of the view outlives it.
    pub(crate) view: View,
    pub(crate) witness: Witness,
    pub(crate) shape: Shape,
    pub(crate) region: Region,
    pub(crate) flags: u32,
    place: Option<Place>,
}

/// Where a named ring's name is.
#[derive(Clone)]
pub(crate) struct Place {
    location: Location,
    /// The file that has the name, or the lock file of a System V segment.
    path: PathBuf,
}

impl Shared {
    /// Whether a successor of somebody dead can find the ring by its name.
    pub(crate) fn is_named(&self) -> bool {
        self.flags & flag::NAMED != 0
    }

    /// The file behind the region, unless that is the heap.
    pub(crate) fn file(&self) -> Option<&File> {
        match &self.witness {
            Witness::Kernel(file) => Some(file),
            Witness::Heap(_) => None,
        }
    }

    /// Attaches a handle.
    pub(crate) fn seat(&self, side: Side) -> Result<Seat, AttachError> {
        if self.view.is_forked() {
            return Err(AttachError::Forked);
        }
        let header = self.view.header();
        let seat = Seat::take(&self.view, &self.witness, side).and_then(|mut seat| {
            if self.is_removed() {
                seat.release(&self.view);
                return Err(AttachError::Removed);
            }
            Ok(seat)
        });
        let seat = seat.inspect_err(|_| header.peers.closes.add(1))?;
        let arrivals = match side {
            Side::Sender => &header.peers.senders,
            Side::Receiver => &header.peers.receivers,
        };
        // Release: pairs with the Acquire in `Link::arrivals_now`; the lease is visible before.
        arrivals.fetch_add(1, Release);
        // Release: pairs with the Acquire in `handle`; the lease is visible before the change.
        header.peers.changes.fetch_add(1, Release);
        if side == Side::Receiver {
            // AcqRel: a closer that set the bit before us had freed its lease; see `handle`.
            header.data.word().fetch_and(!bell::CLOSED, AcqRel);
        }
        Ok(seat)
    }

    /// Detaches a handle whose claims are resolved, and tells the other side.
    pub(crate) fn leave(&self, seat: &mut Seat, side: Side) {
        seat.release(&self.view);
        let header = self.view.header();
        header.peers.closes.add(1);
        // Release: pairs with the Acquire in `handle`; the freed lease is visible before the change. Acquire: of two
        // who close at once the later one sees the other's lease freed.
        header.peers.changes.fetch_add(1, AcqRel);
        if side == Side::Receiver && !self.has_holder(Side::Receiver) {
            // AcqRel: after the lease was freed; see `handle::Link::closed`.
            header.data.word().fetch_or(bell::CLOSED, AcqRel);
        }
        match side {
            Side::Sender => wait::ring_rarely(&header.data),
            Side::Receiver => wait::ring_rarely(&header.room.bell),
        }
        self.unlink_if_finished();
    }

    /// Whether any lease names a handle of this side, dead or alive.
    fn has_holder(&self, side: Side) -> bool {
        self.holders().any(|(_, holder)| holder.side == side)
    }

    /// The leases in use.
    pub(crate) fn holders(&self) -> impl Iterator<Item = (usize, Holder)> {
        (0..LEASES).filter_map(|number| {
            // Acquire: pairs with the Release of whoever took or freed it.
            let word = self.view.lease(number).word.load(Acquire);
            Holder::of(word).map(|holder| (number, holder))
        })
    }

    /// Whether the name was removed because the ring was finished, so that nobody else will ever come.
    fn is_removed(&self) -> bool {
        let watched = self.flags & flag::UNLINK != 0 && self.place.is_some();
        watched && self.file().is_some_and(|file| !region::is_linked(file))
    }

    /// Removes the name, if nobody living is attached and `may` says so, which is asked while nobody can come.
    fn remove(
        &self,
        location: &Location,
        may: impl FnOnce(&Self) -> bool,
    ) -> Result<bool, OpenError> {
        let (Some(place), Some(file)) = (&self.place, self.file()) else {
            return Err(OpenError::NotFound(location.clone()));
        };
        let all = lease::lock_all(file);
        match all.map_err(|error| OpenError::io("fcntl(F_OFD_SETLK)", &error))? {
            Some(_all) if may(self) => place.remove(file).map(|()| true),
            _ => Ok(false),
        }
    }

    /// Removes the name if the ring asked for it, a sender has come and gone, a receiver has come, everything was
    /// received, and nobody is attached. The test and the removal are one step for
    /// newcomers: all tickets are locked meanwhile, and who comes after finds the file without a name.
    fn unlink_if_finished(&self) {
        let (Some(place), Some(file)) = (&self.place, self.file()) else {
            return;
        };
        let finished = || {
            let peers = &self.view.header().peers;
            // Relaxed, both: they only grow, and the locks order the rest.
            let used = peers.senders.load(Relaxed) > 0 && peers.receivers.load(Relaxed) > 0;
            let left = recover::left(&self.view);
            used && !self.has_holder(Side::Sender) && left == Left::Nothing
        };
        if self.flags & flag::UNLINK == 0 || !finished() {
            return;
        }
        if let Ok(Some(_all)) = lease::lock_all(file) {
            if finished() {
                // Somebody else may have removed it; then there is nothing to do.
                let _ = place.remove(file);
            }
        }
    }
}

impl Place {
    pub(crate) fn new(location: &Location) -> Self {
        let path = match location {
            Location::Shm(name) => Path::new(region::SHM_DIR).join(name),
            // The process may change its directory before the name is removed.
            Location::File(path) => std::path::absolute(path).unwrap_or_else(|_| path.clone()),
            Location::Sysv(key) => sysv::lock_path(*key),
        };
        Self {
            location: location.clone(),
            path,
        }
    }

    /// Removes the name, if it still names `file`.
    fn remove(&self, file: &File) -> Result<(), OpenError> {
        if let Location::Sysv(key) = self.location {
            return sysv::remove(key, file);
        }
        if !region::is_same(&self.path, file) {
            return Ok(());
        }
        fs::remove_file(&self.path).map_err(|error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => OpenError::Permission(self.location.clone()),
            std::io::ErrorKind::NotFound => OpenError::NotFound(self.location.clone()),
            _ => OpenError::io("unlink", &error),
        })
    }
}

/// Opens or creates the ring with this name. `kind` and `shape`, where given, must be the ring's.
pub(crate) fn named(
    options: &RingOptions,
    kind: Option<Kind>,
    shape: Option<&Shape>,
    location: &Location,
) -> Result<Arc<Shared>, OpenError> {
    match location {
        Location::Sysv(key) => sysv::open(options, kind, shape, *key),
        Location::Shm(_) | Location::File(_) => file(options, kind, shape, location),
    }
}

/// What is needed to create a ring: its numbers. Only with a kind and a shape.
pub(crate) fn plan(
    options: &RingOptions,
    kind: Kind,
    shape: &Shape,
) -> Result<Geometry, OpenError> {
    let capacity = options.capacity.ok_or(OpenError::NoCapacity)?;
    Geometry::new(kind, options.order, shape, capacity, options.max_tries)
}

fn file(
    options: &RingOptions,
    kind: Option<Kind>,
    shape: Option<&Shape>,
    location: &Location,
) -> Result<Arc<Shared>, OpenError> {
    let place = Place::new(location);
    loop {
        if options.create_new {
            if fs::symlink_metadata(&place.path).is_ok() {
                return Err(OpenError::Exists(location.clone()));
            }
        } else {
            match region::open_file(&place.path, location) {
                Err(OpenError::NotFound(_)) if options.create => {}
                Err(error) => return Err(error),
                Ok((file, len)) => {
                    return existing(options, kind, shape, file, len, Some(place));
                }
            }
        }
        let (Some(kind), Some(shape)) = (kind, shape) else {
            return Err(OpenError::NotFound(location.clone()));
        };
        let geometry = plan(options, kind, shape)?;
        let nameless = Nameless::create(&place.path, geometry.region_len, location, options)?;
        let region = Region::map(&nameless.file, geometry.region_len, options)?;
        let file = nameless
            .file
            .try_clone()
            .map_err(|error| OpenError::io("dup", &error))?;
        let shared = fresh(
            options,
            geometry,
            shape,
            region,
            Witness::Kernel(file),
            Some(place.clone()),
        );
        // Somebody else may have been quicker: then theirs is the ring.
        if nameless.publish(location)? {
            return Ok(shared);
        }
        if options.create_new {
            return Err(OpenError::Exists(location.clone()));
        }
    }
}

/// Fills a new region.
pub(crate) fn fresh(
    options: &RingOptions,
    geometry: Geometry,
    shape: &Shape,
    region: Region,
    witness: Witness,
    place: Option<Place>,
) -> Arc<Shared> {
    let view = region.view(geometry);
    let mut flags = 0;
    if place.is_some() {
        flags |= flag::NAMED;
        if options.unlink_when_finished {
            flags |= flag::UNLINK;
        }
    }
    let created = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_nanos() as u64);
    view.initialise(shape, flags, options.start, created);
    Arc::new(Shared {
        view,
        witness,
        shape: shape.clone(),
        region,
        flags,
        place,
    })
}

/// Maps and checks what is there.
fn existing(
    options: &RingOptions,
    kind: Option<Kind>,
    shape: Option<&Shape>,
    file: File,
    len: u64,
    place: Option<Place>,
) -> Result<Arc<Shared>, OpenError> {
    let region = Region::map(&file, len, options)?;
    checked(kind, shape, region, Witness::Kernel(file), place)
}

pub(crate) fn checked(
    kind: Option<Kind>,
    shape: Option<&Shape>,
    region: Region,
    witness: Witness,
    place: Option<Place>,
) -> Result<Arc<Shared>, OpenError> {
    let (header, len) = region.header();
    let found = read_cold(&header.cold, len)?;
    if let Some(kind) = kind.filter(|&kind| kind != found.geometry.kind) {
        return Err(OpenError::mismatch(KIND, kind, found.geometry.kind));
    }
    if let Some(shape) = shape.filter(|&shape| *shape != found.shape) {
        return Err(OpenError::mismatch("message type", shape, &found.shape));
    }
    let view = region.view(found.geometry);
    Ok(Arc::new(Shared {
        view,
        witness,
        shape: found.shape,
        region,
        flags: found.flags,
        place,
    }))
}

/// Creates a ring in a memory file.
pub(crate) fn memfd(
    options: &RingOptions,
    kind: Kind,
    shape: &Shape,
) -> Result<Arc<Shared>, OpenError> {
    let geometry = plan(options, kind, shape)?;
    let file = region::memfd(geometry.region_len)?;
    let region = Region::map(&file, geometry.region_len, options)?;
    Ok(fresh(
        options,
        geometry,
        shape,
        region,
        Witness::Kernel(file),
        None,
    ))
}

/// Opens the ring in a descriptor.
pub(crate) fn from_fd(
    options: &RingOptions,
    kind: Option<Kind>,
    shape: Option<&Shape>,
    file: File,
) -> Result<Arc<Shared>, OpenError> {
    let len = region::regular_len(&file)?;
    existing(options, kind, shape, file, len, None)
}

/// Creates a ring on the heap.
pub(crate) fn heap(
    options: &RingOptions,
    kind: Kind,
    shape: &Shape,
) -> Result<Arc<Shared>, OpenError> {
    let geometry = plan(options, kind, shape)?;
    let region = Region::heap(&geometry)?;
    Ok(fresh(
        options,
        geometry,
        shape,
        region,
        Witness::heap(),
        None,
    ))
}

/// How long whoever has made a ring has it to himself until he attaches.
const GRACE: Duration = Duration::from_secs(10);

/// Whether the ring was made a moment ago, and nobody has attached yet.
fn is_new(view: &View) -> bool {
    // Relaxed, both: the one never changes, the other may have risen by the time that we know it.
    let created = UNIX_EPOCH + Duration::from_nanos(view.header().cold.created.load(Relaxed));
    let nobody = view.header().peers.tickets.load(Relaxed) == 0;
    nobody && created.elapsed().is_ok_and(|age| age < GRACE)
}

/// Removes a ring's name. Whoever is attached is not disturbed, so nobody living may be.
///
/// # Errors
///
/// [`OpenError::Busy`] while anybody is attached; [`OpenError::NotARing`] and its like if something else
/// has the name, which is then left alone.
pub fn remove(location: &Location) -> Result<(), OpenError> {
    let shared = named(&RingOptions::new(), None, None, location)?;
    if shared.remove(location, |_| true)? {
        return Ok(());
    }
    let alive = |&(number, holder): &(usize, Holder)| shared.witness.is_alive(number, holder);
    let pid = shared.holders().find(alive);
    Err(OpenError::Busy {
        location: location.clone(),
        pid: pid.map_or(0, |(_, holder)| holder.pid),
    })
}

/// Removes the name of a ring that was to remove it [when it is finished](RingOptions::unlink_when_finished), if nobody is
/// attached and nothing is left in it, whether or not anybody ever came. False, and it stays, if it was not to, somebody is
/// attached, or a message or a dead letter is there. Nobody can come, send and go in between.
///
/// Whoever has the ring open and is not attached is not seen: its next handle finds the ring
/// [removed](crate::AttachError::Removed), and so may one that attaches at this very moment, though the ring stays. Then it opens
/// the ring again. But in the first ten seconds of a ring to which nobody has ever attached, it stays.
///
/// ```
/// use annulus::{RingOptions, remove_finished, spsc};
/// # let name = format!("annulus-doc-finished-{}", std::process::id());
/// let mut options = RingOptions::new();
/// options.create(true).capacity(8).unlink_when_finished(true);
/// let ring: spsc::Ring<u64> = options.shm(&name)?;
/// let location = name.parse()?;
/// let receiver = ring.receiver()?;
/// assert!(!remove_finished(&location)?, "somebody is attached");
/// drop(receiver);
/// // A receiver has come and gone, but no sender: the ring has stayed for one.
/// assert!(remove_finished(&location)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As [`remove`], but for [`OpenError::Busy`].
pub fn remove_finished(location: &Location) -> Result<bool, OpenError> {
    let shared = named(&RingOptions::new(), None, None, location)?;
    let view = &shared.view;
    if shared.flags & flag::UNLINK == 0 || is_new(view) {
        return Ok(false);
    }
    // What the dead had claimed is nothing, and what they held comes back. Acquire: as in `recover::left`.
    let start = view.freed().load(Acquire);
    recover::sweep(view, &shared.witness, start, view.geometry.units);
    let is_empty = |shared: &Shared| recover::left(&shared.view) == Left::Nothing;
    // Before the tickets are locked, too: who attaches meanwhile would think that it is removed.
    Ok(is_empty(&shared) && shared.remove(location, is_empty)?)
}
