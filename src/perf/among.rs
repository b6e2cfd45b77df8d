//! What a replica of several behind one router finds beside what one alone would: places of the others,
//! prompts that come more evenly, and a number of requests that is held.

use crate::perf::replica::ClassWork;

/// Requests that a request finds on its lane of which half come in herds where answers have one length.
/// Fitted to the simulator (`docs/simulation.md`).
const FEW: f64 = 5.0;
/// Requests of which herds lengthen waits half as much as they do of few. Fitted to the simulator.
const MANY: f64 = 40.0;

/// One of equal replicas behind a router that sends a request to the lane with fewest.
#[derive(Debug, Clone, Copy)]
pub struct Among {
    /// Replicas.
    pub count: f64,
    /// Lanes of the other replicas.
    other_lanes: f64,
    /// How much the lengths of answers vary, `E[O²]/E[O]² − 1`, at most 1.
    varied: f64,
    /// Requests on a lane; infinite where their number is not known.
    requests: f64,
}

impl Among {
    /// The only one.
    pub const ALONE: Self = Self {
        count: 1.0,
        other_lanes: 0.0,
        varied: 1.0,
        requests: f64::INFINITY,
    };

    /// Of so many, each of `lanes`, under answers that come at these rates.
    pub fn new<'a>(
        count: f64,
        lanes: f64,
        answers: impl Iterator<Item = (f64, &'a ClassWork)>,
    ) -> Self {
        let (mut rates, mut mean, mut square) = (0.0, 0.0, 0.0);
        for (rate, work) in answers {
            rates += rate;
            mean += rate * work.steps;
            square += rate * work.steps * work.steps * work.output_spread;
        }
        let varied = rates * square / (mean * mean) - 1.0;
        Self {
            count,
            other_lanes: (count - 1.0) * lanes,
            varied: if mean > 0.0 {
                varied.clamp(0.0, 1.0)
            } else {
                1.0
            },
            ..Self::ALONE
        }
    }

    /// The same with so many requests on a lane.
    pub fn with_requests(self, requests: f64) -> Self {
        Self { requests, ..self }
    }

    /// Variance of how many prompts come while an answer runs, as a share of Poisson's: a prompt comes
    /// where an answer has ended. All replicas together get Poisson's; how evenly each gets its part is up
    /// to the lengths of answers.
    pub fn irregular(&self) -> f64 {
        self.varied + (1.0 - self.varied) / self.count
    }

    /// How far the number of requests on a lane is held: the router fills up what has left.
    pub fn held(&self) -> f64 {
        1.0 - 1.0 / (1.0 + self.other_lanes)
    }

    /// Share of the requests on a lane that one of them finds there: where their number is held, it is
    /// one of them itself.
    pub fn met(&self) -> f64 {
        1.0 - self.held() * (1.0 / self.requests).min(1.0)
    }

    /// Requests on a lane beside one's own.
    pub fn found(&self) -> f64 {
        self.requests * self.met()
    }

    /// How far answers end apart from each other. Those of one length that began together end together,
    /// and are followed by as many prompts on the same replica; where few are there, few can.
    pub fn apart(&self) -> f64 {
        let crowd = self.found() / FEW;
        let together = (1.0 - (2.0 * self.varied).min(1.0)) * (1.0 - 1.0 / (1.0 + crowd * crowd));
        1.0 - together
    }

    /// Share of the prompts on a lane that one finds: those that come in a herd find each other.
    pub fn prompts_met(&self) -> f64 {
        1.0 - (1.0 - self.met()) * self.apart()
    }

    /// How far prompts come together: answers of one length that began together end together, and the
    /// router sends as many prompts to where they have. Two replicas hardly differ.
    pub fn herds(&self) -> f64 {
        (1.0 - 2.0 / self.count).max(0.0) * (1.0 - self.apart())
    }

    /// Deviation of waiting in herds, over an exponential's, where prompts keep a lane `busy`: a herd
    /// finds what is left of the last one. Of many requests it is a small part.
    pub fn in_herds(&self, busy: f64) -> f64 {
        let crowd = self.found() / MANY;
        1.0 + busy / (1.0 + crowd * crowd)
    }
}

/// A tail of waiting that falls as `exp(−t/scale − bend·t²)`.
#[derive(Debug, Clone, Copy)]
pub struct Calmer {
    /// Mean of the terms of the tail, s.
    pub scale: f64,
    /// How much faster it falls than an exponential, 1/s².
    pub bend: f64,
}

impl Calmer {
    /// Where it has fallen as far as `exp(−t/scale)` has at `t`.
    pub fn at(&self, t: f64) -> f64 {
        2.0 * t / (1.0 + (1.0 + 4.0 * self.bend * self.scale * t).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn among(count: f64, varied: f64, requests: f64) -> Among {
        let other_lanes = count - 1.0;
        Among {
            count,
            other_lanes,
            varied,
            requests,
        }
    }

    #[test]
    fn answers_of_one_length_come_in_herds_to_more_than_two_replicas() {
        let herds = |count, varied| among(count, varied, f64::INFINITY).herds();
        assert_eq!(herds(1.0, 0.0), 0.0);
        assert_eq!(herds(2.0, 0.0), 0.0);
        assert_eq!(herds(8.0, 0.0), 0.75);
        assert_eq!(herds(8.0, 0.25), 0.375);
        assert_eq!(herds(8.0, 0.5), 0.0);
    }

    #[test]
    fn a_router_of_more_lanes_holds_their_number_closer() {
        // 1 − 1/(1 + other lanes): nothing of one replica, half of two, 4/5 of two with four lanes each.
        let held = |count: f64, lanes: f64| {
            let nothing = std::iter::empty::<(f64, &ClassWork)>();
            Among::new(count, lanes, nothing).held()
        };
        assert_eq!(held(1.0, 1.0), 0.0);
        assert_eq!(held(1.0, 8.0), 0.0);
        assert_eq!(held(2.0, 1.0), 0.5);
        assert!((held(2.0, 4.0) - 0.8).abs() < 1e-12);
    }

    #[test]
    fn what_is_found_lies_between_no_other_and_all() {
        // Of two replicas: of few requests on a lane half are found, of many all but half of one's own.
        let of_two = |requests| among(2.0, 0.0, requests);
        assert_eq!((of_two(1e-9).met(), of_two(1e-9).found()), (0.5, 0.5e-9));
        assert_eq!(of_two(1.0).found(), 0.5);
        assert!((of_two(1e6).found() - (1e6 - 0.5)).abs() < 1e-6);
        assert_eq!(of_two(f64::INFINITY).met(), 1.0);
        // Herds of one length are whole and small beside very many, and none beside hardly any.
        assert_eq!(of_two(f64::INFINITY).apart(), 0.0);
        assert_eq!(of_two(f64::INFINITY).in_herds(0.9), 1.0);
        assert!(of_two(1e-9).apart() > 1.0 - 1e-12);
        assert!((of_two(1e-9).in_herds(0.9) - 1.9).abs() < 1e-12);
    }

    #[test]
    fn few_requests_find_each_other_less_and_make_no_herds() {
        // Of 4 replicas 3/4 of one's own request is held: of 6 on a lane it finds 5.25.
        let some = among(4.0, 0.0, 6.0);
        assert_eq!((some.met(), some.found()), (0.875, 5.25));
        // Half is herds at 5 found.
        let half = among(2.0, 0.0, 5.5);
        assert_eq!((half.found(), half.apart()), (5.0, 0.5));
        // 40 are found: half of what a lane that is half busy adds.
        assert_eq!(among(2.0, 0.0, 40.5).in_herds(0.5), 1.25);
        // Less than one on a lane: where one is, a router of many sends no other.
        let idle = among(100.0, 0.0, 0.5);
        assert!((idle.met() - 0.01).abs() < 1e-12 && idle.apart() > 0.999);
        assert_eq!(among(1.0, 0.0, 0.5).met(), 1.0);
    }
}
