//! Statistics that need no more memory as time goes on, and intervals over replications.

use serde::Serialize;

use crate::workload::PERCENTILES;

/// Leading bits of the fraction that name a bucket: buckets are at most 1/256 = 0.39 % wide, and a
/// percentile is read from the middle of one, so it is within 0.2 % of the exact one.
const FRACTION_BITS: u32 = 8;
/// Shortest time told apart, s: 2^-20, about a microsecond.
const LOWEST_EXPONENT: u64 = 1023 - 20;
/// Octaves up to 2^24 s, half a year; longer times fall into the last bucket.
const OCTAVES: u64 = 44;
const BUCKETS: usize = (OCTAVES << FRACTION_BITS) as usize;

/// Counts of durations in buckets of equal relative width, with their exact mean.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    sum: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            count: 0,
            sum: 0.0,
        }
    }
}

impl Histogram {
    /// Adds a duration of at least 0, s.
    pub fn add(&mut self, seconds: f64) {
        let bits = seconds.to_bits() >> (52 - FRACTION_BITS);
        let bucket = bits.saturating_sub(LOWEST_EXPONENT << FRACTION_BITS) as usize;
        self.counts[bucket.min(BUCKETS - 1)] += 1;
        self.count += 1;
        self.sum += seconds;
    }

    /// Adds what another holds.
    pub fn merge(&mut self, other: &Self) {
        for (sum, count) in self.counts.iter_mut().zip(&other.counts) {
            *sum += count;
        }
        self.count += other.count;
        self.sum += other.sum;
    }

    /// Durations added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Mean, p50, p90, p95, p99; NaN without a duration.
    pub fn summary(&self) -> [f64; 5] {
        let mut out = [self.sum / self.count as f64; 5];
        for i in 1..5 {
            out[i] = self.quantile(PERCENTILES[i]);
        }
        out
    }

    fn quantile(&self, p: f64) -> f64 {
        let wanted = (p * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return middle(bucket);
            }
        }
        f64::NAN
    }
}

/// A histogram without its empty buckets: small enough to keep many.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Durations {
    /// Bucket and count, ascending.
    buckets: Vec<(u32, u64)>,
    count: u64,
    sum: f64,
}

impl From<&Histogram> for Durations {
    fn from(histogram: &Histogram) -> Self {
        let buckets = histogram.counts.iter().enumerate();
        Self {
            buckets: buckets
                .filter(|(_, count)| **count > 0)
                .map(|(bucket, count)| (bucket as u32, *count))
                .collect(),
            count: histogram.count,
            sum: histogram.sum,
        }
    }
}

impl Durations {
    /// Mean, p50, p90, p95, p99 of samples of which every duration counts `weight` times; NaN without
    /// a duration.
    pub fn summary(parts: &[(&Self, f64)]) -> [f64; 5] {
        let mut counts = vec![0.0; BUCKETS];
        let (mut total, mut sum) = (0.0, 0.0);
        for (part, weight) in parts {
            for (bucket, count) in &part.buckets {
                counts[*bucket as usize] += weight * *count as f64;
            }
            total += weight * part.count as f64;
            sum += weight * part.sum;
        }
        let quantile = |p: f64| {
            let mut seen = 0.0;
            let found = counts.iter().position(|count| {
                seen += count;
                *count > 0.0 && seen >= p * total * (1.0 - 1e-12)
            });
            found.map_or(f64::NAN, middle)
        };
        let mut out = [sum / total; 5];
        for i in 1..5 {
            out[i] = quantile(PERCENTILES[i]);
        }
        out
    }

    /// Durations counted.
    pub fn count(&self) -> u64 {
        self.count
    }
}

fn middle(bucket: usize) -> f64 {
    let bits = bucket as u64 + (LOWEST_EXPONENT << FRACTION_BITS);
    let shift = 52 - FRACTION_BITS;
    0.5 * (f64::from_bits(bits << shift) + f64::from_bits((bits + 1) << shift))
}

/// Mean over replications and half the width of its 95 % interval; written as a pair.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(into = "(f64, f64)")]
pub struct Estimate {
    /// Mean.
    pub mean: f64,
    /// Half width; NaN for fewer than two replications, which say nothing about it.
    pub half_width: f64,
}

impl From<Estimate> for (f64, f64) {
    fn from(e: Estimate) -> Self {
        (e.mean, e.half_width)
    }
}

/// Estimates of each place of rows of five: mean, p50, p90, p95, p99.
pub fn estimates(rows: &[[f64; 5]]) -> [Estimate; 5] {
    [0, 1, 2, 3, 4].map(|i| estimate(rows.iter().map(|row| row[i])))
}

/// Student's t interval of the values that are numbers.
pub fn estimate(values: impl Iterator<Item = f64>) -> Estimate {
    let (mut n, mut mean, mut squares) = (0.0, 0.0, 0.0);
    for value in values.filter(|v| !v.is_nan()) {
        n += 1.0;
        let delta = value - mean;
        mean += delta / n;
        squares += delta * (value - mean);
    }
    let half_width = if n < 2.0 {
        f64::NAN
    } else {
        student_t(n - 1.0) * (squares / (n - 1.0) / n).sqrt()
    };
    Estimate {
        mean: if n > 0.0 { mean } else { f64::NAN },
        half_width,
    }
}

/// 97.5 % quantile of Student's t with `df` degrees of freedom (Abramowitz and Stegun 26.7.5; exact
/// for one and two, within 0.2 % from three on).
pub fn student_t(df: f64) -> f64 {
    const Z: f64 = 1.959_963_985;
    if df < 1.5 {
        return 12.706_205;
    }
    if df < 2.5 {
        return 4.302_653;
    }
    let (z2, z3) = (Z * Z, Z * Z * Z);
    let g1 = (z3 + Z) / 4.0;
    let g2 = Z * (5.0 * z2 * z2 + 16.0 * z2 + 3.0) / 96.0;
    let g3 = Z * (3.0 * z2 * z2 * z2 + 19.0 * z2 * z2 + 17.0 * z2 - 15.0) / 384.0;
    let g4 = Z * (79.0 * z2.powi(4) + 776.0 * z2.powi(3) + 1482.0 * z2 * z2 - 1920.0 * z2 - 945.0)
        / 92_160.0;
    Z + (g1 + (g2 + (g3 + g4 / df) / df) / df) / df
}

/// Least-squares line through points that come one by one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trend {
    n: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

impl Trend {
    /// Adds a point.
    pub fn add(&mut self, x: f64, y: f64) {
        self.n += 1.0;
        let dx = x - self.x;
        self.x += dx / self.n;
        self.y += (y - self.y) / self.n;
        self.xx += dx * (x - self.x);
        self.xy += dx * (y - self.y);
    }

    /// Slope of the line; 0 with fewer than two points.
    pub fn slope(&self) -> f64 {
        if self.xx > 0.0 {
            self.xy / self.xx
        } else {
            0.0
        }
    }

    /// Mean of the second coordinate; NaN without a point.
    pub fn mean(&self) -> f64 {
        if self.n > 0.0 {
            self.y
        } else {
            f64::NAN
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_half_a_percent() {
        let mut histogram = Histogram::default();
        for i in 1..=10_000 {
            histogram.add(f64::from(i) * 1e-3);
        }
        let exact = [5.0005, 5.0, 9.0, 9.5, 9.9];
        for (value, exact) in histogram.summary().iter().zip(exact) {
            assert!((value / exact - 1.0).abs() < 0.005, "{value} {exact}");
        }
        assert_eq!(histogram.count(), 10_000);
        assert!(Histogram::default().summary().iter().all(|v| v.is_nan()));
    }

    #[test]
    fn samples_join_by_their_weights() {
        let fill = |from: u32, to: u32| {
            let mut h = Histogram::default();
            (from..to).for_each(|i| h.add(f64::from(i)));
            h
        };
        let (low, high, both) = (fill(1, 51), fill(51, 101), fill(1, 101));
        let (a, b) = (Durations::from(&low), Durations::from(&high));
        assert_eq!(Durations::summary(&[(&a, 1.0), (&b, 1.0)]), both.summary());
        // Nine tenths of the weight are in the lower half: its 50th value is the 90th percentile.
        let [mean, p50, p90, ..] = Durations::summary(&[(&a, 9.0), (&b, 1.0)]);
        assert!((mean - (0.9 * 25.5 + 0.1 * 75.5)).abs() < 1e-9);
        assert!((p50 / 28.0 - 1.0).abs() < 0.005 && (p90 / 50.0 - 1.0).abs() < 0.005);
        assert!(Durations::summary(&[]).iter().all(|v| v.is_nan()));
        assert_eq!(a.count(), 50);
    }

    #[test]
    fn durations_out_of_range_stay_in_the_last_buckets() {
        let mut histogram = Histogram::default();
        histogram.add(0.0);
        histogram.add(1e12);
        let [mean, p50, .., p99] = histogram.summary();
        assert_eq!(mean, 5e11);
        assert!(p50 < 1e-6 && p99 > 1e7);
    }

    #[test]
    fn intervals_by_hand() {
        for (df, t) in [
            (1.0, 12.706),
            (2.0, 4.303),
            (3.0, 3.182),
            (9.0, 2.262),
            (30.0, 2.042),
        ] {
            assert!(
                (student_t(df) / t - 1.0).abs() < 2e-3,
                "{df}: {}",
                student_t(df)
            );
        }
        // 1, 2, 3: standard deviation 1, half width 4.303/√3.
        let e = estimate([1.0, f64::NAN, 2.0, 3.0].into_iter());
        assert!((e.mean - 2.0).abs() < 1e-12 && (e.half_width - 2.484).abs() < 1e-3);
        assert!(estimate([1.0].into_iter()).half_width.is_nan());
    }

    #[test]
    fn a_line_is_found() {
        let mut trend = Trend::default();
        assert_eq!(trend.slope(), 0.0);
        for x in 0..10 {
            trend.add(f64::from(x), 3.0 + 0.5 * f64::from(x));
        }
        assert!((trend.slope() - 0.5).abs() < 1e-12 && (trend.mean() - 5.25).abs() < 1e-12);
    }
}
