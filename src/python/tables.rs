//! Files of tables: parts put together, and checksums of them.

use std::path::PathBuf;

use pyo3::prelude::*;

use crate::checksum;
use crate::error::{Error, Result};
use crate::splice;

/// Puts Parquet files together without decoding them, until it is closed; see `splice.rs`.
#[pyclass(module = "tokenfleet._core")]
pub(super) struct Splicer(Option<splice::Splicer>);

#[pymethods]
impl Splicer {
    /// `target` is there and empty; `like` is a Parquet file of the schema.
    #[new]
    fn new(target: PathBuf, like: PathBuf) -> Result<Self> {
        Ok(Self(Some(splice::Splicer::new(&target, &like)?)))
    }

    /// Appends all row groups of a file; returns its rows.
    fn append(&mut self, py: Python<'_>, path: PathBuf) -> Result<u64> {
        let splicer = self.0.as_mut().ok_or_else(closed)?;
        py.detach(|| splicer.append(&path))
    }

    /// Writes the footer.
    fn close(&mut self, py: Python<'_>) -> Result<()> {
        let splicer = self.0.take().ok_or_else(closed)?;
        py.detach(|| splicer.close())
    }
}

fn closed() -> Error {
    Error::Input("the file is closed".to_owned())
}

/// XXH3-128 of a file as 32 hexadecimal digits.
#[pyfunction]
pub(super) fn file_checksum(py: Python<'_>, path: PathBuf) -> Result<String> {
    py.detach(|| checksum::file_checksum(&path))
}
