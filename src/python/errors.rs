//! Errors of the core as exceptions of Python.

use pyo3::exceptions::{PyIndexError, PyOSError, PyValueError};
use pyo3::prelude::*;

use crate::error::Error;
use crate::simulate::Refused;

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        match error {
            Error::Unknown { .. } => PyIndexError::new_err(error.to_string()),
            Error::File { .. } => PyOSError::new_err(error.to_string()),
            _ => PyValueError::new_err(error.to_string()),
        }
    }
}

/// Why `what` is not simulated.
pub(super) fn refused(what: &str, why: Refused) -> PyErr {
    let why = match why {
        Refused::Input(error) => return error.into(),
        Refused::Point(why) => why.name(),
        Refused::Role => "only replicas of role serve are simulated by themselves",
    };
    PyValueError::new_err(format!("{what}: {why}"))
}
