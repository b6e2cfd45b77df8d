//! Closed loops: a replica that holds so many requests in flight.

use crate::perf::closed_loop::{closed_loop, ClosedLoop};
use crate::perf::layout::Layout;
use crate::perf::replica::{Replica, RequestEnergy};
use crate::perf::step::StepModel;

/// One replica serving requests of fixed lengths in a closed loop.
pub(super) struct Bench<'a> {
    pub(super) layout: &'a Layout<'a>,
    pub(super) step: &'a StepModel,
    pub(super) replica: &'a Replica<'a>,
    pub(super) energy: RequestEnergy,
    pub(super) input: f64,
    pub(super) output: f64,
}

impl Bench<'_> {
    pub(super) fn run(&self, concurrency: f64) -> ClosedLoop {
        closed_loop(self.layout, self.step, concurrency, self.input, self.output)
    }

    /// Requests/s that a run serves.
    pub(super) fn rate_rps(&self, run: &ClosedLoop) -> f64 {
        run.output_tokens_per_s_gpu * f64::from(self.layout.parallel.gpus()) / self.output
    }

    /// IT watts that the replica draws in a run.
    pub(super) fn watts(&self, run: &ClosedLoop) -> f64 {
        let running = run.running.max(1.0);
        let step_s = self
            .replica
            .tau(running, self.replica.classes[0].attention_s);
        let idle_w = f64::from(self.layout.parallel.gpus()) * self.layout.system.idle_w;
        idle_w + self.rate_rps(run) * self.energy.joules(step_s / running)
    }
}
