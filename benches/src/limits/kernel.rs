//! M6, M7 and M8: the kernel's ways to wake and to be heard.

use super::{first, repeat};
use crate::clock::now;
use crate::drive::{Sample, sleeper, work, work_time};
use crate::queue::said;
use crate::stage::{Actor, Stage};
use std::hint::spin_loop;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32};

/// There and back between two looks at the clock.
const STRIDE: u32 = 16;

/// In place of a number: it is over.
const OVER: u32 = u32::MAX;

/// Sends a number.
trait Send: FnMut(u32) -> Result<(), String> {}
impl<F: FnMut(u32) -> Result<(), String>> Send for F {}

/// Receives the number that is expected, or that it is over.
trait Receive: FnMut(u32) -> Result<u32, String> {}
impl<F: FnMut(u32) -> Result<u32, String>> Receive for F {}

fn futex(word: &AtomicU32, operation: libc::c_int, value: u32) -> i64 {
    let timeout = std::ptr::null::<libc::timespec>();
    // SAFETY: the word is aligned and lives through the call; there is no timeout. The kernel only compares the word.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, timeout) }
}

/// Somebody who sleeps on a futex that nobody rings, a tenth of a second at a time, and does nothing else: wake-ups a second,
/// and the share of a processor.
///
/// # Errors
///
/// What the actor said.
pub fn futex_idle(stage: &Stage) -> Result<Sample, String> {
    let (told, mut disturbance) = stage.together(&[0], |actor| {
        let word = AtomicU32::new(0);
        let slice = libc::timespec {
            tv_sec: 0,
            tv_nsec: 100_000_000,
        };
        let end = now() + actor.stage.time.as_nanos() as u64;
        while now() < end {
            // SAFETY: the word is aligned, and it and the time live through the call. The kernel only compares the word.
            unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    word.as_ptr(),
                    libc::FUTEX_WAIT,
                    0,
                    &raw const slice,
                )
            };
        }
        Ok(())
    })?;
    let sleeping = told.first().ok_or("nobody told anything")?;
    // As with a receiver that is idle.
    disturbance.involuntary = 0;
    Ok(sleeper(stage, &sleeping.usage, disturbance))
}

/// A wake of a word on which nobody sleeps: nanoseconds.
///
/// # Errors
///
/// What the first actor said that failed.
pub fn wake(stage: &Stage) -> Result<Sample, String> {
    let word = AtomicU32::new(0);
    first(stage.together(&[0], |actor| {
        Ok(repeat(actor.stage, 64, |count| {
            for _ in 0..count {
                futex(&word, libc::FUTEX_WAKE, 1);
            }
        }))
    })?)
}

/// Two who sleep on a futex of their own until the other wakes them, without looking twice before: nanoseconds there and
/// back, on `CPUS` processors. Shared futexes, as between processes.
///
/// # Errors
///
/// What the first actor said that failed.
pub fn futex_trip<const CPUS: usize>(stage: &Stage) -> Result<Sample, String> {
    let words = [AtomicU32::new(0), AtomicU32::new(0)];
    let wait = |word: &AtomicU32, number: u32| {
        loop {
            // Acquire and Release: as a message would go.
            let found = word.load(Acquire);
            if found >= number {
                return found;
            }
            futex(word, libc::FUTEX_WAIT, found);
        }
    };
    let post = |word: &AtomicU32, number: u32| {
        word.store(number, Release);
        futex(word, libc::FUTEX_WAKE, 1);
    };
    trip::<CPUS, _, _>(stage, |actor| {
        let (mine, theirs) = (&words[actor.part], &words[1 - actor.part]);
        let send = move |number| {
            post(theirs, number);
            Ok(())
        };
        (send, move |number| Ok(wait(mine, number)))
    })
}

/// A pipe each way: nanoseconds there and back.
///
/// # Errors
///
/// What the kernel said.
pub fn pipe_trip<const CPUS: usize>(stage: &Stage) -> Result<Sample, String> {
    let (there, back) = (said(std::io::pipe())?, said(std::io::pipe())?);
    trip::<CPUS, _, _>(stage, |actor| {
        let (from, to) = match actor.part {
            0 => (&back.0, &there.1),
            _ => (&there.0, &back.1),
        };
        words(from, to)
    })
}

/// An eventfd each way: nanoseconds there and back.
///
/// # Errors
///
/// What the kernel said.
pub fn eventfd_trip<const CPUS: usize>(stage: &Stage) -> Result<Sample, String> {
    let files = [eventfd()?, eventfd()?];
    let over = AtomicBool::new(false);
    trip::<CPUS, _, _>(stage, |actor| {
        let (mine, theirs) = (&files[actor.part], &files[1 - actor.part]);
        let over = &over;
        // An eventfd carries a count and not a number.
        let send = move |number| {
            over.fetch_or(number == OVER, Relaxed);
            said((&*theirs).write_all(&1u64.to_ne_bytes()))
        };
        let receive = move |number| {
            let mut count = [0; 8];
            said((&*mine).read_exact(&mut count))?;
            Ok(if over.load(Relaxed) { OVER } else { number })
        };
        (send, receive)
    })
}

fn eventfd() -> Result<std::fs::File, String> {
    // SAFETY: makes a new file descriptor and touches no memory.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    if fd < 0 {
        return said(Err(std::io::Error::last_os_error()));
    }
    // SAFETY: new, and ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) }.into())
}

/// A Unix socket pair: nanoseconds there and back.
///
/// # Errors
///
/// What the kernel said.
pub fn socket_trip<const CPUS: usize>(stage: &Stage) -> Result<Sample, String> {
    let (one, other) = said(UnixStream::pair())?;
    trip::<CPUS, _, _>(stage, |actor| {
        let end = if actor.part == 0 { &one } else { &other };
        words(end, end)
    })
}

/// Sends and receives numbers as words of 8 bytes.
fn words(mut from: impl Read, mut to: impl Write) -> (impl Send, impl Receive) {
    let send = move |number| said(to.write_all(&u64::from(number).to_ne_bytes()));
    let receive = move |_| {
        let mut word = [0; 8];
        said(from.read_exact(&mut word))?;
        Ok(u64::from_ne_bytes(word) as u32)
    };
    (send, receive)
}

/// One asks with odd numbers, the other answers with even ones; on two processors each works for a while before it sends,
/// as in `drive::sleeping_trip`, so that the other sleeps. `ends` makes what sends and what receives.
fn trip<const CPUS: usize, S, R>(
    stage: &Stage,
    ends: impl Fn(&Actor) -> (S, R) + Sync,
) -> Result<Sample, String>
where
    S: Send,
    R: Receive,
{
    let cpus = [0, 1 % CPUS];
    first(stage.together(&cpus, |actor| {
        let (mut send, mut receive) = ends(actor);
        if actor.part == 1 {
            let mut number = 1;
            loop {
                if receive(number)? == OVER {
                    return Ok(0.0);
                }
                work(CPUS);
                send(number + 1)?;
                number += 2;
            }
        }
        let begin = now();
        let end = begin + actor.stage.time.as_nanos() as u64;
        let mut number = 1;
        while now() < end {
            for _ in 0..STRIDE {
                work(CPUS);
                send(number)?;
                receive(number + 1)?;
                number += 2;
            }
        }
        let time = now() - begin;
        send(OVER)?;
        Ok(time as f64 / f64::from(number / 2) - 2.0 * work_time(CPUS))
    })?)
}

/// `membarrier(GLOBAL_EXPEDITED)`, while the other processor runs a thread of a registered process, or idles:
/// nanoseconds.
///
/// # Errors
///
/// What the kernel said.
pub fn membarrier<const BUSY: bool>(stage: &Stage) -> Result<Sample, String> {
    const REGISTER: i32 = libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED;
    const BARRIER: i32 = libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED;
    let call = |command: i32| {
        // SAFETY: a barrier; it touches no memory of ours.
        match unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) } {
            0 => Ok(()),
            _ => said(Err(std::io::Error::last_os_error())),
        }
    };
    let over = AtomicBool::new(false);
    let cpus: &[usize] = if BUSY { &[0, 1] } else { &[0] };
    first(stage.together(cpus, |actor| {
        call(REGISTER)?;
        if actor.part == 1 {
            while !over.load(Relaxed) {
                spin_loop();
            }
            return Ok(0.0);
        }
        let mut result = Ok(());
        let each = repeat(actor.stage, 16, |count| {
            for _ in 0..count {
                result = result.clone().and(call(BARRIER));
            }
        });
        over.store(true, Relaxed);
        result.map(|()| each)
    })?)
}
