//! What a row may say, and what is wrong with it.

use crate::error::{same_rows, Error, Result};
use crate::tco::{kwh_it_cost, KwhTerms};

/// An optional number that is left blank. Not NaN: that one is an error.
pub const BLANK: f64 = f64::MIN;
/// Most sequences a row may ask for.
const MOST_SEQUENCES: f64 = 1e6;
/// Longest request, tokens: far above every context length there is.
const MOST_TOKENS: f64 = 1e9;

/// How a row ended. The first three are answers, the others say which column is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Evaluated.
    Ok,
    /// Weights or caches do not fit.
    Memory,
    /// The rate is more than the replica serves: latency grows without bound.
    AboveCapacity,
    /// Its layout is none.
    Layout,
    /// `input_tokens` is no positive number.
    Input,
    /// `output_tokens` is not at least 1.
    Output,
    /// Input and output are longer than the model's context.
    Context,
    /// Neither a rate nor a concurrency.
    NoLoad,
    /// Both of them.
    TwoLoads,
    /// `rate_rps` is not a positive number.
    Rate,
    /// `concurrency` is not a number from 1.
    Concurrency,
    /// `batch_limit` is no whole number from 1, or below the concurrency.
    Batch,
    /// `batch_limit` does not divide over ranks and stages.
    BatchLanes,
    /// `price_usd_per_gpu_h` is no number from 0.
    Price,
    /// `tariff_usd_per_kwh` is no number from 0.
    Tariff,
    /// `pue` is no number from 1.
    Pue,
}

/// Names of the numbers of a row, in the order of [`Rows`]; the first two must be there.
pub const NUMBERS: [&str; 8] = [
    "input_tokens",
    "output_tokens",
    "concurrency",
    "rate_rps",
    "batch_limit",
    "price_usd_per_gpu_h",
    "tariff_usd_per_kwh",
    "pue",
];

/// Rows as columns of equal length; optional ones may be empty, which is all blank.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// Index of the prepared layout; negative where there is none.
    pub layout: &'a [i32],
    /// Prompt tokens.
    pub input_tokens: &'a [f64],
    /// Generated tokens.
    pub output_tokens: &'a [f64],
    /// Requests in flight in a closed loop, or blank.
    pub concurrency: &'a [f64],
    /// Requests/s of an open loop, or blank.
    pub rate_rps: &'a [f64],
    /// Most sequences in decode, or blank.
    pub batch_limit: &'a [f64],
    /// USD per accelerator and hour, or blank.
    pub usd_per_gpu_h: &'a [f64],
    /// USD per kWh at the meter, or blank for none.
    pub usd_per_kwh: &'a [f64],
    /// Utility energy over IT energy, or blank for 1.
    pub pue: &'a [f64],
}

impl<'a> Rows<'a> {
    /// Rows from numbers in the order of [`NUMBERS`], of layouts of which so many are prepared.
    pub fn new(
        layout: &'a [i32],
        numbers: [&'a [f64]; NUMBERS.len()],
        prepared: usize,
    ) -> Result<Self> {
        for (i, (name, column)) in NUMBERS.iter().zip(numbers).enumerate() {
            if i < 2 || !column.is_empty() {
                same_rows(format!("layout, {name}"), &[layout.len(), column.len()])?;
            }
        }
        if let Some(last) = layout.iter().max().filter(|last| **last >= prepared as i32) {
            return Err(Error::Unknown {
                what: "layout",
                index: *last as u64,
                len: prepared as u64,
            });
        }
        let [input_tokens, output_tokens, concurrency, rate_rps, batch_limit, usd_per_gpu_h, usd_per_kwh, pue] =
            numbers;
        Ok(Self {
            layout,
            input_tokens,
            output_tokens,
            concurrency,
            rate_rps,
            batch_limit,
            usd_per_gpu_h,
            usd_per_kwh,
            pue,
        })
    }
}

pub(super) fn at(column: &[f64], row: usize) -> f64 {
    column.get(row).copied().unwrap_or(BLANK)
}

fn at_least(low: f64, value: f64) -> bool {
    value >= low && value < f64::INFINITY
}

fn blank_or(low: f64, value: f64) -> bool {
    value == BLANK || at_least(low, value)
}

impl Rows<'_> {
    /// What is wrong with a row before anything is known of its layout; `Ok` where nothing is.
    pub(super) fn check(&self, row: usize) -> Status {
        let (rate, concurrency) = (at(self.rate_rps, row), at(self.concurrency, row));
        let batch = at(self.batch_limit, row);
        let within = |low: f64, x: f64| (low..=MOST_TOKENS).contains(&x);
        if self.layout[row] < 0 {
            Status::Layout
        } else if !within(f64::MIN_POSITIVE, self.input_tokens[row]) {
            Status::Input
        } else if !within(1.0, self.output_tokens[row]) {
            Status::Output
        } else if rate == BLANK && concurrency == BLANK {
            Status::NoLoad
        } else if rate != BLANK && concurrency != BLANK {
            Status::TwoLoads
        } else if !blank_or(f64::MIN_POSITIVE, rate) {
            Status::Rate
        } else if concurrency != BLANK && !(1.0..=MOST_SEQUENCES).contains(&concurrency) {
            Status::Concurrency
        } else if batch != BLANK
            && !((1.0..=MOST_SEQUENCES).contains(&batch)
                && batch.fract() == 0.0
                && concurrency <= batch)
        {
            Status::Batch
        } else if !blank_or(0.0, at(self.usd_per_gpu_h, row)) {
            Status::Price
        } else if !blank_or(0.0, at(self.usd_per_kwh, row)) {
            Status::Tariff
        } else if !blank_or(1.0, at(self.pue, row)) {
            Status::Pue
        } else {
            Status::Ok
        }
    }

    /// Price of energy at the IT equipment, USD/kWh; none without a tariff.
    pub(super) fn energy_usd_per_kwh(&self, row: usize) -> f64 {
        let [tariff, pue] = [(self.usd_per_kwh, 0.0), (self.pue, 1.0)].map(|(column, none)| {
            let value = at(column, row);
            if value == BLANK {
                none
            } else {
                value
            }
        });
        let terms = KwhTerms {
            tariff_usd_per_kwh: tariff,
            pue,
            ..KwhTerms::default()
        };
        kwh_it_cost(&terms).map_or(f64::NAN, |cost| cost.energy)
    }
}
