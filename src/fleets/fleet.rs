//! One fleet after the other: solved from the nearest basis, certified, reported.

use crate::fleets::certificate::{certificate, GAP};
use crate::fleets::scaled::Scaled;
use crate::fleets::tableau::Tableau;

/// One thread's tableau and right side.
pub(super) struct Fleet<'a> {
    solver: &'a Scaled<'a>,
    tableau: Tableau,
    b: Vec<f64>,
    left: Vec<f64>,
    pub(super) gap: f64,
}

impl<'a> Fleet<'a> {
    pub(super) fn new(solver: &'a Scaled<'a>) -> Self {
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
    pub(super) fn solve(&mut self, fleet: &[f64], demand: f64) -> u32 {
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
            certificate(self.solver, &self.tableau, &self.b, &mut self.left)
        } else {
            f64::NAN
        };
        if self.gap <= GAP {
            return pivots.unwrap_or(0);
        }
        self.tableau.copy_from(&self.solver.first);
        self.tableau.load(&self.b);
        let pivots = self.tableau.primal();
        self.gap = certificate(self.solver, &self.tableau, &self.b, &mut self.left);
        if self.gap > GAP {
            self.gap = f64::NAN;
        }
        pivots
    }

    /// Writes what was asked of the routing and returns its cost.
    pub(super) fn report(&self, unmet: &mut [f64], figures: &mut [f64]) -> f64 {
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
