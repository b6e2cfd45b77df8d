//! Tails of waiting in M/G/1 and multi-slot queues, as sums of exponentials.
//!
//! With Poisson arrivals a request finds a prompt of class j in service with probability `ρ_j`;
//! its residual has mean `E[S_j²]/(2E[S_j])`, and the queue behind stretches it by `1/(1−ρ)`
//! (Pollaczek–Khinchine for the mean; Kingman's exponential form for the tail). So
//! `P(W > t) ≈ Σ_j ρ_j exp(−t/θ_j)`: exact in its mean, exact for M/M/1, and a rare long prompt
//! keeps its own slow term instead of vanishing in an average.

/// By how much the queue stretches a residual where prompts keep the lane `busy`: `1/(1 − busy)` first
/// come, first served. Prompts that `share` steps end with the last of their step: those that came in the
/// same step count twice, `(1 + 2·busy)/(1 + busy)` times as long.
#[inline(always)]
pub fn queue_stretch(busy: f64, share: bool) -> f64 {
    let together = if share {
        1.0 + busy / (1.0 + busy)
    } else {
        1.0
    };
    together / (1.0 - busy)
}

/// Steps whose prompts a request may wait for beside those ahead of it: half of the one that runs when it
/// comes, and its own last.
const SHARED_STEPS: f64 = 1.5;

/// How much of a wait in a queue that [`queue_stretch`] stretched for prompts that share steps is more than
/// those steps can hold of them, `chunk_s` each.
#[inline(always)]
pub fn over_a_step(queued: f64, busy: f64, chunk_s: f64) -> f64 {
    let over = queued * busy / (1.0 + 2.0 * busy) - SHARED_STEPS * chunk_s;
    if over > 0.0 {
        over
    } else {
        0.0
    }
}

/// Most terms: one per class and one for the batch slots.
pub const MAX_TERMS: usize = crate::workload::MAX_CLASSES + 1;

/// `P(W > t) = Σ weight·exp(−t/scale)`.
#[derive(Debug, Clone, Copy)]
pub struct Tail {
    terms: [(f64, f64); MAX_TERMS],
    len: usize,
}

impl Default for Tail {
    fn default() -> Self {
        Self {
            terms: [(0.0, 0.0); MAX_TERMS],
            len: 0,
        }
    }
}

impl Tail {
    /// Adds a term; terms of no weight or no duration are left out.
    pub fn push(&mut self, weight: f64, scale: f64) {
        if weight > 0.0 && scale > 0.0 {
            self.terms[self.len] = (weight, scale);
            self.len += 1;
        }
    }

    /// Each term with so many times its weight and its scale.
    pub fn times(mut self, weight: f64, scale: f64) -> Self {
        for (w, s) in &mut self.terms[..self.len] {
            (*w, *s) = (*w * weight, *s * scale);
        }
        self
    }

    /// The sum of both.
    pub fn and(mut self, other: &Self) -> Self {
        other.terms().iter().for_each(|(w, s)| self.push(*w, *s));
        self
    }

    fn terms(&self) -> &[(f64, f64)] {
        &self.terms[..self.len]
    }

    /// Mean waiting time.
    pub fn mean(&self) -> f64 {
        self.terms().iter().map(|(w, s)| w * s).sum()
    }

    /// Smallest `t` with `P(W > t) ≤ 1 − p`.
    ///
    /// Starts from the largest root of one term, which lies left of that of the sum.
    pub fn quantile(&self, p: f64) -> f64 {
        let target = 1.0 - p;
        let single = |&(w, s): &(f64, f64)| {
            if w > target {
                s * (w / target).ln()
            } else {
                0.0
            }
        };
        let mut t = self.terms().iter().map(single).fold(0.0, f64::max);
        let total: f64 = self.terms().iter().map(|(w, _)| w).sum();
        if self.len < 2 || total <= target {
            return t;
        }
        for _ in 0..MOST_STEPS {
            let mut sum = Moments::default();
            for &(w, s) in self.terms() {
                sum.add(w * (-t / s).exp(), 1.0 / s);
            }
            let step = sum.step_to(target);
            t = (t + step).max(0.0);
            if step.abs() <= 1e-9 * t {
                break;
            }
        }
        t
    }
}

/// Most steps to a quantile; four are usual.
const MOST_STEPS: usize = 32;

/// A sum of exponentials `Σ w·exp(−t/s)` at some t, with its first two derivatives.
#[derive(Debug, Clone, Copy, Default)]
pub struct Moments {
    value: f64,
    slope: f64,
    bend: f64,
}

impl Moments {
    /// Adds a term that is `x` at t and falls at the rate `x·inverse_scale`.
    #[inline(always)]
    pub fn add(&mut self, x: f64, inverse_scale: f64) {
        self.value += x;
        self.slope += x * inverse_scale;
        self.bend += x * inverse_scale * inverse_scale;
    }

    /// Step of Halley's method from t towards `value = target`, on the logarithm of the sum, which is
    /// nearly straight.
    ///
    /// `ln v ≈ 3(v²−1)/(v²+4v+1)` is exact where it matters, at the root. The step is at most twice
    /// Newton's.
    #[inline(always)]
    pub fn step_to(&self, target: f64) -> f64 {
        let (v, s) = (self.value, self.slope);
        let (v2, q2, s2) = (v * v, target * target, s * s);
        let above = 3.0 * (v2 - q2);
        let whole = v2 + 4.0 * v * target + q2;
        let newton = s2 * whole;
        let halley = 2.0 * newton - above * (v * self.bend - s2);
        let least = if halley > newton { halley } else { newton };
        2.0 * above * s * v / least
    }
}

/// Mills' ratio of the normal distribution, `(1 − Φ(x))/φ(x)`, as numerator and denominator: exact at 0
/// and far out, within 2 %.
#[inline(always)]
fn mills_ratio(x: f64) -> (f64, f64) {
    (2.0, x + (x * x + 8.0 / std::f64::consts::PI).sqrt())
}

/// Part of the fall to a full batch that is counted on: errs to the safe side where a percentile
/// begins to see a full batch and jumps.
const COUNTED: f64 = 0.8;
/// Beyond this fall, a full batch is never seen.
const NEVER: f64 = 600.0;
/// Numbers and loads below this count as none; their logarithm is finite.
const NONE: f64 = 1e-300;

/// Load and most likely number, kept from zero so that their logarithms are finite.
#[inline(always)]
pub fn some_taken(slots: f64, n: f64, u: f64) -> (f64, f64) {
    let u = if u > NONE { u } else { NONE };
    let n = if n < u * slots { n } else { u * slots };
    (u, if n > NONE { n } else { u * slots })
}

/// What counts of `ln p(n) − ln p(slots)` of a chain whose number grows in the ratio `A + C/j`, which is
/// 1 at its most likely number `n` and `u` where all slots are taken; from `n` with `slots/n`, and the
/// logarithms of that and of `u`.
#[inline(always)]
pub fn fall_to_full(
    slots: f64,
    (n, times): (f64, f64),
    u: f64,
    prompts: f64,
    (ln_times, ln_u): (f64, f64),
) -> f64 {
    // Vanishes for servers of constant speed: ln(1 + h)/h by its series there.
    let h = u * times - 1.0;
    let series = 1.0 - h * (0.5 - h * (1.0 / 3.0 - h * 0.25));
    let last = if h > 1e-4 {
        (ln_u + ln_times) / h
    } else {
        series
    };
    let fall = COUNTED * (1.0 - prompts) * (n * ln_times - (slots - n) * (ln_u + last));
    let fall = if fall > 0.0 { fall } else { 0.0 };
    if fall < NEVER {
        fall
    } else {
        NEVER
    }
}

/// Probability that all slots are taken after such a fall from `n`, with `e^fall`.
///
/// `1/(1 + (1−u)·below)`, `below = (√(2π)·e^fall − mills(root))·root·(1/empty + 1/6)`, over one
/// denominator.
#[inline(always)]
pub fn taken_after(fall: f64, exp_fall: f64, n: f64, u: f64, ln_u: f64) -> f64 {
    let (root, empty) = ((2.0 * fall).sqrt(), -ln_u);
    let (two, mills) = mills_ratio(root);
    let whole = 6.0 * empty * mills;
    let circle = std::f64::consts::TAU.sqrt();
    let below = (circle * exp_fall * mills - two) * root * (6.0 + empty);
    let taken = whole / (whole + (1.0 - u) * below);
    if n > NONE && fall < NEVER {
        taken
    } else {
        0.0
    }
}

/// Probability that all of `slots` are taken at load `u`, when `n < u·slots` are taken most often and
/// prompts take `prompts` of the time.
///
/// Smooth, and rises in `n`, in `u` and in `prompts`; `docs/model.md`, (22).
pub fn all_slots_taken(slots: f64, n: f64, u: f64, prompts: f64) -> f64 {
    let (some_u, some) = some_taken(slots, n, u);
    let (times, ln_u) = (slots / some, some_u.ln());
    let fall = fall_to_full(slots, (some, times), some_u, prompts, (times.ln(), ln_u));
    taken_after(fall, fall.exp(), n, some_u, ln_u)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mm1_waiting_by_hand() {
        // M/M/1, S = 1 s, ρ = 0.8: mean wait ρS/(1−ρ) = 4 s; P(W>t) = 0.8·exp(−0.2t), p99 at 21.91 s.
        let mut tail = Tail::default();
        tail.push(0.8, 1.0 / (1.0 - 0.8));
        assert!((tail.mean() - 4.0).abs() < 1e-12);
        assert!((tail.quantile(0.99) - 5.0 * (80.0f64).ln()).abs() < 1e-9);
        assert_eq!(tail.quantile(0.10), 0.0);
    }

    #[test]
    fn prompts_that_share_steps_add_no_more_than_those_hold() {
        // At half load they make a wait (1 + 2·½)/(1 + ½) = 4/3 times as long: 2 s of 8.
        assert_eq!(over_a_step(8.0, 0.5, 1.0), 0.5);
        assert_eq!(over_a_step(8.0, 0.5, 1.5), 0.0);
        let stretch = |share| queue_stretch(0.5, share);
        assert!((stretch(true) / stretch(false) - 4.0 / 3.0).abs() < 1e-12);
    }

    /// Probability that all are taken, from the chain itself: its number grows in the ratio `A + C/j`
    /// up to `slots`, and in the ratio `u` beyond.
    fn by_recursion(slots: u32, n: f64, u: f64) -> f64 {
        let full = f64::from(slots);
        let a = (u * full - n) / (full - n);
        let c = n * (1.0 - a);
        let (mut p, mut below) = (1.0, 0.0);
        for j in 1..=slots {
            below += p;
            p *= a + c / f64::from(j);
        }
        1.0 / (1.0 + (1.0 - u) * below / p)
    }

    #[test]
    fn servers_of_constant_speed_are_erlangs() {
        for (slots, u, erlang_c) in [(2, 0.6, 0.45), (8, 0.6, 0.1395), (32, 0.9, 0.4582)] {
            let offered = u * f64::from(slots) * (1.0 - 1e-12);
            assert!((by_recursion(slots, offered, u) / erlang_c - 1.0).abs() < 1e-3);
        }
    }

    #[test]
    fn a_full_batch_is_at_least_as_likely_as_in_the_chain() {
        for slots in [8u32, 32, 128, 512] {
            for u in [0.5, 0.7, 0.85, 0.95] {
                for part in [0.6, 0.8, 0.95] {
                    let n = part * u * f64::from(slots);
                    let (exact, said) = (
                        by_recursion(slots, n, u),
                        all_slots_taken(f64::from(slots), n, u, 0.0),
                    );
                    // Where it matters: below, no percentile sees it.
                    if exact > 1e-3 {
                        assert!(
                            said > 0.8 * exact && said < 0.05 + 2.5 * exact,
                            "{slots} {u} {part}: {said} {exact}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_full_batch_is_likelier_the_more_are_in_it_the_higher_the_load_and_with_prompts() {
        let steps =
            |from: f64, to: f64| (0..=60).map(move |i| from + (to - from) * f64::from(i) / 60.0);
        for slots in [1.0, 2.0, 8.0, 64.0, 1024.0] {
            for u in steps(0.001, 0.9999) {
                let rising = |values: Vec<f64>| {
                    let ordered = values.windows(2).all(|w| w[1] >= w[0] * (1.0 - 1e-9));
                    assert!(
                        ordered && values.iter().all(|p| (0.0..=1.0).contains(p)),
                        "{slots} {u}"
                    );
                };
                let at =
                    |part: f64, u: f64, prompts| all_slots_taken(slots, part * slots, u, prompts);
                rising(steps(0.001, u).map(|part| at(part, u, 0.3)).collect());
                rising(steps(u, 0.9999).map(|higher| at(u, higher, 0.3)).collect());
                rising(
                    steps(0.0, 0.99)
                        .map(|prompts| at(0.7 * u, u, prompts))
                        .collect(),
                );
            }
        }
    }

    #[test]
    fn a_rare_long_job_shows_in_the_tail_and_not_in_the_median() {
        let mut tail = Tail::default();
        tail.push(0.3, 0.1);
        tail.push(0.02, 10.0);
        assert!(tail.quantile(0.5) < 0.2);
        assert!(tail.quantile(0.99) > 5.0);
        let t = tail.quantile(0.99);
        let p: f64 = 0.3 * (-t / 0.1f64).exp() + 0.02 * (-t / 10.0f64).exp();
        assert!((p - 0.01).abs() < 1e-5);
    }
}
