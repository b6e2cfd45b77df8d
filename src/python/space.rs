//! A specification and its space, held for Python: what is asked of single configurations.

use numpy::PyReadonlyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::convert::{add_columns, numbers, Plain};
use super::threads::on_threads;
use crate::error::Result;
use crate::evaluate::{points, recheck, status, Point, Recheck, FIGURES};
use crate::labels::Labels;
use crate::space::Space;
use crate::workload::Spec;

/// A specification and its space of configurations.
#[pyclass(frozen, name = "Space", module = "tokenfleet._core")]
pub(super) struct PySpace {
    pub(super) spec: Spec,
    pub(super) space: Space,
}

#[pymethods]
impl PySpace {
    #[new]
    fn new(spec_json: &str) -> Result<Self> {
        let spec = Spec::from_json(spec_json)?;
        let space = Space::new(&spec);
        Ok(Self { spec, space })
    }

    /// The same with other kernels (JSON of the `kernels` list).
    fn with_kernels(&self, kernels_json: &str) -> Result<Self> {
        let spec = self.spec.with_kernels(kernels_json)?;
        let space = self.space.clone();
        Ok(Self { spec, space })
    }

    #[getter]
    fn unit_count(&self) -> u64 {
        self.space.unit_count()
    }

    #[getter]
    fn partition_count(&self) -> u64 {
        self.space.partition_count()
    }

    #[getter]
    fn space_size(&self) -> u64 {
        self.space.len()
    }

    /// Names of a configuration.
    fn describe(&self, id: u64) -> Result<Plain<Labels<'_>>> {
        let c = self.space.decode(&self.spec, id)?;
        Ok(Plain(Labels::of(&self.spec, &c)))
    }

    /// Operating points of configurations at one latency group, as columns.
    #[pyo3(signature = (ids, latency_group = 0, threads = 0))]
    fn points<'py>(
        &self,
        py: Python<'py>,
        ids: PyReadonlyArray1<'py, u64>,
        latency_group: usize,
        threads: usize,
    ) -> PyResult<Bound<'py, PyDict>> {
        let ids = ids.as_slice()?;
        let work = || points(&self.spec, &self.space, ids, latency_group);
        let points = on_threads(py, threads, work)??;
        let none = [f64::NAN; FIGURES.len()];
        let figures = points
            .iter()
            .map(|p| p.as_ref().map_or(none, Point::figures));
        let out = PyDict::new(py);
        add_columns(&out, FIGURES, figures)?;
        out.set_item("status", points.iter().map(status).collect::<Vec<_>>())?;
        Ok(out)
    }

    /// Latency of a replica at a given mix of rates (requests/s per class).
    #[pyo3(signature = (id, latency_group, rates, replicas = 1.0))]
    fn recheck(
        &self,
        id: u64,
        latency_group: usize,
        rates: PyReadonlyArray1<'_, f64>,
        replicas: f64,
    ) -> Result<Plain<Recheck>> {
        let rates = numbers(&rates);
        recheck(&self.spec, &self.space, id, latency_group, &rates, replicas).map(Plain)
    }
}
