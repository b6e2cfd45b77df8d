//! The simulator's statistics: samples of durations, and intervals over replications.

use numpy::PyReadonlyArray1;
use pyo3::prelude::*;

use crate::error::{not_negative, same_rows};
use crate::simulate::statistics;

/// Durations that were measured, in buckets of at most 0.39 %.
#[pyclass(frozen, eq, module = "tokenfleet._core")]
#[derive(PartialEq)]
pub(super) struct Durations(pub(super) statistics::Durations);

#[pymethods]
impl Durations {
    #[getter]
    fn count(&self) -> u64 {
        self.0.count()
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.0)
    }

    /// Mean, p50, p90, p95, p99 of samples together, s, every duration of one counting `weights` times.
    #[staticmethod]
    fn summary(parts: Vec<PyRef<'_, Durations>>, weights: Vec<f64>) -> PyResult<[f64; 5]> {
        same_rows("parts, weights", &[parts.len(), weights.len()])?;
        weights
            .iter()
            .try_for_each(|w| not_negative("weights", *w))?;
        let weighed: Vec<_> = parts.iter().map(|part| &part.0).zip(weights).collect();
        Ok(statistics::Durations::summary(&weighed))
    }
}

/// Mean and half the width of the 95 % interval of the values that are numbers.
#[pyfunction]
pub(super) fn estimate(values: PyReadonlyArray1<'_, f64>) -> (f64, f64) {
    statistics::estimate(values.as_array().iter().copied()).into()
}
