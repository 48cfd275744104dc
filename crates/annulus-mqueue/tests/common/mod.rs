//! Queues for tests: small ones, whose names are nobody else's, and of which nothing is left.
#![allow(dead_code, reason = "each test uses some of it")]

pub mod actor;

use annulus_channel::OpenError;
use annulus_mqueue::{Name, Posix, Protocol, Queue, QueueOptions, SystemV, list, remove};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

/// A kind of queue under test.
pub trait Kind: Protocol + Send + Sync + Sized + 'static {
    /// Opens by a test's name.
    fn open(options: &QueueOptions, name: &Name) -> Result<Queue<Self>, OpenError>;

    /// A name that nobody else has.
    fn fresh() -> Name;

    /// Options for a queue of `records` records, none longer than `max` bytes.
    fn small(records: usize, max: usize) -> QueueOptions;
}

fn number() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    LAST.fetch_add(1, Relaxed)
}

/// The word after the scheme.
pub fn word(name: &Name) -> String {
    let text = name.to_string();
    text.split_once(':').expect("a scheme").1.to_owned()
}

impl Kind for Posix {
    fn open(options: &QueueOptions, name: &Name) -> Result<Queue<Self>, OpenError> {
        options.posix(&word(name))
    }

    fn fresh() -> Name {
        let word = format!("annulus-test-{}-{}", std::process::id(), number());
        Name::posix(&word).expect("a name")
    }

    fn small(records: usize, max: usize) -> QueueOptions {
        let mut options = QueueOptions::new();
        options.capacity(records).max_record(max);
        options
    }
}

impl Kind for SystemV {
    fn open(options: &QueueOptions, name: &Name) -> Result<Queue<Self>, OpenError> {
        options.sysv(&word(name))
    }

    fn fresh() -> Name {
        let word = format!("annulus-test-{}-{}", std::process::id(), number());
        Name::sysv(&word).expect("a name")
    }

    fn small(records: usize, max: usize) -> QueueOptions {
        let mut options = QueueOptions::new();
        options.capacity(records * max).max_record(max);
        options
    }
}

/// A name that is removed in the end, whatever happens, with its queue.
#[derive(Debug)]
pub struct Place(pub Name);

/// The names that are not dropped yet.
static LIVE: Mutex<Vec<Name>> = Mutex::new(vec![]);

fn live() -> MutexGuard<'static, Vec<Name>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Place {
    pub fn fresh<K: Kind>() -> Self {
        let name = K::fresh();
        live().push(name.clone());
        Self(name)
    }

    /// Whether anything of the queue is left.
    pub fn is_there(&self) -> bool {
        let listed = list().expect("a directory");
        listed.iter().any(|found| found.name == self.0) || exists(&self.0)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = remove(&self.0);
        live().retain(|name| name != &self.0);
    }
}

/// Ends the whole run, if it is not dropped in time: no test hangs for ever, and none leaves anything when it does.
#[derive(Debug)]
pub struct Watch {
    _ended: mpsc::Sender<()>,
}

impl Watch {
    /// Begins to watch this thread's test.
    pub fn start() -> Self {
        let (ended, end) = mpsc::channel::<()>();
        let test = thread::current().name().unwrap_or("a test").to_owned();
        thread::spawn(move || {
            if end.recv_timeout(4 * actor::PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("{test} hangs");
                for name in &*live() {
                    let _ = remove(name);
                }
                std::process::exit(101);
            }
        });
        Self { _ended: ended }
    }
}

/// Whether the kernel has a queue of this name.
fn exists(name: &Name) -> bool {
    match name {
        Name::Posix(word) => {
            use nix::mqueue::{MQ_OFlag, mq_close, mq_open};
            use nix::sys::stat::Mode;
            let path = format!("/{word}");
            let fd = mq_open(path.as_str(), MQ_OFlag::O_RDONLY, Mode::empty(), None);
            fd.map(mq_close).is_ok()
        }
        // SAFETY: takes no pointer.
        Name::SystemV(key) => unsafe { libc::msgget(*key, 0) >= 0 },
    }
}

/// Whether a living handle is attached.
pub fn is_attached(name: &Name) -> bool {
    let listed = list().expect("a directory");
    let mut mine = listed.iter().filter(|found| found.name == *name);
    mine.any(|found| found.senders + found.receivers > 0)
}

/// Record `number`: up to 512 bytes that follow from the number, which comes first.
pub fn record(number: usize) -> Vec<u8> {
    let mut noise = mix(number as u64);
    let mut bytes = (number as u64).to_le_bytes().to_vec();
    let len = 8 + (noise % 505) as usize;
    while bytes.len() < len {
        noise = mix(noise);
        bytes.extend(noise.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Which record it is; every byte is checked.
pub fn which(got: &[u8]) -> usize {
    let head = got.first_chunk().expect("a number");
    let number = u64::from_le_bytes(*head) as usize;
    assert!(got == record(number), "record {number} came changed");
    number
}

/// Noise from a number (splitmix64: Steele, Lea and Flood, OOPSLA 2014).
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
