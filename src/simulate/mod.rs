//! Discrete events at the level of engine steps: an independent judge of the analytic latencies.
//!
//! Steps take the time that [`StepModel`] gives them; waiting, concurrency and mixing arise from
//! events only. What is assumed, and when to distrust it: `docs/simulation.md`.
//!
//! Calls go one way: `request` ▸ `arrivals`, `prefix`, `traffic` (what comes) and `server` ▸ `station` (what
//! serves) ▸ `engine`; these, `dispatch` (which lane), `timers` and `outcome` (counts) ▸ `run`, the loop ▸
//! `group`, `fleet` ▸ `summary`.

pub mod arrivals;
pub mod dispatch;
pub mod engine;
#[cfg(test)]
mod exact;
pub mod fleet;
pub mod group;
pub mod judge;
pub mod outcome;
pub mod prefix;
pub mod request;
pub mod router;
pub mod run;
pub mod series;
pub mod server;
pub mod station;
pub mod statistics;
mod sum;
pub mod summary;
pub mod timers;
pub mod traffic;

use std::sync::atomic::AtomicBool;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{positive, within, Error, Result};
use crate::evaluate::NoPoint;
use crate::perf::role::Role;
use crate::perf::step::StepModel;
use crate::simulate::arrivals::{random, Drawn, Lengths};
use crate::simulate::engine::{Lane, StepLoop};
use crate::simulate::group::{run_group, ClassOutcome, Outcome, Watch};
use crate::simulate::judge::Judge;
use crate::simulate::outcome::{complete, Conservation, Counts};
use crate::simulate::prefix::Blocks;
use crate::simulate::request::{Request, Window};
use crate::simulate::router::Rule;
use crate::simulate::series::{as_columns, Sample};
use crate::simulate::statistics::{estimate, estimates, Estimate};
use crate::simulate::traffic::{joined, DayCurve};
use crate::space::{resolve, Configuration};
use crate::workload::Spec;

/// Purposes of random numbers: arrivals with their lengths, and the acceptance of drafted tokens.
const ARRIVALS: u64 = 0;
const ACCEPTANCE: u64 = 1;

/// How a configuration is simulated. The defaults are those of the whole product.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Replicas of the configuration.
    pub replicas: usize,
    /// How requests are spread.
    pub router: Rule,
    /// Shape of the Gamma times between drawn requests; 1 is Poisson, less is burstier.
    pub burstiness: f64,
    /// How the rates of drawn requests change over time; those given are their mean.
    pub curve: Option<DayCurve>,
    /// Requests measured; a trace is measured whole.
    pub requests: u64,
    /// Share of the requests that come before measuring starts.
    pub warmup: f64,
    /// Independent runs; a trace has one.
    pub replications: u64,
    /// Seed.
    pub seed: u64,
    /// Latency group, for the round trip.
    pub latency_group: usize,
    /// Most requests that wait on a lane; more are turned away.
    pub waiting_limit: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            replicas: 1,
            router: Rule::ShortestQueue,
            burstiness: 1.0,
            curve: None,
            requests: 20_000,
            warmup: 0.25,
            replications: 8,
            seed: 0,
            latency_group: 0,
            waiting_limit: None,
        }
    }
}

/// Requests of every replication.
#[derive(Debug, Clone)]
pub enum Traffic {
    /// Drawn anew in each.
    Drawn {
        /// Requests/s of the whole fleet, by class.
        rates: Vec<f64>,
        /// Lengths by class.
        lengths: Vec<Lengths>,
    },
    /// The same in each, in order of arrival.
    Replayed {
        /// The requests.
        requests: Vec<Request>,
        /// Hashes of the blocks of their prompts: what is found of these is what each lane holds.
        blocks: Option<Blocks>,
    },
}

impl Traffic {
    /// A trace with others, drawn at `rates` requests/s by class, among its rows.
    pub fn mixed(
        (trace, blocks): (&[Request], Option<&Blocks>),
        rates: &[f64],
        lengths: &[Lengths],
        options: &Options,
    ) -> Result<Self> {
        check_drawn(rates, lengths, options)?;
        let drawn = draw(rates, lengths, options, 0);
        let (requests, blocks) = joined(trace, blocks, drawn);
        Ok(Self::Replayed { requests, blocks })
    }

    /// How long it takes to come, s, about.
    fn span_s(&self, options: &Options) -> f64 {
        match self {
            Self::Drawn { rates, .. } => {
                (1.0 + options.warmup) * options.requests as f64 / rates.iter().sum::<f64>()
            }
            Self::Replayed { requests, .. } => requests.last().map_or(0.0, |r| r.arrived_s),
        }
    }
}

/// Drawn requests of a replication.
fn draw<'a>(rates: &[f64], lengths: &'a [Lengths], options: &'a Options, number: u64) -> Drawn<'a> {
    let rng = random(options.seed, number, ARRIVALS);
    Drawn::new(rates, lengths, options.burstiness, rng).following(options.curve.as_ref())
}

/// One class over all replications.
#[derive(Debug, Clone, Serialize)]
pub struct ClassReport {
    /// Measured requests.
    pub arrived: u64,
    /// Of these, finished.
    pub finished: u64,
    /// Of these, turned away.
    pub rejected: u64,
    /// Of these, neither when the run ended; they are in no latency.
    pub unfinished: u64,
    /// Requests finished per second of the measured time.
    pub served_per_s: Estimate,
    /// Mean, p50, p90, p95, p99 of the time to first token, round trip included, s.
    pub ttft_s: [Estimate; 5],
    /// The same of the time per output token after the first.
    pub tpot_s: [Estimate; 5],
    /// The same of the whole request.
    pub e2e_s: [Estimate; 5],
    /// What the figures above were made of, by replication.
    pub samples: Vec<ClassOutcome>,
}

/// Result of a simulation.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// By class.
    pub classes: Vec<ClassReport>,
    /// Work done per second, each sequence charged its part of a full batch: 1 is all there is.
    pub utilisation: Estimate,
    /// Share of time in which a lane runs a step.
    pub busy: Estimate,
    /// Sequences in decode on one replica.
    pub concurrency: Estimate,
    /// Requests waiting or running in the whole fleet.
    pub backlog: Estimate,
    /// Replications whose backlog grew through the run.
    pub unstable_replications: u64,
    /// Whether these are most of them: latencies are then those of a queue that diverges.
    pub unstable: bool,
    /// Replications.
    pub replications: u64,
    /// Share of the prompt tokens that prefix caches held.
    pub hit_rate: Estimate,
    /// Cache of one lane, bytes.
    pub cache_bytes: f64,
    /// Tokens of short sequences that fill it.
    pub cache_tokens: f64,
    /// Lanes of one replica.
    pub lanes: usize,
    /// Whether it was stopped: the figures are those of whole replications, or where there is none of
    /// the parts.
    pub interrupted: bool,
    /// What the replicas held over time, in the first replication.
    #[serde(serialize_with = "as_columns")]
    pub series: Vec<Sample>,
    /// Engine steps of all replications.
    pub steps: u64,
    /// Sequences put back and computed again, in measured time.
    pub preemptions: u64,
    /// Every request.
    pub conservation: Conservation,
}

/// Why a configuration cannot be simulated, or its input cannot.
#[derive(Debug, Clone, PartialEq)]
pub enum Refused {
    /// The configuration.
    Point(NoPoint),
    /// Not a serving replica.
    Role,
    /// The input.
    Input(Error),
}

impl Refused {
    /// The error that says so of `what`.
    pub fn of(self, what: &str) -> Error {
        let why = match self {
            Self::Input(error) => return error,
            Self::Point(why) => why.name(),
            Self::Role => "only replicas of role serve are simulated by themselves",
        };
        Error::Input(format!("{what}: {why}"))
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Input(error)
    }
}

/// Samples over time of a run that lasts as long as it should.
const SAMPLES: f64 = 100.0;

/// Simulates replicas of a configuration, replications in parallel on the current rayon pool, until
/// `stop` is set.
pub fn simulate(
    spec: &Spec,
    c: &Configuration,
    traffic: &Traffic,
    options: &Options,
    stop: &AtomicBool,
) -> std::result::Result<Report, Refused> {
    check(spec, c, traffic, options)?;
    let engine = engine(spec, c, options.waiting_limit.unwrap_or(usize::MAX))?;
    let replications = match traffic {
        Traffic::Drawn { .. } => options.replications,
        Traffic::Replayed { .. } => 1,
    };
    let fixed_s = spec
        .kernel(
            spec.workloads[c.workload].systems[c.system],
            spec.workloads[c.workload].engines[c.engine],
        )
        .map_or(0.0, |kernel| kernel.ttft_fixed_s);
    let round_trip_s = &spec.workloads[c.workload].round_trip_s[options.latency_group];
    let slos = &spec.workloads[c.workload].slos;
    let judges: Vec<Judge> = round_trip_s
        .iter()
        .enumerate()
        .map(|(k, s)| Judge::new(slos, k, s + fixed_s))
        .collect();
    let watch = Watch {
        sample_s: (traffic.span_s(options) / SAMPLES).max(1e-6),
        stop,
    };
    let outcomes: Vec<Outcome> = (0..replications)
        .into_par_iter()
        .map(|number| replication(&engine, traffic, options, &judges, watch, number))
        .collect();
    let stopped = outcomes.iter().any(|o| o.stopped);
    let outcomes = complete(outcomes, |o| o.stopped);
    Ok(report(&outcomes, &engine, options.replicas as f64, stopped))
}

fn engine(
    spec: &Spec,
    c: &Configuration,
    waiting_limit: usize,
) -> std::result::Result<StepLoop, Refused> {
    if c.role != Role::Serve {
        return Err(Refused::Role);
    }
    let none = Refused::Point(NoPoint::NoLayout);
    let batch = spec.workloads[c.workload].batches[c.batch];
    if batch % (c.parallel.adp * c.parallel.pp) != 0 {
        return Err(none);
    }
    let layout = resolve(spec, c).ok_or(none.clone())?;
    let step = StepModel::of(&layout).ok_or(none)?;
    if crate::perf::memory::kv_budget_bytes(&layout) <= 0.0 {
        return Err(Refused::Point(NoPoint::Memory));
    }
    Ok(StepLoop::new(&layout, &step, batch, waiting_limit))
}

fn replication(
    engine: &StepLoop,
    traffic: &Traffic,
    options: &Options,
    judges: &[Judge],
    watch: Watch<'_>,
    number: u64,
) -> Outcome {
    let blocks = match traffic {
        Traffic::Replayed { blocks, .. } => blocks.as_ref(),
        Traffic::Drawn { .. } => None,
    };
    let mut lanes: Vec<Lane> = (0..options.replicas * engine.lanes)
        .map(|lane| {
            let seed = options.seed.wrapping_add(number.rotate_left(32));
            Lane::new(engine, random(seed, lane as u64, ACCEPTANCE), blocks)
        })
        .collect();
    match traffic {
        Traffic::Drawn { rates, lengths } => {
            let first = (options.warmup * options.requests as f64).ceil() as u64;
            let window = Window {
                first,
                last: first + options.requests,
            };
            run_group(
                &mut lanes,
                engine.lanes,
                options.router,
                draw(rates, lengths, options, number),
                window,
                judges,
                watch,
            )
        }
        Traffic::Replayed { requests, .. } => {
            let window = Window {
                first: (options.warmup * requests.len() as f64) as u64,
                last: requests.len() as u64,
            };
            let source = requests.iter().copied();
            run_group(
                &mut lanes,
                engine.lanes,
                options.router,
                source,
                window,
                judges,
                watch,
            )
        }
    }
}

fn report(outcomes: &[Outcome], engine: &StepLoop, replicas: f64, stopped: bool) -> Report {
    let lanes = replicas * engine.lanes as f64;
    let over = |f: &dyn Fn(&Outcome) -> f64| estimate(outcomes.iter().map(f));
    let sum = |f: &dyn Fn(&Outcome) -> u64| outcomes.iter().map(f).sum::<u64>();
    let unstable = sum(&|o| u64::from(o.unstable));
    let classes = (0..outcomes[0].classes.len())
        .map(|k| class_report(outcomes, k))
        .collect();
    Report {
        classes,
        utilisation: over(&|o| o.per_s(o.meters.work_s) / lanes),
        busy: over(&|o| o.per_s(o.meters.busy_s) / lanes),
        concurrency: over(&|o| o.per_s(o.meters.sequence_s) / replicas),
        backlog: over(&|o| o.backlog),
        unstable_replications: unstable,
        unstable: 2 * unstable > outcomes.len() as u64,
        replications: outcomes.len() as u64,
        hit_rate: over(&|o| o.meters.cached_tokens as f64 / o.meters.prompt_tokens as f64),
        cache_bytes: engine.cache_bytes(),
        cache_tokens: engine.cache_tokens(),
        lanes: engine.lanes,
        interrupted: stopped,
        series: outcomes[0].series.clone(),
        steps: sum(&|o| o.steps),
        preemptions: sum(&|o| o.meters.preemptions),
        conservation: Conservation {
            counts: Counts {
                arrived: sum(&|o| o.arrived),
                finished: sum(&|o| o.finished),
                rejected: sum(&|o| o.rejected),
                lost: 0,
            },
            in_flight: sum(&|o| o.in_flight),
        },
    }
}

fn class_report(outcomes: &[Outcome], k: usize) -> ClassReport {
    let sum = |f: &dyn Fn(&ClassOutcome) -> u64| outcomes.iter().map(|o| f(&o.classes[k])).sum();
    let columns = |f: &dyn Fn(&ClassOutcome) -> [f64; 5]| {
        estimates(
            &outcomes
                .iter()
                .map(|o| f(&o.classes[k]))
                .collect::<Vec<_>>(),
        )
    };
    let (arrived, finished, rejected) = (
        sum(&|c| c.arrived),
        sum(&|c| c.finished),
        sum(&|c| c.rejected),
    );
    ClassReport {
        arrived,
        finished,
        rejected,
        unfinished: arrived - finished - rejected,
        served_per_s: estimate(outcomes.iter().map(|o| o.per_s(o.classes[k].served as f64))),
        ttft_s: columns(&|c| c.ttft.summary()),
        tpot_s: columns(&|c| c.tpot.summary()),
        e2e_s: columns(&|c| c.e2e.summary()),
        samples: outcomes.iter().map(|o| o.classes[k].clone()).collect(),
    }
}

fn check(
    spec: &Spec,
    c: &Configuration,
    traffic: &Traffic,
    options: &Options,
) -> std::result::Result<(), Refused> {
    positive("replicas", options.replicas as f64)?;
    positive("replications", options.replications as f64)?;
    within("warmup", options.warmup, 0.0..1.0, "at least 0 and below 1")?;
    let workload = &spec.workloads[c.workload];
    let longest = spec.models[workload.model].max_context;
    let admitted = workload.admitted(c.set).set;
    let classes = workload.classes.len();
    let check_class = |k: usize| match admitted >> k & 1 {
        1 => Ok(()),
        _ => Err(Refused::Point(NoPoint::NotAdmitted)),
    };
    match traffic {
        Traffic::Drawn { rates, lengths } => {
            positive("requests", options.requests as f64)?;
            check_count("rates", rates.len(), classes)?;
            check_count("lengths", lengths.len(), classes)?;
            check_drawn(rates, lengths, options)?;
            for (k, rate) in rates.iter().enumerate() {
                if *rate > 0.0 {
                    check_class(k)?;
                }
                for (row, (input, output)) in lengths[k].pairs.iter().enumerate() {
                    let at = format!("lengths[{k}], row {row}");
                    check_length(&at, *input, *output, longest)?;
                }
            }
        }
        Traffic::Replayed { requests, blocks } => {
            check_count_positive("times", requests.len())?;
            check_trace(requests, blocks.as_ref(), longest, classes)?;
            requests
                .iter()
                .try_for_each(|r| check_class(r.class as usize))?;
        }
    }
    Ok(())
}

/// Refuses a trace that is out of order, or whose requests cannot be: rows of `times` and `classes`.
fn check_trace(
    requests: &[Request],
    blocks: Option<&Blocks>,
    longest: u32,
    classes: usize,
) -> Result<()> {
    let mut last = 0.0;
    for (row, r) in requests.iter().enumerate() {
        within(
            format!("times[{row}]"),
            r.arrived_s,
            last..f64::INFINITY,
            "finite, at least 0 and not before the row above",
        )?;
        last = r.arrived_s;
        check_length(&format!("row {row}"), r.input, r.output, longest)?;
        within(
            format!("classes[{row}]"),
            f64::from(r.class),
            0.0..classes as f64,
            "a class",
        )?;
    }
    blocks.map_or(Ok(()), |blocks| blocks.check(requests))
}

fn value(field: String, value: f64, must: &'static str) -> Error {
    Error::Value { field, value, must }
}

/// Refuses a stream that cannot be drawn.
fn check_drawn(rates: &[f64], lengths: &[Lengths], options: &Options) -> Result<()> {
    positive("burstiness", options.burstiness)?;
    options
        .curve
        .iter()
        .try_for_each(|curve| curve.check("curve"))?;
    positive("sum of rates", rates.iter().sum())?;
    for (k, rate) in rates.iter().enumerate() {
        let name = format!("rates[{k}]");
        within(name, *rate, 0.0..f64::INFINITY, "finite and at least 0")?;
        if *rate > 0.0 {
            let rows = lengths.get(k).map_or(0, |l| l.pairs.len());
            check_count_positive(&format!("lengths[{k}]"), rows)?;
        }
    }
    Ok(())
}

fn check_count(field: &str, count: usize, classes: usize) -> Result<()> {
    if count == classes {
        return Ok(());
    }
    Err(value(
        format!("number of {field}"),
        count as f64,
        "one per class",
    ))
}

fn check_count_positive(field: &str, count: usize) -> Result<()> {
    positive(format!("number of rows of {field}"), count as f64)
}

fn check_length(at: &str, input: u32, output: u32, longest: u32) -> Result<()> {
    positive(format!("{at}: input tokens"), f64::from(input))?;
    positive(format!("{at}: output tokens"), f64::from(output))?;
    if u64::from(input) + u64::from(output) <= u64::from(longest) {
        return Ok(());
    }
    let total = f64::from(input) + f64::from(output);
    Err(value(
        format!("{at}: input + output tokens"),
        total,
        "at most the model's longest context",
    ))
}

#[cfg(test)]
mod tests;
