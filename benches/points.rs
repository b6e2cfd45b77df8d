//! Operating points per second on one thread: in bulk, and one by one in the plain form.

use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use tokenfleet::perf::latency::{Percentiles, Pressure};
use tokenfleet::perf::operator_tables::OperatorTables;
use tokenfleet::perf::replica::{request_joules, ClassWork, Replica};
use tokenfleet::perf::step::StepModel;
use tokenfleet::points::{points, Columns, Curve, Inputs};
use tokenfleet::space::{resolve, Space};
use tokenfleet::tco::usd_per_mtok_at;
use tokenfleet::workload::Spec;

const POINTS: usize = 4096;

fn bulk_and_plain(c: &mut Criterion) {
    let spec = Spec::from_json(include_str!("spec.json")).expect("the fixture is a specification");
    let configuration = Space::new(&spec)
        .decode(&spec, 0)
        .expect("the space is not empty");
    let layout = resolve(&spec, &configuration).expect("a layout");
    let tables = OperatorTables::build(&layout).expect("every kernel has a figure");
    let step = StepModel::build(&layout, &tables).expect("every kernel has a figure");
    let class = &spec.workloads[0].classes[0];
    let work = [ClassWork::new(&layout, &step, class)];
    let replica = Replica::new(&layout, &step, &work, 64);
    let curve = Curve::new(&layout, &replica, class, 0, 0.0);
    let rates: Vec<f64> = (0..POINTS)
        .map(|i| (i as f64 + 0.5) / POINTS as f64 * curve.full_rate())
        .collect();
    let (prices, tariffs) = (vec![2.5; POINTS], vec![0.1; POINTS]);
    let mut columns: [Vec<f64>; 9] = std::array::from_fn(|_| vec![0.0; POINTS]);

    let mut group = c.benchmark_group("points");
    group.throughput(Throughput::Elements(POINTS as u64));
    group.bench_function("bulk", |b| {
        b.iter(|| {
            let inputs = Inputs {
                rate_rps: &rates,
                usd_per_gpu_h: &prices,
                usd_per_kwh: &tariffs,
            };
            let mut out = columns_of(&mut columns);
            points(&curve, &inputs, &mut out);
        });
    });
    let wanted = Percentiles([true, true, false, false, true]);
    group.bench_function("plain", |b| {
        b.iter(|| {
            let one = |rate: &f64| {
                let Some(p) = Pressure::of_mix(&replica, &[*rate], wanted) else {
                    return 0.0;
                };
                let watts = rate * request_joules(&layout, &replica, 0);
                let cost = usd_per_mtok_at(2.5 + 0.1 * watts, *rate);
                let late = |i| p.ttft(&replica, 0, i, 0.0) + p.tpot(&replica, 0, i);
                late(1) + late(4) + cost
            };
            rates.iter().map(one).sum::<f64>()
        });
    });
    group.finish();
}

fn columns_of(columns: &mut [Vec<f64>; 9]) -> Columns<'_> {
    columns.each_mut().map(Vec::as_mut_slice).into()
}

criterion_group!(benches, bulk_and_plain);
criterion_main!(benches);
