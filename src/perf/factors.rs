//! What measurements say about a layout's times, as factors on what the model computes.
//!
//! A bias found on measured runs and a reserve for what no bias explains are one thing here: the
//! layout is rated as if its replicas ran that much slower. If every time grows by `g`, a replica
//! under rates `f` behaves as the modelled one does under `g·f`, on a clock that ticks `g` times as
//! slowly: its utilisation is `g` times as high, and its latencies are `g` times those at that
//! utilisation. So `load` multiplies rates, and `ttft` and `tpot` multiply what is felt there. Three
//! factors in place of one, because the model is not equally far off on the three.

use serde::Deserialize;

use crate::perf::role::Role;

/// Factors on the times of a layout; 1 is the model's own.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeFactors {
    /// Time to first token, the way to the user left out: that is no matter of the model.
    pub ttft: f64,
    /// Time per output token.
    pub tpot: f64,
    /// Replica-seconds and joules of a request where decode runs.
    pub load: f64,
    /// The same of a pool that only prefills.
    pub prefill_load: f64,
}

impl TimeFactors {
    /// The model's own times.
    pub const ONE: Self = Self {
        ttft: 1.0,
        tpot: 1.0,
        load: 1.0,
        prefill_load: 1.0,
    };

    /// Factor on the load of a role.
    pub fn load(&self, role: Role) -> f64 {
        match role {
            Role::Prefill(_) => self.prefill_load,
            _ => self.load,
        }
    }
}
