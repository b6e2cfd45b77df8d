//! What throughput benchmarks measure of one layout: all requests at once (offline), and the most
//! requests under latency limits (server).
//!
//! Planning checks memory at the longest context for the whole batch. A benchmark is run by someone
//! who found the batch that just works, so here the cache holds sequences of their *mean* context,
//! or of their whole one where the engine reserves it.

use serde::Serialize;

use crate::perf::closed_loop::sequences_in_memory;
use crate::perf::layout::Layout;
use crate::perf::limits::Limits;
use crate::perf::replica::{mean_context, ClassWork, Replica};
use crate::perf::step::StepModel;
use crate::workload::{Class, Length, Metric};

/// How a benchmark is run.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// Most sequences in decode on the whole replica.
    pub batch: u32,
    /// Whether the cache of a request's whole context is reserved when it starts.
    pub reserved: bool,
    /// Requests in the run; infinite where its end does not matter.
    pub requests: f64,
    /// Latency limits, if any: then requests arrive one by one.
    pub limits: Option<Limits<'a>>,
    /// Equal replicas that share those requests behind one router.
    pub replicas: f64,
}

impl Run<'_> {
    /// A run without latency limits.
    pub fn new(batch: u32, reserved: bool, requests: f64) -> Self {
        Self {
            batch,
            reserved,
            requests,
            limits: None,
            replicas: 1.0,
        }
    }
}

/// The most that a layout serves.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Throughput {
    /// Sequences in decode on the whole replica.
    pub sequences: f64,
    /// Share of full load that the limits allow; 1 without limits.
    pub utilisation: f64,
    /// Output tokens per second and accelerator.
    pub output_tokens_per_s_gpu: f64,
    /// Limit that stops it.
    pub stopped_by: Option<Metric>,
}

/// Throughput of `class`; `None`: not one sequence fits.
pub fn throughput(
    layout: &Layout,
    step: &StepModel,
    class: &Class,
    run: &Run,
) -> Option<Throughput> {
    let context = if run.reserved {
        class.input.at[0] + class.output.at[0]
    } else {
        mean_context(class)
    };
    let fits = sequences_in_memory(layout, step, context);
    if fits < 1.0 {
        return None;
    }
    let batch = run.batch.min(fits as u32);
    let work = [ClassWork::new(layout, step, class)];
    let replica = Replica::new(layout, step, &work, batch);
    let (utilisation, stopped_by) = run.limits.map_or((1.0, None), |limits| {
        limits.capacity_among(&replica, run.replicas)
    });
    let load = match run.limits {
        None => load_with_end(&replica, &class.output, run.requests),
        Some(_) => replica.classes[0].load,
    };
    Some(Throughput {
        sequences: replica.batch,
        utilisation,
        output_tokens_per_s_gpu: utilisation / load * class.output.at[0]
            / f64::from(layout.parallel.gpus()),
        stopped_by,
    })
}

/// Replica-seconds per request of a run of `requests`: the last batch is not refilled, and ends with
/// its longest answer.
fn load_with_end(replica: &Replica, output: &Length, requests: f64) -> f64 {
    let steady = replica.classes[0].load;
    if requests.is_infinite() {
        return steady;
    }
    let last = replica.batch.min(requests);
    let prompts = last * replica.classes[0].prompt_load;
    let end = prompts + last_answers_s(replica, output, last);
    ((requests - last) * steady + end) / requests
}

/// Decoding `n` answers that start together, s: steps get shorter as answers end.
fn last_answers_s(replica: &Replica, output: &Length, n: f64) -> f64 {
    let [_, p50, p90, p95, p99] = output.at;
    let lengths = [1.0, p50, p90, p95, p99, output.max];
    let running = [1.0, 0.5, 0.1, 0.05, 0.01, 0.0];
    let tau = |share: f64| replica.tau((n * share).max(1.0), replica.classes[0].attention_s);
    let mut seconds = 0.0;
    for i in 1..lengths.len() {
        let tokens = (lengths[i] - lengths[i - 1]).max(0.0);
        let step = 0.5 * (tau(running[i - 1]) + tau(running[i]));
        seconds += tokens / replica.step.accepted * step;
    }
    seconds
}
