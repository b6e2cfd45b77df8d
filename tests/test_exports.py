"""A plan for other tools: flags that the engines document, manifests, rows that add up."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import re
import shlex
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from test_report import golden
from tokenfleet import Plan, SchemaError
from tokenfleet.exports import TARGETS, export
from tokenfleet.exports.focus import COLUMNS, month_of
from tokenfleet.exports.kubernetes import UNSET, slug
from tokenfleet.exports.launch import LAUNCHERS, commands
from tokenfleet.plan.known_rows import Input
from tokenfleet.schema.engines import ENGINES

# Flags that the engines document: of vLLM `vllm serve --help` (engine arguments, 0.8.5 and later),
# of SGLang the page of its server arguments, of TensorRT-LLM that of trtllm-serve; read 2026-11.
DOCUMENTED = {
    "vllm": {
        "--tensor-parallel-size", "--pipeline-parallel-size", "--data-parallel-size",
        "--enable-expert-parallel", "--max-num-seqs", "--kv-cache-dtype", "--speculative-config",
        "--kv-transfer-config",
    },
    "sglang": {
        "--model-path", "--tp-size", "--pp-size", "--dp-size", "--enable-dp-attention", "--ep-size",
        "--max-running-requests", "--kv-cache-dtype", "--speculative-algorithm",
        "--speculative-num-steps", "--speculative-eagle-topk", "--speculative-num-draft-tokens",
        "--disaggregation-mode",
    },
    "trtllm": {
        "--backend", "--tp_size", "--pp_size", "--ep_size", "--max_batch_size",
        "--extra_llm_api_options", "--server_role",
    },
}  # fmt: skip
HOSTILE = "a'; touch pwned; \"$(touch pwned)`touch pwned`\n touch pwned\r=1+1"


def layout(engine: str, **changes: Any) -> Plan:
    """The golden enterprise plan with one kind of replica."""
    plan = golden("enterprise")
    first = {"engine": engine, "tp": 2, "pp": 1, "ep": 1, "attention_dp": 1, "gpus": 2}
    row = plan.replicas[0].model_copy(update={**first, **changes})
    return plan.model_copy(update={"replicas": (row,)})


def words(engine: str, **changes: Any) -> list[str]:
    return list(commands(layout(engine, **changes))[0].words)


def value(of: list[str], flag: str) -> str:
    return of[of.index(flag) + 1]


@pytest.mark.parametrize("engine", DOCUMENTED)
@pytest.mark.parametrize("role", ["serve", "prefill", "decode"])
def test_every_flag_is_documented(engine: str, role: str) -> None:
    degrees = {"tp": 1, "attention_dp": 8, "ep": 8, "pp": 2, "gpus": 16}
    found = words(engine, role=role, kv_dtype="fp8", speculative_depth=2, **degrees)
    flags = {word for word in found if word.startswith("--")}
    assert flags <= DOCUMENTED[engine], flags - DOCUMENTED[engine]


def test_a_layout_is_divided_as_each_engine_divides_it() -> None:
    """Two stages of 8: attention in 4 ranks of 2, experts over 8; 100 sequences, 25 a rank."""
    of = {"tp": 2, "attention_dp": 4, "ep": 8, "pp": 2, "gpus": 16, "batch_limit": 98}
    vllm = words("vllm", **of)
    assert [value(vllm, f"--{n}-parallel-size") for n in ("tensor", "pipeline", "data")] == [
        "2", "2", "4",
    ]  # fmt: skip
    assert "--enable-expert-parallel" in vllm
    assert value(vllm, "--max-num-seqs") == "25"  # 98 over 4 ranks, none left out
    sglang = words("sglang", **of)
    assert [value(sglang, f"--{n}-size") for n in ("tp", "pp", "dp", "ep")] == ["8", "2", "4", "8"]
    assert "--enable-dp-attention" in sglang
    assert value(sglang, "--max-running-requests") == "98"
    single = commands(layout("trtllm", **{**of, "tp": 1, "attention_dp": 8}))[0]
    assert [value(list(single.words), f"--{n}_size") for n in ("tp", "pp", "ep")] == ["8", "2", "8"]
    assert single.config["enable_attention_dp"] is True


def test_memory_that_the_plan_counts_on_is_told() -> None:
    plan = layout("vllm")
    share = Input.model_validate(
        {
            "what": "gpu_memory_utilization",
            "value": 0.95,
            "unit": "fraction",
            "assumed": False,
            "source": "scenario",
            "as_of": None,
            "note": None,
        }
    )
    told = commands(plan.model_copy(update={"inputs": (*plan.inputs, share)}))[0].words
    assert value(list(told), "--gpu-memory-utilization") == "0.95"
    assert "--gpu-memory-utilization" not in commands(plan)[0].words


def test_what_an_engine_cannot_be_told_is_refused() -> None:
    with pytest.raises(SchemaError, match="spreads experts over all 8 ranks, not over 4"):
        words("vllm", tp=8, ep=4, gpus=8)
    with pytest.raises(SchemaError, match="attention DP over every accelerator"):
        words("trtllm", tp=2, attention_dp=4, gpus=8)
    measured = layout("vllm").replicas[0].model_copy(update={"engine": None, "tp": None})
    plan = golden("enterprise").model_copy(update={"replicas": (measured,)})
    with pytest.raises(SchemaError, match="no layout to launch"):
        commands(plan)


def test_a_script_asks_for_weights_that_nobody_knows(tmp_path: Path) -> None:
    unknown = golden("enterprise").model_copy(update={"checkpoints": ()})
    text = export(unknown, "sglang")
    assert text.count("sglang.launch_server") == len(golden("enterprise").replicas)
    first = unknown.replicas[0]
    what = f"{first.count} x {first.workload} at {first.site} on {first.system}"
    assert f"# {what}: {first.gpus} GPUs each, weights bf16" in text
    done = subprocess.run(
        ["/bin/sh", "-c", text], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode != 0
    assert "CHECKPOINT" in done.stderr and "set to a checkpoint of" in done.stderr
    with pytest.raises(SchemaError, match="no replica of the plan runs under vLLM") as raised:
        export(golden("enterprise"), "vllm")
    assert "sglang" in raised.value.hint


def hostile() -> Plan:
    """A plan whose names are attacks."""
    plan = layout("trtllm", kv_dtype="fp8", workload=HOSTILE, site=HOSTILE, classes=(HOSTILE,))
    rows = tuple(
        row.model_copy(update={"workload": HOSTILE, "model": HOSTILE}) for row in plan.workloads
    )
    systems = tuple(
        row.model_copy(update={"offer": HOSTILE, "pool": HOSTILE}) for row in plan.systems
    )
    return plan.model_copy(update={"name": HOSTILE, "workloads": rows, "systems": systems})


def test_names_run_nothing_in_a_shell(tmp_path: Path) -> None:
    text = export(hostile(), "trtllm").replace("trtllm-serve", "echo")
    variable = commands(hostile())[0].variable
    subprocess.run(
        ["/bin/sh", "-c", text], check=True, capture_output=True, cwd=tmp_path,
        env={variable: "w; touch pwned", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    (written,) = tmp_path.iterdir()
    assert re.fullmatch(r"options-\d+\.yaml", written.name)
    for line in text.splitlines():
        assert line.startswith("#") or "touch" not in line or "CHECKPOINT" in line, line
        shlex.split(line, comments=True)


def test_manifests_are_of_the_plan() -> None:
    plan = golden("enterprise")
    documents = list(yaml.safe_load_all(export(plan, "kubernetes")))
    deployments = [d for d in documents if d["kind"] == "Deployment"]
    assert documents[0]["data"]["accelerators"] == "48"
    found = [
        (d["spec"]["replicas"], d["spec"]["template"]["spec"]["containers"][0]) for d in deployments
    ]
    held = sum(n * c["resources"]["limits"]["nvidia.com/gpu"] for n, c in found)
    assert held == sum(row.count * row.gpus for row in plan.replicas)
    assert {c["image"] for _, c in found} == {f"lmsysorg/sglang:{UNSET}"}
    assert "*id" not in export(plan, "kubernetes")


def test_manifests_take_any_name() -> None:
    documents = list(yaml.safe_load_all(export(hostile(), "kubernetes")))
    for document in documents:
        assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,61}[a-z0-9]", document["metadata"]["name"])
    assert slug("a", "b") == "a-b"
    assert slug("A b") != slug("a-b") and len(slug("x" * 400)) <= 63
    wide = layout("vllm", tp=8, pp=2, gpus=16)  # more than a server of 8
    documents = list(yaml.safe_load_all(export(wide, "kubernetes")))
    assert [d["kind"] for d in documents] == ["ConfigMap"]
    assert "16 GPUs each" in documents[0]["data"]["not_deployed_because_they_span_systems"]


@pytest.mark.parametrize("name", ["enterprise", "ai_factory", "hyperscaler"])
def test_forecast_rows_add_up_to_the_plan(name: str) -> None:
    plan = golden(name)
    rows = list(csv.DictReader(io.StringIO(export(plan, "focus", start=date(2027, 11, 9)))))
    assert tuple(rows[0]) == COLUMNS
    assert {row["x_RowKind"] for row in rows} == {"Forecast"}
    total = math.fsum(float(row["EffectiveCost"]) for row in rows)
    assert total == pytest.approx(plan.annual_cost_usd, rel=1e-12)
    for item, usd in plan.cost_items.items():
        part = math.fsum(float(r["EffectiveCost"]) for r in rows if r["x_CostItem"] == item)
        assert part == pytest.approx(usd, rel=1e-9), item
    months = sorted({(row["ChargePeriodStart"], row["ChargePeriodEnd"]) for row in rows})
    assert len(months) == 12
    assert months[0] == ("2027-11-01T00:00:00Z", "2027-12-01T00:00:00Z")
    assert all(end == begin for (_, end), (begin, _) in itertools.pairwise(months))
    upfront = math.fsum(float(r["BilledCost"]) for r in rows if r["ChargeCategory"] == "Purchase")
    assert upfront == pytest.approx(plan.capex_usd)


def test_forecasts_begin_on_a_day_that_is_said() -> None:
    undated = golden("enterprise", as_of=None)
    with pytest.raises(SchemaError, match="no day to begin on"):
        export(undated, "focus")
    assert "2026-07-01" in export(golden("enterprise"), "focus").splitlines()[1]
    assert month_of("2027-02") == date(2027, 2, 1)
    with pytest.raises(SchemaError, match="is no month"):
        month_of("2027-13")


def test_a_table_is_csv_without_formulas() -> None:
    plan = golden("enterprise")
    rows = list(csv.DictReader(io.StringIO(export(plan, "csv"))))
    assert [int(row["count"]) for row in rows] == [3, 3]
    assert json.loads(rows[1]["cost_items_usd"]) == plan.systems[1].cost_items_usd
    named = plan.systems[0].model_copy(update={"offer": "=HYPERLINK(1)"})
    text = export(plan.model_copy(update={"systems": (named,)}), "csv")
    assert "'=HYPERLINK(1)" in text
    with pytest.raises(SchemaError, match="no table"):
        export(plan, "csv", table_name="sytems")


def test_an_unknown_target_is_named() -> None:
    with pytest.raises(SchemaError, match="is not exported to 'vlm'") as raised:
        export(golden("enterprise"), "vlm")
    assert "vllm" in raised.value.hint
    assert set(DOCUMENTED) < set(TARGETS)


def test_every_serving_engine_can_be_started() -> None:
    assert set(LAUNCHERS) == set(ENGINES)
