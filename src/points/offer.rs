//! What a point is paid with.

use serde::Deserialize;

/// What an accelerator and its energy cost.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(from = "(f64, f64)")]
pub struct Offer {
    /// Price of an accelerator, USD/h.
    pub usd_per_gpu_h: f64,
    /// Price of energy at the IT equipment, USD/kWh; 0 where the price includes it.
    pub usd_per_kwh: f64,
}

impl From<(f64, f64)> for Offer {
    fn from((usd_per_gpu_h, usd_per_kwh): (f64, f64)) -> Self {
        Self {
            usd_per_gpu_h,
            usd_per_kwh,
        }
    }
}
