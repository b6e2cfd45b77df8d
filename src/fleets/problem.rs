//! The routing problem as it is given.

use crate::error::{Error, Result};

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

    /// Right sides of a fleet, unscaled.
    pub(super) fn right_side(&self, fleet: &[f64], demand: f64, b: &mut [f64]) {
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
