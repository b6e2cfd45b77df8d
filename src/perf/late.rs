//! Percentiles of latency from the percentiles of its parts: one form for a single replica and for
//! points in bulk. Equations (24) to (26).

use crate::workload::{NORMAL_QUANTILES, PERCENTILES};

/// The larger of two numbers, neither of which is NaN: one instruction where `f64::max` takes three.
#[inline(always)]
fn larger(a: f64, b: f64) -> f64 {
    if a > b {
        a
    } else {
        b
    }
}

/// TTFT at the median, s: from (own time, waiting) at the median, and the 90th percentile of own time
/// and the mean of waiting.
///
/// The median of a sum lies above the sum of medians by the skew of the wait as far as own times vary.
#[inline(always)]
pub fn median_ttft(median: (f64, f64), own_p90: f64, mean_wait: f64) -> f64 {
    let wide = larger(own_p90 - median.0, 0.0);
    let skew = larger(mean_wait - median.1, 0.0);
    let sum = wide + mean_wait;
    let shift = skew * wide / if sum > 0.0 { sum } else { 1.0 };
    median.0 + median.1 + shift
}

/// What the steps that a first token meets make of its time: prompts that come together share a step.
#[derive(Debug, Clone, Copy)]
pub struct Shared {
    /// Share of the deviation of waiting that counts, [`narrow_tail`].
    pub part: f64,
    /// Square of how much longer the prompts of others make the own step at the percentile, s².
    pub square: f64,
    /// By how much more than half of the running step is still to come at the percentile, s.
    pub residual: f64,
}

impl Shared {
    /// Prompts and decode share no steps.
    pub const NOTHING: Self = Self {
        part: 1.0,
        square: 0.0,
        residual: 0.0,
    };

    /// At percentile index `i`, where a step with its prompts takes `step_s` on average and prompts have
    /// `noise`, `Σ rate·E[size²]`, and lengths of this `spread`.
    #[inline(always)]
    pub fn at(i: usize, step_s: f64, noise: f64, spread: f64) -> Self {
        let z = NORMAL_QUANTILES[i];
        Self {
            part: narrow_tail(i, spread),
            square: z * z * noise * step_s,
            residual: (PERCENTILES[i] - 0.5) * step_s,
        }
    }
}

/// Share of an exponential's deviation that waiting has at percentile index `i` behind prompts whose
/// lengths have this `spread`, `E[L²]/E[L]²`: the more equal they are, the shorter its tail. Fitted to the
/// simulator (`docs/simulation.md`).
#[inline(always)]
pub fn narrow_tail(i: usize, spread: f64) -> f64 {
    let part = match i {
        3 => 0.85 + 0.1 * (spread - 1.0),
        4 => 0.7 + 0.2 * (spread - 1.0),
        _ => 1.0,
    };
    if part < 1.0 {
        part
    } else {
        1.0
    }
}

/// TTFT at a high percentile from (own time, waiting) at the mean, the median and the percentile, s.
///
/// Independent parts: deviations add in quadrature. Taken from the mean and from the median, so that
/// percentiles stay in order wherever the mean lies. A request comes at any moment of the running step.
#[inline(always)]
pub fn late_ttft(mean: (f64, f64), median: (f64, f64), late: (f64, f64), shared: &Shared) -> f64 {
    let from = |centre: (f64, f64)| {
        let prompt = larger(late.0 - centre.0, 0.0);
        let queue = shared.part * larger(late.1 - centre.1, 0.0);
        centre.0 + centre.1 + (prompt * prompt + queue * queue + shared.square).sqrt()
    };
    larger(from(mean), from(median)) + shared.residual
}

/// By how much the prompts of others stretch the steps that a first token waits for, s: half of the
/// running one and its own, of `step_s` without prompts, which leave `1/stretch` of the time.
#[inline(always)]
pub fn stretched_steps(step_s: f64, stretch: f64) -> f64 {
    1.5 * step_s * (stretch - 1.0)
}

/// Decode of one class's answers.
#[derive(Debug, Clone, Copy)]
pub struct Answers {
    /// Share of the time in which decode runs; prompts have the rest.
    pub share: f64,
    /// One over that share.
    pub stretch: f64,
    /// Time per token while prompts come at their rate, s.
    pub steady: f64,
    /// Tokens after the first.
    pub later_tokens: f64,
    /// Tokens over which disturbances average out.
    pub noise_tokens: f64,
}

/// What disturbs answers at a percentile.
#[derive(Debug, Clone, Copy)]
pub struct Disturbance {
    /// Normal quantile.
    pub z: f64,
    /// `Σ rate·E[size²]` of the prompts, s.
    pub noise: f64,
    /// Largest prompt that so many meet, s.
    pub hit: f64,
    /// `E[size³]/E[size²]` of the prompts among which that is, s.
    pub hit_skew: f64,
    /// By how much the prompt queue is longer than on average, s.
    pub backlog: f64,
    /// By how much the own prompt takes longer than on average, s.
    pub own: f64,
    /// Time per token in a batch as crowded as that, s.
    pub crowded: f64,
    /// No token is later, s.
    pub longest: f64,
}

impl Answers {
    /// Time per token of the mean answer, s; `backlog` is how long its own prompt took, in which others
    /// came that are read before it goes on.
    #[inline(always)]
    pub fn mean(&self, backlog: f64) -> f64 {
        self.steady + self.held_up(backlog) * (1.0 / self.later_tokens)
    }

    /// How long answers stand still for the prompts that came in so much time.
    #[inline(always)]
    fn held_up(&self, seconds: f64) -> f64 {
        (1.0 - self.share) * self.stretch * seconds
    }

    /// Time per token at a percentile, s.
    ///
    /// An answer lasts as long as a busy period that its own steps begin and prompts prolong: its
    /// variance and third moment are those of that period. The more of the time prompts take, the more a
    /// crowded batch is their doing. Cornish and Fisher's expansion takes the percentile from them.
    #[inline(always)]
    pub fn late(&self, mean: f64, d: &Disturbance) -> f64 {
        let tokens = self.noise_tokens;
        let prompts = d.z * self.stretch * (tokens * self.steady * d.noise).sqrt();
        let (backlog, own) = (self.held_up(d.backlog), self.held_up(d.own));
        let crowd = tokens * (d.crowded - self.steady);
        let together = 2.0 * (1.0 - self.share) * prompts * crowd;
        let apart = prompts * prompts + backlog * backlog + own * own + crowd * crowd;
        let spread = (apart + together).sqrt();
        let third = (d.hit_skew + 3.0 * d.noise * self.stretch) * self.stretch;
        let held = larger(spread + (d.z * d.z - 1.0) / 6.0 * third, d.hit);
        let most = larger(d.longest - mean, 0.0);
        let late = held * (1.0 / tokens);
        mean + if late < most { late } else { most }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_a_sum_lies_between_two_sums() {
        assert_eq!(median_ttft((1.0, 0.0), 1.0, 0.5), 1.0);
        assert!((median_ttft((1.0, 0.0), 1e6, 0.5) - 1.5).abs() < 1e-6);
        assert_eq!(median_ttft((1.0, 0.0), 1.0, 0.0), 1.0);
        assert_eq!(median_ttft((1.0, 0.5), 2.0, 0.4), 1.5);
    }

    #[test]
    fn a_busy_period_by_hand() {
        // 50 tokens at 10 ms beside prompts that take half of the time: rate 10/s, 50 ms each.
        let answers = Answers {
            share: 0.5,
            stretch: 2.0,
            steady: 0.02,
            later_tokens: 50.0,
            noise_tokens: 50.0,
        };
        // One prompt's worth of arrivals in 100 ms: 50 ms of work, and as much again behind it.
        assert!((answers.mean(0.1) - (0.02 + 0.1 / 50.0)).abs() < 1e-12);
        let d = Disturbance {
            z: 2.0,
            noise: 10.0 * 0.05 * 0.05,
            hit: 0.05,
            hit_skew: 0.05,
            backlog: 0.0,
            own: 0.0,
            crowded: 0.02,
            longest: 1.0,
        };
        // Var = work·λ·E[S²]/(1−π)³ with 0.5 s of own work; κ₃/κ₂ = E[S³]/E[S²]/(1−π) + 3λE[S²]/(1−π)².
        let deviation = (0.5 * 0.025 / 0.125f64).sqrt();
        let third = 0.05 / 0.5 + 3.0 * 0.025 / 0.25;
        let expected = 0.02 + (2.0 * deviation + 0.5 * third) / 50.0;
        assert!((answers.late(0.02, &d) - expected).abs() < 1e-12);
        let capped = Disturbance { longest: 0.03, ..d };
        assert!((answers.late(0.02, &capped) - 0.03).abs() < 1e-12);
    }
}
