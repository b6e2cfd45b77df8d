"""Settings of a config are judged by their value: what changes nothing is no obstacle."""

from __future__ import annotations

from typing import Any

from published_configs import DEEPSEEK_V4_FLASH, UNTIED, config, read

Json = dict[str, Any]


def test_values_that_change_no_shape_are_no_obstacle() -> None:
    """Nulls, defaults, lists of equal entries, names of what stands beside them."""
    plain = config("llama", "4096 32 32 32 14336 128256 131072", **UNTIED)
    nothing: Json = {
        "llm_config": {},
        "num_local_experts": 1,
        "linear_attn_config": {"kda_layers": None, "full_attn_layers": None},
        "moe_config": {"num_experts": 0, "shared": None},
        "embedding_size": 4096,
        "n_kv_heads": 32,
        "total_ut_steps": 1,
        "use_cla": False,
        "cla_share_factor": 2,
        "num_key_value_heads": [32] * 32,
        "intermediate_size": [14336] * 32,
        "layer_types": ["full_attention"] * 32,
    }
    same = read({**plain, **nothing})
    assert same.architecture == read(plain).architecture
    assert same.warnings == ()


def test_a_text_about_a_part_of_a_layer_is_named() -> None:
    plain = config("llama", "4096 32 32 8 14336 128256 131072", **UNTIED)
    named = read({**plain, "mlp_type": "maxout", "author": "somebody"})
    assert named.warnings == ("key mlp_type is not known and was not used",)


def test_compressed_caches_as_transformers_writes_them() -> None:
    """Kinds of layers with a rate each, where the publisher gives a list of ratios."""
    kinds = {0: "sliding_attention", 4: "compressed_sparse_attention"}
    kinds[128] = "heavily_compressed_attention"
    published = {k: v for k, v in DEEPSEEK_V4_FLASH.items() if k != "compress_ratios"}
    ratios = DEEPSEEK_V4_FLASH["compress_ratios"][:43]
    again = {
        **published,
        "layer_types": [kinds[r] for r in ratios],
        "mlp_layer_types": ["hash_moe"] * 3 + ["moe"] * 40,
        "compress_rates": {kinds[4]: 4, kinds[128]: 128},
    }
    assert read(again).architecture == read(DEEPSEEK_V4_FLASH).architecture
