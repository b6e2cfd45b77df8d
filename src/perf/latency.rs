//! Open-loop latency of a replica.
//!
//! [`Pressure`] is what requests feel: concurrency, share of time taken by prompts, the prompt
//! queue, the batch slots. It is computed two ways by the same formulas: for a given mix of rates
//! ([`Pressure::of_mix`]), and as the worst over every mix at a utilisation `u`
//! ([`Pressure::of_any_mix`]). Rates enter each quantity linearly over linearly, so over the simplex
//! `Σ f_k·load_k = u` each is largest at a corner, where one class takes all; latency rises in each
//! of them, so holding a limit under the worst of all holds it for every mix.

use crate::perf::among::{Among, Calmer};
use crate::perf::late::{late_ttft, median_ttft, stretched_steps, Answers, Disturbance, Shared};
use crate::perf::prompt::{most_up_to, own_ttft, prompt_service, Beside};
use crate::perf::queue::{all_slots_taken, over_a_step, queue_stretch, Tail};
use crate::perf::replica::{ClassTimes, Replica};
use crate::workload::{Admitted, Class, Mix, MAX_CLASSES, NORMAL_QUANTILES, PERCENTILES};

/// Latency of every class at the percentiles, s.
#[derive(Debug, Clone, Copy)]
pub struct Latency {
    /// Time to first token; for a pool of one role, its part of it.
    pub ttft: [[f64; 5]; MAX_CLASSES],
    /// Time per output token.
    pub tpot: [[f64; 5]; MAX_CLASSES],
    /// Sequences in decode.
    pub concurrency: f64,
}

/// State of a replica that every request on it feels.
#[derive(Debug, Clone)]
pub struct Pressure {
    n: f64,
    tau: f64,
    /// Decode steps with as many sequences as there are at the percentiles, s.
    tau_at: [f64; 5],
    /// Decode steps per second of time, as a share of what they would be without prompts.
    decode_share: f64,
    /// Share of the prompts on a lane that a request there meets: its own is not among them.
    met: f64,
    /// `decode_share` as a request in decode finds it.
    share_met: f64,
    beside: Beside,
    /// Waiting for the prompts ahead.
    queue: Tail,
    /// The same at the percentiles asked for, s.
    queued: [f64; 5],
    /// Waiting for those and for a place in the batch, at the percentiles asked for, s.
    wait: [f64; 5],
    /// Prompts per second and class that interrupt a lane's decode.
    prompt_rate: [f64; MAX_CLASSES],
    /// `Σ rate·E[size²]` of those prompts, s.
    prompt_noise: f64,
    /// `E[L²]/E[L]²` of those prompts, of the class where it is largest.
    spread: f64,
    /// Variance of how many of them come while an answer runs, as a share of Poisson's.
    irregular: f64,
    /// How far prompts come together, [`Among::herds`], and how they wait, [`Among::in_herds`].
    herds: (f64, f64),
    /// Most prompts that a step holds, s; infinite where that is not counted on.
    chunk_s: f64,
}

/// Percentile indices for which waiting times are wanted; mean and median always are.
#[derive(Debug, Clone, Copy)]
pub struct Percentiles(pub [bool; 5]);

impl Percentiles {
    /// Every percentile.
    pub const ALL: Self = Self([true; 5]);
    /// None: waiting times are left out.
    pub const NONE: Self = Self([false; 5]);
}

/// Mean number of events of which at most `1−p` of requests see none, `−ln p`, by percentile index.
const UNMET: [f64; 5] = [
    f64::NAN,
    std::f64::consts::LN_2,
    0.105_360_515_657_826_3,
    0.051_293_294_387_550_58,
    0.010_050_335_853_501_45,
];

/// The classes of a set, as indices.
pub fn members(set: u32) -> impl Iterator<Item = usize> {
    let mut left = set;
    std::iter::from_fn(move || {
        let k = left.trailing_zeros();
        left &= left.wrapping_sub(1);
        (k < u32::BITS).then_some(k as usize)
    })
}

/// Sequences in decode: the largest `n ≤ B` with `n = rate·τ(m)`, by Little's law, `m` being as many as
/// one of them meets ([`Replica::met`]). A full batch steps in `full_s`; on a lane `steady` finds those
/// met at `rate` times the share of the others.
fn concurrency(replica: &Replica, rate: f64, full_s: f64, steady: impl Fn(f64) -> f64) -> f64 {
    if !replica.role.decodes() || rate <= 0.0 {
        return 0.0;
    }
    if replica.batch <= rate * full_s {
        return replica.batch;
    }
    let (lanes, others) = (replica.lanes(), replica.others());
    if others == 0.0 {
        return rate * full_s;
    }
    let met = steady(rate / lanes * others);
    (lanes * (met - 1.0) / others).clamp(0.0, replica.batch)
}

/// Standard deviation of the number in decode at load `u`, `idle` being `1/(1 − u)`: that of the chain
/// whose most likely number is `n`.
#[inline(always)]
pub fn crowd_spread(batch: f64, n: f64, idle: f64) -> f64 {
    (n * (batch - n) * idle * (1.0 / batch)).sqrt()
}

/// Replica-seconds between departures that free a place, doubled by what makes them uneven: answers of
/// different length (`spread` is `E[O²]/E[O]²`), at least prompts.
#[inline(always)]
pub fn uneven_load(load: f64, spread: f64, prompts: f64) -> f64 {
    let with_prompts = 1.0 + prompts;
    let spread = if spread > with_prompts {
        spread
    } else {
        with_prompts
    };
    0.5 * load * spread
}

impl Pressure {
    /// Under rates `f` (requests/s, one per class). `None`: the queue grows without bound.
    pub fn of_mix(replica: &Replica, f: &[f64], wanted: Percentiles) -> Option<Self> {
        Self::of_mix_among(replica, f, 1.0, wanted)
    }

    /// The same of one of `replicas` with such rates each, behind a router that sends a request to
    /// the one with fewest.
    pub fn of_mix_among(
        replica: &Replica,
        f: &[f64],
        replicas: f64,
        wanted: Percentiles,
    ) -> Option<Self> {
        let slower = replica.load_factor();
        let active = || {
            let rates = f.iter().map(move |rate| rate * slower).enumerate();
            rates.filter(|(_, rate)| *rate > 0.0)
        };
        let sum = |g: &dyn Fn(&ClassTimes) -> f64| -> f64 {
            active()
                .map(|(k, rate)| rate * g(&replica.classes[k]))
                .sum()
        };
        let u = sum(&|t| t.load);
        let beside = Beside::at(u);
        let prompts = sum(&|t| beside.time(t.prompt_load, t.alone_load));
        if u >= 1.0 || prompts >= 1.0 {
            return None;
        }
        let steps = sum(&|t| t.steps);
        let weighted = sum(&|t| t.steps * t.attention_s);
        let attention_s = if steps > 0.0 { weighted / steps } else { 0.0 };
        let full_s = replica.tau(replica.batch, attention_s);
        let n = concurrency(replica, steps / (1.0 - prompts), full_s, |rate| {
            let last = replica.last_stretch;
            replica.step.in_steady_state(rate, last, attention_s)
        });
        let mut pressure = Self::at(replica, n, attention_s, 1.0 - prompts, beside);
        let lanes = replica.lanes();
        let held = |k: usize| prompt_service(replica, k).at(pressure.tau, beside);
        let busy: f64 = active().map(|(k, rate)| rate / lanes * held(k)).sum();
        if busy >= 1.0 {
            return None;
        }
        let answers = active().map(|(k, rate)| (rate, &replica.work[k]));
        let mut among = Among::new(replicas, lanes, answers);
        let stretch = queue_stretch(busy, replica.role.shares_steps());
        let (mut queue, mut uneven) = (Tail::default(), 0.0);
        for (k, rate) in active() {
            let (times, work) = (&replica.classes[k], &replica.work[k]);
            let residual = 0.5 * held(k) * work.spread;
            queue.push(rate / lanes * held(k), residual * stretch);
            uneven += rate * times.load * uneven_load(times.load, work.output_spread, prompts);
        }
        for (k, rate) in active() {
            pressure.prompt_rate[k] = rate / lanes;
            pressure.prompt_noise += pressure.noise_of(replica, k);
            pressure.spread = pressure.spread.max(replica.work[k].spread);
        }
        pressure.queue = queue;
        if busy > 0.0 && replica.role.shares_steps() {
            among = among.with_requests(pressure.requests(replica, busy));
            pressure.met = among.met();
            pressure.share_met = 1.0 - prompts * pressure.met;
            let met = among.prompts_met();
            pressure.queue = queue.times(met, queue_stretch(met * busy, true) / stretch);
        }
        pressure.irregular = among.irregular();
        pressure.herds = (among.herds(), among.in_herds(busy));
        pressure.chunk_s = replica.chunk_s;
        let uneven = if u > 0.0 { uneven / u } else { 0.0 };
        pressure.settle(replica, [u, busy, uneven, attention_s], among, wanted);
        Some(pressure)
    }

    /// The worst over every mix of the classes in `set` at utilisation `u`.
    pub fn of_any_mix(replica: &Replica, set: u32, u: f64, wanted: Percentiles) -> Option<Self> {
        // Prompts take most where one class comes alone; so do sequences in decode over the share of time
        // left to them, of the load that prompts do not take beside a full batch.
        let (mut prompts, mut decode) = (0.0f64, 0.0f64);
        let (mut attention_max, mut shortest) = (0.0f64, 0);
        let mut attention_min = f64::INFINITY;
        for k in members(set) {
            let t = &replica.classes[k];
            let taken = most_up_to(u, t.prompt_load, t.alone_load) / t.load;
            if u >= 1.0 || taken >= 1.0 {
                return None;
            }
            prompts = prompts.max(taken);
            decode = decode.max(u * (1.0 - t.prompt_load / t.load) / (1.0 - taken));
            attention_max = attention_max.max(t.attention_s);
            if t.attention_s < attention_min {
                (attention_min, shortest) = (t.attention_s, k);
            }
        }
        // Contexts are short where most sequences run; steps are slowest where contexts are long.
        let full_s = replica.classes[shortest].full_s;
        let n = concurrency(replica, decode * replica.batch / full_s, full_s, |rate| {
            let curve = &replica.work[shortest].decode;
            curve.in_steady_state(rate, replica.last_stretch)
        });
        let mut pressure = Self::at(replica, n, attention_max, 1.0 - prompts, Beside::up_to(u));
        let lanes = replica.lanes();
        let (mut busy, mut residual, mut uneven) = (0.0f64, 0.0f64, 0.0f64);
        for k in members(set) {
            let (times, work) = (&replica.classes[k], &replica.work[k]);
            let service = prompt_service(replica, k);
            let beside_full = service.fixed_s + service.steps * pressure.tau;
            busy = busy.max(most_up_to(u, beside_full, service.alone_s) / times.load / lanes);
            let held = service.at(pressure.tau, pressure.beside);
            residual = residual.max(0.5 * held * work.spread);
            uneven = uneven.max(uneven_load(times.load, work.output_spread, prompts));
            pressure.prompt_rate[k] = u / times.load / lanes;
            pressure.prompt_noise = pressure.prompt_noise.max(pressure.noise_of(replica, k));
            pressure.spread = pressure.spread.max(work.spread);
        }
        if busy >= 1.0 {
            return None;
        }
        let stretch = queue_stretch(busy, replica.role.shares_steps());
        pressure.queue.push(busy, residual * stretch);
        pressure.settle(
            replica,
            [u, busy, uneven, attention_max],
            Among::ALONE,
            wanted,
        );
        Some(pressure)
    }

    /// The most that a replica feels at utilisation `u` or less, with the admitted mix.
    pub fn at_most(
        replica: &Replica,
        admitted: Admitted,
        u: f64,
        wanted: Percentiles,
    ) -> Option<Self> {
        match admitted.mix {
            Mix::Any => Self::of_any_mix(replica, admitted.set, u, wanted),
            Mix::Own(classes) => Self::of_own_mix(replica, classes, u, wanted),
            Mix::Rates(rates) => Self::of_mix(replica, rates, wanted),
        }
    }

    /// The most at utilisation `u` or less, where the classes come in their own shares: as
    /// [`Self::of_mix`], each part at the load up to `u` where it is largest.
    pub fn of_own_mix(
        replica: &Replica,
        classes: &[Class],
        u: f64,
        wanted: Percentiles,
    ) -> Option<Self> {
        let sum = |g: &dyn Fn(usize) -> f64| -> f64 {
            classes
                .iter()
                .enumerate()
                .map(|(k, c)| c.share * g(k))
                .sum()
        };
        let times = |k: usize| &replica.classes[k];
        let load = sum(&|k| times(k).load);
        let most = |full: f64, alone: f64| most_up_to(u, full, alone) / load;
        let prompts = sum(&|k| most(times(k).prompt_load, times(k).alone_load));
        if u >= 1.0 || prompts >= 1.0 {
            return None;
        }
        let steps = sum(&|k| times(k).steps);
        let weighted = sum(&|k| times(k).steps * times(k).attention_s);
        let attention_s = if steps > 0.0 { weighted / steps } else { 0.0 };
        let full_s = replica.tau(replica.batch, attention_s);
        let n = concurrency(
            replica,
            u * steps / load / (1.0 - prompts),
            full_s,
            |rate| {
                let last = replica.last_stretch;
                replica.step.in_steady_state(rate, last, attention_s)
            },
        );
        let mut pressure = Self::at(replica, n, attention_s, 1.0 - prompts, Beside::up_to(u));
        let lanes = replica.lanes();
        let part = |(k, class): (usize, &Class)| {
            let service = prompt_service(replica, k);
            let beside_full = service.fixed_s + service.steps * pressure.tau;
            class.share * most(beside_full, service.alone_s) / lanes
        };
        let mut parts = [0.0; MAX_CLASSES];
        for (taken, class) in parts.iter_mut().zip(classes.iter().enumerate()) {
            *taken = part(class);
        }
        let busy: f64 = parts[..classes.len()].iter().sum();
        if busy >= 1.0 {
            return None;
        }
        let stretch = queue_stretch(busy, replica.role.shares_steps());
        for (k, class) in classes.iter().enumerate() {
            let held = prompt_service(replica, k).at(pressure.tau, pressure.beside);
            let residual = 0.5 * held * replica.work[k].spread;
            pressure.queue.push(parts[k], residual * stretch);
            pressure.prompt_rate[k] = u * class.share / load / lanes;
        }
        let noise = |k: usize| pressure.noise_of(replica, k);
        pressure.prompt_noise = (0..classes.len()).map(noise).sum();
        let spreads = replica.work.iter().map(|work| work.spread);
        pressure.spread = spreads.fold(1.0, f64::max);
        let of = |k: usize| uneven_load(times(k).load, replica.work[k].output_spread, prompts);
        let uneven = sum(&|k| times(k).load * of(k)) / load;
        pressure.settle(
            replica,
            [u, busy, uneven, attention_s],
            Among::ALONE,
            wanted,
        );
        Some(pressure)
    }

    /// What a request feels that meets no other, on a replica at utilisation `u` or less.
    pub fn alone(replica: &Replica, u: f64) -> Self {
        Self::at(replica, 0.0, 0.0, 1.0, Beside::up_to(u))
    }

    fn at(replica: &Replica, n: f64, attention_s: f64, share: f64, beside: Beside) -> Self {
        let tau = replica.tau(replica.met(n), attention_s);
        Self {
            n,
            tau,
            tau_at: [tau; 5],
            decode_share: share,
            met: 1.0,
            share_met: share,
            beside,
            queue: Tail::default(),
            queued: [0.0; 5],
            wait: [0.0; 5],
            prompt_rate: [0.0; MAX_CLASSES],
            prompt_noise: 0.0,
            spread: 1.0,
            irregular: 1.0,
            herds: (0.0, 1.0),
            chunk_s: f64::INFINITY,
        }
    }

    /// How long a prompt holds up decode on its lane, s.
    fn burst(&self, replica: &Replica, k: usize) -> f64 {
        let times = &replica.classes[k];
        replica.lanes() * self.beside.time(times.prompt_load, times.alone_load)
    }

    /// `rate·E[size²]` of a class's prompts on a lane, s.
    fn noise_of(&self, replica: &Replica, k: usize) -> f64 {
        self.prompt_rate[k] * self.burst(replica, k).powi(2) * replica.work[k].spread
    }

    /// Waiting and step times at the percentiles, once the prompt queue is known: from the load, how
    /// busy prompts keep a lane, [`uneven_load`] and the attention per sequence.
    ///
    /// Of several replicas behind one router a request waits for a place where all are full, and for a
    /// departure from that with the fewest; they are about as crowded as each other.
    fn settle(&mut self, replica: &Replica, known: [f64; 4], among: Among, wanted: Percentiles) {
        let [u, busy, uneven, attention_s] = known;
        let (batch, queue, mut places) = (replica.batch, self.queue, Tail::default());
        let decodes = replica.role.decodes();
        if decodes {
            // Prompts that are being read hold places too.
            let held = self.n + busy * replica.lanes();
            let prompts = 1.0 - self.decode_share;
            let count = among.count;
            let taken = all_slots_taken(count * batch, count * held, u, prompts);
            let all_full = if count == 1.0 { u } else { u.powf(count) };
            places.push(taken, uneven / (1.0 - all_full));
        }
        let tail = queue.and(&places);
        let calmer = self.calmer(replica, busy, among);
        let busy = busy * among.prompts_met();
        let chunk_s = self.chunk_s;
        let shares = replica.role.shares_steps();
        let over = |queued: f64| {
            if shares {
                over_a_step(queued, busy, chunk_s)
            } else {
                0.0
            }
        };
        let (queued, wait) = (queue.mean(), tail.mean());
        (self.queued[0], self.wait[0]) = (queued - over(queued), wait - over(queued));
        if let Some(calmer) = &calmer {
            let shorter = busy * (calmer.scale - calmer.at(calmer.scale));
            self.queued[0] -= shorter;
            self.wait[0] -= shorter;
        }
        let n = self.n.min(u * batch);
        let spread = crowd_spread(batch, n, 1.0 / (1.0 - u)) / among.count.sqrt();
        for i in (1..5).filter(|i| wanted.0[*i]) {
            let p = PERCENTILES[i];
            let (queued, wait) = (queue.quantile(p), tail.quantile(p));
            (self.queued[i], self.wait[i]) = (queued - over(queued), wait - over(queued));
            if let Some(calmer) = &calmer {
                let shorter = self.queued[i] - calmer.at(self.queued[i]);
                self.queued[i] -= shorter;
                self.wait[i] = (self.wait[i] - shorter).max(places.quantile(p));
            }
            if i > 1 && decodes {
                let crowded = (n + NORMAL_QUANTILES[i] * spread).min(batch).max(self.n);
                self.tau_at[i] = replica.tau(replica.met(crowded), attention_s);
            }
        }
    }

    /// How much shorter requests wait for prompts where their number on the replica is held; `None`
    /// where it is not.
    fn calmer(&self, replica: &Replica, busy: f64, among: Among) -> Option<Calmer> {
        let held = among.held() * among.apart();
        if held == 0.0 || busy <= 0.0 || !replica.role.shares_steps() {
            return None;
        }
        let held_s = busy / self.prompt_rate.iter().sum::<f64>();
        Some(Calmer {
            scale: self.queue.mean() / (busy * among.prompts_met()),
            bend: held / (2.0 * among.found() * held_s * held_s),
        })
    }

    /// Requests on a lane: in decode, being read and waiting for that.
    fn requests(&self, replica: &Replica, busy: f64) -> f64 {
        let rate: f64 = self.prompt_rate.iter().sum();
        self.n / replica.lanes() + busy + rate * self.queue.mean()
    }

    /// Sequences in decode.
    pub fn concurrency(&self) -> f64 {
        self.n
    }

    /// TTFT of class `k` at percentile index `i`, s.
    pub fn ttft(&self, replica: &Replica, k: usize, i: usize, round_trip_s: f64) -> f64 {
        let (mut stretched, mut shared) = (0.0, Shared::NOTHING);
        if replica.role.shares_steps() {
            let stretch = 1.0 / self.decode_share;
            stretched = stretched_steps(self.tau, stretch);
            let step_s = self.tau * stretch;
            shared = Shared::at(i, step_s, self.prompt_noise, self.spread);
            if i > 2 {
                let (herds, in_herds) = self.herds;
                shared.part += herds * (in_herds - shared.part);
            }
        }
        let own = |i: usize| own_ttft(replica, k, i).at(self.tau, self.beside) + stretched;
        let parts = |i: usize| (own(i), self.wait[i]);
        let value = match i {
            0 => own(0) + self.wait[0],
            1 => median_ttft(parts(1), own(2), self.wait[0]),
            _ => late_ttft(parts(0), parts(1), parts(i), &shared),
        };
        replica.factors.ttft * value + round_trip_s
    }

    /// TPOT of class `k` at percentile index `i`, s.
    pub fn tpot(&self, replica: &Replica, k: usize, i: usize) -> f64 {
        replica.factors.tpot * self.modelled_tpot(replica, k, i)
    }

    fn modelled_tpot(&self, replica: &Replica, k: usize, i: usize) -> f64 {
        let advance = replica.step.accepted * self.share_met;
        let work = &replica.work[k];
        let answers = Answers {
            share: self.share_met,
            stretch: 1.0 / self.share_met,
            steady: self.tau / advance,
            later_tokens: work.later_tokens[0],
            noise_tokens: work.noise_tokens[i],
        };
        if answers.later_tokens <= 0.0 {
            return answers.steady;
        }
        let held = prompt_service(replica, k).at(self.tau, self.beside);
        let mean = answers.mean(held + self.queued[0]);
        if i < 2 {
            return mean;
        }
        let duration = answers.noise_tokens * answers.steady;
        let (hit, hit_skew) = self.likely_burst(replica, duration, i);
        answers.late(
            mean,
            &Disturbance {
                z: NORMAL_QUANTILES[i],
                noise: self.met * self.prompt_noise * (self.irregular + self.spread - 1.0)
                    / self.spread,
                hit,
                hit_skew,
                backlog: (self.queued[i] - self.queued[0]).max(0.0),
                own: self.longer_prompt(replica, k, i),
                crowded: self.tau_at[i] / advance,
                longest: (self.tau_at[i] + replica.chunk_s) / replica.step.accepted,
            },
        )
    }

    /// The largest prompt that more than `1−p` of requests of this duration meet, p being percentile
    /// `i`, and the largest `E[size³]/E[size²]`, for log-normal lengths, s.
    fn likely_burst(&self, replica: &Replica, duration: f64, i: usize) -> (f64, f64) {
        (0..replica.classes.len())
            .filter(|k| self.met * self.prompt_rate[*k] * duration >= UNMET[i])
            .fold((0.0, 0.0), |(largest, skew), k| {
                let burst = self.burst(replica, k);
                let spread = replica.work[k].spread;
                (largest.max(burst), skew.max(burst * spread * spread))
            })
    }

    /// By how much a prompt of class `k` holds its lane longer at percentile index `i` than on average, s.
    fn longer_prompt(&self, replica: &Replica, k: usize, i: usize) -> f64 {
        if !replica.role.shares_steps() {
            return 0.0;
        }
        let times = &replica.classes[k];
        let held = |i: usize| self.beside.time(times.prompt_s[i], times.alone_s[i]);
        (held(i) - held(0)).max(0.0)
    }

    /// All percentiles of the classes in `set`; needs a pressure of [`Percentiles::ALL`].
    pub fn latency(&self, replica: &Replica, set: u32, round_trip_s: &[f64]) -> Latency {
        let mut latency = Latency {
            ttft: [[f64::NAN; 5]; MAX_CLASSES],
            tpot: [[f64::NAN; 5]; MAX_CLASSES],
            concurrency: self.n,
        };
        let decodes = replica.role.decodes();
        for k in members(set) {
            for i in 0..5 {
                latency.ttft[k][i] = self.ttft(replica, k, i, round_trip_s[k]);
                if decodes {
                    latency.tpot[k][i] = self.tpot(replica, k, i);
                }
            }
        }
        latency
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::perf::factors::TimeFactors;
    use crate::perf::layout::Layout;
    use crate::perf::operator_tables::OperatorTables;
    use crate::perf::parallel::Parallel;
    use crate::perf::replica::ClassWork;
    use crate::perf::role::Role;
    use crate::perf::step::StepModel;
    use crate::workload::Spec;
    use proptest::prelude::*;

    /// Two systems, three models, three workloads.
    pub fn spec() -> Spec {
        Spec::from_json(include_str!("../../benches/spec.json")).unwrap()
    }

    /// Calls `f` on a replica of the MoE model with a batch limit of 32 on two ranks.
    pub fn with<T>(spec: &Spec, role: Role, f: impl FnOnce(&Replica) -> T) -> T {
        let layout = Layout {
            spec,
            system: &spec.systems[1],
            kernel: spec.kernel(1, 0).unwrap(),
            model: &spec.models[1],
            precision: &spec.precisions[0],
            kv: 0,
            parallel: Parallel {
                tp: 2,
                pp: 1,
                ep: 4,
                adp: 2,
            },
            speculation: spec.workloads[1].speculation[0],
            role,
            factors: TimeFactors::ONE,
        };
        let tables = OperatorTables::build(&layout).unwrap();
        let step = StepModel::build(&layout, &tables).unwrap();
        let classes = &spec.workloads[1].classes;
        let work: Vec<ClassWork> = classes
            .iter()
            .map(|class| ClassWork::new(&layout, &step, class))
            .collect();
        f(&Replica::new(&layout, &step, &work, 32))
    }

    #[test]
    fn as_many_decode_as_come_while_one_does() {
        with(&spec(), Role::Serve, |replica| {
            for rate in [1e-3, 0.1, 0.3] {
                let f = [rate / replica.classes[0].load, 0.0];
                let p = Pressure::of_mix(replica, &f, Percentiles::NONE).unwrap();
                let one = &replica.classes[0];
                let met = replica.met(p.n);
                let lasts = one.steps * replica.tau(met, one.attention_s) / p.decode_share;
                assert!((p.n - f[0] * replica.load_factor() * lasts).abs() < 1e-9 * p.n);
                // Few are in decode, and one finds itself there.
                assert!(met > p.n && met >= 2.0);
            }
        });
    }

    #[test]
    fn concurrency_is_littles_law() {
        with(&spec(), Role::Serve, |replica| {
            let times = &replica.classes[0];
            let rate = 0.5 / times.load;
            let p = Pressure::of_mix(replica, &[rate, 0.0], Percentiles::ALL).unwrap();
            // Sequences in decode = arrivals × time in decode = arrivals × steps × τ/share.
            let stay = times.steps * p.tau / p.decode_share;
            assert!(
                (p.n - rate * stay).abs() < 0.02 * p.n,
                "{} {}",
                p.n,
                rate * stay
            );
            assert!(p.n >= rate * stay);
        });
    }

    #[test]
    fn a_full_replica_has_no_steady_state() {
        with(&spec(), Role::Serve, |replica| {
            let full = (1.0 + 1e-12) / replica.classes[0].load; // rounding is not room
            assert!(Pressure::of_mix(replica, &[full, 0.0], Percentiles::ALL).is_none());
            assert!(Pressure::of_any_mix(replica, 0b01, 1.0, Percentiles::ALL).is_none());
        });
    }

    #[test]
    fn one_class_has_one_mix() {
        with(&spec(), Role::Serve, |replica| {
            for u in [0.1, 0.5, 0.9] {
                let rate = u / replica.classes[1].load;
                let mix = Pressure::of_mix(replica, &[0.0, rate], Percentiles::ALL).unwrap();
                let any = Pressure::of_any_mix(replica, 0b10, u, Percentiles::ALL).unwrap();
                for i in 0..5 {
                    let pairs = [
                        (mix.ttft(replica, 1, i, 0.0), any.ttft(replica, 1, i, 0.0)),
                        (mix.tpot(replica, 1, i), any.tpot(replica, 1, i)),
                    ];
                    // The worst of any mix holds at lower loads too, where prompts load weights alone.
                    for (a, b) in pairs {
                        let safe = a <= b * (1.0 + 1e-9) && b <= 1.15 * a;
                        assert!(safe, "{u} {i}: {a} {b}");
                    }
                }
            }
        });
    }

    #[test]
    fn behind_a_router_many_replicas_are_no_later_than_one() {
        with(&spec(), Role::Serve, |replica| {
            for u in [0.2, 0.6, 0.9, 0.97] {
                let rate = u / replica.classes[1].load;
                let among = |replicas: f64| {
                    let rates = [0.0, rate];
                    Pressure::of_mix_among(replica, &rates, replicas, Percentiles::ALL).unwrap()
                };
                for (few, many) in [(1.0, 2.0), (2.0, 5.0), (5.0, 40.0)] {
                    let (few, many) = (among(few), among(many));
                    for i in 0..5 {
                        let later = |p: &Pressure| p.ttft(replica, 1, i, 0.0);
                        assert!(later(&many) <= later(&few) * (1.0 + 1e-9));
                        assert!(many.tpot(replica, 1, i) <= few.tpot(replica, 1, i) * (1.0 + 1e-9));
                    }
                }
            }
            // Nearly full: a place is waited for behind one, and hardly ever behind forty.
            let near = [0.0, 0.97 / replica.classes[1].load];
            let wait = |replicas: f64| {
                Pressure::of_mix_among(replica, &near, replicas, Percentiles::ALL)
                    .unwrap()
                    .wait[4]
            };
            assert!(wait(40.0) < 0.2 * wait(1.0), "{} {}", wait(40.0), wait(1.0));
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn a_known_mix_feels_no_more_at_any_lower_load(u in 0.01f64..0.99, part in 0.02f64..0.98,
                                                       less in 0.01f64..1.0) {
            let mut spec = spec();
            let classes = &mut spec.workloads[1].classes;
            (classes[0].share, classes[1].share) = (part, 1.0 - part);
            for role in [Role::Serve, Role::Prefill(0), Role::Decode(0)] {
                with(&spec, role, |replica| -> Result<(), TestCaseError> {
                    let classes = &spec.workloads[1].classes;
                    let own = Pressure::of_own_mix(replica, classes, u, Percentiles::ALL);
                    let Some(most) = own else { return Ok(()); };
                    let load = part * replica.classes[0].load + (1.0 - part) * replica.classes[1].load;
                    let rate = u * less / load;
                    let mix = [rate * part, rate * (1.0 - part)];
                    let one = Pressure::of_mix(replica, &mix, Percentiles::ALL).unwrap();
                    prop_assert!(one.n <= most.n * (1.0 + 1e-9) + 1e-9);
                    for k in 0..2 {
                        for i in 0..5 {
                            let (a, b) = (one.ttft(replica, k, i, 0.0), most.ttft(replica, k, i, 0.0));
                            prop_assert!(a <= b * (1.0 + 2e-4), "ttft {k} {i}: {a} {b}");
                            let (a, b) = (one.tpot(replica, k, i), most.tpot(replica, k, i));
                            prop_assert!(a <= b * (1.0 + 1e-9), "tpot {k} {i}: {a} {b}");
                        }
                    }
                    Ok(())
                })?;
            }
        }

        #[test]
        fn no_mix_feels_more_than_the_worst_of_any(u in 0.01f64..0.999, part in 0.0f64..1.0,
                                                   less in 0.01f64..1.0) {
            let spec = spec();
            for role in [Role::Serve, Role::Prefill(0), Role::Decode(0)] {
                with(&spec, role, |replica| -> Result<(), TestCaseError> {
                    let Some(any) = Pressure::of_any_mix(replica, 0b11, u, Percentiles::ALL) else {
                        return Ok(());
                    };
                    let used = u * less;
                    let mix = [used * part / replica.classes[0].load,
                               used * (1.0 - part) / replica.classes[1].load];
                    let one = Pressure::of_mix(replica, &mix, Percentiles::ALL).unwrap();
                    prop_assert!(one.n <= any.n * (1.0 + 1e-9) + 1e-9);
                    for k in 0..2 {
                        for i in 0..5 {
                            // A quantile is found to 1e-4.
                            let (a, b) = (one.ttft(replica, k, i, 0.0), any.ttft(replica, k, i, 0.0));
                            prop_assert!(a <= b * (1.0 + 2e-4), "ttft {k} {i}: {a} {b}");
                            let (a, b) = (one.tpot(replica, k, i), any.tpot(replica, k, i));
                            prop_assert!(a <= b * (1.0 + 1e-9), "tpot {k} {i}: {a} {b}");
                        }
                    }
                    Ok(())
                })?;
            }
        }
    }
}
