//! Operating points of one curve, a block of rates at a time.
//!
//! Every stage is a loop of fixed length over arrays that stay in the first-level cache, without
//! branches and calls, so that the compiler turns it into vector code. Each formula is the one that
//! [`crate::perf`] uses for a single replica, called from here; only the elementary functions
//! differ ([`super::elementary`]). A point's result does not depend on its neighbours in the block.

use crate::perf::latency::{late_tpot, late_ttft, Percentiles};
use crate::perf::queue::newton_step;
use crate::perf::step::Stretch;
use crate::points::curve::Curve;
use crate::points::elementary::{exp, ln};
use crate::tco::{usd_per_gpu_h_with_energy, usd_per_mtok_at};
use crate::workload::{NORMAL_QUANTILES, PERCENTILES};

/// Points in a block.
pub const BLOCK: usize = 64;
/// One value per point.
pub type Lanes = [f64; BLOCK];
const ZERO: Lanes = [0.0; BLOCK];
/// Weights below this count as none; their logarithm is finite.
const NO_WEIGHT: f64 = 1e-300;
/// A waiting time is found when the last step was below this part of it. Steps shrink at least
/// quadratically, so what is left is far below.
const LAST_STEP: f64 = 1e-6;
/// Most steps to a waiting time.
const MOST_STEPS: usize = 40;

/// Inputs, results and what lies between, of one block.
///
/// Above capacity there is no steady state: `stable` is 0, latencies and costs are infinite,
/// tokens are 0 and watts NaN.
#[derive(Debug, Clone)]
pub struct Block {
    /// Requests/s.
    pub rate_rps: Lanes,
    /// Price of an accelerator, USD/h.
    pub usd_per_gpu_h: Lanes,
    /// Price of energy at the IT equipment, USD/kWh.
    pub usd_per_kwh: Lanes,
    /// 1 in a steady state, 0 above capacity.
    pub stable: Lanes,
    /// Sequences in decode.
    pub concurrency: Lanes,
    /// TTFT at the percentiles wanted, s.
    pub ttft_s: [Lanes; 5],
    /// TPOT at the percentiles wanted, s.
    pub tpot_s: [Lanes; 5],
    /// Output tokens/s of the replica.
    pub output_tokens_per_s: Lanes,
    /// The same per accelerator.
    pub tokens_per_s_gpu: Lanes,
    /// IT watts drawn by the replica.
    pub watts: Lanes,
    /// USD per million output tokens.
    pub usd_per_mtok_output: Lanes,
    /// What the model sees of the rate.
    rate: Lanes,
    u: Lanes,
    share: Lanes,
    tau: Lanes,
    prompts: Term,
    slots: Term,
    wait: [Lanes; 5],
}

/// One term `weight·exp(−t/scale)` of the tail of waiting.
#[derive(Debug, Clone)]
struct Term {
    weight: Lanes,
    ln_weight: Lanes,
    scale: Lanes,
    inverse_scale: Lanes,
}

const NO_TERM: Term = Term {
    weight: ZERO,
    ln_weight: ZERO,
    scale: ZERO,
    inverse_scale: ZERO,
};

impl Default for Block {
    fn default() -> Self {
        Self {
            rate_rps: ZERO,
            usd_per_gpu_h: ZERO,
            usd_per_kwh: ZERO,
            stable: ZERO,
            concurrency: ZERO,
            ttft_s: [ZERO; 5],
            tpot_s: [ZERO; 5],
            output_tokens_per_s: ZERO,
            tokens_per_s_gpu: ZERO,
            watts: ZERO,
            usd_per_mtok_output: ZERO,
            rate: ZERO,
            u: ZERO,
            share: ZERO,
            tau: ZERO,
            prompts: NO_TERM,
            slots: NO_TERM,
            wait: [ZERO; 5],
        }
    }
}

impl Block {
    /// Everything that rates decide. The percentiles `wanted` are computed, mean and median always.
    #[inline(always)]
    pub fn operate(&mut self, curve: &Curve, wanted: Percentiles) {
        self.load(curve);
        self.decode(curve);
        self.queue(curve);
        for i in (1..5).filter(|i| *i == 1 || wanted.0[*i]) {
            waiting(
                &self.prompts,
                &self.slots,
                1.0 - PERCENTILES[i],
                &mut self.wait[i],
            );
        }
        for i in 0..5 {
            if i < 2 || wanted.0[i] {
                self.first_token(curve, i);
                self.later_tokens(curve, i);
            }
        }
        self.deliver(curve);
    }

    /// Utilisation, and what prompts leave of the time. Rates without a steady state become zero.
    #[inline(always)]
    fn load(&mut self, curve: &Curve) {
        for j in 0..BLOCK {
            let rate = self.rate_rps[j] * curve.slower;
            let (u, share) = (rate * curve.load, 1.0 - rate * curve.prompt_load);
            let stable = u < 1.0 && share > 0.0;
            self.stable[j] = if stable { 1.0 } else { 0.0 };
            self.rate[j] = if stable { rate } else { 0.0 };
            self.u[j] = if stable { u } else { 0.0 };
            self.share[j] = if stable { share } else { 1.0 };
        }
    }

    /// Sequences in decode and the time of their step.
    #[inline(always)]
    fn decode(&mut self, curve: &Curve) {
        let steps: Lanes = std::array::from_fn(|j| self.rate[j] * curve.steps / self.share[j]);
        let (mut fixed, mut slope) = ([curve.first.fixed_s; BLOCK], [curve.first.slope_s; BLOCK]);
        for change in &curve.changes[..curve.change_count] {
            for j in 0..BLOCK {
                let entered = steps[j] >= change.entered_at;
                fixed[j] += if entered { change.fixed_s } else { 0.0 };
                slope[j] += if entered { change.slope_s } else { 0.0 };
            }
        }
        for j in 0..BLOCK {
            let stretch = Stretch {
                fixed_s: fixed[j],
                slope_s: slope[j],
                ..curve.first
            };
            let n = stretch.in_steady_state(steps[j]);
            let n = if n < curve.batch { n } else { curve.batch };
            self.concurrency[j] = n;
            self.tau[j] = stretch.at(n);
        }
    }

    /// The two terms of waiting: for prompts before, and for a place in the batch.
    #[inline(always)]
    fn queue(&mut self, curve: &Curve) {
        for j in 0..BLOCK {
            let service = curve.service.at(self.tau[j]);
            let busy = self.rate[j] / curve.lanes * service;
            let stable = busy < 1.0;
            self.stable[j] = if stable { self.stable[j] } else { 0.0 };
            let busy = if stable { busy } else { 0.0 };
            let scale = curve.residual * service / (1.0 - busy);
            self.prompts.weight[j] = busy;
            self.prompts.ln_weight[j] = ln(if busy > NO_WEIGHT { busy } else { NO_WEIGHT });
            self.prompts.scale[j] = scale;
            self.prompts.inverse_scale[j] = 1.0 / if scale > NO_WEIGHT { scale } else { 1.0 };
        }
        if curve.decodes() {
            self.places(curve);
        } else {
            self.slots = NO_TERM;
        }
        for j in 0..BLOCK {
            let (p, s) = (&self.prompts, &self.slots);
            self.wait[0][j] = p.weight[j] * p.scale[j] + s.weight[j] * s.scale[j];
        }
    }

    /// Waiting for a place in the batch.
    #[inline(always)]
    fn places(&mut self, curve: &Curve) {
        for j in 0..BLOCK {
            let u = if self.u[j] > NO_WEIGHT {
                self.u[j]
            } else {
                NO_WEIGHT
            };
            let ln_weight = curve.slots_exponent * ln(u);
            let holding = curve.steps * self.tau[j] / self.share[j];
            let scale = holding / (curve.batch * (1.0 - self.u[j]));
            self.slots.weight[j] = exp(ln_weight);
            self.slots.ln_weight[j] = ln_weight;
            self.slots.scale[j] = scale;
            self.slots.inverse_scale[j] = 1.0 / if scale > NO_WEIGHT { scale } else { 1.0 };
        }
    }

    /// TTFT at percentile index `i`.
    #[inline(always)]
    fn first_token(&mut self, curve: &Curve, i: usize) {
        let own = curve.own_ttft;
        if i < 2 {
            for j in 0..BLOCK {
                self.ttft_s[i][j] = own[i].at(self.tau[j]) + self.wait[i][j];
            }
        } else {
            for j in 0..BLOCK {
                let part = |i: usize| (own[i].at(self.tau[j]), self.wait[i][j]);
                self.ttft_s[i][j] = late_ttft(part(0), part(1), part(i));
            }
        }
        for j in 0..BLOCK {
            let felt = curve.ttft_factor * self.ttft_s[i][j] + curve.round_trip_s;
            self.ttft_s[i][j] = if self.stable[j] > 0.0 {
                felt
            } else {
                f64::INFINITY
            };
        }
    }

    /// TPOT at percentile index `i`; NaN in a prefill pool.
    #[inline(always)]
    fn later_tokens(&mut self, curve: &Curve, i: usize) {
        if !curve.decodes() {
            self.tpot_s[i] = [f64::NAN; BLOCK];
            return;
        }
        for j in 0..BLOCK {
            self.tpot_s[i][j] = self.tau[j] / (curve.accepted * self.share[j]);
        }
        if i >= 2 && curve.noise_tokens > 0.0 {
            let (z, threshold) = (NORMAL_QUANTILES[i], -PERCENTILES[i].ln());
            for j in 0..BLOCK {
                let mean = self.tpot_s[i][j];
                let prompt_rate = self.rate[j] / curve.ranks;
                let met = prompt_rate * (curve.noise_tokens * mean) >= threshold;
                let hit = if met { curve.burst_s } else { 0.0 };
                let most = ((self.tau[j] + curve.chunk_s) / curve.accepted - mean).max(0.0);
                let noise = prompt_rate * curve.burst_m2;
                self.tpot_s[i][j] = late_tpot(mean, curve.noise_tokens, z, noise, hit, most);
            }
        }
        for j in 0..BLOCK {
            let felt = curve.tpot_factor * self.tpot_s[i][j];
            self.tpot_s[i][j] = if self.stable[j] > 0.0 {
                felt
            } else {
                f64::INFINITY
            };
        }
    }

    /// Tokens and watts.
    #[inline(always)]
    fn deliver(&mut self, curve: &Curve) {
        for j in 0..BLOCK {
            let n = self.concurrency[j];
            let step_share = if n > 1.0 {
                self.tau[j] / n
            } else {
                curve.alone_s
            };
            let drawn = curve.idle_w + self.rate_rps[j] * curve.energy.joules(step_share);
            let stable = self.stable[j] > 0.0;
            self.watts[j] = if stable { drawn } else { f64::NAN };
            let served = if stable { self.rate_rps[j] } else { 0.0 };
            self.output_tokens_per_s[j] = served * curve.output_tokens;
            self.tokens_per_s_gpu[j] = self.output_tokens_per_s[j] / curve.gpus;
        }
    }

    /// What prices decide; rates must have been worked out before.
    #[inline(always)]
    pub fn price(&mut self, curve: &Curve) {
        for j in 0..BLOCK {
            let watts = self.watts[j] / curve.gpus;
            let hour = usd_per_gpu_h_with_energy(self.usd_per_gpu_h[j], watts, self.usd_per_kwh[j]);
            let cost = usd_per_mtok_at(hour, self.tokens_per_s_gpu[j]);
            self.usd_per_mtok_output[j] = if self.stable[j] > 0.0 {
                cost
            } else {
                f64::INFINITY
            };
        }
    }
}

/// Smallest `t` with `P(W > t) ≤ target`, as [`crate::perf::queue::Tail::quantile`] finds it.
#[inline(always)]
fn waiting(a: &Term, b: &Term, target: f64, t: &mut Lanes) {
    let ln_target = target.ln();
    let mut moving = ZERO;
    for j in 0..BLOCK {
        let alone = |term: &Term| term.scale[j] * (term.ln_weight[j] - ln_target);
        let (one, other) = (alone(a), alone(b));
        let larger = if one > other { one } else { other };
        t[j] = if larger > 0.0 { larger } else { 0.0 };
        moving[j] = if a.weight[j] + b.weight[j] > target {
            1.0
        } else {
            0.0
        };
    }
    for _ in 0..MOST_STEPS {
        let mut any = 0.0;
        for j in 0..BLOCK {
            let x = a.weight[j] * exp(-t[j] * a.inverse_scale[j]);
            let y = b.weight[j] * exp(-t[j] * b.inverse_scale[j]);
            let slope = x * a.inverse_scale[j] + y * b.inverse_scale[j];
            let step = newton_step(x + y, slope, target) * moving[j];
            let step = if step > 0.0 { step } else { 0.0 };
            t[j] += step;
            moving[j] = if step > LAST_STEP * t[j] {
                moving[j]
            } else {
                0.0
            };
            any += moving[j];
        }
        if any == 0.0 {
            break;
        }
    }
}
