"""What the tools answer: plain data that says "unknown" where nothing is known.

A scenario comes as text (YAML or JSON) and names no file: a tool reads and writes none. An error is
an answer with the message and the cure, never a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tokenfleet.catalog import load_catalog
from tokenfleet.catalog.find import find
from tokenfleet.errors import CatalogError, SchemaError, TokenfleetError
from tokenfleet.files.read import parse_yaml
from tokenfleet.plan.rows import Plan
from tokenfleet.scenario.load import LoadedScenario, load_scenario, with_solver

TABLES = ("systems", "models", "prices", "apis", "tco", "lengths")
MOST_TEXT = 1024 * 1024  # characters of a scenario
MOST_SECONDS = 600.0
_FILES = ("catalog", "columns", "trace", "cdf", "calibration", "config")  # fields that name a file


def check(scenario: str) -> dict[str, Any]:
    """What a scenario would be planned over: counts, what is assumed or left out, warnings."""
    from tokenfleet.problem.check import check as checked  # noqa: PLC0415 (loads the problem)

    return _answer(lambda: checked(_loaded(scenario)).to_json())


def plan(scenario: str, time_limit_s: float = 30.0, whole: bool = False) -> dict[str, Any]:
    """The hardware mix that is best, with its proof in words; `whole` adds every row of the plan.

    `time_limit_s` is at most 600.
    """
    from tokenfleet.optimize import optimize_fleet  # noqa: PLC0415 (loads the solver)

    def answer() -> dict[str, Any]:
        found = optimize_fleet(_loaded(scenario, time_limit_s))
        return {**_told(found), **({"plan": found.to_json()} if whole else {})}

    return _answer(answer)


def explain(scenario: str, parts: list[str] | None = None, time_limit_s: float = 60.0) -> Any:
    """What one more of each limit is worth, prices that change the plan, near and repaired plans.

    `parts` are some of worth, flip, ranges, inputs, menu, repairs, tornado, crossover and measure;
    none is worth, flip, ranges, menu and repairs. `time_limit_s` is at most 600.
    """
    from tokenfleet.explanation.explain import explain as explained  # noqa: PLC0415
    from tokenfleet.explanation.parts import USUAL  # noqa: PLC0415 (loads the solver)

    def answer() -> dict[str, Any]:
        asked: Any = tuple(parts) if parts else USUAL
        seconds = _seconds(time_limit_s)
        return explained(_loaded(scenario), parts=asked, time_limit_s=seconds).to_json()

    return _answer(answer)


def catalog(name: str | None = None, table: str | None = None) -> dict[str, Any]:
    """The catalog's row of a `name` with source and date, or the ids of a `table`.

    Tables are systems, models, prices, apis, tco and lengths; with neither, how long each is.
    """
    known = load_catalog()
    tables = {of: getattr(known, of) for of in TABLES}

    def answer() -> dict[str, Any]:
        if name is not None and name not in tables:
            return find(known, name)
        if name is not None:
            hint = f"a table has this name: ask for table={name!r}"
            raise CatalogError(f"the catalog has nothing named {name!r}", hint)
        if table is None:
            return {"rows": {of: len(rows) for of, rows in tables.items()}}
        if table not in tables:
            raise CatalogError(f"the catalog has no table {table!r}", f"one of {', '.join(TABLES)}")
        rows = tables[table]
        if isinstance(rows, Mapping):
            return {"table": table, "ids": sorted(rows)}
        return {"table": table, "rows": [row.model_dump(mode="json") for row in rows]}

    return _answer(answer)


def _answer(of: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The answer, or what is in its way; a name that is not known is called so."""
    try:
        return of()
    except CatalogError as error:
        return {"unknown": error.message, "hint": error.hint}
    except TokenfleetError as error:
        return {"error": error.to_json()}


def _loaded(text: str, time_limit_s: float | None = None) -> LoadedScenario:
    """A scenario from its text.

    Raises:
        SchemaError: too long, not understood, or naming a file.
    """
    if len(text) > MOST_TEXT:
        raise SchemaError(f"the scenario has {len(text):,} characters", "send less than a million")
    data = parse_yaml(text, "scenario")
    if not isinstance(data, dict):
        raise SchemaError("scenario: is not a mapping of fields", "send YAML or JSON as a scenario")
    _refuse_files(data, "scenario")
    seconds = None if time_limit_s is None else _seconds(time_limit_s)
    loaded = load_scenario(data)
    return loaded if seconds is None else with_solver(loaded, {"time_limit_s": seconds}, "plan")


def _refuse_files(data: Any, where: str) -> None:
    """No field may name a file: the text is all that there is."""
    if isinstance(data, dict):
        for key, value in data.items():
            at = f"{where}.{key}"
            if key in _FILES and (isinstance(value, str) or _texts(value)):
                raise SchemaError(f"{at}: names a file", "write the rows into the scenario itself")
            _refuse_files(value, at)
    elif isinstance(data, list):
        for i, each in enumerate(data):
            _refuse_files(each, f"{where}[{i}]")


def _texts(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(each, str) for each in value)


def _seconds(given: float) -> float:
    if not 0 < given <= MOST_SECONDS:
        raise SchemaError(f"time_limit_s: is {given:g}", f"give 0 to {MOST_SECONDS:g} seconds")
    return given


def _told(found: Plan) -> dict[str, Any]:
    """The answer in sentences, beside its main figures."""
    from tokenfleet.report import inputs, words  # noqa: PLC0415

    return {
        "answer": words.headline(found),
        "status": found.status,
        "proof": words.status_words(found),
        "annual_cost_usd": found.annual_cost_usd,
        "capex_usd": found.capex_usd,
        "cost_per_mtok_output_usd": found.cost_per_mtok_output_usd,
        "reasons": words.reasons(found),
        "warnings": words.warnings(found),
        "assumed": [inputs.assumed(row) for row in found.inputs if row.assumed],
        "not_considered": words.not_considered(found),
    }
