//! The simplex tableau: pivots, the primal and the dual method.

/// Smallest pivot, in a tableau whose rows and columns are scaled to about one.
const PIVOT: f64 = 1e-9;
/// Reduced costs and basic values above `-TINY` count as nonnegative (scaled).
pub(super) const TINY: f64 = 1e-10;

/// The simplex tableau and what it needs to work without allocation.
#[derive(Clone)]
pub(super) struct Tableau {
    pub(super) m: usize,
    width: usize,
    pub(super) n: usize,
    pub(super) t: Vec<f64>,
    pub(super) reduced: Vec<f64>,
    pub(super) basis: Vec<usize>,
    pub(super) value: Vec<f64>,
    pivot_row: Vec<f64>,
}

impl Tableau {
    /// The basis of unmet demand and slacks.
    pub(super) fn identity(
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

    pub(super) fn copy_from(&mut self, other: &Self) {
        self.t.copy_from_slice(&other.t);
        self.reduced.copy_from_slice(&other.reduced);
        self.basis.copy_from_slice(&other.basis);
    }

    /// Basic values `B⁻¹ b`.
    #[inline(always)]
    pub(super) fn load(&mut self, b: &[f64]) {
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
    pub(super) fn primal(&mut self) -> u32 {
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
    pub(super) fn dual(&mut self, limit: u32) -> Option<u32> {
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
