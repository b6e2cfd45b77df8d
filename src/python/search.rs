//! The search as a class that is fed ranges of partitions, and pruning by itself.

use std::collections::BTreeMap;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::convert::{add_columns, Fields, Plain};
use super::space::PySpace;
use super::threads::on_threads;
use crate::error::Result;
use crate::prune::{survivors, Candidate};
use crate::search::{Counts, Found, NUMBERS};

/// A search that is fed ranges of partitions and can be read at any time.
#[pyclass(module = "tokenfleet._core")]
#[derive(Default)]
pub(super) struct CandidateSearch(Found);

#[pymethods]
impl CandidateSearch {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Adds partitions `first..last` of a space, on `threads` threads (0: all cores).
    #[pyo3(signature = (space, first, last, threads = 0))]
    fn extend(
        &mut self,
        py: Python<'_>,
        space: &PySpace,
        first: u64,
        last: u64,
        threads: usize,
    ) -> PyResult<()> {
        let PySpace { spec, space } = space;
        let work = || self.0.extend(spec, space, first, last);
        Ok(on_threads(py, threads, work)??)
    }

    /// Counts by workload: `{workload index: {reason: count}}`.
    fn counts(&self) -> Plain<&BTreeMap<usize, Counts>> {
        Plain(&self.0.counts)
    }

    /// Kept candidates as columns, in canonical order.
    fn kept<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let rows = self.0.kept();
        let out = PyDict::new(py);
        add_columns(&out, NUMBERS, rows.iter().map(|(key, _)| key.numbers()))?;
        let kept = || rows.iter().map(|(_, kept)| kept);
        let own = kept().map(|k| [k.id, k.gpus.into(), k.oddities.into()]);
        add_columns(&out, ["id", "gpus", "oddities"], own)?;
        let figures = kept().map(|k| [k.capacity, k.quality, k.idle_w]);
        add_columns(&out, ["capacity", "quality", "idle_w"], figures)?;
        out.set_item("plainer", self.0.plainer())?;
        let groups = rows.iter().map(|(key, _)| (key.own_mix, key.role.name()));
        let (own_mix, roles): (Vec<_>, Vec<_>) = groups.unzip();
        out.set_item("own_mix", own_mix)?;
        out.set_item("role", roles)?;
        let of_class = kept().map(|kept| {
            let [load, joules] = kept.of_class();
            (&load[..kept.classes], &joules[..kept.classes])
        });
        let (loads, joules): (Vec<_>, Vec<_>) = of_class.unzip();
        out.set_item("load_s", loads)?;
        out.set_item("energy_j", joules)?;
        Ok(out)
    }
}

/// Places of the candidates of one group that no other makes useless; see `prune.rs`.
#[pyfunction]
pub(super) fn prune(candidates: Fields<Vec<Candidate>>, per_system: u32) -> Result<Vec<u64>> {
    survivors(&candidates.0, per_system)
}
