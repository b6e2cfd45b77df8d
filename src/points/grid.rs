//! The space of operating points as a range of integers.
//!
//! A number is read as mixed digits, slowest first: workload, system | the other digits of a layout
//! and of its batch limit | class | load | offer. Only layouts that serve whole requests have
//! operating points. Systems may have different numbers of offers.

use serde::Deserialize;

use crate::error::{not_negative, positive, Error, Result};
use crate::evaluate::{class_work, is_batch};
use crate::perf::memory::kv_budget_bytes;
use crate::perf::replica::Replica;
use crate::perf::role::Role;
use crate::perf::step::StepModel;
use crate::points::curve::Curve;
use crate::points::offer::Offer;
use crate::space::{resolve, Configuration, Space};
use crate::workload::{Spec, Workload};

/// Axis of load.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loads {
    /// Shares of full load, below 1.
    Utilisation(Vec<f64>),
    /// Requests/s on one replica.
    RateRps(Vec<f64>),
    /// Sequences in decode on one replica.
    Concurrency(Vec<f64>),
}

impl Loads {
    /// The values, rising.
    pub fn values(&self) -> &[f64] {
        match self {
            Self::Utilisation(v) | Self::RateRps(v) | Self::Concurrency(v) => v,
        }
    }

    /// Requests/s of load `i` on a replica; infinite where there is no steady state.
    pub fn rate(&self, curve: &Curve, i: usize) -> f64 {
        match self {
            Self::Utilisation(v) => v[i] * curve.full_rate(),
            Self::RateRps(v) => v[i],
            Self::Concurrency(v) => curve.rate_at_concurrency(v[i]),
        }
    }
}

/// Axes of operating points beside those of the layouts.
#[derive(Debug, Clone)]
pub struct Grid {
    /// Loads.
    pub loads: Loads,
    /// Offers by system: places and ways to have it.
    pub offers: Vec<Vec<Offer>>,
    /// Latency group: which round trips count.
    pub latency_group: usize,
}

/// One operating point, as positions on the axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GridPoint {
    /// Number of its layout and batch limit in the space of configurations, at the first class set.
    pub configuration: u64,
    /// Workload.
    pub workload: usize,
    /// Class.
    pub class: usize,
    /// Load.
    pub load: usize,
    /// Offer.
    pub offer: usize,
}

/// Units of one workload and system: a block of the space of configurations.
#[derive(Debug, Clone, Copy)]
struct Span {
    workload: usize,
    first_unit: u64,
    units: u64,
    first_number: u64,
    /// Offers of the system.
    offers: u64,
}

/// Numbers of the points of a grid.
#[derive(Debug, Clone)]
pub struct Numbers {
    spans: Vec<Span>,
    loads: u64,
    len: u64,
}

fn serving_layouts(w: &Workload) -> u64 {
    (w.pp.len() * w.kv.len() * w.speculation.len()) as u64
}

/// Curves of a unit: layouts that serve × batch limits × classes.
fn curves(w: &Workload) -> u64 {
    serving_layouts(w) * (w.batches.len() * w.classes.len()) as u64
}

impl Grid {
    /// Checks axes against the specification.
    pub fn check(&self, spec: &Spec) -> Result<()> {
        let rising = |what: &str, values: &[f64]| {
            values.iter().try_for_each(|v| positive(what, *v))?;
            match values.windows(2).find(|w| w[0] >= w[1]) {
                Some(w) => Err(Error::Value {
                    field: what.into(),
                    value: w[1],
                    must: "above the load before it",
                }),
                None => Ok(()),
            }
        };
        rising("loads", self.loads.values())?;
        if let Loads::Utilisation(shares) = &self.loads {
            if let Some(full) = shares.iter().find(|u| **u >= 1.0) {
                return Err(Error::Value {
                    field: "loads".into(),
                    value: *full,
                    must: "below 1 as a utilisation",
                });
            }
        }
        if self.offers.len() != spec.systems.len() {
            return Err(Error::Value {
                field: "offers".into(),
                value: self.offers.len() as f64,
                must: "one list per system",
            });
        }
        for (system, offers) in spec.systems.iter().zip(&self.offers) {
            for offer in offers {
                let field = |name| format!("{name} of an offer of {}", system.id);
                not_negative(field("usd_per_gpu_h"), offer.usd_per_gpu_h)?;
                not_negative(field("usd_per_kwh"), offer.usd_per_kwh)?;
            }
        }
        for w in &spec.workloads {
            crate::error::index("latency group", self.latency_group, w.round_trip_s.len())?;
        }
        Ok(())
    }
}

impl Numbers {
    /// Numbers of a grid over the layouts of `space`.
    pub fn new(spec: &Spec, grid: &Grid) -> Self {
        let loads = grid.loads.values().len() as u64;
        let (mut spans, mut unit, mut number) = (Vec::new(), 0, 0);
        for (workload, w) in spec.workloads.iter().enumerate() {
            let degrees = w.tp.len() * w.ep.len() * w.adp.len();
            let units = (w.engines.len() * w.precisions.len() * degrees) as u64;
            for system in &w.systems {
                let offers = grid.offers[*system].len() as u64;
                spans.push(Span {
                    workload,
                    first_unit: unit,
                    units,
                    first_number: number,
                    offers,
                });
                unit += units;
                number += units * curves(w) * loads * offers;
            }
        }
        Self {
            spans,
            loads,
            len: number,
        }
    }

    /// Points of the grid.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the grid has no point.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn span_of_unit(&self, unit: u64) -> &Span {
        &self.spans[self.spans.partition_point(|s| s.first_unit <= unit) - 1]
    }

    fn per_curve(&self, span: &Span) -> u64 {
        self.loads * span.offers
    }

    /// Points of each curve of a unit.
    pub fn points_per_curve(&self, unit: u64) -> u64 {
        self.per_curve(self.span_of_unit(unit))
    }

    /// First number of curve `curve` of a unit.
    pub fn first_of_curve(&self, spec: &Spec, unit: u64, curve: u64) -> u64 {
        let span = self.span_of_unit(unit);
        let before = (unit - span.first_unit) * curves(&spec.workloads[span.workload]) + curve;
        span.first_number + before * self.per_curve(span)
    }

    /// Reads a number.
    pub fn decode(&self, spec: &Spec, space: &Space, number: u64) -> Result<GridPoint> {
        if number >= self.len {
            return Err(Error::Unknown {
                what: "operating point",
                index: number,
                len: self.len,
            });
        }
        // Spans without a point begin where the next one does.
        let span = &self.spans[self.spans.partition_point(|s| s.first_number <= number) - 1];
        let w = &spec.workloads[span.workload];
        let (mut rest, mut digit) = (number - span.first_number, 0);
        let mut next = |base: u64| {
            digit = rest % base;
            rest /= base;
            digit
        };
        let offer = next(span.offers) as usize;
        let load = next(self.loads) as usize;
        let class = next(w.classes.len() as u64) as usize;
        let batch = next(w.batches.len() as u64) as usize;
        let layout = next(serving_layouts(w));
        let unit = space.unit(span.first_unit + next(span.units));
        let choice = space
            .layouts(spec, unit)
            .filter(|c| serves(&c.configuration))
            .nth(layout as usize)
            .ok_or(Error::Unknown {
                what: "operating point",
                index: number,
                len: self.len,
            })?;
        Ok(GridPoint {
            configuration: space.point_id(span.workload, choice.first, batch, 0),
            workload: span.workload,
            class,
            load,
            offer,
        })
    }
}

/// Whether a layout serves whole requests.
pub fn serves(c: &Configuration) -> bool {
    c.role == Role::Serve
}

/// The curve of a configuration for class `k` of its workload. `None`: no layout, no kernel, or not
/// room for one sequence beside the weights; a curve that does not fit its batch says so itself.
pub fn curve_of(spec: &Spec, c: &Configuration, k: usize, latency_group: usize) -> Option<Curve> {
    let workload = &spec.workloads[c.workload];
    let layout = resolve(spec, c)?;
    let step = StepModel::of(&layout)?;
    let batch = workload.batches[c.batch];
    if !is_batch(&layout, c.batch, batch) || kv_budget_bytes(&layout) <= 0.0 {
        return None;
    }
    let work = class_work(&layout, &step, workload);
    let replica = Replica::new(&layout, &step, &work, batch);
    let way = workload.round_trip_s[latency_group][k];
    Some(Curve::new(&layout, &replica, &workload.classes[k], k, way))
}
