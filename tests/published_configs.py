"""Configs of model families as published, and the parameter counts of their model cards."""

from __future__ import annotations

from typing import Any

from tokenfleet.catalog.huggingface import ImportedModel, import_config

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
