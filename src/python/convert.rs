//! Across the border: options by serde, answers as plain values, numbers as columns.

use numpy::{Element, IntoPyArray, PyReadonlyArray, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pythonize::{pythonize, Depythonizer};
use serde::de::DeserializeOwned;
use serde::Serialize;

/// Reads a value; an error says `what` it is and where in it the fault lies.
pub(super) fn read<T: DeserializeOwned>(what: &str, value: &Bound<'_, PyAny>) -> PyResult<T> {
    let found = serde_path_to_error::deserialize(&mut Depythonizer::from_object(value));
    found.map_err(|error| {
        let path = match error.path().to_string() {
            path if path == "." => what.to_owned(),
            path => format!("{what}: {path}"),
        };
        PyValueError::new_err(format!("{path}: {}", error.inner()))
    })
}

/// Reads keyword arguments.
pub(super) fn options<T: DeserializeOwned>(
    py: Python<'_>,
    what: &str,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<T> {
    read(what, given.unwrap_or(&PyDict::new(py)))
}

/// An answer as numbers, strings, lists and dictionaries.
pub(super) fn plain<'py>(py: Python<'py>, answer: &impl Serialize) -> PyResult<Bound<'py, PyAny>> {
    Ok(pythonize(py, answer)?)
}

/// Adds rows to a dictionary of columns, an array for each name.
pub(super) fn add_columns<'py, T: Element, const N: usize>(
    out: &Bound<'py, PyDict>,
    names: [&str; N],
    rows: impl Iterator<Item = [T; N]>,
) -> PyResult<()> {
    let mut columns: [Vec<T>; N] = std::array::from_fn(|_| Vec::with_capacity(rows.size_hint().0));
    for row in rows {
        columns
            .iter_mut()
            .zip(row)
            .for_each(|(column, value)| column.push(value));
    }
    let mut named = names.into_iter().zip(columns);
    named.try_for_each(|(name, column)| out.set_item(name, column.into_pyarray(out.py())))
}

/// The numbers of an array, row by row.
pub(super) fn numbers<D: numpy::ndarray::Dimension>(
    array: &PyReadonlyArray<'_, f64, D>,
) -> Vec<f64> {
    array.as_array().iter().copied().collect()
}

/// The arrays of a list, as slices.
pub(super) fn slices<'a, T: Element>(
    arrays: &'a [PyReadonlyArray1<'_, T>],
) -> PyResult<Vec<&'a [T]>> {
    arrays.iter().map(|array| Ok(array.as_slice()?)).collect()
}
