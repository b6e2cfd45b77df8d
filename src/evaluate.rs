//! Evaluates ranges of the space in parallel: operating points, capacities, counts of what was
//! dropped and why, and the candidates that survive pruning.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::perf::latency::{members, Latency, Limits, Percentiles, Pressure};
use crate::perf::layout::Layout;
use crate::perf::memory::kv_budget_bytes;
use crate::perf::replica::{
    needed_sequences, request_joules, sequences_that_fit, ClassWork, Replica,
};
use crate::perf::step::{OperatorTables, StepModel};
use crate::prune::{Front, Kept};
use crate::space::{resolve, Configuration, Space, Unit};
use crate::workload::{Metric, Role, Spec, Workload, MAX_CLASSES};

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
}

impl Counts {
    /// Candidates: distinct configurations that fit memory and were evaluated in full.
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
/// pools that hand over a cache, KV format and TTFT split.
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
}

/// Result of a search: counts per workload and kept candidates per group.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Counts by workload.
    pub counts: BTreeMap<usize, Counts>,
    /// Kept candidates.
    pub fronts: BTreeMap<GroupKey, Front>,
}

impl Found {
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

/// Searches units `first..last` on the current rayon pool.
pub fn search(spec: &Spec, space: &Space, first: u64, last: u64) -> Found {
    (first..last)
        .into_par_iter()
        .fold(Found::default, |mut found, index| {
            search_unit(spec, space, space.unit(index), &mut found);
            found
        })
        .reduce(Found::default, Found::merge)
}

fn search_unit(spec: &Spec, space: &Space, unit: Unit, found: &mut Found) {
    let workload = &spec.workloads[unit.workload];
    let mut counts = Counts::default();
    let points = space.points_per_layout(unit.workload);
    let mut tables = None;
    for choice in space.layouts(spec, unit) {
        let evaluated = resolve(spec, &choice.configuration).and_then(|layout| {
            let tables = (*tables.get_or_insert_with(|| OperatorTables::build(&layout)))?;
            let step = StepModel::build(&layout, &tables)?;
            Some((layout, step))
        });
        match evaluated {
            None => counts.no_layout += points,
            Some((layout, step)) => {
                let mut sink = Sink {
                    space,
                    workload,
                    counts: &mut counts,
                    fronts: &mut found.fronts,
                };
                search_layout(
                    &mut sink,
                    &layout,
                    &step,
                    &choice.configuration,
                    choice.first,
                );
            }
        }
    }
    found.counts.entry(unit.workload).or_default().add(&counts);
}

/// Where the points of a layout go.
struct Sink<'a> {
    space: &'a Space,
    workload: &'a Workload,
    counts: &'a mut Counts,
    fronts: &'a mut BTreeMap<GroupKey, Front>,
}

fn search_layout(
    sink: &mut Sink,
    layout: &Layout,
    step: &StepModel,
    c: &Configuration,
    first: u64,
) {
    let workload = sink.workload;
    let sets = workload.class_sets.len() as u64;
    if kv_budget_bytes(layout) <= 0.0 {
        sink.counts.memory += sink.space.points_per_layout(c.workload);
        return;
    }
    let work = class_work(layout, step, workload);
    let fits: Vec<f64> = workload
        .class_sets
        .iter()
        .map(|s| set_fits(layout, &work, *s))
        .collect();
    for (b, &batch) in workload.batches.iter().enumerate() {
        if !is_batch(layout, b, batch) {
            sink.counts.no_layout += sets;
            continue;
        }
        let replica = Replica::new(layout, step, &work, batch);
        for (s, &set) in workload.class_sets.iter().enumerate() {
            if fits[s] < needed_sequences(layout, batch) {
                sink.counts.memory += 1;
                continue;
            }
            let id = sink.space.point_id(c.workload, first, b, s);
            search_point(sink, layout, &replica, c, set, id);
        }
    }
}

fn search_point(
    sink: &mut Sink,
    layout: &Layout,
    replica: &Replica,
    c: &Configuration,
    set: u32,
    id: u64,
) {
    let workload = sink.workload;
    let mut late = None;
    let mut usable = false;
    for (group, round_trip_s) in workload.round_trip_s.iter().enumerate() {
        let limits = Limits {
            slos: &workload.slos,
            splits: &workload.splits,
            round_trip_s,
        };
        let (capacity, stopped_by) = limits.capacity(replica, set);
        if capacity <= 0.0 {
            late = stopped_by;
            continue;
        }
        usable = true;
        let point = operating_point(replica, set, capacity, round_trip_s);
        let kept = candidate(workload, layout, replica, c, set, id, capacity, &point);
        let key = GroupKey {
            workload: c.workload,
            latency_group: group,
            system: workload.systems[c.system],
            role: c.role,
            kv: if c.role == Role::Serve { 0 } else { layout.kv },
        };
        sink.fronts.entry(key).or_default().add(kept);
    }
    match late {
        Some(metric) if !usable => sink.counts.late(metric),
        _ => sink.counts.usable += 1,
    }
}

/// Latency at capacity under the worst mix; without limits, of a replica that is all but full.
fn operating_point(
    replica: &Replica,
    set: u32,
    capacity: f64,
    round_trip_s: &[f64],
) -> Option<Latency> {
    Pressure::of_any_mix(replica, set, capacity, Percentiles::ALL)
        .map(|p| p.latency(replica, set, round_trip_s))
}

#[allow(clippy::too_many_arguments)]
fn candidate(
    workload: &Workload,
    layout: &Layout,
    replica: &Replica,
    c: &Configuration,
    set: u32,
    id: u64,
    capacity: f64,
    point: &Option<Latency>,
) -> Kept {
    let mut kept = Kept {
        id,
        gpus: layout.parallel.gpus(),
        per_system: layout.system.gpus,
        classes: workload.classes.len(),
        load: [f64::INFINITY; MAX_CLASSES],
        joules: [f64::INFINITY; MAX_CLASSES],
        idle_w: 0.0,
        quality: workload.quality[c.precision],
        capacity,
    };
    let n = point
        .as_ref()
        .map_or(replica.batch, |p| p.concurrency.max(1.0));
    for k in members(set) {
        kept.load[k] = replica.load_factor() * replica.classes[k].load / capacity;
        kept.joules[k] = request_joules(layout, replica, k, n);
    }
    kept
}

pub(crate) fn class_work(layout: &Layout, step: &StepModel, workload: &Workload) -> Vec<ClassWork> {
    workload
        .classes
        .iter()
        .map(|class| ClassWork::new(layout, step, class))
        .collect()
}

fn set_fits(layout: &Layout, work: &[ClassWork], set: u32) -> f64 {
    let longest = members(set)
        .map(|k| work[k].kv_max_bytes)
        .fold(0.0, f64::max);
    sequences_that_fit(layout, longest)
}

/// A batch must divide over ranks and fill every stage; a prefill pool has no batch axis.
pub(crate) fn is_batch(layout: &Layout, position: usize, batch: u32) -> bool {
    let lanes = layout.parallel.adp * layout.parallel.pp;
    match layout.role {
        Role::Prefill(_) => position == 0,
        _ => batch % lanes == 0,
    }
}

/// One configuration in full.
#[derive(Debug, Clone)]
pub struct Point {
    /// Configuration.
    pub configuration: Configuration,
    /// Accelerators in a replica.
    pub gpus: u32,
    /// Utilisation that the limits allow; 0 when they break on an idle replica.
    pub capacity: f64,
    /// Limit that stops it.
    pub stopped_by: Option<Metric>,
    /// Requests/s of the set's own mix at capacity.
    pub requests_per_s: f64,
    /// Output tokens/s at capacity.
    pub output_tokens_per_s: f64,
    /// Latency at capacity under the worst mix of the set.
    pub latency: Option<Latency>,
    /// Watts drawn at capacity by the replica's accelerators with their share of the host.
    pub drawn_w: f64,
    /// Weight bytes on one accelerator.
    pub weight_bytes: f64,
    /// KV bytes of a full batch at the longest context on one accelerator.
    pub kv_bytes: f64,
    /// Load and joules per class.
    pub kept: Kept,
}

/// Why an integer is not a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPoint {
    /// Not a layout, or no kernel.
    NoLayout,
    /// Does not fit.
    Memory,
    /// A rate for a class that the configuration does not admit.
    NotAdmitted,
}

/// Runs `f` on the replica of a configuration.
fn with_replica<T>(
    spec: &Spec,
    c: &Configuration,
    f: impl FnOnce(&Layout, &Replica) -> T,
) -> std::result::Result<T, NoPoint> {
    let workload = &spec.workloads[c.workload];
    let layout = resolve(spec, c).ok_or(NoPoint::NoLayout)?;
    let tables = OperatorTables::build(&layout).ok_or(NoPoint::NoLayout)?;
    let step = StepModel::build(&layout, &tables).ok_or(NoPoint::NoLayout)?;
    let batch = workload.batches[c.batch];
    if !is_batch(&layout, c.batch, batch) {
        return Err(NoPoint::NoLayout);
    }
    let work = class_work(&layout, &step, workload);
    let fits = set_fits(&layout, &work, workload.class_sets[c.set]);
    if kv_budget_bytes(&layout) <= 0.0 || fits < needed_sequences(&layout, batch) {
        return Err(NoPoint::Memory);
    }
    Ok(f(&layout, &Replica::new(&layout, &step, &work, batch)))
}

/// Evaluates one configuration at a latency group.
pub fn point(spec: &Spec, c: &Configuration, group: usize) -> std::result::Result<Point, NoPoint> {
    let workload = &spec.workloads[c.workload];
    let round_trip_s = &workload.round_trip_s[group];
    let set = workload.class_sets[c.set];
    with_replica(spec, c, |layout, replica| {
        let limits = Limits {
            slos: &workload.slos,
            splits: &workload.splits,
            round_trip_s,
        };
        let (capacity, stopped_by) = limits.capacity(replica, set);
        let latency = operating_point(replica, set, capacity, round_trip_s);
        let kept = candidate(workload, layout, replica, c, set, 0, capacity, &latency);
        let (requests_per_s, output_tokens_per_s, dynamic_w) = own_mix(workload, set, &kept);
        Point {
            configuration: *c,
            gpus: layout.parallel.gpus(),
            capacity,
            stopped_by,
            requests_per_s,
            output_tokens_per_s,
            latency,
            drawn_w: f64::from(layout.parallel.gpus()) * layout.system.idle_w + dynamic_w,
            weight_bytes: crate::perf::memory::weight_bytes(layout),
            kv_bytes: kv_of_batch(layout, replica, set),
            kept,
        }
    })
}

fn kv_of_batch(layout: &Layout, replica: &Replica, set: u32) -> f64 {
    let longest = members(set)
        .map(|k| replica.work[k].kv_max_bytes)
        .fold(0.0, f64::max);
    longest * needed_sequences(layout, replica.batch as u32) / f64::from(layout.parallel.adp)
}

/// Requests/s, output tokens/s and watts above idle when the set's classes come in their own shares.
fn own_mix(workload: &Workload, set: u32, kept: &Kept) -> (f64, f64, f64) {
    if kept.capacity <= 0.0 {
        return (0.0, 0.0, 0.0);
    }
    let share: f64 = members(set).map(|k| workload.classes[k].share).sum();
    let mean = |g: &dyn Fn(usize) -> f64| -> f64 {
        members(set)
            .map(|k| workload.classes[k].share / share * g(k))
            .sum()
    };
    let rate = 1.0 / mean(&|k| kept.load[k]);
    let tokens = mean(&|k| workload.classes[k].output.at[0]);
    (rate, rate * tokens, rate * mean(&|k| kept.joules[k]))
}

/// Latency of a replica under a given mix of rates (requests/s per class), with its utilisation.
#[derive(Debug, Clone)]
pub struct Recheck {
    /// `Σ f·load`, before the capacity is folded in.
    pub utilisation: f64,
    /// Latency; `None` above capacity, where it grows without bound.
    pub latency: Option<Latency>,
    /// First limit that breaks.
    pub broken: Option<Metric>,
}

/// Re-evaluates one replica at its routed mix.
pub fn recheck(
    spec: &Spec,
    c: &Configuration,
    group: usize,
    rates: &[f64],
) -> std::result::Result<Recheck, NoPoint> {
    let workload = &spec.workloads[c.workload];
    let round_trip_s = &workload.round_trip_s[group];
    let admitted = workload.class_sets[c.set];
    if rates
        .iter()
        .enumerate()
        .any(|(k, f)| *f > 0.0 && admitted >> k & 1 == 0)
    {
        return Err(NoPoint::NotAdmitted);
    }
    with_replica(spec, c, |_, replica| {
        let utilisation = rates
            .iter()
            .zip(&replica.classes)
            .map(|(f, t)| f * replica.load_factor() * t.load)
            .sum();
        let set = rates
            .iter()
            .enumerate()
            .fold(0, |set, (k, f)| set | u32::from(*f > 0.0) << k);
        let limits = Limits {
            slos: &workload.slos,
            splits: &workload.splits,
            round_trip_s,
        };
        let pressure = Pressure::of_mix(replica, rates, Percentiles::ALL);
        let broken = match &pressure {
            Some(p) => limits.broken(replica, p, set),
            None if workload.slos.is_empty() => None,
            None => Some(Metric::Ttft),
        };
        let latency = pressure.map(|p| p.latency(replica, set, round_trip_s));
        Recheck {
            utilisation,
            latency,
            broken,
        }
    })
}
