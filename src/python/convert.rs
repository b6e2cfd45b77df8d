//! Across the border: options by serde, answers as plain values, numbers as columns.

use numpy::{Element, IntoPyArray, PyReadonlyArray, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pythonize::{pythonize, Depythonizer, PythonizeError};
use serde::de::DeserializeOwned;
use serde::Serialize;

/// A value that is read by the names of its fields; an error says where in it the fault lies.
#[derive(Default)]
pub(super) struct Fields<T>(pub(super) T);

impl<'py, T: DeserializeOwned> FromPyObject<'_, 'py> for Fields<T> {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let found = serde_path_to_error::deserialize(&mut Depythonizer::from_object(&value));
        found.map(Self).map_err(|error| {
            let text = match error.path().to_string().as_str() {
                "." => error.inner().to_string(),
                path => format!("{path}: {}", error.inner()),
            };
            PyValueError::new_err(text)
        })
    }
}

/// An answer as numbers, strings, lists and dictionaries.
pub(super) struct Plain<T>(pub(super) T);

impl<'py, T: Serialize> IntoPyObject<'py> for Plain<T> {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PythonizeError;

    fn into_pyobject(self, py: Python<'py>) -> Result<Self::Output, Self::Error> {
        pythonize(py, &self.0)
    }
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
