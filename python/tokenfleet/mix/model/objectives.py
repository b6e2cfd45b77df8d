"""Objectives over the same columns: each is a PuLP expression and a sense.

Yearly figures: cost in $, energy in kWh at the site's meter (IT energy times PUE), carbon in kg,
tokens delivered (output, or input + output), value in $.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import pulp

from tokenfleet.mix.model.columns import FleetModel
from tokenfleet.mix.model.index import Label
from tokenfleet.problem_data import (
    SECONDS_PER_HOUR,
    Api,
    Denominator,
    Flow,
    ObjectiveKind,
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


def least_cost(m: FleetModel) -> None:
    """min yearly cost."""
    set_objective(m, cost_coefficients(m), constant=m.constant_usd)


def least_energy(m: FleetModel) -> None:
    """min kWh at the meter."""
    set_objective(m, energy_coefficients(m))


def least_carbon(m: FleetModel) -> None:
    """min kg CO2e."""
    set_objective(m, carbon_coefficients(m))


def most_tokens(m: FleetModel) -> None:
    """max tokens delivered in the named basis."""
    denominator = m.problem.objective.denominator
    set_objective(m, token_coefficients(m, denominator), maximise=True)


def most_value(m: FleetModel) -> None:
    """max value * quality * requests - cost."""
    parts = combine([(1.0, value_coefficients(m)), (-1.0, cost_coefficients(m))])
    set_objective(m, parts, maximise=True, constant=-m.constant_usd)


def cost_minus_tokens(m: FleetModel, ratio: float) -> None:
    """min cost - ratio * tokens: negative if and only if some plan costs less per token."""
    tokens = token_coefficients(m, m.problem.objective.denominator)
    parts = combine([(1.0, cost_coefficients(m)), (-ratio, tokens)])
    set_objective(m, parts, constant=m.constant_usd)


def least_slack(m: FleetModel, weights: Coefficients) -> None:
    """min weighted slack of the relaxed families."""
    set_objective(m, weights)


SETTERS: Mapping[ObjectiveKind, Callable[[FleetModel], None]] = {
    "least_cost": least_cost,
    "most_tokens": most_tokens,
    "most_value": most_value,
    "least_energy": least_energy,
    "least_carbon": least_carbon,
}
MINIMISED = frozenset({"least_cost", "least_energy", "least_carbon", "least_cost_per_token"})
