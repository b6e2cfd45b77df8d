"""Importers of benchmark results: every conversion by hand, a bad row per format, round trips."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenfleet.backtest import file_kind
from tokenfleet.errors import SchemaError
from tokenfleet.importers import export
from tokenfleet.importers.detect import FORMATS, Imported, import_file
from tokenfleet.importers.measurements import METRICS, Measurement, group_runs, to_csv
from tokenfleet.importers.readings import UNITS, json_rows

FILES = Path(__file__).parent / "fixtures" / "measurements"
QWEN = {"model": "qwen3-32b", "system": "h200_sxm_8", "tp": 4}
# Fixture, its kind, what must be given.
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("vllm.json", "vllm_bench", {}),
    ("vllm_throughput.json", "vllm_throughput", QWEN),
    ("vllm_latency.json", "vllm_latency", {**QWEN, "concurrency": 8}),
    ("guidellm.json", "guidellm", {"system": "h200_sxm_8", "tp": 4}),
    ("inference_perf.json", "inference_perf", QWEN),
    ("llmperf.json", "llmperf", {"system": "h200_sxm_8", "tp": 4}),
    ("mlperf_endpoints.json", "mlperf_endpoints", QWEN),
    ("mlperf_summary_61.json", "mlperf_summary", {}),
    ("aiperf_v2.json", "aiperf_v2", {"system": "h200_sxm_8", "tp": 4}),
    ("sglang.jsonl", "sglang_bench", QWEN),
    ("aiperf.json", "aiperf_json", {"tp": 2}),
    ("aiperf.csv", "aiperf_csv", {**QWEN, "concurrency": 8}),
    ("aiperf_records.jsonl", "aiperf_records", {**QWEN, "concurrency": 2}),
    ("inferencex.json", "inferencex", {}),
    ("aic_agg.csv", "aiconfigurator", {}),
    ("aic_disagg.csv", "aiconfigurator", {}),
    ("mlperf_summary.json", "mlperf_summary", {}),
    ("mlperf_log_summary.txt", "mlperf_log", {**QWEN, "gpus": 4}),
    ("mlperf_log_detail.txt", "mlperf_detail", {**QWEN, "gpus": 4}),
]


def read(name: str, **more: Any) -> Imported:
    told = next(g for n, _, g in CASES if n == name)
    return import_file(FILES / name, **{**told, **more})


def run_of(found: Imported, number: int) -> list[Measurement]:
    return [m for m in found.measurements if m.run == number]


def values(run: Sequence[Measurement]) -> dict[tuple[str, str], float]:
    return {(m.metric, m.statistic): pytest.approx(m.value) for m in run}


def reasons(found: Imported) -> list[tuple[int, str]]:
    return [(r.line, r.reason) for r in found.rejected]


@pytest.mark.parametrize(("name", "kind", "told"), CASES)
def test_kind_is_told_from_the_content_alone(
    name: str, kind: str, told: dict[str, Any], tmp_path: Path
) -> None:
    copy = tmp_path / "results.dat"
    copy.write_bytes((FILES / name).read_bytes())
    found = import_file(copy, **told)
    assert found.kind == kind
    assert found.measurements
    assert all(m.unit == METRICS[m.metric] for m in found.measurements)
    assert {u for u, _ in UNITS.values()} >= set(METRICS.values())


# Each format by hand


def test_vllm_aggregates_are_ms_and_arrays_seconds() -> None:
    run = run_of(read("vllm.json"), 1)
    first = run[0]
    assert (first.model, first.hardware, first.engine) == ("llama-3.1-8b", "h100_sxm_8", "vllm")
    assert (first.gpus, first.parallelism.tp, first.concurrency) == (2, 2, 8)
    assert first.request_rate is None  # "inf"
    assert (first.input_tokens, first.output_tokens) == (1000, 200)  # 4000 / 4, 800 / 4
    assert (first.n, first.date) == (4, date(2026, 7, 1))
    assert values(run) == {
        ("ttft", "mean"): 150.0,
        ("ttft", "p50"): 125.0,
        ("ttft", "p99"): 300.0,
        ("tpot", "mean"): 12.5,
        ("request_throughput", "total"): 0.4,
        ("output_throughput", "total"): 80.0,
        ("total_throughput", "total"): 480.0,
        # 0.1, 0.2, 0.3, 0.4 s; the failed request is left out
        ("ttft", "p90"): 370.0,
        ("ttft", "p95"): 385.0,
    }


def test_vllm_rate_and_unknown_engine_and_hardware() -> None:
    found = read("vllm.json")
    second = run_of(found, 2)
    assert second[0].engine is None  # a client of any server
    assert (second[0].request_rate, second[0].concurrency) == (2.5, None)
    assert values(second)["goodput", "total"] == 0.3
    assert reasons(found)[0][0] == 3
    assert "H999" in reasons(found)[0][1]
    assert json.loads(found.rejected[0].raw)["gpu"] == "H999"


@pytest.mark.parametrize("rate", ["inf", "Infinity", " INF "])
def test_a_rate_without_limit_is_no_rate(rate: str, tmp_path: Path) -> None:
    for name, told in (("vllm.json", {}), ("sglang.jsonl", QWEN)):
        row = json_rows((FILES / name).read_text(), name).rows[0][1]
        file = tmp_path / "x.json"
        file.write_text(json.dumps({**row, "request_rate": rate}))
        found = import_file(file, **told)
        assert {m.request_rate for m in found.measurements} == {None}
        file.write_text(json.dumps({**row, "request_rate": "many"}))
        assert "request_rate" in import_file(file, **told).rejected[0].reason


def test_a_bare_infinity_is_read(tmp_path: Path) -> None:
    row = json_rows((FILES / "sglang.jsonl").read_text(), "x").rows[0][1]
    file = tmp_path / "x.jsonl"
    file.write_text(json.dumps({**row, "request_rate": math.inf}))
    found = import_file(file, **QWEN)
    assert {m.request_rate for m in found.measurements} == {None}
    file.write_text(json.dumps({**row, "mean_ttft_ms": math.inf}))
    assert (
        "mean_ttft_ms: inf is not a finite number" in import_file(file, **QWEN).rejected[0].reason
    )


def test_guidellm_runs_of_a_sweep() -> None:
    found = read("guidellm.json")
    first, second = run_of(found, 1), run_of(found, 2)
    assert (first[0].model, first[0].concurrency, first[0].n) == ("qwen3-32b", 8, 40)
    assert (first[0].input_tokens, first[0].output_tokens) == (1000, 200)
    assert values(first) == {
        ("ttft", "mean"): 210.0,
        ("ttft", "std"): 5.0,
        ("ttft", "p50"): 205.0,
        ("ttft", "p95"): 240.0,
        ("tpot", "mean"): 19.0,  # its ITL; its own TPOT has the first token in it
        ("tpot", "p99"): 22.0,
        ("e2el", "mean"): 4000.0,  # s
        ("e2el", "p50"): 3900.0,
        ("e2el", "p99"): 5000.0,
        ("request_throughput", "total"): 2.0,
        ("output_throughput", "total"): 400.0,
        ("total_throughput", "total"): 2400.0,
        ("in_flight", "mean"): 7.5,
    }
    assert (second[0].request_rate, second[0].concurrency) == (1.5, None)
    assert reasons(found) == [(1, "no request was successful")]
    assert found.warnings == ("line 1: 2 requests failed",)


def test_inference_perf_seconds_are_ms() -> None:
    run = read("inference_perf.json").measurements
    assert (run[0].request_rate, run[0].concurrency, run[0].n) == (4.0, None, 98)
    assert values(run) == {
        ("ttft", "mean"): 300.0,
        ("ttft", "p50"): 250.0,
        ("ttft", "p90"): 500.0,
        ("ttft", "p0.1"): 100.0,
        ("tpot", "mean"): 20.0,
        ("tpot", "p99.9"): 30.0,
        ("itl", "mean"): 19.0,
        ("e2el", "mean"): 5000.0,
        ("e2el", "p50"): 4800.0,
        ("e2el", "p99"): 8000.0,
        ("request_throughput", "total"): 3.8,
        ("input_throughput", "total"): 3900.0,
        ("output_throughput", "total"): 780.0,
        ("total_throughput", "total"): 4680.0,
    }


def test_llmperf_tpot_follows_from_means() -> None:
    run = read("llmperf.json").measurements
    assert (run[0].concurrency, run[0].n, run[0].input_tokens) == (4, 60, 552)
    found = values(run)
    assert found["tpot", "mean"] == pytest.approx(1e3 * (4.5 - 0.25) / 150)
    assert found["ttft", "p99"] == 600.0
    assert found["request_throughput", "total"] == pytest.approx(0.8)  # 48 a minute
    assert found["output_throughput", "total"] == 120.8
    assert ("itl", "mean") not in found


def test_offline_runs_of_vllm() -> None:
    throughput = read("vllm_throughput.json").measurements
    assert throughput[0].engine == "vllm"
    assert values(throughput) == {
        ("request_throughput", "total"): 20.0,
        ("total_throughput", "total"): 12000.0,
    }
    latency = read("vllm_latency.json").measurements
    assert (latency[0].concurrency, latency[0].n) == (8, 2)
    assert values(latency)["e2el", "mean"] == 2500.0
    assert values(latency)["e2el", "p10"] == 2400.0


def test_a_percentile_that_is_no_number_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mlperf_endpoints.json"
    whole = (FILES / path.name).read_text()
    path.write_text(whole.replace('"99.0"', '"{99.0"', 1))
    (rejected,) = import_file(path, **QWEN).rejected
    assert "percentile" in rejected.reason and "{99.0" in rejected.reason


def test_endpoints_nanoseconds_are_ms() -> None:
    run = read("mlperf_endpoints.json").measurements
    assert (run[0].request_rate, run[0].n) == (10.0, 1000)
    found = values(run)
    assert (found["ttft", "mean"], found["ttft", "p99"]) == (210.0, 300.0)
    assert (found["tpot", "mean"], found["tpot", "p99"]) == (40.0, 48.0)
    assert found["output_throughput", "total"] == 2000.0


def test_aiperf_series_are_read_as_the_older_summary() -> None:
    run = read("aiperf_v2.json").measurements
    assert (run[0].model, run[0].concurrency, run[0].input_tokens) == ("qwen3-32b", 16, 1000)
    assert values(run) == {
        ("ttft", "mean"): 50.0,  # of the whole run, not of one turn
        ("ttft", "min"): 40.0,
        ("ttft", "max"): 80.0,
        ("ttft", "std"): 5.0,
        ("ttft", "p50"): 49.0,
        ("ttft", "p99"): 75.0,
        ("tpot", "mean"): 20.0,  # us
        ("tpot", "p99"): 30.0,
        ("output_throughput", "total"): 800.0,
    }


def test_mlperf_rows_by_number() -> None:
    found = read("mlperf_summary_61.json")
    run = found.measurements
    assert (run[0].hardware, run[0].gpus, run[0].engine) == ("h200_sxm_8", 16, "trtllm")
    assert values(run)["output_throughput_per_gpu", "total"] == 3500.0  # 56,000 over 16
    assert found.warnings == ("left out: 1 rows in Queries/s",)


def test_a_rate_per_second_is_of_what_the_figure_counts(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    rows = "Output Token Throughput (per sec),800.25\nRequest Throughput (per sec),4.0\n"
    file.write_text(f"Metric,Value\n{rows}")
    found = values(import_file(file, **QWEN, concurrency=8).measurements)
    assert found["output_throughput", "total"] == 800.25
    assert found["request_throughput", "total"] == 4.0


def test_a_table_written_by_hand(tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    head = "model,hardware,engine,precision,layout_tp,concurrency,metric,statistic,value,unit\n"
    like = "llama-3.1-8b,h100_sxm_8,vllm,fp8,2"
    rows = [
        f"{like},16,ttft,mean,0.12,s",
        f"{like},16,output_throughput,total,1600,tokens/s",
        f"{like},32,ttft,mean,150,ms",
        f"{like},32,ttft,mean,150,tokens",
    ]
    file.write_text(head + "\n".join(rows) + "\n")
    found = import_file(file)
    assert [(m.run, m.gpus, m.value, m.unit) for m in found.measurements] == [
        (1, 2, 120.0, "ms"),
        (1, 2, 1600, "tokens/s"),
        (2, 2, 150, "ms"),
    ]
    assert found.measurements[0].source == "own.csv"
    assert reasons(found) == [(5, "ttft: unit 'tokens' where ms is expected")]


def test_goodput_may_have_a_colon_in_its_name(tmp_path: Path) -> None:
    row = json_rows((FILES / "vllm.json").read_text(), "x").rows[1][1]
    row = {k: v for k, v in row.items() if k != "request_goodput"}
    file = tmp_path / "x.json"
    file.write_text(json.dumps({**row, "request_goodput:": 0.7}))
    assert values(import_file(file).measurements)["goodput", "total"] == 0.7
    file.write_text(json.dumps({**row, "request_goodput:": None}))
    assert ("goodput", "total") not in values(import_file(file).measurements)


def test_sglang_needs_model_and_system() -> None:
    found = read("sglang.jsonl")
    assert {m.model for m in found.measurements} == {"qwen3-32b"}
    assert found.measurements[0].input_tokens == 512
    assert values(found.measurements) == {
        ("ttft", "mean"): 80.0,
        ("ttft", "p50"): 75.0,
        ("ttft", "p99"): 160.0,
        ("tpot", "mean"): 15.0,
        ("itl", "p95"): 20.0,
        ("e2el", "mean"): 2000.0,
        ("e2el", "p50"): 1900.0,
        ("request_throughput", "total"): 3.5,
        ("input_throughput", "total"): 1792.0,
        ("output_throughput", "total"): 448.0,
        ("in_flight", "mean"): 7.0,
    }
    assert [line for line, _ in reasons(found)] == [2, 3]
    with pytest.raises(SchemaError, match="line 1: the file does not say model, system, gpus") as e:
        import_file(FILES / "sglang.jsonl")
    assert "--model" in e.value.hint
    assert "--system" in e.value.hint


def test_aiperf_units_are_read() -> None:
    found = read("aiperf.json")
    assert found.measurements[0].hardware == "h200_sxm_8"  # from telemetry
    assert found.measurements[0].concurrency == 16
    assert values(found.measurements) == {
        ("ttft", "mean"): 250.0,  # seconds
        ("ttft", "p50"): 200.0,
        ("ttft", "p99"): 500.0,
        ("tpot", "mean"): 20.0,  # microseconds
        ("tpot", "p99"): 30.0,
        ("output_throughput", "total"): 800.0,
        ("gpu_power", "mean"): 750.0,  # 400 + 350
    }
    assert "fortnights" in reasons(found)[0][1]
    assert len(found.rejected) == 1


def test_genai_perf_keeps_its_load_under_perf_analyzer(tmp_path: Path) -> None:
    row = json.loads((FILES / "aiperf.json").read_text())
    row["input_config"] = {
        "model_names": ["Qwen/Qwen3-32B"],
        "perf_analyzer": {"stimulus": {"concurrency": 24}},
    }
    file = tmp_path / "profile_export_genai_perf.json"
    file.write_text(json.dumps(row))
    first = import_file(file, tp=2).measurements[0]
    assert (first.model, first.concurrency) == ("qwen3-32b", 24)


def test_aiperf_csv_has_two_blocks() -> None:
    found = read("aiperf.csv")
    got = values(found.measurements)
    assert got["ttft", "mean"] == 120.5
    assert got["tpot", "p99"] == 11.9
    assert got["output_throughput", "total"] == 1234.5  # "1,234.50"
    assert found.measurements[0].concurrency == 8
    assert "requests/hour" in reasons(found)[0][1]
    assert found.warnings == ("block 'Endpoint' is not read",)


def test_aiperf_cancelled_run_is_rejected(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    text = (FILES / "aiperf.json").read_text().replace('cancelled": false', 'cancelled": true')
    file.write_text(text)
    found = import_file(file, tp=2)
    assert not found.measurements
    assert "cancelled" in found.rejected[0].reason


def test_aiperf_records_are_one_run() -> None:
    """Two answered requests, of 0 to 2 s and 1 to 4 s; the others are left out or rejected."""
    found = read("aiperf_records.jsonl")
    first = found.measurements[0]
    assert (first.n, first.date, first.concurrency) == (2, date(2026, 7, 2), 2)
    assert (first.input_tokens, first.output_tokens) == (600, 150)
    got = values(found.measurements)
    assert got["ttft", "mean"] == 200.0  # 100 ms and 0.3 s
    assert got["ttft", "p50"] == 200.0
    assert got["ttft", "p90"] == 280.0  # 100 + 0.9 * 200
    assert got["tpot", "mean"] == 16.0  # 19 ms and 13,000 us
    assert got["itl", "mean"] == 17.0  # over all three gaps
    assert got["e2el", "mean"] == 2500.0
    assert got["request_throughput", "total"] == 0.5  # 2 in 4 s
    assert got["output_throughput", "total"] == 75.0  # 300 / 4
    assert got["total_throughput", "total"] == 375.0
    assert got["in_flight", "mean"] == 1.25  # (2 + 3) / 4
    assert found.warnings == (
        "left out: 1 requests of phase warmup",
        "left out: 1 requests that failed (ServerError)",
        "left out: 1 requests that were cancelled",
    )
    assert [line for line, _ in reasons(found)] == [6, 7]
    assert "fortnights" in reasons(found)[0][1]
    assert "before request_start_ns" in reasons(found)[1][1]


def test_aiperf_records_without_an_answer_are_rejected(tmp_path: Path) -> None:
    lines = (FILES / "aiperf_records.jsonl").read_text().splitlines()
    file = tmp_path / "profile_export.jsonl"
    file.write_text("\n".join(lines[2:4]))
    found = import_file(file, **QWEN)
    assert not found.measurements
    assert "no request was answered" in found.rejected[0].reason


def test_inferencex_seconds_and_text_booleans() -> None:
    found = read("inferencex.json")
    run = run_of(found, 1)
    assert run[0].line == 2
    assert run[0].precision == "fp8_block"
    assert run[0].engine_version == "v0.5.3"
    assert run[0].parallelism.model_dump(exclude_none=True) == {"tp": 1, "ep": 8, "dp_attention": 8}
    assert values(run) == {
        ("ttft", "mean"): 250.0,
        ("tpot", "p50"): 20.0,
        ("tpot", "p99"): 25.0,
        ("output_throughput_per_user", "p99"): 40.0,  # and no std
        ("total_throughput_per_gpu", "total"): 1000.0,
        ("input_throughput_per_gpu", "total"): 500.0,
        ("output_throughput_per_gpu", "total"): 500.0,
    }
    assert "schema version 2" in found.warnings[0]
    assert reasons(found) == [(4, "disagg: 'perhaps' is not true or false")]


def test_inferencex_disagg_keeps_what_it_divides_by() -> None:
    run = run_of(read("inferencex.json"), 2)
    first = run[0]
    assert (first.topology, first.gpus, first.speculation) == ("disagg", 24, "mtp")
    assert first.parallelism.gpus == 16
    assert first.prefill is not None
    assert (first.prefill.gpus, first.prefill.workers, first.prefill.dp_attention) == (8, 2, 4)
    definitions = {m.metric: m.definition for m in run}
    assert definitions["output_throughput_per_gpu"] == "divided by decode GPUs only"
    assert definitions["total_throughput_per_gpu"] == "divided by all GPUs"
    assert values(run)["gpu_power", "mean"] == 24_000.0


def test_inferencex_interface_row_takes_zero_for_absent() -> None:
    run = run_of(read("inferencex.json"), 4)
    assert values(run) == {
        ("ttft", "mean"): 50.0,
        ("output_throughput_per_gpu", "total"): 700.0,
    }


def test_aiconfigurator_rows_are_predictions() -> None:
    found = read("aic_agg.csv")
    assert {m.origin for m in found.measurements} == {"predicted"}
    got = values(found.measurements)
    assert got["ttft", "mean"] == 350.5
    assert got["output_throughput", "mean"] == 750.0
    assert got["output_throughput_per_gpu", "mean"] == 187.5
    assert reasons(found) == [(3, "ttft: 'soon' is not a number")]


def test_aiconfigurator_disagg_has_two_layouts() -> None:
    found = read("aic_disagg.csv")
    first = found.measurements[0]
    assert first.topology == "disagg"
    assert (first.gpus, first.parallelism.tp, first.parallelism.workers) == (6, 4, 1)
    assert first.prefill is not None
    assert (first.prefill.tp, first.prefill.workers) == (1, 2)
    assert "differ" in reasons(found)[0][1]


def test_mlperf_summary_is_divided_by_accelerators() -> None:
    found = read("mlperf_summary.json")
    assert values(run_of(found, 1)) == {
        ("output_throughput", "total"): 56_000.0,
        ("output_throughput_per_gpu", "total"): 7_000.0,  # / 8
        ("power", "mean"): 5_600.0,  # kW
    }
    rack = run_of(found, 2)
    assert (rack[0].model, rack[0].hardware, rack[0].gpus) == ("llama-3.1-405b", "gb200_nvl72", 72)
    assert values(rack)["output_throughput_per_gpu", "total"] == 200.0  # a# is of one node here
    assert found.warnings == (
        "left out: 1 results that are not valid",
        "left out: 1 rows in Samples/s",
    )
    assert [line for line, _ in reasons(found)] == [4, 7]
    assert "did you mean h200_sxm_8" in reasons(found)[1][1]


def test_mlperf_logs_are_in_ns() -> None:
    assert values(read("mlperf_log_summary.txt").measurements) == {
        ("ttft", "mean"): 300.0,
        ("ttft", "p99"): 850.0,
        ("tpot", "mean"): 20.0,
        ("tpot", "p99.9"): 25.0,
        ("e2el", "mean"): 5_000.0,
        ("e2el", "p99"): 9_000.0,
        ("output_throughput", "total"): 3_200.5,
    }
    detail = read("mlperf_log_detail.txt")
    assert values(detail.measurements) == {
        ("ttft", "p99"): 850.0,
        ("tpot", "p99"): 25.0,
        ("e2el", "mean"): 5_000.0,
        ("output_throughput", "total"): 3_200.5,
    }
    assert detail.measurements[0].n == 6000
    assert [line for line, _ in reasons(detail)] == [8]


@pytest.mark.parametrize("name", ["mlperf_log_summary.txt", "mlperf_log_detail.txt"])
def test_mlperf_invalid_run_is_dropped(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    text = (FILES / name).read_text()
    file.write_text(text.replace(': VALID"', ': INVALID"').replace("VALID", "INVALID"))
    found = import_file(file, **QWEN)
    assert not found.measurements
    assert "INVALID" in found.warnings[0]


# What is given


def test_given_facts_must_not_contradict_the_file() -> None:
    found = read("vllm.json", tp=4)
    assert not found.measurements
    assert "says tp 2, but 4 was given" in found.rejected[0].reason
    other = read("vllm.json", system="h200_sxm_8")
    # An unknown name in the file may be put right; a known one may not be overruled.
    assert {m.run for m in other.measurements} == {3}


def test_given_names_are_checked() -> None:
    found = read("sglang.jsonl", system="h2000")
    assert "h2000" in found.rejected[0].reason
    with pytest.raises(SchemaError, match="sistem"):
        read("sglang.jsonl", sistem="h200_sxm_8")


def test_refused_files(tmp_path: Path) -> None:
    for text, match in [
        ("", "is empty"),
        ("a,b\n1,2\n", "no known kind"),
        ('{"a": 1}', "it has the keys a"),
        ('{"completed": 1, "completed": 2}', "appears twice"),
        ("[" * 60 + "]" * 60, "nested deeper"),
        ('{"quantization": {"quant_algo": "FP8"}}', "says how a model is quantised"),
    ]:
        file = tmp_path / "x.json"
        file.write_text(text)
        with pytest.raises(SchemaError, match=match):
            import_file(file)
    with pytest.raises(SchemaError, match="no such file"):
        import_file(tmp_path / "absent")


def test_negative_figures_are_rejected(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    line = (FILES / "vllm.json").read_text().splitlines()[0]
    file.write_text(line.replace('"mean_tpot_ms": 12.5', '"mean_tpot_ms": -1'))
    found = import_file(file)
    assert ("tpot", "mean") not in values(found.measurements)
    assert "negative" in found.rejected[0].reason


def test_lines_of_json_objects() -> None:
    text = '[\n {"a": "{"},\n\n {"a": 1}]\n{"b":\n 2}\n{"c": 3}'
    assert [line for line, _ in json_rows(text, "x").rows] == [2, 4, 5, 7]


# Traces and configs go the same way


def test_traces_and_configs_are_detected(tmp_path: Path) -> None:
    contents = {
        "azure": "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:01:51.5,10,5\n",
        "burstgpt": "Timestamp,Model,Request tokens,Response tokens\n1,x,10,5\n",
        "mooncake": '{"timestamp": 0, "input_length": 10, "output_length": 5, "hash_ids": []}\n',
    }
    for kind, content in contents.items():
        file = tmp_path / "data"
        file.write_text(content)
        found = import_file(file)
        assert found.kind == kind
        assert found.trace is not None
        assert int(found.trace.input_tokens[0]) == 10
    (tmp_path / "data").write_text("side,tokens,cdf\ninput,10,1\noutput,5,1\n")
    assert import_file(tmp_path / "data").lengths is not None
    model = import_file(FILES.parent / "tiny_config.json", model="tiny").model
    assert model is not None
    assert model.architecture.id == "tiny"


# Round trips


def round_trip(measurements: Sequence[Measurement], folder: Path) -> Imported:
    file = folder / "round.csv"
    file.write_text(to_csv(measurements))
    return import_file(file)


@pytest.mark.parametrize(("name", "kind", "told"), CASES)
def test_import_export_import_is_the_identity(
    name: str, kind: str, told: dict[str, Any], tmp_path: Path
) -> None:
    found = read(name)
    again = round_trip(found.measurements, tmp_path)
    assert again.kind == "measurements"
    assert again.measurements == found.measurements
    assert not again.rejected


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    text=st.text(
        st.characters(blacklist_categories=["Cs", "Cc", "Cf", "Zl", "Zp", "Zs"]),
        min_size=1,
        max_size=20,
    ),
    value=st.floats(min_value=0, max_value=1e18),
)
def test_any_text_and_value_survive_the_round_trip(text: str, value: float, tmp_path: Path) -> None:
    first = read("vllm.json").measurements[0]
    changed = first.model_copy(update={"definition": text, "engine": text, "value": value})
    assert round_trip([changed], tmp_path).measurements == (changed,)


def test_a_table_with_unknown_names_is_rejected_by_line(tmp_path: Path) -> None:
    first = read("vllm.json").measurements[0]
    odd = first.model_copy(update={"hardware": "h10_sxm_8"})
    found = round_trip([first, odd], tmp_path)
    assert found.measurements == (first,)
    assert found.rejected[0].line == 3
    assert "did you mean" in found.rejected[0].reason


# What a plan and a backtest take


def test_points_are_closed_loop_runs_that_backtest_reads(tmp_path: Path) -> None:
    found = read("vllm.json")
    content, left_out = export.points(found.measurements)
    header, row = content.splitlines()
    assert file_kind(header.split(",")) == "closed"
    cells = dict(zip(header.split(","), row.split(","), strict=True))
    assert (cells["ttft_ms"], cells["tpot_ms"]) == ("150.0", "12.5")
    assert cells["output_tok_s_gpu"] == "40.0"  # 80 / 2
    assert len(left_out) == 1
    assert "no engine" in left_out[0]


def test_columns_carry_rate_and_system() -> None:
    found = read("vllm.json")
    content, left_out = export.columns(found.measurements, "chat", "short")
    assert content.splitlines()[1].startswith("chat,short,h100_sxm_8,2,0.4,")
    assert not left_out
    predicted, dropped = export.columns(read("aic_agg.csv").measurements, "chat", "short")
    assert len(predicted.splitlines()) == 1
    assert len(dropped) == 1


def test_runs_of_one_file_stay_apart() -> None:
    assert [g[0].run for g in group_runs(read("inferencex.json").measurements)] == [1, 2, 4]


# Anything at all

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


def import_or_refuse(content: str, folder: Path) -> None:
    file = folder / "fuzz"
    file.write_bytes(content.encode("utf-8", "replace"))
    try:
        import_file(file, **QWEN, gpus=4)
    except SchemaError:
        return


@pytest.mark.parametrize("name", [n for n, _, _ in CASES])
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_files_raise_schema_errors_only(name: str, tmp_path: Path, data: Any) -> None:
    content = (FILES / name).read_text()
    at = data.draw(st.integers(0, len(content)))
    cut = data.draw(st.integers(0, 30))
    put = data.draw(st.sampled_from(["", "\0", '"', "{", "]", ",", "-", "1e999", "nan", "\n", "é"]))
    import_or_refuse(content[:at] + put + content[at + cut :], tmp_path)


@pytest.mark.parametrize(
    ("name", "row"), [("vllm.json", 0), ("sglang.jsonl", 0), ("inferencex.json", 1)]
)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_odd_values_raise_schema_errors_only(
    name: str, row: int, tmp_path: Path, data: Any
) -> None:
    content = json_rows((FILES / name).read_text(), name).rows[row][1]
    key = data.draw(st.sampled_from(sorted(content)))
    import_or_refuse(json.dumps({**content, key: data.draw(_JSON)}), tmp_path)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(value=_JSON, key=st.sampled_from(["input_config", "telemetry_data", "time_to_first_token"]))
def test_odd_summaries_raise_schema_errors_only(value: Any, key: str, tmp_path: Path) -> None:
    content = json.loads((FILES / "aiperf.json").read_text())
    import_or_refuse(json.dumps({**content, key: value}), tmp_path)


def test_every_format_has_a_fixture() -> None:
    assert {kind for _, kind, _ in CASES} == set(FORMATS)
