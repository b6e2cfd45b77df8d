//! `step_time`: how long one engine step takes for a batch composition. Operating points, the
//! closed-loop form and the request-level simulator all stand on this one function.
//!
//! What depends on the layout alone (matrix products, experts, collectives over a token count) is
//! tabulated once at powers of two and interpolated; what depends on contexts is linear in them.

use crate::catalog::{selected, Attention, DecodeAttentionFit, FeedForward, LayerGroup};
use crate::perf::layout::{
    attention_products, dense_products, head_product, local_heads, Layout, Product,
};
use crate::perf::memory::{kv_bytes, linear_state_elements, row_bytes, ContextCost};
use crate::perf::operators::{
    exchange_over, gemm, moe, p_norm, prefill_attention, reduce_over, transfer, MoeShape, Time,
};
use crate::perf::role::Role;

/// Table nodes are `2^0 … 2^(NODES−1)` tokens.
const NODES: usize = 18;
/// Bytes of a bf16 activation.
const BF16: f64 = 2.0;
/// Reads and writes of the residual stream per part of a layer (a norm, a residual addition).
const PART_PASSES: f64 = 4.0;
/// Bytes per token and hidden unit in one expert exchange: fp8 out, bf16 back, on average.
const EXCHANGE_BYTES: f64 = 1.5;

/// Tokens at node `i` of a table.
fn node(i: usize) -> f64 {
    (1u64 << i) as f64
}

/// Time over token counts, s: exact at powers of two, linear between them.
#[derive(Debug, Clone, Copy)]
pub struct TokenTable([f64; NODES]);

impl TokenTable {
    #[cfg(test)]
    fn build(f: impl Fn(f64) -> f64) -> Self {
        Self(std::array::from_fn(|i| f(node(i))))
    }

    /// Time of `tokens`; below one token it is that of one, past the last node it is extended.
    pub fn at(&self, tokens: f64) -> f64 {
        let tokens = tokens.max(1.0);
        let i = ((tokens as u64).ilog2() as usize).min(NODES - 2);
        let low = (1u64 << i) as f64;
        self.0[i] + (self.0[i + 1] - self.0[i]) * (tokens - low) / low
    }

    /// Extra time of `added` tokens in a step that already has `base`.
    pub fn added(&self, base: f64, added: f64) -> f64 {
        if added <= 0.0 {
            return 0.0;
        }
        if base < 1.0 {
            return self.at(added) * added.min(1.0);
        }
        self.at(base + added) - self.at(base)
    }
}

/// A stretch of the time of a decode step over its sequences n, from `from` to the next stretch:
/// `fixed_s + slope_s·n + host_s·n/(1 + n/host_half)`.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    /// Sequences where it begins.
    pub from: f64,
    /// Part that no sequence changes, s.
    pub fixed_s: f64,
    /// Accelerator's time per sequence, s.
    pub slope_s: f64,
    /// Engine's time per sequence, s, while steps are short.
    pub host_s: f64,
    /// Sequences at which half of that is hidden.
    pub host_half: f64,
}

impl Stretch {
    /// Step time of `n` sequences, s.
    #[inline(always)]
    pub fn at(&self, n: f64) -> f64 {
        self.fixed_s + n * (self.slope_s + self.host_s / (1.0 + n * (1.0 / self.host_half)))
    }

    /// Root of `n = own + steps·τ(n)`: sequences that one in decode finds, `own` included, at so many
    /// steps per second, by Little's law.
    ///
    /// τ makes it a quadratic with one positive root, taken in the form that does not cancel.
    #[inline(always)]
    pub fn in_steady_state(&self, own: f64, steps: f64) -> f64 {
        let c = own + steps * self.fixed_s;
        let left = 1.0 - steps * self.slope_s;
        let per_half = 1.0 / self.host_half;
        let a = left * per_half;
        let b = left - steps * self.host_s - c * per_half;
        let root = (b * b + 4.0 * a * c).sqrt();
        let (over, under) = if b > 0.0 {
            (2.0 * c, b + root)
        } else {
            (root - b, 2.0 * a)
        };
        over / under
    }
}

/// Most stretches of a decode step: below one token, then between the nodes of the table.
pub const STRETCHES: usize = NODES;

/// Sequences that one in decode finds on its lane, itself included, at `rate` steps per second: the
/// largest root of `n = 1 + rate·τ(n)`. `last_first` are the stretches of τ from the last to the first,
/// each with `τ(from)`.
///
/// Between the nodes of its table `τ` has a closed root.
fn largest_root(rate: f64, mut last_first: impl Iterator<Item = (Stretch, f64)>) -> f64 {
    last_first
        .find(|(stretch, from_s)| stretch.from <= 1.0 + rate * from_s)
        .map_or(1.0, |(stretch, _)| stretch.in_steady_state(1.0, rate))
}

/// Decode steps of a lane over its sequences, each with the same attention.
#[derive(Debug, Clone, Copy)]
pub struct DecodeCurve {
    /// Each stretch with the step time where it begins, s.
    stretches: [(Stretch, f64); STRETCHES],
}

impl DecodeCurve {
    /// As [`StepModel::in_steady_state`], with the stretches already there.
    pub fn in_steady_state(&self, rate: f64, last: usize) -> f64 {
        largest_root(rate, self.stretches[..=last].iter().rev().copied())
    }
}

/// Attention over a prompt: quadratic in its new tokens, linear in the cached ones.
#[derive(Debug, Clone, Copy)]
struct PromptAttention {
    layers: f64,
    /// flop per (query, key) pair.
    pair_flop: f64,
    /// Operand bytes per new token.
    token_bytes: f64,
    window: f64,
}

/// Engine steps of one layout.
#[derive(Debug, Clone)]
pub struct StepModel {
    decode: TokenTable,
    prefill: TokenTable,
    /// Decode attention per sequence, s, over its context.
    pub attention: ContextCost,
    /// KV bytes per sequence on one accelerator.
    pub kv: ContextCost,
    prompt: Vec<PromptAttention>,
    prompt_fit: crate::catalog::PrefillAttentionFit,
    attention_launch: f64,
    sequence_s: f64,
    sequence_half: f64,
    stage_transfer_s: f64,
    /// Time of drafting, as a factor on the step.
    draft: f64,
    /// Tokens per sequence entering the matrix products of a decode step.
    pub tokens_per_sequence: f64,
    /// Tokens accepted per sequence and step.
    pub accepted: f64,
    /// Engine time of a step without any work, s.
    pub overhead_s: f64,
}

/// New tokens of a prompt, cut into steps.
#[derive(Debug, Clone, Copy, Default)]
pub struct Chunks {
    whole: f64,
    rest: f64,
}

impl Chunks {
    /// `new` tokens in steps of at most `chunk`.
    pub fn of(new: f64, chunk: f64) -> Self {
        let whole = (new / chunk).floor();
        Self {
            whole,
            rest: new - whole * chunk,
        }
    }
}

/// Steps that carry some decode tokens, as prompts find them.
#[derive(Debug, Clone, Copy)]
pub struct StepsBeside<'a> {
    table: &'a TokenTable,
    base: f64,
    chunk_s: f64,
}

impl StepsBeside<'_> {
    /// Time that the matrix products of a prompt add, s.
    pub fn products_s(&self, prompt: Chunks) -> f64 {
        prompt.whole * self.chunk_s + self.table.added(self.base, prompt.rest)
    }
}

/// Operator tables of (system, engine, model, precision, tp, ep, adp): what every context, batch,
/// pipeline depth, KV dtype, speculative depth and role shares.
#[derive(Debug, Clone, Copy)]
pub struct OperatorTables {
    decode: TokenTable,
    prefill: TokenTable,
}

impl OperatorTables {
    /// `None` when the accelerator has no kernel for a dtype or no link for the group.
    pub fn build(layout: &Layout) -> Option<Self> {
        let mut tables = Self::EMPTY;
        let products = Products::of(layout);
        for i in 0..NODES {
            (tables.decode.0[i], tables.prefill.0[i]) = work_at(layout, &products, node(i))?;
        }
        Some(tables)
    }

    /// Whether [`Self::build`] gives any: kernels and links have figures for every number of tokens or for
    /// none.
    fn exist(layout: &Layout) -> bool {
        work_at(layout, &Products::of(layout), node(0)).is_some()
    }

    const EMPTY: Self = Self {
        decode: TokenTable([0.0; NODES]),
        prefill: TokenTable([0.0; NODES]),
    };
}

/// Decode and prefill work of a step of `tokens`, s.
fn work_at(layout: &Layout, products: &Products, tokens: f64) -> Option<(f64, f64)> {
    let ops = operators(layout, products, tokens)?;
    let decode = decode_work(layout, &ops, tokens)?;
    Some((decode, prefill_work(layout, &ops)))
}

/// Matrix products of one layer of each group on one rank, the routed experts left out.
struct Products {
    /// Each shape once: groups of layers share most of theirs.
    shapes: Vec<Product>,
    /// By group, the places of its own.
    of_group: Vec<Vec<usize>>,
}

impl Products {
    fn of(layout: &Layout) -> Self {
        let mut shapes: Vec<Product> = Vec::new();
        let mut place = |product: Product| {
            let known = shapes.iter().position(|shape| *shape == product);
            known.unwrap_or_else(|| {
                shapes.push(product);
                shapes.len() - 1
            })
        };
        let of_group = |group: &LayerGroup| {
            let attention = attention_products(layout, &group.attention);
            let dense = dense_products(layout, &group.ffn);
            attention.into_iter().chain(dense).map(&mut place).collect()
        };
        let of_group = layout.model.layers.iter().map(of_group).collect();
        Self { shapes, of_group }
    }
}

/// Sum of the operators of a whole model over one token count, before multipliers.
struct Operators {
    gemm: Time,
    moe: Time,
    comm: f64,
    elementwise: f64,
}

fn decode_work(layout: &Layout, ops: &Operators, tokens: f64) -> Option<f64> {
    let s = &layout.kernel.scales;
    let head = product_time(layout, &head_product(layout), tokens)?;
    let layers = f64::from(layout.model.layer_count());
    let uneven = imbalance(layout);
    Some(
        s.gemm * (ops.gemm.work + head.work)
            + s.gemm_t0 * (ops.gemm.t0 + head.t0)
            + s.moe * uneven * ops.moe.work
            + s.moe_t0 * ops.moe.t0
            + s.comm * uneven * ops.comm
            + ops.elementwise
            + layers * layout.kernel.layer_s
            + indexed_layers(layout) * layout.kernel.index_s
            + layout.kernel.step_s,
    )
}

/// Layers whose attention chooses its tokens by a sparse index.
fn indexed_layers(layout: &Layout) -> f64 {
    layout.sum_layers(|group| match group.attention {
        Attention::Gqa { index_heads, .. }
        | Attention::Mla { index_heads, .. }
        | Attention::Compressed { index_heads, .. }
            if index_heads > 0 =>
        {
            1.0
        }
        _ => 0.0,
    })
}

fn prefill_work(layout: &Layout, ops: &Operators) -> f64 {
    let s = &layout.kernel.scales;
    let uneven = imbalance(layout);
    s.gemm * ops.gemm.work
        + s.prefill_moe * uneven * ops.moe.work
        + s.prefill_comm * uneven * ops.comm
        + ops.elementwise
}

/// Ranks of data-parallel attention hold different numbers of tokens; experts and exchanges end with
/// the fullest.
fn imbalance(layout: &Layout) -> f64 {
    if layout.parallel.adp > 1 {
        layout.kernel.attention_dp_experts
    } else {
        1.0
    }
}

fn operators(layout: &Layout, products: &Products, tokens: f64) -> Option<Operators> {
    let of_shape = |product| product_time(layout, product, tokens);
    let of_shapes: Option<Vec<Time>> = products.shapes.iter().map(of_shape).collect();
    let of_shapes = of_shapes?;
    let mut sum = Operators {
        gemm: Time::default(),
        moe: Time::default(),
        comm: 0.0,
        elementwise: 0.0,
    };
    for (group, shapes) in layout.model.layers.iter().zip(&products.of_group) {
        let layers = f64::from(group.count);
        for t in shapes.iter().map(|shape| of_shapes[*shape]) {
            sum.gemm.t0 += layers * t.t0;
            sum.gemm.work += layers * t.work;
        }
        let experts = experts_time(layout, &group.ffn, tokens)?;
        sum.moe.t0 += layers * experts.t0;
        sum.moe.work += layers * experts.work;
        sum.comm += layers * collectives(layout, group, tokens)?;
        sum.elementwise += layers * elementwise(layout, group, tokens);
    }
    Some(sum)
}

fn product_time(layout: &Layout, product: &Product, tokens: f64) -> Option<Time> {
    let fit = layout.kernel.gemm.get(product.dtype)?.as_ref()?;
    Some(gemm(
        fit,
        tokens,
        product.n,
        product.k,
        layout.weight_bytes(product.dtype),
    ))
}

fn experts_time(layout: &Layout, ffn: &FeedForward, tokens: f64) -> Option<Time> {
    let FeedForward::Moe {
        experts,
        topk,
        inter,
        ..
    } = *ffn
    else {
        return Some(Time::default());
    };
    let dtype = layout.precision.experts;
    let fit = layout.kernel.moe.get(dtype)?.as_ref()?;
    let shape = MoeShape {
        experts: f64::from(experts),
        topk: f64::from(topk),
        hidden: ffn.expert_width(layout.model.hidden),
        matrices: ffn.matrices(),
        inter: f64::from(inter),
        tp: f64::from(layout.parallel.expert_tp()),
        ep: f64::from(layout.parallel.ep),
        weight_bytes: layout.weight_bytes(dtype),
    };
    let all = tokens * f64::from(layout.parallel.adp);
    Some(moe(fit, &shape, all, tokens))
}

/// One collective after attention and one after the feed-forward part, where a layer has them.
fn collectives(layout: &Layout, group: &LayerGroup, tokens: f64) -> Option<f64> {
    let p = layout.parallel;
    let domain = layout.system.scale_up_domain;
    let bytes = tokens * f64::from(layout.model.hidden) * BF16;
    let reduce = reduce_over(layout.kernel, domain, p.tp, bytes)?;
    let attention = if group.attends() { reduce } else { 0.0 };
    let topk = match group.ffn {
        FeedForward::None {} => return Some(attention),
        FeedForward::Dense { .. } => return Some(attention + reduce),
        FeedForward::Moe { topk, .. } => topk,
    };
    if p.adp == 1 {
        return Some(attention + reduce_over(layout.kernel, domain, p.stage(), bytes)?);
    }
    // Tokens meet their experts and come back: each goes to at most `topk` of the `ep` groups.
    let copies = f64::from(topk.min(p.ep));
    let width = group.ffn.expert_width(layout.model.hidden);
    let sent = tokens * copies * width * EXCHANGE_BYTES;
    let there = exchange_over(layout.kernel, domain, p.stage(), sent)?;
    Some(attention + 2.0 * there)
}

fn elementwise(layout: &Layout, group: &LayerGroup, tokens: f64) -> f64 {
    let parts = u8::from(group.attends()) + u8::from(group.feeds_forward());
    let residual = f64::from(parts) * PART_PASSES * f64::from(layout.model.hidden);
    // As many passes over the inner activation as there are matrices.
    let local = f64::from(group.ffn.every_token()) / f64::from(layout.parallel.tp);
    let width = residual + group.ffn.matrices() * local;
    tokens * width * BF16 / layout.kernel.elementwise_bw
}

/// Step models of layouts that share operator tables, which the first of them works out.
#[derive(Debug, Default)]
pub struct Steps {
    tables: Option<Option<OperatorTables>>,
    exist: Option<bool>,
}

impl Steps {
    /// The step model of a layout; `None` without a kernel for it.
    pub fn of(&mut self, layout: &Layout) -> Option<StepModel> {
        let built = || OperatorTables::build(layout);
        let tables = (*self.tables.get_or_insert_with(built))?;
        StepModel::build(layout, &tables)
    }

    /// Whether [`Self::of`] gives any, at less cost.
    pub fn exist(&mut self, layout: &Layout) -> bool {
        let exist = || OperatorTables::exist(layout);
        *self.exist.get_or_insert_with(exist)
            && StepModel::build(layout, &OperatorTables::EMPTY).is_some()
    }
}

impl StepModel {
    /// The step model of a layout by itself; `None` without a kernel for it.
    pub fn of(layout: &Layout) -> Option<Self> {
        Steps::default().of(layout)
    }

    /// Tables plus what contexts, pipeline depth, KV dtype and speculation add.
    /// `None` when a kernel or a link that the layout needs has no figure.
    pub fn build(layout: &Layout, tables: &OperatorTables) -> Option<Self> {
        let kernel = layout.kernel;
        let decode_fit = kernel.decode_attention.get(layout.kv)?.as_ref()?;
        let prompt_fit = *kernel.prefill_attention.get(layout.kv)?.as_ref()?;
        let s = &kernel.scales;
        let speculation = layout.speculation;
        // A pool of one role hands its cache over the scale-out link; without a figure there is none.
        if layout.role != Role::Serve && layout.system.scale_out_bw.is_none() {
            return None;
        }
        Some(Self {
            decode: tables.decode,
            prefill: tables.prefill,
            attention: decode_attention(layout, decode_fit, s.attention),
            kv: kv_bytes(layout),
            prompt: layout
                .model
                .layers
                .iter()
                .flat_map(|g| prompt_attention(layout, g))
                .collect(),
            prompt_fit,
            attention_launch: s.attention_t0
                * decode_fit.t0
                * layout.sum_layers(|g| f64::from(u8::from(g.attends()))),
            sequence_s: kernel.sequence_s,
            sequence_half: kernel.sequence_half,
            stage_transfer_s: stage_transfer(layout)?,
            draft: 1.0 + f64::from(speculation.depth) * speculation.draft_cost,
            tokens_per_sequence: 1.0 + f64::from(speculation.depth),
            accepted: speculation.accepted,
            overhead_s: f64::from(layout.model.layer_count()) * kernel.layer_s + kernel.step_s,
        })
    }

    /// Time of a decode step, s: `sequences` on one rank and stage, each with `attention_s` of attention.
    pub fn decode_s(&self, sequences: f64, attention_s: f64) -> f64 {
        let host_s = self.sequence_s / (1.0 + sequences / self.sequence_half);
        let work = self.decode.at(sequences * self.tokens_per_sequence)
            + sequences * (host_s + attention_s)
            + self.attention_launch
            + self.stage_transfer_s;
        work * self.draft
    }

    /// The stretch of [`Self::decode_s`] that `sequences` on a lane fall on.
    pub fn stretch_of(&self, sequences: f64) -> usize {
        match (sequences * self.tokens_per_sequence) as u64 {
            0 => 0,
            tokens => (tokens.ilog2() as usize + 1).min(STRETCHES - 1),
        }
    }

    /// Stretch `i` of [`Self::decode_s`] over its first argument.
    pub fn decode_stretch(&self, i: usize, attention_s: f64) -> Stretch {
        let nodes = &self.decode.0;
        let (from, value, slope) = match i {
            0 => (0.0, nodes[0], 0.0),
            _ => {
                let low = (1u64 << (i - 1)) as f64;
                (low, nodes[i - 1], (nodes[i] - nodes[i - 1]) / low)
            }
        };
        let fixed = value - slope * from + self.attention_launch + self.stage_transfer_s;
        let per_sequence = slope * self.tokens_per_sequence + attention_s;
        Stretch {
            from: from / self.tokens_per_sequence,
            fixed_s: fixed * self.draft,
            slope_s: per_sequence * self.draft,
            host_s: self.sequence_s * self.draft,
            host_half: self.sequence_half,
        }
    }

    /// Stretch `i` with the step time where it begins, s.
    fn entered(&self, i: usize, attention_s: f64) -> (Stretch, f64) {
        let stretch = self.decode_stretch(i, attention_s);
        (stretch, stretch.at(stretch.from))
    }

    /// Every stretch of [`Self::decode_s`].
    pub fn decode_curve(&self, attention_s: f64) -> DecodeCurve {
        DecodeCurve {
            stretches: std::array::from_fn(|i| self.entered(i, attention_s)),
        }
    }

    /// Sequences that one in decode finds on its lane, itself included, each with `attention_s`, at so
    /// many steps per second; no stretch after `last` is looked at.
    pub fn in_steady_state(&self, rate: f64, last: usize, attention_s: f64) -> f64 {
        let last_first = (0..=last).rev();
        largest_root(rate, last_first.map(|i| self.entered(i, attention_s)))
    }

    /// Time that `new` prompt tokens after `cached` ones add to steps that carry `base` decode
    /// tokens, split into steps of at most `chunk`, s.
    pub fn prefill_s(&self, base: f64, new: f64, cached: f64, chunk: f64) -> f64 {
        self.prefill_products_s(base, new, chunk) + self.prompt_attention_s(new, cached)
    }

    /// The matrix-product part of [`Self::prefill_s`]: linear in whole chunks.
    pub fn prefill_products_s(&self, base: f64, new: f64, chunk: f64) -> f64 {
        self.beside(base, chunk).products_s(Chunks::of(new, chunk))
    }

    /// What prompts add to steps that carry `base` decode tokens, `chunk` of theirs in each.
    pub fn beside(&self, base: f64, chunk: f64) -> StepsBeside<'_> {
        StepsBeside {
            table: &self.prefill,
            base,
            chunk_s: self.prefill.added(base, chunk),
        }
    }

    /// Bound on what `chunk` prompt tokens add to a step of any number of tokens up to `base`, s.
    pub fn most_added_s(&self, base: f64, chunk: f64) -> f64 {
        self.prefill.at(base + chunk) - self.prefill.at(1.0)
    }

    /// The attention part of [`Self::prefill_s`].
    pub fn prompt_attention_s(&self, new: f64, cached: f64) -> f64 {
        self.prompt
            .iter()
            .map(|p| self.one_prompt_attention(p, new, cached))
            .sum()
    }

    fn one_prompt_attention(&self, p: &PromptAttention, new: f64, cached: f64) -> f64 {
        // Each new token sees the cached ones and half of the new ones, at most its window.
        let keys = (cached + 0.5 * new).min(p.window);
        let time = prefill_attention(
            &self.prompt_fit,
            p.pair_flop * new * keys,
            p.token_bytes * new,
            (cached + new).min(p.window),
        );
        p.layers * time.total()
    }

    /// Time of one engine step, s, for a batch composition on one rank: `sequences` in decode with
    /// `context` tokens each, and `new` prompt tokens after `cached` ones.
    pub fn step_time(&self, sequences: f64, context: f64, new: f64, cached: f64) -> f64 {
        let decode = if sequences > 0.0 {
            self.decode_s(sequences, self.attention.at(context))
        } else {
            self.overhead_s
        };
        let base = sequences * self.tokens_per_sequence;
        let prefill = if new > 0.0 {
            self.prefill_s(base, new, cached, new)
        } else {
            0.0
        };
        decode + prefill
    }
}

/// Time per cached token, s, of one layer's sparse index over keys of `density` per token.
fn index_scan(fit: &DecodeAttentionFit, heads: u32, dim: u32, key_bytes: f64, queries: f64) -> f64 {
    let scan = f64::from(dim) * key_bytes / fit.mla_bw;
    let score = queries * 2.0 * f64::from(heads * dim) / fit.mla_flops;
    p_norm(scan, score, 2.0)
}

fn decode_attention(layout: &Layout, fit: &DecodeAttentionFit, scale: f64) -> ContextCost {
    let mut cost = ContextCost::default();
    let element = layout.kv_dtype().bytes;
    let queries = 1.0 + f64::from(layout.speculation.depth);
    for group in &layout.model.layers {
        let layers = f64::from(group.count);
        match group.attention {
            Attention::Gqa {
                heads,
                kv_heads,
                head_dim,
                v_head_dim,
                window,
                index_heads,
                index_dim,
                index_topk,
                ..
            } => {
                let (_, kv) = local_heads(heads, kv_heads, layout.parallel.tp);
                let bytes = row_bytes(layout, kv, head_dim + v_head_dim);
                let window = window.map_or(f64::INFINITY, f64::from);
                cost.add(
                    scale * layers * bytes / fit.bw,
                    window.min(selected(index_topk)),
                );
                if index_heads > 0 {
                    let one = index_scan(fit, index_heads, index_dim, element, queries);
                    cost.add(scale * layers * one, f64::INFINITY);
                }
            }
            // Absorbed form: every query head reads the latent as key and as value.
            Attention::Mla {
                heads,
                kv_lora_rank,
                rope_dim,
                index_heads,
                index_dim,
                index_topk,
                ..
            } => {
                let local = f64::from(heads / layout.parallel.tp);
                let (rank, rope) = (f64::from(kv_lora_rank), f64::from(rope_dim));
                let memory = (rank + rope) * element / fit.mla_bw;
                let compute = queries * local * 2.0 * (2.0 * rank + rope) / fit.mla_flops;
                cost.add(
                    scale * layers * p_norm(memory, compute, 2.0),
                    selected(index_topk),
                );
                if index_heads > 0 {
                    let one = index_scan(fit, index_heads, index_dim, element, queries);
                    cost.add(scale * layers * one, f64::INFINITY);
                }
            }
            // As absorbed: every query head reads the one latent as key and as value.
            Attention::Compressed {
                heads,
                head_dim,
                window,
                ratio,
                index_heads,
                index_dim,
                index_topk,
                ..
            } => {
                let local = f64::from(heads / layout.parallel.tp);
                let d = f64::from(head_dim);
                let compute = queries * local * 2.0 * 2.0 * d / fit.mla_flops;
                let one = scale * layers * p_norm(d * element / fit.mla_bw, compute, 2.0);
                cost.add(one, f64::from(window));
                if ratio > 0 {
                    let tokens = f64::from(ratio);
                    cost.add(one / tokens, tokens * selected(index_topk));
                    let scan = index_scan(fit, index_heads, index_dim, element, queries);
                    cost.add(scale * layers * scan / tokens, f64::INFINITY);
                }
            }
            Attention::None {} => {}
            // The state is read and written once per step, in fp32.
            Attention::Linear { .. } => {
                let bytes = 2.0 * 4.0 * linear_state_elements(layout, &group.attention);
                cost.fixed += scale * layers * bytes / fit.mla_bw;
            }
        }
    }
    cost
}

/// Attention of a group over a prompt; a sparse index scores every pair beside it.
fn prompt_attention(layout: &Layout, group: &LayerGroup) -> Vec<PromptAttention> {
    let tp = layout.parallel.tp;
    let layers = f64::from(group.count);
    let over = |pair_flop: f64, token_bytes: f64, window: f64| PromptAttention {
        layers,
        pair_flop,
        token_bytes,
        window,
    };
    match group.attention {
        Attention::Gqa {
            heads,
            kv_heads,
            head_dim,
            v_head_dim,
            window,
            index_heads,
            index_dim,
            index_topk,
            ..
        } => {
            let (q, kv) = local_heads(heads, kv_heads, tp);
            let width = f64::from(head_dim + v_head_dim);
            let window = window
                .map_or(f64::INFINITY, f64::from)
                .min(selected(index_topk));
            let mut both = vec![over(2.0 * q * width, (q + kv) * width * BF16, window)];
            both.extend(index_over(layers, index_heads, index_dim, 1.0));
            both
        }
        Attention::Mla {
            heads,
            rope_dim,
            nope_dim,
            v_head_dim,
            index_heads,
            index_dim,
            index_topk,
            ..
        } => {
            let q = f64::from(heads / tp);
            let width = f64::from(rope_dim + nope_dim + v_head_dim);
            let window = selected(index_topk);
            let mut both = vec![over(2.0 * q * width, 2.0 * q * width * BF16, window)];
            both.extend(index_over(layers, index_heads, index_dim, 1.0));
            both
        }
        // Beside the window one key per `ratio` tokens, or as many as the index selects.
        Attention::Compressed {
            heads,
            head_dim,
            window,
            ratio,
            index_heads,
            index_dim,
            index_topk,
            ..
        } => {
            let q = f64::from(heads / tp);
            let flop = 2.0 * q * 2.0 * f64::from(head_dim);
            let bytes = (q + 1.0) * 2.0 * f64::from(head_dim) * BF16;
            let mut parts = vec![over(flop, bytes, f64::from(window))];
            if ratio > 0 {
                let tokens = f64::from(ratio);
                parts.push(over(flop / tokens, 0.0, tokens * selected(index_topk)));
                parts.extend(index_over(layers, index_heads, index_dim, tokens));
            }
            parts
        }
        Attention::None {} => Vec::new(),
        // A chunkwise scan: work per token as if it saw one key head's width of others.
        Attention::Linear {
            value_heads,
            key_dim,
            value_dim,
            ..
        } => {
            let q = f64::from(value_heads / tp);
            let width = f64::from(key_dim + value_dim);
            vec![over(
                2.0 * q * width,
                2.0 * q * width * BF16,
                f64::from(key_dim),
            )]
        }
    }
}

/// Scores of a sparse index, one key per `tokens`, for every pair of a prompt.
fn index_over(layers: f64, heads: u32, dim: u32, tokens: f64) -> Option<PromptAttention> {
    (heads > 0).then(|| PromptAttention {
        layers,
        pair_flop: 2.0 * f64::from(heads * dim) / tokens,
        token_bytes: f64::from(dim) * BF16 / tokens,
        window: f64::INFINITY,
    })
}

/// Sending one token's activation between pipeline stages, latency only: payloads overlap.
fn stage_transfer(layout: &Layout) -> Option<f64> {
    let p = layout.parallel;
    if p.pp == 1 {
        return Some(0.0);
    }
    let inside = p.gpus() <= layout.system.scale_up_domain;
    let link = if inside {
        &layout.kernel.all_to_all
    } else {
        layout.kernel.scale_out.as_ref()?
    };
    Some(f64::from(p.pp - 1) * transfer(link, f64::from(layout.model.hidden) * BF16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_exact_at_nodes_and_linear_between() {
        let table = TokenTable::build(|t| 3.0 + 2.0 * t);
        for tokens in [1.0, 2.0, 3.0, 100.0, 5000.0, 131_072.0, 300_000.0] {
            assert!((table.at(tokens) - (3.0 + 2.0 * tokens)).abs() < 1e-6);
        }
        assert!((table.added(8.0, 24.0) - 48.0).abs() < 1e-9);
        assert_eq!(table.added(8.0, 0.0), 0.0);
    }
}
