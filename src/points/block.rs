//! Operating points of one curve, a block of rates at a time.
//!
//! Every stage is a loop of fixed length over arrays that stay in the first-level cache, without
//! branches and calls, so that the compiler turns it into vector code. Each formula is the one that
//! [`crate::perf`] uses for a single replica, called from here; only the elementary functions
//! differ ([`super::elementary`]). A point's result does not depend on its neighbours in the block.

// Loops run over many arrays of a block at once, by one index.
#![allow(clippy::needless_range_loop)]

use crate::perf::late::{late_ttft, median_ttft, narrow_tail, stretched_steps};
use crate::perf::late::{Answers, Disturbance, Shared};
use crate::perf::latency::{crowd_spread, uneven_load, Percentiles};
use crate::perf::prompt::Beside;
use crate::perf::queue::{fall_to_full, over_a_step, queue_stretch, some_taken, taken_after};
use crate::perf::step::Stretch;
use crate::points::curve::{Change, Curve};
use crate::points::elementary::{exp, ln, ln_nearly};
use crate::points::lanes::{Lanes, BLOCK, ZERO};
use crate::points::waiting::{waiting, Term, NO_TERM};
use crate::tco::{usd_per_gpu_h_with_energy, usd_per_mtok_at};
use crate::workload::{NORMAL_QUANTILES, PERCENTILES};

/// Weights below this count as none; their logarithm is finite.
const NO_WEIGHT: f64 = 1e-300;
/// Percentiles that are worked out; the median always is.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Of TTFT.
    pub ttft: Percentiles,
    /// Of TPOT.
    pub tpot: Percentiles,
}

impl Wanted {
    /// The same of both.
    pub const fn both(percentiles: Percentiles) -> Self {
        Self {
            ttft: percentiles,
            tpot: percentiles,
        }
    }
}

/// Inputs, results and what lies between, of one block.
///
/// Above capacity there is no steady state: `stable` is 0, latencies and costs are infinite,
/// tokens are 0 and watts NaN.
#[derive(Debug, Clone)]
pub struct Block {
    /// Requests/s.
    pub rate_rps: Lanes,
    /// Rates between which prompts are taken to run.
    pub beside_low: Lanes,
    /// The higher of them.
    pub beside_high: Lanes,
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
    /// What prompts find beside them.
    beside: [Lanes; 2],
    u: Lanes,
    /// `1/(1 − u)`.
    idle: Lanes,
    /// Places taken, those of prompts included.
    held: Lanes,
    share: Lanes,
    /// One over the share.
    stretch: Lanes,
    tau: Lanes,
    /// How long a prompt holds its lane, s.
    service: Lanes,
    prompts: Term,
    slots: Term,
    wait: [Lanes; 5],
    /// Time per output token of the mean answer, s.
    tpot: Lanes,
}

impl Default for Block {
    fn default() -> Self {
        Self {
            rate_rps: ZERO,
            beside_low: ZERO,
            beside_high: ZERO,
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
            beside: [ZERO; 2],
            u: ZERO,
            idle: ZERO,
            held: ZERO,
            share: ZERO,
            stretch: ZERO,
            tau: ZERO,
            service: ZERO,
            prompts: NO_TERM,
            slots: NO_TERM,
            wait: [ZERO; 5],
            tpot: ZERO,
        }
    }
}

impl Block {
    /// Everything that rates decide. The percentiles `wanted` are computed, and the
    /// median always; the mean of TPOT is its median.
    #[inline(always)]
    pub fn operate(&mut self, curve: &Curve, wanted: Wanted) {
        for j in 0..BLOCK {
            self.beside_low[j] = self.rate_rps[j];
            self.beside_high[j] = self.rate_rps[j];
        }
        self.operate_beside(curve, wanted);
    }

    /// [`Self::operate`], but prompts take the least time that any rate from `beside_low` to
    /// `beside_high` gives them. With those two around the rate, latencies are bounds from below on
    /// those of every rate from this one to the higher.
    #[inline(always)]
    pub fn operate_beside(&mut self, curve: &Curve, wanted: Wanted) {
        self.load(curve);
        self.decode(curve);
        self.queue(curve);
        for i in (1..5).filter(|i| *i == 1 || wanted.ttft.0[*i]) {
            let target = 1.0 - PERCENTILES[i];
            self.wait[i] = waiting(&self.prompts, &self.slots, target);
            let ln_target = target.ln();
            for j in 0..BLOCK {
                self.wait[i][j] -= self.over_a_step(curve, j, self.queued(j, ln_target));
            }
        }
        self.mean_tpot(curve);
        for i in (0..5).filter(|i| *i == 1 || wanted.ttft.0[*i]) {
            self.first_token(curve, i);
        }
        for i in (0..5).filter(|i| *i == 1 || wanted.tpot.0[*i]) {
            self.later_tokens(curve, i);
        }
        self.deliver(curve);
    }

    /// What prompts of point `j` find beside them.
    #[inline(always)]
    fn beside(&self, j: usize) -> Beside {
        Beside {
            slower: self.beside[0][j],
            faster: self.beside[1][j],
        }
    }

    /// Utilisation, and what prompts leave of the time. Rates without a steady state become zero.
    #[inline(always)]
    fn load(&mut self, curve: &Curve) {
        let full = curve.slower * curve.load;
        let below_full = |rate: f64| if rate * full < 1.0 { rate * full } else { 1.0 };
        for j in 0..BLOCK {
            let (low, high) = (self.beside_low[j], self.beside_high[j]);
            let beside = Beside::between(below_full(low), below_full(high));
            (self.beside[0][j], self.beside[1][j]) = (beside.slower, beside.faster);
            let rate = self.rate_rps[j] * curve.slower;
            let u = rate * curve.load;
            let prompts = beside.time(curve.prompt_load, curve.alone_load);
            let share = 1.0 - rate * prompts;
            let stable = u < 1.0 && share > 0.0;
            self.stable[j] = if stable { 1.0 } else { 0.0 };
            self.rate[j] = if stable { rate } else { 0.0 };
            self.u[j] = if stable { u } else { 0.0 };
            let share = if stable { share } else { 1.0 };
            self.share[j] = share;
            self.stretch[j] = 1.0 / share;
        }
    }

    /// Sequences in decode and the time of their step.
    #[inline(always)]
    fn decode(&mut self, curve: &Curve) {
        let (mut steps, mut by_others) = (ZERO, ZERO);
        for j in 0..BLOCK {
            steps[j] = self.rate[j] * curve.steps * self.stretch[j];
            by_others[j] = steps[j] * curve.others;
        }
        let (fixed, slope) = on_stretch(curve, &by_others, |change| change.entered_at);
        for j in 0..BLOCK {
            let stretch = Stretch {
                fixed_s: fixed[j],
                slope_s: slope[j],
                ..curve.first
            };
            let met = stretch.in_steady_state(curve.own, by_others[j]);
            let met = if met < curve.batch { met } else { curve.batch };
            let tau = stretch.at(met);
            let n = steps[j] * tau;
            self.concurrency[j] = if n < curve.batch { n } else { curve.batch };
            self.tau[j] = tau;
        }
    }

    /// The two terms of waiting: for prompts before, and for a place in the batch.
    #[inline(always)]
    fn queue(&mut self, curve: &Curve) {
        let shares = curve.role.shares_steps();
        for j in 0..BLOCK {
            let service = curve.service.at(self.tau[j], self.beside(j));
            self.service[j] = service;
            let busy = self.rate[j] * (1.0 / curve.lanes) * service;
            let stable = busy < 1.0;
            self.stable[j] = if stable { self.stable[j] } else { 0.0 };
            let busy = if stable { busy } else { 0.0 };
            self.prompts.weight[j] = busy;
            self.prompts.ln_weight[j] = ln(if busy > NO_WEIGHT { busy } else { NO_WEIGHT });
            let stretch = queue_stretch(busy, shares);
            self.prompts
                .scale(j, curve.residual * service * stretch, 1.0);
        }
        if curve.role.decodes() {
            self.places(curve);
        } else {
            self.slots = NO_TERM;
        }
        for j in 0..BLOCK {
            let (p, s) = (&self.prompts, &self.slots);
            self.wait[0][j] = p.weight[j] * p.scale[j] + s.weight[j] * s.scale[j];
        }
        for j in 0..BLOCK {
            let mean = self.prompts.weight[j] * self.prompts.scale[j];
            self.wait[0][j] -= self.over_a_step(curve, j, mean);
        }
    }

    /// Waiting of point `j` for the prompts ahead that a share of prompts exceeds, s.
    #[inline(always)]
    fn queued(&self, j: usize, ln_share: f64) -> f64 {
        let queued = self.prompts.scale[j] * (self.prompts.ln_weight[j] - ln_share);
        if queued > 0.0 {
            queued
        } else {
            0.0
        }
    }

    /// How much of that one step cannot hold, s.
    #[inline(always)]
    fn over_a_step(&self, curve: &Curve, j: usize, queued: f64) -> f64 {
        if curve.role.shares_steps() {
            over_a_step(queued, self.prompts.weight[j], curve.chunk_s)
        } else {
            0.0
        }
    }

    /// Waiting for a place in the batch. Short loops: a long chain of dependent operations would keep
    /// the processor waiting for itself.
    #[inline(always)]
    fn places(&mut self, curve: &Curve) {
        let (mut n, mut u, mut ln_u) = (ZERO, ZERO, ZERO);
        let (mut times, mut ln_times) = (ZERO, ZERO);
        for j in 0..BLOCK {
            let held = self.concurrency[j] + self.prompts.weight[j] * curve.decode_lanes;
            self.held[j] = held;
            (u[j], n[j]) = some_taken(curve.batch, held, self.u[j]);
            ln_u[j] = ln(u[j]);
        }
        for j in 0..BLOCK {
            times[j] = curve.batch / n[j];
            ln_times[j] = ln(times[j]);
        }
        let (mut fall, mut exp_fall) = (ZERO, ZERO);
        for j in 0..BLOCK {
            let prompts = 1.0 - self.share[j];
            let logarithms = (ln_times[j], ln_u[j]);
            fall[j] = fall_to_full(curve.batch, (n[j], times[j]), u[j], prompts, logarithms);
        }
        for j in 0..BLOCK {
            exp_fall[j] = exp(fall[j]);
        }
        for j in 0..BLOCK {
            let taken = taken_after(fall[j], exp_fall[j], self.held[j], u[j], ln_u[j]);
            self.slots.weight[j] = taken;
            let uneven = uneven_load(curve.load, curve.output_spread, 1.0 - self.share[j]);
            self.idle[j] = self.slots.scale(j, uneven, 1.0 - self.u[j]);
        }
        for j in 0..BLOCK {
            let taken = self.slots.weight[j];
            self.slots.ln_weight[j] = ln_nearly(if taken > NO_WEIGHT { taken } else { NO_WEIGHT });
        }
    }

    /// TTFT at percentile index `i`.
    #[inline(always)]
    fn first_token(&mut self, curve: &Curve, i: usize) {
        let (mut ttft, wait) = (ZERO, self.wait[i]);
        let own_ttft = [0, 1, 2, i].map(|i| curve.own_ttft[i]);
        // Prompts and decode share steps, or not at all.
        let (shares, part) = if curve.role.shares_steps() {
            (1.0, narrow_tail(i, curve.spread))
        } else {
            (0.0, 1.0)
        };
        let own = |block: &Self, j: usize, i: usize| {
            let stretched = stretched_steps(block.tau[j], block.stretch[j]);
            own_ttft[i].at(block.tau[j], block.beside(j)) + shares * stretched
        };
        // A loop for each form: inside one loop all forms would be worked out.
        match i {
            0 => {
                for j in 0..BLOCK {
                    ttft[j] = own(self, j, 0) + wait[j];
                }
            }
            1 => {
                for j in 0..BLOCK {
                    let p90 = own(self, j, 2);
                    ttft[j] = median_ttft((own(self, j, 1), wait[j]), p90, self.wait[0][j]);
                }
            }
            _ => {
                for j in 0..BLOCK {
                    let mean = (own(self, j, 0), self.wait[0][j]);
                    let median = (own(self, j, 1), self.wait[1][j]);
                    let step_s = shares * self.tau[j] * self.stretch[j];
                    let noise = self.noise(curve, j);
                    let shared = Shared {
                        part,
                        ..Shared::at(i, step_s, noise, curve.spread)
                    };
                    ttft[j] = late_ttft(mean, median, (own(self, j, 3), wait[j]), &shared);
                }
            }
        }
        for j in 0..BLOCK {
            let felt = curve.ttft_factor * ttft[j] + curve.round_trip_s;
            ttft[j] = if self.stable[j] > 0.0 {
                felt
            } else {
                f64::INFINITY
            };
        }
        self.ttft_s[i] = ttft;
    }

    /// TPOT of the mean answer before the factor of the layout.
    #[inline(always)]
    fn mean_tpot(&mut self, curve: &Curve) {
        if curve.later_tokens[0] > 0.0 {
            for j in 0..BLOCK {
                let (p, held) = (&self.prompts, self.service[j]);
                let queued = p.weight[j] * p.scale[j];
                let queued = queued - self.over_a_step(curve, j, queued);
                self.tpot[j] = self.answer(curve, j, 0).mean(held + queued);
            }
        } else {
            for j in 0..BLOCK {
                self.tpot[j] = self.tau[j] * self.stretch[j] * (1.0 / curve.accepted);
            }
        }
    }

    /// TPOT at percentile index `i`; NaN in a prefill pool.
    #[inline(always)]
    fn later_tokens(&mut self, curve: &Curve, i: usize) {
        if !curve.role.decodes() {
            self.tpot_s[i] = [f64::NAN; BLOCK];
            return;
        }
        let mut tpot = self.tpot;
        if i > 1 && curve.later_tokens[0] > 0.0 {
            self.late_answers(curve, i, &mut tpot);
        }
        for j in 0..BLOCK {
            let felt = curve.tpot_factor * tpot[j];
            tpot[j] = if self.stable[j] > 0.0 {
                felt
            } else {
                f64::INFINITY
            };
        }
        self.tpot_s[i] = tpot;
    }

    /// How long a prompt of point `j` holds up decode on its lane, s.
    #[inline(always)]
    fn burst(&self, curve: &Curve, j: usize) -> f64 {
        let load = self.beside(j).time(curve.prompt_load, curve.alone_load);
        curve.decode_lanes * load
    }

    /// `rate·E[size²]` of the prompts on a lane of point `j`, s.
    #[inline(always)]
    fn noise(&self, curve: &Curve, j: usize) -> f64 {
        let burst = self.burst(curve, j);
        self.rate[j] * (1.0 / curve.decode_lanes) * burst * burst * curve.spread
    }

    /// Decode of the answers of point `j`, of more than one token, at percentile index `i`.
    #[inline(always)]
    fn answer(&self, curve: &Curve, j: usize, i: usize) -> Answers {
        Answers {
            share: self.share[j],
            stretch: self.stretch[j],
            steady: self.tau[j] * self.stretch[j] * (1.0 / curve.accepted),
            later_tokens: curve.later_tokens[0],
            noise_tokens: curve.noise_tokens[i],
        }
    }

    /// From TPOT of the mean answer that at percentile index `i`, for answers of more than one token.
    #[inline(always)]
    fn late_answers(&self, curve: &Curve, i: usize, tpot: &mut Lanes) {
        let (z, threshold) = (NORMAL_QUANTILES[i], -PERCENTILES[i].ln());
        let ln_target = (1.0 - PERCENTILES[i]).ln();
        let crowded = self.crowded(curve, z);
        let (skew, shares) = (curve.spread * curve.spread, curve.role.shares_steps());
        let ([at_mean, alone_mean], [at_late, alone_late]) = (curve.prompt_s[0], curve.prompt_s[i]);
        for j in 0..BLOCK {
            let (p, crowded_s) = (&self.prompts, crowded[j]);
            let answer = self.answer(curve, j, i);
            let rate = self.rate[j] * (1.0 / curve.decode_lanes);
            let burst = self.burst(curve, j);
            let met = rate * (curve.noise_tokens[i] * answer.steady) >= threshold;
            let hit = if met { burst } else { 0.0 };
            let beside = self.beside(j);
            let longer = beside.time(at_late, alone_late) - beside.time(at_mean, alone_mean);
            let longer = if shares && longer > 0.0 { longer } else { 0.0 };
            let (queued, mean) = (self.queued(j, ln_target), p.weight[j] * p.scale[j]);
            let [queued, mean] = [queued, mean].map(|q| q - self.over_a_step(curve, j, q));
            let backlog = queued - mean;
            let d = Disturbance {
                z,
                noise: self.noise(curve, j),
                hit,
                hit_skew: hit * skew,
                backlog: if backlog > 0.0 { backlog } else { 0.0 },
                own: longer,
                crowded: crowded_s * self.stretch[j] * (1.0 / curve.accepted),
                longest: (crowded_s + curve.chunk_s) * (1.0 / curve.accepted),
            };
            tpot[j] = answer.late(tpot[j], &d);
        }
    }

    /// Step time of as many sequences as there are at the normal quantile `z`, s.
    #[inline(always)]
    fn crowded(&self, curve: &Curve, z: f64) -> Lanes {
        let mut n = ZERO;
        for j in 0..BLOCK {
            let most = self.u[j] * curve.batch;
            let mean = self.concurrency[j];
            let mean = if mean < most { mean } else { most };
            let many = mean + z * crowd_spread(curve.batch, mean, self.idle[j]);
            let many = if many < curve.batch {
                many
            } else {
                curve.batch
            };
            let least = self.concurrency[j];
            let many = if many > least { many } else { least };
            n[j] = curve.own + many * curve.others;
        }
        let (fixed, slope) = on_stretch(curve, &n, |change| change.from);
        for j in 0..BLOCK {
            let stretch = Stretch {
                fixed_s: fixed[j],
                slope_s: slope[j],
                ..curve.first
            };
            n[j] = stretch.at(n[j]);
        }
        n
    }

    /// Tokens and watts.
    #[inline(always)]
    fn deliver(&mut self, curve: &Curve) {
        for j in 0..BLOCK {
            let n = self.concurrency[j];
            let decoding = if n < 1.0 { n } else { 1.0 };
            let standing = curve.idle_w + decoding * curve.floor_w;
            let drawn = standing + self.rate_rps[j] * curve.request_j;
            let stable = self.stable[j] > 0.0;
            self.watts[j] = if stable { drawn } else { f64::NAN };
            let served = if stable { self.rate_rps[j] } else { 0.0 };
            self.output_tokens_per_s[j] = served * curve.output_tokens;
            self.tokens_per_s_gpu[j] = self.output_tokens_per_s[j] * (1.0 / curve.gpus);
        }
    }

    /// What prices decide; rates must have been worked out before.
    #[inline(always)]
    pub fn price(&mut self, curve: &Curve) {
        for j in 0..BLOCK {
            self.usd_per_mtok_output[j] = priced(
                curve,
                (self.usd_per_gpu_h[j], self.usd_per_kwh[j]),
                self.watts[j],
                self.tokens_per_s_gpu[j],
                self.stable[j] > 0.0,
            );
        }
    }
}

/// USD per million output tokens at prices of an accelerator-hour and of a kWh.
#[inline(always)]
pub fn priced(
    curve: &Curve,
    (usd_per_gpu_h, usd_per_kwh): (f64, f64),
    watts: f64,
    tokens_per_s_gpu: f64,
    stable: bool,
) -> f64 {
    let watts_gpu = watts * (1.0 / curve.gpus);
    let hour = usd_per_gpu_h_with_energy(usd_per_gpu_h, watts_gpu, usd_per_kwh);
    let cost = usd_per_mtok_at(hour, tokens_per_s_gpu);
    if stable {
        cost
    } else {
        f64::INFINITY
    }
}

/// The stretch of the step time that each value falls on: its fixed part and its slope. A change
/// counts from where `from` says.
#[inline(always)]
fn on_stretch(curve: &Curve, values: &Lanes, from: impl Fn(&Change) -> f64) -> (Lanes, Lanes) {
    let (mut least, mut most) = (u64::MAX, 0);
    for value in values {
        // Bits of numbers that are not negative are ordered as the numbers are.
        least = least.min(value.to_bits());
        most = most.max(value.to_bits());
    }
    let (least, most) = (f64::from_bits(least), f64::from_bits(most));
    let (mut fixed, mut slope) = (curve.first.fixed_s, curve.first.slope_s);
    let changes = &curve.changes[..curve.change_count];
    let all = changes.iter().take_while(|c| from(c) <= least).count();
    for change in &changes[..all] {
        fixed += change.fixed_s;
        slope += change.slope_s;
    }
    let (mut fixed, mut slope) = ([fixed; BLOCK], [slope; BLOCK]);
    for change in changes[all..].iter().take_while(|c| from(c) <= most) {
        let (at, fixed_s, slope_s) = (from(change), change.fixed_s, change.slope_s);
        for j in 0..BLOCK {
            fixed[j] += if values[j] >= at { fixed_s } else { 0.0 };
            slope[j] += if values[j] >= at { slope_s } else { 0.0 };
        }
    }
    (fixed, slope)
}
