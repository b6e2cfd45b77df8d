//! What a replica of several behind one router finds beside what one alone would: places of the others,
//! prompts that come more evenly, and a number of requests that is held.

use crate::perf::replica::ClassWork;

/// One of equal replicas behind a router that sends a request to the one with fewest.
#[derive(Debug, Clone, Copy)]
pub struct Among {
    /// Replicas.
    pub count: f64,
    /// How much the lengths of answers vary, `E[O²]/E[O]² − 1`, at most 1.
    varied: f64,
}

impl Among {
    /// The only one.
    pub const ALONE: Self = Self {
        count: 1.0,
        varied: 1.0,
    };

    /// Of so many, under answers that come at these rates.
    pub fn new<'a>(count: f64, answers: impl Iterator<Item = (f64, &'a ClassWork)>) -> Self {
        let (mut rates, mut mean, mut square) = (0.0, 0.0, 0.0);
        for (rate, work) in answers {
            rates += rate;
            mean += rate * work.steps;
            square += rate * work.steps * work.steps * work.output_spread;
        }
        let varied = rates * square / (mean * mean) - 1.0;
        Self {
            count,
            varied: if mean > 0.0 {
                varied.clamp(0.0, 1.0)
            } else {
                1.0
            },
        }
    }

    /// Variance of how many prompts come while an answer runs, as a share of Poisson's: a prompt comes
    /// where an answer has ended. All replicas together get Poisson's; how evenly each gets its part is up
    /// to the lengths of answers.
    pub fn irregular(&self) -> f64 {
        self.varied + (1.0 - self.varied) / self.count
    }

    /// How far the number of requests on a replica is held: the router fills up what has left.
    pub fn held(&self) -> f64 {
        1.0 - 1.0 / self.count
    }

    /// How far answers end apart from each other. Those of one length that began together end together,
    /// and are followed by as many prompts on the same replica.
    pub fn apart(&self) -> f64 {
        (2.0 * self.varied).min(1.0)
    }

    /// How far prompts come together: answers of one length that began together end together, and the
    /// router sends as many prompts to where they have. Two replicas hardly differ.
    pub fn herds(&self) -> f64 {
        (1.0 - 2.0 / self.count).max(0.0) * (1.0 - self.apart())
    }

    /// Replicas that share a queue for a place: where answers end together the others do not help as much.
    pub fn pooled(&self) -> f64 {
        if self.count == 1.0 {
            return 1.0;
        }
        self.count.powf(0.7 + 0.3 * self.apart())
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

    #[test]
    fn answers_of_one_length_come_in_herds_to_more_than_two_replicas() {
        let among = |count, varied| Among { count, varied };
        assert_eq!(among(1.0, 0.0).herds(), 0.0);
        assert_eq!(among(2.0, 0.0).herds(), 0.0);
        assert_eq!(among(8.0, 0.0).herds(), 0.75);
        assert_eq!(among(8.0, 0.25).herds(), 0.375);
        assert_eq!(among(8.0, 0.5).herds(), 0.0);
    }
}
