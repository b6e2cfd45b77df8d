//! Rows of candidate files: layouts are added by positions, rows come as arrays; see `candidates/`.

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1, PyReadwriteArray1};
use pyo3::prelude::*;

use super::convert::{slices, Fields};
use super::space::PySpace;
use crate::candidates::{self, Answers, Evaluator, Prepared, Rows, ANSWERS, NUMBERS};
use crate::error::Result;
use crate::space::Configuration;
use crate::workload::Speculation;

/// Layouts of one problem that rows of a file refer to.
#[pyclass(module = "tokenfleet._core")]
pub(super) struct Candidates {
    space: Py<PySpace>,
    prepared: Vec<Prepared>,
    evaluator: Evaluator,
}

#[pymethods]
impl Candidates {
    #[new]
    fn new(space: Py<PySpace>) -> Self {
        Self {
            space,
            prepared: Vec::new(),
            evaluator: Evaluator::default(),
        }
    }

    /// Prepares a layout and returns its number; `None`: it is none, or a figure is missing.
    fn add(
        &mut self,
        axes: [usize; 5],
        degrees: [u32; 4],
        speculation: Fields<Speculation>,
    ) -> Result<Option<usize>> {
        let spec = &self.space.get().spec;
        let [workload, system, engine, precision, kv] = axes;
        let axes = [workload, system, engine, precision, kv, 0];
        let c = Configuration::serving(spec, axes, degrees)?;
        let prepared = Prepared::new(spec, c, speculation.0)?;
        Ok(prepared.map(|prepared| {
            self.prepared.push(prepared);
            self.prepared.len() - 1
        }))
    }

    /// Answers rows into the room that is given: how many rows are not rejected, whose answers come
    /// first, and how many of them lack each answer.
    fn evaluate<'py>(
        &mut self,
        py: Python<'py>,
        layout: PyReadonlyArray1<'py, i32>,
        numbers: [PyReadonlyArray1<'py, f64>; NUMBERS.len()],
        mut status: PyReadwriteArray1<'py, u8>,
        mut room: [(PyReadwriteArray1<'py, f64>, PyReadwriteArray1<'py, u8>); ANSWERS.len()],
    ) -> PyResult<(usize, [usize; ANSWERS.len()])> {
        let mut columns: [&[f64]; NUMBERS.len()] = Default::default();
        columns.copy_from_slice(&slices(&numbers)?);
        let rows = Rows::new(layout.as_slice()?, columns, self.prepared.len())?;
        let mut columns: [(&mut [f64], &mut [u8]); ANSWERS.len()] = Default::default();
        for (column, (values, valid)) in columns.iter_mut().zip(&mut room) {
            *column = (values.as_slice_mut()?, valid.as_slice_mut()?);
        }
        let mut out = Answers::new(layout.len()?, status.as_slice_mut()?, columns)?;
        let spec = &self.space.get().spec;
        let (evaluator, prepared) = (&mut self.evaluator, &self.prepared);
        let kept = py.detach(|| evaluator.evaluate(spec, prepared, &rows, &mut out));
        Ok((kept, out.columns.map(|c| c.missing)))
    }
}

/// First row of every distinct row of code columns, and for each row which of them it is.
#[pyfunction]
#[allow(clippy::type_complexity)]
pub(super) fn distinct_rows<'py>(
    py: Python<'py>,
    columns: Vec<PyReadonlyArray1<'py, u32>>,
) -> PyResult<(Bound<'py, PyArray1<u32>>, Bound<'py, PyArray1<u32>>)> {
    let columns = slices(&columns)?;
    let (firsts, of_row) = py.detach(|| candidates::distinct_rows(&columns))?;
    Ok((firsts.into_pyarray(py), of_row.into_pyarray(py)))
}
