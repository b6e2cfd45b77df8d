//! Python face of the simulator's statistics: samples of durations, and intervals over replications.

use numpy::PyReadonlyArray1;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::simulate::statistics::{self, Histogram};

/// Durations that were measured, in buckets of at most 0.39 %.
#[pyclass(frozen, eq, module = "tokenfleet._core")]
#[derive(PartialEq)]
pub struct Durations(statistics::Durations);

impl Durations {
    /// Of one histogram.
    pub fn new(histogram: &Histogram) -> Self {
        Self(histogram.into())
    }
}

#[pymethods]
impl Durations {
    /// How many there are.
    #[getter]
    fn count(&self) -> u64 {
        self.0.count()
    }

    /// Everything that was counted.
    fn __repr__(&self) -> String {
        format!("{:?}", self.0)
    }

    /// Mean, p50, p90, p95, p99 of samples together, s, every duration of one counting `weights` times.
    #[staticmethod]
    fn summary(parts: Vec<PyRef<'_, Durations>>, weights: Vec<f64>) -> PyResult<[f64; 5]> {
        if parts.len() != weights.len() || weights.iter().any(|w| !(w.is_finite() && *w >= 0.0)) {
            return Err(PyValueError::new_err(
                "weights: must be one finite number of at least 0 for each sample",
            ));
        }
        let weighed: Vec<_> = parts.iter().map(|part| &part.0).zip(weights).collect();
        Ok(statistics::Durations::summary(&weighed))
    }
}

/// Mean and half the width of the 95 % interval of the values that are numbers.
#[pyfunction]
pub fn estimate(values: PyReadonlyArray1<'_, f64>) -> (f64, f64) {
    let e = statistics::estimate(values.as_array().iter().copied());
    (e.mean, e.half_width)
}
