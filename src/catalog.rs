//! What one buys and what one runs on it: plain structs in SI units (bytes, seconds, flop/s, watts).
//!
//! The Python layer resolves catalog rows, calibration and inheritance into these; nothing here is
//! a default, so a figure that is missing there never becomes a number here.

use serde::Deserialize;

use crate::error::{positive, within, Result};

/// A system that is bought or rented whole: a server or a rack.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct System {
    /// Catalog identifier.
    pub id: String,
    /// Accelerators in one system.
    pub gpus: u32,
    /// Accelerators joined by the scale-up link (may be more or less than `gpus`).
    pub scale_up_domain: u32,
    /// Memory per accelerator, bytes.
    pub mem_bytes: f64,
    /// Scale-out bandwidth per accelerator, bytes/s, one direction. `None`: no sourced figure.
    pub scale_out_bw: Option<f64>,
    /// Wall watts per accelerator with no request in flight (host and fans included).
    pub idle_w: f64,
    /// Wall watts per accelerator as soon as it decodes at all.
    pub active_w: f64,
    /// Wall watts per accelerator while it prefills.
    pub prefill_w: f64,
    /// Wall watts per accelerator that decodes as many sequences as its memory holds.
    pub decode_w: f64,
}

/// A number format of weights and of the operands of a matrix product.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dtype {
    /// Name, as in the kernel table.
    pub id: String,
    /// Bytes per weight, group scales included.
    pub weight_bytes: f64,
}

/// How a model's weights are stored: a dtype per part.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Precision {
    /// Name, for example `fp8`.
    pub id: String,
    /// Dtype of attention projections.
    pub attention: usize,
    /// Dtype of dense feed-forward layers and of shared experts.
    pub dense: usize,
    /// Dtype of routed experts.
    pub experts: usize,
    /// Dtype of embeddings and of the output head.
    pub head: usize,
}

/// Number format of the KV cache.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KvDtype {
    /// Name, for example `fp8`.
    pub id: String,
    /// Bytes per element.
    pub bytes: f64,
}

/// Attention of one group of equal layers.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Attention {
    /// Grouped-query attention (multi-head and multi-query are special cases).
    Gqa {
        /// Query heads.
        heads: u32,
        /// Key-value heads.
        kv_heads: u32,
        /// Width of a query/key head.
        head_dim: u32,
        /// Width of a value head.
        v_head_dim: u32,
        /// Sliding window in tokens; `None` attends to everything.
        window: Option<u32>,
        /// A gate as wide as the queries multiplies the output.
        #[serde(default)]
        output_gate: bool,
        /// Values are the keys: there is no value projection.
        #[serde(default)]
        value_is_key: bool,
        /// Rank of the query compression (Step-3); `None` projects directly.
        #[serde(default)]
        q_lora_rank: Option<u32>,
        /// Heads of a sparse index (MiniMax-M3); 0 is none.
        #[serde(default)]
        index_heads: u32,
        /// Width of an index head; one key of this width is cached per token.
        #[serde(default)]
        index_dim: u32,
        /// Tokens the index selects; 0 attends to all.
        #[serde(default)]
        index_topk: u32,
    },
    /// Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434): the cache holds one latent per
    /// token. With an index (DeepSeek-V3.2) only `index_topk` tokens are attended to.
    Mla {
        /// Query heads.
        heads: u32,
        /// Rank of the query compression; `None` projects directly.
        q_lora_rank: Option<u32>,
        /// Rank of the cached latent.
        kv_lora_rank: u32,
        /// Width of the rotary part, cached beside the latent.
        rope_dim: u32,
        /// Width of the part without position.
        nope_dim: u32,
        /// Width of a value head.
        v_head_dim: u32,
        /// Heads of the layer's own sparse index; 0 is none.
        #[serde(default)]
        index_heads: u32,
        /// Width of an index head; one key of this width is cached per token.
        #[serde(default)]
        index_dim: u32,
        /// Tokens that an index, its own or an earlier layer's, selects; 0 attends to all.
        #[serde(default)]
        index_topk: u32,
        /// A gate as wide as the values multiplies the output.
        #[serde(default)]
        output_gate: bool,
    },
    /// One latent per token is key and value of every head; beside a window, one such latent is
    /// kept per `ratio` tokens (DeepSeek-V4: sparse with an index, else all of them).
    Compressed {
        /// Query heads.
        heads: u32,
        /// Width of a head and of the latent.
        head_dim: u32,
        /// Rank of the query compression.
        q_lora_rank: u32,
        /// Groups of heads whose outputs are compressed by themselves.
        o_groups: u32,
        /// Rank of the output compression of a group.
        o_lora_rank: u32,
        /// Tokens attended to as they are.
        window: u32,
        /// Tokens of one compressed entry; 0 keeps the window alone.
        ratio: u32,
        /// Heads of the sparse index; 0 attends to every entry.
        #[serde(default)]
        index_heads: u32,
        /// Width of an index head; one key of this width is cached per entry.
        #[serde(default)]
        index_dim: u32,
        /// Entries the index selects.
        #[serde(default)]
        index_topk: u32,
    },
    /// Linear attention, or a state-space layer: a state of fixed size per sequence, kept in fp32.
    Linear {
        /// Key heads.
        key_heads: u32,
        /// Value heads.
        value_heads: u32,
        /// Width of a key head.
        key_dim: u32,
        /// Width of a value head.
        value_dim: u32,
        /// Rank of the output gate; 0 projects directly.
        #[serde(default)]
        gate_rank: u32,
        /// Ranks past the key heads hold a copy of one (the groups of Mamba-2).
        #[serde(default)]
        copied_keys: bool,
    },
    /// The layer has a feed-forward part alone.
    None {},
}

/// Tokens that are attended to: all, or what a sparse index selects.
pub fn selected(index_topk: u32) -> f64 {
    if index_topk == 0 {
        return f64::INFINITY;
    }
    f64::from(index_topk)
}

fn gated() -> bool {
    true
}

/// Feed-forward part of one group of equal layers: three matrices, or two without a gate.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum FeedForward {
    /// Every token passes all weights.
    Dense {
        /// Inner width.
        inter: u32,
        /// A gate, as wide as the inner width.
        #[serde(default = "gated")]
        gated: bool,
    },
    /// Mixture of experts.
    Moe {
        /// Routed experts.
        experts: u32,
        /// Experts per token.
        topk: u32,
        /// Inner width of one expert.
        inter: u32,
        /// Inner width of the shared experts together, 0 for none.
        shared_inter: u32,
        /// Every expert has a gate.
        #[serde(default = "gated")]
        gated: bool,
        /// Width that routed experts work on, projected to and from it; 0 is the hidden width.
        #[serde(default)]
        latent: u32,
    },
    /// The layer has an attention part alone.
    None {},
}

impl FeedForward {
    /// Inner width that every token passes.
    pub fn every_token(&self) -> u32 {
        match *self {
            Self::Dense { inter, .. } => inter,
            Self::Moe { shared_inter, .. } => shared_inter,
            Self::None {} => 0,
        }
    }

    /// Matrices of a part or of an expert.
    pub fn matrices(&self) -> f64 {
        match *self {
            Self::Dense { gated, .. } | Self::Moe { gated, .. } => 2.0 + f64::from(u8::from(gated)),
            Self::None {} => 0.0,
        }
    }

    /// Width that routed experts work on, in a model of `hidden`.
    pub fn expert_width(&self, hidden: u32) -> f64 {
        match *self {
            Self::Moe { latent, .. } if latent > 0 => f64::from(latent),
            _ => f64::from(hidden),
        }
    }
}

/// A run of equal layers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerGroup {
    /// How many layers.
    pub count: u32,
    /// Their attention.
    pub attention: Attention,
    /// Their feed-forward part.
    pub ffn: FeedForward,
}

impl LayerGroup {
    /// Whether a layer has an attention part.
    pub fn attends(&self) -> bool {
        !matches!(self.attention, Attention::None {})
    }

    /// Whether a layer has a feed-forward part.
    pub fn feeds_forward(&self) -> bool {
        !matches!(self.ffn, FeedForward::None {})
    }
}

/// Architecture of a model, as read from its `config.json`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Catalog identifier.
    pub id: String,
    /// Hidden width.
    pub hidden: u32,
    /// Vocabulary size.
    pub vocab: u32,
    /// Whether input embedding and output head share weights.
    pub tied: bool,
    /// Longest context the model accepts, tokens.
    pub max_context: u32,
    /// Layers in groups.
    pub layers: Vec<LayerGroup>,
}

impl Model {
    /// Number of layers.
    pub fn layer_count(&self) -> u32 {
        self.layers.iter().map(|g| g.count).sum()
    }

    /// Whether any layer routes tokens to experts.
    pub fn is_moe(&self) -> bool {
        self.layers
            .iter()
            .any(|g| matches!(g.ffn, FeedForward::Moe { .. }))
    }
}

/// p-norm roofline of a matrix product: `t0 + ((F/flops)^q + (B/bw)^q)^(1/q)`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GemmFit {
    /// Launch time, s.
    pub t0: f64,
    /// Reached peak, flop/s (peak × efficiency).
    pub flops: f64,
    /// Reached bandwidth, bytes/s.
    pub bw: f64,
    /// Exponent: 1 adds both terms, ∞ takes the larger.
    pub q: f64,
}

/// Routed experts: a p-norm roofline over the weights that are touched, plus activation traffic.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoeFit {
    /// Launch time, s.
    pub t0: f64,
    /// Reached peak, flop/s.
    pub flops: f64,
    /// Reached bandwidth on weights, bytes/s.
    pub bw: f64,
    /// Exponent.
    pub q: f64,
    /// Bytes/s at which activations move (bandwidth ÷ fitted passes over them).
    pub act_bw: f64,
    /// Rows of padding per touched expert.
    pub pad: f64,
}

/// Decode attention: `t0 + bytes of KV / bw`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecodeAttentionFit {
    /// Launch time, s.
    pub t0: f64,
    /// Reached bandwidth, bytes/s.
    pub bw: f64,
    /// Reached peak for absorbed MLA, flop/s.
    pub mla_flops: f64,
    /// Reached bandwidth for absorbed MLA, bytes/s.
    pub mla_bw: f64,
}

/// Prefill attention: `t0 + F/(flops·S/(S+s0)) + bytes/bw`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefillAttentionFit {
    /// Launch time, s.
    pub t0: f64,
    /// Reached peak for long sequences, flop/s.
    pub flops: f64,
    /// Sequence length of half efficiency, tokens.
    pub s0: f64,
    /// Bytes/s at which operands move (bandwidth ÷ fitted passes).
    pub bw: f64,
}

/// All-reduce of `n` ranks: the faster of one-shot and two-shot.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllReduceFit {
    /// Ranks.
    pub n: u32,
    /// One-shot launch, s.
    pub a1: f64,
    /// One-shot bandwidth, bytes/s.
    pub bw1: f64,
    /// Two-shot launch, s.
    pub a2: f64,
    /// Two-shot bandwidth, bytes/s.
    pub bw2: f64,
}

/// A link in the α-β form: `alpha + bytes / bw`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Latency, s.
    pub alpha: f64,
    /// Bandwidth, bytes/s.
    pub bw: f64,
}

/// Multipliers that composed kernel times need to match served engines.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scales {
    /// Matrix products.
    pub gemm: f64,
    /// Share of their launch time left under CUDA graphs.
    pub gemm_t0: f64,
    /// Routed experts in decode.
    pub moe: f64,
    /// Launch time of routed experts.
    pub moe_t0: f64,
    /// Collectives in decode.
    pub comm: f64,
    /// Decode attention.
    pub attention: f64,
    /// Launch time of decode attention.
    pub attention_t0: f64,
    /// Routed experts in prefill.
    pub prefill_moe: f64,
    /// Collectives in prefill.
    pub prefill_comm: f64,
}

/// Everything that depends on (system, engine): kernels, links and the engine's own time.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// Index of the system.
    pub system: usize,
    /// Index of the engine.
    pub engine: usize,
    /// Matrix products by dtype; `None`: the accelerator cannot, or no figure.
    pub gemm: Vec<Option<GemmFit>>,
    /// Routed experts by dtype.
    pub moe: Vec<Option<MoeFit>>,
    /// Decode attention by KV dtype.
    pub decode_attention: Vec<Option<DecodeAttentionFit>>,
    /// Prefill attention by KV dtype.
    pub prefill_attention: Vec<Option<PrefillAttentionFit>>,
    /// All-reduce inside the scale-up domain, by rank count, ascending.
    pub all_reduce: Vec<AllReduceFit>,
    /// All-to-all inside the scale-up domain.
    pub all_to_all: Link,
    /// Any collective that leaves the scale-up domain. `None`: no sourced figure, so no such layout.
    pub scale_out: Option<Link>,
    /// Bandwidth of elementwise kernels, bytes/s.
    pub elementwise_bw: f64,
    /// Multipliers.
    pub scales: Scales,
    /// Engine time per layer and step, s.
    pub layer_s: f64,
    /// Engine time per step, s.
    pub step_s: f64,
    /// Time per layer with a sparse index and decode step, s: launches of its scores and of its choice.
    pub index_s: f64,
    /// Engine time per sequence and step, s.
    pub sequence_s: f64,
    /// Sequences at which half of that time hides behind the accelerator's work.
    pub sequence_half: f64,
    /// Weight of prefill work in the time between tokens (interference).
    pub interference: f64,
    /// Fixed part of TTFT, s.
    pub ttft_fixed_s: f64,
    /// Decode steps that a first token waits for.
    pub ttft_steps: f64,
    /// TTFT in a closed loop.
    pub closed_ttft: ClosedTtft,
    /// Weight of prefill terms under data-parallel attention.
    pub attention_dp_prefill: f64,
    /// Weight of experts and exchanges under data-parallel attention, whose ranks wait for the fullest.
    pub attention_dp_experts: f64,
    /// Tokens of prefill in one step.
    pub chunk_tokens: u32,
    /// Share of memory the engine may use.
    pub mem_fraction: f64,
}

/// How TTFT in a closed loop grows with the requests in flight.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClosedTtft {
    /// Weight of the own prompt.
    pub own: f64,
    /// Prompts waited for, per request beside it.
    pub queue: f64,
    /// Its exponent.
    pub exponent: f64,
    /// Most that the engine's front end adds when requests come together, s.
    pub together_s: f64,
    /// Requests beside it at which half of that is reached.
    pub together_half: f64,
}

impl ClosedTtft {
    /// TTFT of a prompt of `prompt_s` beside `others` on its lane, the fixed part and steps left out, s.
    pub fn at(&self, prompt_s: f64, others: f64) -> f64 {
        self.together_s * others / (others + self.together_half)
            + prompt_s * (self.own + self.queue * others.powf(self.exponent))
    }
}

/// A serving engine.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engine {
    /// Name.
    pub id: String,
}

impl System {
    /// Checks that every figure is usable.
    pub fn check(&self, index: usize) -> Result<()> {
        let at = |field: &str| format!("systems[{index}].{field} ({})", self.id);
        positive(at("gpus"), f64::from(self.gpus))?;
        positive(at("scale_up_domain"), f64::from(self.scale_up_domain))?;
        positive(at("mem_bytes"), self.mem_bytes)?;
        positive(at("idle_w"), self.idle_w)?;
        if let Some(bw) = self.scale_out_bw {
            positive(at("scale_out_bw"), bw)?;
        }
        let (idle, active) = ("at least idle_w", "at least active_w");
        within(
            at("active_w"),
            self.active_w,
            self.idle_w..f64::INFINITY,
            idle,
        )?;
        let loaded = [("prefill_w", self.prefill_w), ("decode_w", self.decode_w)];
        loaded.into_iter().try_for_each(|(field, watts)| {
            within(at(field), watts, self.active_w..f64::INFINITY, active)
        })
    }
}
