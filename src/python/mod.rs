//! The only place that knows Python: text and arrays in, GIL released, arrays out, errors mapped.
//!
//! Calls go one way: `errors`, `threads`, `requests`, `series`, `durations` ▸ `group` ▸ `problem` ▸ what takes a
//! problem (`fleet`, `search`, `points`, `candidates`, `benchmark`); the rest stand alone.

mod benchmark;
mod candidates;
mod durations;
mod errors;
mod fleet;
mod fleets;
mod group;
mod money;
mod points;
mod problem;
mod requests;
mod search;
mod series;
mod tables;
mod threads;

use pyo3::prelude::*;

use crate::tco;

/// Rust core of tokenfleet.
#[pymodule]
fn _core(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<problem::Problem>()?;
    m.add_class::<search::Search>()?;
    m.add_class::<points::PointSearch>()?;
    m.add_function(wrap_pyfunction!(points::operating_points, m)?)?;
    candidates::register(m)?;
    tables::register(m)?;
    m.add_class::<durations::Durations>()?;
    m.add_class::<group::StopFlag>()?;
    m.add_function(wrap_pyfunction!(durations::estimate, m)?)?;
    m.add_function(wrap_pyfunction!(fleet::simulate_fleet, m)?)?;
    m.add_function(wrap_pyfunction!(fleets::route_fleets, m)?)?;
    m.add_function(wrap_pyfunction!(benchmark::throughput, m)?)?;
    m.add_function(wrap_pyfunction!(search::prune, m)?)?;
    m.add_function(wrap_pyfunction!(money::system_year, m)?)?;
    m.add_function(wrap_pyfunction!(money::kwh_it_cost, m)?)?;
    m.add_function(wrap_pyfunction!(money::usd_per_mtok, m)?)?;
    m.add_function(wrap_pyfunction!(money::usd_per_mtok_delivered, m)?)?;
    m.add("HOURS_PER_YEAR", tco::HOURS_PER_YEAR)?;
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    Ok(())
}
