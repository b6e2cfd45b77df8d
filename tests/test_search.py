"""The search of one model: what it keeps of the relaxation, and which steps it takes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from problems import free_problem, one_pool
from tokenfleet.mix.model import build
from tokenfleet.mix.model.index import Power
from tokenfleet.mix.model.objectives import set_goal
from tokenfleet.mix.search import stages
from tokenfleet.mix.search.ratio import search_ratio
from tokenfleet.mix.search.stages import MixSearch, search
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.problem_data import ApiData, Problem, SiteData

EXACT = SolveOptions(gap=0.0, time_limit_s=20.0, threads=1)


def short_of_power() -> Problem:
    """80 requests/s, 3 kW: a box of 1 kW serves 8 of them at 100 $, an API each at 200 $."""
    price = np.array([200.0 / (8760 * 3600.0)])
    base = replace(one_pool([[80.0]]), apis=(ApiData("api", 0, price),))
    return replace(base, sites=(SiteData("s", power_limit_kw=3.0),))


@pytest.mark.parametrize("small", [400, 0])
def test_a_search_keeps_what_a_limit_is_worth(small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 kW more is one box more and 8 requests/s fewer through the API: 8 * 200 - 100 = 1,500 $."""
    monkeypatch.setattr(stages, "SMALL", small)
    m = build(short_of_power())
    set_goal(m)
    found = search(m, Effort.of(EXACT))
    assert found.value == pytest.approx(3 * 100.0 + (80 - 24) * 200.0)
    (power,) = (name for name, row in m.rows.items() if isinstance(row, Power))
    assert found.relaxed is not None
    assert found.relaxed.row_duals[power] == pytest.approx(-1500.0)


def test_a_search_for_a_ratio_keeps_its_relaxation() -> None:
    m = build(free_problem(1), scale_max=50.0)
    found = search_ratio(m, Effort.of(EXACT))
    assert found.relaxed is not None and found.relaxed.row_duals
    assert found.bound <= found.value


def test_the_steps_of_a_large_model(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    for step in ("tighten", "round", "improve", "stages", "whole"):
        real = getattr(MixSearch, step)
        monkeypatch.setattr(MixSearch, step, _told(real, step, taken))
    m = build(short_of_power())
    set_goal(m)
    search(m, Effort.of(EXACT))
    assert taken == ["whole"]
    monkeypatch.setattr(stages, "SMALL", 0)
    search(m, Effort.of(EXACT))
    assert taken[1:] == ["tighten", "round", "improve", "stages", "whole"]


def _told(real: object, step: str, taken: list[str]) -> object:
    def told(self: MixSearch) -> None:
        taken.append(step)
        real(self)  # type: ignore[operator]

    return told
