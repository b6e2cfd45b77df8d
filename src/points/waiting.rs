//! Waiting times at a percentile, for a block of points: where the tail of waiting, a sum of two
//! exponentials, falls to a target.

// Loops run over many arrays of a block at once, by one index.
#![allow(clippy::needless_range_loop)]

use crate::points::elementary::exp;
use crate::points::lanes::{Lanes, BLOCK, ZERO};

/// One term `weight·exp(−t/scale)` of the tail of waiting.
#[derive(Debug, Clone)]
pub(super) struct Term {
    pub weight: Lanes,
    /// Its logarithm, to 1e-3 at least: where the search for a waiting time begins.
    pub ln_weight: Lanes,
    pub scale: Lanes,
    pub inverse_scale: Lanes,
}

pub(super) const NO_TERM: Term = Term {
    weight: ZERO,
    ln_weight: [-690.0; BLOCK],
    scale: ZERO,
    inverse_scale: ZERO,
};

impl Term {
    /// Sets the scale `over/under` of a point and its inverse, by one division; one over `under`.
    #[inline(always)]
    pub fn scale(&mut self, j: usize, over: f64, under: f64) -> f64 {
        let inverse = 1.0 / if over > 0.0 { over * under } else { 1.0 };
        self.scale[j] = over * over * inverse;
        self.inverse_scale[j] = under * under * inverse;
        over * inverse
    }
}

/// A waiting time is found when the last step was below this part of the shorter scale: what is left
/// of a step of the method is below its fourth power.
const LAST_STEP: f64 = 5e-3;
/// Most steps to a waiting time; two are usual.
const MOST_STEPS: usize = 40;
/// Points that take further steps together.
const GROUP: usize = 16;

/// Smallest `t` with `P(W > t) ≤ target`, as [`crate::perf::queue::Tail::quantile`] finds it.
#[inline(always)]
pub(super) fn waiting(a: &Term, b: &Term, target: f64) -> Lanes {
    let mut moving = ZERO;
    let mut any = 0;
    for j in 0..BLOCK {
        let waits = a.weight[j] + b.weight[j] > target;
        moving[j] = if waits { 1.0 } else { 0.0 };
        any |= moving[j].to_bits();
    }
    if any == 0 {
        return ZERO;
    }
    let mut t = start(a, b, target, &moving);
    advance(a, b, target, &mut t, &mut moving, 0..BLOCK);
    for first in (0..BLOCK).step_by(GROUP) {
        for _ in 2..MOST_STEPS {
            let still = moving[first..first + GROUP].iter();
            if still.fold(0, |any, m| any | m.to_bits()) == 0 {
                break;
            }
            advance(a, b, target, &mut t, &mut moving, first..first + GROUP);
        }
    }
    t
}

/// The largest root of one term, which lies left of that of the sum, and from there one step.
#[inline(always)]
fn start(a: &Term, b: &Term, target: f64, moving: &Lanes) -> Lanes {
    let ln_target = target.ln();
    let (mut t, mut gap, mut first) = (ZERO, ZERO, ZERO);
    for j in 0..BLOCK {
        let (above, over) = (a.ln_weight[j] - ln_target, b.ln_weight[j] - ln_target);
        let (one, other) = (a.scale[j] * above, b.scale[j] * over);
        let larger = if one > other { one } else { other };
        t[j] = larger;
        first[j] = if one > other { 1.0 } else { 0.0 };
        // The larger root's own term is the target there.
        gap[j] = if one > other {
            over - t[j] * b.inverse_scale[j]
        } else {
            above - t[j] * a.inverse_scale[j]
        };
    }
    for j in 0..BLOCK {
        gap[j] = exp(gap[j]);
    }
    for j in 0..BLOCK {
        let (f, g) = (a.inverse_scale[j], b.inverse_scale[j]);
        let (own, other) = if first[j] > 0.0 { (f, g) } else { (g, f) };
        let next = t[j] + step(1.0, gap[j], own, other);
        t[j] = if moving[j] > 0.0 && next > 0.0 {
            next
        } else {
            0.0
        };
    }
    t
}

/// A step of the points that move.
#[inline(always)]
fn advance(
    a: &Term,
    b: &Term,
    target: f64,
    t: &mut Lanes,
    moving: &mut Lanes,
    points: std::ops::Range<usize>,
) {
    let per_target = 1.0 / target;
    let (mut first, mut second) = (ZERO, ZERO);
    for j in points.clone() {
        first[j] = a.weight[j] * per_target * exp(-t[j] * a.inverse_scale[j]);
    }
    for j in points.clone() {
        second[j] = b.weight[j] * per_target * exp(-t[j] * b.inverse_scale[j]);
    }
    for j in points {
        let (fall, other) = (a.inverse_scale[j], b.inverse_scale[j]);
        let step = step(first[j], second[j], fall, other);
        let step = if moving[j] > 0.0 { step } else { 0.0 };
        let next = t[j] + step;
        t[j] = if next > 0.0 { next } else { 0.0 };
        let fastest = if fall > other { fall } else { other };
        let found = step.abs() * fastest <= LAST_STEP;
        moving[j] = if found { 0.0 } else { moving[j] };
    }
}

/// Step towards the root of `x·exp(−f·t) + y·exp(−g·t) = 1` from `t = 0`, of fourth order.
///
/// The logarithm of the sum is nearly straight; with `v = x + y` and `m`, `s`, `k` the first three
/// cumulants of the rates `f`, `g` under weights `x/v`, `y/v`, its derivatives are `−m`, `s`, `−k`.
/// From `n = ln v/m`, Newton's step, `n·(1 − a)/(1 − 2a + c)` agrees with the root to the third power,
/// where `a = s·n/(2m)` and `c = k·n²/(6m)` (A. Householder, The Numerical Treatment of a Single
/// Nonlinear Equation, 1970). `ln v ≈ 3(v²−1)/(v²+4v+1)` is exact where it matters, at the root.
/// All over one denominator.
///
/// The logarithm is convex, so left of the root (`v > 1`) Newton's step never passes it: no smaller
/// step is taken there. Without that bound the fraction vanishes at `a = 1`, far from any root.
#[inline(always)]
fn step(x: f64, y: f64, f: f64, g: f64) -> f64 {
    let (v, apart) = (x + y, f - g);
    let ln_over = 3.0 * v * v - 3.0;
    let ln_under = v * v + 4.0 * v + 1.0;
    let mean = x * f + y * g;
    let spread = x * y * apart * apart;
    let skew = (y - x) * apart;
    let newton = ln_under * mean;
    let whole = 2.0 * newton * mean;
    let bend = spread * ln_over;
    let under = 3.0 * newton * (whole - 2.0 * bend) + bend * (skew * ln_over);
    // Far from the root, no more than some of Newton's steps.
    let least = 3.0 * newton * whole * LEAST_UNDER;
    let under = if under > least { under } else { least };
    let over = 3.0 * newton * (whole - bend);
    let short = ln_over > 0.0 && over < under;
    let over = if short { under } else { over };
    v * ln_over * over / (newton * under)
}

/// Least of `1 − 2a + c`.
const LEAST_UNDER: f64 = 0.125;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::queue::Tail;
    use crate::points::elementary::ln_nearly;
    use proptest::prelude::*;

    fn term(weight: f64, scale: f64) -> Term {
        let mut term = NO_TERM;
        for j in 0..BLOCK {
            term.weight[j] = weight;
            term.ln_weight[j] = ln_nearly(weight.max(1e-300));
            term.scale(j, scale, 1.0);
        }
        term
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn the_tail_is_at_its_target(weights in (0.0f64..1.0, -12.0f64..0.0), swap in any::<bool>(),
                size in -3.0f64..1.0, ratio in -6.0f64..6.0,
                p in prop::sample::select(vec![0.5, 0.9, 0.95, 0.99])) {
            let (a, b) = (weights.0, 10f64.powf(weights.1));
            let (a, b) = if swap { (b, a) } else { (a, b) };
            let (one, other) = (10f64.powf(size), 10f64.powf(size + ratio));
            let found = waiting(&term(a, one), &term(b, other), 1.0 - p)[0];
            let mut tail = Tail::default();
            tail.push(a, one);
            tail.push(b, other);
            let known = tail.quantile(p);
            // As near as the shorter scale can tell, and in itself.
            let off = (found - known).abs();
            prop_assert!(off <= 1e-9 * known + 1e-9 * one.min(other), "{found} {known}");
        }
    }

    /// A short wait of many beside a long one of hardly more than the target: where the short term is
    /// all but gone the long one decides. `0.89·e^−29.8` is nothing, so `t = 6.2e4·ln(w/0.1)`.
    #[test]
    fn a_long_wait_just_above_its_target() {
        let (weight, scale) = (0.1 * (29.8f64 / 6.2e4).exp(), 6.2e4);
        let found = waiting(&term(0.89, 1.0), &term(weight, scale), 1.0 - 0.9)[0];
        assert!((found - 29.8).abs() < 1e-4, "{found}");
    }

    #[test]
    fn one_term_by_hand() {
        // P(W > t) = 0.8·exp(−t/5): p99 at 5·ln 80.
        let found = waiting(&term(0.8, 5.0), &NO_TERM, 1.0 - 0.99);
        assert!(found.iter().all(|t| (t - 5.0 * 80.0f64.ln()).abs() < 1e-9));
        assert_eq!(waiting(&term(0.3, 5.0), &NO_TERM, 0.5), ZERO);
    }
}
