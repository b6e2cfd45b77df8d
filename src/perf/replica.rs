//! Requests on a replica: what one request of each class costs in replica-seconds and in joules.
//!
//! With batch limit `B`, a request of class k takes `load_k = P_k/(r·pp) + σ_k·τ_k(B)/B` replica-
//! seconds: its prompt work `P_k` on one of `r` data-parallel ranks, pipelined over `pp` stages, and
//! `σ_k` decode steps shared by `B` sequences. The utilisation of any mix is `Σ f_k·load_k`, and it
//! reaches one exactly when `B` sequences are in decode at all times.

use crate::perf::closed_loop::sequences_in_memory;
use crate::perf::factors::TimeFactors;
use crate::perf::layout::Layout;
use crate::perf::memory::{kv_budget_bytes, kv_transfer_bytes};
use crate::perf::role::Role;
use crate::perf::step::{Chunks, DecodeCurve, StepModel, StepsBeside, Stretch};
use crate::workload::{Class, MAX_CLASSES};

/// What a class needs from this layout, whatever the batch limit.
#[derive(Debug, Clone, Copy)]
pub struct ClassWork {
    /// Uncached prompt tokens: mean, p50, p90, p95, p99.
    pub new: [f64; 5],
    /// Cached prompt tokens at the same points.
    pub cached: [f64; 5],
    /// `E[L²]/E[L]²` of the prompt.
    pub spread: f64,
    /// The same of the output.
    pub output_spread: f64,
    /// Decode steps per request.
    pub steps: f64,
    /// Output tokens after the first, at the percentiles.
    pub later_tokens: [f64; 5],
    /// Output tokens over which disturbances average out, at the percentiles: `1/E[1/O]` for a log-normal
    /// length, and far out, where short answers decide, `E[1/O]/E[1/O²]`.
    pub noise_tokens: [f64; 5],
    /// Decode attention per sequence and step, s, at the mean context.
    pub attention_s: f64,
    /// Decode steps of a lane when every sequence has that attention.
    pub decode: DecodeCurve,
    /// Uncached prompt tokens, cut into steps, at the mean and percentiles.
    pub prompt: [Chunks; 5],
    /// Steps that carry the prompt, at the same points.
    pub chunks: [f64; 5],
    /// Steps that the mean prompt fills.
    pub prompt_steps: f64,
    /// Matrix products of the prompt beside one decode token, s, at the same points.
    pub alone_products_s: [f64; 5],
    /// Prompt attention, s, at the percentiles.
    pub prompt_attention_s: [f64; 5],
    /// KV bytes of the longest context on one accelerator.
    pub kv_max_bytes: f64,
    /// Sequences of the mean context that memory holds.
    pub most_sequences: f64,
    /// Moving the KV cache to another pool, s, at the percentiles of the prompt.
    pub transfer_s: [f64; 5],
    /// Replica-seconds of link per request when the cache moves.
    pub transfer_load: f64,
}

impl ClassWork {
    /// Work of `class` on `layout`.
    pub fn new(layout: &Layout, step: &StepModel, class: &Class) -> Self {
        let new = class.input.at.map(|len| len * (1.0 - class.hit_rate));
        let cached = class.input.at.map(|len| len * class.hit_rate);
        let later_tokens = class.output.at.map(|len| (len - 1.0).max(0.0));
        let context = mean_context(class);
        let attention_s = step.attention.at(context);
        let chunk = f64::from(layout.kernel.chunk_tokens);
        let prompt = new.map(|tokens| Chunks::of(tokens, chunk));
        let alone = step.beside(1.0, chunk);
        let (transfer_s, transfer_load) = transfer(layout, step, class);
        Self {
            new,
            cached,
            spread: class.input.m2 / class.input.at[0].powi(2),
            output_spread: class.output.m2 / class.output.at[0].powi(2),
            steps: later_tokens[0] / step.accepted,
            later_tokens,
            noise_tokens: std::array::from_fn(|i| {
                let narrow = class.output.at[0].powi(2) / class.output.m2;
                later_tokens[0] * narrow.powi(if i == 4 { 2 } else { 1 })
            }),
            attention_s,
            decode: step.decode_curve(attention_s),
            prompt,
            chunks: new.map(|tokens| (tokens / chunk).ceil().max(1.0)),
            prompt_steps: new[0] / chunk,
            alone_products_s: prompt.map(|tokens| alone.products_s(tokens)),
            prompt_attention_s: std::array::from_fn(|i| step.prompt_attention_s(new[i], cached[i])),
            kv_max_bytes: step.kv.at(class.input.max + class.output.max),
            most_sequences: sequences_in_memory(layout, step, context),
            transfer_s,
            transfer_load,
        }
    }
}

/// Mean tokens of context of a sequence met in decode, equation (17): it is seen at a random token, so
/// its output so far has mean `E[O²]/(2E[O])`.
pub fn mean_context(class: &Class) -> f64 {
    class.input.at[0] + class.output.m2 / (2.0 * class.output.at[0])
}

/// Seconds to move a request's cache (by percentile) and replica-seconds of link it takes.
fn transfer(layout: &Layout, step: &StepModel, class: &Class) -> ([f64; 5], f64) {
    let Some(bw) = layout.system.scale_out_bw else {
        return ([f64::INFINITY; 5], f64::INFINITY);
    };
    let rank = bw * f64::from(layout.parallel.tp * layout.parallel.pp);
    let seconds = class
        .input
        .at
        .map(|len| kv_transfer_bytes(layout, &step.kv, len) / rank);
    (seconds, seconds[0] / f64::from(layout.parallel.adp))
}

/// One request of a class on a replica with a batch limit.
#[derive(Debug, Clone, Copy)]
pub struct ClassTimes {
    /// Replica-seconds per request at a full batch.
    pub load: f64,
    /// Decode step of a full batch, s.
    pub full_s: f64,
    /// Replica-seconds of prompt work per request, weighted by its interference with decode.
    pub prompt_load: f64,
    /// How long a prompt holds its rank, s, at the mean and percentiles of length, while a full batch
    /// decodes: its work, weighted by its interference with decode.
    pub prompt_s: [f64; 5],
    /// What is added to that beside one decode token, where the prompt loads the weights itself, and may
    /// find no decode to interfere with, s.
    pub alone_s: [f64; 5],
    /// What is then added to `prompt_load`.
    pub alone_load: f64,
    /// Steps that carry the prompt, at the percentiles.
    pub chunks: [f64; 5],
    /// Decode attention per sequence and step, s.
    pub attention_s: f64,
    /// Decode steps per request.
    pub steps: f64,
}

/// A layout with a batch limit: the unit that is rated, powered and paid.
#[derive(Debug, Clone)]
pub struct Replica<'a> {
    /// Steps of the layout.
    pub step: &'a StepModel,
    /// Work per class.
    pub work: &'a [ClassWork],
    /// Role.
    pub role: Role,
    /// Sequences in decode at most, on the whole replica.
    pub batch: f64,
    /// Stretch of the decode step that a full batch falls on.
    pub last_stretch: usize,
    /// Data-parallel ranks.
    pub ranks: f64,
    /// Pipeline stages.
    pub stages: f64,
    /// Prompt tokens in one step.
    pub chunk: f64,
    /// Most time that a chunk of prompt adds to a decode step, s.
    pub chunk_s: f64,
    /// Fixed part of TTFT, s.
    pub ttft_fixed_s: f64,
    /// Decode steps a first token waits for.
    pub ttft_steps: f64,
    /// What measurements say about the times; `classes` are the model's own.
    pub factors: TimeFactors,
    /// Times per class.
    pub classes: Vec<ClassTimes>,
}

impl<'a> Replica<'a> {
    /// Rates every class at a full batch of `batch` sequences.
    pub fn new(layout: &Layout, step: &'a StepModel, work: &'a [ClassWork], batch: u32) -> Self {
        let mut replica = Self {
            step,
            work,
            role: layout.role,
            batch: f64::from(batch),
            last_stretch: 0,
            ranks: f64::from(layout.parallel.adp),
            stages: f64::from(layout.parallel.pp),
            chunk: f64::from(layout.kernel.chunk_tokens),
            chunk_s: 0.0,
            ttft_fixed_s: layout.kernel.ttft_fixed_s,
            ttft_steps: layout.kernel.ttft_steps,
            factors: layout.factors,
            classes: Vec::with_capacity(work.len()),
        };
        let base = replica.base_tokens();
        replica.last_stretch = replica.stretch_of(replica.batch);
        replica.chunk_s = step.most_added_s(base, replica.chunk);
        let (full, interference) = (step.beside(base, replica.chunk), layout.kernel.interference);
        for class in work {
            let times = replica.class_times(class, full, interference);
            replica.classes.push(times);
        }
        replica
    }

    /// Factor on replica-seconds and joules of a request.
    pub fn load_factor(&self) -> f64 {
        self.factors.load(self.role)
    }

    /// Batches in flight at once: data-parallel ranks times stages.
    pub fn lanes(&self) -> f64 {
        self.ranks * self.stages
    }

    /// Time of a decode step with `n` sequences on the replica, each with `attention_s`, s.
    pub fn tau(&self, n: f64, attention_s: f64) -> f64 {
        self.step.decode_s(n / self.lanes(), attention_s)
    }

    /// A sequence's own place on each lane, as one in decode finds them: one, where there are as many.
    pub fn own(&self) -> f64 {
        self.lanes().min(self.batch)
    }

    /// Share of the mean number of sequences that one among them finds beside its own place.
    pub fn others(&self) -> f64 {
        1.0 - self.own() / self.batch
    }

    /// Sequences as one in decode finds them, where there are `n` on average and each lane is as its own:
    /// itself and what B−1 others would be, `1 + n·(B−1)/B` on a lane of B places (P. Schweitzer,
    /// *Approximate analysis of multiclass closed networks of queues*, 1979).
    pub fn met(&self, n: f64) -> f64 {
        self.own() + n * self.others()
    }

    /// A sequence's part of a decode step of class `k` when memory is full, s.
    pub fn densest_s(&self, k: usize) -> f64 {
        let most = self.work[k].most_sequences.max(self.batch);
        self.tau(most, self.classes[k].attention_s) / most
    }

    /// The stretch of [`Self::tau`] that `n` sequences on the replica fall on.
    pub fn stretch_of(&self, n: f64) -> usize {
        self.step.stretch_of(n / (self.ranks * self.stages))
    }

    /// Stretch `i` of [`Self::tau`].
    pub fn tau_stretch(&self, i: usize, attention_s: f64) -> Stretch {
        let lanes = self.ranks * self.stages;
        let on_a_lane = self.step.decode_stretch(i, attention_s);
        Stretch {
            from: on_a_lane.from * lanes,
            fixed_s: on_a_lane.fixed_s,
            slope_s: on_a_lane.slope_s / lanes,
            host_s: on_a_lane.host_s / lanes,
            host_half: on_a_lane.host_half * lanes,
        }
    }

    /// Decode tokens in each step of a full batch, on one rank and stage.
    fn base_tokens(&self) -> f64 {
        match self.role {
            Role::Prefill(_) => 0.0,
            _ => self.batch / self.lanes() * self.step.tokens_per_sequence,
        }
    }

    /// `full`: steps that carry a full batch.
    fn class_times(&self, work: &ClassWork, full: StepsBeside, interference: f64) -> ClassTimes {
        let products_s = work.prompt.map(|tokens| full.products_s(tokens));
        let work_s: [f64; 5] = std::array::from_fn(|i| products_s[i] + work.prompt_attention_s[i]);
        let (prompt_s, alone_s, alone_load_s) = match self.role {
            Role::Serve => {
                let held_s = work_s.map(|s| interference * s);
                let alone = |i: usize| work.alone_products_s[i] + work.prompt_attention_s[i];
                let slowest = interference.max(1.0);
                let alone_s = std::array::from_fn(|i| slowest * alone(i) - held_s[i]);
                (held_s, alone_s, interference * (alone(0) - work_s[0]))
            }
            _ => (work_s, [0.0; 5], 0.0),
        };
        let full_s = self.tau(self.batch, work.attention_s);
        let lanes = self.lanes();
        let decode_load = work.steps * full_s / self.batch;
        // The attention part grows with the square of the prompt, so its mean is above that of the mean prompt.
        let mean_prompt = work_s[0] + work.prompt_attention_s[0] * (work.spread - 1.0);
        let (load, prompt_load) = match self.role {
            Role::Serve => {
                let prompt = interference * mean_prompt / lanes;
                (prompt + decode_load, prompt)
            }
            Role::Prefill(_) => {
                let overhead = self.step.overhead_s * work.chunks[0];
                let prompt = (mean_prompt + overhead) / lanes;
                (prompt.max(work.transfer_load), prompt)
            }
            Role::Decode(_) => (decode_load.max(work.transfer_load), 0.0),
        };
        ClassTimes {
            load,
            full_s,
            prompt_load,
            prompt_s,
            alone_s,
            alone_load: alone_load_s / lanes,
            chunks: work.chunks,
            attention_s: work.attention_s,
            steps: work.steps,
        }
    }
}

/// Sequences of these KV sizes that fit one replica at once.
pub fn sequences_that_fit(layout: &Layout, kv_max_bytes: f64) -> f64 {
    sequences_in(kv_budget_bytes(layout), layout, kv_max_bytes)
}

/// The same in a budget that is known: [`kv_budget_bytes`] of the layout.
pub fn sequences_in(budget_bytes: f64, layout: &Layout, kv_max_bytes: f64) -> f64 {
    let per_rank = budget_bytes / kv_max_bytes;
    // Each stage holds its own layers' cache of every sequence in the pipeline.
    (per_rank.max(0.0)).floor() * f64::from(layout.parallel.adp)
}

/// Sequences that must fit at once: the batch, or one prompt per rank in a prefill pool.
pub fn needed_sequences(layout: &Layout, batch: u32) -> f64 {
    match layout.role {
        Role::Prefill(_) => f64::from(layout.parallel.adp),
        _ => f64::from(batch),
    }
}

/// Joules of one request of class `k` above a replica that stands loaded, all its accelerators together.
///
/// Its decode steps count as those of a replica whose memory is full: a fuller one draws more, in
/// proportion to what it serves.
pub fn request_joules(layout: &Layout, replica: &Replica, k: usize) -> f64 {
    let (times, system) = (&replica.classes[k], layout.system);
    let standing = layout.standing_w_gpu();
    let prompt_j = times.prompt_load * (system.prefill_w - standing);
    let decode_j = match replica.role {
        Role::Prefill(_) => 0.0,
        _ => times.steps * replica.densest_s(k) * (system.decode_w - standing),
    };
    f64::from(layout.parallel.gpus()) * replica.load_factor() * (prompt_j + decode_j)
}

/// [`request_joules`] of each class.
pub fn class_joules(layout: &Layout, replica: &Replica) -> [f64; MAX_CLASSES] {
    let mut joules = [f64::INFINITY; MAX_CLASSES];
    for (k, of_class) in joules.iter_mut().enumerate().take(replica.classes.len()) {
        *of_class = request_joules(layout, replica, k);
    }
    joules
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::operator_tables::OperatorTables;
    use crate::perf::parallel::Parallel;
    use crate::workload::Spec;

    fn spec() -> Spec {
        Spec::from_json(include_str!("../../benches/spec.json")).unwrap()
    }

    /// Calls `f` on a replica of the dense model.
    fn with<T>(spec: &Spec, role: Role, batch: u32, f: impl FnOnce(&Layout, &Replica) -> T) -> T {
        let layout = Layout {
            spec,
            system: &spec.systems[1],
            kernel: spec.kernel(1, 0).unwrap(),
            model: &spec.models[0],
            precision: &spec.precisions[0],
            kv: 0,
            parallel: Parallel {
                tp: 2,
                pp: 2,
                ep: 1,
                adp: 1,
            },
            speculation: spec.workloads[0].speculation[0],
            role,
            factors: TimeFactors::ONE,
        };
        let tables = OperatorTables::build(&layout).unwrap();
        let step = StepModel::build(&layout, &tables).unwrap();
        let classes = &spec.workloads[0].classes;
        let work: Vec<ClassWork> = classes
            .iter()
            .map(|class| ClassWork::new(&layout, &step, class))
            .collect();
        f(&layout, &Replica::new(&layout, &step, &work, batch))
    }

    #[test]
    fn class_work_by_hand() {
        let spec = spec();
        with(&spec, Role::Serve, 32, |_, replica| {
            let short = &replica.work[0];
            // Prompts of 1,000 tokens on average, a fifth of them cached; 200 tokens of output.
            assert_eq!(
                (short.new[0], short.cached[0], short.steps),
                (800.0, 200.0, 199.0)
            );
            assert!((short.spread - 2.0).abs() < 1e-12);
            // E[L] + E[O²]/(2E[O]) = 1,000 + 2·200²/400.
            assert_eq!(short.attention_s, replica.step.attention.at(1200.0));
            assert_eq!(short.kv_max_bytes, replica.step.kv.at(8.0 * 1200.0));
        });
    }

    #[test]
    fn one_in_decode_meets_itself_and_the_others() {
        let spec = spec();
        // Two stages with four places each: alone, at three on average (3·3/4 + 2), and in a full batch.
        let met = |n: f64| with(&spec, Role::Serve, 8, |_, replica| replica.met(n));
        assert_eq!([0.0, 3.0, 8.0].map(met), [2.0, 4.25, 8.0]);
        // One place for two stages: nobody else is ever there.
        let one = with(&spec, Role::Serve, 1, |_, replica| replica.met(0.5));
        assert_eq!(one, 1.0);
    }

    #[test]
    fn load_of_a_serving_replica_is_that_of_its_two_phases() {
        let spec = spec();
        with(&spec, Role::Serve, 32, |layout, replica| {
            for (times, work) in replica.classes.iter().zip(replica.work) {
                let decode = times.steps * replica.tau(32.0, times.attention_s) / 32.0;
                assert!((times.load - times.prompt_load - decode).abs() < 1e-12 * times.load);
                // Two stages share the prompt; its attention grows with the square of its length.
                let longer = work.prompt_attention_s[0] * (work.spread - 1.0);
                let prompt = (times.prompt_s[0] + layout.kernel.interference * longer) / 2.0;
                assert!((times.prompt_load - prompt).abs() < 1e-12 * prompt);
            }
        });
    }

    #[test]
    fn a_pool_waits_for_its_link_when_that_is_slower() {
        let mut spec = spec();
        let load = |spec: &Spec, role| with(spec, role, 32, |_, replica| replica.classes[1].load);
        let (prefill, decode) = (load(&spec, Role::Prefill(0)), load(&spec, Role::Decode(0)));
        spec.systems[1].scale_out_bw = Some(1e6);
        // 16,000 tokens of 32,768 bytes on each accelerator, at 1 MB/s.
        let link = 16_000.0 * 32_768.0 / 1e6;
        assert!(prefill < link && decode < link);
        assert!((load(&spec, Role::Prefill(0)) - link).abs() < 1e-9 * link);
        assert!((load(&spec, Role::Decode(0)) - link).abs() < 1e-9 * link);
    }

    #[test]
    fn joules_add_up_over_the_roles() {
        let spec = spec();
        let joules = |role| with(&spec, role, 32, |layout, r| request_joules(layout, r, 0));
        let (prefill, decode) = (joules(Role::Prefill(0)), joules(Role::Decode(0)));
        assert!(prefill > 0.0 && decode > 0.0);
        // Whatever the batch is limited to, a decode step counts as that of full memory.
        let alone = with(&spec, Role::Decode(0), 1, |l, r| request_joules(l, r, 0));
        assert!((alone - decode).abs() < 1e-9 * decode);
        with(&spec, Role::Decode(0), 32, |layout, replica| {
            let times = &replica.classes[0];
            let most = replica.work[0].most_sequences;
            assert!(most > 32.0);
            let seconds = times.steps * replica.tau(most, times.attention_s) / most;
            // Four accelerators, 1,200 W in decode, 800 W of them as soon as there is any.
            assert!((decode - 4.0 * seconds * 400.0).abs() < 1e-9 * decode);
            assert_eq!(
                sequences_that_fit(layout, kv_budget_bytes(layout) / 2.5),
                2.0
            );
            assert_eq!(sequences_that_fit(layout, f64::INFINITY), 0.0);
        });
    }
}
