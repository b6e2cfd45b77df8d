//! Configurations one at a time: operating point, capacity, latency at a routed mix.

use rayon::prelude::*;
use serde::Serialize;

use crate::error::{not_negative, positive, same_rows, Error, Result};
use crate::perf::benchmark::{self, Run, Throughput};
use crate::perf::closed_loop::{self, ClosedLoop};
use crate::perf::latency::{members, Latency, Percentiles, Pressure};
use crate::perf::layout::Layout;
use crate::perf::limits::Limits;
use crate::perf::memory::kv_budget_bytes;
use crate::perf::pool_loop::{self, Pool, PoolLoop};
use crate::perf::replica::{
    class_joules, needed_sequences, sequences_that_fit, ClassWork, Replica,
};
use crate::perf::role::Role;
use crate::perf::step::StepModel;
use crate::prune::{Kept, FEWER_BITS, PIPELINE};
use crate::space::{resolve, Configuration, Space};
use crate::workload::{Admitted, Metric, Mix, Spec, Workload, MAX_CLASSES};

/// What a replica at its capacity draws at least above one that merely has requests, as a share of
/// what having requests adds: 78 % of the range at full load where that is 65 %.
///
/// The measured runs behind `active_w` do not tell layouts apart more finely, and without it a
/// layout that serves a quarter as much would stand beside another for a few joules a request.
pub const LEAST_RISE: f64 = 0.2;

/// A replica that admits a set of classes, with what it is rated by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rated<'a> {
    pub(crate) workload: &'a Workload,
    pub(crate) layout: &'a Layout<'a>,
    pub(crate) replica: &'a Replica<'a>,
    /// Joules of a request of each class above a replica that stands loaded.
    pub(crate) joules: &'a [f64; MAX_CLASSES],
    /// Admitted classes.
    pub(crate) admitted: Admitted<'a>,
    /// Answer quality.
    pub(crate) quality: f64,
    /// Whether its weights have fewer bits than people take without a reason.
    pub(crate) fewer_bits: bool,
    /// Number in the space.
    pub(crate) id: u64,
}

impl Rated<'_> {
    /// What a plan looks at, at a capacity.
    pub(crate) fn kept(&self, capacity: f64) -> Kept {
        let (layout, replica) = (self.layout, self.replica);
        let mut kept = Kept {
            id: self.id,
            gpus: layout.parallel.gpus(),
            per_system: layout.system.gpus,
            classes: self.workload.classes.len(),
            load: [f64::INFINITY; MAX_CLASSES],
            joules: [f64::INFINITY; MAX_CLASSES],
            idle_w: self.rise_w(),
            quality: self.quality,
            oddities: self.oddities(),
            capacity,
            of_each: None,
        };
        for k in members(self.admitted.set) {
            kept.load[k] = replica.load_factor() * replica.classes[k].load / capacity;
            let least = self.least_rise_w() * kept.load[k];
            kept.joules[k] = self.joules[k].max(least);
        }
        if let Mix::Own(_) = self.admitted.mix {
            kept.of_each = Some(Box::new([kept.load, kept.joules]));
            kept.load = self.mean_of(&kept.load);
            kept.joules = self.mean_of(&kept.joules);
        }
        kept
    }

    /// Watts that having requests adds to an idle replica.
    fn rise_w(&self) -> f64 {
        self.layout.standing_w() - self.layout.idle_w()
    }

    /// Joules per replica-second that a request takes at least, W.
    pub(crate) fn least_rise_w(&self) -> f64 {
        LEAST_RISE * self.rise_w()
    }

    /// For every class, the mean over requests of the mix: all that matters where it is known.
    fn mean_of(&self, of_each: &[f64; MAX_CLASSES]) -> [f64; MAX_CLASSES] {
        let weight = |k: usize| self.admitted.mix.weight(k);
        let set = || members(self.admitted.set);
        let total: f64 = set().map(weight).sum();
        let mean = set().map(|k| weight(k) * of_each[k]).sum::<f64>() / total;
        let mut means = [f64::INFINITY; MAX_CLASSES];
        set().for_each(|k| means[k] = mean);
        means
    }

    fn oddities(&self) -> u8 {
        let pipeline = if self.layout.parallel.pp > 1 {
            PIPELINE
        } else {
            0
        };
        pipeline | if self.fewer_bits { FEWER_BITS } else { 0 }
    }
}

/// What one closed loop of a layout measures, at `load`: concurrency, input and output tokens.
/// `axes` and `degrees` as in [`Configuration::serving`]. `None`: no layout, or no kernel for it.
pub fn closed_loop(
    spec: &Spec,
    axes: [usize; 6],
    degrees: [u32; 4],
    load: [f64; 3],
) -> Result<Option<ClosedLoop>> {
    load.iter().try_for_each(|x| positive("load", *x))?;
    let c = Configuration::serving(spec, axes, degrees)?;
    let [concurrency, input, output] = load;
    Ok(resolve(spec, &c).and_then(|layout| {
        let step = StepModel::of(&layout)?;
        Some(closed_loop::closed_loop(
            &layout,
            &step,
            concurrency,
            input,
            output,
        ))
    }))
}

/// Axes, degrees and number of the workers of a pool.
pub type Workers = ([usize; 6], [u32; 4], u32);

/// Means of a closed loop of a pool that prefills and one that decodes.
pub fn pool_loop(
    spec: &Spec,
    prefill: Workers,
    decode: Workers,
    load: [f64; 3],
) -> Result<Option<PoolLoop>> {
    load.iter().try_for_each(|x| positive("load", *x))?;
    let pools = [prefill, decode];
    for (_, _, workers) in pools {
        positive("workers", f64::from(workers))?;
    }
    let [reads, answers] =
        pools.map(|(axes, degrees, _)| Configuration::serving(spec, axes, degrees));
    let layouts = resolve(spec, &reads?).zip(resolve(spec, &answers?));
    Ok(layouts.and_then(|(reads, answers)| {
        let (reading, answering) = (StepModel::of(&reads)?, StepModel::of(&answers)?);
        let pool = |layout, step, workers| Pool {
            layout,
            step,
            workers: f64::from(workers),
        };
        let [concurrency, input, output] = load;
        pool_loop::pool_loop(
            &pool(&reads, &reading, prefill.2),
            &pool(&answers, &answering, decode.2),
            concurrency,
            input,
            output,
        )
    }))
}

/// The most that a layout serves of the workload's first class, `limited` by its latency limits.
pub fn throughput(
    spec: &Spec,
    axes: [usize; 6],
    degrees: [u32; 4],
    run: Run,
    limited: bool,
) -> Result<Option<Throughput>> {
    positive("batch", f64::from(run.batch))?;
    for (field, value) in [("requests", run.requests), ("replicas", run.replicas)] {
        if value.is_nan() || value < 1.0 {
            let (field, must) = (field.to_owned(), "at least 1");
            return Err(Error::Value { field, value, must });
        }
    }
    let c = Configuration::serving(spec, axes, degrees)?;
    let workload = &spec.workloads[c.workload];
    let limits = limited.then(|| limits(workload, 0));
    let run = Run { limits, ..run };
    Ok(resolve(spec, &c).and_then(|layout| {
        let step = StepModel::of(&layout)?;
        benchmark::throughput(&layout, &step, &workload.classes[0], &run)
    }))
}

/// What a replica of the workload is held to at a latency group.
pub(crate) fn limits(workload: &Workload, group: usize) -> Limits<'_> {
    Limits {
        slos: &workload.slos,
        splits: &workload.splits,
        round_trip_s: &workload.round_trip_s[group],
    }
}

pub(crate) fn class_work(layout: &Layout, step: &StepModel, workload: &Workload) -> Vec<ClassWork> {
    workload
        .classes
        .iter()
        .map(|class| ClassWork::new(layout, step, class))
        .collect()
}

/// KV bytes on one accelerator of the longest context that a class of the set has.
pub(crate) fn longest_kv(work: &[ClassWork], set: u32) -> f64 {
    members(set)
        .map(|k| work[k].kv_max_bytes)
        .fold(0.0, f64::max)
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

impl NoPoint {
    /// The reason in a word, as answers have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoLayout => "no_layout",
            Self::Memory => "memory",
            Self::NotAdmitted => "a rate for a class that it does not admit",
        }
    }
}

/// How an integer ended: `ok`, why it is no point, or the limit that breaks on an idle replica.
pub fn status(point: &std::result::Result<Point, NoPoint>) -> &'static str {
    match point {
        Err(why) => why.name(),
        Ok(p) if p.capacity > 0.0 => "ok",
        Ok(p) => p.stopped_by.map_or("ok", Metric::name),
    }
}

/// Names of [`Point::figures`].
pub const FIGURES: [&str; 18] = [
    "gpus",
    "capacity",
    "requests_per_s",
    "output_tokens_per_s",
    "drawn_w",
    "weight_bytes_per_gpu",
    "kv_bytes_per_gpu",
    "concurrency",
    "ttft_mean_ms",
    "tpot_mean_ms",
    "ttft_p50_ms",
    "tpot_p50_ms",
    "ttft_p90_ms",
    "tpot_p90_ms",
    "ttft_p95_ms",
    "tpot_p95_ms",
    "ttft_p99_ms",
    "tpot_p99_ms",
];

impl Point {
    /// The point in numbers, latencies of the worst class; NaN where there is none.
    pub fn figures(&self) -> [f64; FIGURES.len()] {
        let mut out = [f64::NAN; FIGURES.len()];
        let known = [
            f64::from(self.gpus),
            self.capacity,
            self.requests_per_s,
            self.output_tokens_per_s,
            self.drawn_w,
            self.weight_bytes,
            self.kv_bytes,
        ];
        out[..known.len()].copy_from_slice(&known);
        if let Some(latency) = &self.latency {
            let (concurrency, times) = out[known.len()..].split_at_mut(1);
            concurrency[0] = latency.concurrency;
            for (i, pair) in times.chunks_mut(2).enumerate() {
                for (to, of) in pair.iter_mut().zip([&latency.ttft, &latency.tpot]) {
                    *to = 1e3 * of.iter().map(|class| class[i]).fold(f64::NAN, f64::max);
                }
            }
        }
        out
    }
}

/// Runs `f` on the replica of a configuration.
fn with_replica<T>(
    spec: &Spec,
    c: &Configuration,
    f: impl FnOnce(&Layout, &Replica) -> T,
) -> std::result::Result<T, NoPoint> {
    let workload = &spec.workloads[c.workload];
    let layout = resolve(spec, c).ok_or(NoPoint::NoLayout)?;
    let step = StepModel::of(&layout).ok_or(NoPoint::NoLayout)?;
    let batch = workload.batches[c.batch];
    if !is_batch(&layout, c.batch, batch) {
        return Err(NoPoint::NoLayout);
    }
    let work = class_work(&layout, &step, workload);
    let fits = sequences_that_fit(&layout, longest_kv(&work, workload.admitted(c.set).set));
    if kv_budget_bytes(&layout) <= 0.0 || fits < needed_sequences(&layout, batch) {
        return Err(NoPoint::Memory);
    }
    Ok(f(&layout, &Replica::new(&layout, &step, &work, batch)))
}

/// Evaluates one configuration at a latency group.
pub fn point(spec: &Spec, c: &Configuration, group: usize) -> std::result::Result<Point, NoPoint> {
    let workload = &spec.workloads[c.workload];
    let admitted = workload.admitted(c.set);
    let set = admitted.set;
    with_replica(spec, c, |layout, replica| {
        let (capacity, stopped_by) = limits(workload, group).capacity(replica, admitted);
        let pressure = Pressure::at_most(replica, admitted, capacity, Percentiles::ALL);
        let rated = Rated {
            workload,
            layout,
            replica,
            joules: &class_joules(layout, replica),
            admitted,
            quality: workload.quality[c.precision],
            fewer_bits: workload.has_fewer_bits(c.precision),
            id: 0,
        };
        let kept = rated.kept(capacity);
        let (requests_per_s, output_tokens_per_s, dynamic_w) = own_mix(workload, set, &kept);
        Point {
            configuration: *c,
            gpus: layout.parallel.gpus(),
            capacity,
            stopped_by,
            requests_per_s,
            output_tokens_per_s,
            latency: pressure.map(|p| p.latency(replica, set, &workload.round_trip_s[group])),
            drawn_w: layout.standing_w() + dynamic_w,
            weight_bytes: crate::perf::memory::weight_bytes(layout),
            kv_bytes: kv_of_batch(layout, replica, set),
            kept,
        }
    })
}

/// Evaluates configurations at a latency group, on the current rayon pool.
pub fn points(
    spec: &Spec,
    space: &Space,
    ids: &[u64],
    group: usize,
) -> Result<Vec<std::result::Result<Point, NoPoint>>> {
    let one = |id: &u64| Ok(point(spec, &space.decode_at(spec, *id, group)?, group));
    ids.par_iter().map(one).collect()
}

fn kv_of_batch(layout: &Layout, replica: &Replica, set: u32) -> f64 {
    longest_kv(replica.work, set) * needed_sequences(layout, replica.batch as u32)
        / f64::from(layout.parallel.adp)
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

/// Latency of a replica under a given mix of rates (requests/s per class), with its utilisation; no
/// latency above capacity, where it grows without bound.
#[derive(Debug, Clone, Serialize)]
pub struct Recheck {
    /// `Σ f·load`, before the capacity is folded in.
    pub utilisation: f64,
    /// First limit that breaks.
    pub broken: Option<Metric>,
    /// The limited time of each limit of the workload: of the worst class that it binds, or of all
    /// requests together, s. None where it binds no class or the role has no part in it.
    pub slo_s: Option<Vec<Option<f64>>>,
    /// Sequences in decode.
    pub concurrency: Option<f64>,
    /// Mean, p50, p90, p95, p99 of the time to first token, by class, s.
    pub ttft_s: Option<Vec<[f64; 5]>>,
    /// The same of the time per output token after the first.
    pub tpot_s: Option<Vec<[f64; 5]>>,
}

/// Re-evaluates one replica of configuration `id` at its routed mix; one of so many `replicas` behind a
/// router.
///
/// # Errors
/// No such configuration or latency group, rates of other classes or that are no rates, less than one
/// replica, or a configuration that is no point.
pub fn recheck(
    spec: &Spec,
    space: &Space,
    id: u64,
    group: usize,
    rates: &[f64],
    replicas: f64,
) -> Result<Recheck> {
    let c = space.decode_at(spec, id, group)?;
    let workload = &spec.workloads[c.workload];
    same_rows("rates, classes", &[rates.len(), workload.classes.len()])?;
    for (k, rate) in rates.iter().enumerate() {
        not_negative(format!("rates[{k}]"), *rate)?;
    }
    if !(replicas >= 1.0 && replicas.is_finite()) {
        return Err(Error::Input(format!(
            "replicas is {replicas}, not 1 or more"
        )));
    }
    let round_trip_s = &workload.round_trip_s[group];
    let none = |why: NoPoint| Error::Input(format!("configuration {id}: {}", why.name()));
    let asked = members_of(rates);
    let admitted = workload.admitted(c.set);
    if asked & !admitted.set != 0 {
        return Err(none(NoPoint::NotAdmitted));
    }
    let found = with_replica(spec, &c, |_, replica| {
        let utilisation = rates
            .iter()
            .zip(&replica.classes)
            .map(|(f, t)| f * replica.load_factor() * t.load)
            .sum();
        let limits = limits(workload, group);
        let routed = Admitted {
            set: asked,
            mix: Mix::Rates(rates),
        };
        let pressure = Pressure::of_mix_among(replica, rates, replicas, Percentiles::ALL);
        let broken = match &pressure {
            Some(p) => limits.broken(replica, p, routed),
            None if workload.slos.is_empty() => None,
            None => Some(Metric::Ttft),
        };
        let slo_s = pressure.as_ref().map(|p| limits.values(replica, p, routed));
        let latency = pressure.map(|p| p.latency(replica, asked, round_trip_s));
        let rows = |of: &[[f64; 5]]| of[..rates.len()].to_vec();
        Recheck {
            utilisation,
            broken,
            slo_s,
            concurrency: latency.as_ref().map(|l| l.concurrency),
            ttft_s: latency.as_ref().map(|l| rows(&l.ttft)),
            tpot_s: latency.as_ref().map(|l| rows(&l.tpot)),
        }
    });
    found.map_err(none)
}

/// Classes that have a rate.
fn members_of(rates: &[f64]) -> u32 {
    let bit = |(k, rate): (usize, &f64)| u32::from(*rate > 0.0) << k;
    rates.iter().enumerate().map(bit).sum()
}
