//! What is searched for in a grid of operating points, and what is found.

use serde::{Serialize, Serializer};

use crate::points::front::{Best, Front, Ranking};
use crate::points::grid::{Grid, Numbers};
use crate::space::Space;
use crate::workload::Spec;

/// What became of the points. Each is counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Worked out in full.
    pub computed: u64,
    /// Beyond a load that breaks a limit.
    pub beyond_limits: u64,
    /// In the shadow of a point that was kept.
    pub dominated: u64,
    /// On what is no layout, or has no kernel.
    pub no_layout: u64,
    /// On a layout that does not fit memory.
    pub memory: u64,
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([
            ("computed", self.computed),
            ("skipped_beyond_limits", self.beyond_limits),
            ("skipped_dominated", self.dominated),
            ("no_layout", self.no_layout),
            ("memory", self.memory),
            ("total", self.total()),
        ])
    }
}

impl Counts {
    /// Adds what another counted.
    fn add(&mut self, o: &Self) {
        self.computed += o.computed;
        self.beyond_limits += o.beyond_limits;
        self.dominated += o.dominated;
        self.no_layout += o.no_layout;
        self.memory += o.memory;
    }

    /// All points.
    pub fn total(&self) -> u64 {
        self.computed + self.beyond_limits + self.dominated + self.no_layout + self.memory
    }
}

/// What a search keeps and counts; fronts and best points by workload and class.
#[derive(Debug, Clone)]
pub struct Found {
    /// Counts.
    pub counts: Counts,
    /// Points not dominated; empty where they are not kept.
    pub fronts: Vec<Front>,
    /// Best points.
    pub best: Vec<Best>,
}

impl Found {
    /// Joins what another part of the grid gave.
    pub(super) fn merge(mut self, other: &Self) -> Self {
        self.counts.add(&other.counts);
        for (mine, theirs) in self.fronts.iter_mut().zip(&other.fronts) {
            mine.merge(theirs);
        }
        for (mine, theirs) in self.best.iter_mut().zip(&other.best) {
            mine.merge(theirs);
        }
        self
    }
}

/// What is kept of the points within the limits.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// How many of the best points of a class.
    pub cheapest: usize,
    /// What ranks them.
    pub by: Ranking,
    /// Whether the points that no other dominates.
    pub front: bool,
    /// Whether bounds may skip points; without, every point that fits is computed.
    pub skip: bool,
}

/// A search over a grid.
#[derive(Debug, Clone)]
pub struct Search<'a> {
    /// Specification.
    pub spec: &'a Spec,
    /// Its layouts.
    pub space: &'a Space,
    /// The other axes.
    pub grid: &'a Grid,
    /// Numbers of the points.
    pub numbers: &'a Numbers,
    /// What is kept.
    pub keep: Keep,
}

impl Search<'_> {
    /// Class `k` of a workload, in the order of [`Found::fronts`].
    pub fn group(&self, workload: usize, k: usize) -> usize {
        let before = &self.spec.workloads[..workload];
        before.iter().map(|w| w.classes.len()).sum::<usize>() + k
    }

    /// Nothing found yet.
    pub(super) fn nothing(&self) -> Found {
        let groups = self.group(self.spec.workloads.len(), 0);
        Found {
            counts: Counts::default(),
            fronts: vec![Front::default(); groups],
            best: vec![Best::new(self.keep.cheapest); groups],
        }
    }
}
