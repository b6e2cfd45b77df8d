"""Importers against published figures: parameter counts of models, statistics of traces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tokenfleet.catalog.huggingface import import_config, read_config
from tokenfleet.errors import SchemaError
from tokenfleet.importers.azure import read_azure
from tokenfleet.importers.burstgpt import read_burstgpt
from tokenfleet.importers.detect import import_file
from tokenfleet.importers.lengths import (
    bucket_edges,
    classes_from_cdf,
    classes_from_trace,
    length_of,
    peak_to_mean,
    rate_curve,
    read_trace,
)
from tokenfleet.importers.mooncake import block_hit_rate, cached_tokens, read_mooncake
from tokenfleet.importers.trace import Trace
from tokenfleet.schema import GqaAttention, LinearAttention, MlaAttention, MoeFfn

FIXTURES = Path(__file__).parent / "fixtures"
SHARED = Path(__file__).parents[2] / "shared"
CONFIGS = SHARED / "facts" / "model_configs"
TRACES = SHARED / "traces"
needs_configs = pytest.mark.skipif(not CONFIGS.is_dir(), reason="model configs are not here")
needs_traces = pytest.mark.skipif(not TRACES.is_dir(), reason="traces are not here")

# Published sizes in 1e9: total, active per token (None: not compared), where the active figure
# counts the output head and not the input embedding.
PUBLISHED = {
    "meta-llama--Meta-Llama-3.1-8B": (8.03, None),
    "meta-llama--Meta-Llama-3.1-70B": (70.6, None),
    "meta-llama--Meta-Llama-3.1-405B": (405.9, None),
    "nvidia--Llama-3.1-70B-Instruct-FP8": (70.6, None),
    "mistralai--Mixtral-8x7B-v0.1": (46.7, 12.9),
    "mistralai--Mixtral-8x22B-v0.1": (141, 39),
    "Qwen--Qwen3-14B": (14.8, None),
    "Qwen--Qwen3-32B": (32.8, None),
    "Qwen--Qwen3-30B-A3B": (30.5, None),
    "Qwen--Qwen3-235B-A22B": (235, 22),
    "Qwen--Qwen3-Coder-480B-A35B-Instruct": (480, 35),
    "Qwen--Qwen3.5-397B-A17B": (397, None),
    "deepseek-ai--DeepSeek-R1": (671, 37),
    "deepseek-ai--DeepSeek-V3": (671, 37),
    "deepseek-ai--DeepSeek-V3.2": (671, 37),
    "google--gemma-4-26B-A4B": (25.2, 3.8),
    "meta-llama--Llama-4-Scout-17B-16E-Instruct": (109, None),
    "meta-llama--Llama-4-Maverick-17B-128E-Instruct": (400, None),
    "moonshotai--Kimi-K2-Instruct": (1040, 32),
    "moonshotai--Kimi-K2.5": (1040, 32),
    "openai--gpt-oss-20b": (20.9, 3.6),
    "openai--gpt-oss-120b": (116.8, 5.1),
    "zai-org--GLM-4.6": (355, None),
    "MiniMaxAI--MiniMax-M2.5": (229, None),
    "zai-org--GLM-5": (744, None),
}


def tiny(**changes: Any) -> dict[str, Any]:
    config = json.loads((FIXTURES / "tiny_config.json").read_text())
    config.update(changes)
    return {k: v for k, v in config.items() if v != "absent"}


def config_of(name: str) -> Path:
    return CONFIGS / f"{name}_config.json"


@needs_configs
def test_every_config_is_listed_and_read() -> None:
    names = {p.name[: -len("_config.json")] for p in CONFIGS.glob("*_config.json")}
    assert {n for n in names if not n.endswith("_hf_quant")} == set(PUBLISHED)


@needs_configs
@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_published(name: str) -> None:
    model = read_config(config_of(name), name).architecture
    total, active = PUBLISHED[name]
    assert model.total_params / 1e9 == pytest.approx(total, rel=0.02)
    if active is not None:
        assert model.active_params / 1e9 == pytest.approx(active, rel=0.02)
    assert not [w for w in read_config(config_of(name), name).warnings if "not known" in w]


def test_the_folder_of_a_checkpoint_is_its_config(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    with pytest.raises(SchemaError, match="tiny: is a folder"):
        import_file(folder)
    (folder / "config.json").write_text(json.dumps(tiny()), encoding="utf-8")
    found = import_file(folder).model
    assert found is not None
    assert found.architecture.id == "tiny"


@needs_configs
def test_traps_of_the_families() -> None:
    qwen = read_config(config_of("Qwen--Qwen3-235B-A22B")).architecture.layers[0].attention
    assert isinstance(qwen, GqaAttention)
    assert qwen.head_dim == 128  # not hidden / heads = 64
    r1 = read_config(config_of("deepseek-ai--DeepSeek-R1")).architecture
    assert r1.kv_elements_per_token == (512 + 64) * 61
    assert [(g.count, g.ffn.kind) for g in r1.layers] == [(3, "dense"), (58, "moe")]
    assert (r1.native_precision, r1.mtp_layers) == ("fp8_block", 1)
    oss = read_config(config_of("openai--gpt-oss-120b")).architecture
    windows = {g.attention.window: g.count for g in oss.layers if g.attention.kind == "gqa"}
    assert windows == {128: 18, None: 18}
    assert oss.native_weights is not None
    assert (oss.native_weights.attention, oss.native_weights.experts) == ("bf16", "mxfp4")
    kimi = read_config(config_of("moonshotai--Kimi-K2.5")).architecture.native_weights
    assert kimi is not None
    assert (kimi.attention, kimi.dense, kimi.experts) == ("bf16", "bf16", "int4_g32")
    fp8 = read_config(config_of("nvidia--Llama-3.1-70B-Instruct-FP8")).architecture
    assert (fp8.native_precision, fp8.native_kv) == ("fp8", "fp8")


@needs_configs
def test_hybrid_sparse_and_interleaved_layers() -> None:
    hybrid = read_config(config_of("Qwen--Qwen3.5-397B-A17B")).architecture
    kinds = {g.attention.kind: g.count for g in hybrid.layers}
    assert kinds == {"linear": 45, "gqa": 15}
    assert isinstance(hybrid.layers[0].attention, LinearAttention)
    for name in ("zai-org--GLM-5", "deepseek-ai--DeepSeek-V3.2"):
        sparse = read_config(config_of(name)).architecture.layers[0].attention
        assert isinstance(sparse, MlaAttention)
        assert (sparse.index_topk, sparse.index_dim) == (2048, 128)
    gemma = read_config(config_of("google--gemma-4-26B-A4B")).architecture.layers
    full = next(g for g in gemma if g.attention.kind == "gqa" and g.attention.window is None)
    assert isinstance(full.attention, GqaAttention)
    assert full.count == 5
    assert (full.attention.head_dim, full.attention.kv_heads) == (512, 2)
    assert full.attention.value_is_key
    maverick = read_config(config_of("meta-llama--Llama-4-Maverick-17B-128E-Instruct"))
    by_kind = {"moe": 0, "dense": 0}
    for group in maverick.architecture.layers:
        by_kind[group.ffn.kind] += group.count
    assert by_kind == {"moe": 24, "dense": 24}
    assert any("no_rope_layers" in w for w in maverick.warnings)


def test_tiny_config_by_hand() -> None:
    model = read_config(FIXTURES / "tiny_config.json", "tiny").architecture
    attention = 64 * 4 * 32 + 2 * (64 * 2 * 32) + 4 * 32 * 64
    dense, expert = 3 * 64 * 256, 3 * 64 * 32
    moe, touched = 8 * expert + 64 * 8, 2 * expert + 64 * 8
    assert model.total_params == 4 * attention + dense + 3 * moe + 2 * 1000 * 64
    assert model.active_params == 4 * attention + dense + 3 * touched + 1000 * 64
    assert model.kv_elements_per_token == 4 * 2 * 2 * 32


def test_head_dim_is_derived_only_when_absent() -> None:
    model = import_config(tiny(head_dim="absent"), "x").architecture
    assert model.layers[0].attention.kv_elements() == 2 * 2 * (64 // 4)


def test_nested_text_config_and_new_names() -> None:
    inner = tiny(torch_dtype="absent", dtype="bfloat16", tie_word_embeddings="absent")
    nested = {"model_type": "outer", "tie_word_embeddings": True, "text_config": inner}
    model = import_config(nested, "x").architecture
    assert model.tied
    assert model.native_precision == "bf16"


@pytest.mark.parametrize(
    ("changes", "windows"),
    [
        ({"sliding_window": 128, "use_sliding_window": "absent"}, {128: 4}),
        ({"sliding_window": 128}, {None: 4}),
        ({"sliding_window": 128, "use_sliding_window": True, "max_window_layers": 3},
         {None: 3, 128: 1}),
        ({"sliding_window": 128, "use_sliding_window": "absent", "sliding_window_pattern": 2},
         {128: 2, None: 2}),
        ({"sliding_window": 128, "use_sliding_window": "absent", "model_type": "gemma2"},
         {128: 2, None: 2}),
        ({"sliding_window": 64, "layer_types": ["sliding_attention", "full_attention"] * 2},
         {64: 2, None: 2}),
    ],
)  # fmt: skip
def test_windows(changes: dict[str, Any], windows: dict[int | None, int]) -> None:
    found: dict[int | None, int] = {}
    for group in import_config(tiny(**changes), "x").architecture.layers:
        assert isinstance(group.attention, GqaAttention)
        found[group.attention.window] = found.get(group.attention.window, 0) + group.count
    assert found == windows


@pytest.mark.parametrize(
    "key",
    ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size",
     "max_position_embeddings", "num_experts_per_tok"],
)  # fmt: skip
def test_a_missing_key_is_named(key: str) -> None:
    with pytest.raises(SchemaError, match=rf"x/config\.json: key .*{key}"):
        import_config(tiny(**{key: "absent"}), "x", source="x/config.json")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"hidden_size": -1}, "hidden_size"),
        ({"hidden_size": 64.5}, "hidden_size"),
        ({"hidden_size": True}, "hidden_size"),
        ({"num_hidden_layers": 10**30}, "num_hidden_layers"),
        ({"mlp_only_layers": True}, "mlp_only_layers should be a list"),
        ({"quantization_config": {"quant_method": "fp8", "ignore": 5}}, "ignore should be a list"),
        ({"layer_types": ["full_attention"]}, "layer_types has 1 entries for 4 layers"),
        ({"layer_types": ["mamba"] * 4}, "mamba"),
        ({"experts_per_token": 3}, "contradict"),
        ({"head_dim": "absent", "hidden_size": 66}, "head_dim"),
    ],
)
def test_faulty_configs_are_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(SchemaError, match=text):
        import_config(tiny(**changes), "x")


def test_unknown_keys_that_may_change_the_shape_warn() -> None:
    warnings = import_config(tiny(strange_setting=[4, 8], rope_theta=1e6), "x").warnings
    assert warnings == ("key strange_setting is not known and was not used",)
    assert import_config(tiny(torch_dtype="float8_weird"), "x").architecture.native_weights is None


def test_moe_rules() -> None:
    first = import_config(tiny(first_k_dense_replace=2, mlp_only_layers=[]), "x").architecture
    assert [(g.count, g.ffn.kind) for g in first.layers] == [(2, "dense"), (2, "moe")]
    shared = import_config(tiny(n_shared_experts=2), "x").architecture.layers[-1].ffn
    assert isinstance(shared, MoeFfn)
    assert shared.shared_inter == 64


# Traces: the statistics of shared/traces/README.md

STATISTICS: dict[str, tuple[str, Any]] = {
    "AzureLLMInferenceTrace_code.csv": (
        "azure",
        (8819, 3436, (2047.8, 1469, 5188, 7303, 7436, 7437), (27.9, 13, 55, 90, 252, 1899), 4.18),
    ),
    "AzureLLMInferenceTrace_conv.csv": (
        "azure",
        (19366, 3502, (1154.7, 1020, 2734, 4083, 4142, 14050), (211.1, 129, 424, 451, 601, 1000),
         1.52),
    ),
    "Mooncake_conversation_trace.jsonl": (
        "mooncake",
        (12031, 3537, (12035.1, 6909, 27367, 39550, 85400, 126195),
         (342.6, 350, 597, 698, 1118, 2000), 1.21),
    ),
}  # fmt: skip


def load(name: str) -> Trace:
    return read_trace(TRACES / name, STATISTICS[name][0])  # type: ignore[arg-type]


@needs_traces
@pytest.mark.parametrize("name", STATISTICS)
def test_published_statistics(name: str) -> None:
    trace = load(name)
    count, span, inputs, outputs, peak = STATISTICS[name][1]
    assert len(trace) == count
    assert trace.span_s == pytest.approx(span, abs=0.5)
    for tokens, (mean, *rest) in ((trace.input_tokens, inputs), (trace.output_tokens, outputs)):
        length = length_of(tokens.astype(np.float64))
        assert length.mean == pytest.approx(mean, abs=0.05 + 1e-9)
        assert length.quantiles == pytest.approx(rest, abs=0.6)
    assert peak_to_mean(trace.timestamp_s) == pytest.approx(peak, abs=0.005)


@needs_traces
def test_mooncake_prefix_hits() -> None:
    trace = load("Mooncake_conversation_trace.jsonl")
    assert block_hit_rate(trace) == pytest.approx(0.366, abs=5e-4)
    assert np.all(cached_tokens(trace) < trace.input_tokens)


@needs_traces
@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize("buckets", [1, 2, 4, 8])
def test_classes_keep_the_totals(name: str, buckets: int) -> None:
    trace = load(name)
    classes = classes_from_trace(trace, buckets, None)
    assert sum(c.share for c in classes) == pytest.approx(1, abs=1e-12)
    for field, tokens in (
        ("input_tokens", trace.input_tokens),
        ("output_tokens", trace.output_tokens),
    ):
        mean = sum(c.share * getattr(c, field).mean for c in classes)
        square = sum(c.share * getattr(c, field).moment2 for c in classes)
        assert mean == pytest.approx(float(tokens.mean()), rel=1e-9)
        assert square == pytest.approx(float(np.mean(tokens.astype(float) ** 2)), rel=1e-9)
    tops = [c.input_tokens.max for c in classes]
    assert tops == sorted(tops)


@needs_traces
@pytest.mark.parametrize("name", STATISTICS)
def test_rate_curve_keeps_the_mean_and_falls(name: str) -> None:
    curve = rate_curve(load(name))
    assert len(curve) == 24
    assert sum(curve) == pytest.approx(24)
    assert list(curve) == sorted(curve, reverse=True)


def test_rate_curve_of_a_day_is_by_hour() -> None:
    busy = np.arange(3 * 3600, 4 * 3600, 1.0)  # one a second in hour 3, one a minute otherwise
    times = np.sort(np.concatenate((np.arange(0, 86_460, 60.0), busy)))
    ones = np.ones(len(times), dtype=np.int64)
    curve = rate_curve(Trace("t", times, ones, ones))
    assert int(np.argmax(curve)) == 3
    assert curve[3] / curve[0] == pytest.approx(61)
    with pytest.raises(SchemaError, match="whole minutes"):
        rate_curve(Trace("t", times[:5], ones[:5], ones[:5]))


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ("2023-11-16 18:17:03.97,-5,10", "row 3: ContextTokens is -5"),
        ("2023-11-16 18:17:03.97,,10", "row 3: ContextTokens is empty"),
        ("2023-11-16 18:17:03.97,1.5,10", "row 3: ContextTokens '1.5' is not a whole number"),
        ("yesterday,5,10", "row 3: TIMESTAMP 'yesterday'"),
        ("2023-13-16 18:17:03,5,10", "row 3: TIMESTAMP"),
    ],
)
def test_azure_rows_are_named(tmp_path: Path, row: str, text: str) -> None:
    good = "2023-11-16 18:17:03.9799600,4808,10\n"
    with pytest.raises(SchemaError, match=text):
        read_azure(write(tmp_path / "t.csv", AZURE + good + row + "\n"))


def test_azure_order_zones_and_ends(tmp_path: Path) -> None:
    rows = "2024-05-10 00:00:02.5+00:00,5,6\r\n2024-05-10T01:00:01.25+01:00,7,8\r\n"
    trace = read_azure(write(tmp_path / "t.csv", "\ufeff" + AZURE.strip() + "\r\n" + rows))
    assert trace.timestamp_s.tolist() == [0.0, 1.25]
    assert trace.input_tokens.tolist() == [7, 5]
    assert "sorted" in trace.warnings[0]


def test_azure_rows_without_tokens_and_other_columns_are_said(tmp_path: Path) -> None:
    header = "TIMESTAMP,ContextTokens,GeneratedTokens,NumImages\n"
    rows = "2024-05-10 00:00:00,0,6,1\n2024-05-10 00:00:01,7,8,2\n2024-05-10 00:00:02,9,0,0\n"
    trace = read_azure(write(tmp_path / "t.csv", header + rows))
    assert trace.input_tokens.tolist() == [7]
    assert "2 requests without tokens left out, the first in row 2" in trace.warnings[0]
    assert trace.warnings[1].endswith("columns not read: NumImages")


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "header lacks TIMESTAMP"), (AZURE, "has no requests"), ("a,b\n1,2\n", "header lacks")],
)
def test_empty_and_foreign_traces(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        read_azure(write(tmp_path / "t.csv", text))


def test_mooncake_by_hand(tmp_path: Path) -> None:
    rows = [
        {"timestamp": 0, "input_length": 1000, "output_length": 5, "hash_ids": [1, 2]},
        {"timestamp": 500, "input_length": 1500, "output_length": 5, "hash_ids": [1, 2, 3]},
        {"timestamp": 900, "input_length": 512, "output_length": 5, "hash_ids": [1]},
    ]
    trace = read_mooncake(write(tmp_path / "t.jsonl", "\n".join(map(json.dumps, rows))))
    assert trace.timestamp_s.tolist() == [0.0, 0.5, 0.9]
    assert block_hit_rate(trace) == pytest.approx(3 / 6)
    assert cached_tokens(trace).tolist() == [0.0, 1024.0, 511.0]


def bailian(**more: Any) -> list[dict[str, Any]]:
    """Prompts of 320 tokens in blocks of 16: ten shared, ten of their own; one a second."""
    return [
        {
            **more,
            "timestamp": float(i),
            "input_length": 320,
            "output_length": 50,
            "hash_ids": [*range(10), *range(1000 + 10 * i, 1010 + 10 * i)],
        }
        for i in range(10)
    ]


def test_blocks_of_bailian_are_told_by_the_facts(tmp_path: Path) -> None:
    rows = bailian(chat_id=1, turn=1)
    trace = read_mooncake(write(tmp_path / "t.jsonl", "\n".join(map(json.dumps, rows))))
    assert trace.block_tokens == 16
    assert trace.span_s == 9.0  # seconds, not ms
    # The first finds nothing, nine find 160 of 320 tokens.
    assert cached_tokens(trace).tolist() == [0.0, *[160.0] * 9]
    assert "blocks of 16 tokens" in trace.warnings[0]
    assert "times are seconds" in trace.warnings[1]


def test_times_that_look_like_seconds_are_asked_about(tmp_path: Path) -> None:
    trace = read_mooncake(write(tmp_path / "t.jsonl", "\n".join(map(json.dumps, bailian()))))
    assert trace.block_tokens == 16
    assert "make 1,111 requests/s; are they seconds?" in trace.warnings[-1]


def test_hashes_that_fit_no_block_are_refused(tmp_path: Path) -> None:
    rows = [
        {"timestamp": i, "input_length": 100 * i, "output_length": 1, "hash_ids": list(range(7))}
        for i in range(1, 9)
    ]
    with pytest.raises(SchemaError, match="row 1: 7 hash_ids for a prompt of 100 tokens"):
        read_mooncake(write(tmp_path / "t.jsonl", "\n".join(map(json.dumps, rows))))


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('{"timestamp": 0, "input_length": 0, "output_length": 1}', "has no requests"),
        ('{"timestamp": NaN, "input_length": 1, "output_length": 1}', "row 1: .*NaN"),
        ('{"timestamp": -1, "input_length": 1, "output_length": 1}', "row 1: timestamp is -1"),
        ('{"timestamp": 0, "input_length": 1}', "row 1: output_length is missing"),
        ('{"timestamp": 0, "input_length": true, "output_length": 1}', "row 1: input_length"),
        ("[1]", "row 1: is not a JSON object"),
        ("{", "row 1"),
    ],
)
def test_mooncake_rows_are_named(tmp_path: Path, line: str, text: str) -> None:
    with pytest.raises(SchemaError, match=text):
        read_mooncake(write(tmp_path / "t.jsonl", line + "\n"))


def test_burstgpt_failures_are_dropped_and_counted(tmp_path: Path) -> None:
    text = "Timestamp,Model,Request tokens,Response tokens\n5,m,472,18\n45,m,10,0\n118,m,38,232\n"
    trace = read_burstgpt(write(tmp_path / "t.csv", text))
    assert len(trace) == 2
    assert "1 failed" in trace.warnings[0]


CDF = "side,tokens,cdf\n"


def test_cdf_of_a_uniform_distribution(tmp_path: Path) -> None:
    rows = "input,1,0\ninput,1001,1\noutput,100,1\n"
    classes = classes_from_cdf(write(tmp_path / "c.csv", CDF + rows), 4)
    assert [c.share for c in classes] == pytest.approx([0.5, 0.4, 0.09, 0.01])
    assert classes[0].input_tokens.mean == pytest.approx(251)
    assert classes[1].input_tokens.p50 == pytest.approx(701)
    low, high = 501.0, 901.0
    exact = (low * low + low * high + high * high) / 3
    assert classes[1].input_tokens.moment2 == pytest.approx(exact)
    assert classes[3].output_tokens.quantiles == (100.0,) * 5


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ("input,10,0.5\noutput,10,1\n", "input side does not end at cdf 1"),
        ("input,10,1\n", "output side does not end"),
        ("input,10,0.5\ninput,5,1\noutput,1,1\n", "row 3: tokens should rise"),
        ("input,10,1.5\noutput,1,1\n", "row 2: cdf is 1.5"),
        ("in,10,1\n", "row 2: side 'in'"),
        ("input,nan,1\n", "row 2: tokens 'nan'"),
        ("input,0,1\n", "row 2: tokens is 0"),
    ],
)
def test_faulty_cdfs_are_named(tmp_path: Path, rows: str, text: str) -> None:
    with pytest.raises(SchemaError, match=text):
        classes_from_cdf(write(tmp_path / "c.csv", CDF + rows), 4)


def test_equal_lengths_stay_together() -> None:
    ones = np.ones(10, dtype=np.int64)
    (only,) = classes_from_trace(Trace("t", np.arange(10.0), ones, ones), 4)
    assert only.share == 1
    assert bucket_edges(6) == pytest.approx((0.225, 0.45, 0.675, 0.9, 0.99))
