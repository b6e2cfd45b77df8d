//! Percentiles of requests of several classes taken together, from the percentiles of each.
//!
//! Of a class the mean and four percentiles are known. Between them the logarithm of the share that is
//! later is straight (an exponential tail), and beyond the last it goes on as before. Below the median
//! all are later from half of the way p90 − p50 on.

use crate::workload::PERCENTILES;

/// Mean, p50, p90, p95, p99 of a time, s, and how many requests have it.
pub type Part = (f64, [f64; 5]);

/// Share of a class that is later than `t`.
pub fn share_later(at: &[f64; 5], t: f64) -> f64 {
    if t < at[1] {
        let wide = 0.5 * (at[2] - at[1]);
        return if t > at[1] - wide {
            0.5 + 0.5 * (at[1] - t) / wide
        } else {
            1.0
        };
    }
    let mut i = 1;
    while i < 3 && t >= at[i + 1] {
        i += 1;
    }
    let (from, to) = (1.0 - PERCENTILES[i], 1.0 - PERCENTILES[i + 1]);
    let width = at[i + 1] - at[i];
    if width <= 0.0 {
        return if t > at[i + 1] { 0.0 } else { to };
    }
    from * (to / from).powf((t - at[i]) / width)
}

/// The time at percentile index `i` of all requests of the parts, or their mean.
pub fn quantile(parts: &[Part], i: usize) -> f64 {
    let total: f64 = parts.iter().map(|(weight, _)| weight).sum();
    if i == 0 {
        return parts.iter().map(|(weight, at)| weight * at[0]).sum::<f64>() / total;
    }
    let target = (1.0 - PERCENTILES[i]) * total;
    let later = |t: f64| -> f64 {
        let of_part = |(weight, at): &Part| weight * share_later(at, t);
        parts.iter().map(of_part).sum()
    };
    let values = || parts.iter().map(|(_, at)| at[i]);
    let (mut low, mut high) = (
        values().fold(f64::INFINITY, f64::min),
        values().fold(0.0, f64::max),
    );
    if !high.is_finite() || low >= high * (1.0 - CLOSE) {
        return high;
    }
    // Above the target at `low`, not above at `high`: false position on the logarithm, halved where
    // one end stays.
    let (mut above, mut below) = ((later(low) / target).ln(), (later(high) / target).ln());
    for step in 0..MOST_STEPS {
        if high - low <= CLOSE * high {
            break;
        }
        let straight = above / (above - below);
        let part = if step % 3 == 2 || !straight.is_finite() {
            0.5
        } else {
            straight.clamp(1e-3, 1.0 - 1e-3)
        };
        let t = low + part * (high - low);
        let value = (later(t) / target).ln();
        if value > 0.0 {
            (low, above) = (t, value);
        } else {
            (high, below) = (t, value);
        }
    }
    high
}

/// Relative distance at which a percentile is found.
const CLOSE: f64 = 1e-7;
/// Most steps to it.
const MOST_STEPS: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    /// Percentiles of an exponential distribution.
    fn exponential(mean: f64) -> [f64; 5] {
        std::array::from_fn(|i| match i {
            0 => mean,
            _ => -mean * (1.0 - PERCENTILES[i]).ln(),
        })
    }

    #[test]
    fn one_class_has_its_own_percentiles() {
        for i in 0..5 {
            let one = exponential(2.0);
            assert!((quantile(&[(3.0, one)], i) - one[i]).abs() < 1e-12);
            assert!((quantile(&[(3.0, one), (0.5, one)], i) - one[i]).abs() < 1e-6);
        }
    }

    #[test]
    fn two_exponentials_by_hand() {
        // 0.9·e^(−t) + 0.1·e^(−t/5) = 0.01 at t = 11.5174, where the first term is 9e-6.
        let parts = [(0.9, exponential(1.0)), (0.1, exponential(5.0))];
        let t = quantile(&parts, 4);
        assert!((t - 11.5174).abs() < 1e-3, "{t}");
        let sum = 0.9 * (-t).exp() + 0.1 * (-t / 5.0).exp();
        assert!((sum - 0.01).abs() < 1e-6, "{sum}");
        assert!((quantile(&parts, 0) - 1.4).abs() < 1e-12);
    }

    #[test]
    fn a_rare_class_may_be_late_as_a_whole() {
        // 0.8 % always take 10 s: the rest may miss 0.2 of 99.2 %.
        let parts = [(0.992, exponential(1.0)), (0.008, [10.0; 5])];
        let t = quantile(&parts, 4);
        assert!((t + (0.002f64 / 0.992).ln()).abs() < 1e-5, "{t}");
        // 2 % may not: their time is the percentile.
        let parts = [(0.98, exponential(1.0)), (0.02, [10.0; 5])];
        assert!((quantile(&parts, 4) - 10.0).abs() < 1e-5);
    }

    #[test]
    fn a_share_falls_from_one_and_is_that_of_each_percentile() {
        let at = [1.2, 1.0, 2.0, 2.5, 4.0];
        for i in 1..5 {
            assert!((share_later(&at, at[i]) - (1.0 - PERCENTILES[i])).abs() < 1e-12);
        }
        assert_eq!(share_later(&at, 0.4), 1.0);
        assert!((share_later(&at, 0.75) - 0.75).abs() < 1e-12);
        let mut last = 1.0;
        for t in (0..200).map(|t| f64::from(t) * 0.05) {
            let share = share_later(&at, t);
            assert!(share <= last, "{t}");
            last = share;
        }
    }
}
