"""What comes to a simulated plan: traces with prefix blocks, mixes, a day; and what queues and
caches hold meanwhile. Expectations are by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tokenfleet as tf
from test_simulation import LIGHT, scenario, trace_file
from tokenfleet.errors import SchemaError
from tokenfleet.problem.load_blocks import day_weights
from tokenfleet.schema.workload import LoadShape
from tokenfleet.simulation.fleet import Whole
from tokenfleet.simulation.lengths import class_pairs

Json = dict[str, Any]
BLOCK = 512


@pytest.fixture(scope="module")
def small() -> tuple[Json, Json]:
    """A scenario that one replica of one lane serves at ease, and its plan."""
    own = scenario(demand={"requests_per_s": 0.5})
    own["search"]["tensor_parallel"] = [1]
    plan = tf.optimize_fleet(own).to_json()
    assert [row["count"] for row in plan["replicas"]] == [1]
    return own, plan


def mooncake(folder: Path, prompts: list[list[int]], every_s: float = 1.0) -> Path:
    """A trace whose prompts fill the blocks given, but for the last 24 tokens."""
    path = folder / "trace.jsonl"
    rows = [
        {
            "timestamp": int(1000 * every_s * i),
            "input_length": BLOCK * len(blocks) - 24,
            "output_length": 200,
            "hash_ids": blocks,
        }
        for i, blocks in enumerate(prompts)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


# Over time


def test_what_waits_and_runs_over_time_is_the_mean_backlog(small: tuple[Json, Json]) -> None:
    """Little's law: requests inside are the rate times how long each stays."""
    own, plan = small
    settings = replace(LIGHT, requests=4000, replications=2, scale=8.0)
    (group,) = (found := tf.simulate(plan, own, settings=settings)).groups
    series = group["series"]
    assert set(series) == {"at_s", "waiting", "running", "cache_share", "replicas_up"}
    assert 50 <= len(series["at_s"]) <= 511
    assert np.allclose(np.diff(series["at_s"]), series["at_s"][1])
    assert all(0 <= share <= 1 for share in series["cache_share"])
    inside = np.add(series["waiting"], series["running"])[20:-5].mean()
    expected = group["offered_requests_per_s"] * found.latency[0]["e2e_mean_ms"]["mean"] / 1e3
    assert inside == pytest.approx(expected, rel=0.25)
    # A hundred times as long is no more samples.
    longer = tf.simulate(plan, own, settings=replace(settings, requests=100_000, replications=1))
    assert len(longer.groups[0]["series"]["at_s"]) <= 511


# A day


def test_the_weights_of_a_day_by_hand() -> None:
    flat = day_weights(LoadShape(), None)
    assert np.allclose(flat, 1.0)
    weights = day_weights(LoadShape(peak_to_mean=2.0, peak_hours_per_day=4.0), None)
    assert weights.mean() == pytest.approx(1.0) and len(weights) == 288
    # Four hours at twice the mean about noon, 16 hours' worth left for the other twenty.
    assert np.allclose(weights[120:168], 2.0)
    assert np.allclose(weights[:120], 0.8) and np.allclose(weights[168:], 0.8)
    curve = np.array([1.0] * 12 + [3.0] * 12)
    assert np.array_equal(day_weights(LoadShape(day_curve=tuple(curve)), curve), curve)


def test_a_simulated_day_follows_the_load_of_the_workload() -> None:
    own = scenario(demand={"requests_per_s": 0.4, "peak_to_mean": 3.0, "peak_hours_per_day": 6.0})
    plan = tf.optimize_fleet(own)
    settings = replace(LIGHT, replications=2, day=True)
    found = tf.simulate(plan, own, settings=settings)
    (group,) = found.groups
    assert found.arrivals == "Poisson, over a day"
    assert group["measured_s"] == 86_400
    assert group["offered_requests_per_s"] == pytest.approx(0.4)
    came = group["requests"]["arrived"] / 2
    assert came == pytest.approx(0.4 * 86_400, rel=0.1)
    series = group["series"]
    hour = (np.array(series["at_s"]) / 3600) % 24
    busy = np.array(series["running"])
    peak = busy[(hour > 9.5) & (hour < 14.5)].mean()
    quiet = busy[(hour > 1) & (hour < 8)].mean()
    # 3 against (24 - 18)/18 of the mean; a request stays about as long at either.
    assert peak / quiet == pytest.approx(9.0, rel=0.5)
    with pytest.raises(SchemaError, match="day curve and a trace"):
        tf.simulate(plan, own, settings=settings, trace="none.csv")


# Mixes


def test_a_mix_has_its_share_of_both(small: tuple[Json, Json], tmp_path: Path) -> None:
    """Requests of the trace end after their first token; the drawn ones take 200."""
    own, plan = small
    path = trace_file(tmp_path, [(2.0 * i, 1000, 1) for i in range(500)])
    seen = {}
    for share in (1.0, 0.25):
        settings = replace(LIGHT, requests=4000, replications=2, trace_share=share)
        found = tf.simulate(plan, own, trace=path, lengths="trace", settings=settings)
        seen[share] = found
    assert "25% of" in seen[0.25].arrivals and "75% Poisson" in seen[0.25].arrivals
    rates = [one.groups[0]["offered_requests_per_s"] for one in seen.values()]
    assert rates == pytest.approx([0.5, 0.5])
    whole, mixed = (one.latency[0]["e2e_mean_ms"]["mean"] for one in seen.values())
    drawn = tf.simulate(plan, own, settings=LIGHT).latency[0]["e2e_mean_ms"]["mean"]
    assert mixed == pytest.approx(0.25 * whole + 0.75 * drawn, rel=0.05)
    came = [one.groups[0]["requests"]["arrived"] for one in seen.values()]
    assert came[0] == pytest.approx(came[1], rel=0.1)
    for share in (0.0, 1.5):
        with pytest.raises(SchemaError, match="trace_share"):
            tf.simulate(plan, own, settings=replace(LIGHT, trace_share=share))


# Prefix blocks


def test_blocks_of_a_trace_are_found_in_the_caches(
    small: tuple[Json, Json], tmp_path: Path
) -> None:
    """Every second prompt of two blocks begins with the first block of the one before."""
    own, plan = small
    prompts = [[10 * (i // 2), 10 * (i // 2) + 1 + i % 2] for i in range(200)]
    path = mooncake(tmp_path, prompts, 2.0)
    settings = replace(LIGHT, requests=1000, replications=2)
    found = tf.simulate(plan, own, trace=path, lengths="trace", settings=settings)
    cache = found.groups[0]["prefix_cache"]
    assert (cache["source"], cache["caches"]) == ("trace blocks", 1)
    assert cache["block_tokens"] == BLOCK and cache["tokens_per_cache"] > 100_000
    # 512 of two times 1000 tokens; the trace goes round five times and does not find itself.
    assert cache["hit_rate"] == pytest.approx(0.256, abs=0.005)
    assert cache["unlimited_hit_rate"] == pytest.approx(0.256, abs=1e-9)
    other = tf.simulate(
        plan, own, trace=path, lengths="trace", prefixes="classes", settings=settings
    )
    assert other.groups[0]["prefix_cache"]["source"] == "class hit rates"
    assert other.groups[0]["prefix_cache"]["hit_rate"] == 0.0
    ttft = [one.latency[0]["ttft_mean_ms"]["mean"] for one in (found, other)]
    assert ttft[0] < ttft[1]
    # Drawn among the others, requests of a class without hits dilute them.
    mixed = tf.simulate(
        plan, own, trace=path, lengths="trace", settings=replace(settings, trace_share=0.5)
    )
    assert mixed.groups[0]["prefix_cache"]["hit_rate"] == pytest.approx(0.128, abs=0.02)
    assert any("drawn among" in text for text in mixed.warnings)


def test_a_small_cache_holds_less_than_one_without_end(
    small: tuple[Json, Json], tmp_path: Path
) -> None:
    """A thousand prompts in turn, then all again: far more blocks than the cache has."""
    own, plan = small
    room = tf.simulate(plan, own, settings=LIGHT).groups[0]["cache_tokens_per_replica"]
    many = int(4 * room / (2 * BLOCK))
    prompts = [[2 * (i % many), 2 * (i % many) + 1] for i in range(2 * many)]
    path = mooncake(tmp_path, prompts)
    settings = replace(LIGHT, requests=2 * many, replications=1)
    found = tf.simulate(plan, own, trace=path, lengths="trace", settings=settings)
    cache = found.groups[0]["prefix_cache"]
    assert cache["unlimited_hit_rate"] > 0.45 and cache["hit_rate"] < 0.01


def test_blocks_together_with_all_groups(small: tuple[Json, Json], tmp_path: Path) -> None:
    own, plan = small
    path = mooncake(tmp_path, [[7, i + 100] for i in range(300)], 2.0)
    settings = replace(LIGHT, requests=600, replications=2)
    found = tf.simulate(plan, own, trace=path, lengths="trace", settings=settings, whole=Whole())
    (fleet,) = found.fleets
    alone = found.groups[0]["prefix_cache"]["hit_rate"]
    assert alone == pytest.approx(0.512, abs=0.01)
    assert fleet["groups"][0]["hit_rate"] == pytest.approx(alone, abs=0.01)


def test_blocks_that_do_not_fit_are_refused(small: tuple[Json, Json], tmp_path: Path) -> None:
    own, plan = small
    path = mooncake(tmp_path, [[1, 2], [1, 3]])
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[1]["hash_ids"] = [1, 2, 3]
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(SchemaError, match="row 2: 3 hash_ids for a prompt of 1,000 tokens"):
        tf.simulate(plan, own, trace=path, lengths="trace", settings=LIGHT)
    azure = trace_file(tmp_path, [(0.0, 1000, 200), (1.0, 1000, 200)])
    for lengths, why in (("trace", "it has none"), ("classes", "it has none")):
        with pytest.raises(SchemaError, match=why):
            tf.simulate(
                plan,
                own,
                trace=azure,
                lengths=lengths,  # type: ignore[arg-type]
                prefixes="trace",
                settings=LIGHT,
            )


# Lengths


@pytest.mark.parametrize("correlation", [0.0, 0.6, -0.8, 1.0])
def test_pairs_have_the_stated_rank_correlation(correlation: float) -> None:
    tokens = {"mean": 1500, "p50": 1100, "p90": 3200, "p95": 4300, "p99": 7000, "max": 8192}
    answer = {"mean": 240, "p50": 200, "p90": 500, "p95": 600, "p99": 800, "max": 1000}
    row: Json = {"id": "turn", "share": 1.0, "input_tokens": tokens, "output_tokens": answer}
    own = scenario(classes=[{**row, "length_correlation": correlation}])
    plain = scenario(classes=[row])
    found, independent = (
        class_pairs(classes[0], 3)
        for one in (own, plain)
        if (classes := tf.Scenario.parse(one, "scenario").workloads[0].classes) is not None
    )
    for a, b in zip(found, independent, strict=True):
        assert np.array_equal(np.sort(a), np.sort(b))
    ranks = [np.argsort(np.argsort(column, kind="stable")) for column in found]
    assert np.corrcoef(*ranks)[0, 1] == pytest.approx(correlation, abs=0.03)
