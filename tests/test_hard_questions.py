"""A solve that ends at its own time before any plan costs the row that asked for it and no other.

Here a chosen solve ends so: the answer of the solver is thrown away, as if its time had been over.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tokenfleet as tf
from test_cli import run
from test_sweep_diff_model import measured
from tokenfleet.errors import SolverError
from tokenfleet.explanation import in_part
from tokenfleet.explanation import repair as repair_module
from tokenfleet.explanation import study as study_module
from tokenfleet.explanation.case import open_case
from tokenfleet.explanation.session import Session
from tokenfleet.explanation.study import HardSolveError
from tokenfleet.explanation.sweep import parse, points, write_points
from tokenfleet.mix.search.ratio import search_goal
from tokenfleet.mix.solver.highs import run as solve
from tokenfleet.report import explained

NOT_ANSWERED = "is not answered: a solve ended at its time before it had a plan"
Hard = Callable[[int], None]


@pytest.fixture
def hard(monkeypatch: pytest.MonkeyPatch) -> Hard:
    """Makes one search for a plan, by its number from 1, end with nothing."""

    def at(number: int) -> None:
        solved = []

        def search(*asked: Any) -> Any:
            solved.append(asked)
            found = search_goal(*asked)
            too_hard = len(solved) == number
            return replace(found, status="no_plan", values={}) if too_hard else found

        monkeypatch.setattr(study_module, "search_goal", search)

    return at


def dark() -> dict[str, Any]:
    """Halls of 5 and 4 kW for a box of ten, and no API: the power of either has to give way."""
    scenario = measured()
    hall = scenario["sites"][0] | {"power_kw": 5}
    scenario["sites"], scenario["apis"] = [hall, hall | {"id": "annex", "power_kw": 4}], []
    return scenario


def test_a_setting_of_a_sweep_says_that_it_is_not_answered(hard: Hard) -> None:
    """Five boxes in place of three after the one that is too hard are still another mix."""
    case = open_case(measured(price=50_000.0))
    varied = [parse(case, "demand=1,2,4.5")]
    whole = list(points(case, varied))
    hard(2)
    first, second, third = points(open_case(measured(price=50_000.0)), varied)
    assert (first, third) == (whole[0], whole[2]) and third.mix_changed
    assert second.feasible is None and second.annual_cost_usd is None and not second.mix_changed
    assert explained.sweep_point(second)[:2] == ["2", "not answered"]


def test_a_table_of_settings_has_a_row_for_each(tmp_path: Path, hard: Hard) -> None:
    hard(2)
    case = open_case(measured())
    write_points(list(points(case, [parse(case, "demand=1,2,3")])), tmp_path / "points.csv")
    rows = list(csv.DictReader((tmp_path / "points.csv").open()))
    assert [row["feasible"] for row in rows] == ["true", "", "true"]


def test_a_sweep_without_any_plan_has_its_rows_and_no_picture(tmp_path: Path) -> None:
    path, drawn = tmp_path / "s.json", tmp_path / "p.svg"
    path.write_text(json.dumps(dark()))
    done = run("sweep", path, "--vary", "demand=1,2", "--plot", drawn, "--json")
    assert done.returncode == 0 and not drawn.exists()
    assert [row["feasible"] for row in json.loads(done.stdout)["points"]] == [False, False]
    assert "was not drawn: no setting has a plan" in done.stderr


def test_a_route_that_is_too_hard_at_one_point_has_all_others(hard: Hard) -> None:
    whole = tf.explain(measured(), parts=["crossover"])
    assert whole.crossover and whole.break_even and not whole.notes
    hard(3)
    found = tf.explain(measured(), parts=["crossover"])
    (missing,) = set(whole.crossover) - set(found.crossover)
    said = f"{missing.route} at {missing.at:g} of the {missing.axis} {NOT_ANSWERED}"
    assert found.notes[0] == said and not found.interrupted
    assert set(found.crossover) < set(whole.crossover)
    at_one_point = [note for note in found.notes[1:] if f"{missing.at:g}" in note]
    assert len(at_one_point) == len(found.notes) - 1 <= 2  # its neighbours, of one other route


def test_a_repair_that_is_too_hard_has_all_others(hard: Hard) -> None:
    whole = tf.explain(dark(), parts=["repairs"])
    assert len(whole.repairs) == 2
    hard(2)  # after that which finds no plan for today's limits
    found = tf.explain(dark(), parts=["repairs"])
    (missing,) = (row for row in whole.repairs if row not in found.repairs)
    where = missing.concessions[0].where
    assert found.notes == (f"the plan after another power of {where} {NOT_ANSWERED}",)
    assert len(found.repairs) == 1 and not found.interrupted


def test_a_set_that_was_not_found_in_time_is_told_from_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ended(*asked: Any, **how: Any) -> Any:
        return replace(solve(*asked, **how), status="error", values={})

    monkeypatch.setattr(repair_module, "run", ended)
    found = tf.explain(dark(), parts=["repairs"])
    assert f"the next set of limits that could give way {NOT_ANSWERED}" in found.notes
    assert not found.interrupted


def test_a_part_that_cannot_go_on_leaves_the_parts_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def too_hard(self: Session) -> Any:
        self._tell("the third row")
        raise HardSolveError("it is hard", "")
        yield

    monkeypatch.setattr(Session, "_worth", too_hard)
    found = tf.explain(measured(), parts=["worth", "flip"], jobs=1)
    assert found.flip and not found.worth and not found.interrupted
    assert found.notes[0] == "the third row is not answered, nor what follows: it is hard"


def test_a_relaxation_that_is_not_solved_in_time_costs_its_own_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(in_part, "WHOLE", 0)
    whole = tf.explain(measured(), parts=["flip"], jobs=1)
    assert len(whole.flip) == 2
    solve_relaxation, solved = in_part.relaxation, []

    def ended(*asked: Any) -> Any:
        solved.append(asked)
        if len(solved) == 1:
            raise SolverError("the relaxation was not solved within the time limit", "")
        return solve_relaxation(*asked)

    monkeypatch.setattr(in_part, "relaxation", ended)
    found = tf.explain(measured(), parts=["flip"], jobs=1)
    assert len(found.flip) == 1 and not found.interrupted
    assert found.flip[0].name == whole.flip[1].name
    assert any(note == f"flip price of {whole.flip[0].name} {NOT_ANSWERED}" for note in found.notes)
