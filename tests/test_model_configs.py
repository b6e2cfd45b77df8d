"""Configs of families beside those in the catalog: read rightly, or refused by the key's name.

Values are those of the public configs; parameter counts those of the model cards.
"""

from __future__ import annotations

import pytest

from published_configs import (
    COMMAND_R,
    COMMAND_R7B,
    DEEPSEEK_V2_LITE,
    DEEPSEEK_V4_PRO,
    DEEPSEEK_V31,
    ERNIE_21B,
    GEMMA_3_4B,
    GEMMA_3_12B,
    GEMMA_3_27B,
    GEMMA_4_31B,
    GLM_45,
    GLM_52,
    GRANITE_4_H_SMALL,
    HUNYUAN_A13B,
    JAMBA_15_MINI,
    KIMI_LINEAR,
    LING_LITE,
    MIMO_V2_FLASH,
    MINIMAX_M3,
    MISTRAL_LARGE_2,
    MISTRAL_SMALL,
    NEMOTRON_3_NANO,
    NEMOTRON_SUPER_49B,
    PHI_4,
    PHI_4_MINI,
    PUBLISHED,
    QWEN3_NEXT,
    QWEN25_7B,
    STEP_3,
    STEP_35_FLASH,
    UNTIED,
    Json,
    config,
    read,
)
from tokenfleet.catalog import load_catalog
from tokenfleet.errors import SchemaError
from tokenfleet.schema.architecture import GqaAttention


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
