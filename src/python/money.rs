//! Cost functions: plain numbers in and out.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::tco;

/// Yearly cost of one system, itemised (USD), from the JSON of an `Ownership`; see `tco.rs`.
#[pyfunction]
pub(super) fn system_year<'py>(
    py: Python<'py>,
    ownership_json: &str,
) -> PyResult<Bound<'py, PyDict>> {
    let ownership: tco::Ownership =
        serde_json::from_str(ownership_json).map_err(|e| PyValueError::new_err(e.to_string()))?;
    let year = tco::system_year(&ownership)?;
    let out = PyDict::new(py);
    out.set_item("capex_annuity", year.capex_annuity)?;
    out.set_item("residual_credit", year.residual_credit)?;
    out.set_item("maintenance", year.maintenance)?;
    out.set_item("staff", year.staff)?;
    out.set_item("licences", year.licences)?;
    out.set_item("hosting", year.hosting)?;
    out.set_item("rental", year.rental)?;
    out.set_item("capex_usd", year.capex_usd)?;
    Ok(out)
}

/// What one kWh at the IT equipment costs, by item (USD); see `tco.rs`.
#[pyfunction]
pub(super) fn kwh_it_cost(
    py: Python<'_>,
    tariff_usd_per_kwh: f64,
    pue: f64,
    carbon_kg_per_kwh: f64,
    carbon_usd_per_t: f64,
    water_l_per_kwh_it: f64,
    water_usd_per_m3: f64,
) -> PyResult<Bound<'_, PyDict>> {
    let cost = tco::kwh_it_cost(
        tariff_usd_per_kwh,
        pue,
        carbon_kg_per_kwh,
        carbon_usd_per_t,
        water_l_per_kwh_it,
        water_usd_per_m3,
    )?;
    let out = PyDict::new(py);
    out.set_item("energy", cost.energy)?;
    out.set_item("carbon", cost.carbon)?;
    out.set_item("water", cost.water)?;
    Ok(out)
}

/// USD per million tokens at full load: `($/GPU-h)/(tok/s/GPU × 0.0036)`.
#[pyfunction]
pub(super) fn usd_per_mtok(usd_per_gpu_h: f64, tokens_per_s_gpu: f64) -> PyResult<f64> {
    Ok(tco::usd_per_mtok(usd_per_gpu_h, tokens_per_s_gpu)?)
}

/// USD per million tokens from yearly totals.
#[pyfunction]
pub(super) fn usd_per_mtok_delivered(annual_usd: f64, tokens_per_year: f64) -> PyResult<f64> {
    Ok(tco::usd_per_mtok_delivered(annual_usd, tokens_per_year)?)
}
