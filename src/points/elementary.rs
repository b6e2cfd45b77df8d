//! Exponential and logarithm as straight-line arithmetic, so that a loop over them becomes vector code.
//!
//! Only additions, multiplications, divisions and operations on bits, none of them fused: every
//! instruction set gives the same bits. Relative error below 1e-13 (tested against the system's).

/// Adding this to a small float leaves its nearest integer in the low bits.
const ROUND: f64 = 6_755_399_441_055_744.0;
/// `2^52`, whose low bits are those of an integer put there.
const INTEGER: f64 = 4_503_599_627_370_496.0;
const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
/// Below this an exponential is no smaller: products of two such stay normal numbers.
const LEAST_EXPONENT: f64 = -300.0;

/// `e^x` for `x ≤ 700`; below −300 it stays at `e^-300`.
#[inline(always)]
pub fn exp(x: f64) -> f64 {
    let x = if x > LEAST_EXPONENT {
        x
    } else {
        LEAST_EXPONENT
    };
    // x = k·ln 2 + r with |r| ≤ ln 2 / 2; Taylor's series to r^11 by Estrin's scheme.
    let shifted = x * std::f64::consts::LOG2_E + ROUND;
    let k = shifted - ROUND;
    let r = (x - k * LN_2_HIGH) - k * LN_2_LOW;
    let (r2, r4) = (r * r, r * r * (r * r));
    let c = |i: usize| FACTORIAL_INVERSES[i];
    let low = (c(0) + c(1) * r) + r2 * (c(2) + c(3) * r);
    let mid = (c(4) + c(5) * r) + r2 * (c(6) + c(7) * r);
    let high = (c(8) + c(9) * r) + r2 * (c(10) + c(11) * r);
    let series = low + r4 * (mid + r4 * high);
    f64::from_bits(series.to_bits().wrapping_add(shifted.to_bits() << 52))
}

const FACTORIAL_INVERSES: [f64; 12] = [
    1.0,
    1.0,
    1.0 / 2.0,
    1.0 / 6.0,
    1.0 / 24.0,
    1.0 / 120.0,
    1.0 / 720.0,
    1.0 / 5040.0,
    1.0 / 40_320.0,
    1.0 / 362_880.0,
    1.0 / 3_628_800.0,
    1.0 / 39_916_800.0,
];

/// Bits of `√½`: mantissas are taken from there to `√2`.
const SQRT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
/// Exponent bias with `√½` subtracted from the bits.
const BIAS: u64 = 1023 << 52;

/// `ln x` for normal positive `x`.
#[inline(always)]
pub fn ln(x: f64) -> f64 {
    let lifted = x.to_bits().wrapping_sub(SQRT_HALF).wrapping_add(BIAS);
    let exponent = lifted >> 52;
    let k = f64::from_bits(exponent | INTEGER.to_bits()) - (INTEGER + 1023.0);
    let m = f64::from_bits(x.to_bits().wrapping_sub(exponent << 52).wrapping_add(BIAS));
    // ln m = 2·artanh(s), s = (m−1)/(m+1), |s| ≤ 0.172.
    let s = (m - 1.0) * inverse(m + 1.0);
    let z = s * s;
    let (z2, z4) = (z * z, z * z * (z * z));
    let low = (1.0 + z * (1.0 / 3.0)) + z2 * (1.0 / 5.0 + z * (1.0 / 7.0));
    let high = (1.0 / 9.0 + z * (1.0 / 11.0)) + z2 * (1.0 / 13.0 + z * (1.0 / 15.0));
    k * LN_2_HIGH + (2.0 * s * (low + z4 * high) + k * LN_2_LOW)
}

/// `1/x` for `√½ + 1 ≤ x ≤ √2 + 1`: a parabola within 2e-3, then Newton's steps, each of which doubles
/// the digits. Cheaper than a division where many run at once.
#[inline(always)]
fn inverse(x: f64) -> f64 {
    let mut r = 1.474_1 + x * (-0.718_8 + x * 0.116);
    for _ in 0..3 {
        r *= 2.0 - x * r;
    }
    r
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn as_the_systems_own(x in -299.9f64..690.0, size in -650.0f64..650.0) {
            prop_assert!((exp(x) / x.exp() - 1.0).abs() < 1e-13, "exp {x}");
            let y = size.exp();
            prop_assert!((ln(y) - y.ln()).abs() < 1e-13 * y.ln().abs().max(1.0), "ln {y}");
        }

        #[test]
        fn near_one(x in -0.01f64..0.01) {
            prop_assert!((exp(x) - x.exp()).abs() < 1e-15);
            prop_assert!((ln(1.0 + x) - (1.0 + x).ln()).abs() < 1e-15);
        }
    }

    #[test]
    fn ends() {
        assert_eq!((exp(0.0), ln(1.0)), (1.0, 0.0));
        assert_eq!(exp(f64::NEG_INFINITY), exp(-300.0));
        assert!(exp(-1e9) > 0.0 && exp(-1e9) < 1e-130);
    }
}
