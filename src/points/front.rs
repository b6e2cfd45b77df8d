//! What a search keeps of the points of one class: those that no other makes useless, and the best.
//!
//! Point A goes if some B is no worse in cost, TTFT and TPOT, and better in one of them or, where all
//! are equal, lower in number. That is a strict partial order, so what is left are its minimal
//! elements, in whatever order points come, and merging two fronts gives the front of both. The
//! best are ordered by cost or a latency, then by cost and by number.

use serde::Deserialize;

use crate::points::lanes::{Lanes, BLOCK};

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

impl Entry {
    /// Ordered by cost, TTFT, TPOT and number: bits of numbers that are not negative are ordered as the
    /// numbers are.
    fn key(&self) -> [u64; 4] {
        let m = &self.merits;
        [
            m.cost.to_bits(),
            m.ttft.to_bits(),
            m.tpot.to_bits(),
            self.number,
        ]
    }
}

/// Points that no other dominates.
///
/// New points wait until there are as many as half of the kept ones; then one sweep in order of cost,
/// beside a staircase of TTFT and TPOT, drops all that is dominated: `O(n log n)` (Kung, Luccio and
/// Preparata, JACM 22(4), 1975).
#[derive(Debug, Clone, Default)]
pub struct Front {
    /// In order; none dominates another.
    kept: Vec<Entry>,
    pending: Vec<Entry>,
    /// Whether the last sweep is newer than the shadow.
    unseen: bool,
    shadow: Option<Box<Shadow>>,
}

impl Front {
    /// Numbers of the points, rising.
    pub fn numbers(&mut self) -> Vec<u64> {
        self.sweep();
        let mut all: Vec<_> = self.kept.iter().map(|e| e.number).collect();
        all.sort_unstable();
        all
    }

    /// Adds a point.
    pub fn add(&mut self, merits: Merits, number: u64) {
        self.pending.push(Entry { merits, number });
        if self.pending.len() >= PENDING.max(self.kept.len() / 2) {
            self.settle();
        }
    }

    /// Adds all of another front.
    pub fn merge(&mut self, other: &Self) {
        self.pending.extend_from_slice(&other.kept);
        self.pending.extend_from_slice(&other.pending);
        self.sweep();
    }

    fn sweep(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        // Along a curve cost falls: what waits comes in runs, which this sort finds.
        self.pending.sort_by_key(Entry::key);
        let mut stairs = Stairs::default();
        let mut kept = Vec::with_capacity(self.kept.len() + self.pending.len() / 4);
        let mut old = self.kept.iter().peekable();
        for new in &self.pending {
            while let Some(entry) = old.next_if(|o| o.key() < new.key()) {
                stairs.pass(entry, &mut kept);
            }
            stairs.pass(new, &mut kept);
        }
        old.for_each(|entry| stairs.pass(entry, &mut kept));
        self.pending.clear();
        self.kept = kept;
        self.unseen = true;
    }

    /// Sweeps what waits and makes it seen by [`Self::covers`] and [`Self::sift`].
    pub fn settle(&mut self) {
        self.sweep();
        if self.unseen && !self.kept.is_empty() {
            let room = self.shadow.take().map(|old| old.least);
            self.shadow = Some(Box::new(Shadow::new(&self.kept, room.unwrap_or_default())));
            self.unseen = false;
        }
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

/// TTFT and TPOT of the points so far that no other beats in both, TTFT rising and TPOT falling.
#[derive(Default)]
struct Stairs {
    ttft: Vec<f64>,
    tpot: Vec<f64>,
}

impl Stairs {
    /// Keeps a point unless one before it, which costs no more, is no worse in TTFT and TPOT.
    fn pass(&mut self, entry: &Entry, kept: &mut Vec<Entry>) {
        let (ttft, tpot) = (entry.merits.ttft, entry.merits.tpot);
        let after = self.ttft.partition_point(|t| *t <= ttft);
        if after > 0 && self.tpot[after - 1] <= tpot {
            return;
        }
        // What it beats stands from its own TTFT on, as long as TPOT is no less.
        let from = after - usize::from(after > 0 && self.ttft[after - 1] == ttft);
        let beaten = self.tpot[from..].iter().take_while(|p| **p >= tpot).count();
        if beaten == 0 {
            self.ttft.insert(from, ttft);
            self.tpot.insert(from, tpot);
        } else {
            (self.ttft[from], self.tpot[from]) = (ttft, tpot);
            self.ttft.drain(from + 1..from + beaten);
            self.tpot.drain(from + 1..from + beaten);
        }
        kept.push(*entry);
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
    /// Rounded up.
    least: Vec<f32>,
}

/// The next number of single precision that is not below.
fn rounded_up(x: f64) -> f32 {
    let near = x as f32;
    if f64::from(near) < x {
        f32::from_bits(near.to_bits() + 1)
    } else {
        near
    }
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
    /// Of the kept points, in the memory of an earlier one.
    fn new(kept: &[Entry], mut least: Vec<f32>) -> Self {
        least.clear();
        least.resize(CELLS * CELLS, f32::INFINITY);
        let mut shadow = Self {
            cost: Axis::new(kept.iter().map(|e| e.merits.cost)),
            ttft: Axis::new(kept.iter().map(|e| e.merits.ttft)),
            least,
        };
        for e in kept {
            // Cells above in both see it.
            let (c, t) = (
                shadow.cost.cell(e.merits.cost),
                shadow.ttft.cell(e.merits.ttft),
            );
            if c + 1 < CELLS && t + 1 < CELLS {
                let cell = &mut shadow.least[(c + 1) * CELLS + t + 1];
                *cell = cell.min(rounded_up(e.merits.tpot));
            }
        }
        let mut below = [f32::INFINITY; CELLS];
        for row in shadow.least.chunks_exact_mut(CELLS) {
            // Prefixes of one, two, four ... cells: loops without a chain.
            let mut shift = 1;
            while shift < CELLS {
                let mut before = [f32::INFINITY; CELLS];
                before[shift..].copy_from_slice(&row[..CELLS - shift]);
                lower(row, &before);
                shift *= 2;
            }
            lower(row, &below);
            below.copy_from_slice(row);
        }
        shadow
    }

    /// The least TPOT of kept points that are below in cost and in TTFT, as far as cells tell.
    #[inline(always)]
    fn least_tpot(&self, cost: f64, ttft: f64) -> f64 {
        let cell = self.cost.cell(cost) * CELLS + self.ttft.cell(ttft);
        f64::from(self.least[cell])
    }
}

/// Takes the lesser of each two.
fn lower(row: &mut [f32], other: &[f32; CELLS]) {
    for (mine, theirs) in row.iter_mut().zip(other) {
        *mine = if *theirs < *mine { *theirs } else { *mine };
    }
}

/// What ranks points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ranking {
    /// Cost per output token.
    Cost,
    /// TTFT at p99.
    Ttft,
    /// TPOT at p99.
    Tpot,
}

impl Ranking {
    /// What it compares.
    #[inline(always)]
    pub fn of(self, merits: Merits) -> f64 {
        match self {
            Self::Cost => merits.cost,
            Self::Ttft => merits.ttft,
            Self::Tpot => merits.tpot,
        }
    }
}

/// A point among the best: its rank, its cost and its number.
pub type Ranked = (f64, f64, u64);

/// The best points: by rank, then by cost, then by number.
#[derive(Debug, Clone)]
pub struct Best {
    most: usize,
    points: Vec<Ranked>,
}

impl Best {
    /// Room for `most` points.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            points: Vec::new(),
        }
    }

    /// The points, best first.
    pub fn points(&self) -> &[Ranked] {
        &self.points
    }

    /// Rank above which no point is among them.
    #[inline(always)]
    pub fn limit(&self) -> f64 {
        match self.points.last() {
            _ if self.most == 0 => f64::NEG_INFINITY,
            Some((rank, ..)) if self.points.len() == self.most => *rank,
            _ => f64::MAX,
        }
    }

    /// Whether no point of at least this rank is among them, by more than rounding.
    #[inline(always)]
    pub fn excludes(&self, least: f64) -> bool {
        least * (1.0 - MARGIN) > self.limit()
    }

    /// Adds a point.
    pub fn add(&mut self, point: Ranked) {
        if point.0 > self.limit() {
            return;
        }
        let place = self.points.partition_point(|p| *p < point);
        self.points.insert(place, point);
        self.points.truncate(self.most);
    }

    /// Adds all of another list.
    pub fn merge(&mut self, other: &Self) {
        for point in &other.points {
            self.add(*point);
        }
    }
}
