"""A time limit cuts what improves a plan, never the first one, however slow the machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import tokenfleet as tf
from problems import free_problem, random_problem
from tokenfleet.mix.solve import solve_mix
from tokenfleet.mix.solver.effort import Slowness
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.scenario.load import load_scenario
from tokenfleet.verify.mix import verify_mix

NO_TIME = SolveOptions(gap=0.0, time_limit_s=1e-9)
EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.yaml"))


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_no_time_at_all_gives_a_plan(
    seed: int, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes that do not divide one another are not rounded: there the solver finds a first plan."""
    if large:
        monkeypatch.setattr("tokenfleet.mix.search.stages.SMALL", 0)
    problem = random_problem(seed, classes=2, sizes=(1, 2, 4) if seed % 2 else (2, 3, 4))
    result = solve_mix(problem, NO_TIME)
    assert verify_mix(result.problem, result.values, result.cost_items, result.value) == []


@pytest.mark.parametrize("seed", range(4))
def test_no_time_at_all_gives_a_ratio(seed: int) -> None:
    result = solve_mix(free_problem(seed), NO_TIME)
    assert verify_mix(result.problem, result.values, result.cost_items, result.value) == []


@pytest.mark.default_confidence
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_examples_have_a_plan_in_no_time(path: Path) -> None:
    """And the answer at the expectation, which has no time either, is never a worse plan."""
    loaded = load_scenario(path)
    solver = loaded.scenario.solver.model_copy(update={"time_limit_s": 1e-6})
    scenario = loaded.scenario.model_copy(update={"solver": solver})
    plan = tf.optimize_fleet(replace(loaded, scenario=scenario), both=True)
    assert plan.systems
    assert plan.bound is not None
    if loaded.scenario.horizon is None:
        assert plan.confidence == 0.8
        assert plan.other is not None and plan.other.objective_value is not None
        assert plan.other.objective_value <= plan.objective_value


def test_a_machine_that_is_busy_elsewhere_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds for one of work: a check that has 15 s on an idle machine has 150 s there."""
    now = {"wall": 0.0, "cpu": 0.0}
    monkeypatch.setattr("time.perf_counter", lambda: now["wall"])
    monkeypatch.setattr("time.process_time", lambda: now["cpu"])
    slowness = Slowness()
    now |= {"wall": 50.0, "cpu": 5.0}
    assert slowness.factor() == pytest.approx(10.0)
    now["cpu"] = 80.0  # two threads at work
    assert slowness.factor() == 1.0
    now["wall"] = 1e6
    assert slowness.factor() == 20.0
