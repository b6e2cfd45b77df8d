"""Every figure behind the money is listed, with whose it is; nothing is assumed in silence."""

from __future__ import annotations

from typing import Any

import pytest

import tokenfleet as tf
from scenarios import buy, hall
from test_plan_rows import MEASURED
from tokenfleet.plan.rows import Input, Plan
from tokenfleet.problem.check import check
from tokenfleet.scenario.load import load_scenario

Json = dict[str, Any]


def scenario(**changes: Any) -> Json:
    return {**MEASURED, **changes}


def rows(plan: Plan) -> dict[str, Input]:
    return {row.what: row for row in plan.inputs}


def test_what_the_scenario_says_is_its_own() -> None:
    found = rows(tf.optimize_fleet(scenario(finance={"life_years": 4.0, "residual_fraction": 0.1})))
    life = found["finance.life_years"]
    assert (life.value, life.unit, life.assumed, life.source) == (4.0, "years", False, "scenario")
    tariff = found["sites[hall].electricity_usd_per_kwh"]
    assert (tariff.value, tariff.assumed) == (0.1, False)
    price = found["offers[buy h100_sxm_8].price_usd_per_system"]
    assert (price.value, price.assumed, price.as_of) == (200_000.0, False, None)


def test_a_tariff_by_the_hour_is_one_line() -> None:
    site = hall(electricity_usd_per_kwh=[0.05] * 12 + [0.2] * 12)
    row = rows(tf.optimize_fleet(scenario(sites=[site])))["sites[hall].electricity_usd_per_kwh"]
    assert (row.value, row.unit, row.assumed) == ("0.05 to 0.2 over the day", "USD/kWh", False)


def test_what_is_left_blank_is_assumed_with_its_source_and_date() -> None:
    site = hall()
    for name in ("electricity_usd_per_kwh", "hosting_usd_per_kw_month", "pue"):
        del site[name]
    book = {"id": "book", "system": "h100_sxm_8", "kind": "buy"}
    plan = tf.optimize_fleet(scenario(sites=[site], offers=[book], price_vintage="2026-06"))
    found = rows(plan)
    for name in ("electricity_usd_per_kwh", "hosting_usd_per_kw_month", "pue"):
        row = found[f"sites[hall].{name}"]
        assert row.assumed and row.source.startswith("catalog typical of") and row.as_of
    staff = found["finance.staff_usd_per_kw_year"]
    assert staff.source == "catalog typical of staff_fte_per_mw times staff_usd_per_fte_year"
    price = found["offers[book].price_usd_per_system"]
    assert price.assumed and price.as_of and "price book 2026-06 (market)" in price.source
    assert price.note is not None and "hyperscaler" in price.note
    assert plan.price_vintage == "2026-06"
    (row,) = plan.systems
    assert row.price_usd_per_system == price.value and row.price_as_of == price.as_of


def test_peak_hours_and_engines_that_nobody_stated_are_assumed() -> None:
    workload = {**MEASURED["workloads"][0]}
    workload["demand"] = {"requests_per_s": 20, "peak_to_mean": 2.0}
    found = rows(tf.optimize_fleet(scenario(workloads=[workload])))
    hours = found["workloads[chat].demand.peak_hours_per_day"]
    assert (hours.value, hours.unit, hours.assumed) == (4.0, "h/day", True)
    assert "engines" not in found  # measured columns have none
    modelled = {k: v for k, v in MEASURED.items() if k != "columns"}
    checked = check(load_scenario(modelled))
    assert {"engines", "finance.cost_of_capital"} <= {row.what for row in checked.assumed}
    stated = check(load_scenario({**modelled, "engines": ["vllm"]}))
    assert "engines" not in {row.what for row in stated.assumed}


def test_a_list_of_offers_that_nobody_gave_is_assumed() -> None:
    given = {k: v for k, v in MEASURED.items() if k != "offers"}
    found = rows(tf.optimize_fleet(given))
    assert found["offers"].assumed and "price book" in found["offers"].source


def test_only_what_the_plan_uses_has_its_price_listed() -> None:
    dear = buy("h100_sxm_8", 900_000.0, id="dear")
    found = rows(tf.optimize_fleet(scenario(offers=[buy(), dear])))
    assert "offers[buy h100_sxm_8].price_usd_per_system" in found
    assert "offers[dear].price_usd_per_system" not in found


def test_hardware_has_its_figures_and_their_source() -> None:
    (row,) = tf.optimize_fleet(MEASURED).hardware
    assert (row.system, row.gpus, row.form, row.own) == ("h100_sxm_8", 8, "server", False)
    assert row.system_kw == pytest.approx(10.2) and row.source
