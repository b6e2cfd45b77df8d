//! The simulator: options by serde, requests as arrays, ended from another thread by a flag.

use std::sync::atomic::{AtomicBool, Ordering};

use numpy::PyReadonlyArray1;
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::convert::{numbers, Fields, Plain};
use super::durations::Durations;
use super::requests::{drawn_lengths, traced, Hashes, Pairs, Trace};
use super::space::PySpace;
use super::threads::on_threads;
use crate::error::Result;
use crate::simulate::fleet::{self, FleetSpec, Given};
use crate::simulate::summary::Summary;
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
    on_threads(py, threads, || work(flag))
}

/// Simulates a group of replicas under requests drawn at `rates`.
#[pyfunction]
#[pyo3(signature = (space, id, rates, lengths, *, threads = 0, stop = None, **settings))]
pub(super) fn simulate<'py>(
    py: Python<'py>,
    space: &PySpace,
    id: u64,
    rates: PyReadonlyArray1<'py, f64>,
    lengths: Pairs<'py>,
    threads: usize,
    stop: Option<Py<StopFlag>>,
    settings: Option<Fields<Options>>,
) -> PyResult<Bound<'py, PyAny>> {
    let settings = settings.unwrap_or_default().0;
    let lengths = drawn_lengths(&lengths, &space.hit_rates(id)?)?;
    let rates = numbers(&rates);
    let traffic = Traffic::Drawn { rates, lengths };
    space.simulated(py, id, &traffic, &settings, threads, stop)
}

/// The same under a trace, with requests drawn at `mixed` rates and lengths among its rows.
#[pyfunction]
#[pyo3(signature = (space, id, trace, *, hashes = None, mixed = None, stop = None, **settings))]
pub(super) fn replay<'py>(
    py: Python<'py>,
    space: &PySpace,
    id: u64,
    trace: Trace<'py>,
    hashes: Option<Hashes<'py>>,
    mixed: Option<(PyReadonlyArray1<'py, f64>, Pairs<'py>)>,
    stop: Option<Py<StopFlag>>,
    settings: Option<Fields<Options>>,
) -> PyResult<Bound<'py, PyAny>> {
    let settings = settings.unwrap_or_default().0;
    let hit_rates = space.hit_rates(id)?;
    let (requests, blocks) = traced(&trace, hashes.as_ref(), &hit_rates)?;
    let traffic = match mixed {
        None => Traffic::Replayed { requests, blocks },
        Some((rates, pairs)) => {
            let lengths = drawn_lengths(&pairs, &hit_rates)?;
            let trace = (&requests[..], blocks.as_ref());
            Traffic::mixed(trace, &numbers(&rates), &lengths, &settings)?
        }
    };
    space.simulated(py, id, &traffic, &settings, 1, stop)
}

impl PySpace {
    fn hit_rates(&self, id: u64) -> Result<Vec<f64>> {
        let c = self.space.decode(&self.spec, id)?;
        Ok(self.spec.workloads[c.workload].hit_rates())
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
        let c = self
            .space
            .decode_at(&self.spec, id, settings.latency_group)?;
        let run = |flag: &AtomicBool| core::simulate(&self.spec, &c, traffic, settings, flag);
        let report = until(py, stop, threads, run)?;
        let report = report.map_err(|why| why.of(&format!("configuration {id}")))?;
        let answer = Plain(&report).into_pyobject(py)?;
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
                sample.set_item(name, Durations(times.into()))?;
            }
        }
    }
    Ok(())
}

/// Simulates groups of replicas behind one router; see `simulate/fleet.rs`.
#[pyfunction]
#[pyo3(signature = (space, fleet, *, lengths, trace = None, hashes = None, threads = 0, stop = None))]
pub(super) fn simulate_fleet<'py>(
    py: Python<'py>,
    space: &PySpace,
    fleet: Fields<FleetSpec>,
    lengths: Pairs<'py>,
    trace: Option<Trace<'py>>,
    hashes: Option<Hashes<'py>>,
    threads: usize,
    stop: Option<Py<StopFlag>>,
) -> PyResult<Plain<Summary>> {
    let fleet = fleet.0;
    let first = fleet.groups.first();
    let hit_rates = first.map_or(Ok(vec![]), |group| space.hit_rates(group.id))?;
    let (trace, blocks) = match &trace {
        Some(trace) => traced(trace, hashes.as_ref(), &hit_rates)?,
        None => (vec![], None),
    };
    let lengths = drawn_lengths(&lengths, &hit_rates)?;
    let given = Given {
        lengths,
        trace,
        blocks,
    };
    let (spec, space) = (&space.spec, &space.space);
    let run = |flag: &AtomicBool| fleet::simulate_fleet(spec, space, &fleet, &given, flag);
    let report = until(py, stop, threads, run)?;
    let report = report.map_err(|why| why.of("a group, or a class that no group takes"))?;
    Ok(Plain(report.summary(&fleet)))
}
