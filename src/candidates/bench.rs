//! Closed loops: a replica that holds so many requests in flight.

use crate::perf::closed_loop::{closed_loop, ClosedLoop};
use crate::perf::layout::Layout;
use crate::perf::step::StepModel;

/// One replica serving requests of fixed lengths in a closed loop.
pub(super) struct Bench<'a> {
    pub(super) layout: &'a Layout<'a>,
    pub(super) step: &'a StepModel,
    /// Joules of a request above a replica that always decodes.
    pub(super) request_j: f64,
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
        self.layout.standing_w() + self.rate_rps(run) * self.request_j
    }
}
