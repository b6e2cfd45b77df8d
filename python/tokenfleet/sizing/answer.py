"""Answers to a sizing question: the cheapest plan, and the others that a buyer asks about.

| name | what it is |
|---|---|
| cheapest | least cost a year |
| simplest | one type of system; of those the cheapest |
| fastest | no hosted API; TPOT limited to the least of any layout at half of its load |
| least power | no hosted API; least energy a year |
| most tokens | without a demand: the most output tokens within the budget and the power |
| least per token | without a demand: the least cost of an output token within them |

Each is the proven plan of a scenario that is kept beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tokenfleet.catalog import Catalog, load_catalog
from tokenfleet.errors import InfeasibleError
from tokenfleet.optimize import optimize_fleet
from tokenfleet.plan.rows import Plan
from tokenfleet.points.search import search_points
from tokenfleet.scenario.load import load_scenario
from tokenfleet.sizing.question import Question

Name = Literal["cheapest", "simplest", "fastest", "least power", "most tokens", "least per token"]
_HALF_LOAD = 0.5
_ROUNDING = 1.01  # a limit above the fastest point, so that the point is within it


@dataclass(frozen=True)
class Answer:
    """One plan that answers the question, with the scenario it stands for."""

    name: Name
    scenario: dict[str, Any]
    plan: Plan | None  # None: there is none
    conflict: str = ""  # why there is none
    tpot_limit_ms: float | None = None  # of the fastest: the limit that it was planned for

    def to_json(self) -> dict[str, Any]:
        """Plain data: name, scenario, plan or conflict."""
        return {
            "name": self.name,
            "scenario": self.scenario,
            "plan": None if self.plan is None else self.plan.to_json(),
            "conflict": self.conflict,
            "tpot_limit_ms": self.tpot_limit_ms,
        }


def quick(question: Question, catalog: Catalog | None = None) -> Iterator[Answer]:
    """Answers the question: the first answer first, each other as soon as it is solved.

    Raises:
        SchemaError: a name that is not in the catalog.
        InfeasibleError: nothing serves the question; names what is in conflict and by how much.
    """
    catalog = catalog or load_catalog()
    if question.is_inverse:
        most = _answer("most tokens", question.scenario("most_tokens", catalog), catalog)
        if most.plan is not None and not most.plan.tokens_per_year_output:
            nothing = f"{question.limits()}: less than one system needs"
            raise InfeasibleError(
                f"nothing can be served: {nothing}", [nothing], "raise --mw or --budget"
            )
        yield most
        yield _answer(
            "least per token", question.scenario("least_cost_per_token", catalog), catalog
        )
        return
    cheapest = _answer("cheapest", question.scenario("least_cost", catalog), catalog)
    yield cheapest
    assert cheapest.plan is not None
    yield _simplest(cheapest, cheapest.plan, catalog)
    own = replace(question, api_usd_per_mtok=None)  # of a hosted API neither is known
    yield _if_any("fastest", _fastest(own, catalog), catalog)
    yield _if_any("least power", own, catalog, kind="least_energy")


def quick_rates(
    question: Question, rates_rps: Sequence[float], catalog: Catalog | None = None
) -> Iterator[tuple[float, Answer]]:
    """The cheapest plan at each rate, requests/s.

    Raises:
        SchemaError, InfeasibleError: as `quick`.
    """
    catalog = catalog or load_catalog()
    for rate in rates_rps:
        at = replace(question, rate_rps=rate)
        yield rate, _answer("cheapest", at.scenario("least_cost", catalog), catalog)


def _answer(name: Name, scenario: dict[str, Any], catalog: Catalog, **more: Any) -> Answer:
    loaded = load_scenario(scenario, catalog=catalog)
    compare = name == "cheapest"  # only there is the best plan of one type needed
    return Answer(name, scenario, optimize_fleet(loaded, compare_single=compare), **more)


def _if_any(name: Name, question: Question, catalog: Catalog, kind: str = "least_cost") -> Answer:
    """The answer, or why there is none."""
    scenario = question.scenario(kind, catalog)
    limit = question.tpot_ms if name == "fastest" else None
    try:
        return _answer(name, scenario, catalog, tpot_limit_ms=limit)
    except InfeasibleError as error:
        return Answer(name, scenario, None, error.message, limit)


def _simplest(cheapest: Answer, plan: Plan, catalog: Catalog) -> Answer:
    single = plan.best_single_system
    if len({row.system for row in plan.systems}) <= 1 or single is None:
        return replace(cheapest, name="simplest")
    return _answer("simplest", {**cheapest.scenario, "systems": [single.system]}, catalog)


def _fastest(question: Question, catalog: Catalog) -> Question:
    """The question with the least limit on the time per output token that can be promised."""
    loaded = load_scenario(question.scenario("least_cost", catalog), catalog=catalog)
    found = search_points(loaded, loads=[_HALF_LOAD], cheapest=1, by="tpot", front=False)
    times = found.cheapest.get("tpot_p99_ms", ())
    if not len(times):
        return question
    limit = _rounded_up(float(times[0]) * _ROUNDING)
    return replace(question, tpot_ms=min(limit, question.tpot_ms or math.inf))


def _rounded_up(value: float) -> float:
    """Three significant digits, never below the value: 5.0789 is 5.08."""
    step = 10.0 ** (math.floor(math.log10(value)) - 2)
    return round(math.ceil(value / step) * step, 12)
