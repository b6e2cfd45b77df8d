"""What limits are worth over time: each is the difference of two plans made from scratch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest

import tokenfleet as tf
from horizon_brute import Brute, random_tree
from test_flip_over_time import asked_of
from test_repairs_over_time import alone, levelised
from tokenfleet.explanation.worth_over_time import worth_of_demand, worth_of_orders
from tokenfleet.mix.horizon.risk import Risk

Scenario = dict[str, Any]


def limited() -> Scenario:
    """Boxes to buy, two a half-year and two in all, in a hall of three racks with a budget; and an
    API for what they cannot do."""
    scenario = alone()
    scenario["offers"][0] |= {"delivery_limit_per_period": 2, "supply": 2}
    scenario["sites"][0] |= {"power_kw": 60, "racks": 3, "rack_units": 42, "rack_kw": 12}
    scenario["horizon"]["capex_budget_by_date"] = [["2026-10", 500_000]]
    scenario["apis"] = [
        {
            "id": "api", "workload": "chat", "region": "eu", "usd_per_mtok_input": 0,
            "usd_per_mtok_output": 0, "usd_per_request": 30_000 / (8760 * 3600),
            "slo_attested": True, "max_requests_per_s": 130,
        }
    ]  # fmt: skip
    return scenario


def supply(s: Scenario) -> None:
    s["offers"][0]["supply"] += 1


def racks(s: Scenario) -> None:
    s["sites"][0]["racks"] += 1


def orders(s: Scenario) -> None:
    s["offers"][0]["delivery_limit_per_period"] += 1


def demand(s: Scenario) -> None:
    of = s["workloads"][0]["demand"]
    of["requests_per_s"] *= 1.01
    of["requests_per_s_by_date"] = [[day, x * 1.01] for day, x in of["requests_per_s_by_date"]]


def ttft(s: Scenario) -> None:
    s["workloads"][0]["slos"][0]["limit_ms"] += 10


def reserve(s: Scenario) -> None:
    s["reserve"] = {"systems_per_pool": 1}


CHANGES: dict[str, Callable[[Scenario], None]] = {
    "supply": supply, "racks": racks, "order limit": orders, "demand": demand,
    "TTFT limit": ttft, "reserve of each used pool": reserve,
}  # fmt: skip


def test_worths_over_time_are_those_of_changed_scenarios() -> None:
    scenario = limited()
    today = levelised(scenario)
    found = {row.what: row for row in tf.explain(scenario, parts=["worth"]).worth}
    assert CHANGES.keys() <= found.keys()
    for what, change in CHANGES.items():
        other = copy.deepcopy(scenario)
        change(other)
        step = found[what].steps[-1]
        assert step.worth == pytest.approx(today - levelised(other), abs=3e-6 * today), what
        assert step.worth_low <= step.worth <= step.worth_high
    assert found["demand"].steps[0].worth < 0 < found["demand"].marginal_usd_per_mtok_output
    assert found["supply"].steps[0].worth > 0


@pytest.mark.parametrize("seed", range(10))
def test_orders_and_demand_over_time_equal_trying_everything(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = random_tree(seed)
    asked = asked_of(data, monkeypatch, Risk())
    years = asked.base.result.years
    today = Brute(data).least() / years
    more = copy.deepcopy(data)
    more["offers"][0]["max_per_period"] += 1
    worth = worth_of_orders(asked, "buy").steps[0].worth
    assert worth == pytest.approx(today - Brute(more).least() / years, abs=2e-6 * today)
    grown = copy.deepcopy(data)
    for node in grown["nodes"]:
        node["demand"] *= 1.01
    worth = worth_of_demand(asked, 0).steps[0].worth
    least = Brute(grown).least()
    assert math.isfinite(least)
    assert worth == pytest.approx(today - least / years, abs=2e-6 * today)
