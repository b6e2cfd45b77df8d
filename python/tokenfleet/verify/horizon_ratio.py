"""Checks the bound on a cost per token over a horizon by other means than those that found it.

No plan is below a ratio if none has all its cash less the ratio times its tokens below zero, which
is bounded as a cost is (`horizon_bound`): at prices of systems, year by year.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tokenfleet.mix.solver.effort import Deadline
from tokenfleet.problem_data import FloatArray, Horizon, Problem
from tokenfleet.verify.bound import Checked, Priced, Prices, pairs_of_plan, search_whole
from tokenfleet.verify.horizon_bound import SAME
from tokenfleet.verify.horizon_years import (
    LetStock,
    form_of,
    goal_costs,
    goal_of,
    is_understood,
)

_RATIO_STEPS = 20
_NOTHING_USD = 1e-6  # rounding where the best is to do nothing
_ROUNDED = 1e-10  # the same, of the cash of what years at these prices would do


def confirm_horizon_ratio(
    problem: Problem,
    prices: Mapping[tuple[int, int], float],
    claimed: float,
    pairs: frozenset[tuple[int, int]],
    *,
    least: float,
    seconds: float,
) -> Checked:
    """A cost per token below which no plan over a horizon is: the claimed one, or the best that
    years at these prices give, unless that is below `least`.

    No plan is below a ratio if none has all its cash less the ratio times its tokens below zero,
    which is bounded as a cost is: by relaxed years, or where these leave less than `least` by years
    in whole numbers.
    """
    horizon = problem.horizon
    assert horizon is not None
    if not is_understood(horizon):
        return Checked(claimed, "none")
    check = RatioCheck(horizon, prices, pairs, Deadline(seconds))
    ratio, lowest = claimed, max(least / (1.0 - SAME), 0.0)
    for _ in range(_RATIO_STEPS):
        usd, under = check.relaxed(ratio * (1.0 - SAME))
        if usd >= -check.nothing_usd:
            return Checked(ratio, "prices")
        ratio += usd / under if under > 0 else -math.inf
        if not ratio >= lowest:
            break
    for ratio in (claimed, lowest):
        if check.searched(ratio * (1.0 - SAME)) >= -check.nothing_usd:
            return Checked(ratio, "search")
    return Checked(claimed, "none")


def best_horizon_ratio(
    problem: Problem,
    prices: Mapping[tuple[int, int], float],
    pairs: frozenset[tuple[int, int]],
    *,
    value: float,
    gap: float,
    seconds: float,
) -> Checked:
    """The best bound on a cost per token that years at such prices give, for a plan of some value,
    with the pairs that they want: of relaxed years, or where these leave more than the gap and
    whole numbers close it the gap itself."""
    horizon, nothing = problem.horizon, Checked(-math.inf, "none")
    assert horizon is not None
    if not is_understood(horizon):
        return nothing
    check = RatioCheck(horizon, prices, pairs, Deadline(seconds))
    ratio, found = value, nothing
    for _ in range(_RATIO_STEPS):
        usd, under = check.relaxed(ratio * (1.0 - SAME))
        if usd >= -check.nothing_usd:
            found = Checked(ratio * (1.0 - SAME), "prices", check.used)
            break
        ratio += usd / under if under > 0 else -math.inf
        if not ratio > 0:
            break
    wanted = value * (1.0 - gap)
    if found.bound < wanted and check.searched(wanted) >= -check.nothing_usd:
        return Checked(wanted, "search", check.used | found.used)
    return found if found.how != "none" else replace(nothing, used=check.used)


class RatioCheck:
    """The nodes of a horizon, each a year by itself, for one ratio after another."""

    def __init__(
        self,
        horizon: Horizon,
        prices: Mapping[tuple[int, int], float],
        pairs: frozenset[tuple[int, int]],
        deadline: Deadline,
    ) -> None:
        self.horizon, self.deadline, self.goal = horizon, deadline, goal_of(horizon)
        self.cash_usd = 0.0  # most that was paid at a ratio for what is under the line
        self.used = frozenset[tuple[int, int]]()  # (pool, candidate) of the last relaxed years
        self.stock = LetStock.of(horizon, prices)
        firm = [node.firm for node in horizon.nodes]
        self.forms = [
            form_of(horizon, u, self.stock, pairs, deadline, reserves=is_whole)
            for u, is_whole in enumerate(firm)
        ]
        self.years = [Prices(form, pairs, deadline) for form in self.forms]

    @property
    def nothing_usd(self) -> float:
        """How much below zero is rounding."""
        return max(_NOTHING_USD, _ROUNDED * self.cash_usd)

    def relaxed(self, ratio: float) -> tuple[float, float]:
        """What all cash less the ratio times the tokens is at least, and the tokens of the relaxed
        plan in units of the goal; -inf when the time is over."""
        usd, under = self.stock.bound(), 0.0
        self.used = frozenset[tuple[int, int]]()
        for u, form in enumerate(self.forms):
            if self.deadline.left() <= 0:
                return -math.inf, 0.0
            costs, found = self._costs(u, ratio), self._priced(u, ratio)
            usd += self.stock.years(u) * found.bound
            self.used |= pairs_of_plan(form, found.plan)
            if found.plan is not None and ratio > 0:
                paid = float((np.asarray(form.figures["cost"]) - costs) @ found.plan) / ratio
                under += self.stock.years(u) * paid
        self.cash_usd = max(self.cash_usd, ratio * under)
        return usd, under

    def searched(self, ratio: float) -> float:
        """The same, no more than zero, with whole years where they are firm."""
        usd, _ = self.relaxed(ratio)
        for u, form in enumerate(self.forms):
            if usd >= 0.0 or not math.isfinite(usd) or self.deadline.left() <= 0:
                break
            if not self.horizon.nodes[u].firm:
                continue
            years, priced = self.stock.years(u), self._priced(u, ratio)
            enough = priced.bound - usd / years
            costs, constant = self._costs(u, ratio), form.contracted_usd
            found = search_whole(form, costs, constant, priced, enough=enough, clock=self.deadline)
            usd += years * max(found.bound - priced.bound, 0.0)
        return usd

    def _priced(self, u: int, ratio: float) -> Priced:
        constant = self.forms[u].contracted_usd
        return self.years[u].least(self._costs(u, ratio), constant, math.inf)

    def _costs(self, u: int, ratio: float) -> FloatArray:
        """Cost less the ratio times what is under the line."""
        return goal_costs(self.forms[u], self.goal, ratio)
