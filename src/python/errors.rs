//! Errors of the core as exceptions of Python, and checks of what came from there.

use pyo3::exceptions::{PyIndexError, PyOSError, PyValueError};
use pyo3::prelude::*;

use crate::error::Error;
use crate::evaluate::NoPoint;

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        match error {
            Error::Unknown { .. } => PyIndexError::new_err(error.to_string()),
            Error::File { .. } => PyOSError::new_err(error.to_string()),
            _ => PyValueError::new_err(error.to_string()),
        }
    }
}

/// Why a configuration has no point.
pub(super) fn reason(e: NoPoint) -> &'static str {
    match e {
        NoPoint::NoLayout => "no_layout",
        NoPoint::Memory => "memory",
        NoPoint::NotAdmitted => "a rate for a class that it does not admit",
    }
}

/// Refuses arrays of different lengths.
pub(super) fn same_rows(what: &str, rows: &[usize]) -> PyResult<()> {
    if rows.iter().all(|n| *n == rows[0]) {
        return Ok(());
    }
    Err(PyValueError::new_err(format!(
        "{what}: arrays of {rows:?} rows, must be equally long"
    )))
}
