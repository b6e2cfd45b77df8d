//! What throughput benchmarks of one layout would measure.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::problem::Problem;
use crate::perf::benchmark;
use crate::perf::limits::Limits;
use crate::perf::step::StepModel;

/// The most that one layout serves of the workload's first class:
/// `(output_tokens_per_s_gpu, sequences, utilisation)`.
///
/// `axes` and `degrees` as in `Problem.closed_loop`. At most `batch` sequences are in decode.
/// `reserved`: caches are reserved whole. `requests` in the run; infinite: its end does not matter.
/// With `limited` the workload's latency limits hold as well. `None`: no layout, no kernel for it,
/// or not one sequence fits.
#[pyfunction]
#[pyo3(signature = (problem, axes, degrees, batch, *, reserved = false, requests = f64::INFINITY, limited = false))]
pub(super) fn throughput(
    problem: PyRef<'_, Problem>,
    axes: [usize; 6],
    degrees: [u32; 4],
    batch: u32,
    reserved: bool,
    requests: f64,
    limited: bool,
) -> PyResult<Option<(f64, f64, f64)>> {
    if batch == 0 || requests.is_nan() || requests < 1.0 {
        return Err(PyValueError::new_err(format!(
            "throughput: batch {batch} and requests {requests} must be at least 1"
        )));
    }
    let Some(layout) = problem.layout(axes, degrees)? else {
        return Ok(None);
    };
    let workload = &problem.spec.workloads[axes[0]];
    let Some(step) = StepModel::of(&layout) else {
        return Ok(None);
    };
    let run = benchmark::Run {
        batch,
        reserved,
        requests,
        limits: limited.then_some(Limits {
            slos: &workload.slos,
            splits: &workload.splits,
            round_trip_s: &workload.round_trip_s[0],
        }),
    };
    let found = benchmark::throughput(&layout, &step, &workload.classes[0], &run);
    Ok(found.map(|t| (t.output_tokens_per_s_gpu, t.sequences, t.utilisation)))
}
