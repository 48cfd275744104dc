//! The other process in tests of processes: it does what its standard input says, a line at a time, and
//! answers each with one line, `ok`, a value, or `error: …`.
//!
//! ```text
//! actor ring KIND PLACE             a ring of u64; PLACE is a location, or fd:N
//!     create CAPACITY [per-sender] | create_new CAPACITY | open     -> ok
//!     inode                                             -> the file behind the ring
//!     sender | receiver | handles COUNT                 -> ok
//!     send N | try_send N | recv | try_recv | recv_for MS
//!     reserve N                                         -> reserved; then: commit | drop | leak    -> ok, or ENDING
//!     peek                                              -> N tries T; then: release | drop | leak  -> ok, or ENDING
//!                     ENDING, with the guard: exec (-> executed) | exit | _exit | abort | panic
//!     fork ENDING LINE                                  -> what a forked child answers to LINE with our handles;
//!                                                          it ends by return | close | exit | _exit
//!     fork_stay                                         -> the number of a forked child that stays for a while
//!     forks COUNT                                       -> ok; in the middle of messages between our own handles
//!     forks_stay COUNT                                  -> their numbers; meanwhile COUNT senders are attached
//!     epoch                                             -> the other side's epoch
//!     close                                             -> ok; the handles and the ring are closed
//!     info                                              -> voided V returned R rescues S
//!     catch_signals                                     -> ok; SIGUSR1 does nothing but interrupt
//!     become UID                                        -> ok; gives up all rights
//!     tmpfs DIRECTORY SIZE                              -> ok; mounts one that only this process sees
//!     list DIRECTORY                                    -> the names there
//!     idle MS                                           -> what a blocked receiver cost: CPU in us, switches
//!     end
//! actor silent KIND                 messages under a seccomp filter that allows no system call
//! actor storm send PLACE ID COUNT   4 senders …
//! actor storm recv PLACE FILE       … and 4 receivers on one mpmc ring; see `annulus_tests::storm`
//! ```

use annulus::{
    AttachError, Kind, Location, Mpmc, Mpsc, OpenError, Order, Protocol, Receiver, Ring,
    RingOptions, Sender, Spmc, Spsc,
};
use annulus_tests::forks::{self, Forked};
use annulus_tests::storm;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::time::TimeValLike;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufRead};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["ring", kind, place] => match kind.parse().expect("a kind") {
            Kind::Spsc => Play::<Spsc>::new(place).run(),
            Kind::Mpsc => Play::<Mpsc>::new(place).run(),
            Kind::Spmc => Play::<Spmc>::new(place).run(),
            Kind::Mpmc => Play::<Mpmc>::new(place).run(),
        },
        ["silent", kind] => match kind.parse().expect("a kind") {
            Kind::Spsc => silent::<Spsc>(),
            Kind::Mpsc => silent::<Mpsc>(),
            Kind::Spmc => silent::<Spmc>(),
            Kind::Mpmc => silent::<Mpmc>(),
        },
        ["storm", "send", place, id, count] => {
            let place = place.parse().expect("a place");
            storm::send(
                &place,
                id.parse().expect("a number"),
                count.parse().expect("a number"),
            );
        }
        ["storm", "recv", place, file] => {
            storm::receive(&place.parse().expect("a place"), file.as_ref());
        }
        _ => panic!("see the head of actor.rs; got {arguments:?}"),
    }
}

/// A ring and what is attached to it.
struct Play<K: Protocol> {
    place: Place,
    ring: Option<Ring<u64, K>>,
    senders: Vec<Sender<u64, K>>,
    receivers: Vec<Receiver<u64, K>>,
    /// We are a forked child that shall return from `main`.
    returns: bool,
}

enum Place {
    Named(Location),
    Inherited(i32),
}

fn said<T: Display, E: Display>(result: Result<T, E>) -> String {
    match result {
        Ok(value) => value.to_string(),
        Err(error) => format!("error: {error}"),
    }
}

fn lines() -> impl Iterator<Item = String> {
    io::stdin().lock().lines().map_while(Result::ok)
}

impl<K: Protocol> Play<K> {
    fn new(place: &str) -> Self {
        let place = match place.strip_prefix("fd:") {
            Some(fd) => Place::Inherited(fd.parse().expect("a descriptor")),
            None => Place::Named(place.parse().expect("a place")),
        };
        Self {
            place,
            ring: None,
            senders: vec![],
            receivers: vec![],
            returns: false,
        }
    }

    fn run(mut self) {
        let mut lines = lines();
        while let Some(line) = lines.next() {
            let words: Vec<&str> = line.split(' ').collect();
            if words == ["end"] {
                return;
            }
            let answer = self.act(&words, &mut lines);
            if self.returns {
                return;
            }
            println!("{answer}");
        }
    }

    fn act(&mut self, words: &[&str], lines: &mut impl Iterator<Item = String>) -> String {
        let mut options = RingOptions::new();
        let number = |word: &str| word.parse::<u64>().expect("a number");
        match *words {
            ["open"] => self.open(&options),
            ["create", capacity] => {
                self.open(options.create(true).capacity(number(capacity) as usize))
            }
            ["create", capacity, "per-sender"] => {
                options.order(Order::PerSender);
                self.open(options.create(true).capacity(number(capacity) as usize))
            }
            ["create_new", capacity] => {
                self.open(options.create_new(true).capacity(number(capacity) as usize))
            }
            ["inode"] => {
                let fd = self.ring().as_fd().expect("a mapped ring");
                let file = File::from(fd.try_clone_to_owned().expect("a descriptor"));
                file.metadata().expect("a file").ino().to_string()
            }
            ["sender"] => said(self.attach_sender().map(|()| "ok")),
            ["receiver"] => said(self.attach_receiver().map(|()| "ok")),
            ["handles", count] => {
                let attached = (0..number(count)).try_for_each(|_| self.attach_sender());
                said(attached.map(|()| "ok"))
            }
            ["send", value] => said(self.sender().send(number(value)).map(|()| "ok")),
            ["try_send", value] => said(self.sender().try_send(number(value)).map(|()| "ok")),
            ["recv"] => said(self.receiver().recv()),
            ["try_recv"] => said(self.receiver().try_recv()),
            ["recv_for", ms] => {
                let time = Duration::from_millis(number(ms));
                said(self.receiver().recv_timeout(time))
            }
            ["reserve", value] => {
                let mut reservation = match self.sender().reserve() {
                    Ok(reservation) => reservation,
                    Err(error) => return format!("error: {error}"),
                };
                reservation.write(number(value));
                println!("reserved");
                match lines.next().as_deref() {
                    Some("commit") => reservation.commit(),
                    Some("leak") => std::mem::forget(reservation),
                    Some(ending) => end(ending),
                    None => {}
                }
                "ok".into()
            }
            ["peek"] => {
                let peeked = match self.receiver().peek() {
                    Ok(peeked) => peeked,
                    Err(error) => return format!("error: {error}"),
                };
                println!("{} tries {}", peeked.read(), peeked.tries());
                match lines.next().as_deref() {
                    Some("release") => peeked.release(),
                    Some("leak") => std::mem::forget(peeked),
                    Some(ending) => end(ending),
                    None => {}
                }
                "ok".into()
            }
            ["close"] => {
                self.senders.clear();
                self.receivers.clear();
                self.ring = None;
                "ok".into()
            }
            ["info"] => {
                let info = self.ring().info();
                let (voided, returned) = (info.voided, info.returned);
                format!(
                    "voided {voided} returned {returned} rescues {}",
                    info.rescues
                )
            }
            ["fork", ending, ref words @ ..] => self.fork(ending, words, lines),
            ["fork_stay"] => forks::stay().to_string(),
            ["forks", count] => self.fork_amid_messages(number(count)),
            ["forks_stay", count] => self.fork_beside_attaching(number(count)),
            ["epoch"] => match self.receivers.last() {
                Some(receiver) => receiver.peer_epoch().to_string(),
                None => self.sender().peer_epoch().to_string(),
            },
            ["catch_signals"] => {
                catch_signals();
                "ok".into()
            }
            ["become", uid] => {
                give_up_rights(number(uid) as u32);
                "ok".into()
            }
            ["tmpfs", directory, size] => said(own_tmpfs(directory, size).map(|()| "ok")),
            ["list", directory] => list(directory),
            ["idle", ms] => self.idle(Duration::from_millis(number(ms))),
            _ => panic!("see the head of actor.rs; got {words:?}"),
        }
    }

    fn open(&mut self, options: &RingOptions) -> String {
        let opened = match &self.place {
            Place::Named(location) => options.open(location),
            // SAFETY: whoever started us left this descriptor open for us alone.
            Place::Inherited(fd) => options.from_fd(unsafe { OwnedFd::from_raw_fd(*fd) }),
        };
        said::<_, OpenError>(opened.map(|ring| {
            self.ring = Some(ring);
            "ok"
        }))
    }

    fn ring(&self) -> &Ring<u64, K> {
        self.ring.as_ref().expect("the ring is open")
    }

    fn attach_sender(&mut self) -> Result<(), AttachError> {
        self.senders.push(self.ring().sender()?);
        Ok(())
    }

    fn attach_receiver(&mut self) -> Result<(), AttachError> {
        self.receivers.push(self.ring().receiver()?);
        Ok(())
    }

    fn sender(&mut self) -> &mut Sender<u64, K> {
        self.senders.last_mut().expect("a sender is attached")
    }

    fn receiver(&mut self) -> &mut Receiver<u64, K> {
        self.receivers.last_mut().expect("a receiver is attached")
    }

    /// A child does as `words` say, and ends.
    fn fork(
        &mut self,
        ending: &str,
        words: &[&str],
        lines: &mut impl Iterator<Item = String>,
    ) -> String {
        match forks::fork() {
            Forked::Parent(child) => child.answer(),
            Forked::Child(parent) => {
                parent.answer(&self.act(words, lines));
                match ending {
                    "close" => drop((self.senders.pop(), self.receivers.pop())),
                    "return" => self.returns = true,
                    ending => end(ending),
                }
                self.returns = true;
                String::new()
            }
        }
    }

    /// Sends to ourselves, while a signal forks us again and again, at whatever instruction it finds us.
    fn fork_amid_messages(&mut self, count: u64) -> String {
        forks::begin_by_timer();
        let mut number = 0;
        while forks::made_by_timer() < count {
            self.sender().send(number).expect("there is room");
            let got = self.receiver().recv();
            assert_eq!(got, Ok(number), "what we sent ourselves");
            number += 1;
        }
        forks::end_by_timer();
        "ok".into()
    }

    /// Makes children that stay, while another thread attaches senders.
    fn fork_beside_attaching(&mut self, count: u64) -> String {
        let ring = self.ring.as_ref().expect("the ring is open");
        let (senders, children) = std::thread::scope(|scope| {
            let attaching = scope.spawn(|| {
                let attach = |_| ring.sender().expect("a place");
                (0..count).map(attach).collect::<Vec<_>>()
            });
            let mut children = vec![];
            while !attaching.is_finished() {
                children.push(forks::stay().to_string());
            }
            (attaching.join().expect("no panic"), children)
        });
        self.senders.extend(senders);
        children.join(" ")
    }

    /// What it costs to wait for so long: processor time in microseconds, and times that we went to sleep.
    fn idle(&mut self, time: Duration) -> String {
        let used = || {
            let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("a number");
            let cpu = usage.user_time() + usage.system_time();
            (cpu.num_microseconds(), usage.voluntary_context_switches())
        };
        let (cpu, switches) = used();
        let result = self.receiver().recv_timeout(time);
        let (cpu_after, switches_after) = used();
        format!(
            "{} {} {}",
            cpu_after - cpu,
            switches_after - switches,
            said(result)
        )
    }
}

/// Ends the process, or what it runs; or does nothing, so that whatever is held is dropped.
fn end(how: &str) {
    match how {
        "exec" => {
            let script = "echo executed; exec sleep 100";
            let error = Command::new("sh").args(["-c", script]).exec();
            panic!("exec: {error}");
        }
        "exit" => std::process::exit(0),
        // SAFETY: takes no pointer.
        "_exit" => unsafe { libc::_exit(0) },
        "abort" => std::process::abort(),
        "panic" => std::panic::resume_unwind(Box::new("as told")),
        "drop" => {}
        _ => panic!("see the head of actor.rs; got {how}"),
    }
}

extern "C" fn nothing(_signal: libc::c_int) {}

/// Has SIGUSR1 interrupt system calls, and do nothing else.
fn catch_signals() {
    let action = SigAction::new(
        SigHandler::Handler(nothing),
        SaFlags::empty(),
        SigSet::empty(),
    );
    // SAFETY: the handler does nothing.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.expect("a handler");
}

fn give_up_rights(id: u32) {
    let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
    setgroups(&[]).expect("root may");
    setresgid(gid, gid, gid).expect("root may");
    setresuid(uid, uid, uid).expect("root may");
}

/// Mounts a file system of `size` bytes where only this process sees it.
fn own_tmpfs(directory: &str, size: &str) -> nix::Result<()> {
    const NONE: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(NONE, "/", NONE, private, NONE)?;
    let size = format!("size={size}");
    mount(
        Some("tmpfs"),
        directory,
        Some("tmpfs"),
        MsFlags::empty(),
        Some(size.as_str()),
    )
}

fn list(directory: &str) -> String {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let names: Vec<_> = entries
        .map(|entry| {
            entry
                .expect("a name")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.join(" ")
}

/// Sends and receives under a filter that kills whoever makes a system call ([`forbid_system_calls`]). Both handles are in this thread,
/// so nobody sleeps. Exits with 0, or 77 if the kernel has no such filter.
fn silent<K: Protocol>() {
    let typed: Ring<u64, K> = RingOptions::new().capacity(64).memfd().expect("a ring");
    let bytes: Ring<[u8], K> = RingOptions::new().capacity(4096).memfd().expect("a ring");
    let mut sender = typed.sender().expect("a sender");
    let mut receiver = typed.receiver().expect("a receiver");
    let mut byte_sender = bytes.sender().expect("a sender");
    let mut byte_receiver = bytes.receiver().expect("a receiver");
    let mut buffer = Vec::with_capacity(4096);
    let record = [7; 300];
    // Each handle asks once about those who came after it, as soon as it has nothing to do.
    while sender.try_send(0).is_ok() {}
    while receiver.try_recv().is_ok() {}
    while byte_sender.try_send(&record).is_ok() {}
    while byte_receiver.try_recv(&mut buffer).is_ok() {}
    if !forbid_system_calls() {
        std::process::exit(77);
    }
    let mut sum = 0;
    for number in 0..10_000 {
        sender.send(number).expect("there is room");
        sum += receiver.recv().expect("there is a message");
        byte_sender.send(&record).expect("there is room");
        sum += byte_receiver.recv(&mut buffer).expect("there is a record") as u64;
        if number % 100 == 0 {
            while sender.try_send(0).is_ok() {}
            while receiver.try_recv().is_ok() {}
        }
    }
    let well = sum == 9_999 * 10_000 / 2 + 300 * 10_000;
    // SAFETY: ends the only thread.
    unsafe { libc::syscall(libc::SYS_exit, i32::from(!well)) };
}

/// From now on whoever makes a system call is killed, but for the end of a thread, and for the time, which is a system call only
/// where the clock cannot be read without. Not seccomp's strict mode: that forbids the processor's counter, too. False if the kernel
/// has no such filter.
fn forbid_system_calls() -> bool {
    let step = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let is = |number: libc::c_long, skip| {
        step(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            skip,
            0,
            number as u32,
        )
    };
    // The number of the system call is the first word of what the filter sees.
    let mut filter = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        is(libc::SYS_exit, 2),
        is(libc::SYS_clock_gettime, 1),
        step(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_KILL_PROCESS,
        ),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: takes no pointer.
    let bound = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } == 0;
    let mode = libc::SECCOMP_MODE_FILTER;
    // SAFETY: the program and its filter live until the call is over; the kernel copies them.
    bound && unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) } == 0
}
