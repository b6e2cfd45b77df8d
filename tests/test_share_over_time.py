"""Prices at which an offer takes a tenth and half of the fleet over time."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterable
from typing import Any

import pytest

from horizon_brute import Brute, Lot, random_tree
from test_flip_over_time import PRICED, asked_of
from tokenfleet.explanation.flip_over_time import flips_over_time
from tokenfleet.mix.horizon import search
from tokenfleet.mix.horizon.risk import Risk

#: Cost of a plan, systems beyond the share of an offer, and whether there is any of it.
Kept = tuple[float, float, bool]


class Shares(Brute):
    """What plans cost, and by how much an offer has more than its share of all systems."""

    def __init__(self, data: dict[str, Any], name: str, share: float) -> None:
        super().__init__(data)
        self.mine, self.share = name, share

    def costs(self) -> tuple[float, float]:
        """The least cost of all plans, and of those in which the offer has its share."""
        owned = [
            Lot(o, 0, age, row["market_price"], count)
            for o, row in enumerate(self.offers)
            if row["kind"] == "owned"
            for age, count in row["ages"]
        ]
        every = self.front(0, owned, [])
        having = [usd for usd, more, some in every if some and more >= -1e-9]
        return min(usd for usd, _, _ in every), min(having, default=math.inf)

    def front(self, u: int, lots: list[Lot], coming: list[Lot]) -> list[Kept]:
        """Of a node and all that follows: the plans beside which none costs less and has more."""
        node, found = self.data["nodes"][u], list[Kept]()
        t, last = node["period"], node["period"] == self.last
        children = [v for v, n in enumerate(self.data["nodes"]) if n["parent"] == u]
        for usd, kept in self.kept(lots, t):
            for orders in self.orders(node, t):
                every = [*coming, *orders]
                here = kept + [lot for lot in every if lot.arrives == t]
                later = [lot for lot in every if lot.arrives > t]
                bought = (lot for lot in here if self.offers[lot.offer]["kind"] == "buy")
                price = sum(lot.price * lot.count for lot in bought if lot.arrives == t)
                fixed = (price - usd) * self.worth_of(self.starts[t])
                fixed -= self.end_value(here) if last else 0.0
                own = [one_node(self, node, t, here, n, fixed + run)
                       for n, run in self.runs(node, here, t)]  # fmt: skip
                fronts = [self.front(v, here, later) for v in children] if own else []
                found += map(added, itertools.product(own, *fronts))
        return pruned(found)


def one_node(  # noqa: PLR0917
    brute: Shares, node: dict[str, Any], t: int, here: list[Lot], n: int, usd: float
) -> Kept:
    """One node with so many on demand."""
    weight = brute.weight(brute.starts[t], brute.starts[t + 1])
    own = sum(lot.count for lot in here if brute.offers[lot.offer]["id"] == brute.mine)
    every = sum(lot.count for lot in here) + n
    return node["prob"] * usd, node["prob"] * weight * (own - brute.share * every), own > 0


def added(parts: Iterable[Kept]) -> Kept:
    costs, more, some = zip(*parts, strict=True)
    return sum(costs), sum(more), any(some)


def pruned(plans: list[Kept]) -> list[Kept]:
    found = list[Kept]()
    for with_some in (False, True):
        best = -math.inf
        for plan in sorted(p for p in plans if p[2] is with_some):
            if plan[1] > best + 1e-12:
                found.append(plan)
                best = plan[1]
    return found


def at(data: dict[str, Any], name: str, share: float, factor: float) -> tuple[float, float]:
    """The two costs with an offer at so many times its price."""
    other = copy.deepcopy(data)
    (row,) = [row for row in other["offers"] if row["id"] == name]
    price = row["price"]
    row["price"] = [usd * factor for usd in price] if isinstance(price, list) else price * factor
    return Shares(other, name, share).costs()


@pytest.mark.parametrize("states", [False, True], ids=["whole", "states"])
@pytest.mark.parametrize("seed", range(6))
def test_shares_of_the_fleet_equal_trying_everything(
    seed: int, states: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hair below the price some best plan has the share; from there up to the price at which the
    offer enters, and a hair above it, none has."""
    data = random_tree(seed)
    if states:
        monkeypatch.setattr(search, "FEW", 0)
        data["power_kw"] = 1000.0
    found = [row for row in flips_over_time(asked_of(data, monkeypatch, Risk())) if row.takes]
    assert all(row.name in PRICED for row in found)
    for row, taken in ((of, taken) for of in found for taken in of.takes):
        assert taken.how == "re-solved and proven" and row.discount is not None
        last = 1.0 if taken.discount is None else taken.discount
        for off in (row.discount, (row.discount + last) / 2, last - 1e-3):
            least, having = at(data, row.name, taken.share, 1.0 - off)
            if off < last - 1e-4:
                assert having > least + 1e-9 * least, (row.name, taken.share, off)
        least, having = at(data, row.name, taken.share, 1.0 - min(last + 1e-3, 1.0))
        there = having <= least + 1e-7 * least
        assert there is (taken.discount is not None), (row.name, taken.share)
        assert taken.discount is None or taken.discount >= row.discount - 1e-9
