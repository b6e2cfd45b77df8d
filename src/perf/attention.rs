//! Attention of one step: what a sequence in decode reads of its cache, and what a prompt works through.

use crate::catalog::{selected, Attention, DecodeAttentionFit, LayerGroup};
use crate::perf::layout::{local_heads, Layout, ACTIVATION_BYTES};
use crate::perf::memory::{linear_state_elements, row_bytes, ContextCost};
use crate::perf::operators::p_norm;

/// Attention over a prompt: quadratic in its new tokens, linear in the cached ones.
#[derive(Debug, Clone, Copy)]
pub struct PromptAttention {
    /// Layers of its kind.
    pub layers: f64,
    /// flop per (query, key) pair.
    pub pair_flop: f64,
    /// Operand bytes per new token.
    pub token_bytes: f64,
    /// Keys that a query sees at most.
    pub window: f64,
}

/// Time per cached token, s, of one layer's sparse index over keys of `density` per token.
fn index_scan(fit: &DecodeAttentionFit, heads: u32, dim: u32, key_bytes: f64, queries: f64) -> f64 {
    let scan = f64::from(dim) * key_bytes / fit.mla_bw;
    let score = queries * 2.0 * f64::from(heads * dim) / fit.mla_flops;
    p_norm(scan, score, 2.0)
}

/// Decode attention of one sequence over its context, s, times `scale`.
pub fn decode_attention(layout: &Layout, fit: &DecodeAttentionFit, scale: f64) -> ContextCost {
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
pub fn prompt_attention(layout: &Layout, group: &LayerGroup) -> Vec<PromptAttention> {
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
            let mut both = vec![over(
                2.0 * q * width,
                (q + kv) * width * ACTIVATION_BYTES,
                window,
            )];
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
            let mut both = vec![over(
                2.0 * q * width,
                2.0 * q * width * ACTIVATION_BYTES,
                window,
            )];
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
            let bytes = (q + 1.0) * 2.0 * f64::from(head_dim) * ACTIVATION_BYTES;
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
                2.0 * q * width * ACTIVATION_BYTES,
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
        token_bytes: f64::from(dim) * ACTIVATION_BYTES / tokens,
        window: f64::INFINITY,
    })
}
