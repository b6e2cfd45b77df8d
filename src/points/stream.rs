//! Searches a grid of operating points for those worth keeping: within the limits, and either not
//! dominated in cost, TTFT and TPOT, or among the best of their class.
//!
//! The bounds, on one curve:
//!
//! 1. While prompts take the same time, latencies do not fall when the rate rises (`docs/model.md`,
//!    "Every mix"). What prompts find beside them changes with the rate; so between two rates nothing is
//!    faster than the lower rate would be with the fastest prompts of any rate between
//!    ([`crate::points::block::Block::operate_beside`]).
//! 2. Cost per token at a rate is above that of the same rate with the energy of a full batch, which
//!    falls as the rate rises (`Curve::least_cost`).
//! 3. At one load an offer dominates those that are dearer in price and in energy, which can only be
//!    among the best.
//!
//! A stretch of loads goes if 1 breaks a limit all along it, or if a kept point beats 1 and 2 together.
//! A whole curve goes if a request that meets no other is too late, or is beaten so.
//!
//! Every point is counted once: computed, or skipped by one of these bounds, or on a layout that is
//! none or does not fit. What is kept is exactly what computing every point would keep. Work is cut
//! into rounds of units; bounds come from earlier rounds and from the unit itself, so that counts do
//! not depend on the number of threads either.

use std::ops::Range;

use rayon::prelude::*;

use crate::evaluate::{class_work, is_batch};
use crate::perf::memory::kv_budget_bytes;
use crate::perf::replica::Replica;
use crate::perf::step::Steps;
use crate::points::curve::Curve;
use crate::points::front::Front;
use crate::points::grid::serves;
use crate::points::search::{Found, Search};
use crate::points::walk::{Offers, Walk};
use crate::space::resolve;

impl Search<'_> {
    /// Searches places `first..last` of the units on the current rayon pool, with what earlier places
    /// found as bounds. Neighbouring places are far apart in the space, so that the first few show
    /// what good points look like.
    pub fn extend(&self, known: Option<Found>, first: u64, last: u64) -> Found {
        let mut found = known.unwrap_or_else(|| self.nothing());
        let (mut from, mut len) = (first, ROUND);
        while from < last {
            let to = last.min(from + len);
            let pieces: Vec<Piece> = (from..to).flat_map(|place| self.pieces(place)).collect();
            let round = pieces
                .into_par_iter()
                .map(|piece| self.piece(piece, &found))
                .reduce(|| self.nothing(), |a, b| a.merge(&b));
            found = found.merge(&round);
            found.fronts.iter_mut().for_each(Front::settle);
            (from, len) = (to, 4 * len);
        }
        found
    }

    /// The unit at a place, cut so that threads end together.
    fn pieces(&self, place: u64) -> impl Iterator<Item = Piece> {
        let unit_number = spread(place, self.space.unit_count());
        let workload = &self.spec.workloads[self.space.unit(unit_number).workload];
        let len = workload.batches.len();
        (0..len).step_by(PIECE).map(move |first| Piece {
            unit_number,
            batches: first..len.min(first + PIECE),
        })
    }

    fn piece(&self, piece: Piece, known: &Found) -> Found {
        let Piece {
            unit_number,
            batches,
        } = piece;
        let mut found = self.nothing();
        let unit = self.space.unit(unit_number);
        let workload = &self.spec.workloads[unit.workload];
        let per_curve = self.numbers.points_per_curve(unit_number);
        let per_batch = per_curve * workload.classes.len() as u64;
        let per_layout = per_batch * workload.batches.len() as u64;
        let here = per_batch * batches.len() as u64; // of a layout, in this piece
        if per_curve == 0 {
            return found;
        }
        let mut walk = Walk::new(self, workload, known, &mut found);
        let mut steps = Steps::default();
        let mut number = self.numbers.first_of_curve(self.spec, unit_number, 0);
        for choice in self.space.layouts(self.spec, unit) {
            if !serves(&choice.configuration) {
                continue;
            }
            let layout = resolve(self.spec, &choice.configuration);
            let step = layout.and_then(|layout| Some((layout, steps.of(&layout)?)));
            match step {
                None => walk.found.counts.no_layout += here,
                Some((layout, _)) if kv_budget_bytes(&layout) <= 0.0 => {
                    walk.found.counts.memory += here;
                }
                Some((layout, step)) => {
                    let work = class_work(&layout, &step, workload);
                    let system = workload.systems[choice.configuration.system];
                    walk.offers = Offers::new(&self.grid.offers[system]);
                    for b in batches.clone() {
                        let batch = workload.batches[b];
                        if !is_batch(&layout, b, batch) {
                            walk.found.counts.no_layout += per_batch;
                            continue;
                        }
                        let replica = Replica::new(&layout, &step, &work, batch);
                        for (k, class) in workload.classes.iter().enumerate() {
                            let way = workload.round_trip_s[self.grid.latency_group][k];
                            let curve = Curve::new(&layout, &replica, class, k, way);
                            let at = number + b as u64 * per_batch + k as u64 * per_curve;
                            walk.group = self.group(unit.workload, k);
                            walk.curve(&curve, k, at, per_curve);
                        }
                    }
                }
            }
            number += per_layout;
        }
        found
    }
}

/// Batch limits of a unit that are searched by one thread.
const PIECE: usize = 8;

/// Some batch limits of a unit.
struct Piece {
    unit_number: u64,
    batches: Range<usize>,
}

/// Units in the first round; each later one is four times as long.
const ROUND: u64 = 4;

/// A permutation of `0..len` that puts neighbours far apart.
fn spread(place: u64, len: u64) -> u64 {
    let gcd = |mut a: u64, mut b: u64| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    // The golden section spreads best; the next number without a common factor permutes.
    let section = (len as f64 * 0.618_033_988_749_895) as u64;
    let stride = (section.max(1)..).find(|s| gcd(*s, len) == 1).unwrap_or(1);
    (u128::from(place) * u128::from(stride) % u128::from(len)) as u64
}
