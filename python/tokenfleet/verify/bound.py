r"""Checks a claimed bound by other means than those that found it.

The mix is written once more (`second`), and then

1. **by prices.** For any prices y of its rows (of the right sign) every plan costs at least

       sum_r y[r] * limit[r]  +  sum_j min(d[j] * low[j], d[j] * up[j]),    d = c - A' y

   The prices come from a solver, but whether it is right does not matter: the sum is computed here,
   with every rounding error counted against the bound. Prices are sought over few replica types,
   and over more while others would take something off the sum. Where that is too little, rows that
   whole replicas imply (`rounded`) have prices as well. Systems of which one alone costs more than
   the plan that is known are in no better one, and are left out first.
2. **by search**, where whole numbers hold the bound up and prices cannot: HiGHS solves the second
   formulation without its presolve, over what prices say that a better plan may use.

A bound on a ratio r holds if no plan has cost - r * tokens below zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import highspy
import numpy as np
from numpy.typing import NDArray

from tokenfleet.mix.result import MixResult
from tokenfleet.mix.solver.effort import Deadline
from tokenfleet.mix.solver.highs import PROVEN, certify, relative_gap, wait_for
from tokenfleet.mix.solver.silent import SilentHighs, silent_highs
from tokenfleet.problem_data import BoundCheck, Figure, FloatArray, Problem, pairs_used
from tokenfleet.verify.rounded import NewRows, Rounding, with_rows
from tokenfleet.verify.second import Formulation, formulate, unreserved

IntArray = NDArray[np.int64]
_UNIT = 2.0**-52  # of rounding
_ROUNDS = 60
_NEW_PAIRS = 400
_BOXES = 30  # largest scale of free demand looked at: 4 to this power, in requests/s
_USED = 1e-7  # of a column: rounding
_SAME = 1e-7  # relative: a bound this close is confirmed
_RATIO_STEPS = 20
_PRICES_S = 600.0  # for prices, which take few seconds: without them there is no bound
_LEAST_S = 0.5  # for a relaxation, whatever the clock says
_WORK = 2e6  # nodes of a search times its columns: so much, on a fast machine or a slow one
_WORK_PRESOLVED = 8e6  # of the second search, which is the last
_MOST_WHOLE = 2_000  # whole columns that a search is tried with
_GAIN = 0.02  # of what all rounds of rows gained, below which one is the last
_TRIALS = 2  # relaxations by which a branch is judged each way; HiGHS's eight take a fifth longer
_FEASIBLE = 2  # HiGHS's number of a solution that is one
_PRIMAL_SIMPLEX = 4  # HiGHS's number of the strategy
_MANY = 2_000  # columns from which on a search that begins anew takes less time
# Of the solver, for plans: what is wanted is a bound.
_NO_SIDE_SEARCHES: dict[str, Any] = {
    "mip_heuristic_effort": 0.0,
    "mip_heuristic_run_rens": False,
    "mip_heuristic_run_rins": False,
    "mip_heuristic_run_root_reduced_cost": False,
}


@dataclass(frozen=True)
class Checked:
    """A bound that holds, as good as the claimed one where that could be confirmed."""

    bound: float
    how: BoundCheck
    #: (pool, candidate) that relaxations used on the way.
    used: frozenset[tuple[int, int]] = field(default=frozenset(), compare=False, repr=False)


@dataclass(frozen=True)
class Claim:
    """What is said: no plan is better than `bound`, and one has `value`."""

    bound: float
    value: float
    pairs: frozenset[tuple[int, int]]  # (pool, candidate) that the plan uses


def _run(solver: SilentHighs) -> None:
    """Runs HiGHS. Its own wait hears Ctrl-C and goes on; here it ends the check."""
    if wait_for(solver):
        raise KeyboardInterrupt


def with_checked_bound(result: MixResult, gap: float, seconds: float) -> MixResult:
    """The result with the bound that could be confirmed, and the status that this bears out."""
    best = result.best
    claim = Claim(result.bound, best, pairs_used(result.values))
    checked = check_bound(result.problem, claim, seconds, gap)
    if checked.bound == result.bound:
        return replace(result, bound_check=checked.how)
    status = certify(best, checked.bound, gap)
    return replace(
        result,
        bound=checked.bound,
        gap=relative_gap(best, checked.bound),
        status=result.status if status not in PROVEN and result.status not in PROVEN else status,
        bound_check=checked.how,
    )


def check_bound(problem: Problem, claim: Claim, seconds: float, gap: float) -> Checked:
    """The claimed bound if it can be confirmed in time, else the best that can; a better one
    where the claim leaves a gap open and prices leave less."""
    return _Check(problem, claim, seconds, gap).answer()


def _weights(
    form: Formulation, of: Mapping[Figure, float], sign: float
) -> tuple[FloatArray, float]:
    """Costs of columns for a weighted sum of figures, and the part that no plan changes."""
    costs = np.zeros(len(form.up))
    for name, weight in of.items():
        costs += sign * weight * form.figures[name]
    return costs, sign * of.get("cost", 0.0) * form.contracted_usd


class _Check:
    """One claim about one problem; what is maximised has its sign turned, and is minimised."""

    def __init__(self, problem: Problem, claim: Claim, seconds: float, gap: float) -> None:
        self.problem, self.gap = problem, gap
        self.goal = problem.objective.goal
        self.sign = self.goal.sign
        self.claim, self.clock = claim, Deadline(seconds)
        self.patience = Deadline(_PRICES_S)
        scale = largest_scale(problem, claim.pairs, self.patience)
        self.form = self._affordable(formulate(problem, scale))
        self.prices = Prices(self.form, claim.pairs, self.patience)

    def answer(self) -> Checked:
        if self.goal.per is not None:
            return self._ratio()
        costs, constant = self._weights(self.goal.of, self.sign)
        claimed, value = self.sign * self.claim.bound, self.sign * self.claim.value
        enough = claimed - _SAME * abs(claimed)
        wanted = value - self.gap * abs(value)
        priced = self.prices.rounded(
            costs, constant, enough if claimed >= wanted else wanted, self.clock
        )
        if priced.bound > claimed and claimed < wanted:
            return Checked(self.sign * min(priced.bound, value), "prices")
        if priced.bound >= enough:
            return Checked(self.claim.bound, "prices")
        searched = self._searched(costs, constant, priced, enough, wanted)
        if searched >= enough:
            return Checked(self.claim.bound, "search")
        if searched > priced.bound:
            return Checked(self.sign * searched, "search")
        how: BoundCheck = "prices" if math.isfinite(priced.bound) else "none"
        return Checked(self.sign * priced.bound, how)

    def _affordable(self, form: Formulation) -> Formulation:
        """The formulation without plans in which systems of one kind alone cost more than the value
        of the plan that is known: what is sought is a bound no higher than that.

        Where nothing costs less than nothing, k systems of an offer cost at least k times its
        price: of those whose first costs more than the whole plan there is none.
        """
        if self.goal.per is not None:
            return form
        costs, constant = _weights(form, self.goal.of, self.sign)
        if not ((costs >= 0).all() and (form.low >= 0).all()):
            return form
        room = self.sign * self.claim.value - constant
        paid = form.whole & (costs > 0)
        most = np.floor(room * (1.0 + _SAME) / np.where(paid, costs, 1.0))
        return replace(form, up=np.where(paid, np.clip(most, form.low, form.up), form.up))

    def _weights(self, of: Mapping[Figure, float], sign: float) -> tuple[FloatArray, float]:
        return _weights(self.form, of, sign)

    def _ratio(self) -> Checked:
        """A cost per token below which no plan is: the claimed one, or that of the relaxation."""
        if self._none_below(self.claim.bound, search=False):
            return Checked(self.claim.bound, "prices")
        if self._none_below(self.claim.bound, search=True):
            return Checked(self.claim.bound, "search")
        ratio = self.claim.bound
        for _ in range(_RATIO_STEPS):
            lower = self._relaxed_ratio(ratio)
            if lower is None or lower >= ratio * (1.0 - 1e-9):
                break
            ratio = lower
        ratio *= 1.0 - 1e-6
        return Checked(ratio if self._none_below(ratio, search=False) else 0.0, "prices")

    def _over_minus_under(self, ratio: float) -> tuple[FloatArray, float]:
        """What is above the line less `ratio` times what is below it."""
        assert self.goal.per is not None
        under = {self.goal.per: -ratio / self.goal.per_amount}
        return self._weights({**self.goal.of, **under}, 1.0)

    def _none_below(self, ratio: float, *, search: bool) -> bool:
        costs, constant = self._over_minus_under(ratio * (1.0 - _SAME))
        priced = self.prices.least(costs, constant, 0.0)
        if priced.bound >= 0.0 or not search:
            return priced.bound >= 0.0
        return self._searched(costs, constant, priced, 0.0) >= 0.0

    def _relaxed_ratio(self, ratio: float) -> float | None:
        """The ratio of the plan that is best in the relaxation at a ratio."""
        costs, constant = self._over_minus_under(ratio)
        plan = self.prices.least(costs, constant, 0.0).plan
        if plan is None or self.goal.per is None:
            return None
        under = float(self.form.figures[self.goal.per] @ plan) / self.goal.per_amount
        return ratio + (float(costs @ plan) + constant) / under if under > 0 else None

    def _searched(
        self,
        costs: FloatArray,
        constant: float,
        priced: Priced,
        enough: float,
        wanted: float = math.inf,
    ) -> float:
        form = self.prices.form
        return search_whole(
            form, costs, constant, priced, enough=enough, clock=self.clock, wanted=wanted
        ).bound


def largest_scale(problem: Problem, pairs: frozenset[tuple[int, int]], patience: Deadline) -> float:
    """Largest scale of free demand that any plan could have, rounded up; `pairs` (pool, candidate)
    are looked at first."""
    free = [w for w in problem.workloads if w.free]
    if not free:
        return 0.0
    least, most = max(w.min_scale for w in free), min(w.max_scale for w in free)
    if not problem.objective.goal.gains_by_volume:  # what serves more costs no less at the least
        return least
    if math.isfinite(most):
        return most
    # If nothing within a box comes near its end, nothing lies beyond: what the relaxation
    # allows is convex, and more than any scale needs is of no use to it.
    for box in (least + 4.0**i for i in range(_BOXES)):
        form = formulate(unreserved(problem), box)
        cost = np.zeros(len(form.up))
        cost[0] = -1.0  # theta is the first column
        found = -Prices(form, pairs, patience).least(cost, 0.0, math.inf).bound
        if found < 0.9 * box:
            return found
    return math.inf


@dataclass(frozen=True)
class Priced:
    """A bound that holds, with the reduced costs behind it."""

    bound: float
    reduced: FloatArray
    plan: FloatArray | None  # of the relaxation


class Prices:
    """Prices of rows, sought over the replica types that matter."""

    def __init__(
        self, form: Formulation, pairs: frozenset[tuple[int, int]], clock: Deadline
    ) -> None:
        """`pairs` (pool, candidate) are looked at first."""
        self.form, self.clock = form, clock
        self.open = np.array([pair in pairs for pair in form.pairs], dtype=bool)
        self.entry_of_capacity = form.capacity[form.rows]
        self.solver: SilentHighs | None = None
        self.held = np.zeros(0, dtype=np.int64)  # columns in the solver, in its order

    def least(self, cost: FloatArray, constant: float, enough: float) -> Priced:
        """The best bound on the least cost that prices give, or the first that is enough."""
        best = Priced(-math.inf, np.zeros(len(cost)), None)
        for _ in range(_ROUNDS):
            solved = self._solve(cost)
            if solved is None:
                # A plan of plainer types, which count as others do here, leaves too few open.
                if self.open.all() or self.clock.left() <= 0:
                    break
                self.open[:] = True
                self.solver = None  # the basis of a relaxation without a plan is no start
                continue
            prices, plan = solved
            bound, reduced = self.bound(cost, prices)
            if bound + constant > best.bound or best.plan is None:
                best = Priced(max(bound + constant, best.bound), reduced, plan)
            if best.bound >= enough or self.clock.left() <= 0 or not self._open_more(reduced):
                break
        return best

    def rounded(self, cost: FloatArray, constant: float, enough: float, clock: Deadline) -> Priced:
        """The same, with rows that whole replicas imply while they take the bound further."""
        best, rounding = self.least(cost, constant, enough), Rounding(self.form)
        plain = best.bound
        for _ in range(_ROUNDS):
            if best.plan is None or best.bound >= enough or clock.left() <= 0:
                break
            new = rounding.broken(best.plan)
            if not len(new.up):
                break
            self._add(new)
            closer = self.least(cost, constant, enough)
            gained = closer.bound - best.bound
            best = closer if gained > 0 else best
            if not gained > _GAIN * (best.bound - plain):
                break
        return best

    def _add(self, new: NewRows) -> None:
        """Rows more, of open columns alone."""
        self.form = with_rows(self.form, new)
        self.entry_of_capacity = self.form.capacity[self.form.rows]
        if self.solver is None:
            return
        place = np.zeros(len(self.form.up), dtype=np.int32)
        place[self.held] = np.arange(len(self.held), dtype=np.int32)
        count = len(new.up)
        starts = np.searchsorted(new.rows, np.arange(count)).astype(np.int32)
        low, columns = np.full(count, -math.inf), place[new.columns]
        self.solver.addRows(count, low, new.up, len(columns), starts, columns, new.values)

    def _solve(self, cost: FloatArray) -> tuple[FloatArray, FloatArray] | None:
        """Prices of the relaxation over the open columns, and its plan."""
        factor = _factor(cost)
        solver = self._grown(factor * cost)
        solver.setOptionValue("time_limit", solver.getRunTime() + max(self.clock.left(), _LEAST_S))
        _run(solver)
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        solution = solver.getSolution()
        plan = np.zeros(len(cost))
        plan[self.held] = solution.col_value
        return np.array(solution.row_dual) / factor, plan

    def _grown(self, cost: FloatArray) -> SilentHighs:
        """The relaxation over the open columns at this cost, with the basis of the last solve."""
        wanted = np.flatnonzero(_of_pairs(self.form, self.open))
        if self.solver is None:
            self.held = wanted
            self.solver = silent_highs({"parallel": "off"})
            self.solver.passModel(_model(self.form, wanted, cost[wanted], integral=False))
            return self.solver
        new = np.setdiff1d(wanted, self.held, assume_unique=True)
        if len(new):
            starts, rows, values = _by_column(self.form, new)
            low, up = self.form.low[new], _relaxed_up(self.form)[new]
            self.solver.addCols(len(new), cost[new], low, up, len(rows), starts[:-1], rows, values)
            self.held = np.concatenate([self.held, new])
        places = np.arange(len(self.held), dtype=np.int32)
        self.solver.changeColsCost(len(places), places, cost[self.held])
        # With columns added, or at other costs, the last plan is still feasible.
        self.solver.setOptionValue("simplex_strategy", _PRIMAL_SIMPLEX)
        return self.solver

    def _open_more(self, reduced: FloatArray) -> bool:
        """Opens the types that take most off the bound; whether there are any."""
        form = self.form
        with np.errstate(invalid="ignore"):
            taken = np.where(reduced < 0, reduced * form.up, 0.0)
        of_pair = form.pair >= 0
        each = np.zeros(len(form.pairs))
        np.add.at(each, form.pair[of_pair], np.nan_to_num(taken[of_pair]))
        each[self.open] = 0.0
        worst = np.argsort(each, kind="stable")[:_NEW_PAIRS]
        worst = worst[each[worst] < 0]
        self.open[worst] = True
        return len(worst) > 0

    def bound(self, cost: FloatArray, prices: FloatArray) -> tuple[float, FloatArray]:
        """What every plan costs at least at these prices, and the reduced costs (rounded down)."""
        form = self.form
        prices = np.where(np.isinf(form.row_up), np.maximum(prices, 0.0), prices)
        prices = np.where(np.isinf(form.row_low), np.minimum(prices, 0.0), prices)
        prices = self._with_capacity_prices(cost, prices)
        taken = form.values * prices[form.rows]
        size = len(cost)
        reduced = cost - np.bincount(form.columns, taken, size)
        counted = np.bincount(form.columns, minlength=size) + 2.0
        error = np.abs(cost) + np.bincount(form.columns, np.abs(taken), size)
        reduced -= 2.0 * _UNIT * counted * error
        with np.errstate(invalid="ignore"):
            least = np.where(reduced >= 0, reduced * form.low, reduced * form.up)
            limit = np.where(prices > 0, form.row_low, form.row_up)
            paid = np.where(prices == 0, 0.0, prices * limit)
        least = np.where(reduced == 0, 0.0, least)
        terms = [*least[least != 0].tolist(), *paid[paid != 0].tolist()]
        if not all(map(math.isfinite, terms)):
            return -math.inf, reduced
        slack = 8.0 * _UNIT * math.fsum(map(abs, terms))
        return math.fsum(terms) - slack, reduced

    def _with_capacity_prices(self, cost: FloatArray, prices: FloatArray) -> FloatArray:
        """Prices of replicas' capacity under which no flow takes anything off the bound."""
        form, inside = self.form, self.entry_of_capacity
        prices = np.where(form.capacity, 0.0, prices)
        taken = form.values * prices[form.rows]
        without = cost - np.bincount(form.columns, taken, len(cost))
        is_flow = inside & form.flow[form.columns]
        rows, columns = form.rows[is_flow], form.columns[is_flow]
        needed = np.zeros(len(prices))
        np.minimum.at(needed, rows, without[columns] / form.values[is_flow] * (1.0 + 1e-12))
        return prices + np.where(form.capacity, needed, 0.0)


def pairs_of_plan(form: Formulation, plan: FloatArray | None) -> frozenset[tuple[int, int]]:
    """(pool, candidate) whose columns a plan uses."""
    if plan is None:
        return frozenset()
    numbers = np.unique(form.pair[(plan > _USED) & (form.pair >= 0)])
    return frozenset(form.pairs[i] for i in numbers.tolist())


def _of_pairs(form: Formulation, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Columns of the chosen (pool, candidate), and all that belong to none."""
    of_each: NDArray[np.bool_] = np.append(chosen, True)[form.pair]  # -1, of none, is the last
    return of_each


def _relaxed_up(form: Formulation) -> FloatArray:
    """Limits of columns in a relaxation. Flows have none: what is asked for holds them by rows,
    which then have a price of their own."""
    return np.where(form.flow, math.inf, form.up)


def _factor(cost: FloatArray) -> float:
    """A power of two that brings the largest cost near 1,000."""
    largest = float(np.abs(cost).max(initial=0.0))
    return 2.0 ** -math.floor(math.log2(largest / 1e3)) if largest > 0 else 1.0


@dataclass(frozen=True)
class Searched:
    """A bound that a search proves, and the best plan that it met."""

    bound: float
    plan: FloatArray | None = None


@dataclass(frozen=True)
class _Whole:
    """The second formulation in whole numbers, over some columns."""

    form: Formulation
    costs: FloatArray
    constant: float
    kept: NDArray[np.bool_]

    def least(self, presolve: str, enough: float, seconds: float, work: float) -> Searched:
        """The bound that HiGHS proves in so much work, up to `enough`: plans that cost more are cut
        away, and none is looked for by the way."""
        factor = _factor(self.costs)
        columns = np.flatnonzero(self.kept)
        solver = silent_highs(
            {
                "presolve": presolve,
                "objective_bound": factor * enough,
                "mip_rel_gap": 0.0,
                "mip_abs_gap": 0.0,
                "mip_max_nodes": int(work / max(len(columns), 1)) + 1,
                "time_limit": seconds,
                "parallel": "off",
                "random_seed": 1,
                "mip_allow_restart": len(columns) > _MANY,
                "mip_pscost_minreliable": _TRIALS,
                **_NO_SIDE_SEARCHES,
            }
        )
        model = _model(self.form, columns, factor * self.costs[columns], integral=True)
        model.offset_ = factor * self.constant
        solver.passModel(model)
        _run(solver)
        if solver.getModelStatus() == highspy.HighsModelStatus.kInfeasible:
            return Searched(enough)
        info, plan = solver.getInfo(), None
        if info.primal_solution_status == _FEASIBLE:
            plan = np.zeros(len(self.costs))
            plan[columns] = solver.getSolution().col_value
        return Searched(min(float(info.mip_dual_bound) / factor, enough), plan)


def search_whole(
    form: Formulation,
    costs: FloatArray,
    constant: float,
    priced: Priced,
    *,
    enough: float,
    clock: Deadline,
    wanted: float = math.inf,
    at_once: bool = False,
) -> Searched:
    """What every plan costs at least, up to `enough`, by a search of the second formulation.

    HiGHS goes without its presolve first, unless it is wanted `at_once`, and with it if that takes
    too long: then only up to what is `wanted`, the gap that was asked for.
    """
    best = Searched(-math.inf)
    room = enough - priced.bound + 1e-6 * abs(enough)
    kept = _may_help(form, priced.reduced, room)
    if not math.isfinite(priced.bound) or (kept & form.whole).sum() > _MOST_WHOLE:
        return best
    model = _Whole(form, costs, constant, kept)
    ways = (
        ("off", 0.5, enough, _WORK),
        ("on", 1.0, min(enough, wanted), _WORK_PRESOLVED),
    )
    for presolve, share, goal, work in ways[at_once:]:
        if clock.left() > 0 and best.bound < goal:
            found = model.least(presolve, goal, clock.left() * share, work)
            best = max(best, found, key=lambda each: each.bound)
    return best


def _may_help(form: Formulation, reduced: FloatArray, room: float) -> NDArray[np.bool_]:
    """Columns that a plan no worse than the known one may use.

    The first replica of a type, the first system of an offer costs at least its reduced cost."""
    within: NDArray[np.bool_] = ~(form.whole & (form.low == 0) & (reduced > room))
    useful = np.zeros(len(form.pairs), dtype=bool)
    replicas = _supported(form, within) & form.whole & (form.pair >= 0)
    useful[form.pair[replicas]] = True
    within &= _of_pairs(form, useful)
    return within


def _supported(form: Formulation, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The kept columns without those that a row holds at zero, as replicas without systems: their
    sum is at most zero."""
    for sign, limited in ((1.0, form.row_up == 0), (-1.0, form.row_low == 0)):
        inside = kept[form.columns] & limited[form.rows]
        held = limited & ~_any(form.rows[inside & (sign * form.values < 0)], len(limited))
        free = form.low[form.columns] == 0
        at_zero = inside & held[form.rows] & (sign * form.values > 0) & free
        kept = kept & ~_any(form.columns[at_zero], len(kept))
    return kept


def _any(numbers: IntArray, size: int) -> NDArray[np.bool_]:
    """Which numbers below `size` are among those given."""
    return np.bincount(numbers, minlength=size) > 0


def _model(form: Formulation, kept: IntArray, cost: FloatArray, *, integral: bool) -> Any:
    """The arrays of some columns as HiGHS takes them."""
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(kept), len(form.row_up)
    lp.col_cost_ = cost
    up = form.up if integral else _relaxed_up(form)
    lp.col_lower_, lp.col_upper_ = form.low[kept], up[kept]
    lp.row_lower_, lp.row_upper_ = form.row_low, form.row_up
    matrix = lp.a_matrix_
    matrix.format_ = highspy.MatrixFormat.kColwise
    matrix.num_col_, matrix.num_row_ = lp.num_col_, lp.num_row_
    matrix.start_, matrix.index_, matrix.value_ = _by_column(form, kept)
    if integral:
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        lp.integrality_ = [kinds[w] for w in form.whole[kept].tolist()]
    return lp


def _by_column(
    form: Formulation, kept: IntArray
) -> tuple[NDArray[np.int32], NDArray[np.int32], FloatArray]:
    """Starts (one more than columns), rows and values of the entries of some columns."""
    place = np.full(len(form.up), -1)
    place[kept] = np.arange(len(kept))
    entries = np.flatnonzero(place[form.columns] >= 0)
    columns = place[form.columns[entries]]
    order = np.argsort(columns, kind="stable")
    starts = np.cumsum([0, *np.bincount(columns, minlength=len(kept))]).astype(np.int32)
    rows = form.rows[entries][order].astype(np.int32)
    return starts, rows, form.values[entries][order]
