//! Tails of waiting in M/G/1 and multi-slot queues, as sums of exponentials.
//!
//! With Poisson arrivals a request finds a prompt of class j in service with probability `ρ_j`;
//! its residual has mean `E[S_j²]/(2E[S_j])`, and the queue behind stretches it by `1/(1−ρ)`
//! (Pollaczek–Khinchine for the mean; Kingman's exponential form for the tail). So
//! `P(W > t) ≈ Σ_j ρ_j exp(−t/θ_j)`: exact in its mean, exact for M/M/1, and a rare long prompt
//! keeps its own slow term instead of vanishing in an average.

/// Most terms: one per class and one for the batch slots.
pub const MAX_TERMS: usize = crate::workload::MAX_CLASSES + 1;

/// `P(W > t) = Σ weight·exp(−t/scale)`.
#[derive(Debug, Clone, Copy)]
pub struct Tail {
    terms: [(f64, f64); MAX_TERMS],
    len: usize,
}

impl Default for Tail {
    fn default() -> Self {
        Self {
            terms: [(0.0, 0.0); MAX_TERMS],
            len: 0,
        }
    }
}

impl Tail {
    /// Adds a term; terms of no weight or no duration are left out.
    pub fn push(&mut self, weight: f64, scale: f64) {
        if weight > 0.0 && scale > 0.0 {
            self.terms[self.len] = (weight, scale);
            self.len += 1;
        }
    }

    fn terms(&self) -> &[(f64, f64)] {
        &self.terms[..self.len]
    }

    /// Mean waiting time.
    pub fn mean(&self) -> f64 {
        self.terms().iter().map(|(w, s)| w * s).sum()
    }

    /// Smallest `t` with `P(W > t) ≤ 1 − p`.
    ///
    /// From the largest root of one term, which lies left of that of the sum.
    pub fn quantile(&self, p: f64) -> f64 {
        let target = 1.0 - p;
        let single = |&(w, s): &(f64, f64)| {
            if w > target {
                s * (w / target).ln()
            } else {
                0.0
            }
        };
        let mut t = self.terms().iter().map(single).fold(0.0, f64::max);
        let total: f64 = self.terms().iter().map(|(w, _)| w).sum();
        if self.len < 2 || total <= target {
            return t;
        }
        for _ in 0..16 {
            let (mut value, mut slope) = (0.0, 0.0);
            for &(w, s) in self.terms() {
                let e = w * (-t / s).exp();
                value += e;
                slope += e / s;
            }
            let step = newton_step(value, slope, target);
            if step <= 1e-9 * t {
                break;
            }
            t += step;
        }
        t
    }
}

/// Step towards `value = target` of a sum of exponentials with this `slope` downwards.
///
/// Newton's step on the logarithm of the sum, which is straighter than the sum and convex as well,
/// with `2(v−1)/(v+1) ≤ ln v` in its place: from the left it never overshoots.
#[inline(always)]
pub fn newton_step(value: f64, slope: f64, target: f64) -> f64 {
    2.0 * (value - target) / (value + target) * value / slope
}

/// Probability that all of `slots` are taken at load `u`, after Sakasegawa (1977).
pub fn all_slots_taken(slots: f64, u: f64) -> f64 {
    u.powf(slots_exponent(slots))
}

/// The exponent of the load in [`all_slots_taken`].
pub fn slots_exponent(slots: f64) -> f64 {
    (2.0 * (slots + 1.0)).sqrt() - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mm1_waiting_by_hand() {
        // M/M/1, S = 1 s, ρ = 0.8: mean wait ρS/(1−ρ) = 4 s; P(W>t) = 0.8·exp(−0.2t), p99 at 21.91 s.
        let mut tail = Tail::default();
        tail.push(0.8, 1.0 / (1.0 - 0.8));
        assert!((tail.mean() - 4.0).abs() < 1e-12);
        assert!((tail.quantile(0.99) - 5.0 * (80.0f64).ln()).abs() < 1e-9);
        assert_eq!(tail.quantile(0.10), 0.0);
    }

    #[test]
    fn one_slot_is_mm1() {
        assert!((all_slots_taken(1.0, 0.7) - 0.7).abs() < 1e-12);
    }

    #[test]
    fn a_rare_long_job_shows_in_the_tail_and_not_in_the_median() {
        let mut tail = Tail::default();
        tail.push(0.3, 0.1);
        tail.push(0.02, 10.0);
        assert!(tail.quantile(0.5) < 0.2);
        assert!(tail.quantile(0.99) > 5.0);
        let t = tail.quantile(0.99);
        let p: f64 = 0.3 * (-t / 0.1f64).exp() + 0.02 * (-t / 10.0f64).exp();
        assert!((p - 0.01).abs() < 1e-5);
    }
}
