//! Simulating one group of replicas from Python: the answer as plain values, and a flag to end it.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::durations::Durations;
use super::errors::reason;
use super::series::series;
use super::threads::on_threads;
use crate::simulate::statistics::Estimate;
use crate::simulate::{simulate, ClassReport, Options, Refused, Report, Traffic};
use crate::space::Configuration;
use crate::workload::Spec;

/// Ends a simulation from another thread, once it is set.
#[pyclass(frozen, module = "tokenfleet._core")]
#[derive(Default)]
pub(super) struct StopFlag(AtomicBool);

#[pymethods]
impl StopFlag {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Simulations that were given it end within some thousand events.
    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The report on a configuration, whose number `id` an error names.
pub(super) fn simulated<'py>(
    py: Python<'py>,
    spec: &Spec,
    (id, c): (u64, &Configuration),
    traffic: &Traffic,
    options: &Options,
    threads: usize,
    stop: Option<Py<StopFlag>>,
) -> PyResult<Bound<'py, PyDict>> {
    let never = StopFlag::default();
    let flag = &stop.as_ref().map_or(&never, |flag| flag.get()).0;
    let run = || simulate(spec, c, traffic, options, flag);
    let result = py.detach(|| on_threads(threads, run))?;
    match result {
        Ok(report) => report_dict(py, &report),
        Err(Refused::Input(error)) => Err(error.into()),
        Err(Refused::Point(why)) => Err(PyValueError::new_err(format!(
            "configuration {id}: {}",
            reason(why)
        ))),
        Err(Refused::Role) => Err(PyValueError::new_err(format!(
            "configuration {id}: only replicas of role serve are simulated, not {}",
            c.role.name()
        ))),
    }
}

/// What every replication measured of a class.
fn samples<'py>(py: Python<'py>, class: &ClassReport) -> PyResult<Bound<'py, PyList>> {
    let out = PyList::empty(py);
    for c in &class.replications {
        let row = PyDict::new(py);
        row.set_item("arrived", c.arrived)?;
        row.set_item("judged", c.judged)?;
        row.set_item("finished", c.finished)?;
        row.set_item("good", c.good)?;
        row.set_item("within", &c.within)?;
        row.set_item("ttft", Durations::new(&c.ttft))?;
        row.set_item("tpot", Durations::new(&c.tpot))?;
        row.set_item("e2e", Durations::new(&c.e2e))?;
        out.append(row)?;
    }
    Ok(out)
}

fn report_dict<'py>(py: Python<'py>, report: &Report) -> PyResult<Bound<'py, PyDict>> {
    let out = PyDict::new(py);
    let pair = |e: &Estimate| (e.mean, e.half_width);
    out.set_item("interrupted", report.stopped)?;
    out.set_item("replications", report.replications)?;
    out.set_item("unstable_replications", report.unstable)?;
    out.set_item("unstable", 2 * report.unstable > report.replications)?;
    out.set_item("utilisation", pair(&report.utilisation))?;
    out.set_item("busy", pair(&report.busy))?;
    out.set_item("concurrency", pair(&report.concurrency))?;
    out.set_item("backlog", pair(&report.backlog))?;
    out.set_item("hit_rate", pair(&report.hit_rate))?;
    out.set_item("lanes", report.lanes)?;
    out.set_item("cache_bytes", report.cache_bytes)?;
    out.set_item("cache_tokens", report.cache_tokens)?;
    out.set_item("series", series(py, &report.series)?)?;
    out.set_item("steps", report.steps)?;
    out.set_item("preemptions", report.preemptions)?;
    let [arrived, finished, rejected, in_flight] = report.conservation;
    let all = PyDict::new(py);
    all.set_item("arrived", arrived)?;
    all.set_item("finished", finished)?;
    all.set_item("rejected", rejected)?;
    all.set_item("in_flight", in_flight)?;
    out.set_item("conservation", all)?;
    let classes = PyList::empty(py);
    for class in &report.classes {
        let row = PyDict::new(py);
        row.set_item("arrived", class.arrived)?;
        row.set_item("finished", class.finished)?;
        row.set_item("rejected", class.rejected)?;
        row.set_item("unfinished", class.unfinished)?;
        row.set_item("served_per_s", pair(&class.served_per_s))?;
        row.set_item("ttft_s", class.ttft.each_ref().map(pair))?;
        row.set_item("tpot_s", class.tpot.each_ref().map(pair))?;
        row.set_item("e2e_s", class.e2e.each_ref().map(pair))?;
        row.set_item("samples", samples(py, class)?)?;
        classes.append(row)?;
    }
    out.set_item("classes", classes)?;
    Ok(out)
}
