"""Horizons written by hand, each for something that the model may get wrong, against SCIP.

`horizon_scip` writes the extensive form from the instance alone and books cash when it moves.
"""

from __future__ import annotations

from typing import Any

import pytest

from horizon_instance import answer
from horizon_scip import Extensive, differences
from tokenfleet.errors import SchemaError

Data = dict[str, Any]


def chain(*demand: float) -> list[Data]:
    """One future."""
    return [{"period": t, "parent": t - 1, "prob": 1.0, "demand": d} for t, d in enumerate(demand)]


def tree(chances: tuple[float, ...] = (0.4, 0.6, 0.1, 0.3, 0.6), **of_node: Any) -> list[Data]:
    """Two outlooks after the first period, the first of which splits again; `of_node` are fields
    by number of the node."""
    up, down, high, flat, low = chances
    rows = [(0, -1, 1.0, 3), (1, 0, up, 6), (1, 0, down, 1), (2, 1, high, 9), (2, 1, flat, 4),
            (2, 2, low, 2.5), (3, 3, high, 9), (3, 4, flat, 4), (3, 5, low, 7)]  # fmt: skip
    names = ("period", "parent", "prob", "demand")
    nodes: list[Data] = [dict(zip(names, row, strict=True)) for row in rows]
    for name, values in of_node.items():
        for node, value in zip(nodes, values, strict=True):
            node[name] = value
    return nodes


def case(nodes: list[Data], *offers: Data, **more: Any) -> Data:
    return {
        "discount_rate": 0.08,
        "period_years": [1.0] * (1 + max(node["period"] for node in nodes)),
        "systems": [
            {"id": "A", "capacity": 2, "kw": 3},
            {"id": "B", "capacity": 1, "kw": 2},
            {"id": "C", "capacity": 5, "kw": 6},
        ],
        "offers": list(offers),
        "nodes": nodes,
        **more,
    }


def buy(**more: Any) -> Data:
    return {"id": "buy", "kind": "buy", "system": "A", "price": 100.0, "life_periods": 4,
            "resale": [1, 0.6, 0.4, 0.2, 0.1], "run_usd_per_year": 5.0, **more}  # fmt: skip


def rent(**more: Any) -> Data:
    return {"id": "rent", "kind": "rent", "system": "B", "price": 40.0, "term_periods": 2, **more}


def on_demand(**more: Any) -> Data:
    return {"id": "od", "kind": "on_demand", "system": "B", "price": 70.0, **more}


def owned(**more: Any) -> Data:
    return {"id": "old", "kind": "owned", "system": "B", "market_price": 40.0,
            "ages": [[1, 2], [3, 1]], "life_periods": 5, "resale": [1, 0.7, 0.5, 0.3, 0.2, 0.1],
            "run_usd_per_year": [3, 6, 9, 14, 20], **more}  # fmt: skip


API = {"id": "api", "kind": "api", "price": 90.0}
CASES: dict[str, Data] = {
    "uneven periods": case(
        chain(3, 5, 4, 8), buy(), rent(), on_demand(), period_years=[0.25, 0.5, 1.5, 3.0]
    ),
    "renewals at the price of then": case(
        chain(2, 2, 3, 3, 2, 1),
        rent(price=[40, 30, 25, 50, 20, 20], term_periods=1),
        rent(id="long", price=[30, 29, 40, 20, 20, 20], term_periods=3),
        on_demand(),
        charge_beyond_horizon=True,
    ),
    "deliveries are short": case(
        chain(1, 4, 9, 9), buy(max_per_period=[1, 2, 0, 3]), on_demand(max=[9, 1, 3, 2]), API,
        power_kw=20.0,
    ),
    "orders are large": case(
        chain(3, 5, 4, 8),
        buy(min_order=3, max_per_period=4), rent(min_order=2), on_demand(price=60),
        power_kw=[15, 15, 20, 30],
    ),
    "stock of many ages, some past its life": case(
        chain(4, 4, 4, 4),
        owned(ages=[[0, 1], [2, 2], [4, 1], [5, 1], [7, 2]]),
        buy(price=[200, 150, 100, 80]), on_demand(), end_value_share=0.7,
    ),
    "delivered beyond two splits": case(
        tree(), buy(lead_periods=2), on_demand(), rent(price=50, term_periods=3),
        capex_budget=[500, 300, 200, 100],
    ),
    "a system fails in two nodes": case(
        tree(capacity_factor=[{"A": 0.0 if u in (1, 5) else 1.0} for u in range(9)]),
        buy(), on_demand(),
    ),
    "power goes": case(
        tree(power_factor=[float(u != 2) for u in range(9)]), buy(), API, on_demand(), power_kw=20
    ),
    "everything is free": case(
        tree(), buy(price=0.0), on_demand(price=0.0), owned(market_price=0.0)
    ),
    "two generations": case(
        tree(),
        buy(),
        buy(id="next", price=[95, 120, 60, 60], life_periods=2, max_per_period=1),
        buy(id="big", system="C", price=230.0, **{"from": 1, "until": 2}),
        on_demand(),
        power_kw=16,
    ),
    "software grows up": case(
        tree(capacity_factor=[{"A": 1 + 0.25 * t, "B": 0.5} for t in (0, 1, 1, 2, 2, 2, 3, 3, 3)]),
        buy(), rent(), on_demand(), power_kw=[12, 12, 9, 9],
    ),
    "demand may go unmet": case(
        tree(), buy(price=300), rent(price=[90, 20, 90, 20], term_periods=1),
        shortfall_usd_per_unit_year=25.0, period_years=[0.5, 1, 0.25, 2],
    ),
    "what is not met costs less later": case(
        chain(3, 3, 3), rent(price=[60, 60, 60], term_periods=1),
        shortfall_usd_per_unit_year=[80.0, 30.0, 70.0],
    ),
    "the next contract is signed early": case(
        chain(2, 2, 2, 2), rent(price=[20, 24, 60, 60]), API, charge_beyond_horizon=True
    ),
    "what cannot be sold yet stays beside what is better": case(
        chain(2, 2, 2, 2), buy(stay_periods=3, price=[100, 90, 60, 50], removal_usd=20), API
    ),
    "it dies before it may be sold": case(
        chain(4, 2, 3), buy(life_periods=1, resale=[1, 0.3], stay_periods=3), API
    ),
    "nothing is enough": case(tree(), buy(max_per_period=1), on_demand(max=1)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_another_model_in_another_solver_says_the_same(name: str) -> None:
    pytest.importorskip("pyscipopt")
    assert not differences(CASES[name])


def test_contracts_may_overlap() -> None:
    """A system serves all; contracts of two years cost 10, 12 and 30 a year. One now and one a year
    early: 20 + 24. One now and one at its end: 20 + 30."""
    data = case(chain(1, 1, 1), rent(price=[10, 12, 30]), discount_rate=0.0)
    assert answer(data)["npv_usd"] == pytest.approx(44.0)


def test_what_is_not_met_is_paid_at_the_price_of_then() -> None:
    data = case(chain(1, 2), API, shortfall_usd_per_unit_year=[50.0, 40.0], discount_rate=0.0)
    assert answer(data)["npv_usd"] == pytest.approx(50.0 + 2 * 40.0)


@pytest.mark.parametrize("most", [0.0, 0.1, 0.35, 0.6, 1.0])
def test_a_chance_of_unmet_demand(most: float) -> None:
    pytest.importorskip("pyscipopt")
    data = case(
        tree(), buy(), on_demand(price=200), shortfall_usd_per_unit_year=30.0,
        max_unmet_probability=most,
    )  # fmt: skip
    assert answer(data)["npv_usd"] == pytest.approx(Extensive(data).least(), rel=1e-6)


def test_what_cannot_happen_is_refused() -> None:
    data = case(tree((0.5, 0.5, 0.0, 0.5, 0.5)), buy(), on_demand())
    with pytest.raises(SchemaError, match="has probability 0"):
        answer(data)
