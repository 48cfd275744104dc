//! The machine by itself.

use super::{bare, cell};
use crate::cell::{Cell, Measure, Role};
use crate::limits::{alone, atomic, kernel, line, memory};

/// All measurements of the machine. Each is a cell of one subject.
pub fn limits() -> Vec<Cell> {
    let there_and_back = "there and back";
    let rows: Vec<(&str, &'static str, &'static str, Measure)> = vec![
        (
            "M1-one-word",
            "a word that two processors write in turn",
            "ns",
            line::one_word,
        ),
        (
            "M1-two-words",
            "two words, each written by one processor",
            "ns",
            line::two_words,
        ),
        (
            "M2-line-16K",
            "a stream of lines through a ring of 16 KiB",
            "ns/line",
            line::stream::<{ 16 << 10 }>,
        ),
        (
            "M2-line-32K",
            "a stream of lines through a ring of 32 KiB",
            "ns/line",
            line::stream::<{ 32 << 10 }>,
        ),
        (
            "M2-line-256K",
            "a stream of lines through a ring of 256 KiB",
            "ns/line",
            line::stream::<{ 256 << 10 }>,
        ),
        (
            "M2-line-1M",
            "a stream of lines through a ring of 1 MiB",
            "ns/line",
            line::stream::<{ 1 << 20 }>,
        ),
        (
            "M2-line-4M",
            "a stream of lines through a ring of 4 MiB",
            "ns/line",
            line::stream::<{ 4 << 20 }>,
        ),
        (
            "M2-line-64M",
            "a stream of lines through a ring of 64 MiB",
            "ns/line",
            line::stream::<{ 64 << 20 }>,
        ),
        (
            "M3-copy-64",
            "a copy of 64 bytes, one processor",
            "ns",
            memory::copy::<64, 1>,
        ),
        (
            "M3-copy-4K",
            "a copy of 4 KiB, one processor",
            "ns",
            memory::copy::<4096, 1>,
        ),
        (
            "M3-copy-64K",
            "a copy of 64 KiB, one processor",
            "ns",
            memory::copy::<{ 64 << 10 }, 1>,
        ),
        (
            "M3-copy-1M",
            "a copy of 1 MiB, one processor",
            "ns",
            memory::copy::<{ 1 << 20 }, 1>,
        ),
        (
            "M3-copy-4M",
            "a copy of 4 MiB, one processor",
            "ns",
            memory::copy::<{ 4 << 20 }, 1>,
        ),
        (
            "M3-copies-64K",
            "a copy of 64 KiB, two processors at once",
            "ns",
            memory::copy::<{ 64 << 10 }, 2>,
        ),
        (
            "M3-copies-4M",
            "a copy of 4 MiB, two processors at once",
            "ns",
            memory::copy::<{ 4 << 20 }, 2>,
        ),
        (
            "M3-hand-over-64K",
            "64 KiB copied in by one and out by the other",
            "ns",
            memory::hand_over::<{ 64 << 10 }>,
        ),
        (
            "M3-hand-over-1M",
            "1 MiB copied in by one and out by the other",
            "ns",
            memory::hand_over::<{ 1 << 20 }>,
        ),
        (
            "M3-in-place-64K",
            "64 KiB written by one and read by the other",
            "ns",
            memory::in_place::<{ 64 << 10 }>,
        ),
        (
            "M3-in-place-1M",
            "1 MiB written by one and read by the other",
            "ns",
            memory::in_place::<{ 1 << 20 }>,
        ),
        (
            "M4-add",
            "two processors add to one word",
            "ns/addition",
            atomic::add::<2>,
        ),
        (
            "M4-swap",
            "two processors count up by compare-and-swap",
            "ns/success",
            atomic::swap::<2>,
        ),
        (
            "M5-locked",
            "a locked operation, alone",
            "ns",
            atomic::add::<1>,
        ),
        (
            "M5-fence-1",
            "a full fence after writing 1 line that the other has",
            "ns",
            atomic::fence_after::<1>,
        ),
        (
            "M5-fence-8",
            "a full fence after writing 8 lines that the other has",
            "ns",
            atomic::fence_after::<8>,
        ),
        (
            "M6-wake",
            "a futex wake that wakes nobody",
            "ns",
            kernel::wake,
        ),
        ("M6-futex-2", there_and_back, "ns", kernel::futex_trip::<2>),
        ("M6-futex-1", there_and_back, "ns", kernel::futex_trip::<1>),
        ("M7-pipe-2", there_and_back, "ns", kernel::pipe_trip::<2>),
        ("M7-pipe-1", there_and_back, "ns", kernel::pipe_trip::<1>),
        (
            "M7-eventfd-2",
            there_and_back,
            "ns",
            kernel::eventfd_trip::<2>,
        ),
        (
            "M7-socket-2",
            there_and_back,
            "ns",
            kernel::socket_trip::<2>,
        ),
        (
            "M8-membarrier",
            "membarrier, the other processor runs nothing registered",
            "ns",
            kernel::membarrier::<false>,
        ),
        (
            "M8-membarrier-busy",
            "membarrier, the other processor runs a registered process",
            "ns",
            kernel::membarrier::<true>,
        ),
        (
            "M9-alone-8",
            "8 bytes, sent or received by one thread",
            "ns/message",
            alone::one_by_one::<1>,
        ),
        (
            "M9-alone-64",
            "64 bytes, sent or received by one thread",
            "ns/message",
            alone::one_by_one::<8>,
        ),
        (
            "M9-alone-256",
            "256 bytes, sent or received by one thread",
            "ns/message",
            alone::one_by_one::<32>,
        ),
        (
            "M9-batch-8",
            "8 bytes in batches of 64, by one thread",
            "ns/message",
            alone::batches::<1>,
        ),
        (
            "M9-batch-64",
            "64 bytes in batches of 64, by one thread",
            "ns/message",
            alone::batches::<8>,
        ),
        (
            "M9-records",
            "records of 16 to 256 bytes, by one thread",
            "ns/message",
            alone::records,
        ),
    ];
    let row = |(name, what, unit, measure)| {
        cell(
            name,
            what,
            unit,
            vec![bare(Role::Ours, "the machine", measure)],
            Vec::new(),
        )
    };
    rows.into_iter().map(row).collect()
}
