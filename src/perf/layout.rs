//! Which shapes a layout runs: parallel degrees, local heads, weights and cache bytes per accelerator.

use crate::catalog::{
    Attention, FeedForward, Kernel, KvDtype, LayerGroup, Model, Precision, System,
};
use crate::perf::factors::TimeFactors;
use crate::perf::parallel::Parallel;
use crate::perf::role::Role;
use crate::workload::{Spec, Speculation};

/// Bytes of an activation: bf16.
pub const ACTIVATION_BYTES: f64 = 2.0;

/// A layout with everything it needs resolved.
#[derive(Debug, Clone, Copy)]
pub struct Layout<'a> {
    /// The specification, for its dtype table.
    pub spec: &'a Spec,
    /// Hardware.
    pub system: &'a System,
    /// Kernels of (system, engine).
    pub kernel: &'a Kernel,
    /// Model.
    pub model: &'a Model,
    /// Weights.
    pub precision: &'a Precision,
    /// KV dtype index.
    pub kv: usize,
    /// Degrees.
    pub parallel: Parallel,
    /// Speculative decoding.
    pub speculation: Speculation,
    /// Role.
    pub role: Role,
    /// What measurements say about its times.
    pub factors: TimeFactors,
}

impl<'a> Layout<'a> {
    /// KV dtype.
    pub fn kv_dtype(&self) -> &'a KvDtype {
        &self.spec.kv_dtypes[self.kv]
    }

    /// Bytes per weight of a dtype.
    pub fn weight_bytes(&self, dtype: usize) -> f64 {
        self.spec.dtypes[dtype].weight_bytes
    }

    /// Watts of a replica that has requests, before what they add: decode has a floor, prompts none.
    pub fn standing_w(&self) -> f64 {
        f64::from(self.parallel.gpus()) * self.standing_w_gpu()
    }

    /// The same of one accelerator.
    pub fn standing_w_gpu(&self) -> f64 {
        match self.role {
            Role::Prefill(_) => self.system.idle_w,
            _ => self.system.active_w,
        }
    }

    /// Watts of a replica without a request.
    pub fn idle_w(&self) -> f64 {
        f64::from(self.parallel.gpus()) * self.system.idle_w
    }

    /// Layers times what `f` gives for one layer of each group.
    pub fn sum_layers(&self, f: impl Fn(&LayerGroup) -> f64) -> f64 {
        self.model
            .layers
            .iter()
            .map(|g| f64::from(g.count) * f(g))
            .sum()
    }
}

/// Whether degrees suit the model and the system; a wrong one is no layout at all.
pub fn is_layout(model: &Model, system: &System, p: Parallel, max_gpus: u32) -> bool {
    let gpus = p.gpus();
    let fits_system = gpus <= system.gpus || gpus % system.gpus == 0;
    let experts_split = if model.is_moe() {
        p.stage() % p.ep == 0
    } else {
        p.ep == 1 && p.adp == 1
    };
    gpus <= max_gpus
        && fits_system
        && experts_split
        && p.pp <= model.layer_count()
        && model.layers.iter().all(|g| splits(g, p))
}

fn splits(group: &LayerGroup, p: Parallel) -> bool {
    let heads_split = match group.attention {
        Attention::Gqa {
            heads, kv_heads, ..
        } => heads % p.tp == 0 && (kv_heads % p.tp == 0 || p.tp % kv_heads == 0),
        Attention::Mla { heads, .. } => heads % p.tp == 0,
        Attention::Compressed {
            heads, o_groups, ..
        } => heads % p.tp == 0 && o_groups % p.tp == 0,
        Attention::Linear {
            key_heads,
            value_heads,
            copied_keys,
            ..
        } => {
            let copied = copied_keys && p.tp % key_heads == 0;
            value_heads % p.tp == 0 && (key_heads % p.tp == 0 || copied)
        }
        Attention::None {} => true,
    };
    let ffn_splits = match group.ffn {
        FeedForward::None {} => true,
        FeedForward::Dense { inter, .. } => inter % p.tp == 0,
        FeedForward::Moe { experts, inter, .. } => {
            experts % p.ep == 0 && inter % p.expert_tp() == 0
        }
    };
    heads_split && ffn_splits
}

/// Query heads and KV heads on one rank: heads are divided, KV heads only as far as there are any.
pub fn local_heads(heads: u32, kv_heads: u32, tp: u32) -> (f64, f64) {
    (f64::from(heads / tp), f64::from((kv_heads / tp).max(1)))
}

/// A matrix product `n×k` of one layer, with the dtype of its weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Product {
    /// Output width.
    pub n: f64,
    /// Inner width.
    pub k: f64,
    /// Dtype index.
    pub dtype: usize,
}

/// Attention projections of one layer on one rank.
pub fn attention_products(layout: &Layout, attention: &Attention) -> Vec<Product> {
    let hidden = f64::from(layout.model.hidden);
    let tp = layout.parallel.tp;
    let dtype = layout.precision.attention;
    let product = |n: f64, k: f64| Product { n, k, dtype };
    match *attention {
        Attention::Gqa {
            heads,
            kv_heads,
            head_dim,
            v_head_dim,
            output_gate,
            value_is_key,
            q_lora_rank,
            index_heads,
            index_dim,
            ..
        } => {
            let (q, kv) = local_heads(heads, kv_heads, tp);
            // The index is not split over ranks: each needs every score.
            let index = f64::from(index_heads * index_dim + index_dim);
            let (d, v) = (f64::from(head_dim), f64::from(v_head_dim));
            let queries = if output_gate { 2.0 * q * d } else { q * d };
            let values = if value_is_key { 0.0 } else { kv * v };
            let rank = q_lora_rank.map_or(0.0, f64::from);
            let first = if rank > 0.0 { rank } else { queries };
            let mut products = vec![
                product(first + kv * d + values + index, hidden),
                product(hidden, q * v),
            ];
            products.extend((rank > 0.0).then(|| product(queries, rank)));
            products
        }
        Attention::Mla {
            heads,
            q_lora_rank,
            kv_lora_rank,
            rope_dim,
            nope_dim,
            v_head_dim,
            index_heads,
            index_dim,
            output_gate,
            ..
        } => {
            let q = f64::from(heads / tp);
            let (rank, rope) = (f64::from(kv_lora_rank), f64::from(rope_dim));
            let (nope, v) = (f64::from(nope_dim), f64::from(v_head_dim));
            let down = q_lora_rank.map_or(0.0, f64::from);
            let query_in = if down > 0.0 { down } else { hidden };
            let gate = if output_gate { q * v } else { 0.0 };
            // The index is not split over ranks: each needs every score.
            let index_key = f64::from(index_dim + index_heads);
            let index_query = f64::from(index_heads * index_dim);
            vec![
                product(down + rank + rope + index_key + gate, hidden),
                product(q * (nope + rope) + index_query, query_in),
                product(q * (nope + v), rank),
                product(hidden, q * v),
            ]
        }
        Attention::Linear {
            key_heads,
            value_heads,
            key_dim,
            value_dim,
            gate_rank,
            ..
        } => {
            let keys = f64::from((key_heads / tp).max(1)) * f64::from(key_dim);
            let values = f64::from(value_heads / tp) * f64::from(value_dim);
            let rank = f64::from(gate_rank);
            let gate = if gate_rank == 0 { values } else { rank };
            // Query, key, value and output gate in; values out.
            let mut both = vec![
                product(2.0 * keys + values + gate, hidden),
                product(hidden, values),
            ];
            both.extend((gate_rank > 0).then(|| product(values, rank)));
            both
        }
        Attention::Compressed {
            heads,
            head_dim,
            q_lora_rank,
            o_groups,
            o_lora_rank,
            ratio,
            index_heads,
            index_dim,
            ..
        } => {
            let (q, d) = (f64::from(heads / tp), f64::from(head_dim));
            let (down, out) = (f64::from(q_lora_rank), f64::from(o_lora_rank));
            let key = d + compressor_width(ratio, head_dim, index_heads, index_dim);
            vec![
                product(down + key, hidden),
                product(q * d + f64::from(index_heads * index_dim), down),
                // One rank of heads: each group of them has a matrix of its own.
                product(out, q * d),
                product(hidden, f64::from(o_groups / tp) * out),
            ]
        }
        Attention::None {} => Vec::new(),
    }
}

/// Output width of what makes compressed entries, and of the index that selects them: a value and a
/// weight per channel; with an index entries overlap, and both are twice as wide.
fn compressor_width(ratio: u32, head_dim: u32, index_heads: u32, index_dim: u32) -> f64 {
    let entries = if ratio > 0 { 2 * head_dim } else { 0 };
    if index_heads == 0 {
        return f64::from(entries);
    }
    f64::from(2 * entries + 4 * index_dim + index_heads)
}

/// Dense feed-forward products of one layer on one rank: a dense layer, or shared experts and what
/// leads to a latent of routed ones.
pub fn dense_products(layout: &Layout, ffn: &FeedForward) -> Vec<Product> {
    let hidden = f64::from(layout.model.hidden);
    let local = f64::from(ffn.every_token()) / f64::from(layout.parallel.tp);
    let dtype = layout.precision.dense;
    let product = |n: f64, k: f64| Product { n, k, dtype };
    let mut products = Vec::new();
    if local > 0.0 {
        products.push(product((ffn.matrices() - 1.0) * local, hidden));
        products.push(product(hidden, local));
    }
    let width = ffn.expert_width(layout.model.hidden);
    if width != hidden {
        // To the width that experts work on, and back; every rank has all of it.
        products.push(product(width, hidden));
        products.push(product(hidden, width));
    }
    products
}

/// Output head on one rank.
pub fn head_product(layout: &Layout) -> Product {
    let n = f64::from(layout.model.vocab) / f64::from(layout.parallel.tp);
    Product {
        n,
        k: f64::from(layout.model.hidden),
        dtype: layout.precision.head,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Spec;

    fn spec() -> Spec {
        Spec::from_json(include_str!("../../benches/spec.json")).unwrap()
    }

    fn degrees(tp: u32, pp: u32, ep: u32, adp: u32) -> Parallel {
        Parallel { tp, pp, ep, adp }
    }

    #[test]
    fn a_replica_fits_a_system_or_fills_whole_ones() {
        let spec = spec();
        let (dense, node8) = (&spec.models[0], &spec.systems[0]);
        assert!(is_layout(dense, node8, degrees(8, 1, 1, 1), 64));
        assert!(is_layout(dense, node8, degrees(8, 2, 1, 1), 64));
        assert!(!is_layout(dense, node8, degrees(8, 2, 1, 1), 8));
        // 12 accelerators are neither in one system of 8 nor whole systems.
        assert!(!is_layout(dense, node8, degrees(4, 3, 1, 1), 64));
        assert!(is_layout(dense, node8, degrees(4, 4, 1, 1), 64));
        assert!(!is_layout(dense, node8, degrees(1, 33, 1, 1), 64));
    }

    #[test]
    fn only_experts_use_expert_and_attention_data_parallelism() {
        let spec = spec();
        let (dense, routed, rack) = (&spec.models[0], &spec.models[1], &spec.systems[1]);
        assert!(!is_layout(dense, rack, degrees(1, 1, 1, 2), 64));
        assert!(!is_layout(dense, rack, degrees(2, 1, 2, 1), 64));
        assert!(is_layout(routed, rack, degrees(2, 1, 4, 2), 64));
        // Expert groups must divide the stage.
        assert!(!is_layout(routed, rack, degrees(2, 1, 8, 2), 64));
        assert_eq!(degrees(2, 3, 2, 4).gpus(), 24);
        assert_eq!(degrees(2, 3, 2, 4).expert_tp(), 4);
    }

    #[test]
    fn kv_heads_are_divided_only_as_far_as_there_are_any() {
        assert_eq!(local_heads(64, 8, 4), (16.0, 2.0));
        assert_eq!(local_heads(64, 8, 16), (4.0, 1.0));
    }

    #[test]
    fn products_of_a_dense_layer_by_hand() {
        let spec = spec();
        let layout = Layout {
            spec: &spec,
            system: &spec.systems[0],
            kernel: &spec.kernels[0],
            model: &spec.models[0],
            precision: &spec.precisions[0],
            kv: 0,
            parallel: degrees(2, 1, 1, 1),
            speculation: spec.workloads[0].speculation[0],
            role: Role::Serve,
            factors: TimeFactors::ONE,
        };
        let group = &layout.model.layers[0];
        let shapes = |products: Vec<Product>| -> Vec<(f64, f64)> {
            products.iter().map(|p| (p.n, p.k)).collect()
        };
        // Llama-3.1-8B over two ranks: 16 query and 4 key-value heads of 128; inner width 7,168.
        assert_eq!(
            shapes(attention_products(&layout, &group.attention)),
            vec![(3072.0, 4096.0), (4096.0, 2048.0)]
        );
        assert_eq!(
            shapes(dense_products(&layout, &group.ffn)),
            vec![(14_336.0, 4096.0), (4096.0, 7168.0)]
        );
        assert_eq!(head_product(&layout).n, 64_128.0);
        assert_eq!(layout.sum_layers(|_| 1.0), 32.0);
    }
}
