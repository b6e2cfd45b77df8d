"""Configs of families beside those in the catalog: read rightly, or refused by the key's name.

Values are those of the public configs; parameter counts those of the model cards.
"""

from __future__ import annotations

from typing import Any

import pytest

from tokenfleet.catalog import load_catalog
from tokenfleet.catalog.huggingface import ImportedModel, import_config
from tokenfleet.errors import SchemaError
from tokenfleet.schema.architecture import GqaAttention

Json = dict[str, Any]


def config(model_type: str, sizes: str, **more: Any) -> Json:
    """A config from `hidden layers heads kv_heads intermediate vocab context`."""
    names = (
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "intermediate_size",
        "vocab_size",
        "max_position_embeddings",
    )
    shape = {k: int(v) for k, v in zip(names, sizes.split(), strict=True) if v != "-"}
    plain = {"architectures": ["SomeForCausalLM"], "torch_dtype": "bfloat16", "rms_norm_eps": 1e-5}
    return {"model_type": model_type, **plain, **shape, **more}


def read(data: Json, **options: Any) -> ImportedModel:
    return import_config(data, "model", **options)


UNTIED = {"tie_word_embeddings": False}
TIED = {"tie_word_embeddings": True}
QWEN25_7B = config(
    "qwen2", "3584 28 28 4 18944 152064 131072", **UNTIED,
    sliding_window=131072, max_window_layers=28, use_sliding_window=False,
)  # fmt: skip
PHI_4 = config(
    "phi3", "5120 40 40 10 17920 100352 16384", **UNTIED, sliding_window=None, embd_pdrop=0.0,
    resid_pdrop=0.0, original_max_position_embeddings=16384, partial_rotary_factor=1.0,
)  # fmt: skip
PHI_4_MINI = config(
    "phi3", "3072 32 24 8 8192 200064 131072", **TIED, sliding_window=262144,
    partial_rotary_factor=0.75, original_max_position_embeddings=4096,
)  # fmt: skip
MISTRAL_SMALL = config("mistral", "5120 40 32 8 32768 131072 32768", **UNTIED, head_dim=128)
GLM_45 = config(
    "glm4_moe", "5120 92 96 8 12288 151552 131072", **UNTIED, head_dim=128, n_routed_experts=160,
    n_shared_experts=1, num_experts_per_tok=8, moe_intermediate_size=1536, first_k_dense_replace=3,
    num_nextn_predict_layers=1, n_group=1, topk_group=1, norm_topk_prob=True, use_qk_norm=True,
    partial_rotary_factor=0.5, routed_scaling_factor=2.5,
)  # fmt: skip
DEEPSEEK_V2_LITE = config(
    "deepseek_v2", "2048 27 16 16 10944 102400 163840", **UNTIED, q_lora_rank=None,
    kv_lora_rank=512, qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128,
    n_routed_experts=64, n_shared_experts=2, num_experts_per_tok=6, moe_intermediate_size=1408,
    first_k_dense_replace=1, moe_layer_freq=1, aux_loss_alpha=0.001, topk_method="greedy",
)  # fmt: skip
GRANITE_31_8B = config(
    "granite", "4096 40 32 8 12800 49155 131072", **TIED, attention_multiplier=0.0078125,
    embedding_multiplier=12.0, logits_scaling=16.0, residual_multiplier=0.22,
)  # fmt: skip
COMMAND_R = config("cohere", "8192 40 64 64 22528 256000 131072", logit_scale=0.0625)
COMMAND_R7B = config(
    "cohere2", "4096 32 32 8 14336 256000 132096", logit_scale=0.25, sliding_window=4096,
    layer_switch=4, rotary_pct=1.0, cache_implementation="hybrid", head_dim=128,
)  # fmt: skip
GEMMA_3_27B = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "model_type": "gemma3",
    "torch_dtype": "bfloat16",
    "text_config": {
        "hidden_size": 5376,
        "intermediate_size": 21504,
        "model_type": "gemma3_text",
        "num_attention_heads": 32,
        "num_hidden_layers": 62,
        "num_key_value_heads": 16,
        "head_dim": 128,
        "query_pre_attn_scalar": 168,
        "sliding_window": 1024,
    },
    "vision_config": {"hidden_size": 1152, "num_hidden_layers": 27},
}
GEMMA_3_12B = {
    **GEMMA_3_27B,
    "text_config": {
        "hidden_size": 3840,
        "intermediate_size": 15360,
        "model_type": "gemma3_text",
        "num_attention_heads": 16,
        "num_hidden_layers": 48,
        "num_key_value_heads": 8,
        "sliding_window": 1024,
    },
}
GEMMA_3_4B = {
    **GEMMA_3_27B,
    "text_config": {
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "model_type": "gemma3_text",
        "num_hidden_layers": 34,
        "sliding_window": 1024,
    },
}
QWEN3_NEXT = config(
    "qwen3_next", "2048 48 16 2 5120 151936 262144", **UNTIED, head_dim=256, decoder_sparse_step=1,
    full_attention_interval=4, linear_conv_kernel_dim=4, linear_key_head_dim=128,
    linear_num_key_heads=16, linear_num_value_heads=32, linear_value_head_dim=128,
    moe_intermediate_size=512, num_experts=512, num_experts_per_tok=10, mlp_only_layers=[],
    shared_expert_intermediate_size=512, partial_rotary_factor=0.25,
)  # fmt: skip
ERNIE_21B = config(
    "ernie4_5_moe", "2560 28 20 4 12288 103424 131072", moe_num_experts=64, moe_k=6,
    moe_num_shared_experts=2, moe_intermediate_size=1536, moe_layer_start_index=1,
    moe_layer_end_index=27, moe_layer_interval=1, moe_capacity=[64, 64, 64], use_bias=False,
)  # fmt: skip
LING_LITE = config(
    "bailing_moe", "2048 28 16 4 5632 126464 16384", **UNTIED, head_dim=128, num_experts=64,
    num_shared_experts=2, num_experts_per_tok=6, moe_intermediate_size=1408,
    first_k_dense_replace=0, norm_topk_prob=True, moe_router_enable_expert_bias=False,
)  # fmt: skip
# Models with state-space layers, compressed caches, latents of experts. Their configs have more
# keys, which change no shape.
NEMOTRON_3_NANO = config(
    "nemotron_h", "2688 52 32 2 1856 131072 262144", **UNTIED, head_dim=128, mlp_hidden_act="relu2",
    hybrid_override_pattern="MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME",
    mamba_num_heads=64, mamba_head_dim=64, ssm_state_size=128, n_groups=8, conv_kernel=4, expand=2,
    n_routed_experts=128, num_experts_per_tok=6, moe_intermediate_size=1856, n_shared_experts=1,
    moe_shared_expert_intermediate_size=3712, chunk_size=128, use_conv_bias=True,
)  # fmt: skip
NEMOTRON_3_SUPER = {
    **NEMOTRON_3_NANO, "hidden_size": 4096, "num_hidden_layers": 88, "intermediate_size": 2688,
    "hybrid_override_pattern": "MEMEMEM*EMEMEMEM*EMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*"
    "EMEMEMEMEM*EMEMEMEM*EMEMEMEME",
    "mamba_num_heads": 128, "n_routed_experts": 512, "num_experts_per_tok": 22,
    "moe_intermediate_size": 2688, "moe_latent_size": 1024, "num_nextn_predict_layers": 1,
    "moe_shared_expert_intermediate_size": 5376, "mtp_hybrid_override_pattern": "*E",
}  # fmt: skip
NEMOTRON_H_56B = config(
    "nemotron_h", "8192 118 64 8 32768 131072 8192", **UNTIED, attention_head_dim=128,
    mlp_hidden_act="relu2", mamba_num_heads=256, mamba_head_dim=64, ssm_state_size=256, n_groups=8,
    conv_kernel=4,
    hybrid_override_pattern="M-M-M-M*-" + "M-M-M-M-M*-" * 9 + "M-M-M-M-M-",
)  # fmt: skip
NAS_HEADS = {"n_heads_in_group": 8, "no_op": False, "window_length": None}
NAS_NONE = {"n_heads_in_group": None, "no_op": True}
NEMOTRON_SUPER_49B = {
    **config("nemotron-nas", "8192 80 64 - - 128256 131072", **UNTIED),
    "num_key_value_heads": None, "intermediate_size": None,
    "block_configs": [
        {"attention": attention, "ffn": {"ffn_mult": times, "no_op": False}}
        for count, attention, times in (
            (48, NAS_HEADS, 5.25), (1, NAS_HEADS, 2.625), (1, NAS_NONE, 5.25),
            (1, NAS_NONE, 3.28125), (5, NAS_NONE, 2.625), (10, NAS_NONE, 1.3125),
            (8, NAS_NONE, 1.0), (6, NAS_NONE, 0.5),
        )
        for _ in range(count)
    ],
}  # fmt: skip
JAMBA_15_MINI = config(
    "jamba", "4096 32 32 8 14336 65536 262144", **UNTIED, attn_layer_offset=4, attn_layer_period=8,
    expert_layer_offset=1, expert_layer_period=2, num_experts=16, num_experts_per_tok=2,
    mamba_d_conv=4, mamba_d_state=16, mamba_dt_rank=256, mamba_expand=2, sliding_window=None,
)  # fmt: skip
GRANITE_4_H_SMALL = config(
    "granitemoehybrid", "4096 40 32 8 768 100352 131072", **TIED, num_local_experts=72,
    num_experts_per_tok=10, shared_intermediate_size=1536, mamba_n_heads=128, mamba_d_head=64,
    mamba_d_state=128, mamba_n_groups=1, mamba_d_conv=4, mamba_expand=2,
    layer_types=["attention" if i in (5, 15, 25, 35) else "mamba" for i in range(40)],
)  # fmt: skip
KIMI_LINEAR = config(
    "kimi_linear", "2304 27 32 32 9216 163840 1048576", **UNTIED, q_lora_rank=None,
    kv_lora_rank=512, qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128, mla_use_nope=True,
    num_experts=256, num_experts_per_token=8, num_shared_experts=1,
    moe_intermediate_size=1024, moe_layer_freq=1, first_k_dense_replace=1,
    linear_attn_config={
        "full_attn_layers": [4, 8, 12, 16, 20, 24, 27], "head_dim": 128, "num_heads": 32,
        "kda_layers": [i for i in range(1, 27) if i % 4], "short_conv_kernel_size": 4,
    },
)  # fmt: skip
DEEPSEEK_V4_PRO = config(
    "deepseek_v4", "7168 61 128 1 - 129280 1048576", **UNTIED, head_dim=512, q_lora_rank=1536,
    o_groups=16, o_lora_rank=1024, qk_rope_head_dim=64, sliding_window=128, index_head_dim=128,
    index_n_heads=64, index_topk=1024, n_routed_experts=384, num_experts_per_tok=6,
    moe_intermediate_size=3072, n_shared_experts=1, num_nextn_predict_layers=1, num_hash_layers=3,
    compress_ratios=[128, 128] + [4, 128] * 29 + [4, 0],
)  # fmt: skip
DEEPSEEK_V4_FLASH = {
    **DEEPSEEK_V4_PRO, "hidden_size": 4096, "num_hidden_layers": 43, "num_attention_heads": 64,
    "q_lora_rank": 1024, "o_groups": 8, "index_topk": 512, "n_routed_experts": 256,
    "moe_intermediate_size": 2048, "compress_ratios": [0, 0] + [4, 128] * 20 + [4, 0],
}  # fmt: skip
M3_SPARSE = [0] * 3 + [1] * 57
MINIMAX_M3 = config(
    "minimax_m3", "6144 60 64 4 3072 200064 1048576", **UNTIED, head_dim=128,
    dense_intermediate_size=12288, num_local_experts=128, num_experts_per_tok=4, n_shared_experts=1,
    shared_intermediate_size=3072, moe_layer_freq=M3_SPARSE, hidden_act="swigluoai",
    sparse_attention_config={
        "use_sparse_attention": True, "sparse_index_dim": 128, "sparse_num_index_heads": 4,
        "sparse_topk_blocks": 16, "sparse_block_size": 128, "sparse_attention_freq": M3_SPARSE,
    },
)  # fmt: skip
MIMO_V2_FLASH = config(
    "mimo_v2_flash", "4096 48 64 4 16384 152576 262144", **UNTIED, head_dim=192, v_head_dim=128,
    sliding_window=128, attention_chunk_size=128, swa_num_attention_heads=64,
    swa_num_key_value_heads=8, swa_head_dim=192, swa_v_head_dim=128, n_routed_experts=256,
    num_experts_per_tok=8, moe_intermediate_size=2048, moe_layer_freq=[0] + [1] * 47,
    hybrid_layer_pattern=[0, 1, 1, 1, 1, 0] + [1, 1, 1, 1, 1, 0] * 7,
)  # fmt: skip
STEP_35_FLASH = config(
    "step3p5", "4096 45 64 - 11264 128896 262144", **UNTIED, head_dim=128, num_attention_groups=8,
    sliding_window=512, moe_num_experts=288, moe_top_k=8, moe_intermediate_size=1280,
    share_expert_dim=1280, moe_layers_enum=",".join(str(i) for i in range(3, 45)),
    num_nextn_predict_layers=3, use_head_wise_attn_gate=True,
    layer_types=[("sliding" if i % 4 else "full") + "_attention" for i in range(48)],
    attention_other_setting={
        "attention_type": "sliding_attention", "num_attention_heads": 96, "num_attention_groups": 8,
        "head_dim": 128,
    },
)  # fmt: skip
GLM_52 = config(
    "glm_moe_dsa", "6144 78 64 64 12288 154880 1048576", **UNTIED, kv_lora_rank=512,
    q_lora_rank=2048, qk_nope_head_dim=192, qk_rope_head_dim=64, v_head_dim=256, index_head_dim=128,
    index_n_heads=32, index_topk=2048, index_topk_freq=4, n_routed_experts=256, n_shared_experts=1,
    num_experts_per_tok=8, moe_intermediate_size=2048, first_k_dense_replace=3,
    mlp_layer_types=["dense"] * 3 + ["sparse"] * 75,
    indexer_types=["full"] * 3 + (["shared"] * 3 + ["full"]) * 18 + ["shared"] * 3,
)  # fmt: skip
MISTRAL_LARGE_2 = config("mistral", "12288 88 96 8 28672 32768 131072", **UNTIED, head_dim=128)
STARCODER2_7B = config(
    "starcoder2", "4608 32 36 4 18432 49152 16384", **TIED, sliding_window=4096,
    use_sliding_window=False,
)  # fmt: skip
# As stored: the context is under a name of its own.
STEP_3 = {"model_type": "step3_vl", "text_config": config(
    "step3_text", "7168 61 64 - 18432 128815 -", **UNTIED, max_position_embedding=65536,
    num_attention_groups=1, head_dim=256, share_q_dim=2048, share_expert_dim=5120, moe_top_k=3,
    moe_num_experts=48, moe_intermediate_size=5120,
    moe_layers_enum=",".join(str(i) for i in range(4, 60)),
)}  # fmt: skip
# One entry for every layer, all alike; a switch that is off beside its settings.
HUNYUAN_A13B = config(
    "hunyuan_v1_moe", "4096 32 32 8 3072 128167 32768", **TIED, attention_head_dim=128,
    num_experts=64, moe_topk=[8] * 32, num_shared_expert=[1] * 32, use_cla=False,
    moe_intermediate_size=[3072] * 32, cla_share_factor=2, use_mixed_mlp_moe=True,
)  # fmt: skip
QWEN3_OMNI_30B = {"model_type": "qwen3_omni_moe", "talker_config": {}, "thinker_config": {
    "text_config": config(
        "qwen3_omni_moe_text", "2048 48 32 4 768 151936 65536", **UNTIED, head_dim=128,
        num_experts=128, num_experts_per_tok=8, moe_intermediate_size=768)}}  # fmt: skip
# Of one expert all layers are dense.
JAMBA_REASONING_3B = config(
    "jamba", "2560 28 20 1 8192 65536 262144", **TIED, attn_layer_offset=7, attn_layer_period=14,
    expert_layer_offset=1, expert_layer_period=2, num_experts=1, num_experts_per_tok=1,
    mamba_d_conv=4, mamba_d_state=16, mamba_dt_rank=160, mamba_expand=2,
)  # fmt: skip
GRANITE_4_H_MICRO = {
    **GRANITE_4_H_SMALL, "hidden_size": 2048, "intermediate_size": 8192, "num_local_experts": 0,
    "num_experts_per_tok": 0, "shared_intermediate_size": 8192, "mamba_n_heads": 64,
}  # fmt: skip
GEMMA_4_31B = {"model_type": "gemma4", "text_config": config(
    "gemma4_text", "5376 60 32 16 21504 262144 262144", **TIED, head_dim=256, global_head_dim=512,
    num_global_key_value_heads=4, attention_k_eq_v=True, hidden_size_per_layer_input=0,
    num_kv_shared_layers=0, enable_moe_block=False, num_experts=None, top_k_experts=None,
    sliding_window=1024,
    layer_types=["sliding_attention" if (i + 1) % 6 else "full_attention" for i in range(60)],
)}  # fmt: skip
MLA_V3 = dict(
    **UNTIED, q_lora_rank=1536, kv_lora_rank=512, qk_nope_head_dim=128, qk_rope_head_dim=64,
    v_head_dim=128, n_shared_experts=1, moe_layer_freq=1, n_group=1, topk_group=1,
)  # fmt: skip
DEEPSEEK_V31 = config(
    "deepseek_v3", "7168 61 128 128 18432 129280 163840", **MLA_V3, n_routed_experts=256,
    num_experts_per_tok=8, moe_intermediate_size=2048, first_k_dense_replace=3,
    num_nextn_predict_layers=1,
)  # fmt: skip
KIMI_K2_THINKING = config(
    "kimi_k2", "7168 61 64 64 18432 163840 262144", **MLA_V3, n_routed_experts=384,
    num_experts_per_tok=8, moe_intermediate_size=2048, first_k_dense_replace=1,
)  # fmt: skip
MISTRAL_LARGE_3 = {"model_type": "mistral3", "text_config": config(
    "deepseek_v3", "7168 61 128 128 16384 131072 294912", **MLA_V3, n_routed_experts=128,
    num_experts_per_tok=4, moe_intermediate_size=4096, first_k_dense_replace=3)}  # fmt: skip
INTERNVL = {"model_type": "internvl_chat", "llm_config": QWEN25_7B, "vision_config": {}}

# Model, parameters of its language part and active ones, billions (none where no card says).
PUBLISHED: dict[str, tuple[Json, float, float | None]] = {
    "Qwen2.5-7B": (QWEN25_7B, 7.61, None),
    "Phi-4": (PHI_4, 14.7, None),
    "Phi-4-mini": (PHI_4_MINI, 3.84, None),
    "Mistral-Small-24B": (MISTRAL_SMALL, 23.6, None),
    "GLM-4.5": (GLM_45, 353.0, 32.0),
    "DeepSeek-V2-Lite": (DEEPSEEK_V2_LITE, 15.7, 2.4),
    "Granite-3.1-8B": (GRANITE_31_8B, 8.17, None),
    "Command-R": (COMMAND_R, 35.0, None),
    "Command-R7B": (COMMAND_R7B, 8.03, None),
    "Gemma-3-27B": (GEMMA_3_27B, 27.0, None),
    "Gemma-3-12B": (GEMMA_3_12B, 11.8, None),
    "Gemma-3-4B": (GEMMA_3_4B, 3.88, None),
    "Qwen3-Next-80B-A3B": (QWEN3_NEXT, 79.7, None),
    "ERNIE-4.5-21B-A3B": (ERNIE_21B, 21.8, 3.0),
    "Ling-lite": (LING_LITE, 16.8, 2.75),
    "InternVL on Qwen2.5-7B": (INTERNVL, 7.61, None),
    "Nemotron-3-Nano-30B-A3B": (NEMOTRON_3_NANO, 31.6, 3.2),
    "Nemotron-3-Super-120B-A12B": (NEMOTRON_3_SUPER, 120.6, 12.7),
    "Nemotron-H-56B": (NEMOTRON_H_56B, 56.3, None),
    "Nemotron-Super-49B": (NEMOTRON_SUPER_49B, 49.9, None),
    "Jamba-1.5-Mini": (JAMBA_15_MINI, 51.6, 12.0),
    "Granite-4.0-H-Small": (GRANITE_4_H_SMALL, 32.2, 9.0),
    "Kimi-Linear-48B-A3B": (KIMI_LINEAR, 49.0, 3.0),
    "DeepSeek-V4-Pro": (DEEPSEEK_V4_PRO, 1_600.0, 49.0),
    "DeepSeek-V4-Flash": (DEEPSEEK_V4_FLASH, 284.0, 13.0),
    "MiniMax-M3": (MINIMAX_M3, 428.0, 23.0),
    "MiMo-V2-Flash": (MIMO_V2_FLASH, 309.0, 15.0),
    "Step-3.5-Flash": (STEP_35_FLASH, 196.8, 11.0),
    "GLM-5.2": (GLM_52, 744.0, 40.0),
    "Mistral-Large-2": (MISTRAL_LARGE_2, 123.0, None),
    "StarCoder2-7B": (STARCODER2_7B, 7.17, None),
    "Step-3": (STEP_3, 316.0, 38.0),
    "Hunyuan-A13B": (HUNYUAN_A13B, 80.4, 13.0),
    "Qwen3-Omni-30B-A3B": (QWEN3_OMNI_30B, 30.5, 3.3),
    "Jamba-Reasoning-3B": (JAMBA_REASONING_3B, 3.03, None),
    "Granite-4.0-H-Micro": (GRANITE_4_H_MICRO, 3.19, None),
    "Gemma-4-31B": (GEMMA_4_31B, 30.7, None),
    "DeepSeek-V3.1": (DEEPSEEK_V31, 671.0, 37.0),
    "Kimi-K2-Thinking": (KIMI_K2_THINKING, 1026.0, 32.0),
    "Mistral-Large-3": (MISTRAL_LARGE_3, 673.0, 39.0),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_of_the_model_card(name: str) -> None:
    data, total, active = PUBLISHED[name]
    model = read(data).architecture
    assert model.total_params / 1e9 == pytest.approx(total, rel=0.02)
    if active is not None:
        # Cards count the head, or none of both tables, or both.
        table = model.vocab * model.hidden
        least, most = model.active_params - table, model.active_params + table
        assert 0.97 * least <= active * 1e9 <= 1.03 * most


def kv_bytes(data: Json, context: int) -> float:
    """Cache of one sequence, bytes in 16 bits, with windows; states of linear layers left out."""
    total = 0.0
    for group in read(data).architecture.layers:
        a = group.attention
        window = getattr(a, "window", None) or context
        if a.kind == "compressed":
            total += (
                2 * group.count * (a.head_dim * min(window, context) + a.kv_elements() * context)
            )
        else:
            total += 2 * group.count * a.kv_elements() * min(window, context)
    return total


@pytest.mark.parametrize(
    ("data", "context", "expected"),
    [
        # 9.62 GiB a sequence of 1M tokens, as published: 30 layers of (512 + 128) / 4 and 31 of
        # 512 / 128 elements; and 61 windows of 128 latents.
        (DEEPSEEK_V4_PRO, 2**20, 9.62 * 2**30),
        # 4 layers of 2 heads of 128, keys and values: 6,144 bytes a token of 6 attending layers.
        (NEMOTRON_3_NANO, 1000, 6 * 2 * 2 * 128 * 2 * 1000),
        (JAMBA_15_MINI, 262_144, 4 * 2**30),  # 4 GB at 256k tokens, as published
        (KIMI_LINEAR, 1000, 7 * 576 * 2 * 1000),
        # 9 layers of 4 heads and 39 of 8 that keep 128 tokens, of 192 and 128 wide.
        (MIMO_V2_FLASH, 1000, 2 * 320 * (9 * 4 * 1000 + 39 * 8 * 128)),
        # 21 of 78 layers have an index of their own, with a key of 128.
        (GLM_52, 1000, 2 * 1000 * (78 * 576 + 21 * 128)),
        (MINIMAX_M3, 1000, 2 * 1000 * (60 * 2 * 4 * 128 + 57 * 128)),
        # One head of 256, keys and values, on every layer.
        (STEP_3, 1000, 2 * 1000 * 61 * 2 * 256),
        # 50 layers of 16 heads of 256 keep 1,024 tokens; 10 of 4 heads of 512 keep all.
        (GEMMA_4_31B, 4096, 2 * (50 * 2 * 16 * 256 * 1024 + 10 * 2 * 4 * 512 * 4096)),
        (DEEPSEEK_V31, 1000, 2 * 1000 * 61 * 576),
    ],
)
def test_cache_of_a_sequence(data: Json, context: int, expected: float) -> None:
    assert kv_bytes(data, context) == pytest.approx(expected, rel=2e-3)


CARDS = {
    "deepseek-v4-pro": 1600, "deepseek-v4-flash": 284, "glm-4.6": 357,
    "glm-5.1": 744, "glm-5.2": 744, "minimax-m2.7": 230, "minimax-m3": 428, "mimo-v2-flash": 309,
    "nemotron-3-nano-30b-a3b": 31.6, "nemotron-3-super-120b-a12b": 120.6,
    "nemotron-3-ultra-550b-a55b": 550, "qwen3-8b": 8.2, "qwen3-14b": 14.8,
    "qwen3.5-122b-a10b": 122, "qwen3.5-27b": 27, "qwen3.5-35b-a3b": 35,
    "deepseek-v3.1": 671, "devstral-2-123b": 123, "devstral-small-2-24b": 24, "gemma-3-12b": 11.8,
    "gemma-3-27b": 27, "gemma-3-4b": 3.88, "gemma-4-31b": 30.7, "glm-4.5": 355, "glm-4.5-air": 106,
    "glm-4.7": 355, "glm-4.7-flash": 30, "granite-4.0-h-small": 32.2, "hunyuan-a13b": 80.4,
    "kimi-k2-thinking": 1026, "kimi-k2.6": 1026, "kimi-linear-48b-a3b": 49, "llama-3.2-3b": 3.21,
    "mistral-large-2": 123, "mistral-large-3": 673, "mistral-small-24b": 23.6,
    "nemotron-super-49b": 49.9, "phi-4": 14.7, "qwen2.5-32b": 32.5, "qwen2.5-72b": 72.7,
    "qwen2.5-7b": 7.61, "qwen3-4b": 4.0, "qwen3-coder-30b-a3b": 30.5, "qwen3-next-80b-a3b": 79.7,
    "qwen3.5-9b": 9, "qwen3.6-27b": 27, "qwen3.6-35b-a3b": 35, "step-3.5-flash": 196.8,
}  # fmt: skip
# Active parameters, billions.
ACTIVE = {
    "deepseek-v3.1": 37, "glm-4.5": 32, "glm-4.5-air": 12, "glm-4.7": 32, "granite-4.0-h-small": 9,
    "hunyuan-a13b": 13, "kimi-k2-thinking": 32, "kimi-k2.6": 32, "kimi-linear-48b-a3b": 3,
    "mistral-large-3": 39, "qwen3-coder-30b-a3b": 3.3, "qwen3.6-35b-a3b": 3, "step-3.5-flash": 11,
}  # fmt: skip


@pytest.mark.parametrize("model", CARDS)
def test_parameters_of_the_catalog_are_those_of_the_model_card(model: str) -> None:
    row = load_catalog().model(model)
    assert row.total_params / 1e9 == pytest.approx(CARDS[model], rel=0.02)
    if model in ACTIVE:  # counted with the head, with both tables or with none
        table = row.vocab * row.hidden
        least, most = row.active_params - table, row.active_params + table
        assert 0.98 * least <= ACTIVE[model] * 1e9 <= 1.02 * most


# Rows of the catalog and the configs above that they were read from.
CONFIG_OF = {
    "gemma-3-12b": GEMMA_3_12B, "gemma-3-27b": GEMMA_3_27B, "gemma-3-4b": GEMMA_3_4B,
    "gemma-4-31b": GEMMA_4_31B, "glm-4.5": GLM_45, "granite-4.0-h-small": GRANITE_4_H_SMALL,
    "hunyuan-a13b": HUNYUAN_A13B, "kimi-linear-48b-a3b": KIMI_LINEAR, "phi-4": PHI_4,
    "mistral-large-2": MISTRAL_LARGE_2, "mistral-small-24b": MISTRAL_SMALL,
    "qwen2.5-7b": QWEN25_7B, "qwen3-next-80b-a3b": QWEN3_NEXT, "step-3.5-flash": STEP_35_FLASH,
}  # fmt: skip


@pytest.mark.parametrize("model", CONFIG_OF)
def test_rows_of_the_catalog_are_those_of_the_configs(model: str) -> None:
    about = {"id", "source", "as_of", "notes"}
    row = load_catalog().model(model).model_dump(exclude=about)
    assert row == read(CONFIG_OF[model]).architecture.model_dump(exclude={"id"})


@pytest.mark.parametrize(
    ("model", "experts", "attention"),
    [  # as the configs' `quantization_config` has it
        ("deepseek-v3.1", "fp8_block", "fp8_block"),
        ("mistral-large-3", "fp8_block", "fp8_block"),  # all but two narrow projections
        ("kimi-k2-thinking", "int4_g32", "bf16"),
        ("kimi-k2.6", "int4_g32", "bf16"),
    ],
)
def test_formats_of_the_catalog_are_those_of_the_checkpoints(
    model: str, experts: str, attention: str
) -> None:
    row = load_catalog().model(model)
    assert row.native_weights is not None and row.native_precision == experts
    assert (row.native_weights.experts, row.native_weights.attention) == (experts, attention)


def windows(data: Json) -> dict[int | None, int]:
    """Layers by window."""
    found: dict[int | None, int] = {}
    for group in read(data).architecture.layers:
        assert isinstance(group.attention, GqaAttention)
        found[group.attention.window] = found.get(group.attention.window, 0) + group.count
    return found


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (QWEN25_7B, {None: 28}),
        (PHI_4, {None: 40}),
        (PHI_4_MINI, {262144: 32}),
        (COMMAND_R7B, {4096: 24, None: 8}),
        (GEMMA_3_27B, {1024: 52, None: 10}),  # layers 6, 12, ... 60 attend to all
        (GEMMA_3_12B, {1024: 40, None: 8}),
        (GEMMA_3_4B, {1024: 29, None: 5}),
        (config("mistral", "4096 32 32 8 14336 32000 32768", sliding_window=4096), {4096: 32}),
    ],
)
def test_layers_slide_as_their_class_says(data: Json, expected: dict[int | None, int]) -> None:
    assert windows(data) == expected


def test_what_a_class_leaves_out_is_said() -> None:
    small, large = read(GEMMA_3_4B), read(GEMMA_3_27B)
    assert any("num_attention_heads 8" in w and "head_dim 256" in w for w in small.warnings)
    assert any("sliding_window_pattern 6" in w for w in large.warnings)
    assert not any("head_dim" in w for w in large.warnings)
    for model in (small, large):
        assert model.architecture.tied
        assert not any("tie_word_embeddings" in w for w in model.warnings)
    head = read(GEMMA_3_12B).architecture.layers[0].attention
    assert isinstance(head, GqaAttention) and head.head_dim == 256  # not 3840 / 16
    assert not read({**COMMAND_R, "tie_word_embeddings": False}).architecture.tied


def test_the_width_of_a_head_has_two_names() -> None:
    data = config("hunyuan_v1_dense", DENSE, **UNTIED, attention_head_dim=160)
    head = read(data).architecture.layers[0].attention
    assert isinstance(head, GqaAttention) and head.head_dim == 160  # not 4096 / 32
    with pytest.raises(SchemaError, match="contradict"):
        read({**data, "head_dim": 128})


def test_hybrid_attention_of_qwen3_next() -> None:
    layers = read(QWEN3_NEXT).architecture.layers
    assert {g.attention.kind: g.count for g in layers} == {"linear": 36, "gqa": 12}
    full = next(g.attention for g in layers if g.attention.kind == "gqa")
    assert isinstance(full, GqaAttention) and full.output_gate


def test_mixtures_under_other_names() -> None:
    ernie = read(ERNIE_21B).architecture.layers
    assert [(g.count, g.ffn.kind) for g in ernie] == [(1, "dense"), (27, "moe")]
    for data, shared in ((ERNIE_21B, 2 * 1536), (LING_LITE, 2 * 1408)):
        ffn = read(data).architecture.layers[-1].ffn
        assert ffn.kind == "moe" and ffn.shared_inter == shared
    every_other = {**ERNIE_21B, "moe_layer_interval": 2, "moe_layer_end_index": -1}
    kinds = {g.ffn.kind: g.count for g in read(every_other).architecture.layers}
    assert kinds == {"moe": 14, "dense": 14}


@pytest.mark.parametrize("name", ["Phi-4", "Granite-3.1-8B", "GLM-4.5", "DeepSeek-V2-Lite"])
def test_settings_that_change_no_shape_are_not_warned_of(name: str) -> None:
    assert read(PUBLISHED[name][0]).warnings == ()


DENSE = "4096 32 32 8 14336 128000 8192"
REFUSED: dict[str, tuple[str, Json]] = {
    "a pattern of fewer blocks": ("hybrid_override_pattern", config(
        "nemotron_h", DENSE, hybrid_override_pattern="M-M-M*-M-", mlp_hidden_act="relu2")),
    "a block of another kind": ("layers_block_type", config(
        "zamba2", DENSE, layers_block_type=["hybrid"] * 32)),
    "no width of a state": ("ssm_state_size|mamba_d_state", config(
        "jamba", DENSE, attn_layer_period=8, attn_layer_offset=4, mamba_expand=2)),
    "Falcon-7B": ("multi_query", config("falcon", "4544 32 71 - - 65024 2048", multi_query=True)),
    "Falcon-40B": ("num_kv_heads", config(
        "falcon", "8192 60 128 - - 65024 2048", num_kv_heads=8, new_decoder_architecture=True)),
    "Falcon-H1": ("mamba", config("falcon_h1", DENSE, mamba_d_ssm=1536, mamba_n_heads=24)),
    "MiniMax-Text-01": ("attn_type_list", config(
        "minimax_text_01", DENSE, attn_type_list=[0, 1] * 16)),
    "delta attention on some layers": ("linear_attn_config", config(
        "kimi_linear", DENSE, linear_attn_config={"kda_layers": [1, 2, 3]})),
    "an index on unknown blocks": ("sparse_attention_config", config(
        "minimax_m4", DENSE, sparse_attention_config={"use_sparse_attention": True})),
    "an index now and then": ("index_topk_freq", {
        k: v for k, v in GLM_52.items() if k != "indexer_types"}),
    "more experts than are known": ("moe_num_routed_groups", config(
        "new", DENSE, moe_num_routed_groups=4)),
    "RecurrentGemma": ("_block_types", config(
        "recurrent_gemma", DENSE, _block_types=["recurrent", "attention"])),
    "Gemma-3n": ("altup|laurel|num_kv_shared|per_layer", config(
        "gemma3n_text", DENSE, altup_num_inputs=4, laurel_rank=64, num_kv_shared_layers=10)),
    "Llama-3.2 vision": ("cross_attention_layers", {"model_type": "mllama", "text_config": config(
        "mllama_text_model", DENSE, cross_attention_layers=[3, 8])}),
    "layers of a search without widths": ("block_configs", config(
        "nemotron-nas", DENSE, block_configs=[{}] * 32)),
    "a linear layer for attention": ("replace_with_linear", {
        **NEMOTRON_SUPER_49B, "block_configs": [
            {"attention": {"replace_with_linear": True}, "ffn": {"ffn_mult": 1.0}}] * 80}),
    "Qwen-7B, the first": ("model_type", config("qwen", DENSE)),
    "ratios of other layers": ("compress_ratios", {**DEEPSEEK_V4_PRO, "compress_ratios": [4, 128]}),
    "EXAONE-4": ("sliding_window_pattern", config(
        "exaone4", DENSE, sliding_window=4096, sliding_window_pattern="LLLG")),
    "windows of an unknown kind": ("sliding_window", config("new", DENSE, sliding_window=1024)),
    "Ring-2.5, whose layers come in groups": ("layer_group_size", config(
        "bailing_hybrid", DENSE, num_experts=256, num_experts_per_tok=8, layer_group_size=8)),
    "all layers of linear attention": ("linear_attn_layers", config(
        "new", DENSE, linear_attn_layers=[1] * 32)),
    "one expert of every layer": ("num_experts_per_layer", config(
        "new", DENSE, num_experts_per_layer=[1] * 32)),
    "layers that are run again": ("total_ut_steps", config("ouro", DENSE, total_ut_steps=4)),
    "an own count of KV heads": ("n_kv_heads", config("new", DENSE, n_kv_heads=4)),
    "widths that differ": ("intermediate_size differs", {
        **config("new", DENSE), "intermediate_size": [14336] * 31 + [7168]}),
    "experts in a config inside": ("ffn_config", config(
        "new", DENSE, ffn_config={"moe_num_experts": 16})),
    "rates without layers": ("compress_rates", {
        k: v for k, v in DEEPSEEK_V4_PRO.items() if k != "compress_ratios"
    } | {"compress_rates": {"compressed_sparse_attention": 4}}),
    "Falcon-Mamba": ("num_attention_heads", {
        "model_type": "falcon_mamba_x", "hidden_size": 4096, "num_hidden_layers": 64}),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_read_wrongly_is_refused_by_its_key(name: str) -> None:
    key, data = REFUSED[name]
    with pytest.raises(SchemaError, match=rf"key ({key})|{key}"):
        read(data)


def test_a_key_may_be_left_out_at_ones_own_word() -> None:
    data = config("new", DENSE, num_kv_shared_layers=10, **UNTIED)
    model = read(data, ignore=["num_kv_shared_layers"])
    assert model.warnings == ("key num_kv_shared_layers was left out, as asked",)
    assert model.architecture.layer_count == 32
    with pytest.raises(SchemaError) as refused:
        read(data)
    # Left out, the model is a wrong one: no hint leads there.
    assert "ignore" not in refused.value.hint and "by hand" in refused.value.hint


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({"type": "float", "num_bits": 8, "strategy": "tensor"}, "fp8"),
        ({"type": "float", "num_bits": 8, "strategy": "block"}, "fp8_block"),
        ({"type": "float", "num_bits": 4, "group_size": 16}, "nvfp4"),
        ({"type": "float", "num_bits": 4, "group_size": 32}, "mxfp4"),
        ({"type": "int", "num_bits": 4, "group_size": 32}, "int4_g32"),
        ({"type": "int", "num_bits": 4, "group_size": 128}, "int4"),
        ({"type": "int", "num_bits": 8}, None),
        ({"type": "float", "num_bits": 4}, None),
    ],
)
def test_formats_of_compressed_tensors(weights: Json, expected: str | None) -> None:
    quant = {
        "quant_method": "compressed-tensors",
        "config_groups": {"group_0": {"weights": weights}},
    }
    model = read({**PHI_4, "quantization_config": quant})
    assert model.architecture.native_precision == expected
    assert bool(model.warnings) == (expected is None)


@pytest.mark.parametrize(
    ("quant", "expected"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "int4"),
        ({"quant_method": "gptq", "bits": 4}, "int4"),
        ({"quant_method": "gptq", "bits": 3}, None),
        ({"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0}, "fp8"),
        ({"quant_method": "quanto"}, None),
    ],
)
def test_formats_of_other_methods(quant: Json, expected: str | None) -> None:
    model = read({**PHI_4, "quantization_config": quant})
    assert model.architecture.native_precision == expected
    assert bool(model.warnings) == (expected is None)


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("FP8", "fp8"),
        ("FP8_BLOCK_SCALES", "fp8_block"),
        ("NVFP4", "nvfp4"),
        ("W4A16_MXFP4", "mxfp4"),
        ("W4A16_AWQ", "int4"),
        ("INT8_SQ", None),
    ],
)
def test_algorithms_beside_the_config_win(algorithm: str, expected: str | None) -> None:
    """`hf_quant_config.json` says what the checkpoint holds; the cache format is its own."""
    beside = {"quantization": {"quant_algo": algorithm, "kv_cache_quant_algo": "FP8"}}
    model = read(PHI_4, hf_quant=beside)
    assert model.architecture.native_precision == expected
    if expected is not None:
        assert model.architecture.native_kv == "fp8"
    else:
        assert any("INT8_SQ" in text for text in model.warnings)


def layers_of(names: str, count: int) -> list[str]:
    """Names of modules of every layer; `{i}` is its number."""
    return [name.format(i=i) for i in range(count) for name in names.split()]


QKVO = " ".join(f"model.layers.{{i}}.self_attn.{p}_proj" for p in "qkvo")
MLA_IN = " ".join(
    f"model.layers.{{i}}.self_attn.{p}"
    for p in ("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj")
)
KIMI_K25_IGNORE = ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*"]
KIMI_K25_IGNORE += [r"re:.*mlp\.(gate|up|gate_up|down)_proj.*"]
OF_LANGUAGE = "model.language_model.layers"


@pytest.mark.parametrize(
    ("data", "ignored", "expected"),
    [
        # Llama-3.1-405B-Instruct-FP8: attention is left out everywhere.
        (MISTRAL_LARGE_2, [*layers_of(QKVO, 88), "lm_head"], ("bf16", "fp8", "fp8")),
        # DeepSeek-V3.1-NVFP4: of attention the output projection alone is rounded.
        (DEEPSEEK_V2_LITE, layers_of(MLA_IN, 27), ("bf16", "fp8", "fp8")),
        # Of a few layers: most of the part is rounded.
        (MISTRAL_LARGE_2, layers_of(QKVO, 3), ("fp8", "fp8", "fp8")),
        (DEEPSEEK_V2_LITE, KIMI_K25_IGNORE, ("bf16", "bf16", "fp8")),
        # Routers, norms and the last layer are no part of either.
        (
            GLM_45,
            layers_of("model.layers.{i}.mlp.gate model.layers.{i}.input_layernorm", 92),
            ("fp8", "fp8", "fp8"),
        ),
        # Qwen3.5-NVFP4 and Gemma-4-NVFP4: under the name of the speaking tower.
        (
            QWEN3_NEXT,
            layers_of(f"{OF_LANGUAGE}.{{i}}.mlp.shared_expert*", 48)
            + layers_of(f"{OF_LANGUAGE}.{{i}}.linear_attn*", 48),
            ("bf16", "bf16", "fp8"),
        ),
        (GLM_45, layers_of(f"{OF_LANGUAGE}.{{i}}.mlp*", 92), ("fp8", "bf16", "fp8")),
    ],
)  # fmt: skip
def test_parts_that_a_checkpoint_leaves_as_they_were(
    data: Json, ignored: list[str], expected: tuple[str, ...]
) -> None:
    quant = {"quant_method": "fbgemm_fp8", "modules_to_not_convert": ignored}
    weights = read({**data, "quantization_config": quant}).architecture.native_weights
    assert weights is not None
    assert (weights.attention, weights.dense, weights.experts) == expected
    assert weights.head == "bf16"


def test_a_format_per_module() -> None:
    """Nemotron-3.5-Lightning and DeepSeek-V4-NVFP4, as their files list modules."""
    name = "backbone.layers.{}.mixer.{}"
    listed = {name.format(i, "in_proj"): {"quant_algo": "FP8"} for i in range(23)}
    listed |= {name.format(i, "experts.0.up_proj"): {"quant_algo": "NVFP4"} for i in range(23)}
    listed |= {name.format(i, "shared_experts.up_proj"): {"quant_algo": "NVFP4"} for i in range(23)}
    beside = {"quant_algo": "MIXED_PRECISION", "quantized_layers": listed}
    mixed = read(NEMOTRON_3_NANO, hf_quant={"quantization": beside}).architecture
    assert mixed.native_precision == "nvfp4" and mixed.native_weights is not None
    assert mixed.native_weights.model_dump() == {
        "attention": "fp8", "dense": "nvfp4", "experts": "nvfp4", "head": "bf16"
    }  # fmt: skip
    experts = {f"layers.{i}.ffn.experts": {"quant_algo": "NVFP4"} for i in range(43)}
    whole = {"quant_method": "fp8", "weight_block_size": [128, 128], "quantized_layers": experts}
    v4 = read({**DEEPSEEK_V4_FLASH, "quantization_config": whole}).architecture.native_weights
    assert v4 is not None and (v4.attention, v4.experts) == ("fp8_block", "nvfp4")
    del whole["quantized_layers"]
    own = read({**DEEPSEEK_V4_FLASH, "quantization_config": whole, "expert_dtype": "fp4"})
    assert own.architecture.native_precision == "mxfp4"
    assert own.architecture.native_weights is not None
    assert own.architecture.native_weights.dense == "fp8_block"


def test_compressed_tensors_of_several_formats() -> None:
    """As DeepSeek-V4-Flash-NVFP4-FP8 is: attention in blocks of FP8, the rest in NVFP4."""
    blocks = {"type": "float", "num_bits": 8, "strategy": "block"}
    small = {"type": "float", "num_bits": 4, "group_size": 16}
    attention = {"targets": ["re:.*attn.*(fused_wqa_wkv|wq_b|wo_a|wo_b)$"], "weights": blocks}
    rest = {"targets": ["re:.*ffn.*(gate|up|down)_proj$"], "weights": small}
    quant = {"quant_method": "compressed-tensors", "config_groups": {"0": attention, "1": rest}}
    model = read(
        {
            **DEEPSEEK_V4_FLASH,
            "expert_dtype": "fp4",
            "compress_rope_parameters": {"rope_type": "yarn"},
            "quantization_config": quant,
        }
    ).architecture
    assert model.native_precision == "nvfp4" and model.native_weights is not None
    assert model.native_weights.model_dump() == {
        "attention": "fp8_block", "dense": "nvfp4", "experts": "nvfp4", "head": "bf16"
    }  # fmt: skip
    # A group of experts beside one of every matrix; attention is left out of both.
    every = {"targets": ["Linear"], "weights": {"type": "float", "num_bits": 8}}
    experts = {
        "targets": ["re:.*mlp\\.experts.*"],
        "weights": {"type": "int", "num_bits": 4, "group_size": 32},
    }
    both = {**quant, "config_groups": {"0": experts, "1": every}, "ignore": ["re:.*self_attn.*"]}
    weights = read({**GLM_45, "quantization_config": both}).architecture.native_weights
    assert weights is not None
    assert (weights.attention, weights.dense, weights.experts) == ("bf16", "fp8", "int4_g32")


def test_a_list_that_says_full_of_every_layer_is_no_obstacle() -> None:
    plain = config("qwen3", "4096 4 32 8 12288 151936 40960", **UNTIED, head_dim=128)
    same = read({**plain, "attn_type_list": [1, 1, 1, 1]})
    assert same.architecture == read(plain).architecture
    for other in ([0, 0, 0, 0], [1, 0, 1, 0]):
        with pytest.raises(SchemaError, match="attn_type_list"):
            read({**plain, "attn_type_list": other})


def test_layers_without_a_part_of_the_two() -> None:
    nano = read(NEMOTRON_3_NANO).architecture.layers
    kinds = {(g.attention.kind, g.ffn.kind): g.count for g in nano}
    # 23 M, 23 E and 6 *: an expert part follows the attention, so six mixers stand alone.
    assert kinds == {("mamba", "moe"): 17, ("mamba", "none"): 6, ("gqa", "moe"): 6}
    nas = read(NEMOTRON_SUPER_49B).architecture.layers
    assert sum(g.count for g in nas if g.attention.kind == "none") == 31


def test_configs_inside_the_config_are_read_or_named() -> None:
    plain = config("qwen3", "4096 4 32 8 12288 151936 40960", **UNTIED, head_dim=128)
    assert read({**plain, "vision_config": {"depth": 27}}).warnings == ()
    named = read({**plain, "hash_config": {"buckets": 7}})
    assert named.warnings == ("key hash_config is not known and was not used",)


def test_layers_with_a_sparse_index_under_their_own_name() -> None:
    shape = {k: v for k, v in DEEPSEEK_V2_LITE.items() if k != "num_hidden_layers"}
    index = {"index_topk": 2048, "index_n_heads": 32, "index_head_dim": 128}
    of = {**shape, "num_hidden_layers": 2}
    named = read({**of, **index, "layer_types": ["deepseek_sparse_attention"] * 2})
    assert named.architecture == read({**of, **index}).architecture
    with pytest.raises(SchemaError, match="deepseek_sparse_attention"):
        read({**of, "layer_types": ["deepseek_sparse_attention"] * 2})
