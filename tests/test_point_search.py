"""The search of a scenario's operating points, on the example of an enterprise."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import tokenfleet as tf
from test_points import beaten
from tokenfleet.cli import main

ENTERPRISE = Path(__file__).parent.parent / "examples" / "enterprise.yaml"
MERITS = ("cost_per_mtok_output_usd", "ttft_p99_ms", "tpot_p99_ms")


@pytest.fixture(scope="module")
def found() -> tf.FoundPoints:
    return tf.search_points(ENTERPRISE, loads=49, cheapest=4)


def test_every_point_is_counted_once(found: tf.FoundPoints) -> None:
    parts = {name: n for name, n in found.counts.items() if name != "total"}
    assert sum(parts.values()) == found.counts["total"]
    assert found.counts["computed"] > len(found.front["workload"]) > 0


def test_cost_is_price_and_energy_over_tokens(found: tf.FoundPoints) -> None:
    for columns in (found.front, found.cheapest):
        hour = columns["gpus"] * columns["usd_per_gpu_h"]
        hour = hour + columns["drawn_w"] / 1000 * columns["usd_per_kwh"]
        cost = hour / (columns["output_tokens_per_s"] * 3600) * 1e6
        assert columns["cost_per_mtok_output_usd"] == pytest.approx(cost, rel=1e-9)


def test_points_keep_the_limits_of_their_workload() -> None:
    scenario = yaml.safe_load(ENTERPRISE.read_text())
    for workload in scenario["workloads"]:
        for limit in workload["slos"]:
            limit["percentile"] = "p99"
    front = tf.search_points(scenario, loads=49).front
    checked = 0
    for workload in scenario["workloads"]:
        for limit in workload["slos"]:
            of = front["workload"] == workload["id"]
            if limit["metric"] in ("ttft", "tpot") and "class" not in limit:
                values = front[f"{limit['metric']}_p99_ms"][of]
                assert (values <= limit["limit_ms"] * (1 + 1e-9)).all()
                checked += len(values)
    assert checked > 0


def test_no_kept_point_is_beaten_and_the_cheapest_is_kept(found: tf.FoundPoints) -> None:
    front, cheapest = found.front, found.cheapest
    keys = list(zip(front["workload"], front["class"], strict=True))
    assert len(set(keys)) > 1
    for key in set(keys):
        of = np.array([k == key for k in keys])
        rows = np.column_stack([front[name][of] for name in MERITS])
        assert not beaten(rows).any()
        first = (cheapest["workload"] == key[0]) & (cheapest["class"] == key[1])
        costs = cheapest["cost_per_mtok_output_usd"][first]
        assert len(costs) == 4
        assert (np.diff(costs) >= 0).all()
        assert costs[0] == rows[:, 0].min()


def test_what_cannot_be_searched_is_refused() -> None:
    for loads, match in ((0, "at least 1"), ([0.5, 1.0], "below 1"), ([0.5, 0.4], "above")):
        with pytest.raises(tf.SchemaError, match=match):
            tf.search_points(ENTERPRISE, loads=loads)


def test_the_best_by_a_latency_need_no_front(found: tf.FoundPoints) -> None:
    fastest = tf.search_points(ENTERPRISE, loads=49, cheapest=2, by="ttft", front=False)
    assert fastest.counts["total"] == found.counts["total"]
    assert all(len(column) == 0 for column in fastest.front.values())
    keys = set(zip(found.front["workload"], found.front["class"], strict=True))
    for workload, one in keys:
        of = (found.front["workload"] == workload) & (found.front["class"] == one)
        here = (fastest.cheapest["workload"] == workload) & (fastest.cheapest["class"] == one)
        values = fastest.cheapest["ttft_p99_ms"][here]
        # No point is faster than the fastest that none beats.
        assert values.min() == found.front["ttft_p99_ms"][of].min()


def test_the_command_writes_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*arguments: str) -> int:
        asked = ["tokenfleet", "search", str(ENTERPRISE), "--loads", "9", "--top", "2", *arguments]
        monkeypatch.setattr(sys, "argv", asked)
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0)

    path = tmp_path / "best.csv"
    assert run("--by", "tpot", "--no-front", "-o", str(path), "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert "front" not in answer
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["tpot_p99_ms"] for row in rows] == [
        str(r["tpot_p99_ms"]) for r in answer["cheapest"]
    ]
    assert run("-o", str(path)) == 2
    assert "already there" in capsys.readouterr().err
    assert run("-o", str(path), "--force") == 0
    kept = tf.search_points(ENTERPRISE, loads=9).front
    assert len(path.read_text().splitlines()) == 1 + len(kept["workload"])
    assert run("-o", str(tmp_path / "best.txt")) == 2


def test_the_command_prints_json_and_nothing_else(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["search", str(ENTERPRISE), "--loads", "9", "--top", "1", "--json"]
    monkeypatch.setattr(sys, "argv", ["tokenfleet", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["counts"]["total"] > 0
    names = {row["workload"] for row in answer["front"]}
    assert {row["workload"] for row in answer["cheapest"]} == names
