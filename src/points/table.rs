//! Operating points of one curve as slices in and slices out.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::perf::latency::Percentiles;
use crate::points::block::{priced, Block, Wanted};
use crate::points::curve::Curve;
use crate::points::lanes::{Lanes, BLOCK};

/// Rates and prices of the points of one curve: slices of equal length.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Requests/s, at least 0.
    pub rate_rps: &'a [f64],
    /// Price of an accelerator, USD/h.
    pub usd_per_gpu_h: &'a [f64],
    /// Price of energy at the IT equipment, USD/kWh (`tco::kwh_it_cost`).
    pub usd_per_kwh: &'a [f64],
}

impl Inputs<'_> {
    /// Some of the rows.
    pub fn rows(&self, rows: Range<usize>) -> Self {
        Self {
            rate_rps: &self.rate_rps[rows.clone()],
            usd_per_gpu_h: &self.usd_per_gpu_h[rows.clone()],
            usd_per_kwh: &self.usd_per_kwh[rows],
        }
    }
}

/// Results: slices as long as the inputs. Above capacity latencies and costs are infinite, tokens 0
/// and watts NaN. Whether the curve fits memory is [`Curve::fits`], the same for all its points.
#[derive(Debug)]
pub struct Columns<'a> {
    /// Output tokens/s of the replica.
    pub output_tokens_per_s: &'a mut [f64],
    /// Output tokens/s per accelerator.
    pub tokens_per_s_gpu: &'a mut [f64],
    /// TTFT at p50, s.
    pub ttft_p50_s: &'a mut [f64],
    /// TTFT at p99, s.
    pub ttft_p99_s: &'a mut [f64],
    /// TPOT at p50, s.
    pub tpot_p50_s: &'a mut [f64],
    /// TPOT at p99, s.
    pub tpot_p99_s: &'a mut [f64],
    /// IT watts drawn by the replica.
    pub watts: &'a mut [f64],
    /// USD per million output tokens.
    pub usd_per_mtok_output: &'a mut [f64],
    /// Sequences in decode.
    pub concurrency: &'a mut [f64],
}

impl<'a> From<[&'a mut [f64]; 9]> for Columns<'a> {
    /// In the order of [`crate::points::NAMES`].
    fn from(columns: [&'a mut [f64]; 9]) -> Self {
        let [tokens, tokens_gpu, ttft_50, ttft_99, tpot_50, tpot_99, watts, cost, running] =
            columns;
        Self {
            output_tokens_per_s: tokens,
            tokens_per_s_gpu: tokens_gpu,
            ttft_p50_s: ttft_50,
            ttft_p99_s: ttft_99,
            tpot_p50_s: tpot_50,
            tpot_p99_s: tpot_99,
            watts,
            usd_per_mtok_output: cost,
            concurrency: running,
        }
    }
}

/// Rows that are written at once, where several are at one rate.
const ROWS: usize = 4 * BLOCK;

/// p50 and p99, which every point has.
pub const REPORTED: Wanted = Wanted::both(Percentiles([false, true, false, false, true]));

/// Works out the points of one curve.
///
/// Compiled for AVX-512, AVX2 and plain x86-64, chosen at run time, with the same bits from each. A
/// point does not depend on its neighbours, so any cut of the rows gives the same results.
///
/// # Panics
/// When slices differ in length.
pub fn points(curve: &Curve, inputs: &Inputs, out: &mut Columns) {
    points_in(curve, inputs, out, 1.0);
}

/// [`points`] with latencies in units of which `per_second` make a second.
///
/// # Panics
/// When slices differ in length.
pub fn points_in(curve: &Curve, inputs: &Inputs, out: &mut Columns, per_second: f64) {
    pulp::Arch::new().dispatch(Fill::new(curve, inputs, out, per_second));
}

/// [`points`] with the instructions of `simd`.
#[cfg(test)]
pub(super) fn points_with<S: Simd>(simd: S, curve: &Curve, inputs: &Inputs, out: &mut Columns) {
    simd.vectorize(Fill::new(curve, inputs, out, 1.0));
}

/// A type of its own, because a closure this large is not inlined into the code of each
/// instruction set.
struct Fill<'a, 'b, 'c> {
    curve: &'a Curve,
    inputs: &'a Inputs<'b>,
    out: &'a mut Columns<'c>,
    per_second: f64,
}

impl<'a, 'b, 'c> Fill<'a, 'b, 'c> {
    fn new(
        curve: &'a Curve,
        inputs: &'a Inputs<'b>,
        out: &'a mut Columns<'c>,
        per_second: f64,
    ) -> Self {
        let len = inputs.rate_rps.len();
        assert!(inputs.usd_per_gpu_h.len() == len && inputs.usd_per_kwh.len() == len);
        assert!(out.all().iter().all(|column| column.len() == len));
        Self {
            curve,
            inputs,
            out,
            per_second,
        }
    }
}

impl WithSimd for Fill<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        fill(self.curve, self.inputs, self.out, self.per_second);
    }
}

/// Rows that follow each other at one rate share all but the price: tables list offers innermost.
#[inline(always)]
fn fill(curve: &Curve, inputs: &Inputs, out: &mut Columns, per_second: f64) {
    let mut block = Block::default();
    let mut rates_of = [0; ROWS];
    let mut first = 0;
    while first < inputs.rate_rps.len() {
        let rates = &inputs.rate_rps[first..];
        let (count, len) = distinct(rates, &mut block.rate_rps, &mut rates_of);
        block.operate(curve, REPORTED);
        for i in [1, 4] {
            for (ttft, tpot) in block.ttft_s[i].iter_mut().zip(&mut block.tpot_s[i]) {
                *ttft *= per_second;
                *tpot *= per_second;
            }
        }
        let results = [
            (&block.output_tokens_per_s, &mut *out.output_tokens_per_s),
            (&block.tokens_per_s_gpu, out.tokens_per_s_gpu),
            (&block.ttft_s[1], out.ttft_p50_s),
            (&block.ttft_s[4], out.ttft_p99_s),
            (&block.tpot_s[1], out.tpot_p50_s),
            (&block.tpot_s[4], out.tpot_p99_s),
            (&block.watts, out.watts),
            (&block.concurrency, out.concurrency),
        ];
        let rows = first..first + len;
        for (result, column) in results {
            let column = &mut column[rows.clone()];
            if count == len {
                column.copy_from_slice(&result[..len]);
            } else {
                for (to, of) in column.iter_mut().zip(&rates_of) {
                    *to = result[usize::from(*of) % BLOCK];
                }
            }
        }
        price(curve, inputs, out, rows.clone());
        first = rows.end;
    }
}

/// The next rates without repeats, as many as a block holds, and which of them each row is at; how
/// many rates and rows they are. Places past the last rate repeat it.
#[inline(always)]
fn distinct(rates: &[f64], to: &mut Lanes, rates_of: &mut [u8; ROWS]) -> (usize, usize) {
    let rates = &rates[..rates.len().min(ROWS)];
    let alone = &rates[..rates.len().min(BLOCK)];
    let repeats = alone.windows(2).fold(false, |any, w| any | (w[0] == w[1]));
    let (count, len) = if repeats {
        without_repeats(rates, to, rates_of)
    } else {
        to[..alone.len()].copy_from_slice(alone);
        (alone.len(), alone.len())
    };
    let last = to[count - 1];
    to[count..].fill(last);
    (count, len)
}

#[inline(always)]
fn without_repeats(rates: &[f64], to: &mut Lanes, rates_of: &mut [u8; ROWS]) -> (usize, usize) {
    let mut of = 0;
    to[0] = rates[0];
    for (row, rate) in rates.iter().enumerate() {
        if *rate != to[of] {
            if of + 1 == BLOCK {
                return (BLOCK, row);
            }
            of += 1;
            to[of] = *rate;
        }
        rates_of[row] = of as u8;
    }
    (of + 1, rates.len())
}

/// What prices decide of rows whose other results are written.
#[inline(always)]
fn price(curve: &Curve, inputs: &Inputs, out: &mut Columns, rows: Range<usize>) {
    let prices = inputs.usd_per_gpu_h[rows.clone()]
        .iter()
        .zip(&inputs.usd_per_kwh[rows.clone()]);
    let known = out.watts[rows.clone()]
        .iter()
        .zip(&out.tokens_per_s_gpu[rows.clone()]);
    let costs = out.usd_per_mtok_output[rows].iter_mut();
    for ((cost, (usd_per_gpu_h, usd_per_kwh)), (watts, tokens)) in costs.zip(prices).zip(known) {
        let stable = !watts.is_nan();
        *cost = priced(
            curve,
            (*usd_per_gpu_h, *usd_per_kwh),
            *watts,
            *tokens,
            stable,
        );
    }
}

impl Columns<'_> {
    fn all(&mut self) -> [&mut [f64]; 9] {
        [
            self.output_tokens_per_s,
            self.tokens_per_s_gpu,
            self.ttft_p50_s,
            self.ttft_p99_s,
            self.tpot_p50_s,
            self.tpot_p99_s,
            self.watts,
            self.usd_per_mtok_output,
            self.concurrency,
        ]
    }
}
