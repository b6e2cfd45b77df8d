"""Predictions against measured runs; what a file may hold; what errors are allowed to be."""

from __future__ import annotations

import csv
import json
import math
import re
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tokenfleet.backtest import Report, Run, backtest, file_kind, open_ttft_fixed_ms
from tokenfleet.backtest.predict import Predictor
from tokenfleet.backtest.run import Tokens
from tokenfleet.catalog import load_catalog, names
from tokenfleet.catalog.names import UnknownNameError
from tokenfleet.cli.app import app
from tokenfleet.errors import SchemaError
from tokenfleet.points.rates import Allowed, Layout, TypicalRequest, best_rate, open_loop

FACTS = Path(__file__).resolve().parents[2] / "shared" / "facts"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "accuracy.md"
needs_facts = pytest.mark.skipif(not FACTS.is_dir(), reason="no folder of facts beside the tree")
KEYS = [
    f"{metric}_{kind}_pct"
    for metric in ("tpot", "ttft", "tokens_s_gpu")
    for kind in ("median", "mape", "bias")
]
HEADER = (
    "id,system,backend,model,precision,gpus,attn_tp,attn_dp,ep,concurrency,isl,osl,ttft_ms,"
    "tpot_ms,output_tok_s_gpu,flag"
)
GOOD = "a,h100_sxm,vllm,meta-llama/Meta-Llama-3.1-70B,fp8,4,4,1,1,16,1024,1024,100,15,250,"


@pytest.fixture(scope="module")
def shipped() -> Report:
    return backtest()


@pytest.fixture(scope="module")
def facts() -> Report:
    return backtest([FACTS / "serving_points.csv"])


def written(tmp_path: Path, *rows: str, header: str = HEADER) -> Path:
    path = tmp_path / "points.csv"
    path.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    return path


def number(stats: dict[str, float | int | None], key: str) -> float:
    value = stats[key]
    assert value is not None
    return float(value)


@needs_facts
def test_errors_are_within_the_targets(facts: Report) -> None:
    overall = facts.overall
    assert number(overall, "n") == 1343  # of 1,479 rows, 136 are flagged
    assert number(overall, "tpot_median_pct") <= 11.0
    assert number(overall, "tokens_s_gpu_median_pct") <= 12.0
    assert number(overall, "ttft_median_pct") <= 35.0
    assert not facts.skipped


@needs_facts
def test_the_other_predictor_is_as_published(facts: Report) -> None:
    # Medians and means of the public predictor over unflagged rows, as the notes have them.
    overall = facts.overall
    assert number(overall, "other_tpot_median_pct") == pytest.approx(12.7, abs=0.5)
    assert number(overall, "other_ttft_median_pct") == pytest.approx(50.0, abs=1.0)
    assert number(overall, "other_tokens_s_gpu_median_pct") == pytest.approx(12.9, abs=0.5)
    assert number(overall, "tpot_median_pct") < number(overall, "other_tpot_median_pct")


@needs_facts
def test_the_page_shows_what_the_command_prints(facts: Report) -> None:
    text = PAGE.read_text(encoding="utf-8")
    (line,) = re.findall(r"^\| closed loop, unflagged \|(.*)$", text, flags=re.MULTILINE)
    printed = [float(x.replace(",", "")) for x in re.findall(r"\d[\d,.]*", line)]
    keys = [
        f"{metric}_{kind}_pct"
        for metric in ("tpot", "ttft", "tokens_s_gpu")
        for kind in ("median", "mape")
    ]
    shown = [number(facts.overall, key) for key in ("n", *keys)]
    assert shown == pytest.approx(printed, abs=0.3)


@needs_facts
@pytest.mark.parametrize("by", ["accelerator", "engine", "model", "precision", "concurrency"])
def test_no_regime_is_far_off(facts: Report, by: str) -> None:
    rows = [r for r in facts.regimes() if r["by"] == by]
    assert sum(r["n"] for r in rows) == number(facts.overall, "n")
    for row in rows:
        if row["n"] == 1:  # one run, of DeepSeek-V3.1, is no regime
            continue
        assert row["tpot_median_pct"] < 16.0, row["value"]
        assert row["tokens_s_gpu_median_pct"] < 16.0, row["value"]


def test_shipped_points(shipped: Report) -> None:
    kinds = Counter(r.run.kind for r in shipped.results)
    assert kinds["closed"] > 1400
    assert kinds["offline"] > 300
    assert kinds["server"] > 50
    assert min(kinds["open"], kinds["saturated"], kinds["power"]) > 5
    reasons = {s.reason.split(":")[0] for s in shipped.skipped}
    assert "accelerator Arc-Pro-B60-Dual-48GB is not in the catalog" in reasons
    assert number(shipped.overall, "tpot_median_pct") <= 12.0
    assert number(shipped.overall, "tokens_s_gpu_median_pct") <= 12.0
    assert {r["value"] for r in shipped.regimes() if r["by"] == "provenance"} == {
        "calibrated",
        "inherited",
    }


def test_json_has_the_keys(shipped: Report) -> None:
    data = json.loads(json.dumps(shipped.to_json(), allow_nan=False))
    assert set(KEYS) | {"n"} <= set(data["overall"])
    assert all({"file", "row", "reason"} <= set(row) for row in data["skipped"])
    for row in data["regimes"]:
        assert set(KEYS) | {"by", "value", "n"} <= set(row)
    flags = {row["flag"] for row in data["flagged"]["by_flag"]}
    assert "suspected speculative decoding" in flags


def test_error_by_hand(tmp_path: Path) -> None:
    report = backtest([written(tmp_path, GOOD, GOOD.replace("a,", "b,", 1) + "odd run")])
    (result,) = report.unflagged
    assert len(report.results) == 2
    off = 100 * (result.predicted["tpot"] / 15 - 1)
    assert report.overall["tpot_median_pct"] == pytest.approx(abs(off))
    assert report.overall["tpot_bias_pct"] == pytest.approx(off)
    assert report.overall["other_tpot_median_pct"] is None


def test_closed_loop_keeps_littles_law() -> None:
    layout = Layout("h100_sxm_8", "llama-3.1-70b", "vllm", "fp8", "fp8", tp=4)
    (rates,), _ = closed_loops(layout)
    seconds = (rates["ttft"] + 1023 * rates["tpot"]) / 1e3
    assert rates["tokens_s_gpu"] == pytest.approx(16 * 1024 / seconds / layout.gpus)


def closed_loops(*layouts: Layout) -> tuple[list[dict[str, float]], list[dict[str, str]]]:
    """Sixteen requests of 1,024 + 1,024 tokens on each layout, and the kernels it inherits."""
    length = Tokens(1024.0)
    runs = [Run("", 0, "", "closed", (x,), 16.0, length, length, {}) for x in layouts]
    predictor = Predictor(load_catalog(), runs)
    inherited = [predictor.inherited(r, x) for r, x in zip(runs, layouts, strict=True)]
    return predictor.predict(), inherited


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("h100_sxm", "quantum_8", "accelerator quantum_8 is not in the catalog"),
        ("vllm", "ollama", "engine ollama has no overheads"),
        ("Meta-Llama-3.1-70B", "Llama-9-9B", "model meta-llama/Llama-9-9B is not in the catalog"),
        (",fp8,", ",int3,", "number format int3"),
        (",16,1024", ",,1024", "no concurrency"),
        (",4,4,1,1,", ",8,4,1,1,", "gpus is not attn_tp x attn_dp"),
        (",fp8,", ",fp4,", "no kernel figure for its formats"),
    ],
)
def test_rows_without_prediction_say_why(tmp_path: Path, old: str, new: str, reason: str) -> None:
    report = backtest([written(tmp_path, GOOD, GOOD.replace(old, new, 1))])
    assert len(report.results) == 1
    assert reason in report.skipped[0].reason
    assert report.skipped[0].row == 3


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        (",100,15,", ",100,fast,", "row 2: tpot_ms: 'fast'"),
        (",16,1024", ",-3,1024", "row 2: concurrency: '-3'"),
        (",16,1024", ",nan,1024", "row 2: concurrency: 'nan'"),
        (",4,4,1,1,", ",4,3.5,1,1,", "row 2: attn_tp: 3.5 is not whole"),
    ],
)
def test_broken_cells_are_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    with pytest.raises(SchemaError, match=named):
        backtest([written(tmp_path, GOOD.replace(old, new, 1))])


def test_files_of_another_kind_and_none(tmp_path: Path) -> None:
    report = backtest([written(tmp_path, "1,2", header="watts,system")])
    assert report.overall["n"] == 0
    assert report.overall["tpot_median_pct"] is None
    assert "no columns" in report.skipped[0].reason
    with pytest.raises(SchemaError, match="nowhere"):
        backtest([tmp_path / "nowhere.csv"])


@needs_facts
def test_open_loop() -> None:
    report = backtest([FACTS / "open_loop_points.csv"])
    assert number(report.overall, "ttft_median_pct") <= 25.0
    reasons = {s.reason.split(",")[0] for s in report.skipped}
    assert "saturated" in reasons
    assert number(report.overall, "tpot_median_pct") <= 15.0
    vllm = next(r for r in report.regimes() if (r["by"], r["value"]) == ("engine", "vllm"))
    assert vllm["tpot_median_pct"] <= 11.0


@needs_facts
def test_fixed_part_of_open_loop_ttft_is_what_the_runs_show() -> None:
    engines = load_catalog().kernels.engines
    held = {name: float(fit["open_ttft_fixed_ms"]) for name, fit in engines.items()}
    found = open_ttft_fixed_ms(backtest([FACTS / "open_loop_points.csv"]).results, held)
    assert set(found) == {"sglang", "vllm"}
    for engine, value in found.items():
        assert value == pytest.approx(held[engine], abs=0.25)  # held to half a millisecond
    assert held["trtllm"] == min(found.values()) or math.isclose(
        held["trtllm"], min(found.values()), abs_tol=0.25
    )


@needs_facts
@pytest.mark.parametrize(
    ("model", "published", "isl", "osl"),
    [("llama-3.1-70b", "llama2-70b-99", 222.3, 294.45), ("llama-3.1-8b", "llama3.1-8b", 778, 128)],
)
def test_power_and_rate_of_a_full_server(
    model: str, published: str, isl: float, osl: float
) -> None:
    """MLPerf v5.1 on 8xB200. Llama-3.1-70B has the shape of Llama-2-70B but for the vocabulary."""
    with (FACTS / "mlperf_power.csv").open(encoding="utf-8") as lines:
        rows = [r for r in csv.DictReader(lines) if r["model"] == published]
    offline = next(r for r in rows if r["scenario"] == "Offline")
    limits = TypicalRequest(isl, osl, ttft_ms=10_000.0)
    best = best_rate(load_catalog(), "b200_sxm_8", model, limits, Allowed(("nvfp4",)))
    assert best is not None
    assert 8 * best.watts_per_gpu == pytest.approx(float(offline["average_watts"]), rel=0.15)
    tokens = 8 * best.requests_s_gpu * osl
    assert tokens == pytest.approx(float(offline["tokens_s"]), rel=0.25)


@pytest.mark.parametrize(
    ("name", "architecture", "expected"),
    [
        ("meta-llama/Meta-Llama-3.1-8B", None, "llama-3.1-8b"),
        ("meta-llama/Llama-3.1-8B-Instruct", None, "llama-3.1-8b"),
        ("deepseek-ai/DeepSeek-R1-0528", None, "deepseek-r1"),
        ("nvidia/DeepSeek-V3.1-NVFP4", "deepseek-v3", "deepseek-v3.1"),
        ("Qwen/Qwen3-235B-A22B-FP8", None, "qwen3-235b-a22b"),
        ("openai/gpt-oss-120b", None, "gpt-oss-120b"),
    ],
)
def test_model_names(name: str, architecture: str | None, expected: str) -> None:
    assert names.model(load_catalog(), name, architecture) == expected


def test_formats() -> None:
    catalog = load_catalog()
    assert names.precision(catalog, "qwen3-235b-a22b", "fp8") == "fp8_block"
    assert names.precision(catalog, "llama-3.1-70b", "fp8") == "fp8"
    assert names.precision(catalog, "llama-3.1-8b", "") == "bf16"
    assert names.precision(catalog, "gpt-oss-120b", "fp4") == "mxfp4"
    assert names.kv_format("sglang", "fp8_block") == "bf16"
    assert names.kv_format("trtllm", "fp8_block") == "fp8"
    assert names.system(catalog, "GB200") == "gb200_nvl72"
    assert names.system(catalog, "H100") == "h100_sxm_8"
    assert names.system(catalog, "A100_80GB_PCIe") == "a100_pcie_8"
    assert names.system(catalog, "NVIDIA B200-SXM-180GB") == "b200_sxm_8"
    assert names.system(catalog, "GB300 NVL72") == "gb300_nvl72"
    assert names.system(catalog, "MI325X-256GB") == "mi325x_8"
    assert names.system(catalog, "H200-NVL-141GB") == "h200_nvl_8"
    for name in ("H999", "CPU", "mixed MI300X+MI325X"):
        with pytest.raises(UnknownNameError):
            names.system(catalog, name)


@pytest.mark.parametrize(
    ("name", "system"),
    [
        ("RTX-PRO-6000-96GB", "rtx_pro_6000_se_8"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "rtx_pro_6000_se_8"),
        ("NVIDIA A100-SXM4-80GB", "a100_sxm_8"),
        ("NVIDIA H100 80GB HBM3", "h100_sxm_8"),
        ("AMD Instinct MI300X 192GB HBM3", "mi300x_8"),
        ("AMD_Instinct_MI300X_OAM", "mi300x_8"),
        ("NVIDIA H100 PCIe", "h100_pcie_8"),
        ("GB200-186GB", "gb200_nvl72"),  # what the driver leaves of 192 GB
        ("TPU v7x", "tpu7x_64"),
        ("GB200-186GB_aarch64x4", "gb200_nvl72"),  # MLPerf: four of them beside an ARM host
        ("8x NVIDIA H200", "h200_sxm_8"),
        ("H100x8", "h100_sxm_8"),
        ("NVIDIA DGX B200", "b200_sxm_8"),
        ("A100-80G", "a100_sxm_8"),
        ("Intel(R) Arc(TM) Pro B60 Graphics", "arc_pro_b60_8"),
        ("tpu-v6e-8", "tpu_v6e_8"),
        ("Google Trillium", "tpu_v6e_8"),
        ("Ironwood", "tpu7x_64"),
        ("Intel HL-325L", "gaudi3_8"),
        ("AWS Trainium2", "trn2_16"),
        ("Trainium3", "trn3_ultra64"),
        ("p5.48xlarge", "h100_sxm_8"),
        ("ND_H200_v5", "h200_sxm_8"),
        ("RTX 6000 Pro", "rtx_pro_6000_se_8"),
    ],
)
def test_systems_by_the_names_that_people_write(name: str, system: str) -> None:
    assert names.system(load_catalog(), name) == system


@pytest.mark.parametrize("name", ["H800", "8*H800", "GB10", "MI300A", "NVIDIA H100 NVL", "A10G"])
def test_another_accelerator_is_not_taken_for_a_known_one(name: str) -> None:
    with pytest.raises(UnknownNameError, match="is not in the catalog"):
        names.system(load_catalog(), name)


@pytest.mark.parametrize("name", ["A100-PCIE-40GB", "NVIDIA A100-SXM4-40GB", "H20-141GB"])
def test_a_card_of_another_memory_size_is_another_card(name: str) -> None:
    with pytest.raises(UnknownNameError, match=r"the catalog's \w+ has \d+ GB"):
        names.system(load_catalog(), name)


@pytest.mark.parametrize(
    ("name", "model", "stated"),
    [
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "mixtral-8x7b", ""),
        ("RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic", "llama-3.3-70b", "fp8"),
        ("nvidia/DeepSeek-R1-0528-NVFP4-v2", "deepseek-r1", "nvfp4"),
        ("Qwen/Qwen3-30B-A3B-Thinking-2507-FP8", "qwen3-30b-a3b", "fp8"),
        ("neuralmagic/Meta-Llama-3.1-70B-Instruct-quantized.w4a16", "llama-3.1-70b", "w4a16"),
        ("deepseek-ai/DeepSeek-V3.2", "deepseek-v3.2", ""),
        ("Qwen/Qwen3-32B-GPTQ-Int4", "qwen3-32b", "gptq"),
        ("llama3.1-8b", "llama-3.1-8b", ""),
        ("llama2-70b-99.9", "llama-2-70b", ""),
        ("Llama 3.1 70B Instruct", "llama-3.1-70b", ""),
        ("gpt_oss_120b", "gpt-oss-120b", ""),
        ("DeepSeek-R1-0528-FP4-v2", "deepseek-r1", "fp4"),
        ("DeepSeek-V3.1-Terminus", "deepseek-v3.1", ""),
        ("meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8", "llama-4-maverick", "fp8"),
        ("unsloth/Llama-3.3-70B-Instruct-bnb-4bit", "llama-3.3-70b", "bnb-4bit"),
    ],
)
def test_models_by_the_names_that_people_write(name: str, model: str, stated: str) -> None:
    """A number format in the name is kept: rows that state it nowhere else are not as published."""
    assert names.model(load_catalog(), name, None) == model
    assert names.format_in(name) == stated


def test_files_without_a_row_that_can_be_predicted_say_so(tmp_path: Path) -> None:
    none = written(tmp_path, OFFLINE.replace("TensorRT 10.11", "MagicServe", 1), header=MLPERF)
    shown = CliRunner().invoke(app, ["backtest", str(none)])
    assert shown.exit_code == 2
    assert "no row was predicted" in shown.output and "MagicServe" in shown.output


def test_file_kinds() -> None:
    assert file_kind(HEADER.split(",")) == "closed"
    assert file_kind(["watts"]) == "other"


MLPERF = (
    "row_id,accelerator_key,total_accelerators,model,scenario,tokens_s_per_accelerator,precision,"
    "framework,tensor_parallel,pipeline_parallel,expert_parallel,batch_limit,ttft_limit_ms,"
    "tpot_limit_ms,slo_utilisation,duplicate_of"
)
OFFLINE = "M1,H200-SXM-141GB,8,llama2-70b-99,Offline,4300,fp8,TensorRT 10.11,1,1,,2048,,,,"
SERVER = "M2,H200-SXM-141GB,8,llama2-70b-99,Server,4100,fp8,TensorRT 10.11,1,1,,2048,2000,200,0.95,"


def test_mlperf_rows(tmp_path: Path) -> None:
    report = backtest([written(tmp_path, OFFLINE, SERVER, header=MLPERF)])
    offline, server = report.results
    assert [r.run.kind for r in report.results] == ["offline", "server"]
    assert offline.layout.tp == 1
    assert offline.run.at.batch_per_rank == 2048
    # 24,576 samples over 8 accelerators; in ten minutes more: 600 s x 4,300 / 294.45 tokens.
    assert offline.run.at.requests_per_gpu == pytest.approx(600 * 4300 / 294.45)
    assert server.run.at.limits is not None
    assert server.predicted["tokens_s_gpu"] < offline.predicted["tokens_s_gpu"] * 1.1
    row = next(b for b in report.benchmarks() if b["kind"] == "offline")
    off = 100 * abs(offline.predicted["tokens_s_gpu"] / 4300 - 1)
    assert row["tokens_s_gpu_cells_mape_pct"] == pytest.approx(off)


@pytest.mark.parametrize(
    ("row", "old", "new", "reason"),
    [
        (OFFLINE, "2048,,,,", "2048,,,,M7", "a copy of M7"),
        (OFFLINE, "llama2-70b-99", "gptj-99", "no lengths in mlperf_workloads.csv"),
        (OFFLINE, "llama2-70b-99", "gpt-oss-120b", "no lengths in mlperf_workloads.csv"),
        (OFFLINE, "TensorRT 10.11", "MagicServe", "in the calibration is named in MagicServe"),
        (OFFLINE, "TensorRT 10.11", "TensorRT 10.14 and vLLM 0.13", "names vLLM and TensorRT-LLM"),
        (SERVER, "0.95", "0.6", "far below its latency limits"),
        (OFFLINE, "H200-SXM-141GB", "H200-NVL-141GB", "no figure for bf16_tflops"),
    ],
)
def test_mlperf_rows_without_prediction_say_why(
    tmp_path: Path, row: str, old: str, new: str, reason: str
) -> None:
    report = backtest([written(tmp_path, row.replace(old, new, 1), header=MLPERF)])
    assert not report.results
    assert reason in report.skipped[0].reason


PUBLISHED = (
    "row_id,group,kind,system,parallelism,model,precision,framework,isl,osl,concurrency,"
    "tok_s_per_gpu,tok_kind,tpot_ms,ttft_ms,spec_decode,disagg"
)
# 64 requests of 2,048 tokens in 136 + 1,023 x 29.1 ms: 4,384 tokens/s in all, so two accelerators.
POINT = "P1,ifx,measured,H100,,Llama-3.3-70B,FP8,vllm,1024,1024,64,2192,total,29.1,136,unstated,no"
MAXIMUM = (
    "P2,docs,measured,H200,TP8,Llama-3.1-405B,FP8,TensorRT-LLM 1.0,1000,1000,,400,output,,,no,no"
)


def test_published_rows(tmp_path: Path) -> None:
    report = backtest([written(tmp_path, POINT, MAXIMUM, header=PUBLISHED)])
    closed, offline = report.results
    assert (closed.run.kind, closed.layout.tp) == ("closed", 2)
    assert closed.run.measured["tokens_s_gpu"] == 1096.0  # half of all tokens are output
    assert (offline.run.kind, offline.layout.tp, offline.run.at.reserved) == ("offline", 8, True)
    assert offline.run.version == "1.0"


def test_published_layouts_with_stages(tmp_path: Path) -> None:
    """TensorRT-LLM's own tables write "TP4,PP2": two stages of four ranks."""
    rows = [MAXIMUM.replace("TP8", "TP4,PP2", 1), MAXIMUM.replace("TP8", "TP2 PP4", 1)]
    report = backtest(
        [
            written(
                tmp_path, *(f"{r}".replace("TP4,PP2", '"TP4,PP2"') for r in rows), header=PUBLISHED
            )
        ]
    )
    assert [(r.layout.tp, r.layout.pp) for r in report.results] == [(4, 2), (2, 4)]


def test_published_runs_that_draft_are_predicted(tmp_path: Path) -> None:
    """ "MTP1" drafts one token, "MTP" three; 0.69 of the drafted tokens are accepted."""
    plain = POINT.replace(",64,2192,", ",1,68.5,").replace(",29.1,", ",14.6,")
    plain = plain.replace(",H100,,", ",H100,TP8,").replace(",vllm,", ",trt,", 1)
    drafts = [
        plain.replace(",trt,", f",trt ({n}),").replace("unstated,no", "yes,no")
        for n in ("MTP1", "MTP")
    ]
    report = backtest([written(tmp_path, plain, *drafts, header=PUBLISHED)])
    assert [r.layout.speculative_depth for r in report.results] == [0, 1, 3]
    off, one, three = (r.predicted["tpot"] for r in report.results)
    # 1.69 and 2.49 tokens a step that takes 5 and 15 % longer, and little more for more tokens.
    assert 1.05 / 1.69 < one / off < 1.15 / 1.69
    assert 1.15 / 2.49 < three / off < 1.35 / 2.49


@pytest.mark.parametrize(
    ("row", "old", "new", "reason"),
    [
        (POINT, "measured", "vendor_claim", "not a measurement"),
        (POINT, "unstated,no", "yes,no", "speculative decoding"),
        (POINT, "unstated,no", "unstated,yes", "separate pools"),
        (POINT, "2192", "1500", "its figures give 2.9"),
        (POINT, ",64,", ",,", "neither requests in flight nor a layout"),
    ],
)
def test_published_rows_without_prediction_say_why(
    tmp_path: Path, row: str, old: str, new: str, reason: str
) -> None:
    report = backtest([written(tmp_path, row.replace(old, new, 1), header=PUBLISHED)])
    assert not report.results
    assert reason in report.skipped[0].reason


def test_power_rows(tmp_path: Path) -> None:
    header = (
        "accelerator,accelerators,cooling,model,scenario,precision,tokens_s,average_watts,"
        "pre_run_min_watts"
    )
    full = "NVIDIA B200-SXM-180GB,8,Air-cooled,llama2-70b-99,Offline,fp4,999999,10401,2876"
    other = "NVIDIA B200-SXM-180GB,8,Water-cooled,whisper,Offline,fp16,,7000,2358"
    report = backtest([written(tmp_path, full, other, header=header)])
    loaded, idle, wet = report.results
    # Idle 2,876 W is the catalog's; a full load adds 0.522 of a rating of 14.3 kW.
    assert idle.predicted["watts"] == pytest.approx(2876)
    assert loaded.predicted["watts"] == pytest.approx(2876 + 0.522 * 14_300)
    assert wet.predicted["watts"] == pytest.approx(0.165 * 14_300)


def test_cards_on_a_bus_exchange_over_it(tmp_path: Path) -> None:
    """L40S has no link between cards; PCIe at 32 GB/s joins the eight of a server."""
    rows = [
        GOOD.replace("h100_sxm", "l40s").replace(",4,4,1,1,", f",{n},{n},1,1,") for n in (4, 8, 16)
    ]
    report = backtest([written(tmp_path, *rows)])
    four, eight = report.results
    assert four.predicted["tpot"] < eight.predicted["tpot"] * 2
    assert "no layout" in report.skipped[0].reason


def test_models_beside_a_file_are_read(tmp_path: Path) -> None:
    fixture = Path(__file__).parent / "fixtures" / "tiny_config.json"
    folder = tmp_path / "model_configs"
    folder.mkdir()
    (folder / "somebody--Tiny-7B_config.json").write_bytes(fixture.read_bytes())
    (folder / "somebody--Broken-7B_config.json").write_text("{}", encoding="utf-8")
    rows = [
        GOOD.replace("meta-llama/Meta-Llama-3.1-70B", f"somebody/{n}-7B")
        for n in ("Tiny", "Broken")
    ]
    report = backtest([written(tmp_path, *rows)])
    assert [r.layout.model for r in report.results] == ["tiny-7b"]
    assert "somebody/Broken-7B is not in the catalog" in report.skipped[0].reason


def test_hopper_experts_in_8_bits_are_marked_and_not_slower_than_16() -> None:
    wide = Layout("h100_sxm_8", "qwen3-235b-a22b", "trtllm", "bf16", "bf16", tp=8, ep=8)
    narrow = Layout("h100_sxm_8", "qwen3-235b-a22b", "trtllm", "fp8", "fp8", tp=8, ep=8)
    (wider, narrower), (_, inherited) = closed_loops(wide, narrow)
    assert inherited == {"moe fp8": "fp8_block kernels"}
    assert narrower["tpot"] < wider["tpot"]


POOLS = (
    "id,system,backend,model,precision,prefill_workers,prefill_tp,prefill_adp,prefill_ep,"
    "decode_workers,decode_tp,decode_adp,decode_ep,layout_source,concurrency,isl,osl,ttft_ms,"
    "tpot_ms,output_tok_s_gpu"
)
POOL_RUN = (
    "D1,gb200,trtllm,deepseek-ai/DeepSeek-R1,fp4,1,1,4,4,3,8,1,8,labelled,64,1024,1024,300,9,200"
)


def test_rows_of_separate_pools(tmp_path: Path) -> None:
    unstated = POOL_RUN.replace("labelled", "attention split not stated")
    report = backtest([written(tmp_path, POOL_RUN, unstated, header=POOLS)])
    (result,) = report.results
    assert result.run.pools is not None
    assert (result.run.pools.prefill.attention_dp, result.layout.tp) == (4, 8)
    # Little's law: 64 requests over 28 accelerators, each of 1,024 tokens in TTFT + 1,023 x TPOT.
    seconds = (result.predicted["ttft"] + 1023 * result.predicted["tpot"]) / 1e3
    assert result.predicted["tokens_s_gpu"] == pytest.approx(64 * 1024 / seconds / 28, rel=1e-6)
    assert [s.reason for s in report.skipped] == ["separate pools: attention split not stated"]


@pytest.mark.parametrize("engine", ["sglang", "trtllm", "vllm"])
def test_open_and_closed_form_agree_at_one_request_in_flight(tmp_path: Path, engine: str) -> None:
    row = GOOD.replace("vllm", engine).replace(",16,1024,1024,", ",1,2000,200,")
    (one,) = backtest([written(tmp_path, row)]).results
    alone = open_loop(load_catalog(), one.layout, 64, 0.001, TypicalRequest(2000, 200))
    assert alone is not None
    assert one.predicted["ttft"] == pytest.approx(alone.ttft_ms, rel=0.1)
    assert one.predicted["tpot"] == pytest.approx(alone.tpot_ms, rel=0.05)


# Where the reason was in doubt, it was looked up in the row itself and in its source.
TRUE_REASONS = (
    "a copy of another row",
    "a server run that is far below its latency limits",
    "accelerator Arc-Pro-B60-Dual-48GB is not in the catalog",
    "accelerator CPU is not in the catalog",
    "accelerator mixed MI300X+MI325X is not in the catalog",
    "catalog row h200_nvl_8: no figure for ",
    "catalog row mi350x_8: no figure for ",
    "MLPerf workload gpt-oss-120b: no lengths in mlperf_workloads.csv",
    "no framework with constants in the calibration is named in ",
    "framework TensorRT 10.14, CUDA 13.1, ",
    "no framework is stated",
    "no columns of a kind of run that is known",
    "no isl_tokens_mean",
    "no layout that fits, or no kernel figure for its formats",
    "no layout, and no latencies to tell its size from",
    "neither requests in flight nor a layout",
    "neither tokens/s nor idle watts",
    "saturated, and not the run that served most",
    "separate pools",
    "speculative decoding, by what is not stated",
    "model (blank) is not in the catalog",
    "chart_read: not a measurement",
    "derived: not a measurement",
    "interpolated: not a measurement",
    "operator_report: not a measurement",
    "vendor_claim: not a measurement",
)


@needs_facts
def test_no_row_of_the_facts_is_refused_for_a_false_reason() -> None:
    report = backtest(sorted(FACTS.glob("*.csv")))
    untold = [(n, r) for r, n in report.refused() if not r.startswith(TRUE_REASONS)]
    assert untold == []
    assert sum(n for _, n in report.refused()) == len(report.skipped)


def test_the_command_says_what_was_refused_and_why(tmp_path: Path) -> None:
    rows = written(tmp_path, GOOD, GOOD.replace("a,h100_sxm,", "b,somewhat,"))
    result = CliRunner().invoke(app, ["backtest", str(rows), "--calibration", "none"])
    assert "rows not predicted: 1" in result.output
    assert "1 x accelerator somewhat is not in the catalog" in result.output
