"""One scenario, in a child process: what it was made of, its plan or its error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenfleet.batch.files import digest
from tokenfleet.batch.inputs import inputs_of, opened_files, package_digest
from tokenfleet.catalog import load_catalog, merge_files
from tokenfleet.errors import SolverError, TokenfleetError
from tokenfleet.optimize import optimize_fleet
from tokenfleet.scenario.load import LoadedScenario, load_scenario, with_solver

OK, FAILED, UNPROVEN = 0, 1, 4
MEANINGS = {
    0: "done",
    1: "failed",
    2: "bad input",
    3: "infeasible",
    4: "stopped with a plan that is not proven",
}


@dataclass(frozen=True)
class Task:
    """A scenario, the solver settings over its own, and the catalog files below its own.

    `attempt` counts from 0.
    """

    name: str
    path: str
    solver: tuple[tuple[str, Any], ...]
    attempt: int = 0
    catalogs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What one scenario gave. `text` is the JSON of its plan or of its error."""

    key: str
    inputs: Mapping[str, str | None]
    exit_code: int
    text: str


def solve(task: Task) -> Answer:
    """Loads, plans, and says how it ended; errors of the input are answers too.

    Raises:
        Exception: a bug, or the solver failed; another attempt may do better.
    """
    path = Path(task.path)
    inputs: dict[str, str | None] = {}
    try:
        with opened_files() as found:
            try:
                loaded = _load(task)
            finally:
                inputs = inputs_of(path, found)
        code, answer = _plan(loaded)
    except TokenfleetError as error:
        if error.exit_code == SolverError.exit_code:
            raise
        code, answer = error.exit_code, {"error": error.to_json()}
    return Answer(key_of(task, inputs), inputs, code, _text(answer))


def key_of(task: Task, inputs: Mapping[str, str | None]) -> str:
    """Digest of everything that the answer depends on. An attempt's number is no part of it."""
    files = json.dumps(inputs, sort_keys=True)
    return digest(
        task.name, files, package_digest(), json.dumps(sorted(task.solver)), *task.catalogs
    )


def _load(task: Task) -> LoadedScenario:
    """The scenario with the batch's settings over its own; a later attempt has another seed."""
    book = merge_files(load_catalog(), [Path(p) for p in task.catalogs])
    loaded = load_scenario(Path(task.path), catalog=book)
    asked = with_solver(loaded, dict(task.solver), "command line")
    seed = (asked.scenario.solver.seed or 0) + task.attempt
    return with_solver(asked, {"seed": seed}, "command line")


def _plan(loaded: LoadedScenario) -> tuple[int, dict[str, Any]]:
    plan = optimize_fleet(loaded)
    answer = plan.to_json()
    # The clock is no part of the answer: equal inputs give equal bytes. It is in the manifest.
    answer.pop("seconds", None)
    return (OK if plan.proven else UNPROVEN), answer


def _text(answer: Mapping[str, Any]) -> str:
    return json.dumps(answer, indent=2, allow_nan=False) + "\n"
