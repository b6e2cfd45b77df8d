//! What a search keeps of the points of one class: those that no other makes useless, and the cheapest.
//!
//! Point A goes if some B is no worse in cost, TTFT and TPOT, and better in one of them or, where all
//! are equal, lower in number. That is a strict partial order, so what is left are its minimal
//! elements, in whatever order points come, and merging two fronts gives the front of both. The
//! cheapest are ordered by cost and then by number.

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
/// Kept points that a whole block is compared with before its points are taken one by one.
const CHAMPIONS: usize = 12;

/// Points that no other dominates, as columns.
#[derive(Debug, Clone, Default)]
pub struct Front {
    cost: Vec<f64>,
    ttft: Vec<f64>,
    tpot: Vec<f64>,
    number: Vec<u64>,
}

impl Front {
    /// Number of points.
    pub fn len(&self) -> usize {
        self.number.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.number.is_empty()
    }

    /// The points with their numbers, by number.
    pub fn sorted(&self) -> Vec<(u64, Merits)> {
        let mut all: Vec<_> = (0..self.len())
            .map(|i| (self.number[i], self.at(i)))
            .collect();
        all.sort_by_key(|(number, _)| *number);
        all
    }

    fn at(&self, i: usize) -> Merits {
        Merits {
            cost: self.cost[i],
            ttft: self.ttft[i],
            tpot: self.tpot[i],
        }
    }

    /// Whether every point that is nowhere better than `least` is dominated.
    #[inline(always)]
    pub fn covers(&self, least: Merits) -> bool {
        let (c, t, p) = (
            least.cost * (1.0 - MARGIN),
            least.ttft * (1.0 - MARGIN),
            least.tpot * (1.0 - MARGIN),
        );
        self.find(|cost, ttft, tpot| (cost <= c) & (ttft <= t) & (tpot <= p))
            .is_some()
    }

    /// First place where `test` holds, a stretch of places at a time.
    #[inline(always)]
    fn find(&self, test: impl Fn(f64, f64, f64) -> bool) -> Option<usize> {
        let len = self.len();
        let (cost, ttft, tpot) = (&self.cost[..len], &self.ttft[..len], &self.tpot[..len]);
        for first in (0..len).step_by(BLOCK) {
            let last = (first + BLOCK).min(len);
            let mut any = 0u64;
            for i in first..last {
                any |= u64::from(test(cost[i], ttft[i], tpot[i]));
            }
            if any != 0 {
                return (first..last).find(|i| test(cost[*i], ttft[*i], tpot[*i]));
            }
        }
        None
    }

    /// Whether some kept point makes this one useless. Moves it forward: it may do so again.
    #[inline(always)]
    fn dominated(&mut self, m: Merits, number: u64) -> bool {
        let mut by = self.find(|c, t, p| (c <= m.cost) & (t <= m.ttft) & (p <= m.tpot));
        // All equal: the lower number stays.
        if let Some(i) = by {
            if self.at(i) == m && self.number[i] > number {
                by = None;
            }
        }
        if let Some(i) = by {
            self.swap(i, i / 2);
        }
        by.is_some()
    }

    fn swap(&mut self, i: usize, j: usize) {
        self.cost.swap(i, j);
        self.ttft.swap(i, j);
        self.tpot.swap(i, j);
        self.number.swap(i, j);
    }

    /// Adds a point unless it is dominated; drops those it dominates.
    #[inline(always)]
    pub fn add(&mut self, m: Merits, number: u64) {
        if self.dominated(m, number) {
            return;
        }
        let mut i = 0;
        while i < self.len() {
            let kept = self.at(i);
            if m.cost <= kept.cost && m.ttft <= kept.ttft && m.tpot <= kept.tpot {
                self.cost.swap_remove(i);
                self.ttft.swap_remove(i);
                self.tpot.swap_remove(i);
                self.number.swap_remove(i);
            } else {
                i += 1;
            }
        }
        self.cost.push(m.cost);
        self.ttft.push(m.ttft);
        self.tpot.push(m.tpot);
        self.number.push(number);
    }

    /// Adds all of another front.
    pub fn merge(&mut self, other: &Self) {
        for i in 0..other.len() {
            self.add(other.at(i), other.number[i]);
        }
    }

    /// Marks points of a block with an infinite cost that one of the first kept points beats.
    #[inline(always)]
    pub fn sift(&self, cost: &mut Lanes, ttft: &Lanes, tpot: &Lanes) {
        for i in 0..self.len().min(CHAMPIONS) {
            let (c, t, p) = (self.cost[i], self.ttft[i], self.tpot[i]);
            for j in 0..BLOCK {
                let beaten = (c < cost[j]) & (t <= ttft[j]) & (p <= tpot[j]);
                cost[j] = if beaten { f64::INFINITY } else { cost[j] };
            }
        }
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
