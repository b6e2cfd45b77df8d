"""Equal years over a horizon: the plan of one year, repeated.

Where nothing changes from period to period, systems that are worth their book value later cost the
same each year, so that the plan of one year is a best one, and the one that people would rather run
(`mix.search.simplest`, which a horizon has not). Where no system costs less in any period than in
that year, each period is the year's problem with more to keep (`bounds_it`): the year's bound then
holds for all of them, and the horizon need not be searched (`as_proven`). Elsewhere the year's plan
is taken if the horizon's own is no better by more than the tolerance (`repeated`).
"""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import numpy as np

from tokenfleet.errors import SolverError
from tokenfleet.mix.horizon.combine import combined
from tokenfleet.mix.horizon.part import Part
from tokenfleet.mix.horizon.solve import HorizonResult, solve_horizon
from tokenfleet.mix.model import Label
from tokenfleet.mix.model.columns import BY_ORDER
from tokenfleet.mix.model.stock import yearly_costs
from tokenfleet.mix.result import MixResult
from tokenfleet.mix.solve import NoPlanError
from tokenfleet.mix.solver.highs import PROVEN, SolveOptions, certify, relative_gap
from tokenfleet.problem_data import EVERY_BLOCK, Horizon, OfferData, Problem, pairs_used

_SAME = 1e-9  # relative: costs as near as this are one


def is_steady(horizon: Horizon) -> bool:
    """Whether every year is as the first, whatever future comes."""
    first = horizon.nodes[0].problem
    return all(_same(n.problem, first) for n in horizon.nodes)


def _same(one: Any, other: Any) -> bool:
    """Whether two rows, or two tables of them, have the same numbers."""
    if one is other:
        return True
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, tuple) and len(one) == len(other):
        return all(map(_same, one, other))
    if hasattr(one, "__dataclass_fields__"):
        return all(_same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    return bool(one == other)


def bounds_it(horizon: Horizon, year: Problem) -> bool:
    """Whether no plan costs less in any period of a steady horizon than its systems would cost in
    the year, and none has anything in a period that the year has not."""
    first = horizon.nodes[0].problem
    of_its_own = ("name", "candidates", "offers", "horizon")
    others = (f.name for f in fields(year) if f.name not in of_its_own)
    if not all(_same(getattr(year, name), getattr(first, name)) for name in others):
        return False
    if len(year.offers) != len(first.offers) or not all(node.firm for node in horizon.nodes):
        return False
    problem = combined("", horizon)
    return all(_costs_no_less(problem, o, in_year) for o, in_year in enumerate(year.offers))


def _costs_no_less(problem: Problem, o: int, in_year: OfferData) -> bool:
    """Whether a system under an offer costs as much in every period as in the year."""
    horizon, offer = problem.horizon, problem.offers[o]
    assert horizon is not None
    stock = offer.stock
    if stock is None:
        return _same(horizon.nodes[0].problem.offers[o], in_year)
    changed = {"stock": None, "annual_cost_items_usd": in_year.annual_cost_items_usd}
    if not _same(replace(horizon.nodes[0].problem.offers[o], **changed), in_year):  # type: ignore[arg-type]
        return False
    if stock.owned and (stock.market_usd or stock.removal_usd):
        return False  # what stood at the start is worth something, or costs something to be rid of
    by_order = BY_ORDER[stock.kind]
    items = offer.annual_cost_items_usd
    rest = math.fsum(usd for item, usd in items.items() if item not in by_order)
    least = rest + min((usd for _, usd in yearly_costs(problem, o, stock)), default=math.inf)
    stated = math.fsum(in_year.annual_cost_items_usd.values())
    return least >= stated - _SAME * abs(stated)


def as_proven(
    name: str, horizon: Horizon, year: MixResult, options: SolveOptions
) -> HorizonResult | None:
    """The year's plan in every period with the year's bound; None where that proves less than is
    asked for, or where the plan cannot be had from the start at what it costs in the year. Of a
    year that Ctrl-C ended whatever is proven will do."""
    is_bound = bounds_it(horizon, year.problem)
    if not (is_bound or year.interrupted):
        return None
    horizon = _with_loads(horizon, year)
    part = Part(pairs_used(year.values), -math.inf)
    try:
        again = solve_horizon(name, horizon, options, part=part, pinned=_everywhere(horizon, year))
    except SolverError:
        return None
    best, sign = _best(again, year), year.problem.objective.goal.sign
    bound = year.bound * _times(again, year) if is_bound else -math.inf * sign
    status = certify(best, bound, options.gap)
    if status not in PROVEN and not year.interrupted:
        return None
    simpler = None if year.best_value is None else best
    gap = relative_gap(best, bound)
    stopped = again.interrupted or year.interrupted
    known: dict[str, Any] = {"status": status, "bound": bound, "gap": gap, "interrupted": stopped}
    return replace(again, **known, best_value=simpler)


def _times(again: HorizonResult, year: MixResult) -> float:
    """What a year's value counts in that of the horizon: a ratio is the same."""
    return again.years if year.problem.objective.goal.per is None else 1.0


def _best(again: HorizonResult, year: MixResult) -> float:
    """What the best plan of the year is worth over the horizon, where a simpler one took its
    place."""
    return again.value + (year.best - year.value) * _times(again, year)


def _with_loads(horizon: Horizon, year: MixResult) -> Horizon:
    """The horizon with candidates as the year's re-check left them; those that the year's plan uses
    count, though others may be as good."""
    used = {c for _, c in pairs_used(year.values)}
    candidates = tuple(
        replace(candidate, plainer=candidate.plainer and c not in used)
        for c, candidate in enumerate(year.problem.candidates)
    )
    nodes = (replace(n, problem=replace(n.problem, candidates=candidates)) for n in horizon.nodes)
    return replace(horizon, nodes=tuple(nodes))


def repeated(
    result: HorizonResult, year: MixResult, options: SolveOptions, part: Part | None
) -> HorizonResult:
    """The year's plan in every period, if it is as good as what was found."""
    horizon = _with_loads(result.horizon, year)
    if part is not None:
        part = replace(part, pairs=part.pairs | pairs_used(year.values))
    pinned = _everywhere(horizon, year)
    try:
        name = result.problem.name
        again = solve_horizon(name, horizon, options, part=part, pinned=pinned)
    except NoPlanError:
        return result
    goal = result.problem.objective.goal
    tolerance = max(result.problem.objective.simplicity_tolerance, options.gap)
    worse = goal.sign * (again.value - result.value) / max(abs(result.value), 1e-12)
    best = goal.sign * (_best(again, year) - result.value) / max(abs(result.value), 1e-12)
    if min(worse, best) > tolerance:  # what the year gave up to be simpler is its own business
        return result
    known: dict[str, Any] = {
        "bound": result.bound,
        "status": result.status,
        "seconds": result.seconds,
        "prices": result.prices,
    }
    if worse <= 0:
        known["status"] = certify(again.value, result.bound, options.gap)
        return replace(again, **known, gap=relative_gap(again.value, result.bound))
    return replace(again, **known, gap=result.gap, best_value=result.value)


def _everywhere(horizon: Horizon, year: MixResult) -> dict[Label, float]:
    """The numbers of a year's plan under the labels of every node, 0 of what it has not."""
    found: dict[Label, float] = {}
    problem = year.problem
    blocks = sum(len(node.problem.blocks) for node in horizon.nodes)
    for u in range(len(horizon.nodes)):
        first = u * len(problem.blocks)
        for label, value in year.values.items():
            block, scope = getattr(label, "block", None), getattr(label, "scope", None)
            if block is not None:
                found[label._replace(block=first + block)] = value  # type: ignore[call-arg]
            elif scope == EVERY_BLOCK:
                found[label._replace(scope=1 + blocks + u)] = value  # type: ignore[call-arg]
            elif scope is not None:
                found[label._replace(scope=scope + first)] = value  # type: ignore[call-arg]
    return found
