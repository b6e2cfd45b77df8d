//! What benchmarks of one layout would measure; `axes` and `degrees` as in `Configuration::serving`.

use pyo3::prelude::*;

use super::space::PySpace;
use crate::error::Result;
use crate::evaluate::{self, Workers};
use crate::perf::benchmark::Run;

/// TTFT, TPOT (s) and output tokens/s/GPU at a (concurrency, input tokens, output tokens).
#[pyfunction]
pub(super) fn closed_loop(
    space: &PySpace,
    axes: [usize; 6],
    degrees: [u32; 4],
    load: [f64; 3],
) -> Result<Option<(f64, f64, f64)>> {
    let found = evaluate::closed_loop(&space.spec, axes, degrees, load)?;
    Ok(found.map(|r| (r.ttft_s, r.tpot_s, r.output_tokens_per_s_gpu)))
}

/// TTFT, TPOT (s), output tokens/s/GPU over both pools and over the decode pool, of a pool that
/// prefills and one that decodes at a (concurrency, input tokens, output tokens).
#[pyfunction]
pub(super) fn pool_loop(
    space: &PySpace,
    prefill: Workers,
    decode: Workers,
    load: [f64; 3],
) -> Result<Option<(f64, f64, f64, f64)>> {
    let found = evaluate::pool_loop(&space.spec, prefill, decode, load)?;
    Ok(found.map(|r| {
        let tokens_per_s = (r.output_tokens_per_s_gpu, r.output_tokens_per_s_decode_gpu);
        (r.ttft_s, r.tpot_s, tokens_per_s.0, tokens_per_s.1)
    }))
}

/// The most that a layout serves of the workload's first class: output tokens/s/GPU, sequences in
/// decode, share of full load that limits allow to each of `replicas` behind one router.
#[pyfunction]
#[pyo3(signature = (space, axes, degrees, batch, *, reserved = false, requests = f64::INFINITY, limited = false, replicas = 1.0))]
pub(super) fn throughput(
    space: &PySpace,
    axes: [usize; 6],
    degrees: [u32; 4],
    batch: u32,
    reserved: bool,
    requests: f64,
    limited: bool,
    replicas: f64,
) -> Result<Option<(f64, f64, f64)>> {
    let run = Run {
        replicas,
        ..Run::new(batch, reserved, requests)
    };
    let found = evaluate::throughput(&space.spec, axes, degrees, run, limited)?;
    Ok(found.map(|t| (t.output_tokens_per_s_gpu, t.sequences, t.utilisation)))
}
