//! Ours by itself: sizes, crowds, batches, ways to wait, capacities.

use super::{CAPACITY, PER_MESSAGE, ROUND_TRIP, bare, cell};
use crate::cell::{Cell, Measure, Role};
use crate::drive::{
    batches, crowd, in_place, records, sleeping_crowd, sleeping_trip, stream, trip,
};
use crate::message::Words;
use crate::ours::Annulus;
use crate::stage::{Processes, Threads};
use annulus::{Mpmc, Mpsc, Spmc, Spsc};

type One = Threads<Annulus<Spsc>>;
type Many = Threads<Annulus<Mpmc>>;
type ManyToOne = Threads<Annulus<Mpsc>>;
type OneToMany = Threads<Annulus<Spmc>>;

/// A row of the matrix: a name, what it is, who does it.
type Row = (&'static str, &'static str, Vec<(&'static str, Measure)>);

/// All cells.
pub fn matrix() -> Vec<Cell> {
    let mut cells: Vec<Cell> = typed()
        .into_iter()
        .map(|row| table(row, PER_MESSAGE))
        .collect();
    cells.extend(waits().into_iter().map(|row| table(row, ROUND_TRIP)));
    cells.extend(long());
    cells.extend(capacities());
    cells
}

fn table((name, what, subjects): Row, unit: &'static str) -> Cell {
    let subjects = subjects
        .into_iter()
        .enumerate()
        .map(|(number, (name, measure))| {
            let role = if number == 0 {
                Role::Ours
            } else {
                Role::Variant
            };
            bare(role, name, measure)
        });
    cell(name, what, unit, subjects.collect(), Vec::new())
}

fn typed() -> Vec<Row> {
    vec![
        (
            "kinds-8",
            "8 bytes, one to one, by kind of ring",
            kinds::<1>(),
        ),
        (
            "kinds-64",
            "64 bytes, one to one, by kind of ring",
            kinds::<8>(),
        ),
        (
            "kinds-256",
            "256 bytes, one to one, by kind of ring",
            kinds::<32>(),
        ),
        ("batches-8", "8 bytes in batches", batched::<1>()),
        ("batches-64", "64 bytes in batches", batched::<8>()),
        (
            "senders-8",
            "8 bytes, several senders to one receiver",
            to_one::<1>(),
        ),
        (
            "senders-64",
            "64 bytes, several senders to one receiver",
            to_one::<8>(),
        ),
        (
            "crowds-8",
            "8 bytes, several to several, who yield",
            crowds::<1>(),
        ),
        (
            "crowds-64",
            "64 bytes, several to several, who yield",
            crowds::<8>(),
        ),
        (
            "sleeping-crowds-8",
            "8 bytes, several to several, who sleep",
            sleepers::<1>(),
        ),
        (
            "sleeping-crowds-64",
            "64 bytes, several to several, who sleep",
            sleepers::<8>(),
        ),
    ]
}

fn kinds<const N: usize>() -> Vec<(&'static str, Measure)> {
    vec![
        ("spsc", stream::<One, Words<N>>),
        ("mpsc", stream::<ManyToOne, Words<N>>),
        ("spmc", stream::<OneToMany, Words<N>>),
        ("mpmc", stream::<Many, Words<N>>),
        (
            "spsc, processes",
            stream::<Processes<Annulus<Spsc>>, Words<N>>,
        ),
        (
            "mpmc, processes",
            stream::<Processes<Annulus<Mpmc>>, Words<N>>,
        ),
    ]
}

fn batched<const N: usize>() -> Vec<(&'static str, Measure)> {
    vec![
        ("spsc, 1", batches::<One, Words<N>, 1>),
        ("spsc, 16", batches::<One, Words<N>, 16>),
        ("spsc, 64", batches::<One, Words<N>, 64>),
        ("mpsc, 16", batches::<ManyToOne, Words<N>, 16>),
        ("mpsc, 64", batches::<ManyToOne, Words<N>, 64>),
        ("mpmc, 16", batches::<Many, Words<N>, 16>),
        ("mpmc, 64", batches::<Many, Words<N>, 64>),
    ]
}

fn to_one<const N: usize>() -> Vec<(&'static str, Measure)> {
    vec![
        ("1 to 1", crowd::<ManyToOne, N, 1, 1>),
        ("2 to 1", crowd::<ManyToOne, N, 2, 1>),
        ("3 to 1", crowd::<ManyToOne, N, 3, 1>),
        ("4 to 1", crowd::<ManyToOne, N, 4, 1>),
        ("1 to 2", crowd::<OneToMany, N, 1, 2>),
        ("1 to 4", crowd::<OneToMany, N, 1, 4>),
    ]
}

fn crowds<const N: usize>() -> Vec<(&'static str, Measure)> {
    vec![
        ("1 to 1", crowd::<Many, N, 1, 1>),
        ("2 to 2", crowd::<Many, N, 2, 2>),
        ("3 to 3", crowd::<Many, N, 3, 3>),
        ("4 to 4", crowd::<Many, N, 4, 4>),
    ]
}

fn sleepers<const N: usize>() -> Vec<(&'static str, Measure)> {
    vec![
        ("1 to 1", sleeping_crowd::<Many, N, 1, 1>),
        ("2 to 2", sleeping_crowd::<Many, N, 2, 2>),
        ("4 to 4", sleeping_crowd::<Many, N, 4, 4>),
    ]
}

fn waits() -> Vec<Row> {
    vec![
        (
            "waits-8",
            "8 bytes there and back, by how one waits",
            waiting::<1>(),
        ),
        (
            "waits-64",
            "64 bytes there and back, by how one waits",
            waiting::<8>(),
        ),
    ]
}

fn waiting<const N: usize>() -> Vec<(&'static str, Measure)> {
    vec![
        ("spinning", trip::<One, Words<N>>),
        (
            "adaptive, two processors",
            sleeping_trip::<One, Words<N>, 2>,
        ),
        ("adaptive, one processor", sleeping_trip::<One, Words<N>, 1>),
        (
            "spinning, processes",
            trip::<Processes<Annulus<Spsc>>, Words<N>>,
        ),
        (
            "adaptive, processes",
            sleeping_trip::<Processes<Annulus<Spsc>>, Words<N>, 2>,
        ),
    ]
}

fn long() -> Vec<Cell> {
    let cell = |name, len: usize, copied: Measure, placed: Measure| Cell {
        capacity: ((4 << 20) / len).clamp(8, CAPACITY),
        record: len,
        ..table(
            (
                name,
                "byte records, spsc",
                vec![("copied", copied), ("in place", placed)],
            ),
            PER_MESSAGE,
        )
    };
    vec![
        cell(
            "record-1K",
            1 << 10,
            records::<One, 1024, 1024>,
            in_place::<One, 1024>,
        ),
        cell(
            "record-4K",
            4 << 10,
            records::<One, 4096, 4096>,
            in_place::<One, 4096>,
        ),
        cell(
            "record-16K",
            16 << 10,
            records::<One, 16384, 16384>,
            in_place::<One, 16384>,
        ),
        cell(
            "record-64K",
            64 << 10,
            records::<One, 65536, 65536>,
            in_place::<One, 65536>,
        ),
        cell(
            "record-256K",
            256 << 10,
            records::<One, 262_144, 262_144>,
            in_place::<One, 262_144>,
        ),
        cell(
            "record-1M",
            1 << 20,
            records::<One, 1_048_576, 1_048_576>,
            in_place::<One, 1_048_576>,
        ),
    ]
}

/// From a ring that fits into a processor's first cache to one that fits into none.
fn capacities() -> Vec<Cell> {
    let sizes = [
        ("capacity-64", 64),
        ("capacity-512", 512),
        ("capacity-4K", 4 << 10),
        ("capacity-32K", 32 << 10),
        ("capacity-256K", 256 << 10),
        ("capacity-1M", 1 << 20),
    ];
    let cell = |(name, capacity)| {
        let subjects: Vec<(&'static str, Measure)> = vec![
            ("spsc", stream::<One, Words<8>>),
            ("mpmc", stream::<Many, Words<8>>),
            ("spsc, batches of 64", batches::<One, Words<8>, 64>),
        ];
        Cell {
            capacity,
            ..table(
                (
                    name,
                    "64 bytes, by how many messages the ring holds",
                    subjects,
                ),
                PER_MESSAGE,
            )
        }
    };
    sizes.into_iter().map(cell).collect()
}
