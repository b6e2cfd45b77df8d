"""Plans near to what stands, by trying every plan; a per cent reshuffles no fleet."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from test_explain import ENTERPRISE, OPTIONS, study_of
from tiny_mix import Tiny, random_tiny
from tokenfleet.errors import SchemaError
from tokenfleet.explanation.case import open_case
from tokenfleet.explanation.knobs import Knob, turned
from tokenfleet.explanation.menu import menu
from tokenfleet.explanation.study import systems_by_offer
from tokenfleet.mix.search.nearest import Standing
from tokenfleet.mix.solve import solve_mix
from tokenfleet.optimize import optimize_fleet, standing_of
from tokenfleet.problem_data import KEPT

TOLERANCE = 0.05


def moved(n: tuple[int, ...], today: tuple[int, ...]) -> int:
    return sum(abs(a - b) for a, b in zip(n, today, strict=True))


def a_tiny(seed: int) -> tuple[Tiny, tuple[int, ...]]:
    """A problem and some fleet that stands: the best at a quarter more and other prices."""
    tiny = random_tiny(seed)
    while not math.isfinite(replace(tiny, demand=tiny.demand * 1.25).least()):
        tiny = replace(tiny, demand=tiny.demand / 2)
    kinds = tuple(replace(k, price=k.price * (1 + 0.1 * i)) for i, k in enumerate(tiny.kinds))
    before = replace(tiny, kinds=kinds, demand=tiny.demand * 1.25)
    return tiny, min(before.plans(), key=lambda plan: plan[1])[0]


@pytest.mark.parametrize("seed", range(20))
def test_of_plans_within_the_tolerance_the_nearest_is_taken_then_the_cheapest(seed: int) -> None:
    tiny, today = a_tiny(seed)
    standing = {(f"o{i}", "s"): float(n) for i, n in enumerate(today)}
    found = solve_mix(
        tiny.problem(), OPTIONS, compare_single=False, near=Standing(standing, TOLERANCE)
    )
    least = tiny.least()
    allowed = [(moved(n, today), cost) for n, cost in tiny.plans() if cost <= least * 1.05 + 1e-9]
    counts = systems_by_offer(found.problem, found.values)
    n = tuple(counts.get(f"o{i}", 0) for i in range(3))
    assert (moved(n, today), found.annual_cost_usd) == pytest.approx(min(allowed), rel=1e-6)
    assert (KEPT in found.warnings) is (found.best_value is not None)
    items = [i for i in menu(study_of(tiny.problem()), (0.05,), standing=standing)
             if i.wish.name == "closest to what stands"]  # fmt: skip
    assert items[-1].value == min(allowed)[0]


def test_a_per_cent_reshuffles_no_fleet_without_reason() -> None:
    """Every input of the enterprise example 1 % up and down: other systems are taken only where
    today's could not serve, or cost more than what is given up for a simpler plan."""
    case = open_case(ENTERPRISE)
    options = replace(OPTIONS, gap=1e-4)
    before = solve_mix(case.study.problem, options, compare_single=False)
    today = systems_by_offer(before.problem, before.values)
    standing = {tuple(name.split("@")): float(n) for name, n in today.items()}
    for what in ("demand", "tariff", "price", "api_price", "power"):
        for factor in (0.99, 1.01):
            problem = turned(case, {Knob(what): factor})
            after = solve_mix(problem, options, compare_single=False)
            if systems_by_offer(problem, after.values) == today:
                continue
            kept = solve_mix(
                problem, options, compare_single=False, near=Standing(standing, 1.0)  # type: ignore[arg-type]
            )  # fmt: skip
            same = systems_by_offer(problem, kept.values) == today
            given_up = problem.objective.simplicity_tolerance
            assert not same or kept.value > after.value * (1 + given_up), (what, factor)


def test_bad_tolerances_and_plans_over_time_are_refused() -> None:
    plan = optimize_fleet(ENTERPRISE, compare_single=False)
    with pytest.raises(SchemaError, match="near_tolerance is -1"):
        standing_of(plan, -1.0)
    with pytest.raises(SchemaError, match="near_tolerance is nan"):
        standing_of(plan, math.nan)
    again = optimize_fleet(ENTERPRISE, compare_single=False, near=plan)
    assert [(r.offer, r.site, r.count) for r in again.systems] == [
        (r.offer, r.site, r.count) for r in plan.systems
    ]
