"""Configs of families beside those in the catalog: read rightly, or refused by the key's name.

Values are those of the public configs; parameter counts those of the model cards.
"""

from __future__ import annotations

from typing import Any

import pytest

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
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_of_the_model_card(name: str) -> None:
    data, total, active = PUBLISHED[name]
    model = read(data).architecture
    assert model.total_params / 1e9 == pytest.approx(total, rel=0.02)
    if active is not None:
        assert model.active_params / 1e9 == pytest.approx(active, rel=0.12)


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
    "Nemotron-H": ("hybrid_override_pattern", config(
        "nemotron_h", DENSE, hybrid_override_pattern="M-M-M*-M-", mlp_hidden_act="relu2")),
    "Jamba": ("attn_layer_period|expert_layer|mamba", config(
        "jamba", DENSE, attn_layer_period=8, attn_layer_offset=4, expert_layer_period=2,
        expert_layer_offset=1, num_experts=16, num_experts_per_tok=2, mamba_d_state=16)),
    "Falcon-7B": ("multi_query", config("falcon", "4544 32 71 - - 65024 2048", multi_query=True)),
    "Falcon-40B": ("num_kv_heads", config(
        "falcon", "8192 60 128 - - 65024 2048", num_kv_heads=8, new_decoder_architecture=True)),
    "Falcon-H1": ("mamba", config("falcon_h1", DENSE, mamba_d_ssm=1536, mamba_n_heads=24)),
    "Granite-4 hybrid": ("mamba", config(
        "granitemoehybrid", DENSE, layer_types=["mamba"] * 31 + ["attention"])),
    "MiniMax-Text-01": ("attn_type_list", config(
        "minimax_text_01", DENSE, attn_type_list=[0, 1] * 16)),
    "Kimi-Linear": ("linear_attn_config", config(
        "kimi_linear", DENSE, linear_attn_config={"kda_layers": [1, 2, 3]})),
    "RecurrentGemma": ("_block_types", config(
        "recurrent_gemma", DENSE, _block_types=["recurrent", "attention"])),
    "Gemma-3n": ("altup|laurel|num_kv_shared|per_layer", config(
        "gemma3n_text", DENSE, altup_num_inputs=4, laurel_rank=64, num_kv_shared_layers=10)),
    "Llama-3.2 vision": ("cross_attention_layers", {"model_type": "mllama", "text_config": config(
        "mllama_text_model", DENSE, cross_attention_layers=[3, 8])}),
    "Nemotron NAS": ("block_configs", config("nemotron-nas", DENSE, block_configs=[{}])),
    "Step-3": ("moe_", config("step3_text", DENSE, moe_layers_enum="4,5,6", moe_top_k=3)),
    "Nemotron-4": ("model_type", config("nemotron", DENSE, hidden_act="relu2")),
    "Arcee": ("model_type|hidden_act", config("arcee", DENSE, hidden_act="relu2")),
    "Apertus": ("model_type|hidden_act", config("apertus", DENSE, hidden_act="xielu")),
    "StarCoder2": ("model_type", config("starcoder2", DENSE)),
    "Qwen-7B, the first": ("model_type", config("qwen", DENSE)),
    "DeepSeek-V4": ("compress_ratios", config("deepseek_v4", DENSE, compress_ratios=[4, 128])),
    "EXAONE-4": ("sliding_window_pattern", config(
        "exaone4", DENSE, sliding_window=4096, sliding_window_pattern="LLLG")),
    "windows of an unknown kind": ("sliding_window", config("new", DENSE, sliding_window=1024)),
    "Falcon-Mamba": ("num_attention_heads", {
        "model_type": "falcon_mamba_x", "hidden_size": 4096, "num_hidden_layers": 64}),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_read_wrongly_is_refused_by_its_key(name: str) -> None:
    key, data = REFUSED[name]
    with pytest.raises(SchemaError, match=rf"key ({key})|{key}"):
        read(data)


def test_a_key_may_be_left_out_at_ones_own_word() -> None:
    data = config("deepseek_v4", DENSE, compress_ratios=[4, 128], **UNTIED)
    model = read(data, ignore=["compress_ratios"])
    assert model.warnings == ("key compress_ratios was left out, as asked",)
    assert model.architecture.layer_count == 32
    with pytest.raises(SchemaError) as refused:
        read(data)
    assert "--ignore compress_ratios" in refused.value.hint
    ungated = config("starcoder2", DENSE, **UNTIED)
    assert read(ungated, ignore=["model_type"]).architecture.layer_count == 32


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({"type": "float", "num_bits": 8, "strategy": "tensor"}, "fp8"),
        ({"type": "float", "num_bits": 8, "strategy": "block"}, "fp8_block"),
        ({"type": "float", "num_bits": 4, "group_size": 16}, "nvfp4"),
        ({"type": "float", "num_bits": 4, "group_size": 32}, "mxfp4"),
        ({"type": "int", "num_bits": 4, "group_size": 32}, "int4"),
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
        ("W4A16_AWQ", None),
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
        assert any("W4A16_AWQ" in text for text in model.warnings)


def test_a_list_that_says_full_of_every_layer_is_no_obstacle() -> None:
    plain = config("qwen3", "4096 4 32 8 12288 151936 40960", **UNTIED, head_dim=128)
    same = read({**plain, "attn_type_list": [1, 1, 1, 1]})
    assert same.architecture == read(plain).architecture
    for other in ([0, 0, 0, 0], [1, 0, 1, 0]):
        with pytest.raises(SchemaError, match="attn_type_list"):
            read({**plain, "attn_type_list": other})


def test_layers_with_a_sparse_index_under_their_own_name() -> None:
    shape = {k: v for k, v in DEEPSEEK_V2_LITE.items() if k != "num_hidden_layers"}
    index = {"index_topk": 2048, "index_n_heads": 32, "index_head_dim": 128}
    of = {**shape, "num_hidden_layers": 2}
    named = read({**of, **index, "layer_types": ["deepseek_sparse_attention"] * 2})
    assert named.architecture == read({**of, **index}).architecture
    with pytest.raises(SchemaError, match="deepseek_sparse_attention"):
        read({**of, "layer_types": ["deepseek_sparse_attention"] * 2})
