"""Prices at which an offer enters a plan over time, or leaves it: right on both sides."""

from __future__ import annotations

import copy
import math
from types import SimpleNamespace
from typing import Any

import pytest

from horizon_brute import Brute, random_tree
from horizon_instance import EXACT, Instance
from tokenfleet.explanation import over_time
from tokenfleet.explanation.flip_over_time import flips_over_time
from tokenfleet.explanation.over_time import OverTime
from tokenfleet.mix.horizon import search
from tokenfleet.mix.horizon.risk import Risk

PRICED = ("buy", "rent")


def asked_of(data: dict[str, Any], monkeypatch: pytest.MonkeyPatch, risk: Risk) -> OverTime:
    """What may be asked of an instance."""
    horizon = Instance(data).horizon()
    monkeypatch.setattr(over_time, "tree_of", lambda _: horizon)
    monkeypatch.setattr(over_time, "risk_of", lambda _: risk)
    prices = {name: SimpleNamespace(usd_per_gpu_h=0.0, usd_per_system=100.0) for name in PRICED}
    built: Any = SimpleNamespace(
        problem=horizon.nodes[0].problem, supply=SimpleNamespace(prices=prices)
    )
    return OverTime(built, EXACT)


def at(data: dict[str, Any], name: str, factor: float | None) -> float:
    """The least cost with an offer at so many times its price, or without it."""
    other = copy.deepcopy(data)
    (row,) = [row for row in other["offers"] if row["id"] == name]
    if factor is None:
        other["offers"].remove(row) if name == "api" else row.update(max_per_period=0)
    else:
        price = row["price"]
        several = isinstance(price, list)
        row["price"] = [usd * factor for usd in price] if several else price * factor
    return Brute(other).least()


@pytest.mark.parametrize("states", [False, True], ids=["whole", "states"])
@pytest.mark.parametrize("seed", range(12))
def test_flip_prices_over_time_equal_trying_everything(
    seed: int, states: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hair below the price some plan with the offer is the cheapest; a hair above none is."""
    data = random_tree(seed)
    if states:
        monkeypatch.setattr(search, "FEW", 0)
        data["power_kw"] = 1000.0
    found = list(flips_over_time(asked_of(data, monkeypatch, Risk())))
    assert [(row.kind, row.name) for row in found] == [
        *(("offer", name) for name in PRICED),
        ("api", "api"),
    ]
    for row in found:
        without = at(data, row.name, None)
        slack = 1e-7 * without
        if row.verdict == "never":
            assert at(data, row.name, 0.0) >= without - slack
            continue
        if row.verdict == "always":
            assert row.chosen and math.isinf(without)
            continue
        assert row.verdict in ("leaves", "enters")
        assert row.chosen is (at(data, row.name, 1.0) < without - slack)
        assert row.discount is not None
        factor = 1.0 - row.discount
        assert at(data, row.name, factor - 1e-3) < without - slack
        assert at(data, row.name, factor + 1e-3) >= without - slack
        assert row.how == "re-solved and proven"
        assert row.solves <= 6
