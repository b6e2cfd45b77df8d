"""Mistakes over time: dates, lengths of periods, paths of prices and power, outlooks. Each error
names the place and says what to write, worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from test_mistakes_of_files import slips, written
from tokenfleet import Plan, optimize_fleet
from tokenfleet.errors import SchemaError
from tokenfleet.scenario.load import load_scenario

HORIZON = "{start: 2026-10, periods: [2 half_years, 2 years]}"
BOOM = "from: 2027-10, demand: 1.6"
POWER = "[[2026-10, 40], [2028-10, 80]]"
GROWTH = "growth_per_year: 0.3"
LEAD = "lead_months: 3"
FALL = "price_change_per_year: -0.2"
BASE = f"""\
name: chat
as_of: "2026-07-15"
horizon: {HORIZON}
workloads:
  - id: chat
    model: llama-3.1-8b
    classes:
      - {{id: turn, share: 1.0, input_tokens: 500, output_tokens: 100}}
    demand: {{requests_per_s: 20, {GROWTH}}}
sites:
  - {{id: hall, region: eu, power_kw: {POWER}, power_basis: it, cooling: [air]}}
systems: [h100_sxm_8]
offers:
  - {{id: h100, system: h100_sxm_8, kind: buy, price_usd_per_system: 200000, {LEAD}, {FALL}}}
  - {{id: cloud, system: h100_sxm_8, kind: rent, term_years: 1, price_usd_per_gpu_h: 2.5}}
outlooks:
  - {{id: base, probability: 0.5}}
  - {{id: boom, probability: 0.5, {BOOM}}}
columns:
  - {{workload: chat, class: turn, system: h100_sxm_8, gpus: 1, rate_rps: 5.0, watts: 600}}
"""


def start(text: str) -> tuple[str, str]:
    return "start: 2026-10", f"start: {text}"


def boom(text: str) -> tuple[str, str]:
    return BOOM, f"from: 2027-10, {text}"


# Right and wrong text, where the fault is, what to do.
EDITS: dict[str, tuple[str, str, str, str]] = {
    # Dates
    "a quarter": (*start("2026-Q4"), "horizon.start", "2026-10-01"),
    "a month before its year": (*start("10/2026"), "horizon.start", "2026-10-01"),
    "a month in words": (*start("October 2026"), "horizon.start", "2026-10-01"),
    "a year": (*start("2026"), "horizon.start", "2026-01-01"),
    "a month of no year": (*start("2026-13"), "horizon.start", "year-month-day"),
    "a day of no month": (LEAD, "order_from: 2027-04-31", "order_from", "no such day"),
    "orders that end before they begin": (
        LEAD, "order_from: 2028-01, order_until: 2027-01", ".order_until", "swap them",
    ),
    "German": ('"2026-07-15"', "15.07.2026", "as_of", "write 2026-07-15"),
    "American": ('"2026-07-15"', "07/15/2026", "as_of", "write 2026-07-15"),
    # Periods
    "an end": (HORIZON, "{start: 2026-10, end: 2030-10}", ".end", "periods: [4 quarters, 3 years]"),
    "years by name": (HORIZON, "{start: 2026-10, years: 4}", ".years", "periods: [4 quarters"),
    "months in words": ("[2 half_years, 2 years]", "48 months", ".periods", "[48 months]"),
    "a hyphen": ("[2 half_years, 2 years]", "2 half-years", ".periods", "[2 half_years]"),
    "one of them": ("[2 half_years, 2 years]", "1 year", ".periods", "write a list: [1 year]"),
    "none": ("[2 half_years, 2 years]", "[]", ".periods", "at least one entry"),
    "more than one plans": ("[2 half_years, 2 years]", "100000", ".periods", "at most 60"),
    "half a period": ("[2 half_years, 2 years]", "2.5", ".periods", "2 or 3"),
    "an adverb": (
        "[2 half_years, 2 years]", "4, period: quarterly", ".period", "did you mean quarter?",
    ),
    "no group": (HORIZON, "4 years", "horizon", "{start: ..., periods: [4 years]}"),
    "a number alone": (HORIZON, "4", "horizon", "{start: ..., periods: ...}"),
    "no horizon": (f"horizon: {HORIZON}\n", "", "outlooks: need periods", "add `horizon`"),
    # Values by date
    "one pair without its list": (POWER, "[2026-10, 40]", ".power_kw", "[[2026-10, 40]]"),
    "dates as names": (
        POWER, "{2026-10: 40, 2028-10: 80}", ".power_kw", "[[2026-10, 40], [2028-10, 80]]",
    ),
    "the value first": (POWER, "[[40, 2026-10]]", "by_date[0][0]", "the date stands first: [2026-"),
    "the later first": (POWER, "[[2028-10, 80], [2026-10, 40]]", "ascend", "in the order"),
    "a date twice": (POWER, "[[2026-10, 40], [2026-10, 80]]", "ascend", "in the order"),
    "nothing at first": (POWER, "[[2027-10, 40]]", "is needed from 2026-10-01", "2026-10-01 or"),
    "demand by name": (
        GROWTH, "requests_per_s_by_date: {2027-10: 40}", "_by_date", "list: [[2027-10, 40]]",
    ),
    "demand and growth": (
        GROWTH, f"{GROWTH}, requests_per_s_by_date: [[2027-10, 40]]", "growth_per_year", "keep one",
    ),
    # Changes by the year
    "growth with a sign": (GROWTH, "growth_per_year: 30%", ".growth_per_year", "quotes: 0.3"),
    "growth by the month": (GROWTH, "growth_per_month: 0.03", "_month", "growth_per_year?"),
    "a fall in percent": (FALL, "price_change_per_year: -20", "_per_year", "-20 % would be -0.2"),
    "a fall with a sign": (FALL, "price_change_per_year: -20%", "_per_year", "quotes: -0.2"),
    "a fall to nothing": (FALL, "price_change_per_year: -1", "_per_year", "more than -1"),
    # Offers over time
    "months in the value": (LEAD, "lead_months: 3 months", ".lead_months", "quotes: 3"),
    "a stay in years": (LEAD, "stay_years: 1", ".stay_years", "write stay_months: 12"),
    "a delivery after the end": (LEAD, "lead_months: 300", ".lead_months", "a longer horizon"),
    "worth more old than new": (LEAD, "resale: [[0, 100], [4, 20]]", ".resale", "at most 1"),
    "ages in disorder": (LEAD, "resale: [[4, 0.2], [0, 1.0]]", ".resale", "in the order of age"),
    "a limit of a quarter": (LEAD, "delivery_limit_per_quarter: 4", "_quarter", "limit_per_period"),
    # Outlooks
    "more than all": ("0.5, from", "0.6, from", "add to 1.1", "never scaled"),
    "chances in percent": ("0.5, from", "50, from", ".probability", "50 % is 0.5"),
    "a short name": ("probability: 0.5, from", "p: 0.5, from", ".p", "did you mean probability?"),
    "news before the start": (BOOM, "from: 2020-10, demand: 2", ".from", "after 2026-10-01"),
    "news after the end": (BOOM, "from: 2036-10, demand: 2", ".from", "before 2029-10-01"),
    "a rise in percent": (*boom("demand: +60%"), ".demand", "write 1.6 without quotes"),
    "a fall of demand": (*boom("demand: -40%"), ".demand", "write 0.6 without quotes"),
    "so many percent": (*boom("demand: 160%"), ".demand", "write 1.6 without quotes"),
    "demand of nobody": (*boom("demand: {chta: 2}"), ".demand", "did you mean chat?"),
    "a price of nothing": (*boom("prices: {clod: 1.3}"), ".prices", "did you mean cloud?"),
    "a delay of no offer": (*boom("delivery_delay_months: 3"), "_months", "{NAME: 3}"),
    "a delay in weeks": (
        *boom("delivery_delay_weeks: {h100: 3}"), "_weeks", "delivery_delay_months",
    ),
    "a name twice": ("id: boom", "id: base", "'base' is already used", "its own id"),
    "a part of itself": (*boom("parent: boom"), "part of itself", "no parent"),
    "outlooks as a group": (
        "outlooks:\n  - {id: base, probability: 0.5}\n", "outlooks:\n  base: 0.5\n  boom: 0.5\n#",
        "outlooks: should be a list", "- {id: ..., probability: ...}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", EDITS)
def test_a_slip(case: str, tmp_path: Path) -> None:
    slips(BASE, EDITS[case], tmp_path)


def test_the_base_is_right(tmp_path: Path) -> None:
    assert not load_scenario(written(tmp_path, BASE)).warnings


# Plans that somebody edited


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = written(tmp_path_factory.mktemp("plan"), BASE)
    data: dict[str, Any] = optimize_fleet(path).to_json()
    return data


def order(horizon: dict[str, Any]) -> dict[str, Any]:
    """The first purchase."""
    return next(row for row in horizon["orders"] if row["kind"] == "buy")


PLANS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "more of an order": (lambda h: order(h).update(count=7), "pay_usd: is"),
    "fewer than none": (lambda h: order(h).update(count=-1), ".count: input"),
    "a day of no month": (lambda h: order(h).update(order_on="2026-13-01"), ".order_on: input"),
    "another worth": (lambda h: h.update(npv_usd=5.0), "npv_usd: is 5"),
    "another year": (lambda h: h.update(levelised_usd_per_year=1.0), "levelised_usd_per_year: is"),
    "surer than sure": (lambda h: h["outlooks"][0].update(probability=0.9), "outlooks: is 1"),
    "a period lost": (lambda h: h["periods"].pop(0), "periods[0].after"),
    "after nothing": (lambda h: h["periods"][1].update(after="x"), "'x' is no period before it"),
    "a cheaper period": (
        lambda h: h["periods"][0].update(annual_cost_usd=1.0),
        "[0].annual",
    ),
    "a gift": (lambda h: h["periods"][1].update(bought_usd=1.0), "periods[1].bought_usd: is 1"),
}


@pytest.mark.parametrize("case", PLANS)
def test_an_edited_plan(case: str, plan: dict[str, Any], tmp_path: Path) -> None:
    change, place = PLANS[case]
    edited = json.loads(json.dumps(plan))
    change(edited["horizon"])
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(edited), encoding="utf-8")
    with pytest.raises(SchemaError) as caught:
        Plan.load(path)
    assert f"{path}: " in caught.value.message and place in caught.value.message
    assert "make the plan again" in caught.value.hint


def test_a_plan_that_nobody_edited_is_read(plan: dict[str, Any]) -> None:
    assert Plan.from_json(plan).to_json() == plan
