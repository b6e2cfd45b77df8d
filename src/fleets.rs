//! Best routing of demand through fleets whose systems are given: one linear programme, many right sides.
//!
//! ```text
//! min  c·x   s.t.   A x + s = b,   x, s ≥ 0,   b = b0 + R·t ≥ 0
//! ```
//!
//! The first `demands` rows are equalities whose `s` is demand left unmet, at a cost above all others, so
//! every fleet has a routing; in the other rows `s` is slack. A fleet is the vector `t` of its usable
//! systems. Only `b` differs between fleets, so an optimal basis stays dual feasible and the dual simplex
//! method (Lemke, 1) goes from one fleet to the next in few pivots. The tableau holds `B⁻¹` in the columns of `s`.
//!
//! **Certificate.** Each answer is checked against the matrix as given: `x ≥ 0`, `A x ≤ b`, and by weak
//! duality (Dantzig, 2) no routing costs less than `y·b` minus what dual infeasibility could be worth. An
//! answer whose gap is above the tolerance is solved again from the first basis. Fleets start
//! from one of a few reference bases that come from the problem alone, so that answers depend neither
//! on threads nor on the fleets around: all are dual feasible, and `y·b` tells which is nearest.
//!
//! 1. C. Lemke, *The dual method of solving the linear programming problem*, Naval Res. Log. Q. 1, 1954
//! 2. G. Dantzig, *Linear Programming and Extensions*, 1963

use rand_pcg::rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64;
use rayon::prelude::*;

use crate::error::{Error, Result};

/// Fleets that a thread takes at once.
const CHUNK: usize = 128;
/// Bases from which fleets start, at most, and numbers in all their tableaux.
const REFERENCES: usize = 48;
const REFERENCE_NUMBERS: usize = 1 << 18;
/// Smallest pivot, in a tableau whose rows and columns are scaled to about one.
const PIVOT: f64 = 1e-9;
/// Reduced costs and basic values above `-TINY` count as nonnegative (scaled).
const TINY: f64 = 1e-10;
/// Cost of unmet demand over the largest other cost.
const PENALTY: f64 = 1e5;
/// Relative gap of a certified answer.
pub const GAP: f64 = 1e-6;

/// A routing problem; see the module.
#[derive(Debug, Clone)]
pub struct Routing {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// Rows, counted from the first, that are demands.
    pub demands: usize,
    /// Coefficients, row by row.
    pub a: Vec<f64>,
    /// Cost of each column, at least 0.
    pub cost: Vec<f64>,
    /// Right side of a fleet without systems, at least 0.
    pub b0: Vec<f64>,
    /// Numbers that make a fleet.
    pub parts: usize,
    /// What each part adds to each right side, row by row (rows × parts), at least 0.
    pub per_part: Vec<f64>,
    /// A usual fleet, for the basis from which all start.
    pub usual: Vec<f64>,
    /// Figures asked of each routing.
    pub figures: usize,
    /// Weight of each column in each figure (columns × figures).
    pub weights: Vec<f64>,
}

/// Answers, one row a fleet.
#[derive(Debug, Clone, Default)]
pub struct Routed {
    /// Cost of the routing without unmet demand.
    pub cost: Vec<f64>,
    /// Relative gap to the dual bound, unmet demand included at its penalty; NaN if not certified.
    pub gap: Vec<f64>,
    /// Unmet demand (fleets × demands).
    pub unmet: Vec<f64>,
    /// Figures (fleets × figures).
    pub figures: Vec<f64>,
    /// Pivots.
    pub pivots: Vec<u32>,
}

/// The simplex tableau and what it needs to work without allocation.
#[derive(Clone)]
struct Tableau {
    m: usize,
    width: usize,
    n: usize,
    t: Vec<f64>,
    reduced: Vec<f64>,
    basis: Vec<usize>,
    value: Vec<f64>,
    pivot_row: Vec<f64>,
}

/// The problem scaled to about one, with its sparse columns and its reference tableau.
struct Solver<'a> {
    problem: &'a Routing,
    penalty: f64,
    row_scale: Vec<f64>,
    column_scale: Vec<f64>,
    first: Tableau,
    references: Vec<Tableau>,
    /// Dual prices of the references (references × rows), scaled.
    prices: Vec<f64>,
    starts: Vec<usize>,
    entries: Vec<(usize, f64)>,
}

impl Routing {
    /// Refuses shapes that do not agree and numbers that are not finite or negative where they must not be.
    pub fn check(&self) -> Result<()> {
        let shapes = [
            ("a", self.a.len(), self.rows * self.columns),
            ("cost", self.cost.len(), self.columns),
            ("b0", self.b0.len(), self.rows),
            ("per_part", self.per_part.len(), self.rows * self.parts),
            ("usual", self.usual.len(), self.parts),
            ("weights", self.weights.len(), self.figures * self.columns),
        ];
        for (name, len, wanted) in shapes {
            if len != wanted {
                return Err(Error::Spec(format!(
                    "routing: {name} has {len} numbers, not {wanted}"
                )));
            }
        }
        if self.demands > self.rows {
            return Err(Error::Spec("routing: more demands than rows".into()));
        }
        for (name, values) in [
            ("cost", &self.cost),
            ("b0", &self.b0),
            ("per_part", &self.per_part),
            ("usual", &self.usual),
        ] {
            for value in values {
                crate::error::not_negative(format!("routing.{name}"), *value)?;
            }
        }
        if self.a.iter().chain(&self.weights).any(|v| !v.is_finite()) {
            return Err(Error::Spec("routing: a coefficient is not finite".into()));
        }
        Ok(())
    }

    /// Routes every fleet: `fleets` holds `parts` nonnegative numbers each; `demand` scales the demands.
    pub fn route(&self, fleets: &[f64], demand: f64) -> Result<Routed> {
        self.check()?;
        crate::error::positive("demand multiplier", demand)?;
        let count = fleets.len().checked_div(self.parts).unwrap_or(0);
        let mut middle = vec![0.0; self.rows];
        self.right_side(&self.usual, demand, &mut middle);
        let solver = Solver::new(self, &middle, demand);
        let mut out = Routed {
            cost: vec![0.0; count],
            gap: vec![0.0; count],
            unmet: vec![0.0; count * self.demands],
            figures: vec![0.0; count * self.figures],
            pivots: vec![0; count],
        };
        let unmet = out.unmet.par_chunks_mut((CHUNK * self.demands).max(1));
        let figures: Vec<&mut [f64]> = if self.figures == 0 {
            (0..count.div_ceil(CHUNK))
                .map(|_| <&mut [f64]>::default())
                .collect()
        } else {
            out.figures.chunks_mut(CHUNK * self.figures).collect()
        };
        fleets
            .par_chunks(CHUNK * self.parts.max(1))
            .zip(out.cost.par_chunks_mut(CHUNK))
            .zip(out.gap.par_chunks_mut(CHUNK))
            .zip(unmet)
            .zip(figures)
            .zip(out.pivots.par_chunks_mut(CHUNK))
            .for_each(|(((((fleets, cost), gap), unmet), figures), pivots)| {
                let mut work = Work::new(&solver);
                for i in 0..cost.len() {
                    let fleet = &fleets[i * self.parts..(i + 1) * self.parts];
                    pivots[i] = work.solve(fleet, demand);
                    gap[i] = work.gap;
                    cost[i] = work.report(
                        &mut unmet[i * self.demands..(i + 1) * self.demands],
                        &mut figures[i * self.figures..(i + 1) * self.figures],
                    );
                }
            });
        Ok(out)
    }

    fn right_side(&self, fleet: &[f64], demand: f64, b: &mut [f64]) {
        for (r, b) in b.iter_mut().enumerate() {
            let parts = &self.per_part[r * self.parts..(r + 1) * self.parts];
            let own = if r < self.demands {
                self.b0[r] * demand
            } else {
                self.b0[r]
            };
            *b = own + parts.iter().zip(fleet).map(|(a, x)| a * x).sum::<f64>();
        }
    }
}

impl Tableau {
    /// The basis of unmet demand and slacks.
    fn identity(
        m: usize,
        n: usize,
        a: impl Fn(usize, usize) -> f64,
        cost: &[f64],
        penalty: &[f64],
    ) -> Self {
        let width = n + m;
        let mut t = vec![0.0; m * width];
        let mut reduced: Vec<f64> = cost.iter().chain(penalty).copied().collect();
        for r in 0..m {
            for j in 0..n {
                t[r * width + j] = a(r, j);
                reduced[j] -= penalty[r] * a(r, j);
            }
            t[r * width + n + r] = 1.0;
            reduced[n + r] = 0.0;
        }
        Self {
            m,
            width,
            n,
            t,
            reduced,
            basis: (n..width).collect(),
            value: vec![0.0; m],
            pivot_row: vec![0.0; width],
        }
    }

    fn copy_from(&mut self, other: &Self) {
        self.t.copy_from_slice(&other.t);
        self.reduced.copy_from_slice(&other.reduced);
        self.basis.copy_from_slice(&other.basis);
    }

    /// Basic values `B⁻¹ b`.
    #[inline(always)]
    fn load(&mut self, b: &[f64]) {
        for (r, value) in self.value.iter_mut().enumerate() {
            let inverse = &self.t[r * self.width + self.n..(r + 1) * self.width];
            *value = inverse.iter().zip(b).map(|(a, b)| a * b).sum();
        }
    }

    #[inline(always)]
    fn pivot(&mut self, row: usize, column: usize) {
        let width = self.width;
        let scale = 1.0 / self.t[row * width + column];
        for (kept, value) in self
            .pivot_row
            .iter_mut()
            .zip(&mut self.t[row * width..(row + 1) * width])
        {
            *value *= scale;
            *kept = *value;
        }
        self.value[row] *= scale;
        let entering = self.value[row];
        for (r, line) in self.t.chunks_exact_mut(width).enumerate() {
            let factor = line[column];
            if r == row || factor == 0.0 {
                continue;
            }
            line.iter_mut()
                .zip(&self.pivot_row)
                .for_each(|(x, p)| *x -= factor * p);
            line[column] = 0.0;
            self.value[r] -= factor * entering;
        }
        let factor = self.reduced[column];
        self.reduced
            .iter_mut()
            .zip(&self.pivot_row)
            .for_each(|(x, p)| *x -= factor * p);
        self.reduced[column] = 0.0;
        self.basis[row] = column;
    }

    /// Primal simplex from a feasible basis; Bland's rule after many pivots. Returns pivots.
    fn primal(&mut self) -> u32 {
        let patience = 20 * (self.m + self.n);
        for step in 0..50 * patience {
            let entering = if step < patience {
                least(&self.reduced)
            } else {
                self.reduced.iter().position(|z| *z < -TINY)
            };
            let Some(column) = entering else {
                return step as u32;
            };
            let mut best: Option<(usize, f64)> = None;
            for r in 0..self.m {
                let a = self.t[r * self.width + column];
                if a > PIVOT {
                    let ratio = self.value[r].max(0.0) / a;
                    let better = best.is_none_or(|(s, least)| {
                        ratio < least || (ratio == least && self.basis[r] < self.basis[s])
                    });
                    if better {
                        best = Some((r, ratio));
                    }
                }
            }
            let Some((row, _)) = best else {
                return step as u32;
            };
            self.pivot(row, column);
        }
        0
    }

    /// The row whose negative value is largest in units of the length of its row of `B⁻¹`.
    #[inline(always)]
    fn steepest(&self) -> Option<usize> {
        let (mut at, mut most) = (None, 0.0);
        for (r, value) in self.value.iter().enumerate() {
            if *value < -TINY {
                let inverse = &self.t[r * self.width + self.n..(r + 1) * self.width];
                let length: f64 = inverse.iter().map(|a| a * a).sum();
                if value * value > most * length {
                    (at, most) = (Some(r), value * value / length);
                }
            }
        }
        at
    }

    /// Dual simplex from a dual feasible basis; `None` when it gets nowhere.
    #[inline(always)]
    fn dual(&mut self, limit: u32) -> Option<u32> {
        for step in 0..limit {
            let Some(row) = self.steepest() else {
                return Some(step);
            };
            let line = &self.t[row * self.width..(row + 1) * self.width];
            // The least reduced cost over coefficient, compared without dividing.
            let (mut best, mut cost, mut size) = (usize::MAX, 1.0, 0.0);
            for (j, (a, z)) in line.iter().zip(&self.reduced).enumerate() {
                if *a < -PIVOT {
                    let (new, old) = (z.max(0.0) * size, cost * -a);
                    if best == usize::MAX || new < old || (new == old && -a > size) {
                        (best, cost, size) = (j, z.max(0.0), -a);
                    }
                }
            }
            if best == usize::MAX {
                return None;
            }
            self.pivot(row, best);
        }
        None
    }
}

/// Place of the least value below `-TINY`.
#[inline(always)]
fn least(values: &[f64]) -> Option<usize> {
    let (mut at, mut low) = (None, -TINY);
    for (i, v) in values.iter().enumerate() {
        if *v < low {
            (at, low) = (Some(i), *v);
        }
    }
    at
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

impl<'a> Solver<'a> {
    fn new(problem: &'a Routing, middle: &[f64], demand: f64) -> Self {
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
    fn nearest(&self, b: &[f64]) -> &Tableau {
        let (mut at, mut best) = (0, f64::NEG_INFINITY);
        for (i, y) in self.prices.chunks_exact(b.len().max(1)).enumerate() {
            let bound: f64 = y.iter().zip(b).map(|(y, b)| y * b).sum();
            if bound > best {
                (at, best) = (i, bound);
            }
        }
        &self.references[at]
    }

    fn column(&self, j: usize) -> &[(usize, f64)] {
        &self.entries[self.starts[j]..self.starts[j + 1]]
    }

    /// Scaled cost of a structural column.
    fn cost(&self, j: usize) -> f64 {
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

/// One thread's tableau and right side.
struct Work<'a> {
    solver: &'a Solver<'a>,
    tableau: Tableau,
    b: Vec<f64>,
    left: Vec<f64>,
    gap: f64,
}

impl<'a> Work<'a> {
    fn new(solver: &'a Solver<'a>) -> Self {
        let m = solver.problem.rows;
        Self {
            solver,
            tableau: solver.references[0].clone(),
            b: vec![0.0; m],
            left: vec![0.0; m],
            gap: 0.0,
        }
    }

    /// Solves one fleet and certifies it; returns pivots.
    fn solve(&mut self, fleet: &[f64], demand: f64) -> u32 {
        self.solver.problem.right_side(fleet, demand, &mut self.b);
        self.b
            .iter_mut()
            .zip(&self.solver.row_scale)
            .for_each(|(b, s)| *b *= s);
        let limit = 20 * (self.tableau.m as u32 + 10);
        self.tableau.copy_from(self.solver.nearest(&self.b));
        let pivots = pulp::Arch::new().dispatch(|| {
            self.tableau.load(&self.b);
            self.tableau.dual(limit)
        });
        self.gap = if pivots.is_some() {
            self.certificate()
        } else {
            f64::NAN
        };
        if self.gap <= GAP {
            return pivots.unwrap_or(0);
        }
        self.tableau.copy_from(&self.solver.first);
        self.tableau.load(&self.b);
        let pivots = self.tableau.primal();
        self.gap = self.certificate();
        if self.gap > GAP {
            self.gap = f64::NAN;
        }
        pivots
    }

    /// Gap of the basic solution by weak duality, from the matrix as given; NaN if it is infeasible.
    fn certificate(&mut self) -> f64 {
        let (solver, tableau) = (self.solver, &self.tableau);
        let (n, demands) = (tableau.n, solver.problem.demands);
        self.left.copy_from_slice(&self.b);
        let mut primal = 0.0;
        for (column, value) in tableau.basis.iter().zip(&tableau.value) {
            if *value < -1e-7 {
                return f64::NAN;
            }
            if *column < n {
                solver
                    .column(*column)
                    .iter()
                    .for_each(|(r, a)| self.left[*r] -= a * value);
                primal += solver.cost(*column) * value;
            } else {
                self.left[column - n] -= value;
                primal += if column - n < demands {
                    PENALTY * value
                } else {
                    0.0
                };
            }
        }
        if self
            .left
            .iter()
            .zip(&self.b)
            .any(|(left, b)| left.abs() > 1e-7 * b.abs().max(1.0))
        {
            return f64::NAN;
        }
        primal_dual_gap(solver, tableau, &self.b, primal)
    }

    /// Writes what was asked of the routing and returns its cost.
    fn report(&self, unmet: &mut [f64], figures: &mut [f64]) -> f64 {
        let (problem, tableau) = (self.solver.problem, &self.tableau);
        let mut cost = 0.0;
        unmet.fill(0.0);
        figures.fill(0.0);
        for (column, value) in tableau.basis.iter().zip(&tableau.value) {
            let value = value.max(0.0);
            if *column >= tableau.n {
                let row = column - tableau.n;
                if row < problem.demands {
                    unmet[row] = value / self.solver.row_scale[row];
                }
                continue;
            }
            let amount = value * self.solver.column_scale[*column];
            cost += problem.cost[*column] * amount;
            let weights =
                &problem.weights[column * problem.figures..(column + 1) * problem.figures];
            figures
                .iter_mut()
                .zip(weights)
                .for_each(|(figure, weight)| *figure += weight * amount);
        }
        cost
    }
}

/// Relative gap between the primal value and a bound that holds for every dual vector: with `x ≤ reach`,
/// a column whose reduced cost is negative can lower the cost by no more than it times its reach.
fn primal_dual_gap(solver: &Solver, tableau: &Tableau, b: &[f64], primal: f64) -> f64 {
    let (n, demands) = (tableau.n, solver.problem.demands);
    let price = |r: usize| {
        let own = if r < demands { PENALTY } else { 0.0 };
        own - tableau.reduced[n + r]
    };
    let mut bound = 0.0;
    for (r, b) in b.iter().enumerate() {
        // Slack is at least 0 and free, unmet demand costs the penalty: prices beyond are cut back.
        let price = if r < demands {
            price(r).min(PENALTY)
        } else {
            price(r).min(0.0)
        };
        bound += price * b;
    }
    for j in 0..n {
        let (mut reduced, mut reach) = (solver.cost(j), f64::INFINITY);
        for (r, a) in solver.column(j) {
            let price = if *r < demands {
                price(*r).min(PENALTY)
            } else {
                price(*r).min(0.0)
            };
            reduced -= price * a;
            if *r < demands && *a > 0.0 {
                reach = reach.min(b[*r] / a);
            }
        }
        if reduced < 0.0 {
            if reach.is_infinite() && reduced > -1e-9 {
                continue;
            }
            bound += reduced * reach;
        }
    }
    let size = primal.abs().max(1e-9);
    ((primal - bound) / size).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two types, one class: A serves 1/s for 1 $, B 2/s for 3 $ per request.
    fn small() -> Routing {
        Routing {
            rows: 3,
            columns: 2,
            demands: 1,
            a: vec![1.0, 1.0, 1.0, 0.0, 0.0, 0.5],
            cost: vec![1.0, 3.0],
            b0: vec![4.0, 0.0, 0.0],
            parts: 2,
            per_part: vec![0.0, 0.0, 1.0, 0.0, 0.0, 1.0],
            usual: vec![2.0, 2.0],
            figures: 1,
            weights: vec![0.0, 1.0],
        }
    }

    #[test]
    fn the_cheaper_type_first_and_what_is_left_is_unmet() {
        // 3 A and 1 B: 3 through A, 1 through B. 1 A and 1 B: 1 + 2, one unmet. 9 A: all through A.
        let out = small().route(&[3.0, 1.0, 1.0, 1.0, 9.0, 0.0], 1.0).unwrap();
        let near = |x: f64, y: f64| (x - y).abs() < 1e-9;
        assert!(near(out.cost[0], 6.0) && near(out.cost[1], 7.0) && near(out.cost[2], 4.0));
        assert!(near(out.unmet[0], 0.0) && near(out.unmet[1], 1.0) && near(out.unmet[2], 0.0));
        assert!(near(out.figures[0], 1.0) && near(out.figures[1], 2.0));
        assert!(out.gap.iter().all(|g| *g <= GAP));
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let fleets: Vec<f64> = (0..2000).map(|i| f64::from(i * 7919 % 11)).collect();
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| small().route(&fleets, 0.7).unwrap())
        };
        let (one, two) = (on(1), on(2));
        assert_eq!(one.cost, two.cost);
        assert_eq!(one.figures, two.figures);
    }

    #[test]
    fn bad_numbers_are_refused() {
        let mut bad = small();
        bad.cost[0] = -1.0;
        assert!(bad.route(&[1.0, 1.0], 1.0).is_err());
        assert!(small().route(&[1.0, 1.0], 0.0).is_err());
    }
}
