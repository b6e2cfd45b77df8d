//! Operating points of one curve, a block of rates at a time.
//!
//! Every stage is a loop of fixed length over arrays that stay in the first-level cache, without
//! branches and calls, so that the compiler turns it into vector code. Each formula is the one that
//! [`crate::perf`] uses for a single replica, called from here; only the elementary functions
//! differ ([`super::elementary`]). A point's result does not depend on its neighbours in the block.

use crate::perf::late::{late_ttft, median_ttft, Answers, Disturbance};
use crate::perf::latency::{crowd_spread, uneven_load, Percentiles};
use crate::perf::prompt::Beside;
use crate::perf::queue::{all_slots_taken, newton_step};
use crate::perf::step::Stretch;
use crate::points::curve::Curve;
use crate::points::elementary::{exp, ln, Vectors};
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
    /// How long a prompt holds its lane, s.
    service: Lanes,
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
            service: ZERO,
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
            let u = rate * curve.load;
            let prompts = Beside::at(u).time(curve.prompt_load, curve.alone_load);
            let share = 1.0 - rate * prompts;
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
            let service = curve.service.at(self.tau[j], Beside::at(self.u[j]));
            self.service[j] = service;
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
            let (u, prompts) = (self.u[j], 1.0 - self.share[j]);
            let held = self.concurrency[j] + self.prompts.weight[j] * curve.decode_lanes;
            let taken = all_slots_taken::<Vectors>(curve.batch, held, u, prompts);
            let scale = uneven_load(curve.load, curve.output_spread, prompts) / (1.0 - u);
            self.slots.weight[j] = taken;
            self.slots.ln_weight[j] = ln(if taken > NO_WEIGHT { taken } else { NO_WEIGHT });
            self.slots.scale[j] = scale;
            self.slots.inverse_scale[j] = 1.0 / if scale > NO_WEIGHT { scale } else { 1.0 };
        }
    }

    /// TTFT at percentile index `i`.
    #[inline(always)]
    fn first_token(&mut self, curve: &Curve, i: usize) {
        for j in 0..BLOCK {
            let own = |i: usize| curve.own_ttft[i].at(self.tau[j], Beside::at(self.u[j]));
            let part = |i: usize| (own(i), self.wait[i][j]);
            self.ttft_s[i][j] = match i {
                0 => own(0) + self.wait[0][j],
                1 => median_ttft(part(1), own(2), self.wait[0][j]),
                _ => late_ttft(part(0), part(1), part(i)),
            };
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
        if curve.later_tokens > 0.0 {
            self.answers(curve, i);
        } else {
            for j in 0..BLOCK {
                self.tpot_s[i][j] = self.tau[j] / (curve.accepted * self.share[j]);
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

    /// TPOT of answers of more than one token.
    #[inline(always)]
    fn answers(&mut self, curve: &Curve, i: usize) {
        let answers = |share: f64, tau: f64| Answers {
            share,
            steady: tau / (curve.accepted * share),
            later_tokens: curve.later_tokens,
            noise_tokens: curve.noise_tokens,
        };
        for j in 0..BLOCK {
            let (p, held) = (&self.prompts, self.service[j]);
            let queued = p.weight[j] * p.scale[j];
            self.tpot_s[i][j] = answers(self.share[j], self.tau[j]).mean(held + queued);
        }
        if i < 2 {
            return;
        }
        let (z, threshold) = (NORMAL_QUANTILES[i], -PERCENTILES[i].ln());
        let ln_target = (1.0 - PERCENTILES[i]).ln();
        let crowded = self.crowded(curve, z);
        for (j, crowded_s) in crowded.into_iter().enumerate() {
            let (share, p) = (self.share[j], &self.prompts);
            let answers = answers(share, self.tau[j]);
            let rate = self.rate[j] / curve.decode_lanes;
            let beside = Beside::at(self.u[j]);
            let load = beside.time(curve.prompt_load, curve.alone_load);
            let burst = curve.decode_lanes * load;
            let met = rate * (curve.noise_tokens * answers.steady) >= threshold;
            let queued = (p.scale[j] * (p.ln_weight[j] - ln_target)).max(0.0);
            let d = Disturbance {
                z,
                noise: rate * burst * burst * curve.spread,
                hit: if met { burst } else { 0.0 },
                backlog: (queued - p.weight[j] * p.scale[j]).max(0.0),
                crowded: crowded_s / (curve.accepted * share),
                longest: (crowded_s + curve.chunk_s) / curve.accepted,
            };
            self.tpot_s[i][j] = answers.late(self.tpot_s[i][j], &d);
        }
    }

    /// Step time of as many sequences as there are at the normal quantile `z`, s.
    #[inline(always)]
    fn crowded(&self, curve: &Curve, z: f64) -> Lanes {
        let n: Lanes = std::array::from_fn(|j| {
            let most = self.u[j] * curve.batch;
            let mean = if self.concurrency[j] < most {
                self.concurrency[j]
            } else {
                most
            };
            let many = mean + z * crowd_spread(curve.batch, mean, self.u[j]);
            let many = if many < curve.batch {
                many
            } else {
                curve.batch
            };
            many.max(self.concurrency[j])
        });
        let (mut fixed, mut slope) = ([curve.first.fixed_s; BLOCK], [curve.first.slope_s; BLOCK]);
        for change in &curve.changes[..curve.change_count] {
            for j in 0..BLOCK {
                let here = n[j] >= change.from;
                fixed[j] += if here { change.fixed_s } else { 0.0 };
                slope[j] += if here { change.slope_s } else { 0.0 };
            }
        }
        std::array::from_fn(|j| {
            let stretch = Stretch {
                fixed_s: fixed[j],
                slope_s: slope[j],
                ..curve.first
            };
            stretch.at(n[j])
        })
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
            let (gpu_h, kwh) = (self.usd_per_gpu_h[j], self.usd_per_kwh[j]);
            self.usd_per_mtok_output[j] = self.cost_at(curve, j, gpu_h, kwh);
        }
    }

    /// USD per million output tokens of point `j` at other prices.
    #[inline(always)]
    pub fn cost_at(&self, curve: &Curve, j: usize, usd_per_gpu_h: f64, usd_per_kwh: f64) -> f64 {
        let watts = self.watts[j] * curve.per_gpu;
        let hour = usd_per_gpu_h_with_energy(usd_per_gpu_h, watts, usd_per_kwh);
        let cost = usd_per_mtok_at(hour, self.tokens_per_s_gpu[j]);
        if self.stable[j] > 0.0 {
            cost
        } else {
            f64::INFINITY
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
