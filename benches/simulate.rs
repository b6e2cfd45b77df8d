//! Engine steps and requests per second of the simulator on one thread: 512 tokens in, 128 out, batch
//! 64, at 85 % of capacity, with 1 and with 256 replicas.

use std::sync::atomic::AtomicBool;

use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use tokenfleet::simulate::arrivals::Lengths;
use tokenfleet::simulate::{simulate, Options, Report, Traffic};
use tokenfleet::space::{Configuration, Space};
use tokenfleet::workload::Spec;

const INPUT: u32 = 512;
const OUTPUT: u32 = 128;

fn spec() -> (Spec, Configuration) {
    let mut spec: Spec =
        Spec::from_json(include_str!("spec.json")).expect("the fixture is a specification");
    spec.workloads[0].batches = vec![64];
    let space = Space::new(&spec);
    let c = space.decode(&spec, 0).expect("the first configuration");
    (spec, c)
}

fn run(spec: &Spec, c: &Configuration, replicas: usize, rate: f64) -> Report {
    let class = || Lengths {
        pairs: vec![(INPUT, OUTPUT)],
        hit_rate: 0.0,
    };
    let traffic = Traffic::Drawn {
        rates: vec![rate * replicas as f64, 0.0],
        lengths: vec![class(), class()],
    };
    let options = Options {
        replicas,
        requests: (800 * replicas as u64).max(20_000),
        replications: 1,
        seed: 1,
        ..Options::default()
    };
    simulate(spec, c, &traffic, &options, &AtomicBool::new(false)).expect("a serving replica")
}

fn simulations(criterion: &mut Criterion) {
    let (spec, c) = spec();
    // Served requests/s under more than can be served.
    let capacity = run(&spec, &c, 1, 1e3).classes[0].served_per_s.mean;
    for replicas in [1, 256] {
        let report = run(&spec, &c, replicas, 0.85 * capacity);
        for (what, count) in [
            ("steps", report.steps),
            ("requests", report.conservation.counts.finished),
        ] {
            let mut group = criterion.benchmark_group(what);
            group
                .sample_size(10)
                .throughput(Throughput::Elements(count));
            group.bench_function(format!("{replicas} replicas"), |b| {
                b.iter(|| run(&spec, &c, replicas, 0.85 * capacity))
            });
            group.finish();
        }
    }
}

criterion_group!(benches, simulations);
criterion_main!(benches);
