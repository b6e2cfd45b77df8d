//! The limits that every single request is held against, and what is added to its times on the way.

use crate::workload::{Metric, Slo};

/// What one class is judged by.
#[derive(Debug, Clone, Default)]
pub struct Judge {
    /// Added to the time to first token and to the whole request: engine and round trip, s.
    pub shift_s: f64,
    /// The workload's limits, in its order; `None` where one does not bind the class.
    limits: Vec<Option<(Metric, f64)>>,
}

impl Judge {
    /// Of class `k` of a workload with these limits.
    pub fn new(slos: &[Slo], k: usize, shift_s: f64) -> Self {
        let limit = |slo: &Slo| {
            let binds = slo.class.is_none_or(|class| class == k);
            binds.then_some((slo.metric, slo.limit_s))
        };
        Self {
            shift_s,
            limits: slos.iter().map(limit).collect(),
        }
    }

    /// Limits of the workload, whether or not they bind the class.
    pub fn limits(&self) -> usize {
        self.limits.len()
    }

    /// Counts in `within` the limits that a request meets, and says whether it meets all of them. One
    /// without a second token (`tpot_s` is `None`) meets every limit on the time between tokens.
    pub fn meets(&self, ttft_s: f64, tpot_s: Option<f64>, e2e_s: f64, within: &mut [u64]) -> bool {
        let mut all = true;
        for (limit, count) in self.limits.iter().zip(within) {
            let Some((metric, limit_s)) = *limit else {
                continue;
            };
            let met = match metric {
                Metric::Ttft => ttft_s <= limit_s,
                Metric::Tpot => tpot_s.is_none_or(|s| s <= limit_s),
                Metric::E2e => e2e_s <= limit_s,
            };
            *count += u64::from(met);
            all &= met;
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Over;

    fn slo(metric: Metric, limit_s: f64, class: Option<usize>) -> Slo {
        Slo {
            metric,
            percentile: 3,
            limit_s,
            class,
            over: Over::Class,
        }
    }

    #[test]
    fn each_limit_is_counted_alone_and_a_good_request_meets_all_that_bind_it() {
        let slos = [
            slo(Metric::Ttft, 1.0, None),
            slo(Metric::Tpot, 0.1, Some(1)),
            slo(Metric::E2e, 9.0, None),
        ];
        let (first, second) = (Judge::new(&slos, 0, 0.0), Judge::new(&slos, 1, 0.0));
        let mut within = [0; 3];
        assert!(first.meets(1.0, Some(0.5), 9.0, &mut within));
        assert_eq!(within, [1, 0, 1]);
        assert!(!second.meets(0.5, Some(0.5), 2.0, &mut within));
        assert!(second.meets(0.5, None, 2.0, &mut within));
        assert!(!second.meets(1.1, Some(0.1), 9.1, &mut within));
        assert_eq!(within, [3, 2, 3]);
    }
}
