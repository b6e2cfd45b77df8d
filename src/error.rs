//! One error enum, free of Python; `python` maps it in one place.

use std::fmt;

/// What can go wrong in the core. Every case names what the caller has to change.
#[derive(Debug, Clone, PartialEq)]
pub enum Error {
    /// The specification text is not what the core expects.
    Spec(String),
    /// What is asked beside the specification is not what the core expects.
    Input(String),
    /// A number is outside its domain.
    Value {
        /// Path of the field, for example `systems[3].mem_bytes`.
        field: String,
        /// The offending value.
        value: f64,
        /// What the field must satisfy.
        must: &'static str,
    },
    /// An index or identifier that does not exist.
    Unknown {
        /// What was looked up.
        what: &'static str,
        /// The index asked for.
        index: u64,
        /// How many there are.
        len: u64,
    },
    /// Columns that belong together and are not equally long.
    Rows {
        /// What they are.
        what: String,
        /// Rows of each.
        rows: Vec<usize>,
    },
    /// A file that cannot be read or written.
    File {
        /// Its name.
        path: String,
        /// What the system or the format says.
        why: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec(text) => write!(f, "problem specification: {text}"),
            Self::Input(text) => f.write_str(text),
            Self::Value { field, value, must } => write!(f, "{field} = {value}: must be {must}"),
            Self::Unknown { what, index, len } => write!(f, "no {what} {index}: there are {len}"),
            Self::Rows { what, rows } => {
                write!(f, "{what}: arrays of {rows:?} rows, must be equally long")
            }
            Self::File { path, why } => write!(f, "{path}: {why}"),
        }
    }
}

impl std::error::Error for Error {}

/// Result of the core.
pub type Result<T> = std::result::Result<T, Error>;

/// Refuses a value that is not finite and positive.
pub fn positive(field: impl Into<String>, value: f64) -> Result<()> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(Error::Value {
        field: field.into(),
        value,
        must: "finite and positive",
    })
}

/// Refuses a value that is not finite or below zero.
pub fn not_negative(field: impl Into<String>, value: f64) -> Result<()> {
    within(field, value, 0.0..f64::INFINITY, "finite and at least 0")
}

/// Refuses a value outside a half-open range.
pub fn within(
    field: impl Into<String>,
    value: f64,
    range: std::ops::Range<f64>,
    must: &'static str,
) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(Error::Value {
        field: field.into(),
        value,
        must,
    })
}

/// Refuses columns of different lengths; `what` names them.
pub fn same_rows(what: impl Into<String>, rows: &[usize]) -> Result<()> {
    if rows.iter().all(|n| *n == rows[0]) {
        return Ok(());
    }
    Err(Error::Rows {
        what: what.into(),
        rows: rows.to_vec(),
    })
}

/// Refuses an index past the end of what it points into.
pub fn index(what: &'static str, index: usize, len: usize) -> Result<()> {
    if index < len {
        return Ok(());
    }
    Err(Error::Unknown {
        what,
        index: index as u64,
        len: len as u64,
    })
}
