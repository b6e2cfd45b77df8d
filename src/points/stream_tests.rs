//! A bounded search against every point taken one by one and compared with every other.

use proptest::prelude::*;

use crate::points::front::{Front, Merits, Ranking};
use crate::points::grid::{curve_of, Grid, Loads, Numbers};
use crate::points::offer::Offer;
use crate::points::search::{Found, Keep, Search};
use crate::points::{points, Columns, Inputs};
use crate::space::Space;
use crate::workload::{Metric, Over, Slo, Spec};

/// Number, group, cost, TTFT p99, TPOT p99.
type Row = (u64, usize, f64, f64, f64);

/// The points of a grid that fit and keep the limits, one at a time.
fn one_by_one(spec: &Spec, space: &Space, grid: &Grid, numbers: &Numbers) -> Vec<Row> {
    (0..numbers.len())
        .filter_map(|number| one(spec, space, grid, numbers, number))
        .collect()
}

fn one(spec: &Spec, space: &Space, grid: &Grid, numbers: &Numbers, number: u64) -> Option<Row> {
    let place = numbers.decode(spec, space, number).unwrap();
    let c = space.decode(spec, place.configuration).unwrap();
    let workload = &spec.workloads[place.workload];
    let k = place.class;
    let curve = curve_of(spec, &c, k, grid.latency_group)?;
    if !curve.fits {
        return None;
    }
    let offer = grid.offers[workload.systems[c.system]][place.offer];
    let inputs = Inputs {
        rate_rps: &[grid.loads.rate(&curve, place.load)],
        usd_per_gpu_h: &[offer.usd_per_gpu_h],
        usd_per_kwh: &[offer.usd_per_kwh],
    };
    let mut values = [[0.0]; 9];
    let mut out = Columns::from(values.each_mut().map(|v| v.as_mut_slice()));
    points(&curve, &inputs, &mut out);
    let [_, _, p50, p99, q50, q99, _, cost, _] = values;
    let late = workload
        .slos
        .iter()
        .filter(|slo| slo.class.is_none_or(|only| only == k))
        .any(|slo| {
            let value = match (slo.metric, slo.percentile) {
                (Metric::Ttft, 1) => p50[0],
                (Metric::Ttft, _) => p99[0],
                (Metric::Tpot, 1) => q50[0],
                (Metric::Tpot, _) => q99[0],
                (Metric::E2e, _) => unreachable!("no such limit is drawn"),
            };
            value > slo.limit_s
        });
    let before = &spec.workloads[..place.workload];
    let group = before.iter().map(|w| w.classes.len()).sum::<usize>() + k;
    (!late && cost[0].is_finite()).then_some((number, group, cost[0], p99[0], q99[0]))
}

fn dominates(a: &Row, b: &Row) -> bool {
    let no_worse = a.1 == b.1 && a.2 <= b.2 && a.3 <= b.3 && a.4 <= b.4;
    no_worse && (a.2 < b.2 || a.3 < b.3 || a.4 < b.4 || a.0 < b.0)
}

fn kept(found: &Found) -> (Vec<Vec<u64>>, Vec<Vec<u64>>) {
    let mut fronts = found.fronts.clone();
    let best = found.best.iter();
    (
        fronts.iter_mut().map(Front::numbers).collect(),
        best.map(|c| c.points().iter().map(|(_, _, n)| *n).collect())
            .collect(),
    )
}

#[derive(Debug, Clone)]
struct Case {
    grid: Grid,
    batches: Vec<u32>,
    limits: Vec<(bool, usize, f64)>,
    cheapest: usize,
    by: Ranking,
    cut: u64,
}

fn any_case() -> impl Strategy<Value = Case> {
    let loads = (1usize..200, 0u8..3, 0.3f64..0.999).prop_map(|(n, kind, top)| {
        let values = |top: f64| (1..=n).map(|i| top * i as f64 / n as f64).collect();
        match kind {
            0 => Loads::Utilisation(values(top)),
            1 => Loads::RateRps(values(30.0 * top)),
            _ => Loads::Concurrency(values(120.0 * top)),
        }
    });
    let price = prop::sample::select(vec![1.0, 2.0, 2.5, 4.0]);
    let offer = (price, 0u8..3).prop_map(|(usd_per_gpu_h, tariff)| Offer {
        usd_per_gpu_h,
        usd_per_kwh: f64::from(tariff) * 0.05,
    });
    let offers = || prop::collection::vec(offer.clone(), 0..4);
    let grid = (loads, offers(), offers()).prop_map(|(loads, a, b)| Grid {
        loads,
        offers: vec![a, b],
        latency_group: 0,
    });
    let limit = (
        any::<bool>(),
        prop::sample::select(vec![1usize, 4]),
        -2.0f64..1.5,
    );
    let batches = prop::sample::select(vec![vec![8u32, 64], vec![16], vec![4, 32, 256]]);
    (
        grid,
        batches,
        prop::collection::vec(limit, 0..3),
        0usize..6,
        prop::sample::select(vec![Ranking::Cost, Ranking::Ttft, Ranking::Tpot]),
        any::<u64>(),
    )
        .prop_map(|(grid, batches, limits, cheapest, by, cut)| Case {
            grid,
            batches,
            limits,
            cheapest,
            by,
            cut,
        })
}

/// The small space of a case: two workloads, few degrees.
fn spec(case: &Case) -> Spec {
    let mut spec = Spec::from_json(include_str!("../../benches/spec.json")).unwrap();
    spec.workloads.truncate(2);
    for w in &mut spec.workloads {
        w.batches = case.batches.clone();
        w.tp = vec![1, 4];
        w.pp = vec![1];
        w.ep.truncate(1);
        w.adp = vec![1];
        w.speculation.truncate(2);
        w.engines.truncate(1);
        let limits = case.limits.iter().map(|(ttft, percentile, size)| Slo {
            metric: if *ttft { Metric::Ttft } else { Metric::Tpot },
            percentile: *percentile,
            limit_s: 10f64.powf(if *ttft { *size } else { *size - 1.5 }),
            class: None,
            over: Over::Class,
        });
        w.slos = limits.collect();
    }
    spec
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]
    #[test]
    fn bounds_lose_nothing(case in any_case()) {
        let spec = spec(&case);
        let space = Space::new(&spec);
        case.grid.check(&spec).unwrap();
        let numbers = Numbers::new(&spec, &case.grid);
        let search = |skip| Search {
            spec: &spec, space: &space, grid: &case.grid, numbers: &numbers,
            keep: Keep { cheapest: case.cheapest, by: case.by, front: true, skip },
        };
        let units = space.unit_count();
        let bounded = search(true).extend(None, 0, units);
        let every = search(false).extend(None, 0, units);
        prop_assert_eq!(bounded.counts.total(), numbers.len());
        prop_assert_eq!(every.counts.total(), numbers.len());
        prop_assert_eq!(every.counts.dominated + every.counts.beyond_limits, 0);
        prop_assert_eq!(kept(&bounded), kept(&every));
        // Without a front the best are the same.
        let short = Search { keep: Keep { front: false, ..search(true).keep }, ..search(true) }.extend(None, 0, units);
        prop_assert_eq!(short.counts.total(), numbers.len());
        prop_assert_eq!(&kept(&short).1, &kept(&every).1);
        prop_assert!(kept(&short).0.iter().all(Vec::is_empty));
        // Cut into ranges, with bounds from the ones before, and on one thread.
        let cut = case.cut % units;
        let left = search(true).extend(None, 0, cut);
        let both = search(true).extend(Some(left), cut, units);
        prop_assert_eq!(kept(&both), kept(&every));
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let alone = one.install(|| search(true).extend(None, 0, units));
        prop_assert_eq!(alone.counts, bounded.counts);

        if numbers.len() > 20_000 {
            return Ok(());
        }
        let rows = one_by_one(&spec, &space, &case.grid, &numbers);
        for (group, (front, best)) in kept(&bounded).0.iter().zip(kept(&bounded).1).enumerate() {
            let of: Vec<&Row> = rows.iter().filter(|r| r.1 == group).collect();
            let left: Vec<u64> = of.iter()
                .filter(|r| !of.iter().any(|o| dominates(o, r)))
                .map(|r| r.0).collect();
            prop_assert_eq!(front, &left);
            let rank = |r: &Row| case.by.of(Merits { cost: r.2, ttft: r.3, tpot: r.4 });
            let mut ranked: Vec<(f64, f64, u64)> = of.iter().map(|r| (rank(r), r.2, r.0)).collect();
            ranked.sort_by(|a, b| a.partial_cmp(b).unwrap());
            ranked.truncate(case.cheapest);
            prop_assert_eq!(best, ranked.iter().map(|p| p.2).collect::<Vec<_>>());
        }
    }
}

fn rented(usd_per_gpu_h: f64) -> Offer {
    Offer {
        usd_per_gpu_h,
        usd_per_kwh: 0.0,
    }
}

#[test]
fn numbers_name_every_point_once() {
    let case = Case {
        grid: Grid {
            loads: Loads::Utilisation(vec![0.2, 0.5, 0.9]),
            offers: vec![vec![rented(2.0)], vec![rented(3.0), rented(4.0)]],
            latency_group: 0,
        },
        batches: vec![8, 64],
        limits: vec![],
        cheapest: 0,
        by: Ranking::Cost,
        cut: 0,
    };
    let spec = spec(&case);
    let space = Space::new(&spec);
    let numbers = Numbers::new(&spec, &case.grid);
    let mut seen = std::collections::HashSet::new();
    for number in 0..numbers.len() {
        let p = numbers.decode(&spec, &space, number).unwrap();
        let c = space.decode(&spec, p.configuration).unwrap();
        assert_eq!((c.workload, c.set), (p.workload, 0));
        assert!(seen.insert((p.configuration, p.class, p.load, p.offer)));
    }
    assert!(numbers.decode(&spec, &space, numbers.len()).is_err());
}
