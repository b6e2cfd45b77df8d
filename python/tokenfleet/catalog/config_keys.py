"""What is known of the keys of a Hugging Face `config.json`, as data.

Every key is one of: read for the shape, known not to change it, known to change it in a way that
is not modelled (an error), or unknown (a warning). A class of Transformers leaves its defaults out
of a config; those that matter for the shape stand here by model type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tokenfleet.catalog.config_values import entry_of_all

# Where a config of several towers keeps the one that speaks.
NESTED = ("thinker_config", "text_config", "llm_config", "language_config")
# Llama4TextConfig: without `no_rope_layers`, every fourth layer has no rotary part and attends
# to the whole context; the others attend within a chunk.
LLAMA4_FULL_EVERY = 4
# Read for the shape, or known not to change it.
KNOWN = frozenset(
    [
        "architectures",
        "attention_bias",
        "attention_chunk_size",
        "attention_head_dim",
        "attention_k_eq_v",
        "attention_other_setting",
        "attention_output_gate",
        "attn_layer_indices",
        "attn_layer_offset",
        "attn_layer_period",
        "attn_output_gate",
        "auto_map",
        "block_configs",
        "compress_rates",
        "compress_ratios",
        "compress_rope_theta",
        "conv_kernel",
        "decoder_sparse_step",
        "dense_intermediate_size",
        "dtype",
        "enable_moe_block",
        "expand",
        "expert_dtype",
        "expert_layer_offset",
        "expert_layer_period",
        "experts_per_token",
        "first_k_dense_replace",
        "full_attention_interval",
        "global_head_dim",
        "head_dim",
        "hidden_size",
        "hybrid_layer_pattern",
        "hybrid_override_pattern",
        "index_head_dim",
        "index_n_heads",
        "index_topk",
        "index_topk_freq",
        "indexer_types",
        "interleave_moe_layer_step",
        "intermediate_size",
        "intermediate_size_mlp",
        "kv_lora_rank",
        "layer_types",
        "layers_block_type",
        "linear_attn_config",
        "linear_conv_kernel_dim",
        "linear_key_head_dim",
        "linear_num_key_heads",
        "linear_num_value_heads",
        "linear_value_head_dim",
        "mamba_chunk_size",
        "mamba_conv_bias",
        "mamba_d_conv",
        "mamba_d_head",
        "mamba_d_state",
        "mamba_dt_rank",
        "mamba_expand",
        "mamba_head_dim",
        "mamba_hidden_act",
        "mamba_n_groups",
        "mamba_n_heads",
        "mamba_num_heads",
        "mamba_proj_bias",
        "mamba_ssm_cache_dtype",
        "max_position_embedding",
        "max_position_embeddings",
        "max_window_layers",
        "mla_use_nope",
        "mla_use_output_gate",
        "mlp_hidden_act",
        "mlp_layer_types",
        "mlp_only_layers",
        "model_type",
        "moe_intermediate_size",
        "moe_k",
        "moe_latent_size",
        "moe_layer_end_index",
        "moe_layer_freq",
        "moe_layer_interval",
        "moe_layer_start_index",
        "moe_layers",
        "moe_layers_enum",
        "moe_num_experts",
        "moe_num_shared_experts",
        "moe_shared_expert_intermediate_size",
        "moe_top_k",
        "moe_topk",
        "mtp_hybrid_override_pattern",
        "mtp_layers_block_type",
        "mtp_num_hidden_layers",
        "mtp_transformer_layers",
        "n_groups",
        "n_routed_experts",
        "n_shared_experts",
        "no_rope_layers",
        "num_attention_groups",
        "num_attention_heads",
        "num_expert_group",
        "num_experts",
        "num_experts_per_tok",
        "num_experts_per_token",
        "num_global_key_value_heads",
        "num_hash_layers",
        "num_hidden_layers",
        "num_key_value_heads",
        "num_local_experts",
        "num_mtp_modules",
        "num_nextn_predict_layers",
        "num_shared_expert",
        "num_shared_experts",
        "o_groups",
        "o_lora_rank",
        "q_lora_rank",
        "qk_head_dim",
        "qk_nope_head_dim",
        "qk_rope_head_dim",
        "quantization_config",
        "routed_expert_hidden_size",
        "share_expert_dim",
        "share_expert_dims",
        "share_q_dim",
        "shared_expert_intermediate_size",
        "shared_intermediate_size",
        "sliding_window",
        "sliding_window_pattern",
        "sliding_window_size",
        "sparse_attention_config",
        "ssm_state_size",
        "swa_head_dim",
        "swa_num_attention_heads",
        "swa_num_key_value_heads",
        "swa_v_head_dim",
        "tie_word_embeddings",
        "top_k_experts",
        "torch_dtype",
        "transformers_version",
        "use_mtp",
        "use_sliding_window",
        "v_head_dim",
        "vocab_size",
    ]
)
HARMLESS = re.compile(
    r"""_(?!block_).*|.*_token_id|.*_token_index|.*dropout.*|.*_eps|rope_.*|rotary_dim|.*rope_interleave|
    initializer_range|layernorm_epsilon|hidden_act(ivation)?|use_cache|.*aux_loss.*|output_router_logits|
    norm_topk_prob|routed_scaling_factor|scoring_func|topk_(group|method)|n_group|seq_aux|
    ep_size|pretraining_tp|use_qk_norm|qk_norm_type|use_routing_bias|mlp_bias|qkv_bias|
    initial_context_length|swiglu_limit|final_logit_softcapping|attn_logit_softcapping|
    query_pre_attn_scalar|mamba_ssm_dtype|mtp_use_dedicated_embeddings|
    use_bidirectional_attention|vocab_size_per_layer_input|cache_implementation|
    attention_multiplier|swa_rope_theta|name_or_path|is_decoder|is_encoder_decoder|
    (chunk_size_feed_forward|diversity_penalty|early_stopping|id2label|label2id|length_penalty)|
    (max_length|min_length|no_repeat_ngram_size|num_beam_groups|num_beams|num_return_sequences)|
    (output_attentions|output_hidden_states|output_scores|pruned_heads|remove_invalid_values)|
    (repetition_penalty|return_dict|return_dict_in_generate|temperature|tf_legacy_loss|top_[kp])|
    (torchscript|typical_p|use_bfloat16|add_cross_attention|encoder_no_repeat_ngram_size)|
    (tie_encoder_decoder|do_sample)|partial_rotary_factor|.*pdrop|.*router.*|.*jitter.*|
    (embedding_multiplier|residual_multiplier|logits?_scal(e|ing)|lm_head_bias|use_bias|layer_norm_.*)|
    (scale_emb|scale_depth|dim_model_base|moe_(gate|use|capacity|norm).*|.*expert_bias|norm_head)|
    (original_max_position_embeddings|max_window_layers|use_qkv_bias|bias|clip_qkv|z_loss.*)|
    compress_rope_.*|(chunk_size|num_logits_to_keep|rescale_prenorm_residual|residual_in_fp32|time_step_.*)|
    (use_conv_bias|use_mamba_kernels|hc_eps|hc_sinkhorn_iters|swiglu_(alpha|limits.*)|use_gemma_norm)|
    (index_share_for_mtp_iteration|index_skip_topk_offset|indexer_rope_interleave|qk_rope_interleave)|
    (activation_situ_.*|latent_moe_use_norm|moe_renormalize|use_grouped_topk|normalization_function)|
    (position_embedding_type|attention_value_scale|add_.*_sink_bias|partial_rotary_factors|zero_centered)|
    (use_head_wise_attn_gate|need_fp32_gate|norm_expert_weight|yarn_only_types|att_impl_type)|
    (moe_shared_expert_overlap|moe_router_.*|use_moe_router_bias|norm_after_norm|max_seq_len)|
    (layernorm_.*|no_rope_layer_interval|use_rmsnorm|use_mixed_mlp_moe|.*_norm_(eps|type)|.*attn_implementation.*)""".replace(
        "\n", ""
    ).replace(" ", "")
)


# Keys that change the shape in a way that is not modelled: other mixers, other feed-forward parts,
# caches that layers share or compress, layouts of layers that are written in another form.
SHAPING = re.compile(
    r""".*num_.*experts?|n_.*experts?|.*expert.*(size|dim|count|period|offset|layer).*|
    moe_(num|topk|top_k|layer|every|freq).*|.*mamba.*|ssm_.*|.*hybrid.*|.*recurrent.*|lightning_.*|
    linear_att.*|attn_layer.*|attn_type.*|attention_types?|_?block_(type|config)s?|layers_block.*|
    .*layer_pattern|num_kv_shared_layers|.*shared_kv.*|num_kv_heads|kv_channels|.*query_group.*|
    multi_query.*|num_attention_groups|cross_attention_layers|compress_.*|.*ffn_(dim|hidden).*|
    (use_)?cla(_.*)?|altup_.*|laurel_.*|hidden_size_per_layer_input|.*_d_state|state_size|
    parallel_attn_mlp_res|share_(expert|q)_.*|swa_.*|.*(attn|attention|moe|expert|mixer)\w*_config|
    index_topk_pattern|layer_group_size|zero_expert_.*|(n|num)_(kv_heads|heads_kv)|
    .*kv_(shar|reus).*|.*cross_layer.*|(n|num)_dense_layers|dense_(layers|attention)_.*|
    (local_|global_|sparse_)?(attn|attention)_(window|every|layers).*|window_size|conv_L_cache|
    word_embed_proj_dim|embedding_size""".replace("\n", "").replace(" ", "")
)
# How often layers are run: once, or in a way that is not modelled.
ONCE = re.compile(r"total_ut_steps|((num|n)_)?(loop|recursion)s?(_(num|count|depth|steps))?")
# Other names of what a key says; no obstacle where both say the same.
RESTATED: Mapping[str, str] = {
    **dict.fromkeys(("n_kv_heads", "num_kv_heads", "num_heads_kv"), "num_key_value_heads"),
    **dict.fromkeys(("embedding_size", "word_embed_proj_dim"), "hidden_size"),
}
# Kind of layer whose attention selects tokens by an index, as DeepSeek-V3.2's.
SPARSE = "deepseek_sparse_attention"
_FULL = ("full", "full_attention", "attention")
# Parts of a layer, in the names of settings.
ABOUT_A_PART = re.compile(r"attn|attention|mlp|ffn|mixer|expert|moe|glu|gate|kv|layer")


def says_nothing(key: str, value: Any) -> bool:
    """Whether a setting changes no shape: it is empty or off, or says what holds of any layer."""
    if isinstance(value, Mapping):
        return all(says_nothing(inner, of) for inner, of in value.items())
    return value in (None, False, 0, "", []) or _says_full(key, value)


def _says_full(key: str, value: Any) -> bool:
    """Whether a list says of every layer that it attends to everything, which any layer does.

    In MiniMax's list of kinds one is softmax attention, zero lightning attention; elsewhere a one
    may as well say that a layer has what the key is named for.
    """
    full = (*_FULL, 1) if key == "attn_type_list" else _FULL
    listed = isinstance(value, list) and bool(value)
    return listed and all(entry == value[0] for entry in value) and value[0] in full


def is_idle(key: str, value: Any, beside: Mapping[str, Any]) -> bool:
    """Whether a setting does nothing: it says nothing, a switch `beside` it turns it off
    (`use_cla: false`), or it repeats what stands there."""
    words = key.split("_")
    stems = ("_".join(words[:n]) for n in range(1, len(words) + 1))
    off = any(beside.get(f"use_{stem}") is False for stem in stems)
    once = value == 1 and ONCE.fullmatch(key) is not None
    same = key in RESTATED and value == entry_of_all(beside.get(RESTATED[key]))
    return off or once or same or says_nothing(key, value)


def shapes(key: str, value: Any, beside: Mapping[str, Any]) -> bool:
    """Whether a setting changes the shape in a way that is not modelled.

    A config inside the config does, if a setting in it would, or would be read for the shape.
    """
    known = key in KNOWN or HARMLESS.fullmatch(key) or OTHER.fullmatch(key)
    if known or is_idle(key, value, beside):
        return False
    if SHAPING.fullmatch(key) or ONCE.fullmatch(key):
        return True
    inner = value if isinstance(value, Mapping) and key.endswith("_config") else {}
    read = any(k in KNOWN and not says_nothing(k, v) for k, v in inner.items())
    return read or any(shapes(k, v, inner) for k, v in inner.items())


def is_named(key: str, value: Any) -> bool:
    """Whether a setting that nobody knows must be told of: text only where it is about a part."""
    return not isinstance(value, str) or ABOUT_A_PART.search(key) is not None


# Model types whose feed-forward parts have two matrices: no gate.
UNGATED = frozenset(
    [
        "apertus",
        "arcee",
        "falcon",
        "gpt2",
        "gpt_bigcode",
        "gpt_neo",
        "gpt_neox",
        "gptj",
        "mpt",
        "nemotron",
        "nemotron_h",
        "opt",
        "persimmon",
        "phi",
        "starcoder2",
    ]
)
UNGATED_ACTIVATIONS = ("relu2", "xielu")
# Entries of so few tokens are selected by an index (DeepSeek-V4: 4); of 128 all are read.
INDEXED_RATIO = 4
# Configs of what is not the tower that speaks, or of how it was stored.
OTHER = re.compile(
    r".*(vision|visual|audio|image|img|video|speech|projector|talker|code2wav|vit|generation|"
    r"quantization|compression|sampl\w*)_?\w*config|auto_map"
)
# What is read over at a small price, which a warning names.
NOTED: Mapping[str, str] = {
    "hc_mult": "the traffic of its residual streams is not counted",
    "attn_res_block_size": "attention over earlier layers' residuals is not counted",
}
# Model types that mean something else by a key of the same name.
MISLEADING: Mapping[str, str] = {"qwen": "intermediate_size counts both halves of the gate"}
# Model types whose layers all slide where a window is given.
ALL_LAYERS_SLIDE = frozenset(
    [
        "ministral",
        "mistral",
        "mixtral",
        "phi3",
        "phimoe",
        "qwen2",
        "qwen2_moe",
        "qwen3",
        "qwen3_moe",
    ]
)
# Defaults of configuration classes of Transformers that configs leave out.
_GEMMA: Mapping[str, Any] = {"head_dim": 256, "tie_word_embeddings": True}
_GEMMA3: Mapping[str, Any] = {
    **_GEMMA,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "vocab_size": 262_208,
    "max_position_embeddings": 131_072,
    "sliding_window": 4096,
    "sliding_window_pattern": 6,
}
CLASS_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "cohere": {"tie_word_embeddings": True},
    "cohere2": {"tie_word_embeddings": True, "sliding_window_pattern": 4},
    "ernie4_5_moe": {"tie_word_embeddings": True},
    "gemma": _GEMMA,
    "gemma2": {**_GEMMA, "sliding_window_pattern": 2},
    "gemma3": _GEMMA3,
    "gemma3_text": _GEMMA3,
    "qwen3": {"head_dim": 128},
    # Its class always gates the output of its full attention.
    "qwen3_next": {"full_attention_interval": 4, "attn_output_gate": True},
}
