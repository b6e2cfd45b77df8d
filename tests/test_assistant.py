"""Tools of a language model's host: their figures have a source, or they say "unknown"."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import tokenfleet
from scenarios import buy, hall
from tokenfleet.assistant import answers

CHAT = {
    "id": "chat",
    "model": "qwen3-32b",
    "demand": {"requests_per_s": 2.0},
    "classes": [{"id": "turn", "share": 1.0, "input_tokens": 512, "output_tokens": 128}],
    "slos": [{"metric": "ttft", "percentile": "p95", "limit_ms": 2000}],
}
SCENARIO: dict[str, Any] = {
    "name": "one hall",
    "as_of": "2026-07-15",
    "workloads": [CHAT],
    "sites": [hall()],
    "offers": [buy()],
    "systems": ["h100_sxm_8"],
    "engines": ["vllm"],
}
TEXT = yaml.safe_dump(SCENARIO)


def test_a_plan_is_told_with_its_proof() -> None:
    found = answers.plan(TEXT)
    assert "h100_sxm_8" in found["answer"]
    assert found["status"] in ("optimal", "within_gap")
    assert found["proof"].startswith("proven")
    assert found["annual_cost_usd"] > 0
    assert any("cost_of_capital" in line for line in found["assumed"])
    assert "plan" not in found
    json.dumps(found, allow_nan=False)


def test_a_scenario_is_checked() -> None:
    assert answers.check(TEXT)["systems"] == ["h100_sxm_8"]
    faulty = yaml.safe_dump({**SCENARIO, "sites": [hall(power_kw=-1)]})
    error = answers.check(faulty)["error"]
    assert error["type"] == "SchemaError" and "power_kw" in error["message"]


def test_no_plan_is_an_answer_with_repairs() -> None:
    tight = yaml.safe_dump({**SCENARIO, "sites": [hall(power_kw=1)]})
    error = answers.plan(tight)["error"]
    assert error["type"] == "InfeasibleError"
    whats = {change["what"] for way in error["repairs"] for change in way["changes"]}
    assert "power_kw" in whats


def test_what_is_not_known_is_called_unknown() -> None:
    found = answers.catalog("h100_sxm_9")
    assert "nothing named 'h100_sxm_9'" in found["unknown"]
    assert "h100_sxm_8" in found["hint"]
    assert "unknown" in answers.catalog(table="prizes")
    assert "table='systems'" in answers.catalog("systems")["hint"]
    unknown = yaml.safe_dump({**SCENARIO, "workloads": [{**CHAT, "model": "qwen9-1b"}]})
    assert "unknown model 'qwen9-1b'" in answers.check(unknown)["error"]["message"]
    assert answers.catalog("h100_sxm_8")["row"]["source"]
    assert answers.catalog()["rows"]["systems"] > 10
    for table in answers.TABLES:
        json.dumps(answers.catalog(table=table), allow_nan=False)


@pytest.mark.parametrize(
    ("change", "at"),
    [
        ({"catalog": ["/etc/passwd"]}, "scenario.catalog"),
        ({"columns": "/etc/passwd"}, "scenario.columns"),
        ({"calibration": "/etc/passwd"}, "scenario.calibration"),
        (
            {"workloads": [{**CHAT, "classes": {"trace": "/etc/passwd"}}]},
            "scenario.workloads[0].classes.trace",
        ),
    ],
)
def test_a_tool_reads_no_file(change: dict[str, Any], at: str) -> None:
    error = answers.check(yaml.safe_dump({**SCENARIO, **change}))["error"]
    assert error["message"] == f"{at}: names a file"


@pytest.mark.parametrize("text", ["", "[1", "just words", "- a list", "x" * (1024 * 1024 + 1)])
def test_what_is_no_scenario_is_an_error(text: str) -> None:
    assert answers.plan(text)["error"]["type"] == "SchemaError"


def test_time_is_limited() -> None:
    for seconds in (0.0, -1.0, 601.0, float("nan")):
        assert "time_limit_s" in answers.plan(TEXT, seconds)["error"]["message"]


def test_the_server_speaks_the_protocol() -> None:
    """A host starts `tokenfleet mcp`, lists its tools and calls one."""
    pytest.importorskip("mcp")
    code = """
import asyncio, json, sys
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

async def main():
    command = StdioServerParameters(command=sys.executable, args=["-m", "tokenfleet", "mcp"],
                                    env={"PYTHONPATH": sys.argv[1]})
    async with stdio_client(command) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        tools = sorted(tool.name for tool in (await session.list_tools()).tools)
        answer = await session.call_tool("catalog", {"name": "h100"})
        print(json.dumps([tools, json.loads(answer.content[0].text)]))

asyncio.run(main())
"""
    path = str(Path(tokenfleet.__file__).parents[1])  # of the package that is tested
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60, check=True
    )
    tools, answer = json.loads(done.stdout)
    assert tools == ["catalog", "check", "explain", "plan"]
    assert "unknown" in answer
