//! Where work is done: by actors in threads or in processes, each pinned to a processor, all started together and
//! heard in the end.
//!
//! The program itself stays a single thread, so that it may fork. For each measurement it forks anew: one process whose
//! threads are the actors, or a process for each. What crashes or hangs is over with that process, and nothing that
//! one measurement did to its memory is there for the next. Actors meet at barriers on a [`Board`], which is shared
//! memory in either case, so that the same body runs in both.
//!
//! An actor that finds something wrong ends its process at once, because the others may be spinning for what
//! never comes.

use crate::disturbance::{Disturbance, Usage, steal};
use crate::queue::{Ends, Local, Named, Shared, Site, said, several};
use crossbeam_utils::CachePadded;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::{ForkResult, Pid, alarm, fork};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The longest that one measurement may take besides its own time: on a slow machine it still ends long before.
const LIMIT: Duration = Duration::from_secs(20);

/// Where queues in shared memory stand, and actors leave word.
const SHM: &str = "/dev/shm";

/// What the names of our directories begin with; the number of the process follows.
const FAMILY: &str = "annulus-bench-";

/// How much is measured at a time, where, and on what.
#[derive(Debug)]
pub struct Stage {
    /// How long each measurement takes.
    pub time: Duration,
    /// Messages that a queue is to hold.
    pub capacity: usize,
    /// The longest record in bytes, where messages are byte records.
    pub record: usize,
    /// Nanoseconds between messages that are sent on schedule.
    pub interval: f64,
    /// Nanoseconds a message of the slowest of those that are measured on schedule, once it is known: one figure for all schedules.
    pub slowest: Option<f64>,
    /// Whether actors that have a processor each go before all other tasks of the machine (`SCHED_RR`).
    pub real_time: bool,
    /// Whether senders are to send one byte that is wrong, which must fail the run.
    pub fault: bool,
    /// The processors for actors, in turn.
    cpus: Vec<usize>,
    root: PathBuf,
    /// How many directories there were.
    sites: AtomicU64,
}

impl Stage {
    /// A stage on the first two processors that we may use.
    ///
    /// # Errors
    ///
    /// If there is only one, or no shared memory.
    pub fn new(time: Duration, capacity: usize) -> Result<Self, String> {
        let allowed = said(sched_getaffinity(Pid::from_raw(0)))?;
        let cpus: Vec<usize> = (0..CpuSet::count())
            .filter(|&cpu| allowed.is_set(cpu).unwrap_or(false))
            .take(2)
            .collect();
        if cpus.len() < 2 {
            return Err("expected at least 2 processors, found 1".to_owned());
        }
        sweep();
        let root = Path::new(SHM).join(format!("{FAMILY}{}", process::id()));
        said(fs::create_dir_all(&root))?;
        Ok(Self {
            time,
            capacity,
            record: 0,
            interval: 0.0,
            slowest: None,
            real_time: false,
            fault: false,
            cpus,
            root,
            sites: AtomicU64::new(0),
        })
    }

    /// The first, second, … processor, and round again.
    fn cpu(&self, actor: usize) -> usize {
        self.cpus[actor % self.cpus.len()]
    }

    fn has_a_processor_each(&self, cpus: &[usize]) -> bool {
        let distinct: BTreeSet<usize> = cpus.iter().map(|&cpu| self.cpu(cpu)).collect();
        distinct.len() == cpus.len()
    }

    /// A new directory, removed by [`Folder`]'s drop.
    fn folder(&self) -> Result<Folder, String> {
        // Relaxed: only this thread counts.
        let number = self.sites.fetch_add(1, Ordering::Relaxed);
        let path = self.root.join(number.to_string());
        said(fs::create_dir(&path))?;
        Ok(Folder {
            path,
            name: format!("{FAMILY}{}-{number}", process::id()),
        })
    }

    /// Lets threads of one new process work together without a queue: one on each of these processors of the stage.
    ///
    /// # Errors
    ///
    /// What the first actor said that failed.
    pub fn together<R>(
        &self,
        cpus: &[usize],
        body: impl Fn(&Actor) -> Result<R, String> + Sync,
    ) -> Result<Heard<R>, String>
    where
        R: Serialize + DeserializeOwned + Send,
    {
        let prepare = || Ok(vec![(); cpus.len()]);
        self.threads(&self.folder()?, cpus, prepare, |actor, ()| body(actor))
    }

    /// The same, each with something of its own, made in the new process.
    fn threads<P: Send, R>(
        &self,
        folder: &Folder,
        cpus: &[usize],
        prepare: impl FnOnce() -> Result<Vec<P>, String>,
        body: impl Fn(&Actor, &mut P) -> Result<R, String> + Sync,
    ) -> Result<Heard<R>, String>
    where
        R: Serialize + DeserializeOwned + Send,
    {
        let board = Board::new()?;
        let place = folder.told(0);
        let work = |number: usize, own: &mut P| {
            let mut actor = Actor::new(self, &board, number, cpus.len());
            actor.pin(cpus[number])?;
            actor.perform(|actor| body(actor, own))
        };
        let process: Body<'_, Vec<Told<R>>> = Box::new(|| {
            let own = prepare()?;
            thread::scope(|scope| {
                let (work, place) = (&work, &place);
                let start = |(number, own): (usize, P)| {
                    scope.spawn(move || {
                        // On this thread's stack: where it was made, it may share a line with another's.
                        let mut own = CachePadded::new(own);
                        match guarded(|| work(number, &mut own)) {
                            Ok(told) => told,
                            // The others may never end.
                            Err(said) => leave(place, &Err::<(), _>(said)),
                        }
                    })
                };
                let playing: Vec<_> = own.into_iter().enumerate().map(start).collect();
                let told = playing.into_iter().map(thread::ScopedJoinHandle::join);
                told.collect::<Result<Vec<_>, _>>()
                    .map_err(|_| "an actor panicked".to_owned())
            })
        });
        let (told, steal) = self.run(folder, cpus, vec![process])?;
        Ok(heard((told.into_iter().flatten().collect(), steal)))
    }

    /// Runs each body in a process of its own, and returns what they tell, in order, and the steal meanwhile.
    fn run<R: Serialize + DeserializeOwned>(
        &self,
        folder: &Folder,
        cpus: &[usize],
        bodies: Vec<Body<'_, R>>,
    ) -> Result<(Vec<R>, u64), String> {
        let real_time = self.real_time && self.has_a_processor_each(cpus);
        let (limit, begin) = (LIMIT + 4 * self.time, Instant::now());
        let before = steal();
        let mut living = Vec::new();
        for (number, body) in bodies.into_iter().enumerate() {
            let place = folder.told(number);
            // SAFETY: this process has a single thread, so the child may do whatever it likes.
            match unsafe { fork() } {
                Err(error) => {
                    end(&living);
                    return Err(format!("fork: {error}"));
                }
                Ok(ForkResult::Parent { child }) => living.push(child),
                Ok(ForkResult::Child) => {
                    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
                    hurry(real_time);
                    alarm::set(limit.as_secs() as u32);
                    leave(&place, &guarded(body));
                }
            }
        }
        let count = living.len();
        let mut failure = None;
        while !living.is_empty() {
            let Ok(status) = wait() else { break };
            living.retain(|child| Some(*child) != status.pid());
            if !matches!(status, WaitStatus::Exited(_, 0)) && failure.is_none() {
                failure = Some(status);
                end(&living);
            }
        }
        let stolen = steal() - before;
        if real_time {
            // The kernel would take the processors away from those who ask for more than 95 % of a second.
            thread::sleep(begin.elapsed() / 8);
        }
        let mut told = Vec::new();
        // What a failed actor has to say comes before what those say who were ended for it.
        for number in 0..count {
            match fs::read(folder.told(number)).map(|text| serde_json::from_slice(&text)) {
                Ok(Ok(Ok(result))) => told.push(result),
                Ok(Ok(Err(said))) => return Err(said),
                _ => {}
            }
        }
        match failure {
            Some(WaitStatus::Signaled(_, Signal::SIGALRM, _)) => Err(format!(
                "no end after {} s: a message was lost, or the queue hangs",
                limit.as_secs()
            )),
            Some(status) => Err(format!("an actor died: {status:?}")),
            None if told.len() < count => Err("an actor said nothing".to_owned()),
            None => Ok((told, stolen)),
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What is not there need not go.
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// What a process does.
type Body<'a, R> = Box<dyn FnOnce() -> Result<R, String> + 'a>;

fn end(living: &[Pid]) {
    for &child in living {
        // It may have ended by itself.
        let _ = kill(child, Signal::SIGKILL);
    }
}

/// Puts this process before all ordinary ones, if it may, so that a busy machine disturbs it less: in a session of its
/// own, because the kernel shares processors between sessions first (autogroups). All actors of a measurement are equal
/// to each other. Where any of it is refused, it is measured as it is, and the disturbances are counted.
fn hurry(real_time: bool) {
    let _ = nix::unistd::setsid();
    let _ = fs::write("/proc/self/autogroup", "-20");
    // SAFETY: changes the priority of this process and nothing else.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) };
    if real_time {
        let first = libc::sched_param { sched_priority: 1 };
        // SAFETY: changes the class of this process and nothing else; the parameter lives through the call.
        unsafe { libc::sched_setscheduler(0, libc::SCHED_RR, &raw const first) };
    }
}

/// Runs a body whose panic is a failure.
fn guarded<R>(body: impl FnOnce() -> Result<R, String>) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| Err("an actor panicked".to_owned()))
}

/// Leaves word and ends this process, without the exit handlers of a forked child's parent.
fn leave<R: Serialize>(place: &Path, result: &Result<R, String>) -> ! {
    let text = serde_json::to_vec(result).unwrap_or_default();
    let written = fs::write(place, text).is_ok();
    let code = i32::from(!written || result.is_err());
    // SAFETY: ends the process; nothing of it is used afterwards.
    unsafe { libc::_exit(code) }
}

/// Removes what a run left that was ended from outside.
fn sweep() {
    let Ok(entries) = fs::read_dir(SHM) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let pid = name
            .strip_prefix(FAMILY)
            .and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let path = entry.path();
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        }
    }
}

/// A directory for one measurement.
struct Folder {
    path: PathBuf,
    name: String,
}

impl Folder {
    fn site(&self, link: usize, stage: &Stage) -> Site {
        Site {
            path: self.path.join(format!("queue-{link}")),
            name: format!("{}-{link}", self.name),
            capacity: stage.capacity,
            record: stage.record,
        }
    }

    fn told(&self, number: usize) -> PathBuf {
        self.path.join(format!("told-{number}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is not there need not go.
        let _ = fs::remove_dir_all(&self.path);
        // Some queues choose their own place and put our name before theirs.
        for entry in fs::read_dir(SHM).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&self.name) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Counts that actors share.
pub const COUNTERS: usize = 16;

/// Memory that all actors of a measurement share.
pub struct Board(NonNull<Words>);

/// What is there. Zero at first.
#[repr(C)]
struct Words {
    arrivals: CachePadded<AtomicU64>,
    counters: [CachePadded<AtomicU64>; COUNTERS],
}

// SAFETY: `Words` is atomics only, and stays mapped as long as the board lives.
unsafe impl Send for Board {}
// SAFETY: as above.
unsafe impl Sync for Board {}

impl Board {
    /// # Errors
    ///
    /// If there is no memory.
    fn new() -> Result<Self, String> {
        let (access, kind) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
        );
        // SAFETY: a new mapping, which overlaps nothing.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<Words>(),
                access,
                kind,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return said(Err(std::io::Error::last_os_error()));
        }
        let words = NonNull::new(address.cast()).ok_or("a mapping at 0")?;
        Ok(Self(words))
    }

    fn words(&self) -> &Words {
        // SAFETY: mapped, aligned to a page, all zeros is a value, and only ever accessed atomically.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length, and nobody borrows it any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), size_of::<Words>()) };
    }
}

/// One of those who work together.
pub struct Actor<'a> {
    /// Which of the parts it plays.
    pub part: usize,
    /// How much it is to do.
    pub stage: &'a Stage,
    board: &'a Board,
    actors: u64,
    barriers: u64,
}

impl<'a> Actor<'a> {
    fn new(stage: &'a Stage, board: &'a Board, part: usize, actors: usize) -> Self {
        Self {
            part,
            stage,
            board,
            actors: actors as u64,
            barriers: 0,
        }
    }

    /// Goes to the stage's first, second, … processor.
    fn pin(&self, cpu: usize) -> Result<(), String> {
        let mut cpus = CpuSet::new();
        said(cpus.set(self.stage.cpu(cpu)))?;
        said(sched_setaffinity(Pid::from_raw(0), &cpus))
    }

    /// Waits for all.
    fn barrier(&mut self) {
        let arrivals = &self.board.words().arrivals;
        self.barriers += 1;
        // Release and Acquire: what each did before is visible to all afterwards.
        arrivals.fetch_add(1, Ordering::AcqRel);
        while arrivals.load(Ordering::Acquire) < self.barriers * self.actors {
            thread::yield_now();
        }
    }

    /// A count that all see.
    pub fn counter(&self, number: usize) -> &AtomicU64 {
        &self.board.words().counters[number]
    }

    /// Does the work, and tells what it took.
    fn perform<R>(
        &mut self,
        work: impl FnOnce(&Self) -> Result<R, String>,
    ) -> Result<Told<R>, String> {
        self.barrier();
        let before = Usage::now();
        let result = work(self)?;
        let usage = Usage::now().since(before);
        // Nobody goes before all are done: some queues say that the other end is gone, and forget what is in them.
        self.barrier();
        Ok(Told { result, usage })
    }
}

/// What an actor tells.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Told<R> {
    /// What it found.
    pub result: R,
    /// What it used for that.
    pub usage: Usage,
}

/// What one plays: it sends into a link, receives from one, or both.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// The link that it sends into.
    pub tx: Option<usize>,
    /// The link that it receives from.
    pub rx: Option<usize>,
    /// On the stage's first, second, … processor, and round again.
    pub cpu: usize,
}

/// Who plays.
#[derive(Clone, Debug)]
pub struct Cast {
    /// How many queues there are.
    pub links: usize,
    /// What each actor plays.
    pub parts: Vec<Part>,
}

impl Cast {
    /// Senders, then receivers, around one queue. Of one each, each has a processor; of more, each processor has
    /// senders and receivers.
    pub fn flow(senders: usize, receivers: usize) -> Self {
        let sender = |cpu| Part {
            tx: Some(0),
            rx: None,
            cpu,
        };
        let receiver = |cpu| Part {
            tx: None,
            rx: Some(0),
            cpu: cpu + 1,
        };
        Self {
            links: 1,
            parts: (0..senders)
                .map(sender)
                .chain((0..receivers).map(receiver))
                .collect(),
        }
    }

    /// One who asks and one who answers, on two queues; on one processor or on two.
    pub fn pair(cpus: usize) -> Self {
        let part = |number: usize| Part {
            tx: Some(number),
            rx: Some(1 - number),
            cpu: number % cpus,
        };
        Self {
            links: 2,
            parts: vec![part(0), part(1)],
        }
    }

    fn cpus(&self) -> Vec<usize> {
        self.parts.iter().map(|part| part.cpu).collect()
    }

    fn senders(&self, link: usize) -> usize {
        self.parts
            .iter()
            .filter(|part| part.tx == Some(link))
            .count()
    }

    fn receivers(&self, link: usize) -> usize {
        self.parts
            .iter()
            .filter(|part| part.rx == Some(link))
            .count()
    }

    /// Whether this part is the first to send into its link.
    fn is_first(&self, number: usize) -> bool {
        let same = |part: &Part| part.tx == self.parts[number].tx;
        self.parts.iter().position(same) == Some(number)
    }
}

/// What all actors told, and what disturbed them.
pub type Heard<R> = (Vec<Told<R>>, Disturbance);

fn heard<R>((told, steal): (Vec<Told<R>>, u64)) -> Heard<R> {
    let involuntary = told.iter().map(|told| told.usage.involuntary).sum();
    (told, Disturbance { steal, involuntary })
}

/// A queue in its place: between threads or between processes.
pub trait Venue<M>: Named {
    /// Its sending end.
    type Tx;
    /// Its receiving end.
    type Rx;

    /// Lets the parts play. Each gets the ends of its links.
    ///
    /// # Errors
    ///
    /// What the first actor said that failed.
    fn play<R, B>(stage: &Stage, cast: &Cast, body: B) -> Result<Heard<R>, String>
    where
        R: Serialize + DeserializeOwned + Send,
        B: Fn(&Actor, Option<&mut Self::Tx>, Option<&mut Self::Rx>) -> Result<R, String> + Sync;
}

/// Between threads of one process.
pub struct Threads<Q>(PhantomData<Q>);

impl<Q: Named> Named for Threads<Q> {
    const NAME: &'static str = Q::NAME;
    const NOTE: &'static str = Q::NOTE;
}

impl<M, Q: Local<M>> Venue<M> for Threads<Q> {
    type Tx = Q::Tx;
    type Rx = Q::Rx;

    fn play<R, B>(stage: &Stage, cast: &Cast, body: B) -> Result<Heard<R>, String>
    where
        R: Serialize + DeserializeOwned + Send,
        B: Fn(&Actor, Option<&mut Q::Tx>, Option<&mut Q::Rx>) -> Result<R, String> + Sync,
    {
        let folder = stage.folder()?;
        let open = |link| {
            let site = folder.site(link, stage);
            let (tx, rx): Ends<_, _> = Q::open(&site, cast.senders(link), cast.receivers(link))?;
            Ok((tx.into_iter(), rx.into_iter()))
        };
        let prepare = || {
            let mut links = several(cast.links, open)?;
            let ends = cast.parts.iter().map(|part| {
                let tx = part.tx.and_then(|link| links[link].0.next());
                let rx = part.rx.and_then(|link| links[link].1.next());
                (tx, rx)
            });
            Ok(ends.collect::<Vec<_>>())
        };
        stage.threads(&folder, &cast.cpus(), prepare, |actor, (tx, rx)| {
            body(actor, tx.as_mut(), rx.as_mut())
        })
    }
}

/// Between processes.
pub struct Processes<Q>(PhantomData<Q>);

impl<Q: Named> Named for Processes<Q> {
    const NAME: &'static str = Q::NAME;
    const NOTE: &'static str = Q::NOTE;
}

impl<M, Q: Shared<M>> Venue<M> for Processes<Q> {
    type Tx = Q::Tx;
    type Rx = Q::Rx;

    fn play<R, B>(stage: &Stage, cast: &Cast, body: B) -> Result<Heard<R>, String>
    where
        R: Serialize + DeserializeOwned + Send,
        B: Fn(&Actor, Option<&mut Q::Tx>, Option<&mut Q::Rx>) -> Result<R, String> + Sync,
    {
        let board = Board::new()?;
        let folder = stage.folder()?;
        let site = |link| folder.site(link, stage);
        let process = |number: usize| {
            let (board, body, site) = (&board, &body, &site);
            let part = cast.parts[number];
            let process: Body<'_, Told<R>> = Box::new(move || {
                let mut actor = Actor::new(stage, board, number, cast.parts.len());
                actor.pin(part.cpu)?;
                // Whoever creates comes before whoever attaches.
                let mut tx = match part.tx {
                    Some(link) if cast.is_first(number) => Some(Q::sender(&site(link), true)?),
                    _ => None,
                };
                actor.barrier();
                if let (Some(link), None) = (part.tx, &tx) {
                    tx = Some(Q::sender(&site(link), false)?);
                }
                let mut rx = match part.rx {
                    Some(link) => Some(Q::receiver(&site(link))?),
                    None => None,
                };
                actor.perform(|actor| body(actor, tx.as_mut(), rx.as_mut()))
            });
            process
        };
        let processes = (0..cast.parts.len()).map(process).collect();
        let told = stage.run(&folder, &cast.cpus(), processes)?;
        Ok(heard(told))
    }
}
