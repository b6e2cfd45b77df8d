//! What benchmarks of one layout would measure; `axes` and `degrees` as in `Configuration::serving`.

use pyo3::prelude::*;

use super::problem::Problem;
use crate::error::{positive, within};
use crate::perf::benchmark;
use crate::perf::closed_loop::closed_loop as closed;
use crate::perf::limits::Limits;
use crate::perf::step::StepModel;
use crate::space::{resolve, Configuration};

/// TTFT, TPOT (s) and output tokens/s/GPU at a (concurrency, input tokens, output tokens).
#[pyfunction]
pub(super) fn closed_loop(
    problem: &Problem,
    axes: [usize; 6],
    degrees: [u32; 4],
    load: [f64; 3],
) -> PyResult<Option<(f64, f64, f64)>> {
    load.iter().try_for_each(|x| positive("load", *x))?;
    let c = Configuration::serving(&problem.spec, axes, degrees)?;
    let built =
        resolve(&problem.spec, &c).and_then(|layout| Some((layout, StepModel::of(&layout)?)));
    Ok(built.map(|(layout, step)| {
        let r = closed(&layout, &step, load[0], load[1], load[2]);
        (r.ttft_s, r.tpot_s, r.output_tokens_per_s_gpu)
    }))
}

/// The most that a layout serves of the workload's first class: output tokens/s/GPU, sequences in
/// decode, share of full load that limits allow.
#[pyfunction]
#[pyo3(signature = (problem, axes, degrees, batch, *, reserved = false, requests = f64::INFINITY, limited = false))]
pub(super) fn throughput(
    problem: &Problem,
    axes: [usize; 6],
    degrees: [u32; 4],
    batch: u32,
    reserved: bool,
    requests: f64,
    limited: bool,
) -> PyResult<Option<(f64, f64, f64)>> {
    positive("batch", f64::from(batch))?;
    if requests != f64::INFINITY {
        within("requests", requests, 1.0..f64::INFINITY, "at least 1")?;
    }
    let c = Configuration::serving(&problem.spec, axes, degrees)?;
    let workload = &problem.spec.workloads[c.workload];
    let limits = Limits {
        slos: &workload.slos,
        splits: &workload.splits,
        round_trip_s: &workload.round_trip_s[0],
    };
    let run = benchmark::Run {
        batch,
        reserved,
        requests,
        limits: limited.then_some(limits),
    };
    Ok(resolve(&problem.spec, &c).and_then(|layout| {
        let step = StepModel::of(&layout)?;
        let t = benchmark::throughput(&layout, &step, &workload.classes[0], &run)?;
        Some((t.output_tokens_per_s_gpu, t.sequences, t.utilisation))
    }))
}
