"""One table of goals: a row there is a goal everywhere."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from problems import one_pool
from tokenfleet.mix.model import frame_of
from tokenfleet.mix.model.objectives import FIGURES, is_kwh_and_systems, kwh_weights
from tokenfleet.mix.solve import solve_mix
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.plan.from_mix import plan_of
from tokenfleet.problem_data import GOALS, Block, Goal, Objective, ObjectiveKind, Problem
from tokenfleet.report.words import status_words
from tokenfleet.verify.bound import with_checked_bound


def powered(kind: ObjectiveKind) -> Problem:
    """2 requests/s of 1,800 J above idle at PUE 1.5: 3,600 J/s, 3.6 kW x 1.5 all year."""
    base = one_pool([[2.0]])
    pool = replace(base.pools[0], pue=1.5, energy_usd_per_kwh_it=0.1, carbon_kg_per_kwh_it=0.4)
    run = replace(base.candidates[0], energy_j=np.array([1800.0]))
    return replace(base, pools=(pool,), candidates=(run,), objective=Objective(kind))


def test_every_kind_has_its_row_and_every_figure_is_known() -> None:
    assert set(GOALS) == set(get_args(ObjectiveKind))
    for goal in GOALS.values():
        assert set(goal.of) <= set(FIGURES)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("least_cost", 100 + 3.6 * 8760 * 0.1),
        ("least_energy", 3.6 * 8760 * 1.5),
        ("least_carbon", 3.6 * 8760 * 0.4),
        ("most_tokens", 2 * 8760 * 3600 * 100),
        ("least_cost_per_token", (100 + 3.6 * 8760 * 0.1) / (2 * 8760 * 3600 * 100) * 1e6),
    ],
)
def test_goals_by_hand(kind: ObjectiveKind, value: float) -> None:
    assert solve_mix(powered(kind), SolveOptions(gap=0.0)).value == pytest.approx(value, rel=1e-6)


def test_what_a_kwh_adds_to_each_goal() -> None:
    """In the whole year and in its only block; two blocks of 3,650 and 5,110 h have their mean."""
    problem = powered("least_cost")
    told = {
        kind: weights_of(problem, kind) for kind, goal in GOALS.items() if is_kwh_and_systems(goal)
    }
    assert told == {"least_cost": [0.1] * 2, "least_energy": [1.5] * 2, "least_carbon": [0.4] * 2}
    pool = replace(problem.pools[0], energy_usd_per_kwh_it=(0.2, 0.08), carbon_usd_per_kwh_it=0.05)
    two = replace(problem.workloads[0], demand_rps=np.array([[2.0], [2.0]]))
    blocks = (Block(3650.0), Block(5110.0))
    timed = replace(problem, blocks=blocks, pools=(pool,), workloads=(two,))
    assert weights_of(timed, "least_cost") == pytest.approx([0.18, 0.25, 0.13])
    assert weights_of(timed, "least_energy") == [1.5] * 3


def weights_of(problem: Problem, kind: ObjectiveKind) -> list[float]:
    frame = frame_of(problem, 0.0, every_system=True)
    (weights,) = kwh_weights(problem, frame, GOALS[kind]).tolist()
    return list(weights)


def test_a_goal_is_what_its_row_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cost with carbon at 0.05 $/kg: model, plan and words know it from the table."""
    changed = Goal("least cost and carbon", "USD per year", {"cost": 1.0, "carbon": 0.05})
    monkeypatch.setitem(GOALS, "least_carbon", changed)  # type: ignore[misc]
    found = solve_mix(powered("least_carbon"), SolveOptions(gap=0.0))
    kwh = 3.6 * 8760
    assert found.value == pytest.approx(100 + kwh * 0.1 + 0.05 * kwh * 0.4, rel=1e-9)
    plan = plan_of(with_checked_bound(found, gap=0.0, seconds=10.0))
    assert plan.objective_unit == "USD per year"
    assert status_words(plan) == "proven: no plan has less cost and carbon"
