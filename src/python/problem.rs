//! A specification and its space, held for Python: what is asked of single configurations.

use numpy::PyReadonlyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use rayon::prelude::*;

use super::convert::{add_columns, numbers, plain};
use super::threads::on_threads;
use crate::error::{index, Error, Result};
use crate::evaluate::{point, recheck, status, Point, FIGURES};
use crate::labels::Labels;
use crate::space::{Configuration, Space};
use crate::workload::Spec;

/// A specification and its space of configurations.
#[pyclass(frozen, module = "tokenfleet._core")]
pub(super) struct Problem {
    pub(super) spec: Spec,
    pub(super) space: Space,
}

#[pymethods]
impl Problem {
    #[new]
    fn new(spec_json: &str) -> PyResult<Self> {
        let spec = Spec::from_json(spec_json)?;
        let space = Space::new(&spec);
        Ok(Self { spec, space })
    }

    /// The same with other kernels (JSON of the `kernels` list).
    fn with_kernels(&self, kernels_json: &str) -> PyResult<Self> {
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
    fn describe<'py>(&self, py: Python<'py>, id: u64) -> PyResult<Bound<'py, PyAny>> {
        let c = self.space.decode(&self.spec, id)?;
        plain(py, &Labels::of(&self.spec, &c))
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
        let read = |id: &u64| self.configuration(*id, latency_group);
        let all = ids
            .as_array()
            .iter()
            .map(read)
            .collect::<Result<Vec<_>>>()?;
        let evaluate = |c| point(&self.spec, c, latency_group);
        let work = || all.par_iter().map(evaluate).collect::<Vec<_>>();
        let points = py.detach(|| on_threads(threads, work))?;
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
    fn recheck<'py>(
        &self,
        py: Python<'py>,
        id: u64,
        latency_group: usize,
        rates: PyReadonlyArray1<'py, f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let c = self.configuration(id, latency_group)?;
        let rates = numbers(&rates);
        let classes = self.spec.workloads[c.workload].classes.len();
        if rates.len() != classes || rates.iter().any(|f| !f.is_finite() || *f < 0.0) {
            let text =
                format!("rates: {classes} finite values of at least 0 are needed, got {rates:?}");
            return Err(Error::Input(text).into());
        }
        let found = recheck(&self.spec, &c, latency_group, &rates);
        let none = |why: crate::evaluate::NoPoint| {
            Error::Input(format!("configuration {id}: {}", why.name()))
        };
        plain(py, &found.map_err(none)?)
    }
}

impl Problem {
    /// A configuration of a workload that has the latency group.
    pub(super) fn configuration(&self, id: u64, latency_group: usize) -> Result<Configuration> {
        let c = self.space.decode(&self.spec, id)?;
        let groups = self.spec.workloads[c.workload].round_trip_s.len();
        index("latency group", latency_group, groups)?;
        Ok(c)
    }
}
