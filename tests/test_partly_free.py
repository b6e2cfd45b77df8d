"""A system type of which some stand idle in stock: the price of what is bought beside them.

Two types, each with a few boxes that are owned and cost nothing, and more to buy or to rent. Every
plan is tried: n_f of a type for nothing, n_b bought, n_r rented.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest

import test_explain
import test_in_part
from tiny_mix import Kind, Tiny
from tokenfleet.explanation import flip_in_part as module
from tokenfleet.explanation import in_part
from tokenfleet.problem_data import Problem

FREE, BUY, RENT = 0, 1, 2
Counts = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Stocked:
    """Types by capacity; of each how many are in stock, and the prices of others."""

    capacity: tuple[float, ...]
    stock: tuple[int, ...]
    buy: tuple[float, ...]
    rent: tuple[float, ...]
    demand: float
    most: int = 4

    def plans(self) -> Iterator[tuple[Counts, float]]:
        each = [
            itertools.product(range(stock + 1), range(self.most + 1), range(self.most + 1))
            for stock in self.stock
        ]
        for counts in itertools.product(*each):
            served = sum(c * sum(n) for c, n in zip(self.capacity, counts, strict=True))
            if served >= self.demand - 1e-9:
                yield counts, sum(self.spend(counts, t) for t in range(len(self.stock)))

    def spend(self, counts: Counts, t: int) -> float:
        return counts[t][BUY] * self.buy[t] + counts[t][RENT] * self.rent[t]

    def problem(self) -> Problem:
        kinds = zip(self.capacity, self.buy, strict=True)
        problem = Tiny(tuple(Kind(c, p, self.most) for c, p in kinds), self.demand).problem()
        offers = list(problem.offers)
        for t, (stock, rent) in enumerate(zip(self.stock, self.rent, strict=True)):
            bought = problem.offers[t]
            offers.append(
                replace(bought, id=f"r{t}", annual_cost_items_usd={"price": rent}, kind="rent")
            )
            if stock:
                offers.append(
                    replace(
                        bought, id=f"f{t}", annual_cost_items_usd={}, kind="owned",
                        supply=float(stock),
                    )
                )  # fmt: skip
        return replace(problem, offers=tuple(offers))


def random_stocked(seed: int) -> Stocked:
    rng = np.random.default_rng(seed)

    def whole(low: int, high: int) -> tuple[float, ...]:
        return tuple(float(n) for n in rng.integers(low, high, 2))

    stock = tuple(int(n) for n in rng.integers(0, 3, 2))
    return Stocked(whole(2, 6), stock, whole(20, 60), whole(20, 60), float(rng.integers(14, 22)))


def least_ratio(case: Stocked, t: int) -> tuple[float, float]:
    """Where the paid part of a type enters or leaves; and the least cost without that part."""
    plans = list(case.plans())
    without = min((cost for n, cost in plans if case.spend(n, t) == 0), default=math.inf)
    held = [(cost, case.spend(n, t)) for n, cost in plans if case.spend(n, t) > 0]
    return min(((cost - without) / spend for cost, spend in held), default=math.inf), without


def test_what_is_bought_beside_two_in_stock_leaves_at_the_price_of_the_other_type() -> None:
    """20 requests/s, 5 a box: two in stock, two bought at 30, or of the other type two at 50."""
    case = Stocked((5, 5), (2, 0), (30, 50), (99, 99), 20)
    found = test_explain.flips(case.problem())["sys0"]
    assert found.chosen and not found.needed
    assert found.discount == pytest.approx(-20 / 30)
    assert found.plan == {"f0": 2, "o0": 2} and found.without == {"f0": 2, "o1": 2}


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("seed", range(24))
def test_the_price_of_the_paid_part_equals_trying_every_plan(
    seed: int, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = random_stocked(seed)
    least = min(cost for _, cost in case.plans())
    if not whole:
        monkeypatch.setattr(in_part, "WHOLE", 0)
        monkeypatch.setattr(module, "_SEEN", test_in_part.SEEN)
    flips = test_explain.flips if whole else test_in_part.flips
    found = flips(case.problem())
    for t in range(2):
        ratio, without = least_ratio(case, t)
        answer = found[f"sys{t}"]
        if not math.isfinite(without):
            assert answer.needed
        elif answer.needed:  # today's plan has it for nothing, and pays for none of it
            assert without == pytest.approx(least)
            assert case.stock[t] > 0
        elif ratio >= module._HARDLY:
            assert not answer.possible or answer.low >= module._HARDLY
        else:
            noise = 1e-6 if whole else 2 * test_in_part.SEEN * without / 20 + 1e-6
            assert answer.discount == pytest.approx(ratio, abs=noise), (seed, t)
