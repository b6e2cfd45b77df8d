"""Every figure behind the money is listed, with whose it is; nothing is assumed in silence."""

from __future__ import annotations

from typing import Any

import pytest

import tokenfleet as tf
from scenarios import buy, hall
from test_plan_rows import MEASURED
from tokenfleet.errors import SchemaError
from tokenfleet.plan.known_rows import Input
from tokenfleet.plan.rows import Plan
from tokenfleet.problem.check import check
from tokenfleet.scenario.load import load_scenario
from tokenfleet.schema import EVERYTHING

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


def test_how_sure_and_in_what_formats_a_model_runs_is_assumed() -> None:
    rented = {"id": "od", "system": "h200_sxm_8", "kind": "on_demand", "price_usd_per_gpu_h": 3.0}
    modelled = {k: v for k, v in MEASURED.items() if k != "columns"}
    workload = {**MEASURED["workloads"][0], "model": "deepseek-r1", "demand": {"requests_per_s": 2}}
    asked = {**modelled, "systems": ["h200_sxm_8"], "offers": [rented], "workloads": [workload]}
    found = {row.what: row.value for row in check(load_scenario(asked)).assumed}
    assert found == {
        "offers[od].includes": "energy, hosting, maintenance, staff, network",
        "confidence": 0.8,
        "engines": "vllm, sglang, trtllm",
        "gpu_memory_utilization": 0.9,
        "engine_versions[vllm]": "0.13",
        "workloads[chat].precisions": "bf16, fp8_block, nvfp4, mxfp4",
        "workloads[chat].demand.peak_to_mean": 1.0,
    }
    with pytest.raises(SchemaError) as refused:
        tf.optimize_fleet(asked, strict=True)
    assert all(f": {what}: left blank" in str(refused.value) for what in found)
    stated = {
        **asked,
        "confidence": 0.8,
        "engines": ["vllm"],
        "engine_versions": {"vllm": "0.13"},
        "gpu_memory_utilization": 0.9,
        "offers": [{**rented, "includes": ["energy", "hosting", "maintenance", "staff"]}],
        "workloads": [
            {
                **workload,
                "precisions": ["fp8_block"],
                "demand": {"requests_per_s": 2, "peak_to_mean": 1},
            }
        ],
    }
    assert {row.what for row in check(load_scenario(stated)).assumed} >= {
        "finance.network_fraction"
    }
    stated["offers"] = [{**rented, "includes": [*EVERYTHING]}]
    assert check(load_scenario(stated)).assumed == ()
    assert tf.optimize_fleet(stated, strict=True).systems


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


API: Json = {
    "id": "api",
    "workload": "chat",
    "usd_per_mtok_input": 0.1,
    "usd_per_mtok_output": 0.3,
    "region": "eu",
    "slo_attested": True,
}


def hosted_only(**changes: Any) -> Json:
    """A workload and an API, no site and no system."""
    own = {"name": "hosted", "workloads": MEASURED["workloads"], "systems": [], "apis": [API]}
    return {**own, **changes}


def test_hosted_apis_alone_need_no_site_and_no_money_terms() -> None:
    """20 requests/s of 500 and 100 tokens at 0.1 and 0.3 $ a million: 80 $ a million requests."""
    plan = tf.optimize_fleet(hosted_only())
    assert plan.annual_cost_usd == pytest.approx(20 * 8760 * 3600 * 80e-6)
    assert plan.cost_per_mtok_output_usd == pytest.approx(0.8)
    assert not plan.systems and not plan.sites
    assert {row.what.split(".")[0] for row in plan.inputs} == {"apis[api]"}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"apis": []}, "systems: is empty, and there is no hosted API"),
        ({"systems": ["h100_sxm_8"]}, "sites: field required"),
    ],
)
def test_a_scenario_without_a_place_says_what_it_lacks(changes: Json, text: str) -> None:
    with pytest.raises(SchemaError, match=text):
        load_scenario(hosted_only(**changes))


def test_what_is_rented_with_everything_included_rests_on_no_money_terms() -> None:
    rent = {
        "id": "rent",
        "system": "h100_sxm_8",
        "kind": "rent",
        "term_years": 1,
        "price_usd_per_gpu_h": 2.0,
    }
    found = rows(tf.optimize_fleet(scenario(offers=[rent])))
    assert list(found) == [
        "offers[rent].price_usd_per_gpu_h",
        "offers[rent].includes",
        "workloads[chat].demand.peak_to_mean",
    ]
