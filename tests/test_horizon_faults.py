"""Faults of a scenario over time that its fields alone do not show, each with place and cure."""

from __future__ import annotations

import re
from typing import Any

import pytest

import tokenfleet as tf
from scenarios import buy, hall
from test_horizon_scenario import NEWS, asked, over, owned, scenario
from tokenfleet.errors import InfeasibleError, SchemaError

PARTS = [{"id": name, "probability": 0.5, "parent": "up", "from": "2028-10"} for name in ("a", "b")]
OLD = {"ages": [[4, 3]], "market_usd_per_system": 1e5}


@pytest.mark.parametrize(
    ("change", "place", "cure"),
    [
        (
            {"outlooks": [{**row, "from": "2027-11"} for row in NEWS]},
            r"outlooks\[0\].*from: 2027-11-01 is after 2027-10-01, when the last period starts",
            "no later than 2027-10-01",
        ),
        (
            {"horizon": over(3), "outlooks": [*NEWS, *PARTS]},
            "probabilities of what 'up' is made of add to 1, not 0.5",
            "a part of all futures: 0.5 times",
        ),
        (
            {"offers": [buy(order_from="2029-10")]},
            r"offers\[0\].*order_from: ordered on 2029-10-01, it is delivered after the horizon",
            "longer horizon",
        ),
        (
            {"offers": [buy(least_order=5, supply=4)]},
            r"offers\[0\].*least_order: 5 is above supply 4",
            "no order could be placed",
        ),
        (
            {"sites": [hall(expansions=[{"id": "b", "kw": 5, "capex_usd": 1}] * 2)]},
            r"sites\[0\].*expansions\[1\]: id 'b' is already used by row 0",
            "its own id",
        ),
        (
            {"offers": [buy(stay_months=60)]},
            r"stay_months: 60 months are longer than a life of 4 years",
            "shorten it",
        ),
        (
            {"offers": [owned(**OLD, life_years=6, stay_months=84)]},
            r"stay_months: 84 months are longer than a life of 6 years",
            "shorten it",
        ),
        (
            {"offers": [buy(), owned(**OLD, resale=[[1, 0.6], [5, 0.1]])]},
            r"resale: ends at an age of 5 years, and what is owned may reach 6 within",
            "to that age, or `book`",
        ),
        ({"horizon": over(["1 year", "0 quarters"])}, "'0 quarters' is no length", "4 quarters"),
        (
            {"offers": [buy(resale="markt")]},
            r"offers\[0\] \(id 'buy h100_sxm_8'\).resale: input should be 'book' or 'market'",
            "did you mean market",
        ),
        (
            {"offers": [buy(resale=[[-1, 0.5]])]},
            r"offers\[0\] \(id 'buy h100_sxm_8'\).resale\[0\]\[0\]: .* greater than or equal to 0",
            "at least 0",
        ),
    ],
)
def test_what_changes_nothing_or_has_no_value_is_refused(
    change: dict[str, Any], place: str, cure: str
) -> None:
    with pytest.raises(SchemaError, match=place) as error:
        tf.optimize_fleet(scenario(**{"horizon": over(2), **change}))
    assert re.search(cure, str(error.value) + error.value.hint)


def test_a_catalog_that_ends_before_what_is_owned_is_a_warning() -> None:
    """The catalog's values end at five years; until four plus one that is enough."""
    old = owned(**OLD, life_years=5, resale="market")
    plan = tf.optimize_fleet(scenario(horizon=over(2), offers=[buy(), old]))
    assert plan.horizon is not None and not plan.warnings
    longer = {**old, "life_years": 10}
    (warned,) = tf.optimize_fleet(scenario(horizon=over(2), offers=[buy(), longer])).warnings
    assert "held to an age of 6 years and taken to be worth what the catalog says of 5" in str(
        warned
    )


@pytest.mark.parametrize("terms", [{"lead_months": 12}, {"order_from": "2027-10"}])
def test_infeasible_says_when_the_first_system_may_arrive(terms: dict[str, Any]) -> None:
    with pytest.raises(InfeasibleError) as error:
        tf.optimize_fleet(scenario(horizon=over(2), offers=[buy(**terms)]))
    assert list(error.value.conflicts) == [
        "2026-10: workload chat, class q: 9 of 9 requests/s cannot be served, until "
        "buy h100_sxm_8@hall may arrive in 2027-10"
    ]


def test_infeasible_names_no_arrival_where_systems_are_there_but_too_few() -> None:
    data = scenario(horizon=over(2), offers=[buy(delivery_limit_per_period=2)])
    data["workloads"] = [asked([["2026-10", 9], ["2027-10", 40]])]
    with pytest.raises(InfeasibleError) as error:
        tf.optimize_fleet(data)
    assert list(error.value.conflicts) == [
        "2027-10: workload chat, class q: 8 of 40 requests/s cannot be served"
    ]
