"""Plans on the simulator: what is done by hand, what is refused, the rounds of verification.

Attainment and cost per good token are checked by hand; the simulator itself is judged
in ``test_simulate.py`` and in the core's own tests against exact queues.
"""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tokenfleet as tf
from scenarios import hall
from test_cli import answer, run
from tokenfleet.errors import SchemaError
from tokenfleet.plan.promises import no_earlier
from tokenfleet.plan.rows import Plan
from tokenfleet.report.figures.simulation import figures
from tokenfleet.schema import Length
from tokenfleet.simulation.bench import open_bench
from tokenfleet.simulation.fleet import Failures, Whole
from tokenfleet.simulation.lengths import class_pairs, quantiles
from tokenfleet.simulation.loads import capacity, curves, sweep, time_columns

Json = dict[str, Any]
LIGHT = tf.SimulationSettings(requests=1500, replications=4)


def scenario(**workload: Any) -> Json:
    """One site with servers of eight accelerators, one workload of one class."""
    return {
        "name": "simulated",
        "confidence": "expected",  # what the simulation has, which knows of no reserve
        "as_of": "2026-07-15",
        "price_vintage": "2026-07",
        "workloads": [
            {
                "id": "chat",
                "model": "llama-3.1-8b",
                "precisions": ["fp8"],
                "classes": [
                    {"id": "turn", "share": 1.0, "input_tokens": 1000, "output_tokens": 200}
                ],
                "slos": [
                    {"metric": "ttft", "percentile": "p95", "limit_ms": 2000},
                    {"metric": "tpot", "percentile": "p95", "limit_ms": 50},
                ],
                "demand": {"requests_per_s": 100},
                **workload,
            }
        ],
        "sites": [hall()],
        "systems": ["h100_sxm_8"],
        "engines": ["vllm"],
        "offers": [{"id": "h100", "system": "h100_sxm_8", "kind": "buy"}],
        "search": {"tensor_parallel": [1, 2], "pipeline_parallel": [1]},
    }


@pytest.fixture(scope="module")
def planned() -> tuple[Json, Json]:
    """A scenario, and its plan as JSON."""
    own = scenario()
    return own, tf.optimize_fleet(own).to_json()


# By hand


def test_far_below_capacity_every_request_is_good(planned: tuple[Json, Json]) -> None:
    own, plan = planned
    settings = tf.SimulationSettings(requests=1500, replications=4, scale=0.05)
    found = tf.simulate(plan, own, settings=settings)
    assert found.held and not found.unstable
    assert {row["verdict"] for row in found.limits} == {"held"}
    assert [row["attainment"] for row in found.latency] == [1.0, 1.0]
    given = found.delivered
    assert given["good_share"] == 1.0
    assert given["cost_per_mtok_good_output_usd"] == given["cost_per_mtok_output_usd"]


def test_a_good_token_costs_the_plan_over_the_good_tokens(planned: tuple[Json, Json]) -> None:
    own, plan = planned
    found = tf.simulate(plan, own, settings=LIGHT)
    tokens = 100 * 8760 * 3600 * 200
    share = found.latency[0]["attainment"]
    given = found.delivered
    assert given["tokens_per_year_output"] == pytest.approx(tokens, rel=1e-9)
    expected = plan["annual_cost_usd"] / (tokens * share) * 1e6
    assert given["cost_per_mtok_good_output_usd"] == pytest.approx(expected, rel=1e-9)
    assert given["cost_per_mtok_output_usd"] == pytest.approx(plan["cost_per_mtok_output_usd"])


def test_above_capacity_every_replication_is_unstable(planned: tuple[Json, Json]) -> None:
    own, plan = planned
    used = 1.0 / tf.simulate(plan, own, settings=LIGHT).groups[0]["utilisation"]
    over = tf.SimulationSettings(requests=6000, replications=4, scale=1.25 * used)
    found = tf.simulate(plan, own, settings=over)
    assert found.unstable and not found.held
    assert all(g["unstable_replications"] == g["replications"] for g in found.groups)
    assert found.latency[0]["attainment"] < 0.95
    assert any("unstable" in text for text in found.warnings)


def test_requests_are_conserved_and_seeds_give_the_same_bytes(planned: tuple[Json, Json]) -> None:
    own, plan = planned
    one, two = (
        tf.simulate(
            plan, own, settings=tf.SimulationSettings(requests=800, replications=3, threads=n)
        ).to_json()
        for n in (1, 2)
    )
    for row in one["groups"]:
        total = row["requests"]
        assert total["arrived"] == total["finished"] + total["rejected"] + total["in_flight"]
    assert json.dumps({**one, "seconds": 0}) == json.dumps({**two, "seconds": 0})
    other = tf.simulate(
        plan, own, settings=tf.SimulationSettings(requests=800, replications=3, seed=1)
    )
    assert other.to_json()["latency"] != one["latency"]


# Lengths


@pytest.mark.parametrize(
    "given",
    [
        {"mean": 1500, "p50": 1100, "p90": 3200, "p95": 4300, "p99": 7000, "max": 8192},
        {"mean": 40, "p50": 25, "p90": 90, "p95": 140, "p99": 300, "max": 600},
        {"mean": 316.98, "p50": 395, "p90": 451, "p95": 521, "p99": 645, "max": 1000},
        {"mean": 700, "p50": 100, "p90": 2000, "p95": 3000, "p99": 8000, "max": 9000},
    ],
)
def test_drawn_lengths_have_the_percentiles_and_the_mean(given: Json) -> None:
    length = Length(**given)
    levels = (np.arange(200_000) + 0.5) / 200_000
    tokens = quantiles(length, levels)
    assert np.all(np.diff(tokens) >= 0) and tokens[-1] <= length.max
    assert tokens.mean() == pytest.approx(length.mean, rel=0.002)
    for level, value in zip((0.5, 0.9, 0.95, 0.99), length.quantiles, strict=False):
        assert np.quantile(tokens, level) == pytest.approx(value, rel=0.005)


def test_fixed_lengths_are_fixed() -> None:
    c = tf.Scenario.parse(scenario(), "scenario").workloads[0].classes
    assert c is not None
    prompts, outputs = class_pairs(c[0], 1)
    assert set(prompts.tolist()) == {1000} and set(outputs.tolist()) == {200}


# Plans that do not match


def test_a_plan_of_another_scenario_is_refused(planned: tuple[Json, Json]) -> None:
    own, plan = planned
    other = deepcopy(own)
    other["workloads"][0]["demand"]["requests_per_s"] = 90
    with pytest.raises(SchemaError, match="another scenario"):
        tf.simulate(plan, other, settings=LIGHT)


def test_solver_settings_do_not_make_another_scenario(planned: tuple[Json, Json]) -> None:
    own, plan = planned
    open_bench(plan, {**own, "solver": {"time_limit_s": 7.0}})


def test_a_changed_row_is_named(planned: tuple[Json, Json]) -> None:
    own, plan = planned
    changed = deepcopy(plan)
    changed["replicas"][0]["batch_limit"] += 1
    with pytest.raises(SchemaError, match=r"replicas\[0\]\.batch_limit"):
        tf.simulate(changed, own, settings=LIGHT)
    changed = deepcopy(plan)
    changed["routing"][0]["requests_per_s"] = [1.0, 2.0, 3.0]
    with pytest.raises(SchemaError, match=r"routing\[0\]"):
        Plan.from_json(changed)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema_version": 1}, "schema_version"),
        ({"origin": None}, "origin"),
        ({"replicas": "none"}, "replicas"),
        ({"blocks": []}, "blocks"),
    ],
)
def test_half_a_plan_is_refused(planned: tuple[Json, Json], change: Json, words: str) -> None:
    with pytest.raises(SchemaError, match=words):
        tf.simulate({**planned[1], **change}, planned[0], settings=LIGHT)


def test_measured_columns_have_nothing_to_simulate(planned: tuple[Json, Json]) -> None:
    own = deepcopy(planned[0])
    column = {"workload": "chat", "class": "turn", "system": "h100_sxm_8", "gpus": 1}
    own["columns"] = [{**column, "rate_rps": 5.0}]
    plan = tf.optimize_fleet(own).to_json()
    with pytest.raises(SchemaError, match="measured columns"):
        tf.simulate(plan, own, settings=LIGHT)


def test_settings_and_blocks_that_are_not_there(planned: tuple[Json, Json]) -> None:
    own, plan = planned
    for change in ({"scale": 0.0}, {"hours": -1.0}, {"requests": 0}, {"router": "best"}):
        with pytest.raises(SchemaError, match=next(iter(change))):
            tf.simulate(plan, own, settings=tf.SimulationSettings(**change))
    with pytest.raises(SchemaError, match="block 7"):
        tf.simulate(plan, own, block=7, settings=LIGHT)


# Traces

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


def trace_file(folder: Path, rows: list[tuple[float, int, int]]) -> Path:
    """An Azure trace; times in seconds after ten o'clock."""
    path = folder / "trace.csv"
    lines = [f"2023-11-16 10:{int(t // 60):02}:{t % 60:09.6f},{i},{o}" for t, i, o in rows]
    path.write_text(HEADER + "\n".join(lines) + "\n")
    return path


def test_a_trace_is_replayed_at_the_plan_s_rate(planned: tuple[Json, Json], tmp_path: Path) -> None:
    own, plan = planned
    rng = np.random.default_rng(3)
    times = np.cumsum(rng.exponential(0.5, 6000))
    path = trace_file(tmp_path, [(float(t), 1000, 200) for t in times])
    settings = tf.SimulationSettings(requests=4000, replications=4, scale=0.5)
    found = tf.simulate(plan, own, trace=path, lengths="trace", settings=settings)
    drawn = tf.simulate(plan, own, settings=settings)
    # The trace is Poisson with the lengths of the class: it must look like what is drawn.
    for name in ("utilisation", "concurrency"):
        assert found.groups[0][name] == pytest.approx(drawn.groups[0][name], rel=0.06)
    a, b = found.latency[0], drawn.latency[0]
    assert a["tpot_p50_ms"]["mean"] == pytest.approx(b["tpot_p50_ms"]["mean"], rel=0.04)


def test_bursts_of_a_trace_stay(planned: tuple[Json, Json], tmp_path: Path) -> None:
    """The same rate in bursts of eighty waits longer than evenly spread."""
    own, plan = planned
    even = [(float(t), 1000, 200) for t in range(800)]
    burst = [(float(80 * (t // 80)) + 1e-4 * (t % 80), 1000, 200) for t in range(800)]
    waits = []
    for rows in (even, burst):
        path = trace_file(tmp_path, rows)
        found = tf.simulate(plan, own, trace=path, lengths="trace", settings=LIGHT)
        waits.append(found.latency[0]["ttft_p95_ms"]["mean"])
    assert waits[1] > 1.2 * waits[0]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "has no requests"),
        ([(0.0, 1000, 200), (5.0, 1000, 200), (3.0, 1000, 200)], "row 4: comes before"),
        ([(0.0, 1000, 200), (1.0, -1, 200)], "row 3: ContextTokens"),
        ([(0.0, 1000, 200), (1.0, 1000, -5)], "row 3: GeneratedTokens"),
        ([(0.0, 1000, 200), (1.0, 1001, 200)], "row 3: a request of 1,001"),
        ([(0.0, 1000, 200), (1.0, 200_000, 200)], "row 3: a request of 200,200"),
        ([(0.0, 1000, 200), (0.0, 1000, 200)], "one time"),
    ],
)
def test_bad_traces_name_their_row(
    planned: tuple[Json, Json], tmp_path: Path, rows: list[Any], words: str
) -> None:
    own, plan = planned
    path = trace_file(tmp_path, rows)
    with pytest.raises(SchemaError, match=words) as caught:
        tf.simulate(plan, own, trace=path, lengths="trace", settings=LIGHT)
    assert str(path) in str(caught.value)


def test_negative_times_name_their_row(planned: tuple[Json, Json], tmp_path: Path) -> None:
    own, plan = planned
    path = tmp_path / "trace.jsonl"
    rows = [{"timestamp": t, "input_length": 1000, "output_length": 200} for t in (0, 5, -3)]
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(SchemaError, match="row 3: timestamp is -3"):
        tf.simulate(plan, own, trace=path, settings=LIGHT)
    path = tmp_path / "trace.csv"
    path.write_text("Timestamp,Request tokens,Response tokens\n1,1000,200\n-2,1000,200\n")
    with pytest.raises(SchemaError, match="row 3: Timestamp is -2"):
        tf.simulate(plan, own, trace=path, settings=LIGHT)


def test_a_trace_for_a_workload_that_is_not_there(
    planned: tuple[Json, Json], tmp_path: Path
) -> None:
    own, plan = planned
    path = trace_file(tmp_path, [(0.0, 1000, 200), (1.0, 1000, 200)])
    with pytest.raises(SchemaError, match="did you mean chat"):
        tf.simulate(plan, own, trace={"chta": path}, settings=LIGHT)


# Groups together


def test_groups_together_without_failures_are_the_group_alone(planned: tuple[Json, Json]) -> None:
    own, plan = planned
    settings = tf.SimulationSettings(requests=4000, replications=4)
    found = tf.simulate(plan, own, settings=settings, whole=Whole())
    (fleet,) = found.fleets
    assert len(found.groups) == 1 and fleet["failures"] == 0
    for name in ("ttft_p50_ms", "tpot_p50_ms"):
        alone = found.latency[0][name]["mean"]
        assert fleet["classes"][0][name]["mean"] == pytest.approx(alone, rel=0.03)
    assert fleet["classes"][0]["attainment"] == pytest.approx(
        found.latency[0]["attainment"], abs=0.02
    )
    series = fleet["series"]
    assert len(series["at_s"]) == len(series["waiting"]) >= 200
    assert max(series["replicas_up"]) == fleet["replicas_simulated"]
    assert all(0 <= share <= 1 for share in series["cache_share"])
    total = fleet["requests"]
    ends = total["finished"] + total["rejected"] + total["lost"] + total["in_flight"]
    assert total["arrived"] == ends


def test_failures_cost_good_tokens(planned: tuple[Json, Json]) -> None:
    own, plan = planned
    settings = tf.SimulationSettings(requests=4000, replications=2, hours=0.05)
    # Up half the time.
    broken = Whole(failures=Failures(0.02, 0.02))
    well, ill = (tf.simulate(plan, own, settings=settings, whole=w) for w in (Whole(), broken))
    assert ill.fleets[0]["failures"] > 0
    assert ill.delivered["good_share"] < well.delivered["good_share"]
    assert min(ill.fleets[0]["series"]["replicas_up"]) < ill.fleets[0]["replicas_simulated"]
    rare = Whole(failures=Failures(1e9, 1.0))
    told = tf.simulate(plan, own, settings=settings, whole=rare).warnings
    assert any("no replica failed" in text for text in told)
    with pytest.raises(SchemaError, match="above zero"):
        Failures(0.0, 1.0)


# Verification


BURSTY = tf.SimulationSettings(requests=1500, replications=4, burstiness=0.05)


def test_verified_plans_hold_what_they_promise() -> None:
    """The formulas think of Poisson arrivals; bursts break the limit that they just meet."""
    lengths = {"mean": 40, "p50": 25, "p90": 90, "p95": 140, "p99": 300, "max": 600}
    prompt = {"mean": 2000, "p50": 1500, "p90": 4200, "p95": 5600, "p99": 7400, "max": 8000}
    classes = [{"id": "turn", "share": 1.0, "input_tokens": prompt, "output_tokens": lengths}]
    slos = [{"metric": "ttft", "percentile": "p95", "limit_ms": 300}]
    own = scenario(classes=classes, slos=slos)
    first = tf.optimize_fleet(own)
    last = tf.optimize_fleet(own, verify="simulate", simulation=BURSTY)
    told = last.verification
    assert told is not None and told.holds and len(told.rounds) >= 2
    assert told.rounds[0].annual_cost_usd == pytest.approx(first.annual_cost_usd)
    assert told.rounds[0].failed and not told.rounds[-1].failed
    price = last.annual_cost_usd - first.annual_cost_usd
    assert price > 0 and told.price_of_certainty_usd == pytest.approx(price)
    other = replace(BURSTY, seed=99, replications=8)
    before, after = (tf.simulate(p, own, settings=other) for p in (first, last))
    assert before.failed and not after.failed
    assert after.latency[0]["attainment"] > before.latency[0]["attainment"]
    assert json.loads(json.dumps(last.to_json()))["verification"]["holds"]


def test_what_no_plan_can_hold_says_what_is_missing() -> None:
    slos = [{"metric": "ttft", "percentile": "p99", "limit_ms": 120}]
    own = scenario(slos=slos)
    own["sites"][0]["power_kw"] = 12
    assert tf.optimize_fleet(own).gpus == 8
    burst = replace(BURSTY, burstiness=0.02)
    with pytest.raises(tf.InfeasibleError, match="rounds of simulation") as caught:
        tf.optimize_fleet(own, verify="simulate", simulation=burst)
    assert "TTFT p99 is" in str(caught.value)


def test_plans_are_verified_on_a_trace(tmp_path: Path) -> None:
    """Requests that come fifty at a time break a limit that drawn ones keep."""
    slos = [{"metric": "ttft", "percentile": "p95", "limit_ms": 500}]
    own = scenario(slos=slos)
    path = trace_file(tmp_path, [(float(t), 1000, 200) for t in range(40) for _ in range(50)])
    settings = replace(LIGHT, replications=5)
    last = tf.optimize_fleet(own, verify="simulate", simulation=settings, trace=path)
    told = last.verification
    assert told is not None and told.holds is True
    failed = told.rounds[0].failed
    assert {row.arrivals for row in failed} == {str(path)} and not told.rounds[-1].failed
    first = tf.optimize_fleet(own)
    assert last.annual_cost_usd >= first.annual_cost_usd
    other = replace(settings, seed=99)
    before, after = (tf.simulate(p, own, trace=path, settings=other) for p in (first, last))
    assert before.failed and not after.failed
    drawn = tf.optimize_fleet(own, verify="simulate", simulation=settings)
    assert drawn.verification is not None and drawn.verification.trace is None
    assert drawn.gpus == first.gpus


def test_verification_is_named() -> None:
    with pytest.raises(SchemaError, match="verify"):
        tf.optimize_fleet(scenario(), verify="guess")  # type: ignore[arg-type]
    with pytest.raises(SchemaError, match="a trace without verify"):
        tf.optimize_fleet(scenario(), trace="trace.csv")
    with pytest.raises(SchemaError, match="chta"):
        tf.optimize_fleet(scenario(), verify="simulate", trace={"chta": "trace.csv"})


# Command line


def test_the_command_prints_json_words_and_files(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(json.dumps(scenario()))
    plan = tmp_path / "plan.json"
    assert run("plan", own, "-o", plan, "--verify", "simulate", "--requests", "800").returncode == 0
    few = ("--requests", "800", "--replications", "2")
    shown = answer("simulate", plan, *few)
    assert shown["schema_version"] == 1 and shown["latency"][0]["ttft_p95_ms"]["mean"] > 0
    assert set(shown["latency"][0]["e2e_p99_ms"]) == {"mean", "half_width"}
    words = run("simulate", plan, *few, "-o", tmp_path / "found.json")
    assert words.returncode == 0 and "per million good output tokens" in words.stdout
    held = json.loads((tmp_path / "found.json").read_text())
    assert {**held, "seconds": 0} == {**shown, "seconds": 0}
    # A confidence asked for beside the file is the plan's own, and found again.
    sure = tmp_path / "sure.json"
    assert run("plan", own, "-o", sure, "--confidence", "0.7").returncode == 0
    assert run("simulate", sure, *few).returncode == 0


def test_the_command_names_what_is_wrong(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(json.dumps(scenario()))
    plan = tmp_path / "plan.json"
    run("plan", own, "-o", plan)
    for arguments, words in (
        (("simulate", own), "is not a plan"),
        (("simulate", plan, "--scale", "0"), "scale"),
        (("simulate", plan, "--trace", "none.csv"), "none.csv"),
        (("simulate", plan, "--trace", "chat=a.csv", "--trace", "chat=b.csv"), "WORKLOAD=FILE"),
        (("simulate", plan, "--plot", tmp_path / "a.gif"), ".svg"),
        (("simulate", plan, "--block", "3"), "block 3"),
        (("simulate", plan, "--failures", "often"), "--failures often"),
        (("plan", own, "--verify", "guess"), "verify"),
    ):
        done = run(*arguments)
        assert done.returncode == 2 and words in done.stderr, done.stderr
        assert "hint:" in done.stderr
    own.rename(tmp_path / "gone.yaml")
    done = run("simulate", plan)
    assert done.returncode == 2 and "--scenario" in done.stderr


def test_the_plot_marks_capacity(planned: tuple[Json, Json]) -> None:
    own, plan = planned
    few = tf.SimulationSettings(requests=1500, replications=3)
    points = sweep(lambda s: tf.simulate(plan, own, settings=s), few, (0.5, 1.0, 2.0))
    assert [one.scale for one in points] == [0.5, 1.0, 2.0]
    # Utilisation is offered load over capacity, so capacity is the same from any stable load.
    stable = points[0].scale / points[0].groups[0]["utilisation"]
    assert capacity(points[:2]) == pytest.approx(stable, rel=0.05)
    columns = curves(points)
    assert columns["ttft_p50_ms"] == sorted(columns["ttft_p50_ms"])
    # The same cost over half the tokens.
    costs = columns["cost_per_mtok_output_usd"]
    assert costs[0] == pytest.approx(2 * costs[1])
    columns = time_columns(points[1])
    assert len(columns["at_s"]) == len(columns["waiting"]) == len(columns["cache_share"]) > 50
    drawn = list(figures(points, points[1]))
    assert [mark.name for mark in drawn[0].marks] == ["the plan", "capacity"]
    assert drawn[0].marks[1].x == capacity(points)
    assert drawn[0].series[0].points == tuple(
        (one.scale, ms) for one, ms in zip(points, curves(points)["ttft_p50_ms"], strict=True)
    )
    assert all(panel.draw(720) for panel in drawn)


def test_no_promise_is_earlier_than_what_was_simulated() -> None:
    """As far as the limit; a later promise and one that was not simulated stand."""
    rows = tf.optimize_fleet(scenario()).slo
    row = rows[0]
    assert row.promised_ms is not None and row.promised_ms < 0.99 * row.limit_ms
    key = (row.workload, row.cls, row.metric, row.percentile)

    def promised(simulated_ms: float) -> Any:
        (first, *others) = no_earlier(rows, {key: simulated_ms})
        assert tuple(others) == rows[1:]
        return first

    between = 0.5 * (row.promised_ms + row.limit_ms)
    assert promised(between).promised_ms == between
    assert promised(between).headroom_ms == row.limit_ms - between
    assert promised(2.0 * row.limit_ms).promised_ms == row.limit_ms
    assert promised(0.5 * row.promised_ms) == row
    assert no_earlier(rows, {}) == rows
