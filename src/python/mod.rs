//! The only place that knows Python: options and arrays in, GIL released, answers out, errors mapped.
//!
//! Calls go one way: `convert`, `threads`, `requests`, `durations` ▸ `space` ▸ what takes a
//! space (`simulation`, `search`, `points`, `candidates`, `benchmark`); the rest stand alone.

#![allow(clippy::too_many_arguments)] // arrays, and Python's keywords

mod benchmark;
mod candidates;
mod convert;
mod durations;
mod errors;
mod fleets;
mod money;
mod points;
mod requests;
mod search;
mod simulation;
mod space;
mod tables;
mod threads;

use pyo3::prelude::*;

/// Rust core of tokenfleet.
#[pymodule]
mod _core {
    use pyo3::prelude::*;
    use pyo3::types::PyTuple;

    use super::convert::Plain;
    use crate::simulate::Options;
    use crate::{candidates, points, tco};

    #[pymodule_export]
    use super::benchmark::{closed_loop, pool_loop, throughput};
    #[pymodule_export]
    use super::candidates::{distinct_rows, Candidates};
    #[pymodule_export]
    use super::durations::{estimate, Durations};
    #[pymodule_export]
    use super::fleets::route_fleets;
    #[pymodule_export]
    use super::money::{
        book_value, discount_factor, flow_weight, kwh_it_cost, market_value, system_year,
        usd_per_mtok, usd_per_mtok_delivered, user_cost_usd,
    };
    #[pymodule_export]
    use super::points::{operating_points, PointSearch};
    #[pymodule_export]
    use super::search::{prune, CandidateSearch};
    #[pymodule_export]
    use super::simulation::{replay, simulate, simulate_fleet, StopFlag};
    #[pymodule_export]
    use super::space::PySpace;
    #[pymodule_export]
    use super::tables::{file_checksum, Splicer};

    #[pymodule_init]
    fn constants(m: &Bound<'_, PyModule>) -> PyResult<()> {
        let names = |of: &[&str]| PyTuple::new(m.py(), of);
        m.add("POINT_COLUMNS", names(&points::NAMES)?)?;
        m.add("CANDIDATE_NUMBERS", names(&candidates::NUMBERS)?)?;
        m.add("CANDIDATE_ANSWERS", names(&candidates::ANSWERS)?)?;
        m.add("BLANK", candidates::BLANK)?;
        m.add("HOURS_PER_YEAR", tco::HOURS_PER_YEAR)?;
        m.add("SIMULATION", Plain(Options::default()))?;
        m.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
