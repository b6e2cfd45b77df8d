"""The scenario refuses what it cannot understand and says where, why and what to do."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tokenfleet.errors import SchemaError
from tokenfleet.schema import (
    Demand,
    Length,
    Offer,
    Scenario,
    Speculation,
    limit_value,
    scenario_warnings,
    second_moment,
)

BASE: dict[str, Any] = {
    "name": "test",
    "workloads": [
        {
            "id": "chat",
            "model": "llama-3.1-8b",
            "slos": [{"metric": "ttft", "percentile": "p99", "limit_ms": 2000, "class": "short"}],
            "classes": [
                {"id": "short", "share": 0.75, "input_tokens": 500, "output_tokens": 200},
                {"id": "long", "share": 0.25, "input_tokens": 8000, "output_tokens": 300},
            ],
            "demand": {"requests_per_s": 10},
        }
    ],
    "sites": [
        {
            "id": "north",
            "region": "eu",
            "power_kw": 200,
            "power_basis": "it",
            "cooling": ["air"],
            "electricity_usd_per_kwh": 0.08,
            "racks": 10,
            "rack_units": 42,
            "rack_kw": 40,
            "hosting_usd_per_kw_month": 180,
            "carbon_kg_per_kwh": 0.4,
        }
    ],
    "offers": [
        {"id": "h", "system": "h100_sxm_8", "kind": "rent", "price_usd_per_gpu_h": 2.0},
        {"id": "b", "system": "h100_sxm_8", "kind": "buy", "price_usd_per_system": 190000},
    ],
    "finance": {"life_years": 5, "staff_usd_per_kw_year": 400, "licence_usd_per_gpu_year": 4500},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """BASE with the value at `a/0/b` replaced or added."""
    data = copy.deepcopy(BASE)
    *parents, last = path.split("/")
    node: Any = data
    for part in parents:
        node = node[int(part)] if isinstance(node, list) else node[part]
    node[int(last) if isinstance(node, list) else last] = value
    return data


def error_of(data: dict[str, Any]) -> SchemaError:
    with pytest.raises(SchemaError) as caught:
        Scenario.parse(data, "file.yaml")
    return caught.value


def test_base_is_accepted_without_warning() -> None:
    assert scenario_warnings(Scenario.parse(BASE)) == ()


NUMBERS = [
    "workloads/0/demand/requests_per_s",
    "workloads/0/slos/0/limit_ms",
    "workloads/0/classes/0/share",
    "sites/0/power_kw",
    "sites/0/hosting_usd_per_kw_month",
    "offers/0/price_usd_per_gpu_h",
    "offers/1/price_usd_per_system",
    "finance/life_years",
]


@pytest.mark.parametrize("path", NUMBERS)
@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, -1.0, True, [1], {}, 10**400, "12x"], ids=repr
)
def test_bad_numbers_name_file_field_and_value(path: str, value: Any) -> None:
    error = error_of(changed(path, value))
    assert error.message.startswith("file.yaml: ")
    assert path.rsplit("/", 1)[-1] in error.message
    assert "got" in error.message


@pytest.mark.parametrize("path", NUMBERS)
@pytest.mark.parametrize("text", ["1", "nan", "inf", "1e400"])
def test_numeric_strings_are_not_numbers(path: str, text: str) -> None:
    assert path.rsplit("/", 1)[-1] in error_of(changed(path, text)).message


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_any_float_is_either_refused_or_kept(value: float) -> None:
    data = changed("workloads/0/demand/requests_per_s", value)
    if 1e-5 <= value <= 1e12:  # from a request a day to all that the world asks for
        demand = Scenario.parse(data).workloads[0].demand
        assert isinstance(demand, Demand)
        assert demand.requests_per_s == value
    else:
        error_of(data)


def test_zero_is_refused_where_it_has_no_meaning() -> None:
    for path in ("workloads/0/demand/requests_per_s", "offers/0/price_usd_per_gpu_h"):
        assert "greater than" in error_of(changed(path, 0)).message


def test_unknown_zero_and_unlimited_differ() -> None:
    sites = [Scenario.parse(changed("sites/0/power_kw", v)).sites[0] for v in (0, 5e2, "unlimited")]
    assert [limit_value(s.power_kw) for s in sites] == [0.0, 500.0, math.inf]
    hosting = Scenario.parse(changed("sites/0/hosting_usd_per_kw_month", None)).sites[0]
    assert hosting.hosting_usd_per_kw_month is None
    error = error_of(changed("sites/0/power_kw", "unlimted"))
    assert "power_kw" in error.message
    assert "unlimited" in error.hint


@pytest.mark.parametrize(
    ("path", "value", "path_in_message", "hint"),
    [
        ("sitess", [], "sitess: unknown field", "sites"),
        ("workloads/0/modell", "x", "workloads[0] (id 'chat').modell", "model"),
        ("workloads/0/slos/0/metric", "tptt", "slos[0].metric", "tpot"),
        ("workloads/0/slos/0/class", "shrt", "slos[0].class: unknown class 'shrt'", "short"),
        ("offers/0/sites", ["nort"], "offers[0] (id 'h').sites[0]", "north"),
        ("workloads/0/residency", ["us"], "residency: 'us' forbids every site", "eu"),
        ("workloads/0/classes/0/share", 0.5, "class shares add up to 0.75", "add to 1"),
        ("workloads/0/classes", [], "workloads[0] (id 'chat').classes", ""),
        ("workloads", [], "workloads", ""),
        ("workloads/0/lengths", {"distribution": "x"}, "either classes or lengths", "derive"),
        ("workloads/0/demand", {"free": False}, "demand.free", ""),
        ("workloads/0/demand/day_curve", [1.0] * 23, "day_curve", "one per hour"),
        ("workloads/0/demand/peak_to_mean", 0.5, "peak_to_mean", "at least 1"),
        ("sites/0/rack_units", None, "rack_units", "height of a rack"),
        ("sites/0/power_is_contracted", True, "power_usd_per_kw_year", "yearly price"),
        ("sites/0/pue", {"air": 0.9}, "pue.air", "at least 1"),
        ("sites/0/pue", {"water": 1.1}, "pue.water", ""),
        ("reserve", {"survive_site_loss": True}, "at least two sites", "add a site"),
        ("as_of", 20260701, "as_of", ""),
        ("offers/1/price_usd_per_gpu_h", 2.0, "two prices", "keep one"),
        ("offers/0/kind", "owned", "owned has no hourly price", "price_usd_per_system"),
        ("workloads/0/id", " ", "workloads[0]", ""),
        ("workloads/0/id", "a\x1b[31m", "workloads[0]", ""),
        ("columns", [{"workload": "chat", "class": "x", "system": "s", "gpus": 1, "rate_rps": 1}],
         "columns[0].class", "short"),
        ("quality", [{"model": "llama-3.1-8b", "precision": "fp88", "score": 1, "source": "s"}],
         "quality[0].precision", "fp8"),
        ("workloads/0/classes/0/origin", "eu-west", "round_trip_ms", ""),
        ("workloads/0/classes/0/origin", {"a": 0.5}, "origin shares add up to 0.5", ""),
        ("quality", [{"model": "llama", "precision": "fp8", "score": 1, "source": "s"}],
         "quality[0].model", "llama-3.1-8b"),
    ],
)  # fmt: skip
def test_each_fault_is_named(path: str, value: Any, path_in_message: str, hint: str) -> None:
    error = error_of(changed(path, value))
    assert path_in_message in error.message
    assert hint in error.hint


def test_every_fault_is_listed_once() -> None:
    data = changed("workloads/0/demand/requests_per_s", -1)
    data["sites"][0]["power_kw"] = "x"
    lines = error_of(data).message.splitlines()
    assert len(lines) == 2


@pytest.mark.parametrize("group", ["workloads", "sites", "offers"])
def test_equal_ids_are_refused_and_near_ids_warn(group: str) -> None:
    data = copy.deepcopy(BASE)
    data[group].append(copy.deepcopy(data[group][0]))
    assert "is already used by row 0" in error_of(data).message
    near = data[group][0]["id"].upper() + "_"
    data[group][-1]["id"] = near
    (warning,) = scenario_warnings(Scenario.parse(data))
    assert repr(near) in warning.message


UNIT_SLIPS = [
    ("workloads/0/slos/0/limit_ms", 1e-3),
    ("workloads/0/slos/0/limit_ms", 1e3),
    ("workloads/0/demand/requests_per_s", 1e6),
    ("sites/0/power_kw", 1e-3),
    ("sites/0/power_kw", 1e3),
    ("sites/0/electricity_usd_per_kwh", 100),
    ("sites/0/electricity_usd_per_kwh", 1e3),
    ("sites/0/electricity_usd_per_kwh", 1e-3),
    ("sites/0/rack_kw", 1e3),
    ("sites/0/rack_kw", 1e-3),
    ("sites/0/hosting_usd_per_kw_month", 12),
    ("sites/0/hosting_usd_per_kw_month", 1e3),
    ("sites/0/carbon_kg_per_kwh", 1e3),
    ("offers/0/price_usd_per_gpu_h", 100),
    ("offers/0/price_usd_per_gpu_h", 1e-3),
    ("offers/1/price_usd_per_system", 1e3),
    ("offers/1/price_usd_per_system", 1e-3),
    ("finance/life_years", 12),
    ("finance/staff_usd_per_kw_year", 1e3),
    ("finance/licence_usd_per_gpu_year", 100),
]


@pytest.mark.parametrize(("path", "factor"), UNIT_SLIPS)
def test_a_unit_slip_draws_a_warning(path: str, factor: float) -> None:
    node: Any = BASE
    for part in path.split("/"):
        node = node[int(part)] if isinstance(node, list) else node[part]
    warnings = scenario_warnings(Scenario.parse(changed(path, node * factor)))
    assert [w for w in warnings if path.rsplit("/", 1)[-1] in w.path]
    assert all("did you mean" in w.message for w in warnings)


def test_fixed_length_is_a_point() -> None:
    length = Length.model_validate(700)
    assert length.quantiles == (700,) * 5
    assert length.moment2 == 700**2


def test_second_moment_of_a_uniform_distribution() -> None:
    # Uniform on [0, 1000]: quantiles are linear, so the estimate is exact: 1000^2 / 3.
    quantiles = (500.0, 900.0, 950.0, 990.0, 1000.0)
    assert second_moment(500.0, quantiles) == pytest.approx(1000**2 / 3, rel=1e-12)


@pytest.mark.parametrize(
    "wrong", [{"p90": 100}, {"mean": 3000}, {"mean": 20}, {"m2": 1.0}, {"m2": 1e9}, {"max": 700}]
)
def test_inconsistent_lengths_are_refused(wrong: dict[str, float]) -> None:
    good = {"mean": 200, "p50": 150, "p90": 400, "p95": 500, "p99": 800, "max": 2000}
    Length.model_validate(good)
    with pytest.raises(ValidationError):
        Length.model_validate({**good, **wrong})


def test_peak_must_fit_into_the_day() -> None:
    demand = {"requests_per_s": 1, "peak_to_mean": 7, "peak_hours_per_day": 4}
    assert "peak_hours_per_day" in error_of(changed("workloads/0/demand", demand)).message
    two = {"requests_per_s": 1, "peak_to_mean": 2, "day_curve": [1.0] * 24}
    assert "exclude each other" in error_of(changed("workloads/0/demand", two)).message


def test_offer_defaults_follow_the_kind() -> None:
    kinds = {k: Offer(id="x", system="s", kind=k, supply=1) for k in ("buy", "owned")}
    assert all(o.included == () and not o.is_hosted for o in kinds.values())
    rent = Offer(id="x", system="s", kind="rent")
    assert "energy" in rent.included
    assert rent.is_hosted
    all_in = Offer(id="x", system="s", kind="all_in")
    assert "hosting" in all_in.included
    assert not all_in.is_hosted


def test_accepted_tokens() -> None:
    spec = Speculation(model="m", max_depth=3, acceptance=0.5, draft_cost_fraction=0, source="s")
    assert [spec.accepted(k) for k in range(4)] == [1.0, 1.5, 1.75, 1.875]
    table: dict[str, Any] = {"model": "m", "max_depth": 2, "draft_cost_fraction": 0, "source": "s"}
    assert Speculation(**table, acceptance_table=(1.5, 2.0)).accepted(2) == 2.0
    for wrong in ((1.5,), (1.5, 3.5), (0.5, 1.0)):
        with pytest.raises(ValidationError):
            Speculation(**table, acceptance_table=wrong)


def test_scenarios_are_frozen() -> None:
    scenario = Scenario.parse(BASE)
    with pytest.raises(ValidationError):
        scenario.name = "other"


def test_round_trip_is_the_identity() -> None:
    scenario = Scenario.parse(BASE)
    again = Scenario.parse(json.loads(scenario.model_dump_json(by_alias=True)))
    assert again == scenario


def _quantities(schema: dict[str, Any], check: Callable[[str, dict[str, Any]], None]) -> int:
    count = 0
    for name, definition in {**schema["$defs"], "Scenario": schema}.items():
        body = definition["anyOf"][1] if "anyOf" in definition else definition
        for field, entry in body.get("properties", {}).items():
            check(f"{name}.{field}", entry)
            count += "unit" in entry
    return count


def test_json_schema_has_meaning_and_units_and_agrees() -> None:
    schema = Scenario.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(BASE, schema)
    for path, value in (("sitess", 1), ("workloads/0/slos/0/limit_ms", -1)):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(changed(path, value), schema)

    def described(where: str, entry: dict[str, Any]) -> None:
        assert entry.get("description"), where

    assert _quantities(schema, described) > 40


def test_a_free_shortfall_needs_a_value_to_weigh_against() -> None:
    data = changed("workloads/0/shortfall_usd_per_request", 0.0)
    assert "nothing would be served" in str(error_of(data))
    data["objective"] = {"kind": "most_value"}
    assert "no workload states its value" in str(error_of(data))
    data["workloads"][0]["value_usd_per_mtok_output"] = 2.0
    assert Scenario.parse(data).workloads[0].shortfall_usd_per_request == 0
