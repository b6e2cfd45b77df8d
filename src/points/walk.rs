//! One curve of a grid: which of its points are computed, which skipped, and what of them is kept. The
//! bounds and why they hold: [`super::stream`].

// Loops run over many arrays of a block at once, by one index.
#![allow(clippy::needless_range_loop)]

use pulp::{Simd, WithSimd};

use crate::points::block::{Block, Wanted};
use crate::points::curve::Curve;
use crate::points::front::{Merits, Ranking, MARGIN};
use crate::points::lanes::{Lanes, BLOCK};
use crate::points::offer::Offer;
use crate::points::search::{Found, Search};
use crate::points::table::REPORTED;
use crate::workload::{Metric, Slo, Workload};

/// Offers of a system, and whether each is undominated: in price or in energy below every other.
#[derive(Debug, Clone, Default)]
pub(super) struct Offers<'a> {
    all: &'a [Offer],
    undominated: Vec<bool>,
}

impl<'a> Offers<'a> {
    pub(super) fn new(all: &'a [Offer]) -> Self {
        let beats = |(i, a): (usize, &Offer), (j, b): (usize, &Offer)| {
            let no_worse = a.usd_per_gpu_h <= b.usd_per_gpu_h && a.usd_per_kwh <= b.usd_per_kwh;
            no_worse && (a != b || i < j)
        };
        let beaten = |b| all.iter().enumerate().any(|a| beats(a, b));
        Self {
            all,
            undominated: all.iter().enumerate().map(|b| !beaten(b)).collect(),
        }
    }

    fn undominated(&self) -> impl Iterator<Item = &Offer> {
        let kept = self.all.iter().zip(&self.undominated);
        kept.filter(|(_, undominated)| **undominated)
            .map(|(o, _)| o)
    }
}

/// Goes along the curves of a unit.
pub(super) struct Walk<'a, 'f> {
    search: &'a Search<'a>,
    slos: &'a [Slo],
    wanted: Wanted,
    loads: usize,
    known: &'a Found,
    pub(super) found: &'f mut Found,
    pub(super) group: usize,
    pub(super) offers: Offers<'a>,
    block: Block,
    cost: Lanes,
    /// Loads of the block's points.
    at: [usize; BLOCK],
    /// Loads still to be looked at, as `from..to`.
    stretches: Vec<(usize, usize)>,
    /// Loads of stretches that fill no block.
    singles: Vec<usize>,
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
        if walk.search.keep.skip {
            walk.bounded(curve, k, first, points);
        } else {
            walk.every(curve, k, first);
        }
    }
}

impl<'a, 'f> Walk<'a, 'f> {
    pub(super) fn new(
        search: &'a Search<'a>,
        workload: &'a Workload,
        known: &'a Found,
        found: &'f mut Found,
    ) -> Self {
        let mut wanted = REPORTED;
        for slo in &workload.slos {
            // End to end is TTFT and the median of TPOT.
            match slo.metric {
                Metric::Tpot => wanted.tpot.0[slo.percentile] = true,
                Metric::Ttft | Metric::E2e => wanted.ttft.0[slo.percentile] = true,
            }
        }
        Self {
            search,
            slos: &workload.slos,
            wanted,
            loads: search.grid.loads.values().len(),
            known,
            found,
            group: 0,
            offers: Offers::default(),
            block: Block::default(),
            cost: [0.0; BLOCK],
            at: [0; BLOCK],
            stretches: Vec::new(),
            singles: Vec::new(),
        }
    }

    pub(super) fn curve(&mut self, curve: &Curve, k: usize, first: u64, points: u64) {
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
            self.found.counts.computed += (len * self.offers.all.len()) as u64;
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
        self.push(0, self.loads);
        while let Some((from, to)) = self.stretches.pop() {
            let probe = |j: usize| from + j * (to - from - 1) / (BLOCK - 1);
            self.compute(curve, k, first, BLOCK, probe);
            self.between_probes(curve, k, probe);
            while self.singles.len() >= BLOCK {
                self.compute_singles(curve, k, first);
            }
        }
        if !self.singles.is_empty() {
            self.compute_singles(curve, k, first);
        }
    }

    /// Notes loads `from..to` to be looked at: one by one where they fill no block.
    fn push(&mut self, from: usize, to: usize) {
        if to - from > BLOCK {
            self.stretches.push((from, to));
        } else {
            self.singles.extend(from..to);
        }
    }

    /// Computes and takes a block of single loads.
    #[inline(always)]
    fn compute_singles(&mut self, curve: &Curve, k: usize, first: u64) {
        let first_single = self.singles.len().saturating_sub(BLOCK);
        let len = self.singles.len() - first_single;
        let mut loads = [0; BLOCK];
        for (load, single) in loads.iter_mut().zip(self.singles.drain(first_single..)) {
            *load = single;
        }
        self.compute(curve, k, first, len, |j| loads[j]);
    }

    /// Computes and takes points at `len` loads.
    #[inline(always)]
    fn compute(
        &mut self,
        curve: &Curve,
        k: usize,
        first: u64,
        len: usize,
        load: impl Fn(usize) -> usize,
    ) {
        self.operate(curve, k, len, load);
        self.found.counts.computed += len as u64;
        self.take(curve, first, len);
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
            let points = ((high - low) * self.offers.all.len()) as u64;
            if self.cost[j] > 0.0 {
                self.found.counts.beyond_limits += points;
            } else if self.useless(corner) {
                self.found.counts.dominated += points;
            } else {
                self.push(low, high);
            }
        }
    }

    fn least_cost(&self, curve: &Curve, rate: f64) -> f64 {
        let offers = self.offers.undominated();
        offers.fold(f64::INFINITY, |least, o| {
            least.min(curve.least_cost(rate, o))
        })
    }

    /// Whether nothing that is nowhere better than `least` can be kept.
    fn useless(&self, least: Merits) -> bool {
        let g = self.group;
        let (known, found) = (&self.known.fronts[g], &self.found.fronts[g]);
        let covered = !self.search.keep.front || known.covers(least) || found.covers(least);
        covered && self.ranks_below(self.search.keep.by.of(least))
    }

    /// Whether no point of at least this rank can be among the best.
    #[inline(always)]
    fn ranks_below(&self, rank: f64) -> bool {
        let g = self.group;
        self.known.best[g].excludes(rank) || self.found.best[g].excludes(rank)
    }

    /// Works out the points at `len` loads, but for prices; `cost` is infinite where a limit breaks, else 0.
    #[inline(always)]
    fn operate(&mut self, curve: &Curve, k: usize, len: usize, load: impl Fn(usize) -> usize) {
        for j in 0..BLOCK {
            self.at[j] = load(j.min(len - 1));
            self.block.rate_rps[j] = self.search.grid.loads.rate(curve, self.at[j]);
        }
        self.block.operate(curve, self.wanted);
        self.hold_to_limits(curve, k, 1.0);
    }

    /// Sets `cost` to infinity for points whose latency times `part` breaks a limit, to 0 for others.
    #[inline(always)]
    fn hold_to_limits(&mut self, curve: &Curve, k: usize, part: f64) {
        for j in 0..BLOCK {
            let stable = self.block.stable[j] > 0.0;
            self.cost[j] = if stable { 0.0 } else { f64::INFINITY };
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

    /// Takes the block's first `len` points with every offer; those with the first have been counted.
    #[inline(always)]
    fn take(&mut self, curve: &Curve, first: u64, len: usize) {
        let broken = self.cost;
        let good = (0..len).filter(|j| broken[*j] < f64::INFINITY);
        let (good, top) = good.fold((0, 0.0), |(n, top), j| {
            (n + 1, self.block.rate_rps[j].max(top))
        });
        for (i, offer) in self.offers.all.iter().enumerate() {
            let undominated = self.offers.undominated[i];
            if self.search.keep.skip && i > 0 {
                // At the same load a limit breaks whatever the offer.
                self.found.counts.beyond_limits += (len - good) as u64;
                if good == 0 || (!undominated && self.too_dear(curve, top, offer)) {
                    self.found.counts.dominated += good as u64;
                    continue;
                }
                self.found.counts.computed += good as u64;
            }
            self.block.usd_per_gpu_h = [offer.usd_per_gpu_h; BLOCK];
            self.block.usd_per_kwh = [offer.usd_per_kwh; BLOCK];
            self.block.price(curve);
            for j in 0..BLOCK {
                self.cost[j] = self.block.usd_per_mtok_output[j] + broken[j];
            }
            self.keep(first, len, i, undominated);
        }
    }

    /// Whether with this offer no point up to this rate can be among the best.
    #[inline(always)]
    fn too_dear(&self, curve: &Curve, rate: f64, offer: &Offer) -> bool {
        // Offers do not change latencies.
        self.search.keep.by == Ranking::Cost && self.ranks_below(curve.least_cost(rate, offer))
    }

    /// Keeps what is worth it of the block's first `len` points. Those with a dominated offer are
    /// dominated at the same load.
    #[inline(always)]
    fn keep(&mut self, first: u64, len: usize, offer: usize, undominated: bool) {
        let g = self.group;
        let limit = self.known.best[g].limit().min(self.found.best[g].limit());
        let per_load = self.offers.all.len() as u64;
        let number = |at: usize| first + at as u64 * per_load + offer as u64;
        let (ttft, tpot) = (&self.block.ttft_s[4], &self.block.tpot_s[4]);
        let by = match self.search.keep.by {
            Ranking::Cost => &self.cost,
            Ranking::Ttft => ttft,
            Ranking::Tpot => tpot,
        };
        if any_up_to(by, limit) {
            for j in (0..len).filter(|j| by[*j] <= limit && self.cost[*j] < f64::INFINITY) {
                self.found.best[g].add((by[j], self.cost[j], number(self.at[j])));
            }
        }
        if !undominated || !self.search.keep.front {
            return;
        }
        let mut left = self.cost;
        for front in [&self.known.fronts[g], &self.found.fronts[g]] {
            front.sift(&mut left, ttft, tpot);
            if !any_up_to(&left, f64::MAX) {
                return;
            }
        }
        for j in (0..len).filter(|j| left[*j] < f64::INFINITY) {
            let merits = Merits {
                cost: left[j],
                ttft: ttft[j],
                tpot: tpot[j],
            };
            self.found.fronts[g].add(merits, number(self.at[j]));
        }
    }
}

/// Whether any value is at most `limit`.
#[inline(always)]
fn any_up_to(values: &Lanes, limit: f64) -> bool {
    let mut any = 0u64;
    for value in values {
        any |= u64::from(*value <= limit);
    }
    any != 0
}
