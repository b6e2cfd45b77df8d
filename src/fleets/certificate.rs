//! What a basic solution is worth, on the matrix as given.

use crate::fleets::scaled::{Scaled, PENALTY};
use crate::fleets::tableau::Tableau;

/// Relative gap of a certified answer.
pub const GAP: f64 = 1e-6;
/// Least cost, scaled so that the dearest column costs one, to which a gap is held: where what serves
/// is free, the cost is zero and the rounding of prices of `PENALTY` is all that there is of a gap.
const LEAST_COST: f64 = 1e-3;

/// Gap of the basic solution by weak duality, from the matrix as given; NaN if it is infeasible.
pub(super) fn certificate(solver: &Scaled, tableau: &Tableau, b: &[f64], left: &mut [f64]) -> f64 {
    let (n, demands) = (tableau.n, solver.problem.demands);
    left.copy_from_slice(b);
    let mut primal = 0.0;
    for (column, value) in tableau.basis.iter().zip(&tableau.value) {
        if *value < -1e-7 {
            return f64::NAN;
        }
        if *column < n {
            solver
                .column(*column)
                .iter()
                .for_each(|(r, a)| left[*r] -= a * value);
            primal += solver.cost(*column) * value;
        } else {
            left[column - n] -= value;
            primal += if column - n < demands {
                PENALTY * value
            } else {
                0.0
            };
        }
    }
    if left
        .iter()
        .zip(b)
        .any(|(left, b)| left.abs() > 1e-7 * b.abs().max(1.0))
    {
        return f64::NAN;
    }
    primal_dual_gap(solver, tableau, b, primal)
}

/// Relative gap between the primal value and a bound that holds for every dual vector: with `x ≤ reach`,
/// a column whose reduced cost is negative can lower the cost by no more than it times its reach.
fn primal_dual_gap(solver: &Scaled, tableau: &Tableau, b: &[f64], primal: f64) -> f64 {
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
    let size = primal.abs().max(LEAST_COST);
    ((primal - bound) / size).max(0.0)
}
