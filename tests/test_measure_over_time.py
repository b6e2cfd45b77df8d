"""What to measure next over time: equal to trying every plan at both ends of what is known."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest

from horizon_brute import Brute, random_tree
from test_flip_over_time import asked_of
from tokenfleet.explanation.measure import Unsure
from tokenfleet.explanation.measure_over_time import stake_over_time
from tokenfleet.mix.horizon.risk import Risk


class Signed(Brute):
    """Orders of the first node that are made whatever comes, and more of them."""

    def __init__(self, data: dict[str, Any], first: dict[str, int]) -> None:
        super().__init__(data)
        self.first = first

    def orders(self, node: dict[str, Any], t: int) -> Any:
        """All that may be ordered; at first no fewer than what was signed."""
        for lots in super().orders(node, t):
            counts = {self.offers[lot.offer]["id"]: lot.count for lot in lots}
            if t or all(counts.get(name, 0) >= count for name, count in self.first.items()):
                yield lots


def least(data: dict[str, Any], capacity: float, first: dict[str, int]) -> float:
    """The least cost where system A does so much, with the first orders signed."""
    other = copy.deepcopy(data)
    other["systems"][0]["capacity"] = capacity
    return Signed(other, first).least()


WORTH = (1, 3)  # seeds in which measuring first saves something


@pytest.mark.parametrize("seed", range(20))
def test_the_money_at_stake_is_that_of_every_plan_tried(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = next(d for s in range(50 * seed, 50 * seed + 50)
                if len((d := random_tree(s))["nodes"]) <= 4)  # fmt: skip
    data["nodes"][0]["demand"] = 1 + seed % 4
    asked = asked_of(data, monkeypatch, Risk())
    figure = Unsure("A", "demand", math.log(1.6))
    found = stake_over_time(asked, figure)
    first = asked.base.first_orders
    years = asked.base.result.years
    regrets = [
        (least(data, 2 * times, first) - least(data, 2 * times, {})) / years
        for times in (1 / 1.6, 1.6)
    ]
    assert found.how == "re-solved and proven"
    assert found.value == pytest.approx(0.3 * sum(regrets), abs=1e-6 * abs(asked.base.value))
    assert found.worst == pytest.approx(max(regrets), abs=1e-6 * abs(asked.base.value))
    assert found.changes or not found.value
    if seed in WORTH:
        assert found.value > 0
