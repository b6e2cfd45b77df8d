"""Energy, speeds and terms that flip what is ordered over time: by trying all, and as in a year."""

from __future__ import annotations

import copy
from typing import Any

import pytest

import tokenfleet as tf
from horizon_brute import Brute, random_tree
from test_explain_over_time import over_time
from test_flip_over_time import asked_of, at
from test_sweep_diff_model import measured
from tokenfleet.explanation.edge_over_time import Edge
from tokenfleet.explanation.inputs_over_time import by_energy
from tokenfleet.explanation.moving_over_time import energy, targets
from tokenfleet.explanation.over_time import OverTime
from tokenfleet.explanation.study import HardSolveError
from tokenfleet.mix.horizon.risk import Risk

TELLS = (0,)  # seeds in which a price flips something
ASIDE = 1e-2


def at_energy(data: dict[str, Any], factor: float) -> dict[str, Any]:
    """The instance with so many times what its systems use up."""
    other = copy.deepcopy(data)
    other["systems"][0]["usd_per_unit_year"] *= factor
    return other


@pytest.mark.parametrize("seed", range(10))
def test_energy_prices_over_time_equal_trying_everything(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to the price what is held today is held, and beyond it is not, or the other way round."""
    data = random_tree(seed)
    data["systems"][0]["usd_per_unit_year"] = 8.0
    asked = asked_of(data, monkeypatch, Risk())
    edge = Edge(energy(asked))

    def held(name: str, factor: float) -> bool:
        moved = at_energy(data, factor)
        return Brute(moved).least() < at(moved, name, None) - 1e-7 * abs(asked.base.value)

    told = 0
    for target in targets(asked):
        fall, rise = by_energy(edge, target)
        for row, far, step in ((fall, 0.0, -ASIDE), (rise, 10.0, ASIDE)):
            assert row.how == "re-solved and proven"
            if row.at is None:
                assert row.not_yet == far
                assert held(row.name, far) is row.chosen
            elif 0.02 < row.at < 9.9:
                assert held(row.name, row.at - step) is row.chosen
                assert held(row.name, row.at + step) is not row.chosen
                told += 1
    assert told or seed not in TELLS


def test_over_equal_quarters_inputs_flip_as_in_a_year() -> None:
    """What is bought costs the same in every quarter, so the box leaves at the speed and the energy
    price at which it leaves a plan of a year; a speed is told to a per cent."""
    scenario = measured()
    scenario["apis"][0]["usd_per_request"] *= 0.275  # 110,000 USD a year beside a box at 96,729
    scenario["sites"][0]["electricity_usd_per_kwh"] = 0.05
    year = tf.explain(scenario, parts=["inputs"])
    found = tf.explain({**over_time(), **scenario, "solver": {"gap": 1e-6}}, parts=["inputs"])
    told = {(row.input, row.name): row for row in year.flip_inputs if row.at is not None}
    rows = {(row.input, row.name): row for row in found.flip_inputs if row.at is not None}
    assert ("speed", "h100_sxm_8") in rows and rows.keys() == told.keys()
    for key, row in rows.items():
        assert row.how == "re-solved and proven" and row.chosen is told[key].chosen
        if row.input == "energy":
            assert row.at == pytest.approx(told[key].at, rel=1e-5)
        else:
            low, high = sorted((row.at, row.not_yet))
            assert low <= told[key].at * 1.001 and told[key].at <= high * 1.001
            assert high / low <= 1.0101


def test_a_question_over_time_that_is_too_hard_costs_its_own_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = tf.explain(over_time(), parts=["flip", "ranges"])
    assert {row.name for row in whole.flip} == {"h100", "api"}
    solved, count = OverTime.solved, []

    def hard(self: OverTime, *asked: Any, **how: Any) -> Any:
        if how.get("more"):
            count.append(how)
        if how.get("more") and len(count) == 1:
            raise HardSolveError("a solve ended at its time before it had a plan", "")
        return solved(self, *asked, **how)

    monkeypatch.setattr(OverTime, "solved", hard)
    found = tf.explain(over_time(), parts=["flip", "ranges"])
    assert {row.name for row in found.flip} == {"api"} and not found.interrupted
    assert {row.name for row in found.ranges} == {row.name for row in whole.ranges}
    assert found.notes == (
        "flip price of h100 is not answered: a solve ended at its time before it had a plan",
    )
