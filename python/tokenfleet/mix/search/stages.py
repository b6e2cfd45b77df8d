"""One objective, one model: bound, good plan, proof.

1. The linear relaxation gives a bound and the columns worth having. A small model then goes to
   HiGHS whole, which finds cuts and plans of its own.
2. A large one is tightened by cuts first (`relaxation`): HiGHS will hardly see it whole.
3. Rounding the relaxation up (`rounding`) gives a plan, which is improved two sites at a time
   (`neighbourhood`). The model is then solved over the candidates the relaxation uses, and over
   those whose reduced cost is small against the price of their systems, each stage starting from
   the last plan; all that a better plan may use, by reduced costs (`fixing`) and by probing, comes
   last, for whatever time is left or as soon as it is small.
4. Bound = the better of the relaxation's and that of the whole model. Restricted stages prove
   nothing and their bounds are not used. The search stops as soon as value and bound are within
   the gap.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import pulp

from tokenfleet.mix.model import FleetModel
from tokenfleet.mix.search.bounds import bounded
from tokenfleet.mix.search.fixing import may_improve
from tokenfleet.mix.search.incumbent import Found, Incumbent
from tokenfleet.mix.search.neighbourhood import improve
from tokenfleet.mix.search.relaxation import probe, tighten
from tokenfleet.mix.search.rounding import round_up
from tokenfleet.mix.solver.effort import Deadline
from tokenfleet.mix.solver.highs import Outcome, SolveOptions, run
from tokenfleet.problem_data import Flow, Replicas, Systems

SMALL = 400  # integer columns up to which the whole model is solved at once
_EFFORT = 0.3  # restricted stages look for plans; their bounds are not used
# (reduced cost / price of the systems, share of the time left)
_STAGES = ((0.0, 0.4), (0.002, 0.8))
_SITES_SHARE = 0.6  # of the time left, for improving the rounded plan a few sites at a time
_ROUGH = 5e-4  # gap at which the first stage, whose bound is not used, has a good plan
_ROOTS = 10.0  # times the relaxation's time, below which the whole model has nothing to add


def search(
    m: FleetModel,
    options: SolveOptions,
    deadline: Deadline,
    start: Mapping[str, float] | None = None,
    bound: float | None = None,
) -> Found:
    """Solve the model with the objective it has now.

    With `bound` the model holds only a part of the columns: the bound is that of the whole, and
    nothing that the part proves about itself is claimed.
    """
    begun = time.perf_counter()
    relaxed = run(m.prob, _within(options, deadline.left()), mip=False)
    seconds = time.perf_counter() - begun
    if not relaxed.has_incumbent:
        return Found(relaxed.status, math.nan, relaxed.bound, {}, relaxed.interrupted, relaxed.ray)
    partial = bound is not None
    large = _integers(m) > SMALL
    if large and not partial and tighten(m, options, deadline, seconds):
        relaxed = run(m.prob, _within(options, deadline.left()), mip=False)
    best = Incumbent(
        m, options.gap, relaxed.bound if bound is None else bound, _ROOTS * seconds, partial
    )
    if start is not None:
        best.offer_plan(start)
    try:
        solve = _in_stages if large else _at_once
        solve(m, options, deadline, relaxed, best)
    except KeyboardInterrupt:
        if best.plan is None:
            raise
        best.interrupted = True
    return best.found()


def first_plan(m: FleetModel, options: SolveOptions, deadline: Deadline, bound: float) -> Found:
    """The relaxation rounded up and nothing more, for a search that was stopped."""
    relaxed = run(m.prob, _within(options, deadline.left()), mip=False)
    best = Incumbent(m, options.gap, bound, 0.0, partial=True)
    if relaxed.has_incumbent:
        _round(m, options, deadline, relaxed, best)
    best.interrupted = True
    return best.found()


def _at_once(
    m: FleetModel,
    options: SolveOptions,
    deadline: Deadline,
    relaxed: Outcome,
    best: Incumbent,
) -> None:
    """The whole model, but for what no plan better than the start may use."""
    if not best.done():
        _solve_among(m, options, deadline, _may_improve(m, relaxed, best), best)


def _in_stages(
    m: FleetModel,
    options: SolveOptions,
    deadline: Deadline,
    relaxed: Outcome,
    best: Incumbent,
) -> None:
    """Restricted stages, then all that a better plan may use if that can still help."""
    _restricted_stages(m, options, deadline, relaxed, best)
    hopeless = best.plan is not None and deadline.left() < best.whole_s
    if best.done() or hopeless:
        return
    worth = _may_improve(m, relaxed, best)
    if best.plan is not None and not best.partial:
        with only(m, worth):
            worth = probe(m, options, deadline, worth, best.value)
    _solve_among(m, options, deadline, worth, best)


def _solve_among(
    m: FleetModel,
    options: SolveOptions,
    deadline: Deadline,
    worth: set[tuple[int, int]],
    best: Incumbent,
) -> None:
    limit = _within(options, max(deadline.left(), 1.0))
    with only(m, worth):
        best.take(run(m.prob, limit, start=best.plan, target=best.target()), whole=True)


def _may_improve(m: FleetModel, relaxed: Outcome, best: Incumbent) -> set[tuple[int, int]]:
    """(pool, candidate) that a better plan may use; leaving the others out proves as much."""
    if best.plan is None:
        return {(p, c) for p, candidates in m.eligible.items() for c in candidates}
    return may_improve(m, relaxed, best.value)


def _restricted_stages(
    m: FleetModel,
    options: SolveOptions,
    deadline: Deadline,
    relaxed: Outcome,
    best: Incumbent,
) -> None:
    """Stages over few candidates; they take all the time that cannot help the whole model."""
    _round(m, options, deadline, relaxed, best)
    with only(m, attractive(m, relaxed, _STAGES[-1][0])):
        improve(m, options, deadline.part(_SITES_SHARE), best)
    for reduced, share in _STAGES[1:] if best.partial else _STAGES:
        if best.done() or (best.plan is not None and _few_left(m, relaxed, best)):
            return
        left = deadline.left()
        last = reduced == _STAGES[-1][0] and left * (1.0 - share) < best.whole_s
        limit = _within(options, left if last else left * share)
        gap = options.gap / 4 if reduced else max(options.gap, _ROUGH)
        limit = replace(limit, gap=gap, heuristic_effort=_EFFORT)
        with only(m, attractive(m, relaxed, reduced)):
            best.take(run(m.prob, limit, start=best.plan, target=best.target()), whole=False)


def _round(
    m: FleetModel, options: SolveOptions, deadline: Deadline, relaxed: Outcome, best: Incumbent
) -> None:
    with only(m, attractive(m, relaxed, _STAGES[-1][0])):
        rounded = round_up(m, relaxed, options, deadline)
    if rounded is not None:
        best.offer_plan(rounded)


def _few_left(m: FleetModel, relaxed: Outcome, best: Incumbent) -> bool:
    with only(m, _may_improve(m, relaxed, best)):
        return _integers(m) <= SMALL


def _within(options: SolveOptions, seconds: float) -> SolveOptions:
    return replace(options, time_limit_s=max(seconds, 0.05))


def _integers(m: FleetModel) -> int:
    return sum(v.cat == pulp.LpInteger and v.upBound != 0 for v in m.columns.values())


def attractive(m: FleetModel, relaxed: Outcome, reduced: float) -> set[tuple[int, int]]:
    """(pool, candidate) the relaxation uses, or whose reduced cost is small.

    The reduced cost of a replica is that of n plus the least, over its classes, of that of f
    divided by the load; it is compared with `reduced` times the price of the accelerators used.
    """
    worth = dict.fromkeys(_used(m, relaxed), -math.inf)
    if reduced > 0:
        price = _replica_prices(m)
        for (p, c), extra in _reduced_costs(m, relaxed).items():
            if extra <= reduced * price[p] * m.problem.candidates[c].gpus:
                worth.setdefault((p, c), extra)
    return set(worth)


def _used(m: FleetModel, relaxed: Outcome) -> set[tuple[int, int]]:
    return {
        (label.pool, label.candidate) for label, v in m.of_pairs() if relaxed.values[v.name] > 1e-9
    }


def _reduced_costs(m: FleetModel, relaxed: Outcome) -> dict[tuple[int, int], float]:
    extra: dict[Replicas, float] = {}
    for flow, v in m.of(Flow).items():
        replica = m.replicas_of(flow)
        load = float(m.problem.candidates[flow.candidate].load[flow.cls])
        cost = max(relaxed.reduced_costs[v.name], 0.0) / load
        extra[replica] = min(extra.get(replica, math.inf), cost)
    least: dict[tuple[int, int], float] = {}
    for label, cost in extra.items():
        total = cost + max(relaxed.reduced_costs[m.columns[label].name], 0.0)
        pair = (label.pool, label.candidate)
        least[pair] = min(least.get(pair, math.inf), total)
    return least


def _replica_prices(m: FleetModel) -> list[float]:
    """Least objective weight of one accelerator of each pool, in absolute value."""
    weight = {v.name: abs(a) for v, a in m.prob.objective.items()}
    prices = [0.0] * len(m.problem.pools)
    for label, v in m.of(Systems).items():
        p = m.problem.offers[label.offer].pool
        price = weight.get(v.name, 0.0) / m.problem.pools[p].gpus_per_system
        prices[p] = max(prices[p], price)
    return prices


@contextmanager
def only(m: FleetModel, kept: set[tuple[int, int]]) -> Iterator[None]:
    """Close every replica, flow and system outside `kept` (pool, candidate) for a while."""
    pools = {p for p, _ in kept}
    outside = [v for la, v in m.of_pairs() if (la.pool, la.candidate) not in kept]
    offers = m.problem.offers
    unused = [v for label, v in m.of(Systems).items() if offers[label.offer].pool not in pools]
    with bounded([(v, v.lowBound, 0.0) for v in outside + unused]):
        yield
