"""Prices between which a plan over time stays the best, and its first orders do: by trying all."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from horizon_brute import Brute, random_tree
from test_flip_over_time import asked_of, at
from test_measure_over_time import Signed
from tokenfleet.explanation.moving_over_time import targets
from tokenfleet.explanation.ranges_over_time import range_over_time
from tokenfleet.mix.horizon import search
from tokenfleet.mix.horizon.risk import Risk

ASIDE = 1e-3  # of a price, on either side of an end


class Placed(Signed):
    """Just these orders of the first node, and no more of them."""

    def orders(self, node: dict[str, Any], t: int) -> Any:
        for lots in Brute.orders(self, node, t):
            counts = {self.offers[lot.offer]["id"]: lot.count for lot in lots}
            if t or counts == self.first:
                yield lots


def with_first(data: dict[str, Any], name: str, factor: float, first: dict[str, int]) -> float:
    """The least cost at so many times a price, with the first orders as they are."""
    other = copy.deepcopy(data)
    (row,) = [row for row in other["offers"] if row["id"] == name]
    several = isinstance(row["price"], list)
    row["price"] = [p * factor for p in row["price"]] if several else row["price"] * factor
    return Placed(other, first).least()


@pytest.mark.parametrize("states", [False, True], ids=["whole", "states"])
@pytest.mark.parametrize("seed", range(10))
def test_ranges_over_time_equal_trying_everything(
    seed: int, states: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inside the range today's plan costs as little as any, a hair outside more; and so do plans
    with today's first orders inside theirs."""
    data = random_tree(seed)
    if states:
        monkeypatch.setattr(search, "FEW", 0)
        data["power_kw"] = 1000.0
    asked = asked_of(data, monkeypatch, Risk())
    base, years = asked.base, asked.base.result.years
    first, still = base.first_orders, 2e-6 * abs(base.value)
    for target in targets(asked):
        row = range_over_time(target)
        if row is None:
            assert target.moving.paid(base) == pytest.approx(0.0, abs=still)
            continue
        assert row.how == "re-solved and proven" and row.first_orders is not None

        def more(factor: float, target: Any = target) -> float:
            """What today's plan costs beyond the best."""
            best = at(data, target.name, factor) / years
            return base.value + (factor - 1.0) * float(target.moving.paid(base)) - best

        def more_first(factor: float, name: str = target.name) -> float:
            """What the best plan with today's first orders does."""
            placed = with_first(data, name, factor, first)
            return (placed - at(data, name, factor)) / years

        high = row.high_factor or 3.0
        for factor in (row.low_factor, (row.low_factor + 1) / 2, (1 + high) / 2, high):
            assert more(factor) <= still, (row, factor)
        if row.low_factor > ASIDE:
            assert more(row.low_factor - ASIDE) > still
        if row.high_factor is not None:
            assert more(row.high_factor + ASIDE) > still
        orders = row.first_orders
        assert orders.low_factor <= row.low_factor + 1e-9
        top = orders.high_factor or 3.0
        for factor in (orders.low_factor, (orders.low_factor + 1) / 2, (1 + top) / 2, top):
            assert more_first(factor) <= still, (row, factor)
        if orders.low_factor > ASIDE:
            assert more_first(orders.low_factor - ASIDE) > still
            assert orders.below != first
        if orders.high_factor is not None:
            assert more_first(orders.high_factor + ASIDE) > still
            assert orders.above != first


@pytest.mark.parametrize("seed", range(6))
def test_what_plans_cost_along_a_price_is_what_the_model_says(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the bad futures count: a plan of another price costs there what its solve said,
    and today's plan no less; with today's prices it is the other way round."""
    data = random_tree(seed)
    asked = asked_of(data, monkeypatch, Risk("cvar", weight=0.4, alpha=0.75))
    base, tiny = asked.base, 2e-6 * abs(asked.base.value)
    for target in targets(asked):
        today = target.moving.line(base, 1.0)
        assert today.at(1.0) == pytest.approx(base.value, abs=tiny)
        for factor in (0.5, 1.4):
            found = target.moving.least(factor)
            assert found is not None
            line = target.moving.line(found, factor)
            assert line.at(factor) == pytest.approx(found.value, abs=tiny)
            assert today.at(factor) >= found.value - tiny
            assert line.at(1.0) >= base.value - tiny
        row = range_over_time(target)
        assert row is None or row.how == "re-solved within gap"
