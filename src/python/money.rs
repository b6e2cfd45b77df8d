//! Cost functions: plain numbers in and out; see `tco.rs`.

use pyo3::prelude::*;

use super::convert::{Fields, Plain};
use crate::error::Result;
use crate::tco;

/// Yearly cost of one system, itemised (USD), from the fields of an `Ownership`.
#[pyfunction]
pub(super) fn system_year(ownership: Fields<tco::Ownership>) -> Result<Plain<tco::SystemYear>> {
    tco::system_year(&ownership.0).map(Plain)
}

/// What one kWh at the IT equipment costs, by item (USD), from the fields of `KwhTerms`.
#[pyfunction]
pub(super) fn kwh_it_cost(terms: Fields<tco::KwhTerms>) -> Result<Plain<tco::KwhCost>> {
    tco::kwh_it_cost(&terms.0).map(Plain)
}

/// USD per million tokens at full load: `($/GPU-h)/(tok/s/GPU × 0.0036)`.
#[pyfunction]
pub(super) fn usd_per_mtok(usd_per_gpu_h: f64, tokens_per_s_gpu: f64) -> Result<f64> {
    tco::usd_per_mtok(usd_per_gpu_h, tokens_per_s_gpu)
}

/// USD per million tokens from yearly totals.
#[pyfunction]
pub(super) fn usd_per_mtok_delivered(annual_usd: f64, tokens_per_year: f64) -> Result<f64> {
    tco::usd_per_mtok_delivered(annual_usd, tokens_per_year)
}

/// Worth today of a dollar paid so many years from now.
#[pyfunction]
pub(super) fn discount_factor(rate: f64, years: f64) -> f64 {
    tco::discount_factor(rate, years)
}

/// Worth today of a dollar a year paid from `start` to `end`.
#[pyfunction]
pub(super) fn flow_weight(rate: f64, start: f64, end: f64) -> Result<f64> {
    tco::flow_weight(rate, start, end)
}

/// Share of capex that is left on the books at some age.
#[pyfunction]
pub(super) fn book_value(
    rate: f64,
    life_years: f64,
    residual_fraction: f64,
    age: f64,
) -> Result<f64> {
    tco::book_value(rate, life_years, residual_fraction, age)
}

/// Share of the price that a market pays at some age.
#[pyfunction]
pub(super) fn market_value(points: Vec<(f64, f64)>, age: f64) -> Result<f64> {
    tco::market_value(&points, age)
}

/// Worth today of holding a system for a period.
#[pyfunction]
pub(super) fn user_cost_usd(
    rate: f64,
    price_usd: f64,
    years: (f64, f64),
    shares: (f64, f64),
) -> Result<f64> {
    tco::user_cost_usd(rate, price_usd, years, shares)
}
