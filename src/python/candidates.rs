//! Rows of candidate files: layouts are added by name positions, rows come as arrays.

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1, PyReadwriteArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::problem::{serving, Problem};
use crate::candidates::{
    self, Answers, Column, Evaluator, Prepared, Rows, ANSWERS, BLANK, MOST_CODES, NUMBERS,
};
use crate::points::NAMES;
use crate::workload::Speculation;

/// Layouts of one problem that rows of a file refer to.
#[pyclass(module = "tokenfleet._core")]
pub(super) struct Candidates {
    problem: Py<Problem>,
    prepared: Vec<Prepared>,
    evaluator: Evaluator,
}

#[pymethods]
impl Candidates {
    #[new]
    fn new(problem: Py<Problem>) -> Self {
        Self {
            problem,
            prepared: Vec::new(),
            evaluator: Evaluator::default(),
        }
    }

    /// Prepares a layout and returns its number; `None`: it is none, or a figure is missing.
    ///
    /// `axes` are the positions (workload, system, engine, precision, kv), `degrees` (tp, pp, ep,
    /// attention dp), `speculation` (draft tokens, tokens accepted per step, draft cost as a share).
    fn add(
        &mut self,
        axes: [usize; 5],
        degrees: [u32; 4],
        speculation: (u32, f64, f64),
    ) -> PyResult<Option<usize>> {
        let problem = self.problem.get();
        let [workload, system, engine, precision, kv] = axes;
        problem.check_axes([workload, system, engine, precision, kv, 0])?;
        let (depth, accepted, draft_cost) = speculation;
        let domain = accepted >= 1.0 && accepted <= f64::from(depth) + 1.0 && draft_cost >= 0.0;
        if degrees.contains(&0) || !domain || !draft_cost.is_finite() {
            return Err(PyValueError::new_err(format!(
                "degrees {degrees:?} must be positive, and speculation {speculation:?} accept 1 to \
                 depth + 1 tokens at a cost of at least 0"
            )));
        }
        let configuration = serving([workload, system, engine, precision, kv, 0], degrees);
        let speculation = Speculation {
            depth,
            accepted,
            draft_cost,
        };
        let Some(prepared) = Prepared::new(&problem.spec, configuration, speculation) else {
            return Ok(None);
        };
        self.prepared.push(prepared);
        Ok(Some(self.prepared.len() - 1))
    }

    /// Answers rows into the room that is given; see `candidates/`.
    ///
    /// `values` and `valid` are a column and its bits for each answer. Returns how many rows are not
    /// rejected, whose answers come first, and how many of them lack each answer.
    fn evaluate<'py>(
        &mut self,
        py: Python<'py>,
        layout: PyReadonlyArray1<'py, i32>,
        numbers: [PyReadonlyArray1<'py, f64>; NUMBERS.len()],
        mut status: PyReadwriteArray1<'py, u8>,
        mut values: [PyReadwriteArray1<'py, f64>; ANSWERS.len()],
        mut valid: [PyReadwriteArray1<'py, u8>; ANSWERS.len()],
    ) -> PyResult<(usize, [usize; ANSWERS.len()])> {
        let layout = layout.as_slice()?;
        let mut columns: [&[f64]; NUMBERS.len()] = [&[]; NUMBERS.len()];
        for (i, (column, array)) in columns.iter_mut().zip(&numbers).enumerate() {
            *column = array.as_slice()?;
            let optional = i >= 2 && column.is_empty();
            if column.len() != layout.len() && !optional {
                return Err(PyValueError::new_err(format!(
                    "{} has {} rows, layout has {}",
                    NUMBERS[i],
                    column.len(),
                    layout.len()
                )));
            }
        }
        if layout.iter().any(|i| *i >= self.prepared.len() as i32) {
            return Err(PyValueError::new_err("layout: a number that was not added"));
        }
        let [input_tokens, output_tokens, concurrency, rate_rps, batch_limit, usd_per_gpu_h, usd_per_kwh, pue] =
            columns;
        let rows = Rows {
            layout,
            input_tokens,
            output_tokens,
            concurrency,
            rate_rps,
            batch_limit,
            usd_per_gpu_h,
            usd_per_kwh,
            pue,
        };
        let status = status.as_slice_mut()?;
        let mut columns = Vec::with_capacity(ANSWERS.len());
        for (values, valid) in values.iter_mut().zip(&mut valid) {
            let (values, valid) = (values.as_slice_mut()?, valid.as_slice_mut()?);
            if values.len() < layout.len() || valid.len() * 8 < layout.len() {
                return Err(PyValueError::new_err("there is no room for the answers"));
            }
            columns.push(Column {
                values,
                valid,
                missing: 0,
            });
        }
        let columns: [Column; ANSWERS.len()] = columns
            .try_into()
            .map_err(|_| PyValueError::new_err("there is no room for the answers"))?;
        if status.len() != layout.len() {
            return Err(PyValueError::new_err("status: as long as layout"));
        }
        let mut out = Answers { status, columns };
        let spec = &self.problem.get().spec;
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
    let slices = columns
        .iter()
        .map(|c| c.as_slice())
        .collect::<Result<Vec<&[u32]>, _>>()?;
    let len = slices.first().map_or(0, |c| c.len());
    if slices.len() > MOST_CODES || slices.iter().any(|c| c.len() != len) {
        return Err(PyValueError::new_err(format!(
            "{} columns: at most {MOST_CODES}, of equal length",
            slices.len()
        )));
    }
    let (firsts, of_row) = py.detach(|| candidates::distinct_rows(&slices, len));
    Ok((firsts.into_pyarray(py), of_row.into_pyarray(py)))
}

/// Adds the topic to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Candidates>()?;
    m.add_function(wrap_pyfunction!(distinct_rows, m)?)?;
    m.add("POINT_COLUMNS", PyTuple::new(m.py(), NAMES)?)?;
    m.add("CANDIDATE_NUMBERS", PyTuple::new(m.py(), NUMBERS)?)?;
    m.add("CANDIDATE_ANSWERS", PyTuple::new(m.py(), ANSWERS)?)?;
    m.add("BLANK", BLANK)
}
