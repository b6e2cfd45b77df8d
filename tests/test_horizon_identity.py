"""Every example over equal periods, and over outlooks that say nothing, is its own year."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import tokenfleet as tf

EXAMPLES = Path(__file__).parents[1] / "examples"
# Of these a search was seen to end by the clock on a busy machine.
_LONGER = {("enterprise", "least_cost_per_token"): 6, ("hyperscaler", "least_cost"): 6}
SAID = {"least_cost", "least_cost_per_token"}  # levelised; other goals add up over the years
GOALS = [
    ("enterprise", "least_cost"),
    ("enterprise", "least_cost_per_token"),
    ("enterprise", "least_energy"),
    ("ai_factory", "least_cost_per_token"),
    ("ai_factory", "most_tokens"),
    ("hyperscaler", "least_cost"),
]


def example(name: str, goal: str, **changes: Any) -> dict[str, Any]:
    """An example under a goal, with so much time that its searches do not end by the clock."""
    data: dict[str, Any] = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text("utf-8"))
    data["solver"]["time_limit_s"] *= _LONGER.get((name, goal), 1)
    if data["objective"]["kind"] != goal:
        data["objective"] = {"kind": goal}
    return {**data, **changes}


def alike(*probabilities: float) -> list[dict[str, Any]]:
    """Outlooks that change nothing."""
    return [
        {"id": f"o{i}", "probability": share, "from": "2027-04"}
        for i, share in enumerate(probabilities)
    ]


def assert_is_year(plan: tf.Plan, year: tf.Plan, goal: str) -> None:
    """Value, cost, bound and every number are those of the year."""
    assert plan.horizon is not None
    levelised = plan.horizon.levelised_usd_per_year
    years = 1.0 if goal in SAID else plan.horizon.npv_usd / levelised
    assert levelised == pytest.approx(year.annual_cost_usd, rel=1e-9)
    assert plan.objective_value == pytest.approx(years * year.objective_value, rel=1e-9)
    assert plan.bound == pytest.approx(years * (year.bound or 0.0), rel=1e-9)
    assert plan.bound_check == year.bound_check
    for table, keys in (("systems", ("offer", "count")), ("replicas", ("workload", "count"))):
        rows = [
            [tuple(getattr(row, key) for key in keys) for row in getattr(of, table)]
            for of in (plan, year)
        ]
        assert rows[0] == rows[1]


@pytest.mark.parametrize(("name", "goal"), GOALS)
def test_equal_periods_and_outlooks_that_say_nothing_are_the_year(name: str, goal: str) -> None:
    year = tf.optimize_fleet(example(name, goal))
    halves = {"start": "2026-10", "periods": ["2 half_years"]}
    whole = {**halves, "firm_periods": 2}
    over: list[dict[str, Any]] = [{"horizon": halves}]
    if name != "hyperscaler":
        over += [
            {"horizon": {"start": "2026-10", "periods": 1}},
            {"horizon": {"start": "2026-10", "periods": 3}},
            {"horizon": whole, "outlooks": alike(1.0)},
            {"horizon": whole, "outlooks": alike(0.3, 0.7)},
        ]
    for changes in over:
        assert_is_year(tf.optimize_fleet(example(name, goal, **changes)), year, goal)
