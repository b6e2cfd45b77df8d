//! What a simulation held over time, as columns.

use numpy::IntoPyArray;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::simulate::series::Sample;

/// Columns over time of the first replication.
pub(super) fn series<'py>(py: Python<'py>, samples: &[Sample]) -> PyResult<Bound<'py, PyDict>> {
    let out = PyDict::new(py);
    let column = |name: &str, f: &dyn Fn(&Sample) -> f64| {
        let values: Vec<f64> = samples.iter().map(f).collect();
        out.set_item(name, values.into_pyarray(py))
    };
    column("at_s", &|s| s.at_s)?;
    column("waiting", &|s| s.waiting)?;
    column("running", &|s| s.running)?;
    column("cache_share", &|s| s.cache_share)?;
    column("replicas_up", &|s| s.replicas_up)?;
    Ok(out)
}
