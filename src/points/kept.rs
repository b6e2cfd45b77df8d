//! Points that a search keeps, worked out again: where they lie, what is asked there, what they do.

use crate::error::{Error, Result};
use crate::points::bulk::fill_chunk;
use crate::points::curve::Curve;
use crate::points::grid::{curve_of, GridPoint};
use crate::points::search::Search;
use crate::points::table::Inputs;

/// Names of where a point lies, in the order of [`KeptPoint::place`].
pub const PLACE: [&str; 5] = [
    "number",
    "configuration",
    "workload_index",
    "class_index",
    "offer_index",
];

/// Names of what is asked of a point, in the order of [`KeptPoint::asked`].
pub const ASKED: [&str; 4] = ["rate_rps", "utilisation", "usd_per_gpu_h", "usd_per_kwh"];

/// A point in numbers.
#[derive(Debug, Clone, Copy)]
pub struct KeptPoint {
    /// By [`PLACE`].
    pub place: [u64; PLACE.len()],
    /// By [`ASKED`].
    pub asked: [f64; ASKED.len()],
    /// By [`crate::points::NAMES`], times in ms.
    pub values: [f64; 9],
}

impl Search<'_> {
    /// The points of these numbers.
    pub fn kept(&self, numbers: &[u64]) -> Result<Vec<KeptPoint>> {
        // Kept points come in runs of one curve.
        let mut last: Option<((u64, usize), Curve)> = None;
        let mut one = |number: &u64| {
            let place = self.numbers.decode(self.spec, self.space, *number)?;
            let key = (place.configuration, place.class);
            if last.as_ref().is_none_or(|(known, _)| *known != key) {
                let c = self.space.decode(self.spec, place.configuration)?;
                let curve = curve_of(self.spec, &c, place.class, self.grid.latency_group);
                last = curve.map(|curve| (key, curve));
            }
            let none = || Error::Input(format!("operating point {number}: no layout"));
            let (_, curve) = last.as_ref().ok_or_else(none)?;
            self.point(curve, *number, &place)
        };
        numbers.iter().map(&mut one).collect()
    }

    fn point(&self, curve: &Curve, number: u64, place: &GridPoint) -> Result<KeptPoint> {
        let workload = &self.spec.workloads[place.workload];
        let c = self.space.decode(self.spec, place.configuration)?;
        let offer = self.grid.offers[workload.systems[c.system]][place.offer];
        let rate = self.grid.loads.rate(curve, place.load);
        let inputs = Inputs {
            rate_rps: &[rate],
            usd_per_gpu_h: &[offer.usd_per_gpu_h],
            usd_per_kwh: &[offer.usd_per_kwh],
        };
        let mut values = [[0.0]; 9];
        fill_chunk(curve, &inputs, values.each_mut().map(|v| v.as_mut_slice()));
        let utilisation = rate / curve.full_rate();
        Ok(KeptPoint {
            place: [
                number,
                place.configuration,
                place.workload as u64,
                place.class as u64,
                place.offer as u64,
            ],
            asked: [rate, utilisation, offer.usd_per_gpu_h, offer.usd_per_kwh],
            values: values.map(|[value]| value),
        })
    }
}
