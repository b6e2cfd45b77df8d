"""Large horizons: a part of the pairs is built, and the bound is that of all."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

import tokenfleet as tf
from horizon_brute import random_tree
from horizon_instance import EXACT, Instance
from test_horizon_scenario import NEWS, over, scenario
from test_optimize import scenario as searched
from test_optimize import two_classes
from tokenfleet.mix.horizon import part as parts
from tokenfleet.mix.horizon import search
from tokenfleet.mix.horizon.combine import combined
from tokenfleet.mix.horizon.measures import wait_and_see
from tokenfleet.mix.horizon.part import at_risk, bound_by, part_of, user_costs
from tokenfleet.mix.horizon.risk import Risk, set_risk
from tokenfleet.mix.horizon.solve import solve_horizon
from tokenfleet.mix.model import build, frame_of, scale_limit
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.mix.solver.highs import run
from tokenfleet.problem import build as built_from
from tokenfleet.problem.over_time import tree_of
from tokenfleet.problem_data import Horizon
from tokenfleet.scenario.load import load_scenario
from tokenfleet.verify import horizon_bound
from tokenfleet.verify.bound import Checked
from tokenfleet.verify.horizon import verify_horizon
from tokenfleet.verify.horizon_bound import best_horizon_bound, check_horizon_bound


def relaxed(horizon: Horizon, risk: Risk | None = None) -> float:
    """The relaxation of the whole model, by the solver."""
    problem = combined("case", horizon)
    m = build(problem, frame=frame_of(problem, scale_limit(problem), every_system=True))
    set_risk(m, risk or Risk())
    return run(m.prob, EXACT, mip=False).value


@pytest.mark.parametrize("seed", range(20))
def test_the_bound_is_the_relaxation_of_the_whole_tree(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "LARGE", 0)
    horizon = Instance(random_tree(seed)).horizon()
    part = part_of("case", horizon, Effort.of(EXACT))
    assert part is not None
    assert part.bound == pytest.approx(relaxed(horizon), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_no_plan_is_better_than_the_bound_of_its_part(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over all pairs the plan is the best of all, by a tail and by regret too."""
    horizon = Instance(random_tree(seed)).horizon()
    known = wait_and_see(horizon, EXACT)
    risks = [Risk(), Risk("cvar", 0.5, 0.5), Risk("regret", least=known.least)]
    wanted = [solve_horizon("case", horizon, EXACT, risk).value for risk in risks]
    monkeypatch.setattr(parts, "LARGE", 0)
    monkeypatch.setattr(search, "SMALL", 0)  # as if it were large: rounded, then whole
    part = part_of("case", horizon, Effort.of(EXACT))
    assert part is not None
    first = horizon.nodes[0].problem
    pairs = product(range(len(first.pools)), range(len(first.candidates)))
    part = replace(part, pairs=frozenset(pairs))
    for risk, value in zip(risks, wanted, strict=True):
        found = solve_horizon("case", horizon, EXACT, risk, part=part)
        assert not verify_horizon(found.problem, found.values, found.npv_usd)
        assert found.value == pytest.approx(value, rel=1e-6, abs=1e-6)
        assert found.bound <= value + 1e-6 * max(1.0, abs(value))


@pytest.mark.parametrize("seed", range(12))
def test_what_is_at_risk_is_bounded_by_its_relaxation(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the probabilities that a risk makes, the mean is the relaxation of the whole model with
    that risk."""
    monkeypatch.setattr(parts, "LARGE", 0)
    horizon = Instance(random_tree(seed)).horizon()
    part = part_of("case", horizon, Effort.of(EXACT))
    assert part is not None
    known = wait_and_see(horizon, EXACT)
    tails = [Risk("cvar", 0.25, 0.8), Risk("cvar", 1.0, 0.5)]
    for risk in [*tails, Risk("regret", least=known.least)]:
        found = at_risk(part, horizon, risk, Effort.of(EXACT))
        assert found is not None
        other, own = found
        chances = [other.nodes[x].probability for x in other.leaves]
        assert sum(chances) == pytest.approx(1.0, abs=1e-12)
        bound = bound_by(risk, own.bound, other)
        wanted = relaxed(horizon, risk)
        assert bound == pytest.approx(wanted, rel=1e-4, abs=1e-3)
        assert bound <= wanted + 1e-7 * max(1.0, abs(wanted))


@pytest.mark.parametrize("seed", range(20))
def test_the_bound_is_confirmed_by_other_means(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the prices of the relaxation the sum is its value; at none at all, and at wrong ones, it
    is still below the optimum."""
    monkeypatch.setattr(parts, "LARGE", 0)
    horizon = Instance(random_tree(seed)).horizon()
    part = part_of("case", horizon, Effort.of(EXACT))
    assert part is not None
    problem = combined("case", horizon)
    least = solve_horizon("case", horizon, EXACT).npv_usd
    for prices in (part.prices, {}, {at: 1.3 * usd for at, usd in part.prices.items()}):
        found = check_horizon_bound(problem, prices, math.inf, part.pairs)
        assert found.how == "prices"
        assert found.bound <= least + 1e-6 * max(1.0, abs(least))
    found = check_horizon_bound(problem, part.prices, part.bound, part.pairs)
    assert found == Checked(part.bound, "prices")


def test_a_check_without_time_says_nothing_of_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the solver's own then, and nothing that half a check has added up."""
    monkeypatch.setattr(parts, "LARGE", 0)
    monkeypatch.setattr(horizon_bound, "_SECONDS", 0.0)
    horizon = Instance(random_tree(1)).horizon()
    part = part_of("case", horizon, Effort.of(EXACT))
    assert part is not None
    problem = combined("case", horizon)
    found = check_horizon_bound(problem, part.prices, part.bound, part.pairs)
    assert found == Checked(part.bound, "none")
    found = check_horizon_bound(problem, part.prices, math.inf, part.pairs)
    assert found == Checked(-math.inf, "none")


@pytest.mark.parametrize(
    "more",
    [
        {"reserve": {"systems_per_pool": 1}},
        {"objective": {"kind": "least_cost", "annual_budget_usd": 1e6}},
        {"objective": {"kind": "least_cost", "most_system_types": 1}},
    ],
)
def test_what_only_makes_plans_dearer_leaves_a_bound(
    more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reserves, budgets and limits on types are kept by the plan, and left out of its bound."""
    data = scenario(horizon=over(3), **more)
    data["workloads"][0]["demand"]["growth_per_year"] = 0.5
    whole = tf.optimize_fleet(data)
    monkeypatch.setattr(parts, "LARGE", 0)
    plan = tf.optimize_fleet(data)
    assert plan.horizon is not None and whole.horizon is not None
    assert plan.horizon.orders == whole.horizon.orders
    assert plan.objective_value == pytest.approx(whole.objective_value)
    assert plan.bound_check == "prices"
    assert plan.bound is not None and plan.bound <= whole.objective_value * (1 + 1e-9)
    assert plan.bound > 0.5 * plan.objective_value


@pytest.mark.parametrize("outlooks", [[], NEWS])
def test_a_scenario_in_parts_has_the_same_plan(
    outlooks: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One layout is all that there is, so a part holds it; its bound is a relaxation's."""
    data = scenario(horizon=over(3), outlooks=outlooks)
    data["workloads"][0]["demand"]["growth_per_year"] = 0.5
    whole = tf.optimize_fleet(data)
    monkeypatch.setattr(parts, "LARGE", 0)
    plan = tf.optimize_fleet(data)
    assert plan.objective_value == pytest.approx(whole.objective_value)
    assert plan.bound_check == "prices"
    assert plan.bound is not None and plan.bound <= plan.objective_value
    assert plan.horizon is not None and whole.horizon is not None
    assert plan.horizon.orders == whole.horizon.orders
    if plan.horizon.risk is not None and whole.horizon.risk is not None:
        assert plan.horizon.risk.evpi_usd == pytest.approx(whole.horizon.risk.evpi_usd, abs=1.0)
        assert plan.horizon.risk.evpi_high_usd is not None


def test_layouts_that_change_by_block_leave_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are in the bound though no part is generated with them: it holds at right prices and at
    wrong ones, and a claim above the least cost is not confirmed."""
    demand = {"requests_per_s": 100.0, "peak_to_mean": 3.0, "growth_per_year": 0.5}
    data = searched(
        horizon=over(2),
        outlooks=NEWS,
        workloads=[two_classes(demand=demand)],
        search={"tensor_parallel": [1, 2], "pipeline_parallel": [1], "batch_limits": [32, 128]},
        relayout=True,
        solver={"gap": 1e-3, "time_limit_s": 60},
    )
    whole = tf.optimize_fleet(data)
    assert whole.horizon is not None and whole.bound is not None
    monkeypatch.setattr(parts, "LARGE", 0)
    plan = tf.optimize_fleet(data)
    assert plan.bound_check == "prices" and plan.bound is not None
    assert 0.8 * whole.objective_value < plan.bound <= whole.objective_value
    assert plan.objective_value >= whole.bound * (1 - 1e-9)
    tree = tree_of(built_from(load_scenario(data)))
    problem, part = combined("case", tree), part_of("case", tree, Effort.of(EXACT))
    assert part is not None and part.asks and part.bound == -math.inf
    npv = whole.horizon.npv_usd
    for times in (0.0, 0.5, 1.0, 1.5):
        prices = {at: times * usd for at, usd in part.prices.items()}
        for claimed in (math.inf, 1.01 * npv):
            assert check_horizon_bound(problem, prices, claimed, part.pairs).bound <= npv


@pytest.mark.parametrize("risk", [None, {"cvar_alpha": 0.5, "weight": 0.5}])
def test_prefill_apart_is_planned_over_what_years_want(
    risk: dict[str, float] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan over the layouts that years want is as good as that over all, and its bound holds
    at right prices and at wrong ones."""
    demand = {"requests_per_s": 100.0, "growth_per_year": 0.5}
    data = searched(
        horizon=over(2),
        outlooks=NEWS,
        workloads=[two_classes(demand=demand)],
        search={
            "tensor_parallel": [1, 2],
            "pipeline_parallel": [1],
            "batch_limits": [32, 128],
            "disaggregate": True,
        },
        solver={"gap": 1e-3, "time_limit_s": 60},
    )
    if risk is not None:
        data["objective"] = {"kind": "least_cost", "risk": risk}
    whole = tf.optimize_fleet(data)
    assert whole.horizon is not None and whole.bound is not None
    monkeypatch.setattr(parts, "LARGE_APART", 0)
    plan = tf.optimize_fleet(data)
    assert plan.horizon is not None and plan.bound is not None
    assert plan.bound_check in ("prices", "search")
    assert whole.bound * (1 - 1e-9) <= plan.objective_value <= whole.objective_value * 1.01
    assert 0.9 * whole.objective_value < plan.bound <= whole.objective_value * (1 + 1e-9)
    if risk is not None:
        return
    tree = tree_of(built_from(load_scenario(data)))
    problem, npv = combined("case", tree), whole.horizon.npv_usd
    costs = user_costs(problem)
    for times in (0.0, 0.5, 1.0, 1.5):
        prices = {at: times * usd for at, usd in costs.items()}
        checked = best_horizon_bound(problem, prices, {}, seconds=60.0)
        assert checked.bound <= npv * (1 + 1e-9)


FREE = [
    {**row, "demand": 1.0, "prices": factor} for row, factor in zip(NEWS, (1.5, 0.7), strict=True)
]


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize(
    ("goal", "free", "near"),
    [
        ("least_energy", False, 0.1),
        ("least_cost_per_token", False, 0.1),
        ("least_cost_per_token", True, 0.01),
        ("most_tokens", True, 0.01),
    ],
)
def test_other_goals_are_planned_over_what_years_want(
    goal: str, free: bool, near: float, apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is too large to be built whole has a bound of its own goal, which the whole plan judges:
    not better than it, and no further from it than whole numbers are."""
    if goal == "least_energy" and not apart:
        pytest.skip("its layouts are generated")
    demand: dict[str, Any] = {"requests_per_s": 100.0, "growth_per_year": 0.5}
    data = searched(
        horizon=over(2),
        objective={"kind": goal},
        outlooks=FREE if free else NEWS,
        workloads=[two_classes(demand={"free": True} if free else demand)],
        search={
            "tensor_parallel": [1, 2],
            "pipeline_parallel": [1],
            "batch_limits": [32, 128],
            "disaggregate": apart,
        },
        solver={"gap": 1e-3, "time_limit_s": 60},
    )
    whole = tf.optimize_fleet(data)
    assert whole.proven
    monkeypatch.setattr(parts, "LARGE_APART", 0)
    monkeypatch.setattr(parts, "LARGE", 0)
    plan = tf.optimize_fleet(data)
    sign = -1.0 if goal == "most_tokens" else 1.0
    best = whole.best_objective_value or whole.objective_value
    assert plan.bound is not None and plan.bound_check in ("prices", "search")
    assert sign * plan.bound <= sign * best * (1 + sign * 1e-9)
    assert plan.bound == pytest.approx(best, rel=near)
    assert plan.objective_value == pytest.approx(best, rel=5e-3)
