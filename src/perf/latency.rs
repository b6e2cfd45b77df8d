//! Open-loop latency of a replica and the utilisation up to which it holds its limits.
//!
//! [`Pressure`] is what requests feel: concurrency, share of time taken by prompts, the prompt
//! queue, the batch slots. It is computed two ways by the same formulas: for a given mix of rates
//! ([`Pressure::of_mix`]), and as the worst over every mix at a utilisation `u`
//! ([`Pressure::of_any_mix`]). Rates enter each quantity linearly over linearly, so over the simplex
//! `Σ f_k·load_k = u` each is largest at a corner, where one class takes all; latency rises in each
//! of them, so holding a limit under the worst of all holds it for every mix.

use crate::perf::late::{late_ttft, median_ttft, Answers, Disturbance};
use crate::perf::prompt::{most_up_to, own_ttft, prompt_service, Beside};
use crate::perf::queue::{all_slots_taken, Tail};
use crate::perf::replica::{ClassTimes, Replica};
use crate::workload::{Metric, Role, Slo, MAX_CLASSES, NORMAL_QUANTILES, PERCENTILES};

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
}

/// Percentile indices for which waiting times are wanted; mean and median always are.
#[derive(Debug, Clone, Copy)]
pub struct Percentiles(pub [bool; 5]);

impl Percentiles {
    /// Every percentile.
    pub const ALL: Self = Self([true; 5]);
}

/// The classes of a set, as indices.
pub fn members(set: u32) -> impl Iterator<Item = usize> {
    (0..MAX_CLASSES).filter(move |k| set >> k & 1 == 1)
}

/// Sequences in decode: the largest `n ≤ B` with `n = N·τ(n)/share`, by Little's law.
///
/// Between the nodes of its table `τ` has a closed root.
fn concurrency(replica: &Replica, token_rate: f64, share: f64, attention_s: f64) -> f64 {
    let rate = token_rate / share;
    if matches!(replica.role, Role::Prefill(_)) || rate <= 0.0 {
        return 0.0;
    }
    if replica.batch <= rate * replica.tau(replica.batch, attention_s) {
        return replica.batch;
    }
    (0..=replica.stretch_of(replica.batch))
        .rev()
        .map(|i| replica.tau_stretch(i, attention_s))
        .find(|s| s.from <= rate * s.at(s.from))
        .map_or(0.0, |s| s.in_steady_state(rate).min(replica.batch))
}

/// Standard deviation of the number in decode at load `u`: that of the chain whose most likely number
/// is `n`.
#[inline(always)]
pub fn crowd_spread(batch: f64, n: f64, u: f64) -> f64 {
    (n * (batch - n) / ((1.0 - u) * batch)).sqrt()
}

/// Replica-seconds between departures that free a place, doubled by what makes them uneven: answers of
/// different length (`spread` is `E[O²]/E[O]²`), at least prompts.
#[inline(always)]
pub fn uneven_load(load: f64, spread: f64, prompts: f64) -> f64 {
    0.5 * load * spread.max(1.0 + prompts)
}

impl Pressure {
    /// Under rates `f` (requests/s, one per class). `None`: the queue grows without bound.
    pub fn of_mix(replica: &Replica, f: &[f64], wanted: Percentiles) -> Option<Self> {
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
        let n = concurrency(replica, steps, 1.0 - prompts, attention_s);
        let mut pressure = Self::at(replica, n, attention_s, 1.0 - prompts, beside);
        let lanes = replica.lanes();
        let held = |k: usize| prompt_service(replica, k).at(pressure.tau, beside);
        let busy: f64 = active().map(|(k, rate)| rate / lanes * held(k)).sum();
        if busy >= 1.0 {
            return None;
        }
        let (mut queue, mut uneven) = (Tail::default(), 0.0);
        for (k, rate) in active() {
            let (times, work) = (&replica.classes[k], &replica.work[k]);
            let residual = 0.5 * held(k) * work.spread;
            queue.push(rate / lanes * held(k), residual / (1.0 - busy));
            uneven += rate * times.load * uneven_load(times.load, work.output_spread, prompts);
        }
        for (k, rate) in active() {
            pressure.prompt_rate[k] = rate / lanes;
            pressure.prompt_noise += pressure.noise_of(replica, k);
        }
        pressure.queue = queue;
        let uneven = if u > 0.0 { uneven / u } else { 0.0 };
        pressure.settle(replica, [u, busy, uneven, attention_s], wanted);
        Some(pressure)
    }

    /// The worst over every mix of the classes in `set` at utilisation `u`.
    pub fn of_any_mix(replica: &Replica, set: u32, u: f64, wanted: Percentiles) -> Option<Self> {
        // Prompts take most where one class comes alone; so do sequences in decode over the share of time
        // left to them, of the load that prompts do not take beside a full batch.
        let (mut prompts, mut decode) = (0.0f64, 0.0f64);
        let (mut attention_max, mut attention_min) = (0.0f64, f64::INFINITY);
        for k in members(set) {
            let t = &replica.classes[k];
            let taken = most_up_to(u, t.prompt_load, t.alone_load) / t.load;
            if u >= 1.0 || taken >= 1.0 {
                return None;
            }
            prompts = prompts.max(taken);
            decode = decode.max(u * (1.0 - t.prompt_load / t.load) / (1.0 - taken));
            attention_max = attention_max.max(t.attention_s);
            attention_min = attention_min.min(t.attention_s);
        }
        // Contexts are short where most sequences run; steps are slowest where contexts are long.
        let full_rate = replica.batch / replica.tau(replica.batch, attention_min);
        let n = concurrency(replica, decode * full_rate, 1.0, attention_min);
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
        }
        if busy >= 1.0 {
            return None;
        }
        pressure.queue.push(busy, residual / (1.0 - busy));
        pressure.settle(replica, [u, busy, uneven, attention_max], wanted);
        Some(pressure)
    }

    fn at(replica: &Replica, n: f64, attention_s: f64, share: f64, beside: Beside) -> Self {
        let tau = replica.tau(n, attention_s);
        Self {
            n,
            tau,
            tau_at: [tau; 5],
            decode_share: share,
            beside,
            queue: Tail::default(),
            queued: [0.0; 5],
            wait: [0.0; 5],
            prompt_rate: [0.0; MAX_CLASSES],
            prompt_noise: 0.0,
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
    fn settle(&mut self, replica: &Replica, known: [f64; 4], wanted: Percentiles) {
        let [u, busy, uneven, attention_s] = known;
        let (batch, mut tail) = (replica.batch, self.queue);
        let decodes = !matches!(replica.role, Role::Prefill(_));
        if decodes {
            // Prompts that are being read hold places too.
            let held = self.n + busy * replica.lanes();
            let prompts = 1.0 - self.decode_share;
            let taken = all_slots_taken(batch, held, u, prompts);
            tail.push(taken, uneven / (1.0 - u));
        }
        self.queued[0] = self.queue.mean();
        self.wait[0] = tail.mean();
        let n = self.n.min(u * batch);
        let spread = crowd_spread(batch, n, u);
        for i in (1..5).filter(|i| wanted.0[*i]) {
            self.queued[i] = self.queue.quantile(PERCENTILES[i]);
            self.wait[i] = tail.quantile(PERCENTILES[i]);
            if i > 1 && decodes {
                let crowded = (n + NORMAL_QUANTILES[i] * spread).min(batch).max(self.n);
                self.tau_at[i] = replica.tau(crowded, attention_s);
            }
        }
    }

    /// Sequences in decode.
    pub fn concurrency(&self) -> f64 {
        self.n
    }

    /// TTFT of class `k` at percentile index `i`, s.
    pub fn ttft(&self, replica: &Replica, k: usize, i: usize, round_trip_s: f64) -> f64 {
        let own = |i: usize| own_ttft(replica, k, i).at(self.tau, self.beside);
        let parts = |i: usize| (own(i), self.wait[i]);
        let value = match i {
            0 => own(0) + self.wait[0],
            1 => median_ttft(parts(1), own(2), self.wait[0]),
            _ => late_ttft(parts(0), parts(1), parts(i)),
        };
        replica.factors.ttft * value + round_trip_s
    }

    /// TPOT of class `k` at percentile index `i`, s.
    pub fn tpot(&self, replica: &Replica, k: usize, i: usize) -> f64 {
        replica.factors.tpot * self.modelled_tpot(replica, k, i)
    }

    fn modelled_tpot(&self, replica: &Replica, k: usize, i: usize) -> f64 {
        let advance = replica.step.accepted * self.decode_share;
        let work = &replica.work[k];
        let answers = Answers {
            share: self.decode_share,
            stretch: 1.0 / self.decode_share,
            steady: self.tau / advance,
            later_tokens: work.later_tokens[0],
            noise_tokens: work.noise_tokens,
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
        answers.late(
            mean,
            &Disturbance {
                z: NORMAL_QUANTILES[i],
                noise: self.prompt_noise,
                hit: self.likely_burst(replica, duration, PERCENTILES[i]),
                backlog: (self.queued[i] - self.queued[0]).max(0.0),
                crowded: self.tau_at[i] / advance,
                longest: (self.tau_at[i] + replica.chunk_s) / replica.step.accepted,
            },
        )
    }

    /// The largest prompt that more than `1−p` of requests of this duration meet, s.
    fn likely_burst(&self, replica: &Replica, duration: f64, p: f64) -> f64 {
        let threshold = -p.ln();
        (0..replica.classes.len())
            .filter(|k| self.prompt_rate[*k] * duration >= threshold)
            .fold(0.0, |largest, k| largest.max(self.burst(replica, k)))
    }

    /// All percentiles of the classes in `set`; needs a pressure of [`Percentiles::ALL`].
    pub fn latency(&self, replica: &Replica, set: u32, round_trip_s: &[f64]) -> Latency {
        let mut latency = Latency {
            ttft: [[f64::NAN; 5]; MAX_CLASSES],
            tpot: [[f64::NAN; 5]; MAX_CLASSES],
            concurrency: self.n,
        };
        let decodes = !matches!(replica.role, Role::Prefill(_));
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

/// What a replica is held to: limits, the split of the TTFT budget, and the way to the user.
#[derive(Debug, Clone, Copy)]
pub struct Limits<'a> {
    /// Latency limits.
    pub slos: &'a [Slo],
    /// Shares of the TTFT budget that prefill pools may use.
    pub splits: &'a [f64],
    /// Round-trip time per class, s.
    pub round_trip_s: &'a [f64],
}

/// Share of a limit that a role must keep; `None` when the role has no part in the metric.
fn budget_share(role: Role, metric: Metric, splits: &[f64]) -> Option<f64> {
    match (role, metric) {
        (Role::Serve, _) => Some(1.0),
        (Role::Prefill(_), Metric::Tpot) => None,
        (Role::Decode(_), Metric::Tpot) => Some(1.0),
        (Role::Prefill(i), _) => Some(splits[i]),
        (Role::Decode(i), _) => Some(1.0 - splits[i]),
    }
}

impl Limits<'_> {
    /// Percentiles that the limits read; waiting times at others need not be computed.
    pub fn percentiles(&self) -> Percentiles {
        let mut wanted = Percentiles([true, true, false, false, false]);
        for slo in self.slos {
            wanted.0[slo.percentile] = true;
        }
        wanted
    }

    /// The limit that is nearest to breaking for a class of `set`, and `1 − limit/value`: above zero
    /// it is broken. `None` when no limit concerns this role.
    fn tightest(&self, replica: &Replica, pressure: &Pressure, set: u32) -> Option<(f64, Metric)> {
        let mut tightest: Option<(f64, Metric)> = None;
        for slo in self.slos {
            let Some(share) = budget_share(replica.role, slo.metric, self.splits) else {
                continue;
            };
            for k in members(set).filter(|k| slo.class.is_none_or(|only| only == *k)) {
                let excess = 1.0 - share * slo.limit_s / self.value(replica, pressure, k, slo);
                if tightest.is_none_or(|(most, _)| excess > most) {
                    tightest = Some((excess, slo.metric));
                }
            }
        }
        tightest
    }

    /// The limit that `pressure` breaks, if any.
    pub fn broken(&self, replica: &Replica, pressure: &Pressure, set: u32) -> Option<Metric> {
        let (excess, metric) = self.tightest(replica, pressure, set)?;
        (excess > 0.0).then_some(metric)
    }

    fn value(&self, replica: &Replica, pressure: &Pressure, k: usize, slo: &Slo) -> f64 {
        let i = slo.percentile;
        // The way to the user is paid once, by the pool that sends the first token's prompt.
        let way = match replica.role {
            Role::Decode(_) => 0.0,
            _ => self.round_trip_s[k],
        };
        let ttft = || pressure.ttft(replica, k, i, way);
        match (slo.metric, replica.role) {
            (Metric::Ttft, _) | (Metric::E2e, Role::Prefill(_)) => ttft(),
            (Metric::Tpot, _) => pressure.tpot(replica, k, i),
            (Metric::E2e, _) => {
                ttft() + replica.work[k].later_tokens[i] * pressure.tpot(replica, k, 0)
            }
        }
    }

    /// Largest utilisation at which every limit holds for every mix of `set`, and the limit that
    /// stops it. Zero when a limit breaks on an idle replica. Without limits a replica may be full.
    ///
    /// Latency grows like `1/(1−u)`, so `1 − limit/value` is nearly straight in `u` and false
    /// position needs few steps. The answer is always a point where limits held.
    pub fn capacity(&self, replica: &Replica, set: u32) -> (f64, Option<Metric>) {
        let wanted = self.percentiles();
        let excess = |u: f64| match Pressure::of_any_mix(replica, set, u, wanted) {
            Some(p) => self.tightest(replica, &p, set),
            None => Some((1.0, Metric::Ttft)),
        };
        let Some((mut excess_low, first)) = excess(IDLE) else {
            return (1.0, None);
        };
        if excess_low > 0.0 {
            return (0.0, Some(first));
        }
        let mut stopped_by = first;
        let (mut low, mut high, mut excess_high) = (IDLE, 1.0, 1.0);
        let mut width = high - low;
        for step in 0..CAPACITY_STEPS {
            // Aim a little below the root, so that the lower end closes in on it. Where the limit is
            // far from straight and two steps have not halved the bracket, halve it.
            let straight = excess_low * (high - low) / (excess_low - excess_high);
            let u = if step % 2 == 0 || high - low < 0.5 * width {
                (low + (1.0 - CAPACITY_TOLERANCE) * straight).clamp(low, high)
            } else {
                0.5 * (low + high)
            };
            if step % 2 == 1 {
                width = high - low;
            }
            let (value, metric) = excess(u).unwrap_or((1.0, first));
            if value > 0.0 {
                (high, excess_high, stopped_by) = (u, value, metric);
            } else {
                (low, excess_low) = (u, value);
            }
            let at_limit = (-2.0 * CAPACITY_TOLERANCE..=0.0).contains(&value);
            if at_limit || high - low < CAPACITY_TOLERANCE * low {
                stopped_by = metric;
                break;
            }
        }
        (low, Some(stopped_by))
    }
}

/// A replica with next to no load.
const IDLE: f64 = 1e-6;
/// Relative distance to a limit at which the search for the capacity stops.
const CAPACITY_TOLERANCE: f64 = 5e-4;
/// Most steps of that search.
const CAPACITY_STEPS: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::factors::TimeFactors;
    use crate::perf::layout::{Layout, Parallel};
    use crate::perf::replica::ClassWork;
    use crate::perf::step::{OperatorTables, StepModel};
    use crate::workload::Spec;
    use proptest::prelude::*;

    fn spec() -> Spec {
        Spec::from_json(include_str!("../../benches/spec.json")).unwrap()
    }

    /// Calls `f` on a replica of the MoE model with a batch limit of 32 on two ranks.
    fn with<T>(spec: &Spec, role: Role, f: impl FnOnce(&Replica) -> T) -> T {
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

    fn limits<'a>(slos: &'a [Slo], way: &'a [f64]) -> Limits<'a> {
        Limits {
            slos,
            splits: &[0.7],
            round_trip_s: way,
        }
    }

    fn slo(metric: Metric, percentile: usize, limit_s: f64) -> Slo {
        Slo {
            metric,
            percentile,
            limit_s,
            class: None,
        }
    }

    const NEAR: [f64; 2] = [0.0, 0.0];

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
            let full = 1.0 / replica.classes[0].load;
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
    fn a_limit_holds_just_inside_the_capacity_and_breaks_just_outside() {
        with(&spec(), Role::Serve, |replica| {
            for slo in [slo(Metric::Ttft, 4, 5.0), slo(Metric::Tpot, 0, 0.02)] {
                let slos = [slo];
                let limits = limits(&slos, &NEAR);
                let (cap, by) = limits.capacity(replica, 0b11);
                assert!(cap > 0.05 && cap < 0.99, "{cap}");
                assert_eq!(by, Some(slos[0].metric));
                let at = |u| Pressure::of_any_mix(replica, 0b11, u, Percentiles::ALL).unwrap();
                assert_eq!(limits.broken(replica, &at(cap), 0b11), None);
                let outside = (cap * 1.01).min(0.9999);
                assert_eq!(limits.broken(replica, &at(outside), 0b11), by);
            }
        });
    }

    #[test]
    fn limits_that_break_when_idle_or_concern_nobody() {
        let spec = spec();
        let tpot = [slo(Metric::Tpot, 0, 1e-6)];
        with(&spec, Role::Serve, |replica| {
            let late = limits(&tpot, &NEAR).capacity(replica, 0b01);
            assert_eq!(late, (0.0, Some(Metric::Tpot)));
            assert_eq!(limits(&[], &NEAR).capacity(replica, 0b01), (1.0, None));
        });
        // A prefill pool has no time per output token to keep.
        with(&spec, Role::Prefill(0), |replica| {
            assert_eq!(limits(&tpot, &NEAR).capacity(replica, 0b01), (1.0, None));
        });
    }

    #[test]
    fn the_way_to_the_user_is_paid_once() {
        let spec = spec();
        let ttft = [slo(Metric::Ttft, 0, 1.0)];
        let far = [5.0, 5.0];
        let capacity =
            |role, way: &[f64]| with(&spec, role, |r| limits(&ttft, way).capacity(r, 0b01).0);
        for role in [Role::Serve, Role::Prefill(0)] {
            assert!(capacity(role, &NEAR) > 0.0);
            assert_eq!(capacity(role, &far), 0.0);
        }
        let decode = Role::Decode(0);
        assert_eq!(capacity(decode, &NEAR), capacity(decode, &far));
    }

    #[test]
    fn the_budget_is_split_between_pools() {
        let splits = [0.7];
        assert_eq!(budget_share(Role::Serve, Metric::Ttft, &splits), Some(1.0));
        assert_eq!(
            budget_share(Role::Prefill(0), Metric::Ttft, &splits),
            Some(0.7)
        );
        assert_eq!(
            budget_share(Role::Decode(0), Metric::E2e, &splits),
            Some(1.0 - 0.7)
        );
        assert_eq!(
            budget_share(Role::Decode(0), Metric::Tpot, &splits),
            Some(1.0)
        );
        assert_eq!(budget_share(Role::Prefill(0), Metric::Tpot, &splits), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
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
