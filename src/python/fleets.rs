//! Routing of many fleets: arrays in, GIL released, arrays out; see `fleets/`.

use numpy::{
    IntoPyArray, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::convert::numbers;
use super::threads::on_threads;
use crate::fleets::Routing;

/// Best routing of every fleet: rows of `fleets` are right sides' parts, `demands` rows come first.
#[pyfunction]
#[pyo3(signature = (a, cost, b0, per_part, usual, weights, demands, fleets, demand = 1.0, threads = 0))]
pub(super) fn route_fleets<'py>(
    py: Python<'py>,
    a: PyReadonlyArray2<'py, f64>,
    cost: PyReadonlyArray1<'py, f64>,
    b0: PyReadonlyArray1<'py, f64>,
    per_part: PyReadonlyArray2<'py, f64>,
    usual: PyReadonlyArray1<'py, f64>,
    weights: PyReadonlyArray2<'py, f64>,
    demands: usize,
    fleets: PyReadonlyArray2<'py, f64>,
    demand: f64,
    threads: usize,
) -> PyResult<Bound<'py, PyDict>> {
    let routing = Routing {
        rows: a.shape()[0],
        columns: a.shape()[1],
        demands,
        a: numbers(&a),
        cost: numbers(&cost),
        b0: numbers(&b0),
        parts: per_part.shape()[1],
        per_part: numbers(&per_part),
        usual: numbers(&usual),
        figures: weights.shape()[1],
        weights: numbers(&weights),
    };
    let (count, figures) = (fleets.shape()[0], weights.shape()[1]);
    let fleets = numbers(&fleets);
    let found = on_threads(py, threads, || routing.route(&fleets, demand))??;
    let out = PyDict::new(py);
    let table = |values: Vec<f64>, columns| values.into_pyarray(py).reshape([count, columns]);
    out.set_item("cost", found.cost.into_pyarray(py))?;
    out.set_item("gap", found.gap.into_pyarray(py))?;
    out.set_item("unmet", table(found.unmet, demands)?)?;
    out.set_item("figures", table(found.figures, figures)?)?;
    out.set_item("pivots", found.pivots.into_pyarray(py))?;
    Ok(out)
}
