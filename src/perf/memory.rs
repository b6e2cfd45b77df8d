//! What must fit: weights, KV cache at the longest context, activations.

use crate::catalog::{Attention, FeedForward};
use crate::perf::layout::{
    attention_products, dense_products, head_product, local_heads, Layout, ACTIVATION_BYTES,
};

/// Bytes per element of the recurrent state of linear attention (kept in fp32 by the engines).
const STATE_BYTES: f64 = 4.0;

/// A quantity per sequence that grows with context: `fixed + Σ slope·min(context, window)`.
#[derive(Debug, Clone, Default)]
pub struct ContextCost {
    /// Part that does not grow.
    pub fixed: f64,
    /// Slope per token and window (infinite for full attention); equal windows are merged.
    pub terms: Vec<(f64, f64)>,
}

impl ContextCost {
    /// Adds `slope` per token up to `window`.
    pub fn add(&mut self, slope: f64, window: f64) {
        match self.terms.iter_mut().find(|(_, w)| *w == window) {
            Some(term) => term.0 += slope,
            None => self.terms.push((slope, window)),
        }
    }

    /// Value at a context, tokens.
    pub fn at(&self, context: f64) -> f64 {
        self.terms.iter().fold(self.fixed, |sum, &(slope, window)| {
            sum + slope * context.min(window)
        })
    }
}

/// Bytes of KV cache per sequence on one accelerator.
pub fn kv_bytes(layout: &Layout) -> ContextCost {
    let mut cost = ContextCost::default();
    let element = layout.kv_dtype().bytes;
    let stages = f64::from(layout.parallel.pp);
    for group in &layout.model.layers {
        let layers = f64::from(group.count) / stages;
        match group.attention {
            Attention::Gqa {
                heads,
                kv_heads,
                head_dim,
                v_head_dim,
                window,
                index_dim,
                ..
            } => {
                let (_, kv) = local_heads(heads, kv_heads, layout.parallel.tp);
                let row = row_bytes(layout, kv, head_dim + v_head_dim);
                let index = f64::from(index_dim) * element;
                cost.add(
                    layers * (row + index),
                    window.map_or(f64::INFINITY, f64::from),
                );
            }
            // One latent per token of the window and per entry, on every tensor-parallel rank.
            Attention::Compressed {
                head_dim,
                window,
                ratio,
                index_dim,
                ..
            } => {
                cost.add(layers * f64::from(head_dim) * element, f64::from(window));
                if ratio > 0 {
                    let width = f64::from(head_dim + index_dim) / f64::from(ratio);
                    cost.add(layers * width * element, f64::INFINITY);
                }
            }
            Attention::None {} => {}
            // One latent per token, on every tensor-parallel rank: there is no head to split.
            Attention::Mla {
                kv_lora_rank,
                rope_dim,
                index_dim,
                ..
            } => {
                let width = f64::from(kv_lora_rank + rope_dim + index_dim);
                cost.add(layers * width * element, f64::INFINITY);
            }
            Attention::Linear { .. } => {
                cost.fixed +=
                    layers * linear_state_elements(layout, &group.attention) * STATE_BYTES;
            }
        }
    }
    cost
}

/// Bytes of one token in the cache of a grouped-query layer, on the rank that has `kv_heads` of it.
pub fn row_bytes(layout: &Layout, kv_heads: f64, key_and_value: u32) -> f64 {
    kv_heads * f64::from(key_and_value) * layout.kv_dtype().bytes
}

/// Elements of the recurrent state of one linear-attention layer on one rank.
pub fn linear_state_elements(layout: &Layout, attention: &Attention) -> f64 {
    match *attention {
        Attention::Linear {
            value_heads,
            key_dim,
            value_dim,
            ..
        } => {
            f64::from(value_heads / layout.parallel.tp) * f64::from(key_dim) * f64::from(value_dim)
        }
        _ => 0.0,
    }
}

/// Bytes of KV cache that one sequence of `context` tokens moves between pools (all ranks together);
/// `kv` is [`kv_bytes`] of the layout.
pub fn kv_transfer_bytes(layout: &Layout, kv: &ContextCost, context: f64) -> f64 {
    kv.at(context) * f64::from(layout.parallel.tp * layout.parallel.pp)
}

/// Weight bytes on one accelerator.
pub fn weight_bytes(layout: &Layout) -> f64 {
    let per_layer = layout.sum_layers(|group| {
        let products = attention_products(layout, &group.attention);
        let dense = dense_products(layout, &group.ffn);
        let fixed: f64 = products
            .iter()
            .chain(&dense)
            .map(|p| p.n * p.k * layout.weight_bytes(p.dtype))
            .sum();
        fixed + expert_weight_bytes(layout, &group.ffn)
    });
    let head = head_product(layout);
    let head_bytes = head.n * head.k * layout.weight_bytes(head.dtype);
    let copies = if layout.model.tied { 1.0 } else { 2.0 };
    per_layer / f64::from(layout.parallel.pp) + copies * head_bytes
}

fn expert_weight_bytes(layout: &Layout, ffn: &FeedForward) -> f64 {
    match *ffn {
        FeedForward::Dense { .. } | FeedForward::None {} => 0.0,
        FeedForward::Moe { experts, inter, .. } => {
            let hidden = f64::from(layout.model.hidden);
            let width = ffn.expert_width(layout.model.hidden);
            let all = ffn.matrices() * width * f64::from(inter) * f64::from(experts);
            let router = hidden * f64::from(experts) * ACTIVATION_BYTES;
            let local = all / f64::from(layout.parallel.stage());
            local * layout.weight_bytes(layout.precision.experts) + router
        }
    }
}

/// Peak bytes of activations on one accelerator for a step of `tokens`.
///
/// Residual, normalised input, attention output and the widest inner activation are alive at once.
pub fn activation_bytes(layout: &Layout, tokens: f64) -> f64 {
    let hidden = f64::from(layout.model.hidden);
    let widest = layout
        .model
        .layers
        .iter()
        .map(|g| inner_width(layout, &g.ffn))
        .fold(0.0, f64::max);
    tokens * (4.0 * hidden + 2.0 * widest) * ACTIVATION_BYTES
}

fn inner_width(layout: &Layout, ffn: &FeedForward) -> f64 {
    let every_token = f64::from(ffn.every_token()) / f64::from(layout.parallel.tp);
    match *ffn {
        FeedForward::Moe { inter, topk, .. } => {
            every_token + f64::from(inter * topk) / f64::from(layout.parallel.stage())
        }
        _ => every_token,
    }
}

/// Bytes left for KV cache on one accelerator; negative when the weights alone do not fit.
pub fn kv_budget_bytes(layout: &Layout) -> f64 {
    let usable = layout.system.mem_bytes * layout.kernel.mem_fraction;
    let tokens = f64::from(layout.kernel.chunk_tokens);
    usable - weight_bytes(layout) - activation_bytes(layout, tokens)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::factors::TimeFactors;
    use crate::perf::parallel::Parallel;
    use crate::perf::role::Role;
    use crate::workload::Spec;

    fn spec() -> Spec {
        Spec::from_json(include_str!("../../benches/spec.json")).unwrap()
    }

    fn layout(spec: &Spec, model: usize, kv: usize, parallel: Parallel) -> Layout<'_> {
        Layout {
            spec,
            system: &spec.systems[1],
            kernel: spec.kernel(1, 0).unwrap(),
            model: &spec.models[model],
            precision: &spec.precisions[0],
            kv,
            parallel,
            speculation: spec.workloads[0].speculation[0],
            role: Role::Serve,
            factors: TimeFactors::ONE,
        }
    }

    fn over(tp: u32, pp: u32, ep: u32, adp: u32) -> Parallel {
        Parallel { tp, pp, ep, adp }
    }

    #[test]
    fn kv_bytes_per_token_by_hand() {
        let spec = spec();
        let dense = kv_bytes(&layout(&spec, 0, 0, over(1, 1, 1, 1)));
        assert_eq!(dense.at(1000.0), 1000.0 * 2.0 * 32.0 * 8.0 * 128.0 * 2.0);
        // Sixteen ranks share eight heads: two ranks hold the same one.
        let split = kv_bytes(&layout(&spec, 0, 1, over(16, 1, 1, 1)));
        assert_eq!(split.at(1000.0), 1000.0 * 32.0 * 2.0 * 128.0);
        let latent = kv_bytes(&layout(&spec, 2, 0, over(8, 1, 1, 1)));
        assert_eq!(latent.at(1.0), (512.0 + 64.0) * 61.0 * 2.0);
        let staged = kv_bytes(&layout(&spec, 0, 0, over(1, 2, 1, 1)));
        assert_eq!(staged.at(7.0), dense.at(7.0) / 2.0);
    }

    #[test]
    fn a_sliding_window_stops_growing() {
        let spec = spec();
        let windowed = kv_bytes(&layout(&spec, 1, 0, over(1, 1, 1, 1)));
        let per_layer = 2.0 * 8.0 * 64.0 * 2.0;
        assert_eq!(windowed.at(100.0), 36.0 * per_layer * 100.0);
        assert_eq!(
            windowed.at(1128.0) - windowed.at(128.0),
            18.0 * per_layer * 1000.0
        );
    }

    #[test]
    fn weights_by_hand_and_split_over_a_stage() {
        let spec = spec();
        // Llama-3.1-8B has 8,030,261,248 parameters, 65 norms of 4,096 among them.
        let one = weight_bytes(&layout(&spec, 0, 0, over(1, 1, 1, 1)));
        assert_eq!(one, 2.0 * (8_030_261_248.0 - 65.0 * 4096.0));
        assert_eq!(
            weight_bytes(&layout(&spec, 0, 0, over(4, 1, 1, 1))),
            one / 4.0
        );
        // Experts are split over the stage however they are grouped.
        let grouped = weight_bytes(&layout(&spec, 2, 0, over(1, 1, 16, 16)));
        let cut = weight_bytes(&layout(&spec, 2, 0, over(1, 1, 4, 16)));
        assert_eq!(grouped, cut);
    }

    #[test]
    fn the_budget_is_what_weights_and_activations_leave() {
        let spec = spec();
        let whole = layout(&spec, 0, 0, over(1, 1, 1, 1));
        let activations = 8192.0 * (4.0 * 4096.0 + 2.0 * 14_336.0) * 2.0;
        assert_eq!(activation_bytes(&whole, 8192.0), activations);
        let left = 0.9 * 2e11 - weight_bytes(&whole) - activations;
        assert!((kv_budget_bytes(&whole) - left).abs() < 1.0);
        // 671 billion weights of two bytes do not fit one accelerator of 200 GB.
        assert!(kv_budget_bytes(&layout(&spec, 2, 0, over(1, 1, 1, 1))) < 0.0);
    }
}
