"""Files of other tools in the forms of older and newer versions, and files that only look alike.

Every figure is written into the file by the test; what is expected is that figure in its unit.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tokenfleet.errors import SchemaError
from tokenfleet.importers.detect import Imported, import_file

MODEL = "meta-llama/Llama-3.1-8B-Instruct"


def written(folder: Path, content: Any, name: str = "file.json") -> Path:
    path = folder / name
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")
    return path


def figures(found: Imported) -> dict[tuple[str, str], float]:
    return {(m.metric, m.statistic): m.value for m in found.measurements}


def block(mean: float, *, p50: float | None) -> dict[str, Any]:
    """A metric of GuideLLM; the median has a place of its own before it is a percentile."""
    percentiles = {"p90": 1.4 * mean, "p99": 2.0 * mean} | ({} if p50 is None else {"p50": p50})
    whole = {"mean": mean, "median": 0.75 * mean, "std_dev": 1.0, "percentiles": percentiles}
    return {"successful": whole}


def benchmark(strategy: dict[str, Any], *, p50: float | None = None) -> dict[str, Any]:
    metrics = {
        "time_to_first_token_ms": block(80.0, p50=p50),
        "inter_token_latency_ms": block(20.0, p50=None),
        "prompt_token_count": block(512.0, p50=None),
        "output_token_count": block(128.0, p50=None),
        "requests_per_second": block(2.0, p50=None),
        "request_totals": {"successful": 100, "errored": 0},
    }
    return {"config": {"strategy": strategy}, "metrics": metrics}


EIGHT = {"type_": "concurrent", "streams": 8}


@pytest.mark.parametrize(("p50", "median"), [(None, 60.0), (70.0, 70.0)], ids=["before", "after"])
def test_the_median_of_guidellm(p50: float | None, median: float, tmp_path: Path) -> None:
    report = {"args": {"model": MODEL}, "benchmarks": [benchmark(EIGHT, p50=p50)]}
    found = import_file(written(tmp_path, report), system="h100_sxm_8", tp=1)
    assert figures(found)["ttft", "p50"] == median
    assert figures(found)["tpot", "p50"] == 15.0
    assert {m.concurrency for m in found.measurements} == {8}


def test_totals_and_model_of_guidellm_where_later_versions_have_them(tmp_path: Path) -> None:
    row = benchmark({"kind": "constant", "rate": 4.0})
    del row["metrics"]["request_totals"]
    row["scheduler_metrics"] = {"requests_made": {"successful": 90, "errored": 3}}
    report = {"config": {"spec": {"backend": {"model": MODEL}}}, "benchmarks": [row]}
    found = import_file(written(tmp_path, report), system="h100_sxm_8", tp=1)
    (facts,) = {(m.model, m.n, m.request_rate, m.concurrency) for m in found.measurements}
    assert facts == ("llama-3.1-8b", 90, 4.0, None)
    assert "3 requests failed" in " ".join(found.warnings)


def test_statistics_of_llmperf_in_groups(tmp_path: Path) -> None:
    """(3.2 s - 0.08 s) / 127 tokens after the first: 24.57 ms."""
    summary = {
        "model": MODEL, "num_concurrent_requests": 8, "results_num_completed_requests": 100,
        "results_ttft_s": {"quantiles": {"p50": 0.07, "p99": 0.12}, "mean": 0.08},
        "results_end_to_end_latency_s": {"quantiles": {"p50": 3.1}, "mean": 3.2},
        "results_number_input_tokens": {"mean": 512}, "results_number_output_tokens": {"mean": 128},
    }  # fmt: skip
    found = import_file(written(tmp_path, summary), system="h100_sxm_8", tp=1)
    got = figures(found)
    assert got["ttft", "p50"] == pytest.approx(70.0) and got["ttft", "p99"] == pytest.approx(120.0)
    assert got["tpot", "mean"] == pytest.approx(3120.0 / 127)
    assert {(m.input_tokens, m.output_tokens) for m in found.measurements} == {(512.0, 128.0)}


def test_a_latency_run_of_vllm_without_percentiles(tmp_path: Path) -> None:
    run = {"avg_latency": 3.2, "latencies": [3.1, 3.3]}
    given = {"model": "llama-3.1-8b", "system": "h100_sxm_8", "tp": 1, "concurrency": 8}
    lengths = {"input_tokens": 512, "output_tokens": 128}
    found = import_file(written(tmp_path, run), **given, **lengths)
    assert figures(found) == {("e2el", "mean"): 3200.0}


REJECTED = {  # reports whose runs hold nothing, and the reason
    "GuideLLM before 0.2": (
        {"benchmarks": [{"benchmarks": [{"mode": "x", "results": []}]}]}, "before 0.2",
    ),
    "no benchmark": ({"benchmarks": []}, "has no benchmark"),
    "no request": ({"benchmarks": [{"metrics": {}}]}, "no request was successful"),
}  # fmt: skip


@pytest.mark.parametrize("case", REJECTED)
def test_a_report_without_runs_says_why(case: str, tmp_path: Path) -> None:
    report, reason = REJECTED[case]
    found = import_file(written(tmp_path, report), system="h100_sxm_8", tp=1)
    assert not found.measurements and reason in found.rejected[0].reason


ONE = {"ttft_s": 0.1, "end_to_end_latency_s": 3.2, "number_output_tokens": 128}
OTHERS: dict[str, tuple[str, Any, str, str]] = {  # name, content, what it is, what to give
    "LLMPerf's requests": ("a.json", [ONE], "LLMPerf's file of single", "_summary.json"),
    "inference-perf's requests": (
        "a.json", [{"start_time": 1.0, "end_time": 2.0, "request": "", "info": {}}],
        "inference-perf's file of single", "summary_lifecycle_metrics.json",
    ),
    "inference-perf's server": (
        "a.json", {"avg_queue_length": 0, "request_latency": {}}, "the server counted", "lifecycle",
    ),
    "a record": ("a.json", [{"benchmark": {}, "model": {}, "metric": {}}], "PyTorch", "JSON"),
    "a log of an API": ("a.jsonl", {"object": "x", "usage": {}}, "a log", "TIMESTAMP"),
    "conversations": ("a.json", [{"id": "a", "conversations": []}], "as text", "TIMESTAMP"),
    "no times": ("a.jsonl", {"input_length": 9, "output_length": 9}, "without timestamps", "in ms"),
    "printed": ("a.txt", "============ Serving Benchmark Result ===\n", "prints", "--save-result"),
    "a table of GuideLLM": ("a.csv", "Type,Run Id,Id\nx,1,2\n", "GuideLLM's table", "its JSON"),
    "YAML of GuideLLM": ("a.yaml", "benchmarks:\n- type_: x\n", "as YAML", "its JSON"),
    "nothing": ("a.json", " \n", "is empty", "a file with results"),
    "a trace by dates": (
        "a.csv", "Timestamp,ContextTokens,GeneratedTokens\n2026-01-01 00:00:00,9,9\n",
        "whose columns are Timestamp", "TIMESTAMP,ContextTokens,GeneratedTokens",
    ),
    "a trace by seconds": (
        "a.csv", "timestamp,input_length,output_length\n0.5,9,9\n",
        "whose columns are timestamp", "Timestamp,Request tokens,Response tokens, with times in s",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OTHERS)
def test_a_file_of_another_use_is_called_what_it_is(case: str, tmp_path: Path) -> None:
    name, content, what, cure = OTHERS[case]
    with pytest.raises(SchemaError) as caught:
        import_file(written(tmp_path, content, name), system="h100_sxm_8", tp=1)
    assert what in caught.value.message and cure in caught.value.hint
