//! Simulating a fleet from Python: a description as text, requests as arrays, interruptible.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, RecvTimeoutError};
use std::time::Duration;

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::errors::reason;
use super::problem::Problem;
use super::requests::{blocks, drawn_lengths, requests, Hashes, Pairs, Trace};
use super::series::series;
use super::threads::on_threads;
use crate::error::Error;
use crate::simulate::fleet::{self, FleetReport, FleetSpec, Given};
use crate::simulate::outcome::{Cell, Counts, FleetOutcome};
use crate::simulate::statistics::estimate;
use crate::simulate::Refused;

/// How often a running simulation lets Ctrl-C through.
const LOOK: Duration = Duration::from_millis(50);

/// Discrete-event simulation of groups of replicas behind one router; see `simulate/fleet.rs`.
#[pyfunction]
#[pyo3(signature = (
    problem, fleet_json, *, trace = None, hashes = None, lengths = None, threads = 0
))]
pub(super) fn simulate_fleet<'py>(
    py: Python<'py>,
    problem: &Problem,
    fleet_json: &str,
    trace: Option<Trace<'py>>,
    hashes: Option<Hashes<'py>>,
    lengths: Option<Pairs<'py>>,
    threads: usize,
) -> PyResult<Bound<'py, PyDict>> {
    let fleet: FleetSpec = serde_json::from_str(fleet_json)
        .map_err(|e| PyValueError::new_err(format!("fleet: {e}")))?;
    let hit_rates = problem.hit_rates(&fleet)?;
    let given = Given {
        lengths: drawn_lengths(&lengths.unwrap_or_default(), &hit_rates)?,
        trace: trace.map_or(Ok(vec![]), |t| requests(&t, &hit_rates, hashes.is_some()))?,
        blocks: hashes.map(|h| blocks(&h)).transpose()?,
    };
    let stop = AtomicBool::new(false);
    let run = || fleet::simulate_fleet(&problem.spec, &problem.space, &fleet, &given, &stop);
    let (answer, interrupted) = interruptible(py, &stop, || on_threads(threads, run))?;
    match answer? {
        Ok(report) => report_dict(py, &report, &fleet, interrupted),
        Err(Refused::Input(error)) => Err(error.into()),
        Err(Refused::Point(why)) => Err(PyValueError::new_err(format!(
            "a group, or a class that no group takes: {}",
            reason(why)
        ))),
        Err(Refused::Role) => Err(PyValueError::new_err("a role that is not simulated")),
    }
}

impl Problem {
    fn hit_rates(&self, fleet: &FleetSpec) -> PyResult<Vec<f64>> {
        let first = fleet
            .groups
            .first()
            .ok_or_else(|| Error::Spec("groups: at least one is needed".to_owned()))?;
        let c = self.space.decode(&self.spec, first.id)?;
        for group in &fleet.groups {
            self.check_group(c.workload, group.latency_group)?;
        }
        Ok(self.class_hit_rates(c.workload))
    }
}

/// Runs `work` on a thread of its own while this one lets signals through; whether one came, which
/// sets `stop`.
fn interruptible<T: Send>(
    py: Python<'_>,
    stop: &AtomicBool,
    work: impl FnOnce() -> T + Send,
) -> PyResult<(T, bool)> {
    py.detach(|| {
        std::thread::scope(|scope| {
            let (send, receive) = channel();
            scope.spawn(move || send.send(work()));
            let mut interrupted = false;
            loop {
                match receive.recv_timeout(LOOK) {
                    Ok(answer) => return Ok((answer, interrupted)),
                    Err(RecvTimeoutError::Timeout) => {
                        if Python::attach(|py| py.check_signals()).is_err() {
                            stop.store(true, Ordering::Relaxed);
                            interrupted = true;
                        }
                    }
                    Err(RecvTimeoutError::Disconnected) => {
                        return Err(PyRuntimeError::new_err("the simulation broke off"));
                    }
                }
            }
        })
    })
}

fn report_dict<'py>(
    py: Python<'py>,
    report: &FleetReport,
    fleet: &FleetSpec,
    interrupted: bool,
) -> PyResult<Bound<'py, PyDict>> {
    let outcomes = &report.outcomes;
    let out = PyDict::new(py);
    let unstable = outcomes.iter().filter(|o| o.unstable).count();
    out.set_item("seed", fleet.seed)?;
    out.set_item("interrupted", interrupted)?;
    out.set_item("replications", outcomes.len())?;
    out.set_item("unstable_replications", unstable)?;
    out.set_item("unstable", 2 * unstable > outcomes.len())?;
    out.set_item("backlog", over(outcomes, |o| o.backlog))?;
    out.set_item("window_s", over(outcomes, |o| o.window_s))?;
    out.set_item("steps", outcomes.iter().map(|o| o.steps).sum::<u64>())?;
    out.set_item(
        "restarted",
        outcomes.iter().map(|o| o.restarted).sum::<u64>(),
    )?;
    out.set_item("failures", outcomes.iter().map(|o| o.failures).sum::<u64>())?;
    let all = counts_dict(py, &sum_counts(outcomes.iter().map(|o| o.all)))?;
    all.set_item(
        "in_flight",
        outcomes.iter().map(|o| o.in_flight).sum::<u64>(),
    )?;
    out.set_item("conservation", all)?;
    out.set_item("classes", classes(py, outcomes)?)?;
    out.set_item("groups", groups(py, report, fleet)?)?;
    out.set_item("series", series(py, &outcomes[0].series)?)?;
    Ok(out)
}

fn over(outcomes: &[FleetOutcome], f: impl Fn(&FleetOutcome) -> f64) -> (f64, f64) {
    let e = estimate(outcomes.iter().map(f));
    (e.mean, e.half_width)
}

fn sum_counts(counts: impl Iterator<Item = Counts>) -> Counts {
    counts.fold(Counts::default(), |sum, c| Counts {
        arrived: sum.arrived + c.arrived,
        finished: sum.finished + c.finished,
        rejected: sum.rejected + c.rejected,
        lost: sum.lost + c.lost,
    })
}

fn counts_dict<'py>(py: Python<'py>, c: &Counts) -> PyResult<Bound<'py, PyDict>> {
    let out = PyDict::new(py);
    out.set_item("arrived", c.arrived)?;
    out.set_item("finished", c.finished)?;
    out.set_item("rejected", c.rejected)?;
    out.set_item("lost", c.lost)?;
    Ok(out)
}

/// Measured requests of every class, on all sites together and on each.
fn classes<'py>(py: Python<'py>, outcomes: &[FleetOutcome]) -> PyResult<Bound<'py, PyList>> {
    let out = PyList::empty(py);
    let sites = outcomes[0].cells.len();
    for k in 0..outcomes[0].measured.len() {
        let counts = sum_counts(outcomes.iter().map(|o| o.measured[k]));
        let row = counts_dict(py, &counts)?;
        let ended = counts.finished + counts.rejected + counts.lost;
        row.set_item("unfinished", counts.arrived - ended)?;
        let joined: Vec<Cell> = outcomes.iter().map(|o| joined(o, k)).collect();
        let all: Vec<(&FleetOutcome, &Cell)> = outcomes.iter().zip(&joined).collect();
        fill_cell(&row, &all)?;
        let judged = |o: &FleetOutcome| o.measured[k].judged(o.stopped) as f64;
        let attained = |o: &FleetOutcome, c: &Cell| c.good as f64 / judged(o);
        let e = estimate(all.iter().map(|(o, c)| attained(o, c)));
        row.set_item("attainment", (e.mean, e.half_width))?;
        let within = |i: usize| {
            let share = |(o, c): &(&FleetOutcome, &Cell)| c.within[i] as f64 / judged(o);
            let e = estimate(all.iter().map(share));
            (e.mean, e.half_width)
        };
        let limits = joined[0].within.len();
        row.set_item("within", (0..limits).map(within).collect::<Vec<_>>())?;
        let by_site = PyList::empty(py);
        for site in 0..sites {
            let here: Vec<_> = outcomes.iter().map(|o| (o, &o.cells[site][k])).collect();
            let part = PyDict::new(py);
            part.set_item(
                "finished",
                here.iter().map(|(_, c)| c.finished).sum::<u64>(),
            )?;
            fill_cell(&part, &here)?;
            by_site.append(part)?;
        }
        row.set_item("sites", by_site)?;
        out.append(row)?;
    }
    Ok(out)
}

fn joined(outcome: &FleetOutcome, k: usize) -> Cell {
    let mut sum = Cell::default();
    outcome.cells.iter().for_each(|site| sum.merge(&site[k]));
    sum
}

fn fill_cell(out: &Bound<'_, PyDict>, cells: &[(&FleetOutcome, &Cell)]) -> PyResult<()> {
    let rate = |f: &dyn Fn(&Cell) -> u64| {
        let per_s = |(o, c): &(&FleetOutcome, &Cell)| f(c) as f64 / o.window_s;
        let e = estimate(cells.iter().map(per_s));
        (e.mean, e.half_width)
    };
    out.set_item("good", cells.iter().map(|(_, c)| c.good).sum::<u64>())?;
    out.set_item("served_per_s", rate(&|c| c.served))?;
    out.set_item("good_per_s", rate(&|c| c.good))?;
    out.set_item("tokens_per_s", rate(&|c| c.tokens))?;
    out.set_item("good_tokens_per_s", rate(&|c| c.good_tokens))?;
    let summary = |f: &dyn Fn(&Cell) -> [f64; 5]| -> Vec<(f64, f64)> {
        let rows: Vec<[f64; 5]> = cells.iter().map(|(_, c)| f(c)).collect();
        let column = |i: usize| {
            let e = estimate(rows.iter().map(|row| row[i]));
            (e.mean, e.half_width)
        };
        (0..5).map(column).collect()
    };
    out.set_item("ttft_s", summary(&|c| c.ttft.summary()))?;
    out.set_item("tpot_s", summary(&|c| c.tpot.summary()))?;
    out.set_item("e2e_s", summary(&|c| c.e2e.summary()))
}

fn groups<'py>(
    py: Python<'py>,
    report: &FleetReport,
    fleet: &FleetSpec,
) -> PyResult<Bound<'py, PyList>> {
    let out = PyList::empty(py);
    for (g, (group, lanes)) in fleet.groups.iter().zip(&report.lanes).enumerate() {
        let (replicas, lanes) = (group.replicas as f64, *lanes as f64);
        let per_s = |f: &dyn Fn(&crate::simulate::server::Meters) -> f64| {
            over(&report.outcomes, |o| f(&o.meters[g]) / o.window_s)
        };
        let row = PyDict::new(py);
        row.set_item("utilisation", per_s(&|m| m.work_s / lanes))?;
        row.set_item("busy", per_s(&|m| m.busy_s / lanes))?;
        row.set_item("concurrency", per_s(&|m| m.sequence_s / replicas))?;
        let hits = |o: &FleetOutcome| {
            let m = &o.meters[g];
            m.cached_tokens as f64 / m.prompt_tokens as f64
        };
        row.set_item("hit_rate", over(&report.outcomes, hits))?;
        let preemptions = report.outcomes.iter().map(|o| o.meters[g].preemptions);
        row.set_item("preemptions", preemptions.sum::<u64>())?;
        let watts = report.outcomes.iter().zip(&report.energy_j);
        let e = estimate(watts.map(|(o, joules)| joules[g] / o.window_s));
        row.set_item("drawn_w", (e.mean, e.half_width))?;
        let e = estimate(report.energy_j.iter().map(|joules| joules[g]));
        row.set_item("energy_j", (e.mean, e.half_width))?;
        out.append(row)?;
    }
    Ok(out)
}
