"""What stands beside a plan over time: each way alone, one type alone, and its text for a buyer."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

import tokenfleet as tf
from scenarios import buy
from test_horizon_scenario import NEWS, over, scenario
from tokenfleet import Plan
from tokenfleet.report.terminal import render

HOUR = 2.5
CLOUD = {
    "id": "cloud",
    "system": "h100_sxm_8",
    "kind": "on_demand",
    "price_usd_per_gpu_h": HOUR,
}


def planned(**changes: Any) -> Plan:
    """The plan over two years with each way alone beside it."""
    return tf.optimize_fleet(scenario(horizon=over(2), **changes), alone=True)


def text(plan: Plan) -> str:
    """What the terminal says, its lines as one, without the frame."""
    out = io.StringIO()
    render(plan, Console(file=out, width=100))
    return " ".join(out.getvalue().replace("│", " ").split())


def test_each_way_alone_costs_what_its_scenario_costs() -> None:
    """On demand, two servers of eight are there all year: 2 x 8 x 8,760 h x $2.50."""
    plan = planned(offers=[buy(), CLOUD])
    alone = {way.name: way for way in plan.ways}
    assert list(alone) == ["buy", "on demand"]
    assert alone["buy"].objective_value == pytest.approx(plan.objective_value, rel=1e-6)
    assert alone["buy"].capex_usd == pytest.approx(sum(p.bought_usd for p in plan.horizon.periods))  # type: ignore[union-attr]
    hours = 2 * 8 * 8760 * HOUR
    assert alone["on demand"].annual_cost_usd == pytest.approx(hours, rel=1e-6)
    assert (alone["on demand"].gpus, alone["on demand"].capex_usd) == (16, 0)
    assert alone["on demand"].difference_relative == pytest.approx(
        hours / plan.objective_value - 1, rel=1e-6
    )


def test_the_other_type_costs_what_its_scenario_costs() -> None:
    """A dearer price for one server and a smaller supply of the other: both are in the plan, and
    the best of one type is what a scenario without the other would plan."""
    dear = buy("h200_sxm_8", 300_000)
    offers = [buy(supply=1), dear]
    columns = [
        {"workload": "chat", "class": "q", "system": system, "gpus": 1, "rate_rps": 1.0,
         "watts": 500}
        for system in ("h100_sxm_8", "h200_sxm_8")
    ]  # fmt: skip
    both = {"systems": ["h100_sxm_8", "h200_sxm_8"], "columns": columns}
    plan = planned(offers=offers, **both)
    assert {row.system for row in plan.systems} == {"h100_sxm_8", "h200_sxm_8"}
    other = planned(offers=[dear], **both)
    single = plan.best_single_system
    assert single is not None and single.system == "h200_sxm_8"
    assert single.objective_value == pytest.approx(other.objective_value, rel=1e-6)
    assert single.systems_by_offer == {"buy h200_sxm_8@hall": 2}
    assert "the best plan of one system type, h200_sxm_8, costs" in text(plan)


def test_a_way_that_has_no_plan_says_what_it_leaves_unserved() -> None:
    """One server of eight replicas serves 8 of 9 requests/s; one that comes late serves none."""
    plan = planned(offers=[buy(supply=1), CLOUD])
    said = text(plan)
    assert "buy alone has no plan: 2026-10: workload chat, class q: 1 of 9 requests/s" in said
    late = planned(offers=[buy(lead_months=3), CLOUD])
    assert "buy alone has no plan: 2026-10" in text(late)


def test_nobody_asked_nothing_is_planned_beside() -> None:
    plan = tf.optimize_fleet(scenario(horizon=over(2), offers=[buy(), CLOUD]))
    assert plan.ways == () and plan.best_single_system is None


def test_a_buyer_reads_all_of_it_in_the_text() -> None:
    """What, how many, where, how much now and by the month, how sure, why not the others."""
    plan = planned(offers=[buy(), CLOUD], outlooks=NEWS)
    said = text(plan)
    horizon = plan.horizon
    assert horizon is not None
    bought = sum(o.pay_usd for o in horizon.orders if o.decided == "now")
    for part in (
        f"(${horizon.levelised_usd_per_year / 12:,.0f} a month)",
        "h100_sxm_8 (buy h100_sxm_8) at hall by 2026-10-01",
        f"up front for what is bought now: ${bought:,.0f} in all",
        "proven: no plan is better by more than",
        "Why this plan, and not another",
        "on demand alone costs",
        "largest costs over all periods: capital",
    ):
        assert part in said, part


def test_power_that_binds_says_when() -> None:
    """Two servers of 10.2 kW leave 4.6 of 25 kW: there is no room for a third."""
    site = {**scenario()["sites"][0], "power_kw": 25}
    plan = planned(offers=[buy(), CLOUD], sites=[site])
    assert "the power of hall has no room for one more system in 2026-10 (20.4 of 25 kW)" in text(
        plan
    )
