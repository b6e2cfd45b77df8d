"""Formats of weights as checkpoints state them in their configs, part by part."""

from __future__ import annotations

import pytest

from published_configs import (
    DEEPSEEK_V2_LITE,
    DEEPSEEK_V4_FLASH,
    GLM_45,
    MISTRAL_LARGE_2,
    NEMOTRON_3_NANO,
    PHI_4,
    QWEN3_NEXT,
    Json,
    read,
)


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
