//! What benchmarks of one layout would measure; `axes` and `degrees` as in `Configuration::serving`.

use pyo3::prelude::*;

use super::convert::Plain;
use super::space::PySpace;
use crate::error::Result;
use crate::evaluate::{self, Workers};
use crate::perf::benchmark::{Run, Throughput};
use crate::perf::closed_loop::ClosedLoop;
use crate::perf::pool_loop::PoolLoop;

/// Means at a (concurrency, input tokens, output tokens).
#[pyfunction]
pub(super) fn closed_loop(
    space: &PySpace,
    axes: [usize; 6],
    degrees: [u32; 4],
    load: [f64; 3],
) -> Result<Plain<Option<ClosedLoop>>> {
    evaluate::closed_loop(&space.spec, axes, degrees, load).map(Plain)
}

/// The same of a pool that prefills and one that decodes.
#[pyfunction]
pub(super) fn pool_loop(
    space: &PySpace,
    prefill: Workers,
    decode: Workers,
    load: [f64; 3],
) -> Result<Plain<Option<PoolLoop>>> {
    evaluate::pool_loop(&space.spec, prefill, decode, load).map(Plain)
}

/// The most that a layout serves of the workload's first class, as one of `replicas` behind a router.
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
) -> Result<Plain<Option<Throughput>>> {
    let run = Run {
        replicas,
        ..Run::new(batch, reserved, requests)
    };
    evaluate::throughput(&space.spec, axes, degrees, run, limited).map(Plain)
}
