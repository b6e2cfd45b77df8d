//! Searches a grid of operating points for those worth keeping: within the limits, and either not
//! dominated in cost, TTFT and TPOT, or among the cheapest of their class.
//!
//! The bounds, on one curve:
//!
//! 1. While prompts take the same time, latencies do not fall when the rate rises (`docs/model.md`,
//!    "Every mix"). What prompts find beside them changes with the rate; so between two rates nothing is
//!    faster than the lower rate would be with the fastest prompts of any rate between
//!    ([`Block::operate_beside`]).
//! 2. Cost per token at a rate is above that of the same rate with the energy of a full batch, which
//!    falls as the rate rises ([`Curve::least_cost`]).
//! 3. At one load the lowest prices dominate all others, which can only be among the cheapest.
//!
//! A stretch of loads goes if 1 breaks a limit all along it, or if a kept point beats 1 and 2 together.
//! A whole curve goes if a request that meets no other is too late, or is beaten so.
//!
//! Every point is counted once: computed, or skipped by one of these bounds, or on a layout that is
//! none or does not fit. What is kept is exactly what computing every point would keep. Work is cut
//! into rounds of units; bounds come from earlier rounds and from the unit itself, so that counts do
//! not depend on the number of threads either.

use rayon::prelude::*;

use pulp::{Simd, WithSimd};

use crate::evaluate::{class_work, is_batch};
use crate::perf::latency::Percentiles;
use crate::perf::memory::kv_budget_bytes;
use crate::perf::replica::Replica;
use crate::perf::step::{OperatorTables, StepModel};
use crate::points::block::{Block, Lanes, BLOCK};
use crate::points::curve::Curve;
use crate::points::front::{Cheapest, Front, Merits, MARGIN};
use crate::points::grid::{serves, Grid, Numbers};
use crate::space::{resolve, Space};
use crate::workload::{Metric, Slo, Spec, Workload};

/// What became of the points. Each is counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Worked out in full.
    pub computed: u64,
    /// Beyond a load that breaks a limit.
    pub beyond_limits: u64,
    /// In the shadow of a point that was kept.
    pub dominated: u64,
    /// On what is no layout, or has no kernel.
    pub no_layout: u64,
    /// On a layout that does not fit memory.
    pub memory: u64,
}

impl Counts {
    fn add(&mut self, o: &Self) {
        self.computed += o.computed;
        self.beyond_limits += o.beyond_limits;
        self.dominated += o.dominated;
        self.no_layout += o.no_layout;
        self.memory += o.memory;
    }

    /// All points.
    pub fn total(&self) -> u64 {
        self.computed + self.beyond_limits + self.dominated + self.no_layout + self.memory
    }
}

/// What a search keeps and counts; fronts and cheapest points by workload and class.
#[derive(Debug, Clone)]
pub struct Found {
    /// Counts.
    pub counts: Counts,
    /// Points not dominated.
    pub fronts: Vec<Front>,
    /// Cheapest points.
    pub cheapest: Vec<Cheapest>,
}

impl Found {
    fn merge(mut self, other: &Self) -> Self {
        self.counts.add(&other.counts);
        for (mine, theirs) in self.fronts.iter_mut().zip(&other.fronts) {
            mine.merge(theirs);
        }
        for (mine, theirs) in self.cheapest.iter_mut().zip(&other.cheapest) {
            mine.merge(theirs);
        }
        self
    }
}

/// A search over a grid.
#[derive(Debug, Clone)]
pub struct Search<'a> {
    /// Specification.
    pub spec: &'a Spec,
    /// Its layouts.
    pub space: &'a Space,
    /// The other axes.
    pub grid: &'a Grid,
    /// Numbers of the points.
    pub numbers: &'a Numbers,
    /// How many of the cheapest points of a class are kept.
    pub cheapest: usize,
    /// Whether bounds may skip points; without, every point that fits is computed.
    pub skip: bool,
}

impl Search<'_> {
    /// Class `k` of a workload, in the order of [`Found::fronts`].
    pub fn group(&self, workload: usize, k: usize) -> usize {
        let before = &self.spec.workloads[..workload];
        before.iter().map(|w| w.classes.len()).sum::<usize>() + k
    }

    fn nothing(&self) -> Found {
        let groups = self.group(self.spec.workloads.len(), 0);
        Found {
            counts: Counts::default(),
            fronts: vec![Front::default(); groups],
            cheapest: vec![Cheapest::new(self.cheapest); groups],
        }
    }

    /// Searches places `first..last` of the units on the current rayon pool, with what earlier places
    /// found as bounds. Neighbouring places are far apart in the space, so that the first few show
    /// what good points look like.
    pub fn extend(&self, known: Option<Found>, first: u64, last: u64) -> Found {
        let mut found = known.unwrap_or_else(|| self.nothing());
        let (mut from, mut len) = (first, ROUND);
        while from < last {
            let to = last.min(from + len);
            let round = (from..to)
                .into_par_iter()
                .map(|place| self.unit(spread(place, self.space.unit_count()), &found))
                .reduce(|| self.nothing(), |a, b| a.merge(&b));
            found = found.merge(&round);
            (from, len) = (to, 4 * len);
        }
        found
    }

    fn unit(&self, unit_number: u64, known: &Found) -> Found {
        let mut found = self.nothing();
        let unit = self.space.unit(unit_number);
        let workload = &self.spec.workloads[unit.workload];
        let per_curve = self.numbers.points_per_curve(unit_number);
        let per_batch = per_curve * workload.classes.len() as u64;
        let per_layout = per_batch * workload.batches.len() as u64;
        if per_curve == 0 {
            return found;
        }
        let mut walk = Walk::new(self, workload, known, &mut found);
        let mut tables = None;
        let mut number = self.numbers.first_of_curve(self.spec, unit_number, 0);
        for choice in self.space.layouts(self.spec, unit) {
            if !serves(&choice.configuration) {
                continue;
            }
            let layout = resolve(self.spec, &choice.configuration);
            let step = layout.and_then(|layout| {
                let tables = (*tables.get_or_insert_with(|| OperatorTables::build(&layout)))?;
                Some((layout, StepModel::build(&layout, &tables)?))
            });
            match step {
                None => walk.found.counts.no_layout += per_layout,
                Some((layout, _)) if kv_budget_bytes(&layout) <= 0.0 => {
                    walk.found.counts.memory += per_layout;
                }
                Some((layout, step)) => {
                    let work = class_work(&layout, &step, workload);
                    let system = workload.systems[choice.configuration.system];
                    walk.prices =
                        Prices::new(&self.grid.usd_per_gpu_h[system], &self.grid.usd_per_kwh);
                    for (b, &batch) in workload.batches.iter().enumerate() {
                        if !is_batch(&layout, b, batch) {
                            walk.found.counts.no_layout += per_batch;
                            continue;
                        }
                        let replica = Replica::new(&layout, &step, &work, batch);
                        for (k, class) in workload.classes.iter().enumerate() {
                            let way = workload.round_trip_s[self.grid.latency_group][k];
                            let curve = Curve::new(&layout, &replica, class, k, way);
                            let at = number + b as u64 * per_batch + k as u64 * per_curve;
                            walk.group = self.group(unit.workload, k);
                            walk.curve(&curve, k, at, per_curve);
                        }
                    }
                }
            }
            number += per_layout;
        }
        found
    }
}

/// Units in the first round; each later one is four times as long.
const ROUND: u64 = 16;

/// A permutation of `0..len` that puts neighbours far apart.
fn spread(place: u64, len: u64) -> u64 {
    let gcd = |mut a: u64, mut b: u64| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    // The golden section spreads best; the next number without a common factor permutes.
    let section = (len as f64 * 0.618_033_988_749_895) as u64;
    let stride = (section.max(1)..).find(|s| gcd(*s, len) == 1).unwrap_or(1);
    (u128::from(place) * u128::from(stride) % u128::from(len)) as u64
}

/// Prices of a system with the places of the lowest.
#[derive(Debug, Clone, Default)]
struct Prices<'a> {
    usd_per_gpu_h: &'a [f64],
    usd_per_kwh: &'a [f64],
    /// Place of the lowest of each, as one number.
    lowest: usize,
}

impl<'a> Prices<'a> {
    fn new(usd_per_gpu_h: &'a [f64], usd_per_kwh: &'a [f64]) -> Self {
        let lowest = |values: &[f64]| {
            (0..values.len()).fold(0, |low, i| if values[i] < values[low] { i } else { low })
        };
        Self {
            usd_per_gpu_h,
            usd_per_kwh,
            lowest: lowest(usd_per_gpu_h) * usd_per_kwh.len() + lowest(usd_per_kwh),
        }
    }

    fn len(&self) -> usize {
        self.usd_per_gpu_h.len() * self.usd_per_kwh.len()
    }

    /// Prices of place `i`: USD per accelerator and hour, and per kWh.
    fn at(&self, i: usize) -> (f64, f64) {
        let tariffs = self.usd_per_kwh.len();
        (
            self.usd_per_gpu_h[i / tariffs],
            self.usd_per_kwh[i % tariffs],
        )
    }
}

/// Goes along the curves of a unit.
struct Walk<'a, 'f> {
    search: &'a Search<'a>,
    slos: &'a [Slo],
    wanted: Percentiles,
    loads: usize,
    known: &'a Found,
    found: &'f mut Found,
    group: usize,
    prices: Prices<'a>,
    block: Block,
    cost: Lanes,
    /// Loads of the block's points.
    at: [usize; BLOCK],
    /// Loads still to be looked at, as `from..to`.
    stretches: Vec<(usize, usize)>,
}

/// Points at loads of one curve, for the dispatch.
struct Along<'w, 'a, 'f, 'c> {
    walk: &'w mut Walk<'a, 'f>,
    curve: &'c Curve,
    k: usize,
    first: u64,
    points: u64,
}

impl WithSimd for Along<'_, '_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self {
            walk,
            curve,
            k,
            first,
            points,
        } = self;
        if walk.search.skip {
            walk.bounded(curve, k, first, points);
        } else {
            walk.every(curve, k, first);
        }
    }
}

impl<'a, 'f> Walk<'a, 'f> {
    fn new(
        search: &'a Search<'a>,
        workload: &'a Workload,
        known: &'a Found,
        found: &'f mut Found,
    ) -> Self {
        let mut wanted = [false, true, false, false, true];
        for slo in &workload.slos {
            wanted[slo.percentile] = true;
        }
        Self {
            search,
            slos: &workload.slos,
            wanted: Percentiles(wanted),
            loads: search.grid.loads.values().len(),
            known,
            found,
            group: 0,
            prices: Prices::default(),
            block: Block::default(),
            cost: [0.0; BLOCK],
            at: [0; BLOCK],
            stretches: Vec::new(),
        }
    }

    fn curve(&mut self, curve: &Curve, k: usize, first: u64, points: u64) {
        if !curve.fits {
            self.found.counts.memory += points;
            return;
        }
        pulp::Arch::new().dispatch(Along {
            walk: self,
            curve,
            k,
            first,
            points,
        });
    }

    /// Every point of a curve.
    #[inline(always)]
    fn every(&mut self, curve: &Curve, k: usize, first: u64) {
        for from in (0..self.loads).step_by(BLOCK) {
            let len = BLOCK.min(self.loads - from);
            self.operate(curve, k, len, |j| from + j);
            self.found.counts.computed += (len * self.prices.len()) as u64;
            self.take(curve, first, len);
        }
    }

    /// The points of a curve that no bound excludes: all loads of a short stretch, probes from end to
    /// end of a long one and then what lies between them.
    #[inline(always)]
    fn bounded(&mut self, curve: &Curve, k: usize, first: u64, points: u64) {
        let top = self.search.grid.loads.rate(curve, self.loads - 1);
        let least = Merits {
            cost: self.least_cost(curve, top),
            ttft: curve.least_ttft(4),
            tpot: curve.least_tpot(),
        };
        if self.late_alone(curve, k) {
            self.found.counts.beyond_limits += points;
            return;
        }
        if self.useless(least) {
            self.found.counts.dominated += points;
            return;
        }
        self.stretches.push((0, self.loads));
        while let Some((from, to)) = self.stretches.pop() {
            let len = (to - from).min(BLOCK);
            let whole = to - from <= BLOCK;
            let probe = |j: usize| match whole {
                true => from + j,
                false => from + j * (to - from - 1) / (BLOCK - 1),
            };
            self.operate(curve, k, len, probe);
            self.found.counts.computed += len as u64;
            self.take(curve, first, len);
            if !whole {
                self.between_probes(curve, k, probe);
            }
        }
    }

    /// Whether a request that meets no other breaks a limit.
    fn late_alone(&self, curve: &Curve, k: usize) -> bool {
        let mut slos = self.slos.iter().filter(|s| s.class.is_none_or(|c| c == k));
        slos.any(|slo| {
            let i = slo.percentile;
            let (ttft, tpot) = (curve.least_ttft(i), curve.least_tpot());
            let least = match slo.metric {
                Metric::Ttft => ttft,
                Metric::Tpot => tpot,
                Metric::E2e => ttft + curve.later_tokens[i] * tpot,
            };
            least * (1.0 - MARGIN) > slo.limit_s
        })
    }

    /// Puts the stretches between probes on the list, but for those that a bound excludes.
    #[inline(always)]
    fn between_probes(&mut self, curve: &Curve, k: usize, probe: impl Fn(usize) -> usize) {
        let rate = |load: usize| self.search.grid.loads.rate(curve, load);
        for j in 0..BLOCK {
            let (low, high) = (rate(probe(j)), rate(probe((j + 1).min(BLOCK - 1))));
            self.block.rate_rps[j] = low;
            self.block.beside_low[j] = low;
            self.block.beside_high[j] = high;
        }
        self.block.operate_beside(curve, self.wanted);
        self.cost = [0.0; BLOCK];
        self.hold_to_limits(curve, k, 1.0 - MARGIN);
        for j in 0..BLOCK - 1 {
            let (low, high) = (probe(j) + 1, probe(j + 1));
            if low == high {
                continue;
            }
            let corner = Merits {
                cost: self.least_cost(curve, self.block.beside_high[j]),
                ttft: self.block.ttft_s[4][j],
                tpot: self.block.tpot_s[4][j],
            };
            let points = ((high - low) * self.prices.len()) as u64;
            if self.cost[j] > 0.0 {
                self.found.counts.beyond_limits += points;
            } else if self.useless(corner) {
                self.found.counts.dominated += points;
            } else {
                self.stretches.push((low, high));
            }
        }
    }

    fn least_cost(&self, curve: &Curve, rate: f64) -> f64 {
        let (usd_per_gpu_h, usd_per_kwh) = self.prices.at(self.prices.lowest);
        curve.least_cost(rate, usd_per_gpu_h, usd_per_kwh)
    }

    /// Whether nothing that is nowhere better than `least` can be kept.
    fn useless(&self, least: Merits) -> bool {
        let g = self.group;
        let covered = self.known.fronts[g].covers(least) || self.found.fronts[g].covers(least);
        covered
            && (self.known.cheapest[g].excludes(least.cost)
                || self.found.cheapest[g].excludes(least.cost))
    }

    /// Works out the points at `len` loads, at the lowest prices; `cost` is infinite where a limit
    /// breaks.
    #[inline(always)]
    fn operate(&mut self, curve: &Curve, k: usize, len: usize, load: impl Fn(usize) -> usize) {
        for j in 0..BLOCK {
            self.at[j] = load(j.min(len - 1));
            self.block.rate_rps[j] = self.search.grid.loads.rate(curve, self.at[j]);
        }
        self.block.operate(curve, self.wanted);
        self.price(curve, self.prices.lowest);
        self.hold_to_limits(curve, k, 1.0);
    }

    /// Makes the cost of points infinite whose latency times `part` breaks a limit.
    #[inline(always)]
    fn hold_to_limits(&mut self, curve: &Curve, k: usize, part: f64) {
        for j in 0..BLOCK {
            self.cost[j] = if self.block.stable[j] > 0.0 {
                self.cost[j]
            } else {
                f64::INFINITY
            };
        }
        for slo in self.slos.iter().filter(|s| s.class.is_none_or(|c| c == k)) {
            let i = slo.percentile;
            let later = match slo.metric {
                Metric::E2e => curve.later_tokens[i],
                _ => 0.0,
            };
            let value = match slo.metric {
                Metric::Tpot => &self.block.tpot_s[i],
                _ => &self.block.ttft_s[i],
            };
            for j in 0..BLOCK {
                let whole = value[j] + later * self.block.tpot_s[1][j];
                let late = part * whole > slo.limit_s;
                self.cost[j] = if late { f64::INFINITY } else { self.cost[j] };
            }
        }
    }

    #[inline(always)]
    fn price(&mut self, curve: &Curve, i: usize) {
        let (usd_per_gpu_h, usd_per_kwh) = self.prices.at(i);
        self.block.usd_per_gpu_h = [usd_per_gpu_h; BLOCK];
        self.block.usd_per_kwh = [usd_per_kwh; BLOCK];
        self.block.price(curve);
        self.cost = self.block.usd_per_mtok_output;
    }

    /// Takes the block's first `len` points at all prices; those at the lowest have been counted.
    #[inline(always)]
    fn take(&mut self, curve: &Curve, first: u64, len: usize) {
        let lowest = self.cost;
        self.keep(first, len, self.prices.lowest, true);
        let good = (0..len).filter(|j| lowest[*j] < f64::INFINITY);
        let (good, top) = good.fold((0, 0.0), |(n, top), j| {
            (n + 1, self.block.rate_rps[j].max(top))
        });
        for i in 0..self.prices.len() {
            if i == self.prices.lowest {
                continue;
            }
            if self.search.skip {
                // At the same load a limit breaks at any price.
                self.found.counts.beyond_limits += (len - good) as u64;
                if good == 0 || self.too_dear(curve, top, i) {
                    self.found.counts.dominated += good as u64;
                    continue;
                }
                self.found.counts.computed += good as u64;
            }
            self.price(curve, i);
            for (cost, low) in self.cost.iter_mut().zip(&lowest) {
                *cost = if *low < f64::INFINITY {
                    *cost
                } else {
                    f64::INFINITY
                };
            }
            self.keep(first, len, i, false);
        }
    }

    /// Whether at prices `i` no point up to this rate can be among the cheapest.
    #[inline(always)]
    fn too_dear(&self, curve: &Curve, rate: f64, i: usize) -> bool {
        let (g, (usd_per_gpu_h, usd_per_kwh)) = (self.group, self.prices.at(i));
        let cost = curve.least_cost(rate, usd_per_gpu_h, usd_per_kwh);
        self.known.cheapest[g].excludes(cost) || self.found.cheapest[g].excludes(cost)
    }

    /// Keeps what is worth it of the block's first `len` points. Where prices are not the lowest, the
    /// same load at the lowest dominates.
    #[inline(always)]
    fn keep(&mut self, first: u64, len: usize, price: usize, lowest: bool) {
        let g = self.group;
        let limit = self.known.cheapest[g]
            .limit()
            .min(self.found.cheapest[g].limit());
        let per_load = self.prices.len() as u64;
        let number = |at: usize| first + at as u64 * per_load + price as u64;
        let mut any = 0u64;
        for j in 0..BLOCK {
            any |= u64::from(self.cost[j] <= limit);
        }
        if any != 0 {
            for j in (0..len).filter(|j| self.cost[*j] <= limit) {
                self.found.cheapest[g].add(self.cost[j], number(self.at[j]));
            }
        }
        if !lowest {
            return;
        }
        let (ttft, tpot) = (&self.block.ttft_s[4], &self.block.tpot_s[4]);
        let mut left = self.cost;
        self.known.fronts[g].sift(&mut left, ttft, tpot);
        self.found.fronts[g].sift(&mut left, ttft, tpot);
        for j in (0..len).filter(|j| left[*j] < f64::INFINITY) {
            let merits = Merits {
                cost: left[j],
                ttft: ttft[j],
                tpot: tpot[j],
            };
            if !self.known.fronts[g].covers(merits) {
                self.found.fronts[g].add(merits, number(self.at[j]));
            }
        }
    }
}
