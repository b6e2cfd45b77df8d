"""Imported runs on their way: the command that writes them, a backtest, a calibration, a plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from scenarios import buy, hall
from test_measurements import FILES
from tokenfleet.calibration import SHIPPED
from tokenfleet.cli.app import app
from tokenfleet.importers.detect import import_file

# The command


def run_import(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["import", *map(str, arguments)])


def test_command_writes_what_it_read(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    done = run_import(FILES / "vllm.json", "-o", out, "--json")
    assert done.exit_code == 0, done.output
    (file,) = json.loads(done.stdout)["files"]
    assert file["kind"] == "vllm_bench"
    assert len(file["measurements"]) == len(import_file(out).measurements)
    assert file["rejected"][0]["line"] == 3


def test_command_names_what_must_be_given() -> None:
    done = run_import(FILES / "sglang.jsonl")
    assert done.exit_code == 2
    assert "--system" in done.output


def test_command_writes_points(tmp_path: Path) -> None:
    out = tmp_path / "points.csv"
    assert run_import(FILES / "vllm.json", "-o", out, "--as", "points").exit_code == 0
    assert len(out.read_text().splitlines()) == 2
    refused = run_import(FILES / "vllm.json", "-o", tmp_path / "c.csv", "--as", "columns")
    assert refused.exit_code == 2
    assert "--workload" in refused.output


# From a benchmark's file to a backtest, a calibration and a plan


def run_command(*arguments: object) -> Any:
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout) if "--json" in arguments else done.output


def benchmark(folder: Path) -> Path:
    """Twelve runs of vLLM in one file, as `--append-result` writes them."""
    rows = [
        {
            "date": "20260701-120000",
            "backend": "vllm",
            "engine_version": "0.12.0",
            "model_id": "meta-llama/Llama-3.1-8B",
            "gpu": "H100",
            "tp": "1",
            "dtype": "bfloat16",
            "max_concurrency": n,
            "request_rate": "inf",
            "completed": 100,
            "total_input_tokens": 100 * isl,
            "total_output_tokens": 20_000,
            "request_throughput": 0.3 * n,
            "output_throughput": 60.0 * n,
            "total_token_throughput": 360.0 * n,
            "mean_ttft_ms": 60.0 + 3.0 * n,
            "mean_tpot_ms": 8.0 + 0.05 * n,
        }
        for n in (1, 4, 16, 64)
        for isl in (500, 1000, 2000)
    ]
    file = folder / "results.json"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return file


def test_points_go_into_backtest_and_calibrate(tmp_path: Path) -> None:
    points, own = tmp_path / "points.csv", tmp_path / "own.json"
    run_command("import", benchmark(tmp_path), "--as", "points", "-o", points)
    found = run_command("backtest", points, "--calibration", "none", "--json")
    assert found["skipped"] == []
    assert found["overall"]["n"] == 12
    bare = found["overall"]["tpot_mape_pct"]
    shipped = json.loads(SHIPPED.read_text())
    added = run_command("calibrate", points, "-o", own, "--json")
    assert added["points"] == shipped["points"] + 12
    assert (added["constants"], added["spreads"]) == (shipped["constants"], shipped["spreads"])
    again = run_command("backtest", points, "--calibration", own, "--json")
    assert again["overall"]["tpot_mape_pct"] < bare
    fitted = run_command("calibrate", points, "-o", own, "--alone", "--force", "--json")
    assert fitted["points"] == 12
    assert fitted["measured_from"] == "2026-07-01"
    assert {e["key"] for e in fitted["effects"] if e["kind"] == "version_cell"} == {
        "vllm 0.12.0 | h100_sxm_8 | llama-3.1-8b"
    }
    again = run_command("backtest", points, "--calibration", own, "--json")
    assert again["overall"]["tpot_mape_pct"] < bare


def test_a_calibration_of_ones_own_goes_into_a_plan(tmp_path: Path) -> None:
    """Runs 30 % slower than modelled: the plan takes most of it, and shows the version."""
    points, own = tmp_path / "points.csv", tmp_path / "own.json"
    run_command("import", benchmark(tmp_path), "--as", "points", "-o", points)
    run_command("calibrate", points, "-o", own)
    asked = {"calibration": "own.json", "engine_versions": {"vllm": "0.12.0"}}
    file = tmp_path / "s.json"
    file.write_text(json.dumps({**small_scenario(), **asked}))
    plan = run_command("plan", file, "--json")
    row = next(r for r in plan["provenance"] if r["what"].startswith("throughput"))
    (model,) = row["models"]
    assert (row["engine_version"], model["known"], model["runs"]) == ("0.12.0", "known_cell", 12)
    assert model["tpot_bias_pct"] != 0.0


def small_scenario(**changes: Any) -> dict[str, Any]:
    return {
        "name": "small",
        "as_of": "2026-07-01",
        "systems": ["h100_sxm_8"],
        "engines": ["vllm"],
        "workloads": [
            {
                "id": "chat",
                "model": "llama-3.1-8b",
                "precisions": ["bf16"],
                "classes": [
                    {"id": "short", "share": 1.0, "input_tokens": 1000, "output_tokens": 200}
                ],
                "demand": {"requests_per_s": 60.0},
            }
        ],
        "sites": [hall(power_kw="unlimited")],
        "offers": [buy(id="buy")],
        "search": {"tensor_parallel": [1], "pipeline_parallel": [1], "class_sets": "singles"},
        **changes,
    }


def test_columns_go_into_a_plan(tmp_path: Path) -> None:
    """The fastest run serves 19.2 requests/s on one GPU: 60 take 4 GPUs, in one server."""
    columns = tmp_path / "columns.csv"
    names = ("--workload", "chat", "--class", "short")
    run_command("import", benchmark(tmp_path), "--as", "columns", *names, "-o", columns)
    file = tmp_path / "s.json"
    file.write_text(json.dumps(small_scenario(columns="columns.csv")))
    plan = run_command("plan", file, "--json")
    assert sum(row["count"] for row in plan["systems"]) == 1
    assert sum(row["count"] for row in plan["replicas"]) == 4
    (row,) = [r for r in plan["provenance"] if r["what"] == "rates"]
    assert row["class"] == "measured"


def test_requests_of_aiperf_go_into_backtest_too(tmp_path: Path) -> None:
    points = tmp_path / "points.csv"
    told = ("--model", "qwen3-32b", "--system", "h200_sxm_8", "--tp", 4, "--engine", "sglang")
    records = FILES / "aiperf_records.jsonl"
    run_command("import", records, *told, "--concurrency", 2, "--as", "points", "-o", points)
    found = run_command("backtest", points, "--json")
    assert (found["overall"]["n"], found["skipped"]) == (1, [])
