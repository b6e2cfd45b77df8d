"""The stub of the core tells the truth: answers have the keys that `_core.pyi` says, no others."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core_problem import OWNERSHIP, ids, searched, setting
from test_fleet_simulation import simulate as simulate_fleet
from test_simulate import at, load_s, one_class
from tokenfleet import _core

STUB = ast.parse(Path(_core.__file__).with_name("_core.pyi").read_text())
CLASSES = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef)}


def fields(name: str) -> dict[str, str]:
    """Keys of a `TypedDict` of the stub with their annotations, inherited ones too."""
    node = CLASSES[name]
    bases = [base.id for base in node.bases if isinstance(base, ast.Name) and base.id in CLASSES]
    own = {
        line.target.id: ast.unparse(line.annotation)
        for line in node.body
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
    }
    return {key: kind for base in bases for key, kind in fields(base).items()} | own


def check(answer: Any, name: str) -> None:
    """Compares an answer with a `TypedDict`, and what is in it with those that it names."""
    assert set(answer) == set(fields(name)), name
    for key, kind in fields(name).items():
        inner = kind.removeprefix("list[").removesuffix("]")
        if inner in CLASSES and inner not in {"Durations"}:
            for part in answer[key] if kind.startswith("list[") else [answer[key]]:
                check(part, inner)


def test_answers_about_configurations_have_the_keys_of_the_stub() -> None:
    _, p, configurations = setting("main")
    check(p.describe(0), "_Layout")
    check(p.points(ids(0)), "_Points")
    number = next(c.id for c in configurations if c.layout is not None)
    check(p.recheck(number, 0, np.zeros(2)), "_Recheck")
    search = searched(p)
    check(search.kept(), "_Kept")
    for counts in search.counts().values():
        check(counts, "_Counts")
        ended = sum(count for reason, count in counts.items() if reason != "evaluated")
        assert isinstance(ended, int) and ended > 0
    check(_core.system_year(OWNERSHIP), "_SystemYear")


def test_operating_points_have_the_keys_of_the_stub() -> None:
    problem, one = one_class("llama-8b"), np.ones(1)
    check(_core.operating_points(problem, 0, 0, one, one, one), "_BulkPoints")
    assert list(fields("_BulkPoints")) == list(_core.POINT_COLUMNS)
    offers = [[(2.0, 0.1)], [(2.0, 0.1)]]
    search = _core.PointSearch(
        problem,
        loads={"utilisation": [0.5]},
        offers=offers,
        cheapest=1,
        by="cost",
        front=True,
    )
    search.extend(0, problem.unit_count)
    check(search.counts(), "_PointCounts")
    check(search.front(), "_KeptPoints")


def test_simulations_have_the_keys_of_the_stub() -> None:
    problem = one_class("llama-8b")
    check(at(problem, 0.5, requests=50, replications=2), "_Simulated")
    rate = 0.5 / load_s(problem)
    check(simulate_fleet(problem, [{"id": 0}], rate=rate, requests=50), "_SimulatedFleet")
    check(_core.SIMULATION, "_Settings")


@pytest.mark.parametrize("fault", ["more", "less"])
def test_a_stub_that_is_wrong_is_seen(fault: str) -> None:
    _, p, _ = setting("main")
    answer: Any = dict(p.describe(0))
    if fault == "more":
        answer["colour"] = "red"
    else:
        del answer["tp"]
    with pytest.raises(AssertionError):
        check(answer, "_Layout")
