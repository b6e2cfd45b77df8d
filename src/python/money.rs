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

/// What one kWh at the IT equipment costs, by item (USD).
#[pyfunction]
pub(super) fn kwh_it_cost(
    tariff_usd_per_kwh: f64,
    pue: f64,
    carbon_kg_per_kwh: f64,
    carbon_usd_per_t: f64,
    water_l_per_kwh_it: f64,
    water_usd_per_m3: f64,
) -> Result<Plain<tco::KwhCost>> {
    tco::kwh_it_cost(
        tariff_usd_per_kwh,
        pue,
        carbon_kg_per_kwh,
        carbon_usd_per_t,
        water_l_per_kwh_it,
        water_usd_per_m3,
    )
    .map(Plain)
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
