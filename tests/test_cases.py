"""Small scenarios that once went wrong, each with the right answer; `cases/` holds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tokenfleet as tf
from tokenfleet.errors import SchemaError
from tokenfleet.files.read import load_data

CASES = Path(__file__).parent / "cases"
SECONDS_PER_YEAR = 8760.0 * 3600.0


def plan(name: str) -> tf.Plan:
    """The plan of a case by its file name, without ending."""
    return tf.optimize_fleet(CASES / f"{name}.yaml", compare_single=False)


def tokens(found: tf.Plan) -> float:
    return found.objective_value


def systems(found: tf.Plan) -> dict[str, int]:
    """Systems by offer."""
    return {row.offer: row.count for row in found.systems}


# --- free demand beside a reserve: an H100 server takes 10.2 kW, a B200 server 14.3 kW ------------


@pytest.mark.parametrize("name", ["reserve_free", "reserve_free_max"])
def test_a_spare_of_a_type_that_nobody_buys_is_not_counted(name: str) -> None:
    """31 kW hold three H100 servers, one of them the spare: two at 10 requests/s of 100 tokens."""
    found = plan(name)
    assert found.status == "optimal"
    assert systems(found) == {"h100": 3}
    assert tokens(found) == pytest.approx(20 * 100 * SECONDS_PER_YEAR)


def test_a_hall_too_small_for_two_spares_is_not_infeasible() -> None:
    """24 kW hold two H100 servers: one serves."""
    found = plan("reserve_free_inf")
    assert found.status == "optimal"
    assert tokens(found) == pytest.approx(10 * 100 * SECONDS_PER_YEAR)


def test_one_type_more_for_sale_never_gives_fewer_tokens() -> None:
    """300 kW, a spare per pool: racks of GB200 must not make the plan of B200 servers look best."""
    alone, both = plan("wrongproof_b200only"), plan("wrongproof")
    assert alone.status in ("optimal", "within_gap")
    assert both.status in ("optimal", "within_gap")
    assert tokens(both) >= tokens(alone) * (1 - 1e-4)
    assert tokens(alone) > 32e12


# --- a shortfall that means nothing --------------------------------------------------------------


def test_free_demand_has_no_shortfall() -> None:
    with pytest.raises(SchemaError, match=r"'chat'\)\.shortfall_usd_per_request: free demand has"):
        plan("free_short")


def test_cheap_shortfall_does_not_end_a_cost_per_token_in_nothing_served() -> None:
    """One server serves all: a request costs the less, the more of them share it."""
    found = plan("ratio_short")
    assert systems(found) == {"h100": 1}
    assert found.tokens_per_year_output == pytest.approx(0.5 * 100 * SECONDS_PER_YEAR)


@pytest.mark.parametrize("kind", ["least_energy", "least_carbon"])
def test_a_shortfall_in_usd_is_refused_where_usd_do_not_count(kind: str) -> None:
    with pytest.raises(SchemaError, match="nothing would be served"):
        tf.optimize_fleet(changed("ratio_short", objective={"kind": kind}))


def changed(name: str, **fields: Any) -> dict[str, Any]:
    """A case as plain data, with some fields replaced."""
    data: dict[str, Any] = load_data(CASES / f"{name}.yaml")
    return data | fields


# --- unknown is not zero, and not one ------------------------------------------------------------


def test_an_api_has_the_quality_that_it_states() -> None:
    """10 $ at quality 1 for 5.1 $ beats 10 $ at quality 0.01 for 5 $."""
    assert {row.api for row in plan("api_quality").routing} == {"good"}


@pytest.mark.parametrize("name", ["energy_unknown", "energy_unknown_model"])
def test_a_system_of_unknown_power_is_left_out_of_least_energy(name: str) -> None:
    found = plan(name)
    assert {row.system for row in found.systems} == {"h100_sxm_8"}
    assert "system l40s_8" in {row.what for row in found.not_considered}


def test_a_column_without_watts_is_left_out_of_least_energy() -> None:
    data = changed("energy_pue")
    del data["columns"][0]["watts"]
    with pytest.raises(tf.InfeasibleError):
        tf.optimize_fleet(data)


def test_the_pue_of_a_provider_is_the_catalog_s_not_one() -> None:
    found = plan("energy_pue")
    assert {row.pue for row in found.systems} == {1.2}


# --- names, floors, spares -----------------------------------------------------------------------


def test_pools_whose_names_meet_stay_two() -> None:
    """`A | B` with `X` is not `A` with `B | X`: 30 systems of 1 request/s as under other names."""
    met, apart = plan("poolid"), plan("poolid_ok")
    assert systems(met) == systems(apart) == {"small": 30}
    assert met.annual_cost_usd == pytest.approx(apart.annual_cost_usd, rel=1e-12)


def test_a_floor_is_not_passed_by_columns_that_state_no_quality() -> None:
    with pytest.raises(SchemaError, match=r"columns\[0\]\.quality: not stated"):
        plan("floor_columns")


@pytest.mark.parametrize(("score", "planned"), [(1.0, True), (0.99, False)])
def test_a_floor_holds_for_the_quality_that_columns_state(score: float, planned: bool) -> None:
    data = changed("floor_columns")
    data["columns"][0]["quality"] = score
    if planned:
        assert tf.optimize_fleet(data).systems
        return
    with pytest.raises(tf.InfeasibleError, match=r"nothing can serve|no layout"):
        tf.optimize_fleet(data)


def test_a_spare_on_demand_is_paid_while_its_pool_serves() -> None:
    """Two systems of 8 accelerators at 1 $ an hour for 6 h a day: one serves, one is the spare."""
    assert plan("od_reserve").annual_cost_usd == pytest.approx(2 * 8 * 1.0 * 6 * 365)
