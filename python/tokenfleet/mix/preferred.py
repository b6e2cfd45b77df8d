"""Of the plans that are as good, the one that people would rather run.

The nearest to what stands where that is asked for; else the simplest, and without what saves next
to nothing, such as pipeline stages.
"""

from __future__ import annotations

from dataclasses import replace

from tokenfleet.mix.model import FleetModel
from tokenfleet.mix.result import MixResult, bookings, clean_values
from tokenfleet.mix.search.incumbent import Found
from tokenfleet.mix.search.nearest import Standing, nearest
from tokenfleet.mix.search.simplest import (
    Bar,
    Simpler,
    can_be_simpler,
    may_be_as_good,
    simplest,
)
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.mix.why.without import (
    Without,
    best_without,
    is_searched,
    odd_workloads,
    types_and_sites,
)
from tokenfleet.problem_data import KEPT

_LEAST_S = 1.0  # for a search that begins late
_SIMPLER_SHARE = 0.5  # of the time left, for a simpler plan that is as good
_PLAIN_SHARE = 0.3  # of the time left, for the best plan that lacks something
_PLAIN_GAP = 0.0005  # of it
_MOST_GIVEN_UP = 0.005  # for it, of the best value, however wide the wanted gap is


def preferred(
    m: FleetModel, result: MixResult, found: Found, effort: Effort, near: Standing | None
) -> MixResult:
    """Of the plans that are as good, the one nearest to what stands, or else the simplest."""
    return _simpler(m, result, found, effort) if near is None else _nearer(m, result, effort, near)


def _nearer(m: FleetModel, result: MixResult, effort: Effort, near: Standing) -> MixResult:
    """The result, or a plan within the tolerance that is nearer to what stands."""
    goal, best = m.problem.objective.goal, result.best
    cap = goal.sign * max(
        goal.sign * result.value, goal.sign * best + max(near.tolerance, effort.gap) * abs(best)
    )
    bar = Bar(best / goal.per_amount, cap / goal.per_amount, result.values)
    closer = nearest(m, result.values, bar, near, effort.part(_SIMPLER_SHARE, least_s=_LEAST_S))
    if closer is None:
        return result
    found = _instead(result, closer, best)
    return replace(found, warnings=(*found.warnings, KEPT))


def _simpler(m: FleetModel, result: MixResult, found: Found, effort: Effort) -> MixResult:
    """The result, or a simpler plan that is as good within the tolerance of the objective.

    The search for it starts from the best plan of one system type where that is as good.
    """
    tolerance, goal = m.problem.objective.simplicity_tolerance, m.problem.objective.goal
    if tolerance <= 0 or m.problem.horizon is not None:
        return result
    tolerance = max(tolerance, min(effort.gap, _MOST_GIVEN_UP))
    best = result.best
    cap = goal.sign * max(goal.sign * result.value, goal.sign * best + tolerance * abs(best))
    single = result.best_single
    if not can_be_simpler(m.problem, result.values):
        return result
    start, pairs = result.values, may_be_as_good(m, found, cap / goal.per_amount)
    if single is not None and goal.sign * single.value <= goal.sign * cap:
        start = single.values
    bar = Bar(best / goal.per_amount, cap / goal.per_amount, start)
    within = effort.part(_SIMPLER_SHARE, least_s=_LEAST_S)
    simple = simplest(m, result.values, pairs, bar, within)
    return result if simple is None else _instead(result, simple, best)


def plain(m: FleetModel, result: MixResult, effort: Effort, *, change: bool) -> MixResult:
    """The result without the oddities that save next to nothing, and a bound for the plans without
    each of the others; with no `change` the bounds alone."""
    if not is_searched(m):
        return result
    given_up: set[str] = set()
    paying: list[Without] = []
    unit = m.problem.objective.goal.per_amount
    for what in odd_workloads(m.problem, result.values):
        names = odd_workloads(m.problem, result.values).get(what)
        if names is None:  # went with another
            continue
        part = effort.part(_PLAIN_SHARE, least_s=_LEAST_S).impatient()
        part = part.with_gap(max(effort.gap, _PLAIN_GAP))
        found = best_without(m, (*given_up, what), part, result.bound / unit)
        plainer = _plainer(result, found, effort) if change and found is not None else None
        if plainer is not None:
            result = plainer
            given_up.add(what)
            continue
        bound = found[1].bound if found is not None and found[1].status != "infeasible" else None
        paying.append(Without(what, tuple(names), None if bound is None else bound * unit))
    return replace(result, without=tuple(paying))


def _plainer(
    result: MixResult, found: tuple[FleetModel, Found], effort: Effort
) -> MixResult | None:
    """A plan without some oddity where the other is next to nothing better, and it has no more
    system types or sites; as simple as it can be."""
    m, plan = found
    goal, best = m.problem.objective.goal, result.best
    value = plan.value * goal.per_amount
    worst = goal.sign * best + _MOST_GIVEN_UP * abs(best)
    if not plan.values or goal.sign * value > worst:
        return None
    values = {la: plan.values[v.name] for la, v in m.columns.items() if plan.values[v.name]}
    bare = _instead(result, Simpler(m, values, plan.value), best)
    single = bare.best_single  # may have what this plan lacks
    bare = _simpler(m, replace(bare, best_single=None), plan, effort)
    before, after = (types_and_sites(m.problem, r.values) for r in (result, bare))
    more = any(b > a for a, b in zip(before, after, strict=True))
    return None if more else replace(bare, best_single=single)


def _instead(result: MixResult, simple: Simpler, best: float) -> MixResult:
    """The result with another plan, that is as good as the best within a tolerance."""
    named = {simple.m.columns[label].name: v for label, v in simple.values.items()}
    values = clean_values(simple.m, named)
    return replace(
        result,
        value=simple.value * simple.m.problem.objective.goal.per_amount,
        best_value=best,
        values=values,
        bookings=bookings(simple.m, values),
    )
