//! The only definition of cost. Every other place reads these items and adds them up.
//!
//! A system-year of owned hardware: capital is repaid as an annuity, the residual value comes back
//! through a sinking fund, and what runs the system is paid by the year (8,760 h).

use serde::{Deserialize, Serialize};

use crate::error::{not_negative, positive, within, Error, Result};

/// Hours in a year.
pub const HOURS_PER_YEAR: f64 = 8760.0;

/// `(1+r)^n − 1`, exact for rates near zero.
fn growth(rate: f64, years: f64) -> f64 {
    (years * rate.ln_1p()).exp_m1()
}

/// `r(1+r)^n/((1+r)^n−1)`; `1/n` without interest.
pub fn capital_recovery_factor(rate: f64, years: f64) -> f64 {
    sinking_fund_factor(rate, years) + rate
}

/// `r/((1+r)^n−1)`: yearly payment that grows to one; `1/n` without interest.
pub fn sinking_fund_factor(rate: f64, years: f64) -> f64 {
    if rate == 0.0 {
        return 1.0 / years;
    }
    rate / growth(rate, years)
}

/// What it takes to own one system for a year. Fractions are of the server price unless said.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ownership {
    /// Price of one system, USD; 0 when it is owned already.
    pub server_usd: f64,
    /// Share of total IT capex that is network.
    pub network_fraction: f64,
    /// Share of total IT capex that is storage.
    pub storage_fraction: f64,
    /// Integration, as a fraction of the server price.
    pub integration_fraction: f64,
    /// Cost of capital per year.
    pub cost_of_capital: f64,
    /// Economic life, years.
    pub life_years: f64,
    /// Residual value as a fraction of capex.
    pub residual_fraction: f64,
    /// Maintenance per year, as a fraction of `maintained_usd`.
    pub maintenance_fraction: f64,
    /// Value that maintenance is charged on, USD.
    pub maintained_usd: f64,
    /// Staff, USD per kW of IT and year.
    pub staff_usd_per_kw_year: f64,
    /// Licences, USD per accelerator and year.
    pub licence_usd_per_gpu_year: f64,
    /// Hosting, USD per kW of IT and month.
    pub hosting_usd_per_kw_month: f64,
    /// Rental, USD per accelerator and hour.
    pub rental_usd_per_gpu_h: f64,
    /// Provisioned IT power of one system, kW.
    pub provisioned_kw: f64,
    /// Accelerators in one system.
    pub gpus: f64,
}

impl Ownership {
    fn amounts(&self) -> [(&'static str, f64); 13] {
        [
            ("server_usd", self.server_usd),
            ("finance.network_fraction", self.network_fraction),
            ("finance.storage_fraction", self.storage_fraction),
            ("finance.integration_fraction", self.integration_fraction),
            ("finance.cost_of_capital", self.cost_of_capital),
            ("finance.residual_fraction", self.residual_fraction),
            (
                "finance.maintenance_fraction_per_year",
                self.maintenance_fraction,
            ),
            ("maintained_usd", self.maintained_usd),
            ("finance.staff_usd_per_kw_year", self.staff_usd_per_kw_year),
            (
                "finance.licence_usd_per_gpu_year",
                self.licence_usd_per_gpu_year,
            ),
            ("hosting_usd_per_kw_month", self.hosting_usd_per_kw_month),
            ("rental_usd_per_gpu_h", self.rental_usd_per_gpu_h),
            ("provisioned_kw", self.provisioned_kw),
        ]
    }
}

/// Yearly cost of one system, itemised, USD. Energy is apart: it follows what is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SystemYear {
    /// Annuity on capex.
    pub capex_annuity: f64,
    /// Residual value, negative.
    pub residual_credit: f64,
    /// Maintenance.
    pub maintenance: f64,
    /// Staff.
    pub staff: f64,
    /// Licences.
    pub licences: f64,
    /// Hosting on provisioned power.
    pub hosting: f64,
    /// Rental: exactly price × accelerators × hours.
    pub rental: f64,
    /// Capital outlay of one system, USD; not a yearly cost.
    pub capex_usd: f64,
}

/// Total IT capex of one system: server ÷ (1 − network − storage) + integration.
pub fn capex_usd(o: &Ownership) -> f64 {
    o.server_usd / (1.0 - o.network_fraction - o.storage_fraction)
        + o.integration_fraction * o.server_usd
}

/// Itemises one system-year.
pub fn system_year(o: &Ownership) -> Result<SystemYear> {
    positive("finance.life_years", o.life_years)?;
    for (field, value) in o.amounts() {
        not_negative(field, value)?;
    }
    if o.residual_fraction > 1.0 {
        let field = "finance.residual_fraction".into();
        return Err(Error::Value {
            field,
            value: o.residual_fraction,
            must: "at most 1",
        });
    }
    let shared = o.network_fraction + o.storage_fraction;
    if !(0.0..1.0).contains(&shared) {
        let field = "finance.network_fraction + finance.storage_fraction".into();
        return Err(Error::Value {
            field,
            value: shared,
            must: "at least 0 and below 1",
        });
    }
    let capex = capex_usd(o);
    Ok(SystemYear {
        capex_annuity: capex * capital_recovery_factor(o.cost_of_capital, o.life_years),
        residual_credit: -capex
            * o.residual_fraction
            * sinking_fund_factor(o.cost_of_capital, o.life_years),
        maintenance: o.maintenance_fraction * o.maintained_usd,
        staff: o.staff_usd_per_kw_year * o.provisioned_kw,
        licences: o.licence_usd_per_gpu_year * o.gpus,
        hosting: o.hosting_usd_per_kw_month * o.provisioned_kw * 12.0,
        rental: o.rental_usd_per_gpu_h * o.gpus * HOURS_PER_YEAR,
        capex_usd: capex,
    })
}

/// What one kWh at the IT equipment costs, by item, USD.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct KwhCost {
    /// The tariff, on utility energy.
    pub energy: f64,
    /// The scenario's price of carbon, on utility energy.
    pub carbon: f64,
    /// The scenario's price of water, on IT energy.
    pub water: f64,
}

/// Itemises one kWh at the IT equipment: tariff and carbon on utility energy, water on IT energy.
pub fn kwh_it_cost(
    tariff_usd_per_kwh: f64,
    pue: f64,
    carbon_kg_per_kwh: f64,
    carbon_usd_per_t: f64,
    water_l_per_kwh_it: f64,
    water_usd_per_m3: f64,
) -> Result<KwhCost> {
    not_negative("tariff_usd_per_kwh", tariff_usd_per_kwh)?;
    within("pue", pue, 1.0..f64::INFINITY, "at least 1")?;
    not_negative("carbon_kg_per_kwh", carbon_kg_per_kwh)?;
    not_negative("carbon_usd_per_t", carbon_usd_per_t)?;
    not_negative("water_l_per_kwh_it", water_l_per_kwh_it)?;
    not_negative("water_usd_per_m3", water_usd_per_m3)?;
    Ok(KwhCost {
        energy: pue * tariff_usd_per_kwh,
        carbon: pue * carbon_kg_per_kwh * carbon_usd_per_t / 1000.0,
        water: water_l_per_kwh_it * water_usd_per_m3 / 1000.0,
    })
}

/// Cost of a million tokens at full load: `($/GPU-h)/(tok/s/GPU × 0.0036)`.
pub fn usd_per_mtok(usd_per_gpu_h: f64, tokens_per_s_gpu: f64) -> Result<f64> {
    not_negative("usd_per_gpu_h", usd_per_gpu_h)?;
    positive("tokens_per_s_gpu", tokens_per_s_gpu)?;
    Ok(usd_per_mtok_at(usd_per_gpu_h, tokens_per_s_gpu))
}

/// [`usd_per_mtok`] of numbers already checked; infinite where there are no tokens.
#[inline(always)]
pub fn usd_per_mtok_at(usd_per_gpu_h: f64, tokens_per_s_gpu: f64) -> f64 {
    usd_per_gpu_h / (tokens_per_s_gpu * 0.0036)
}

/// Hourly cost of an accelerator with the energy it draws: `$/GPU-h + W/1000 · $/kWh`.
#[inline(always)]
pub fn usd_per_gpu_h_with_energy(
    usd_per_gpu_h: f64,
    watts_per_gpu: f64,
    energy_usd_per_kwh_it: f64,
) -> f64 {
    usd_per_gpu_h + watts_per_gpu * energy_usd_per_kwh_it * 1e-3
}

/// Cost of a million tokens from yearly totals.
pub fn usd_per_mtok_delivered(annual_usd: f64, tokens_per_year: f64) -> Result<f64> {
    positive("tokens_per_year", tokens_per_year)?;
    Ok(annual_usd / tokens_per_year * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annuity_from_the_textbook() {
        // 10 % over 5 years: capital recovery 0.263797, sinking fund 0.163797.
        assert!((capital_recovery_factor(0.10, 5.0) - 0.263_797_480_8).abs() < 1e-9);
        assert!((sinking_fund_factor(0.10, 5.0) - 0.163_797_480_8).abs() < 1e-9);
        assert_eq!(capital_recovery_factor(0.0, 5.0), 0.2);
    }

    #[test]
    fn a_kwh_by_hand() {
        // PUE 1.25: 1.25·0.08 $, 1.25·0.4 kg·100 $/t, and 1.8 l·2 $/m3 beside the PUE.
        let cost = kwh_it_cost(0.08, 1.25, 0.4, 100.0, 1.8, 2.0).unwrap();
        assert!((cost.energy - 0.1).abs() < 1e-15);
        assert!((cost.carbon - 0.05).abs() < 1e-15);
        assert!((cost.water - 0.0036).abs() < 1e-15);
        assert!(kwh_it_cost(0.08, 0.9, 0.0, 0.0, 0.0, 0.0).is_err());
    }

    #[test]
    fn the_published_rule() {
        assert!((usd_per_mtok(1.41, 93.25).unwrap() - 4.20).abs() < 5e-3);
        assert!((usd_per_mtok(2.652, 6000.0).unwrap() - 0.1228).abs() < 5e-5);
    }
}
