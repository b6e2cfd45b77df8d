//! Files of tables: parts put together, and checksums of them.

use std::path::PathBuf;

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

use crate::checksum;
use crate::splice;

/// Puts Parquet files together without decoding them; see `splice.rs`.
#[pyclass(module = "tokenfleet._core")]
pub(super) struct Splicer {
    splicer: Option<splice::Splicer>,
}

#[pymethods]
impl Splicer {
    /// `target` is there and empty; `like` is a Parquet file of the schema.
    #[new]
    fn new(target: PathBuf, like: PathBuf) -> PyResult<Self> {
        Ok(Self {
            splicer: Some(splice::Splicer::new(&target, &like)?),
        })
    }

    /// Appends all row groups of a file; returns its rows.
    fn append(&mut self, py: Python<'_>, path: PathBuf) -> PyResult<u64> {
        let splicer = self.splicer.as_mut().ok_or_else(closed)?;
        Ok(py.detach(|| splicer.append(&path))?)
    }

    /// Writes the footer.
    fn close(&mut self, py: Python<'_>) -> PyResult<()> {
        let splicer = self.splicer.take().ok_or_else(closed)?;
        Ok(py.detach(|| splicer.close())?)
    }
}

fn closed() -> PyErr {
    PyValueError::new_err("the file is closed")
}

/// XXH3-128 of a file as 32 hexadecimal digits.
#[pyfunction]
pub(super) fn file_checksum(py: Python<'_>, path: PathBuf) -> PyResult<String> {
    let found = py.detach(|| checksum::file_checksum(&path));
    let found = found.map_err(|e| PyOSError::new_err(format!("{}: {e}", path.display())))?;
    Ok(format!("{found:032x}"))
}
