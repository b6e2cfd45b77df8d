"""Plans over time explained: equal to plans of changed scenarios, and to those of a year."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import tokenfleet as tf
from test_sweep_diff_model import measured
from tokenfleet.errors import SchemaError
from tokenfleet.explanation.difference import difference
from tokenfleet.explanation.over_time import OverTime, open_either
from tokenfleet.report.page.render import html_of_difference

ENTERPRISE = Path(__file__).parents[1] / "examples" / "enterprise_horizon.yaml"
YEAR = {"start": "2026-10-01", "periods": ["4 quarters"]}


def over_time(**changes: Any) -> dict[str, Any]:
    """A box beside an API for four quarters."""
    return {**measured(), "horizon": YEAR, "solver": {"threads": 1, "gap": 1e-6}, **changes}


def levelised(scenario: dict[str, Any]) -> float:
    return float(tf.optimize_fleet(scenario, compare_single=False).objective_value)


def test_over_equal_quarters_the_price_at_which_it_leaves_is_that_of_a_year() -> None:
    """What is bought costs the same in every year, so time changes nothing."""
    (year,) = [r for r in tf.explain(measured(), parts=["flip"]).flip if r.name == "h100"]
    found = tf.explain(over_time(), parts=["flip"])
    box, api = found.flip
    assert (api.kind, api.verdict) == ("api", "enters")
    assert found.proven and (box.verdict, box.how) == ("leaves", "re-solved and proven")
    assert box.flip_price == pytest.approx(year.flip_price, rel=1e-6)
    assert box.solves <= 3
    for factor, there in ((1 - 1e-4, True), (1 + 1e-4, False)):  # on either side, from its file
        scenario = over_time()
        scenario["offers"][0]["price_usd_per_system"] = box.flip_price * factor
        plan = tf.optimize_fleet(scenario, compare_single=False)
        assert bool(plan.systems) is there


def test_a_month_of_lead_time_and_power_by_period_are_those_of_changed_scenarios() -> None:
    """The box comes three months late and has no power before April: until then the API serves."""
    months = {"start": "2026-10-01", "periods": ["12 months"]}
    late = over_time(horizon=months)
    late["offers"][0]["lead_months"] = 3
    found = tf.explain(late, parts=["worth"])
    (lead,) = [row for row in found.worth if row.what == "lead time"]
    sooner = over_time(horizon=months)
    sooner["offers"][0]["lead_months"] = 2
    saved = levelised(late) - levelised(sooner)
    assert saved > 1000
    assert lead.steps[0].worth == pytest.approx(saved, rel=1e-5)
    assert (lead.limit, lead.steps[0].by) == (3.0, -1.0)

    dark = over_time()
    dark["sites"][0]["power_kw"] = [["2026-10", 5], ["2027-04", 100]]
    found = tf.explain(dark, parts=["worth"])
    power = [row for row in found.worth if row.what == "power"]
    assert [row.limit for row in power] == [5, 5, 100, 100]
    lit = over_time()
    kw = power[1].steps[0].by
    lit["sites"][0]["power_kw"] = [["2026-10", 5], ["2027-01", 5 + kw], ["2027-04", 100]]
    assert power[1].steps[0].worth == pytest.approx(levelised(dark) - levelised(lit), rel=1e-5)
    assert power[1].steps[0].worth > 1000 and power[2].steps[0].worth == 0.0


def test_what_weighs_in_a_figure_is_said_where_bad_futures_count() -> None:
    outlooks = [
        {"id": name, "probability": 0.5, "from": "2027-01", "demand": demand}
        for name, demand in (("less", 0.8), ("more", 1.2))
    ]
    risk = {"kind": "least_cost", "risk": {"cvar_alpha": 0.75, "weight": 0.4}}
    found = tf.explain(over_time(outlooks=outlooks, objective=risk), parts=["worth"])
    assert any("60% of the mean" in note and "worst 25%" in note for note in found.notes)


def test_what_is_of_one_year_is_said_and_a_goal_that_is_no_cost_is_refused() -> None:
    found = tf.explain(over_time(), parts=["inputs"])
    assert found.notes == ("premiums of precisions are of one year",)
    found = tf.explain(over_time(), parts=["measure"])
    assert found.notes == ("measured columns have no intervals: nothing to measure next",)
    short = tf.explain(over_time(), time_limit_s=1e9, parts=["worth"], watch=_press)
    assert short.interrupted and len(short.worth) == 1
    with pytest.raises(SchemaError, match="a cost is explained"):
        tf.explain(over_time(objective={"kind": "least_energy"}))


def test_the_menu_over_time_is_the_cheapest_plan_with_fewer_offers() -> None:
    """Two offers of one type, the cheaper one short: with one alone the dearer does it all."""
    scenario = over_time()
    box = {**scenario["offers"][0], "supply": 1}
    dear = {**box, "id": "dear", "price_usd_per_system": box["price_usd_per_system"] * 1.02}
    scenario["offers"] = [box, {**dear, "supply": 9}]
    scenario["apis"] = []
    scenario["workloads"][0]["demand"] = {"requests_per_s": 90}
    found = tf.explain(scenario, parts=["menu"])
    alone = {**scenario, "offers": [scenario["offers"][1]]}
    (item,) = [row for row in found.menu if row.wish == "fewest offers"]
    assert (item.value, item.today) == (1, 2)
    assert item.annual_cost_usd == pytest.approx(levelised(alone), rel=1e-6)
    assert item.more == pytest.approx(levelised(alone) / levelised(scenario) - 1, abs=1e-7)
    assert item.within == 0.005  # 2 % of a third of the capital, which is 70 % of the cost


def test_a_difference_over_time_is_due_to_the_price_and_the_demand() -> None:
    """A tenth more for the box: its capital and maintenance, 68,337 of the cost a year, go up by a
    tenth. Half as many requests again fit the box that is there."""
    other = over_time()
    other["offers"][0]["price_usd_per_system"] *= 1.1
    other["workloads"][0]["demand"] = {"requests_per_s": 30}
    found = difference(over_time(), other)
    parts = {row.group: row.change for row in found.parts}
    assert set(parts) == {"prices", "demand"}
    assert sum(parts.values()) == pytest.approx(found.change, rel=1e-9)
    follows = [row for row in found.cost_items if row.what in ("capital", "maintenance")]
    assert sum(row.before for row in follows) == pytest.approx(68_337.34, abs=0.01)
    assert parts["prices"] == pytest.approx(6_833.73, abs=0.01)
    assert found.before == pytest.approx(levelised(over_time()), rel=1e-6)
    assert found.objective_unit == "USD per year, levelised"
    asked = open_either(over_time())
    assert isinstance(asked, OverTime)
    assert sum(asked.levelised_items().values()) == pytest.approx(asked.base.value, rel=1e-9)
    page = html_of_difference(found, "two plans")
    assert "$96.7k" in page and "$104k" in page
    with pytest.raises(SchemaError, match="of a year and the other over time"):
        difference(over_time(), measured())


def test_a_system_type_that_is_asked_about_is_its_offers() -> None:
    found = tf.explain(over_time(), parts=["flip", "ranges"], of=["h100_sxm_8"])
    assert [row.name for row in found.flip] == ["h100"] and not found.notes
    assert not found.ranges or [row.name for row in found.ranges] == ["h100"]


def _press(what: str, solves: int) -> None:
    if what == "worth over time":  # a row is done
        raise KeyboardInterrupt


def test_the_power_of_the_enterprise_is_worth_the_difference_of_two_plans() -> None:
    """Nodes are worked out once: each further period takes a small part of the first plan."""
    asked = open_either(ENTERPRISE)
    assert isinstance(asked, OverTime)
    rows = [row for row in asked.worths() if row.what == "power"]
    # Each is proven, or within a dollar of it.
    assert max(row.steps[0].worth_high - row.steps[0].worth for row in rows) <= 1.0
    worth = {row.where: row.steps[0].worth for row in rows}
    assert worth.pop("eu-frankfurt in 2027-10") == pytest.approx(946.12, abs=1.0)
    assert set(worth.values()) == {0.0}
    data = yaml.safe_load(ENTERPRISE.read_text()) | {"solver": {"gap": 1e-5, "time_limit_s": 60}}
    limits = [["2026-10", 40], ["2027-10", 50.2], ["2028-10", 80]]
    today, more = levelised(data), data
    more["sites"][0]["power_kw"] = limits
    assert today - levelised(more) == pytest.approx(946.12, abs=2e-5 * today)
