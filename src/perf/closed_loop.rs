//! Closed loop, as benchmarks run it: a fixed number of requests in flight, each replaced as it ends.
//!
//! Forms and weights: `docs/model.md`, "Closed loop".

use serde::Serialize;

use crate::perf::layout::Layout;
use crate::perf::memory::kv_budget_bytes;
use crate::perf::step::StepModel;

/// Means of a closed-loop run.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ClosedLoop {
    /// Time to first token, s.
    pub ttft_s: f64,
    /// Time per output token after the first, s.
    pub tpot_s: f64,
    /// Output tokens per second and accelerator.
    pub output_tokens_per_s_gpu: f64,
    /// Requests whose caches are in memory at once; the others wait for a place.
    pub running: f64,
}

/// Evaluates `concurrency` requests of `input` prompt and `output` generated tokens.
pub fn closed_loop(
    layout: &Layout,
    step: &StepModel,
    concurrency: f64,
    input: f64,
    output: f64,
) -> ClosedLoop {
    let kernel = layout.kernel;
    let lanes = f64::from(layout.parallel.adp * layout.parallel.pp);
    let context = input + 0.5 * output;
    let running = concurrency.min(places(layout, step, context));
    let n = (running / lanes).max(1.0);
    let chunk = f64::from(kernel.chunk_tokens);
    let attention_s = step.attention.at(context);
    let decode_s = step.decode_s(n, attention_s);
    let base = n * step.tokens_per_sequence;
    let mixed_s = step.prefill_s(base, input, 0.0, chunk);
    let interference_s = kernel.interference * mixed_s * (n - 1.0) / output;
    let tpot_s = decode_s / step.accepted + interference_s;
    let weight = if layout.parallel.adp > 1 {
        kernel.attention_dp_prefill
    } else {
        1.0
    };
    let prefill_s = step.prefill_s(0.0, input, 0.0, chunk);
    let served_s = kernel.ttft_fixed_s
        + kernel.closed_ttft.at(weight * prefill_s, n - 1.0)
        + kernel.ttft_steps * decode_s;
    let request_s = served_s + (output - 1.0) * tpot_s;
    let gpus = f64::from(layout.parallel.gpus());
    ClosedLoop {
        // Little's law: who waits does so for as many requests as there are per place.
        ttft_s: served_s + (concurrency / running - 1.0) * request_s,
        tpot_s,
        output_tokens_per_s_gpu: running * output / request_s / gpus,
        running,
    }
}

/// Sequences of this context that the cache holds. A run that was measured did fit: where not one
/// would, the budget is wrong (another cache format, say) and nothing is known.
fn places(layout: &Layout, step: &StepModel, context: f64) -> f64 {
    let places = sequences_in_memory(layout, step, context);
    if places < 1.0 {
        f64::INFINITY
    } else {
        places
    }
}

/// Sequences whose caches fit the replica when each has this context; below zero when weights alone
/// do not fit.
pub fn sequences_in_memory(layout: &Layout, step: &StepModel, context: f64) -> f64 {
    // Each stage holds its own layers' cache of every sequence in the pipeline.
    kv_budget_bytes(layout) / step.kv.at(context) * f64::from(layout.parallel.adp)
}
