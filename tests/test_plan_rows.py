"""A plan is written and read back whole, and a damaged one is refused by file, key and cure."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import tokenfleet as tf
from scenarios import buy, hall
from tokenfleet.errors import SchemaError
from tokenfleet.plan.rows import SCHEMA_VERSION, Plan

Json = dict[str, Any]
MEASURED: Json = {
    "name": "measured",
    "workloads": [
        {
            "id": "chat",
            "model": "llama-3.1-8b",
            "classes": [{"id": "turn", "share": 1.0, "input_tokens": 500, "output_tokens": 100}],
            "demand": {"requests_per_s": 20},
        }
    ],
    "sites": [hall()],
    "systems": ["h100_sxm_8"],
    "offers": [buy()],
    "columns": [
        {
            "workload": "chat",
            "class": "turn",
            "system": "h100_sxm_8",
            "gpus": 1,
            "rate_rps": 5.0,
        }
    ],
}


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Four replicas in one server, by measured rates: solved in no time."""
    return tf.optimize_fleet(MEASURED)


def changed(plan: Plan, path: str, value: Any) -> Json:
    """The plan's JSON with one key set, or taken out where the value is `...`."""
    found = deepcopy(plan.to_json())
    *way, last = (int(part) if part.isdigit() else part for part in path.split("/"))
    row = found
    for part in way:
        row = row[part]
    if value is ...:
        del row[last]
    else:
        row[last] = value
    return found


def test_a_plan_is_read_back_as_it_was(plan: Plan, tmp_path: Path) -> None:
    assert Plan.from_json(plan.to_json()) == plan
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan.to_json()))
    assert Plan.load(path) == plan


def test_rows_are_objects_with_units_and_meaning(plan: Plan) -> None:
    (row,) = plan.systems
    assert (row.system, row.count, row.gpus) == ("h100_sxm_8", 1, 8)
    assert plan.routing[0].cls == plan.to_json()["routing"][0]["class"]


def test_a_plan_is_shown_in_one_line(plan: Plan) -> None:
    assert repr(plan).startswith("Plan('measured', 8 GPUs, ")
    assert str(plan).endswith("optimal)")


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("systems", ..., "is not a plan"),
        ("schema_version", 2, "schema_version: is 2, should be 9"),
        ("gpus", "8", "gpus: "),
        ("systems/0/count", -1, "systems[0].count: "),
        ("systems/0/count", 1.5, "systems[0].count: "),
        ("systems/0/counts", 1, "systems[0].counts: unknown field"),
        ("routing/0/class", ..., "routing[0].class: "),
        ("routing/0/requests_per_s", [1.0, 2.0], "routing[0].requests_per_s: has 2 figures for 1"),
        ("replicas/0/idle_w", float("nan"), "replicas[0].idle_w: "),
        ("blocks", [], "blocks: "),
        ("status", "infeasible", "status: "),
    ],
)
def test_a_damaged_plan_is_refused_by_file_and_key(
    plan: Plan, path: str, value: Any, text: str
) -> None:
    with pytest.raises(SchemaError) as error:
        Plan.from_json(changed(plan, path, value), "my.json")
    assert text in error.value.message and error.value.message.startswith("my.json: ")
    assert "tokenfleet plan SCENARIO -o PLAN" in error.value.hint


def test_a_file_that_is_no_plan_is_named(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    for text in ("[]", "{}", '{"name": "x"}'):
        path.write_text(text)
        with pytest.raises(SchemaError, match="is not a plan") as error:
            Plan.load(path)
        assert str(path) in error.value.message
    path.write_text('{"systems": [')
    with pytest.raises(SchemaError, match="line 1"):
        Plan.load(path)
    with pytest.raises(SchemaError, match="no such file"):
        Plan.load(tmp_path / "absent.json")


def test_every_key_says_what_it_means() -> None:
    """A number that counts or measures something has a unit; only numbers of things have none."""
    schema = Plan.json_schema()
    unitless = set()
    for name, row in {"Plan": schema, **schema["$defs"]}.items():
        assert row.get("description"), name
        for key, entry in row["properties"].items():
            assert entry.get("description"), (name, key)
            kinds = {entry.get("type"), *(o.get("type") for o in entry.get("anyOf", ()))}
            numeric = kinds & {"number", "integer"} and "string" not in kinds
            if numeric and "unit" not in entry:
                unitless.add(key)
    numbered = {"candidate", "configuration", "latency_group", "block", "round", "seed"}
    assert unitless == numbered | {"schema_version"}


def test_the_version_is_said_once() -> None:
    assert Plan.model_fields["schema_version"].default == SCHEMA_VERSION
    assert issubclass(Plan, BaseModel) and Plan.model_config["frozen"]
