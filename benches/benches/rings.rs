//! What a message costs on each kind of ring, by the drivers of `annulus-bench`: streamed from one thread or process to
//! another, in batches, and sent there and back. Every message is checked.
//!
//! `cargo bench -p annulus-bench`, and `-- NAME` for some of them. On a shared machine compare ratios within one run only;
//! `annulus-bench peers` makes them.

use annulus::{Mpmc, Mpsc, Protocol, Spmc, Spsc};
use annulus_bench::cell::Measure;
use annulus_bench::cells::CAPACITY;
use annulus_bench::drive::{batches, records, stream, trip};
use annulus_bench::message::Words;
use annulus_bench::ours::Annulus;
use annulus_bench::stage::{Processes, Stage, Threads};
use criterion::{Criterion, criterion_group, criterion_main};
use std::time::Duration;

/// How long a driver works for one measurement.
const TIME: Duration = Duration::from_millis(5);

/// Lets criterion time a driver. The driver has its own clock, which leaves out how the queue is made and warmed.
fn bench(criterion: &mut Criterion, group: &str, name: &str, measure: Measure) {
    let mut stage = Stage::new(TIME, CAPACITY).expect("two processors and shared memory");
    stage.record = 256;
    let mut group = criterion.benchmark_group(group);
    group.sample_size(10);
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|count| {
            let sample = measure(&stage).expect("every message is right");
            Duration::from_secs_f64(sample.value * count as f64 / 1e9)
        });
    });
}

fn kind<K: Protocol + 'static>(criterion: &mut Criterion) {
    let group = |what: &str| format!("{what}/{}", K::KIND);
    let mut bench = |what: &str, name: &str, measure| bench(criterion, &group(what), name, measure);
    bench("stream", "8", stream::<Threads<Annulus<K>>, Words<1>>);
    bench("stream", "64", stream::<Threads<Annulus<K>>, Words<8>>);
    bench("stream", "256", stream::<Threads<Annulus<K>>, Words<32>>);
    bench(
        "stream",
        "processes/8",
        stream::<Processes<Annulus<K>>, Words<1>>,
    );
    bench("batches", "8", batches::<Threads<Annulus<K>>, Words<1>, 64>);
    bench("records", "16-256", records::<Threads<Annulus<K>>, 16, 256>);
    bench("round_trip", "8", trip::<Threads<Annulus<K>>, Words<1>>);
    bench(
        "round_trip",
        "processes/8",
        trip::<Processes<Annulus<K>>, Words<1>>,
    );
}

fn rings(criterion: &mut Criterion) {
    kind::<Spsc>(criterion);
    kind::<Mpsc>(criterion);
    kind::<Spmc>(criterion);
    kind::<Mpmc>(criterion);
}

criterion_group!(benches, rings);
criterion_main!(benches);
