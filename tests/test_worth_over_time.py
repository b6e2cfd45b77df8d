"""What limits are worth over time: each is the difference of two plans made from scratch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest

import tokenfleet as tf
from horizon_brute import Brute, random_tree
from horizon_instance import Instance
from test_flip_over_time import asked_of
from test_horizon_part import relaxed
from test_repairs_over_time import alone, levelised
from tokenfleet.explanation.worth_over_time import worth_of_demand, worth_of_orders
from tokenfleet.mix.horizon import part as parts
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


@pytest.mark.parametrize("seed", range(10))
def test_worths_of_a_horizon_in_part_hold_what_trying_everything_says(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each range holds the worth that trying everything says, and beside it stands what the
    relaxations of the whole trees say; one word tells how each was got."""
    monkeypatch.setattr(parts, "LARGE", 0)
    data = random_tree(seed)
    asked = asked_of(data, monkeypatch, Risk())
    assert asked.part is not None
    years = asked.base.result.years
    more, grown, lit = (copy.deepcopy(data) for _ in range(3))
    more["offers"][0]["max_per_period"] += 1
    for node in grown["nodes"]:
        node["demand"] *= 1.01
    (kw,) = {row.steps[0].by for row in asked.worths() if row.what == "power"}
    first = data["nodes"][0]
    lit["nodes"][0]["power_kw"] = data["power_kw"] + kw / first.get("power_factor", 1.0)
    rows = {
        "order limit": (worth_of_orders(asked, "buy"), more),
        "demand": (worth_of_demand(asked, 0), grown),
        "power": (next(row for row in asked.worths() if row.what == "power"), lit),
    }
    today, before = Brute(data).least(), relaxed(asked.tree)
    for what, (row, other) in rows.items():
        (step,), slack = row.steps, 3e-6 * today / years
        worth = (today - Brute(other).least()) / years
        low = -math.inf if step.worth_low is None else step.worth_low
        assert low - slack <= worth <= step.worth_high + slack, what
        saved = (before - relaxed(Instance(other).horizon())) / years
        assert step.relaxed == pytest.approx(saved, abs=slack), what
        words = ("re-solved and proven", "re-solved within gap", "relaxation")
        assert step.how in words
        assert step.how != "relaxation" or step.worth == 0.0
