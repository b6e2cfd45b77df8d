r"""Checks the bound of a large horizon by other means than those that found it.

Systems are all that links the nodes. At any price of a system in service under an offer in a node,
every plan costs at least what its years cost whose systems are rented at that price, and what the
orders cost that are let at it:

    sum over u of weight[u] * (least cost of year u with prices[u, o] / weight[u] a system)
    + sum over lots of most * min(0, least worth of all cash of one system, less the prices)

The prices come from the search, but whether they are right does not matter: each year is bounded by
the second formulation (`second`, `bound.Prices`), and each lot is walked through the tree with its
cash here. What limits orders together (budgets, least orders) can only cost more.

A price may be negative: a contract that runs on takes power that something else would use better.
Where it outweighs what a system costs a year beside its order, a year has more of them than it has
work for, up to what orders and limits leave room for. Where nothing limits them the price is taken
to be just what a system costs beside its order. Any price gives a bound, so that one does.

Of a small horizon the whole numbers hold the bound up. Its years are then searched in whole numbers
(`confirm_horizon_bound`), each up to what it costs in the plan at the same prices: no more can be
confirmed of it.

What is said of cost holds of every goal that is a sum, in its own unit, the most with its sign
turned. Where cash is no part of it (tokens, energy, carbon) orders cost nothing, and each year is
bounded with all the systems that may stand in it. `horizon_ratio` bounds costs per token.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tokenfleet.mix.solver.effort import Deadline
from tokenfleet.problem_data import BoundCheck, Goal, Horizon, Problem, pairs_used
from tokenfleet.verify.bound import Checked, Priced, Prices, pairs_of_plan, search_whole
from tokenfleet.verify.horizon_years import (
    LetStock,
    form_of,
    goal_constant,
    goal_costs,
    goal_of,
    is_understood,
    year_of_plan,
)
from tokenfleet.verify.second import Formulation

SAME = 1e-6  # relative: a bound this close is confirmed
_DEARER = 2.0  # times the relaxation, that a year in whole numbers may cost
_RATIO_STEPS = 20
_EACH = 0.25  # of the time that is left, for one of them
_NEAREST = 60  # replica types of a year, beside those it uses, that whole numbers may want
_SECONDS = 600.0  # for a check, which takes a second or so for each node


def check_horizon_bound(
    problem: Problem,
    prices: Mapping[tuple[int, int], float],
    claimed: float,
    pairs: frozenset[tuple[int, int]],
) -> Checked:
    """The claimed bound on the least of the goal's sum if it can be confirmed, else what can be.

    `prices` are worth at the start and by probability, USD a system by (node, offer); `pairs` are
    looked at first. A claim of infinity asks for the best bound that these prices give. Blocks of
    power and contracts that are paid ahead are not understood: then nothing is confirmed. Reserves,
    yearly budgets and staff are left out: with them a plan costs more.
    """
    horizon = problem.horizon
    assert horizon is not None
    if not is_understood(horizon):
        return Checked(-math.inf if claimed == math.inf else claimed, "none")
    stock = LetStock.of(horizon, prices)
    total, used = stock.bound(), frozenset[tuple[int, int]]()
    deadline = Deadline(_SECONDS)
    for u in range(len(horizon.nodes)):
        if deadline.left() <= 0:  # on a busy machine: nothing is said of the claim
            return Checked(-math.inf if claimed == math.inf else claimed, "none", used)
        found = _year_bound(horizon, u, stock, pairs, deadline)
        total, used = total + found.bound, used | found.used
    if total >= claimed - SAME * abs(claimed):
        return Checked(claimed, "prices", used)
    return Checked(total, "prices" if math.isfinite(total) else "none", used)


def confirm_horizon_bound(
    problem: Problem,
    prices: Mapping[tuple[int, int], float],
    claimed: float,
    values: Mapping[Any, float],
    *,
    least: float,
    seconds: float,
) -> Checked:
    """As `check_horizon_bound` of a horizon that was searched whole, its years in whole numbers.

    `values` are the numbers of the plan; a bound below `least` is of no use, so that the check is
    given up as soon as none above it is left to hope for.
    """
    horizon, nothing = problem.horizon, Checked(claimed, "none")
    assert horizon is not None
    if not is_understood(horizon):
        return nothing
    stock = LetStock.of(horizon, prices)
    pairs = pairs_used(values)
    hopes = [year_of_plan(problem, u, stock, values) for u in range(len(horizon.nodes))]
    total, deadline = stock.bound() + math.fsum(hopes), Deadline(seconds)
    how: BoundCheck = "prices"
    for u, hoped in enumerate(hopes):
        if not total >= least or deadline.left() <= 0:
            return nothing
        found = _whole_year(horizon, u, stock, pairs, hoped=hoped, deadline=deadline)
        total += found.bound - hoped
        how = "search" if found.how == "search" else how
    if not total >= least:
        return nothing
    return Checked(claimed if total >= claimed - SAME * abs(claimed) else total, how)


def best_horizon_bound(
    problem: Problem,
    prices: Mapping[tuple[int, int], float],
    values: Mapping[Any, float],
    *,
    seconds: float,
    within: frozenset[tuple[int, int]] | None = None,
) -> Checked:
    """The best bound on the least of the goal's sum that such prices of systems give, with the
    pairs that years want at them; `values` are the numbers of a plan.

    Every year is relaxed first; those in whole numbers are then searched where they are of cost
    alone, each for its part of the time that is left; not where relaxed ones want other pairs than
    those `within`, which are to be planned over first. Without the time to relax them all there is
    none.
    """
    horizon, nothing = problem.horizon, Checked(-math.inf, "none")
    assert horizon is not None
    if not is_understood(horizon):
        return nothing
    goal, stock, deadline = goal_of(horizon), LetStock.of(horizon, prices), Deadline(seconds)
    pairs, total = pairs_used(values), stock.bound()
    relaxed: list[tuple[int, Formulation, Priced]] = []
    used = frozenset[tuple[int, int]]()
    for u in range(len(horizon.nodes)):
        if deadline.left() <= 0:
            return replace(nothing, used=used)
        form = form_of(horizon, u, stock, pairs, deadline, reserves=True)
        costs, constant = goal_costs(form, goal), goal_constant(form, goal)
        priced = Prices(form, pairs, deadline).least(costs, constant, math.inf)
        total += stock.years(u) * priced.bound
        used |= pairs_of_plan(form, priced.plan)
        if horizon.nodes[u].firm and goal.is_cost:
            relaxed.append((u, form, priced))
    how: BoundCheck = "prices"
    if within is not None and not used <= within:
        relaxed.clear()
    for i, (u, form, priced) in enumerate(relaxed):
        clock = Deadline(deadline.left() / (len(relaxed) - i))
        years, costs = stock.years(u), goal_costs(form, goal)
        enough = year_of_plan(problem, u, stock, values) / years
        if priced.bound < enough:
            found = search_whole(
                form, costs, form.contracted_usd, priced, enough=enough, clock=clock, at_once=True
            )
            total += years * max(found.bound - priced.bound, 0.0)
            used |= pairs_of_plan(form, found.plan)
            how = "search"
    return Checked(total, how, used) if math.isfinite(total) else replace(nothing, used=used)


def wanted_by_years(
    problem: Problem, prices: Mapping[tuple[int, int], float], nodes: Iterable[int], seconds: float
) -> frozenset[tuple[int, int]]:
    """(pool, candidate) that the years of some nodes use with systems at such prices, relaxed and,
    where they are firm and of cost alone, in whole numbers; and those that are best beside them."""
    horizon = problem.horizon
    assert horizon is not None
    goal, stock, deadline = goal_of(horizon), LetStock(horizon, prices), Deadline(seconds)
    found = frozenset[tuple[int, int]]()
    for u in nodes:
        if found and deadline.left() <= 0:
            break
        form = form_of(horizon, u, stock, found, deadline)
        priced = _best_year(form, goal, Prices(form, found, deadline))
        found |= pairs_of_plan(form, priced.plan) | _nearest(form, priced)
        alone = goal.is_cost and goal.per is None
        if horizon.nodes[u].firm and alone and math.isfinite(priced.bound):
            clock = Deadline(deadline.left() * _EACH)
            costs, enough = goal_costs(form, goal), _DEARER * abs(priced.bound)
            searched = search_whole(
                form, costs, form.contracted_usd, priced, enough=enough, clock=clock, at_once=True
            )
            found |= pairs_of_plan(form, searched.plan)
    return found


def _best_year(form: Formulation, goal: Goal, prices: Prices) -> Priced:
    """A year's relaxation at its best; of a ratio at its least, sought from the most that is under
    the line."""
    constant = goal_constant(form, goal)
    if goal.per is None:
        return prices.least(goal_costs(form, goal), constant, math.inf)
    over, under = goal_costs(form, goal), goal_costs(form, goal) - goal_costs(form, goal, 1.0)
    best = prices.least(-under, 0.0, math.inf)
    ratio = math.inf
    for _ in range(_RATIO_STEPS):
        served = 0.0 if best.plan is None else float(under @ best.plan)
        if best.plan is None or served <= 0:
            break
        better = (float(over @ best.plan) + constant) / served
        if better >= ratio * (1.0 - SAME):
            break
        ratio = better
        best = prices.least(goal_costs(form, goal, ratio), constant, math.inf)
    return best


def _nearest(form: Formulation, priced: Priced) -> frozenset[tuple[int, int]]:
    """(pool, candidate) of the replicas of least reduced cost."""
    if priced.plan is None:
        return frozenset()
    each = np.full(len(form.pairs), math.inf)
    replicas = ~form.flow & (form.pair >= 0)
    np.minimum.at(each, form.pair[replicas], priced.reduced[replicas])
    return frozenset(form.pairs[i] for i in np.argsort(each, kind="stable")[:_NEAREST].tolist())


def _year_bound(
    horizon: Horizon,
    u: int,
    stock: LetStock,
    pairs: frozenset[tuple[int, int]],
    deadline: Deadline,
) -> Checked:
    """What the operation of a node costs at least, with its systems at their prices."""
    form = form_of(horizon, u, stock, pairs, deadline)
    goal = goal_of(horizon)
    costs, constant = goal_costs(form, goal), goal_constant(form, goal)
    found = Prices(form, pairs, deadline).least(costs, constant, math.inf)
    return Checked(stock.years(u) * found.bound, "prices", pairs_of_plan(form, found.plan))


def _whole_year(
    horizon: Horizon,
    u: int,
    stock: LetStock,
    pairs: frozenset[tuple[int, int]],
    *,
    hoped: float,
    deadline: Deadline,
) -> Checked:
    """The same in whole numbers, up to what is hoped for."""
    years, firm = stock.years(u), horizon.nodes[u].firm
    form = form_of(horizon, u, stock, pairs, deadline, reserves=True)
    costs, constant, enough = np.asarray(form.figures["cost"]), form.contracted_usd, hoped / years
    priced = Prices(form, pairs, deadline).least(costs, constant, enough)
    if priced.bound >= enough or not firm:
        return Checked(years * min(priced.bound, enough), "prices")
    searched = search_whole(form, costs, constant, priced, enough=enough, clock=deadline)
    return Checked(years * max(priced.bound, searched.bound), "search")
