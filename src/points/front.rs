//! What a search keeps of the points of one class: those that no other makes useless, and the cheapest.
//!
//! Point A goes if some B is no worse in cost, TTFT and TPOT, and better in one of them or, where all
//! are equal, lower in number. That is a strict partial order, so what is left are its minimal
//! elements, in whatever order points come, and merging two fronts gives the front of both. The
//! cheapest are ordered by cost and then by number.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::points::block::{Lanes, BLOCK};

/// Quantities in which points are compared; less is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Merits {
    /// USD per million output tokens.
    pub cost: f64,
    /// TTFT at p99, s.
    pub ttft: f64,
    /// TPOT at p99, s.
    pub tpot: f64,
}

/// Relative margin by which a kept point must beat a bound: far above what rounding can do to the
/// monotonicity that bounds rest on, far below what anyone can measure.
pub const MARGIN: f64 = 1e-9;
/// Points that wait for the next sweep, at least.
const PENDING: usize = 4096;

/// A point with its number.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Entry {
    merits: Merits,
    number: u64,
}

/// Points that no other dominates.
///
/// New points wait until there are as many as kept ones; then one sweep in order of cost, beside a
/// staircase of TTFT and TPOT, drops all that is dominated: `O(n log n)` (Kung, Luccio and
/// Preparata, JACM 22(4), 1975).
#[derive(Debug, Clone, Default)]
pub struct Front {
    /// In order of cost; none dominates another.
    kept: Vec<Entry>,
    pending: Vec<Entry>,
    shadow: Option<Box<Shadow>>,
}

impl Front {
    /// The points with their numbers, by number.
    pub fn sorted(&self) -> Vec<(u64, Merits)> {
        let mut front = self.clone();
        front.sweep();
        let mut all: Vec<_> = front.kept.iter().map(|e| (e.number, e.merits)).collect();
        all.sort_by_key(|(number, _)| *number);
        all
    }

    /// Adds a point.
    pub fn add(&mut self, merits: Merits, number: u64) {
        self.pending.push(Entry { merits, number });
        if self.pending.len() >= PENDING.max(self.kept.len()) {
            self.settle();
        }
    }

    /// Adds all of another front.
    pub fn merge(&mut self, other: &Self) {
        for entry in other.kept.iter().chain(&other.pending) {
            self.add(entry.merits, entry.number);
        }
    }

    fn sweep(&mut self) {
        let mut all = std::mem::take(&mut self.pending);
        all.append(&mut self.kept);
        all.sort_unstable_by(|a, b| {
            let key = |e: &Entry| (e.merits.cost, e.merits.ttft, e.merits.tpot);
            let order = key(a).partial_cmp(&key(b));
            order
                .unwrap_or(Ordering::Equal)
                .then(a.number.cmp(&b.number))
        });
        // TTFT in bits, which are ordered as the numbers are, and the least TPOT up to there.
        let mut stairs: BTreeMap<u64, f64> = BTreeMap::new();
        for entry in all {
            let (ttft, tpot) = (entry.merits.ttft.to_bits(), entry.merits.tpot);
            let before = stairs.range(..=ttft).next_back();
            if before.is_some_and(|(_, least)| *least <= tpot) {
                continue;
            }
            while let Some((&step, _)) = stairs.range(ttft..).next().filter(|(_, p)| **p >= tpot) {
                stairs.remove(&step);
            }
            stairs.insert(ttft, tpot);
            self.kept.push(entry);
        }
    }

    /// Sweeps what waits and makes it seen by [`Self::covers`] and [`Self::sift`].
    pub fn settle(&mut self) {
        self.sweep();
        self.shadow = (!self.kept.is_empty()).then(|| Box::new(Shadow::new(&self.kept)));
    }

    /// Whether every point that is nowhere better than `least` is dominated. Where points are near each
    /// other it may say no.
    #[inline(always)]
    pub fn covers(&self, least: Merits) -> bool {
        let within = |x: f64| x * (1.0 - MARGIN);
        self.shadow.as_ref().is_some_and(|shadow| {
            shadow.least_tpot(within(least.cost), within(least.ttft)) <= within(least.tpot)
        })
    }

    /// Marks points of a block that are dominated by an infinite cost; not all of them.
    #[inline(always)]
    pub fn sift(&self, cost: &mut Lanes, ttft: &Lanes, tpot: &Lanes) {
        if let Some(shadow) = &self.shadow {
            for j in 0..BLOCK {
                let beaten = shadow.least_tpot(cost[j], ttft[j]) <= tpot[j];
                cost[j] = if beaten { f64::INFINITY } else { cost[j] };
            }
        }
    }
}

/// Cells of the shadow along one axis.
const CELLS: usize = 256;

/// What a front dominates for certain: for each cell of cost and TTFT the least TPOT of the kept points
/// in cells that are lower in both.
#[derive(Debug, Clone)]
struct Shadow {
    cost: Axis,
    ttft: Axis,
    least: Vec<f64>,
}

/// Positive numbers in cells that hold equally many of some numbers.
#[derive(Debug, Clone)]
struct Axis {
    low: u64,
    shift: u32,
    /// Cell of each bin; bins are of equal width in the bits of the numbers: nearly equal ratios.
    cells: [u16; BINS],
}

/// Bins along an axis.
const BINS: usize = 2048;

impl Axis {
    /// Cells for some numbers; everything below the least shares the first.
    fn new(numbers: impl ExactSizeIterator<Item = f64> + Clone) -> Self {
        let count = numbers.len();
        let bits = numbers.map(f64::to_bits);
        let low = bits.clone().min().unwrap_or(0);
        let high = bits.clone().max().unwrap_or(0);
        let width = u64::BITS - (high - low).leading_zeros();
        let mut axis = Self {
            low,
            shift: width.saturating_sub(BINS.ilog2()),
            cells: [0; BINS],
        };
        let mut inside = [0usize; BINS];
        bits.for_each(|x| inside[axis.bin(x)] += 1);
        let mut before = 0;
        for (cell, inside) in axis.cells.iter_mut().zip(inside) {
            *cell = (1 + before * (CELLS - 2) / count) as u16;
            before += inside;
        }
        axis
    }

    #[inline(always)]
    fn bin(&self, bits: u64) -> usize {
        ((bits.max(self.low) - self.low) >> self.shift).min(BINS as u64 - 1) as usize
    }

    /// Numbers in a lower cell are lower.
    #[inline(always)]
    fn cell(&self, x: f64) -> usize {
        let bits = x.to_bits();
        if bits >= self.low {
            usize::from(self.cells[self.bin(bits) & (BINS - 1)])
        } else {
            0
        }
    }
}

impl Shadow {
    fn new(kept: &[Entry]) -> Self {
        let mut shadow = Self {
            cost: Axis::new(kept.iter().map(|e| e.merits.cost)),
            ttft: Axis::new(kept.iter().map(|e| e.merits.ttft)),
            least: vec![f64::INFINITY; CELLS * CELLS],
        };
        for e in kept {
            // Cells above in both see it.
            let (c, t) = (
                shadow.cost.cell(e.merits.cost),
                shadow.ttft.cell(e.merits.ttft),
            );
            if c + 1 < CELLS && t + 1 < CELLS {
                let cell = &mut shadow.least[(c + 1) * CELLS + t + 1];
                *cell = cell.min(e.merits.tpot);
            }
        }
        for c in 0..CELLS {
            for t in 0..CELLS {
                let left = if t > 0 {
                    shadow.least[c * CELLS + t - 1]
                } else {
                    f64::INFINITY
                };
                let below = if c > 0 {
                    shadow.least[(c - 1) * CELLS + t]
                } else {
                    f64::INFINITY
                };
                let cell = &mut shadow.least[c * CELLS + t];
                *cell = cell.min(left).min(below);
            }
        }
        shadow
    }

    /// The least TPOT of kept points that are below in cost and in TTFT, as far as cells tell.
    #[inline(always)]
    fn least_tpot(&self, cost: f64, ttft: f64) -> f64 {
        let cell = self.cost.cell(cost) * CELLS + self.ttft.cell(ttft);
        self.least[cell]
    }
}

/// The cheapest points, by cost and then by number.
#[derive(Debug, Clone)]
pub struct Cheapest {
    most: usize,
    points: Vec<(f64, u64)>,
}

impl Cheapest {
    /// Room for `most` points.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            points: Vec::new(),
        }
    }

    /// The points, cheapest first.
    pub fn points(&self) -> &[(f64, u64)] {
        &self.points
    }

    /// Cost above which no point is among them.
    #[inline(always)]
    pub fn limit(&self) -> f64 {
        match self.points.last() {
            _ if self.most == 0 => f64::NEG_INFINITY,
            Some((cost, _)) if self.points.len() == self.most => *cost,
            _ => f64::MAX,
        }
    }

    /// Whether no point of at least this cost is among them, by more than rounding.
    #[inline(always)]
    pub fn excludes(&self, least_cost: f64) -> bool {
        least_cost * (1.0 - MARGIN) > self.limit()
    }

    /// Adds a point.
    pub fn add(&mut self, cost: f64, number: u64) {
        if cost > self.limit() {
            return;
        }
        let place = self.points.partition_point(|p| *p < (cost, number));
        self.points.insert(place, (cost, number));
        self.points.truncate(self.most);
    }

    /// Adds all of another list.
    pub fn merge(&mut self, other: &Self) {
        for (cost, number) in &other.points {
            self.add(*cost, *number);
        }
    }
}
