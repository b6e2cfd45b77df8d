"""Yearly figures per unit of each column, and the objective that a goal makes of them.

Cost in $, energy in kWh at the site's meter (IT energy times PUE), carbon in kg, tokens delivered
(output, or input + output), value in $. `problem_data.GOALS` says which of them a goal adds up; a
new goal over these figures is a row there and nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pulp

from tokenfleet.mix.model.columns import FleetModel
from tokenfleet.mix.model.frame import Frame
from tokenfleet.mix.model.index import Label
from tokenfleet.problem_data import (
    GOALS,
    SECONDS_PER_HOUR,
    Api,
    Denominator,
    Figure,
    FloatArray,
    Flow,
    Goal,
    ObjectiveKind,
    Pool,
    Problem,
)

Coefficients = dict[Label, float]


def cost_coefficients(m: FleetModel) -> Coefficients:
    """$ a year per unit of each column: the sum of its booked items."""
    return _sum((term.label, term.usd) for term in m.terms)


def energy_coefficients(m: FleetModel) -> Coefficients:
    """kWh a year at the meter per unit of each column."""
    return _sum((label, kwh * m.problem.pools[p].pue) for label, p, kwh in m.it_kwh)


def carbon_coefficients(m: FleetModel) -> Coefficients:
    """kg CO2e a year per unit of each column."""
    return _sum((la, kwh * m.problem.pools[p].carbon_kg_per_kwh_it) for la, p, kwh in m.it_kwh)


def token_coefficients(m: FleetModel, denominator: Denominator) -> Coefficients:
    """Tokens delivered in a year per unit of each column that ends a request."""
    return {
        label: requests * tokens_per_request(m.problem, w, k, denominator)
        for label, w, k, _, requests in _ended_requests(m)
    }


def value_coefficients(m: FleetModel) -> Coefficients:
    """Value a year in $ per unit of each column: requests * value * quality."""
    values = {}
    for label, w, k, quality, requests in _ended_requests(m):
        values[label] = requests * float(m.problem.workloads[w].value_usd_per_request[k]) * quality
    return values


def tokens_per_request(problem: Problem, w: int, k: int, denominator: Denominator) -> float:
    """Mean tokens of one request in the named basis."""
    data = problem.workloads[w]
    inputs = float(data.input_tokens[k]) if denominator == "total" else 0.0
    return float(data.output_tokens[k]) + inputs


def _ended_requests(m: FleetModel) -> Iterable[tuple[Label, int, int, float, float]]:
    """(column, workload, class, quality, requests a year per unit) of columns ending a request."""
    problem = m.problem
    seconds = [block.counted_hours * SECONDS_PER_HOUR for block in problem.blocks]
    for flow in m.of(Flow):
        candidate = problem.candidates[flow.candidate]
        if candidate.role != "prefill":
            requests = seconds[flow.block]
            yield flow, candidate.workload, flow.cls, candidate.quality, requests
    for sent in m.of(Api):
        api = problem.apis[sent.api]
        yield sent, api.workload, sent.cls, api.quality, seconds[sent.block]


def _sum(pairs: Iterable[tuple[Label, float]]) -> Coefficients:
    total: Coefficients = {}
    for label, value in pairs:
        total[label] = total.get(label, 0.0) + value
    return total


def combine(parts: Iterable[tuple[float, Coefficients]]) -> Coefficients:
    """Weighted sum of coefficient tables."""
    return _sum((label, weight * a) for weight, table in parts for label, a in table.items())


def set_objective(
    m: FleetModel, coefficients: Coefficients, *, maximise: bool = False, constant: float = 0.0
) -> None:
    """Give the model its objective; a second call replaces the first."""
    pairs = [(m.columns[label], float(a)) for label, a in coefficients.items() if a]
    m.prob.sense = pulp.LpMaximize if maximise else pulp.LpMinimize
    m.prob.setObjective(pulp.LpAffineExpression(pairs, constant))


@dataclass(frozen=True)
class _Yearly:
    """A figure of the year: per unit of each column, and where no column moves it.

    `kwh` is what one IT kWh adds to it that a pool draws while some blocks last; None where it does
    not come from systems and energy alone, so that the relaxation of a large problem cannot be had
    by generation.
    """

    coefficients: Callable[[FleetModel], Coefficients]
    constant: Callable[[FleetModel], float] = lambda _: 0.0
    kwh: Callable[[_Drawn], float] | None = None


@dataclass(frozen=True)
class _Drawn:
    """Energy that a pool draws evenly while some load blocks last."""

    pool: Pool
    usd_per_kwh: float


FIGURES: Mapping[Figure, _Yearly] = {
    "cost": _Yearly(
        cost_coefficients, lambda m: m.constant_usd, kwh=lambda drawn: drawn.usd_per_kwh
    ),
    "energy": _Yearly(energy_coefficients, kwh=lambda drawn: drawn.pool.pue),
    "carbon": _Yearly(carbon_coefficients, kwh=lambda drawn: drawn.pool.carbon_kg_per_kwh_it),
    "tokens": _Yearly(lambda m: token_coefficients(m, m.problem.objective.denominator)),
    "value": _Yearly(value_coefficients),
}


def goal_coefficients(m: FleetModel, goal: Goal) -> tuple[Coefficients, float]:
    """The goal's sum of figures per unit of each column, and its constant."""
    parts = [(weight, FIGURES[figure]) for figure, weight in goal.of.items()]
    constant = sum(weight * figure.constant(m) for weight, figure in parts)
    return combine([(weight, figure.coefficients(m)) for weight, figure in parts]), constant


def set_goal(m: FleetModel, kind: ObjectiveKind | None = None) -> None:
    """Give the model the sum that a kind of goal asks for, by default the problem's own.

    Of a goal per another figure it is the sum above the line; `search.ratio` does the rest.
    """
    goal = m.problem.objective.goal if kind is None else GOALS[kind]
    coefficients, constant = goal_coefficients(m, goal)
    set_objective(m, coefficients, maximise=goal.most, constant=constant)


def is_kwh_and_systems(goal: Goal) -> bool:
    """Whether energy and systems, and APIs by the request, are all that the goal adds up."""
    counted = not goal.most and goal.per is None
    return counted and all(FIGURES[figure].kwh is not None for figure in goal.of)


def kwh_weights(problem: Problem, frame: Frame, goal: Goal) -> FloatArray:
    """What one IT kWh adds to a goal of energy and systems, by pool and scope (P, S).

    The kWh is drawn in the blocks of the scope in which the pool's site is up.
    """
    weights = np.zeros((len(problem.pools), len(problem.scopes)))
    parts = [(weight, FIGURES[figure].kwh) for figure, weight in goal.of.items()]
    for p, pool in enumerate(problem.pools):
        for scope in range(len(problem.scopes)):
            usd = sum(usd for _, usd in frame.prices.kwh(p, frame.scopes.up_in(p, scope)))
            drawn = _Drawn(pool, usd)
            weights[p, scope] = sum(weight * kwh(drawn) for weight, kwh in parts if kwh)
    return weights


def cost_minus_tokens(m: FleetModel, ratio: float) -> None:
    """min cost - ratio * tokens: negative if and only if some plan costs less per token."""
    tokens = token_coefficients(m, m.problem.objective.denominator)
    parts = combine([(1.0, cost_coefficients(m)), (-ratio, tokens)])
    set_objective(m, parts, constant=m.constant_usd)
