"""Break-even over time: as of one year where nothing changes, else as plans from scratch."""

from __future__ import annotations

import copy

import pytest

import tokenfleet as tf
from test_explain_over_time import over_time
from test_sweep_diff_model import measured
from test_sweep_over_time import Scenario, dated, demand
from tokenfleet.errors import InfeasibleError
from tokenfleet.explanation.crossover_over_time import CrossoverOverTime
from tokenfleet.explanation.over_time import OverTime, open_either


def test_over_equal_quarters_routes_cost_what_they_cost_in_a_year() -> None:
    """What is bought costs the same in every year, so time changes nothing."""
    year, quarters = (
        tf.explain(scenario, parts=["crossover"]) for scenario in (measured(), over_time())
    )
    assert len(quarters.crossover) == len(year.crossover) > 40
    for row, same in zip(quarters.crossover, year.crossover, strict=True):
        assert (row.axis, row.at, row.route) == (same.axis, same.at, same.route)
        assert row.annual_cost_usd == pytest.approx(same.annual_cost_usd, rel=1e-6)
        per_mtok = same.cost_per_mtok_output_usd
        assert row.cost_per_mtok_output_usd == pytest.approx(per_mtok, rel=1e-6)
        assert row.how == "re-solved and proven"
    for met, other in zip(quarters.break_even, year.break_even, strict=True):
        assert (met.cheaper_below, met.cheaper_above) == (other.cheaper_below, other.cheaper_above)
        assert met.at == pytest.approx(other.at, abs=1e-3)


def alone(route: str) -> Scenario:
    """The scenario with one way to get tokens."""
    scenario = copy.deepcopy(dated())
    kinds = {"buy": "buy", "rent 1 year": "rent"}
    if route != "best mix":
        scenario["offers"] = [r for r in scenario["offers"] if r["kind"] == kinds.get(route)]
        scenario["apis"] = scenario["apis"] if route == "API" else []
    if route == "API":  # without offers the catalog's own would be there
        scenario["systems"] = []
        del scenario["columns"]
    return scenario


def test_each_route_is_the_plan_of_a_scenario_that_has_no_other() -> None:
    asked = open_either(dated())
    assert isinstance(asked, OverTime)
    routes = CrossoverOverTime(asked)
    assert set(routes.names) == {"buy", "rent 1 year", "API", "best mix"}
    served = set()
    for row in routes.table("volume", (0.25, 1.0)):
        scenario = alone(row.route)
        demand(scenario, row.at)
        try:
            plan = tf.optimize_fleet(scenario, compare_single=False)
        except InfeasibleError:
            assert row.usd is None
            continue
        assert plan.horizon is not None
        served.add(row.route)
        assert row.usd == pytest.approx(plan.horizon.levelised_usd_per_year, rel=2e-6)
        per_mtok = plan.horizon.levelised_cost_per_mtok_output_usd
        assert row.usd_per_mtok_output == pytest.approx(per_mtok, rel=2e-6)
    assert served >= {"rent 1 year", "API", "best mix"}
