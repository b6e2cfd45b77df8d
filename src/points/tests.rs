//! Points in bulk against the plain form of the same formulas, one replica and one rate at a time.

// Loops run over many arrays of a block at once, by one index.
#![allow(clippy::needless_range_loop)]

use proptest::prelude::*;

use crate::perf::factors::TimeFactors;
use crate::perf::latency::{Percentiles, Pressure};
use crate::perf::layout::Layout;
use crate::perf::parallel::Parallel;
use crate::perf::replica::{
    needed_sequences, request_joules, sequences_that_fit, ClassWork, Replica,
};
use crate::perf::role::Role;
use crate::perf::step::StepModel;
use crate::points::block::{Block, Wanted};
use crate::points::lanes::BLOCK;
use crate::points::offer::Offer;
use crate::points::table::points_with;
use crate::points::{points, Columns, Curve, Inputs};
use crate::tco::usd_per_mtok;
use crate::workload::Spec;

const WAY_S: f64 = 0.03;

/// Which replica of `benches/spec.json`.
#[derive(Debug, Clone, Copy)]
struct Which {
    model: usize,
    parallel: (u32, u32, u32, u32),
    speculation: usize,
    role: Role,
    batch: u32,
    class: usize,
    factors: TimeFactors,
}

fn with<T>(which: Which, f: impl FnOnce(&Layout, &Replica, &Curve) -> T) -> T {
    let spec = Spec::from_json(include_str!("../../benches/spec.json")).unwrap();
    let workload = &spec.workloads[which.model];
    let (tp, pp, ep, adp) = which.parallel;
    let depths = &workload.speculation;
    let layout = Layout {
        spec: &spec,
        system: &spec.systems[1],
        kernel: spec.kernel(1, 0).unwrap(),
        model: &spec.models[which.model],
        precision: &spec.precisions[0],
        kv: 0,
        parallel: Parallel { tp, pp, ep, adp },
        speculation: depths[which.speculation % depths.len()],
        role: which.role,
        factors: which.factors,
    };
    let step = StepModel::of(&layout).unwrap();
    let classes = &workload.classes;
    let k = which.class % classes.len();
    let work: Vec<ClassWork> = classes
        .iter()
        .map(|class| ClassWork::new(&layout, &step, class))
        .collect();
    let replica = Replica::new(&layout, &step, &work, which.batch);
    let curve = Curve::new(&layout, &replica, &classes[k], k, WAY_S);
    f(&layout, &replica, &curve)
}

/// Columns in the order of [`Columns`].
fn bulk(curve: &Curve, rates: &[f64], price: f64, tariff: f64) -> [Vec<f64>; 9] {
    filled(rates, price, tariff, |inputs, out| {
        points(curve, inputs, out)
    })
}

fn filled(
    rates: &[f64],
    price: f64,
    tariff: f64,
    fill: impl FnOnce(&Inputs, &mut Columns),
) -> [Vec<f64>; 9] {
    let len = rates.len();
    let mut columns: [Vec<f64>; 9] = std::array::from_fn(|_| vec![0.0; len]);
    let inputs = Inputs {
        rate_rps: rates,
        usd_per_gpu_h: &vec![price; len],
        usd_per_kwh: &vec![tariff; len],
    };
    fill(
        &inputs,
        &mut columns.each_mut().map(Vec::as_mut_slice).into(),
    );
    columns
}

/// The same by the formulas of one replica under one mix; `None` above capacity.
fn plain(
    layout: &Layout,
    replica: &Replica,
    k: usize,
    tokens: f64,
    rate: f64,
    price: f64,
    tariff: f64,
) -> Option<[f64; 9]> {
    let mut rates = vec![0.0; replica.classes.len()];
    rates[k] = rate;
    let pressure = Pressure::of_mix(replica, &rates, Percentiles::ALL)?;
    let mut way = vec![0.0; rates.len()];
    way[k] = WAY_S;
    let latency = pressure.latency(replica, 1 << k, &way);
    let n = latency.concurrency;
    let gpus = f64::from(layout.parallel.gpus());
    let floor_w = layout.standing_w() - layout.idle_w();
    let watts = layout.idle_w() + n.min(1.0) * floor_w + rate * request_joules(layout, replica, k);
    let hour = price + watts / gpus / 1000.0 * tariff;
    Some([
        rate * tokens,
        rate * tokens / gpus,
        latency.ttft[k][1],
        latency.ttft[k][4],
        latency.tpot[k][1],
        latency.tpot[k][4],
        watts,
        usd_per_mtok(hour, rate * tokens / gpus).unwrap(),
        n,
    ])
}

fn any_replica() -> impl Strategy<Value = Which> {
    let layouts = prop::sample::select(vec![
        (0, (2, 1, 1, 1)),
        (0, (4, 2, 1, 1)),
        (1, (2, 1, 4, 2)),
        (2, (8, 1, 8, 2)),
    ]);
    let roles = prop::sample::select(vec![Role::Serve, Role::Prefill(0), Role::Decode(0)]);
    let factors = (0.9f64..1.6, 0.9f64..1.6, 0.9f64..1.6, 0.9f64..1.6).prop_map(
        |(ttft, tpot, load, prefill_load)| TimeFactors {
            ttft,
            tpot,
            load,
            prefill_load,
        },
    );
    let batches = prop::sample::select(vec![4u32, 32, 256, 1024]);
    (layouts, 0usize..3, roles, batches, 0usize..3, factors).prop_map(
        |((model, parallel), speculation, role, batch, class, factors)| Which {
            model,
            parallel,
            speculation,
            role,
            batch,
            class,
            factors,
        },
    )
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * b.abs() || (a.is_nan() && b.is_nan()) || a == b
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn bulk_points_are_those_of_one_replica(which in any_replica(),
            used in prop::collection::vec(0.0f64..1.05, 1..200), near_full in 1e-6f64..1e-2,
            price in 0.5f64..10.0, tariff in 0.0f64..0.3) {
        with(which, |layout, replica, curve| -> Result<(), TestCaseError> {
            let k = which.class % replica.classes.len();
            let mut rates: Vec<f64> = used.iter().map(|u| u * curve.full_rate()).collect();
            rates.extend([(1.0 - near_full) * curve.full_rate(), 1e-9 * curve.full_rate()]);
            let columns = bulk(curve, &rates, price, tariff);
            for (row, &rate) in rates.iter().enumerate() {
                let values: [f64; 9] = std::array::from_fn(|c| columns[c][row]);
                let tokens = curve.output_tokens_per_request();
                match plain(layout, replica, k, tokens, rate, price, tariff) {
                    Some(expected) => for (c, (a, b)) in values.iter().zip(expected).enumerate() {
                        prop_assert!(close(*a, b), "column {c} at u = {}: {a} {b}", rate / curve.full_rate());
                    }
                    None => {
                        prop_assert_eq!(values[0], 0.0);
                        prop_assert_eq!(values[3], f64::INFINITY);
                        prop_assert_eq!(values[7], f64::INFINITY);
                        prop_assert!(values[6].is_nan());
                    }
                }
            }
            let fits = sequences_that_fit(layout, replica.work[k].kv_max_bytes);
            prop_assert_eq!(curve.fits, fits >= needed_sequences(layout, which.batch));
            Ok(())
        })?;
    }

    #[test]
    fn neighbours_do_not_matter(which in any_replica(),
            used in prop::collection::vec(0.0f64..1.05, 1..300), cut in 0usize..300) {
        with(which, |_, _, curve| -> Result<(), TestCaseError> {
            let rates: Vec<f64> = used.iter().map(|u| u * curve.full_rate()).collect();
            let cut = cut.min(rates.len());
            let whole = bulk(curve, &rates, 2.0, 0.1);
            let (left, right) = (bulk(curve, &rates[..cut], 2.0, 0.1), bulk(curve, &rates[cut..], 2.0, 0.1));
            for c in 0..9 {
                let parts = left[c].iter().chain(&right[c]);
                prop_assert!(whole[c].iter().zip(parts).all(|(a, b)| a.to_bits() == b.to_bits()));
            }
            Ok(())
        })?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]
    #[test]
    fn every_instruction_set_gives_the_same_bits(which in any_replica(),
            used in prop::collection::vec(0.0f64..1.05, 1..200)) {
        with(which, |_, _, curve| -> Result<(), TestCaseError> {
            let rates: Vec<f64> = used.iter().map(|u| u * curve.full_rate()).collect();
            let bits = |columns: [Vec<f64>; 9]| columns.map(|c| c.into_iter().map(f64::to_bits).collect::<Vec<_>>());
            let plain = bits(filled(&rates, 2.0, 0.1, |inputs, out| {
                points_with(pulp::Scalar, curve, inputs, out);
            }));
            prop_assert_eq!(&bits(bulk(curve, &rates, 2.0, 0.1)), &plain);
            #[cfg(target_arch = "x86_64")]
            if let Some(avx2) = pulp::x86::V3::try_new() {
                let found = bits(filled(&rates, 2.0, 0.1, |inputs, out| {
                    points_with(avx2, curve, inputs, out);
                }));
                prop_assert_eq!(&found, &plain);
            }
            Ok(())
        })?;
    }
}

#[test]
fn a_concurrency_is_reached_at_its_rate() {
    let which = Which {
        model: 1,
        parallel: (2, 1, 4, 2),
        speculation: 0,
        role: Role::Serve,
        batch: 128,
        class: 1,
        factors: TimeFactors::ONE,
    };
    with(which, |_, _, curve| {
        let wanted = [0.5, 1.0, 7.0, 64.0, 120.0];
        let rates = wanted.map(|n| curve.rate_at_concurrency(n));
        let reached = &bulk(curve, &rates, 1.0, 0.0)[8];
        for (n, found) in wanted.iter().zip(reached) {
            assert!((n - found).abs() < 1e-9 * n, "{n} {found}");
        }
        // A full replica is one whose batch is full.
        let full = curve.rate_at_concurrency(128.0);
        assert!((full / curve.full_rate() - 1.0).abs() < 1e-12);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn bounds_lie_below_every_point_between(which in any_replica(), low in 0.0f64..0.999,
            part in 0.0f64..1.0, inside in prop::collection::vec(0.0f64..1.0, BLOCK)) {
        with(which, |_, _, curve| -> Result<(), TestCaseError> {
            let full = curve.full_rate();
            let high = low + part * (0.9999 - low);
            let (mut bound, mut points) = (Block::default(), Block::default());
            for j in 0..BLOCK {
                bound.rate_rps[j] = low * full;
                bound.beside_low[j] = low * full;
                bound.beside_high[j] = high * full;
                points.rate_rps[j] = (low + inside[j] * (high - low)) * full;
                points.usd_per_gpu_h[j] = 2.0;
                points.usd_per_kwh[j] = 0.1;
            }
            bound.operate_beside(curve, Wanted::both(Percentiles::ALL));
            points.operate(curve, Wanted::both(Percentiles::ALL));
            points.price(curve);
            let below = |bound: f64, value: f64| value.is_nan() || bound * (1.0 - 1e-9) <= value;
            for j in 0..BLOCK {
                for i in 0..5 {
                    let (least, value) = (bound.ttft_s[i][j], points.ttft_s[i][j]);
                    prop_assert!(below(least, value), "ttft {i}: {least} {value}");
                    prop_assert!(below(curve.least_ttft(i), value), "ttft {i} alone");
                    let (least, value) = (bound.tpot_s[i][j], points.tpot_s[i][j]);
                    prop_assert!(below(least, value), "tpot {i}: {least} {value}");
                    prop_assert!(below(curve.least_tpot(), value), "tpot {i} alone");
                }
                let offer = Offer { usd_per_gpu_h: 2.0, usd_per_kwh: 0.1 };
                let least = curve.least_cost(high * full, &offer);
                prop_assert!(below(least, points.usd_per_mtok_output[j]));
            }
            Ok(())
        })?;
    }
}
