//! What a fleet holds over time, in a fixed number of samples: when they are full, every other one is
//! dropped and the next come half as often.

use serde::{Serialize, Serializer};

/// Most samples; they are at least half as many once that many were taken.
pub const SAMPLES: usize = 512;

/// One sample.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sample {
    /// Time, s.
    pub at_s: f64,
    /// Requests waiting, on all lanes.
    pub waiting: f64,
    /// Requests being served.
    pub running: f64,
    /// Mean share of the caches that those take.
    pub cache_share: f64,
    /// Replicas that are up.
    pub replicas_up: f64,
}

/// Writes samples as a list for each of their figures.
///
/// # Errors
/// Those of the serializer.
pub fn as_columns<S: Serializer>(samples: &[Sample], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Columns {
        at_s: Vec<f64>,
        waiting: Vec<f64>,
        running: Vec<f64>,
        cache_share: Vec<f64>,
        replicas_up: Vec<f64>,
    }
    let column = |f: fn(&Sample) -> f64| samples.iter().map(f).collect();
    Columns {
        at_s: column(|s| s.at_s),
        waiting: column(|s| s.waiting),
        running: column(|s| s.running),
        cache_share: column(|s| s.cache_share),
        replicas_up: column(|s| s.replicas_up),
    }
    .serialize(serializer)
}

/// Samples at equal distances in time.
#[derive(Debug, Clone)]
pub struct Series {
    every_s: f64,
    next_s: f64,
    /// The samples so far.
    pub samples: Vec<Sample>,
}

impl Series {
    /// The first is taken at time 0, the second after `every_s`.
    pub fn new(every_s: f64) -> Self {
        Self {
            every_s,
            next_s: 0.0,
            samples: Vec::with_capacity(SAMPLES),
        }
    }

    /// When the next sample is due, s.
    pub fn next_s(&self) -> f64 {
        self.next_s
    }

    /// Takes a sample at the time it is due.
    pub fn add(&mut self, sample: Sample) {
        let at_s = self.next_s;
        self.samples.push(Sample { at_s, ..sample });
        if self.samples.len() == SAMPLES {
            let kept = self.samples.iter().step_by(2).copied().collect();
            self.samples = kept;
            self.every_s *= 2.0;
        }
        self.next_s = self.samples.len() as f64 * self.every_s;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_stays_the_same_and_samples_stay_equally_far_apart() {
        let mut series = Series::new(0.5);
        for _ in 0..10_000 {
            series.add(Sample::default());
            assert!(series.samples.len() < SAMPLES);
        }
        let gaps = series.samples.windows(2).map(|w| w[1].at_s - w[0].at_s);
        assert!(gaps.clone().all(|gap| gap == gaps.clone().next().unwrap()));
        assert!(series.samples.len() >= SAMPLES / 2 && series.samples[0].at_s == 0.0);
        assert!(series.next_s() > series.samples.last().unwrap().at_s);
    }
}
