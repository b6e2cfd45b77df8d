//! Exact dominance pruning.
//!
//! Candidate A goes if some B of the same group, whose replicas are a whole fraction of A's
//! (`gpus_B` divides `gpus_A`, and B fills whole systems where A spans several), is in `gpus_A/gpus_B` copies at least as good in every number a plan
//! could look at: load per class, joules per class, idle watts, quality, and has none of the
//! [oddities](Kept::oddities) that A lacks. Then any plan with A stays
//! feasible and costs no more with the copies of B in A's place, so no optimum is lost. A class that
//! is not admitted has infinite load, so a wider class set may dominate a narrower one. Ties keep the
//! smaller replica, then the lower number. The relation is a partial order, so the kept set is that
//! of its minimal elements: it does not depend on order, and `prune(A ∪ B) = prune(prune(A) ∪
//! prune(B))`. No tolerance is used.

use serde::Deserialize;

use crate::error::{positive, same_rows, within, Error, Result};
use crate::workload::MAX_CLASSES;

/// What of a candidate a plan can look at.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// Number in the space.
    pub id: u64,
    /// Accelerators in a replica.
    pub gpus: u32,
    /// Accelerators in a system.
    pub per_system: u32,
    /// Classes of the workload.
    pub classes: usize,
    /// Replica-seconds per request ÷ capacity; infinite when not admitted.
    pub load: [f64; MAX_CLASSES],
    /// Joules per request above idle; infinite when not admitted.
    pub joules: [f64; MAX_CLASSES],
    /// Watts of an idle replica above an idle system.
    pub idle_w: f64,
    /// Answer quality.
    pub quality: f64,
    /// What people would rather do without where it saves nothing, a bit each: [`PIPELINE`],
    /// [`FEWER_BITS`].
    pub oddities: u8,
    /// Utilisation that the limits allow, folded into `load`.
    pub capacity: f64,
    /// Where `load` and `joules` are means over a known mix, those of each class.
    pub of_each: Option<Box<[[f64; MAX_CLASSES]; 2]>>,
}

/// A candidate whose capacity is not known, as it is at capacity 1. At capacity c its load is that over c,
/// and its joules are no less than these, and than `rise_w` times that load.
#[derive(Debug, Clone, Copy)]
pub struct Floor<'a> {
    /// The candidate at capacity 1.
    pub kept: &'a Kept,
    /// Joules per replica-second that it draws at least, W.
    pub rise_w: f64,
}

/// Layers stand in stages, one behind the other.
pub const PIPELINE: u8 = 1;
/// Weights have fewer bits than 8 and than the published ones.
pub const FEWER_BITS: u8 = 2;

impl Kept {
    /// Whether this candidate makes `other` useless.
    #[inline(always)]
    pub fn dominates(&self, other: &Self) -> bool {
        if !self.packs_into(other) || self.is_odder(other) || self.quality < other.quality {
            return false;
        }
        let (a, b) = (f64::from(self.gpus), f64::from(other.gpus));
        if self.idle_w * b > other.idle_w * a {
            return false;
        }
        let no_worse = none_above(self.classes, (&self.load, a), (&other.load, b))
            && none_above(self.classes, (&self.joules, 1.0), (&other.joules, 1.0));
        no_worse && (self.gpus < other.gpus || self.id < other.id || self.better(other))
    }

    /// Replica-seconds and joules per request of each class.
    pub fn of_class(&self) -> [&[f64; MAX_CLASSES]; 2] {
        match self.of_each.as_deref() {
            Some([load, joules]) => [load, joules],
            None => [&self.load, &self.joules],
        }
    }

    /// Whether it has an oddity that `other` lacks.
    fn is_odder(&self, other: &Self) -> bool {
        self.oddities & !other.oddities != 0
    }

    /// Whether copies of this replica fit exactly where one of `other` stood.
    fn packs_into(&self, other: &Self) -> bool {
        let fills_systems = self.gpus % self.per_system == 0 || self.per_system % self.gpus == 0;
        other.gpus % self.gpus == 0 && (other.gpus <= other.per_system || fills_systems)
    }

    /// The largest capacity below which what [`floor`](Floor) is of is surely dominated by this one, if it
    /// is above `least`. `some` is a class that it admits.
    #[inline(always)]
    fn beats_up_to(&self, floor: &Floor, least: f64, some: usize) -> Option<f64> {
        let Floor { kept, rise_w } = *floor;
        let (a, b) = (f64::from(self.gpus), f64::from(kept.gpus));
        // Most are told apart by one class.
        if self.load[some] * (a * least) > kept.load[some] * b {
            return None;
        }
        if !none_above(self.classes, (&self.load, a * least), (&kept.load, b)) {
            return None;
        }
        let less = self.quality < kept.quality || self.is_odder(kept);
        if less || self.idle_w * b > kept.idle_w * a || !self.packs_into(kept) {
            return None;
        }
        let up_to = |k: usize| {
            let by_load = kept.load[k] * b / (self.load[k] * a);
            if self.joules[k] <= kept.joules[k] {
                by_load
            } else {
                by_load.min(rise_w * kept.load[k] / self.joules[k])
            }
        };
        let admitted = (0..kept.classes).filter(|k| kept.load[*k].is_finite());
        let most = admitted.map(up_to).fold(f64::INFINITY, f64::min);
        // Strictly below, so that a tie in all else is broken by load whatever the numbers round to.
        (most > least).then_some(most * (1.0 - CLOSE))
    }

    /// Strictly better somewhere, given that it is nowhere worse and of equal size.
    fn better(&self, other: &Self) -> bool {
        (0..self.classes).any(|k| self.load[k] < other.load[k] || self.joules[k] < other.joules[k])
            || self.idle_w < other.idle_w
            || self.quality > other.quality
            || self.oddities != other.oddities
    }
}

/// Relative distance that bounds keep: far more than numbers are rounded by.
const CLOSE: f64 = 1e-9;

/// Classes that are compared at once: a few vector instructions.
const AT_ONCE: usize = 4;

/// Whether `x·a ≤ y·b` for every class. No early exit among those compared at once; places past the last
/// class hold infinity on both sides.
#[inline(always)]
fn none_above(
    classes: usize,
    (x, a): (&[f64; MAX_CLASSES], f64),
    (y, b): (&[f64; MAX_CLASSES], f64),
) -> bool {
    let blocks = x.chunks_exact(AT_ONCE).zip(y.chunks_exact(AT_ONCE));
    blocks.take(classes.div_ceil(AT_ONCE)).all(|(x, y)| {
        x.iter()
            .zip(y)
            .fold(true, |ok, (x, y)| ok & (x * a <= y * b))
    })
}

/// Kept candidates of one group.
#[derive(Debug, Clone, Default)]
pub struct Front(Vec<Kept>);

impl Front {
    /// No candidate.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a candidate unless it is dominated; drops those it dominates.
    ///
    /// Compiled for AVX-512, AVX2 and plain x86-64; the processor decides at run time.
    pub fn add(&mut self, candidate: Kept) {
        pulp::Arch::new().dispatch(|| self.add_here(candidate));
    }

    #[inline(always)]
    fn add_here(&mut self, candidate: Kept) {
        if let Some(i) = self.0.iter().position(|kept| kept.dominates(&candidate)) {
            // A strong candidate tends to dominate the next one too: keep it near the front.
            self.0.swap(i, i / 2);
            return;
        }
        self.0.retain(|kept| !candidate.dominates(kept));
        self.0.push(candidate);
    }

    /// The largest capacity below which a candidate is surely dominated by one that is kept, between
    /// `least` and `enough`.
    pub fn beat_up_to(&self, floor: &Floor, least: f64, enough: f64) -> f64 {
        pulp::Arch::new().dispatch(|| self.beat_up_to_here(floor, least, enough))
    }

    #[inline(always)]
    fn beat_up_to_here(&self, floor: &Floor, least: f64, enough: f64) -> f64 {
        let some = floor.kept.load.iter().position(|load| load.is_finite());
        let (Some(some), mut most) = (some, least) else {
            return least;
        };
        for kept in &self.0 {
            if most >= enough {
                return enough;
            }
            if let Some(up_to) = kept.beats_up_to(floor, most, some) {
                most = most.max(up_to);
            }
        }
        most.min(enough)
    }

    /// Adds all of another front.
    pub fn merge(&mut self, other: Self) {
        for candidate in other.0 {
            self.add(candidate);
        }
    }

    /// Those that would stay if nobody minded [oddities](Kept::oddities), by number.
    pub fn needed(&self) -> Vec<u64> {
        let mut front = Self::new();
        for kept in &self.0 {
            let oddities = 0;
            front.add(Kept {
                oddities,
                ..kept.clone()
            });
        }
        front.into_sorted().iter().map(|kept| kept.id).collect()
    }

    /// The kept candidates, by number.
    pub fn into_sorted(mut self) -> Vec<Kept> {
        self.0.sort_by_key(|kept| kept.id);
        self.0
    }
}

/// A candidate by itself, as [`survivors`] takes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// Accelerators in a replica.
    pub gpus: u32,
    /// Replica-seconds per request ÷ capacity by class; infinite where it is not admitted.
    pub load_s: Vec<f64>,
    /// Joules per request above idle by class.
    pub energy_j: Vec<f64>,
    /// Watts of an idle replica above an idle system.
    pub idle_w: f64,
    /// Answer quality.
    pub quality: f64,
    /// Bits of [`Kept::oddities`].
    #[serde(default)]
    pub oddities: u8,
}

impl Candidate {
    fn kept(&self, id: u64, per_system: u32, classes: usize) -> Result<Kept> {
        let what = format!("candidates[{id}]: load_s, energy_j, classes");
        same_rows(what, &[self.load_s.len(), self.energy_j.len(), classes])?;
        positive(format!("candidates[{id}].gpus"), f64::from(self.gpus))?;
        let numbers = [self.idle_w, self.quality];
        let mut numbers = numbers.iter().chain(&self.load_s).chain(&self.energy_j);
        if numbers.any(|number| number.is_nan()) {
            return Err(Error::Input(format!("candidates[{id}]: a number is NaN")));
        }
        let padded =
            |row: &[f64]| std::array::from_fn(|k| row.get(k).copied().unwrap_or(f64::INFINITY));
        Ok(Kept {
            id,
            gpus: self.gpus,
            per_system,
            classes,
            load: padded(&self.load_s),
            joules: padded(&self.energy_j),
            idle_w: self.idle_w,
            quality: self.quality,
            oddities: self.oddities,
            capacity: 1.0,
            of_each: None,
        })
    }
}

/// Places of the candidates of one group that no other makes useless, on systems of so many
/// accelerators.
pub fn survivors(candidates: &[Candidate], per_system: u32) -> Result<Vec<u64>> {
    let classes = candidates.first().map_or(0, |c| c.load_s.len());
    within(
        "number of classes",
        classes as f64,
        0.0..MAX_CLASSES as f64 + 1.0,
        "at most 16",
    )?;
    positive("per_system", f64::from(per_system))?;
    let mut front = Front::default();
    for (id, candidate) in candidates.iter().enumerate() {
        front.add(candidate.kept(id as u64, per_system, classes)?);
    }
    Ok(front.into_sorted().iter().map(|kept| kept.id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidate(id: u64, gpus: u32, load: &[f64], joules: &[f64], idle_w: f64) -> Kept {
        let mut kept = Kept {
            id,
            gpus,
            per_system: 8,
            classes: load.len(),
            load: [f64::INFINITY; MAX_CLASSES],
            joules: [f64::INFINITY; MAX_CLASSES],
            idle_w,
            quality: 1.0,
            oddities: 0,
            capacity: 1.0,
            of_each: None,
        };
        kept.load[..load.len()].copy_from_slice(load);
        kept.joules[..joules.len()].copy_from_slice(joules);
        kept
    }

    fn keep(candidates: Vec<Kept>) -> Vec<u64> {
        let mut front = Front::default();
        for c in candidates {
            front.add(c);
        }
        front.into_sorted().iter().map(|k| k.id).collect()
    }

    #[test]
    fn copies_of_a_smaller_replica_replace_a_larger_one() {
        // Two replicas of 4 with load 1 each do 2 requests/s; one of 8 with load 0.6 does 1.67.
        let small = candidate(1, 4, &[1.0], &[5.0], 0.0);
        let large = candidate(0, 8, &[0.6], &[5.0], 0.0);
        assert_eq!(keep(vec![large.clone(), small.clone()]), vec![1]);
        // Sizes that do not divide are never exchanged.
        let odd = candidate(2, 3, &[0.1], &[1.0], 0.0);
        assert_eq!(keep(vec![large, small, odd]), vec![1, 2]);
    }

    #[test]
    fn higher_idle_watts_never_prune() {
        let fast_but_hungry = candidate(0, 8, &[0.5], &[5.0], 900.0);
        let slow_and_frugal = candidate(1, 8, &[1.0], &[5.0], 100.0);
        assert_eq!(keep(vec![fast_but_hungry, slow_and_frugal]), vec![0, 1]);
    }

    #[test]
    fn a_wider_set_replaces_a_narrower_one_only_when_it_is_as_good() {
        let narrow = candidate(0, 8, &[1.0, f64::INFINITY], &[5.0, f64::INFINITY], 0.0);
        let wide = candidate(1, 8, &[1.0, 2.0], &[5.0, 6.0], 0.0);
        let wide_slow = candidate(2, 8, &[1.1, 1.0], &[5.0, 6.0], 0.0);
        assert_eq!(keep(vec![narrow.clone(), wide]), vec![1]);
        assert_eq!(keep(vec![narrow, wide_slow]), vec![0, 2]);
    }

    #[test]
    fn a_replica_over_several_systems_is_replaced_only_by_what_fills_systems() {
        let spanning = candidate(0, 24, &[1.0], &[5.0], 0.0);
        let six = candidate(1, 6, &[0.1], &[1.0], 0.0);
        let four = candidate(2, 4, &[0.1], &[1.0], 0.0);
        assert_eq!(keep(vec![spanning.clone(), six]), vec![0, 1]);
        assert_eq!(keep(vec![spanning, four]), vec![2]);
    }

    prop_compose! {
        fn any_candidate()(gpus in prop::sample::select(vec![1u32, 2, 3, 4, 6, 8]),
                           load in prop::collection::vec(1u8..5, 2),
                           joules in prop::collection::vec(1u8..4, 2),
                           idle in 0u8..3) -> (u32, Vec<f64>, Vec<f64>, f64) {
            let real = |v: Vec<u8>| v.into_iter().map(f64::from).collect();
            (gpus, real(load), real(joules), f64::from(idle))
        }
    }

    proptest! {
        #[test]
        fn order_and_grouping_do_not_matter(raw in prop::collection::vec(any_candidate(), 1..40),
                                            cut in 0usize..40, seed in any::<u64>()) {
            let all: Vec<Kept> = raw.iter().enumerate()
                .map(|(i, (g, l, j, w))| candidate(i as u64, *g, l, j, *w)).collect();
            let once = keep(all.clone());
            let mut shuffled = all.clone();
            let len = shuffled.len();
            for i in 0..len { shuffled.swap(i, (seed as usize).wrapping_mul(i + 7) % len); }
            prop_assert_eq!(&once, &keep(shuffled));
            let (mut left, mut right) = (Front::default(), Front::default());
            for (i, c) in all.iter().enumerate() {
                if i < cut { left.add(c.clone()) } else { right.add(c.clone()) }
            }
            left.merge(right);
            let merged: Vec<u64> = left.into_sorted().iter().map(|k| k.id).collect();
            prop_assert_eq!(&once, &merged);
            // Whatever was dropped is dominated by something kept.
            for c in &all {
                prop_assert!(once.contains(&c.id) || once.iter().any(|id| all[*id as usize].dominates(c)));
            }
        }
    }
}
