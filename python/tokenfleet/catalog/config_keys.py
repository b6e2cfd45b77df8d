"""What is known of the keys of a Hugging Face `config.json`, as data.

Every key is one of: read for the shape, known not to change it, known to change it in a way that
is not modelled (an error), or unknown (a warning). A class of Transformers leaves its defaults out
of a config; those that matter for the shape stand here by model type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Where a config of several towers keeps the one that speaks.
NESTED = ("text_config", "llm_config", "language_config")
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
        "attn_output_gate",
        "auto_map",
        "decoder_sparse_step",
        "dtype",
        "enable_moe_block",
        "experts_per_token",
        "first_k_dense_replace",
        "full_attention_interval",
        "global_head_dim",
        "head_dim",
        "hidden_size",
        "index_head_dim",
        "index_n_heads",
        "index_topk",
        "interleave_moe_layer_step",
        "intermediate_size",
        "intermediate_size_mlp",
        "kv_lora_rank",
        "layer_types",
        "linear_conv_kernel_dim",
        "linear_key_head_dim",
        "linear_num_key_heads",
        "linear_num_value_heads",
        "linear_value_head_dim",
        "max_position_embeddings",
        "max_window_layers",
        "mlp_only_layers",
        "model_type",
        "moe_intermediate_size",
        "moe_k",
        "moe_layer_end_index",
        "moe_layer_freq",
        "moe_layer_interval",
        "moe_layer_start_index",
        "moe_layers",
        "moe_num_experts",
        "moe_num_shared_experts",
        "moe_shared_expert_intermediate_size",
        "mtp_num_hidden_layers",
        "mtp_transformer_layers",
        "n_routed_experts",
        "n_shared_experts",
        "no_rope_layers",
        "num_attention_heads",
        "num_experts",
        "num_experts_per_tok",
        "num_global_key_value_heads",
        "num_hidden_layers",
        "num_key_value_heads",
        "num_local_experts",
        "num_mtp_modules",
        "num_nextn_predict_layers",
        "num_shared_experts",
        "q_lora_rank",
        "qk_head_dim",
        "qk_nope_head_dim",
        "qk_rope_head_dim",
        "quantization_config",
        "shared_expert_intermediate_size",
        "shared_intermediate_size",
        "sliding_window",
        "sliding_window_pattern",
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
    initializer_range|hidden_act(ivation)?|use_cache|.*aux_loss.*|output_router_logits|
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
    (original_max_position_embeddings|max_window_layers|use_qkv_bias|bias|clip_qkv|z_loss.*)""".replace(
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
    parallel_attn_mlp_res|share_(expert|q)_.*""".replace("\n", "").replace(" ", "")
)
# Kind of layer whose attention selects tokens by an index, as DeepSeek-V3.2's.
SPARSE = "deepseek_sparse_attention"
_FULL = (1, "full", "full_attention", "attention")


def says_full(value: Any) -> bool:
    """Whether a list says of every layer that it attends to everything, which any layer does.

    One is the softmax attention of MiniMax's lists, zero its lightning attention.
    """
    listed = isinstance(value, list) and bool(value)
    return listed and all(entry == value[0] for entry in value) and value[0] in _FULL


# Feed-forward parts of two matrices; here every one is gated and has three.
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
