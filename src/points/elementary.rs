//! Exponential and logarithm as straight-line arithmetic, so that a loop over them becomes vector code.
//!
//! Every operation is one that IEEE 754 defines to the last bit, fused multiply-adds among them, so every
//! instruction set gives the same bits; a processor without such an instruction takes longer. Relative
//! error below 1e-13 (tested against the system's).

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
    // x = k·ln 2 + r with |r| ≤ ln 2 / 2.
    let shifted = x.mul_add(std::f64::consts::LOG2_E, ROUND);
    let k = shifted - ROUND;
    let r = k.mul_add(-LN_2_LOW, k.mul_add(-LN_2_HIGH, x));
    let series = r.mul_add(polynomial(r, &EXP_SERIES), 1.0);
    f64::from_bits(series.to_bits().wrapping_add(shifted.to_bits() << 52))
}

/// `(e^r − 1)/r` for `|r| ≤ ln 2 / 2`, within 4e-14 of `e^r`: interpolated at Chebyshev's points.
const EXP_SERIES: [f64; 9] = [
    1.0,
    0.499_999_999_997_979_34,
    0.166_666_666_666_483_03,
    0.041_666_666_890_957_15,
    0.008_333_333_353_717_482,
    0.001_388_882_167_760_052_5,
    0.000_198_412_087_565_370_45,
    2.487_616_403_902_866_5e-5,
    2.762_510_220_080_038e-6,
];

#[inline(always)]
fn polynomial<const N: usize>(x: f64, c: &[f64; N]) -> f64 {
    let mut sum = c[N - 1];
    for i in (0..N - 1).rev() {
        sum = sum.mul_add(x, c[i]);
    }
    sum
}

/// Bits of `√½`: mantissas are taken from there to `√2`.
const SQRT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
/// Exponent bias with `√½` subtracted from the bits.
const BIAS: u64 = 1023 << 52;

/// Exponent and mantissa of a normal positive number, the mantissa between `√½` and `√2`.
#[inline(always)]
fn parts(x: f64) -> (f64, f64) {
    let lifted = x.to_bits().wrapping_sub(SQRT_HALF).wrapping_add(BIAS);
    let exponent = lifted >> 52;
    let k = f64::from_bits(exponent | INTEGER.to_bits()) - (INTEGER + 1023.0);
    let m = f64::from_bits(x.to_bits().wrapping_sub(exponent << 52).wrapping_add(BIAS));
    (k, m)
}

/// `ln x` for normal positive `x`.
#[inline(always)]
pub fn ln(x: f64) -> f64 {
    let (k, m) = parts(x);
    // ln m = 2·artanh(s), s = (m−1)/(m+1), |s| ≤ 0.172.
    let s = (m - 1.0) * inverse(m + 1.0);
    let series = polynomial(s * s, &ARTANH_SERIES);
    k.mul_add(LN_2_HIGH, (2.0 * s).mul_add(series, k * LN_2_LOW))
}

/// `artanh(s)/s` in `s²`, within 3e-14: interpolated at Chebyshev's points.
const ARTANH_SERIES: [f64; 6] = [
    0.999_999_999_999_973_6,
    0.333_333_333_397_896_56,
    0.199_999_974_459_073_8,
    0.142_860_830_738_852_56,
    0.110_871_249_132_971_42,
    0.098_040_484_602_485_5,
];

/// `ln x` for normal positive `x`, within 6e-4: where a number near it will do.
#[inline(always)]
pub fn ln_nearly(x: f64) -> f64 {
    let (k, m) = parts(x);
    k.mul_add(std::f64::consts::LN_2, polynomial(m, &NEAR_SERIES))
}

/// `ln m` for mantissas, interpolated at Chebyshev's points.
const NEAR_SERIES: [f64; 4] = [-1.827_297, 2.951_716, -1.423_454, 0.299_371_4];

/// `1/x` for `√½ + 1 ≤ x ≤ √2 + 1`: a cubic within 1.2e-4, then Newton's steps, each of which doubles
/// the digits. Cheaper than a division where many run at once.
#[inline(always)]
fn inverse(x: f64) -> f64 {
    let mut r = polynomial(x, &INVERSE_SERIES);
    for _ in 0..2 {
        r = r.mul_add(x.mul_add(-r, 1.0), r);
    }
    r
}

/// `1/x` there, interpolated at Chebyshev's points.
const INVERSE_SERIES: [f64; 4] = [1.970_343, -1.448_54, 0.470_943_5, -0.057_135_02];

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
            prop_assert!((ln_nearly(y) - y.ln()).abs() < 6e-4, "ln_nearly {y}");
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
