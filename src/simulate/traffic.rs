//! Rates that follow a day, and several streams of requests together.

use serde::{Deserialize, Serialize};

use crate::error::{positive, within, Result};
use crate::simulate::prefix::Blocks;
use crate::simulate::request::Request;

/// A rate over time: its weights in equal parts of a period that repeats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DayCurve {
    /// Weights of equal parts of the period, at least 0; only their ratios count.
    pub weights: Vec<f64>,
    /// Period, s.
    #[serde(default = "day_s")]
    pub period_s: f64,
    /// Where in the period the simulation begins, s.
    #[serde(default)]
    pub start_s: f64,
}

fn day_s() -> f64 {
    86_400.0
}

impl DayCurve {
    /// Refuses what is no curve; `at` names it.
    pub fn check(&self, at: &str) -> Result<()> {
        let at_least_0 =
            |field, value| within(field, value, 0.0..f64::INFINITY, "finite and at least 0");
        positive(format!("{at}.period_s"), self.period_s)?;
        at_least_0(format!("{at}.start_s"), self.start_s)?;
        for (i, weight) in self.weights.iter().enumerate() {
            at_least_0(format!("{at}.weights[{i}]"), *weight)?;
        }
        positive(format!("{at}: sum of weights"), self.weights.iter().sum())
    }

    /// When, from `now` on, `amount` seconds at the mean rate have passed: the rate's integral, inverted.
    pub fn after(&self, now: f64, mut amount: f64) -> f64 {
        let parts = self.weights.len();
        let part_s = self.period_s / parts as f64;
        let mean = self.weights.iter().sum::<f64>() / parts as f64;
        // Whole periods hold their own length of seconds at the mean rate.
        let periods = (amount / self.period_s).floor();
        amount -= periods * self.period_s;
        let mut at = now + periods * self.period_s;
        let into = (at + self.start_s) % self.period_s;
        let mut part = ((into / part_s) as usize).min(parts - 1);
        let mut left_s = ((part + 1) as f64 * part_s - into).max(0.0);
        loop {
            let weight = self.weights[part] / mean;
            if weight * left_s >= amount {
                return if weight > 0.0 {
                    at + amount / weight
                } else {
                    at
                };
            }
            amount -= weight * left_s;
            at += left_s;
            part = (part + 1) % parts;
            left_s = part_s;
        }
    }
}

/// Several streams in order of arrival, numbered anew.
pub struct Mixed<'a> {
    streams: Vec<std::iter::Peekable<Box<dyn Iterator<Item = Request> + 'a>>>,
    index: u64,
}

impl std::fmt::Debug for Mixed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mixed").field("index", &self.index).finish()
    }
}

impl<'a> Mixed<'a> {
    /// Of streams that are each in order.
    pub fn new(streams: Vec<Box<dyn Iterator<Item = Request> + 'a>>) -> Self {
        Self {
            streams: streams.into_iter().map(Iterator::peekable).collect(),
            index: 0,
        }
    }
}

impl Iterator for Mixed<'_> {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        let (mut first, mut at_s) = (None, f64::INFINITY);
        for (i, stream) in self.streams.iter_mut().enumerate() {
            if let Some(request) = stream.peek().filter(|r| r.arrived_s < at_s) {
                (first, at_s) = (Some(i), request.arrived_s);
            }
        }
        let request = self.streams[first?].next()?;
        self.index += 1;
        Some(Request {
            index: self.index - 1,
            ..request
        })
    }
}

/// A trace and drawn requests together, until the last of the trace: in order of arrival, numbered
/// anew, with the hashes of its prompts where the trace has some.
pub fn joined(
    trace: &[Request],
    blocks: Option<&Blocks>,
    drawn: impl Iterator<Item = Request>,
) -> (Vec<Request>, Option<Blocks>) {
    let end = trace.last().map_or(0.0, |r| r.arrived_s);
    let mut drawn = drawn.take_while(|r| r.arrived_s <= end).peekable();
    let mut requests: Vec<Request> = Vec::with_capacity(trace.len());
    let mut rows = Vec::with_capacity(trace.len());
    for (row, request) in trace.iter().enumerate() {
        while let Some(other) = drawn.next_if(|r| r.arrived_s <= request.arrived_s) {
            requests.push(other);
            rows.push(None);
        }
        requests.push(*request);
        rows.push(Some(row as u64));
    }
    for (index, request) in requests.iter_mut().enumerate() {
        request.index = index as u64;
    }
    (requests, blocks.map(|b| b.picked(&rows)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::arrivals::{random, Drawn, Lengths};

    fn curve() -> DayCurve {
        DayCurve {
            weights: vec![1.0, 3.0, 0.0, 4.0],
            period_s: 40.0,
            start_s: 5.0,
        }
    }

    #[test]
    fn the_clock_of_a_day_curve_by_hand() {
        // Half, one and a half, none and twice the mean rate, 10 s each, 5 s of the first are over.
        for (amount, at) in [
            (0.0, 0.0),
            (2.5, 5.0),
            (2.5 + 15.0, 15.0),
            (2.5 + 15.0 + 2.0, 26.0),
            (40.0, 40.0),
            (80.0 + 2.5, 85.0),
        ] {
            let said = curve().after(0.0, amount);
            assert!((said - at).abs() < 1e-9, "{amount}: {said} {at}");
        }
        // From within the part without any rate.
        assert!((curve().after(20.0, 2.0) - 26.0).abs() < 1e-9);
    }

    fn lengths() -> Vec<Lengths> {
        vec![Lengths {
            pairs: vec![(10, 1), (20, 2)],
            hit_rate: 0.0,
        }]
    }

    #[test]
    fn rates_follow_the_day_and_keep_their_mean() {
        for shape in [1.0, 0.5] {
            let (lengths, curve) = (lengths(), curve());
            let drawn = Drawn::new(&[5.0], &lengths, shape, random(4, 0, 0));
            let times = drawn.following(Some(&curve)).map(|r| r.arrived_s);
            let times: Vec<f64> = times.take_while(|t| *t < 40_000.0).collect();
            assert!(
                (times.len() as f64 / 200_000.0 - 1.0).abs() < 0.02,
                "{shape}"
            );
            let mut parts = [0.0f64; 4];
            for t in times {
                parts[(((t + 5.0) % 40.0) / 10.0) as usize] += 1.0 / 200_000.0;
            }
            for (share, expected) in parts.iter().zip([0.125, 0.375, 0.0, 0.5]) {
                assert!((share - expected).abs() < 0.01, "{parts:?}");
            }
        }
    }

    #[test]
    fn a_mix_is_in_order_and_loses_nothing() {
        let lengths = lengths();
        let drawn =
            |rate: f64, seed| Drawn::new(&[rate], &lengths, 1.0, random(seed, 0, 0)).take(500);
        let streams: Vec<Box<dyn Iterator<Item = Request>>> =
            vec![Box::new(drawn(1.0, 1)), Box::new(drawn(3.0, 2))];
        let mixed: Vec<Request> = Mixed::new(streams).collect();
        assert_eq!(mixed.len(), 1000);
        assert!(mixed.windows(2).all(|w| w[0].arrived_s <= w[1].arrived_s));
        assert!(mixed.iter().enumerate().all(|(i, r)| r.index == i as u64));
    }
}
