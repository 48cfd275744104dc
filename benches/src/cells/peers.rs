//! Ours beside other queues: a cell for each piece of work in which something is to be reached.

use super::{
    PER_MESSAGE, ROUND_TRIP, bare, cast, cell, faster, limit, longer, measure, of, subject,
};
use crate::bare::Bare;
use crate::cell::{Against, Cell, Goal, Role};
use crate::drive::{batches, crowd, idle, in_place, paced, records, sleeping_trip, stream, trip};
use crate::limits;
use crate::message::Words;
use crate::ours::{Annulus, Mapped};
#[cfg(feature = "peers")]
use crate::peers::{
    ArrayQueue, Channel, Iceoryx2, Kanal, Ringbuf, Ringfire, Rtrb, ShaqMpmc, ShaqSpsc, SyncChannel,
};
use crate::stage::{Processes, Threads};
use crate::still::{INSTRUCTIONS, header, instructions, slot_overhead};
use annulus::{Mpmc, Mpsc, Spmc, Spsc};
use std::time::Duration;

/// A time slice of the scheduler, in milliseconds: slices end at ticks, of which there are 250 a second.
const SLICE: f64 = 4.0;

/// All cells of the comparison.
pub fn peers() -> Vec<Cell> {
    let mut cells = vec![
        spsc::<1, { 1 << 15 }>(vec![
            faster(Against::Best, 1.3),
            faster(Against::Of(&["shaq spsc"]), 5.0),
            faster(Against::Limit, 0.8),
        ]),
        spsc::<8, { 1 << 18 }>(vec![faster(Against::Best, 3.0)]),
        spsc::<32, { 1 << 20 }>(vec![faster(Against::Best, 3.0)]),
        batch::<1, { 1 << 15 }>(),
        batch::<8, { 1 << 18 }>(),
        mixed(),
        mpmc::<1>(),
        mpmc::<8>(),
        mpmc::<32>(),
        many::<8, 2>("crowd-2x2-64"),
        many::<8, 4>("crowd-4x4-64"),
        round_trip::<1>(),
        round_trip::<8>(),
        copied::<{ 64 << 10 }>("copied-64K", 64),
        copied::<{ 1 << 20 }>("copied-1M", 8),
        placed::<{ 64 << 10 }>("in-place-64K", 64),
        placed::<{ 1 << 20 }>("in-place-1M", 8),
        asleep::<2>("sleep-two-processors"),
        asleep::<1>("sleep-one-processor"),
        wakeable(),
        blocked(),
        counted(),
    ];
    cells.extend(overheads());
    cells.extend([10, 50, 80].map(scheduled));
    cells.extend([
        between_processes::<1, { 1 << 15 }>(),
        between_processes::<8, { 1 << 18 }>(),
        between_processes::<32, { 1 << 20 }>(),
        round_trip_between_processes::<1>(),
        round_trip_between_processes::<8>(),
        copied_between_processes::<{ 64 << 10 }>("processes-copied-64K", 64),
        placed_between_processes::<{ 1 << 20 }>("processes-in-place-1M", 8),
    ]);
    cells
}

fn spsc<const N: usize, const RING: usize>(goals: Vec<Goal>) -> Cell {
    let mut subjects = cast!(
        stream(Words<N>):
        Ours Threads<Annulus<Spsc>>, Again Threads<Annulus<Spsc>>,
        Variant Threads<Mapped<Spsc>>;
        Peer Threads<Rtrb>,
        Peer Threads<Ringbuf>,
        Peer Threads<Ringfire>,
        Peer Threads<ShaqSpsc>,
        Peer Threads<ArrayQueue>,
        Peer Threads<Channel>,
        Peer Threads<SyncChannel>,
        Peer Threads<Kanal>,
    );
    subjects.push(limit(limits::stream::<N, RING>));
    let what = "one sender, one receiver, threads; each message is published before the next";
    cell(
        format!("spsc-{}", 8 * N),
        what,
        PER_MESSAGE,
        subjects,
        goals,
    )
}

fn batch<const N: usize, const RING: usize>() -> Cell {
    let mut subjects = cast!(
        batches(Words<N>, 64):
        Ours Threads<Annulus<Spsc>>, Again Threads<Annulus<Spsc>>;
        Peer Threads<Rtrb>,
        Peer Threads<Ringbuf>,
        Peer Threads<Ringfire>,
        Peer Threads<ShaqSpsc>,
    );
    subjects.push(limit(limits::batches::<N, RING>));
    let goals = vec![faster(Against::Best, 1.2), faster(Against::Limit, 0.9)];
    let what = "one sender, one receiver, threads; batches of 64";
    cell(
        format!("batch-{}", 8 * N),
        what,
        PER_MESSAGE,
        subjects,
        goals,
    )
}

fn mixed() -> Cell {
    let mut subjects = cast!(
        records(16, 256):
        Ours Threads<Annulus<Spsc>>, Again Threads<Annulus<Spsc>>;
        Peer Threads<Rtrb>,
        Peer Threads<Ringfire>,
        Peer Threads<Channel>,
    );
    subjects.push(limit(limits::records::<{ 1 << 20 }>));
    let goals = vec![faster(Against::Best, 1.5), faster(Against::Limit, 0.75)];
    let what = "byte records of 16 to 256 bytes, one sender, one receiver, threads";
    Cell {
        record: 256,
        ..cell("records-16-256", what, PER_MESSAGE, subjects, goals)
    }
}

fn mpmc<const N: usize>() -> Cell {
    let subjects = cast!(
        stream(Words<N>):
        Ours Threads<Annulus<Mpmc>>, Again Threads<Annulus<Mpmc>>, Variant Threads<Annulus<Spsc>>;
        Peer Threads<ArrayQueue>,
        Peer Threads<Channel>,
        Peer Threads<ShaqMpmc>,
        Peer Threads<Kanal>,
    );
    let what = "queues for many, with one sender and one receiver, threads";
    let names = &["crossbeam ArrayQueue", "crossbeam-channel", "shaq mpmc"];
    let goals = vec![faster(Against::Of(names), 1.8)];
    cell(
        format!("mpmc-{}", 8 * N),
        what,
        PER_MESSAGE,
        subjects,
        goals,
    )
}

fn many<const N: usize, const K: usize>(name: &str) -> Cell {
    let mut subjects = cast!(
        crowd(N, K, K):
        Ours Threads<Annulus<Mpmc>>, Again Threads<Annulus<Mpmc>>;
        Peer Threads<Channel>,
        Peer Threads<ArrayQueue>,
        Peer Threads<Kanal>,
    );
    let alone = crowd::<Threads<Annulus<Mpmc>>, N, 1, 1>;
    subjects.push(bare(Role::Variant, "one to one", alone));
    let goals = vec![
        faster(Against::Of(&["crossbeam-channel"]), 1.5),
        faster(Against::Of(&["one to one"]), 0.5),
        of("longest stall ms", longer(Against::Figure(100.0), 1.0)),
        of("delay p99.9 ms", longer(Against::Figure(2.0 * SLICE), 1.0)),
    ];
    let what = "several senders and receivers on two processors, threads, who yield when they cannot go on";
    cell(name, what, PER_MESSAGE, subjects, goals)
}

fn round_trip<const N: usize>() -> Cell {
    let mut subjects = cast!(
        trip(Words<N>):
        Ours Threads<Annulus<Spsc>>, Again Threads<Annulus<Spsc>>, Variant Threads<Annulus<Mpmc>>;
        Peer Threads<Rtrb>,
        Peer Threads<Ringbuf>,
        Peer Threads<Ringfire>,
        Peer Threads<ShaqSpsc>,
        Peer Threads<ArrayQueue>,
        Peer Threads<Channel>,
    );
    subjects.push(limit(limits::round_trip::<N>));
    let goals = vec![faster(Against::Best, 1.0), longer(Against::Limit, 1.25)];
    let what = "there and back on two queues, threads, both spin";
    cell(format!("trip-{}", 8 * N), what, ROUND_TRIP, subjects, goals)
}

fn copied<const LEN: usize>(name: &str, capacity: usize) -> Cell {
    let mut subjects = cast!(
        records(LEN, LEN):
        Ours Threads<Annulus<Spsc>>, Again Threads<Annulus<Spsc>>;
        Peer Threads<Rtrb>,
        Peer Threads<Ringfire>,
        Peer Threads<Channel>,
    );
    subjects.push(limit(limits::memory::hand_over::<LEN>));
    let goals = vec![faster(Against::Limit, 0.85)];
    let what = "long byte records, copied in and out, one sender, one receiver, threads";
    Cell {
        capacity,
        record: LEN,
        ..cell(name, what, PER_MESSAGE, subjects, goals)
    }
}

fn placed<const LEN: usize>(name: &str, capacity: usize) -> Cell {
    let mut subjects = cast!(
        in_place(LEN):
        Ours Threads<Annulus<Spsc>>, Again Threads<Annulus<Spsc>>;
        Peer Threads<Rtrb>,
    );
    subjects.push(limit(limits::memory::in_place::<LEN>));
    let goals = vec![faster(Against::Limit, 0.95)];
    let what = "long byte records, written and read in place, one sender, one receiver, threads";
    Cell {
        capacity,
        record: LEN,
        ..cell(name, what, PER_MESSAGE, subjects, goals)
    }
}

fn asleep<const CPUS: usize>(name: &str) -> Cell {
    let mut subjects = cast!(
        sleeping_trip(Words<1>, CPUS):
        Ours Threads<Annulus<Spsc>>, Again Threads<Annulus<Spsc>>;
        Peer Threads<Ringfire>,
        Peer Threads<Channel>,
        Peer Threads<SyncChannel>,
        Peer Threads<Kanal>,
    );
    subjects.extend([
        bare(
            Role::Limit,
            "a bare futex",
            limits::kernel::futex_trip::<CPUS>,
        ),
        bare(Role::Variant, "a pipe", limits::kernel::pipe_trip::<CPUS>),
        bare(
            Role::Variant,
            "a Unix socket",
            limits::kernel::socket_trip::<CPUS>,
        ),
    ]);
    let goals = vec![
        longer(Against::Limit, 1.1),
        longer(Against::Of(&["a pipe"]), 0.6),
    ];
    let what = "there and back on two queues, 8 bytes, threads, both block; without the work that makes spinning vain";
    cell(name, what, ROUND_TRIP, subjects, goals)
}

fn wakeable() -> Cell {
    let mut subjects = cast!(
        stream(Words<1>):
        Ours Threads<Bare<true>>, Again Threads<Bare<true>>, Variant Threads<Bare<false>>,
        Variant Threads<Annulus<Spsc>>;
    );
    subjects.dedup_by_key(|subject| subject.name);
    let goals = vec![longer(Against::Of(&["spin only"]), 1.05)];
    let what = "8 bytes, one sender, one receiver, threads: a sender that looks at a doorbell beside one that does not";
    cell("able-to-wake", what, PER_MESSAGE, subjects, goals)
}

fn blocked() -> Cell {
    let mut subjects = cast!(
        idle(Words<1>):
        Ours Threads<Annulus<Spsc>>, Again Threads<Annulus<Spsc>>;
        Peer Threads<Ringfire>,
        Peer Threads<Channel>,
        Peer Threads<SyncChannel>,
        Peer Threads<Kanal>,
    );
    subjects.push(bare(
        Role::Variant,
        "a bare futex, ten times a second",
        limits::kernel::futex_idle,
    ));
    let goals = vec![
        longer(Against::Figure(10.0), 1.0),
        of("CPU %", longer(Against::Figure(0.05), 1.0)),
    ];
    let what = "a blocked receiver of a queue in which nothing happens";
    Cell {
        rounds: Some(3),
        time: Some(Duration::from_secs(2)),
        ..cell("idle", what, "wake-ups/s", subjects, goals)
    }
}

fn counted() -> Cell {
    let mut subjects = vec![bare(Role::Ours, "annulus spsc", |_| instructions("spsc-8"))];
    if cfg!(feature = "peers") {
        subjects.push(bare(Role::Peer, "rtrb", |_| instructions("rtrb-8")));
    }
    let goals = vec![longer(Against::Of(&["rtrb"]), 1.0)];
    let what = "sending and receiving 8 bytes by one thread, as callgrind counts it";
    Cell {
        rounds: Some(1),
        ..cell("instructions-8", what, INSTRUCTIONS, subjects, goals)
    }
}

fn overheads() -> Vec<Cell> {
    let overhead = |name, role: &'static str, measure, most| {
        let subjects = vec![bare(Role::Ours, role, measure)];
        let goals = vec![longer(Against::Figure(most), 1.0)];
        Cell {
            rounds: Some(1),
            ..cell(
                name,
                "memory beyond that of the messages",
                "bytes",
                subjects,
                goals,
            )
        }
    };
    vec![
        overhead(
            "overhead-spsc-slot",
            "annulus spsc",
            slot_overhead::<Spsc>,
            8.0,
        ),
        overhead(
            "overhead-mpsc-slot",
            "annulus mpsc",
            slot_overhead::<Mpsc>,
            8.0,
        ),
        overhead(
            "overhead-spmc-slot",
            "annulus spmc",
            slot_overhead::<Spmc>,
            8.0,
        ),
        overhead(
            "overhead-mpmc-slot",
            "annulus mpmc",
            slot_overhead::<Mpmc>,
            16.0,
        ),
        overhead("overhead-header", "annulus mpmc", header::<Mpmc>, 4096.0),
    ]
}

fn scheduled(percent: u32) -> Cell {
    let subjects = cast!(
        paced(Words<8>):
        Ours Threads<Annulus<Spsc>>, Again Threads<Annulus<Spsc>>;
        Peer Threads<Rtrb>,
        Peer Threads<Ringfire>,
        Peer Threads<Ringbuf>,
        Peer Threads<ShaqSpsc>,
    );
    let goals = vec![
        faster(Against::Best, 1.0),
        of("p99", faster(Against::Best, 1.0)),
    ];
    let what = "the median delay of 64 bytes on a schedule; its rate is a share of the slowest subject's capacity";
    Cell {
        share: Some(f64::from(percent) / 100.0),
        ..cell(format!("paced-{percent}"), what, "ns", subjects, goals)
    }
}

fn between_processes<const N: usize, const RING: usize>() -> Cell {
    let mut subjects = cast!(
        stream(Words<N>):
        Ours Processes<Annulus<Spsc>>, Again Processes<Annulus<Spsc>>,
        Variant Processes<Annulus<Mpmc>>;
        Peer Processes<Ringfire>,
        Peer Processes<ShaqSpsc>,
        Peer Processes<ShaqMpmc>,
        Peer Processes<Iceoryx2>,
    );
    subjects.push(limit(limits::stream::<N, RING>));
    let goals = vec![faster(Against::Best, if N == 1 { 1.3 } else { 3.0 })];
    let what = "one sender, one receiver, processes; each message is published before the next";
    let name = format!("processes-spsc-{}", 8 * N);
    cell(name, what, PER_MESSAGE, subjects, goals)
}

fn round_trip_between_processes<const N: usize>() -> Cell {
    let mut subjects = cast!(
        trip(Words<N>):
        Ours Processes<Annulus<Spsc>>, Again Processes<Annulus<Spsc>>;
        Peer Processes<Ringfire>,
        Peer Processes<ShaqSpsc>,
        Peer Processes<Iceoryx2>,
    );
    subjects.push(limit(limits::round_trip::<N>));
    let goals = vec![faster(Against::Best, 1.0), longer(Against::Limit, 1.25)];
    let what = "there and back on two queues, processes, both spin";
    let name = format!("processes-trip-{}", 8 * N);
    cell(name, what, ROUND_TRIP, subjects, goals)
}

fn copied_between_processes<const LEN: usize>(name: &str, capacity: usize) -> Cell {
    let mut subjects = cast!(
        records(LEN, LEN):
        Ours Processes<Annulus<Spsc>>, Again Processes<Annulus<Spsc>>;
        Peer Processes<Ringfire>,
        Peer Processes<Iceoryx2>,
    );
    subjects.push(limit(limits::memory::hand_over::<LEN>));
    let what = "long byte records, copied in and out, one sender, one receiver, processes";
    Cell {
        capacity,
        record: LEN,
        ..cell(
            name,
            what,
            PER_MESSAGE,
            subjects,
            vec![faster(Against::Limit, 0.85)],
        )
    }
}

fn placed_between_processes<const LEN: usize>(name: &str, capacity: usize) -> Cell {
    let mut subjects = cast!(
        in_place(LEN):
        Ours Processes<Annulus<Spsc>>, Again Processes<Annulus<Spsc>>;
        Peer Processes<Iceoryx2>,
    );
    subjects.push(limit(limits::memory::in_place::<LEN>));
    let what = "long byte records, written and read in place, one sender, one receiver, processes";
    Cell {
        capacity,
        record: LEN,
        ..cell(
            name,
            what,
            PER_MESSAGE,
            subjects,
            vec![faster(Against::Limit, 0.95)],
        )
    }
}
