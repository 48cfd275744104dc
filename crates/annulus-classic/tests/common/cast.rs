//! What actors play: a sender or a receiver of some medium, whose records say what they should be.

#![allow(dead_code, reason = "each test uses a part")]

use super::actor::{Actor, obey, role, say};
use super::common::Name;
use annulus_channel::Sender as _;
use annulus_classic::{
    Classic, Medium, Moment, Options, Sem, SemReceiver, SemSender, Spool, WhenDead,
};
use std::thread;
use std::time::Duration;

/// Record `number`: itself, then noise that follows from it; its length, too.
pub fn record(number: u64) -> Vec<u8> {
    let mut noise = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let len = 8 + (noise >> 40) as usize % 900;
    let mut bytes = number.to_le_bytes().to_vec();
    while bytes.len() < len {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        bytes.push(noise as u8);
    }
    bytes
}

/// The number of a record, every byte of which is right.
pub fn read(bytes: &[u8]) -> u64 {
    let number = bytes.first_chunk().expect("at least a number");
    let number = u64::from_le_bytes(*number);
    assert!(bytes == record(number), "record {number} has changed");
    number
}

pub fn options(when: WhenDead) -> Options {
    let mut options = Options::new();
    options
        .slots(8)
        .max_record(1000)
        .capacity(8000)
        .when_dead(when);
    options
}

/// What an actor has.
pub enum Handle {
    Tx(Box<dyn annulus_channel::Sender>),
    Rx(Box<dyn annulus_channel::Receiver>),
    SemTx(SemSender),
    SemRx(SemReceiver),
}

impl Handle {
    pub fn open(medium: &str, side: &str, when: &str, name: &str) -> Self {
        let when = if when == "fail" {
            WhenDead::Fail
        } else {
            WhenDead::Wait
        };
        let options = options(when);
        let open = "a channel that one can attach to";
        match (medium, side) {
            ("classic", "tx") => Self::Tx(Box::new(options.sender::<Classic>(name).expect(open))),
            ("spool", "tx") => Self::Tx(Box::new(options.sender::<Spool>(name).expect(open))),
            ("sem", "tx") => Self::SemTx(options.sender(name).expect(open)),
            ("classic", "rx") => Self::Rx(Box::new(options.receiver::<Classic>(name).expect(open))),
            ("spool", "rx") => Self::Rx(Box::new(options.receiver::<Spool>(name).expect(open))),
            ("sem", "rx") => Self::SemRx(options.receiver(name).expect(open)),
            other => panic!("{other:?}"),
        }
    }

    pub fn tx(&mut self) -> &mut dyn annulus_channel::Sender {
        match self {
            Self::Tx(tx) => &mut **tx,
            Self::SemTx(tx) => tx,
            _ => panic!("not a sender"),
        }
    }

    pub fn rx(&mut self) -> &mut dyn annulus_channel::Receiver {
        match self {
            Self::Rx(rx) => &mut **rx,
            Self::SemRx(rx) => rx,
            _ => panic!("not a receiver"),
        }
    }
}

pub fn moment(word: &str) -> Moment {
    let all = MOMENTS.into_iter();
    all.clone()
        .find(|moment| format!("{moment:?}") == word)
        .expect("a moment")
}

pub const MOMENTS: [Moment; 4] = [
    Moment::Promised,
    Moment::Unnamed,
    Moment::Inside,
    Moment::Unsignalled,
];

/// What an actor runs.
pub fn act() {
    let Some(role) = role() else {
        return;
    };
    let role: Vec<&str> = role.iter().map(String::as_str).collect();
    let &[medium, side, when, name] = &role[..] else {
        panic!("{role:?}");
    };
    let mut handle = Some(Handle::open(medium, side, when, name));
    let mut buffer = vec![];
    say("ready");
    obey(|words| {
        let number = |at: usize| words[at].parse::<u64>().expect("a number");
        let here = handle.as_mut();
        match words[0] {
            "close" => {
                handle = None;
                "ok".into()
            }
            // Sends so many records from a number on.
            "send" => {
                let tx = here.expect("open").tx();
                for number in number(1)..number(1) + number(2) {
                    if let Err(error) = tx.send(&record(number)) {
                        return format!("{number}: {error}");
                    }
                }
                "ok".into()
            }
            // Receives until an error, or so many; says the numbers.
            "recv" => {
                let rx = here.expect("open").rx();
                let mut numbers = vec![];
                while (numbers.len() as u64) < number(1) {
                    match rx.recv(&mut buffer) {
                        Ok(_) => numbers.push(read(&buffer).to_string()),
                        Err(error) => {
                            numbers.push(error.to_string());
                            break;
                        }
                    }
                }
                numbers.join(",")
            }
            // Receives until an error: how many, and whether they count on from the first.
            "drain" => {
                let rx = here.expect("open").rx();
                let mut next = number(1);
                loop {
                    match rx.recv(&mut buffer) {
                        Ok(_) if read(&buffer) == next => next += 1,
                        Ok(_) => return format!("{} where {next} was next", read(&buffer)),
                        Err(error) => return format!("{next}: {error}"),
                    }
                }
            }
            "stop_at" => match here.expect("open") {
                Handle::SemTx(tx) => {
                    tx.stop_at(moment(words[1]), &record(number(2)))
                        .expect("it gets so far");
                    "ok".into()
                }
                Handle::SemRx(rx) => {
                    rx.stop_at(moment(words[1]), &mut buffer)
                        .expect("it gets so far");
                    "ok".into()
                }
                _ => panic!("not with semaphores"),
            },
            // A child that inherits everything, tries it, closes it or keeps it, and stays.
            "fork" => {
                // SAFETY: the child calls what is safe to call there: the only other thread is asleep in the harness.
                match unsafe { nix::unistd::fork() }.expect("a child") {
                    nix::unistd::ForkResult::Parent { .. } => "ok".into(),
                    nix::unistd::ForkResult::Child => {
                        let tried = match here.expect("open") {
                            Handle::Tx(tx) => tx.try_send(b"a child's").unwrap_err().to_string(),
                            Handle::SemTx(tx) => tx.try_send(b"a child's").unwrap_err().to_string(),
                            _ => "not tried".into(),
                        };
                        if words[1] == "close" {
                            handle = None;
                        }
                        say(&tried);
                        thread::sleep(Duration::from_secs(20));
                        std::process::exit(0)
                    }
                }
            }
            other => panic!("{other}"),
        }
    });
}

/// A medium, as an actor knows it.
pub trait Known: Medium + Send + 'static {
    /// What its name begins with.
    const WORD: &'static str;
    /// A new name.
    fn name() -> Name;
}

impl Known for Classic {
    const WORD: &'static str = "classic";
    fn name() -> Name {
        Name::classic()
    }
}

impl Known for Sem {
    const WORD: &'static str = "sem";
    fn name() -> Name {
        Name::sem()
    }
}

impl Known for Spool {
    const WORD: &'static str = "spool";
    fn name() -> Name {
        Name::spool()
    }
}

pub fn play<M: Known>(side: &str, when: &str, name: &Name) -> Actor {
    let role = format!("{} {side} {when} {}", M::WORD, name.word().display());
    let actor = Actor::start(&role);
    assert_eq!(actor.answer(), "ready");
    actor
}

/// Nothing is left but a spool, which is to be removed.
pub fn nothing_is_left<M: Known>(name: &Name) {
    if M::WORD == "spool" {
        annulus_classic::remove::<M>(name.word()).expect("nobody is there");
        let dir = name.word().parent().expect("a directory");
        let left: Vec<_> = dir.read_dir().expect("a directory").flatten().collect();
        assert!(left.is_empty(), "{left:?}");
    } else {
        assert_eq!(name.files(), [""; 0].map(std::path::PathBuf::from));
    }
}
