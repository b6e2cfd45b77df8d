//! How long prompts take, by what they find in their steps.
//!
//! A prompt beside a full batch adds its own work; beside few sequences it loads the weights too (the
//! experts, above all), or is spared the corner where both limits are near. Equation (18).

use crate::perf::replica::Replica;
use crate::perf::role::Role;

/// What prompts find in the steps that carry them: the share of what is added alone, all on an idle
/// replica and none beside a full batch.
#[derive(Debug, Clone, Copy)]
pub struct Beside {
    /// The share where a prompt is slower alone.
    pub slower: f64,
    /// The share where it is faster alone.
    pub faster: f64,
}

impl Beside {
    /// At load `u`.
    #[inline(always)]
    pub fn at(u: f64) -> Self {
        Self::between(u, u)
    }

    /// The slowest up to load `u`.
    pub fn up_to(u: f64) -> Self {
        Self::between(u, 0.0)
    }

    /// The fastest between two loads, or the slowest where `low` is above `high`.
    #[inline(always)]
    pub fn between(low: f64, high: f64) -> Self {
        Self {
            slower: (1.0 - high) * (1.0 - high),
            faster: (1.0 - low) * (1.0 - low),
        }
    }

    /// Time beside a full batch and what is `added` to it alone.
    #[inline(always)]
    pub fn time(&self, full: f64, added: f64) -> f64 {
        full + added
            * if added > 0.0 {
                self.slower
            } else {
                self.faster
            }
    }
}

/// The largest `x·time` for loads x up to `u`: a rate grows with the load while its time shrinks.
pub fn most_up_to(u: f64, full: f64, added: f64) -> f64 {
    let at = |x: f64| x * Beside::at(x).time(full, added);
    if added > 3.0 * full {
        let peak = (2.0 - (1.0 - 3.0 * full / added).sqrt()) / 3.0;
        if u > peak {
            return at(u).max(at(peak));
        }
    }
    at(u)
}

/// A time that depends on the load and grows with the decode step.
#[derive(Debug, Clone, Copy, Default)]
pub struct StepTime {
    /// Part that no step changes, beside a full batch, s.
    pub fixed_s: f64,
    /// Added to that alone, s.
    pub alone_s: f64,
    /// Decode steps in it.
    pub steps: f64,
}

impl StepTime {
    /// The time, s.
    #[inline(always)]
    pub fn at(&self, tau: f64, beside: Beside) -> f64 {
        beside.time(self.fixed_s + self.steps * tau, self.alone_s)
    }
}

/// How long one prompt of class `k` holds its lane; decode pools take no prompts.
pub fn prompt_service(replica: &Replica, k: usize) -> StepTime {
    let times = &replica.classes[k];
    match replica.role {
        Role::Serve => StepTime {
            fixed_s: times.prompt_s[0],
            alone_s: times.alone_s[0],
            steps: replica.work[k].prompt_steps,
        },
        Role::Prefill(_) => StepTime {
            fixed_s: times.prompt_s[0] + replica.step.overhead_s * times.chunks[0],
            ..StepTime::default()
        },
        Role::Decode(_) => StepTime::default(),
    }
}

/// The part of TTFT of class `k` at percentile index `i` that no other request causes.
pub fn own_ttft(replica: &Replica, k: usize, i: usize) -> StepTime {
    let times = &replica.classes[k];
    let fixed = replica.ttft_fixed_s;
    match replica.role {
        Role::Serve => StepTime {
            fixed_s: fixed + times.prompt_s[i],
            alone_s: times.alone_s[i],
            steps: times.chunks[i] - 1.0 + replica.ttft_steps,
        },
        Role::Prefill(_) => StepTime {
            fixed_s: fixed + times.prompt_s[i] + times.chunks[i] * replica.step.overhead_s,
            ..StepTime::default()
        },
        Role::Decode(_) => StepTime {
            fixed_s: replica.work[k].transfer_s[i],
            alone_s: 0.0,
            steps: replica.ttft_steps,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_loads_the_weights_alone_and_nothing_beside_a_full_batch() {
        assert_eq!(Beside::at(0.0).time(2.0, 3.0), 5.0);
        assert_eq!(Beside::at(0.5).time(2.0, 3.0), 2.75);
        assert_eq!(Beside::at(1.0).time(2.0, 3.0), 2.0);
        assert_eq!(Beside::up_to(0.5).time(2.0, 3.0), 5.0);
        assert_eq!(Beside::up_to(0.5).time(2.0, -1.0), 1.75);
        assert_eq!(Beside::between(0.0, 0.5).time(2.0, 3.0), 2.75);
        assert_eq!(Beside::between(0.0, 0.5).time(2.0, -1.0), 1.0);
    }

    #[test]
    fn the_most_up_to_a_load_is_never_passed_below_it() {
        for added in [-1.0, 0.0, 2.0, 3.5, 5.0, 50.0] {
            for i in 0..=100 {
                let u = f64::from(i) / 100.0;
                let tried = (0..=1000).map(|j| u * f64::from(j) / 1000.0);
                let most = tried.fold(0.0, |most: f64, x| {
                    most.max(x * Beside::at(x).time(1.0, added))
                });
                let said = most_up_to(u, 1.0, added);
                assert!((said - most).abs() < 1e-5 * most.max(1e-9), "{added} {u}");
            }
        }
    }
}
