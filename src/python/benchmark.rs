//! What benchmarks of one layout would measure; `axes` and `degrees` as in `Configuration::serving`.

use pyo3::prelude::*;

use super::space::PySpace;
use crate::error::{positive, Error, Result};
use crate::evaluate::limits;
use crate::perf::benchmark;
use crate::perf::closed_loop::closed_loop as closed;
use crate::perf::pool_loop::{pool_loop as of_pools, Pool};
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

/// Axes, degrees and workers of a pool.
type PyPool = ([usize; 6], [u32; 4], u32);

/// TTFT, TPOT (s), output tokens/s/GPU over both pools and over the decode pool, of a pool that
/// prefills and one that decodes at a (concurrency, input tokens, output tokens).
#[pyfunction]
pub(super) fn pool_loop(
    space: &PySpace,
    prefill: PyPool,
    decode: PyPool,
    load: [f64; 3],
) -> Result<Option<(f64, f64, f64, f64)>> {
    load.iter().try_for_each(|x| positive("load", *x))?;
    for (_, _, workers) in [prefill, decode] {
        positive("workers", f64::from(workers))?;
    }
    let [first, second] = [prefill, decode]
        .map(|(axes, degrees, _)| Configuration::serving(&space.spec, axes, degrees));
    let (first, second) = (first?, second?);
    let layouts = resolve(&space.spec, &first).zip(resolve(&space.spec, &second));
    Ok(layouts.and_then(|(reads, answers)| {
        let (reading, answering) = (StepModel::of(&reads)?, StepModel::of(&answers)?);
        let pool = |layout, step, workers| Pool {
            layout,
            step,
            workers: f64::from(workers),
        };
        let r = of_pools(
            &pool(&reads, &reading, prefill.2),
            &pool(&answers, &answering, decode.2),
            load[0],
            load[1],
            load[2],
        )?;
        let rates = (r.output_tokens_per_s_gpu, r.output_tokens_per_s_decode_gpu);
        Some((r.ttft_s, r.tpot_s, rates.0, rates.1))
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
