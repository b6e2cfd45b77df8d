//! Configurations by the names that the specification gives their parts.

use serde::Serialize;

use crate::perf::role::Role;
use crate::space::Configuration;
use crate::workload::Spec;

/// Names and numbers of one configuration.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Labels<'a> {
    /// Workload.
    pub workload: &'a str,
    /// System.
    pub system: &'a str,
    /// Engine.
    pub engine: &'a str,
    /// Precision.
    pub precision: &'a str,
    /// KV dtype.
    pub kv_dtype: &'a str,
    /// Tensor-parallel degree of attention.
    pub tp: u32,
    /// Pipeline stages.
    pub pp: u32,
    /// Expert-parallel degree.
    pub ep: u32,
    /// Attention data-parallel degree.
    pub attention_dp: u32,
    /// Draft tokens per step.
    pub speculative_depth: u32,
    /// `serve`, `prefill` or `decode`.
    pub role: &'a str,
    /// Share of the TTFT limit that the prefill pool may use; only in pools of one role.
    pub ttft_split: Option<f64>,
    /// Most sequences in decode on the whole replica.
    pub batch_limit: u32,
    /// Admitted classes.
    pub classes: Vec<&'a str>,
    /// Whether it takes them in the workload's own shares.
    pub own_mix: bool,
}

impl<'a> Labels<'a> {
    /// Those of a configuration of the specification.
    pub fn of(spec: &'a Spec, c: &Configuration) -> Self {
        let w = &spec.workloads[c.workload];
        let admitted = w.admitted(c.set);
        let classes = w.classes.iter().enumerate();
        Self {
            workload: &w.id,
            system: &spec.systems[w.systems[c.system]].id,
            engine: &spec.engines[w.engines[c.engine]].id,
            precision: &spec.precisions[w.precisions[c.precision]].id,
            kv_dtype: &spec.kv_dtypes[w.kv[c.kv]].id,
            tp: c.parallel.tp,
            pp: c.parallel.pp,
            ep: c.parallel.ep,
            attention_dp: c.parallel.adp,
            speculative_depth: w.speculation[c.speculation].depth,
            role: c.role.name(),
            ttft_split: match c.role {
                Role::Serve => None,
                Role::Prefill(i) | Role::Decode(i) => Some(w.splits[i]),
            },
            batch_limit: w.batches[c.batch],
            classes: classes
                .filter(|(k, _)| admitted.set >> k & 1 == 1)
                .map(|(_, class)| class.id.as_str())
                .collect(),
            own_mix: admitted.mix.is_known(),
        }
    }
}
