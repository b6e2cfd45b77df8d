//! When requests come and how long they are: drawn (Poisson, or Gamma with a given burstiness; lengths
//! drawn in pairs, so that their correlation stays), or replayed from arrays.

use rand_pcg::rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64;

use crate::error::{same_rows, Result};
use crate::simulate::request::Request;
use crate::simulate::traffic::DayCurve;

/// Random numbers of one purpose in one replication; the same on any thread.
pub fn random(seed: u64, replication: u64, purpose: u64) -> Pcg64 {
    let number = replication.wrapping_mul(8).wrapping_add(purpose + 1);
    Pcg64::seed_from_u64(seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// Draws are whole numbers from 1 to this.
const DRAWS: u64 = 1 << 53;

/// A draw: uniform among the whole numbers from 1 to 2^53.
#[inline]
pub fn draw(rng: &mut Pcg64) -> u64 {
    (rng.next_u64() >> 11) + 1
}

/// The largest draw whose share of all is not above a probability: `draw <= drawn_within(p)` says exactly what
/// `uniform <= p` does, in whole numbers.
pub fn drawn_within(probability: f64) -> u64 {
    (probability * DRAWS as f64) as u64
}

/// Uniform above 0 and at most 1.
pub fn uniform(rng: &mut Pcg64) -> f64 {
    draw(rng) as f64 / DRAWS as f64
}

/// A whole number below `n`.
fn below(rng: &mut Pcg64, n: usize) -> usize {
    ((u128::from(rng.next_u64()) * n as u128) >> 64) as usize
}

/// Exponential with mean 1.
pub fn exponential(rng: &mut Pcg64) -> f64 {
    -uniform(rng).ln()
}

/// Standard normal, by the polar method.
fn normal(rng: &mut Pcg64) -> f64 {
    loop {
        let (x, y) = (2.0 * uniform(rng) - 1.0, 2.0 * uniform(rng) - 1.0);
        let s = x * x + y * y;
        if s > 0.0 && s < 1.0 {
            return x * (-2.0 * s.ln() / s).sqrt();
        }
    }
}

/// Gamma of a shape with mean `shape`: G. Marsaglia, W. Tsang, ACM TOMS 26(3), 2000.
pub fn gamma(rng: &mut Pcg64, shape: f64) -> f64 {
    if shape < 1.0 {
        let boost = uniform(rng).powf(1.0 / shape);
        return gamma(rng, shape + 1.0) * boost;
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(rng);
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && uniform(rng).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

/// Prompt and output lengths of one class, drawn together with equal probability.
#[derive(Debug, Clone)]
pub struct Lengths {
    /// `(input, output)` tokens, at least one pair where the class has a rate.
    pub pairs: Vec<(u32, u32)>,
    /// Share of the prompt that is found in the prefix cache.
    pub hit_rate: f64,
}

impl Lengths {
    /// Of the pairs in columns of class `k`, whose prompts are found in the cache by `hit_rates`.
    pub fn of_class(k: usize, input: &[u32], output: &[u32], hit_rates: &[f64]) -> Result<Self> {
        same_rows(format!("lengths[{k}]"), &[input.len(), output.len()])?;
        Ok(Self {
            pairs: input.iter().copied().zip(output.iter().copied()).collect(),
            hit_rate: hit_rates.get(k).copied().unwrap_or(0.0),
        })
    }
}

/// Rows of a trace, in order of arrival, as columns of equal length.
#[derive(Debug, Clone, Copy)]
pub struct Trace<'a> {
    /// Arrivals, s.
    pub times_s: &'a [f64],
    /// Classes.
    pub classes: &'a [u32],
    /// Prompt tokens.
    pub inputs: &'a [u32],
    /// Tokens to generate.
    pub outputs: &'a [u32],
}

impl Trace<'_> {
    /// The rows as requests. Where they have hashes, these say what is cached, and no hit rate.
    pub fn requests(&self, hit_rates: &[f64], hashed: bool) -> Result<Vec<Request>> {
        let lengths = [self.classes.len(), self.inputs.len(), self.outputs.len()];
        let rows = self.times_s.len();
        same_rows(
            "times, classes, inputs, outputs",
            &[&[rows], &lengths[..]].concat(),
        )?;
        let hit_rate = |class: u32| hit_rates.get(class as usize).copied().unwrap_or(0.0);
        let request = |row: usize| {
            let (class, input) = (self.classes[row], self.inputs[row]);
            Request {
                index: row as u64,
                arrived_s: self.times_s[row],
                class,
                input,
                cached: match input > 0 && !hashed {
                    true => cached(input, hit_rate(class)),
                    false => 0,
                },
                output: self.outputs[row],
            }
        };
        Ok((0..rows).map(request).collect())
    }
}

/// Cached tokens of a prompt: at least one token is always computed.
pub fn cached(input: u32, hit_rate: f64) -> u32 {
    ((f64::from(input) * hit_rate) as u32).min(input - 1)
}

/// An endless stream of drawn requests.
#[derive(Debug)]
pub struct Drawn<'a> {
    lengths: &'a [Lengths],
    /// Running sums of the rates.
    up_to: Vec<f64>,
    shape: f64,
    curve: Option<&'a DayCurve>,
    rng: Pcg64,
    now: f64,
    index: u64,
}

impl<'a> Drawn<'a> {
    /// `rates` are requests/s by class; `shape` is that of the Gamma times between arrivals, 1 is
    /// Poisson, less is burstier.
    pub fn new(rates: &[f64], lengths: &'a [Lengths], shape: f64, rng: Pcg64) -> Self {
        let mut total = 0.0;
        let sum = |rate: &f64| {
            total += rate;
            total
        };
        Self {
            lengths,
            up_to: rates.iter().map(sum).collect(),
            shape,
            curve: None,
            rng,
            now: 0.0,
            index: 0,
        }
    }

    /// With rates that follow a curve over time; the ones given are its mean.
    pub fn following(self, curve: Option<&'a DayCurve>) -> Self {
        Self { curve, ..self }
    }
}

impl Iterator for Drawn<'_> {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        let rate = *self.up_to.last()?;
        let gap = if self.shape == 1.0 {
            exponential(&mut self.rng)
        } else {
            gamma(&mut self.rng, self.shape) / self.shape
        };
        // Times of a clock that runs with the rate: with Poisson gaps, the same law as thinning.
        self.now = match self.curve {
            None => self.now + gap / rate,
            Some(curve) => curve.after(self.now, gap / rate),
        };
        // From 0 up to, never at, the total: a class without rate is never drawn.
        let point = (1.0 - uniform(&mut self.rng)) * rate;
        let class = self.up_to.partition_point(|sum| *sum <= point);
        let lengths = &self.lengths[class];
        let (input, output) = lengths.pairs[below(&mut self.rng, lengths.pairs.len())];
        let request = Request {
            index: self.index,
            arrived_s: self.now,
            class: class as u32,
            input,
            cached: cached(input, lengths.hit_rate),
            output,
        };
        self.index += 1;
        Some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gamma_has_its_mean_and_variance() {
        let mut rng = random(7, 0, 0);
        for shape in [0.25, 1.0, 4.0] {
            let draws: Vec<f64> = (0..40_000).map(|_| gamma(&mut rng, shape)).collect();
            let mean = draws.iter().sum::<f64>() / 4e4;
            let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 4e4;
            assert!((mean / shape - 1.0).abs() < 0.05, "{shape}: {mean}");
            assert!((variance / shape - 1.0).abs() < 0.1, "{shape}: {variance}");
        }
    }

    #[test]
    fn rates_and_pairs_are_kept() {
        let class = |pairs: &[(u32, u32)]| Lengths {
            pairs: pairs.to_vec(),
            hit_rate: 0.5,
        };
        let lengths = [class(&[(10, 1), (20, 2)]), class(&[]), class(&[(30, 3)])];
        for shape in [1.0, 0.5] {
            let drawn = Drawn::new(&[3.0, 0.0, 1.0], &lengths, shape, random(1, 0, 0));
            let requests: Vec<Request> = drawn.take(20_000).collect();
            let span = requests[19_999].arrived_s;
            assert!((span / 5000.0 - 1.0).abs() < 0.05, "{span}");
            let first = requests.iter().filter(|r| r.class == 0).count();
            assert!((first as f64 / 15_000.0 - 1.0).abs() < 0.03);
            assert!(requests
                .iter()
                .all(|r| r.class != 1 && r.input == 10 * r.output));
            assert!(requests.iter().all(|r| r.cached == r.input / 2));
        }
    }

    #[test]
    fn a_prompt_is_never_cached_whole() {
        assert_eq!((cached(1, 0.99), cached(1000, 0.999_999)), (0, 999));
    }

    #[test]
    fn a_draw_is_within_a_probability_where_its_share_is() {
        for probability in [0.0, 1e-300, 0.3, 0.7, 1.0 - f64::EPSILON, 1.0] {
            let most = drawn_within(probability);
            for drawn in [most.saturating_sub(1), most, (most + 1).min(DRAWS)] {
                let share = drawn as f64 / DRAWS as f64;
                assert_eq!(drawn <= most, share <= probability, "{probability} {drawn}");
            }
        }
    }
}
