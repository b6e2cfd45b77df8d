"""Staff has a part that goes by power and one that a site's first own system brings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from problems import one_pool
from reference_mix import ScipMix
from scenarios import buy, hall
from test_plan_rows import MEASURED
from tokenfleet import optimize_fleet
from tokenfleet.errors import SchemaError
from tokenfleet.fleets.evaluate import FleetEvaluator
from tokenfleet.mix.solve import solve_mix
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.plan.from_mix import plan_of
from tokenfleet.problem_data import Objective, OfferData, Problem, SiteData, Systems
from tokenfleet.verify.bound import with_checked_bound
from tokenfleet.verify.mix import verify_mix

EXACT = SolveOptions(gap=0.0)


def two_halls(usd: float, *, needs_staff: tuple[bool, bool] = (True, True)) -> Problem:
    """Two boxes are needed: one at 100 $ in the first hall, more at 110 $ in the second."""
    base = one_pool([[16.0]])
    pools = tuple(replace(base.pools[0], id=f"p{i}", site=i) for i in range(2))
    offers = (
        OfferData("a", 0, supply=1.0, annual_cost_items_usd={"staff": 4.0, "hosting": 96.0}),
        OfferData("b", 1, annual_cost_items_usd={"hosting": 110.0}),
    )
    return replace(
        base,
        sites=(SiteData("s0", staff_usd_per_year=usd), SiteData("s1", staff_usd_per_year=usd)),
        pools=pools,
        offers=tuple(replace(o, needs_staff=n) for o, n in zip(offers, needs_staff, strict=True)),
        candidates=(replace(base.candidates[0], sites=(0, 1)),),
    )


@pytest.mark.parametrize(
    ("usd", "needs_staff", "cost", "counts"),
    [
        (0.0, (True, True), 210.0, [1, 1]),
        (9.0, (True, True), 228.0, [1, 1]),  # 210 + 2 x 9 is less than 220 + 9
        (11.0, (True, True), 231.0, [2]),  # 210 + 2 x 11 is more than 220 + 11
        (11.0, (True, False), 220.0, [2]),  # the other's seller looks after it: 210 + 11, or 220
        (9.0, (True, False), 219.0, [1, 1]),
    ],
)
def test_a_second_hall_pays_for_its_own_staff(
    usd: float, needs_staff: tuple[bool, bool], cost: float, counts: list[int]
) -> None:
    problem = two_halls(usd, needs_staff=needs_staff)
    result = solve_mix(problem, EXACT)
    assert result.value == pytest.approx(cost)
    assert verify_mix(problem, result.values, result.cost_items, result.value) == []
    assert with_checked_bound(result, 0.0, 5.0).bound == pytest.approx(cost)
    assert ScipMix(problem).cost() == pytest.approx(cost)
    plan = plan_of(result)
    assert sorted(row.count for row in plan.systems) == counts
    assert plan.annual_cost_usd == pytest.approx(cost)
    first = [row for row in plan.systems if row.site == "s0"]
    assert all(row.cost_items_usd["staff"] == pytest.approx(4.0 + usd) for row in first)


@pytest.mark.parametrize(("budget", "boxes"), [(209.0, 1), (311.0, 2), (339.0, 3)])
def test_free_demand_that_only_a_budget_ends(budget: float, boxes: int) -> None:
    """100 $ of a's one box, 110 $ for each of b's, 9 $ for the staff of each hall."""
    base = two_halls(9.0)
    objective = Objective(kind="most_tokens", annual_budget_usd=budget)
    free = replace(base.workloads[0], free=True, demand_rps=np.ones((1, 1)))
    problem = replace(base, workloads=(free,), objective=objective)
    result = solve_mix(problem, EXACT)
    assert result.status == "optimal"
    assert sum(n for x, n in result.values.items() if isinstance(x, Systems)) == boxes
    assert ScipMix(problem).best().value == pytest.approx(result.value)


def test_fleets_as_rows_pay_it() -> None:
    """Both halls 210 $ and 9 $ each, the second alone 220 and 9, no system nothing; as the mix."""
    problem = two_halls(9.0)
    evaluator = FleetEvaluator(problem)
    answers = evaluator.evaluate(evaluator.counts([[1, 1], [0, 2], [0, 0]]))
    assert answers["annual_cost_usd"][0].tolist() == pytest.approx([228.0, 229.0, 0.0])
    assert answers["staff_usd"][0].tolist() == pytest.approx([22.0, 9.0, 0.0])
    assert solve_mix(problem, EXACT).value == pytest.approx(228.0)


def test_the_check_of_a_plan_sees_staff_that_was_not_paid() -> None:
    free = solve_mix(two_halls(0.0), EXACT)
    found = verify_mix(two_halls(9.0), free.values, free.cost_items)
    assert [violation.rule for violation in found] == ["cost item staff"]


def test_a_scenario_says_it_of_its_sites() -> None:
    """Bought systems need it; those of which the price includes staff do not."""

    def staff(offer: dict[str, Any], **site: float) -> float:
        asked = {**MEASURED, "sites": [hall(**site)], "offers": [offer]}
        return optimize_fleet(asked).cost_items.get("staff", 0.0)

    rented = {"id": "r", "system": "h100_sxm_8", "kind": "all_in", "price_usd_per_gpu_h": 2.0}
    by_power = staff(buy())
    assert staff(buy(), staff_usd_per_year=50_000.0) == pytest.approx(by_power + 50_000.0)
    assert staff(rented, staff_usd_per_year=50_000.0) == 0.0


def test_it_is_refused_over_a_horizon() -> None:
    asked = {
        **MEASURED,
        "sites": [hall(staff_usd_per_year=1e5)],
        "horizon": {"start": "2027-01", "periods": 2, "period": "year"},
    }
    with pytest.raises(SchemaError, match="staff_usd_per_year"):
        optimize_fleet(asked)
