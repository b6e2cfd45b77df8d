//! Configurations per second on one thread: the whole space of `spec.json`, and one layout in parts.
//!
//! `spec.json` is written by `python tests/core_spec.py benches/spec.json`.

use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use tokenfleet::evaluate::point;
use tokenfleet::perf::operator_tables::OperatorTables;
use tokenfleet::perf::step::StepModel;
use tokenfleet::search::search;
use tokenfleet::space::{resolve, Space};
use tokenfleet::workload::Spec;

fn spec() -> Spec {
    Spec::from_json(include_str!("spec.json")).expect("the fixture is a specification")
}

/// Candidates per second: those that fit memory, evaluated in full or shown by a bound to be beaten.
fn search_all(c: &mut Criterion) {
    let spec = spec();
    let space = Space::new(&spec);
    let one = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .expect("one thread");
    let found = one.install(|| search(&spec, &space, 0, space.partition_count()));
    let mut group = c.benchmark_group("search");
    group.throughput(Throughput::Elements(
        found
            .counts
            .values()
            .map(|counts| counts.evaluated() + counts.dominated)
            .sum(),
    ));
    group.bench_function("one thread", |b| {
        b.iter(|| one.install(|| search(&spec, &space, 0, space.partition_count())));
    });
    group.finish();
}

/// What a unit, a layout and a point cost apart from each other.
fn parts(c: &mut Criterion) {
    let spec = spec();
    let space = Space::new(&spec);
    let configuration = (0..space.len())
        .map(|id| space.decode(&spec, id).expect("in range"))
        .find(|c| point(&spec, c, 0).is_ok_and(|p| p.capacity > 0.0))
        .expect("some point is usable");
    let layout = resolve(&spec, &configuration).expect("a layout");
    let tables = OperatorTables::build(&layout).expect("every kernel has a figure");
    c.bench_function("operator tables", |b| {
        b.iter(|| OperatorTables::build(&layout))
    });
    c.bench_function("step model", |b| {
        b.iter(|| StepModel::build(&layout, &tables))
    });
    c.bench_function("one point from nothing", |b| {
        b.iter(|| point(&spec, &configuration, 0))
    });
}

criterion_group!(benches, search_all, parts);
criterion_main!(benches);
