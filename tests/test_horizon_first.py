"""A first plan over a tree, from its mean future, and a plan improved by site and period."""

from __future__ import annotations

import math
import signal
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from horizon_brute import Brute, random_tree
from horizon_instance import EXACT, Instance
from interrupts import strikes
from test_horizon import two_futures
from tokenfleet.mix.horizon import first, near, part, search
from tokenfleet.mix.horizon.combine import combined, mean
from tokenfleet.mix.horizon.first import first_plan
from tokenfleet.mix.horizon.neighbours import improve
from tokenfleet.mix.horizon.risk import Risk, set_risk
from tokenfleet.mix.horizon.solve import solve_horizon
from tokenfleet.mix.model import FleetModel, build, frame_of, scale_limit
from tokenfleet.mix.search.incumbent import Incumbent, value_of
from tokenfleet.mix.solver.effort import Deadline, Effort
from tokenfleet.mix.solver.highs import run
from tokenfleet.problem_data import Horizon, Systems
from tokenfleet.verify.horizon import verify_horizon

NO_TIME = replace(EXACT, time_limit_s=1e-9)


def model(horizon: Horizon) -> FleetModel:
    problem = combined("case", horizon)
    m = build(problem, frame=frame_of(problem, scale_limit(problem), every_system=True))
    set_risk(m, Risk())
    return m


def by_mean_future(m: FleetModel) -> dict[str, float] | None:
    horizon = m.problem.horizon
    assert horizon is not None
    found = solve_horizon("mean", mean(horizon), EXACT)
    return first_plan(m, found.problem, found.values, Effort.of(EXACT))


@pytest.fixture
def of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every tree were large."""
    monkeypatch.setattr(first, "LARGE", 0)
    monkeypatch.setattr(first, "_NODES", 0)


def test_the_mean_future_orders_for_its_mean() -> None:
    """Demand 1 or 3 at even odds: two are ordered at 10, and one more is 15 on demand half the
    time. The best, one, costs 25."""
    m = model(Instance(two_futures()).horizon())
    plan = by_mean_future(m)
    assert plan is not None
    assert value_of(m, plan) == pytest.approx(27.5)


def test_without_time_it_is_the_answer(of_any_size: None) -> None:
    horizon, told = Instance(two_futures()).horizon(), list[tuple[float, float]]()
    found = solve_horizon(
        "case", horizon, NO_TIME, watch=lambda value, bound: told.append((value, bound))
    )
    assert found.npv_usd == pytest.approx(27.5)
    assert not verify_horizon(found.problem, found.values, found.npv_usd)
    assert told[0] == pytest.approx((27.5, -math.inf))
    assert solve_horizon("case", horizon, EXACT).npv_usd == pytest.approx(25.0)


@pytest.mark.parametrize("seed", range(12))
def test_a_search_that_begins_there_ends_at_the_best(seed: int, of_any_size: None) -> None:
    data = random_tree(seed)
    horizon = Instance(data).horizon()
    least = Brute(data).least()
    for options in (NO_TIME, EXACT):
        found = solve_horizon("case", horizon, options)
        assert not verify_horizon(found.problem, found.values, found.npv_usd)
        assert found.npv_usd >= least - 1e-6 * max(1.0, abs(least))
    assert found.npv_usd == pytest.approx(least, rel=1e-6, abs=1e-6)


def test_orders_that_are_decided_are_kept(of_any_size: None) -> None:
    """Three at 10, whatever the mean future wants."""
    horizon = Instance(two_futures()).horizon()
    found = solve_horizon("case", horizon, NO_TIME, fixed={(0, 0): 3.0})
    assert found.npv_usd == pytest.approx(30.0)


def test_ctrl_c_in_the_mean_future_ends_with_its_plan(
    of_any_size: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_exactly", strikes(search._exactly, 1))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        found = solve_horizon("case", Instance(two_futures()).horizon(), EXACT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert found.interrupted
    assert found.npv_usd == pytest.approx(27.5)


def steady(periods: int) -> Mapping[str, Any]:
    """Two a year, from one system of two at 10 or two systems of one at 6 each."""
    return {
        "discount_rate": 0,
        "period_years": [1] * periods,
        "systems": [{"id": "A", "capacity": 2}, {"id": "B", "capacity": 1}],
        "offers": [
            {"id": "large", "kind": "rent", "system": "A", "price": 10, "term_periods": 1},
            {"id": "small", "kind": "rent", "system": "B", "price": 6, "term_periods": 1},
        ],
        "nodes": [
            {"period": t, "parent": t - 1, "prob": 1, "demand": 2} for t in range(periods)
        ],
    }  # fmt: skip


def worst(m: FleetModel) -> Incumbent:
    """Small systems alone."""
    large = [v for la, v in m.columns.items() if getattr(la, "offer", None) == 0]
    before = [v.upBound for v in large]
    for v in large:
        v.upBound = 0.0
    found = run(m.prob, EXACT)
    for v, up in zip(large, before, strict=True):
        v.upBound = up
    best = Incumbent(m, 0.0, -math.inf)
    best.offer_plan(found.values)
    return best


def test_periods_are_improved_one_after_another() -> None:
    """Four periods at 12, and at 10 when each has been opened."""
    m = model(Instance(dict(steady(4))).horizon())
    before = [(v.lowBound, v.upBound) for v in m.columns.values()]
    best = worst(m)
    assert best.value == pytest.approx(48.0)
    improve(m, Effort.of(EXACT), best)
    assert best.value == pytest.approx(40.0)
    assert [(v.lowBound, v.upBound) for v in m.columns.values()] == before


def test_no_time_leaves_the_plan() -> None:
    m = model(Instance(dict(steady(3))).horizon())
    best = worst(m)
    improve(m, Effort(EXACT, Deadline(0.0)), best)
    assert best.value == pytest.approx(36.0)


@pytest.mark.parametrize("seed", range(12))
def test_what_is_improved_is_a_plan_and_never_worse(seed: int) -> None:
    data = random_tree(seed)
    m = model(Instance(data).horizon())
    begun = run(m.prob, replace(EXACT, gap=0.5, first_plan=True))
    best = Incumbent(m, 0.0, -math.inf)
    best.offer_plan(begun.values)
    improve(m, Effort.of(EXACT), best)
    least = Brute(data).least()
    size = 1e-6 * max(1.0, abs(least))
    assert least - size <= best.value <= begun.value + size
    assert run(m.prob, EXACT, start=best.plan).value == pytest.approx(least, rel=1e-6, abs=1e-6)


def test_a_part_of_few_whole_numbers_is_rounded_before_it_is_searched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A part is of a large fleet: its relaxation rounded up is a far better start than what a
    search finds first."""
    asked: list[bool] = []
    near = search.plan_near
    monkeypatch.setattr(search, "FEW", 0)
    monkeypatch.setattr(part, "LARGE", 0)
    monkeypatch.setattr(search, "plan_near", lambda *a: (asked.append(True), near(*a)))
    horizon = Instance(dict(steady(3))).horizon()
    found = part.part_of("case", horizon, Effort.of(EXACT))
    assert found is not None
    result = solve_horizon("case", horizon, EXACT, part=found)
    assert asked
    assert result.npv_usd == pytest.approx(30.0)


@pytest.mark.parametrize("seed", range(6))
def test_a_relaxation_solved_again_is_that_of_the_model(seed: int) -> None:
    """Limits are lowered one after another, and each time what a solver says that begins anew."""
    m = model(Instance({**random_tree(seed), "power_kw": 40.0}).horizon())
    moved = near._Moved(m, Effort.of(EXACT))
    limits = [row for row in m.prob.constraints() if isinstance(m.rows[row.name], near.Power)]
    columns = [v for v in m.of(Systems).values() if v.upBound]
    for i, row in enumerate(limits[:3]):
        row.constant += 8.0
        columns[i].upBound /= 2.0
        again = moved.solve(10.0, [*limits[: i + 1], *columns[: i + 1]])
        anew = run(m.prob, EXACT, mip=False)
        assert again.status == anew.status
        if anew.has_incumbent:
            assert again.value == pytest.approx(anew.value, rel=1e-7, abs=1e-6)
            assert value_of(m, again.values) == pytest.approx(anew.value, rel=1e-7, abs=1e-6)
