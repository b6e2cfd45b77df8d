"""Least cost per token: a ratio of two linear functions, solved exactly (Dinkelbach 1967).

Let C be the yearly cost (contracted power included) and T > 0 the tokens delivered. With
F(r) = min C - r T over all plans, the least ratio rho is the root of F: F(r) < 0 exactly when
some plan costs less than r per token.

1. Dinkelbach on the linear relaxation gives r0 with F(r0) >= 0, a bound on rho.
2. A plan P with ratio rho(P) is improved by solving F at r = rho(P) (1 - gap). A negative value is
   a cheaper plan, and the loop goes on with it. A dual bound >= 0 proves that no plan is below r,
   and only then is r claimed as a bound. HiGHS may stop as soon as the sign is known, which is a
   relative gap of 1.
3. Among the plans within `ratio_tolerance` of the least ratio, the one with most tokens is chosen:
   max T subject to C <= rho (1 + tolerance) T.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pulp

from tokenfleet.errors import SolverError
from tokenfleet.mix.model import FleetModel
from tokenfleet.mix.model.index import Ratio
from tokenfleet.mix.model.objectives import (
    Coefficients,
    cost_coefficients,
    cost_minus_tokens,
    set_objective,
    token_coefficients,
)
from tokenfleet.mix.search.incumbent import Found
from tokenfleet.mix.search.stages import search
from tokenfleet.mix.solver.effort import Deadline
from tokenfleet.mix.solver.highs import OPTIMAL_GAP, SolveOptions, certify, run

MAX_STEPS = 40
_SIGN_KNOWN = 0.999


@dataclass(frozen=True)
class _Ratio:
    """Cost and tokens of a plan, by column name."""

    cost: Mapping[str, float]
    constant: float
    tokens: Mapping[str, float]

    def cost_of(self, plan: Mapping[str, float]) -> float:
        return self.constant + sum(a * plan.get(name, 0.0) for name, a in self.cost.items())

    def tokens_of(self, plan: Mapping[str, float]) -> float:
        return sum(a * plan.get(name, 0.0) for name, a in self.tokens.items())

    def of(self, plan: Mapping[str, float]) -> float:
        tokens = self.tokens_of(plan)
        return self.cost_of(plan) / tokens if tokens > 0 else math.inf


def search_ratio(m: FleetModel, options: SolveOptions, deadline: Deadline) -> Found:
    """The plan of least cost per token ($ per token) and a proven bound."""
    ratio = _ratio_of(m)
    bound, relaxed = _relaxed_ratio(m, ratio, options)
    if relaxed.status in ("infeasible", "unbounded", "error"):
        return relaxed
    wanted = max(options.gap, OPTIMAL_GAP / 2)
    first = _first_plan(m, ratio, bound, replace(options, gap=wanted), deadline)
    if not first.values:
        return first
    plan, interrupted = dict(first.values), first.interrupted
    if ratio.tokens_of(plan) <= 0:
        raise _no_token()
    for _ in range(MAX_STEPS):
        best = ratio.of(plan)
        if interrupted or deadline.left() <= 0 or best * (1.0 - wanted) <= bound:
            break
        step = best * (1.0 - wanted)
        found = _try_below(m, step, plan, options, deadline)
        interrupted |= found.interrupted
        if ratio.of(found.values) < best:
            plan = dict(found.values)
        if found.bound >= 0:
            bound = max(bound, step)
        elif ratio.of(plan) >= best:
            break
    least = ratio.of(plan)
    if not interrupted:
        plan = _most_tokens(m, ratio, plan, options, deadline)
    value = ratio.of(plan)
    least = min(least, value)
    bound = min(bound, least)
    status = certify(least, bound, options.gap)
    return Found(status, value, bound, plan, interrupted, best_value=least)


def least_relaxed_ratio(m: FleetModel, options: SolveOptions) -> float | None:
    """Bound on the cost per token of every plan, from the relaxation; None when there is none."""
    try:
        bound, found = _relaxed_ratio(m, _ratio_of(m), options)
    except SolverError:  # nothing can be delivered
        return None
    return bound if found.values else None


def _no_token() -> SolverError:
    return SolverError("no token can be delivered under these limits", "raise the limits")


def _ratio_of(m: FleetModel) -> _Ratio:
    return _Ratio(
        _by_name(m, cost_coefficients(m)),
        m.constant_usd,
        _by_name(m, token_coefficients(m, m.problem.objective.denominator)),
    )


def _by_name(m: FleetModel, coefficients: Coefficients) -> dict[str, float]:
    return {m.columns[label].name: a for label, a in coefficients.items() if a}


def _relaxed_ratio(m: FleetModel, ratio: _Ratio, options: SolveOptions) -> tuple[float, Found]:
    """Root of F on the relaxation, from above; the start is the relaxation's largest volume."""
    set_objective(m, token_coefficients(m, m.problem.objective.denominator), maximise=True)
    outcome = run(m.prob, options, mip=False)
    if not outcome.has_incumbent:
        return -math.inf, Found(outcome.status, math.nan, math.nan, {}, False, outcome.ray)
    if outcome.value <= 0:
        raise _no_token()
    current = ratio.of(outcome.values)
    for _ in range(MAX_STEPS):
        cost_minus_tokens(m, current)
        outcome = run(m.prob, options, mip=False)
        better = ratio.of(outcome.values) if outcome.has_incumbent else math.inf
        if better >= current * (1.0 - 1e-9):
            break
        current = better
    return current * (1.0 - 1e-8), Found("optimal", current, current, outcome.values)


def _first_plan(
    m: FleetModel, ratio: _Ratio, bound: float, options: SolveOptions, deadline: Deadline
) -> Found:
    """A whole plan near the relaxation's ratio; else the largest whole plan.

    At the bound a plan that delivers nothing may be best, where demand may be zero or go unserved.
    """
    cost_minus_tokens(m, bound)
    found = search(m, options, deadline.part(0.25))
    if found.values and ratio.tokens_of(found.values) <= 0:
        set_objective(m, token_coefficients(m, m.problem.objective.denominator), maximise=True)
        found = search(m, options, deadline.part(0.5))
    return found


def _try_below(
    m: FleetModel,
    step: float,
    plan: Mapping[str, float],
    options: SolveOptions,
    deadline: Deadline,
) -> Found:
    """Look for a plan below `step` $ per token, or prove that there is none."""
    cost_minus_tokens(m, step)
    sign = replace(options, gap=_SIGN_KNOWN, time_limit_s=max(deadline.left() * 0.6, 0.5))
    outcome = run(m.prob, sign, start=plan)
    return Found(
        outcome.status, outcome.value, outcome.bound, outcome.values or plan, outcome.interrupted
    )


def _most_tokens(
    m: FleetModel,
    ratio: _Ratio,
    plan: dict[str, float],
    options: SolveOptions,
    deadline: Deadline,
) -> dict[str, float]:
    """The plan with most tokens whose ratio is within the tolerance of the best one's."""
    tolerance = m.problem.objective.ratio_tolerance
    if tolerance <= 0 or not any(w.free for w in m.problem.workloads):
        return plan
    cap = ratio.of(plan) * (1.0 + tolerance)
    weights = {name: a - cap * ratio.tokens.get(name, 0.0) for name, a in ratio.cost.items()}
    weights |= {name: -cap * a for name, a in ratio.tokens.items() if name not in weights}
    by_name = {v.name: v for v in m.columns.values()}
    pairs = [(by_name[name], a) for name, a in weights.items()]
    m.row(Ratio(), pairs, pulp.LpConstraintLE, -ratio.constant)
    set_objective(m, token_coefficients(m, m.problem.objective.denominator), maximise=True)
    found = search(m, options, Deadline(max(deadline.left(), 1.0)), start=plan)
    better = found.values and ratio.tokens_of(found.values) > ratio.tokens_of(plan)
    return dict(found.values) if better else plan
