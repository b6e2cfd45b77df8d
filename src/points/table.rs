//! Operating points of one curve as slices in and slices out.

use pulp::{Simd, WithSimd};

use crate::perf::latency::Percentiles;
use crate::points::block::{Block, Lanes, Wanted, BLOCK};
use crate::points::curve::Curve;

/// Rates and prices of the points of one curve: slices of equal length.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Requests/s, at least 0.
    pub rate_rps: &'a [f64],
    /// Price of an accelerator, USD/h.
    pub usd_per_gpu_h: &'a [f64],
    /// Price of energy at the IT equipment, USD/kWh (`tco::energy_usd_per_kwh_it`).
    pub usd_per_kwh: &'a [f64],
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

#[inline(always)]
fn fill(curve: &Curve, inputs: &Inputs, out: &mut Columns, per_second: f64) {
    let mut block = Block::default();
    for first in (0..inputs.rate_rps.len()).step_by(BLOCK) {
        read(inputs.rate_rps, first, &mut block.rate_rps);
        read(inputs.usd_per_gpu_h, first, &mut block.usd_per_gpu_h);
        read(inputs.usd_per_kwh, first, &mut block.usd_per_kwh);
        block.operate(curve, REPORTED);
        block.price(curve);
        for i in [1, 4] {
            for (ttft, tpot) in block.ttft_s[i].iter_mut().zip(&mut block.tpot_s[i]) {
                *ttft *= per_second;
                *tpot *= per_second;
            }
        }
        let results = [
            &block.output_tokens_per_s,
            &block.tokens_per_s_gpu,
            &block.ttft_s[1],
            &block.ttft_s[4],
            &block.tpot_s[1],
            &block.tpot_s[4],
            &block.watts,
            &block.usd_per_mtok_output,
            &block.concurrency,
        ];
        for (result, column) in results.into_iter().zip(out.all()) {
            let len = BLOCK.min(column.len() - first);
            column[first..first + len].copy_from_slice(&result[..len]);
        }
    }
}

/// Reads a block; places past the end repeat the last value.
#[inline(always)]
fn read(from: &[f64], first: usize, to: &mut Lanes) {
    let rest = &from[first..];
    let len = BLOCK.min(rest.len());
    to[..len].copy_from_slice(&rest[..len]);
    let last = to[len - 1];
    to[len..].fill(last);
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
