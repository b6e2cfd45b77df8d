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

/// What a kWh is paid by; what is left out costs nothing.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KwhTerms {
    /// Tariff of utility energy, USD per kWh.
    pub tariff_usd_per_kwh: f64,
    /// Utility energy over IT energy.
    pub pue: f64,
    /// Carbon of utility energy, kg per kWh.
    #[serde(default)]
    pub carbon_kg_per_kwh: f64,
    /// The scenario's price of carbon, USD per tonne.
    #[serde(default)]
    pub carbon_usd_per_t: f64,
    /// Water of IT energy, litres per kWh.
    #[serde(default)]
    pub water_l_per_kwh_it: f64,
    /// The scenario's price of water, USD per m3.
    #[serde(default)]
    pub water_usd_per_m3: f64,
}

/// Itemises one kWh at the IT equipment: tariff and carbon on utility energy, water on IT energy.
pub fn kwh_it_cost(terms: &KwhTerms) -> Result<KwhCost> {
    not_negative("tariff_usd_per_kwh", terms.tariff_usd_per_kwh)?;
    within("pue", terms.pue, 1.0..f64::INFINITY, "at least 1")?;
    not_negative("carbon_kg_per_kwh", terms.carbon_kg_per_kwh)?;
    not_negative("carbon_usd_per_t", terms.carbon_usd_per_t)?;
    not_negative("water_l_per_kwh_it", terms.water_l_per_kwh_it)?;
    not_negative("water_usd_per_m3", terms.water_usd_per_m3)?;
    Ok(KwhCost {
        energy: terms.pue * terms.tariff_usd_per_kwh,
        carbon: terms.pue * terms.carbon_kg_per_kwh * terms.carbon_usd_per_t / 1000.0,
        water: terms.water_l_per_kwh_it * terms.water_usd_per_m3 / 1000.0,
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

/// What one dollar paid `years` from now is worth today: `(1+r)^-years`.
pub fn discount_factor(rate: f64, years: f64) -> f64 {
    (-years * rate.ln_1p()).exp()
}

/// What a dollar a year is worth today that is paid from `start` to `end`, in years from now.
///
/// `((1+r)^-start − (1+r)^-end)/r`, the length without interest. One year weighs 1/(1+r), as the
/// annuity of `system_year` has it, and the parts of a year weigh what the year weighs.
pub fn flow_weight(rate: f64, start: f64, end: f64) -> Result<f64> {
    not_negative("rate", rate)?;
    not_negative("start", start)?;
    within("end", end, start..f64::INFINITY, "no earlier than start")?;
    if rate == 0.0 {
        return Ok(end - start);
    }
    Ok(discount_factor(rate, end) * growth(rate, end - start) / rate)
}

/// Share of its capex that a system of some age is worth on the books, if it costs the same in
/// every year: `1 − (1−ρ)((1+r)^a − 1)/((1+r)^L − 1)`, ρ from the end of its life on.
pub fn book_value(rate: f64, life_years: f64, residual_fraction: f64, age: f64) -> Result<f64> {
    not_negative("rate", rate)?;
    positive("life_years", life_years)?;
    within(
        "residual_fraction",
        residual_fraction,
        0.0..1.0 + f64::EPSILON,
        "from 0 to 1",
    )?;
    not_negative("age", age)?;
    let age = age.min(life_years);
    let worn = if rate == 0.0 {
        age / life_years
    } else {
        growth(rate, age) / growth(rate, life_years)
    };
    Ok(1.0 - (1.0 - residual_fraction) * worn)
}

/// Share of a price that a market pays at some age: points (age, share) joined by straight lines,
/// level before the first and after the last.
pub fn market_value(points: &[(f64, f64)], age: f64) -> Result<f64> {
    not_negative("age", age)?;
    let Some(first) = points.first() else {
        let field = "resale".into();
        return Err(Error::Value {
            field,
            value: 0.0,
            must: "at least one point of age and share",
        });
    };
    for pair in points.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        if to.0 <= from.0 || !to.0.is_finite() {
            let field = "resale age".into();
            return Err(Error::Value {
                field,
                value: to.0,
                must: "above the one before",
            });
        }
        if age >= from.0 && age < to.0 {
            return Ok(from.1 + (to.1 - from.1) * (age - from.0) / (to.0 - from.0));
        }
    }
    Ok(if age < first.0 {
        first.1
    } else {
        points[points.len() - 1].1
    })
}

/// Worth today of what it costs to hold a system for a period: what it would bring at the start,
/// less what it brings at the end. `shares` are of its price, `years` are from now.
///
/// Summed over the periods in which it is held that is the price less the resale, each at its date.
pub fn user_cost_usd(
    rate: f64,
    price_usd: f64,
    years: (f64, f64),
    shares: (f64, f64),
) -> Result<f64> {
    not_negative("rate", rate)?;
    not_negative("price_usd", price_usd)?;
    let [start, end] = [years.0, years.1].map(|at| discount_factor(rate, at));
    Ok(price_usd * (shares.0 * start - shares.1 * end))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Price 40,000 $, four years, 20 % left, 8 %: figures worked out apart, to all digits.
    #[test]
    fn quarters_weigh_what_their_year_weighs() {
        let by_hand = [
            0.238_204_348_405_367_25,
            0.233_665_043_477_429_56,
            0.229_212_241_123_297_2,
            0.224_844_292_919_833_27,
        ];
        let mut sum = 0.0;
        for (quarter, expected) in by_hand.into_iter().enumerate() {
            let start = quarter as f64 / 4.0;
            let weight = flow_weight(0.08, start, start + 0.25).unwrap();
            assert!((weight - expected).abs() < 1e-15);
            sum += weight;
        }
        assert!((sum - 1.0 / 1.08).abs() < 1e-15);
        assert_eq!(flow_weight(0.0, 1.0, 1.5).unwrap(), 0.5);
        assert!(flow_weight(0.08, 1.0, 0.5).is_err());
    }

    #[test]
    fn book_value_makes_every_year_cost_the_annuity() {
        let at_one = book_value(0.08, 4.0, 0.2, 1.0).unwrap();
        assert!((at_one - 0.822_463_356_436_768_5).abs() < 1e-15);
        assert_eq!(book_value(0.08, 4.0, 0.2, 0.0).unwrap(), 1.0);
        assert!((book_value(0.08, 4.0, 0.2, 9.0).unwrap() - 0.2).abs() < 1e-15);
        assert_eq!(book_value(0.0, 4.0, 0.2, 1.0).unwrap(), 0.8);
        let at_a_quarter = book_value(0.08, 4.0, 0.2, 0.25).unwrap();
        let held = user_cost_usd(0.08, 40_000.0, (0.0, 0.25), (1.0, at_a_quarter)).unwrap();
        assert!((held - 2_453.853_934_819_393).abs() < 1e-9);
        let yearly = capital_recovery_factor(0.08, 4.0) - 0.2 * sinking_fund_factor(0.08, 4.0);
        let weight = flow_weight(0.08, 0.0, 0.25).unwrap();
        assert!((held - 40_000.0 * yearly * weight).abs() < 1e-9);
    }

    /// 100,000 $ that brings 62 % after a year at 10 %: 43,636.36 today, 48,000 at the year's end.
    #[test]
    fn a_market_curve_makes_the_first_year_dear() {
        let curve = [(0.0, 1.0), (1.0, 0.62), (2.0, 0.45)];
        assert_eq!(market_value(&curve, 1.0).unwrap(), 0.62);
        assert!((market_value(&curve, 1.5).unwrap() - 0.535).abs() < 1e-15);
        assert_eq!(market_value(&curve, 7.0).unwrap(), 0.45);
        assert!(market_value(&[], 1.0).is_err());
        assert!(market_value(&[(1.0, 0.5), (1.0, 0.4)], 3.0).is_err());
        let held = user_cost_usd(0.1, 100_000.0, (0.0, 1.0), (1.0, 0.62)).unwrap();
        assert!((held - 43_636.363_636_363_64).abs() < 1e-9);
        let levelised = held / flow_weight(0.1, 0.0, 1.0).unwrap();
        assert!((levelised - 48_000.0).abs() < 1e-9);
    }

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
        let terms = KwhTerms {
            tariff_usd_per_kwh: 0.08,
            pue: 1.25,
            carbon_kg_per_kwh: 0.4,
            carbon_usd_per_t: 100.0,
            water_l_per_kwh_it: 1.8,
            water_usd_per_m3: 2.0,
        };
        let cost = kwh_it_cost(&terms).unwrap();
        assert!((cost.energy - 0.1).abs() < 1e-15);
        assert!((cost.carbon - 0.05).abs() < 1e-15);
        assert!((cost.water - 0.0036).abs() < 1e-15);
        assert!(kwh_it_cost(&KwhTerms { pue: 0.9, ..terms }).is_err());
    }

    #[test]
    fn the_published_rule() {
        assert!((usd_per_mtok(1.41, 93.25).unwrap() - 4.20).abs() < 5e-3);
        assert!((usd_per_mtok(2.652, 6000.0).unwrap() - 0.1228).abs() < 5e-5);
    }
}
