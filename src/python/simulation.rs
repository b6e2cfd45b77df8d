//! The simulator: options by serde, requests as arrays, ended from another thread by a flag.

use std::sync::atomic::{AtomicBool, Ordering};

use numpy::PyReadonlyArray1;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::convert::{numbers, options, plain, read};
use super::durations::Durations;
use super::errors::refused;
use super::problem::Problem;
use super::requests::{drawn_lengths, trace, Columns, Hashes, Pairs};
use super::threads::on_threads;
use crate::simulate::fleet::{self, FleetSpec, Given};
use crate::simulate::{self as core, Options, Report, Traffic};

/// Ends simulations from another thread, once it is set.
#[pyclass(frozen, module = "tokenfleet._core")]
#[derive(Default)]
pub(super) struct StopFlag(AtomicBool);

#[pymethods]
impl StopFlag {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `work` without the GIL until the flag is set.
fn until<T: Send>(
    py: Python<'_>,
    stop: Option<Py<StopFlag>>,
    threads: usize,
    work: impl FnOnce(&AtomicBool) -> T + Send,
) -> PyResult<T> {
    let never = StopFlag::default();
    let flag = &stop.as_ref().map_or(&never, |flag| flag.get()).0;
    py.detach(|| on_threads(threads, || work(flag)))
}

/// Simulates a group of replicas under requests drawn at `rates`.
#[pyfunction]
#[pyo3(signature = (problem, id, rates, lengths, *, threads = 0, stop = None, **settings))]
#[allow(clippy::too_many_arguments)] // Python's keywords
pub(super) fn simulate<'py>(
    py: Python<'py>,
    problem: &Problem,
    id: u64,
    rates: PyReadonlyArray1<'py, f64>,
    lengths: Pairs<'py>,
    threads: usize,
    stop: Option<Py<StopFlag>>,
    settings: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let settings = options(py, "simulate", settings)?;
    let lengths = drawn_lengths(&lengths, &problem.hit_rates(id)?)?;
    let rates = numbers(&rates);
    let traffic = Traffic::Drawn { rates, lengths };
    problem.simulated(py, id, &traffic, &settings, threads, stop)
}

/// The same under a trace, with requests drawn at `mixed` rates and lengths among its rows.
#[pyfunction]
#[pyo3(signature = (problem, id, rows, *, hashes = None, mixed = None, stop = None, **settings))]
#[allow(clippy::too_many_arguments)] // Python's keywords
pub(super) fn replay<'py>(
    py: Python<'py>,
    problem: &Problem,
    id: u64,
    rows: Columns<'py>,
    hashes: Option<Hashes<'py>>,
    mixed: Option<(PyReadonlyArray1<'py, f64>, Pairs<'py>)>,
    stop: Option<Py<StopFlag>>,
    settings: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    for name in ["requests", "replications"] {
        if settings.is_some_and(|given| given.contains(name).unwrap_or(false)) {
            let text = format!("replay: {name}: a trace is measured whole and once");
            return Err(PyValueError::new_err(text));
        }
    }
    let settings: Options = options(py, "replay", settings)?;
    let hit_rates = problem.hit_rates(id)?;
    let (requests, blocks) = trace(&rows, hashes.as_ref(), &hit_rates)?;
    let traffic = match mixed {
        None => Traffic::Replayed { requests, blocks },
        Some((rates, pairs)) => {
            let lengths = drawn_lengths(&pairs, &hit_rates)?;
            let trace = (&requests[..], blocks.as_ref());
            Traffic::mixed(trace, &numbers(&rates), &lengths, &settings)?
        }
    };
    problem.simulated(py, id, &traffic, &settings, 1, stop)
}

impl Problem {
    /// By class, the share of prompts of a configuration's workload that is cached.
    fn hit_rates(&self, id: u64) -> PyResult<Vec<f64>> {
        let c = self.space.decode(&self.spec, id)?;
        let classes = &self.spec.workloads[c.workload].classes;
        Ok(classes.iter().map(|class| class.hit_rate).collect())
    }

    fn simulated<'py>(
        &self,
        py: Python<'py>,
        id: u64,
        traffic: &Traffic,
        settings: &Options,
        threads: usize,
        stop: Option<Py<StopFlag>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let c = self.configuration(id, settings.latency_group)?;
        let run = |flag: &AtomicBool| core::simulate(&self.spec, &c, traffic, settings, flag);
        let report = until(py, stop, threads, run)?;
        let report = report.map_err(|why| refused(&format!("configuration {id}"), why))?;
        let answer = plain(py, &report)?;
        add_durations(&answer, &report)?;
        Ok(answer)
    }
}

/// What every replication measured of each class, beside its counts.
fn add_durations(answer: &Bound<'_, PyAny>, report: &Report) -> PyResult<()> {
    let rows = answer.get_item("classes")?;
    for (row, class) in rows.try_iter()?.zip(&report.classes) {
        let samples = row?.get_item("samples")?.cast_into::<PyList>()?;
        for (sample, c) in samples.iter().zip(&class.samples) {
            for (name, times) in [("ttft", &c.ttft), ("tpot", &c.tpot), ("e2e", &c.e2e)] {
                sample.set_item(name, Durations::new(times))?;
            }
        }
    }
    Ok(())
}

/// Simulates groups of replicas behind one router; see `simulate/fleet.rs`.
#[pyfunction]
#[pyo3(signature = (problem, fleet, *, lengths, rows = None, hashes = None, threads = 0, stop = None))]
#[allow(clippy::too_many_arguments)]
pub(super) fn simulate_fleet<'py>(
    py: Python<'py>,
    problem: &Problem,
    fleet: &Bound<'py, PyAny>,
    lengths: Pairs<'py>,
    rows: Option<Columns<'py>>,
    hashes: Option<Hashes<'py>>,
    threads: usize,
    stop: Option<Py<StopFlag>>,
) -> PyResult<Bound<'py, PyAny>> {
    let fleet: FleetSpec = read("fleet", fleet)?;
    let hit_rates = match fleet.groups.first() {
        Some(first) => problem.hit_rates(first.id)?,
        None => vec![],
    };
    let (trace, blocks) = match &rows {
        Some(rows) => trace(rows, hashes.as_ref(), &hit_rates)?,
        None => (vec![], None),
    };
    let lengths = drawn_lengths(&lengths, &hit_rates)?;
    let given = Given {
        lengths,
        trace,
        blocks,
    };
    let (spec, space) = (&problem.spec, &problem.space);
    let run = |flag: &AtomicBool| fleet::simulate_fleet(spec, space, &fleet, &given, flag);
    let report = until(py, stop, threads, run)?;
    let report = report.map_err(|why| refused("a group, or a class that no group takes", why))?;
    plain(py, &report.summary(&fleet))
}
