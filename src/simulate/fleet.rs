//! Fleets of several groups of replicas: what they are, how they are built, and what came out.

use std::sync::atomic::AtomicBool;

use rayon::prelude::*;
use serde::Deserialize;

use crate::error::{index, positive, within, Error};
use crate::evaluate::NoPoint;
use crate::perf::role::Role;
use crate::perf::step::StepModel;
use crate::simulate::arrivals::{random, Drawn, Lengths};
use crate::simulate::dispatch::{Choice, Dispatch, Group, Stage};
use crate::simulate::engine::{Lane, StepLoop};
use crate::simulate::judge::Judge;
use crate::simulate::outcome::{complete, FleetOutcome};
use crate::simulate::prefix::Blocks;
use crate::simulate::request::{Request, Window};
use crate::simulate::router::Rule;
use crate::simulate::run::{run, Failures, Fleet, Maintenance};
use crate::simulate::traffic::{DayCurve, Mixed};
use crate::simulate::{check_length, check_trace, Refused};
use crate::space::{resolve, Configuration, Space};
use crate::workload::{Spec, Workload};

/// Purposes of random numbers beside those of a single group.
const ARRIVALS: u64 = 0;
const ACCEPTANCE: u64 = 1;
const ROUTING: u64 = 2;
const FAILURES: u64 = 3;
const SECONDS_PER_HOUR: f64 = 3600.0;
/// Samples over time of a run that lasts as long as it should.
const SAMPLES: f64 = 400.0;

/// A fleet of one workload and what it is put to.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FleetSpec {
    /// Groups of equal replicas.
    pub groups: Vec<GroupSpec>,
    /// How requests are spread over groups and lanes.
    pub router: Router,
    /// With `plan`: where every place of the chosen group's best lane is taken, the best other group.
    #[serde(default)]
    pub spill: bool,
    /// Streams of requests; all together come to the fleet.
    pub arrivals: Vec<ArrivalSpec>,
    /// Failures of replicas.
    #[serde(default)]
    pub failures: Option<FailureSpec>,
    /// Planned maintenance.
    #[serde(default)]
    pub maintenance: Vec<MaintenanceSpec>,
    /// Requests measured; a trace alone is measured whole.
    #[serde(default)]
    pub requests: Option<u64>,
    /// Share of those that come before measuring starts; of a trace alone, share of its rows.
    pub warmup: f64,
    /// Independent runs.
    pub replications: u64,
    /// Seed.
    pub seed: u64,
    /// Most requests that wait on a lane; more are turned away.
    #[serde(default)]
    pub waiting_limit: Option<usize>,
}

/// How requests are spread over a fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Router {
    /// Each class in the groups' shares, and to the shortest queue within a group.
    Plan,
    /// By [`Rule::RoundRobin`] over all lanes.
    RoundRobin,
    /// By [`Rule::ShortestQueue`] over all lanes.
    JoinShortestQueue,
    /// By [`Rule::LeastLoaded`] over all lanes.
    LeastLoaded,
}

impl Router {
    fn rule(self) -> Rule {
        match self {
            Self::Plan | Self::JoinShortestQueue => Rule::ShortestQueue,
            Self::RoundRobin => Rule::RoundRobin,
            Self::LeastLoaded => Rule::LeastLoaded,
        }
    }
}

/// Equal replicas on one site.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupSpec {
    /// Configuration.
    pub id: u64,
    /// Replicas.
    pub replicas: usize,
    /// Site, for reports.
    #[serde(default)]
    pub site: usize,
    /// Latency group, for the round trip.
    #[serde(default)]
    pub latency_group: usize,
    /// Requests/s or share of each class that the plan sends here; 0 of classes that it keeps away.
    pub shares: Vec<f64>,
    /// Prompts read here are answered by groups of the same number.
    #[serde(default)]
    pub partner: usize,
}

/// One stream of requests.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ArrivalSpec {
    /// Drawn at rates.
    Drawn {
        /// Mean requests/s by class.
        rates: Vec<f64>,
        /// Shape of the Gamma times between arrivals; 1 is Poisson, less is burstier.
        burstiness: f64,
        /// How rates change over time.
        #[serde(default)]
        curve: Option<DayCurve>,
    },
    /// The trace, so many times as fast: its bursts stay.
    Trace {
        /// Factor on the rate.
        scale: f64,
    },
}

/// Failures of each replica by itself.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailureSpec {
    /// Mean time between repair and failure, h.
    pub mtbf_h: f64,
    /// Mean time to repair, h.
    pub mttr_h: f64,
    /// Requests of a failed replica begin again elsewhere; else they are lost.
    pub restart: bool,
}

/// Replicas of a group that take no requests for a time.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceSpec {
    /// Group.
    pub group: usize,
    /// Replicas of it, the first ones.
    pub replicas: usize,
    /// Start, s.
    pub start_s: f64,
    /// Length, s.
    pub seconds: f64,
}

/// Requests given as arrays.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// Lengths to draw from, by class.
    pub lengths: Vec<Lengths>,
    /// A trace, in order of arrival.
    pub trace: Vec<Request>,
    /// Hashes of the blocks of its prompts.
    pub blocks: Option<Blocks>,
}

/// A group that was built.
#[derive(Debug)]
pub struct Built {
    engine: StepLoop,
    spec: GroupSpec,
    stage: Stage,
    gpus: f64,
    ranks: usize,
    /// Watts per accelerator: idle, with requests, in prefill, in decode with memory full.
    watts: [f64; 4],
}

/// What a simulated fleet did.
#[derive(Debug)]
pub struct FleetReport {
    /// Every replication.
    pub outcomes: Vec<FleetOutcome>,
    /// Lanes by group.
    pub lanes: Vec<usize>,
    /// Energy in measured time by replication and group, J.
    pub energy_j: Vec<Vec<f64>>,
    /// Whether it was stopped: the outcomes are those of whole replications, or where there is none
    /// of the parts.
    pub stopped: bool,
}

/// Simulates a fleet, replications in parallel on the current rayon pool, until `stop` is set.
pub fn simulate_fleet(
    spec: &Spec,
    space: &Space,
    fleet: &FleetSpec,
    given: &Given,
    stop: &AtomicBool,
) -> std::result::Result<FleetReport, Refused> {
    let (workload, groups) = build(spec, space, fleet)?;
    check(spec, workload, fleet, given, &groups)?;
    let choice = match (fleet.router, fleet.spill) {
        (Router::Plan, false) => Choice::Shares,
        (Router::Plan, true) => Choice::SharesThenSpill,
        _ => Choice::Best,
    };
    let replications = if is_sample(fleet) {
        1
    } else {
        fleet.replications
    };
    let judges = judges(workload, &groups);
    let setup = Setup {
        fleet,
        given,
        groups: &groups,
        judges: &judges,
        choice,
        rule: fleet.router.rule(),
    };
    let outcomes: Vec<FleetOutcome> = (0..replications)
        .into_par_iter()
        .map(|number| setup.replication(number, stop))
        .collect();
    let stopped = outcomes.iter().any(|o| o.stopped);
    let outcomes = complete(outcomes, |o| o.stopped);
    let energy_j = outcomes.iter().map(|o| energy(&groups, o)).collect();
    let lanes = groups.iter().map(|g| g.spec.replicas * g.engine.lanes);
    Ok(FleetReport {
        lanes: lanes.collect(),
        outcomes,
        energy_j,
        stopped,
    })
}

/// Whether the same requests come every time and nothing else is drawn: one run is all there is.
fn is_sample(fleet: &FleetSpec) -> bool {
    let drawn = |a: &ArrivalSpec| matches!(a, ArrivalSpec::Drawn { .. });
    fleet.failures.is_none() && fleet.router != Router::Plan && !fleet.arrivals.iter().any(drawn)
}

fn build<'a>(
    spec: &'a Spec,
    space: &Space,
    fleet: &FleetSpec,
) -> std::result::Result<(&'a Workload, Vec<Built>), Refused> {
    let mut groups = Vec::new();
    let mut workload = None;
    for (g, group) in fleet.groups.iter().enumerate() {
        let c = space.decode(spec, group.id)?;
        if *workload.get_or_insert(c.workload) != c.workload {
            let text = format!("groups[{g}].id: a configuration of another workload");
            return Err(Error::Spec(text).into());
        }
        groups.push(build_group(spec, &c, group, fleet)?);
    }
    let Some(workload) = workload else {
        return Err(Error::Spec("groups: at least one is needed".to_owned()).into());
    };
    Ok((&spec.workloads[workload], groups))
}

fn build_group(
    spec: &Spec,
    c: &Configuration,
    group: &GroupSpec,
    fleet: &FleetSpec,
) -> std::result::Result<Built, Refused> {
    let none = Refused::Point(NoPoint::NoLayout);
    let batch = spec.workloads[c.workload].batches[c.batch];
    let layout = resolve(spec, c).ok_or(none.clone())?;
    if c.role == Role::Serve && batch % (c.parallel.adp * c.parallel.pp) != 0 {
        return Err(none);
    }
    let step = StepModel::of(&layout).ok_or(none)?;
    if crate::perf::memory::kv_budget_bytes(&layout) <= 0.0 {
        return Err(Refused::Point(NoPoint::Memory));
    }
    let waiting = fleet.waiting_limit.unwrap_or(usize::MAX);
    let system = layout.system;
    Ok(Built {
        engine: StepLoop::new(&layout, &step, batch, waiting),
        spec: group.clone(),
        stage: match c.role {
            Role::Serve => Stage::Whole,
            Role::Prefill(_) => Stage::Prompts,
            Role::Decode(_) => Stage::Answers,
        },
        gpus: f64::from(c.parallel.gpus()),
        ranks: c.parallel.adp as usize,
        watts: [
            system.idle_w,
            layout.standing_w_gpu(),
            system.prefill_w,
            system.decode_w,
        ],
    })
}

/// Judges by site and class. The engine's fixed part and the way to the user are those of the group
/// that serves the site, the longest where there are several.
fn judges(workload: &Workload, groups: &[Built]) -> Vec<Vec<Judge>> {
    let sites = 1 + groups.iter().map(|g| g.spec.site).max().unwrap_or(0);
    let shift = |site: usize, k: usize| {
        let here = groups.iter().filter(|g| g.spec.site == site);
        let way = |g: &Built| workload.round_trip_s[g.spec.latency_group][k] + g.engine.fixed_s();
        here.map(way).fold(0.0, f64::max)
    };
    (0..sites)
        .map(|site| {
            let classes = 0..workload.classes.len();
            classes
                .map(|k| Judge::new(&workload.slos, k, shift(site, k)))
                .collect()
        })
        .collect()
}

/// Joules of each group in measured time: idle always, and what prompts and decode add.
fn energy(groups: &[Built], outcome: &FleetOutcome) -> Vec<f64> {
    let joules = |(group, m): (&Built, &crate::simulate::server::Meters)| {
        let [idle, standing, prefill, decode] = group.watts;
        let replicas = group.spec.replicas as f64;
        // A lane takes its part of the replica's accelerators.
        let of_lane = group.gpus / group.engine.lanes as f64;
        let busy = m.busy_s * (standing - idle)
            + m.prompt_s * (prefill - standing)
            + m.dense_s * (decode - standing);
        outcome.window_s * replicas * group.gpus * idle + of_lane * busy
    };
    groups.iter().zip(&outcome.meters).map(joules).collect()
}

/// All replications share this.
struct Setup<'a> {
    fleet: &'a FleetSpec,
    given: &'a Given,
    groups: &'a [Built],
    judges: &'a [Vec<Judge>],
    choice: Choice,
    rule: Rule,
}

impl Setup<'_> {
    fn replication(&self, number: u64, stop: &AtomicBool) -> FleetOutcome {
        let seed = self.fleet.seed;
        let maintenance = self.maintenance();
        let fleet = self.places(&maintenance);
        let lane_seed = seed.wrapping_add(number.rotate_left(32));
        let mut lanes = Vec::new();
        let (mut dispatched, mut engine_of) = (Vec::new(), Vec::new());
        for (g, group) in self.groups.iter().enumerate() {
            let count = group.spec.replicas * group.engine.lanes;
            let places = match group.stage {
                Stage::Prompts => 1.0,
                _ => group.engine.places() as f64,
            };
            let shares = group.spec.shares.clone();
            let one = Group::new(group.stage, lanes.len(), count, places, shares);
            dispatched.push(one.with_partner(group.spec.partner));
            for _ in 0..count {
                let rng = random(lane_seed, lanes.len() as u64, ACCEPTANCE);
                let blocks = self.given.blocks.as_ref();
                lanes.push(Lane::new(&group.engine, rng, blocks));
                engine_of.push(g);
            }
        }
        let routing = random(seed, number, ROUTING);
        let dispatch = Dispatch::new(dispatched, self.choice, self.rule, routing);
        let transfer_s =
            |lane: usize, tokens: u32| self.groups[engine_of[lane]].engine.transfer_s(tokens);
        run(
            &mut lanes,
            &fleet,
            dispatch,
            random(seed, number, FAILURES),
            self.source(number),
            self.window(),
            &transfer_s,
            stop,
        )
    }

    /// Replicas, ranks and sites of the lanes.
    fn places<'b>(&'b self, maintenance: &'b [Maintenance]) -> Fleet<'b> {
        let (mut replicas, mut rank_of, mut site_of) = (Vec::new(), Vec::new(), Vec::new());
        let mut rank = 0;
        for group in self.groups {
            let per_rank = group.engine.lanes / group.ranks;
            for _ in 0..group.spec.replicas {
                let first = rank_of.len();
                for _ in 0..group.ranks {
                    rank_of.extend(std::iter::repeat_n(rank, per_rank));
                    rank += 1;
                }
                site_of.resize(rank_of.len(), group.spec.site);
                replicas.push((first, rank_of.len()));
            }
        }
        Fleet {
            replicas,
            rank_of,
            site_of,
            judges: self.judges,
            failures: self.fleet.failures.map(|f| Failures {
                mtbf_s: f.mtbf_h * SECONDS_PER_HOUR,
                mttr_s: f.mttr_h * SECONDS_PER_HOUR,
                restart: f.restart,
            }),
            maintenance,
            sample_s: self.span_s() / SAMPLES,
        }
    }

    fn maintenance(&self) -> Vec<Maintenance> {
        let first =
            |group: usize| -> usize { self.groups[..group].iter().map(|g| g.spec.replicas).sum() };
        let windows = self.fleet.maintenance.iter().flat_map(|m| {
            (0..m.replicas).map(move |i| Maintenance {
                replica: first(m.group) + i,
                from_s: m.start_s,
                to_s: m.start_s + m.seconds,
            })
        });
        windows.collect()
    }

    /// About how long the requests take to come, s.
    fn span_s(&self) -> f64 {
        let requests = self.window().last as f64;
        let rate: f64 = self.fleet.arrivals.iter().map(|a| self.rate(a)).sum();
        (requests / rate).max(1e-6)
    }

    fn rate(&self, arrival: &ArrivalSpec) -> f64 {
        match arrival {
            ArrivalSpec::Drawn { rates, .. } => rates.iter().sum(),
            ArrivalSpec::Trace { scale } => {
                let trace = &self.given.trace;
                let span = trace.last().map_or(0.0, |r| r.arrived_s);
                trace.len() as f64 * scale / span.max(1e-6)
            }
        }
    }

    fn window(&self) -> Window {
        let warmup = self.fleet.warmup;
        match self.fleet.requests {
            Some(requests) => {
                let first = (warmup * requests as f64).ceil() as u64;
                Window {
                    first,
                    last: first + requests,
                }
            }
            None => {
                let rows = self.given.trace.len() as u64;
                Window {
                    first: (warmup * rows as f64) as u64,
                    last: rows,
                }
            }
        }
    }

    fn source(&self, number: u64) -> Mixed<'_> {
        let stream = |(i, arrival)| self.stream(number, i, arrival);
        Mixed::new(self.fleet.arrivals.iter().enumerate().map(stream).collect())
    }

    fn stream<'b>(
        &'b self,
        number: u64,
        i: usize,
        arrival: &'b ArrivalSpec,
    ) -> Box<dyn Iterator<Item = Request> + 'b> {
        match arrival {
            ArrivalSpec::Drawn {
                rates,
                burstiness,
                curve,
            } => {
                let seed = self.fleet.seed.wrapping_add((i as u64).rotate_left(48));
                let rng = random(seed, number, ARRIVALS);
                let drawn = Drawn::new(rates, &self.given.lengths, *burstiness, rng);
                Box::new(drawn.following(curve.as_ref()))
            }
            ArrivalSpec::Trace { scale } => {
                Box::new(self.given.trace.iter().map(move |r| Request {
                    arrived_s: r.arrived_s / scale,
                    ..*r
                }))
            }
        }
    }
}

fn check(
    spec: &Spec,
    workload: &Workload,
    fleet: &FleetSpec,
    given: &Given,
    groups: &[Built],
) -> std::result::Result<(), Refused> {
    positive("replications", fleet.replications as f64)?;
    within("warmup", fleet.warmup, 0.0..1.0, "at least 0 and below 1")?;
    let classes = workload.classes.len();
    for (g, group) in groups.iter().enumerate() {
        let at = format!("groups[{g}]");
        positive(format!("{at}.replicas"), group.spec.replicas as f64)?;
        index(
            "latency group",
            group.spec.latency_group,
            workload.round_trip_s.len(),
        )?;
        within(
            format!("{at}.site"),
            group.spec.site as f64,
            0.0..4096.0,
            "below 4096",
        )?;
        check_rates(&format!("{at}.shares"), &group.spec.shares, classes)?;
    }
    check_pools(groups)?;
    for (m, window) in fleet.maintenance.iter().enumerate() {
        let at = format!("maintenance[{m}]");
        index("group", window.group, groups.len())?;
        let most = groups[window.group].spec.replicas as f64 + 1.0;
        let count = window.replicas as f64;
        within(
            format!("{at}.replicas"),
            count,
            1.0..most,
            "one to all of the group",
        )?;
        at_least_0(format!("{at}.start_s"), window.start_s)?;
        positive(format!("{at}.seconds"), window.seconds)?;
    }
    if let Some(failures) = fleet.failures {
        positive("failures.mtbf_h", failures.mtbf_h)?;
        positive("failures.mttr_h", failures.mttr_h)?;
    }
    let longest = spec.models[workload.model].max_context;
    check_trace(&given.trace, given.blocks.as_ref(), longest, classes)?;
    check_arrivals(fleet, given, longest, classes, groups)
}

fn at_least_0(field: String, value: f64) -> std::result::Result<(), Refused> {
    Ok(within(
        field,
        value,
        0.0..f64::INFINITY,
        "finite and at least 0",
    )?)
}

fn check_rates(at: &str, rates: &[f64], classes: usize) -> std::result::Result<(), Refused> {
    if rates.len() != classes {
        let text = format!(
            "{at}: {} values, must be one per class ({classes})",
            rates.len()
        );
        return Err(Error::Spec(text).into());
    }
    for (k, rate) in rates.iter().enumerate() {
        at_least_0(format!("{at}[{k}]"), *rate)?;
    }
    Ok(())
}

/// Prompts that are read must find an answer's place, and the other way round.
fn check_pools(groups: &[Built]) -> std::result::Result<(), Refused> {
    let classes = groups[0].spec.shares.len();
    for k in 0..classes {
        for partner in groups.iter().map(|g| g.spec.partner) {
            let any = |stage: Stage| {
                let mut own = groups.iter().filter(|g| g.spec.partner == partner);
                own.any(|g| g.stage == stage && g.spec.shares[k] > 0.0)
            };
            if any(Stage::Prompts) != any(Stage::Answers) {
                let text = format!("groups: class {k} has a share in pools of one role only");
                return Err(Error::Spec(text).into());
            }
        }
    }
    Ok(())
}

fn check_arrivals(
    fleet: &FleetSpec,
    given: &Given,
    longest: u32,
    classes: usize,
    groups: &[Built],
) -> std::result::Result<(), Refused> {
    let taken = |k: usize| {
        groups
            .iter()
            .any(|g| g.stage != Stage::Answers && g.spec.shares[k] > 0.0)
    };
    positive("number of arrivals", fleet.arrivals.len() as f64)?;
    let mut drawn = false;
    for (a, arrival) in fleet.arrivals.iter().enumerate() {
        let at = format!("arrivals[{a}]");
        match arrival {
            ArrivalSpec::Drawn {
                rates,
                burstiness,
                curve,
            } => {
                drawn = true;
                check_rates(&format!("{at}.rates"), rates, classes)?;
                positive(format!("{at}: sum of rates"), rates.iter().sum())?;
                positive(format!("{at}.burstiness"), *burstiness)?;
                if let Some(curve) = curve {
                    curve.check(&format!("{at}.curve"))?;
                }
                for (k, _) in rates.iter().enumerate().filter(|(_, rate)| **rate > 0.0) {
                    let rows = given.lengths.get(k).map_or(0, |l| l.pairs.len());
                    positive(format!("number of rows of lengths[{k}]"), rows as f64)?;
                    refuse_unserved(taken(k))?;
                }
            }
            ArrivalSpec::Trace { scale } => {
                positive(format!("{at}.scale"), *scale)?;
                positive("number of rows of times", given.trace.len() as f64)?;
                for r in &given.trace {
                    refuse_unserved(taken(r.class as usize))?;
                }
            }
        }
    }
    for (k, lengths) in given.lengths.iter().enumerate() {
        for (row, (input, output)) in lengths.pairs.iter().enumerate() {
            check_length(
                &format!("lengths[{k}], row {row}"),
                *input,
                *output,
                longest,
            )?;
        }
    }
    let several = fleet.arrivals.len() > 1;
    if (drawn || several) && fleet.requests.is_none() {
        let text = "requests: needed, as the streams do not end together".to_owned();
        return Err(Error::Spec(text).into());
    }
    if given.blocks.is_some() && (drawn || several) {
        let text = "hashes: only for a trace that comes alone".to_owned();
        return Err(Error::Spec(text).into());
    }
    fleet
        .requests
        .map_or(Ok(()), |n| Ok(positive("requests", n as f64)?))
}

fn refuse_unserved(taken: bool) -> std::result::Result<(), Refused> {
    if taken {
        return Ok(());
    }
    Err(Refused::Point(NoPoint::NotAdmitted))
}
