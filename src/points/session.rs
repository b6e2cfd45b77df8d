//! A search that is fed ranges of units and can be read at any time.

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::points::front::{Front, Ranking};
use crate::points::grid::{Grid, Loads, Numbers};
use crate::points::kept::KeptPoint;
use crate::points::offer::Offer;
use crate::points::search::{Counts, Found, Keep, Search};
use crate::space::Space;
use crate::workload::Spec;

/// What is searched, and what is kept of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Axis of load.
    pub loads: Loads,
    /// Offers by system: places and ways to have it.
    pub offers: Vec<Vec<Offer>>,
    /// Latency group: which round trips count.
    #[serde(default)]
    pub latency_group: usize,
    /// How many of the best points of a class are kept.
    pub cheapest: usize,
    /// What ranks them.
    pub by: Ranking,
    /// Whether the points are kept that no other dominates.
    pub front: bool,
    /// Whether bounds may skip points; without, every point that fits is computed.
    #[serde(default = "yes")]
    pub skip: bool,
}

fn yes() -> bool {
    true
}

/// A search under way. Specification and space are the same in every call.
#[derive(Debug, Clone)]
pub struct Session {
    grid: Grid,
    numbers: Numbers,
    keep: Keep,
    found: Option<Found>,
}

impl Session {
    /// Nothing searched yet.
    pub fn new(spec: &Spec, question: Question) -> Result<Self> {
        let grid = Grid {
            loads: question.loads,
            offers: question.offers,
            latency_group: question.latency_group,
        };
        grid.check(spec)?;
        Ok(Self {
            numbers: Numbers::new(spec, &grid),
            grid,
            keep: Keep {
                cheapest: question.cheapest,
                by: question.by,
                front: question.front,
                skip: question.skip,
            },
            found: None,
        })
    }

    /// Points of the grid.
    pub fn size(&self) -> u64 {
        self.numbers.len()
    }

    /// Searches places `first..last` of the units, each once, on the current rayon pool.
    pub fn extend(&mut self, spec: &Spec, space: &Space, first: u64, last: u64) -> Result<()> {
        let len = space.unit_count();
        if last > len || first > last {
            let (what, index) = ("unit", last.max(first));
            return Err(Error::Unknown { what, index, len });
        }
        let known = self.found.take();
        self.found = Some(self.search(spec, space).extend(known, first, last));
        Ok(())
    }

    /// What became of the points so far.
    pub fn counts(&self) -> Counts {
        let counts = self.found.as_ref().map(|found| found.counts);
        counts.unwrap_or_default()
    }

    /// Points that no other dominates, by workload, class and number.
    pub fn front(&mut self, spec: &Spec, space: &Space) -> Result<Vec<KeptPoint>> {
        let fronts = self.found.iter_mut().flat_map(|found| &mut found.fronts);
        let numbers: Vec<u64> = fronts.flat_map(Front::numbers).collect();
        self.search(spec, space).kept(&numbers)
    }

    /// The best points by workload and class, best first.
    pub fn cheapest(&self, spec: &Spec, space: &Space) -> Result<Vec<KeptPoint>> {
        let lists = self.found.iter().flat_map(|found| &found.best);
        let numbers = lists.flat_map(|list| list.points()).map(|(_, _, n)| *n);
        self.search(spec, space).kept(&numbers.collect::<Vec<_>>())
    }

    fn search<'a>(&'a self, spec: &'a Spec, space: &'a Space) -> Search<'a> {
        Search {
            spec,
            space,
            grid: &self.grid,
            numbers: &self.numbers,
            keep: self.keep,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::points::curve::Curve;
    use crate::points::grid::curve_of;
    use crate::points::{points, Columns, Inputs};

    fn question(front: bool) -> Question {
        let question = serde_json::json!({
            "loads": {"utilisation": [0.2, 0.5, 0.8]},
            "offers": [[[3.0, 0.1], [2.0, 0.2]], [[5.0, 0.0]]],
            "cheapest": 4, "by": "ttft", "front": front,
        });
        serde_json::from_value(question).unwrap()
    }

    /// Values of a point by the formulas of its curve, times in s.
    fn alone(curve: &Curve, asked: [f64; 4]) -> [f64; 9] {
        let [rate, _, price, tariff] = asked;
        let inputs = Inputs {
            rate_rps: &[rate],
            usd_per_gpu_h: &[price],
            usd_per_kwh: &[tariff],
        };
        let mut values = [[0.0]; 9];
        let mut out = Columns::from(values.each_mut().map(|v| v.as_mut_slice()));
        points(curve, &inputs, &mut out);
        values.map(|[value]| value)
    }

    #[test]
    fn kept_points_are_those_of_their_places_and_ranges_may_be_cut() {
        let mut spec = Spec::from_json(include_str!("../../benches/spec.json")).unwrap();
        spec.workloads[0].slos.clear();
        let space = Space::new(&spec);
        let systems = spec.systems.len();
        let mut question = question(true);
        question.offers.resize(systems, vec![(5.0, 0.0).into()]);
        let mut whole = Session::new(&spec, question.clone()).unwrap();
        assert_eq!(whole.counts().total(), 0);
        assert!(whole.front(&spec, &space).unwrap().is_empty());
        let units = space.unit_count();
        whole.extend(&spec, &space, 0, units).unwrap();
        assert_eq!(whole.counts().total(), whole.size());
        let mut cut = Session::new(&spec, question).unwrap();
        cut.extend(&spec, &space, 0, units / 2).unwrap();
        cut.extend(&spec, &space, units / 2, units).unwrap();
        let place = |of: Vec<KeptPoint>| of.iter().map(|p| p.place).collect::<Vec<_>>();
        let front = whole.front(&spec, &space).unwrap();
        assert!(!front.is_empty());
        assert_eq!(
            place(cut.front(&spec, &space).unwrap()),
            place(front.clone())
        );
        for point in front.iter().chain(&whole.cheapest(&spec, &space).unwrap()) {
            let [_, configuration, _, class, _] = point.place;
            let c = space.decode(&spec, configuration).unwrap();
            let curve = curve_of(&spec, &c, class as usize, 0).unwrap();
            let utilisation = point.asked[0] / curve.full_rate();
            assert!((point.asked[1] - utilisation).abs() < 1e-12);
            for (i, (a, b)) in point
                .values
                .iter()
                .zip(alone(&curve, point.asked))
                .enumerate()
            {
                let unit = if (2..6).contains(&i) { 1e3 } else { 1.0 };
                assert!((a - unit * b).abs() <= 1e-12 * a.abs(), "{i}: {a} {b}");
            }
        }
        let past = whole.extend(&spec, &space, 0, units + 1);
        assert!(matches!(past, Err(Error::Unknown { what: "unit", .. })));
    }

    #[test]
    fn what_is_unknown_or_missing_is_named() {
        let read = |text: &str| {
            serde_json::from_str::<Question>(text)
                .unwrap_err()
                .to_string()
        };
        assert!(read("{}").contains("loads"));
        assert!(read(r#"{"loads": {"speed": []}}"#).contains("unknown variant `speed`"));
        assert!(read(r#"{"fornt": true}"#).contains("unknown field `fornt`"));
        assert!(question(false).skip);
    }
}
