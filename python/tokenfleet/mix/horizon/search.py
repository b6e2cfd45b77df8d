"""Search over a horizon: bound, a whole plan period by period, proof.

1. A fleet with few states is searched by them (`states`), which bounds it best.
2. Of another the relaxation is the bound. A small model goes to HiGHS whole. Of a large one a plan
   near the relaxation is sought first (`near`) and improved by site and period (`neighbours`), as
   is one that is known before (`first`). Where there is none it is made whole one period at
   a time (relax and fix): numbers of the period are whole, those before stand, those after may be
   fractions. That is a plan early, and starts the exact search, which has the rest of the time.
3. The numbers that are whole are fixed and the rest solved once more, so that a plan holds to the
   last digit and not to the solver's tolerance.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager

import pulp

from tokenfleet.mix.horizon.choice import search_states
from tokenfleet.mix.horizon.facts import Memory
from tokenfleet.mix.horizon.near import plan_near
from tokenfleet.mix.horizon.neighbours import improve, period_of
from tokenfleet.mix.horizon.states import states_of
from tokenfleet.mix.model import FleetModel
from tokenfleet.mix.search.bounds import bounded
from tokenfleet.mix.search.incumbent import Found, Incumbent, Watch, value_of
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.mix.solver.highs import Outcome, compiled, run, sign_of
from tokenfleet.problem_data import AtRisk, Held, NodeCost, Ordered, Placed, Tail

SMALL = 600  # whole numbers up to which the whole model is solved at once
FEW = 100  # whole numbers up to which states have nothing to add
_PERIODS_SHARE = 0.6  # of the time, for a first plan of a large model
_SAME = 1e-9  # relative: values as near as this are one
_ORDER = 1e-7  # of the price: what an order is weighed with among plans of equal cost
_KEPT_S = 5.0
_STOCK = (Ordered, Held, Placed, NodeCost, Tail, AtRisk)
_WAITED_FOR = 0.03  # gap of a period whose time was over before it had a good plan
_LONGER_S = 5.0
_NEAR_SHARE = 0.3  # of the time, for a plan near the relaxation of a large model, and
_NEAR_RUNS = 12  # times that of the relaxation at least: what else comes first is far worse
_AROUND_SHARE = 0.7  # of the time left, for improving the plan of a part by site and period
_AROUND_WHOLE = 0.2  # the same where the model is the whole, which is still to be bounded better
_ROUGH = 2e-3  # gap of one period at a time


def search_horizon(
    m: FleetModel,
    effort: Effort,
    start: Mapping[str, float] | None = None,
    *,
    watch: Watch | None = None,
    bound: float | None = None,
    memory: Memory | None = None,
) -> Found:
    """Solve the model with the objective that it has now, from the plan `start` if there is one;
    `watch(value, bound)` is told of what is found. With `bound`, which is that of the whole, the
    model holds only a part of the columns, and nothing that it proves of itself is claimed.
    `memory` has what is known of nodes by themselves."""
    known = -math.inf * sign_of(m.prob) if bound is None else bound
    best = Incumbent(m, effort.gap, known, bound is not None, watch)
    if start is not None:
        best.offer_plan(start)
    try:
        if not (best.partial or _is_over(effort, best)):
            _by_states(m, effort, best, memory)
        if not _is_over(effort, best):
            nothing = _from_relaxation(m, effort, best)
            if nothing is not None:
                return nothing
    except KeyboardInterrupt:
        if best.plan is None:
            raise
        best.interrupted = True
    try:
        for closer in (_exactly, _kept):
            plan = None if best.plan is None else closer(m, best.plan, effort)
            if plan is not None and _no_worse(value_of(m, plan), best.value):
                best.plan, best.value = plan, value_of(m, plan)
    except KeyboardInterrupt:  # the plan is one without it
        best.interrupted = True
    return best.found()


def _is_over(effort: Effort, best: Incumbent) -> bool:
    """Whether a plan is in hand that is good enough, or that the time leaves as it is."""
    return best.plan is not None and (best.done() or effort.left() <= 0)


def _from_relaxation(m: FleetModel, effort: Effort, best: Incumbent) -> Found | None:
    """The bound, and the steps from it to a plan; what is found where it has no solution."""
    begun, first = time.perf_counter(), effort.first()
    relaxed = run(m.prob, first.within(first.left()), mip=False)
    if not relaxed.has_incumbent:
        status, ray = relaxed.status, relaxed.ray
        return Found(status, math.nan, relaxed.bound, {}, relaxed.interrupted, ray)
    near_s = _NEAR_RUNS * (time.perf_counter() - begun) if effort.patient else 0.0
    if not best.partial:
        best.prove(relaxed.bound)
        best.row_duals = best.row_duals or relaxed.row_duals
    _near(m, relaxed, effort.part(_NEAR_SHARE, least_s=max(near_s, _LONGER_S)), best)
    _around(m, effort.part(_AROUND_SHARE if best.partial else _AROUND_WHOLE), best)
    _whole(m, effort, best)
    return None


def is_worth_states(m: FleetModel) -> bool:
    """Whether a model has so many whole numbers that its states tell more than it does."""
    return sum(compiled(m.prob).integral) > FEW


def _by_states(m: FleetModel, effort: Effort, best: Incumbent, memory: Memory | None) -> None:
    """The states of a small fleet, where it is worth it and where it has them."""
    if is_worth_states(m):
        states = states_of(m, memory)
        if states is not None:
            search_states(states, effort, best)


def _near(m: FleetModel, relaxed: Outcome, effort: Effort, best: Incumbent) -> None:
    """A first plan of a large model, near its relaxation."""
    if best.plan is None and _is_large(m, best):
        plan_near(m, relaxed, effort, best)


def _around(m: FleetModel, effort: Effort, best: Incumbent) -> None:
    """The plan of a large model improved by site and period."""
    if best.plan is not None and _is_large(m, best):
        improve(m, effort, best)


def _is_large(m: FleetModel, best: Incumbent) -> bool:
    """Whether a plan is sought near the relaxation first. A part is of a large fleet, which loses
    little by that."""
    return sum(compiled(m.prob).integral) > (FEW if best.partial else SMALL)


def _whole(m: FleetModel, effort: Effort, best: Incumbent) -> None:
    """The whole model, after a first plan made period by period where it is large."""
    if best.plan is None and sum(compiled(m.prob).integral) > SMALL:
        plan = _by_period(m, effort.part(_PERIODS_SHARE, least_s=5.0))
        if plan is not None:
            best.offer_plan(plan)
    if not best.done():
        patient = effort if best.plan is not None else effort.first()
        limit = patient.within(max(effort.left(), 1.0))
        told = best.hear if best.watch is not None else None
        outcome = run(m.prob, limit, start=best.plan, target=best.target(), watch=told)
        best.take(outcome, whole=True)
    if best.plan is None and not best.exhausted:
        first = effort.first()
        best.take(run(m.prob, first.within(first.left(), first_plan=True)), whole=True)


def _no_worse(value: float, other: float) -> bool:
    """Whether a value is no worse than another, but for rounding; all models here are minimised
    or their plans are as good as they were."""
    return value <= other + _SAME * max(1.0, abs(other))


def _kept(m: FleetModel, plan: Mapping[str, float], effort: Effort) -> dict[str, float] | None:
    """The same systems in every period with the fewest orders: where to sell and to buy again
    costs nothing, what is there stays."""
    free = [v for la, v in m.columns.items() if isinstance(la, _STOCK)]
    if m.prob.sense != pulp.LpMinimize or not free:
        return None
    names = {v.name for v in free}
    stated = m.prob.objective
    orders = [(v, _ORDER * _price(m, la)) for la, v in m.of(Ordered).items()]
    try:
        m.prob.setObjective(stated + pulp.LpAffineExpression(orders))
        with _fixed(m, {name: value for name, value in plan.items() if name not in names}):
            limit = effort.part(1.0, least_s=2.0)
            outcome = run(m.prob, limit.within(min(limit.left(), _KEPT_S), gap=0.0), start=plan)
    finally:
        m.prob.setObjective(stated)
    if not outcome.has_incumbent:
        return None
    found = {name: outcome.values[name] for name in names}
    whole = {v.name for v in free if v.cat == pulp.LpInteger}
    return {**plan, **found} | {name: float(round(found[name])) for name in whole}


def _price(m: FleetModel, label: Ordered) -> float:
    """What an order of one costs, to weigh orders by."""
    horizon = m.problem.horizon
    assert horizon is not None
    offer = horizon.nodes[label.node].problem.offers[label.offer]
    return horizon.nodes[label.node].probability * (
        offer.capex_usd + offer.annual_cost_items_usd.get("rental", 0.0) + 1.0
    )


def _exactly(m: FleetModel, plan: Mapping[str, float], effort: Effort) -> dict[str, float] | None:
    """The best numbers beside the whole ones of a plan."""
    whole = [i for i, is_whole in enumerate(compiled(m.prob).integral) if is_whole]
    names = compiled(m.prob).names
    with _fixed(m, {names[i]: float(round(plan.get(names[i], 0.0))) for i in whole}):
        patient = effort.first()
        outcome = run(m.prob, patient.within(patient.left()), mip=False)
    if not outcome.has_incumbent:
        return None
    return dict(outcome.values) | {names[i]: float(round(plan.get(names[i], 0.0))) for i in whole}


def _by_period(m: FleetModel, effort: Effort) -> dict[str, float] | None:
    """A whole plan, made so one period after another; None where one has none."""
    horizon, matrix = m.problem.horizon, compiled(m.prob)
    assert horizon is not None
    period = {column.name: period_of(m, label) for label, column in m.columns.items()}
    whole, decided = list(matrix.integral), dict[str, float]()
    left = len({period[n] for n, is_whole in zip(matrix.names, whole, strict=True) if is_whole})
    outcome: Outcome | None = None
    try:
        for t in range(horizon.periods):
            for i, name in enumerate(matrix.names):
                matrix.integral[i] = whole[i] and period[name] == t
            if not any(matrix.integral):
                continue
            part = effort.part(1.0 / max(left, 1), least_s=2.0)
            left -= 1
            rough = max(effort.gap, _ROUGH)
            with _fixed(m, decided):
                outcome = run(m.prob, part.within(part.left(), gap=rough))
                good = max(effort.gap, _WAITED_FOR)
                if not outcome.interrupted and not outcome.gap <= good:  # a poor start ruins it all
                    outcome = _waited_for(m, effort, outcome, good)
            if not outcome.has_incumbent or outcome.interrupted:
                return None
            for i, name in enumerate(matrix.names):
                if matrix.integral[i]:
                    decided[name] = float(round(outcome.values[name]))
    finally:
        matrix.integral[:] = whole
    return dict(outcome.values) if outcome is not None else None


def _waited_for(m: FleetModel, effort: Effort, outcome: Outcome, gap: float) -> Outcome:
    """A period's plan to a gap, from the poor one in hand; however long it takes where there is
    none, else for a little longer than there is time."""
    if outcome.has_incumbent:
        limit = effort.within(max(effort.left(), _LONGER_S), gap=gap)
        return run(m.prob, limit, start=outcome.values)
    patient = effort.first()
    return run(m.prob, patient.within(patient.left(), gap=gap))


def _fixed(m: FleetModel, values: Mapping[str, float]) -> AbstractContextManager[None]:
    """The model with some columns held at their numbers."""
    held = [(v, values[v.name]) for v in m.columns.values() if v.name in values]
    return bounded([(v, value, value) for v, value in held])
