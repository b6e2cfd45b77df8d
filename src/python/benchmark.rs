//! What benchmarks of one layout would measure; `axes` and `degrees` as in `Configuration::serving`.

use pyo3::prelude::*;

use super::space::PySpace;
use crate::error::{positive, Error, Result};
use crate::evaluate::limits;
use crate::perf::benchmark;
use crate::perf::closed_loop::closed_loop as closed;
use crate::perf::step::StepModel;
use crate::space::{resolve, Configuration};

/// TTFT, TPOT (s) and output tokens/s/GPU at a (concurrency, input tokens, output tokens).
#[pyfunction]
pub(super) fn closed_loop(
    space: &PySpace,
    axes: [usize; 6],
    degrees: [u32; 4],
    load: [f64; 3],
) -> Result<Option<(f64, f64, f64)>> {
    load.iter().try_for_each(|x| positive("load", *x))?;
    let c = Configuration::serving(&space.spec, axes, degrees)?;
    Ok(resolve(&space.spec, &c).and_then(|layout| {
        let r = closed(&layout, &StepModel::of(&layout)?, load[0], load[1], load[2]);
        Some((r.ttft_s, r.tpot_s, r.output_tokens_per_s_gpu))
    }))
}

/// The most that a layout serves of the workload's first class: output tokens/s/GPU, sequences in
/// decode, share of full load that limits allow.
#[pyfunction]
#[pyo3(signature = (space, axes, degrees, batch, *, reserved = false, requests = f64::INFINITY, limited = false))]
pub(super) fn throughput(
    space: &PySpace,
    axes: [usize; 6],
    degrees: [u32; 4],
    batch: u32,
    reserved: bool,
    requests: f64,
    limited: bool,
) -> Result<Option<(f64, f64, f64)>> {
    positive("batch", f64::from(batch))?;
    let value = requests;
    if value.is_nan() || value < 1.0 {
        let (field, must) = ("requests".to_owned(), "at least 1");
        return Err(Error::Value { field, value, must });
    }
    let c = Configuration::serving(&space.spec, axes, degrees)?;
    let workload = &space.spec.workloads[c.workload];
    let run = benchmark::Run {
        batch,
        reserved,
        requests,
        limits: limited.then(|| limits(workload, 0)),
    };
    Ok(resolve(&space.spec, &c).and_then(|layout| {
        let step = StepModel::of(&layout)?;
        let t = benchmark::throughput(&layout, &step, &workload.classes[0], &run)?;
        Some((t.output_tokens_per_s_gpu, t.sequences, t.utilisation))
    }))
}
