//! Times of the operators of a whole model over a token count: matrix products, experts, collectives.
//!
//! They depend on the layout alone, so they are tabulated once at powers of two and interpolated.

use crate::catalog::{Attention, FeedForward, LayerGroup};
use crate::perf::layout::{
    attention_products, dense_products, head_product, Layout, Product, ACTIVATION_BYTES,
};
use crate::perf::operators::{exchange_over, gemm, moe, reduce_over, MoeShape, Time};

/// Table nodes are `2^0 … 2^(NODES−1)` tokens.
pub const NODES: usize = 18;
/// Reads and writes of the residual stream per part of a layer (a norm, a residual addition).
const PART_PASSES: f64 = 4.0;
/// Bytes per token and hidden unit in one expert exchange: fp8 out, bf16 back, on average.
const EXCHANGE_BYTES: f64 = 1.5;

/// Tokens at node `i` of a table.
const fn node(i: usize) -> f64 {
    (1u64 << i) as f64
}

/// One over the tokens at each node: a power of two, so that times this is divided by them, to the last
/// bit.
const PER_NODE: [f64; NODES] = {
    let (mut inverse, mut i) = ([0.0; NODES], 0);
    while i < NODES {
        inverse[i] = 1.0 / node(i);
        i += 1;
    }
    inverse
};

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
        self.0[i] + (self.0[i + 1] - self.0[i]) * (tokens - node(i)) * PER_NODE[i]
    }

    /// Line `i`, of [`NODES`]: tokens where it begins, the time there and the time per token, s. The first
    /// is flat, below one token; the others go from node to node.
    #[inline(always)]
    pub fn line(&self, i: usize) -> (f64, f64, f64) {
        let Some(before) = i.checked_sub(1) else {
            return (0.0, self.0[0], 0.0);
        };
        let low = node(before);
        let slope = (self.0[i] - self.0[before]) * PER_NODE[before];
        (low, self.0[before], slope)
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

/// Operator tables of (system, engine, model, precision, tp, ep, adp): what every context, batch,
/// pipeline depth, KV dtype, speculative depth and role shares.
#[derive(Debug, Clone, Copy)]
pub struct OperatorTables {
    /// Work of a decode step over its tokens, s.
    pub decode: TokenTable,
    /// Work of a prompt's tokens, s.
    pub prefill: TokenTable,
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
    pub fn exist(layout: &Layout) -> bool {
        work_at(layout, &Products::of(layout), node(0)).is_some()
    }

    /// Tables of nothing, where only their being there counts.
    pub const EMPTY: Self = Self {
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
    let bytes = tokens * f64::from(layout.model.hidden) * ACTIVATION_BYTES;
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
    tokens * width * ACTIVATION_BYTES / layout.kernel.elementwise_bw
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
