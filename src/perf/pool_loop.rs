//! Closed loop of separate pools: prompts are read by one pool of workers and answered by another.
//!
//! Forms: `docs/model.md`, "Closed loop of separate pools".

use serde::Serialize;

use crate::perf::closed_loop::sequences_in_memory;
use crate::perf::layout::Layout;
use crate::perf::memory::kv_transfer_bytes;
use crate::perf::step::StepModel;

/// Halvings of the sequences in decode.
const HALVINGS: usize = 60;
/// Least tokens after the first: a prompt without an answer holds no place in decode.
const LEAST_LATER: f64 = 1e-3;

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
#[derive(Debug, Clone, Copy, Serialize)]
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

/// Prompts on the ranks that read them.
struct Reading {
    /// How long a prompt holds its rank, s.
    prompt_s: f64,
    ranks: f64,
    /// Requests beside one on its rank.
    others: f64,
    /// TTFT without the queue and without decode, s.
    served_s: f64,
}

impl Reading {
    /// `None` where the cache has no link to go over.
    fn new(pool: &Pool, concurrency: f64, input: f64) -> Option<Self> {
        let (layout, step, kernel) = (pool.layout, pool.step, pool.layout.kernel);
        let parallel = layout.parallel;
        let chunk = f64::from(kernel.chunk_tokens);
        let weight = if parallel.adp > 1 {
            kernel.attention_dp_prefill
        } else {
            1.0
        };
        let work_s = weight * step.prefill_s(0.0, input, 0.0, chunk);
        let prompt_s = work_s + (input / chunk).ceil() * step.overhead_s;
        let link = layout.system.scale_out_bw? * f64::from(parallel.tp * parallel.pp);
        let transfer_s = kv_transfer_bytes(layout, &step.kv, input) / link;
        let ranks = pool.lanes();
        let others = (concurrency / ranks - 1.0).max(0.0);
        let own_s = kernel.closed_ttft.at(prompt_s, others);
        Some(Self {
            prompt_s,
            ranks,
            others,
            served_s: kernel.ttft_fixed_s + transfer_s + own_s,
        })
    }

    /// TTFT without decode at so many requests/s: a request finds the queue that the others make.
    fn ttft_s(&self, requests_per_s: f64) -> f64 {
        let busy = requests_per_s * self.prompt_s / self.ranks * self.others / (self.others + 1.0);
        if busy >= 1.0 {
            return f64::INFINITY;
        }
        self.served_s + self.prompt_s * busy / (1.0 - busy)
    }
}

/// Answers on the workers that decode.
struct Answering<'a> {
    pool: &'a Pool<'a>,
    attention_s: f64,
    later_tokens: f64,
    /// Sequences that the cache holds.
    places: f64,
}

impl<'a> Answering<'a> {
    fn new(pool: &'a Pool, input: f64, output: f64) -> Self {
        let context = input + 0.5 * output;
        let places = pool.workers * sequences_in_memory(pool.layout, pool.step, context);
        Self {
            pool,
            attention_s: pool.step.attention.at(context),
            later_tokens: (output - 1.0).max(LEAST_LATER),
            // A run that was measured did fit: where not one sequence would, the budget is wrong.
            places: if places < 1.0 { f64::INFINITY } else { places },
        }
    }

    /// What requests meet while `decoding` of them decode.
    fn at(&self, decoding: f64, reading: &Reading) -> Met {
        let lane = (decoding / self.pool.lanes()).max(1.0);
        let step_s = self.pool.step.decode_s(lane, self.attention_s);
        let tpot_s = step_s / self.pool.step.accepted;
        let requests_per_s = decoding / (self.later_tokens * tpot_s);
        let steps_s = self.pool.layout.kernel.ttft_steps * step_s;
        Met {
            ttft_s: reading.ttft_s(requests_per_s) + steps_s,
            tpot_s,
            requests_per_s,
        }
    }
}

/// What a request meets.
struct Met {
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
    let reading = Reading::new(prefill, concurrency, input)?;
    let answering = Answering::new(decode, input, output);
    let decoding = requests_in_decode(&reading, &answering, concurrency);
    let mut met = answering.at(decoding, &reading);
    if decoding > answering.places {
        // Who has no place in the cache waits for one before the first token, by Little's law.
        met = answering.at(answering.places, &reading);
        met.ttft_s = concurrency / met.requests_per_s - answering.later_tokens * met.tpot_s;
    }
    let tokens_per_s = met.requests_per_s * output;
    Some(PoolLoop {
        ttft_s: met.ttft_s,
        tpot_s: met.tpot_s,
        output_tokens_per_s_gpu: tokens_per_s / (prefill.gpus() + decode.gpus()),
        output_tokens_per_s_decode_gpu: tokens_per_s / decode.gpus(),
    })
}

/// Requests in decode when those and the ones before their first token are `concurrency`, by halving.
fn requests_in_decode(reading: &Reading, answering: &Answering, concurrency: f64) -> f64 {
    let (mut few, mut many) = (0.0, concurrency);
    for _ in 0..HALVINGS {
        let decoding = 0.5 * (few + many);
        let met = answering.at(decoding, reading);
        if decoding + met.requests_per_s * met.ttft_s < concurrency {
            few = decoding;
        } else {
            many = decoding;
        }
    }
    few
}
