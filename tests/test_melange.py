"""Mélange inputs: read, refused, and planned at the least $/h that is worked out by hand."""

from __future__ import annotations

import json
import random
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from tokenfleet.cli.app import app
from tokenfleet.errors import SchemaError
from tokenfleet.importers.detect import import_file
from tokenfleet.optimize import optimize_fleet
from tokenfleet.plan.rows import Plan

# 4 requests/s in each bucket. Accelerators needed alone: A 2 and 4, B 1 and 0.5. One B takes all of
# the second bucket and half of the first, one A the other half: $1 + $3. Only A: $6; only B: 2, $6.
TINY: dict[str, Any] = {
    "gpu_info": {
        "A": {"cost": 1.0, "tputs": [[2.0, 1.0]]},
        "B": {"cost": 3.0, "tputs": [[4.0, 8.0]]},
    },
    "workload_distribution": [[0.5, 0.5]],
    "total_request_rate": 8.0,
    "slice_factor": 4,
}
HOURS = 8760


def write(data: Any, folder: Path) -> Path:
    file = folder / "in.json"
    file.write_text(json.dumps(data))
    return file


def plan_of(data: Any, folder: Path) -> Plan:
    out = folder / "scenario.yaml"
    done = CliRunner().invoke(app, ["import", str(write(data, folder)), "-o", str(out), "--force"])
    assert done.exit_code == 0, done.output
    scenario = yaml.safe_load(out.read_text())
    # The least cost is asked for, not the simplest plan that costs hardly more.
    scenario.setdefault("objective", {})["simplicity_tolerance"] = 0
    out.write_text(yaml.safe_dump(scenario))
    return optimize_fleet(out)


def usd_per_h(plan: Plan) -> float:
    return plan.annual_cost_usd / HOURS


def test_accelerators_are_shared_between_buckets(tmp_path: Path) -> None:
    assert usd_per_h(plan_of(TINY, tmp_path)) == pytest.approx(4.0)


def test_zero_throughput_cannot_serve(tmp_path: Path) -> None:
    data = deepcopy(TINY)
    data["gpu_info"]["A"]["tputs"] = [[0, 1.0]]
    # Then B must take the first bucket whole (1.0); the second needs half a B or 4 A: two B.
    assert usd_per_h(plan_of(data, tmp_path)) == pytest.approx(6.0)


def test_buckets_without_demand_are_left_out(tmp_path: Path) -> None:
    data = deepcopy(TINY)
    data["workload_distribution"] = [[1.0, 0.0]]
    data["gpu_info"]["B"]["tputs"] = [[4.0, 0]]
    # 8 requests/s in one bucket: 4 A at $4, 2 B at $6, 1 B and 2 A at $5.
    assert usd_per_h(plan_of(data, tmp_path)) == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("path", "value", "match"),
    [
        (("gpu_info", "A", "tputs"), [[-1, 1]], r"A.tputs\[0\]\[0\]: -1 should be 0 or more"),
        (("gpu_info", "A", "tputs"), [[1]], "not the shape"),
        (("gpu_info", "A", "tputs"), [["1", 1]], "not a number"),
        (("gpu_info", "A", "cost"), 0, "A.cost: 0 should be above zero"),
        (("gpu_info", "A"), 3, "should have cost and tputs"),
        (("gpu_info",), [], "has no gpu_info"),
        (("workload_distribution",), [[0.5, 0.4]], "sums to 0.9, not 1"),
        (("workload_distribution",), [], "should be a matrix"),
        (("total_request_rate",), 0, "should be above zero"),
    ],
)
def test_refused(path: tuple[str, ...], value: Any, match: str, tmp_path: Path) -> None:
    data = deepcopy(TINY)
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(SchemaError, match=match):
        import_file(write(data, tmp_path))


def test_a_bucket_that_nothing_serves_is_refused(tmp_path: Path) -> None:
    data = deepcopy(TINY)
    for info in data["gpu_info"].values():
        info["tputs"] = [[1.0, 0]]
    with pytest.raises(SchemaError, match=r"bucket \[0\]\[1\] has demand"):
        import_file(write(data, tmp_path))


def test_a_replica_has_one_rate_for_a_class(tmp_path: Path) -> None:
    plan_of(TINY, tmp_path)
    columns = tmp_path / "scenario.columns.csv"
    columns.write_text(columns.read_text().replace("in00-out01", "in00-out00"))
    with pytest.raises(SchemaError, match="two rates for one class"):
        optimize_fleet(tmp_path / "scenario.yaml")


def test_more_classes_than_the_model_takes_need_columns(tmp_path: Path) -> None:
    data = {
        "gpu_info": {"A": {"cost": 2.0, "tputs": [[1.0] * 20]}},
        "workload_distribution": [[0.05] * 20],
        "total_request_rate": 2.5,
    }
    assert usd_per_h(plan_of(data, tmp_path)) == pytest.approx(6.0)  # 2.5 accelerators: 3
    file = tmp_path / "scenario.yaml"
    file.write_text(file.read_text().replace("columns: scenario.columns.csv", ""))
    with pytest.raises(SchemaError, match="20 classes; without columns at most 16"):
        optimize_fleet(file)


def lower_bound(data: dict[str, Any]) -> float:
    """$/h if accelerators could be cut: the cheapest type of each bucket."""
    total = data["total_request_rate"]
    return sum(
        share * total * min(g["cost"] / g["tputs"][i][j] for g in data["gpu_info"].values())
        for i, row in enumerate(data["workload_distribution"])
        for j, share in enumerate(row)
    )


def test_many_types_and_buckets_stay_near_their_bound(tmp_path: Path) -> None:
    draw = random.Random(1)
    shares = [[draw.random() for _ in range(4)] for _ in range(3)]
    total = sum(map(sum, shares))
    data = {
        "gpu_info": {
            f"g{n}": {
                "cost": draw.uniform(0.5, 5),
                "tputs": [[draw.uniform(1, 20) for _ in range(4)] for _ in range(3)],
            }
            for n in range(12)
        },
        "workload_distribution": [[s / total for s in row] for row in shares],
        "total_request_rate": 400.0,
    }
    found = usd_per_h(plan_of(data, tmp_path))
    bound = lower_bound(data)
    dearest = max(g["cost"] for g in data["gpu_info"].values())  # type: ignore[attr-defined]
    assert bound <= found <= bound + 12 * dearest
