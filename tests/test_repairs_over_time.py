"""Repairs of a wish over time: minimal, priced, and the plans of scenarios that say so."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import pytest

import tokenfleet as tf
from horizon_brute import Brute, random_tree
from test_flip_over_time import asked_of
from test_sweep_over_time import dated
from tokenfleet.errors import InfeasibleError
from tokenfleet.explanation.over_time import OverTime
from tokenfleet.explanation.repair_over_time import (
    ORDERS,
    Key,
    RepairedOverTime,
    conflict_over_time,
    repairs_over_time,
)
from tokenfleet.mix.horizon.risk import Risk
from tokenfleet.report import explained

ENOUGH = 5  # systems of an order, more than any demand here needs


def without_a_plan(seed: int) -> dict[str, Any]:
    """Owned, bought and rented systems alone, with power that falls until nothing is left to do."""
    data = next(
        tree
        for s in itertools.count(40 * seed)
        if len((tree := random_tree(s))["nodes"]) == 2 and tree["nodes"][-1]["demand"] > 0
    )
    data["offers"] = [row for row in data["offers"] if row["kind"] in ("buy", "owned", "rent")]
    data["power_kw"] = 12.0
    data["nodes"][0]["demand"] = seed % 3
    while math.isfinite(Brute(data).least()):
        if seed % 2:
            data["power_kw"] /= 1.5
        for node in data["nodes"] if seed % 2 == 0 else ():
            node["demand"] += 1
    return data


def runs(data: dict[str, Any]) -> list[int]:
    """For each period the first of those with the same power."""
    powers = {
        t: {n.get("power_factor", 1.0) for n in data["nodes"] if n["period"] == t}
        for t in range(len(data["period_years"]))
    }
    firsts = [0]
    for t in range(1, len(powers)):
        firsts.append(firsts[-1] if powers[t] == powers[t - 1] else t)
    return firsts


def keys_of(data: dict[str, Any]) -> list[Key]:
    """Everything that may give way."""
    power: list[Key] = [("power", "site", first) for first in sorted(set(runs(data)))]
    orders: list[Key] = [(ORDERS, name, -1) for name in ("buy", "rent")]
    return [*power, *orders, ("demand", "demand", -1)]


def is_enough(data: dict[str, Any], keys: frozenset[Key]) -> bool:
    """Whether there is a plan where these limits give way as far as can be."""
    other = copy.deepcopy(data)
    for family, name, first in keys:
        for node in other["nodes"]:
            if family == "power" and runs(data)[node["period"]] == first:
                node["power_kw"] = 1e3
            if family == "demand":
                node["demand"] = 0
        for row in other["offers"]:
            if (family, name) == (ORDERS, row["id"]):
                row["max_per_period"] = ENOUGH
    return math.isfinite(Brute(other).least())


def as_applied(data: dict[str, Any], repaired: RepairedOverTime) -> dict[str, Any]:
    """The instance with every concession made, read off the tree that was solved."""
    other = copy.deepcopy(data)
    for node, found in zip(other["nodes"], repaired.plan.result.horizon.nodes, strict=True):
        node["power_kw"], node["power_factor"] = found.problem.sites[0].power_limit_kw, 1.0
        node["demand"] = float(found.problem.workloads[0].demand_rps[0, 0])
        for row in other["offers"]:
            (offer,) = [o for o in found.problem.offers if o.id == row["id"]]
            if "max_per_period" in row and offer.stock is not None:
                row["max_per_period"] = round(offer.stock.most_per_period)
    return other


@pytest.mark.parametrize("seed", range(20))
def test_sets_are_all_those_that_are_minimal_and_cost_what_trying_everything_says(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = without_a_plan(seed)
    every = keys_of(data)
    minimal: list[frozenset[Key]] = []
    for n in range(1, len(every) + 1):
        for chosen in map(frozenset, itertools.combinations(every, n)):
            if not any(known <= chosen for known in minimal) and is_enough(data, chosen):
                minimal.append(chosen)
    asked = asked_of(data, monkeypatch, Risk())
    found = list(repairs_over_time(asked, at_most=9))
    assert all(row.proven and row.plan.how == "re-solved and proven" for row in found)
    gave = [row.gave for row in found]
    assert len(set(gave)) == len(gave) and set(gave) <= set(minimal)
    # What is not shown leaves nothing to serve.
    assert {frozenset({("demand", "demand", -1)})} >= set(minimal) - set(gave)
    for row in found:
        npv = Brute(as_applied(data, row)).least()
        assert row.plan.result.npv_usd == pytest.approx(npv, rel=1e-7)
    together = conflict_over_time(asked)
    assert together.minimal and len(together.limits) <= len(every)


def asked_about(scenario: dict[str, Any]) -> Any:
    """What is found of a scenario that has no plan, each set checked by a plan from scratch."""
    with pytest.raises(InfeasibleError):
        tf.optimize_fleet(scenario, compare_single=False)
    found = tf.explain(scenario)
    assert found.objective_value is None and not found.worth
    sets = [{(c.what, c.where) for c in row.concessions} for row in found.repairs]
    assert not any(a <= b for a, b in itertools.permutations(sets, 2))
    return found


def alone() -> dict[str, Any]:
    """Boxes to buy and nothing else: 40 requests/s and 10.2 kW each."""
    scenario = dated()
    scenario["apis"], scenario["offers"] = [], scenario["offers"][:1]
    scenario["offers"][0]["lead_months"] = 0
    scenario["horizon"]["firm_periods"] = 4
    return scenario


def levelised(scenario: dict[str, Any]) -> float:
    plan = tf.optimize_fleet(scenario, compare_single=False)
    assert plan.objective_value is not None
    return float(plan.objective_value)


def test_power_gives_way_in_the_periods_in_which_it_is_short_and_in_whole_systems() -> None:
    """Two boxes until October 2027, and then the boom's 154 requests/s: four."""
    scenario = alone()
    scenario["sites"][0]["power_kw"] = [["2026-10", 21], ["2027-10", 17]]
    found = asked_about(scenario)
    said = [explained.repair(row) for row in found.repairs]
    (power,) = [text for text in said if text.startswith("power")]
    assert power.startswith("power of hall from 2027-10 to 2028-04 40.8 instead of 17 kW: then $")
    scenario["sites"][0]["power_kw"] = [["2026-10", 21], ["2027-10", 40.8]]
    (row,) = [r for r in found.repairs if r.concessions[0].what == "power"]
    assert row.objective_value == pytest.approx(levelised(scenario), rel=2e-6)
    assert {(c.what, c.where) for c in found.conflict} == {
        ("power", "hall from 2027-10 to 2028-04"), ("demand", "chat")
    }  # fmt: skip


def test_orders_budgets_and_lead_times_give_way_as_the_buyer_states_them() -> None:
    """One box a half-year is too few at the start; two need 400,000 of a budget of 250,000, and
    come too late after six months."""
    slow = alone()
    slow["sites"][0]["power_kw"] = 100
    slow["offers"][0]["delivery_limit_per_period"] = 1
    found = asked_about(slow)
    (row,) = [r for r in found.repairs if r.concessions[0].what == ORDERS]
    given = row.concessions[0]
    assert (given.where, given.before, given.after, given.unit) == ("h100", 1, 2, "systems")
    slow["offers"][0]["delivery_limit_per_period"] = 2
    assert row.objective_value == pytest.approx(levelised(slow), rel=2e-6)

    poor = alone()
    poor["sites"][0]["power_kw"] = 100
    poor["horizon"]["capex_budget_by_date"] = [["2026-10", 250_000], ["2027-10", 900_000]]
    found = asked_about(poor)
    (row,) = [r for r in found.repairs if r.concessions[0].what == "capex budget"]
    given = row.concessions[0]
    assert given.where == "all in 2026-10" and given.before == 250_000
    poor["horizon"]["capex_budget_by_date"] = [
        ["2026-10", given.after], ["2027-04", 250_000], ["2027-10", 900_000]
    ]  # fmt: skip
    assert row.objective_value == pytest.approx(levelised(poor), rel=2e-6)

    late = alone()
    late["sites"][0]["power_kw"] = 100
    late["offers"][0]["lead_months"] = 6
    found = asked_about(late)
    (row,) = [r for r in found.repairs if r.concessions[0].what == "lead time"]
    assert (row.concessions[0].before, row.concessions[0].after) == (6, 0)
    late["offers"][0]["lead_months"] = 0
    assert row.objective_value == pytest.approx(levelised(late), rel=2e-6)


def test_what_an_api_may_take_gives_way_and_ctrl_c_keeps_what_was_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scenario = alone()
    scenario["apis"] = dated()["apis"]
    scenario["apis"][0]["max_requests_per_s"] = 10
    scenario["sites"][0]["power_kw"] = [["2026-10", 21], ["2027-10", 31]]
    found = asked_about(scenario)
    ways = {frozenset(c.what for c in row.concessions) for row in found.repairs}
    assert {frozenset({way}) for way in ("power", "API rate", "demand")} <= ways

    solved = OverTime.solved

    def pressed(self: OverTime, *given: Any, **how: Any) -> Any:
        if self.solves > 6:
            raise KeyboardInterrupt
        return solved(self, *given, **how)

    monkeypatch.setattr(OverTime, "solved", pressed)
    cut = tf.explain(scenario)
    assert cut.interrupted and cut.conflict == found.conflict
    assert cut.repairs == found.repairs[: len(cut.repairs)]
    assert "repairs" in cut.notes[-1]
