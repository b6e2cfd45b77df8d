//! Dominance pruning of random candidates: many classes keep many, few classes keep few.

use criterion::{criterion_group, criterion_main, BatchSize, BenchmarkId, Criterion, Throughput};
use tokenfleet::prune::{Front, Kept};
use tokenfleet::workload::MAX_CLASSES;

/// Numbers in (0, 1) from a 64-bit linear congruence: the same on every machine.
struct Uniform(u64);

impl Uniform {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }
}

/// Loads and joules move against each other, as they do over batch limits.
fn candidates(count: u64, classes: usize) -> Vec<Kept> {
    let mut uniform = Uniform(1);
    (0..count)
        .map(|id| {
            let mut kept = Kept {
                id,
                gpus: 1 << (4.0 * uniform.next()) as u32,
                per_system: 8,
                classes,
                load: [f64::INFINITY; MAX_CLASSES],
                joules: [f64::INFINITY; MAX_CLASSES],
                idle_w: 0.0,
                quality: 1.0,
                oddities: 0,
                capacity: 1.0,
                of_each: None,
            };
            let fast = uniform.next();
            for k in 0..classes {
                kept.load[k] = (0.2 + fast) * (1.0 + 0.5 * uniform.next()) / f64::from(kept.gpus);
                kept.joules[k] = (1.2 - fast) * (1.0 + 0.5 * uniform.next());
            }
            kept
        })
        .collect()
}

fn add_all(candidates: Vec<Kept>) -> Front {
    let mut front = Front::default();
    for candidate in candidates {
        front.add(candidate);
    }
    front
}

fn prune(c: &mut Criterion) {
    let mut group = c.benchmark_group("prune 5,000");
    group.sample_size(20);
    group.throughput(Throughput::Elements(5_000));
    for classes in [1, 2, 4] {
        let all = candidates(5_000, classes);
        group.bench_with_input(BenchmarkId::new("classes", classes), &all, |b, all| {
            b.iter_batched(|| all.clone(), add_all, BatchSize::LargeInput);
        });
    }
    group.finish();
}

criterion_group!(benches, prune);
criterion_main!(benches);
