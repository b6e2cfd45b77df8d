//! Every fleet routed, chunks of them on threads.

use rayon::prelude::*;

use crate::error::Result;
use crate::fleets::fleet::Fleet;
use crate::fleets::problem::Routing;
use crate::fleets::scaled::Scaled;

/// Fleets that a thread takes at once.
const CHUNK: usize = 128;

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

impl Routing {
    /// Routes every fleet: `fleets` holds `parts` nonnegative numbers each; `demand` scales the demands.
    pub fn route(&self, fleets: &[f64], demand: f64) -> Result<Routed> {
        self.check()?;
        crate::error::positive("demand multiplier", demand)?;
        let count = fleets.len().checked_div(self.parts).unwrap_or(0);
        let mut middle = vec![0.0; self.rows];
        self.right_side(&self.usual, demand, &mut middle);
        let solver = Scaled::new(self, &middle, demand);
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
                let mut work = Fleet::new(&solver);
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleets::GAP;

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
