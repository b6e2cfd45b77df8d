"""What other means say of the bound of a horizon."""

from __future__ import annotations

import math
from dataclasses import replace

from tokenfleet.mix.horizon.combine import combined
from tokenfleet.mix.horizon.part import Part, at_chances, bound_by
from tokenfleet.mix.horizon.risk import Risk
from tokenfleet.mix.horizon.solve import HorizonResult
from tokenfleet.mix.solver.highs import PROVEN, certify, relative_gap
from tokenfleet.problem import Built
from tokenfleet.problem_data import BoundCheck, Horizon, Problem, pairs_used
from tokenfleet.verify.bound import Checked
from tokenfleet.verify.horizon_bound import (
    best_horizon_bound,
    check_horizon_bound,
    confirm_horizon_bound,
)
from tokenfleet.verify.horizon_ratio import best_horizon_ratio, confirm_horizon_ratio


def checked_part(part: Part | None, built: Built, tree: Horizon) -> Checked | None:
    """The bound on the mean cost of a large horizon, by other means; None where it has none. Where
    nothing is claimed, the best that the part's prices give."""
    if part is None or not (part.asks or math.isfinite(part.bound)):
        return None
    problem = combined(built.problem.name, tree)
    claimed = math.inf if part.asks else part.bound
    return check_horizon_bound(problem, part.prices, claimed, part.pairs)


def confirmed(
    result: HorizonResult, risk: Risk, gap: float, seconds: float
) -> tuple[HorizonResult, BoundCheck]:
    """A result that was searched whole, with the bound that other means confirm where that proves
    it still; else as it is, with `none`.

    A tail, or the largest regret, is bounded by the mean cost at the probabilities by which futures
    count in it.
    """
    goal = result.problem.objective.goal
    is_understood = goal.is_cost and not goal.most
    if result.status not in PROVEN or result.interrupted or not is_understood:
        return result, "none"
    least = result.best - gap * abs(result.best)
    problem, off = _by_mean(result, risk)
    prices, values, claimed = result.prices, result.values, result.bound + off
    try:
        if goal.per is None:
            checked = confirm_horizon_bound(
                problem, prices, claimed, values, least=least + off, seconds=seconds
            )
        else:
            pairs = pairs_used(values)
            checked = confirm_horizon_ratio(
                problem, prices, claimed, pairs, least=least, seconds=seconds
            )
    except KeyboardInterrupt:  # ends the check, and the plan stands
        return replace(result, interrupted=True), "none"
    bound = checked.bound - off
    status = certify(result.best, bound, gap)
    if checked.how == "none" or status not in PROVEN:
        return result, "none"
    confirmed = replace(result, bound=bound, status=status, gap=relative_gap(result.best, bound))
    return confirmed, checked.how


def bounded(
    result: HorizonResult,
    risk: Risk,
    gap: float,
    seconds: float,
    within: frozenset[tuple[int, int]] | None = None,
) -> tuple[HorizonResult, Checked]:
    """A result over some pairs, of which nothing is proven, with the best bound over all pairs that
    its own prices give; and the check, with what years want at these prices. It ends at relaxed
    years where these want other pairs than those `within`."""
    if result.interrupted:
        return result, Checked(-math.inf, "none")
    problem, off = _by_mean(result, risk)
    goal, prices, values = problem.objective.goal, result.prices, result.values
    try:
        if goal.per is None:
            checked = best_horizon_bound(problem, prices, values, seconds=seconds, within=within)
        else:
            best, pairs = result.best, pairs_used(values)
            checked = best_horizon_ratio(
                problem, prices, pairs, value=best, gap=gap, seconds=seconds
            )
    except KeyboardInterrupt:
        return replace(result, interrupted=True), Checked(-math.inf, "none")
    if checked.how == "none":
        return result, checked
    bound = goal.sign * min(checked.bound - off, goal.sign * result.best)
    status = certify(result.best, bound, gap)
    known = replace(result, bound=bound, status=status, gap=relative_gap(result.best, bound))
    return known, checked


def _by_mean(result: HorizonResult, risk: Risk) -> tuple[Problem, float]:
    """The problem whose mean cost bounds a result, and what to add to its objective for that."""
    if not risk.counts_the_bad:
        return result.problem, 0.0
    tree = at_chances(result.horizon, risk, result.futures)
    return combined(result.problem.name, tree), -bound_by(risk, 0.0, tree)
