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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import pulp

from tokenfleet.errors import InfeasibleError, SolverError
from tokenfleet.mix.model import FleetModel
from tokenfleet.mix.model.index import Ratio
from tokenfleet.mix.model.objectives import (
    Coefficients,
    cost_coefficients,
    cost_minus_tokens,
    set_goal,
    set_objective,
    token_coefficients,
)
from tokenfleet.mix.search.incumbent import Found, Watch
from tokenfleet.mix.search.stages import search
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.mix.solver.highs import OPTIMAL_GAP, Outcome, SolveOptions, certify, run

MAX_STEPS = 40
_SIGN_KNOWN = 0.999
_ZERO = 1e-10  # of a plan's cost: a least value that is no further below zero is zero
_NOISE = 1e-7  # of the most tokens: a rate that whole numbers of 0 let through is none


@dataclass(frozen=True)
class _Ratio:
    """Cost and tokens of a plan, by column name."""

    cost: Mapping[str, float]
    constant: float
    tokens: Mapping[str, float]
    least: float = 0.0  # tokens, no more of which are the solver's rounding

    def cost_of(self, plan: Mapping[str, float]) -> float:
        return self.constant + sum(a * plan.get(name, 0.0) for name, a in self.cost.items())

    def tokens_of(self, plan: Mapping[str, float]) -> float:
        return sum(a * plan.get(name, 0.0) for name, a in self.tokens.items())

    def of(self, plan: Mapping[str, float]) -> float:
        tokens = self.tokens_of(plan)
        return self.cost_of(plan) / tokens if tokens > self.least else math.inf


#: Solves a model with the objective that it has, from a plan in hand.
Searching = Callable[[FleetModel, Effort, Mapping[str, float] | None], Found]


def search_goal(
    m: FleetModel,
    effort: Effort,
    start: Mapping[str, float] | None = None,
    *,
    watch: Watch | None = None,
    known: float | None = None,
) -> Found:
    """The best plan under the problem's goal, whichever it is; a ratio takes no start and no bound
    that is `known`, and tells nobody on the way.

    Raises:
        NoTokenError: of a ratio, where nothing can be delivered.
    """
    if m.problem.objective.goal.per is not None:
        return search_ratio(m, effort)
    set_goal(m)
    return search(m, effort, start, watch=watch, known=known)


def search_ratio(m: FleetModel, effort: Effort, by: Searching | None = None) -> Found:
    """The plan of least cost per token ($ per token) and a proven bound; `by` is how to solve each
    step where the model is not one of a year."""
    return RatioSearch(m, effort, by).solve()


def least_relaxed_ratio(m: FleetModel, options: SolveOptions) -> float | None:
    """Bound on the cost per token of every plan, from the relaxation; None when there is none."""
    found = RatioSearch(m, Effort.of(options))
    try:
        return found.bound if found.relax(found.effort) and math.isfinite(found.bound) else None
    except NoTokenError:
        return None


class RatioSearch:
    """One model and its ratio: the plan in hand, what is proven, and the steps of the search.

    `relaxed` is the relaxation that has the bound, with its duals: the root of F on it.
    """

    relaxed: Outcome

    def __init__(self, m: FleetModel, effort: Effort, by: Searching | None = None) -> None:
        self.m = m
        self.by = by
        self.effort = effort
        self.wanted = max(effort.gap, OPTIMAL_GAP / 2)
        self.ratio = _ratio_of(m)
        self.bound = -math.inf
        self.plan: dict[str, float] = {}
        self.row_duals: Mapping[str, float] = {}  # of the relaxation at its root
        self.interrupted = False

    def solve(self) -> Found:
        """All steps; the plan of least ratio, or as near as was wanted with most tokens."""
        if not self.relax(self.effort.first()):
            relaxed = self.relaxed
            return Found(relaxed.status, math.nan, math.nan, {}, False, relaxed.ray)
        first = self.first()
        if not first.values:
            return first
        least = self.ratio.of(self.plan)
        try:
            self.below()
            least = self.ratio.of(self.plan)
            if not self.interrupted:
                self.most_tokens()
        except KeyboardInterrupt:
            self.interrupted = True
        value = self.ratio.of(self.plan)
        least = min(least, value)
        bound = min(self.bound, least)
        status = certify(least, bound, self.effort.gap)
        return Found(
            status,
            value,
            bound,
            self.plan,
            self.interrupted,
            best_value=least,
            relaxed=self.relaxed,
            row_duals=self.row_duals,
        )

    def relax(self, effort: Effort) -> bool:
        """Root of F on the relaxation, from above; whether the relaxation has a solution.

        The start is the relaxation's largest volume.

        Raises:
            SolverError: no token can be delivered.
        """
        self._aim_at_tokens()
        self.relaxed = run(self.m.prob, effort.within(effort.left()), mip=False)
        if not self.relaxed.has_incumbent:
            return False
        if self.relaxed.value <= 0:
            raise _no_token()
        self.ratio = replace(self.ratio, least=_NOISE * self.relaxed.value)
        least = self.ratio.of(self.relaxed.values)
        for _ in range(MAX_STEPS):
            cost_minus_tokens(self.m, least)
            outcome = run(self.m.prob, effort.within(effort.left()), mip=False)
            if not outcome.has_incumbent:  # out of time: nothing is proven
                break
            better = self.ratio.of(outcome.values)
            if better >= least * (1.0 - 1e-9):
                self.bound, self.row_duals = least * (1.0 - 1e-8), outcome.row_duals
                break
            self.relaxed, least = outcome, better
        return True

    def first(self) -> Found:
        """A whole plan near the relaxation's ratio; else the largest whole plan.

        At the bound a plan that delivers nothing may be best, where demand may be zero or go
        unserved.

        Raises:
            SolverError: no token can be delivered in whole systems.
        """
        effort, least = self.effort.with_gap(self.wanted), self.ratio.of(self.relaxed.values)
        cost_minus_tokens(self.m, self.bound if math.isfinite(self.bound) else least)
        found = self._search(effort.part(0.25))
        if found.values and math.isinf(self.ratio.of(found.values)):
            self._aim_at_tokens()
            found = self._search(effort.part(0.5))
        self.plan, self.interrupted = dict(found.values), found.interrupted
        if found.values and math.isinf(self.ratio.of(self.plan)):
            raise _no_token()
        return found

    def below(self) -> None:
        """Cheaper plans, or proofs that there is none, until plan and bound are near enough."""
        for _ in range(MAX_STEPS):
            best = self.ratio.of(self.plan)
            step = best * (1.0 - self.wanted)
            if self.interrupted or self.effort.left() <= 0 or step <= self.bound:
                return
            outcome = self._try_below(step)
            self.interrupted |= outcome.interrupted
            if outcome.values and self.ratio.of(outcome.values) < best:
                self.plan = dict(outcome.values)
            if outcome.bound >= -_ZERO * abs(self.ratio.cost_of(self.plan)):
                self.bound = max(self.bound, step)
            elif self.ratio.of(self.plan) >= best:
                return

    def _search(self, effort: Effort, start: Mapping[str, float] | None = None) -> Found:
        return (self.by or search)(self.m, effort, start)

    def _try_below(self, step: float) -> Outcome | Found:
        """Look for a plan below `step` $ per token, or prove that there is none."""
        cost_minus_tokens(self.m, step)
        if self.by is not None:
            effort = self.effort.part(0.6, least_s=0.5).with_gap(_SIGN_KNOWN)
            return self.by(self.m, effort, self.plan)
        sign = self.effort.within(max(self.effort.left() * 0.6, 0.5), gap=_SIGN_KNOWN)
        return run(self.m.prob, sign, start=self.plan)

    def most_tokens(self) -> None:
        """The plan with most tokens whose ratio is within the tolerance of the best one's."""
        tolerance = self.m.problem.objective.ratio_tolerance
        if tolerance <= 0 or not any(w.free for w in self.m.problem.workloads):
            return
        ratio, cap = self.ratio, self.ratio.of(self.plan) * (1.0 + tolerance)
        weights = {name: a - cap * ratio.tokens.get(name, 0.0) for name, a in ratio.cost.items()}
        weights |= {name: -cap * a for name, a in ratio.tokens.items() if name not in weights}
        by_name = {v.name: v for v in self.m.columns.values()}
        pairs = [(by_name[name], a) for name, a in weights.items()]
        self.m.row(Ratio(), pairs, pulp.LpConstraintLE, -ratio.constant)
        self._aim_at_tokens()
        found = self._search(self.effort.part(1.0, least_s=1.0), self.plan)
        if found.values and ratio.tokens_of(found.values) > ratio.tokens_of(self.plan):
            self.plan = dict(found.values)

    def _aim_at_tokens(self) -> None:
        tokens = token_coefficients(self.m, self.m.problem.objective.denominator)
        set_objective(self.m, tokens, maximise=True)


class NoTokenError(SolverError):
    """Nothing can be delivered, so that nothing has a cost per token."""

    exit_code = InfeasibleError.exit_code


def _no_token() -> NoTokenError:
    return NoTokenError("no token can be delivered under these limits", "raise the limits")


def _ratio_of(m: FleetModel) -> _Ratio:
    return _Ratio(
        _by_name(m, cost_coefficients(m)),
        m.constant_usd,
        _by_name(m, token_coefficients(m, m.problem.objective.denominator)),
    )


def _by_name(m: FleetModel, coefficients: Coefficients) -> dict[str, float]:
    return {m.columns[label].name: a for label, a in coefficients.items() if a}
