//! Operating points in bulk: of one curve as arrays, and the best of a whole grid; see `points/`.

use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray1, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::convert::{add_columns, options, plain, read};
use super::problem::Problem;
use super::threads::on_threads;
use crate::error::index;
use crate::points::bulk::fill;
use crate::points::front::Front;
use crate::points::grid::{curve_of, Grid, Numbers};
use crate::points::kept::{ASKED, PLACE};
use crate::points::search::{Found, Keep, Search};
use crate::points::{Inputs, NAMES};

/// Points of one configuration and class at given rates and prices, into the columns of `out`.
#[pyfunction]
#[pyo3(signature = (
    problem, id, class_index, rate_rps, usd_per_gpu_h, usd_per_kwh, *,
    latency_group = 0, threads = 0, out = None
))]
#[allow(clippy::too_many_arguments)] // arrays, and Python's keywords
pub(super) fn operating_points<'py>(
    py: Python<'py>,
    problem: &Problem,
    id: u64,
    class_index: usize,
    rate_rps: PyReadonlyArray1<'py, f64>,
    usd_per_gpu_h: PyReadonlyArray1<'py, f64>,
    usd_per_kwh: PyReadonlyArray1<'py, f64>,
    latency_group: usize,
    threads: usize,
    out: Option<Bound<'py, PyDict>>,
) -> PyResult<Option<Bound<'py, PyDict>>> {
    let c = problem.configuration(id, latency_group)?;
    index(
        "class",
        class_index,
        problem.spec.workloads[c.workload].classes.len(),
    )?;
    let curve = curve_of(&problem.spec, &c, class_index, latency_group);
    let Some(curve) = curve.filter(|curve| curve.fits) else {
        return Ok(None);
    };
    let inputs = Inputs {
        rate_rps: rate_rps.as_slice()?,
        usd_per_gpu_h: usd_per_gpu_h.as_slice()?,
        usd_per_kwh: usd_per_kwh.as_slice()?,
    };
    let len = inputs.rate_rps.len();
    let out = out.map_or_else(|| new_columns(py, len), Ok)?;
    let mut guards = Vec::with_capacity(NAMES.len());
    for name in NAMES {
        let guard = written(&out, name, len)?.try_readwrite();
        guards.push(guard.map_err(|e| PyValueError::new_err(format!("out[{name:?}]: {e}")))?);
    }
    let mut columns: [&mut [f64]; NAMES.len()] = Default::default();
    for (column, guard) in columns.iter_mut().zip(&mut guards) {
        *column = guard.as_slice_mut()?;
    }
    py.detach(|| on_threads(threads, || fill(&curve, &inputs, columns)))??;
    drop(guards);
    Ok(Some(out))
}

fn new_columns(py: Python<'_>, len: usize) -> PyResult<Bound<'_, PyDict>> {
    let out = PyDict::new(py);
    for name in NAMES {
        out.set_item(name, PyArray1::<f64>::zeros(py, len, false))?;
    }
    Ok(out)
}

/// An array of `out` that results go into.
fn written<'py>(
    out: &Bound<'py, PyDict>,
    name: &str,
    len: usize,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let found = out
        .get_item(name)?
        .and_then(|array| array.cast_into::<PyArray1<f64>>().ok());
    let room = found.filter(|array| array.shape() == [len] && array.is_c_contiguous());
    room.ok_or_else(|| {
        let text = format!("out[{name:?}]: must be a contiguous array of {len} float64");
        PyValueError::new_err(text)
    })
}

/// Searches a grid of operating points for those worth keeping; see `points/stream.rs`.
#[pyclass(module = "tokenfleet._core")]
pub(super) struct PointSearch {
    problem: Py<Problem>,
    grid: Grid,
    numbers: Numbers,
    keep: Keep,
    found: Option<Found>,
}

#[pymethods]
impl PointSearch {
    #[new]
    #[pyo3(signature = (problem, loads, offers, *, latency_group = 0, **keep))]
    fn new(
        py: Python<'_>,
        problem: Py<Problem>,
        loads: &Bound<'_, PyAny>,
        offers: &Bound<'_, PyAny>,
        latency_group: usize,
        keep: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let grid = Grid {
            loads: read("loads", loads)?,
            offers: read("offers", offers)?,
            latency_group,
        };
        let spec = &problem.get().spec;
        grid.check(spec)?;
        Ok(Self {
            numbers: Numbers::new(spec, &grid),
            keep: options(py, "PointSearch", keep)?,
            found: None,
            problem,
            grid,
        })
    }

    #[getter]
    fn size(&self) -> u64 {
        self.numbers.len()
    }

    #[getter]
    fn unit_count(&self) -> u64 {
        self.problem.get().space.unit_count()
    }

    /// Searches places `first` to `last` (exclusive) of the units, each once.
    #[pyo3(signature = (first, last, threads = 0))]
    fn extend(&mut self, py: Python<'_>, first: u64, last: u64, threads: usize) -> PyResult<()> {
        self.search().check_units(first, last)?;
        let known = self.found.take();
        let search = self.search();
        let found = py.detach(|| on_threads(threads, || search.extend(known, first, last)))?;
        self.found = Some(found);
        Ok(())
    }

    /// What became of the points so far.
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let counts = self
            .found
            .as_ref()
            .map(|found| found.counts)
            .unwrap_or_default();
        let out = plain(py, &counts)?;
        out.set_item("total", counts.total())?;
        Ok(out)
    }

    /// Points that no other dominates, by workload, class and number, as columns.
    fn front<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let fronts = self.found.iter_mut().flat_map(|found| &mut found.fronts);
        let numbers = fronts.flat_map(Front::numbers).collect::<Vec<_>>();
        self.columns(py, &numbers)
    }

    /// The best points by workload and class, best first, as columns.
    fn cheapest<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let lists = self.found.iter().flat_map(|found| &found.best);
        let numbers = lists
            .flat_map(|list| list.points())
            .map(|(_, _, number)| *number);
        self.columns(py, &numbers.collect::<Vec<_>>())
    }
}

impl PointSearch {
    fn search(&self) -> Search<'_> {
        let problem = self.problem.get();
        Search {
            spec: &problem.spec,
            space: &problem.space,
            grid: &self.grid,
            numbers: &self.numbers,
            keep: self.keep,
        }
    }

    fn columns<'py>(&self, py: Python<'py>, numbers: &[u64]) -> PyResult<Bound<'py, PyDict>> {
        let points = self.search().kept(numbers)?;
        let out = PyDict::new(py);
        add_columns(&out, PLACE, points.iter().map(|point| point.place))?;
        add_columns(&out, ASKED, points.iter().map(|point| point.asked))?;
        add_columns(&out, NAMES, points.iter().map(|point| point.values))?;
        Ok(out)
    }
}
