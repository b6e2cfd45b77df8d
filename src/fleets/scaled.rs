//! The problem scaled to about one, and the bases from which fleets start.

use rand_pcg::rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64;

use crate::fleets::problem::Routing;
use crate::fleets::tableau::{Tableau, TINY};

/// Bases from which fleets start, at most, and numbers in all their tableaux.
const REFERENCES: usize = 48;
const REFERENCE_NUMBERS: usize = 1 << 18;
/// Cost of unmet demand over the largest other cost.
pub(super) const PENALTY: f64 = 1e5;

/// The problem scaled to about one, with its sparse columns and its reference tableau.
pub(super) struct Scaled<'a> {
    pub(super) problem: &'a Routing,
    pub(super) penalty: f64,
    pub(super) row_scale: Vec<f64>,
    pub(super) column_scale: Vec<f64>,
    pub(super) first: Tableau,
    pub(super) references: Vec<Tableau>,
    /// Dual prices of the references (references × rows), scaled.
    prices: Vec<f64>,
    starts: Vec<usize>,
    entries: Vec<(usize, f64)>,
}

impl<'a> Scaled<'a> {
    pub(super) fn new(problem: &'a Routing, middle: &[f64], demand: f64) -> Self {
        let (m, n) = (problem.rows, problem.columns);
        let at = |r: usize, j: usize| problem.a[r * n + j];
        // Rows are scaled by their right sides, so that values are about one; then columns.
        let row_scale: Vec<f64> = (0..m)
            .map(|r| {
                if middle[r] > 0.0 {
                    (-middle[r].log2()).round().exp2()
                } else {
                    balance((0..n).map(|j| at(r, j).abs()))
                }
            })
            .collect();
        let column_scale: Vec<f64> = (0..n)
            .map(|j| balance((0..m).map(|r| (at(r, j) * row_scale[r]).abs())))
            .collect();
        let scaled = |r: usize, j: usize| at(r, j) * row_scale[r] * column_scale[j];
        // Money, so that the largest scaled cost is one.
        let costs: Vec<f64> = problem
            .cost
            .iter()
            .zip(&column_scale)
            .map(|(c, s)| c * s)
            .collect();
        let largest = costs.iter().fold(0.0_f64, |a, c| a.max(*c));
        let unit = if largest > 0.0 { largest } else { 1.0 };
        let costs: Vec<f64> = costs.iter().map(|c| c / unit).collect();
        let penalty: Vec<f64> = (0..m)
            .map(|r| if r < problem.demands { PENALTY } else { 0.0 })
            .collect();
        let first = Tableau::identity(m, n, scaled, &costs, &penalty);
        let references = references(problem, &first, &row_scale, demand);
        let prices = references
            .iter()
            .flat_map(|t| (0..m).map(|r| penalty[r] - t.reduced[n + r]))
            .collect();
        let (mut starts, mut entries) = (vec![0], Vec::new());
        for j in 0..n {
            entries.extend((0..m).map(|r| (r, scaled(r, j))).filter(|(_, a)| *a != 0.0));
            starts.push(entries.len());
        }
        Self {
            problem,
            penalty: unit,
            row_scale,
            column_scale,
            first,
            references,
            prices,
            starts,
            entries,
        }
    }

    /// The reference with the best bound for a right side; the first of equals.
    pub(super) fn nearest(&self, b: &[f64]) -> &Tableau {
        let (mut at, mut best) = (0, f64::NEG_INFINITY);
        for (i, y) in self.prices.chunks_exact(b.len().max(1)).enumerate() {
            let bound: f64 = y.iter().zip(b).map(|(y, b)| y * b).sum();
            if bound > best {
                (at, best) = (i, bound);
            }
        }
        &self.references[at]
    }

    pub(super) fn column(&self, j: usize) -> &[(usize, f64)] {
        &self.entries[self.starts[j]..self.starts[j + 1]]
    }

    /// Scaled cost of a structural column.
    pub(super) fn cost(&self, j: usize) -> f64 {
        self.problem.cost[j] * self.column_scale[j] / self.penalty
    }
}

/// Optimal tableaux of the usual fleet and of fleets drawn about it, always the same ones.
fn references(problem: &Routing, first: &Tableau, row_scale: &[f64], demand: f64) -> Vec<Tableau> {
    let count = (REFERENCE_NUMBERS / first.t.len().max(1)).clamp(1, REFERENCES);
    let mut draw = Pcg64::seed_from_u64(1);
    let mut b = vec![0.0; problem.rows];
    let mut found: Vec<Tableau> = Vec::with_capacity(count);
    for i in 0..count {
        let fleet: Vec<f64> = problem
            .usual
            .iter()
            .map(|x| {
                if i == 0 {
                    *x
                } else {
                    x * exponential(&mut draw)
                }
            })
            .collect();
        problem.right_side(&fleet, demand, &mut b);
        b.iter_mut().zip(row_scale).for_each(|(b, s)| *b *= s);
        let mut tableau = first.clone();
        tableau.load(&b);
        tableau.primal();
        if tableau.reduced.iter().all(|z| *z >= -TINY) || i == 0 {
            found.push(tableau);
        }
    }
    found
}

/// An exponential number of mean one.
fn exponential(draw: &mut Pcg64) -> f64 {
    let unit = (draw.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    -(1.0 - unit).ln()
}

/// The power of two nearest to `1/√(least·largest)` of nonzero sizes.
fn balance(sizes: impl Iterator<Item = f64>) -> f64 {
    let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
    for size in sizes.filter(|s| *s > 0.0) {
        low = low.min(size);
        high = high.max(size);
    }
    if high > 0.0 {
        (-0.5 * (low.log2() + high.log2())).round().exp2()
    } else {
        1.0
    }
}
