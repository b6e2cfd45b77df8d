//! Latency limits of a replica: which one breaks, and the utilisation up to which all hold.

use crate::perf::latency::{members, Percentiles, Pressure};
use crate::perf::mixture;
use crate::perf::replica::Replica;
use crate::perf::role::Role;
use crate::workload::{Admitted, Metric, Mix, Over, Slo, MAX_CLASSES, PERCENTILES};

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

/// Whose time a limit is on.
#[derive(Debug, Clone, Copy)]
enum Of {
    Class(usize),
    /// All requests of the replica together.
    All,
}

/// A limit, whose time it is on, and the share of it that the role has.
type Bound<'a> = (&'a Slo, Of, f64);

/// What is sure of limits on an idle replica, by metric.
#[derive(Debug, Clone, Copy, Default)]
pub struct WhenIdle {
    /// Classes whose limits hold, whichever others are admitted.
    held: [u32; Metric::ALL.len()],
    /// Classes of which a limit breaks, whichever others are admitted.
    late: [u32; Metric::ALL.len()],
    /// Whether a limit breaks where classes come in the workload's own shares.
    own_late: [bool; Metric::ALL.len()],
}

/// What is sure of an idle replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All limits hold.
    Holds,
    /// Limits on this metric alone break.
    Late(Metric),
    /// Neither.
    Open,
}

impl WhenIdle {
    /// What is sure of an idle replica that admits these classes, in any mix or in their own.
    pub fn of(&self, admitted: Admitted) -> Verdict {
        let may_break = |metric: &Metric| admitted.set & !self.held[*metric as usize] != 0;
        let mut may_break = Metric::ALL.into_iter().filter(may_break);
        let breaks = |metric: Metric| match admitted.mix {
            Mix::Any => admitted.set & self.late[metric as usize] != 0,
            Mix::Own(_) => self.own_late[metric as usize],
            Mix::Rates(_) => false,
        };
        match (may_break.next(), may_break.next()) {
            (None, _) => Verdict::Holds,
            (Some(metric), None) if breaks(metric) => Verdict::Late(metric),
            _ => Verdict::Open,
        }
    }
}

/// A replica with the classes it admits, under some pressure.
#[derive(Clone, Copy)]
struct Pressed<'a> {
    replica: &'a Replica<'a>,
    pressure: &'a Pressure,
    admitted: Admitted<'a>,
}

impl<'a> Pressed<'a> {
    fn new(replica: &'a Replica, pressure: &'a Pressure, admitted: Admitted<'a>) -> Self {
        Self {
            replica,
            pressure,
            admitted,
        }
    }
}

/// `1 − limit/value`: above zero the limit is broken. Rises with the value.
fn excess_of((slo, _, share): Bound, value: f64) -> f64 {
    1.0 - share * slo.limit_s / value
}

impl Limits<'_> {
    /// Percentiles that the limits read; waiting times at others need not be computed. All where
    /// classes are taken together.
    pub fn percentiles(&self, mix: Mix) -> Percentiles {
        let mut wanted = Percentiles([true, true, false, false, false]);
        for slo in self.slos {
            wanted.0[slo.percentile] = true;
            if is_over_all(slo, mix) && slo.percentile > 0 {
                return Percentiles::ALL;
            }
        }
        wanted
    }

    /// Limits that bind a role, with each class that they bind, or all together, and the share of the
    /// limit that the role has.
    fn binding<'a>(
        &'a self,
        role: Role,
        admitted: Admitted<'a>,
    ) -> impl Iterator<Item = Bound<'a>> {
        let shared = self.slos.iter().filter_map(move |slo| {
            budget_share(role, slo.metric, self.splits).map(|share| (slo, share))
        });
        shared.flat_map(move |(slo, share)| {
            let all = is_over_all(slo, admitted.mix);
            let each = members(if all { 0 } else { admitted.set })
                .filter(|k| slo.class.is_none_or(|only| only == *k))
                .map(Of::Class);
            let together = all.then_some(Of::All);
            each.chain(together).map(move |of| (slo, of, share))
        })
    }

    /// The limit that is nearest to breaking, with its excess. `None` when no limit concerns this role.
    fn tightest(&self, at: Pressed) -> Option<(f64, Metric)> {
        let binding = || self.binding(at.replica.role, at.admitted);
        let mut least = f64::NEG_INFINITY;
        if at.admitted.mix.is_known() && binding().nth(1).is_some() {
            let lower = |bound| excess_of(bound, self.range_of(at, bound).0);
            least = binding().map(lower).fold(least, f64::max);
        }
        binding()
            .filter(|bound| {
                least == f64::NEG_INFINITY
                    || excess_of(*bound, self.range_of(at, *bound).1) >= least
            })
            .map(|bound| (excess_of(bound, self.value_of(at, bound)), bound.0.metric))
            .reduce(|most, other| if other.0 > most.0 { other } else { most })
    }

    /// Whether some limit is broken by more than `least`.
    fn breaks(&self, at: Pressed, least: f64) -> bool {
        let mut binding = self.binding(at.replica.role, at.admitted);
        binding.any(|bound| self.is_broken(at, bound, least))
    }

    /// Whether a limit is broken by more than `least`. Where the worst and the best class agree, the
    /// percentile of all together need not be found.
    fn is_broken(&self, at: Pressed, bound: Bound, least: f64) -> bool {
        let (low, high) = self.range_of(at, bound);
        excess_of(bound, high) > least
            && (excess_of(bound, low) > least || excess_of(bound, self.value_of(at, bound)) > least)
    }

    /// The same under what the replica feels at most at utilisation `u`.
    fn at_most(&self, replica: &Replica, admitted: Admitted, u: f64) -> Option<(f64, Metric)> {
        match Pressure::at_most(replica, admitted, u, self.percentiles(admitted.mix)) {
            Some(pressure) => self.tightest(Pressed::new(replica, &pressure, admitted)),
            None => Some((1.0, Metric::Ttft)),
        }
    }

    /// The limit that `pressure` breaks, if any.
    pub fn broken<'a>(
        &self,
        replica: &Replica,
        pressure: &Pressure,
        admitted: impl Into<Admitted<'a>>,
    ) -> Option<Metric> {
        let (excess, metric) = self.tightest(Pressed::new(replica, pressure, admitted.into()))?;
        (excess > 0.0).then_some(metric)
    }

    /// The limited time of each limit under `pressure`, of the worst class that it binds or of all
    /// requests together, s; `None` where it binds none.
    pub fn values(
        &self,
        replica: &Replica,
        pressure: &Pressure,
        admitted: Admitted,
    ) -> Vec<Option<f64>> {
        let at = Pressed::new(replica, pressure, admitted);
        let of_slo = |slo: &Slo| {
            let one = Limits {
                slos: std::slice::from_ref(slo),
                ..*self
            };
            let binding = one.binding(replica.role, admitted);
            binding
                .map(|bound| one.value_of(at, bound))
                .reduce(f64::max)
        };
        self.slos.iter().map(of_slo).collect()
    }

    /// The limit that breaks on an idle replica, if any.
    pub fn late_when_idle(&self, replica: &Replica, admitted: Admitted) -> Option<Metric> {
        let wanted = self.percentiles(admitted.mix);
        let Some(pressure) = Pressure::at_most(replica, admitted, IDLE, wanted) else {
            return Some(Metric::Ttft);
        };
        let at = Pressed::new(replica, &pressure, admitted);
        let breaks = |metric: &Metric| {
            let binding = self.binding(replica.role, admitted);
            let mut binding = binding.filter(|(slo, _, _)| slo.metric == *metric);
            binding.any(|bound| self.is_broken(at, bound, 0.0))
        };
        let mut late = Metric::ALL.into_iter().filter(breaks);
        match (late.next(), late.next()) {
            (Some(_), Some(_)) => self.tightest(at).map(|(_, metric)| metric),
            (one, _) => one,
        }
    }

    /// What is sure of limits on an idle replica, whichever classes of `set` are admitted; and of `own`,
    /// where they come in known shares.
    ///
    /// Nobody feels more than where all classes may come, or less than a request that meets no other.
    pub fn when_idle(&self, replica: &Replica, set: u32, own: Option<Admitted>) -> WhenIdle {
        let mut sure = WhenIdle::default();
        let wanted = self.percentiles(Mix::Any);
        let Some(most) = Pressure::of_any_mix(replica, set, IDLE, wanted) else {
            return sure;
        };
        let least = Pressure::alone(replica, IDLE);
        let [most, least] = [&most, &least].map(|p| Pressed::new(replica, p, set.into()));
        sure.held = [set; Metric::ALL.len()];
        for bound in self.binding(replica.role, set.into()) {
            let (metric, of) = (bound.0.metric as usize, bound.1);
            let Of::Class(k) = of else { continue };
            if excess_of(bound, self.value_of(most, bound)) < -SURE {
                continue;
            }
            sure.held[metric] &= !(1 << k);
            if excess_of(bound, self.value_of(least, bound)) > SURE {
                sure.late[metric] |= 1 << k;
            }
        }
        if let Some(admitted) = own {
            let least = Pressed { admitted, ..least };
            for bound in self.binding(replica.role, admitted) {
                let metric = bound.0.metric as usize;
                sure.own_late[metric] |=
                    sure.held[metric] != set && self.surely_breaks(least, bound);
            }
        }
        sure
    }

    /// Whether a limit breaks beyond doubt. Of a class that is late at a percentile, at least so many are
    /// late: where that is too many of all requests together, their percentile need not be found.
    fn surely_breaks(&self, at: Pressed, bound: Bound) -> bool {
        let (slo, of, share) = bound;
        if matches!(of, Of::Class(_)) || slo.percentile == 0 {
            return excess_of(bound, self.value_of(at, bound)) > SURE;
        }
        let most_s = share * slo.limit_s * (1.0 + SURE);
        let (mut late, mut total) = (0.0, 0.0);
        for k in members(at.admitted.set) {
            let weight = at.admitted.mix.weight(k);
            let is_late = |i: &usize| self.value(at, k, slo.metric, *i) > most_s;
            let least = (1..PERCENTILES.len()).find(is_late);
            late += weight * least.map_or(0.0, |i| 1.0 - PERCENTILES[i]);
            total += weight;
        }
        late > (1.0 - PERCENTILES[slo.percentile]) * total * (1.0 + SURE)
    }

    /// Whether the capacity is surely below `u`.
    pub fn breaks_below(&self, replica: &Replica, admitted: Admitted, u: f64) -> bool {
        if self.binding(replica.role, admitted).next().is_none() {
            return false;
        }
        let wanted = self.percentiles(admitted.mix);
        let Some(pressure) = Pressure::at_most(replica, admitted, u, wanted) else {
            return true;
        };
        self.breaks(Pressed::new(replica, &pressure, admitted), SURE)
    }

    /// What the limited time surely lies between, s: a percentile of all requests together is no less
    /// than that of the best class, and no more than that of the worst.
    fn range_of(&self, at: Pressed, bound: Bound) -> (f64, f64) {
        let (slo, of, _) = bound;
        if matches!(of, Of::Class(_)) || slo.percentile == 0 {
            let value = self.value_of(at, bound);
            return (value, value);
        }
        let weighed = members(at.admitted.set).filter(|k| at.admitted.mix.weight(*k) > 0.0);
        weighed
            .map(|k| self.value(at, k, slo.metric, slo.percentile))
            .fold((f64::INFINITY, 0.0), |(low, high), t| {
                (t.min(low), t.max(high))
            })
    }

    /// The limited time of a class, or of all that are admitted taken together, s.
    fn value_of(&self, at: Pressed, (slo, of, _): Bound) -> f64 {
        let class = |k: usize, i: usize| self.value(at, k, slo.metric, i);
        match of {
            Of::Class(k) => class(k, slo.percentile),
            Of::All => {
                let (mut parts, mut count) = ([(0.0, [0.0; 5]); MAX_CLASSES], 0);
                for k in members(at.admitted.set) {
                    let weight = at.admitted.mix.weight(k);
                    if weight > 0.0 {
                        parts[count] = (weight, std::array::from_fn(|i| class(k, i)));
                        count += 1;
                    }
                }
                mixture::quantile(&parts[..count], slo.percentile)
            }
        }
    }

    fn value(&self, at: Pressed, k: usize, metric: Metric, i: usize) -> f64 {
        let Pressed {
            replica, pressure, ..
        } = at;
        // The way to the user is paid once, by the pool that sends the first token's prompt.
        let way = match replica.role {
            Role::Decode(_) => 0.0,
            _ => self.round_trip_s[k],
        };
        let ttft = || pressure.ttft(replica, k, i, way);
        match (metric, replica.role) {
            (Metric::Ttft, _) | (Metric::E2e, Role::Prefill(_)) => ttft(),
            (Metric::Tpot, _) => pressure.tpot(replica, k, i),
            (Metric::E2e, _) => {
                ttft() + replica.work[k].later_tokens[i] * pressure.tpot(replica, k, 0)
            }
        }
    }

    /// Largest utilisation at which every limit holds for the admitted mix, and the limit that stops
    /// it. Zero when a limit breaks on an idle replica. Without limits a replica may be full.
    pub fn capacity<'a>(
        &self,
        replica: &Replica,
        admitted: impl Into<Admitted<'a>>,
    ) -> (f64, Option<Metric>) {
        let admitted = admitted.into();
        largest(|u| self.at_most(replica, admitted, u))
    }

    /// The same of each of `replicas` behind one router, which all serve class 0 alone.
    pub fn capacity_among(&self, replica: &Replica, replicas: f64) -> (f64, Option<Metric>) {
        let load = replica.load_factor() * replica.classes[0].load;
        largest(|u| {
            let rates = [u / load];
            let admitted = Admitted {
                set: 1,
                mix: Mix::Rates(&rates),
            };
            let wanted = self.percentiles(admitted.mix);
            match Pressure::of_mix_among(replica, &rates, replicas, wanted) {
                Some(pressure) => self.tightest(Pressed::new(replica, &pressure, admitted)),
                None => Some((1.0, Metric::Ttft)),
            }
        })
    }
}

/// Largest utilisation at which what is nearest to breaking does not, and what that is; `excess` is
/// [`excess_of`] at a utilisation, `None` where nothing binds.
///
/// Latency grows like `1/(1−u)`, so `1 − limit/value` is nearly straight in `u` and false
/// position needs few steps. The answer is always a point where limits held.
fn largest(excess: impl Fn(f64) -> Option<(f64, Metric)>) -> (f64, Option<Metric>) {
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

/// Whether the percentile of a limit is that of all requests of a replica with this mix. Where the mix is
/// not known, every class keeps the limit, and so do all together.
fn is_over_all(slo: &Slo, mix: Mix) -> bool {
    slo.over == Over::Workload && slo.class.is_none() && mix.is_known()
}

/// A replica with next to no load.
pub const IDLE: f64 = 1e-6;
/// Relative distance from a limit that leaves no doubt: quantiles are found to 1e-9.
const SURE: f64 = 1e-6;
/// Relative distance to a limit at which the search for the capacity stops.
const CAPACITY_TOLERANCE: f64 = 5e-4;
/// Most steps of that search.
const CAPACITY_STEPS: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::latency::tests::{spec, with};

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
            over: Over::Class,
        }
    }

    const NEAR: [f64; 2] = [0.0, 0.0];

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
}
