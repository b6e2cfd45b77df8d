//! Closed loop of separate pools: prompts are read by one pool of workers and answered by another.
//!
//! Forms: `docs/model.md`, "Closed loop of separate pools".

use crate::perf::closed_loop::sequences_in_memory;
use crate::perf::layout::Layout;
use crate::perf::memory::kv_transfer_bytes;
use crate::perf::step::StepModel;

/// Halvings of the sequences in decode.
const HALVINGS: usize = 60;

/// So many workers of one layout.
#[derive(Debug, Clone, Copy)]
pub struct Pool<'a> {
    /// Layout of a worker.
    pub layout: &'a Layout<'a>,
    /// Steps of a worker.
    pub step: &'a StepModel,
    /// Workers.
    pub workers: f64,
}

impl Pool<'_> {
    /// Batches in flight at once.
    fn lanes(&self) -> f64 {
        let parallel = self.layout.parallel;
        self.workers * f64::from(parallel.adp * parallel.pp)
    }

    /// Accelerators.
    fn gpus(&self) -> f64 {
        self.workers * f64::from(self.layout.parallel.gpus())
    }
}

/// Means of a closed-loop run on two pools.
#[derive(Debug, Clone, Copy)]
pub struct PoolLoop {
    /// Time to first token, s.
    pub ttft_s: f64,
    /// Time per output token after the first, s.
    pub tpot_s: f64,
    /// Output tokens per second and accelerator of both pools.
    pub output_tokens_per_s_gpu: f64,
    /// The same per accelerator that decodes.
    pub output_tokens_per_s_decode_gpu: f64,
}

/// What a request meets beside so many others.
struct Times {
    ttft_s: f64,
    tpot_s: f64,
    requests_per_s: f64,
}

/// Evaluates `concurrency` requests of `input` prompt and `output` generated tokens; `None` where the
/// cache has no link to go over.
pub fn pool_loop(
    prefill: &Pool,
    decode: &Pool,
    concurrency: f64,
    input: f64,
    output: f64,
) -> Option<PoolLoop> {
    let kernel = prefill.layout.kernel;
    let chunk = f64::from(kernel.chunk_tokens);
    let chunks = (input / chunk).ceil();
    let weight = if prefill.layout.parallel.adp > 1 {
        kernel.attention_dp_prefill
    } else {
        1.0
    };
    let prompt_s =
        weight * prefill.step.prefill_s(0.0, input, 0.0, chunk) + chunks * prefill.step.overhead_s;
    let link = prefill.layout.system.scale_out_bw?
        * f64::from(prefill.layout.parallel.tp * prefill.layout.parallel.pp);
    let transfer_s = kv_transfer_bytes(prefill.layout, &prefill.step.kv, input) / link;
    let context = input + 0.5 * output;
    let attention_s = decode.step.attention.at(context);
    let places = decode.workers * sequences_in_memory(decode.layout, decode.step, context);
    let later = (output - 1.0).max(1e-3);
    let prompts = prefill.lanes();
    let others = (concurrency / prompts - 1.0).max(0.0);
    let served_s = kernel.ttft_fixed_s + transfer_s + kernel.closed_ttft.at(prompt_s, others);
    let at = |decoding: f64| {
        let lane = (decoding / decode.lanes()).max(1.0);
        let step_s = decode.step.decode_s(lane, attention_s);
        let tpot_s = step_s / decode.step.accepted;
        let requests_per_s = decoding / (later * tpot_s);
        // A request finds the queue that the others make (Schweitzer).
        let busy = requests_per_s * prompt_s / prompts * others / (others + 1.0);
        let queue_s = if busy < 1.0 {
            prompt_s * busy / (1.0 - busy)
        } else {
            f64::INFINITY
        };
        Times {
            ttft_s: served_s + queue_s + decode.layout.kernel.ttft_steps * step_s,
            tpot_s,
            requests_per_s,
        }
    };
    let (mut few, mut many) = (0.0, concurrency);
    for _ in 0..HALVINGS {
        let decoding = 0.5 * (few + many);
        let times = at(decoding);
        if decoding + times.requests_per_s * times.ttft_s < concurrency {
            few = decoding;
        } else {
            many = decoding;
        }
    }
    let mut times = at(few);
    if places >= 1.0 && few > places {
        // Who has no place in the cache waits for one before the first token, by Little's law.
        times = at(places);
        times.ttft_s = concurrency / times.requests_per_s - later * times.tpot_s;
    }
    let output_tokens_per_s = times.requests_per_s * output;
    Some(PoolLoop {
        ttft_s: times.ttft_s,
        tpot_s: times.tpot_s,
        output_tokens_per_s_gpu: output_tokens_per_s / (prefill.gpus() + decode.gpus()),
        output_tokens_per_s_decode_gpu: output_tokens_per_s / decode.gpus(),
    })
}
