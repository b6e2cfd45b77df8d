//! The planner's search: partitions of the space in parallel, counts of what was dropped and why, and the
//! candidates that survive pruning.
//!
//! Most candidates are beaten by some other whatever their capacity turns out to be. What is kept so
//! far says up to which capacity a candidate would be useless; where its limits break there already,
//! its capacity is not searched. A partition is searched in rounds, and bounds come from the rounds
//! before and from the unit at hand, so that counts depend on neither threads nor order.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Serialize, Serializer};

use crate::error::Error;
use crate::evaluate::{class_work, is_batch, limits, longest_kv, Rated};
use crate::perf::layout::Layout;
use crate::perf::limits::{Limits, Verdict, WhenIdle, IDLE};
use crate::perf::memory::kv_budget_bytes;
use crate::perf::replica::{class_joules, needed_sequences, sequences_in, Replica};
use crate::perf::role::Role;
use crate::perf::step::{StepModel, Steps};
use crate::prune::{Floor, Front, Kept};
use crate::space::{resolve, Configuration, LayoutChoice, Space, Unit};
use crate::workload::{Admitted, Metric, Spec, Workload};

/// How many integers of the space ended how. Every integer is counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Degrees, batch or role that make no layout, or no kernel for the dtype.
    pub no_layout: u64,
    /// Weights or caches do not fit.
    pub memory: u64,
    /// Evaluated, but the first token is late even on an idle replica, at every group of sites.
    pub ttft: u64,
    /// Evaluated, but tokens are late even on an idle replica.
    pub tpot: u64,
    /// Evaluated, but the whole request is late even on an idle replica.
    pub e2e: u64,
    /// Evaluated and usable.
    pub usable: u64,
    /// Usable as well, but shown by a bound to be beaten by another candidate at every group of sites:
    /// its capacity was not searched.
    pub dominated: u64,
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([
            ("evaluated", self.evaluated()),
            ("usable", self.usable),
            ("dominated", self.dominated),
            ("no_layout", self.no_layout),
            ("memory", self.memory),
            ("ttft", self.ttft),
            ("tpot", self.tpot),
            ("e2e", self.e2e),
        ])
    }
}

impl Counts {
    /// Candidates that were evaluated in full: distinct configurations that fit memory, without those
    /// that a bound left out.
    pub fn evaluated(&self) -> u64 {
        self.ttft + self.tpot + self.e2e + self.usable
    }

    fn add(&mut self, other: &Self) {
        self.no_layout += other.no_layout;
        self.memory += other.memory;
        self.ttft += other.ttft;
        self.tpot += other.tpot;
        self.e2e += other.e2e;
        self.usable += other.usable;
        self.dominated += other.dominated;
    }

    fn late(&mut self, metric: Metric) {
        match metric {
            Metric::Ttft => self.ttft += 1,
            Metric::Tpot => self.tpot += 1,
            Metric::E2e => self.e2e += 1,
        }
    }
}

/// Candidates that may replace each other: same workload, latency group, system, role and, for
/// pools that hand over a cache, KV format and TTFT split, and either any of their classes or all in the
/// workload's own shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey {
    /// Workload.
    pub workload: usize,
    /// Latency group.
    pub latency_group: usize,
    /// System (index in the specification).
    pub system: usize,
    /// Role.
    pub role: Role,
    /// KV dtype; 0 for `serve`, where nothing is handed over.
    pub kv: usize,
    /// Whether it takes all classes in the workload's own shares.
    pub own_mix: bool,
}

/// Names of [`GroupKey::numbers`].
pub const NUMBERS: [&str; 5] = ["workload", "latency_group", "system", "kv", "split"];

impl GroupKey {
    /// The group in numbers; the split of the TTFT budget is -1 where one replica does both phases.
    pub fn numbers(&self) -> [i64; 5] {
        let split = match self.role {
            Role::Serve => -1,
            Role::Prefill(i) | Role::Decode(i) => i as i64,
        };
        let [workload, group, system, kv] =
            [self.workload, self.latency_group, self.system, self.kv].map(|i| i as i64);
        [workload, group, system, kv, split]
    }
}

type Fronts = BTreeMap<GroupKey, Front>;

/// Result of a search: counts per workload and kept candidates per group.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Counts by workload.
    pub counts: BTreeMap<usize, Counts>,
    /// Kept candidates.
    pub fronts: Fronts,
}

impl Found {
    /// The kept candidates in canonical order: by group, then by number.
    pub fn kept(&self) -> Vec<(GroupKey, Kept)> {
        let sorted = |(key, front): (&GroupKey, &Front)| {
            let rows = front.clone().into_sorted();
            let key = *key;
            rows.into_iter().map(move |kept| (key, kept))
        };
        self.fronts.iter().flat_map(sorted).collect()
    }

    /// Of each of the kept candidates, whether another is at least as good in all but oddities.
    pub fn plainer(&self) -> Vec<bool> {
        let of_group = |front: &Front| {
            let needed = front.needed();
            let rows = front.clone().into_sorted().into_iter();
            rows.map(move |kept| needed.binary_search(&kept.id).is_err())
        };
        self.fronts.values().flat_map(of_group).collect()
    }

    /// Adds partitions `first..last`, on the current rayon pool.
    pub fn extend(
        &mut self,
        spec: &Spec,
        space: &Space,
        first: u64,
        last: u64,
    ) -> crate::error::Result<()> {
        let len = space.partition_count();
        if first > last || last > len {
            let (what, index) = ("partition", last);
            return Err(Error::Unknown { what, index, len });
        }
        *self = std::mem::take(self).merge(search(spec, space, first, last));
        Ok(())
    }

    /// Joins two results; the order does not matter.
    pub fn merge(mut self, other: Self) -> Self {
        for (workload, counts) in &other.counts {
            self.counts.entry(*workload).or_default().add(counts);
        }
        for (key, front) in other.fronts {
            self.fronts.entry(key).or_default().merge(front);
        }
        self
    }
}

/// Searches partitions `first..last` on the current rayon pool.
pub fn search(spec: &Spec, space: &Space, first: u64, last: u64) -> Found {
    (first..last)
        .into_par_iter()
        .map(|index| search_partition(spec, space, index))
        .reduce(Found::default, Found::merge)
}

/// A partition's first round are the units whose place in it is a multiple of this squared. The others
/// follow by what is left when their place is divided by it, so that each round knows what earlier ones
/// kept. Sevens share no factor with the usual sizes of axes, so that each round sees all of them.
const STRIDE: u64 = 7;

fn search_partition(spec: &Spec, space: &Space, index: u64) -> Found {
    let units = space.partition(index);
    let mut found = Found::default();
    for round in 0..=STRIDE {
        let round_of = |place: u64| match place % (STRIDE * STRIDE) {
            0 => 0,
            _ => 1 + place % STRIDE,
        };
        let fresh: Vec<u64> = (0..units.end - units.start)
            .filter(|place| round_of(*place) == round)
            .collect();
        let more = fresh
            .into_par_iter()
            .map(|place| search_unit(spec, space, space.unit(units.start + place), &found.fronts))
            .reduce(Found::default, Found::merge);
        found = found.merge(more);
    }
    found
}

fn search_unit(spec: &Spec, space: &Space, unit: Unit, known: &Fronts) -> Found {
    let mut at = UnitSearch {
        space,
        workload: &spec.workloads[unit.workload],
        known,
        counts: Counts::default(),
        fronts: Fronts::new(),
    };
    let points = space.points_per_layout(unit.workload);
    let mut steps = Steps::default();
    for choice in space.layouts(spec, unit) {
        let Some(layout) = resolve(spec, &choice.configuration) else {
            at.counts.no_layout += points;
            continue;
        };
        let budget = kv_budget_bytes(&layout);
        if budget <= 0.0 && steps.exist(&layout) {
            at.counts.memory += points;
            continue;
        }
        match steps.of(&layout) {
            None => at.counts.no_layout += points,
            Some(step) => at.search_layout(&layout, &step, budget, &choice),
        }
    }
    Found {
        counts: BTreeMap::from([(unit.workload, at.counts)]),
        fronts: at.fronts,
    }
}

/// Where a unit is searched, and what it has found.
struct UnitSearch<'a> {
    space: &'a Space,
    workload: &'a Workload,
    /// What earlier rounds kept.
    known: &'a Fronts,
    counts: Counts,
    fronts: Fronts,
}

/// Why a candidate is not kept at one group of sites.
enum Out {
    Late(Metric),
    Dominated,
}

impl UnitSearch<'_> {
    /// `budget_bytes`: what an accelerator has for caches.
    fn search_layout(
        &mut self,
        layout: &Layout,
        step: &StepModel,
        budget_bytes: f64,
        choice: &LayoutChoice,
    ) {
        let (workload, c) = (self.workload, &choice.configuration);
        let sets: Vec<_> = (0..workload.set_count())
            .map(|s| workload.admitted(s))
            .collect();
        let work = class_work(layout, step, workload);
        let fit = |admitted: &Admitted| {
            sequences_in(budget_bytes, layout, longest_kv(&work, admitted.set))
        };
        let fits: Vec<f64> = sets.iter().map(fit).collect();
        // Large batches first: they need the fewest replica-seconds, so that small ones are beaten.
        for (b, &batch) in workload.batches.iter().enumerate().rev() {
            if !is_batch(layout, b, batch) {
                self.counts.no_layout += sets.len() as u64;
                continue;
            }
            let needed = needed_sequences(layout, batch);
            let fitting = fits.iter().filter(|fit| **fit >= needed).count();
            self.counts.memory += (sets.len() - fitting) as u64;
            if fitting == 0 {
                continue;
            }
            let replica = Replica::new(layout, step, &work, batch);
            let joules = class_joules(layout, &replica);
            let idle = self.when_idle(&replica);
            let fitting = sets.iter().enumerate().filter(|(s, _)| fits[*s] >= needed);
            for (s, &admitted) in fitting {
                let rated = Rated {
                    workload,
                    layout,
                    replica: &replica,
                    joules: &joules,
                    admitted,
                    quality: workload.quality[c.precision],
                    fewer_bits: workload.has_fewer_bits(c.precision),
                    id: self.space.point_id(c.workload, choice.first, b, s),
                };
                self.search_point(&rated, c, &idle);
            }
        }
    }

    /// By group of sites, what is surely known of an idle replica with any classes.
    fn when_idle(&self, replica: &Replica) -> Vec<WhenIdle> {
        let workload = self.workload;
        let own = workload.own_mix.then(|| workload.own());
        let sets = workload
            .class_sets
            .iter()
            .copied()
            .chain(own.map(|own| own.set));
        let all = sets.fold(0, |all, set| all | set);
        (0..workload.round_trip_s.len())
            .map(|group| limits(workload, group).when_idle(replica, all, own))
            .collect()
    }

    fn search_point(&mut self, rated: &Rated, c: &Configuration, idle: &[WhenIdle]) {
        let (mut late, mut usable, mut dominated) = (None, false, false);
        for (group, idle) in idle.iter().enumerate() {
            let key = GroupKey {
                workload: c.workload,
                latency_group: group,
                system: self.workload.systems[c.system],
                role: c.role,
                kv: if c.role == Role::Serve {
                    0
                } else {
                    rated.layout.kv
                },
                own_mix: rated.admitted.mix.is_known(),
            };
            let kept = self.fronts.entry(key).or_default();
            let bounds = Bounds([self.known.get(&key).unwrap_or(&EMPTY), kept]);
            match rate(rated, &limits(self.workload, group), idle, &bounds) {
                Err(Out::Late(metric)) => late = Some(metric),
                Err(Out::Dominated) => dominated = true,
                Ok(candidate) => {
                    usable = true;
                    kept.add(candidate);
                }
            }
        }
        match late {
            _ if usable => self.counts.usable += 1,
            _ if dominated => self.counts.dominated += 1,
            Some(metric) => self.counts.late(metric),
            None => self.counts.usable += 1,
        }
    }
}

static EMPTY: Front = Front::new();

fn rate(rated: &Rated, limits: &Limits, idle: &WhenIdle, bounds: &Bounds) -> Result<Kept, Out> {
    let Rated {
        replica, admitted, ..
    } = *rated;
    let late = match idle.of(admitted) {
        Verdict::Holds => None,
        Verdict::Late(metric) => Some(metric),
        Verdict::Open => limits.late_when_idle(replica, admitted),
    };
    if let Some(metric) = late {
        return Err(Out::Late(metric));
    }
    if bounds.beat(rated, limits) {
        return Err(Out::Dominated);
    }
    let (capacity, _) = limits.capacity(replica, admitted);
    Ok(rated.kept(capacity))
}

/// Kept candidates that others are compared with before their capacity is known.
struct Bounds<'a>([&'a Front; 2]);

impl Bounds<'_> {
    /// Whether a candidate that holds its limits when idle is surely dominated.
    ///
    /// Its load and its joules only rise as its capacity falls. So where its limits break at the
    /// utilisation below which a kept one is no worse in any of them, it is useless.
    fn beat(&self, rated: &Rated, limits: &Limits) -> bool {
        let floor = Floor {
            kept: &rated.kept(1.0),
            rise_w: rated.least_rise_w(),
        };
        let beaten = self.beat_up_to(&floor, 1.0);
        beaten >= 1.0 || beaten > IDLE && limits.breaks_below(rated.replica, rated.admitted, beaten)
    }

    fn beat_up_to(&self, floor: &Floor, enough: f64) -> f64 {
        let [known, own] = self.0;
        own.beat_up_to(floor, known.beat_up_to(floor, IDLE, enough), enough)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::{point, Point};
    use crate::workload::Over;

    fn spec() -> Spec {
        Spec::from_json(include_str!("../benches/spec.json")).unwrap()
    }

    /// Each integer of the space by itself, with nothing left out.
    fn one_by_one(spec: &Spec, space: &Space) -> Found {
        let mut found = Found::default();
        for id in 0..space.len() {
            let c = space.decode(spec, id).unwrap();
            let workload = &spec.workloads[c.workload];
            let groups = 0..workload.round_trip_s.len();
            let points: Vec<_> = groups.map(|group| point(spec, &c, group)).collect();
            let counts = found.counts.entry(c.workload).or_default();
            match &points[0] {
                Err(_) => counts.no_layout += 1,
                Ok(_) => {
                    let points: Vec<Point> = points.into_iter().map(Result::unwrap).collect();
                    match points.iter().find(|point| point.capacity > 0.0) {
                        Some(_) => counts.usable += 1,
                        None => counts.late(points.last().unwrap().stopped_by.unwrap()),
                    }
                    for (latency_group, point) in points.into_iter().enumerate() {
                        if point.capacity > 0.0 {
                            let key = GroupKey {
                                workload: c.workload,
                                latency_group,
                                system: workload.systems[c.system],
                                role: c.role,
                                kv: match c.role {
                                    Role::Serve => 0,
                                    _ => workload.kv[c.kv],
                                },
                                own_mix: workload.admitted(c.set).mix.is_known(),
                            };
                            let kept = Kept { id, ..point.kept };
                            found.fronts.entry(key).or_default().add(kept);
                        }
                    }
                }
            }
        }
        found
    }

    fn kept(found: &Found) -> Vec<(GroupKey, Vec<Kept>)> {
        let fronts = found.fronts.iter();
        let sorted = fronts.map(|(key, front)| (*key, front.clone().into_sorted()));
        sorted.filter(|(_, front)| !front.is_empty()).collect()
    }

    #[test]
    fn bounds_lose_nothing_and_every_integer_is_counted() {
        let mut left_out = 0;
        for times in [0.2, 1.0, 5.0, f64::INFINITY] {
            let mut spec = spec();
            for workload in &mut spec.workloads {
                workload.own_mix = workload.classes.len() > 1;
                workload
                    .slos
                    .iter_mut()
                    .for_each(|slo| slo.over = Over::Workload);
                if times.is_infinite() {
                    workload.slos.clear();
                }
                workload
                    .slos
                    .iter_mut()
                    .for_each(|slo| slo.limit_s *= times);
            }
            let space = Space::new(&spec);
            let found = search(&spec, &space, 0, space.partition_count());
            let all = one_by_one(&spec, &space);
            assert_eq!(kept(&found), kept(&all), "{times}");
            for (workload, counts) in &found.counts {
                left_out += counts.dominated;
                // What is no layout and does not fit either may count as one or the other.
                let unbounded = Counts {
                    usable: counts.usable + counts.dominated,
                    dominated: 0,
                    no_layout: counts.no_layout + counts.memory,
                    memory: 0,
                    ..*counts
                };
                assert_eq!(unbounded, all.counts[workload], "{times}");
            }
        }
        assert!(left_out > 10_000, "{left_out}");
    }
}
