//! What of an operating point neither the rate nor the prices change.

use crate::perf::layout::Layout;
use crate::perf::prompt::{own_ttft, prompt_service, Beside, StepTime};
use crate::perf::replica::{needed_sequences, request_joules, sequences_that_fit, Replica};
use crate::perf::role::Role;
use crate::perf::step::{Stretch, STRETCHES};
use crate::points::offer::Offer;
use crate::tco::{usd_per_gpu_h_with_energy, usd_per_mtok_at};
use crate::workload::Class;

/// Halvings after which a rate is known to the last bits.
const HALVINGS: usize = 60;

/// A stretch of the step time, as changes against the stretch before it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Change {
    /// Sequences from which it holds.
    pub from: f64,
    /// Decode steps per second from which the replica runs on it.
    pub entered_at: f64,
    pub fixed_s: f64,
    pub slope_s: f64,
}

/// Operating curve of one replica serving one class: everything of its operating points that does
/// not depend on the arrival rate or on prices.
#[derive(Debug, Clone)]
pub struct Curve {
    /// Whether weights and a full batch of the longest contexts fit memory.
    pub fits: bool,
    /// Accelerators in the replica.
    pub gpus: f64,
    /// Rates that the model sees, per rate that arrives ([`crate::perf::factors`]).
    pub(super) slower: f64,
    pub(super) ttft_factor: f64,
    pub(super) tpot_factor: f64,
    /// Replica-seconds per request, before `slower`.
    pub(super) load: f64,
    /// Replica-seconds of prompts per request.
    pub(super) prompt_load: f64,
    /// What is added to that on an idle replica.
    pub(super) alone_load: f64,
    /// Decode steps per request.
    pub(super) steps: f64,
    /// Output tokens per request.
    pub(super) output_tokens: f64,
    pub(super) batch: f64,
    /// What one in decode finds of its own kind, [`Replica::met`]: its own places and a share of all.
    pub(super) own: f64,
    pub(super) others: f64,
    pub(super) changes: [Change; STRETCHES],
    pub(super) change_count: usize,
    /// Step time of few sequences.
    pub(super) first: Stretch,
    /// Prompt queues that requests spread over; infinite where none waits.
    pub(super) lanes: f64,
    pub(super) service: StepTime,
    /// `E[S²]/(2·E[S]²)` of a prompt.
    pub(super) residual: f64,
    /// `E[O²]/E[O]²` of the answer.
    pub(super) output_spread: f64,
    pub(super) own_ttft: [StepTime; 5],
    pub(super) round_trip_s: f64,
    pub(super) accepted: f64,
    /// Tokens after the first, at the mean and the percentiles.
    pub(super) later_tokens: [f64; 5],
    /// Tokens over which disturbances average out, at the percentiles.
    pub(super) noise_tokens: [f64; 5],
    /// How long a prompt holds its lane, s, beside a full batch and what is added alone, at the percentiles.
    pub(super) prompt_s: [[f64; 2]; 5],
    /// Most time that a chunk of prompt adds to a step, s.
    pub(super) chunk_s: f64,
    /// Lanes that prompts interrupt.
    pub(super) decode_lanes: f64,
    /// `E[L²]/E[L]²` of the prompt.
    pub(super) spread: f64,
    /// Watts without a request.
    pub(super) idle_w: f64,
    /// Watts that are added as soon as there is always one in flight.
    pub(super) floor_w: f64,
    /// Joules of a request above both.
    pub(super) request_j: f64,
    pub(super) role: Role,
}

impl Curve {
    /// Curve of class `k` on a replica, `round_trip_s` away from its users.
    pub fn new(
        layout: &Layout,
        replica: &Replica,
        class: &Class,
        k: usize,
        round_trip_s: f64,
    ) -> Self {
        let times = &replica.classes[k];
        let work = &replica.work[k];
        let decodes = replica.role.decodes();
        let (changes, change_count) = changes(replica, times.attention_s);
        let fits = sequences_that_fit(layout, work.kv_max_bytes)
            >= needed_sequences(layout, replica.batch as u32);
        Self {
            fits,
            gpus: f64::from(layout.parallel.gpus()),
            slower: replica.load_factor(),
            ttft_factor: replica.factors.ttft,
            tpot_factor: replica.factors.tpot,
            load: times.load,
            prompt_load: times.prompt_load,
            alone_load: times.alone_load,
            steps: if decodes { times.steps } else { 0.0 },
            output_tokens: class.output.at[0],
            batch: replica.batch,
            own: replica.own(),
            others: replica.others(),
            changes,
            change_count,
            first: replica.tau_stretch(0, times.attention_s),
            lanes: match replica.role {
                Role::Decode(_) => f64::INFINITY,
                _ => replica.lanes(),
            },
            service: prompt_service(replica, k),
            residual: 0.5 * work.spread,
            output_spread: work.output_spread,
            own_ttft: std::array::from_fn(|i| own_ttft(replica, k, i)),
            round_trip_s,
            accepted: replica.step.accepted,
            noise_tokens: work.noise_tokens,
            prompt_s: std::array::from_fn(|i| [times.prompt_s[i], times.alone_s[i]]),
            chunk_s: replica.chunk_s,
            decode_lanes: replica.lanes(),
            spread: work.spread,
            idle_w: layout.idle_w(),
            floor_w: layout.standing_w() - layout.idle_w(),
            later_tokens: work.later_tokens,
            request_j: request_joules(layout, replica, k),
            role: replica.role,
        }
    }

    /// Mean output tokens of a request.
    pub fn output_tokens_per_request(&self) -> f64 {
        self.output_tokens
    }

    /// Requests/s at which the replica is full; a utilisation is a share of it.
    pub fn full_rate(&self) -> f64 {
        1.0 / (self.slower * self.load)
    }

    /// A bound from below on USD per million output tokens at this and every lower rate: watts without
    /// the floor of decode.
    #[inline(always)]
    pub(super) fn least_cost(&self, rate: f64, offer: &Offer) -> f64 {
        let watts = self.idle_w + rate * self.request_j;
        let per_gpu = 1.0 / self.gpus;
        let (price, tariff) = (offer.usd_per_gpu_h, offer.usd_per_kwh);
        let hour = usd_per_gpu_h_with_energy(price, watts * per_gpu, tariff);
        usd_per_mtok_at(hour, rate * self.output_tokens * per_gpu)
    }

    /// A bound from below on TTFT at percentile index `i` at every rate, s: what a request takes that
    /// meets no other.
    pub(super) fn least_ttft(&self, i: usize) -> f64 {
        let quickest = Beside::between(0.0, 1.0);
        let own = self.own_ttft[i].at(self.first.fixed_s, quickest);
        self.ttft_factor * own + self.round_trip_s
    }

    /// A bound from below on TPOT at every rate, s.
    pub(super) fn least_tpot(&self) -> f64 {
        self.tpot_factor * self.first.fixed_s / self.accepted
    }

    /// Requests/s at which `n` sequences are in decode on average, by Little's law; NaN in a
    /// prefill pool, where none are.
    pub fn rate_at_concurrency(&self, n: f64) -> f64 {
        let per_second = n / self.step_s(self.own + n * self.others);
        let wanted = |rate: f64| {
            let beside = Beside::at((rate * self.load).min(1.0));
            let prompts = beside.time(self.prompt_load, self.alone_load);
            per_second / (self.steps + per_second * prompts)
        };
        // Prompts take less time each as the load grows: between all and nothing of what is added.
        let (mut low, mut high) = (0.0, wanted(f64::INFINITY).max(wanted(0.0)));
        for _ in 0..HALVINGS {
            let middle = 0.5 * (low + high);
            if wanted(middle) > middle {
                low = middle;
            } else {
                high = middle;
            }
        }
        0.5 * (low + high) / self.slower
    }

    /// `τ(n)`, s.
    fn step_s(&self, n: f64) -> f64 {
        let passed = self.changes[..self.change_count]
            .iter()
            .filter(|c| c.from <= n);
        let here = passed.fold(self.first, |s, c| Stretch {
            fixed_s: s.fixed_s + c.fixed_s,
            slope_s: s.slope_s + c.slope_s,
            ..s
        });
        here.at(n)
    }
}

/// Changes of the step time from stretch to stretch up to a full batch, and their number.
///
/// One in decode finds `m = own + y·τ(m)` sequences at `y` steps per second, so those have reached the
/// start `m_i` of a stretch when `y ≥ (m_i − own)/τ(m_i)`. Should that not rise from stretch to stretch,
/// the largest root counts: a stretch is reached as soon as any later one is.
fn changes(replica: &Replica, attention_s: f64) -> ([Change; STRETCHES], usize) {
    let count = replica.stretch_of(replica.batch);
    let mut changes = [Change::default(); STRETCHES];
    let mut before = replica.tau_stretch(0, attention_s);
    for (i, change) in changes[..count].iter_mut().enumerate() {
        let here = replica.tau_stretch(i + 1, attention_s);
        *change = Change {
            from: here.from,
            entered_at: (here.from - replica.own()).max(0.0) / here.at(here.from),
            fixed_s: here.fixed_s - before.fixed_s,
            slope_s: here.slope_s - before.slope_s,
        };
        before = here;
    }
    for i in (1..count).rev() {
        changes[i - 1].entered_at = changes[i - 1].entered_at.min(changes[i].entered_at);
    }
    (changes, count)
}
