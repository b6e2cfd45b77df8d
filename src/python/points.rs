//! Operating points in bulk: of one curve as arrays, and the best of a whole grid; see `points/`.

use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray1, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::convert::{add_columns, Fields, Plain};
use super::space::PySpace;
use super::threads::on_threads;
use crate::error::{index, Error, Result};
use crate::points::bulk::fill;
use crate::points::grid::curve_of;
use crate::points::kept::{KeptPoint, ASKED, PLACE};
use crate::points::search::Counts;
use crate::points::session::{Question, Session};
use crate::points::{Inputs, NAMES};

/// Points of one configuration and class at given rates and prices, into the columns of `out`.
#[pyfunction]
#[pyo3(signature = (
    space, id, class_index, rate_rps, usd_per_gpu_h, usd_per_kwh, *,
    latency_group = 0, threads = 0, out = None
))]
pub(super) fn operating_points<'py>(
    py: Python<'py>,
    space: &PySpace,
    id: u64,
    class_index: usize,
    rate_rps: PyReadonlyArray1<'py, f64>,
    usd_per_gpu_h: PyReadonlyArray1<'py, f64>,
    usd_per_kwh: PyReadonlyArray1<'py, f64>,
    latency_group: usize,
    threads: usize,
    out: Option<Bound<'py, PyDict>>,
) -> PyResult<Option<Bound<'py, PyDict>>> {
    let c = space.space.decode_at(&space.spec, id, latency_group)?;
    let classes = space.spec.workloads[c.workload].classes.len();
    index("class", class_index, classes)?;
    let curve = curve_of(&space.spec, &c, class_index, latency_group);
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
    on_threads(py, threads, || fill(&curve, &inputs, columns))??;
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
    space: Py<PySpace>,
    session: Session,
}

#[pymethods]
impl PointSearch {
    #[new]
    #[pyo3(signature = (space, **question))]
    fn new(space: Py<PySpace>, question: Option<Fields<Question>>) -> Result<Self> {
        let none = || Error::Input("PointSearch: loads, offers and what to keep".to_owned());
        let question = question.ok_or_else(none)?.0;
        let session = Session::new(&space.get().spec, question)?;
        Ok(Self { space, session })
    }

    #[getter]
    fn size(&self) -> u64 {
        self.session.size()
    }

    /// Searches places `first` to `last` (exclusive) of the units, each once.
    #[pyo3(signature = (first, last, threads = 0))]
    fn extend(&mut self, py: Python<'_>, first: u64, last: u64, threads: usize) -> PyResult<()> {
        let PySpace { spec, space } = self.space.get();
        let work = || self.session.extend(spec, space, first, last);
        Ok(on_threads(py, threads, work)??)
    }

    /// What became of the points so far.
    fn counts(&self) -> Plain<Counts> {
        Plain(self.session.counts())
    }

    /// Points that no other dominates, by workload, class and number, as columns.
    fn front<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let PySpace { spec, space } = self.space.get();
        columns(py, &self.session.front(spec, space)?)
    }

    /// The best points by workload and class, best first, as columns.
    fn cheapest<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let PySpace { spec, space } = self.space.get();
        columns(py, &self.session.cheapest(spec, space)?)
    }
}

fn columns<'py>(py: Python<'py>, points: &[KeptPoint]) -> PyResult<Bound<'py, PyDict>> {
    let out = PyDict::new(py);
    add_columns(&out, PLACE, points.iter().map(|point| point.place))?;
    add_columns(&out, ASKED, points.iter().map(|point| point.asked))?;
    add_columns(&out, NAMES, points.iter().map(|point| point.values))?;
    Ok(out)
}
