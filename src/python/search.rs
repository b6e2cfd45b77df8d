//! The search as a class that is fed ranges of partitions, and pruning by itself.

use numpy::{IntoPyArray, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::problem::Problem;
use super::threads::on_threads;
use crate::error::Error;

use crate::perf::role::Role;
use crate::prune::{Front, Kept};
use crate::search::{search, Counts, Found, GroupKey};
use crate::workload::MAX_CLASSES;

/// A search that is fed ranges of partitions and can be read at any time.
#[pyclass(module = "tokenfleet._core")]
#[derive(Default)]
pub(super) struct Search {
    found: Found,
}

#[pymethods]
impl Search {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Adds partitions `first..last` of a problem, on `threads` threads (0: all cores).
    #[pyo3(signature = (problem, first, last, threads = 0))]
    fn extend(
        &mut self,
        py: Python<'_>,
        problem: &Problem,
        first: u64,
        last: u64,
        threads: usize,
    ) -> PyResult<()> {
        let len = problem.space.partition_count();
        if first > last || last > len {
            return Err(Error::Unknown {
                what: "partition",
                index: last,
                len,
            }
            .into());
        }
        let more = py.detach(|| {
            on_threads(threads, || {
                search(&problem.spec, &problem.space, first, last)
            })
        })?;
        self.found = std::mem::take(&mut self.found).merge(more);
        Ok(())
    }

    /// Counts by workload: `{workload index: {reason: count}}`.
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let out = PyDict::new(py);
        for (workload, counts) in &self.found.counts {
            out.set_item(workload, counts_dict(py, counts)?)?;
        }
        Ok(out)
    }

    /// Kept candidates as columns, in canonical order.
    fn kept<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let rows: Vec<(GroupKey, Kept)> = self
            .found
            .fronts
            .iter()
            .flat_map(|(key, front)| {
                front
                    .clone()
                    .into_sorted()
                    .into_iter()
                    .map(|kept| (*key, kept))
            })
            .collect();
        kept_columns(py, &rows)
    }
}

fn counts_dict<'py>(py: Python<'py>, counts: &Counts) -> PyResult<Bound<'py, PyDict>> {
    let out = PyDict::new(py);
    out.set_item("evaluated", counts.evaluated())?;
    out.set_item("usable", counts.usable)?;
    out.set_item("dominated", counts.dominated)?;
    out.set_item("no_layout", counts.no_layout)?;
    out.set_item("memory", counts.memory)?;
    out.set_item("ttft", counts.ttft)?;
    out.set_item("tpot", counts.tpot)?;
    out.set_item("e2e", counts.e2e)?;
    Ok(out)
}

fn kept_columns<'py>(py: Python<'py>, rows: &[(GroupKey, Kept)]) -> PyResult<Bound<'py, PyDict>> {
    let out = PyDict::new(py);
    let whole = |name: &str, f: &dyn Fn(&(GroupKey, Kept)) -> u64| -> PyResult<()> {
        out.set_item(
            name,
            rows.iter().map(f).collect::<Vec<u64>>().into_pyarray(py),
        )
    };
    whole("id", &|(_, kept)| kept.id)?;
    whole("workload", &|(key, _)| key.workload as u64)?;
    whole("latency_group", &|(key, _)| key.latency_group as u64)?;
    whole("system", &|(key, _)| key.system as u64)?;
    whole("kv", &|(key, _)| key.kv as u64)?;
    whole("gpus", &|(_, kept)| u64::from(kept.gpus))?;
    let roles: Vec<&str> = rows.iter().map(|(key, _)| key.role.name()).collect();
    out.set_item("role", roles)?;
    let splits: Vec<i64> = rows
        .iter()
        .map(|(key, _)| match key.role {
            Role::Serve => -1,
            Role::Prefill(i) | Role::Decode(i) => i as i64,
        })
        .collect();
    out.set_item("split", splits.into_pyarray(py))?;
    let real = |f: &dyn Fn(&Kept) -> f64| -> Vec<f64> { rows.iter().map(|(_, k)| f(k)).collect() };
    out.set_item("capacity", real(&|k| k.capacity).into_pyarray(py))?;
    out.set_item("quality", real(&|k| k.quality).into_pyarray(py))?;
    let loads: Vec<Vec<f64>> = rows
        .iter()
        .map(|(_, k)| k.load[..k.classes].to_vec())
        .collect();
    let joules: Vec<Vec<f64>> = rows
        .iter()
        .map(|(_, k)| k.joules[..k.classes].to_vec())
        .collect();
    out.set_item("load_s", PyList::new(py, loads)?)?;
    out.set_item("energy_j", PyList::new(py, joules)?)?;
    Ok(out)
}

/// Indices that survive dominance pruning within one group; see `prune.rs`.
///
/// `load_s` and `energy_j` are (N, K); `gpus`, `idle_w` and `quality` are (N,); `per_system` is the
/// number of accelerators in a system.
#[pyfunction]
pub(super) fn prune<'py>(
    load_s: PyReadonlyArray2<'py, f64>,
    energy_j: PyReadonlyArray2<'py, f64>,
    gpus: PyReadonlyArray1<'py, u32>,
    idle_w: PyReadonlyArray1<'py, f64>,
    quality: PyReadonlyArray1<'py, f64>,
    per_system: u32,
) -> PyResult<Vec<u64>> {
    let (load_s, energy_j) = (load_s.as_array(), energy_j.as_array());
    let (rows, classes) = load_s.dim();
    let lengths = [
        gpus.as_array().len(),
        idle_w.as_array().len(),
        quality.as_array().len(),
    ];
    if energy_j.dim() != (rows, classes) || lengths.iter().any(|n| *n != rows) {
        return Err(PyValueError::new_err(format!(
            "prune: {rows} rows of load_s, but energy_j is {:?} and gpus, idle_w, quality have {lengths:?}",
            energy_j.dim()
        )));
    }
    if classes > MAX_CLASSES {
        return Err(PyValueError::new_err(format!(
            "prune: {classes} classes, at most {MAX_CLASSES}"
        )));
    }
    let numbers = load_s
        .iter()
        .chain(energy_j)
        .chain(idle_w.as_array())
        .chain(quality.as_array());
    if numbers.into_iter().any(|x| x.is_nan()) || gpus.as_array().iter().any(|g| *g == 0) {
        return Err(PyValueError::new_err(
            "prune: NaN, or a replica without accelerators",
        ));
    }
    let mut front = Front::default();
    for i in 0..rows {
        let mut kept = Kept {
            id: i as u64,
            gpus: gpus.as_array()[i],
            per_system,
            classes,
            load: [f64::INFINITY; MAX_CLASSES],
            joules: [f64::INFINITY; MAX_CLASSES],
            idle_w: idle_w.as_array()[i],
            quality: quality.as_array()[i],
            capacity: 1.0,
        };
        for k in 0..classes {
            kept.load[k] = load_s[[i, k]];
            kept.joules[k] = energy_j[[i, k]];
        }
        front.add(kept);
    }
    Ok(front.into_sorted().iter().map(|k| k.id).collect())
}
